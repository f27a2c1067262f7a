//! What the units of a task merge of the partial results of their blocks, before the end of the region does the rest.

use super::{Task, Work};
use crate::kernel::Fused;

/// Partial results that each unit of a kernel's rows merges by itself, as far as they are branches of the tree in which all are merged. A
/// few results are then read from the cache of another core rather than all, whose lines take some ten nanoseconds each: the sums of
/// 32,768 rows by 16 channels, half of them another thread's, took 1.5 us rather than 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedAhead {
    /// Of how many blocks, where a unit has all of its rows.
    pub blocks: usize,
    /// Up to so many rows of the kernel are cut in another way, and nothing is merged.
    pub few: usize,
}

impl MergedAhead {
    /// What the units of a task merge of the partial results of one of its kernels, if anything.
    pub fn of(fused: &Fused, task: Task, index: usize) -> Option<MergedAhead> {
        let rows = |of_task: usize| of_task / fused.rows_of_point(task.kernel) * fused.rows_of_point(index);
        let (unit, block) = (rows(task.unit), fused.kernels[index].block);
        let several = unit > block && unit.is_multiple_of(block);
        let by_itself = task.work == Work::Rows && fused.loop_of(index).is_none();
        (by_itself && several).then_some(MergedAhead { blocks: unit / block, few: rows(task.skinny) })
    }
}
