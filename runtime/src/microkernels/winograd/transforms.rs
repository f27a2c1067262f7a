//! The transforms of squares, taps and results, a register of channels or columns at a time.
//!
//! In: pixels, taps, or what products gave. Out: the same, transformed. Each is written once for any instruction set. What goes from
//! a transform to a product lies in blocks of [`BLOCK`] channels, position by position, square by square: then every step but those
//! in the image is known when this is compiled. Otherwise sixteen addresses compete for registers.

use super::squares::{row_of_pairs, row_of_squares, squares};
use super::tiles::{Products, Sums, products, sums};
use super::{APART, BLOCK, POSITIONS, SIDE};
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
    /// Where the first position of the first square goes.
    pub to: *mut f32,
}

/// Results of squares that follow one another along a row of them.
#[derive(Clone, Copy)]
pub(super) struct Results {
    /// How many.
    pub squares: usize,
    /// The first position of the first square.
    pub from: *const f32,
    /// Columns: whole blocks.
    pub cols: usize,
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

/// Sums that are added to others, whole registers of them.
#[derive(Clone, Copy)]
pub(super) struct Addition {
    pub len: usize,
    pub from: *const f32,
    pub to: *mut f32,
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
    /// Transforms the results of windows. Says whether all of them are finite; if not, all may be nevertheless.
    unsafe fn results(of: &Results) -> bool;
    /// Transforms taps.
    unsafe fn taps(of: &Taps);
    /// Transforms the sums of a gradient. Says whether all results are finite.
    unsafe fn gradient(of: &Gradient) -> bool;
    /// Adds sums to others.
    unsafe fn add(of: &Addition);
    /// Multiplies squares by taps.
    unsafe fn products(of: &Products);
    /// Adds up products of squares, for a row of positions.
    unsafe fn sums(of: &Sums);
}

/// Compiles the transforms for an instruction set, and tiles of so many rows by so many registers of columns: for one block of columns,
/// and for two where there are registers for them.
macro_rules! transforms {
    ($kernel:ty, $register:ty, $(#[$features:meta])? $one:literal x $vectors:literal $(, $two:literal x $twice:literal)?) => {
        impl Winograd for $kernel {
            transforms!(@one $register, $(#[$features])? squares(strip: &Strip));
            transforms!(@one $register, $(#[$features])? row_of_squares(strip: &Strip, row: usize));
            transforms!(@one $register, $(#[$features])? row_of_pairs(strip: &Strip, row: usize));
            transforms!(@one $register, $(#[$features])? results(of: &Results) -> bool);
            transforms!(@one $register, $(#[$features])? taps(of: &Taps));
            transforms!(@one $register, $(#[$features])? gradient(of: &Gradient) -> bool);
            transforms!(@one $register, $(#[$features])? add(of: &Addition));

            unsafe fn products(of: &Products) {
                $(#[$features])?
                unsafe fn compiled(of: &Products) {
                    // SAFETY: the caller's promises.
                    unsafe {
                        $(if of.cols == 2 * BLOCK {
                            return products::<$register, $two, $twice>(of);
                        })?
                        products::<$register, $one, $vectors>(of)
                    }
                }
                // SAFETY: the caller's promises.
                unsafe { compiled(of) }
            }

            unsafe fn sums(of: &Sums) {
                $(#[$features])?
                unsafe fn compiled(of: &Sums) {
                    let mut col = 0;
                    // SAFETY: the caller's promises.
                    unsafe {
                        $(while col + BLOCK < of.cols {
                            sums::<$register, $two, $twice>(of, col);
                            col += 2 * BLOCK;
                        })?
                        while col < of.cols {
                            sums::<$register, $one, $vectors>(of, col);
                            col += BLOCK;
                        }
                    }
                }
                // SAFETY: the caller's promises.
                unsafe { compiled(of) }
            }
        }
    };
    (@one $register:ty, $(#[$features:meta])? $name:ident($($argument:ident: $ty:ty),+) $(-> $result:ty)?) => {
        unsafe fn $name($($argument: $ty),+) $(-> $result)? {
            $(#[$features])?
            unsafe fn compiled($($argument: $ty),+) $(-> $result)? {
                // SAFETY: the caller's promises.
                unsafe { $name::<$register>($($argument),+) }
            }
            // SAFETY: the caller's promises.
            unsafe { compiled($($argument),+) }
        }
    };
}

#[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
transforms! { gemm::avx2::Avx2, core::arch::x86_64::__m256, #[target_feature(enable = "avx2,fma")] 6 x 2 }
#[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
transforms! { gemm::avx512::Avx512, core::arch::x86_64::__m512, #[target_feature(enable = "avx512f")] 16 x 1, 8 x 2 }
#[cfg(all(any(feature = "jit", test), target_arch = "aarch64"))]
transforms! { gemm::neon::Neon, core::arch::aarch64::float32x4_t, #[target_feature(enable = "neon")] 6 x 4 }
transforms! { gemm::portable::Portable, Floats, 4 x 2 }

/// Four positions as two results.
/// # Safety
/// Of all functions below: that of [`Winograd::squares`].
#[inline(always)]
unsafe fn two<R: Register>([a, b, c, d]: [R; SIDE]) -> [R; 2] {
    // SAFETY: the caller's promises; so in all of this file.
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

/// A register of zeros, in which a lane stays zero for as long as what is added to it is finite.
#[inline(always)]
unsafe fn zero_if_finite<R: Register>(zeros: R, x: R) -> R {
    // SAFETY: as above.
    unsafe { zeros.mul_add(R::splat_zero(), x) }
}

#[inline(always)]
unsafe fn are_zeros<R: Register>(zeros: R) -> bool {
    let mut lanes = [0.0; 16];
    // SAFETY: no register has more lanes.
    unsafe { zeros.store(lanes.as_mut_ptr()) };
    lanes.iter().all(|&lane: &f32| lane == 0.0)
}

/// Some columns of two neighbouring results, the second of which may not be there. Gives their sum, or the first.
#[inline(always)]
unsafe fn store_two<R: Register>([x, y]: [R; 2], to: *mut f32, step: usize, second: bool) -> R {
    // SAFETY: as above.
    unsafe {
        x.store(to);
        if second {
            y.store(to.wrapping_add(step));
            return x.add(y);
        }
        x
    }
}

/// Some columns of the results of a square: all of them, or those that there are.
#[inline(always)]
unsafe fn result<R: Register, const WHOLE: bool>(of: &Results, [square, col]: [usize; 2], zeros: R) -> R {
    let from = of.from.wrapping_add(col / BLOCK * POSITIONS * APART + square * BLOCK + col % BLOCK);
    let to = of.to.wrapping_add(2 * square * of.steps[0] + col);
    let second = WHOLE || 2 * square + 1 < of.across;
    // SAFETY: as above.
    unsafe {
        // Down the columns of positions, which are adjacent in memory row by row.
        let a: [R; 2] = two(load(from, SIDE * APART));
        let b = two(load(from.wrapping_add(APART), SIDE * APART));
        let c = two(load(from.wrapping_add(2 * APART), SIDE * APART));
        let d = two(load(from.wrapping_add(3 * APART), SIDE * APART));
        let mut all = store_two(two([a[0], b[0], c[0], d[0]]), to, of.steps[0], second);
        if WHOLE || of.two {
            let to = to.wrapping_add(of.steps[1]);
            all = all.add(store_two(two([a[1], b[1], c[1], d[1]]), to, of.steps[0], second));
        }
        // The sum of finite results may be infinite, which costs time alone.
        zero_if_finite(zeros, all)
    }
}

#[inline(always)]
unsafe fn results<R: Register>(of: &Results) -> bool {
    let whole = if of.two { of.squares.min(of.across / 2) } else { 0 };
    // SAFETY: as above.
    unsafe {
        let mut zeros = R::zero();
        for col in (0..of.cols).step_by(R::LANES) {
            for square in 0..whole {
                zeros = result::<R, true>(of, [square, col], zeros);
            }
            for square in whole..of.squares {
                zeros = result::<R, false>(of, [square, col], zeros);
            }
        }
        are_zeros(zeros)
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
                let to = to.wrapping_add(SIDE * i * apart + first);
                for (j, &position) in positions.iter().enumerate() {
                    position.store(to.wrapping_add(j * apart));
                }
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
unsafe fn add<R: Register>(of: &Addition) {
    let &Addition { len, from, to } = of;
    for at in (0..len).step_by(R::LANES) {
        // SAFETY: as above.
        unsafe { R::load(to.wrapping_add(at)).add(R::load(from.wrapping_add(at))).store(to.wrapping_add(at)) };
    }
}

#[inline(always)]
unsafe fn gradient<R: Register>(of: &Gradient) -> bool {
    let &Gradient { from, apart, tap, cols, to } = of;
    // SAFETY: as above.
    unsafe {
        let mut zeros = R::zero();
        for col in (0..cols).step_by(R::LANES) {
            let mut columns = [R::zero(); SIDE];
            for (j, result) in columns.iter_mut().enumerate() {
                *result = three(load(from.wrapping_add(j * apart + col), SIDE * apart), tap[0]);
            }
            let result = three(columns, tap[1]);
            result.store(to.wrapping_add(col));
            zeros = zero_if_finite(zeros, result);
        }
        are_zeros(zeros)
    }
}

const _: () = assert!(POSITIONS == SIDE * SIDE);
