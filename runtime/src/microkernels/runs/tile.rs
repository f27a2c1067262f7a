//! A tile of the result in registers, for any instruction set: some rows and some columns, and all terms of a piece.
//!
//! The terms are three nested runs. In the middle one some are there for all rows but the first, or for all but the last: where a
//! window stands over an edge. They are left out in registers, so that an element of the result is written once.

use super::Register;
use crate::microkernels::gemm::steps::{STEPS, advance};

/// A loop around the runs: how often, and how far both operands move on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub count: i64,
    pub a: i64,
    pub b: i64,
}

/// Terms one after the other: so many runs of so many, and how far both operands move on after a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub runs: i64,
    pub len: i64,
    pub a: i64,
    pub b: i64,
}

/// One call: `C[rows, cols] (+)= A B` over the terms that the loops name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub rows: usize,
    pub cols: usize,
    /// The first term of the first row.
    pub a: *const f32,
    /// From one row to the next.
    pub row: isize,
    /// From one term of a run to the next.
    pub col: isize,
    pub b: *const f32,
    /// The same in the right operand, whose columns are adjacent.
    pub b_row: isize,
    pub around: [Around; 2],
    /// Terms of all rows but the first, of all rows, and of all rows but the last.
    pub parts: [Part; 3],
    pub c: *mut f32,
    pub ldc: usize,
    /// Add to C instead of overwriting it.
    pub accumulate: bool,
    /// Each column has a left operand of its own: they are adjacent, as in the right operand.
    pub by_column: bool,
}

/// What is known of A when the code is compiled: one of its steps may be 1; or it has columns of its own, fewer than a register or not.
pub(super) const UNIT_COL: u8 = 0;
pub(super) const UNIT_ROW: u8 = 1;
pub(super) const ANY: u8 = 2;
pub(super) const BY_COLUMN: u8 = 3;
pub(super) const SOME_COLUMNS: u8 = 4;

/// Most pointers into A.
const MOST: usize = 12;

/// Writes a body out for each index below a constant of the caller's, 12 at most, or 28 rows of a tall tile, in which the index is a
/// constant. A loop would do if it were unrolled before the optimizer decides what lies in memory; one with a long body is not, and then every sum
/// goes to the stack after every term. In release builds a second round of optimizations finds that out, in others there is none.
macro_rules! each {
    (tall $i:ident < $n:ident => $body:block) => {
        each!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27)
    };
    ($i:ident < $n:ident => $body:block) => { each!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11) };
    (@ $i:ident, $n:ident, $body:block, $($at:literal)+) => {{
        $(if const { $at < $n } {
            const $i: usize = $at;
            $body
        })+
    }};
}

/// Sums in registers, row by row.
type Sums<R, const ROWS: usize, const VECTORS: usize> = [[R; VECTORS]; ROWS];

/// Computes a tile of `ROWS` rows and `VECTORS` registers of columns, the last perhaps in part. `EDGE` if there may be terms that
/// not all rows have.
/// # Safety
/// The machine has the instructions. Whatever the loops name can be read in A, and in B for whole registers; C can be written. By
/// column, A is read for whole registers too, of which the columns are all, or for fewer columns than one has.
#[inline(always)]
pub(super) unsafe fn tile<R: Register, const ROWS: usize, const VECTORS: usize, const STEP: u8, const EDGE: bool>(
    t: &Tile,
) {
    debug_assert!(!t.by_column || t.cols < R::LANES || t.cols.is_multiple_of(R::LANES), "registers are whole");
    // SAFETY: the caller's promises, for all of this.
    unsafe {
        let mut acc: Sums<R, ROWS, VECTORS> = [[R::zero(); VECTORS]; ROWS];
        let [outer, middle] = t.around;
        let (mut a_outer, mut b_outer) = (t.a, t.b);
        for _ in 0..outer.count {
            let (mut a, mut b) = (a_outer, b_outer);
            for _ in 0..middle.count {
                let [head, whole, tail] = t.parts;
                let (mut a_run, mut b_run) = (a, b);
                if EDGE {
                    for _ in 0..head.runs {
                        run::<R, ROWS, VECTORS, STEP, true, false>(&mut acc, t, a_run, b_run, head.len);
                        a_run = a_run.wrapping_offset(head.a as isize);
                        b_run = b_run.wrapping_offset(head.b as isize);
                    }
                }
                for _ in 0..whole.runs {
                    run::<R, ROWS, VECTORS, STEP, false, false>(&mut acc, t, a_run, b_run, whole.len);
                    a_run = a_run.wrapping_offset(whole.a as isize);
                    b_run = b_run.wrapping_offset(whole.b as isize);
                }
                if EDGE {
                    for _ in 0..tail.runs {
                        run::<R, ROWS, VECTORS, STEP, false, true>(&mut acc, t, a_run, b_run, tail.len);
                        a_run = a_run.wrapping_offset(tail.a as isize);
                        b_run = b_run.wrapping_offset(tail.b as isize);
                    }
                }
                a = a.wrapping_offset(middle.a as isize);
                b = b.wrapping_offset(middle.b as isize);
            }
            a_outer = a_outer.wrapping_offset(outer.a as isize);
            b_outer = b_outer.wrapping_offset(outer.b as isize);
        }
        // The last register of a row has columns perhaps in part. A call or a branch for each register would be most of the code.
        let some = t.cols - (VECTORS - 1) * R::LANES;
        if t.accumulate {
            each!(I < ROWS => {
                each!(V < VECTORS => {
                    let c = t.c.wrapping_add(I * t.ldc + V * R::LANES);
                    let before = if V + 1 < VECTORS { R::load(c) } else { R::load_some(c, some) };
                    acc[I][V] = before.add(acc[I][V]);
                })
            })
        }
        each!(I < ROWS => {
            each!(V < VECTORS => {
                let c = t.c.wrapping_add(I * t.ldc + V * R::LANES);
                if V + 1 < VECTORS { acc[I][V].store(c) } else { acc[I][V].store_some(c, some) }
            })
        })
    }
}

/// Adds the terms of a run to the sums of all rows; not to those of the first row if `HEAD`, nor of the last if `TAIL`.
/// # Safety
/// That of [`tile`].
#[inline(always)]
unsafe fn run<
    R: Register,
    const ROWS: usize,
    const VECTORS: usize,
    const STEP: u8,
    const HEAD: bool,
    const TAIL: bool,
>(
    acc: &mut Sums<R, ROWS, VECTORS>,
    t: &Tile,
    a: *const f32,
    mut b: *const f32,
    len: i64,
) {
    let row = if STEP == UNIT_ROW { 1 } else { t.row };
    let col = if STEP == UNIT_COL { 1 } else { t.col };
    // Some rows to a pointer, as many as an addressing mode reaches.
    let mut pointers = [a; MOST];
    each!(G < MOST => {
        if G * R::REACH < ROWS {
            pointers[G] = a.wrapping_offset((G * R::REACH) as isize * row);
        }
    });
    let used = ROWS.div_ceil(R::REACH);
    let len = len as usize;
    // SAFETY: the caller's promises.
    unsafe {
        for _ in 0..len / STEPS {
            for s in 0..STEPS {
                let b = b.wrapping_offset(s as isize * t.b_row);
                term::<R, ROWS, VECTORS, STEP, HEAD, TAIL>(acc, t, &pointers, s as isize * col, b);
            }
            advance_some(&mut pointers, used, STEPS as isize * col);
            b = b.wrapping_offset(STEPS as isize * t.b_row);
        }
        for _ in 0..len % STEPS {
            term::<R, ROWS, VECTORS, STEP, HEAD, TAIL>(acc, t, &pointers, 0, b);
            advance_some(&mut pointers, used, col);
            b = b.wrapping_offset(t.b_row);
        }
    }
}

/// Moves the pointers on that are used.
#[inline(always)]
fn advance_some(pointers: &mut [*const f32; MOST], used: usize, by: isize) {
    for pointer in &mut pointers[..used] {
        let mut one = [*pointer];
        advance(&mut one, by as usize);
        *pointer = one[0];
    }
}

/// Adds one term: A `shift` elements after the pointers, times a row of B.
/// # Safety
/// That of [`tile`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn term<
    R: Register,
    const ROWS: usize,
    const VECTORS: usize,
    const STEP: u8,
    const HEAD: bool,
    const TAIL: bool,
>(
    acc: &mut Sums<R, ROWS, VECTORS>,
    t: &Tile,
    pointers: &[*const f32; MOST],
    shift: isize,
    b: *const f32,
) {
    let row = if STEP == UNIT_ROW { 1 } else { t.row };
    let rows = usize::from(HEAD)..ROWS - usize::from(TAIL);
    let a_at = |i: usize| pointers[i / R::REACH].wrapping_offset((i % R::REACH) as isize * row + shift);
    // SAFETY: the caller's promises.
    unsafe {
        if STEP == BY_COLUMN || STEP == SOME_COLUMNS {
            for v in 0..VECTORS {
                let column = R::load(b.wrapping_add(v * R::LANES));
                for i in rows.clone() {
                    let at = a_at(i).wrapping_add(v * R::LANES);
                    let own = if STEP == SOME_COLUMNS { R::load_some(at, t.cols) } else { R::load(at) };
                    acc[i][v] = acc[i][v].mul_add_each(own, column);
                }
            }
        } else if ROWS <= VECTORS {
            let mut factors = [R::splat_zero(); ROWS];
            for i in rows.clone() {
                factors[i] = R::splat(a_at(i));
            }
            for v in 0..VECTORS {
                let column = R::load(b.wrapping_add(v * R::LANES));
                for i in rows.clone() {
                    acc[i][v] = acc[i][v].mul_add(factors[i], column);
                }
            }
        } else {
            let mut columns = [R::zero(); VECTORS];
            for v in 0..VECTORS {
                columns[v] = R::load(b.wrapping_add(v * R::LANES));
            }
            for i in rows {
                let factor = R::splat(a_at(i));
                for v in 0..VECTORS {
                    acc[i][v] = acc[i][v].mul_add(factor, columns[v]);
                }
            }
        }
    }
}

/// From one row of a tall tile to the next in the left operand: a constant, so that one pointer reaches all of them.
pub(super) const PITCH: usize = 32;

/// Computes a tile of `ROWS` rows, more than other tiles have, and one register of columns, perhaps in part: each term of the right operand
/// is read once for all of them. There is a register for every sum, none for a second pointer.
/// # Safety
/// That of [`tile`]; rows are [`PITCH`] apart in A, terms are adjacent, and all rows have all of them.
#[inline(always)]
pub(super) unsafe fn tall<R: Register, const ROWS: usize>(t: &Tile) {
    let [outer, middle] = t.around;
    let len = t.parts[1].len;
    debug_assert!(t.row == PITCH as isize && t.col == 1 && t.cols <= R::LANES && !t.by_column);
    debug_assert!(t.parts[0].runs == 0 && t.parts[1].runs == 1 && t.parts[2].runs == 0);
    // SAFETY: the caller's promises, for all of this.
    unsafe {
        let mut acc = [R::zero(); ROWS];
        for i in 0..outer.count {
            for j in 0..middle.count {
                let mut a = t.a.wrapping_offset((i * outer.a + j * middle.a) as isize);
                let mut b = t.b.wrapping_offset((i * outer.b + j * middle.b) as isize);
                for _ in 0..len {
                    let column = R::load(b);
                    each!(tall I < ROWS => {
                        acc[I] = acc[I].mul_add(R::splat(a.wrapping_add(I * PITCH)), column);
                    });
                    a = a.wrapping_add(1);
                    b = b.wrapping_offset(t.b_row);
                }
            }
        }
        if t.accumulate {
            each!(tall I < ROWS => {
                acc[I] = R::load_some(t.c.wrapping_add(I * t.ldc), t.cols).add(acc[I]);
            })
        }
        each!(tall I < ROWS => {
            acc[I].store_some(t.c.wrapping_add(I * t.ldc), t.cols);
        })
    }
}
