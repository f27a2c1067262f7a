//! The NEON microkernel: up to 6 rows x 16 columns of C in 24 of the 32 registers, four loads of B and six numbers of A
//! for 24 multiply-adds. Those take a factor from a lane of a register, so that A comes in plain loads of one float, from
//! anywhere: a load that fills a register with copies would, on many cores, take the place of a multiply-add. Few rows
//! take 32 columns instead. B comes in whole registers; what is left of a row of C goes through the stack.

use core::arch::aarch64::*;
use core::arch::asm;

use super::steps::{STEPS, advance};
use super::{Axpy, Kernel, Operand, Tile, pack};

pub(in crate::microkernels) struct Neon;

impl Kernel for Neon {
    const LANES: usize = 4;
    const MR: usize = 6;
    const NR: usize = 16;
    const EXACT: bool = false;

    fn widest(rows: usize) -> usize {
        if rows <= 3 { 32 } else { 16 }
    }

    unsafe fn tile(t: &Tile) {
        macro_rules! shapes {
            ($($rows:literal: $($vectors:literal)+;)+) => {
                match (t.rows, t.cols.div_ceil(4)) {
                    // SAFETY: the caller's promises, for a shape known at compile time.
                    $($(($rows, $vectors) => unsafe { tile::<$rows, $vectors>(t) },)+)+
                    (rows, vectors) => unreachable!("no tile of {rows} rows x {vectors} vectors"),
                }
            };
        }
        shapes! { 1: 1 2 3 4 8; 2: 1 2 3 4 8; 3: 1 2 3 4 8; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3 4; }
    }

    unsafe fn axpy(rows: usize, terms: usize, some: &Axpy) {
        macro_rules! shapes {
            ($($rows:literal: $($terms:literal)+;)+) => {
                match (rows, terms) {
                    // SAFETY: the caller's promises, for a shape known at compile time.
                    $($(($rows, $terms) => unsafe { axpy::<$rows, $terms>(some) },)+)+
                    (rows, terms) => unreachable!("no sums of {rows} rows x {terms} terms"),
                }
            };
        }
        shapes! { 1: 1 2 3 4; 2: 1 2 3 4; 3: 1 2 3 4; 4: 1 2 3 4; }
    }

    unsafe fn pack(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
        // SAFETY: the caller's promises, for the strides in question.
        unsafe {
            match src {
                Operand { row: 1, .. } => copy(panel, width, count, depth, src),
                Operand { col: 1, .. } => transpose(panel, width, count, depth, src),
                _ => pack::plain(panel, width, count, src, 0..width, 0..depth),
            }
        }
    }
}

/// # Safety
/// That of [`Kernel::tile`], for a tile of `MR` rows and `VECTORS` registers of columns, the last perhaps in part.
#[target_feature(enable = "neon")]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn tile<const MR: usize, const VECTORS: usize>(t: &Tile) {
    let mut acc = [[vdupq_n_f32(0.0); VECTORS]; MR];
    // One term ahead of the first: to load from a pointer itself, nothing added, the compiler takes the load that fills a register.
    let mut a = [t.a.ptr; MR];
    for i in 0..MR {
        a[i] = t.a.at(i, 0).ptr.wrapping_sub(t.a.col);
    }
    let mut b = t.b;
    let (mut ahead, apart) = t.ahead;
    for _ in 0..t.depth / STEPS {
        prefetch(ahead);
        ahead = ahead.wrapping_add(apart);
        for s in 0..STEPS {
            // SAFETY: this term and its columns of B, whole registers, are inside the tile.
            unsafe { step(&mut acc, a, (s + 1).wrapping_mul(t.a.col), b.wrapping_add(s.wrapping_mul(t.b_row))) };
        }
        advance(&mut a, STEPS.wrapping_mul(t.a.col));
        b = b.wrapping_add(STEPS.wrapping_mul(t.b_row));
    }
    for _ in 0..t.depth % STEPS {
        // SAFETY: as above.
        unsafe { step(&mut acc, a, t.a.col, b) };
        advance(&mut a, t.a.col);
        b = b.wrapping_add(t.b_row);
    }
    for i in 0..MR {
        for v in 0..VECTORS {
            let c = t.c.wrapping_add(i * t.ldc + v * 4);
            // SAFETY: row `i` of C has these columns.
            unsafe {
                match t.cols - v * 4 {
                    cols @ 0..4 => edge(c, cols, acc[i][v], t.accumulate),
                    _ if t.accumulate => vst1q_f32(c, vaddq_f32(vld1q_f32(c), acc[i][v])),
                    _ => vst1q_f32(c, acc[i][v]),
                }
            }
        }
    }
}

/// The last columns of a row of C, fewer than a register.
/// # Safety
/// `c` is valid for `cols` floats.
#[cold]
#[target_feature(enable = "neon")]
unsafe fn edge(c: *mut f32, cols: usize, sums: float32x4_t, accumulate: bool) {
    let mut whole = [0.0; 4];
    // SAFETY: `whole` has four floats, and `cols` are fewer.
    unsafe {
        if accumulate {
            c.copy_to_nonoverlapping(whole.as_mut_ptr(), cols);
        }
        let sums = if accumulate { vaddq_f32(vld1q_f32(whole.as_ptr()), sums) } else { sums };
        vst1q_f32(whole.as_mut_ptr(), sums);
        c.copy_from_nonoverlapping(whole.as_ptr(), cols);
    }
}

/// Adds one term to every sum: rows `a`, so many floats on, times a row of B. Always inlined, as a function that enables
/// a feature cannot be: the sums would go through memory.
/// # Safety
/// The machine has NEON. The rows are valid there, and B for whole registers.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn step<const MR: usize, const VECTORS: usize>(
    acc: &mut [[float32x4_t; VECTORS]; MR],
    a: [*const f32; MR],
    shift: usize,
    b: *const f32,
) {
    let a_at = |i: usize| a[i].wrapping_add(shift);
    let b_at = |v: usize| b.wrapping_add(v * 4);
    // SAFETY: the caller's promises.
    unsafe {
        if MR <= VECTORS {
            let mut rows = [0.0; MR];
            for i in 0..MR {
                rows[i] = *a_at(i);
            }
            for v in 0..VECTORS {
                let column = vld1q_f32(b_at(v));
                for i in 0..MR {
                    acc[i][v] = vfmaq_n_f32(acc[i][v], column, rows[i]);
                }
            }
        } else {
            let mut columns = [vdupq_n_f32(0.0); VECTORS];
            for v in 0..VECTORS {
                columns[v] = vld1q_f32(b_at(v));
            }
            for i in 0..MR {
                let row = *a_at(i);
                for v in 0..VECTORS {
                    acc[i][v] = vfmaq_n_f32(acc[i][v], columns[v], row);
                }
            }
        }
    }
}

/// Asks for a line in the second cache. `nomem` is essential: to be seen by something that may read, the sums would be
/// stored at every step.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block, reason = "a hint reads nothing")]
fn prefetch(line: *const f32) {
    // SAFETY: a hint, for which any address will do.
    unsafe { asm!("prfm pldl2keep, [{0}]", in(reg) line, options(nomem, nostack, preserves_flags)) };
}

/// # Safety
/// That of [`Kernel::axpy`], for so many rows and terms.
#[target_feature(enable = "neon")]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn axpy<const MR: usize, const TERMS: usize>(some: &Axpy) {
    let &Axpy { cols, a, b, b_row, sums, sums_row, first, ahead } = some;
    let mut factors = [[0.0; TERMS]; MR];
    for i in 0..MR {
        for t in 0..TERMS {
            // SAFETY: row `i`, term `t` is inside A.
            factors[i][t] = unsafe { *a.at(i, t).ptr };
        }
    }
    for j in (0..cols / 4 * 4).step_by(4) {
        let mut terms = [vdupq_n_f32(0.0); TERMS];
        for t in 0..TERMS {
            let at = b.wrapping_add(t.wrapping_mul(b_row).wrapping_add(j));
            prefetch(at.wrapping_add(ahead));
            // SAFETY: four columns from `j` on are inside row `t` of B.
            terms[t] = unsafe { vld1q_f32(at) };
        }
        for i in 0..MR {
            // SAFETY: four sums from `j` on are inside row `i` of them.
            unsafe {
                let at = sums.add(i * sums_row + j);
                let mut sum = if first { vdupq_n_f32(0.0) } else { vld1q_f32(at) };
                for t in 0..TERMS {
                    sum = vfmaq_n_f32(sum, terms[t], factors[i][t]);
                }
                vst1q_f32(at, sum);
            }
        }
    }
    for j in cols / 4 * 4..cols {
        for i in 0..MR {
            // SAFETY: column `j` is inside B and the sums.
            unsafe {
                let at = sums.add(i * sums_row + j);
                let mut sum = if first { 0.0 } else { *at };
                for t in 0..TERMS {
                    sum = factors[i][t].mul_add(*b.wrapping_add(t.wrapping_mul(b_row).wrapping_add(j)), sum);
                }
                *at = sum;
            }
        }
    }
}

/// Packs when the elements of a row of the panel are adjacent in the source.
/// # Safety
/// That of [`Kernel::pack`].
#[target_feature(enable = "neon")]
unsafe fn copy(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
    let whole = count / 4 * 4;
    for p in 0..depth {
        for i in (0..whole).step_by(4) {
            // SAFETY: four elements from `i` on are inside `count`, hence inside `width`.
            unsafe { vst1q_f32(panel.add(p * width + i), vld1q_f32(src.at(i, p).ptr)) };
        }
    }
    // Tiles of A have six columns, and no zeros after them.
    let mut at = whole;
    if width == count && count - at >= 2 {
        for p in 0..depth {
            // SAFETY: two elements from `at` on are inside `count`.
            unsafe { vst1_f32(panel.add(p * width + at), vld1_f32(src.at(at, p).ptr)) };
        }
        at += 2;
    }
    // SAFETY: the rest of the same panel.
    unsafe { pack::plain(panel, width, count, src, at..width, 0..depth) };
}

/// Packs when the elements of a column of the panel are adjacent in the source: transposes blocks of 4 x 4.
/// # Safety
/// That of [`Kernel::pack`].
#[target_feature(enable = "neon")]
unsafe fn transpose(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
    let (whole, deep) = (count / 4 * 4, depth / 4 * 4);
    for i in (0..whole).step_by(4) {
        for p in (0..deep).step_by(4) {
            // SAFETY: four elements from `p` on are inside `depth`.
            let row = |r: usize| unsafe { vld1q_f32(src.at(i + r, p).ptr) };
            for (s, &column) in transposed([row(0), row(1), row(2), row(3)]).iter().enumerate() {
                // SAFETY: four elements from `i` on are inside `count`, hence inside `width`.
                unsafe { vst1q_f32(panel.add((p + s) * width + i), column) };
            }
        }
        // SAFETY: the last lines of these four columns.
        unsafe { pack::plain(panel, width, count, src, i..i + 4, deep..depth) };
    }
    // Those that are left, as two of the six of a tile of A: in a panel of B with zeros up to a whole register.
    let left = count - whole;
    let deep = if left > 0 { deep } else { 0 };
    for p in (0..deep).step_by(4) {
        let row = |r: usize| match r < left {
            // SAFETY: row `whole + r` exists, and four elements from `p` on are inside `depth`.
            true => unsafe { vld1q_f32(src.at(whole + r, p).ptr) },
            false => vdupq_n_f32(0.0),
        };
        for (s, &column) in transposed([row(0), row(1), row(2), row(3)]).iter().enumerate() {
            // SAFETY: so many elements from `whole` on are inside `width`.
            unsafe {
                let line = panel.add((p + s) * width + whole);
                match left {
                    _ if whole + 4 <= width => vst1q_f32(line, column),
                    1 => vst1q_lane_f32::<0>(line, column),
                    _ => {
                        vst1_f32(line, vget_low_f32(column));
                        if left == 3 {
                            vst1q_lane_f32::<2>(line.add(2), column);
                        }
                    }
                }
            }
        }
    }
    // SAFETY: the last lines of the columns that are left, and zeros where there is no column.
    unsafe {
        pack::plain(panel, width, count, src, whole..width, deep..depth);
        pack::plain(panel, width, count, src, (whole + 4).min(width)..width, 0..deep);
    }
}

/// The transpose of 4 x 4 floats: single ones first, then pairs.
#[inline]
#[target_feature(enable = "neon")]
fn transposed(rows: [float32x4_t; 4]) -> [float32x4_t; 4] {
    let pairs = |x, y| (vreinterpretq_f64_f32(vtrn1q_f32(x, y)), vreinterpretq_f64_f32(vtrn2q_f32(x, y)));
    let (even01, odd01) = pairs(rows[0], rows[1]);
    let (even23, odd23) = pairs(rows[2], rows[3]);
    [
        vreinterpretq_f32_f64(vtrn1q_f64(even01, even23)),
        vreinterpretq_f32_f64(vtrn1q_f64(odd01, odd23)),
        vreinterpretq_f32_f64(vtrn2q_f64(even01, even23)),
        vreinterpretq_f32_f64(vtrn2q_f64(odd01, odd23)),
    ]
}
