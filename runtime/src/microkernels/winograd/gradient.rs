//! The gradient of the taps: squares of the image times squares of the gradient that they gave rise to.
//!
//! In: images and a gradient. Out: its sums at every position, part by part and in a part piece by piece; then from them the gradient of
//! each tap. A row of positions is made at a time. Several threads share the parts, and where those are few the rows of positions.

use core::ops::Range;

use super::ahead::Ahead;
use super::direct;
use super::tiles::Sums;
use super::transforms::{Addition, Gradient, Strip, Winograd};
use super::window::{Piece, further, pieces, strip};
use super::{BLOCK, ROW_APART, SIDE, Windows, ahead_len};
use crate::kernel::SQUARES_OF_PIECE;

/// The part of a gradient that belongs to a piece.
#[inline]
fn pairs(windows: &Windows, piece: &Piece, b: *const f32) -> Strip {
    let [image, row, window, _] = windows.b_steps();
    let [y, x] = [2 * piece.at[0] as i64, 2 * piece.at[1] as i64];
    let start = b.wrapping_offset(piece.image as isize * image + y as isize * row + x as isize * window);
    let second = if y + 1 < windows.size[0] { start.wrapping_offset(row) } else { core::ptr::null() };
    Strip {
        squares: piece.count,
        rows: [start, second, core::ptr::null(), core::ptr::null()],
        step: window,
        columns: [0, (windows.size[1] - x) as isize],
        channels: windows.cols as usize,
        to: core::ptr::null_mut(),
    }
}

/// As [`super::sums`].
/// # Safety
/// That of [`super::sums`].
pub(super) unsafe fn sums<K: Winograd>(
    windows: &Windows,
    parts: Range<usize>,
    positions: Range<usize>,
    operands: [*const f32; 2],
    sums: *mut f32,
    workspace: *mut f32,
) {
    let len = ahead_len(windows.channels as usize, windows.cols as usize);
    for part in parts.start..parts.end.min(windows.parts()) {
        let sums = sums.wrapping_add(part * len);
        // SAFETY: the caller's promises, and these are the sums of the part.
        unsafe { sums_of::<K>(windows, windows.images_of(part), positions.clone(), operands, sums, workspace) };
    }
}

/// The sums of some images.
/// # Safety
/// That of [`super::sums`], for their part.
unsafe fn sums_of<K: Winograd>(
    windows: &Windows,
    images: Range<usize>,
    positions: Range<usize>,
    [a, b]: [*const f32; 2],
    sums: *mut f32,
    workspace: *mut f32,
) {
    let (channels, cols) = (windows.channels as usize, windows.cols as usize);
    let [down, across] = windows.squares();
    let all = images.start * down * across..images.end * down * across;
    if all.is_empty() {
        let (from, len) = (positions.start * SIDE * channels * cols, positions.len() * SIDE * channels * cols);
        // SAFETY: so many floats belong to these positions.
        unsafe { sums.wrapping_add(from).write_bytes(0, len) };
    }
    for first in all.clone().step_by(SQUARES_OF_PIECE) {
        let some = first..all.end.min(first + SQUARES_OF_PIECE);
        let of_gradient = workspace.wrapping_add(channels / BLOCK * SIDE * ROW_APART);
        for row in positions.clone() {
            let mut done = 0;
            // What the next squares are made of: a part of it for each row of positions.
            let mut ahead = [Ahead::NOTHING; 2];
            for piece in pieces([down, across], some.clone()) {
                let next = Piece { at: [piece.at[0] + 1, piece.at[1]], ..piece };
                ahead = [(further(windows, &piece, 2, a), channels), (pairs(windows, &next, b).rows[0], cols)]
                    .map(|(at, floats)| Ahead::of(at, 4 * some.len() * floats).part(row, SIDE));
                let image = Strip { to: workspace.wrapping_add(done * BLOCK), ..strip(windows, &piece, a) };
                let gradient = Strip { to: of_gradient.wrapping_add(done * BLOCK), ..pairs(windows, &piece, b) };
                // SAFETY: the strips name elements of both operands, and the workspace has room for so many squares.
                unsafe {
                    K::row_of_squares(&image, row);
                    K::row_of_pairs(&gradient, row);
                }
                done += piece.count;
            }
            let sums = Sums {
                squares: done,
                channels,
                cols,
                a: workspace,
                b: of_gradient,
                c: sums.wrapping_add(SIDE * row * channels * cols),
                accumulate: first > all.start,
                ahead,
            };
            // SAFETY: both operands were transformed, and the sums have these rows and columns.
            unsafe { K::sums(&sums) };
        }
    }
}

/// As [`super::fold`].
/// # Safety
/// That of [`super::fold`].
pub(super) unsafe fn fold<K: Winograd>(windows: &Windows, positions: Range<usize>, sums: *mut f32) {
    let (channels, cols) = (windows.channels as usize, windows.cols as usize);
    let to = sums.wrapping_add(positions.start * SIDE * channels * cols);
    for part in 1..windows.parts() {
        let from = to.wrapping_add(part * ahead_len(channels, cols));
        // SAFETY: every part has so many sums of these positions, whole registers of them.
        unsafe { K::add(&Addition { len: positions.len() * SIDE * channels * cols, from, to }) };
    }
}

/// As [`super::gradient`].
/// # Safety
/// That of [`super::gradient`].
pub(super) unsafe fn rows<K: Winograd>(
    windows: &Windows,
    rows: Range<usize>,
    operands: [*const f32; 2],
    sums: *const f32,
    c: *mut f32,
) {
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
        unsafe {
            if !K::gradient(&gradient) {
                let results = core::slice::from_raw_parts_mut(gradient.to, cols);
                direct::of_tap(windows, gradient.tap, channel, operands, results);
            }
        }
    }
}
