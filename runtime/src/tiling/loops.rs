//! How many samples of a loop take all steps before others take the first.

use std::collections::BTreeSet;

use crate::kernel::{BufferId, Fused};

use super::{Alone, Tiling, UnitRows, Units};

/// How a loop runs.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopTiling {
    /// Samples that take all steps together.
    pub samples: usize,
    /// Bytes of one step that so many samples pass on from kernel to kernel.
    pub bytes: usize,
    /// What several threads share of it: rows of its first kernel.
    pub units: Units,
}

/// How a loop runs; one inside of another as that does.
pub(super) fn decide(fused: &Fused, tiling: &Tiling, number: usize) -> LoopTiling {
    let outermost = std::iter::successors(Some(number), |&number| fused.loop_around(number)).last();
    let run = &fused.loops[outermost.unwrap_or(number)];
    let kernels = run.kernels.clone();
    let rows = run.rows.as_deref().unwrap_or(&[1]);
    let most = rows.iter().copied().max().unwrap_or(1).max(1);
    // Of each sample, what a step passes on.
    let writes = kernels.clone().flat_map(|index| &fused.kernels[index].writes);
    let passed: BTreeSet<BufferId> =
        writes.filter(|write| write.access.position == 0).map(|write| write.buffer).collect();
    let mut bytes = passed.iter().map(|&buffer| fused.buffer(buffer).shape.len_at(1).saturating_mul(4)).sum::<usize>();
    for index in kernels.clone().filter(|&index| fused.kernels[index].dot.is_some()) {
        let kernel = &fused.kernels[index];
        if fused.dot_buffer(kernel).is_none() {
            bytes += 4 * kernel.row_count().at(1) * kernel.cols();
        }
    }
    let fits = tiling.machine.reread() / bytes.max(1);
    let least = tiling.machine.tile.rows.min(tiling.max_batch);
    let samples = fits.min(tiling.m_tile / most).min(tiling.max_batch).max(least).max(1);
    let time: f64 = kernels.clone().map(|index| tiling.nanoseconds(fused, index, tiling.max_batch)).sum();
    let alone = match () {
        () if run.rows.is_none() => Some(Alone::AllSamples),
        () if time < tiling.machine.meeting => Some(Alone::Short(time)),
        () if tiling.max_batch < 2 => Some(Alone::OneBlock(1)),
        () => None,
    };
    // As many samples as there are for each thread: where they are cut changes no bit.
    let unit = samples.min(tiling.max_batch.div_ceil(tiling.machine.cores)).max(1);
    let units = Units { alone, rows: unit * rows[0], why: UnitRows::Steps, ..Units::default() };
    LoopTiling { samples, bytes: bytes.saturating_mul(samples), units }
}
