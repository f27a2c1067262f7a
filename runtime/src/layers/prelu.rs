//! `prelu`: the rectifier that learns its slope below 0.

use super::{Gain, LayerDef, ParamDef, Takes};
use crate::init::Init;
use crate::ir::SlotKind;
use crate::scalar::Cmp;

/// The rectifier with a learned slope below 0. An activation, and named like one, though it owns a parameter.
///
/// - Value: `x` above 0, else `slope x`; NaN passes
/// - Shapes: `f32[S] -> f32[S]`
/// - Parameters: `slope []`, one number for the whole layer, 0.25 at first; weight decay takes it along unless
///   a group such as `*.slope` excludes it
/// - Gradient: by `x`: 1 above 0, else `slope`; by `slope`: the sum of `x` where it is not above 0
/// - A stage only, no function of expressions, since it owns a parameter
/// - Source: He et al. 2015, equation 1
pub const PRELU: LayerDef = LayerDef {
    name: "prelu",
    item: "PRELU",
    stem: "prelu",
    args: &[],
    shape: |x, _| Ok(x.clone()),
    params: |_, _, _| vec![ParamDef::new("slope", Vec::new(), Init::Constant(0.25), SlotKind::Parameter)],
    lower: |scope, x| {
        let slope = scope.param("slope");
        let b = &mut *scope.b;
        let shape = b.shape(x);
        let slope = b.spread(slope, &shape);
        let zero = b.constant_like(0.0, x);
        let above = b.compare(Cmp::Gt, x, zero);
        let below = b.mul(x, slope);
        b.select(above, x, below)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: None,
    gain: Some(Gain::He),
    function: None,
};
