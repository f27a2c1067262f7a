//! What one core of this machine can do at most: multiply-adds between registers, and bytes that pass through it.
//!
//! Nothing in, two rates out. Each is the best of a few runs of well below a millisecond to a few, so that what else the
//! machine does is left out; they are what measured times are compared with.

use std::hint::black_box;
use std::time::Instant;

use super::gemm::Isa;

/// The rates of one core.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Peak {
    /// Floating-point operations a second; a multiply-add counts as two.
    pub flops: f64,
    /// Bytes a second, read and written, that come from beyond the second cache: STREAM's triad (McCalpin 1995).
    pub bytes: f64,
}

/// Independent sums, so many that none waits for another, and lanes of a sum.
const fn shape(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Avx512 | Isa::Portable => (16, 16),
        // There are 16 registers, and two hold the operands.
        Isa::Avx2 => (12, 8),
        Isa::Neon => (24, 4),
    }
}

impl Peak {
    /// Measures both, in about 20 ms.
    pub fn measure() -> Peak {
        Peak { flops: flops(), bytes: bytes() }
    }
}

/// The best rate of a few runs, in units a second.
fn best(runs: usize, units: f64, mut run: impl FnMut()) -> f64 {
    let seconds = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    units / seconds.fold(f64::INFINITY, f64::min)
}

fn flops() -> f64 {
    const ROUNDS: usize = 4_000;
    let isa = Isa::detect();
    let (sums, lanes) = shape(isa);
    best(20, (2 * ROUNDS * sums * lanes) as f64, || {
        black_box(multiply_adds(isa, black_box(ROUNDS)));
    })
}

fn multiply_adds(isa: Isa, rounds: usize) -> f32 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instruction set was detected.
        Isa::Avx512 => unsafe { x86::avx512(rounds) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instruction set was detected.
        Isa::Avx2 => unsafe { x86::avx2(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the instruction set was detected.
        Isa::Neon => unsafe { arm::neon(rounds) },
        _ => portable(rounds),
    }
}

/// In plain Rust, in two operations where the build knows of no fused one.
fn portable(rounds: usize) -> f32 {
    let (x, y) = (black_box(0.5f32), black_box(1.0f32));
    const SHAPE: (usize, usize) = shape(Isa::Portable);
    let mut sums = [[0.0f32; SHAPE.1]; SHAPE.0];
    for _ in 0..rounds {
        for lane in sums.iter_mut().flatten() {
            *lane = if const { Isa::Portable.fuses() } { lane.mul_add(x, y) } else { *lane * x + y };
        }
    }
    sums.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps,
        _mm512_set1_ps, _mm512_setzero_ps,
    };
    use std::hint::black_box;

    use super::{Isa, shape};

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(rounds: usize) -> f32 {
        let (x, y) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1.0)));
        let mut sums = [_mm512_setzero_ps(); shape(Isa::Avx512).0];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, y);
            }
        }
        sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(rounds: usize) -> f32 {
        let (x, y) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(1.0)));
        let mut sums = [_mm256_setzero_ps(); shape(Isa::Avx2).0];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, y);
            }
        }
        // All lanes are alike.
        sums.into_iter().map(|sum| 8.0 * _mm256_cvtss_f32(sum)).sum()
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::{vaddvq_f32, vdupq_n_f32, vfmaq_f32};
    use std::hint::black_box;

    use super::{Isa, shape};

    #[target_feature(enable = "neon")]
    pub(super) fn neon(rounds: usize) -> f32 {
        let (x, y) = (vdupq_n_f32(black_box(0.5)), vdupq_n_f32(black_box(1.0)));
        let mut sums = [vdupq_n_f32(0.0); shape(Isa::Neon).0];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = vfmaq_f32(y, *sum, x);
            }
        }
        sums.into_iter().map(|sum| vaddvq_f32(sum)).sum()
    }
}

fn bytes() -> f64 {
    // 4 MiB each: more than a second cache holds, and the machine's memory is not asked for much.
    const LEN: usize = 1 << 20;
    let (x, y) = (vec![1.0f32; LEN], vec![2.0f32; LEN]);
    let mut sum = vec![0.0f32; LEN];
    best(8, (3 * 4 * LEN) as f64, || {
        let factor = black_box(3.0);
        for ((sum, x), y) in sum.iter_mut().zip(&x).zip(&y) {
            *sum = x + factor * y;
        }
        black_box(&mut sum);
    })
}

#[cfg(test)]
mod tests {
    use super::{Isa, Peak, multiply_adds, shape};

    #[test]
    fn every_loop_does_its_work() {
        for isa in Isa::available() {
            let (sums, lanes) = shape(isa);
            assert_eq!(multiply_adds(isa, 3), (sums * lanes) as f32 * 1.75, "{isa:?}: 1, then 1.5, then 1.75 a lane");
        }
    }

    #[test]
    fn rates_are_those_of_a_processor() {
        // On aarch64 it is an emulator as a rule, which makes less than a hundredth of that on a busy machine.
        let least = if cfg!(target_arch = "aarch64") { 1e6 } else { 1e8 };
        let peak = Peak::measure();
        assert!(peak.flops > least && peak.flops < 1e13, "{peak:?}");
        assert!(peak.bytes > least && peak.bytes < 1e13, "{peak:?}");
    }
}
