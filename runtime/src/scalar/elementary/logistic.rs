//! `sigmoid`, `tanh` and `softplus`: the logistic function, its symmetric form and its integral.
//!
//! In: a register holding `x`. Out: the function of it, on the exponential core of `exp`.
//! Absent on purpose: a call of `exp` followed by a division, which would overflow or cancel where these do not.

use super::super::{Cmp, Reg, Scalar};
use super::exp::{BIAS, HEADROOM, Reduced, power_of_two, reduce, split};
use super::{SIGN, at_least, at_most, polynomial, with_sign_of};

/// `(tanh(r) / r - 1) / r^2` in `r^2`. Error 0.07 * 2^-24 relative to `tanh(r)`, for |r| <= 0.261.
const TANH: [f64; 3] = [-0.333332121, 0.133225158, -0.0512036495];
/// A quarter of the width `ln(2) / 2` of the range of `r`.
const TANH_SHIFT: f64 = 0.0866;
/// `(ln(1 + z) / v - 1) / v^2` in `v^2`, where `v = z / (1 + z / 2)`. Error 0.08 * 2^-24 relative to `ln(1 + z)`, for
/// z in [0, 1].
const LOG1P_OF_FRACTION: [f64; 4] = [0.0833330154, 0.012506797, 0.00218736031, 0.000547449803];

/// `1 / (1 + e^-x)`. Subnormal below -87.34, as `e^x` is.
pub fn sigmoid<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let magnitude = s.abs(x);
    let magnitude = at_most(s, magnitude, 104.0);
    let Reduced { q, n, .. } = reduce(s, magnitude);
    // sigmoid(-|x|) = 1 / (1 + 2^n + 2^n q), expanded by 2^-24 since 2^n may be 2^150. The largest term is added
    // last, which leaves one rounding that counts.
    let (power, unit) = (power_of_two(s, n, BIAS - HEADROOM), s.float(2.0_f64.powi(-HEADROOM)));
    let sum = s.mul_add(q, power, unit);
    let sum = s.add(sum, power);
    let left = s.div(unit, sum);
    // The right half is its reflection, where 1 - y loses nothing: y is at most 1/2.
    let (zero, one) = (s.float(0.0), s.float(1.0));
    let right = s.sub(one, left);
    let is_right = s.cmp(Cmp::Lt, zero, x);
    s.select(is_right, right, left)
}

/// Hyperbolic tangent. Rounds to 1 above 9.02.
pub fn tanh<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let magnitude = s.abs(x);
    let magnitude = at_most(s, magnitude, 10.0);
    // With |x| = n ln(2) / 2 + r and t = tanh(r), e^2|x| = 2^n (1 + t) / (1 - t). The shift makes r small where it is
    // negative, since 2^n (1 + t) - (1 - t) then cancels, and |x| itself up to 0.26.
    let shift = s.float(TANH_SHIFT);
    let guide = s.sub(magnitude, shift);
    let (r, n) = split(s, magnitude, guide, 2.0);
    let square = s.mul(r, r);
    let p = polynomial(s, square, &TANH);
    let cube = s.mul(square, r);
    let t = s.mul_add(cube, p, r);
    // (e^2|x| - 1) / (e^2|x| + 1) times 1 - t, above and below: 2 t / 2 near zero, which is exact. The denominator is
    // the numerator plus 2 - 2 t, rounding included, so that far from zero the error of one cancels that of the
    // other.
    let (power, one, two, minus_two) = (power_of_two(s, n, BIAS), s.float(1.0), s.float(2.0), s.float(-2.0));
    let below = s.sub(power, one);
    let above = s.add(power, one);
    let numerator = s.mul_add(above, t, below);
    let gap = s.mul_add(minus_two, t, two);
    let denominator = s.add(numerator, gap);
    let y = s.div(numerator, denominator);
    with_sign_of(s, y, x)
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
