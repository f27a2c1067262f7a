//! The exponential core, and `exp` and `expm1` on it.
//!
//! In: a register holding `x`. Out: `e^x` or `e^x - 1`. The core writes `x = n ln 2 + r` with `|r| <= ln(2) / 2`, so
//! that `e^x = 2^n (1 + q)` with `q = e^r - 1`; its callers differ only in how they combine `2^n` and `q`, or `r`
//! itself.
//! Absent on purpose: the clamp of `x`, since every caller knows its own useful range.

use std::f64::consts::LOG2_E;

use super::super::{Cmp, Reg, Scalar};
use super::{MANTISSA_BITS, at_least, at_most, polynomial};

/// `ln 2` in two parts (Cephes). The first has 9 bits, so that its product with `n` is exact even without FMA.
const LN_2_HIGH: f64 = 0.693359375;
const LN_2_LOW: f64 = -2.12194440e-4;
/// `1.5 * 2^23`. Near it the f32 are the integers, so that adding it rounds, and leaves the integer in the low bits.
const ROUNDER: f64 = 12_582_912.0;
/// `(e^r - 1 - r) / r^2`. Error 0.23 * 2^-24 relative to `e^r - 1`, for |r| <= 0.3475.
pub(super) const EXPM1: [f64; 5] = [0.49999997, 0.16666545, 0.0416674428, 0.0083664488, 0.00138702057];
/// The exponent field of 1.0.
pub(super) const BIAS: i32 = 127;
/// By how many powers of two others scale exponentials, that those of 104 and -104 be normal numbers.
pub(super) const HEADROOM: i32 = 24;

/// What is left of `x = n ln 2 + r`.
pub(super) struct Reduced {
    /// `e^r - 1`.
    pub q: Reg,
    /// `r^2`, zero exactly when `x` is so small that `e^x - 1` is `x`.
    pub square: Reg,
    /// As `split` gives it.
    pub n: Reg,
}

/// Reduces an `x` of magnitude at most 105. With NaN for `x`, `q` is NaN and `n` is anything.
pub(super) fn reduce<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reduced {
    let (r, n) = split(s, x, x, 1.0);
    let Remainder { q, square } = reduced(s, r);
    Reduced { q, square, n }
}

/// `e^r - 1` and `r^2`.
pub(super) struct Remainder {
    pub q: Reg,
    pub square: Reg,
}

/// `e^r - 1`, for an `r` of magnitude at most 0.3475.
pub(super) fn reduced<S: Scalar + ?Sized>(s: &mut S, r: Reg) -> Remainder {
    let square = s.mul(r, r);
    let p = polynomial(s, r, &EXPM1);
    Remainder { q: s.mul_add(square, p, r), square }
}

/// `r` and `n` of `x = (n ln 2) / parts + r`, `parts` being a power of two and `n` the integer that is best for
/// `guide`, which is `x` or close to it. As a register, `n` is right modulo 2^9: its upper bits are noise that
/// `power_of_two` shifts out.
pub(super) fn split<S: Scalar + ?Sized>(s: &mut S, x: Reg, guide: Reg, parts: f64) -> (Reg, Reg) {
    let (per_unit, rounder) = (s.float(parts * LOG2_E), s.float(ROUNDER));
    let shifted = s.mul_add(guide, per_unit, rounder);
    let whole = s.sub(shifted, rounder);
    let (high, low) = (s.float(-LN_2_HIGH / parts), s.float(-LN_2_LOW / parts));
    let r = s.mul_add(whole, high, x);
    let r = s.mul_add(whole, low, r);
    (r, s.bits(shifted))
}

/// `2^(n + bias - BIAS)`, which must be a normal number.
pub(super) fn power_of_two<S: Scalar + ?Sized>(s: &mut S, n: Reg, bias: i32) -> Reg {
    let (n, bias) = (s.shl(n, MANTISSA_BITS), s.int(bias << MANTISSA_BITS));
    let bits = s.int_add(n, bias);
    s.from_bits(bits)
}

/// `2^(bias - BIAS - n)`, which must be a normal number.
pub(super) fn inverse_power_of_two<S: Scalar + ?Sized>(s: &mut S, n: Reg, bias: i32) -> Reg {
    let (n, bias) = (s.shl(n, MANTISSA_BITS), s.int(bias << MANTISSA_BITS));
    let bits = s.int_sub(bias, n);
    s.from_bits(bits)
}

/// `e^x`. Subnormal below -87.34, zero below -103.97, infinite above 88.72.
pub fn exp<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let x = at_most(s, x, 89.0);
    // What becomes zero takes a way round: on the direct one it would be rounded from something smaller than any number, for which
    // processors of Intel take a hundred times as long. Masked scores of attention are all of that kind.
    let (limit, zero) = (s.float(-104.0), s.float(0.0));
    let nothing = s.cmp(Cmp::Lt, x, limit);
    let x = s.select(nothing, zero, x);
    let Reduced { q, n, .. } = reduce(s, x);
    // 2^n may be 2^-150 or 2^128, so it is applied by halves: the first product is exact, the second rounds to a
    // subnormal or overflows, once. The noise above the low nine bits of n stays above those of both halves.
    let half = s.sar(n, 1);
    let rest = s.int_sub(n, half);
    let (first, second) = (power_of_two(s, half, BIAS), power_of_two(s, rest, BIAS));
    let y = s.mul_add(q, first, first);
    let y = s.mul(y, second);
    s.select(nothing, zero, y)
}

/// `e^x - 1`. Infinite above 88.72; -1 below -17.3.
pub fn expm1<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let x = at_most(s, x, 89.0);
    let x = at_least(s, x, -25.0);
    let Reduced { q, square, n } = reduce(s, x);
    // Half the result, because 2^128 is no f32: (2^n (1 + q) - 1) / 2 = 2^(n-1) q + (2^(n-1) - 1/2).
    let (power, half) = (power_of_two(s, n, BIAS - 1), s.float(0.5));
    let offset = s.sub(power, half);
    let y = s.mul_add(q, power, offset);
    let y = s.add(y, y);
    // Halving would lose a bit of a subnormal, and the sums above the sign of -0.0.
    let zero = s.float(0.0);
    let tiny = s.cmp(Cmp::Eq, square, zero);
    s.select(tiny, x, y)
}
