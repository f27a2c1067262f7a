//! Where in a sequence an element stands: `Positional`, learned, and `positions`, of sines and cosines.

use super::initializers::{NORMAL, Weights};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, Misfit, ParamDef, Scope, Takes, init, tables};
use crate::ir::{NodeId, SlotKind};
use crate::types::Shape;

/// A learned row of numbers for every position, added to what stands there.
///
/// - Value: `y[i, t] = x[i, t] + weight[t]`
/// - Shapes: `f32[B, T, d] -> f32[B, T, d]`
/// - Argument `init = normal(0.02)`: how the weights start; an initializer
/// - Parameters: `weight [T, d]`, with `fan_in = T` and `fan_out = d`
/// - Gradient: `dy`; of the weights the sum of `dy` over the batch
/// - Source: Gehring et al. 2017, section 3.1
pub const POSITIONAL: LayerDef = LayerDef {
    name: "Positional",
    item: "POSITIONAL",
    stem: "positional",
    args: &[ArgDef {
        name: "init",
        kind: ArgKind::Init,
        default: Some(Arg::Init(&NORMAL, Some(0.02))),
        doc: "how the weights start",
    }],
    shape: |x, _| sequence(x).map(|_| x.clone()),
    params: |x, args, next| {
        let Ok([fan_in, fan_out]) = sequence(x) else { return Vec::new() };
        let init = init(args, 0, &Weights { fan_in, fan_out, rows: fan_in, next });
        vec![ParamDef::new("weight", vec![fan_in, fan_out], init, SlotKind::Parameter)]
    },
    lower: |scope, x| {
        let weight = scope.param("weight");
        added(scope, x, weight)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// Sines and cosines of every position, added to what stands there: nothing is learned.
///
/// - Value: `y[i, t, 2 k] = x[i, t, 2 k] + sin(t / 10000^(2 k / d))`, and at `2 k + 1` the cosine of the same, each an f32
/// - Shapes: `f32[B, T, d] -> f32[B, T, d]`
/// - Argument `kind`: which functions of the position; `sinusoidal`
/// - Gradient: `dy`
/// - Source: Vaswani et al. 2017, section 3.5
pub const POSITIONS: LayerDef = LayerDef {
    name: "positions",
    item: "POSITIONS",
    stem: "positions",
    args: &[ArgDef {
        name: "kind",
        kind: ArgKind::Word(&["sinusoidal"]),
        default: None,
        doc: "which functions of the position",
    }],
    shape: |x, _| sequence(x).map(|_| x.clone()),
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let [length, features] = sequence(&scope.b.shape(x)).expect("the shape was checked");
        let length = scope.next.map_or(length, |next| next.length);
        let table = scope.b.table("positions", tables::sinusoidal(length, features));
        let table = scope.b.reshape(table, Shape::fixed(&[length, features]));
        added(scope, x, table)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// The length of a sequence `[B, T, d]`, and the numbers of each of its elements.
pub(super) fn sequence(x: &Shape) -> Result<[usize; 2], Misfit> {
    match x.0[..] {
        [rows, length, features] if rows.is_batch() => Ok([length.factor(), features.factor()]),
        _ => Err(Misfit { needs: "[B, T, features]".to_string(), hint: None }),
    }
}

fn added(scope: &mut Scope<'_>, x: NodeId, of_positions: NodeId) -> NodeId {
    let shape = scope.b.shape(x);
    if let Some(next) = scope.next {
        let own = scope.b.gather(of_positions, next.position);
        let own = scope.b.reshape(own, shape);
        return scope.b.add(x, own);
    }
    let numbers = scope.b.broadcast(of_positions, &shape, &[1, 2]);
    scope.b.add(x, numbers)
}
