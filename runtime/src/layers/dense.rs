//! `Dense`: every output is a weighted sum of every input.

use super::initializers::{AUTO, Weights};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, ParamDef, Takes, flag, init, int, last_axis};
use crate::init::Init;
use crate::ir::SlotKind;
use crate::types::{Dim, Shape};

/// Every output is a weighted sum of every input.
///
/// - Value: `y = x W + b`
/// - Shapes: `f32[B, in] -> f32[B, n]`; of a higher rank each row along the last axis, `f32[B, S, in] -> f32[B, S, n]`
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
        last_axis(x)?;
        let mut y = x.clone();
        y.0.pop();
        y.0.push(Dim::Fixed(int(args, 0)));
        Ok(y)
    },
    params: |x, args, next| {
        let fan_in = x.0.last().map_or(1, |dim| dim.factor());
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
        let shape = scope.b.shape(x);
        let (last, leading) = shape.0.split_last().expect("there are features");
        let rows = Dim::product(leading).expect("extents were checked when the network was declared");
        let matrix = if leading.len() == 1 { x } else { scope.b.reshape(x, Shape(vec![rows, *last])) };
        let mut y = scope.b.dot(matrix, weight, false, false);
        if flag(scope.args, 1) {
            let shape = scope.b.shape(y);
            let bias = scope.param("bias");
            let bias = scope.b.broadcast(bias, &shape, &[1]);
            y = scope.b.add(y, bias);
        }
        if leading.len() == 1 {
            return y;
        }
        let columns = scope.b.shape(y).0[1];
        scope.b.reshape(y, Shape(leading.iter().copied().chain([columns]).collect()))
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};
