//! `Dense`: every output is a weighted sum of every input.

use super::{Arg, ArgDef, ArgKind, Gain, LayerDef, ParamDef, features, flag, int, word};
use crate::init::Init;
use crate::ir::SlotKind;
use crate::types::{Dim, Shape};

/// The affine layer `y = x W + b`.
pub const DENSE: LayerDef = LayerDef {
    name: "Dense",
    item: "DENSE",
    stem: "dense",
    doc: "`y = x W + b`: `f32[B, in] -> f32[B, n]`.\n\n\
          Parameters: `weight [in, n]` and, unless `bias = false`, `bias [n]` (zero at first). `init` is `he_normal`, \
          `xavier_uniform` or `zeros`; by default He normal before the relu family and Xavier (Glorot) uniform otherwise. A bias \
          right before `BatchNorm` has a gradient of exactly zero in exact arithmetic: write `bias = false` there.",
    args: &[
        ArgDef { name: "n", kind: ArgKind::Size, default: None, doc: "number of outputs" },
        ArgDef { name: "bias", kind: ArgKind::Flag, default: Some(Arg::Flag(true)), doc: "whether to add a bias" },
        ArgDef {
            name: "init",
            kind: ArgKind::Word(&["auto", "he_normal", "xavier_uniform", "zeros"]),
            default: Some(Arg::Word("auto")),
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
        let init = match (word(args, 2), next) {
            ("zeros", _) => Init::Constant(0.0),
            ("he_normal", _) | ("auto", Gain::He) => Init::HeNormal { fan_in },
            _ => Init::XavierUniform { fan_in, fan_out },
        };
        let mut params = vec![ParamDef { name: "weight", shape: vec![fan_in, fan_out], init, kind: SlotKind::Weight }];
        if flag(args, 1) {
            let (init, kind) = (Init::Constant(0.0), SlotKind::Parameter);
            params.push(ParamDef { name: "bias", shape: vec![fan_out], init, kind });
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
    least_rows: 1,
    gain: None,
    function: None,
};
