//! The transforms of squares of pixels: all positions, or a row of them.
//!
//! In: a [`Strip`]. Out: its positions, in blocks of channels. Pixels outside of the image are zeros, and most squares have none:
//! those are not asked for.

use super::transforms::Strip;
use super::{APART, BLOCK, POSITIONS, ROW_APART, SIDE};
use crate::microkernels::runs::Register;

/// Four pixels of a line as four positions.
/// # Safety
/// Of all functions below: that of [`Winograd::squares`](super::transforms::Winograd::squares).
#[inline(always)]
unsafe fn line<R: Register>([a, b, c, d]: [R; SIDE]) -> [R; SIDE] {
    // SAFETY: the caller's promises; so in all of this file.
    unsafe { [a.sub(c), b.add(c), c.sub(b), b.sub(d)] }
}

/// Whether there is a column of pixels.
#[inline(always)]
fn is_there(strip: &Strip, at: isize) -> bool {
    strip.columns[0] <= at && at < strip.columns[1]
}

/// Some channels of a pixel: zeros if it is outside of the image.
#[inline(always)]
unsafe fn pixel<R: Register>(strip: &Strip, row: *const f32, at: isize, channel: usize) -> R {
    // SAFETY: as above.
    unsafe {
        if row.is_null() || !is_there(strip, at) {
            R::zero()
        } else {
            R::load(row.wrapping_offset(at * strip.step).wrapping_add(channel))
        }
    }
}

/// A column of pixels, transformed.
#[inline(always)]
unsafe fn column<R: Register>(strip: &Strip, at: isize, channel: usize) -> [R; SIDE] {
    let [a, b, c, d] = strip.rows;
    // SAFETY: as above.
    unsafe {
        line([
            pixel(strip, a, at, channel),
            pixel(strip, b, at, channel),
            pixel(strip, c, at, channel),
            pixel(strip, d, at, channel),
        ])
    }
}

/// The same of a column that there is, in rows that there are.
#[inline(always)]
unsafe fn column_inside<R: Register>(strip: &Strip, at: isize, channel: usize) -> [R; SIDE] {
    let shift = at * strip.step + channel as isize;
    let [a, b, c, d] = strip.rows;
    // SAFETY: as above.
    unsafe {
        line([
            R::load(a.wrapping_offset(shift)),
            R::load(b.wrapping_offset(shift)),
            R::load(c.wrapping_offset(shift)),
            R::load(d.wrapping_offset(shift)),
        ])
    }
}

/// Writes four positions, so many floats apart.
#[inline(always)]
unsafe fn store<R: Register, const STEP: usize>([a, b, c, d]: [R; SIDE], to: *mut f32) {
    // SAFETY: as above.
    unsafe {
        a.store(to);
        b.store(to.wrapping_add(STEP));
        c.store(to.wrapping_add(2 * STEP));
        d.store(to.wrapping_add(3 * STEP));
    }
}

/// The squares whose last two columns of pixels are there, in rows that there are.
#[inline(always)]
fn inside(strip: &Strip, rows: &[*const f32], ahead: isize) -> [usize; 2] {
    if rows.iter().any(|row| row.is_null()) {
        return [0, 0];
    }
    let [first, end] = strip.columns;
    let from = (first - ahead + 1).div_euclid(2).max(0) as usize;
    let to = (end - ahead).div_euclid(2).max(0) as usize;
    [from.min(strip.squares), to.min(strip.squares).max(from.min(strip.squares))]
}

/// Where some channels of the first position go, if blocks of channels are so far apart.
#[inline(always)]
fn place(strip: &Strip, channel: usize, blocks_apart: usize) -> *mut f32 {
    strip.to.wrapping_add(channel / BLOCK * blocks_apart + channel % BLOCK)
}

#[inline(always)]
unsafe fn square<R: Register, const INSIDE: bool>(
    strip: &Strip,
    [first, second]: &mut [[R; SIDE]; 2],
    [square, channel]: [usize; 2],
    to: *mut f32,
) {
    let (at, to) = (2 * square as isize + 2, to.wrapping_add(square * BLOCK));
    // SAFETY: as above.
    unsafe {
        let (third, fourth);
        if INSIDE {
            third = column_inside::<R>(strip, at, channel);
            fourth = column_inside::<R>(strip, at + 1, channel);
        } else {
            third = column::<R>(strip, at, channel);
            fourth = column::<R>(strip, at + 1, channel);
        }
        for i in 0..SIDE {
            let positions = line([first[i], second[i], third[i], fourth[i]]);
            store::<R, APART>(positions, to.wrapping_add(SIDE * i * APART));
        }
        (*first, *second) = (third, fourth);
    }
}

#[inline(always)]
pub(super) unsafe fn squares<R: Register>(strip: &Strip) {
    // Where no row and no column lies outside, nothing is asked.
    let [from, to] = inside(strip, &strip.rows, 2);
    for channel in (0..strip.channels).step_by(R::LANES) {
        let place = place(strip, channel, POSITIONS * APART);
        // SAFETY: as above.
        unsafe {
            let mut columns = [column::<R>(strip, 0, channel), column::<R>(strip, 1, channel)];
            for at in 0..from {
                square::<R, false>(strip, &mut columns, [at, channel], place);
            }
            for at in from..to {
                square::<R, true>(strip, &mut columns, [at, channel], place);
            }
            for at in to..strip.squares {
                square::<R, false>(strip, &mut columns, [at, channel], place);
            }
        }
    }
}

/// What a row of positions is made of: one row of pixels, the sum of two, or their difference.
const ONE: u8 = 0;
const SUM: u8 = 1;
const DIFFERENCE: u8 = 2;

#[inline(always)]
pub(super) unsafe fn row_of_squares<R: Register>(strip: &Strip, row: usize) {
    let [a, b, c, d] = strip.rows;
    match row {
        // SAFETY: as above.
        0 => unsafe { row_of_pixels::<R, DIFFERENCE>(strip, [a, c]) },
        // SAFETY: as above.
        1 => unsafe { row_of_pixels::<R, SUM>(strip, [b, c]) },
        // SAFETY: as above.
        2 => unsafe { row_of_pixels::<R, DIFFERENCE>(strip, [c, b]) },
        // SAFETY: as above.
        _ => unsafe { row_of_pixels::<R, DIFFERENCE>(strip, [b, d]) },
    }
}

/// Some channels of a pixel of the rows together: `INSIDE` of the image, or perhaps not.
#[inline(always)]
unsafe fn together<R: Register, const OF: u8, const INSIDE: bool>(
    strip: &Strip,
    [x, y]: [*const f32; 2],
    at: isize,
    channel: usize,
) -> R {
    // SAFETY: as above.
    unsafe {
        let shift = at * strip.step + channel as isize;
        let of_x = if INSIDE { R::load(x.wrapping_offset(shift)) } else { pixel(strip, x, at, channel) };
        if OF == ONE {
            return of_x;
        }
        let of_y = if INSIDE { R::load(y.wrapping_offset(shift)) } else { pixel(strip, y, at, channel) };
        if OF == SUM { of_x.add(of_y) } else { of_x.sub(of_y) }
    }
}

#[inline(always)]
unsafe fn square_of_row<R: Register, const OF: u8, const INSIDE: bool>(
    strip: &Strip,
    rows: [*const f32; 2],
    [first, second]: &mut [R; 2],
    [square, channel]: [usize; 2],
    to: *mut f32,
) {
    let at = 2 * square as isize + 2;
    // SAFETY: as above.
    unsafe {
        let third = together::<R, OF, INSIDE>(strip, rows, at, channel);
        let fourth = together::<R, OF, INSIDE>(strip, rows, at + 1, channel);
        store::<R, ROW_APART>(line([*first, *second, third, fourth]), to.wrapping_add(square * BLOCK));
        (*first, *second) = (third, fourth);
    }
}

#[inline(always)]
unsafe fn row_of_pixels<R: Register, const OF: u8>(strip: &Strip, rows: [*const f32; 2]) {
    let [from, to] = inside(strip, &rows, 2);
    for channel in (0..strip.channels).step_by(R::LANES) {
        let place = place(strip, channel, SIDE * ROW_APART);
        // SAFETY: as above.
        unsafe {
            let mut last =
                [together::<R, OF, false>(strip, rows, 0, channel), together::<R, OF, false>(strip, rows, 1, channel)];
            for at in 0..from {
                square_of_row::<R, OF, false>(strip, rows, &mut last, [at, channel], place);
            }
            for at in from..to {
                square_of_row::<R, OF, true>(strip, rows, &mut last, [at, channel], place);
            }
            for at in to..strip.squares {
                square_of_row::<R, OF, false>(strip, rows, &mut last, [at, channel], place);
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn row_of_pairs<R: Register>(strip: &Strip, row: usize) {
    let [a, b, ..] = strip.rows;
    match row {
        // SAFETY: as above.
        0 => unsafe { pairs_of_row::<R, ONE>(strip, [a, a]) },
        // SAFETY: as above.
        1 => unsafe { pairs_of_row::<R, SUM>(strip, [a, b]) },
        // SAFETY: as above.
        2 => unsafe { pairs_of_row::<R, DIFFERENCE>(strip, [a, b]) },
        // SAFETY: as above.
        _ => unsafe { pairs_of_row::<R, ONE>(strip, [b, b]) },
    }
}

#[inline(always)]
unsafe fn pair<R: Register, const OF: u8, const INSIDE: bool>(
    strip: &Strip,
    rows: [*const f32; 2],
    [square, channel]: [usize; 2],
    to: *mut f32,
) {
    let at = 2 * square as isize;
    // SAFETY: as above.
    unsafe {
        let a = together::<R, OF, INSIDE>(strip, rows, at, channel);
        let b = together::<R, OF, INSIDE>(strip, rows, at + 1, channel);
        store::<R, ROW_APART>([a, a.add(b), a.sub(b), b], to.wrapping_add(square * BLOCK));
    }
}

/// Two numbers of a gradient are four positions: each of them, their sum and their difference, whose halves [`gradient`] takes.
#[inline(always)]
unsafe fn pairs_of_row<R: Register, const OF: u8>(strip: &Strip, rows: [*const f32; 2]) {
    let [from, to] = inside(strip, &rows, 0);
    for channel in (0..strip.channels).step_by(R::LANES) {
        let place = place(strip, channel, SIDE * ROW_APART);
        // SAFETY: as above.
        unsafe {
            for at in 0..from {
                pair::<R, OF, false>(strip, rows, [at, channel], place);
            }
            for at in from..to {
                pair::<R, OF, true>(strip, rows, [at, channel], place);
            }
            for at in to..strip.squares {
                pair::<R, OF, false>(strip, rows, [at, channel], place);
            }
        }
    }
}
