//! How kernels run: in what pieces, by which code, on which threads.
//!
//! In: kernels, the largest batch and a [`Machine`]. Out: a [`Tiling`], every choice with its reason, which `Stage::Plan` prints.
//! Memory is laid out and code emitted as it says, and a choice may be changed before that: then only the time changes, and no bit
//! of a result but where a choice says so. Absent on purpose: what is computed and stored, and the order of sums, which were
//! decided when kernels were made; and places in memory.

mod cost;
mod row_prefetch;
mod sample_prefetch;
mod groups;
mod kept;
mod loops;
mod machine;
pub mod matmul;
mod text;
mod tiles;
mod turns;
mod units;
mod window_prefetch;

use std::ops::Range;

use crate::fuse::Budget;
use crate::kernel::{Fused, Kernel};

pub use groups::{GroupTiling, TilePoints};
pub use kept::{Keep, Kept, KeptRight, few_in_place};
pub use loops::LoopTiling;
pub use machine::{Isa, Machine, Tile};
pub use matmul::Matmul;
use matmul::{RightOperand, RunsLeft};
pub use row_prefetch::RowPrefetch;
pub use sample_prefetch::SamplePrefetch;
pub use tiles::{AT_ONCE, Prefetch, StageTiling, VECTORS, Wide};
pub use turns::Turns;
pub use units::{Alone, COLUMNS, Columns, UnitRows, Units};
pub use window_prefetch::WindowPrefetch;

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
    /// Group by group.
    pub groups: Vec<GroupTiling>,
    /// Loop by loop.
    pub loops: Vec<LoopTiling>,
}

/// How a kernel runs.
#[derive(Clone, Debug)]
pub struct KernelTiling {
    /// How its product is computed, if it has one.
    pub matmul: Option<Matmul>,
    /// The stages of a row.
    pub stages: Vec<StageTiling>,
    /// How many rows take each of them together, if several do.
    pub turns: Option<Turns>,
    /// What several threads share of it, if it is in no group.
    pub units: Units,
    /// What of it is made of parameters once, and kept from run to run.
    pub kept: Option<Kept>,
    /// What is prefetched while its product is computed.
    pub row_prefetch: Option<RowPrefetch>,
    /// What of the next sample is prefetched during its products, if a sample has several.
    pub sample_prefetch: Option<SamplePrefetch>,
    /// What is prefetched between its products, if they are of windows.
    pub window_prefetch: Option<WindowPrefetch>,
}

// Fusion and tiling call the same right operands large.
const _: () = assert!(Budget::new(1).cache == Machine::of(Isa::Portable).reread());

/// Decides how kernels run.
pub fn tile(fused: &Fused, max_batch: usize, machine: Machine) -> Tiling {
    let params = fused.slots.params.iter().map(|slot| slot.shape.iter().product::<usize>());
    let params = params.fold(0usize, |sum, len| sum.saturating_add(4 * len.next_multiple_of(16)));
    let resident = params <= machine.second_cache;
    let (kernels, groups, loops) = (Vec::new(), Vec::new(), Vec::new());
    // What groups were formed for.
    let m_tile = Budget::new(max_batch).rows;
    let mut tiling = Tiling { machine, max_batch, m_tile, skinny_rows: 128, resident, kernels, groups, loops };
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let matmul = kernel.dot.as_ref().map(|dot| matmul::decide(&tiling, kernel, (dot, right(fused, index))));
        let (stages, units) = (Vec::new(), Units::default());
        tiling.kernels.push(KernelTiling {
            matmul,
            stages,
            turns: None,
            units,
            kept: None,
            row_prefetch: None,
            sample_prefetch: None,
            window_prefetch: None,
        });
    }
    for index in 0..fused.kernels.len() {
        tiling.kernels[index].stages = tiles::stages(fused, &tiling, index);
        tiling.kernels[index].turns = turns::decide(fused, &tiling, index);
        tiling.kernels[index].units = units::units(fused, &tiling, index..index + 1);
        tiling.kernels[index].row_prefetch = row_prefetch::decide(fused, &tiling, index);
        tiling.kernels[index].sample_prefetch = sample_prefetch::decide(fused, &tiling, index);
        tiling.kernels[index].window_prefetch = window_prefetch::decide(fused, &tiling, index);
    }
    tiling.groups = fused.groups.iter().map(|group| groups::decide(fused, &tiling, group)).collect();
    tiling.loops = (0..fused.loops.len()).map(|number| loops::decide(fused, &tiling, number)).collect();
    tiling
}

/// How often the right operand of a kernel's product comes.
fn right(fused: &Fused, index: usize) -> RightOperand {
    if fused.is_shared(index) {
        return RightOperand::Tile;
    }
    let kernel = &fused.kernels[index];
    let Some(dot) = kernel.dot.as_ref().filter(|_| fused.loop_of(index).is_some()) else {
        return RightOperand::Once;
    };
    let written = |other: usize| fused.kernels[other].writes.iter().any(|write| write.buffer == dot.b);
    match dot.positions[1] != 0 || fused.run_of(index).any(written) {
        true => RightOperand::OfStep,
        false => RightOperand::Steps(kernel.times()),
    }
}

impl Tiling {
    /// Rows of a kernel's product that are computed in one go: whole blocks. The gradient of a window reads both operands once for all
    /// its rows, part by part while they are in a cache.
    pub fn m_tile_of(&self, kernel: &Kernel) -> usize {
        if let Some(windows) = kernel.winograd_windows() {
            let block = windows.block();
            return block * (self.m_tile / block).max(1);
        }
        match &kernel.dot {
            Some(dot) if dot.in_runs && dot.inner().is_batch() => {
                kernel.row_count().at(self.max_batch).next_power_of_two().max(self.m_tile)
            }
            _ => self.m_tile,
        }
    }

    /// What several threads share of a group or loop, or of a kernel that is in none: rows of the first of these kernels.
    pub fn units(&self, fused: &Fused, kernel: usize) -> Units {
        let of_loop = || fused.loop_number(kernel).map(|number| self.loops[number].units);
        let of_group = fused.group_number(kernel).map(|number| self.groups[number].units);
        of_group.or_else(of_loop).unwrap_or(self.kernels[kernel].units)
    }

    /// How many points of kernels that run together are too few to repay rearranging right operands for several threads.
    pub fn skinny_points(&self, fused: &Fused, run: Range<usize>) -> usize {
        self.skinny_rows / run.map(|index| fused.rows_of_point(index)).max().unwrap_or(1)
    }

    /// How many points of a group are a tile, or samples of a loop take their steps together, or rows of a kernel that is in none.
    pub fn points(&self, fused: &Fused, kernel: usize) -> usize {
        let prefetching = self.kernels[kernel].row_prefetch.as_ref().map(|prefetch| prefetch.rows);
        let own = || prefetching.unwrap_or_else(|| self.m_tile_of(&fused.kernels[kernel]));
        let by_samples = fused.loop_number(kernel).filter(|&number| fused.loops[number].rows.is_some());
        let of_loop = by_samples.map(|number| self.loops[number].samples);
        let of_group = fused.group_number(kernel).map(|number| self.groups[number].points);
        of_group.or(of_loop).unwrap_or_else(own)
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

    /// Whether it does not run, as all that it computes is kept from run to run.
    pub fn is_kept(&self) -> bool {
        self.kept == Some(Kept::Results)
    }

    /// How the left operand of its product is read, if that is one in runs.
    pub fn runs_left(&self) -> Option<RunsLeft> {
        match self.matmul {
            Some(Matmul::InRuns { left, .. }) => Some(left),
            _ => None,
        }
    }

    /// What all rows of its product have in common, which is made ahead of any, if it is in the form of Winograd.
    pub fn ahead(&self) -> Option<matmul::Ahead> {
        match self.matmul {
            Some(Matmul::Winograd { ahead, .. }) => Some(ahead),
            _ => None,
        }
    }
}
