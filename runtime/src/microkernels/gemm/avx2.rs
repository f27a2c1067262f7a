//! The AVX2 microkernel: up to 6 rows x 16 columns of C in 12 registers, two loads of B and six broadcasts of A for 12
//! multiply-adds. Few rows take up to 64 columns instead. B comes in whole registers; a C narrower than its registers
//! goes through a small tile on the stack, because masked stores are slow on many machines with AVX2.

use core::arch::x86_64::*;

use super::steps::{STEPS, advance};
use super::{Axpy, Kernel, Operand, Tile, axpy, pack};

pub(in crate::microkernels) struct Avx2;

impl Kernel for Avx2 {
    const LANES: usize = 8;
    const MR: usize = 6;
    const NR: usize = 16;
    const EXACT: bool = false;

    fn widest(rows: usize) -> usize {
        match rows {
            0..=1 => 64,
            2..=3 => 32,
            _ => 16,
        }
    }

    unsafe fn tile(t: &Tile) {
        macro_rules! shapes {
            ($($rows:literal: $($vectors:literal)+;)+) => {
                match (t.rows, t.cols.div_ceil(8)) {
                    // SAFETY: the caller's promises, for a shape known at compile time.
                    $($(($rows, $vectors) => unsafe { tile::<$rows, $vectors>(t) },)+)+
                    (rows, vectors) => unreachable!("no tile of {rows} rows x {vectors} vectors"),
                }
            };
        }
        shapes! { 1: 1 2 4 8; 2: 1 2 4; 3: 1 2 4; 4: 1 2; 5: 1 2; 6: 1 2; }
    }

    fn axpy_terms(rows: usize) -> usize {
        if rows > 2 { 3 } else { axpy::TERMS }
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
        shapes! { 1: 1 2 3 4; 2: 1 2 3 4; 3: 1 2 3; 4: 1 2 3; }
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
#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
#[inline]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn sums<const MR: usize, const VECTORS: usize, const UNIT_ROW: bool>(t: &Tile, row: usize, col: usize) {
    let (row, col) = if UNIT_ROW { (1, col) } else { (row, 1) };
    let mut acc = [[_mm256_setzero_ps(); VECTORS]; MR];
    let mut step = |a: [*const f32; 2], shift: usize, b: *const f32| {
        // SAFETY: row and column are inside the tile, whose columns of B are whole registers.
        let b_at = |v: usize| unsafe { _mm256_loadu_ps(b.add(v * 8)) };
        let place = |i: usize| a[i / 3].wrapping_add((i % 3).wrapping_mul(row).wrapping_add(shift));
        // SAFETY: as above.
        let a_at = |i: usize| unsafe { _mm256_set1_ps(*place(i)) };
        if MR <= VECTORS {
            let mut rows = [_mm256_setzero_ps(); MR];
            for i in 0..MR {
                rows[i] = a_at(i);
            }
            for v in 0..VECTORS {
                let column = b_at(v);
                for i in 0..MR {
                    acc[i][v] = _mm256_fmadd_ps(rows[i], column, acc[i][v]);
                }
            }
        } else {
            let mut columns = [_mm256_setzero_ps(); VECTORS];
            for v in 0..VECTORS {
                columns[v] = b_at(v);
            }
            for i in 0..MR {
                let row = a_at(i);
                for v in 0..VECTORS {
                    acc[i][v] = _mm256_fmadd_ps(row, columns[v], acc[i][v]);
                }
            }
        }
    };
    // Three rows to a pointer: `p`, `p + row` and `p + 2 row` are addressing modes.
    let mut a = [t.a.ptr, t.a.ptr.wrapping_add(row.wrapping_mul(3))];
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
            let cols = t.cols - v * 8;
            // SAFETY: row `i` of C has these columns; the last ones, if fewer than a register, go through `edge`.
            unsafe {
                let c = t.c.add(i * t.ldc + v * 8);
                if cols >= 8 {
                    if t.accumulate {
                        acc[i][v] = _mm256_add_ps(_mm256_loadu_ps(c), acc[i][v]);
                    }
                    _mm256_storeu_ps(c, acc[i][v]);
                } else {
                    let mut edge = [0.0; 8];
                    if t.accumulate {
                        c.copy_to_nonoverlapping(edge.as_mut_ptr(), cols);
                        acc[i][v] = _mm256_add_ps(_mm256_loadu_ps(edge.as_ptr()), acc[i][v]);
                    }
                    _mm256_storeu_ps(edge.as_mut_ptr(), acc[i][v]);
                    c.copy_from_nonoverlapping(edge.as_ptr(), cols);
                }
            }
        }
    }
}

/// # Safety
/// That of [`Kernel::axpy`], for so many rows and terms.
#[target_feature(enable = "avx2,fma")]
#[expect(clippy::needless_range_loop, reason = "one index runs through several arrays of registers")]
unsafe fn axpy<const MR: usize, const TERMS: usize>(some: &Axpy) {
    let &Axpy { cols, a, b, b_row, sums, sums_row, first, ahead } = some;
    let (mut factors, mut wide) = ([[0.0; TERMS]; MR], [[_mm256_setzero_ps(); TERMS]; MR]);
    for i in 0..MR {
        for t in 0..TERMS {
            // SAFETY: row `i`, term `t` is inside A.
            factors[i][t] = unsafe { *a.at(i, t).ptr };
            wide[i][t] = _mm256_set1_ps(factors[i][t]);
        }
    }
    for j in (0..cols / 8 * 8).step_by(8) {
        let mut terms = [_mm256_setzero_ps(); TERMS];
        for t in 0..TERMS {
            let at = b.wrapping_add(t.wrapping_mul(b_row).wrapping_add(j));
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(ahead).cast());
            // SAFETY: eight columns from `j` on are inside row `t` of B.
            terms[t] = unsafe { _mm256_loadu_ps(at) };
        }
        for i in 0..MR {
            // SAFETY: eight sums from `j` on are inside row `i` of them.
            unsafe {
                let at = sums.add(i * sums_row + j);
                let mut sum = if first { _mm256_setzero_ps() } else { _mm256_loadu_ps(at) };
                for t in 0..TERMS {
                    sum = _mm256_fmadd_ps(wide[i][t], terms[t], sum);
                }
                _mm256_storeu_ps(at, sum);
            }
        }
    }
    for j in cols / 8 * 8..cols {
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
#[target_feature(enable = "avx2")]
unsafe fn copy(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
    let whole = count / 8 * 8;
    for i in (0..whole).step_by(8) {
        for p in 0..depth {
            // SAFETY: eight elements from `i` on are inside `count`, hence inside `width`.
            unsafe { _mm256_storeu_ps(panel.add(p * width + i), _mm256_loadu_ps(src.at(i, p).ptr)) };
        }
    }
    let mut at = whole;
    // A panel of B is whole registers, the last one with zeros.
    if at < count && at + 8 <= width {
        // SAFETY: the mask keeps the read inside `count`; eight elements from `at` on are inside `width`.
        unsafe {
            let mask =
                _mm256_cmpgt_epi32(_mm256_set1_epi32((count - at) as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
            for p in 0..depth {
                _mm256_storeu_ps(panel.add(p * width + at), _mm256_maskload_ps(src.at(at, p).ptr, mask));
            }
        }
        at += 8;
    }
    // Tiles of A have six columns: what is left goes in halves of a register, and in halves of those.
    let left = count.saturating_sub(at);
    if left >= 4 {
        for p in 0..depth {
            // SAFETY: four elements from `at` on are inside `count`.
            unsafe { _mm_storeu_ps(panel.add(p * width + at), _mm_loadu_ps(src.at(at, p).ptr)) };
        }
        at += 4;
    }
    if left % 4 >= 2 {
        for p in 0..depth {
            // SAFETY: two elements from `at` on are inside `count`.
            unsafe { _mm_storeu_si64(panel.add(p * width + at).cast(), _mm_loadu_si64(src.at(at, p).ptr.cast())) };
        }
        at += 2;
    }
    // SAFETY: the rest of the same panel.
    unsafe { pack::plain(panel, width, count, src, at..width, 0..depth) };
}

/// Packs when the elements of a column of the panel are adjacent in the source: transposes blocks of 8 x 8.
/// # Safety
/// That of [`Kernel::pack`].
#[target_feature(enable = "avx2")]
unsafe fn transpose(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand) {
    let (whole, deep) = (count / 8 * 8, depth / 8 * 8);
    for i in (0..whole).step_by(8) {
        for p in (0..deep).step_by(8) {
            let mut block = [_mm256_setzero_ps(); 8];
            for (r, row) in block.iter_mut().enumerate() {
                // SAFETY: eight elements from `p` on are inside `depth`.
                *row = unsafe { _mm256_loadu_ps(src.at(i + r, p).ptr) };
            }
            for (s, &column) in transposed(block).iter().enumerate() {
                // SAFETY: eight elements from `i` on are inside `count`, hence inside `width`.
                unsafe { _mm256_storeu_ps(panel.add((p + s) * width + i), column) };
            }
        }
        // SAFETY: the last lines of these eight columns.
        unsafe { pack::plain(panel, width, count, src, i..i + 8, deep..depth) };
    }
    // Those that are left, as the six of a tile of A: in a panel of B with zeros up to a whole register.
    let left = count - whole;
    let deep = if left > 0 { deep } else { 0 };
    for p in (0..deep).step_by(8) {
        let mut block = [_mm256_setzero_ps(); 8];
        for (r, row) in block.iter_mut().enumerate().take(left) {
            // SAFETY: row `whole + r` exists, and eight elements from `p` on are inside `depth`.
            *row = unsafe { _mm256_loadu_ps(src.at(whole + r, p).ptr) };
        }
        for (s, &column) in transposed(block).iter().enumerate() {
            // SAFETY: so many elements from `whole` on are inside `width`.
            unsafe {
                let line = panel.add((p + s) * width + whole);
                if whole + 8 <= width { _mm256_storeu_ps(line, column) } else { store_some(line, column, left) }
            }
        }
    }
    // SAFETY: the last lines of the columns that are left, and zeros where there is no column.
    unsafe {
        pack::plain(panel, width, count, src, whole..width, deep..depth);
        pack::plain(panel, width, count, src, (whole + 8).min(width)..width, 0..deep);
    }
}

/// Stores the first `count` lanes, at most seven.
/// # Safety
/// There is room for so many.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_some(to: *mut f32, lanes: __m256, count: usize) {
    let (mut rest, mut at) = (_mm256_castps256_ps128(lanes), 0);
    // SAFETY: as far as `count` goes.
    unsafe {
        if count >= 4 {
            _mm_storeu_ps(to, rest);
            (rest, at) = (_mm256_extractf128_ps::<1>(lanes), 4);
        }
        if count % 4 >= 2 {
            _mm_storeu_si64(to.add(at).cast(), _mm_castps_si128(rest));
            (rest, at) = (_mm_movehl_ps(rest, rest), at + 2);
        }
        if count % 2 == 1 {
            _mm_store_ss(to.add(at), rest);
        }
    }
}

/// The transpose of 8 x 8 floats: 4 x 4 inside the halves of a register, then the halves.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    let mut quads = rows;
    for q in [0, 4] {
        let pairs = |x, y| (_mm256_castps_pd(_mm256_unpacklo_ps(x, y)), _mm256_castps_pd(_mm256_unpackhi_ps(x, y)));
        let (low01, high01) = pairs(rows[q], rows[q + 1]);
        let (low23, high23) = pairs(rows[q + 2], rows[q + 3]);
        quads[q] = _mm256_castpd_ps(_mm256_unpacklo_pd(low01, low23));
        quads[q + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low01, low23));
        quads[q + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high01, high23));
        quads[q + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high01, high23));
    }
    let mut columns = quads;
    for s in 0..4 {
        columns[s] = _mm256_permute2f128_ps::<0x20>(quads[s], quads[4 + s]);
        columns[4 + s] = _mm256_permute2f128_ps::<0x31>(quads[s], quads[4 + s]);
    }
    columns
}
