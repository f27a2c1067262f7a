//! The pipeline: from a declared network to a program, with everything that its stages leave on the way.
//!
//! In: a definition, a [`Purpose`] and a [`Target`]. Out: a [`Compilation`]. Its methods, from top to bottom, are the stages; each
//! is computed from the one before when it is first asked for, checked in debug builds, and stays. Programs, printed stages,
//! profiles, replays of a bad number, diagnostics and recalibration all begin here. Absent on purpose: any decision of a stage.

mod graphs;
mod compilation;
mod program;
mod target;

use crate::optim::TrainingConfig;
use crate::tiling::Keep;

pub use compilation::{Compilation, compile, simplified};
pub use program::Program;
pub use target::Target;

/// A stage of the compiler, as [`Trainer::ir`](crate::session::Trainer::ir) and the like print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The declaration, with the shape after every layer.
    Static,
    /// The graph of primitive operations.
    Forward,
    /// The same, followed by the gradients, as differentiation leaves it.
    Backward,
    /// The graph that is compiled: with the optimizer's update, after all rewrites.
    Simplified,
    /// The graph as kernels can compute it: products of matrices, reductions along rows or down columns, the batch in front.
    Legalized,
    /// The kernels: what is computed together. Each begins with its extents, its floating-point operations and the bytes
    /// that it reads and writes, four per element and each value once, and why it is not part of an earlier kernel.
    /// `materialize` says who reads a value from memory and why it is not computed there, `rematerialized` what it takes to
    /// compute what another kernel has as well, instead of a write and a read. The last lines have the sums, and what they
    /// would be if every operation were a kernel of its own.
    Fused,
    /// Where everything lies in memory, and how the kernels run: which products are written out or called, which operands are
    /// rearranged, what is prefetched and what threads share, each with its reason; of predictions also what is made of parameters
    /// once and kept beside them.
    Plan,
    /// The kernels in Cranelift's intermediate language, for x86-64 with AVX2 and FMA.
    Clif,
    /// The kernels as machine code, for x86-64 with AVX2 and FMA; what runs in wide vectors as the instructions of an element.
    Asm,
}

/// What a network is compiled for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// A step: loss, metrics, gradients and update in one.
    Train(&'a TrainingConfig),
    /// Loss and gradients, in training mode, without an update. The configuration says what is frozen; without one nothing is.
    Gradients(Option<&'a TrainingConfig>),
    /// Loss, metrics and gradients, which are added up.
    Accumulate(&'a TrainingConfig),
    /// The update from gradients that were added up.
    Update(&'a TrainingConfig),
    /// Loss and metrics in inference mode.
    Evaluate,
    /// Outputs in inference mode.
    Predict,
    /// Outputs in inference mode, but for `Dropout`, which drops.
    MonteCarlo,
    /// The output in inference mode, one position of a sequence at a time: see [`lower_next`](crate::lower::lower_next).
    Next,
    /// The outputs in inference mode, one element of a sequence at a time.
    Stream,
    /// What a step would do, measured: see [`Compilation::measures`].
    Diagnose(&'a TrainingConfig),
    /// Running statistics as they would be after all rows as one batch: see [`Compilation::statistics`].
    Recalibrate(&'a TrainingConfig),
}

impl<'a> Purpose<'a> {
    /// Whether outputs are all that is wanted.
    fn predicts(self) -> bool {
        matches!(self, Purpose::Predict | Purpose::MonteCarlo | Purpose::Next | Purpose::Stream)
    }

    /// What is kept from run to run of that which depends on parameters alone: where they are as a rule the same in the next run.
    fn keeps(self) -> Keep {
        match self {
            Purpose::Predict | Purpose::Next | Purpose::Stream => Keep::WherePays,
            _ => Keep::Nothing,
        }
    }

    /// How the network is trained, where that is said.
    fn config(self) -> Option<&'a TrainingConfig> {
        match self {
            Purpose::Train(config)
            | Purpose::Accumulate(config)
            | Purpose::Update(config)
            | Purpose::Diagnose(config)
            | Purpose::Recalibrate(config) => Some(config),
            Purpose::Gradients(config) => config,
            Purpose::Evaluate | Purpose::Predict | Purpose::MonteCarlo | Purpose::Next | Purpose::Stream => None,
        }
    }
}
