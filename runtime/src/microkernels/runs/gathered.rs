//! Products of few terms: some rows of the left operand are gathered first, term by term, so that a tile is one run.
//!
//! In: a nest whose innermost rows are adjacent in the left operand, as pixels of one channel are. Out: calls of the microkernel of
//! plain products. A term that a row does not have is gathered as zero, which adds nothing.

use super::driver::{Line, line, skewed_axis};
use super::nest::{self, AXES, Nest, Span};
use super::{GATHERED_ROWS, GATHERED_TERMS};
use crate::microkernels::gemm::{self, Operand, Tile, tiles};

/// Some rows of a product: as [`super::product`].
/// # Safety
/// That of [`super::product`], for a nest that says that it is gathered.
pub(super) unsafe fn rows<K: gemm::Kernel>(
    nest: &Nest,
    [lo, hi]: [usize; 2],
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    workspace: *mut f32,
) {
    let (cols, ldc) = (nest.cols as usize, nest.ldc as usize);
    let inner = nest.rows[AXES - 1].extent as usize;
    let all: [Span; AXES] = nest.terms.map(|axis| 0..axis.extent);
    let terms = nest.terms.iter().map(|axis| axis.extent as usize).product::<usize>();
    debug_assert!(terms <= GATHERED_TERMS && nest.piece as usize >= terms, "there is room for all terms of a row");
    // The right operand goes evenly from term to term.
    let b_row = nest.terms.iter().rev().find(|axis| axis.extent > 1).map_or(0, |axis| axis.b as usize);
    let skewed = skewed_axis(nest);
    let mut row = lo;
    while row < hi {
        let at = row % inner;
        let len = (inner - at).min(hi - row).min(GATHERED_ROWS);
        let line = line(nest, &all, row / inner, skewed, a);
        // SAFETY: the terms are those of some rows that the caller named, and the workspace has room for them.
        unsafe { gather(nest, &line, skewed, [at, len], workspace) };
        for j in (0..cols).step_by(K::NR) {
            let width = K::NR.min(cols - j);
            for (i, count) in tiles::<K>(len) {
                let a = Operand { ptr: workspace.wrapping_add(i), row: 1, col: len };
                let c = c.wrapping_add((row - lo + i) * ldc + j);
                let tile = Tile::new([count, width, terms], a, (b.wrapping_add(j), b_row), (c, ldc), false);
                // SAFETY: the terms were gathered, and these rows and columns are in the result.
                unsafe { K::tile(&tile) };
            }
        }
        row += len;
    }
}

/// Writes the terms of some rows of a line, all rows of a term one after the other.
/// # Safety
/// That of [`rows`].
unsafe fn gather(nest: &Nest, line: &Line, skewed: Option<usize>, [at, len]: [usize; 2], mut to: *mut f32) {
    let [outer, middle, inner] = nest.terms.map(|axis| axis.extent);
    for (p, q) in (0..outer).flat_map(|p| (0..middle).map(move |q| (p, q))) {
        for r in 0..inner {
            let term = [p, q, r];
            let has = |axis: usize| skewed == Some(axis) || line.spans[axis].contains(&term[axis]);
            let there = match skewed {
                _ if !(0..AXES).all(has) => 0..0,
                None => 0..len,
                Some(axis) => {
                    // The coordinate grows from row to row until it is outside.
                    let clip = &nest.terms[axis].clip;
                    let by = clip.rows[AXES - 1];
                    let first = line.first + term[axis] * clip.step + at as i64 * by;
                    let from = (-first + by - 1).div_euclid(by).clamp(0, len as i64);
                    let end = (clip.extent - first + by - 1).div_euclid(by).clamp(from, len as i64);
                    from as usize..end as usize
                }
            };
            let moved = nest::along(term, nest.a_steps());
            let from = line.a.wrapping_offset((moved + at as i64) as isize);
            // SAFETY: these rows have the term, and the others are written as zeros.
            unsafe {
                if there.start > 0 {
                    to.write_bytes(0, there.start);
                }
                copy(from.wrapping_add(there.start), to.add(there.start), there.len());
                if there.end < len {
                    to.add(there.end).write_bytes(0, len - there.end);
                }
            }
            to = to.wrapping_add(len);
        }
    }
}

/// Floats that are copied in one go.
const FEW: usize = 8;

/// Copies so many floats, which are too few to be worth a call.
/// # Safety
/// `from` is valid for reads, `to` for writes, and they do not overlap.
#[inline]
unsafe fn copy(from: *const f32, to: *mut f32, len: usize) {
    // SAFETY: every read and write is one of `len` floats.
    unsafe {
        let few = |at: usize| {
            let floats = from.add(at).cast::<[f32; FEW]>().read_unaligned();
            to.add(at).cast::<[f32; FEW]>().write_unaligned(floats);
        };
        if len < FEW {
            return to.copy_from_nonoverlapping(from, len);
        }
        for at in (0..len - FEW).step_by(FEW) {
            few(at);
        }
        // The last ones, some of them once more.
        few(len - FEW);
    }
}
