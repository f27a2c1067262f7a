//! Windows over images: taps are transformed once, squares some at a time.
//!
//! In: images, transformed taps and some rows of the result. Out: these rows. Some squares are transformed, then for each panel of
//! columns come the products of all positions and the transform of their results, which lie in the first cache meanwhile.

use core::ops::Range;

use super::transforms::{Results, Strip, Taps, Winograd};
use super::{APART, POSITIONS, SIDE, Windows, winograd_rows};
use crate::microkernels::gemm::{Operand, Tile, tiles};

/// Squares that are transformed in one go: whole tiles of products of every instruction set, and about as much as half a second
/// cache holds, the taps of a panel aside.
pub(super) const fn squares_at_once(channels: usize) -> usize {
    if channels <= 64 { 24 } else { 12 }
}

/// The panels of columns, as `(first, columns)`.
fn panels<K: Winograd>(cols: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    cols.clone().step_by(K::NR).map(move |col| (col, K::NR.min(cols.end - col)))
}

/// As [`super::taps`]. A panel has its positions one after the other, each channel by channel.
/// # Safety
/// That of [`super::taps`].
pub(super) unsafe fn taps<K: Winograd>(windows: &Windows, cols: Range<usize>, b: *const f32, packed: *mut f32) {
    let channels = windows.channels as usize;
    let [down, along, channel, col] = windows.b.map(|step| step as isize);
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
        apart: 0,
    }
}

/// As [`super::product`].
/// # Safety
/// That of [`super::product`].
pub(super) unsafe fn rows<K: Winograd>(
    windows: &Windows,
    rows: Range<usize>,
    a: *const f32,
    packed: *const f32,
    c: *mut f32,
    workspace: *mut f32,
) {
    let (channels, cols) = (windows.channels as usize, windows.cols as usize);
    let [height, width] = windows.size.map(|size| size as usize);
    let [down, across] = windows.squares();
    debug_assert!(rows.start.is_multiple_of(winograd_rows([height, width])), "squares are not cut");
    let number = |row: usize| {
        let (image, at) = (row / (height * width), row % (height * width));
        (image * down + at.div_ceil(2 * width)) * across
    };
    let (start, end) = (number(rows.start), number(rows.end));
    let at_once = squares_at_once(channels);
    for first in (start..end).step_by(at_once) {
        let some = first..end.min(first + at_once);
        let count = some.len();
        let apart = count * channels + APART;
        let mut done = 0;
        for piece in pieces([down, across], some.clone()) {
            let to = workspace.wrapping_add(done * channels);
            // SAFETY: the strip names pixels of the images, and the workspace has room for so many squares.
            unsafe { K::squares(&Strip { to, apart, ..strip(windows, &piece, a) }) };
            done += piece.count;
        }
        let sums = workspace.wrapping_add(POSITIONS * apart);
        for (j, panel) in panels::<K>(0..cols) {
            let sums_apart = count * panel + APART;
            for position in 0..POSITIONS {
                let b = packed.wrapping_add(POSITIONS * channels * j + position * channels * panel);
                for (i, squares) in tiles::<K>(count) {
                    let ptr = workspace.wrapping_add(position * apart + i * channels);
                    let a = Operand { ptr, row: channels, col: 1 };
                    let c = sums.wrapping_add(position * sums_apart + i * panel);
                    // SAFETY: the squares were transformed, and so were the taps; the workspace has room for a panel of sums.
                    unsafe { K::tile(&Tile::new([squares, panel, channels], a, (b, panel), (c, panel), false)) };
                }
            }
            let mut done = 0;
            for piece in pieces([down, across], some.clone()) {
                let [y, x] = piece.at.map(|at| 2 * at);
                let row = (piece.image * height + y) * width + x - rows.start;
                let results = Results {
                    squares: piece.count,
                    from: sums.wrapping_add(done * panel),
                    cols: panel,
                    apart: sums_apart,
                    to: c.wrapping_add(row * cols + j),
                    steps: [cols, width * cols],
                    across: width - x,
                    two: y + 1 < height,
                };
                // SAFETY: these results are rows of C that the caller named.
                unsafe { K::results(&results) };
                done += piece.count;
            }
        }
    }
}
