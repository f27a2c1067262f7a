//! Products with a gate, a function that rises from 0 to 1, in forms whose value and slope keep their digits at both ends.
//!
//! In: a value. Out: the value times its gate, and the slope of that product.

use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;

/// Where the sigmoid is 0 or 1 in any precision.
const FAR: f64 = 1e4;

/// `x`, bounded below, for a product with a gate that is 0 at minus infinity.
pub(super) fn not_endless(b: &mut Builder, x: NodeId) -> NodeId {
    let least = b.constant_like(-FAR, x);
    b.max(least, x)
}

/// `x gate`, of a gate with this slope: 0 at minus infinity, and its slope `gate + x gate'` as well; that is 1 at infinity.
pub(super) fn gated(b: &mut Builder, x: NodeId, gate: NodeId, slope: NodeId) -> NodeId {
    let within = not_endless(b, x);
    let y = b.mul(within, gate);
    let y = b.detach(y);
    let most = b.constant_like(FAR, x);
    let within = b.min(most, within);
    let slope = b.mul_add(within, slope, gate);
    b.with_slope(y, x, slope)
}

/// A function that is symmetric about 1/2, as `1 - z` above 0 and `z` below, where `z` is at most 1/2 and has all its digits.
pub(super) struct Halves {
    z: NodeId,
    rest: NodeId,
    /// The function itself.
    pub(super) y: NodeId,
}

impl Halves {
    /// The function whose lower half is `z`, of `x`.
    fn new(b: &mut Builder, x: NodeId, z: NodeId) -> Halves {
        let [zero, one] = [0.0, 1.0].map(|number| b.constant_like(number, x));
        let above = b.compare(Cmp::Gt, x, zero);
        let rest = b.sub(one, z);
        Halves { z, rest, y: b.select(above, rest, z) }
    }

    /// The sigmoid.
    pub(super) fn of(b: &mut Builder, x: NodeId) -> Halves {
        let size = b.abs(x);
        let minus = b.neg(size);
        let z = b.sigmoid(minus);
        Halves::new(b, x, z)
    }

    /// The slope of the sigmoid.
    pub(super) fn slope(&self, b: &mut Builder) -> NodeId {
        b.mul(self.z, self.rest)
    }
}

/// `x sigmoid(2 c (x + 0.044715 x^3))` with `c = sqrt(2 / pi)`: that is `(1 + tanh) / 2`, without its difference.
pub(super) fn gelu_of_tanh(b: &mut Builder, x: NodeId) -> NodeId {
    let first = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let third = 0.044715 * first;
    let square = b.mul(x, x);
    let [linear, cubic, triple] = [first, third, 3.0 * third].map(|number| b.constant_like(number, x));
    let inner = b.mul_add(square, cubic, linear);
    let inner = b.mul(x, inner);
    let halves = Halves::of(b, inner);
    // From here on the slope of the sigmoid is 0, and that of its operand may be infinite.
    let most = b.constant_like(FAR, x);
    let square = b.min(most, square);
    let slope = halves.slope(b);
    let inner = b.mul_add(square, triple, linear);
    let slope = b.mul(slope, inner);
    gated(b, x, halves.y, slope)
}

/// `x Phi(x)`.
pub(super) fn gelu(b: &mut Builder, x: NodeId) -> NodeId {
    let gate = b.normal_cdf(x);
    let bell = b.bell(x, 0.5);
    let slope = b.scale(bell, (0.5 * std::f64::consts::FRAC_1_PI).sqrt());
    gated(b, x, gate, slope)
}
