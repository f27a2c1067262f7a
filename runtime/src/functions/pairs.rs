//! Losses and metrics against a target of the prediction's own shape.

use super::{FunctionDef, MEAN};
use crate::ir::{Builder, NodeId};
use crate::layers::{Arg, ArgDef, ArgKind, float};
use crate::scalar::Cmp;
use crate::types::{DType, Shape, TensorType};

/// Mean binary cross-entropy of logits against probabilities, in nats.
///
/// - Value: `mean(ln(1 + e^-|x|) + |x| m)`, where `m` is `1 - y` above 0, else `y`; which is
///   `mean(-y ln p - (1 - y) ln(1 - p))` for `p = sigmoid(x)`, without overflow, and with all digits of what a confident,
///   right answer costs: nothing at infinity
/// - Shapes: `f32[S], f32[S] -> f32[]`
/// - Gradient: `(sigmoid(x) - y) / n`
/// - Source: Goodfellow et al. 2016, 6.2.2.2
pub const BCE_WITH_LOGITS: FunctionDef = FunctionDef {
    name: "bce_with_logits",
    item: "BCE_WITH_LOGITS",
    operands: &["logits", "target"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| pair(x, "target"),
    lower: |b, _, x| {
        let [logits, target] = [x[0], x[1]];
        let [zero, one, most] = [0.0, 1.0, f64::from(f32::MAX)].map(|number| b.constant_like(number, logits));
        let above = b.compare(Cmp::Gt, logits, zero);
        let minus = b.neg(logits);
        let size = b.select(above, logits, minus);
        let below = b.neg(size);
        let rest = b.sub(one, target);
        let missed = b.select(above, rest, target);
        // Infinity counts for nothing where nothing is missed.
        let is_right = b.compare(Cmp::Eq, missed, zero);
        let finite = b.min(most, size);
        let size = b.select(is_right, finite, size);
        let cost = b.mul(size, missed);
        let partition = b.softplus(below);
        let loss = b.add(partition, cost);

        // `sigmoid(x) - y`, where either side may be 1.
        let half = b.sigmoid(below);
        let [right, left] = [b.sub(missed, half), b.sub(half, missed)];
        let slope = b.select(above, right, left);
        let loss = b.detach(loss);
        let loss = b.with_slope(loss, logits, slope);
        let loss = b.with_slope(loss, target, minus);
        mean(b, loss)
    },
};

/// The Kullback-Leibler divergence of a model's distribution from the target's, in nats.
///
/// - Value: `KL(p || q)`: the mean over rows of `sum(p (ln p - log_q))` along the last axis. As in PyTorch, with
///   `batchmean` for rank 2, the first operand is the logarithm of the model's distribution, from `log_softmax`, and
///   the second the target's probabilities. A class with `p = 0` counts for nothing; NaN below 0
/// - Shapes: `f32[B, ..., C], f32[B, ..., C] -> f32[]`
/// - Gradient: by `log_q`: `-p` over the number of rows; 0 where `p = 0`
/// - Source: Kullback & Leibler 1951
pub const KL_DIV: FunctionDef = FunctionDef {
    name: "kl_div",
    item: "KL_DIV",
    operands: &["log_q", "p"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| {
        let ty = pair(x, "distribution `p`")?;
        match x[0].shape.rank() {
            2.. => Ok(ty),
            _ => Err(format!("needs distributions [B, ..., classes], found {}", x[0].shape.declared())),
        }
    },
    lower: |b, _, x| {
        let zero = b.constant_like(0.0, x[1]);
        let one = b.constant_like(1.0, x[1]);
        // Where p = 0, both terms are replaced by finite ones, so that neither 0 ln 0 nor its gradient is NaN.
        let impossible = b.compare(Cmp::Eq, x[1], zero);
        let p = b.select(impossible, one, x[1]);
        let log_p = b.ln(p);
        let log_q = b.select(impossible, zero, x[0]);
        let difference = b.sub(log_p, log_q);
        let product = b.mul(x[1], difference);
        let last = b.shape(product).rank() - 1;
        let divergence = b.sum(product, &[last]);
        mean(b, divergence)
    },
};

/// Mean hinge loss, for targets of -1 and 1.
///
/// - Value: `mean(max(0, 1 - target scores))`; NaN passes
/// - Shapes: `f32[S], f32[S] -> f32[]`
/// - Gradient: `-target / n` where `target scores` is below 1, else 0; at 1 it is 0
/// - Source: Cortes & Vapnik 1995
pub const HINGE: FunctionDef = FunctionDef {
    name: "hinge",
    item: "HINGE",
    operands: &["scores", "target"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| pair(x, "target"),
    lower: |b, _, x| {
        let zero = b.constant_like(0.0, x[0]);
        let one = b.constant_like(1.0, x[0]);
        let margin = b.mul(x[0], x[1]);
        let missing = b.sub(one, margin);
        let loss = b.max(zero, missing);
        // Where nothing is missing the slope is 0, rather than 0 times infinity.
        let is_missing = b.compare(Cmp::Gt, missing, zero);
        let mut loss = b.detach(loss);
        for (operand, other) in [(x[0], x[1]), (x[1], x[0])] {
            let minus = b.neg(other);
            let slope = b.mask(is_missing, minus);
            loss = b.with_slope(loss, operand, slope);
        }
        mean(b, loss)
    },
};

/// Mean squared error.
///
/// - Value: `mean((x - y)^2)`
/// - Shapes: `f32[S], f32[S] -> f32[]`
/// - Gradient: `2 (x - y) / n`
/// - Source: Goodfellow et al. 2016, 5.1.4
pub const MSE: FunctionDef = FunctionDef {
    name: "mse",
    item: "MSE",
    operands: &["prediction", "target"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| pair(x, "target"),
    lower: |b, _, x| {
        let difference = b.sub(x[0], x[1]);
        let square = b.mul(difference, difference);
        mean(b, square)
    },
};

/// Mean absolute error.
///
/// - Value: `mean(|x - y|)`
/// - Shapes: `f32[S], f32[S] -> f32[]`
/// - Gradient: the sign of `x - y` over `n`; where both are equal it is 0
/// - Source: Willmott & Matsuura 2005
pub const MAE: FunctionDef = FunctionDef {
    name: "mae",
    item: "MAE",
    operands: &["prediction", "target"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| pair(x, "target"),
    lower: |b, _, x| {
        let difference = b.sub(x[0], x[1]);
        let size = b.abs(difference);
        mean(b, size)
    },
};

/// Mean absolute error, as a metric is called: another name of `mae`.
///
/// - Value: `mean(|x - y|)`
/// - Shapes: `f32[S], f32[S] -> f32[]`
/// - Gradient: as of `mae`
/// - Source: Willmott & Matsuura 2005
pub const MEAN_ABS_ERROR: FunctionDef = FunctionDef { name: "mean_abs_error", item: "MEAN_ABS_ERROR", ..MAE };

/// Squares near the target, absolute values far from it.
///
/// - Value: the mean of `r^2 / 2` where `r = |x - y|` is at most `delta`, else `delta (r - delta / 2)`
/// - Shapes: `f32[S], f32[S] -> f32[]`
/// - Argument `delta = 1.0`: where the square ends; a number between 1e-6 and 1e6
/// - Gradient: `(x - y) / n`, cut off at `delta / n` on both sides; it has no jump
/// - Source: Huber 1964
pub const HUBER: FunctionDef = FunctionDef {
    name: "huber",
    item: "HUBER",
    operands: &["prediction", "target"],
    over_weights: false,
    elementwise: false,
    args: &[ArgDef {
        name: "delta",
        kind: ArgKind::Number { least: 1e-6, most: 1e6, range: "between 1e-6 and 1e6" },
        default: Some(Arg::Float(1.0)),
        doc: "where the square ends",
    }],
    ty: |x, _| pair(x, "target"),
    lower: |b, args, x| {
        let difference = b.sub(x[0], x[1]);
        let size = b.abs(difference);
        let delta = b.constant_like(float(args, 0), size);
        // With c = min(r, delta), c (r - c / 2) is both branches.
        let cut = b.min(size, delta);
        let half = b.scale(cut, 0.5);
        let rest = b.sub(size, half);
        let loss = b.mul(cut, rest);
        mean(b, loss)
    },
};

/// The coefficient of determination: the share of the target's variance that is explained.
///
/// - Value: `1 - mean((x - y)^2) / variance(y)` over the batch, for each column, and the mean over columns. 1 is
///   perfect, 0 as good as the mean of the target. Not finite where a column of the target is constant, as in a batch
///   of one row
/// - Shapes: `f32[B, ...], f32[B, ...] -> f32[]`
/// - Gradient: `-2 (x - y) / (B variance(y))` over the number of columns
/// - Source: Wright 1921
pub const R2: FunctionDef = FunctionDef {
    name: "r2",
    item: "R2",
    operands: &["prediction", "target"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| {
        let ty = pair(x, "target")?;
        match x[0].shape.rank() {
            1.. => Ok(ty),
            _ => Err("needs at least one axis, found []".to_string()),
        }
    },
    lower: |b, _, x| {
        let [prediction, target] = [x[0], x[1]].map(|x| columns(b, x));
        let difference = b.sub(prediction, target);
        let square = b.mul(difference, difference);
        let unexplained = b.mean(square, &[0]);
        let total = b.variance(target, &[0]);
        let share = b.div(unexplained, total);
        let share = mean(b, share);
        let one = b.constant_like(1.0, share);
        b.sub(one, share)
    },
};

/// Two floats of one shape.
fn pair(x: &[&TensorType], second: &str) -> Result<TensorType, String> {
    match x[0].dtype == DType::F32 && x[0] == x[1] {
        true => Ok(TensorType::scalar()),
        false => Err(format!(
            "needs a {second} like its first operand ({} of {}), found {} of {}",
            x[0].shape.declared(),
            x[0].dtype,
            x[1].shape.declared(),
            x[1].dtype
        )),
    }
}

/// All axes after the first merged into one: the rows of a matrix.
fn columns(b: &mut Builder, x: NodeId) -> NodeId {
    let shape = b.shape(x);
    match &shape.0[..] {
        [rows, inner @ .., _] if !inner.is_empty() => {
            let row = Shape(shape.0[1..].to_vec()).len().expect("extents were checked when the network was declared");
            b.reshape(x, Shape(vec![*rows, row]))
        }
        _ => x,
    }
}

/// The mean of all elements.
fn mean(b: &mut Builder, x: NodeId) -> NodeId {
    (MEAN.lower)(b, &[], &[x])
}
