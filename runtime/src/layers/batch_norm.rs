//! `BatchNorm`: each feature or channel of a batch with mean 0 and variance 1, then scaled and shifted (Ioffe & Szegedy 2015).

use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, Misfit, Mode, ParamDef, Scope, Takes, float, int};
use crate::init::Init;
use crate::ir::{NodeId, SlotKind};
use crate::scalar::Cmp;
use crate::types::Shape;

/// Every feature, or channel of an image, at mean 0 and variance 1 over the batch, then at a learned scale and shift.
///
/// - Value: `y = gamma (x - mean) / sqrt(var + eps) + beta`, for each feature. Training takes mean and biased variance
///   of the batch, and of an image over all of its positions as well. One number per feature has no variance: a batch of
///   one row of `[B, n]` is an error, a batch of one image is not. Inference takes the running statistics, and
///   `gamma / sqrt(var + eps)` as one factor
/// - Shapes: `f32[B, n] -> f32[B, n]`, `f32[B, n, ...] -> f32[B, n, ...]`
/// - Argument `momentum = 0.9`: how much of the running statistics an update keeps; a number between 0 and 1. As in
///   Keras; PyTorch's `momentum` is the share of the batch, so that its 0.1 is 0.9 here
/// - Argument `eps = 1e-5`: added to the variance; a number between 1e-12 and 1
/// - Argument `every = 1`: steps from one update of the running statistics to the next; an integer of at least 1
/// - Parameters: `gamma [n]`, one, and `beta [n]`, zero. Statistics: `running_mean [n]`, zero, and `running_var [n]`,
///   one; on steps 1, `every` + 1, 2 `every` + 1, ... `running = momentum running + (1 - momentum) batch`, the variance
///   by the unbiased one of the batch. `freeze("batch_norm1.running_*")` on the trainer holds them, and training then
///   takes them in place of those of the batch, as inference does; `freeze_statistics_after` does so from a step on
/// - Gradient: flows through mean and variance too; none flows into the running statistics
/// - Source: Ioffe & Szegedy 2015, algorithms 1 and 2
pub const BATCH_NORM: LayerDef = LayerDef {
    name: "BatchNorm",
    item: "BATCH_NORM",
    stem: "batch_norm",
    args: &[
        ArgDef {
            name: "momentum",
            kind: ArgKind::Number { least: 0.0, most: 1.0, range: "between 0 and 1" },
            default: Some(Arg::Float(0.9)),
            doc: "how much of the running statistics an update keeps",
        },
        ArgDef {
            name: "eps",
            kind: ArgKind::Number { least: 1e-12, most: 1.0, range: "between 1e-12 and 1" },
            default: Some(Arg::Float(1e-5)),
            doc: "added to the variance",
        },
        ArgDef {
            name: "every",
            kind: ArgKind::Size,
            default: Some(Arg::Int(1)),
            doc: "steps from one update of the running statistics to the next",
        },
    ],
    shape: |x, _| match x.rank() {
        2.. => Ok(x.clone()),
        _ => Err(Misfit { needs: "[B, features] or [B, channels, ...]".to_string(), hint: None }),
    },
    params: |x, _, _| {
        let param = |name, value, kind| ParamDef::new(name, vec![x.0[1].factor()], Init::Constant(value), kind);
        vec![
            param("gamma", 1.0, SlotKind::Parameter),
            param("beta", 0.0, SlotKind::Parameter),
            param("running_mean", 0.0, SlotKind::Running),
            param("running_var", 1.0, SlotKind::Running),
        ]
    },
    lower: |scope, x| match scope.mode {
        Mode::Train | Mode::Calibrate => train(scope, x),
        Mode::Infer | Mode::MonteCarlo => infer(scope, x),
    },
    // One sample has a variance where it has several positions.
    takes: Takes::Numbers,
    least_rows: |y| if Shape(y.0[2..].to_vec()).len().is_some_and(|positions| positions.factor() == 1) { 2 } else { 1 },
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

/// Normalizes by the statistics of the batch and updates the running ones.
fn train(scope: &mut Scope<'_>, x: NodeId) -> NodeId {
    let shape = scope.b.shape(x);
    let (column, others) = columns(&shape);
    let mean = scope.b.center(x, &others);
    let variance = scope.b.variance(x, &others);
    let frozen = scope.frozen();
    let [by_mean, by_variance] =
        [("running_mean", mean), ("running_var", variance)].map(|(name, batch)| match frozen {
            Some(frozen) => {
                let running = scope.param(name);
                let shape = scope.b.shape(running);
                let frozen = scope.b.spread(frozen, &shape);
                scope.b.select(frozen, running, batch)
            }
            None => batch,
        });
    let inverse = inverse_deviation(scope, by_variance);

    let gamma = scope.param("gamma");
    let beta = scope.param("beta");
    let b = &mut *scope.b;
    let scale = b.mul(gamma, inverse);
    // The contribution of the mean to the gradient is -scale times that of beta. Stated here, so that no other sum over the batch
    // is needed.
    let slope = b.neg(scale);
    let beta = b.with_slope(beta, by_mean, slope);
    let fixed = b.detach(by_mean);
    let [fixed, scale, beta] = [fixed, scale, beta].map(|x| b.broadcast(x, &shape, &column));
    let deviation = b.sub(x, fixed);
    let scaled = b.mul(deviation, scale);
    let y = b.add(scaled, beta);

    // n / (n - 1) makes the variance of a sample an unbiased estimate of that of its population.
    let count = b.count(&shape, &others);
    let less = b.offset(count, -1.0);
    let correction = b.div(count, less);
    let kept = b.shape(variance);
    let correction = b.spread(correction, &kept);
    let unbiased = b.mul(variance, correction);
    let every = int(scope.args, 2) as u64;
    let due = (every > 1 && scope.mode == Mode::Train).then(|| scope.due(every));
    update(scope, "running_mean", mean, due, frozen);
    update(scope, "running_var", unbiased, due, frozen);
    y
}

/// `running = momentum running + (1 - momentum) batch`, only on steps that are due, and not at all where it is frozen.
fn update(scope: &mut Scope<'_>, name: &str, batch: NodeId, due: Option<NodeId>, frozen: Option<NodeId>) {
    if scope.mode == Mode::Calibrate {
        scope.update(name, batch);
        return;
    }
    let momentum = float(scope.args, 0);
    let running = scope.param(name);
    let b = &mut *scope.b;
    let shape = b.shape(running);
    // A value with weight 0 may be infinite, and 0 times infinity would be NaN.
    let mut next = match momentum as f32 {
        0.0 => batch,
        1.0 => running,
        _ => {
            let new = b.scale(batch, 1.0 - momentum);
            let kept = b.constant(momentum, &shape);
            b.mul_add(running, kept, new)
        }
    };
    if let Some(due) = due {
        let due = b.spread(due, &shape);
        let zero = b.constant(0.0, &shape);
        let due = b.compare(Cmp::Ne, due, zero);
        next = b.select(due, next, running);
    }
    if let Some(frozen) = frozen {
        let frozen = b.spread(frozen, &shape);
        next = b.select(frozen, running, next);
    }
    scope.update(name, next);
}

/// The distance from the running mean, times a factor, plus `beta`, for each feature.
fn infer(scope: &mut Scope<'_>, x: NodeId) -> NodeId {
    let shape = scope.b.shape(x);
    let (column, _) = columns(&shape);
    let variance = scope.param("running_var");
    let inverse = inverse_deviation(scope, variance);
    let mean = scope.param("running_mean");
    let gamma = scope.param("gamma");
    let beta = scope.param("beta");
    let b = &mut *scope.b;
    let scale = b.mul(gamma, inverse);
    let [mean, scale, beta] = [mean, scale, beta].map(|x| b.broadcast(x, &shape, &column));
    // The mean comes first: `beta - mean scale` would cancel against `x scale` where the mean is large.
    let deviation = b.sub(x, mean);
    let scaled = b.mul(deviation, scale);
    b.add(scaled, beta)
}

/// The axis of the features or channels, which is the last, and all others.
fn columns(shape: &Shape) -> ([usize; 1], Vec<usize>) {
    let last = shape.rank() - 1;
    ([last], (0..last).collect())
}

/// `1 / sqrt(var + eps)`.
fn inverse_deviation(scope: &mut Scope<'_>, variance: NodeId) -> NodeId {
    let eps = float(scope.args, 1);
    let padded = scope.b.offset(variance, eps);
    scope.b.rsqrt(padded)
}
