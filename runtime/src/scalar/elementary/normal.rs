//! The distribution function of the normal distribution.
//!
//! In: a register holding `x`. Out: `(1 + erf(x / sqrt 2)) / 2`, the lower tail with all its digits, for `gelu`.
//! Absent on purpose: the error function, beside which 1 is lost in the tail.

use super::super::{Cmp, Reg, Scalar};
use super::exp::{BIAS, HEADROOM, power_of_two, reduced, split};
use super::{MANTISSA_BITS, at_most, polynomial};

/// `Phi(-a) / (t e^(-a^2 / 2))` in `1 - t`, where `t = 1 / (1 + BEND a)`. Error 0.06 * 2^-24, for a in [0, 15].
const TAIL: [f64; 11] = [
    0.5,
    -0.411867619,
    -0.0176347252,
    0.0951306671,
    0.0395788401,
    0.0116882203,
    -0.0864071324,
    0.12700437,
    -0.18437472,
    0.139390692,
    -0.0379735418,
];
const BEND: f64 = 0.4375;
/// The square of a number of so few bits is exact.
const HALF_OF_MANTISSA: u32 = MANTISSA_BITS.div_ceil(2);

/// The distribution function. Zero below -14.2, and 1 above 5.5.
pub fn normal_cdf<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let size = s.abs(x);
    let size = at_most(s, size, 14.4);
    let (one, bend) = (s.float(1.0), s.float(BEND));
    let bent = s.mul(size, bend);
    let denominator = s.add(bent, one);
    let t = s.div(one, denominator);
    let rest = s.mul(bent, t);
    let p = polynomial(s, rest, &TAIL);
    let ratio = s.mul(p, t);

    // The exponent -a^2 / 2 in two parts: a = h + l, h with half of the bits, and h^2 is exact, a^2 - h^2 = l (a + h) small.
    let (bits, mask) = (s.bits(size), s.int(-1 << HALF_OF_MANTISSA));
    let bits = s.int_and(bits, mask);
    let high = s.from_bits(bits);
    let (low, sum) = (s.sub(size, high), s.add(size, high));
    let minus_half = s.float(-0.5);
    let (high_part, low_part) = (s.mul(high, minus_half), s.mul(low, minus_half));
    let (high_part, low_part) = (s.mul(high_part, high), s.mul(low_part, sum));
    let exponent = s.add(high_part, low_part);
    let (r, n) = split(s, high_part, exponent, 1.0);
    let r = s.add(r, low_part);
    let q = reduced(s, r).q;
    // 2^n may be 2^-150: a larger power first, and one rounding to a subnormal at the end.
    let (power, unit) = (power_of_two(s, n, BIAS + HEADROOM), s.float(2.0_f64.powi(-HEADROOM)));
    let bell = s.mul_add(q, power, power);
    let tail = s.mul(bell, ratio);
    let tail = s.mul(tail, unit);

    let zero = s.float(0.0);
    let upper = s.sub(one, tail);
    let is_upper = s.cmp(Cmp::Lt, zero, x);
    s.select(is_upper, upper, tail)
}
