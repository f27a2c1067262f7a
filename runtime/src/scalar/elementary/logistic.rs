//! `sigmoid`, `tanh` and `softplus`: the logistic function, its symmetric form and its integral; and the slopes of the first two,
//! which share the exponential with the function where both are wanted.
//!
//! In: a register holding `x`. Out: the function of it, on the exponential core of `exp`.
//! Absent on purpose: a call of `exp` followed by a division, which would overflow or cancel where these do not.

use super::super::{Cmp, Reg, Scalar};
use super::exp::{BIAS, EXPM1, HEADROOM, Reduced, inverse_power_of_two, power_of_two, reduce, split};
use super::{SIGN, at_least, at_most, polynomial, with_sign_of};

/// `(tanh(r) / r - 1) / r^2` in `r^2`. Error 0.07 * 2^-24 relative to `tanh(r)`, for |r| <= 0.261.
const TANH: [f64; 3] = [-0.333332121, 0.133225158, -0.0512036495];
/// A quarter of the width `ln(2) / 2` of the range of `r`.
const TANH_SHIFT: f64 = 0.0866;
/// Four times `(e^2r - 1 - 2 r) / (2 r)^2`: the coefficients of `EXPM1` times powers of two.
const EXPM1_OF_TWICE: [f64; 5] = [4.0 * EXPM1[0], 8.0 * EXPM1[1], 16.0 * EXPM1[2], 32.0 * EXPM1[3], 64.0 * EXPM1[4]];
/// From where on the slope of `tanh` is zero. There `e^-2|x|` is 2^-153.
const FAR: f64 = 53.0;
/// By how many powers of two others scale that, and its reciprocal, to be normal numbers.
const FAR_HEADROOM: i32 = 32;
/// `(ln(1 + z) / v - 1) / v^2` in `v^2`, where `v = z / (1 + z / 2)`. Error 0.08 * 2^-24 relative to `ln(1 + z)`, for
/// z in [0, 1].
const LOG1P_OF_FRACTION: [f64; 4] = [0.0833330154, 0.012506797, 0.00218736031, 0.000547449803];

/// The halves of the logistic function, `1 / (1 + e^|x|)` and what it lacks of 1: each with all its digits.
fn halves<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> [Reg; 2] {
    let magnitude = s.abs(x);
    let magnitude = at_most(s, magnitude, 104.0);
    let Reduced { q, n, .. } = reduce(s, magnitude);
    // 1 / (1 + 2^n + 2^n q), expanded by 2^-24 since 2^n may be 2^150. The largest term is added last, which leaves one
    // rounding that counts.
    let (power, unit) = (power_of_two(s, n, BIAS - HEADROOM), s.float(2.0_f64.powi(-HEADROOM)));
    let sum = s.mul_add(q, power, unit);
    let sum = s.add(sum, power);
    let smaller = s.div(unit, sum);
    // The other half is its reflection, where 1 - y loses nothing: y is at most 1/2.
    let one = s.float(1.0);
    [smaller, s.sub(one, smaller)]
}

/// `1 / (1 + e^-x)`. Subnormal below -87.34, as `e^x` is.
pub fn sigmoid<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let halves = halves(s, x);
    half_of(s, x, halves)
}

/// The half on the side of `x`.
fn half_of<S: Scalar + ?Sized>(s: &mut S, x: Reg, [left, right]: [Reg; 2]) -> Reg {
    let zero = s.float(0.0);
    let is_right = s.cmp(Cmp::Lt, zero, x);
    s.select(is_right, right, left)
}

/// The slope of `sigmoid`, the product of its halves. Subnormal beyond 87.34.
pub fn sigmoid_slope<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let [left, right] = halves(s, x);
    s.mul(left, right)
}

/// `sigmoid` and `sigmoid_slope`, to the bit, with one exponential.
pub fn sigmoid_and_slope<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> [Reg; 2] {
    let halves = halves(s, x);
    let [left, right] = halves;
    [half_of(s, x, halves), s.mul(left, right)]
}

/// Hyperbolic tangent. Rounds to 1 above 9.02.
pub fn tanh<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let magnitude = s.abs(x);
    let magnitude = at_most(s, magnitude, 10.0);
    // With |x| = n ln(2) / 2 + r and t = tanh(r), e^-2|x| = 2^-n (1 - t) / (1 + t). The shift makes r small where it is
    // negative, since (1 + t) - 2^-n (1 - t) then cancels, and |x| itself up to 0.26.
    let shift = s.float(TANH_SHIFT);
    let guide = s.sub(magnitude, shift);
    let (r, n) = split(s, magnitude, guide, 2.0);
    let square = s.mul(r, r);
    let p = polynomial(s, square, &TANH);
    let cube = s.mul(square, r);
    let t = s.mul_add(cube, p, r);
    // (1 - e^-2|x|) / (1 + e^-2|x|) times 1 + t, above and below: 2 t / 2 near zero, which is exact. The denominator is
    // the numerator plus 2^-n (2 - 2 t), rounding included, so that far from zero the error of one cancels that of the
    // other.
    let power = inverse_power_of_two(s, n, BIAS);
    let (one, two, minus_two) = (s.float(1.0), s.float(2.0), s.float(-2.0));
    let below = s.sub(one, power);
    let above = s.add(one, power);
    let numerator = s.mul_add(above, t, below);
    let gap = s.mul_add(minus_two, t, two);
    let denominator = s.mul_add(power, gap, numerator);
    let y = s.div(numerator, denominator);
    with_sign_of(s, y, x)
}

/// `1 - tanh(x)^2`. Subnormal beyond 44.36.
pub fn tanh_slope<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let magnitude = s.abs(x);
    let magnitude = at_most(s, magnitude, FAR);
    // With |x| = n ln(2) / 2 + r, e^2r = 1 + r (2 + r p). It is four times the slope of the logistic function of 2 x, and the
    // product of its halves as that is.
    let (r, n) = split(s, magnitude, magnitude, 2.0);
    let p = polynomial(s, r, &EXPM1_OF_TWICE);
    let two = s.float(2.0);
    let p = s.mul_add(r, p, two);
    let q = s.mul(r, p);
    let (power, unit) = (power_of_two(s, n, BIAS - FAR_HEADROOM), s.float(2.0_f64.powi(-FAR_HEADROOM)));
    let sum = s.mul_add(q, power, unit);
    let sum = s.add(sum, power);
    let (four, minus_quarter, one) = (s.float(4.0 * 2.0_f64.powi(-FAR_HEADROOM)), s.float(-0.25), s.float(1.0));
    let left = s.div(four, sum);
    let right = s.mul_add(left, minus_quarter, one);
    s.mul(left, right)
}

/// `ln(1 + e^x)`, as `max(x, 0) + ln(1 + z)` with `z = e^-|x|` in [0, 1]. Subnormal below -87.34, as `e^x` is.
pub fn softplus<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let (bits, sign) = (s.bits(x), s.int(SIGN));
    let negative = s.int_or(bits, sign);
    let negative = s.from_bits(negative);
    let negative = at_least(s, negative, -104.0);
    let Reduced { q, n, .. } = reduce(s, negative);
    // 2^n may be 2^-150: a larger power first, exactly, and one rounding to a subnormal after.
    let (power, unit) = (power_of_two(s, n, BIAS + HEADROOM), s.float(2.0_f64.powi(-HEADROOM)));
    let z = s.mul_add(q, power, power);
    let z = s.mul(z, unit);
    // ln(1 + z) = 2 artanh(v / 2): half the degree of a polynomial in z, for one division.
    let (half, one) = (s.float(0.5), s.float(1.0));
    let denominator = s.mul_add(z, half, one);
    let v = s.div(z, denominator);
    let square = s.mul(v, v);
    let p = polynomial(s, square, &LOG1P_OF_FRACTION);
    let p = s.mul_add(square, p, one);
    let positive = at_least(s, x, 0.0);
    s.mul_add(v, p, positive)
}
