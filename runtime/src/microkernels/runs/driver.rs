//! The loops around a tile: pieces of terms, panels of columns, lines of rows, tiles of a line.
//!
//! In: a nest and some of its rows. Out: calls of a microkernel. Absent: arithmetic.

use super::RunsKernel;
use super::nest::{self, AXES, Nest, RowAxis, Span, copied, starts};
use super::tile::{Around, Part, Tile};
use super::{across, gathered};
use crate::microkernels::gemm::Operand;
use crate::tiling::matmul::line_by_line;

/// The right operand as the tiles of a panel find it: the first term of a piece, and from term to term along each axis.
#[derive(Clone, Copy)]
struct Panel {
    ptr: *const f32,
    steps: [i64; AXES],
    cols: usize,
}

/// Most tiles of a line that are kept for the next one.
const KEPT: usize = 12;

/// How the rows of a line are cut into tiles. The next line differs in its place alone as a rule, and so does the next panel.
struct Cut {
    /// What lines are cut that way: their terms, the first row and how many there are, and the columns of the panel.
    spans: [Span; AXES],
    first: i64,
    rows: [usize; 2],
    cols: usize,
    /// The tiles, and how far they are from where line, panel and result begin. More than there is room for are no cut.
    tiles: [Option<(Tile, [isize; 3])>; KEPT],
    count: usize,
}

impl Cut {
    const NONE: Cut =
        Cut { spans: [0..0, 0..0, 0..0], first: 0, rows: [0; 2], cols: 0, tiles: [None; KEPT], count: usize::MAX };

    /// Whether these rows of a line are cut so.
    #[inline]
    fn is_of(&self, line: &Line, rows: [usize; 2], cols: usize) -> bool {
        let alike = self.first == line.first && self.rows == rows && self.cols == cols;
        alike && self.count <= KEPT && self.spans == line.spans
    }

    /// Begins with the rows of a line.
    fn begin(&mut self, line: &Line, rows: [usize; 2], cols: usize) {
        (self.spans, self.first, self.rows, self.cols, self.count) = (copied(&line.spans), line.first, rows, cols, 0);
    }

    /// Keeps a tile of them.
    #[inline]
    fn keep(&mut self, tile: &Tile, line: &Line, panel: &Panel, c: *const f32) {
        if let Some(place) = self.tiles.get_mut(self.count) {
            let apart = |to: *const f32, from: *const f32| (to as isize).wrapping_sub(from as isize);
            *place = Some((*tile, [apart(tile.a, line.a), apart(tile.b, panel.ptr), apart(tile.c, c)]));
        }
        self.count = self.count.saturating_add(1);
    }
}

/// Rows that follow one another along the innermost axis, all others fixed.
struct Line {
    /// The first term of the operand for the first row of the line's axis.
    a: *const f32,
    /// For each axis of terms, those of a row: all of the line's rows have the same, or the coordinate of the first term for the
    /// first row of the line's axis.
    spans: [Span; AXES],
    first: i64,
}

/// Some rows of a product: as [`super::product`].
/// # Safety
/// That of [`super::product`].
pub(super) unsafe fn rows<K: RunsKernel>(
    nest: &Nest,
    [lo, hi]: [usize; 2],
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    workspace: *mut f32,
) {
    match nest.gathered {
        // SAFETY: the caller's promises.
        nest::TERMS => return unsafe { gathered::rows::<K>(nest, [lo, hi], a, b, c, workspace) },
        // SAFETY: the caller's promises.
        nest::ROWS => return unsafe { gathered::pieces::<K>(nest, [lo, hi], a, b, c, workspace) },
        // SAFETY: the caller's promises.
        nest::ACROSS => return unsafe { across::rows::<K>(nest, [lo, hi], a, b, c) },
        _ => {}
    }
    let cols = nest.cols as usize;
    let skewed = skewed_axis(nest);
    let inner = nest.rows[AXES - 1].extent as usize;
    let in_place = nest.b_col == 1 && cols.is_multiple_of(K::LANES);
    // Where there are few rows to a tile, it has twice as many columns. Of a left operand with columns whole registers are read, or
    // what is left in the last one.
    let widest = if in_place { K::widest(inner.min(K::MR)).min(2 * K::NR) } else { K::NR };
    let narrowest = if nest.a_col == 1 { K::LANES } else { K::NR };
    let width = |j: usize| {
        let mut wide = widest;
        while wide > narrowest && wide > cols - j {
            wide /= 2;
        }
        wide.min(cols - j)
    };
    // Panels of columns come one after the other for all rows, or all of them for each line of rows.
    let terms = nest.terms.iter().map(|axis| axis.extent as usize).product::<usize>();
    let in_one_piece = terms <= nest.piece as usize;
    let by_line = in_place && nest.a_col == 1 && line_by_line([terms.min(nest.piece as usize), cols]);
    // Of the terms of a piece, no two lines have the same as a rule.
    let mut cut = in_one_piece.then_some(Cut::NONE);
    for (number, piece) in nest.pieces().enumerate() {
        if by_line {
            let mut row = lo;
            while row < hi {
                let at = row % inner;
                let len = (inner - at).min(hi - row);
                let mut line = line(nest, &piece, row / inner, skewed, a);
                let c = c.wrapping_add((row - lo) * nest.ldc as usize);
                let mut j = 0;
                while j < cols {
                    // SAFETY: these columns exist, nothing is copied, and the rows are some of those that the caller named.
                    unsafe {
                        let panel = panel::<K>(nest, &piece, b, j, width(j), in_place, workspace);
                        along::<K>(nest, &line, skewed, panel, [at, len], c.wrapping_add(j), number > 0, cut.as_mut());
                    }
                    line.a = line.a.wrapping_add(width(j));
                    j += width(j);
                }
                row += len;
            }
            continue;
        }
        let mut j = 0;
        while j < cols {
            let width = width(j);
            // SAFETY: these columns exist, and there is room for a panel.
            let panel = unsafe { panel::<K>(nest, &piece, b, j, width, in_place, workspace) };
            let mut row = lo;
            while row < hi {
                let at = row % inner;
                let len = (inner - at).min(hi - row);
                let line = line(nest, &piece, row / inner, skewed, a.wrapping_add(j * nest.a_col as usize));
                let c = c.wrapping_add((row - lo) * nest.ldc as usize + j);
                // SAFETY: the rows are some of those that the caller named.
                unsafe { along::<K>(nest, &line, skewed, panel, [at, len], c, number > 0, cut.as_mut()) };
                row += len;
            }
            j += width;
        }
    }
}

/// The axis of terms along which not all rows of a line have the same.
fn skewed_axis(nest: &Nest) -> Option<usize> {
    (0..AXES).find(|&axis| nest.terms[axis].clip.extent > 0 && nest.terms[axis].clip.rows[AXES - 1] > 0)
}

/// Where the next columns of B are to be read for a piece.
/// # Safety
/// `b` is valid for the piece and these columns, `workspace` for a panel of them if it is copied.
unsafe fn panel<K: RunsKernel>(
    nest: &Nest,
    piece: &[Span; AXES],
    b: *const f32,
    j: usize,
    cols: usize,
    in_place: bool,
    workspace: *mut f32,
) -> Panel {
    let steps = nest.b_steps();
    let start = nest::along(starts(piece), steps);
    let first = b.wrapping_offset((start + j as i64 * nest.b_col) as isize);
    if in_place {
        return Panel { ptr: first, steps, cols };
    }
    let width = cols.next_multiple_of(K::LANES);
    let len = |axis: usize| (piece[axis].end - piece[axis].start) as usize;
    let (outer, middle, inner) = (len(0), len(1), len(2));
    // The packer takes steps that are no less than 0.
    let depth = if steps[2] < 0 { 1 } else { inner.max(1) };
    let mut to = workspace;
    for p in 0..outer as i64 {
        for q in 0..middle as i64 {
            for r in (0..inner as i64).step_by(depth) {
                let from = first.wrapping_offset((p * steps[0] + q * steps[1] + r * steps[2]) as isize);
                let src = Operand { ptr: from, row: nest.b_col as usize, col: steps[2].max(0) as usize };
                // SAFETY: these terms are some of the piece's, and the panel has room for all of it.
                unsafe { K::pack(to, width, cols, depth, src) };
                to = to.wrapping_add(width * depth);
            }
        }
    }
    let width = width as i64;
    Panel { ptr: workspace, steps: [(middle * inner) as i64 * width, inner as i64 * width, width], cols }
}

/// The line of this number.
#[inline]
fn line(nest: &Nest, piece: &[Span; AXES], number: usize, skewed: Option<usize>, a: *const f32) -> Line {
    let mut rest = number as i64;
    let mut at = [0; AXES];
    for axis in (0..AXES - 1).rev() {
        let RowAxis { extent, .. } = nest.rows[axis];
        at[axis] = if axis == 0 { rest } else { rest % extent };
        rest /= extent.max(1);
    }
    let shift = nest::along(at, [nest.rows[0].a, nest.rows[1].a, nest.rows[2].a]);
    let mut first = 0;
    let mut spans = copied(piece);
    for (axis, span) in spans.iter_mut().enumerate() {
        let clip = &nest.terms[axis].clip;
        let coordinate = clip.constant + nest::along(at, clip.rows);
        if skewed == Some(axis) {
            first = coordinate;
        } else {
            let there = clip.span(coordinate, span);
            *span = there.start - span.start..there.end - span.start;
        }
    }
    let start = nest::along(starts(piece), nest.a_steps());
    Line { a: a.wrapping_offset((shift + start) as isize), spans, first }
}

/// The tiles of some rows of a line: so many from the one at `at` on.
/// # Safety
/// That of [`rows`].
#[allow(clippy::too_many_arguments)]
unsafe fn along<K: RunsKernel>(
    nest: &Nest,
    line: &Line,
    skewed: Option<usize>,
    panel: Panel,
    [at, len]: [usize; 2],
    c: *mut f32,
    accumulate: bool,
    mut cut: Option<&mut Cut>,
) {
    if let Some(cut) = cut.as_deref().filter(|cut| cut.is_of(line, [at, len], panel.cols)) {
        for (tile, [a, b, to]) in cut.tiles[..cut.count].iter().flatten() {
            let (a, b) = (line.a.wrapping_byte_offset(*a), panel.ptr.wrapping_byte_offset(*b));
            // SAFETY: as when the tile was cut, of a line with the same terms.
            unsafe { K::runs_tile(&Tile { a, b, c: c.wrapping_byte_offset(*to), ..*tile }) };
        }
        return;
    }
    if let Some(cut) = &mut cut {
        cut.begin(line, [at, len], panel.cols);
    }
    let start = c;
    let (ldc, step) = (nest.ldc as usize, nest.rows[AXES - 1].a);
    let span = |row: usize| match skewed {
        None => 0..0,
        Some(axis) => {
            let (clip, all) = (&nest.terms[axis].clip, &line.spans[axis]);
            let span = clip.span(line.first + row as i64 * clip.rows[AXES - 1], all);
            span.start - all.start..span.end - all.start
        }
    };
    let whole = whole_rows(nest, line, skewed);
    // Tiles of rows that have all terms differ in their place alone.
    let mut inside: Option<Tile> = None;
    let mut done = 0;
    while done < len {
        let (from, left) = (at + done, len - done);
        let mut count = left.div_ceil(left.div_ceil(K::MR));
        let c = c.wrapping_add(done * ldc);
        let shift = (from as i64 * step) as isize;
        if whole.contains(&(from as i64)) && (from + count) as i64 <= whole.end {
            let loops = inside.get_or_insert_with(|| {
                let all = skewed.map_or(0..0, |axis| 0..line.spans[axis].end - line.spans[axis].start);
                Tile { ldc, accumulate, ..tile(nest, line, skewed, panel, [all.clone(), all], line.a, c) }
            });
            let first = loops.a;
            (loops.rows, loops.a, loops.c) = (count, first.wrapping_offset(shift), c);
            // SAFETY: these rows have all terms of the line, and the width is one that the kernel has.
            unsafe { K::runs_tile(loops) };
            if let Some(cut) = &mut cut {
                cut.keep(loops, line, &panel, start);
            }
            loops.a = first;
            done += count;
            continue;
        }
        let first = span(from);
        let mut last = span(from + count - 1);
        if first != last {
            // The first and the last row may lack terms that all others have. Where more do, the tile ends before.
            let fits = |count: usize, last: &Span| {
                let edge = || {
                    skewed != Some(0)
                        && span(from + 1).start == last.start
                        && span(from + count - 2).end == first.end
                        && first.start <= last.end
                };
                count == 1 || first == *last || edge()
            };
            while !fits(count, &last) {
                count -= 1;
                last = span(from + count - 1);
            }
        }
        let a = line.a.wrapping_offset(shift);
        let tile = Tile { rows: count, ldc, accumulate, ..tile(nest, line, skewed, panel, [first, last], a, c) };
        // SAFETY: the terms that the tile names are those that its rows have, and the width is one that the kernel has.
        unsafe { K::runs_tile(&tile) };
        if let Some(cut) = &mut cut {
            cut.keep(&tile, line, &panel, start);
        }
        done += count;
    }
}

/// The rows of a line that have all terms of the axis along which not all of them have the same.
#[inline]
fn whole_rows(nest: &Nest, line: &Line, skewed: Option<usize>) -> Span {
    let Some(axis) = skewed else { return 0..nest.rows[AXES - 1].extent };
    let (clip, all) = (&nest.terms[axis].clip, &line.spans[axis]);
    let by = clip.rows[AXES - 1];
    // The coordinates of the first and the last term are inside from one row on, and until another.
    let first = line.first + all.start * clip.step;
    let last = line.first + (all.end - 1) * clip.step;
    let from = (-first + by - 1).div_euclid(by).max(0);
    from..(clip.extent - 1 - last).div_euclid(by) + 1
}

/// The loops of a tile. `first` and `last` are the terms of its first and last row along the skewed axis.
#[inline]
fn tile(
    nest: &Nest,
    line: &Line,
    skewed: Option<usize>,
    panel: Panel,
    [first, last]: [Span; 2],
    a: *const f32,
    c: *mut f32,
) -> Tile {
    let mut spans = copied(&line.spans);
    if let Some(axis) = skewed {
        spans[axis] = last.start.min(first.start)..first.end.max(last.end);
    }
    let count = |span: &Span| span.end - span.start;
    let counts = [count(&spans[0]), count(&spans[1]), count(&spans[2])];
    let (a_steps, b_steps) = (nest.a_steps(), panel.steps);
    let shift = |steps: [i64; AXES]| nest::along(starts(&spans), steps) as isize;
    let around = |axis: usize| Around { count: counts[axis], a: a_steps[axis], b: b_steps[axis] };
    let once = Around { count: 1, a: 0, b: 0 };
    // Terms that all rows but the first have, that all have, and that all but the last have.
    let parts = match skewed {
        Some(axis @ 1..) => {
            debug_assert!(
                last.start <= first.start && last.end <= first.end || first == last,
                "{first:?} {last:?} {axis}"
            );
            [first.start - last.start, last.end - first.start, first.end - last.end]
        }
        _ => [0, counts[1], 0],
    };
    let (outer, middle) = (around(0), around(1));
    let [head, whole, tail] = parts;
    let (around, parts) = if skewed == Some(2) {
        let part = |len: i64| Part { runs: i64::from(len > 0), len, a: len * a_steps[2], b: len * b_steps[2] };
        ([outer, middle], [part(head), part(whole), part(tail)])
    } else if a_steps[1] == counts[2] * a_steps[2] && b_steps[1] == counts[2] * b_steps[2] {
        // One run goes on where the one before ends.
        let part = |count: i64| Part {
            runs: i64::from(count > 0),
            len: count * counts[2],
            a: count * a_steps[1],
            b: count * b_steps[1],
        };
        ([outer, once], [part(head), part(whole), part(tail)])
    } else {
        let part = |runs: i64| Part { runs, len: counts[2], a: a_steps[1], b: b_steps[1] };
        ([outer, once], [part(head), part(whole), part(tail)])
    };
    Tile {
        rows: 0,
        cols: panel.cols,
        a: a.wrapping_offset(shift(a_steps)),
        row: nest.rows[AXES - 1].a as isize,
        col: a_steps[2] as isize,
        b: panel.ptr.wrapping_offset(shift(b_steps)),
        b_row: b_steps[2] as isize,
        around,
        parts,
        c,
        ldc: 0,
        accumulate: false,
        by_column: nest.a_col == 1,
    }
}
