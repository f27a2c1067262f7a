//! What several threads share of a kernel: the units that it is cut into. The cut of what is added up follows the
//! problem alone. Some units follow the number of threads: those that hold no part of a sum, and several blocks, whose sums are merged in
//! the order that they have by themselves. No bit depends on it.

use std::ops::Range;

use crate::kernel::{CHUNK, Fused, Kernel, Mode};

use super::matmul::{GATHERED_TERMS, RunsLeft};
use super::{Matmul, Tiling};

/// Columns of a right operand that are rearranged in one go: some panels of every instruction set.
pub const COLUMNS: usize = 128;
/// Columns of a product of few rows that are computed in one go: whole panels of every instruction set. Measured with one
/// row of 1024 columns behind the cache, 28.6 GB/s, against 23.8 and 22.9 for 128 and 256: more of what the machine fetches
/// on its own is then what comes next.
const PRODUCT_COLUMNS: usize = 64;
/// Bytes of a right operand that up to four rows read faster in long runs, also where threads share them. Measured with 2048 columns
/// and terms and two threads, in units of 64 columns and of 1024: one to four rows in 326, 400, 451 and 1,472 us, and in 331, 380, 404
/// and 375 with AVX2; with 4096, in 1.4, 3.3, 4.6 and 6.4 ms, and in 1.7, 1.6, 1.5 and 1.7.
const LONG_RUNS: usize = 16 << 20;
/// Fewest and most columns of such a run. One row gains nothing by it, and loses a seventh in runs of 512.
const RUN_COLUMNS: [usize; 2] = [1024, 2048];
/// Bytes of a right operand that are read faster by one thread than two can meet.
const READ_ALONE: usize = 64 << 10;
/// Units of a product's rows of which there are enough for many threads, so that they may as well be large.
const MANY: usize = 8;

/// Units that each thread finds at least, of the largest batch, where several are made one: enough to be shared evenly.
const UNITS_OF_THREAD: usize = 16;
/// Most units that are made one, as a power of two: of small batches there are several all the same.
const MOST_MERGED: u32 = 4;

/// How a kernel is cut for several threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Units {
    /// Why one thread runs all of it.
    pub alone: Option<Alone>,
    /// Rows of a unit.
    pub rows: usize,
    /// Why so many.
    pub why: UnitRows,
    /// How many such units are one where the largest batch has many rows, since a unit merges the sums of its blocks.
    pub merged: usize,
    /// Columns of a unit where there are no more rows than one unit has: to be cut that way if the region has room.
    pub columns: Option<Columns>,
}

impl Default for Units {
    fn default() -> Units {
        Units { alone: None, rows: 0, why: UnitRows::Block, merged: 1, columns: None }
    }
}

/// Columns of a product of few rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// How many a unit has.
    pub number: usize,
    /// How many bytes of the right operand are read in runs of that length, if that is why there are so many.
    pub long: Option<usize>,
}

/// Why a kernel is not cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Alone {
    /// Rows are added to a table in their order.
    InOrder,
    /// It takes so few nanoseconds that it is not worth a meeting.
    Short(f64),
    /// It has so few rows, not more than a block.
    OneBlock(usize),
    /// A step of a loop needs all samples at once.
    AllSamples,
}

/// Why a unit has so many rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum UnitRows {
    /// They are a block.
    #[default]
    Block,
    /// So many bytes of a right operand are read by every unit.
    LargeRight(usize),
    /// A product in runs has enough units of so many rows.
    Shared,
    /// Each unit reads all of both operands, so there are few.
    AllTerms,
    /// Each unit gathers the terms of all rows, so there are few.
    Gathered,
    /// A single sample has several units.
    Sample,
    /// They take all steps of a loop, one thread each.
    Steps,
    /// A kernel adds up over them, in order.
    Sums,
    /// They are a tile, of which each thread has parts.
    Tile,
}

/// How kernels that run together are cut: a group, or one that is in none. The rows are those of the first.
pub(super) fn units(fused: &Fused, tiling: &Tiling, run: Range<usize>) -> Units {
    let (first, max_batch) = (run.start, tiling.max_batch);
    let products: Vec<usize> = run.clone().filter(|&index| fused.kernels[index].dot.is_some()).collect();
    let wanted = products.iter().map(|&index| unit(fused, tiling, index));
    let (unit, why) = wanted.reduce(|x, y| if y.0 > x.0 { y } else { x }).unwrap_or_else(|| unit(fused, tiling, first));
    let columns = products.iter().find_map(|&index| columns(fused, tiling, index));
    let time: f64 = run.clone().map(|index| tiling.nanoseconds(fused, index, max_batch)).sum();
    let adds = |index: usize| fused.kernels[index].writes.iter().any(|write| write.mode == Mode::Add);
    let kernel = &fused.kernels[*products.last().unwrap_or(&first)];
    let rows = kernel.row_count().at(max_batch);
    let alone = match () {
        () if run.clone().any(adds) => Some(Alone::InOrder),
        () if time < tiling.machine.meeting => Some(Alone::Short(time)),
        () if rows <= kernel.block && columns.is_none() => Some(Alone::OneBlock(rows)),
        () => None,
    };
    let blocks = run
        .clone()
        .all(|index| !is_in_blocks(&fused.kernels[index]) || unit.is_multiple_of(fused.kernels[index].block));
    debug_assert!(run.len() > 1 || alone.is_some() || blocks, "{unit} rows are no whole blocks");
    let units = Units { alone, rows: unit, why, merged: 1, columns };
    Units { merged: merged(fused, tiling, run, &units), ..units }
}

/// How many units of kernels that run together become one. What a unit has merged of the sums of its blocks is read by one thread at
/// the end, half of it from the cache of another core: with 196 units of 256 rows by 32 channels that takes 12 us.
pub(super) fn merged(fused: &Fused, tiling: &Tiling, run: Range<usize>, units: &Units) -> usize {
    let cores = tiling.machine.cores;
    let ends_later = |kernel: &Kernel| (0..kernel.body.len()).any(|index| kernel.ends_later(index));
    let sums = run.clone().any(|index| ends_later(&fused.kernels[index]));
    let by_blocks = matches!(units.why, UnitRows::Block | UnitRows::Shared | UnitRows::Sample);
    if cores == 1 || units.alone.is_some() || !sums || !by_blocks {
        return 1;
    }
    let number = fused.kernels[run.start].row_count().at(tiling.max_batch) / units.rows;
    (number / (UNITS_OF_THREAD * cores)).checked_ilog2().map_or(1, |log| 1 << log.min(MOST_MERGED))
}

/// How many rows of a kernel a thread takes at least, and why: as many as repay going through a right operand that is large, or
/// half a cache where the rows are many, as in gradients of wide weights. Of fewer rows each thread takes a share in one go: what is
/// added up over the batch has no right operand that was rearranged once for all.
fn unit(fused: &Fused, tiling: &Tiling, index: usize) -> (usize, UnitRows) {
    let (kernel, max_batch) = (&fused.kernels[index], tiling.max_batch);
    let rows = kernel.row_count().at(max_batch);
    let (reread, many) = (tiling.machine.reread(), rows >= MANY * tiling.skinny_rows);
    let large = kernel.dot.as_ref().and_then(|dot| {
        let bytes = dot.inner().at(max_batch).saturating_mul(kernel.cols()).saturating_mul(4);
        let large = if dot.inner().is_batch() { bytes >= reread } else { bytes > reread };
        large.then_some((bytes, dot.inner().is_batch() && !many))
    });
    let in_runs = kernel.dot.as_ref().filter(|dot| dot.in_runs);
    let gradient = kernel.dot.as_ref().filter(|dot| dot.inner().is_batch());
    let threads = tiling.machine.cores.min(MANY);
    match large {
        _ if matches!(tiling.kernels[index].runs_left(), Some(RunsLeft::GatheredRows(_))) => {
            // That takes as long as the product of half of the rows: more units than cores would gather for nothing. So few rows are
            // one block where they are added up, which is not shared.
            const { assert!(GATHERED_TERMS <= CHUNK) };
            (rows.div_ceil(threads), UnitRows::Gathered)
        }
        // Each of them reads both operands, the other threads' parts as well.
        _ if gradient.is_some_and(|dot| dot.in_runs || rows <= CHUNK) => {
            (kernel.block * rows.div_ceil(kernel.block).div_ceil(threads), UnitRows::AllTerms)
        }
        _ if in_runs.is_some() && rows >= MANY * tiling.m_tile_of(kernel) => {
            (tiling.m_tile_of(kernel), UnitRows::Shared)
        }
        Some((bytes, true)) => {
            let share = rows.div_ceil(tiling.machine.cores);
            let unit = share.div_ceil(share.div_ceil(tiling.m_tile_of(kernel)));
            (unit.next_multiple_of(kernel.block), UnitRows::LargeRight(bytes))
        }
        Some((bytes, false)) => (tiling.skinny_rows.next_multiple_of(kernel.block), UnitRows::LargeRight(bytes)),
        None => (kernel.block, UnitRows::Block),
    }
}

/// Whether the rows of a kernel may only be cut between its blocks: each has a part of a sum, or squares that are computed as a whole.
fn is_in_blocks(kernel: &Kernel) -> bool {
    kernel.winograd_windows().is_some() || (0..kernel.body.len()).any(|index| kernel.ends_later(index))
}

/// How the product of few rows is cut by columns, if that is worth it: one of a batch that is called, and large. Where long runs
/// are read, each thread has one; the bits do not depend on it.
fn columns(fused: &Fused, tiling: &Tiling, index: usize) -> Option<Columns> {
    let kernel = &fused.kernels[index];
    let called = kernel.dot.as_ref().filter(|_| !tiling.kernels[index].is_inline() && kernel.has_plain_dot());
    let read = called.map_or(0, |dot| 4 * dot.inner().at(1) * kernel.cols());
    let in_runs = matches!(tiling.kernels[index].matmul, Some(Matmul::Called { skinny: Some(_), .. }));
    let share = (kernel.cols() / tiling.machine.cores).next_multiple_of(PRODUCT_COLUMNS);
    let long = Some(read).filter(|_| in_runs && read >= LONG_RUNS && share >= RUN_COLUMNS[0]);
    let number = long.map_or(PRODUCT_COLUMNS, |_| share.min(RUN_COLUMNS[1]));
    let worth = kernel.row_count().is_batch() && kernel.cols() > PRODUCT_COLUMNS && read >= READ_ALONE;
    worth.then_some(Columns { number, long })
}
