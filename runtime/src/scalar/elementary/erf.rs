//! The error function.
//!
//! In: a register holding `x`. Out: `erf(x) = 2 / sqrt(pi) * (integral of e^-t^2 for t from 0 to x)`, for `gelu`.
//! Absent on purpose: the exponential. Where f32 tells the result from 1, a polynomial is cheaper than `1 - e^p(x)`.

use super::super::{Cmp, Reg, Scalar};
use super::{at_most, polynomial, with_sign_of};

/// Up to here the series around zero, from here on the one around `CENTER`.
const SEAM: f64 = 1.0;
/// `erf(x) / x - 1` in `x^2`. Error 0.68 * 2^-24 relative to `erf(x)`, for |x| <= 1.
const NEAR: [f64; 6] = [0.128379121, -0.37612322, 0.112801515, -0.0267105587, 0.00491670473, -0.000562800851];
const CENTER: f64 = 2.25;
/// `erf(x)` in `x - CENTER`. Error 0.54 * 2^-24, for x in [1, 3.925].
const FAR: [f64; 13] = [
    0.998537302,
    0.00714250142,
    -0.016070364,
    0.0217208099,
    -0.0190824848,
    0.0106764864,
    -0.00291005126,
    -0.000709357846,
    0.00101601053,
    -0.000331389601,
    -3.32686905e-05,
    4.87174766e-05,
    -9.23158586e-06,
];

/// The error function. Rounds to 1 above 3.92.
pub fn erf<S: Scalar + ?Sized>(s: &mut S, x: Reg) -> Reg {
    let magnitude = s.abs(x);
    let magnitude = at_most(s, magnitude, 3.921875);
    let square = s.mul(magnitude, magnitude);
    let p = polynomial(s, square, &NEAR);
    let near = s.mul_add(p, magnitude, magnitude);

    let center = s.float(CENTER);
    let offset = s.sub(magnitude, center);
    let far = polynomial(s, offset, &FAR);

    let seam = s.float(SEAM);
    let is_far = s.cmp(Cmp::Lt, seam, magnitude);
    let y = s.select(is_far, far, near);
    with_sign_of(s, y, x)
}
