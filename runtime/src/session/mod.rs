//! A network in use: parameters, programs and the calls that run them.
//!
//! In: arrays of the user's. Out: losses, predictions, gradients. Everything is checked before anything is written, so that
//! a refused call leaves the session as it was. After `build`, and the first use of a further program, a call allocates
//! nothing: but for predictions of more than `max_batch` rows or for the caller to keep, large matrices that predictions keep as
//! they read them, the totals of an evaluation in pieces, and the extents of a tensor of more than four axes.

mod accumulation;
mod any;
mod attachments;
mod buffer;
mod checkpoint;
mod diagnostics;
mod display;
mod feed;
mod generate;
mod gradcheck;
mod identity;
mod metrics;
mod monte_carlo;
mod name_map;
mod outputs;
mod parameters;
mod params;
mod chunked;
mod position;
mod predictor;
mod profile;
mod programs;
mod recalibrate;
mod rows;
mod scalars;
mod sampling;
mod sentinel;
mod sizes;
mod snapshot;
mod stepper;
mod stream;
mod trainer;
mod trial;

use std::fmt::Debug;
use std::marker::PhantomData;

use ndarray::{ArrayD, ArrayViewD};

use crate::assembly::Sizes;
use crate::error::{BuildError, RunError, text_as_debug};
use crate::network::Definition;
use crate::safetensors::CheckpointError;
use crate::schedule::Schedule;
use crate::tensor::Tensor;
use any::AnySession;

pub use diagnostics::{Diagnostics, Drift, LayerDiagnostics};
pub use generate::Generator;
pub use gradcheck::gradcheck;
pub use metrics::Metrics;
pub use monte_carlo::MonteCarlo;
pub use name_map::NameMap;
pub use params::Gradients;
pub(crate) use position::{Pass, Shuffling};
pub use predictor::{Predictor, PredictorBuilder};
pub use profile::{KernelProfile, LayerProfile, Profile, Work};
pub use sampling::Sampling;
pub(crate) use snapshot::Snapshot;
pub use stream::Sequence;
pub use trainer::{Trainer, ir};

/// The loss and the metrics of a network, each in a field: `fn accuracy(found: &MetricsOf<Mlp>) -> f32 { found.accuracy }`.
pub type MetricsOf<N> = <N as Network>::Metrics;

/// The outputs of a network as arrays, which is how they can be named and kept: `fn best(found: &OwnedOutputsOf<TwoTower>) -> usize`.
pub type OwnedOutputsOf<N> = <N as Network>::OwnedOutputs;

/// The sizes of a network that are chosen when the program runs: `fn double(sizes: &mut SizesOf<Mlp>) { sizes.hidden *= 2 }`.
pub type SizesOf<N> = <N as Network>::Sizes;

/// What `network!` implements for a declared network.
pub trait Network: Copy + Debug + 'static {
    /// The inputs, as views: one, or a tuple.
    type Inputs<'a>;
    /// The targets of the loss, as views: none, one, or a tuple.
    type Targets<'a>;
    /// The outputs, as views into the session.
    type Outputs<'a>;
    /// The outputs, as arrays: one, or a struct with the names of the ports.
    type OwnedOutputs: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// What a step and an evaluation give: the loss and the metrics, each in a field.
    type Metrics: Metrics;
    /// The sizes that are chosen when a program runs, each in a field; `()` where the declaration names none.
    type Sizes: Sizes;

    /// The declaration, with these sizes.
    fn definition(sizes: &Self::Sizes) -> &'static Definition<'static>;
    /// The declaration, with the sizes that it names.
    fn declared() -> &'static Definition<'static> {
        Self::definition(&Self::Sizes::default())
    }
    /// Passes on each input.
    fn inputs<'a>(inputs: Self::Inputs<'a>, visit: &mut dyn FnMut(Tensor<'a>));
    /// Passes on each target.
    fn targets<'a>(targets: Self::Targets<'a>, visit: &mut dyn FnMut(Tensor<'a>));
    /// Takes each output.
    fn outputs<'a>(next: &mut dyn FnMut() -> ArrayViewD<'a, f32>) -> Self::Outputs<'a>;
    /// Takes each output as an array.
    fn owned_outputs(next: &mut dyn FnMut() -> ArrayD<f32>) -> Self::OwnedOutputs;
    /// Gives the numbers their names.
    fn metrics(report: &Report<'_>) -> Self::Metrics;
}

/// The numbers of a step or an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The loss; NaN if the network declares none.
    pub loss: f32,
    /// The metrics, in the order of the declaration.
    pub metrics: &'a [f32],
}

/// A network that is trained and asked.
#[derive(Debug)]
pub struct Session<N> {
    any: AnySession,
    network: PhantomData<fn() -> N>,
}

impl<N: Network> Session<N> {
    /// One training step on a batch: forward, backward and update. Loss and metrics are of the parameters before the update.
    ///
    /// Any batch size from 1 to `max_batch` (from 2 with batch norm, since one row has no variance) runs without recompiling.
    /// Views that are contiguous are read in place. A network whose loss has no target takes `()` in place of targets.
    ///
    /// # Errors
    /// Wrong shapes, class ids out of range, a batch size out of range, and a loss that is not finite, or a running variance
    /// that would not be: of numbers some 1e18 apart and more. The session is then as it was before. For a loss the error
    /// says where in the network the first number came from that was not finite: the step is replayed for that, in the time
    /// of some hundred steps. A finite loss with a gradient that is not (`sqrt` at 0) is refused with
    /// [`Trainer::sentinel`] alone.
    pub fn step<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<N::Metrics, RunError> {
        self.advance(inputs, targets).map(|report| N::metrics(&report))
    }

    /// A step, with its numbers in order instead of by name.
    pub(crate) fn advance<'a>(
        &mut self,
        inputs: N::Inputs<'a>,
        targets: N::Targets<'a>,
    ) -> Result<Report<'_>, RunError> {
        self.any.step(&feed::gather::<N>(inputs, Some(targets)))
    }

    /// The gradients of the loss on a batch, in training mode, neither clipped nor with decay; nothing is updated. The first
    /// call compiles a program of its own.
    ///
    /// These are the gradients that [`Session::step`] would follow on the same batch: `Dropout` drops what it will drop
    /// there, however often this is called. To add up the gradients of several batches with a mask for each, move
    /// [`Session::set_forward_count`] on in between.
    ///
    /// # Errors
    /// As for [`Session::step`].
    pub fn gradients<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Gradients<'_>, Error> {
        self.any.gradients(&feed::gather::<N>(inputs, Some(targets)))
    }

    /// Loss and metrics in inference mode, on any number of rows. More than `max_batch` are taken in pieces whose sums, maxima
    /// and variances are merged before anything is made of them: what comes out does not depend on `max_batch`, but for
    /// rounding. The first call of either kind compiles programs of its own.
    ///
    /// # Errors
    /// Wrong shapes, class ids out of range, no rows.
    pub fn evaluate<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<N::Metrics, Error> {
        self.assess(inputs, targets).map(|report| N::metrics(&report))
    }

    /// An evaluation, with its numbers in order instead of by name.
    pub(crate) fn assess<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Report<'_>, Error> {
        self.any.evaluate(&feed::gather::<N>(inputs, Some(targets)))
    }

    /// The outputs in inference mode, for any number of rows, taken `max_batch` at a time. They borrow the session. The first
    /// call compiles a program of its own.
    ///
    /// # Errors
    /// Wrong shapes, no rows, outputs for which there is no memory.
    pub fn predict(&mut self, inputs: N::Inputs<'_>) -> Result<N::Outputs<'_>, Error> {
        let (outputs, rows) = self.any.predict(&feed::gather::<N>(inputs, None))?;
        Ok(outputs.views::<N>(rows))
    }

    /// As [`Session::predict`], with outputs that are the caller's own: an array, or the network's struct of arrays. Nothing is
    /// copied for it; the next prediction makes room anew.
    ///
    /// # Errors
    /// As for [`Session::predict`].
    pub fn predict_owned(&mut self, inputs: N::Inputs<'_>) -> Result<N::OwnedOutputs, Error> {
        let (outputs, rows) = self.any.predict(&feed::gather::<N>(inputs, None))?;
        Ok(outputs.take_arrays::<N>(rows))
    }

    /// A predictor with the parameters as they are now, for use beside this session and in other threads; further training
    /// does not change it. It shares the session's program, which the first call compiles.
    ///
    /// # Errors
    /// Buffers for which there is no memory.
    pub fn predictor(&mut self) -> Result<Predictor<N>, BuildError> {
        Ok(Predictor::of(self.any.predictor()?))
    }

    /// The learning rate of the next step: what the schedule says after [`Session::steps`] steps.
    pub fn learning_rate(&self) -> f64 {
        self.any.learning_rate()
    }

    /// Changes the learning rate from the next step on, in place of any schedule. Groups keep their multiples of it. Nothing
    /// is recompiled.
    ///
    /// # Errors
    /// A rate that is negative or not finite.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), BuildError> {
        self.any.config.check_rate(rate)?;
        self.any.rate = Schedule::constant(rate);
        Ok(())
    }

    /// How many steps have been made, those before a checkpoint included.
    pub fn steps(&self) -> u64 {
        self.any.steps
    }

    /// The number of the next forward pass in training, which decides the masks of `Dropout` together with the seed. A
    /// step and an accumulated batch move it on by one, a refused one and everything else leaves it.
    pub fn forward_count(&self) -> u64 {
        self.any.forward_count
    }

    /// Makes this the number of the next forward pass in training: one that was before draws the same masks again.
    pub fn set_forward_count(&mut self, count: u64) {
        self.any.forward_count = count;
    }

    /// The largest batch of a step.
    pub fn max_batch(&self) -> usize {
        self.any.max_batch
    }

    /// Says what is wrong with rows of which there may be any number.
    pub(crate) fn check<'a>(&self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<(), RunError> {
        self.any.check(&feed::gather::<N>(inputs, Some(targets)))
    }
}

/// Why a call failed: the program could not be compiled, the run was refused, or a file could not be used.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program for the call could not be compiled.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The run was refused.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A checkpoint was not written or read.
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
}

text_as_debug!(Error);

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Error {
        Error::Checkpoint(Box::new(error))
    }
}
