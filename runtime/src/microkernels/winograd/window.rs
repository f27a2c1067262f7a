//! Windows over images: taps are transformed once, squares some at a time.
//!
//! In: images, transformed taps and some rows of the result. Out: these rows. Some squares are transformed, then for each panel of
//! columns come the products of all positions and the transform of their results, which lie in the first cache meanwhile.

use core::ops::Range;

use super::ahead::Ahead;
use super::direct;
use super::tiles::Products;
use super::transforms::{Results, Strip, Taps, Winograd};
use super::{BLOCK, MATRICES, POSITIONS, SIDE, SQUARES, Windows, even, squares_len, winograd_rows};

/// The panels of columns, as `(first, columns)`: two blocks where a tile of the instruction set has as many.
fn panels<K: Winograd>(cols: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let most = K::NR.max(BLOCK);
    cols.clone().step_by(most).map(move |col| (col, most.min(cols.end - col)))
}

/// As [`super::taps`]. A panel has its positions one after the other, each channel by channel.
/// # Safety
/// That of [`super::taps`].
pub(super) unsafe fn taps<K: Winograd>(windows: &Windows, cols: Range<usize>, b: *const f32, packed: *mut f32) {
    let channels = windows.channels as usize;
    let [down, along, channel, col] = windows.b_steps();
    for (first, width) in panels::<K>(cols) {
        let panel = packed.wrapping_add(POSITIONS * channels * first);
        for k in 0..channels {
            let from = b.wrapping_offset(k as isize * channel + first as isize * col);
            let to = panel.wrapping_add(k * width);
            // SAFETY: these taps exist, and the panel has room for them.
            unsafe { K::taps(&Taps { from, steps: [down, along, col], cols: width, to, apart: channels * width }) };
        }
    }
}

/// Squares along a row of them.
pub(super) struct Piece {
    pub(super) image: usize,
    /// The row, and the first of the squares.
    pub(super) at: [usize; 2],
    pub(super) count: usize,
}

/// Squares of images, counted row by row through all images, cut where a row ends.
#[inline]
pub(super) fn pieces([down, across]: [usize; 2], squares: Range<usize>) -> impl Iterator<Item = Piece> {
    let mut next = squares.start;
    core::iter::from_fn(move || {
        let (row, first) = (next / across, next % across);
        let count = (across - first).min(squares.end - next);
        next += count;
        (count > 0).then_some(Piece { image: row / down, at: [row % down, first], count })
    })
}

/// The pixels of a piece.
#[inline]
pub(super) fn strip(windows: &Windows, piece: &Piece, a: *const f32) -> Strip {
    let [image, row, pixel] = windows.a;
    let (y, x) = (2 * piece.at[0] as i64, 2 * piece.at[1] as i64);
    let (row, pixel) = (row as isize, pixel as isize);
    let start = a.wrapping_offset(piece.image as isize * image as isize + y as isize * row + x as isize * pixel);
    let mut rows = [core::ptr::null(); SIDE];
    for (i, pixels) in rows.iter_mut().enumerate() {
        if (0..windows.extent[0]).contains(&(windows.first[0] + y + i as i64)) {
            *pixels = start.wrapping_offset(i as isize * row);
        }
    }
    let before = windows.first[1] + x;
    Strip {
        squares: piece.count,
        rows,
        step: pixel,
        columns: [-before as isize, (windows.extent[1] - before) as isize],
        channels: windows.channels as usize,
        to: core::ptr::null_mut(),
    }
}

/// Where the pixels lie that squares have which come after those of a piece: so many squares further down.
#[inline]
pub(super) fn further(windows: &Windows, piece: &Piece, down: usize, a: *const f32) -> *const f32 {
    let [image, row, pixel] = windows.a.map(|step| step as isize);
    let [y, x] = [2 * (piece.at[0] + down), 2 * piece.at[1]].map(|at| at as isize);
    a.wrapping_offset(piece.image as isize * image + y * row + x * pixel)
}

/// As [`super::product`].
/// # Safety
/// That of [`super::product`].
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn rows<K: Winograd>(
    windows: &Windows,
    rows: Range<usize>,
    [a, b]: [*const f32; 2],
    packed: *const f32,
    c: *mut f32,
    prefetched: &[*const f32],
    workspace: *mut f32,
) {
    let (channels, cols) = (windows.channels as usize, windows.cols as usize);
    let [height, width] = [windows.size[0] as usize, windows.size[1] as usize];
    let [down, across] = windows.squares();
    debug_assert!(rows.start.is_multiple_of(winograd_rows([height, width])), "squares are not cut");
    let number = |row: usize| {
        let (image, at) = (row / (height * width), row % (height * width));
        (image * down + at.div_ceil(2 * width)) * across
    };
    let (start, end) = (number(rows.start), number(rows.end));
    for (first, count) in even(end - start, SQUARES) {
        let some = start + first..start + first + count;
        let mut done = 0;
        // What follows the product goes through these rows of matrices.
        let mut ahead = [Ahead::NOTHING; MATRICES];
        for piece in pieces([down, across], some.clone()) {
            if done == 0 {
                let row = (piece.image * height + 2 * piece.at[0]) * width + 2 * piece.at[1] - rows.start;
                for (ahead, matrix) in ahead.iter_mut().zip(prefetched) {
                    *ahead = Ahead::of(matrix.wrapping_add(row * cols), 4 * count * cols);
                }
            }
            let to = workspace.wrapping_add(done * BLOCK);
            // SAFETY: the strip names pixels of the images, and the workspace has room for so many squares.
            unsafe { K::squares(&Strip { to, ..strip(windows, &piece, a) }) };
            done += piece.count;
        }
        let blocks = channels / BLOCK;
        let sums = workspace.wrapping_add(squares_len(channels));
        let number = panels::<K>(0..cols).count();
        for (at, (j, panel)) in panels::<K>(0..cols).enumerate() {
            let taps = packed.wrapping_add(POSITIONS * channels * j);
            let ahead = ahead.map(|ahead| ahead.part(at, number));
            let products = Products { squares: count, blocks, a: workspace, b: taps, cols: panel, c: sums, ahead };
            // SAFETY: the squares were transformed, and so were the taps; the workspace has room for a panel of sums.
            unsafe { K::products(&products) };
            let mut done = 0;
            for piece in pieces([down, across], some.clone()) {
                let [y, x] = [2 * piece.at[0], 2 * piece.at[1]];
                let row = (piece.image * height + y) * width + x - rows.start;
                let results = Results {
                    squares: piece.count,
                    from: sums.wrapping_add(done * BLOCK),
                    cols: panel,
                    to: c.wrapping_add(row * cols + j),
                    steps: [cols, width * cols],
                    across: width - x,
                    two: y + 1 < height,
                };
                // SAFETY: these results are rows of C that the caller named.
                unsafe {
                    if !K::results(&results) {
                        not_finite(windows, &piece, [a, b], &results, j);
                    }
                }
                done += piece.count;
            }
        }
    }
}

/// Results that are not finite, once more.
/// # Safety
/// The operands are those of [`rows`], and the results were written.
#[cold]
unsafe fn not_finite(windows: &Windows, piece: &Piece, operands: [*const f32; 2], of: &Results, col: usize) {
    let [y, x] = piece.at.map(|at| 2 * at);
    for i in 0..1 + usize::from(of.two) {
        for j in 0..of.across.min(2 * of.squares) {
            let to = of.to.wrapping_add(i * of.steps[1] + j * of.steps[0]);
            // SAFETY: the caller's promises.
            unsafe {
                let results = core::slice::from_raw_parts_mut(to, of.cols);
                direct::of_window(windows, piece.image, [y + i, x + j], operands, results, col);
            }
        }
    }
}
