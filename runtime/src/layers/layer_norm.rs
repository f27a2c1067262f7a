//! `LayerNorm`: each row with mean 0 and variance 1, then each feature scaled and shifted (Ba, Kiros & Hinton 2016).

use super::{Arg, ArgDef, ArgKind, LayerDef, ParamDef, features, float};
use crate::init::Init;
use crate::ir::SlotKind;

/// Every row at mean 0 and variance 1, then at a learnt scale and shift; the same in training and in inference.
///
/// - Value: `y = gamma (x - mean) / sqrt(var + eps) + beta`, with mean and biased variance along each row. A row of
///   equal numbers, as every row of one number is, becomes `beta`
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
        let mean = b.mean(x, &[1]);
        let mean = b.broadcast(mean, &shape, &[0]);
        let deviation = b.sub(x, mean);
        // The deviations of a row sum to zero: through its mean no gradient reaches the variance. Said here, so that
        // neither the mean nor its gradient is computed twice.
        let fixed = b.detach(mean);
        let around = b.sub(x, fixed);
        let square = b.mul(around, around);
        let variance = b.mean(square, &[1]);
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
