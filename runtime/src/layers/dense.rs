//! `Dense`: every output is a weighted sum of every input.

use super::initializers::{AUTO, Weights};
use super::{Arg, ArgDef, ArgKind, Gain, LayerDef, Layout, ParamDef, Scope, Takes, flag, init, int, last_axis};
use crate::init::Init;
use crate::ir::{NodeId, SlotKind};
use crate::types::{Dim, Shape};

/// Every output is a weighted sum of every input.
///
/// - Value: `y = x W + b`. With `weight = embedding1.weight` there is no `W` but the transpose of that matrix `[n, in]`, whose
///   gradients add up
/// - Shapes: `f32[B, in] -> f32[B, n]`; of a higher rank each row along the last axis, `f32[B, S, in] -> f32[B, S, n]`
/// - Argument `n`: number of outputs; an integer of at least 1
/// - Argument `bias = true`: whether to add a bias; `true` or `false`
/// - Argument `init = auto`: how the weights start; an initializer
/// - Argument `weight = own`: a matrix of another layer, whose transpose is the weights; the path of a parameter
/// - Parameters: `weight [in, n]`, the transpose of that of PyTorch's `Linear`, with `fan_in = in` and `fan_out = n`;
///   `bias [n]`, zero, unless `bias = false`
/// - Gradient: `dW = x^T dy`, `db` the sum of `dy` over the batch, `dx = dy W^T`. Right before `BatchNorm` that of the
///   bias is zero but for rounding: write `bias = false` there
/// - Source: Goodfellow et al. 2016, 6.1; Press & Wolf 2017 for `weight`
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
        ArgDef {
            name: "weight",
            kind: ArgKind::Parameter,
            default: Some(Arg::Path("")),
            doc: "a matrix of another layer, whose transpose is the weights",
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
        params(PARAMS, [fan_in, int(args, 0)], flag(args, 1), |weights| init(args, 2, weights), next)
    },
    lower: |scope, x| {
        let biased = flag(scope.args, 1);
        rows_times(scope, x, PARAMS, biased)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

const PARAMS: [&str; 2] = ["weight", "bias"];

/// Weights `[in, out]` and biases by these names, for a product of rows.
pub(super) fn params(
    [weight, bias]: [&'static str; 2],
    [fan_in, fan_out]: [usize; 2],
    biased: bool,
    init: impl Fn(&Weights) -> Init,
    next: Gain,
) -> Vec<ParamDef> {
    let start = init(&Weights { fan_in, fan_out, rows: fan_in, next });
    let weight = ParamDef::new(weight, vec![fan_in, fan_out], start, SlotKind::Weight);
    let bias = biased.then(|| ParamDef::new(bias, vec![fan_out], Init::Constant(0.0), SlotKind::Parameter));
    [weight].into_iter().chain(bias).collect()
}

/// Each row along the last axis times the weights of this name, plus the biases if there are any.
pub(super) fn rows_times(scope: &mut Scope<'_>, x: NodeId, [weight, bias]: [&str; 2], biased: bool) -> NodeId {
    let weight = scope.param(weight);
    let shape = scope.b.shape(x);
    let (last, leading) = shape.0.split_last().expect("there are features");
    let rows = Dim::product(leading).expect("extents were checked when the network was declared");
    let matrix = if leading.len() == 1 { x } else { scope.b.reshape(x, Shape(vec![rows, *last])) };
    let mut y = scope.b.dot(matrix, weight, false, false);
    if biased {
        let shape = scope.b.shape(y);
        let bias = scope.param(bias);
        let bias = scope.b.broadcast(bias, &shape, &[1]);
        y = scope.b.add(y, bias);
    }
    if leading.len() == 1 {
        return y;
    }
    let columns = scope.b.shape(y).0[1];
    scope.b.reshape(y, Shape(leading.iter().copied().chain([columns]).collect()))
}
