//! The AVX-512 microkernel: up to 12 rows x 32 columns of C in 24 registers, two loads of B and twelve broadcasts of A
//! for 24 multiply-adds. Few rows take up to 128 columns instead. Edges are masked, so nothing is read outside an
//! operand.

use core::arch::x86_64::*;

use super::steps::{STEPS, advance};
use super::{Axpy, Kernel, Operand, Tile, pack};

pub(in crate::microkernels) struct Avx512;

impl Kernel for Avx512 {
    const LANES: usize = 16;
    const MR: usize = 12;
    const NR: usize = 32;
    const EXACT: bool = true;

    fn widest(rows: usize) -> usize {
        match rows {
            0..=3 => 128,
            4..=6 => 64,
            _ => 32,
        }
    }

    unsafe fn tile(t: &Tile) {
        macro_rules! shapes {
            ($($rows:literal: $($vectors:literal)+;)+) => {
                match (t.rows, t.cols.div_ceil(16)) {
                    // SAFETY: the caller's promises, for a shape known at compile time.
                    $($(($rows, $vectors) => unsafe { tile::<$rows, $vectors>(t) },)+)+
                    (rows, vectors) => unreachable!("no tile of {rows} rows x {vectors} vectors"),
                }
            };
        }
        shapes! {
            1: 1 2 4 8; 2: 1 2 4 8; 3: 1 2 4 8; 4: 1 2 4; 5: 1 2 4; 6: 1 2 4;
            7: 1 2; 8: 1 2; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;
        }
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

/// From row to row of a C that is so large that none of its lines is in a cache, in floats. Measured with predictions of 2,048 rows,
/// 256 terms and 32,768 columns: 8 to 15 % less time where tiles ask for their lines first (AMD Zen 5).
const FAR: usize = 4096;

/// The first `n` lanes, all sixteen if there are more.
#[inline(always)]
pub(in crate::microkernels) fn lanes(n: usize) -> __mmask16 {
    if n >= 16 { !0 } else { (1 << n) - 1 }
}

/// # Safety
/// That of [`Kernel::tile`], for a tile of `MR` rows and `VECTORS` registers of columns, the last perhaps in part.
#[target_feature(enable = "avx512f")]
unsafe fn tile<const MR: usize, const VECTORS: usize>(t: &Tile) {
    // SAFETY: the caller's promises; A was packed if neither of its strides is 1.
    unsafe {
        match t.a {
            Operand { row: 1, col, .. } => sums::<MR, VECTORS, true>(t, 1, col),
            Operand { row, .. } => sums::<MR, VECTORS, false>(t, row, 1),
        }
    }
}

/// # Safety
/// As for [`tile`]; A has these strides, that from row to row being 1 if `UNIT_ROW`, else the other.
#[target_feature(enable = "avx512f")]
#[inline]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn sums<const MR: usize, const VECTORS: usize, const UNIT_ROW: bool>(t: &Tile, row: usize, col: usize) {
    let (row, col) = if UNIT_ROW { (1, col) } else { (row, 1) };
    let last = lanes(t.cols - (VECTORS - 1) * 16);
    let mask = |v: usize| if v + 1 == VECTORS { last } else { !0 };
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; MR];
    if t.accumulate || UNIT_ROW || t.ldc >= FAR {
        // Rows of a large C are far apart and were last seen a whole pass ago, or never, or A, which lies term by term, has
        // driven them out. Now they arrive while the sums are formed.
        for i in 0..MR {
            for v in 0..VECTORS {
                _mm_prefetch::<_MM_HINT_T0>(t.c.wrapping_add(i * t.ldc + v * 16).cast());
            }
        }
    }
    let mut step = |a: [*const f32; 4], shift: usize, b: *const f32| {
        // SAFETY: row and column are inside the tile, and masked lanes are not read.
        let b_at = |v: usize| unsafe { _mm512_maskz_loadu_ps(mask(v), b.add(v * 16)) };
        let place = |i: usize| a[i / 3].wrapping_add((i % 3).wrapping_mul(row).wrapping_add(shift));
        // SAFETY: as above.
        let a_at = |i: usize| unsafe { _mm512_set1_ps(*place(i)) };
        if MR <= VECTORS {
            let mut rows = [_mm512_setzero_ps(); MR];
            for i in 0..MR {
                rows[i] = a_at(i);
            }
            for v in 0..VECTORS {
                let column = b_at(v);
                for i in 0..MR {
                    acc[i][v] = _mm512_fmadd_ps(rows[i], column, acc[i][v]);
                }
            }
        } else {
            let mut columns = [_mm512_setzero_ps(); VECTORS];
            for v in 0..VECTORS {
                columns[v] = b_at(v);
            }
            for i in 0..MR {
                let row = a_at(i);
                for v in 0..VECTORS {
                    acc[i][v] = _mm512_fmadd_ps(row, columns[v], acc[i][v]);
                }
            }
        }
    };
    // Three rows to a pointer: `p`, `p + row` and `p + 2 row` are addressing modes, twelve pointers would not fit.
    let mut a = [t.a.ptr; 4];
    for (g, a) in a.iter_mut().enumerate() {
        *a = a.wrapping_add((3 * g).wrapping_mul(row));
    }
    let mut b = t.b;
    let (mut ahead, apart) = t.ahead;
    for _ in 0..t.depth / STEPS {
        _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
        ahead = ahead.wrapping_add(apart);
        for s in 0..STEPS {
            step(a, s.wrapping_mul(col), b.wrapping_add(s.wrapping_mul(t.b_row)));
        }
        advance(&mut a, STEPS.wrapping_mul(col));
        b = b.wrapping_add(STEPS.wrapping_mul(t.b_row));
    }
    for _ in 0..t.depth % STEPS {
        step(a, 0, b);
        advance(&mut a, col);
        b = b.wrapping_add(t.b_row);
    }
    for i in 0..MR {
        for v in 0..VECTORS {
            // SAFETY: row `i` of C has these columns, and masked lanes are neither read nor written.
            unsafe {
                let c = t.c.add(i * t.ldc + v * 16);
                if t.accumulate {
                    acc[i][v] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask(v), c), acc[i][v]);
                }
                _mm512_mask_storeu_ps(c, mask(v), acc[i][v]);
            }
        }
    }
}

/// # Safety
/// That of [`Kernel::axpy`], for so many rows and terms.
#[target_feature(enable = "avx512f")]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn axpy<const MR: usize, const TERMS: usize>(some: &Axpy) {
    let &Axpy { cols, a, b, b_row, sums, sums_row, first, ahead } = some;
    let mut factors = [[_mm512_setzero_ps(); TERMS]; MR];
    for i in 0..MR {
        for t in 0..TERMS {
            // SAFETY: row `i`, term `t` is inside A.
            factors[i][t] = unsafe { _mm512_set1_ps(*a.at(i, t).ptr) };
        }
    }
    for j in (0..cols).step_by(16) {
        let mask = lanes(cols - j);
        let mut terms = [_mm512_setzero_ps(); TERMS];
        for t in 0..TERMS {
            let at = b.wrapping_add(t.wrapping_mul(b_row).wrapping_add(j));
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(ahead).cast());
            // SAFETY: the columns of the mask are inside row `t` of B; others are not read.
            terms[t] = unsafe { _mm512_maskz_loadu_ps(mask, at) };
        }
        for i in 0..MR {
            // SAFETY: as above, for row `i` of the sums.
            unsafe {
                let at = sums.add(i * sums_row + j);
                let mut sum = if first { _mm512_setzero_ps() } else { _mm512_maskz_loadu_ps(mask, at) };
                for t in 0..TERMS {
                    sum = _mm512_fmadd_ps(factors[i][t], terms[t], sum);
                }
                _mm512_mask_storeu_ps(at, mask, sum);
            }
        }
    }
}

/// Packs when the elements of a row of the panel are adjacent in the source.
/// # Safety
/// That of [`Kernel::pack`].
#[target_feature(enable = "avx512f")]
unsafe fn copy(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
    for i in (0..width).step_by(16) {
        let (read, write) = (lanes(count.saturating_sub(i)), lanes(width - i));
        for p in 0..depth {
            // SAFETY: masks keep the read inside `count`, the write inside `width`.
            unsafe {
                let row = _mm512_maskz_loadu_ps(read, src.at(i, p).ptr);
                _mm512_mask_storeu_ps(panel.add(p * width + i), write, row);
            }
        }
    }
}

/// How far ahead of a block that is transposed its rows are prefetched, in floats: sixteen runs are more than prefetchers follow.
/// Measured with one row of a network of eight layers, 1,024 by 1,024, a step of training takes 4.98 to 4.57 ms (AMD Zen 5).
const AHEAD: usize = 128;

/// Packs when the elements of a column of the panel are adjacent in the source: transposes blocks of 16 x 16.
/// # Safety
/// That of [`Kernel::pack`].
#[target_feature(enable = "avx512f")]
unsafe fn transpose(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
    for i in (0..width).step_by(16) {
        let write = lanes(width - i);
        // Panels of B have sixteen rows from `i` on, tiles of A twelve.
        let whole = if matches!(count - i.min(count), 12 | 16..) { depth / 16 * 16 } else { 0 };
        for p in (0..whole).step_by(16) {
            // In the order in which blocks are met, the last ones of these rows being followed by the first ones of the next.
            let next = p + AHEAD;
            let ahead = if next < whole { src.at(i, next) } else { src.at(i + 16, next % whole) };
            for r in 0..16 {
                _mm_prefetch::<_MM_HINT_T0>(ahead.at(r, 0).ptr.cast());
            }
            let first = src.at(i, p).ptr;
            let all = i + 16 <= count;
            // SAFETY: so many rows from `i` on have sixteen elements from `p` on.
            let block = unsafe { if all { columns::<4>(first, src.row) } else { columns::<3>(first, src.row) } };
            for (s, &column) in block.iter().enumerate() {
                // SAFETY: line `p + s` of the panel exists, and the mask keeps the write inside `width`.
                unsafe { _mm512_mask_storeu_ps(panel.add((p + s) * width + i), write, column) };
            }
        }
        for p in (whole..depth).step_by(16) {
            let read = lanes(depth - p);
            let mut block = [_mm512_setzero_ps(); 16];
            for (r, row) in block.iter_mut().enumerate() {
                if i + r < count {
                    // SAFETY: row `i + r` exists, and the mask keeps the read inside `depth`.
                    *row = unsafe { _mm512_maskz_loadu_ps(read, src.at(i + r, p).ptr) };
                }
            }
            for (s, &column) in transposed(block).iter().enumerate() {
                if p + s < depth {
                    // SAFETY: line `p + s` of the panel exists, and the mask keeps the write inside `width`.
                    unsafe { _mm512_mask_storeu_ps(panel.add((p + s) * width + i), write, column) };
                }
            }
        }
    }
}

/// The columns of sixteen floats of `4 * QUARTERS` rows so far apart, with zeros below. Quarters of registers are filled from memory,
/// which takes half as many shuffles as to move them afterwards.
/// # Safety
/// They are valid for reads.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn columns<const QUARTERS: usize>(first: *const f32, row: usize) -> [__m512; 16] {
    let mut columns = [_mm512_setzero_ps(); 16];
    for l in 0..4 {
        // Of rows `r`, `4 + r`, `8 + r` and `12 + r` the columns from `4 l` on.
        let mut quads = [_mm512_setzero_ps(); 4];
        for (r, quad) in quads.iter_mut().enumerate() {
            let quarter = |at: usize| first.wrapping_add((4 * at + r).wrapping_mul(row).wrapping_add(4 * l));
            // SAFETY: four floats of a row.
            unsafe {
                *quad = _mm512_zextps128_ps512(_mm_loadu_ps(quarter(0)));
                *quad = _mm512_insertf32x4::<1>(*quad, _mm_loadu_ps(quarter(1)));
                *quad = _mm512_insertf32x4::<2>(*quad, _mm_loadu_ps(quarter(2)));
                if QUARTERS == 4 {
                    *quad = _mm512_insertf32x4::<3>(*quad, _mm_loadu_ps(quarter(3)));
                }
            }
        }
        columns[4 * l..][..4].copy_from_slice(&transposed_quarters(quads));
    }
    columns
}

/// The transposes of the four 4 x 4 floats of which the quarters of four registers are the rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed_quarters(rows: [__m512; 4]) -> [__m512; 4] {
    let pairs = |x, y| (_mm512_castps_pd(_mm512_unpacklo_ps(x, y)), _mm512_castps_pd(_mm512_unpackhi_ps(x, y)));
    let ((low01, high01), (low23, high23)) = (pairs(rows[0], rows[1]), pairs(rows[2], rows[3]));
    [
        _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23)),
        _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23)),
    ]
}

/// The transpose of 16 x 16 floats: 4 x 4 inside the quarters of a register, then the quarters.
#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::microkernels) fn transposed(rows: [__m512; 16]) -> [__m512; 16] {
    let mut quads = rows;
    for q in (0..16).step_by(4) {
        quads[q..q + 4].copy_from_slice(&transposed_quarters([rows[q], rows[q + 1], rows[q + 2], rows[q + 3]]));
    }
    // Quarter `l` of `quads[4 q + s]` now holds rows `4 q ..` of column `4 l + s`.
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let mut columns = quads;
    for s in 0..4 {
        let even_low = _mm512_shuffle_f32x4::<EVEN>(quads[s], quads[4 + s]);
        let odd_low = _mm512_shuffle_f32x4::<ODD>(quads[s], quads[4 + s]);
        let even_high = _mm512_shuffle_f32x4::<EVEN>(quads[8 + s], quads[12 + s]);
        let odd_high = _mm512_shuffle_f32x4::<ODD>(quads[8 + s], quads[12 + s]);
        columns[s] = _mm512_shuffle_f32x4::<EVEN>(even_low, even_high);
        columns[4 + s] = _mm512_shuffle_f32x4::<EVEN>(odd_low, odd_high);
        columns[8 + s] = _mm512_shuffle_f32x4::<ODD>(even_low, even_high);
        columns[12 + s] = _mm512_shuffle_f32x4::<ODD>(odd_low, odd_high);
    }
    columns
}
