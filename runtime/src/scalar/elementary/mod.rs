//! The transcendental functions in f32, from the primitive operations of `Scalar` alone.
//!
//! In: a register. Out: a register at most 2 ulp away from the exact value (`softplus` and
//! slopes: 4, `normal_cdf`: 5), over the whole f32 range,
//! subnormals, signed zeros, infinities and NaN included. Every function is branch-free, so that it runs as SIMD lanes.
//! Absent on purpose: f64, whose interpreter overrides them, and tables, which SIMD lanes could not index.
//!
//! The bounds hold with fused and with twice-rounded `mul_add`. Coefficients are minimax (Remez or Lawson), each
//! rounded to f32 in turn, lowest first, and the remaining ones fitted again; every list states its error.

mod erf;
mod exp;
mod ln;
mod logistic;
mod normal;
#[cfg(test)]
mod tests;

pub(super) use erf::erf;
pub(super) use exp::{exp, expm1};
pub(super) use ln::{ln, log1p};
pub(super) use logistic::{sigmoid, sigmoid_and_slope, sigmoid_slope, softplus, tanh, tanh_slope};
pub(super) use normal::normal_cdf;

use super::{Cmp, Reg, Scalar};

/// The bit of an f32 that holds its sign.
const SIGN: i32 = i32::MIN;
/// The width of the mantissa of an f32: an integer shifted left by it lands in the exponent.
const MANTISSA_BITS: u32 = 23;

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
fn polynomial<S: Scalar + ?Sized>(s: &mut S, x: Reg, coefficients: &[f64]) -> Reg {
    let (&highest, lower) = coefficients.split_last().expect("a polynomial has a coefficient");
    let mut sum = s.float(highest);
    for &c in lower.iter().rev() {
        let c = s.float(c);
        sum = s.mul_add(sum, x, c);
    }
    sum
}

/// `x`, no larger than `limit`. NaN passes through. The comparison and the order of the operands are those of x86's
/// `minps`, so that an emitter may recognize the pair.
fn at_most<S: Scalar + ?Sized>(s: &mut S, x: Reg, limit: f64) -> Reg {
    let limit = s.float(limit);
    let beyond = s.cmp(Cmp::Lt, limit, x);
    s.select(beyond, limit, x)
}

/// `x`, no smaller than `limit`. NaN passes through. As `at_most`, with `maxps`.
fn at_least<S: Scalar + ?Sized>(s: &mut S, x: Reg, limit: f64) -> Reg {
    let limit = s.float(limit);
    let beyond = s.cmp(Cmp::Lt, x, limit);
    s.select(beyond, limit, x)
}

/// The non-negative `magnitude` with the sign of `x`: what gives an odd function its negative half and its `-0.0`.
fn with_sign_of<S: Scalar + ?Sized>(s: &mut S, magnitude: Reg, x: Reg) -> Reg {
    let (magnitude, x, mask) = (s.bits(magnitude), s.bits(x), s.int(SIGN));
    let sign = s.int_and(x, mask);
    let signed = s.int_or(magnitude, sign);
    s.from_bits(signed)
}
