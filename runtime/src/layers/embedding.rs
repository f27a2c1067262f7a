//! `Embedding`: a row of numbers for every class.

use super::initializers::{NORMAL, Weights};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, Misfit, ParamDef, Takes, init, int};
use crate::ir::SlotKind;
use crate::types::{Dim, Shape};

/// A learned row of numbers for every class id.
///
/// - Value: `y[i] = weight[x[i]]`
/// - Shapes: `u16[B] -> f32[B, d]`, class ids of any integer type, below `vocab`; of a higher rank each id,
///   `u16[B, T] -> f32[B, T, d]`
/// - Argument `vocab`: how many classes there are; an integer of at least 1
/// - Argument `d`: how many numbers a row has; an integer of at least 1
/// - Argument `init = normal(0.02)`: how the weights start; an initializer
/// - Parameters: `weight [vocab, d]`, as in PyTorch, with `fan_in = vocab` and `fan_out = d`
/// - Gradient: every row gets the sum of `dy` over the places of its id
/// - Source: Bengio et al. 2003, section 2
pub const EMBEDDING: LayerDef = LayerDef {
    name: "Embedding",
    item: "EMBEDDING",
    stem: "embedding",
    args: &[
        ArgDef { name: "vocab", kind: ArgKind::Size, default: None, doc: "how many classes there are" },
        ArgDef { name: "d", kind: ArgKind::Size, default: None, doc: "how many numbers a row has" },
        ArgDef {
            name: "init",
            kind: ArgKind::Init,
            default: Some(Arg::Init(&NORMAL, Some(0.02))),
            doc: "how the weights start",
        },
    ],
    shape: |x, args| match x.rank() {
        1.. => Ok(Shape(x.0.iter().copied().chain([Dim::Fixed(int(args, 1))]).collect())),
        _ => Err(Misfit { needs: "[B, ...]".to_string(), hint: None }),
    },
    params: |_, args, next| {
        let (fan_in, fan_out) = (int(args, 0), int(args, 1));
        let init = init(args, 2, &Weights { fan_in, fan_out, rows: fan_in, next });
        vec![ParamDef::new("weight", vec![fan_in, fan_out], init, SlotKind::Weight)]
    },
    lower: |scope, ids| {
        let weight = scope.param("weight");
        scope.b.gather(weight, ids)
    },
    takes: Takes::Ids(|args| int(args, 0)),
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};
