//! Few rows of A against a large B whose columns are adjacent: sums that grow along whole rows of B.
//!
//! A tile reads a few columns of every row of B, from page to page, so that it reads nothing twice. With one row of A nothing is
//! gained by that, and memory that is read in long runs comes faster: up to twice, for 4,096 x 4,096. So the sums of a row of C
//! stay in the first cache while rows of B pass by, a few at a time. In: a block with few rows.
//! Out: the same bits, since each sum takes its terms in ascending order and in the same pieces.

use super::loops::Block;
use super::{Kernel, Operand};

/// Sums that are worked on at a time: half of the first cache.
pub(super) const SUMS: usize = 4096;

/// Some terms of some sums: `sums[i, j] = (sums[i, j] or 0) + A[i, 0] B[0, j] + A[i, 1] B[1, j] + ...`, term by term.
pub(in crate::microkernels) struct Axpy {
    /// Columns of B.
    pub cols: usize,
    /// From the first of the terms on.
    pub a: Operand,
    /// The first of the terms. Its columns are adjacent.
    pub b: *const f32,
    /// From one term of B to the next.
    pub b_row: usize,
    /// The sums.
    pub sums: *mut f32,
    /// From one row of sums to the next.
    pub sums_row: usize,
    /// Whether these are the first terms: the sums begin with zero.
    pub first: bool,
    /// From each element of B to one that is prefetched.
    pub ahead: usize,
}

/// How far ahead rows of B are prefetched, in floats: memory that is asked for so early comes at its full rate. Measured with 64 MiB:
/// 28 GB/s by itself, 39 with 4 KiB, 53 with 16 KiB or more (AMD Zen 5).
const AHEAD: usize = 4096;

/// Most terms that are added in one go: two rows of factors in sixteen registers, four in thirty-two.
pub(super) const TERMS: usize = 4;

/// The product of a block of at most [`crate::tiling::matmul::AXPY_ROWS`] rows. `sums` has [`SUMS`] floats, if there is more
/// than one piece.
///
/// # Safety
/// As for [`super::gemm`], with adjacent columns in B.
pub(super) unsafe fn product<K: Kernel>(block: Block<'_>, b: Operand, sums: *mut f32) {
    let Block { rows, n, k, a, c, ldc, .. } = block;
    let (width, at_a_time) = (SUMS / rows / K::LANES * K::LANES, K::axpy_terms(rows));
    for j in (0..n).step_by(width) {
        let cols = width.min(n - j);
        let ahead = AHEAD.div_ceil(cols * at_a_time).wrapping_mul(b.row.wrapping_mul(at_a_time));
        for (start, depth) in k.pieces() {
            let (to, to_row) = if start == 0 { (c.wrapping_add(j), ldc) } else { (sums, cols) };
            for p in (0..depth).step_by(at_a_time) {
                let terms = at_a_time.min(depth - p);
                let (a, b) = (a.at(0, start + p), b.at(start + p, j));
                let some = Axpy { cols, a, b: b.ptr, b_row: b.row, sums: to, sums_row: to_row, first: p == 0, ahead };
                // SAFETY: these terms and columns lie inside A and B; the sums are a part of C, or of the workspace.
                unsafe { K::axpy(rows, terms, &some) };
            }
            if start > 0 {
                for i in 0..rows {
                    // SAFETY: row `i` of C has these columns, and nobody else holds it or the sums.
                    let (c, sums) = unsafe {
                        let c = core::slice::from_raw_parts_mut(c.add(i * ldc + j), cols);
                        (c, core::slice::from_raw_parts(sums.add(i * cols), cols))
                    };
                    c.iter_mut().zip(sums).for_each(|(c, sum)| *c += sum);
                }
            }
        }
    }
}
