//! What a program is compiled for: how many rows, how many threads, which machine.

use crate::fuse::Budget;
use crate::kernel::WinogradUse;
use crate::tiling::{Isa, Keep, Machine};

/// How a program is to run. Bits of results depend on the instruction set, and on whether there may be products in the form of
/// Winograd, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The largest batch.
    pub max_batch: usize,
    /// How many threads share the work.
    pub threads: usize,
    /// The instruction set of the microkernels.
    pub isa: Isa,
    /// Which products of windows have the form of [`Winograd`](crate::kernel::Winograd).
    pub winograd: WinogradUse,
    /// What is kept from run to run of that which depends on parameters alone; none for what the purpose wants. No bit depends on it.
    pub keep: Option<Keep>,
    /// Bytes of a value of which some rows at a time are made rather than all. No bit depends on it.
    pub memory: usize,
}

impl Target {
    /// This machine with one thread, for batches of up to so many rows.
    pub fn new(max_batch: usize) -> Target {
        let Budget { memory, .. } = Budget::new(max_batch);
        Target { max_batch, threads: 1, isa: Isa::detect(), winograd: WinogradUse::WherePays, keep: None, memory }
    }

    /// The machine of all printed stages, so that they read the same everywhere: x86-64 with AVX2 and FMA, one thread.
    pub fn printed(max_batch: usize) -> Target {
        Target { isa: Isa::Avx2, ..Target::new(max_batch) }
    }

    /// With so many threads.
    pub fn with_threads(self, threads: usize) -> Target {
        Target { threads, ..self }
    }

    /// With products in the form of Winograd where they pay, or without any.
    pub fn with_winograd(self, winograd: bool) -> Target {
        self.with_winograd_used(if winograd { WinogradUse::WherePays } else { WinogradUse::Never })
    }

    /// With these products in the form of Winograd.
    pub fn with_winograd_used(self, winograd: WinogradUse) -> Target {
        Target { winograd, ..self }
    }

    /// With this kept from run to run of a program that writes no parameters, which then has to be
    /// [prepared](crate::jit::Code::prepare).
    pub fn keeping(self, keep: Keep) -> Target {
        Target { keep: Some(keep), ..self }
    }

    /// With this instruction set, which the machine has to have.
    pub fn on(self, isa: Isa) -> Target {
        Target { isa, ..self }
    }

    /// With some rows at a time made of values that have more than so many bytes.
    pub fn with_memory(self, memory: usize) -> Target {
        Target { memory, ..self }
    }

    /// What groups are formed for.
    pub(crate) fn budget(&self) -> Budget {
        Budget { memory: self.memory, ..Budget::new(self.max_batch) }
    }

    /// What decisions on how kernels run are made for.
    pub fn machine(&self) -> Machine {
        Machine::of(self.isa).with_cores(self.threads)
    }
}
