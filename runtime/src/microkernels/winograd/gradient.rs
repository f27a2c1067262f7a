//! The gradient of the taps: squares of the image times squares of the gradient that they gave rise to.
//!
//! In: images and a gradient. Out: its sums at every position, piece by piece; then from them the gradient of each tap. A row of
//! positions is made at a time, which is what several threads share.

use core::ops::Range;

use super::transforms::{Gradient, Strip, Winograd};
use super::window::{Piece, pieces, strip};
use super::{APART, SIDE, Windows};
use crate::kernel::squares_of_piece;
use crate::microkernels::gemm::{Operand, Tile, tiles};

/// The part of a gradient that belongs to a piece.
fn pairs(windows: &Windows, piece: &Piece, b: *const f32) -> Strip {
    let [image, row, window, _] = windows.b.map(|step| step as isize);
    let [y, x] = piece.at.map(|at| 2 * at as i64);
    let start = b.wrapping_offset(piece.image as isize * image + y as isize * row + x as isize * window);
    let second = if y + 1 < windows.size[0] { start.wrapping_offset(row) } else { core::ptr::null() };
    Strip {
        squares: piece.count,
        rows: [start, second, core::ptr::null(), core::ptr::null()],
        step: window,
        columns: [0, (windows.size[1] - x) as isize],
        channels: windows.cols as usize,
        to: core::ptr::null_mut(),
        apart: 0,
    }
}

/// As [`super::sums`].
/// # Safety
/// That of [`super::sums`].
pub(super) unsafe fn sums<K: Winograd>(
    windows: &Windows,
    positions: Range<usize>,
    a: *const f32,
    b: *const f32,
    sums: *mut f32,
    workspace: *mut f32,
) {
    let (channels, cols) = (windows.channels as usize, windows.cols as usize);
    let [down, across] = windows.squares();
    let (all, most) = (windows.images as usize * down * across, squares_of_piece(channels, cols));
    if all == 0 {
        let (from, len) = (positions.start * SIDE * channels * cols, positions.len() * SIDE * channels * cols);
        // SAFETY: so many floats belong to these positions.
        unsafe { sums.wrapping_add(from).write_bytes(0, len) };
    }
    for first in (0..all).step_by(most) {
        let some = first..all.min(first + most);
        let count = some.len();
        let (a_apart, b_apart) = (count * channels + APART, count * cols + APART);
        let of_gradient = workspace.wrapping_add(SIDE * a_apart);
        for row in positions.clone() {
            let mut done = 0;
            for piece in pieces([down, across], some.clone()) {
                let image =
                    Strip { to: workspace.wrapping_add(done * channels), apart: a_apart, ..strip(windows, &piece, a) };
                let gradient =
                    Strip { to: of_gradient.wrapping_add(done * cols), apart: b_apart, ..pairs(windows, &piece, b) };
                // SAFETY: the strips name elements of both operands, and the workspace has room for so many squares.
                unsafe {
                    K::row_of_squares(&image, row);
                    K::row_of_pairs(&gradient, row);
                }
                done += piece.count;
            }
            for position in 0..SIDE {
                let c = sums.wrapping_add((SIDE * row + position) * channels * cols);
                for j in (0..cols).step_by(K::NR) {
                    let panel = K::NR.min(cols - j);
                    let b = of_gradient.wrapping_add(position * b_apart + j);
                    for (i, rows) in tiles::<K>(channels) {
                        let a = Operand { ptr: workspace.wrapping_add(position * a_apart + i), row: 1, col: channels };
                        let c = c.wrapping_add(i * cols + j);
                        let tile = Tile::new([rows, panel, count], a, (b, cols), (c, cols), first > 0);
                        // SAFETY: both operands were transformed, and the sums have these rows and columns.
                        unsafe { K::tile(&tile) };
                    }
                }
            }
        }
    }
}

/// As [`super::gradient`].
/// # Safety
/// That of [`super::gradient`].
pub(super) unsafe fn rows<K: Winograd>(windows: &Windows, rows: Range<usize>, sums: *const f32, c: *mut f32) {
    let (channels, cols) = (windows.channels as usize, windows.cols as usize);
    for row in rows.clone() {
        let (tap, channel) = (row / channels, row % channels);
        let gradient = Gradient {
            from: sums.wrapping_add(channel * cols),
            apart: channels * cols,
            tap: [tap / 3, tap % 3],
            cols,
            to: c.wrapping_add((row - rows.start) * cols),
        };
        // SAFETY: every position has sums of this channel, and C has the row.
        unsafe { K::gradient(&gradient) };
    }
}
