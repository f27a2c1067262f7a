//! `Dense`: every output is a weighted sum of every input.

use super::initializers::{AUTO, Weights};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, ParamDef, features, flag, init, int};
use crate::init::Init;
use crate::ir::SlotKind;
use crate::types::{Dim, Shape};

/// Every output is a weighted sum of every input.
///
/// - Value: `y = x W + b`
/// - Shapes: `f32[B, in] -> f32[B, n]`
/// - Argument `n`: number of outputs; an integer of at least 1
/// - Argument `bias = true`: whether to add a bias; `true` or `false`
/// - Argument `init = auto`: how the weights start; an initializer
/// - Parameters: `weight [in, n]`, the transpose of that of PyTorch's `Linear`, with `fan_in = in` and `fan_out = n`;
///   `bias [n]`, zero, unless `bias = false`
/// - Gradient: `dW = x^T dy`, `db` the sum of `dy` over the batch, `dx = dy W^T`. Right before `BatchNorm` that of the
///   bias is zero but for rounding: write `bias = false` there
/// - Source: Goodfellow et al. 2016, 6.1
pub const DENSE: LayerDef = LayerDef {
    name: "Dense",
    item: "DENSE",
    stem: "dense",
    args: &[
        ArgDef { name: "n", kind: ArgKind::Size, default: None, doc: "number of outputs" },
        ArgDef { name: "bias", kind: ArgKind::Flag, default: Some(Arg::Flag(true)), doc: "whether to add a bias" },
        ArgDef {
            name: "init",
            kind: ArgKind::Init,
            default: Some(Arg::Init(&AUTO, None)),
            doc: "how the weights start",
        },
    ],
    shape: |x, args| {
        features(x)?;
        Ok(Shape(vec![x.0[0], Dim::Fixed(int(args, 0))]))
    },
    params: |x, args, next| {
        let fan_in = x.0[1].factor();
        let fan_out = int(args, 0);
        let init = init(args, 2, &Weights { fan_in, fan_out, rows: fan_in, next });
        let mut params = vec![ParamDef::new("weight", vec![fan_in, fan_out], init, SlotKind::Weight)];
        if flag(args, 1) {
            params.push(ParamDef::new("bias", vec![fan_out], Init::Constant(0.0), SlotKind::Parameter));
        }
        params
    },
    lower: |scope, x| {
        let weight = scope.param("weight");
        let y = scope.b.dot(x, weight, false, false);
        if !flag(scope.args, 1) {
            return y;
        }
        let shape = scope.b.shape(y);
        let bias = scope.param("bias");
        let bias = scope.b.broadcast(bias, &shape, &[1]);
        scope.b.add(y, bias)
    },
    least_rows: |_| 1,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};
