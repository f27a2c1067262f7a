//! Packing: an operand rearranged so that a microkernel reads it in one forward run.
//!
//! In: a strided operand. Out: panels. Absent: the vector code that moves the elements, which each kernel brings; and
//! when it pays, which `tiling` decides: packed or not, the same numbers meet in the same order.

use core::ops::Range;

use super::{Kernel, Operand, Terms};

/// Rows of a row-major operand that are read in one go. Few enough that their pages stay mapped, measured up to 4096
/// columns.
pub(super) const ROWS_AT_A_TIME: usize = 16;
/// Packs some columns of B, whole panels or the last: for each piece of `k`, panels of columns one after the other, each
/// row by row, the last padded with zeros.
/// # Safety
/// That of [`super::pack_b`].
pub(super) unsafe fn panels<K: Kernel>(n: usize, k: Terms, columns: Range<usize>, b: Operand, packed: *mut f32) {
    for (start, depth) in k.pieces() {
        let piece = packed.wrapping_add(start * n.next_multiple_of(K::LANES));
        // A row-major B is read along a few rows at a time: whole panels would open a new page with every row.
        let step = if b.col == 1 { ROWS_AT_A_TIME } else { depth };
        for p in (0..depth).step_by(step) {
            for j in columns.clone().step_by(K::NR) {
                let cols = (n - j).min(K::NR);
                let width = cols.next_multiple_of(K::LANES);
                let panel = piece.wrapping_add(j * depth + p * width);
                let rows = step.min(depth - p);
                // SAFETY: these rows of the panel lie inside B; all panels have `packed_b_len(n, k.count)` floats or fewer.
                unsafe { K::pack(panel, width, cols, rows, b.at(start + p, j).transposed()) };
            }
        }
    }
}

/// The plain form of [`Kernel::pack`] for any strides, or the part of it that vectors left: elements `i`, lines `p`.
/// # Safety
/// That of [`Kernel::pack`]; `i` ends at `width` or before, `p` at the depth or before.
#[inline]
pub(super) unsafe fn plain(
    panel: *mut f32,
    width: usize,
    count: usize,
    src: Operand,
    i: Range<usize>,
    p: Range<usize>,
) {
    for p in p {
        for i in i.clone() {
            // SAFETY: `(i, p)` is read inside `count x depth` only, and `p * width + i < width * depth`.
            unsafe { *panel.add(p * width + i) = if i < count { *src.at(i, p).ptr } else { 0.0 } };
        }
    }
}
