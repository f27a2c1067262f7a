//! The registers of each instruction set, and the tiles that are compiled for it.

use super::across::{self, Rows};
use super::gathered::{Line, gather};
use super::tile::{self, ANY, BY_COLUMN, SOME_COLUMNS, Tile, UNIT_COL, UNIT_ROW, tile};
use super::{Register, RunsKernel};
use crate::microkernels::gemm;

/// Compiles the tiles of an instruction set: for so many rows, so many registers of columns; for `unit` steps of A by themselves, or
/// for `any` steps alone. Then tall ones, of more rows.
macro_rules! tiles {
    (
        $kernel:ty, $register:ty, $steps:ident, $(#[$features:meta])?
        { $($rows:literal: $($vectors:literal)+;)+ } $(tall, up to $tallest:literal: $($tall:literal)+)?
    ) => {
        impl RunsKernel for $kernel {
            const TALLEST: usize = 0 $(+ $tallest)?;

            unsafe fn runs_tile(t: &Tile) {
                $(#[$features])?
                unsafe fn one<const ROWS: usize, const VECTORS: usize, const STEP: u8, const EDGE: bool>(t: &Tile) {
                    // SAFETY: the caller's promises.
                    unsafe { tile::<$register, ROWS, VECTORS, STEP, EDGE>(t) }
                }
                $(#[$features])?
                #[allow(dead_code, reason = "not every instruction set has tall tiles")]
                unsafe fn tall<const ROWS: usize>(t: &Tile) {
                    // SAFETY: the caller's promises.
                    unsafe { tile::tall::<$register, ROWS>(t) }
                }
                // SAFETY: the caller's promises, for a shape known at compile time.
                unsafe {
                    match (t.rows, t.cols.div_ceil(<$kernel as gemm::Kernel>::LANES)) {
                        $(($rows, 1) if t.by_column && t.cols < <$kernel as gemm::Kernel>::LANES => {
                            one::<$rows, 1, SOME_COLUMNS, true>(t)
                        })+
                        $($(($rows, $vectors) if t.by_column => one::<$rows, $vectors, BY_COLUMN, true>(t),
                        ($rows, $vectors) => tiles!(@$steps t, $rows, $vectors),)+)+
                        $($(($tall, 1) => tall::<$tall>(t),)+)?
                        (rows, vectors) => unreachable!("no tile of {rows} rows x {vectors} vectors"),
                    }
                }
            }

            unsafe fn across(t: &Rows) {
                $(#[$features])?
                unsafe fn compiled(t: &Rows) {
                    // SAFETY: the caller's promises.
                    unsafe { across::tile::<$register, { <$kernel as gemm::Kernel>::LANES }>(t) }
                }
                // SAFETY: the caller's promises.
                unsafe { compiled(t) }
            }

            unsafe fn gather(line: &Line<'_>) {
                $(#[$features])?
                unsafe fn compiled(line: &Line<'_>) {
                    // SAFETY: the caller's promises.
                    unsafe { gather::<$register>(line) }
                }
                // SAFETY: the caller's promises.
                unsafe { compiled(line) }
            }
        }
    };
    (@unit $t:ident, $rows:literal, $vectors:literal) => {
        match ($t.col == 1, $t.parts[0].runs > 0 || $t.parts[2].runs > 0) {
            (true, false) => one::<$rows, $vectors, UNIT_COL, false>($t),
            (true, true) => one::<$rows, $vectors, UNIT_COL, true>($t),
            (false, false) if $t.row == 1 => one::<$rows, $vectors, UNIT_ROW, false>($t),
            _ => one::<$rows, $vectors, ANY, true>($t),
        }
    };
    (@any $t:ident, $rows:literal, $vectors:literal) => { one::<$rows, $vectors, ANY, true>($t) };
}

#[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
mod x86 {
    use core::arch::x86_64::*;

    use super::*;
    use crate::microkernels::gemm::avx512::{lanes, transposed};

    impl Register for __m256 {
        const LANES: usize = 8;
        const REACH: usize = 3;
        type Splat = __m256;

        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: the caller's promises; so below.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn splat_zero() -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn splat(from: *const f32) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_set1_ps(*from) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, x: __m256, y: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(x, y, self) }
        }

        #[inline(always)]
        unsafe fn mul_add_each(self, x: __m256, y: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(x, y, self) }
        }

        #[inline(always)]
        unsafe fn add(self, other: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_add_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn sub(self, other: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_sub_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn load_some(from: *const f32, some: usize) -> __m256 {
            // SAFETY: as above, and lanes that the mask leaves out are not read.
            unsafe { _mm256_maskload_ps(from, first_lanes(some)) }
        }

        #[inline(always)]
        unsafe fn load_lanes(from: *const f32, bits: u64) -> __m256 {
            // SAFETY: as above.
            unsafe {
                let lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                let is_set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits as i32), lanes), lanes);
                _mm256_maskload_ps(from, is_set)
            }
        }

        #[inline(always)]
        unsafe fn store_some(self, to: *mut f32, some: usize) {
            // SAFETY: as above, for writes. A masked store is slow on some machines.
            unsafe {
                match some < Self::LANES {
                    true => _mm256_maskstore_ps(to, first_lanes(some), self),
                    false => _mm256_storeu_ps(to, self),
                }
            }
        }
    }

    impl Register for __m512 {
        const LANES: usize = 16;
        const REACH: usize = 3;
        type Splat = __m512;

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: the caller's promises; so below.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn splat_zero() -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn splat(from: *const f32) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(*from) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, x: __m512, y: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(x, y, self) }
        }

        #[inline(always)]
        unsafe fn mul_add_each(self, x: __m512, y: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(x, y, self) }
        }

        #[inline(always)]
        unsafe fn add(self, other: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_add_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn sub(self, other: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_sub_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn load_some(from: *const f32, some: usize) -> __m512 {
            // SAFETY: as above, and lanes that the mask leaves out are not read.
            unsafe { _mm512_maskz_loadu_ps(lanes(some), from) }
        }

        #[inline(always)]
        unsafe fn load_lanes(from: *const f32, bits: u64) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_maskz_loadu_ps(bits as __mmask16, from) }
        }

        #[inline(always)]
        unsafe fn store_across<const COLS: usize>(columns: &[__m512; COLS], to: *mut f32, apart: usize, rows: usize) {
            // SAFETY: as above.
            let mut block = [unsafe { Self::zero() }; 16];
            block[..COLS].copy_from_slice(columns);
            // SAFETY: as above.
            let block = unsafe { transposed(block) };
            for (row, floats) in block.iter().enumerate() {
                if row < rows {
                    // SAFETY: as above, for writes.
                    unsafe { floats.store_some(to.wrapping_add(row * apart), COLS) };
                }
            }
        }

        #[inline(always)]
        unsafe fn store_some(self, to: *mut f32, some: usize) {
            // SAFETY: as above, for writes.
            unsafe { _mm512_mask_storeu_ps(to, lanes(some), self) }
        }
    }

    /// A mask of so many lanes.
    /// # Safety
    /// The machine has the instructions.
    #[inline(always)]
    unsafe fn first_lanes(some: usize) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(some as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    tiles! {
        gemm::avx2::Avx2, __m256, unit, #[target_feature(enable = "avx2,fma")]
        { 1: 1 2 4; 2: 1 2 4; 3: 1 2 4; 4: 1 2; 5: 1 2; 6: 1 2; }
    }

    tiles! {
        gemm::avx512::Avx512, __m512, unit, #[target_feature(enable = "avx512f")]
        {
            1: 1 2 4; 2: 1 2 4; 3: 1 2 4; 4: 1 2 4; 5: 1 2 4; 6: 1 2 4; 7: 1 2; 8: 1 2;
            9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;
        }
        tall, up to 28: 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
    }
}

#[cfg(all(any(feature = "jit", test), target_arch = "aarch64"))]
mod arm {
    use core::arch::aarch64::*;

    use super::*;

    impl Register for float32x4_t {
        const LANES: usize = 4;
        /// To load from a pointer and an offset in a register, one row needs one pointer.
        const REACH: usize = 1;
        type Splat = f32;

        #[inline(always)]
        unsafe fn zero() -> float32x4_t {
            // SAFETY: the caller's promises; so below.
            unsafe { vdupq_n_f32(0.0) }
        }

        #[inline(always)]
        unsafe fn splat_zero() -> f32 {
            0.0
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vld1q_f32(from) }
        }

        #[inline(always)]
        unsafe fn splat(from: *const f32) -> f32 {
            // SAFETY: as above.
            unsafe { *from }
        }

        #[inline(always)]
        unsafe fn mul_add(self, x: f32, y: float32x4_t) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vfmaq_n_f32(self, y, x) }
        }

        #[inline(always)]
        unsafe fn mul_add_each(self, x: float32x4_t, y: float32x4_t) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vfmaq_f32(self, x, y) }
        }

        #[inline(always)]
        unsafe fn add(self, other: float32x4_t) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vaddq_f32(self, other) }
        }

        #[inline(always)]
        unsafe fn sub(self, other: float32x4_t) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vsubq_f32(self, other) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { vst1q_f32(to, self) }
        }
    }

    tiles! {
        gemm::neon::Neon, float32x4_t, unit, #[target_feature(enable = "neon")]
        { 1: 1 2 3 4 8; 2: 1 2 3 4 8; 3: 1 2 3 4 8; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3 4; }
    }
}

/// Eight floats in plain Rust.
#[derive(Clone, Copy)]
pub(in crate::microkernels) struct Floats([f32; 8]);

impl Floats {
    #[inline(always)]
    fn each(mut self, f: impl Fn(usize, f32) -> f32) -> Floats {
        for (lane, float) in self.0.iter_mut().enumerate() {
            *float = f(lane, *float);
        }
        self
    }
}

impl Register for Floats {
    const LANES: usize = 8;
    const REACH: usize = 1;
    type Splat = f32;

    #[inline(always)]
    unsafe fn zero() -> Floats {
        Floats([0.0; 8])
    }

    #[inline(always)]
    unsafe fn splat_zero() -> f32 {
        0.0
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Floats {
        // SAFETY: the caller's promise.
        Floats(unsafe { *from.cast::<[f32; 8]>() })
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn mul_add(self, x: f32, y: Floats) -> Floats {
        // SAFETY: as above.
        unsafe { self.mul_add_each(Floats([x; 8]), y) }
    }

    #[inline(always)]
    unsafe fn mul_add_each(self, x: Floats, y: Floats) -> Floats {
        self.each(|lane, sum| match const { gemm::Isa::Portable.fuses() } {
            true => x.0[lane].mul_add(y.0[lane], sum),
            false => x.0[lane] * y.0[lane] + sum,
        })
    }

    #[inline(always)]
    unsafe fn add(self, other: Floats) -> Floats {
        self.each(|lane, sum| sum + other.0[lane])
    }

    #[inline(always)]
    unsafe fn sub(self, other: Floats) -> Floats {
        self.each(|lane, sum| sum - other.0[lane])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to.cast::<[f32; 8]>() = self.0 }
    }
}

tiles! {
    gemm::portable::Portable, Floats, any,
    { 1: 1 2; 2: 1 2; 3: 1; 4: 1; 5: 1; 6: 1; 7: 1; 8: 1; }
}
