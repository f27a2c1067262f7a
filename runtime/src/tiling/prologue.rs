//! Which kernels are prologues: what a product's left operand is made of is computed for some rows, and multiplied while those
//! rows are in the cache.
//!
//! A prologue is a kernel of its own that does not run by itself. Whoever computes some rows of the product, all of them or the
//! unit of a thread, has it compute the same rows first. What it reads therefore lives until the product is done. A left operand
//! that nobody else reads, as in inference, never has more than those rows; in a training step the gradient of the weight
//! reads it again, so there all of it is kept.

use crate::kernel::{Arg, BufferId, Class, Fused, Kernel};
use crate::types::Dim;

use super::Tiling;

/// Finds out for each kernel whether the one before is its prologue, and what that passes on.
pub(super) fn find(fused: &Fused, tiling: &mut Tiling) {
    let last_uses = fused.last_uses();
    for index in 1..fused.kernels.len() {
        if has_prologue(fused, tiling, index) {
            tiling.kernels[index].prologue = true;
            tiling.kernels[index].passed_on = own_operand(fused, index, &last_uses);
        }
    }
}

/// Batches that are computed in one go gain nothing, nor do products too small to be called. Other rows than a batch's may be
/// columns elsewhere: of the right operand, or of what the kernel reads besides.
fn has_prologue(fused: &Fused, tiling: &Tiling, index: usize) -> bool {
    let (ahead, kernel) = (&fused.kernels[index - 1], &fused.kernels[index]);
    let rows = kernel.row_count();
    let batch = rows.is_batch() && rows.at(tiling.max_batch) > tiling.m_tile;
    let several = batch && !tiling.kernels[index].is_inline();
    // The check of the loss comes before both or after both.
    let together = ahead.row_count() == rows && fused.check != Some(index);
    several && together && is_left_operand(fused, ahead, kernel) && leaves_rows_alone(fused, ahead, kernel)
}

/// Whether rows of `ahead` are rows of what `kernel` multiplies from the left, element by element.
fn is_left_operand(fused: &Fused, ahead: &Kernel, kernel: &Kernel) -> bool {
    let Some(dot) = kernel.dot.as_ref().filter(|_| ahead.dot.is_none()) else { return false };
    let matrices = kernel.is_plain() && ahead.is_plain() && kernel.has_plain_dot();
    let upright = kernel.dot_steps()[0] == [ahead.cols() as i64, 1] && dot.inner() == Dim::Fixed(ahead.cols());
    matrices
        && upright
        && fused.is_arena(dot.a)
        && ahead
            .writes
            .iter()
            .any(|write| write.buffer == dot.a && ahead.class_of(write.access.at.axes()) == Class::Element)
}

/// Whether no row of a batch in either kernel touches what belongs to another row of both.
fn leaves_rows_alone(fused: &Fused, ahead: &Kernel, kernel: &Kernel) -> bool {
    let sums = (0..ahead.body.len()).any(|index| ahead.ends_later(index));
    let updates = |kernel: &Kernel| kernel.writes.iter().any(|write| !fused.is_arena(write.buffer));
    !sums && !updates(ahead) && !updates(kernel)
}

/// The left operand of a product with a prologue, if nothing but the product reads it.
fn own_operand(fused: &Fused, index: usize, last_read: &[usize]) -> Option<BufferId> {
    let (ahead, kernel) = (&fused.kernels[index - 1], &fused.kernels[index]);
    let dot = kernel.dot.as_ref()?;
    let by_steps = kernel.reads.iter().any(|read| read.buffer == dot.a);
    // Another form of the same value, written beside it.
    let value = ahead.writes.iter().find(|write| write.buffer == dot.a)?.value;
    let again = ahead.writes.iter().any(|write| write.buffer != dot.a && write.value == value);
    let by_others = by_steps || dot.b == dot.a || again;
    let computed = matches!(value, Arg::Value(_));
    (!by_others && computed && last_read[dot.a.index()] == index).then_some(dot.a)
}
