//! `Standardize` and `MinMax`: features brought to one scale by statistics of the training data, which stay with the network.

use super::{LayerDef, Layout, Mode, ParamDef, Scope, Takes, last_axis};
use crate::init::Init;
use crate::ir::{NodeId, SlotKind};
use crate::scalar::Cmp;

/// Every feature at mean 0 and variance 1, by the mean and the variance that it has in the training data.
///
/// - Value: `y = (x - mean) / sqrt(var)`, for each feature; 0 for a feature that is one number in all of the data. The statistics are
///   those of the rows that `net.recalibrate(rows)` was given last, in training and in inference alike: no step changes them. Before
///   that, `y = x`
/// - Shapes: `f32[B, n] -> f32[B, n]`, `f32[B, ..., n] -> f32[B, ..., n]`
/// - Parameters: none. Statistics: `running_mean [n]`, zero, and `running_var [n]`, one; the biased variance, as of scikit-learn's
///   `StandardScaler`. They are saved with the network, so that a prediction needs nothing else
/// - Gradient: `dx = dy / sqrt(var)`
/// - Source: LeCun et al. 1998, section 4.3
pub const STANDARDIZE: LayerDef = LayerDef {
    name: "Standardize",
    item: "STANDARDIZE",
    stem: "standardize",
    args: &[],
    shape: |x, _| last_axis(x).map(|_| x.clone()),
    params: |x, _, _| {
        statistics(x.0.last().map_or(1, |dim| dim.factor()), [("running_mean", 0.0), ("running_var", 1.0)])
    },
    lower: |scope, x| {
        let [mean, variance] = match scope.mode {
            Mode::Calibrate => {
                let others = others(scope, x);
                [scope.b.center(x, &others), scope.b.variance(x, &others)]
            }
            Mode::Train | Mode::Infer | Mode::MonteCarlo => {
                ["running_mean", "running_var"].map(|name| scope.param(name))
            }
        };
        set(scope, [("running_mean", mean), ("running_var", variance)]);
        let b = &mut *scope.b;
        // What never varies has no scale, and is where it always was.
        let (none, one) = (b.constant_like(0.0, variance), b.constant_like(1.0, variance));
        let varies = b.compare(Cmp::Gt, variance, none);
        let inverse = b.rsqrt(variance);
        let scale = b.select(varies, inverse, one);
        let shape = b.shape(x);
        let [mean, scale] = [mean, scale].map(|each| b.broadcast(each, &shape, &[shape.rank() - 1]));
        let apart = b.sub(x, mean);
        b.mul(apart, scale)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// Every feature between 0 and 1, by the smallest and the largest number that it has in the training data.
///
/// - Value: `y = (x - min) / (max - min)`, for each feature; 0 for a feature that is one number in all of the data. The statistics are
///   those of the rows that `net.recalibrate(rows)` was given last, in training and in inference alike: no step changes them. Before
///   that, `y = x`. What is outside of them stays outside of 0 and 1
/// - Shapes: `f32[B, n] -> f32[B, n]`, `f32[B, ..., n] -> f32[B, ..., n]`
/// - Parameters: none. Statistics: `running_min [n]`, zero, and `running_max [n]`, one, as of scikit-learn's `MinMaxScaler`. They are
///   saved with the network, so that a prediction needs nothing else
/// - Gradient: `dx = dy / (max - min)`
/// - Source: Han et al. 2012, section 3.5.2
pub const MIN_MAX: LayerDef = LayerDef {
    name: "MinMax",
    item: "MIN_MAX",
    stem: "min_max",
    args: &[],
    shape: |x, _| last_axis(x).map(|_| x.clone()),
    params: |x, _, _| {
        statistics(x.0.last().map_or(1, |dim| dim.factor()), [("running_min", 0.0), ("running_max", 1.0)])
    },
    lower: |scope, x| {
        let [least, most] = match scope.mode {
            Mode::Calibrate => {
                let others = others(scope, x);
                let mirrored = scope.b.neg(x);
                let least = scope.b.max_over(mirrored, &others);
                [scope.b.neg(least), scope.b.max_over(x, &others)]
            }
            Mode::Train | Mode::Infer | Mode::MonteCarlo => {
                ["running_min", "running_max"].map(|name| scope.param(name))
            }
        };
        set(scope, [("running_min", least), ("running_max", most)]);
        let b = &mut *scope.b;
        let (range, one) = (b.sub(most, least), b.constant_like(1.0, most));
        let none = b.constant_like(0.0, range);
        let varies = b.compare(Cmp::Gt, range, none);
        let range = b.select(varies, range, one);
        let shape = b.shape(x);
        let [least, range] = [least, range].map(|each| b.broadcast(each, &shape, &[shape.rank() - 1]));
        let apart = b.sub(x, least);
        // The largest number becomes 1, to the bit.
        b.div(apart, range)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

fn statistics(n: usize, both: [(&'static str, f32); 2]) -> Vec<ParamDef> {
    both.into_iter()
        .map(|(name, start)| ParamDef::new(name, vec![n], Init::Constant(start), SlotKind::Running))
        .collect()
}

/// All axes but that of the features.
fn others(scope: &Scope<'_>, x: NodeId) -> Vec<usize> {
    (0..scope.b.ty(x).shape.rank() - 1).collect()
}

/// In the pass that collects them, these are the statistics from now on.
fn set(scope: &mut Scope<'_>, values: [(&str, NodeId); 2]) {
    if scope.mode == Mode::Calibrate {
        values.into_iter().for_each(|(name, value)| scope.update(name, value));
    }
}
