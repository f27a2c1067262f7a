//! Products of few terms over rows that are adjacent in the left operand, as pixels of a plane are: a register holds a column of some
//! rows, so that nothing is gathered.
//!
//! In: a nest whose innermost rows are such a line, and its terms are taps. Out: calls of a tile of as many columns as a register has
//! lanes, which is transposed as it is written. Where a tap has no pixel a lane is zero, which adds nothing. Absent on purpose: tiles
//! of more registers. There are as many sums as lanes, so this is for registers of many lanes alone.

use super::nest::{self, AXES, Nest, Span};
use super::{Register, RunsKernel, first_bits};

/// Some rows of a line and as many columns as a register has lanes, and all their terms.
pub(super) struct Rows {
    /// How many rows there are: no more than lanes.
    count: i64,
    /// The first term of the first row.
    a: *const f32,
    b: *const f32,
    /// The terms.
    axes: [Terms; AXES],
    /// The coordinate of the first term that moves along the line, for the first row, and what it stays below.
    first: i64,
    extent: i64,
    c: *mut f32,
    ldc: usize,
}

/// An axis of terms: how many there are, and from one to the next in both operands and in the coordinate that moves along a line.
#[derive(Clone, Copy)]
struct Terms {
    count: i64,
    a: isize,
    b: isize,
    by: i64,
}

/// A coordinate that nothing bounds is below this.
const UNBOUNDED: i64 = i64::MAX / 4;

/// Some rows of a product: as [`super::product`].
/// # Safety
/// That of [`super::product`], for a nest that says that its rows are read across.
pub(super) unsafe fn rows<K: RunsKernel>(nest: &Nest, [lo, hi]: [usize; 2], a: *const f32, b: *const f32, c: *mut f32) {
    let (cols, ldc) = (nest.cols as usize, nest.ldc as usize);
    let [_, middle, inner] = nest.rows.map(|axis| axis.extent as usize);
    let moves = |axis: &usize| nest.terms[*axis].clip.extent > 0 && nest.terms[*axis].clip.rows[AXES - 1] != 0;
    let moving = (0..AXES).find(moves);
    let by_one = |axis: usize| nest.terms[axis].clip.rows[AXES - 1] == 1;
    debug_assert!(moving.is_none_or(by_one) && (0..AXES).filter(moves).count() < 2, "one bound moves, with the rows");
    let extent = moving.map_or(UNBOUNDED, |axis| nest.terms[axis].clip.extent);
    let (a_steps, b_steps) = (nest.a_steps(), nest.b_steps());
    let mut row = lo;
    while row < hi {
        let ([line, x], left) = ([row / inner, row % inner], hi - row);
        let at = [(line / middle) as i64, (line % middle) as i64, 0];
        let len = (inner - x).min(left);
        // The terms that all rows of the line have, and those that only some of them lack.
        let mut first = 0;
        let mut spans: [Span; AXES] = [0..0, 0..0, 0..0];
        for (axis, span) in spans.iter_mut().enumerate() {
            let (clip, all) = (&nest.terms[axis].clip, 0..nest.terms[axis].extent);
            let coordinate = clip.constant + nest::along(at, clip.rows);
            if moving == Some(axis) {
                (*span, first) = (all, coordinate);
            } else {
                *span = clip.span(coordinate, &all);
            }
        }
        let starts = nest::starts(&spans);
        let terms = |axis: usize| Terms {
            count: spans[axis].end - spans[axis].start,
            a: a_steps[axis] as isize,
            b: b_steps[axis] as isize,
            by: if moving == Some(axis) { nest.terms[axis].clip.step } else { 0 },
        };
        let axes = [terms(0), terms(1), terms(2)];
        let line = nest::along(at, [nest.rows[0].a, nest.rows[1].a, 0]) + nest::along(starts, a_steps);
        let a = a.wrapping_offset(line as isize);
        let b = b.wrapping_offset(nest::along(starts, b_steps) as isize);
        for at in (0..len).step_by(K::LANES) {
            let (from, count) = (x + at, (len - at).min(K::LANES) as i64);
            let (a, first) = (a.wrapping_add(from), first + from as i64);
            for j in (0..cols).step_by(K::LANES) {
                let c = c.wrapping_add((row - lo + at) * ldc + j);
                let rows = Rows { count, a, b: b.wrapping_add(j), axes, first, extent, c, ldc };
                // SAFETY: the terms are those of these rows, which are some of the caller's, and the columns are whole registers.
                unsafe { K::across(&rows) };
            }
        }
        row += len;
    }
}

/// Computes some rows of as many columns as a register has lanes.
/// # Safety
/// The machine has the instructions. Whatever the loops name and the bound admits can be read in A, and whole registers in B; C can be
/// written.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "one index runs through sums and columns")]
pub(super) unsafe fn tile<R: Register, const COLS: usize>(t: &Rows) {
    // SAFETY: the caller's promises, for all of this.
    unsafe {
        let mut acc = [R::zero(); COLS];
        let [outer, middle, inner] = t.axes;
        let lanes = R::LANES as i64;
        for p in 0..outer.count {
            let (a, b) = (t.a.wrapping_offset(p as isize * outer.a), t.b.wrapping_offset(p as isize * outer.b));
            for q in 0..middle.count {
                let mut a = a.wrapping_offset(q as isize * middle.a);
                let mut b = b.wrapping_offset(q as isize * middle.b);
                let mut first = t.first + p * outer.by + q * middle.by;
                for _ in 0..inner.count {
                    let is_whole = first >= 0 && first + lanes <= t.extent && t.count == lanes;
                    let rows = if is_whole {
                        R::load(a)
                    } else {
                        let start = (-first).clamp(0, t.count);
                        let end = (t.extent - first).clamp(start, t.count);
                        R::load_lanes(a, first_bits(end as usize) & !first_bits(start as usize))
                    };
                    for j in 0..COLS {
                        acc[j] = acc[j].mul_add(R::splat(b.wrapping_add(j)), rows);
                    }
                    a = a.wrapping_offset(inner.a);
                    b = b.wrapping_offset(inner.b);
                    first += inner.by;
                }
            }
        }
        R::store_across(&acc, t.c, t.ldc, t.count as usize);
    }
}
