//! `RmsNorm`: each row with a mean square of 1, then each feature scaled (Zhang & Sennrich 2019).

use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, ParamDef, Takes, float, last_axis, levels};
use crate::init::Init;
use crate::ir::SlotKind;

/// Every row at a mean square of 1, then at a learned scale; the same in training and in inference.
///
/// - Value: `y = gamma x / sqrt(mean(x^2) + eps)`, with the mean along each row
/// - Shapes: `f32[B, n] -> f32[B, n]`; of a higher rank each row along the last axis
/// - Argument `eps = 1e-5`: added to the mean square; a number between 1e-12 and 1
/// - Parameters: `gamma [n]`, one; called `weight` in PyTorch
/// - Gradient: flows through the mean square too
/// - Source: Zhang & Sennrich 2019, section 3
pub const RMS_NORM: LayerDef = LayerDef {
    name: "RmsNorm",
    item: "RMS_NORM",
    stem: "rms_norm",
    args: &[ArgDef {
        name: "eps",
        kind: ArgKind::Number { least: 1e-12, most: 1.0, range: "between 1e-12 and 1" },
        default: Some(Arg::Float(1e-5)),
        doc: "added to the mean square",
    }],
    shape: |x, _| last_axis(x).map(|_| x.clone()),
    params: |x, _, _| {
        let features = x.0.last().map_or(1, |dim| dim.factor());
        vec![ParamDef::new("gamma", vec![features], Init::Constant(1.0), SlotKind::Parameter)]
    },
    lower: |scope, x| {
        let eps = float(scope.args, 0);
        let gamma = scope.param("gamma");
        let b = &mut *scope.b;
        let shape = b.shape(x);
        let last = shape.rank() - 1;
        // The result does not depend on how rows are scaled, so that gets no gradient.
        let fixed = b.detach(x);
        let size = b.abs(fixed);
        let top = b.max_over(size, &[last]);
        let [factor, eps] = levels::of(b, top, eps);
        let factor = b.broadcast_over(factor, &shape, &[last]);
        let x = b.mul(x, factor);
        let square = b.mul(x, x);
        let mean = b.mean(square, &[last]);
        let padded = b.add(mean, eps);
        let inverse = b.rsqrt(padded);
        let inverse = b.broadcast_over(inverse, &shape, &[last]);
        let gamma = b.broadcast(gamma, &shape, &[last]);
        let normalized = b.mul(x, inverse);
        b.mul(normalized, gamma)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};
