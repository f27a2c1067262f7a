//! How many rows a kernel works on at a time, and whether rows matter to it at all.
//!
//! In: a kernel that is whole but for these two. Out: both. A block is a chunk of the sums that end with the kernel.

use crate::kernel::{Arg, Class, Instruction, Kernel};
use crate::types::Dim;

/// Rows that a kernel without sums over its rows works on at a time: as many as one that has them.
const BLOCK: usize = 64;
/// Rows of a block in the gradient of a window: several threads share it in units of some blocks.
const TAP_ROWS: usize = 8;
/// Elements of a block in a flat kernel.
const FLAT_BLOCK: usize = 8192;

/// How many rows a kernel works on at a time.
pub(super) fn block(kernel: &Kernel) -> usize {
    if let Some(windows) = kernel.winograd_windows() {
        return windows.block();
    }
    let sums = (0..kernel.body.len()).filter(|&index| kernel.ends_later(index));
    let chunk = sums.filter_map(|index| kernel.body[index].order()).map(|order| order.chunk).next();
    let window = kernel.dot.as_ref().filter(|dot| dot.in_runs && dot.inner().is_batch());
    if let (None, Some(_)) = (chunk, window) {
        // The rows of a tap, or a part of them.
        let taps = kernel.runs().and_then(|runs| Some(runs.rows.last()?.0.factor())).unwrap_or(1);
        return if taps.is_multiple_of(TAP_ROWS) { TAP_ROWS } else { taps.min(BLOCK) };
    }
    let rows = chunk.unwrap_or(if kernel.flat { (FLAT_BLOCK / kernel.cols()).max(1) } else { BLOCK });
    match kernel.row_count() {
        Dim::Fixed(most) => rows.min(most.max(1)),
        Dim::Batch(_) => rows,
    }
}

/// Whether rows do not matter, so that a block is one run of elements. They do where their elements are added up, unless there
/// is one row or one column.
pub(super) fn is_flat(kernel: &Kernel) -> bool {
    if !kernel.is_plain() {
        return false;
    }
    let element = |class: Class| matches!(class, Class::Element | Class::Single);
    let plain_arg = |&arg: &Arg| element(kernel.arg_class(arg)) && !matches!(arg, Arg::Index(_));
    let one = kernel.row_count() == Dim::Fixed(1) || kernel.cols() == 1;
    let plain = |(index, instruction): (usize, &Instruction)| {
        let reduces = instruction.reduction().is_none() || one && kernel.is_over_everything(index);
        instruction.stage == 0 && element(kernel.class(index)) && instruction.args.iter().all(plain_arg) && reduces
    };
    let writes = kernel.writes.iter().all(|write| {
        let written = if write.copied { plain_arg(&write.value) } else { true };
        written && element(kernel.class_of(write.access.at.axes()))
    });
    kernel.dot.is_none() && kernel.body.iter().enumerate().all(plain) && writes
}
