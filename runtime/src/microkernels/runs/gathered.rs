//! Products of few taps over pixels that are adjacent along a line of them, as those of one channel are: patches of the left operand
//! are gathered first, tap by tap, so that a tile is one run.
//!
//! In: a nest whose innermost rows are such a line, and its terms are taps; or the gradient of such taps, whose innermost terms are
//! the line, and its rows are taps. Out: calls of microkernels. Where a tap has no pixel, zero is gathered, which adds nothing.
//!
//! What is gathered are rectangles of pixels. If the next line is what the next tap sees of this one, as where windows move by single
//! pixels, both find it in one place: then a line is gathered once, not once for every row of a window.

use core::ops::Range;

use super::nest::{self, AXES, Clip, Nest};
use super::tile::{Around, Part, Tile};
use super::{Floats, GATHERED_ROWS, GATHERED_TERMS, Register, RunsKernel};
use crate::microkernels::gemm::{self, Operand, tiles};

/// Taps over lines of pixels.
pub(super) struct Patches {
    /// The outermost axis of several taps, and those inside of it.
    outer: TapAxis,
    inner: [TapAxis; 2],
    /// How many of the outer taps further the next line is found; all of them if it is another one for every tap.
    share: usize,
    /// From pixel to pixel along each axis, of which the last one is that of a line.
    pixel: [i64; AXES],
    bounds: [Bound; AXES],
    /// The bound that moves along a line, of which there is one at most.
    moving: Option<usize>,
}

/// An axis of taps, and how far it is from tap to tap.
#[derive(Clone, Copy)]
struct TapAxis {
    extent: usize,
    /// In the left operand.
    a: i64,
    /// In each coordinate that is bounded.
    shifts: [i64; AXES],
}

/// A coordinate that has to be less than an extent, and no less than 0.
#[derive(Clone, Copy)]
struct Bound {
    /// 0 if there is no bound.
    extent: i64,
    /// For the first tap and pixel.
    constant: i64,
    /// How it grows from pixel to pixel along each axis.
    pixel: [i64; AXES],
}

/// Pixels that follow one another, and where they are gathered to.
pub(super) struct Line {
    /// The first one.
    from: *const f32,
    len: usize,
    /// Its coordinates.
    first: [i64; AXES],
    to: *mut f32,
}

/// Some rows of a product: as [`super::product`].
/// # Safety
/// That of [`super::product`], for a nest that says that its terms are gathered.
pub(super) unsafe fn rows<K: RunsKernel>(
    nest: &Nest,
    [lo, hi]: [usize; 2],
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    workspace: *mut f32,
) {
    let (cols, ldc) = (nest.cols as usize, nest.ldc as usize);
    let [_, middle, inner] = nest.rows.map(|axis| axis.extent as usize);
    let patches = Patches::of_terms(nest);
    let (others, share) = (patches.others(), patches.share);
    let terms = patches.outer.extent * others;
    debug_assert!(terms <= GATHERED_TERMS && nest.piece as usize >= terms, "there is room for all terms of a row");
    // The right operand goes evenly from term to term.
    let b_row = nest.terms.iter().rev().find(|axis| axis.extent > 1).map_or(0, |axis| axis.b as usize);
    let mut row = lo;
    while row < hi {
        // Whole lines of an image, or some pixels of one.
        let ([line, x], left) = ([row / inner, row % inner], hi - row);
        let [image, y] = [line / middle, line % middle];
        let [lines, len] = match x == 0 && left >= inner && inner <= GATHERED_ROWS {
            true => [(left.min(GATHERED_ROWS) / inner).min(middle - y), inner],
            false => [1, (inner - x).min(left).min(GATHERED_ROWS)],
        };
        // SAFETY: these pixels are some of the rows that the caller named, and the workspace has room for all terms of them.
        unsafe { patches.gather::<K>([image as i64, y as i64, x as i64], [lines, len], a, workspace) };
        for line in 0..lines {
            let patches = workspace.wrapping_add(line * share * others * len);
            let c = c.wrapping_add((row - lo + line * len) * ldc);
            for j in (0..cols).step_by(K::NR) {
                let width = K::NR.min(cols - j);
                for (i, rows) in tiles::<K>(len) {
                    let a = Operand { ptr: patches.wrapping_add(i), row: 1, col: len };
                    let c = c.wrapping_add(i * ldc + j);
                    let tile = gemm::Tile::new([rows, width, terms], a, (b.wrapping_add(j), b_row), (c, ldc), false);
                    // SAFETY: the terms were gathered, and these rows and columns are in the result.
                    unsafe { K::tile(&tile) };
                }
            }
        }
        row += lines * len;
    }
}

/// The same for the gradient of taps: all rows of a piece of terms after the other.
/// # Safety
/// That of [`super::product`], for a nest that says that its rows are gathered.
pub(super) unsafe fn pieces<K: RunsKernel>(
    nest: &Nest,
    [lo, hi]: [usize; 2],
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    workspace: *mut f32,
) {
    let (cols, ldc) = (nest.cols as usize, nest.ldc as usize);
    let patches = Patches::of_rows(nest);
    let (others, share) = (patches.others(), patches.share);
    debug_assert!(patches.outer.extent * others <= GATHERED_TERMS, "there is room for a piece of every row");
    let steps = nest.b_steps();
    for (number, piece) in nest.pieces().enumerate() {
        let [images, lines, len] = nest::lengths(&piece);
        let image = patches.lines(lines) * others * len;
        for at in 0..images {
            let mut first = nest::starts(&piece);
            first[0] += at as i64;
            // SAFETY: these pixels are terms of the caller's, and the workspace has room for all of a piece.
            unsafe { patches.gather::<K>(first, [lines, len], a, workspace.wrapping_add(at * image)) };
        }
        let b = b.wrapping_offset(nest::along(nest::starts(&piece), steps) as isize);
        let line = share * others * len;
        let around = [
            Around { count: images as i64, a: image as i64, b: steps[0] },
            Around { count: lines as i64, a: line as i64, b: steps[1] },
        ];
        let none = Part { runs: 0, len: 0, a: 0, b: 0 };
        for j in (0..cols).step_by(K::NR) {
            for (i, rows) in tiles::<K>(hi - lo) {
                let tile = Tile {
                    rows,
                    cols: K::NR.min(cols - j),
                    a: workspace.wrapping_add((lo + i) * len),
                    row: len as isize,
                    col: 1,
                    b: b.wrapping_add(j),
                    b_row: steps[2] as isize,
                    around,
                    parts: [none, Part { runs: 1, len: len as i64, ..none }, none],
                    c: c.wrapping_add(i * ldc + j),
                    ldc,
                    accumulate: number > 0,
                    by_column: false,
                };
                // SAFETY: the terms were gathered, and these rows and columns are in the result.
                unsafe { K::runs_tile(&tile) };
            }
        }
    }
}

impl Patches {
    /// Rows are pixels, terms are taps.
    fn of_terms(nest: &Nest) -> Patches {
        let mut axes = [TapAxis::ONE; AXES];
        for (axis, term) in nest.terms.iter().enumerate() {
            let shifts = one_of(axis, term.clip.step);
            axes[axis] = TapAxis { extent: term.extent as usize, a: term.a, shifts };
        }
        let [p, q, r] = &nest.terms;
        let bounds =
            [Bound::of(&p.clip, p.clip.rows), Bound::of(&q.clip, q.clip.rows), Bound::of(&r.clip, r.clip.rows)];
        Patches::new(axes, [nest.rows[0].a, nest.rows[1].a, nest.rows[2].a], bounds)
    }

    /// Terms are pixels, rows are taps.
    fn of_rows(nest: &Nest) -> Patches {
        let [p, q, r] = &nest.terms;
        let mut axes = [TapAxis::ONE; AXES];
        for (axis, row) in nest.rows.iter().enumerate() {
            let shifts = [p.clip.rows[axis], q.clip.rows[axis], r.clip.rows[axis]];
            axes[axis] = TapAxis { extent: row.extent as usize, a: row.a, shifts };
        }
        let bound = |axis: usize, clip: &Clip| Bound::of(clip, one_of(axis, clip.step));
        Patches::new(axes, nest.a_steps(), [bound(0, &p.clip), bound(1, &q.clip), bound(2, &r.clip)])
    }

    fn new(axes: [TapAxis; AXES], pixel: [i64; AXES], bounds: [Bound; AXES]) -> Patches {
        let [p, q, r] = axes;
        let (outer, inner) = match [p.extent, q.extent] {
            [1, 1] => (r, [TapAxis::ONE; 2]),
            [1, _] => (q, [TapAxis::ONE, r]),
            _ => (p, [q, r]),
        };
        let moving = (0..AXES).find(|&axis| bounds[axis].extent > 0 && bounds[axis].pixel[AXES - 1] != 0);
        // The next line is so many taps further.
        let is_next = |taps: usize| {
            let alike = |axis: usize| {
                let Bound { extent, pixel, .. } = bounds[axis];
                extent == 0 || pixel[AXES - 2] == taps as i64 * outer.shifts[axis]
            };
            pixel[AXES - 2] == taps as i64 * outer.a && alike(0) && alike(1) && alike(2)
        };
        let share = (1..outer.extent).find(|&taps| is_next(taps)).unwrap_or(outer.extent);
        Patches { outer, inner, share, pixel, bounds, moving }
    }

    /// How many taps see a line.
    fn others(&self) -> usize {
        self.inner[0].extent * self.inner[1].extent
    }

    /// How many lines are gathered for so many lines of pixels.
    fn lines(&self, lines: usize) -> usize {
        if lines == 0 { 0 } else { (lines - 1) * self.share + self.outer.extent }
    }

    /// Gathers a rectangle, some lines of some pixels from these coordinates on: line by line of those that are seen, tap by tap of the
    /// others, pixel by pixel.
    /// # Safety
    /// The pixels are some of the operand's, and there is room for them.
    unsafe fn gather<K: RunsKernel>(&self, at: [i64; AXES], [lines, len]: [usize; 2], a: *const f32, to: *mut f32) {
        let start = a.wrapping_offset(nest::along(at, self.pixel) as isize);
        let first = |axis: usize| self.bounds[axis].constant + nest::along(at, self.bounds[axis].pixel);
        let first = [first(0), first(1), first(2)];
        for seen in 0..self.lines(lines) {
            let line = (seen / self.share).min(lines - 1);
            let (line, tap) = (line as i64, (seen - line * self.share) as i64);
            let moved = line * self.pixel[AXES - 2] + tap * self.outer.a;
            let from = start.wrapping_offset(moved as isize);
            let moved = |axis: usize| line * self.bounds[axis].pixel[AXES - 2] + tap * self.outer.shifts[axis];
            let first = [first[0] + moved(0), first[1] + moved(1), first[2] + moved(2)];
            let to = to.wrapping_add(seen * self.others() * len);
            // SAFETY: the caller's promises.
            unsafe { K::gather(self, &Line { from, len, first, to }) };
        }
    }

    /// Whether a tap has pixels of a line at all, as far as the bounds say that do not move along it.
    #[inline(always)]
    fn is_seen(&self, line: &Line, [q, r]: [usize; 2]) -> bool {
        let mut is_seen = true;
        for axis in 0..AXES {
            let moved = q as i64 * self.inner[0].shifts[axis] + r as i64 * self.inner[1].shifts[axis];
            let (extent, at) = (self.bounds[axis].extent, line.first[axis] + moved);
            is_seen &= extent == 0 || self.moving == Some(axis) || (0 <= at && at < extent);
        }
        is_seen
    }

    /// Whether none of those bounds depends on which of the inner taps it is.
    #[inline(always)]
    fn is_alike(&self) -> bool {
        let mut is_alike = true;
        for axis in 0..AXES {
            let still = self.inner[0].shifts[axis] == 0 && self.inner[1].shifts[axis] == 0;
            is_alike &= self.bounds[axis].extent == 0 || self.moving == Some(axis) || still;
        }
        is_alike
    }
}

impl TapAxis {
    const ONE: TapAxis = TapAxis { extent: 1, a: 0, shifts: [0; AXES] };
}

/// A step along one axis alone.
#[inline(always)]
fn one_of(axis: usize, step: i64) -> [i64; AXES] {
    let mut steps = [0; AXES];
    steps[axis] = step;
    steps
}

impl Bound {
    #[inline(always)]
    fn of(clip: &Clip, pixel: [i64; AXES]) -> Bound {
        Bound { extent: clip.extent, constant: clip.constant, pixel }
    }

    /// The pixels of a line that are inside, given the coordinate of the first one: it grows.
    #[inline(always)]
    fn inside(&self, first: i64, len: usize) -> Range<usize> {
        let len = len as i64;
        let [from, to] = match self.pixel[AXES - 1] {
            1 => [-first, self.extent - first],
            by => [(by - 1 - first).div_euclid(by), (by - 1 + self.extent - first).div_euclid(by)],
        };
        let start = from.max(0).min(len);
        start as usize..to.min(len).max(start) as usize
    }
}

/// Floats of a short copy.
const FEW: usize = 8;

/// Gathers the pixels of a line for all taps but the outer ones: those of one tap one after the other, and zeros where there are none.
/// # Safety
/// The machine has the instructions, these pixels are the operand's wherever they are inside of all bounds, and there is room for them.
#[inline(always)]
pub(super) unsafe fn gather<R: Register>(patches: &Patches, line: &Line) {
    // SAFETY: the caller's promises.
    unsafe {
        if line.len >= R::LANES {
            taps::<R>(patches, line);
        } else if line.len >= FEW {
            taps::<Floats>(patches, line);
        } else {
            each_tap(patches, line, |from, to, there, len| {
                for at in 0..len {
                    *to.add(at) = if there.contains(&at) { *from.wrapping_add(at) } else { 0.0 };
                }
            });
        }
    }
}

/// # Safety
/// That of [`gather`], for lines no shorter than a register.
#[inline(always)]
unsafe fn taps<R: Register>(patches: &Patches, line: &Line) {
    each_tap(patches, line, |from, to, Range { start, end }, len| {
        // SAFETY: every read is one of a pixel that there is, every write is one of those of the tap.
        unsafe {
            // Zeros first, some where there are pixels.
            if start > 0 {
                zeros::<R>(to, 0, start.min(len - R::LANES + 1), len);
            }
            if end < len {
                zeros::<R>(to, end, len, len);
            }
            let mut at = start;
            while at + R::LANES <= end {
                R::load(from.wrapping_add(at)).store(to.add(at));
                at += R::LANES;
            }
            if at < end && start + R::LANES <= end {
                // The last ones, some of them once more.
                at = end - R::LANES;
                R::load(from.wrapping_add(at)).store(to.add(at));
                at = end;
            }
            while at < end {
                *to.add(at) = *from.wrapping_add(at);
                at += 1;
            }
        }
    });
}

/// Writes zeros from one float on, up to another and perhaps some further, of so many.
/// # Safety
/// All of them can be written.
#[inline(always)]
unsafe fn zeros<R: Register>(to: *mut f32, mut at: usize, end: usize, len: usize) {
    while at < end {
        // SAFETY: the caller's promise.
        unsafe { R::zero().store(to.add(at.min(len - R::LANES))) };
        at += R::LANES;
    }
}

/// For all taps but the outer ones: the first pixel of a line, where it goes, and which ones there are of how many.
#[inline(always)]
fn each_tap(patches: &Patches, line: &Line, mut each: impl FnMut(*const f32, *mut f32, Range<usize>, usize)) {
    let (len, [middle, inner]) = (line.len, patches.inner);
    let (is_alike, mut is_seen) = (patches.is_alike(), patches.is_seen(line, [0, 0]));
    let (mut from_middle, mut to) = (line.from, line.to);
    // Without a bound a coordinate that is always inside.
    let (bound, mut first, shifts) = match patches.moving {
        Some(axis) => (patches.bounds[axis], line.first[axis], [middle.shifts[axis], inner.shifts[axis]]),
        None => (Bound { extent: len as i64, constant: 0, pixel: one_of(AXES - 1, 1) }, 0, [0, 0]),
    };
    for q in 0..middle.extent {
        let mut from = from_middle;
        let mut there = bound.inside(first, len);
        for r in 0..inner.extent {
            if shifts[1] != 0 && r > 0 {
                there = bound.inside(first + r as i64 * shifts[1], len);
            }
            if !is_alike {
                is_seen = patches.is_seen(line, [q, r]);
            }
            each(from, to, if is_seen { there.clone() } else { 0..0 }, len);
            from = from.wrapping_offset(inner.a as isize);
            to = to.wrapping_add(len);
        }
        from_middle = from_middle.wrapping_offset(middle.a as isize);
        first += shifts[0];
    }
}
