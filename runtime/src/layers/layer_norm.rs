//! `LayerNorm`: each row with mean 0 and variance 1, then each feature scaled and shifted (Ba, Kiros & Hinton 2016).

use super::{Arg, ArgDef, ArgKind, LayerDef, ParamDef, features, float};
use crate::init::Init;
use crate::ir::SlotKind;

/// Every row at mean 0 and variance 1, then at a learnt scale and shift; the same in training and in inference.
///
/// - Value: `y = gamma (x - mean) / sqrt(var + eps) + beta`, with mean and biased variance along each row. A row of
///   equal numbers, as every row of one number is, becomes `beta`; one of a variance beyond the largest number becomes NaN
/// - Shapes: `f32[B, n] -> f32[B, n]`
/// - Argument `eps = 1e-5`: added to the variance; a number between 1e-12 and 1
/// - Parameters: `gamma [n]`, one, and `beta [n]`, zero
/// - Gradient: flows through mean and variance too
/// - Source: Ba et al. 2016, section 3
pub const LAYER_NORM: LayerDef = LayerDef {
    name: "LayerNorm",
    item: "LAYER_NORM",
    stem: "layer_norm",
    args: &[ArgDef {
        name: "eps",
        kind: ArgKind::Number { least: 1e-12, most: 1.0, range: "between 1e-12 and 1" },
        default: Some(Arg::Float(1e-5)),
        doc: "added to the variance",
    }],
    shape: |x, _| features(x).map(|_| x.clone()),
    params: |x, _, _| {
        let param = |name, value| ParamDef {
            name,
            shape: vec![x.0[1].factor()],
            init: Init::Constant(value),
            kind: SlotKind::Parameter,
        };
        vec![param("gamma", 1.0), param("beta", 0.0)]
    },
    lower: |scope, x| {
        let eps = float(scope.args, 0);
        let gamma = scope.param("gamma");
        let beta = scope.param("beta");
        let b = &mut *scope.b;
        let shape = b.shape(x);
        // Deviations are taken from a number near the mean, then from what is left of the mean there: none of their digits are
        // lost to a mean that is large beside them. Where that number lies has no influence, so no gradient flows to it.
        let center = b.center(x, &[1]);
        let center = b.detach(center);
        let center = b.broadcast(center, &shape, &[0]);
        let near = b.sub(x, center);
        let rest = b.mean(near, &[1]);
        let square = b.mul(near, near);
        let square = b.mean(square, &[1]);
        let excess = b.mul(rest, rest);
        let variance = b.sub(square, excess);
        let zero = b.constant_like(0.0, variance);
        let variance = b.max(zero, variance);
        // NaN for infinity, by which all would become zero in silence.
        let overflow = b.scale(variance, 0.0);
        let overflow = b.detach(overflow);
        let variance = b.add(variance, overflow);
        let rest = b.broadcast(rest, &shape, &[0]);
        let deviation = b.sub(near, rest);
        let padded = b.offset(variance, eps);
        let inverse = b.rsqrt(padded);

        let inverse = b.broadcast(inverse, &shape, &[0]);
        let gamma = b.broadcast(gamma, &shape, &[1]);
        let beta = b.broadcast(beta, &shape, &[1]);
        let normalised = b.mul(deviation, inverse);
        let scaled = b.mul(normalised, gamma);
        b.add(scaled, beta)
    },
    least_rows: 1,
    gain: None,
    function: None,
};
