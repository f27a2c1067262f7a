//! The numbers by which the functions of a program call one another: its kernels, its entry, what it imports from the runtime, its
//! functions with wide vectors, then what several threads run.

use super::Import;
use crate::kernel::Fused;

/// The numbers of a program's functions. Who declares them to a linker does so in this order.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub(super) kernels: u32,
    /// Functions with wide vectors.
    pub(super) wide: u32,
}

impl Numbers {
    /// Those of a program with these kernels.
    pub fn of(fused: &Fused) -> Numbers {
        Numbers { kernels: fused.kernels.len() as u32, wide: 0 }
    }

    /// The same once it is known how many functions with wide vectors there are: what several threads run comes after them.
    pub fn with_wide(self, count: usize) -> Numbers {
        Numbers { wide: count as u32, ..self }
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

    /// A function with wide vectors.
    pub fn wide(self, index: usize) -> u32 {
        self.entry() + 1 + (Import::ALL.len() + index) as u32
    }

    /// A task or the end of a parallel region, counted from the first task.
    pub fn shared(self, index: usize) -> u32 {
        self.wide(index) + self.wide
    }
}
