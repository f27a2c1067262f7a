//! Products of transformed operands: all positions of some squares in one call.
//!
//! In: squares and taps, or squares of an image and of a gradient, transformed. Out: their products, which are transformed next, or
//! sums of them. Operands lie in blocks of [`BLOCK`] channels, so that all steps but one are known when this is compiled: a row of
//! a tile is a displacement from the one pointer into the left operand.

use super::ahead::Ahead;
use super::{APART, BLOCK, MATRICES, POSITIONS, ROW_APART, SIDE, even};
use crate::microkernels::gemm::steps::STEPS;
use crate::microkernels::runs::Register;

/// Squares times taps of some columns.
#[derive(Clone, Copy)]
pub(super) struct Products {
    /// How many squares, [`SQUARES`](super::SQUARES) at most.
    pub squares: usize,
    /// Blocks of channels.
    pub blocks: usize,
    /// The squares.
    pub a: *const f32,
    /// The taps: position by position, channel by channel, so many columns.
    pub b: *const f32,
    pub cols: usize,
    /// The results, in blocks of columns as squares are in blocks of channels.
    pub c: *mut f32,
    /// What is prefetched meanwhile.
    pub ahead: [Ahead; MATRICES],
}

/// Squares of an image times squares of a gradient, added up: for a row of positions.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// How many squares.
    pub squares: usize,
    /// Channels and columns: blocks of them.
    pub channels: usize,
    pub cols: usize,
    pub a: *const f32,
    pub b: *const f32,
    /// The sums of the first position, channel by channel, and from position to position.
    pub c: *mut f32,
    /// Add to the sums instead of overwriting them.
    pub accumulate: bool,
    /// What is prefetched meanwhile: of both operands.
    pub ahead: [Ahead; 2],
}

/// Calls a function for a number of rows that is known when it is compiled, 16 at most.
macro_rules! for_rows {
    ($rows:expr, $most:ident, $function:ident::<$register:ident, $vectors:ident>$arguments:tt) => {
        for_rows!(@ $rows, $most, $function, $register, $vectors, $arguments, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    };
    (@ $rows:expr, $most:ident, $function:ident, $register:ident, $vectors:ident, $arguments:tt, $($at:literal)+) => {
        match $rows {
            $($at if const { $at <= $most } => $function::<$register, $at, $vectors>$arguments,)+
            rows => unreachable!("no tile of {rows} rows"),
        }
    };
}

/// Where a register of columns lies after the first one, where blocks of them are so far apart.
#[inline(always)]
const fn column(register: usize, lanes: usize, blocks_apart: usize) -> usize {
    register * lanes / BLOCK * blocks_apart + register * lanes % BLOCK
}

/// Adds terms to sums in registers. In the right operand a term is so far from the next, and a block of columns from the next.
/// # Safety
/// The machine has the instructions, and both operands have these terms.
#[inline(always)]
unsafe fn add<R: Register, const ROWS: usize, const VECTORS: usize, const ROW: usize, const TERM: usize>(
    sums: &mut [[R; VECTORS]; ROWS],
    mut a: *const f32,
    mut b: *const f32,
    [b_term, b_block]: [usize; 2],
    terms: usize,
) {
    // SAFETY: the caller's promises.
    unsafe {
        for _ in 0..terms / STEPS {
            for step in 0..STEPS {
                let b = b.wrapping_add(step * b_term);
                term::<R, ROWS, VECTORS, ROW>(sums, a.wrapping_add(step * TERM), b, b_block);
            }
            a = a.wrapping_add(STEPS * TERM);
            b = b.wrapping_add(STEPS * b_term);
        }
        for _ in 0..terms % STEPS {
            term::<R, ROWS, VECTORS, ROW>(sums, a, b, b_block);
            a = a.wrapping_add(TERM);
            b = b.wrapping_add(b_term);
        }
    }
}

/// Adds one term.
/// # Safety
/// As [`add`].
#[inline(always)]
unsafe fn term<R: Register, const ROWS: usize, const VECTORS: usize, const ROW: usize>(
    sums: &mut [[R; VECTORS]; ROWS],
    a: *const f32,
    b: *const f32,
    b_block: usize,
) {
    // SAFETY: the caller's promises.
    unsafe {
        let mut columns = [R::zero(); VECTORS];
        for (v, register) in columns.iter_mut().enumerate() {
            *register = R::load(b.wrapping_add(column(v, R::LANES, b_block)));
        }
        for (i, row) in sums.iter_mut().enumerate() {
            let factor = R::splat(a.wrapping_add(i * ROW));
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = sum.mul_add(factor, columns[v]);
            }
        }
    }
}

/// Some squares in all positions.
#[inline(always)]
unsafe fn tile_of_products<R: Register, const ROWS: usize, const VECTORS: usize>(
    of: &Products,
    first: usize,
    (number, lines): (usize, [usize; MATRICES]),
) {
    let mut b = of.b;
    for position in 0..POSITIONS {
        for (matrix, &lines) in lines.iter().enumerate() {
            of.ahead[matrix].prefetch(number * POSITIONS + position, lines);
        }
        let place = position * APART + first * BLOCK;
        // SAFETY: the caller's promises.
        unsafe {
            let mut sums = [[R::zero(); VECTORS]; ROWS];
            for block in 0..of.blocks {
                let a = of.a.wrapping_add(block * POSITIONS * APART + place);
                add::<R, ROWS, VECTORS, BLOCK, 1>(&mut sums, a, b, [of.cols, BLOCK], BLOCK);
                b = b.wrapping_add(BLOCK * of.cols);
            }
            for (i, row) in sums.iter().enumerate() {
                let c = of.c.wrapping_add(place + i * BLOCK);
                for (v, &sum) in row.iter().enumerate() {
                    sum.store(c.wrapping_add(column(v, R::LANES, POSITIONS * APART)));
                }
            }
        }
    }
}

/// All squares in all positions, for as many columns as `VECTORS` registers have.
/// # Safety
/// The machine has the instructions, and what the argument names can be read and written.
#[inline(always)]
pub(super) unsafe fn products<R: Register, const MOST: usize, const VECTORS: usize>(of: &Products) {
    let steps = of.squares.div_ceil(MOST) * POSITIONS;
    let mut lines = [0; MATRICES];
    for (matrix, lines) in lines.iter_mut().enumerate() {
        *lines = of.ahead[matrix].each(steps);
    }
    for (number, (first, rows)) in even(of.squares, MOST).enumerate() {
        // SAFETY: the caller's promises.
        unsafe { for_rows!(rows, MOST, tile_of_products::<R, VECTORS>(of, first, (number, lines))) }
    }
}

/// Some channels and columns in a row of positions.
#[inline(always)]
unsafe fn tile_of_sums<R: Register, const ROWS: usize, const VECTORS: usize>(
    of: &Sums,
    [channel, col]: [usize; 2],
    (number, lines): (usize, [usize; 2]),
) {
    for position in 0..SIDE {
        for (operand, &lines) in lines.iter().enumerate() {
            of.ahead[operand].prefetch(number * SIDE + position, lines);
        }
        let a = of.a.wrapping_add((channel / BLOCK * SIDE + position) * ROW_APART + channel % BLOCK);
        let b = of.b.wrapping_add((col / BLOCK * SIDE + position) * ROW_APART);
        let c = of.c.wrapping_add((position * of.channels + channel) * of.cols + col);
        // SAFETY: the caller's promises.
        unsafe {
            let mut sums = [[R::zero(); VECTORS]; ROWS];
            add::<R, ROWS, VECTORS, 1, BLOCK>(&mut sums, a, b, [BLOCK, SIDE * ROW_APART], of.squares);
            for (i, row) in sums.iter().enumerate() {
                for (v, &sum) in row.iter().enumerate() {
                    let c = c.wrapping_add(i * of.cols + v * R::LANES);
                    let sum = if of.accumulate { R::load(c).add(sum) } else { sum };
                    sum.store(c);
                }
            }
        }
    }
}

/// All channels, for some columns from `col` on: as many as `VECTORS` registers have.
/// # Safety
/// As [`products`].
#[inline(always)]
pub(super) unsafe fn sums<R: Register, const MOST: usize, const VECTORS: usize>(of: &Sums, col: usize) {
    let (width, tiles) = (VECTORS * R::LANES, of.channels / BLOCK * const { BLOCK.div_ceil(MOST) });
    let steps = of.cols.div_ceil(width) * tiles * SIDE;
    let lines = [of.ahead[0].each(steps), of.ahead[1].each(steps)];
    let mut number = col / width * tiles;
    for block in (0..of.channels).step_by(BLOCK) {
        for (first, rows) in even(BLOCK, MOST) {
            // SAFETY: the caller's promises.
            unsafe { for_rows!(rows, MOST, tile_of_sums::<R, VECTORS>(of, [block + first, col], (number, lines))) }
            number += 1;
        }
    }
}
