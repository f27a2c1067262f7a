//! The numbers by which the functions of a program call one another: its kernels, its entry, what it imports from the runtime,
//! then what several threads run.

use super::Import;
use crate::kernel::Fused;

/// The numbers of a program's functions. Who declares them to a linker does so in this order.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub(super) kernels: u32,
}

impl Numbers {
    /// Those of a program with these kernels.
    pub fn of(fused: &Fused) -> Numbers {
        Numbers { kernels: fused.kernels.len() as u32 }
    }

    /// The function of a kernel.
    pub fn kernel(self, index: usize) -> u32 {
        index as u32
    }

    /// The function that runs everything.
    pub fn entry(self) -> u32 {
        self.kernels
    }

    /// A function of the runtime.
    pub fn import(self, import: Import) -> u32 {
        self.entry() + 1 + import.index() as u32
    }

    /// A task or the end of a parallel region, counted from the first task.
    pub fn shared(self, index: usize) -> u32 {
        self.entry() + 1 + (Import::ALL.len() + index) as u32
    }
}
