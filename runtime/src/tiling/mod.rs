//! How kernels run: in what pieces, by which code, on which threads.
//!
//! In: kernels, the largest batch and a [`Machine`]. Out: a [`Tiling`], every choice with its reason, which `Stage::Plan` prints.
//! Memory is laid out and code emitted as it says, and a choice may be changed before that: then
//! only the time changes, and no bit of a result but where a choice says so. Absent on purpose: what is computed and stored, and the order of sums, which were decided when
//! kernels were made; and places in memory.

mod cost;
mod machine;
pub mod matmul;
mod prologue;
mod text;
mod tiles;
mod units;

use crate::kernel::{BufferId, Fused, Kernel};

pub use machine::{Isa, Machine, Tile};
pub use matmul::Matmul;
pub use tiles::{Functions, Prefetch, StageTiling, VECTORS, called, vectors};
pub use units::{Alone, COLUMNS, UnitRows, Units};

/// How the kernels of a program run.
#[derive(Clone, Debug)]
pub struct Tiling {
    /// On what.
    pub machine: Machine,
    /// The largest batch.
    pub max_batch: usize,
    /// Rows of a product that are computed in one go, one or more blocks of its kernel: enough to keep it efficient, few enough
    /// that what follows finds most of them in the second cache. A power of two, and a multiple of every block of several
    /// blocks.
    pub m_tile: usize,
    /// Rows that repay rearranging a right operand for several threads, or that a thread takes at least of a product with a
    /// large one. A divisor of `m_tile`.
    pub skinny_rows: usize,
    /// Whether the parameters stay in the second cache from one run to the next.
    pub resident: bool,
    /// Kernel by kernel.
    pub kernels: Vec<KernelTiling>,
}

/// How a kernel runs.
#[derive(Clone, Debug)]
pub struct KernelTiling {
    /// How its product is computed, if it has one.
    pub matmul: Option<Matmul>,
    /// Whether the kernel before is its prologue: computes rows of the left operand just before they are multiplied.
    pub prologue: bool,
    /// The left operand that its prologue passes on in scratch: nobody else reads it.
    pub passed_on: Option<BufferId>,
    /// The stages of a row.
    pub stages: Vec<StageTiling>,
    /// What several threads share of it.
    pub units: Units,
}

/// Decides how kernels run.
pub fn tile(fused: &Fused, max_batch: usize, machine: Machine) -> Tiling {
    tiled(fused, max_batch, machine, true)
}

/// The same for kernels that run one after the other, so that each can be timed: none is a prologue.
pub fn tile_apart(fused: &Fused, max_batch: usize, machine: Machine) -> Tiling {
    tiled(fused, max_batch, machine, false)
}

fn tiled(fused: &Fused, max_batch: usize, machine: Machine, prologues: bool) -> Tiling {
    let params = fused.slots.params.iter().map(|slot| slot.shape.iter().product::<usize>());
    let params = params.fold(0usize, |sum, len| sum.saturating_add(4 * len.next_multiple_of(16)));
    let resident = params <= machine.second_cache;
    let mut tiling = Tiling { machine, max_batch, m_tile: 256, skinny_rows: 128, resident, kernels: Vec::new() };
    tiling.kernels = fused.kernels.iter().map(|kernel| tiling.without_neighbors(kernel)).collect();
    if prologues {
        prologue::find(fused, &mut tiling);
    }
    for index in 0..fused.kernels.len() {
        let passed_on = tiling.kernels.get(index + 1).and_then(|next| next.passed_on);
        tiling.kernels[index].stages = tiles::stages(fused, &tiling, index, passed_on);
        tiling.kernels[index].units = units::units(fused, &tiling, index);
    }
    tiling
}

impl Tiling {
    /// What is decided of a kernel by itself.
    fn without_neighbors(&self, kernel: &Kernel) -> KernelTiling {
        let matmul = kernel.dot.as_ref().map(|dot| matmul::decide(self, kernel, dot));
        KernelTiling { matmul, prologue: false, passed_on: None, stages: Vec::new(), units: Units::default() }
    }

    /// Rows of a kernel's product that are computed in one go, a power of two. The gradient of a window reads both operands once for all
    /// its rows, part by part while they are in a cache.
    pub fn m_tile_of(&self, kernel: &Kernel) -> usize {
        match &kernel.dot {
            Some(dot) if dot.in_runs && dot.inner().is_batch() => {
                kernel.row_count().at(self.max_batch).next_power_of_two().max(self.m_tile)
            }
            _ => self.m_tile,
        }
    }

    /// The prologue of a kernel.
    pub fn prologue(&self, kernel: usize) -> Option<usize> {
        self.kernels[kernel].prologue.then(|| kernel - 1)
    }

    /// Whether a kernel is the prologue of the next one, and so does not run by itself.
    pub fn is_prologue(&self, kernel: usize) -> bool {
        self.kernels.get(kernel.saturating_add(1)).is_some_and(|next| next.prologue)
    }
}

impl KernelTiling {
    /// Whether its product is so small that it is written out in the kernel.
    pub fn is_inline(&self) -> bool {
        matches!(self.matmul, Some(Matmul::WrittenOut { .. }))
    }

    /// Whether the right operand of its product is rearranged once for all rows.
    pub fn is_packed(&self) -> bool {
        matches!(self.matmul, Some(Matmul::Called { right: matmul::Right::Packed(_), .. }))
    }
}
