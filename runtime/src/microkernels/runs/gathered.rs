//! Products of few taps over pixels that are adjacent along a line of them, as those of one channel are: patches of the left operand
//! are gathered first, tap by tap, so that a tile is one run.
//!
//! In: a nest whose innermost rows are such a line, and its terms are taps; or the gradient of such taps, whose innermost terms are
//! the line, and its rows are taps. Out: calls of microkernels. Where a tap has no pixel, zero is gathered, which adds nothing.
//!
//! What is gathered are rectangles of pixels. If the next line is what the next tap sees of this one, as where windows move by single
//! pixels, both find it in one place: then a line is gathered once, not once for every row of a window. Pieces of terms that go on where
//! the last one ended keep what they see again, and are gathered behind it as long as there is room.

use super::nest::{self, AXES, Clip, Nest};
use super::tile::{Around, PITCH, Part, Tile};
use super::{GATHERED_ROWS, GATHERED_TERMS, Register, RunsKernel, WORD, first_bits};
use crate::microkernels::gemm::{self, Operand, even_parts, tiles};

/// Taps over lines of pixels.
struct Patches {
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

/// Some lines of some pixels.
struct Rectangle {
    /// The first pixel.
    first: [i64; AXES],
    lines: usize,
    /// How many of the lines that are seen are there already.
    again: usize,
    len: usize,
    /// From the pixels of one tap to those of the next.
    pitch: usize,
}

/// Pixels that follow one another, and where they are gathered to.
pub(super) struct Line<'a> {
    /// The first one that the first tap sees.
    from: *const f32,
    len: usize,
    /// All taps but the outer ones.
    taps: &'a [Tap],
    to: *mut f32,
    /// From the pixels of one tap to those of the next.
    pitch: usize,
}

/// What a tap sees of a line.
#[derive(Clone, Copy)]
struct Tap {
    /// From the first tap's pixels to its own.
    from: isize,
    /// Those that there are.
    there: [usize; 2],
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
        let first = [image as i64, y as i64, x as i64];
        let rectangle = Rectangle { first, lines, again: 0, len, pitch: len };
        // SAFETY: these pixels are some of the rows that the caller named, and the workspace has room for all terms of them.
        unsafe { patches.gather::<K>(&rectangle, a, workspace) };
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
    let room = super::gathered_rows_len(patches.outer.extent * others, nest.piece as usize) - super::WIDEST;
    // Where the lines of the last piece go on, and where those that follow are gathered to.
    let mut before: Option<([i64; AXES], usize)> = None;
    for (number, piece) in nest.pieces().enumerate() {
        let ([images, lines, len], first) = (nest::lengths(&piece), nest::starts(&piece));
        // Tall tiles where there are some, and no line takes more than twice its room.
        let is_tall = cols <= K::LANES && K::TALLEST > 0 && (PITCH / 2..=PITCH).contains(&len);
        let (pitch, most) = if is_tall { (PITCH, K::TALLEST) } else { (len, K::MR) };
        let line = share * others * pitch;
        let image = patches.lines(lines) * others * pitch;
        // What the last rows of taps saw of the lines before, the first ones see of these.
        let (begin, again) = match before {
            Some((next, begin)) if next == first && images == 1 && begin + image <= room => {
                (begin, patches.outer.extent - share)
            }
            _ => (0, 0),
        };
        let is_whole = images == 1 && len as i64 == nest.terms[AXES - 1].extent;
        before = (is_whole && share < patches.outer.extent)
            .then_some(([first[0], first[1] + lines as i64, 0], begin + lines * line));
        let gathered = workspace.wrapping_add(begin);
        for at in 0..images {
            let first = [first[0] + at as i64, first[1], first[2]];
            let rectangle = Rectangle { first, lines, again, len, pitch };
            // SAFETY: these pixels are terms of the caller's, and the workspace has room for all of a piece.
            unsafe { patches.gather::<K>(&rectangle, a, gathered.wrapping_add(at * image)) };
        }
        let b = b.wrapping_offset(nest::along(nest::starts(&piece), steps) as isize);
        let around = [
            Around { count: images as i64, a: image as i64, b: steps[0] },
            Around { count: lines as i64, a: line as i64, b: steps[1] },
        ];
        let none = Part { runs: 0, len: 0, a: 0, b: 0 };
        for j in (0..cols).step_by(K::NR) {
            for (i, rows) in even_parts(hi - lo, most) {
                let tile = Tile {
                    rows,
                    cols: K::NR.min(cols - j),
                    a: gathered.wrapping_add((lo + i) * pitch),
                    row: pitch as isize,
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

    /// Gathers a rectangle: line by line of those that are seen, tap by tap of the others, pixel by pixel.
    /// # Safety
    /// The pixels are some of the operand's, and there is room for them and for a register more.
    unsafe fn gather<K: RunsKernel>(&self, rectangle: &Rectangle, a: *const f32, to: *mut f32) {
        let &Rectangle { first: at, lines, again, len, pitch } = rectangle;
        let mut from_line = a.wrapping_offset(nest::along(at, self.pixel) as isize);
        let first = |axis: usize| self.bounds[axis].constant + nest::along(at, self.bounds[axis].pixel);
        let mut first_of_line = [first(0), first(1), first(2)];
        let next_line = |axis: usize| self.bounds[axis].pixel[AXES - 2];
        let next_line = [next_line(0), next_line(1), next_line(2)];
        let is_alike = self.is_alike();
        let mut taps = [Tap { from: 0, there: [0; 2] }; GATHERED_TERMS];
        let taps = &mut taps[..self.others()];
        let line_len = taps.len() * pitch;
        // What the taps see, which seldom changes from line to line.
        let mut last = None;
        let mut seen = 0;
        for line in 0..lines {
            let (mut from, mut first) = (from_line, first_of_line);
            for _ in 0..if line + 1 < lines { self.share } else { self.outer.extent } {
                if seen >= again {
                    let now = Some((self.moving.map(|axis| first[axis]), self.is_seen(first, [0, 0])));
                    if last != now || !is_alike {
                        self.look(first, len, is_alike, taps);
                        last = now;
                    }
                    let to = to.wrapping_add(seen * line_len);
                    // SAFETY: the caller's promises.
                    unsafe { K::gather(&Line { from, len, taps, to, pitch }) };
                }
                seen += 1;
                from = from.wrapping_offset(self.outer.a as isize);
                first = moved(first, self.outer.shifts);
            }
            from_line = from_line.wrapping_offset(self.pixel[AXES - 2] as isize);
            first_of_line = moved(first_of_line, next_line);
        }
    }

    /// Finds out what the taps see of a line whose first pixel has these coordinates for the first of them.
    fn look(&self, first: [i64; AXES], len: usize, is_alike: bool, taps: &mut [Tap]) {
        let is_seen = self.is_seen(first, [0, 0]);
        let [middle, inner] = &self.inner;
        let [mut q, mut r] = [0, 0];
        for tap in taps {
            let (at_q, at_r) = (q as i64, r as i64);
            let mut there = match self.moving {
                Some(axis) => {
                    let moved = at_q * middle.shifts[axis] + at_r * inner.shifts[axis];
                    self.bounds[axis].inside(first[axis] + moved, len)
                }
                None => [0, len],
            };
            if !(if is_alike { is_seen } else { self.is_seen(first, [q, r]) }) {
                there = [0; 2];
            }
            *tap = Tap { from: (at_q * middle.a + at_r * inner.a) as isize, there };
            r += 1;
            if r == inner.extent {
                [q, r] = [q + 1, 0];
            }
        }
    }

    /// Whether a tap has pixels of a line at all, as far as the bounds say that do not move along it.
    fn is_seen(&self, first: [i64; AXES], [q, r]: [usize; 2]) -> bool {
        let is_inside = |axis: usize| {
            let moved = q as i64 * self.inner[0].shifts[axis] + r as i64 * self.inner[1].shifts[axis];
            let (extent, at) = (self.bounds[axis].extent, first[axis] + moved);
            extent == 0 || self.moving == Some(axis) || (0 <= at && at < extent)
        };
        is_inside(0) && is_inside(1) && is_inside(2)
    }

    /// Whether none of those bounds depends on which of the inner taps it is.
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

/// Coordinates further on.
fn moved([x, y, z]: [i64; AXES], by: [i64; AXES]) -> [i64; AXES] {
    [x + by[0], y + by[1], z + by[2]]
}

/// A step along one axis alone.
fn one_of(axis: usize, step: i64) -> [i64; AXES] {
    let mut steps = [0; AXES];
    steps[axis] = step;
    steps
}

impl Bound {
    fn of(clip: &Clip, pixel: [i64; AXES]) -> Bound {
        Bound { extent: clip.extent, constant: clip.constant, pixel }
    }

    /// The pixels of a line that are inside, given the coordinate of the first one, which grows: from one on, and up to another.
    fn inside(&self, first: i64, len: usize) -> [usize; 2] {
        let len = len as i64;
        let [from, to] = match self.pixel[AXES - 1] {
            1 => [-first, self.extent - first],
            by => [(by - 1 - first).div_euclid(by), (by - 1 + self.extent - first).div_euclid(by)],
        };
        let start = from.max(0).min(len);
        [start as usize, to.min(len).max(start) as usize]
    }
}

/// Gathers the pixels of a line for all taps but the outer ones: those of one tap one after the other, and zeros where there are none.
/// # Safety
/// The machine has the instructions, these pixels are the operand's wherever they are there, and there is room for them and for a
/// register more.
#[inline(always)]
pub(super) unsafe fn gather<R: Register>(line: &Line<'_>) {
    let mut to = line.to;
    let all = first_bits(R::LANES);
    for tap in line.taps {
        let ([start, end], from) = (tap.there, line.from.wrapping_offset(tap.from));
        let mut at = 0;
        while at < line.len {
            // A word has a bit for each pixel that there is.
            let mut bits = first_bits(end.saturating_sub(at)) & !first_bits(start.saturating_sub(at));
            let word = (at + WORD).min(line.len);
            while at < word {
                let from = from.wrapping_add(at);
                // SAFETY: every read is one of a pixel that there is. What is written after the last one is written once more for the
                // next tap.
                unsafe {
                    // Some machines do not foresee what is loaded in part.
                    let pixels = if bits & all == all { R::load(from) } else { R::load_lanes(from, bits) };
                    pixels.store(to.wrapping_add(at));
                }
                bits >>= R::LANES;
                at += R::LANES;
            }
        }
        to = to.wrapping_add(line.pitch);
    }
}
