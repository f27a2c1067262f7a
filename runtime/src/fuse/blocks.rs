//! How many rows a kernel works on at a time, and whether rows matter to it at all.
//!
//! In: a kernel that is whole but for these two. Out: both. A block is a chunk of the sums that end with the kernel.

use crate::kernel::{Arg, Class, Instruction, Kernel};
use crate::types::Dim;

/// Rows that a kernel without sums over its rows works on at a time: as many as one that has them.
const BLOCK: usize = 64;
/// Elements of the rows of such a block if a sample has one row: of few long ones there are blocks for several threads too.
const BLOCK_ELEMENTS: usize = 1 << 15;
/// Rows of a block in the gradient of a window or of few rows: several threads share it in units of some blocks.
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
    if let (None, Some(dot)) = (chunk, kernel.dot.as_ref().filter(|dot| dot.inner().is_batch())) {
        // The rows of a tap, or a part of them.
        let taps = kernel.runs().and_then(|runs| Some(runs.rows.last()?.0.factor())).unwrap_or(1);
        let rows = if dot.in_runs { taps } else { kernel.row_count().factor() };
        match rows.is_multiple_of(TAP_ROWS) {
            true if dot.in_runs || rows <= BLOCK => return TAP_ROWS,
            false if dot.in_runs => return rows.min(BLOCK),
            _ => {}
        }
    }
    let of_block = match kernel.flat {
        true => (FLAT_BLOCK / kernel.cols()).max(1),
        false if kernel.dot.is_none() && kernel.row_count().factor() == 1 => {
            (BLOCK_ELEMENTS / kernel.cols().max(1)).clamp(1, BLOCK)
        }
        false => BLOCK,
    };
    let rows = chunk.unwrap_or(of_block);
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
