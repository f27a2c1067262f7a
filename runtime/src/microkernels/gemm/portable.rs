//! The microkernel in plain Rust, for every architecture: up to 4 rows x 8 columns of C (8 x 8 with the 32 registers of
//! aarch64), in arrays that the compiler keeps in vector registers. Few rows take up to 32 columns instead.

use super::{Axpy, Isa, Kernel, Operand, Tile, pack};

pub(in crate::microkernels) struct Portable;

impl Kernel for Portable {
    const LANES: usize = 8;
    const MR: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };
    const NR: usize = 8;
    const EXACT: bool = false;

    fn widest(rows: usize) -> usize {
        match rows {
            0..=1 => 32,
            2 => 16,
            _ => 8,
        }
    }

    unsafe fn tile(t: &Tile) {
        // SAFETY: the caller's promises, for a shape known at compile time.
        unsafe {
            match (t.rows, t.cols.next_multiple_of(8)) {
                (1, 8) => tile::<1, 8>(t),
                (1, 16) => tile::<1, 16>(t),
                (1, 32) => tile::<1, 32>(t),
                (2, 8) => tile::<2, 8>(t),
                (2, 16) => tile::<2, 16>(t),
                (3, 8) => tile::<3, 8>(t),
                (4, 8) => tile::<4, 8>(t),
                (5, 8) => tile::<5, 8>(t),
                (6, 8) => tile::<6, 8>(t),
                (7, 8) => tile::<7, 8>(t),
                (8, 8) => tile::<8, 8>(t),
                (rows, cols) => unreachable!("no tile of {rows} x {cols}"),
            }
        }
    }

    unsafe fn axpy(rows: usize, terms: usize, some: &Axpy) {
        let &Axpy { cols, a, b, b_row, sums, sums_row, first, .. } = some;
        for i in 0..rows {
            // SAFETY: row `i` of the sums has these columns, and nobody else holds it.
            let sums = unsafe { core::slice::from_raw_parts_mut(sums.add(i * sums_row), cols) };
            if first {
                sums.fill(0.0);
            }
            for t in 0..terms {
                // SAFETY: row `i`, term `t` is inside A, and row `t` of B has these columns.
                let (a, b) = unsafe {
                    (*a.at(i, t).ptr, core::slice::from_raw_parts(b.wrapping_add(t.wrapping_mul(b_row)), cols))
                };
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = multiply_add(a, b[j], *sum);
                }
            }
        }
    }

    unsafe fn pack(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
        // SAFETY: the caller's promises.
        unsafe { pack::plain(panel, width, count, src, 0..width, 0..depth) };
    }
}

#[inline(always)]
fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
    if const { Isa::Portable.fuses() } { a.mul_add(b, sum) } else { a * b + sum }
}

/// # Safety
/// That of [`Kernel::tile`], for a tile of `MR` rows and `t.cols` columns rounded up to `COLS`.
unsafe fn tile<const MR: usize, const COLS: usize>(t: &Tile) {
    let mut acc = [[0.0f32; COLS]; MR];
    for p in 0..t.depth {
        // SAFETY: row `p` of B has `COLS` columns, the last ones perhaps padding.
        let b = unsafe { *t.b.wrapping_add(p.wrapping_mul(t.b_row)).cast::<[f32; COLS]>() };
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: row `i`, column `p` of A is inside the tile.
            let a = unsafe { *t.a.at(i, p).ptr };
            for (j, acc) in acc.iter_mut().enumerate() {
                *acc = multiply_add(a, b[j], *acc);
            }
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        // SAFETY: row `i` of C has `t.cols` columns, and nobody else holds it.
        let c = unsafe { core::slice::from_raw_parts_mut(t.c.add(i * t.ldc), t.cols) };
        for (j, c) in c.iter_mut().enumerate() {
            *c = if t.accumulate { *c + acc[j] } else { acc[j] };
        }
    }
}
