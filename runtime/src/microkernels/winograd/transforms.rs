//! The transforms of squares, taps and results, a register of channels or columns at a time.
//!
//! In: pixels, taps, or what products gave. Out: the same, transformed. Each is written once for any instruction set.

use super::{POSITIONS, SIDE};
use crate::microkernels::gemm;
use crate::microkernels::runs::{Floats, Register};

/// Squares that follow one another along a row of them.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    /// How many.
    pub squares: usize,
    /// Four rows of pixels from the first column of the first square on; null where there are none.
    pub rows: [*const f32; SIDE],
    /// From pixel to pixel.
    pub step: isize,
    /// The columns of pixels that there are, the first of the first square being 0.
    pub columns: [isize; 2],
    /// Channels, or columns: whole registers.
    pub channels: usize,
    /// Where the first position of the first square goes. From square to square it is as far as there are channels.
    pub to: *mut f32,
    /// From position to position.
    pub apart: usize,
}

/// Results of squares that follow one another along a row of them.
#[derive(Clone, Copy)]
pub(super) struct Results {
    /// How many.
    pub squares: usize,
    /// The first position of the first square.
    pub from: *const f32,
    /// From square to square: so many columns, whole registers.
    pub cols: usize,
    /// From position to position.
    pub apart: usize,
    /// The first result of the first square.
    pub to: *mut f32,
    /// From result to result along a row, and down.
    pub steps: [usize; 2],
    /// How many results there are along the row, and whether there are two rows of them.
    pub across: usize,
    pub two: bool,
}

/// Taps to be transformed, for one channel and a panel of columns.
#[derive(Clone, Copy)]
pub(super) struct Taps {
    pub from: *const f32,
    /// From row to row, from tap to tap, and from column to column.
    pub steps: [isize; 3],
    /// Columns: whole registers.
    pub cols: usize,
    pub to: *mut f32,
    /// From position to position.
    pub apart: usize,
}

/// Some columns of a gradient, for one tap and channel.
#[derive(Clone, Copy)]
pub(super) struct Gradient {
    /// The first position.
    pub from: *const f32,
    /// From position to position.
    pub apart: usize,
    /// The row and the column of the tap.
    pub tap: [usize; 2],
    /// Columns: whole registers.
    pub cols: usize,
    pub to: *mut f32,
}

/// What an instruction set brings: the transforms, compiled for it.
pub(super) trait Winograd: gemm::Kernel {
    /// Transforms squares of pixels: all positions.
    /// # Safety
    /// Of all methods: the machine has the instructions, and what the argument names can be read and written.
    unsafe fn squares(strip: &Strip);
    /// As [`Winograd::squares`], only one row of positions, of which the first goes where the strip says.
    unsafe fn row_of_squares(strip: &Strip, row: usize);
    /// Transforms squares of 2 x 2, those of a gradient: one row of positions. Only the first two rows of the strip are read.
    unsafe fn row_of_pairs(strip: &Strip, row: usize);
    /// Transforms the results of windows.
    unsafe fn results(of: &Results);
    /// Transforms taps.
    unsafe fn taps(of: &Taps);
    /// Transforms the sums of a gradient.
    unsafe fn gradient(of: &Gradient);
}

/// Compiles the transforms for an instruction set.
macro_rules! transforms {
    ($kernel:ty, $register:ty, $(#[$features:meta])?) => {
        impl Winograd for $kernel {
            transforms!(@one $register, $(#[$features])? squares(strip: &Strip));
            transforms!(@one $register, $(#[$features])? row_of_squares(strip: &Strip, row: usize));
            transforms!(@one $register, $(#[$features])? row_of_pairs(strip: &Strip, row: usize));
            transforms!(@one $register, $(#[$features])? results(of: &Results));
            transforms!(@one $register, $(#[$features])? taps(of: &Taps));
            transforms!(@one $register, $(#[$features])? gradient(of: &Gradient));
        }
    };
    (@one $register:ty, $(#[$features:meta])? $name:ident($($argument:ident: $ty:ty),+)) => {
        unsafe fn $name($($argument: $ty),+) {
            $(#[$features])?
            unsafe fn compiled($($argument: $ty),+) {
                // SAFETY: the caller's promises.
                unsafe { $name::<$register>($($argument),+) }
            }
            // SAFETY: the caller's promises.
            unsafe { compiled($($argument),+) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
transforms! { gemm::avx2::Avx2, core::arch::x86_64::__m256, #[target_feature(enable = "avx2,fma")] }
#[cfg(target_arch = "x86_64")]
transforms! { gemm::avx512::Avx512, core::arch::x86_64::__m512, #[target_feature(enable = "avx512f")] }
#[cfg(target_arch = "aarch64")]
transforms! { gemm::neon::Neon, core::arch::aarch64::float32x4_t, #[target_feature(enable = "neon")] }
transforms! { gemm::portable::Portable, Floats, }

/// Four pixels of a line as four positions.
/// # Safety
/// Of all functions below: that of [`Winograd::squares`].
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
unsafe fn store<R: Register>([a, b, c, d]: [R; SIDE], to: *mut f32, apart: usize) {
    // SAFETY: as above.
    unsafe {
        a.store(to);
        b.store(to.wrapping_add(apart));
        c.store(to.wrapping_add(2 * apart));
        d.store(to.wrapping_add(3 * apart));
    }
}

#[inline(always)]
unsafe fn squares<R: Register>(strip: &Strip) {
    let [a, b, c, d] = strip.rows;
    // Where no row and no column lies outside, nothing is asked.
    let whole = !(a.is_null() || b.is_null() || c.is_null() || d.is_null());
    for channel in (0..strip.channels).step_by(R::LANES) {
        // SAFETY: as above.
        unsafe {
            let mut first = column::<R>(strip, 0, channel);
            let mut second = column::<R>(strip, 1, channel);
            let mut to = strip.to.wrapping_add(channel);
            for square in 0..strip.squares {
                let at = 2 * square as isize + 2;
                let (third, fourth);
                if whole && is_there(strip, at) && is_there(strip, at + 1) {
                    third = column_inside::<R>(strip, at, channel);
                    fourth = column_inside::<R>(strip, at + 1, channel);
                } else {
                    third = column::<R>(strip, at, channel);
                    fourth = column::<R>(strip, at + 1, channel);
                }
                for i in 0..SIDE {
                    let positions = line([first[i], second[i], third[i], fourth[i]]);
                    store(positions, to.wrapping_add(SIDE * i * strip.apart), strip.apart);
                }
                (first, second) = (third, fourth);
                to = to.wrapping_add(strip.channels);
            }
        }
    }
}

#[inline(always)]
unsafe fn row_of_squares<R: Register>(strip: &Strip, row: usize) {
    // A row of positions is the sum, or the difference, of two rows of pixels.
    let [a, b, c, d] = strip.rows;
    match row {
        // SAFETY: as above.
        0 => unsafe { row_of_two::<R, false>(strip, [a, c]) },
        // SAFETY: as above.
        1 => unsafe { row_of_two::<R, true>(strip, [b, c]) },
        // SAFETY: as above.
        2 => unsafe { row_of_two::<R, false>(strip, [c, b]) },
        // SAFETY: as above.
        _ => unsafe { row_of_two::<R, false>(strip, [b, d]) },
    }
}

/// A pixel of two rows together.
#[inline(always)]
unsafe fn both<R: Register, const ADD: bool>(strip: &Strip, [x, y]: [*const f32; 2], at: isize, channel: usize) -> R {
    // SAFETY: as above.
    unsafe {
        let (x, y) = (pixel::<R>(strip, x, at, channel), pixel::<R>(strip, y, at, channel));
        if ADD { x.add(y) } else { x.sub(y) }
    }
}

/// The same of a pixel that there is, in rows that there are.
#[inline(always)]
unsafe fn both_inside<R: Register, const ADD: bool>([x, y]: [*const f32; 2], shift: isize) -> R {
    // SAFETY: as above.
    unsafe {
        let (x, y) = (R::load(x.wrapping_offset(shift)), R::load(y.wrapping_offset(shift)));
        if ADD { x.add(y) } else { x.sub(y) }
    }
}

#[inline(always)]
unsafe fn row_of_two<R: Register, const ADD: bool>(strip: &Strip, rows: [*const f32; 2]) {
    let whole = !(rows[0].is_null() || rows[1].is_null());
    for channel in (0..strip.channels).step_by(R::LANES) {
        // SAFETY: as above.
        unsafe {
            let mut first = both::<R, ADD>(strip, rows, 0, channel);
            let mut second = both::<R, ADD>(strip, rows, 1, channel);
            let mut to = strip.to.wrapping_add(channel);
            for square in 0..strip.squares {
                let at = 2 * square as isize + 2;
                let (third, fourth);
                if whole && is_there(strip, at) && is_there(strip, at + 1) {
                    let shift = at * strip.step + channel as isize;
                    third = both_inside::<R, ADD>(rows, shift);
                    fourth = both_inside::<R, ADD>(rows, shift + strip.step);
                } else {
                    third = both::<R, ADD>(strip, rows, at, channel);
                    fourth = both::<R, ADD>(strip, rows, at + 1, channel);
                }
                store(line([first, second, third, fourth]), to, strip.apart);
                (first, second) = (third, fourth);
                to = to.wrapping_add(strip.channels);
            }
        }
    }
}

#[inline(always)]
unsafe fn row_of_pairs<R: Register>(strip: &Strip, row: usize) {
    let [a, b, ..] = strip.rows;
    let none = core::ptr::null();
    match row {
        // SAFETY: as above. What there is no row of is zero.
        0 => unsafe { row_of_two_of_pairs::<R, true>(strip, [a, none]) },
        // SAFETY: as above.
        1 => unsafe { row_of_two_of_pairs::<R, true>(strip, [a, b]) },
        // SAFETY: as above.
        2 => unsafe { row_of_two_of_pairs::<R, false>(strip, [a, b]) },
        // SAFETY: as above.
        _ => unsafe { row_of_two_of_pairs::<R, true>(strip, [b, none]) },
    }
}

/// Two numbers of a gradient are four positions: each of them, their sum and their difference, whose halves [`gradient`] takes.
#[inline(always)]
unsafe fn row_of_two_of_pairs<R: Register, const ADD: bool>(strip: &Strip, rows: [*const f32; 2]) {
    let whole = !(rows[0].is_null() || rows[1].is_null());
    for channel in (0..strip.channels).step_by(R::LANES) {
        let mut to = strip.to.wrapping_add(channel);
        for square in 0..strip.squares {
            let at = 2 * square as isize;
            // SAFETY: as above.
            unsafe {
                let (a, b);
                if whole && is_there(strip, at) && is_there(strip, at + 1) {
                    let shift = at * strip.step + channel as isize;
                    a = both_inside::<R, ADD>(rows, shift);
                    b = both_inside::<R, ADD>(rows, shift + strip.step);
                } else {
                    a = both::<R, ADD>(strip, rows, at, channel);
                    b = both::<R, ADD>(strip, rows, at + 1, channel);
                }
                store([a, a.add(b), a.sub(b), b], to, strip.apart);
            }
            to = to.wrapping_add(strip.channels);
        }
    }
}

/// Four positions as two results.
#[inline(always)]
unsafe fn two<R: Register>([a, b, c, d]: [R; SIDE]) -> [R; 2] {
    // SAFETY: as above.
    unsafe { [a.add(b).add(c), b.sub(c).sub(d)] }
}

/// Four positions, so many floats apart.
#[inline(always)]
unsafe fn load<R: Register>(from: *const f32, apart: usize) -> [R; SIDE] {
    // SAFETY: as above.
    unsafe {
        [
            R::load(from),
            R::load(from.wrapping_add(apart)),
            R::load(from.wrapping_add(2 * apart)),
            R::load(from.wrapping_add(3 * apart)),
        ]
    }
}

#[inline(always)]
unsafe fn results<R: Register>(of: &Results) {
    let &Results { squares, from, cols, apart, to, steps, across, two: both } = of;
    for square in 0..squares {
        for col in (0..cols).step_by(R::LANES) {
            let from = from.wrapping_add(square * cols + col);
            // SAFETY: as above.
            unsafe {
                // Down the columns of positions, which are adjacent in memory row by row.
                let mut down = [[R::zero(); 2]; SIDE];
                for (j, results) in down.iter_mut().enumerate() {
                    *results = two(load(from.wrapping_add(j * apart), SIDE * apart));
                }
                let to = to.wrapping_add(2 * square * steps[0] + col);
                let second = 2 * square + 1 < across;
                let results = two([down[0][0], down[1][0], down[2][0], down[3][0]]);
                results[0].store(to);
                if second {
                    results[1].store(to.wrapping_add(steps[0]));
                }
                if both {
                    let to = to.wrapping_add(steps[1]);
                    let results = two([down[0][1], down[1][1], down[2][1], down[3][1]]);
                    results[0].store(to);
                    if second {
                        results[1].store(to.wrapping_add(steps[0]));
                    }
                }
            }
        }
    }
}

/// Three taps of a line as four positions.
#[inline(always)]
unsafe fn line_of_taps<R: Register>([a, b, c]: [R; 3]) -> [R; SIDE] {
    // SAFETY: as above.
    unsafe {
        let ends = a.add(c);
        [a, half(ends.add(b)), half(ends.sub(b)), c]
    }
}

#[inline(always)]
unsafe fn half<R: Register>(x: R) -> R {
    // SAFETY: as above.
    unsafe { R::zero().mul_add(R::splat(&0.5), x) }
}

/// Some columns of a tap.
#[inline(always)]
unsafe fn tap<R: Register>(at: *const f32, col: isize) -> R {
    // SAFETY: as above.
    unsafe {
        if col == 1 {
            return R::load(at);
        }
        let mut lanes = [0.0; 16];
        for (lane, number) in lanes.iter_mut().enumerate().take(R::LANES) {
            *number = *at.wrapping_offset(lane as isize * col);
        }
        R::load(lanes.as_ptr())
    }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn taps<R: Register>(of: &Taps) {
    let &Taps { from, steps: [down, along, col], cols, to, apart } = of;
    for first in (0..cols).step_by(R::LANES) {
        let from = from.wrapping_offset(first as isize * col);
        // SAFETY: as above.
        unsafe {
            // Each column of taps, then each row of what that gives.
            let mut columns = [[R::zero(); SIDE]; 3];
            for (j, positions) in columns.iter_mut().enumerate() {
                let at = from.wrapping_offset(j as isize * along);
                *positions = line_of_taps([
                    tap(at, col),
                    tap(at.wrapping_offset(down), col),
                    tap(at.wrapping_offset(2 * down), col),
                ]);
            }
            for i in 0..SIDE {
                let positions = line_of_taps([columns[0][i], columns[1][i], columns[2][i]]);
                store(positions, to.wrapping_add(SIDE * i * apart + first), apart);
            }
        }
    }
}

/// One of three results of four positions, those in the middle halved.
#[inline(always)]
unsafe fn three<R: Register>([a, b, c, d]: [R; SIDE], tap: usize) -> R {
    // SAFETY: as above.
    unsafe {
        match tap {
            0 => a.add(half(b.add(c))),
            1 => half(b.sub(c)),
            _ => half(b.add(c)).sub(d),
        }
    }
}

#[inline(always)]
unsafe fn gradient<R: Register>(of: &Gradient) {
    let &Gradient { from, apart, tap, cols, to } = of;
    for col in (0..cols).step_by(R::LANES) {
        // SAFETY: as above.
        unsafe {
            let mut columns = [R::zero(); SIDE];
            for (j, result) in columns.iter_mut().enumerate() {
                *result = three(load(from.wrapping_add(j * apart + col), SIDE * apart), tap[0]);
            }
            three(columns, tap[1]).store(to.wrapping_add(col));
        }
    }
}

const _: () = assert!(POSITIONS == SIDE * SIDE);
