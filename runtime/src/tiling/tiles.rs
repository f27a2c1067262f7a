//! How the elements of a row are worked on: in vectors of how many lanes, how many at a time, and what is prefetched.

use std::collections::HashSet;

use crate::ir::Op;
use crate::ir::ops::is_transcendental;
use crate::kernel::{Access, Arg, BufferId, Class, Fused, Kernel, LANES, Mode};
use crate::types::Dim;

use super::{Machine, Tiling};

/// Vectors that are worked on at a time where nothing needs many registers.
pub const VECTORS: usize = 4;
/// How far ahead elements are prefetched. Measured with two arrays of 64 MiB that are updated: 57 GB/s without, 58 with 1 KiB, 63 with
/// two, 70 with four or more (AMD Zen 5).
const AHEAD: usize = 1024;
/// Elements that are prefetched in one go, by what does not prefetch each vector by itself: more at once would wait for one another.
pub const AT_ONCE: usize = 256;
/// Fewer elements are not worth a call of their own.
const LEAST_CALLED: usize = 32;
/// Elements of a run beside which a call does not count.
const MOST_TOGETHER: usize = 512;
/// Elements of a short row: a block of such rows stays in the first cache.
const SHORT: usize = 128;
/// Vectors of columns that go down the rows side by side. One alone reads part of every row and comes back for the next part when
/// the lines are gone: measured with 4 MB of rows of 128 columns, 10.7 and 24.1 GB/s for moments, 17 and 27 for a scale and shift.
const MOST_ACROSS: usize = 8;
/// Lanes of machines with 32 vector registers.
const LANES_OF_MANY: usize = 16;
/// Vectors of a run for which constants have registers.
const LEAST_VECTORS: usize = 16;
/// Shorter rows are not worth a call for each matrix.
const LEAST_PREFETCHED: usize = 128;

/// How a stage of a row runs.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTiling {
    /// Vectors of four lanes that are worked on at a time, by what has no wider ones and for what those leave over.
    pub vectors: usize,
    /// The wider vectors of the machine, for as many elements of a row as fill those.
    pub wide: Wide,
    /// How many elements each run has, if one call goes over all runs of a row, and over rows.
    pub together: Option<usize>,
    /// Whether wide vectors have constants in registers all along the run, rather than read them at every element.
    pub constants: bool,
    /// What is prefetched.
    pub prefetch: Prefetch,
}

/// Whether a stage has vectors wider than those of generated code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wide {
    /// With so many lanes.
    Lanes(usize),
    /// With so many, all rows of some vectors of columns before the next ones: as many side by side as a row has, up to `MOST_ACROSS`,
    /// and as leave registers for their sums.
    Down {
        /// Of a vector.
        lanes: usize,
        /// Vectors side by side, at most.
        across: usize,
    },
    /// No, as so few elements follow one another.
    Short(usize),
    /// No, as the machine has none.
    None,
}

/// What is prefetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// What is so many elements ahead in every matrix.
    Ahead {
        /// How many.
        elements: usize,
        /// What the kernel goes through, in bytes: more than stays in the second cache.
        bytes: usize,
    },
    /// What the next row reads and writes, at places that do not follow those of the present one: vector by vector, as that is
    /// worked on. All of a row at once would wait for one another.
    NextRow {
        /// What the kernel goes through, in bytes: more than stays in the second cache.
        bytes: usize,
    },
    /// Nothing, as all bytes stay in the second cache.
    Cached(usize),
    /// Nothing, as rows are too short or one run of elements, or it was done in the first stage.
    Nothing,
}

/// The stages of a kernel.
pub(super) fn stages(fused: &Fused, tiling: &Tiling, index: usize) -> Vec<StageTiling> {
    let kernel = &fused.kernels[index];
    let wide = wide(kernel, tiling);
    let together = match wide {
        Wide::Lanes(lanes) => together(kernel, lanes, tiling.max_batch),
        Wide::Down { .. } | Wide::Short(_) | Wide::None => None,
    };
    let stage = |stage: usize| {
        let element = |&at: &usize| kernel.body[at].stage == stage && kernel.class(at) == Class::Element;
        let steps: Vec<usize> = (0..kernel.body.len()).filter(element).collect();
        StageTiling {
            vectors: vectors(kernel, &steps),
            wide,
            together,
            constants: constants(kernel, tiling, &steps),
            prefetch: if stage == 0 { prefetch(fused, tiling, kernel) } else { Prefetch::Nothing },
        }
    };
    (0..=kernel.last_stage()).map(stage).collect()
}

fn wide(kernel: &Kernel, tiling: &Tiling) -> Wide {
    let Machine { wide_vectors, tile, .. } = tiling.machine;
    if !wide_vectors {
        return Wide::None;
    }
    let rows = kernel.row_count().at(tiling.max_batch);
    let run = match kernel.flat {
        true => kernel.block.min(rows).saturating_mul(kernel.cols()),
        false => kernel.axes[kernel.axes.len() - 1].factor(),
    };
    if goes_down(kernel, tile.lanes) && rows.saturating_mul(kernel.cols()) >= 4 * LEAST_CALLED {
        return Wide::Down { lanes: tile.lanes, across: across(kernel.cols() / tile.lanes) };
    }
    let called = run >= LEAST_CALLED || together(kernel, tile.lanes, tiling.max_batch).is_some();
    if called { Wide::Lanes(tile.lanes) } else { Wide::Short(run) }
}

/// How many elements each run has, if they are so few that a call for each would take long beside them, and one can go over several, in
/// vectors of so many lanes. Measured with pools over 28 x 28 positions of 32 channels: 417 to 287 us back, 217 to 131 us forward; with
/// causal attention of 64 heads over 64 positions, forward: 160 to 143 us; with 16 channels, which are not worth a call of their own,
/// all of a step: 4.45 to 4.01 ms (AMD Zen 5).
fn together(kernel: &Kernel, lanes: usize, max_batch: usize) -> Option<usize> {
    let (run, around) = kernel.axes.split_last()?;
    let run = run.factor();
    let several = around.iter().any(|dim| dim.at(max_batch) > 1);
    // Sums along a row end with the only run that it has, in whole lanes.
    let sums = (0..kernel.body.len()).any(|index| kernel.gathers_in_lanes(index));
    let (alone, whole) = (around.len() == kernel.rows, if sums || kernel.triangle.is_some() { LANES } else { lanes });
    let fills = run <= MOST_TOGETHER && run.is_multiple_of(whole) && (alone || !sums);
    (!kernel.flat && several && fills && lies_evenly(kernel)).then_some(run)
}

/// Whether whatever a kernel reads and writes lies evenly apart from run to run, and nothing is added to what others are.
fn lies_evenly(kernel: &Kernel) -> bool {
    let evenly = |access: &Access| access.gather.is_none() && access.bounds.is_empty();
    kernel.reads.iter().all(|read| evenly(&read.access))
        && kernel.writes.iter().all(|write| write.mode == Mode::Set)
        && !(0..kernel.body.len()).any(|index| kernel.is_over_everything(index))
}

/// Whether the constants of some steps, if they have any, are worth registers: there are enough of those, and runs are so long that to
/// fill them does not count. Measured with 512
/// elements of a gate of 19 constants: 4.3 to 3.5 ns for sixteen elements (AMD Zen 5).
fn constants(kernel: &Kernel, tiling: &Tiling, steps: &[usize]) -> bool {
    let Machine { wide_vectors, tile, .. } = tiling.machine;
    let run = if kernel.flat { kernel.block * kernel.cols() } else { kernel.axes[kernel.axes.len() - 1].factor() };
    let is_made_of_some = |&step: &usize| {
        let each = &kernel.body[step];
        each.args.iter().any(|arg| matches!(arg, Arg::Const(_))) || is_long(&each.origin.op)
    };
    wide_vectors
        && tile.lanes == LANES_OF_MANY
        && run >= LEAST_VECTORS * tile.lanes
        && steps.iter().any(is_made_of_some)
}

/// Of so many vectors, how many go down the rows side by side, so that none is left over.
fn across(vectors: usize) -> usize {
    (1..=MOST_ACROSS).rfind(|across| vectors.is_multiple_of(*across)).unwrap_or(1)
}

/// Whether the rows of a kernel are so short that to begin one costs about as much as its elements, and nothing is known of a row by
/// itself: then they follow one another in each vector of columns.
fn goes_down(kernel: &Kernel, lanes: usize) -> bool {
    let plain = kernel.is_plain() && !kernel.flat && kernel.last_stage() == 0 && kernel.row_count() != Dim::Fixed(1);
    let short = kernel.cols() <= SHORT && kernel.cols().is_multiple_of(lanes);
    let known = |arg: &Arg| !matches!(arg, Arg::Index(_)) && kernel.arg_class(*arg) != Class::Row;
    let summed = |index: usize| kernel.arg_class(Arg::Value(index)) == Class::Column;
    let body = || kernel.body.iter().enumerate();
    let args = body().all(|(_, each)| each.args.iter().all(known));
    let results = body().all(|(index, each)| each.reduction().is_none() || summed(index));
    let copies = kernel.writes.iter().all(|write| known(&write.value));
    plain && short && args && results && copies && body().all(|(index, _)| kernel.class(index) != Class::Row)
}

/// Vectors at a time of some steps: a polynomial or a hash leaves registers for two.
fn vectors(kernel: &Kernel, steps: &[usize]) -> usize {
    let long = steps.iter().any(|&step| is_long(&kernel.body[step].origin.op));
    if long { 2 } else { VECTORS }
}

/// Whether an operation is a polynomial or a hash.
fn is_long(op: &Op) -> bool {
    *op == Op::Uniform || is_transcendental(op)
}

fn prefetch(fused: &Fused, tiling: &Tiling, kernel: &Kernel) -> Prefetch {
    let cols = kernel.cols();
    if kernel.flat || cols < LEAST_PREFETCHED {
        return Prefetch::Nothing;
    }
    if !kernel.is_plain() {
        return next_row(fused, tiling, kernel);
    }
    let mut matrices = matrices(fused, kernel);
    matrices.retain(|&buffer| !fused.is_tile(buffer));
    let floats = kernel.row_count().at(tiling.max_batch).saturating_mul(cols);
    let bytes = floats.saturating_mul(matrices.len()).saturating_mul(4);
    match bytes >= tiling.machine.reread() {
        true => Prefetch::Ahead { elements: AHEAD, bytes },
        false => Prefetch::Cached(bytes),
    }
}

/// What is prefetched of rows that lie apart: the machine's own prefetcher does not find the next one.
fn next_row(fused: &Fused, tiling: &Tiling, kernel: &Kernel) -> Prefetch {
    let rows = kernel.row_count().at(tiling.max_batch);
    let wide = matches!(wide(kernel, tiling), Wide::Lanes(_));
    if !wide || kernel.axes.len() - kernel.rows != 1 || rows < 2 {
        return Prefetch::Nothing;
    }
    let reads = kernel.reads.iter().filter(|read| kernel.comes_in_rows(&read.access, fused.is_tile(read.buffer)));
    let writes = kernel.writes.iter().filter(|write| kernel.comes_in_rows(&write.access, fused.is_tile(write.buffer)));
    let floats = rows.saturating_mul(kernel.cols()).saturating_mul(kernel.times());
    match floats.saturating_mul(reads.count() + writes.count()).saturating_mul(4) {
        0 => Prefetch::Nothing,
        bytes if bytes >= tiling.machine.reread() => Prefetch::NextRow { bytes },
        bytes => Prefetch::Cached(bytes),
    }
}

/// The buffers that a kernel of rows and columns goes through element by element.
pub(super) fn matrices(fused: &Fused, kernel: &Kernel) -> HashSet<BufferId> {
    let read = |arg: Arg, stage: usize| match arg {
        _ if kernel.arg_class(arg) != Class::Element => None,
        Arg::Read(read) => Some(kernel.reads[read].buffer),
        Arg::Dot => fused.dot_buffer(kernel),
        Arg::Value(value) if kernel.body[value].stage < stage => {
            kernel.buffer_of(arg, |buffer| fused.is_computed(buffer))
        }
        _ => None,
    };
    let args = kernel.body.iter().flat_map(|each| each.args.iter().map(|&arg| (arg, each.stage)));
    let copied = kernel.writes.iter().filter(|write| write.copied || write.value == Arg::Dot);
    let args = args.chain(copied.map(|write| (write.value, 0)));
    let mut matrices: HashSet<BufferId> = args.filter_map(|(arg, stage)| read(arg, stage)).collect();
    matrices.extend(kernel.writes.iter().filter_map(|write| {
        let by_itself = write.value == Arg::Dot && !write.copied && fused.is_computed(write.buffer);
        let here = !kernel.is_written_later(write) && !by_itself;
        (here && kernel.class_of(write.access.at.axes()) == Class::Element).then_some(write.buffer)
    }));
    matrices
}
