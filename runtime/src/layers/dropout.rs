//! `Dropout`: in training, a random part of the elements is zero (Srivastava et al. 2014).

use super::{Arg, ArgDef, ArgKind, LayerDef, Misfit, Takes, flag, float};
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;
use crate::types::Shape;

/// How many different values a random number has.
const STEPS: f64 = (1 << 24) as f64;

/// Each element zero with probability `p` in training; in inference nothing happens, and nothing is compiled.
///
/// - Value: training: `x / (1 - q)` where `u >= q`, else 0, also for NaN; the mean over all masks is `x`. `u` is uniform in
///   [0, 1), in steps of 2^-24, and `q` is `p`, rounded up to such a step. Inference: `x`
/// - Shapes: `f32[S] -> f32[S]`
/// - Argument `p`: the probability that an element is dropped; a number of at least 0 and at most 1 - 2^-24
/// - Argument `channels = false`: whether all elements of a channel are dropped together; `true` or `false`. The channels of
///   `[B, C, ...]` are then one row of the mask per sample
/// - Gradient: `dy / (1 - q)` where the element was kept, else 0
/// - Mask: decided by the trainer's `seed`, the number of the forward pass, the layer (copies made by `repeat` count as
///   layers), row and column (all axes but the last count rows), and by nothing else: neither by the batch size nor by the values. The session's
///   `forward_count` says which pass is next, and `set_forward_count` replays one
/// - Source: Srivastava et al. 2014, section 4, scaled in training; for `u` Jarzynski & Olano 2020, `pcg4d`
pub const DROPOUT: LayerDef = LayerDef {
    name: "Dropout",
    item: "DROPOUT",
    stem: "dropout",
    args: &[
        ArgDef {
            name: "p",
            kind: ArgKind::Number { least: 0.0, most: 1.0 - 1.0 / STEPS, range: "of at least 0 and at most 1 - 2^-24" },
            default: None,
            doc: "the probability that an element is dropped",
        },
        ArgDef {
            name: "channels",
            kind: ArgKind::Flag,
            default: Some(Arg::Flag(false)),
            doc: "whether all elements of a channel are dropped together",
        },
    ],
    shape: |x, args| match flag(args, 1) && x.rank() < 2 {
        true => Err(Misfit { needs: "[B, channels, ...]".to_string(), hint: None }),
        false => Ok(x.clone()),
    },
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let p = float(scope.args, 0);
        if !scope.mode.drops() || p == 0.0 {
            return x;
        }
        let shape = scope.b.shape(x);
        let numbers = if flag(scope.args, 1) {
            let declared = scope.layout.declared(&shape);
            let of_channels = scope.declared_uniform(&Shape(declared.0[..2].to_vec()));
            let channels = scope.layout.axis(shape.rank(), 1);
            scope.b.broadcast(of_channels, &shape, &[0, channels])
        } else {
            scope.uniform(&shape)
        };
        keep(scope.b, x, numbers, p)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: None,
    gain: None,
    function: None,
};

/// The number that so large a share of random numbers is below: rounded up to one of them.
pub(super) fn threshold(p: f64) -> f64 {
    (p * STEPS).ceil() / STEPS
}

/// The elements whose number is not below `p`, divided by the probability of that, and 0 in the place of the others.
pub(super) fn keep(b: &mut Builder, x: NodeId, numbers: NodeId, p: f64) -> NodeId {
    let shape = b.shape(x);
    // The numbers are multiples of 2^-24, and so is the threshold, so that it decides the same in every precision. What is kept is divided by the probability of keeping it, which follows from the threshold rather than from `p`.
    let dropped = threshold(p);
    let threshold = b.constant(dropped, &shape);
    let kept = b.compare(Cmp::Ge, numbers, threshold);
    let scaled = b.scale(x, 1.0 / (1.0 - dropped));
    b.mask(kept, scaled)
}
