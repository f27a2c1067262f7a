//! `prelu`: the rectifier that learns its slope below 0.

use super::{Gain, LayerDef, ParamDef};
use crate::init::Init;
use crate::ir::SlotKind;
use crate::scalar::Cmp;

/// The parametric rectified linear unit. An activation, and named like one, though it owns a parameter.
pub const PRELU: LayerDef = LayerDef {
    name: "prelu",
    item: "PRELU",
    stem: "prelu",
    doc: "`x` above 0, else `slope x`: `f32[S] -> f32[S]`.\n\n\
          Parameter: `slope []`, one number for the whole layer, 0.25 at first; it is no weight, so that `AdamW` leaves it out of the \
          decay. The gradient at 0 is `slope`; NaN passes. Owns a parameter, so it is a stage only and no function of expressions. \
          Source: He et al. 2015.",
    args: &[],
    shape: |x, _| Ok(x.clone()),
    params: |_, _, _| {
        vec![ParamDef { name: "slope", shape: Vec::new(), init: Init::Constant(0.25), kind: SlotKind::Parameter }]
    },
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
    least_rows: 1,
    gain: Some(Gain::He),
    function: None,
};
