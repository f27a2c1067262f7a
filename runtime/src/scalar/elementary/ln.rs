//! The natural logarithm of `x` and of `1 + x`.
//!
//! In: a register holding `x`. Out: its logarithm; NaN left of the pole and -inf at it. Both write the argument as
//! `2^k (1 + f)` with `1 + f` in (sqrt(1/2), sqrt(2)], and share the logarithm of `1 + f` and the treatment of the
//! limits.
//! Absent on purpose: other bases, which are a multiplication by a constant.

use std::f64::consts::LN_2;

use super::super::{Cmp, Reg, Scalar};
use super::{MANTISSA_BITS, polynomial};

/// The bit pattern of `sqrt(2)`, the largest `1 + f`.
const SQRT_2: i32 = 0x3fb5_04f3;
/// `-(ln(1 + f) / s - 2) / s^2` in `s^2`, where `s = f / (2 + f)`. Error 0.02 * 2^-24 relative to `ln(1 + f)`.
const LN: [f64; 3] = [-0.666667759, -0.399775833, -0.298708081];

/// Natural logarithm.
pub fn ln<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    // A subnormal is scaled by 2^23, and the exponent is then counted from 23 more.
    let (smallest_normal, scale) = (s.float(f64::from(f32::MIN_POSITIVE)), s.float(f64::from(1 << MANTISSA_BITS)));
    let subnormal = s.cmp(Cmp::Lt, x, smallest_normal);
    let scaled = s.mul(x, scale);
    let normal = s.select(subnormal, scaled, x);
    let (near, far) = (s.int(SQRT_2), s.int(SQRT_2 + ((MANTISSA_BITS as i32) << MANTISSA_BITS)));
    let top = s.select(subnormal, far, near);

    let bits = s.bits(normal);
    let distance = s.int_sub(top, bits);
    let minus_k = s.sar(distance, MANTISSA_BITS);
    let mask = s.int((1 << MANTISSA_BITS) - 1);
    let distance = s.int_and(distance, mask);
    let bits = s.int_sub(near, distance);
    let (mantissa, one) = (s.from_bits(bits), s.float(1.0));
    let f = s.sub(mantissa, one);

    let y = ln_of_parts(s, minus_k, f);
    with_limits(s, x, 0.0, y)
}

/// `ln(1 + x)`, accurate near zero.
pub fn log1p<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let one = s.float(1.0);
    let sum = s.add(x, one);
    let (bits, top) = (s.bits(sum), s.int(SQRT_2));
    let distance = s.int_sub(top, bits);
    let minus_k = s.sar(distance, MANTISSA_BITS);
    // f = 2^-k (1 + x) - 1 = 2^-k x - (1 - 2^-k) from x itself, since the sum was rounded; times 4, because 2^-128 is
    // no normal f32. The product is exact, and subtracting last keeps -0.0.
    let shifted = s.shl(minus_k, MANTISSA_BITS);
    let bias = s.int((127 + 2) << MANTISSA_BITS);
    let bits = s.int_add(shifted, bias);
    let (power, four, quarter) = (s.from_bits(bits), s.float(4.0), s.float(0.25));
    let product = s.mul(x, power);
    let rest = s.sub(four, power);
    let f = s.sub(product, rest);
    let f = s.mul(f, quarter);

    let y = ln_of_parts(s, minus_k, f);
    with_limits(s, x, -1.0, y)
}

/// `k ln 2 + ln(1 + f)`, -0.0 for an `f` of -0.0. In f32, `ln 2` is exact to 2^-28, so that it needs no second part.
fn ln_of_parts<S: Scalar + ?Sized>(s: &mut S, minus_k: Reg, f: Reg) -> Reg {
    // ln(1 + f) = 2 artanh(s) = f - s (f - s^2 P(s^2)), the form of fdlibm, in which the rounding of s hardly counts.
    // The register holds -s, to make both subtractions a mul_add.
    let minus_two = s.float(-2.0);
    let denominator = s.sub(minus_two, f);
    let minus_s = s.div(f, denominator);
    let square = s.mul(minus_s, minus_s);
    let p = polynomial(s, square, &LN);
    let inner = s.mul_add(square, p, f);
    let y = s.mul_add(minus_s, inner, f);
    let (minus_k, minus_ln_2) = (s.to_float(minus_k), s.float(-LN_2));
    s.mul_add(minus_k, minus_ln_2, y)
}

/// `y` for `x` between `pole` and infinity; infinity and NaN as they are, -inf at the pole, NaN below it.
fn with_limits<S: Scalar + ?Sized>(s: &mut S, x: Reg, pole: f64, y: Reg) -> Reg {
    let (pole, infinity) = (s.float(pole), s.float(f64::INFINITY));
    let finite = s.cmp(Cmp::Lt, x, infinity);
    let y = s.select(finite, y, x);
    let (minus_infinity, nan) = (s.float(f64::NEG_INFINITY), s.float(f64::NAN));
    let at_pole = s.cmp(Cmp::Eq, x, pole);
    let limit = s.select(at_pole, minus_infinity, nan);
    let inside = s.cmp(Cmp::Lt, pole, x);
    s.select(inside, y, limit)
}
