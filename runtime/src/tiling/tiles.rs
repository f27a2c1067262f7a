//! How the elements of a row are worked on: how many vectors at a time, with which functions called, and what is prefetched.

use std::collections::HashSet;

use crate::ir::Op;
use crate::ir::ops::function;
use crate::kernel::{Access, Arg, BufferId, Class, Fused, Kernel, Mode};
use crate::scalar::Function;
use crate::types::Dim;

use super::{Machine, Tiling};

/// Vectors that are worked on at a time where nothing needs many registers.
pub const VECTORS: usize = 4;
/// Most strips on the stack. They take half of the first cache.
const STRIPS: usize = 8;
/// Fewer elements are not worth a call.
const LEAST_CALLED: usize = 32;
/// Elements that are prefetched in one go, and how far ahead: more at once would wait for one another.
const AHEAD: usize = 256;
/// Shorter rows are not worth a call for each matrix.
const LEAST_PREFETCHED: usize = 128;

/// How a stage of a row runs.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTiling {
    /// Vectors that are worked on at a time, where functions are written out. Sums along the row have as many lanes.
    pub vectors: usize,
    /// How functions of its elements are computed.
    pub functions: Functions,
    /// Elements that are worked on at a time by a function with wide vectors, for as many of a row as fill those.
    pub wide: Option<usize>,
    /// What is prefetched.
    pub prefetch: Prefetch,
}

/// How transcendental functions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// There are none.
    None,
    /// They are called for a strip of elements at a time, where what they are functions of fits so many strips.
    Strips {
        /// Elements of a strip.
        elements: usize,
        /// Most strips at a time.
        most: usize,
        /// How many functions there are.
        functions: usize,
    },
    /// They are written out, as only so many elements would be a call.
    Few(usize),
    /// They are written out, as the kernel overwrites parameters, whose old values every element reads.
    Updates,
    /// They are written out, as a row of the kernel is not one run of elements, or some of what is read is not there.
    Nest,
    /// They are written out, as those that could be called have no wider vectors.
    Narrow,
}

/// What is prefetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// In every matrix so many elements, as many ahead.
    Ahead {
        /// How many.
        elements: usize,
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
    let stage = |stage: usize| {
        let element = |&at: &usize| kernel.body[at].stage == stage && kernel.class(at) == Class::Element;
        let steps: Vec<usize> = (0..kernel.body.len()).filter(element).collect();
        StageTiling {
            vectors: vectors(kernel, &steps, false),
            functions: functions(fused, kernel, &steps, &tiling.machine),
            wide: wide(kernel, &tiling.machine),
            prefetch: if stage == 0 { prefetch(fused, tiling, kernel) } else { Prefetch::Nothing },
        }
    };
    (0..=kernel.last_stage()).map(stage).collect()
}

/// The elements of a wide vector, where a row has as many one after the other.
fn wide(kernel: &Kernel, machine: &Machine) -> Option<usize> {
    let lanes = machine.wide_functions.then_some(machine.tile.lanes)?;
    let run = match kernel.flat {
        true => kernel.block.saturating_mul(kernel.cols()),
        false => kernel.axes[kernel.axes.len() - 1].factor(),
    };
    (run >= lanes).then_some(lanes)
}

/// Vectors at a time of some steps: a polynomial or a hash leaves registers for two, a function that is called takes none.
pub fn vectors(kernel: &Kernel, steps: &[usize], called: bool) -> usize {
    let op = |step: usize| &kernel.body[step].origin.op;
    let long = steps.iter().any(|&step| *op(step) == Op::Uniform || (!called && function(op(step)).is_some()));
    if long { 2 } else { VECTORS }
}

/// The function that may be called for a step.
pub fn called(kernel: &Kernel, step: usize) -> Option<Function> {
    let instruction = &kernel.body[step];
    let function = function(&instruction.origin.op)?;
    let in_memory = match instruction.args[0] {
        Arg::Value(_) | Arg::Dot => true,
        Arg::Read(read) => kernel.is_plain() || is_run(&kernel.reads[read].access),
        _ => false,
    };
    (in_memory && kernel.arg_class(instruction.args[0]) == Class::Element).then_some(function)
}

/// Whether what is read for a row lies there one element after the other.
fn is_run(access: &Access) -> bool {
    access.bounds.is_empty() && access.gather.is_none() && access.at.steps.last() == Some(&1)
}

/// Whether a row is one run of elements, for each of which there is all that is read.
fn is_of_runs(kernel: &Kernel) -> bool {
    let certain = |access: &Access| access.bounds.is_empty() && access.gather.is_none();
    let whole = (0..kernel.body.len()).all(|index| !kernel.is_within(index));
    let sets = kernel.writes.iter().all(|write| write.mode == Mode::Set);
    kernel.axes.len() == kernel.rows + 1 && whole && sets && kernel.reads.iter().all(|read| certain(&read.access))
}

fn functions(fused: &Fused, kernel: &Kernel, steps: &[usize], machine: &Machine) -> Functions {
    let functions = steps.iter().filter(|&&step| called(kernel, step).is_some()).count();
    // A kernel with functions writes over no operand of its own, as the plan sees to, but for parameters.
    let updates = kernel.writes.iter().any(|write| !fused.is_computed(write.buffer));
    let elements = match kernel.row_count() {
        _ if !kernel.flat => Some(kernel.cols()),
        Dim::Fixed(rows) if rows <= kernel.block => Some(rows * kernel.cols()),
        _ => None,
    };
    match elements.filter(|&elements| elements < LEAST_CALLED) {
        _ if functions == 0 => Functions::None,
        _ if !machine.wide_functions => Functions::Narrow,
        _ if !kernel.is_plain() && !is_of_runs(kernel) => Functions::Nest,
        _ if updates => Functions::Updates,
        Some(elements) => Functions::Few(elements),
        None => Functions::Strips { elements: machine.first_cache / 2 / 4 / STRIPS, most: STRIPS, functions },
    }
}

fn prefetch(fused: &Fused, tiling: &Tiling, kernel: &Kernel) -> Prefetch {
    let cols = kernel.cols();
    if kernel.flat || !kernel.is_plain() || cols < LEAST_PREFETCHED {
        return Prefetch::Nothing;
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

/// The buffers that a kernel of rows and columns goes through element by element.
fn matrices(fused: &Fused, kernel: &Kernel) -> HashSet<BufferId> {
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
