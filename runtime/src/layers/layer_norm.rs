//! `LayerNorm`: each row with mean 0 and variance 1, then each feature scaled and shifted (Ba, Kiros & Hinton 2016).

use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, ParamDef, Takes, float, last_axis, levels};
use crate::init::Init;
use crate::ir::SlotKind;
use crate::scalar::Cmp;

/// Every row at mean 0 and variance 1, then at a learned scale and shift; the same in training and in inference.
///
/// - Value: `y = gamma (x - mean) / sqrt(var + eps) + beta`, with mean and biased variance along each row. A row of
///   equal numbers, as every row of one number is, becomes `beta`
/// - Shapes: `f32[B, n] -> f32[B, n]`; of a higher rank each row along the last axis
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
    shape: |x, _| last_axis(x).map(|_| x.clone()),
    params: |x, _, _| {
        let features = x.0.last().map_or(1, |dim| dim.factor());
        let param = |name, value| ParamDef::new(name, vec![features], Init::Constant(value), SlotKind::Parameter);
        vec![param("gamma", 1.0), param("beta", 0.0)]
    },
    lower: |scope, x| {
        let eps = float(scope.args, 0);
        let gamma = scope.param("gamma");
        let beta = scope.param("beta");
        let b = &mut *scope.b;
        let shape = b.shape(x);
        let last = shape.rank() - 1;
        // Deviations are taken from a number near the mean, which is between the smallest and the largest in spite of rounding,
        // then from the mean of what is left: so they lose no digits to a mean that is large compared with them. The result does
        // not depend on that number, so it gets no gradient.
        let fixed = b.detach(x);
        let mean = b.mean(fixed, &[last]);
        // Sums of large numbers of both signs may be infinity minus infinity.
        let zero = b.constant_like(0.0, mean);
        let is_number = b.compare(Cmp::Eq, mean, mean);
        let mean = b.select(is_number, mean, zero);
        let [center, largest, least] = b.mean_between(mean, fixed, &[last]);

        let top = b.max(largest, least);
        let [factor, eps] = levels::of(b, top, eps);

        let center = b.mul(center, factor);
        let [center, factor] = [center, factor].map(|number| {
            let fixed = b.detach(number);
            b.broadcast_over(fixed, &shape, &[last])
        });
        let scaled = b.mul(x, factor);
        let near = b.sub(scaled, center);
        let rest = b.mean(near, &[last]);
        let rest = b.broadcast_over(rest, &shape, &[last]);
        let deviation = b.sub(near, rest);
        // The deviations of a row sum to zero, so no gradient reaches the variance through its mean. Stated here, so that neither
        // the mean nor its gradient is computed twice.
        let rest = b.detach(rest);
        let around = b.sub(near, rest);
        let square = b.mul(around, around);
        let variance = b.mean(square, &[last]);
        let padded = b.add(variance, eps);
        let inverse = b.rsqrt(padded);

        let inverse = b.broadcast_over(inverse, &shape, &[last]);
        let gamma = b.broadcast(gamma, &shape, &[last]);
        let beta = b.broadcast(beta, &shape, &[last]);
        let normalized = b.mul(deviation, inverse);
        let scaled = b.mul(normalized, gamma);
        b.add(scaled, beta)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};
