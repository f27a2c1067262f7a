//! Losses and metrics against class ids: a row of logits or log-probabilities per sample, and the right class as a number.

use super::FunctionDef;
use crate::ir::{Builder, NodeId};
use crate::layers::{Arg, ArgDef, ArgKind, LOG_SOFTMAX, float, int, numbers};
use crate::scalar::Cmp;
use crate::types::{DType, TensorType};

/// Mean cross-entropy of logits against class ids, in nats.
///
/// - Value: `mean(-log_softmax(logits)[target])`. Takes logits, not probabilities; finite for |logits| <= 1e4. With
///   `label_smoothing = s` the right class counts `1 - s + s / C` and every other `s / C`, instead of 1 and 0. With
///   `class_weights = [w0, w1, ..]` the term of each class counts by its weight, and the sum is divided by that of the
///   weights of the targets, as in PyTorch; NaN if that is 0. With `ignore = k` the rows of class `k`, such as padding, count
///   nothing, and the mean is that of the others: 0 where there are none
/// - Shapes: `f32[B, C], u8[B] -> f32[]`, class ids of any integer type, below `C`
/// - Argument `label_smoothing = 0.0`: the share of a target that goes to all classes alike; a number between 0 and 1
/// - Argument `class_weights = []`: how much each class counts, all of them alike if left out; numbers between 0 and
///   1e6
/// - Argument `ignore = none`: a class id whose rows count nothing; an integer of at least 0, or `none`
/// - Gradient: `(softmax(logits) - target) / B`, the target one-hot, or smoothed
/// - Source: Goodfellow et al. 2016, 6.2.2.3; Szegedy et al. 2016, section 7
pub const CROSS_ENTROPY: FunctionDef = FunctionDef {
    name: "cross_entropy",
    item: "CROSS_ENTROPY",
    operands: &["logits", "target"],
    over_weights: false,
    elementwise: false,
    args: &[
        ArgDef {
            name: "label_smoothing",
            kind: ArgKind::Number { least: 0.0, most: 1.0, range: "between 0 and 1" },
            default: Some(Arg::Float(0.0)),
            doc: "the share of a target that goes to all classes alike",
        },
        ArgDef {
            name: "class_weights",
            kind: ArgKind::Numbers { least: 0.0, most: 1e6, range: "between 0 and 1e6" },
            default: Some(Arg::Numbers(&[])),
            doc: "how much each class counts, all of them alike if left out",
        },
        ArgDef {
            name: "ignore",
            kind: ArgKind::SizeOr { least: 0, word: "none" },
            default: Some(Arg::Word("none")),
            doc: "a class id whose rows count nothing",
        },
    ],
    ty: |x, args| {
        let ty = against_classes(x, "logits")?;
        let classes = classes(x[0]);
        if let Some(id) = ignored(args).filter(|&id| id >= classes) {
            return Err(format!("needs `ignore` below {classes}, the number of classes, found {id}"));
        }
        match numbers(args, 1).len() {
            0 => Ok(ty),
            given if given == classes => Ok(ty),
            given => Err(format!("needs {classes} class weights, one for each class, found {given}")),
        }
    },
    lower: |b, args, x| {
        let shape = b.shape(x[0]);
        let last = shape.rank() - 1;
        b.limit_ids(x[1], shape.0[last].factor());
        let shifted = shifted(b, x[0]);
        let is_target = is_target(b, x[1], x[0]);
        let own = own_loss(b, x[0], shifted, is_target);
        let smoothing = float(args, 0);
        let counted = ignored(args).map(|id| counted(b, x[1], id));
        if !numbers(args, 1).is_empty() {
            return weighted(b, numbers(args, 1), smoothing, x[0], (is_target, own), counted);
        }
        let loss = match smoothing {
            0.0 => own,
            _ => {
                let losses = losses(b, x[0], shifted);
                let alike = b.mean(losses, &[last]);
                smoothed(b, own, alike, smoothing)
            }
        };
        match counted {
            Some(counted) => mean_of_counted(b, loss, counted),
            None => mean_of_rows(b, loss),
        }
    },
};

/// Mean negative log-likelihood of class ids, in nats.
///
/// - Value: `mean(-log_probabilities[target])`. After `log_softmax` it is `cross_entropy` of what came before
/// - Shapes: `f32[B, C], u8[B] -> f32[]`, class ids of any integer type, below `C`
/// - Gradient: `-1 / B` at the class of the row, else 0
/// - Source: Goodfellow et al. 2016, 6.2.1.1
pub const NLL: FunctionDef = FunctionDef {
    name: "nll",
    item: "NLL",
    operands: &["log_probabilities", "target"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| against_classes(x, "log-probabilities"),
    lower: |b, _, x| {
        let classes = b.shape(x[0]).0.last().expect("a row of classes has an axis").factor();
        b.limit_ids(x[1], classes);
        let is_target = is_target(b, x[1], x[0]);
        let picked = pick(b, is_target, x[0]);
        let loss = b.neg(picked);
        mean_of_rows(b, loss)
    },
};

/// The share of rows whose class is among the `k` largest logits.
///
/// - Value: of equals the first is the larger, as for `argmax`; a NaN is larger than any number
/// - Shapes: `f32[B, C], u8[B] -> f32[]`, class ids of any integer type, below `C`
/// - Argument `k`: how many classes may be named; an integer of at least 1
/// - Gradient: none
/// - Source: Russakovsky et al. 2015
pub const TOP_K: FunctionDef = FunctionDef {
    name: "top_k",
    item: "TOP_K",
    operands: &["logits", "target"],
    over_weights: false,
    elementwise: false,
    args: &[ArgDef { name: "k", kind: ArgKind::Size, default: None, doc: "how many classes may be named" }],
    ty: |x, args| {
        let ty = against_classes(x, "logits")?;
        let classes = classes(x[0]);
        match int(args, 0) {
            k if k > classes => Err(format!("needs `k` of at most {classes}, the number of classes, found {k}")),
            _ => Ok(ty),
        }
    },
    lower: |b, args, x| {
        let shape = b.shape(x[0]);
        let last = shape.rank() - 1;
        b.limit_ids(x[1], shape.0[last].factor());
        let logits = b.detach(x[0]);
        let is_target = is_target(b, x[1], logits);
        let own = pick(b, is_target, logits);
        let own = b.broadcast_over(own, &shape, &[last]);
        let position = b.iota(last, &shape);
        let position = b.to_float(position);
        let target = b.to_float(x[1]);
        let target = b.broadcast_over(target, &shape, &[last]);

        // How many rank before the target's class. Written as "not at most", so that NaN is never a hit.
        let one = b.constant(1.0, &shape);
        let zero = b.constant(0.0, &shape);
        let at_most = b.compare(Cmp::Le, logits, own);
        let equal = b.compare(Cmp::Eq, logits, own);
        let earlier = b.compare(Cmp::Lt, position, target);
        let earlier = b.select(earlier, one, zero);
        let tied = b.select(equal, earlier, zero);
        let before = b.select(at_most, tied, one);
        let place = b.sum(before, &[last]);

        let k = b.constant_like(int(args, 0) as f64, place);
        let is_hit = b.compare(Cmp::Lt, place, k);
        let one = b.constant_like(1.0, place);
        let zero = b.constant_like(0.0, place);
        let hit = b.select(is_hit, one, zero);
        mean_of_rows(b, hit)
    },
};

/// The class id whose rows count nothing, if there is one.
fn ignored(args: &[Arg]) -> Option<usize> {
    matches!(args[2], Arg::Int(_)).then(|| int(args, 2))
}

/// A truth value for every row: whether its target is another than this id.
fn counted(b: &mut Builder, target: NodeId, id: usize) -> NodeId {
    let target = b.to_float(target);
    let id = b.constant_like(id as f64, target);
    b.compare(Cmp::Ne, target, id)
}

/// The mean of those rows that count; 0 if none does.
fn mean_of_counted(b: &mut Builder, loss: NodeId, counted: NodeId) -> NodeId {
    let one = b.constant_like(1.0, loss);
    let [loss, ones] = [loss, one].map(|x| b.mask(counted, x));
    quotient_or_zero(b, loss, ones)
}

/// The sum of these numbers over that of those, which are at least 0; 0 where those are 0, and these with them.
fn quotient_or_zero(b: &mut Builder, of: NodeId, over: NodeId) -> NodeId {
    let shape = b.shape(of);
    let axes: Vec<usize> = (0..shape.rank()).collect();
    let [sum, weight] = [of, over].map(|x| b.sum(x, &axes));
    let zero = b.constant_like(0.0, weight);
    let is_nothing = b.compare(Cmp::Eq, weight, zero);
    // It grows with the rows as the weight does, so that gradients of several batches can be averaged.
    let count = b.count(&shape, &axes);
    let weight = b.select(is_nothing, count, weight);
    b.div(sum, weight)
}

/// Rows of f32, and a class id for each.
pub(super) fn against_classes(x: &[&TensorType], what: &str) -> Result<TensorType, String> {
    let rank = x[0].shape.rank();
    if x[0].dtype != DType::F32 || rank < 2 {
        return Err(format!("needs {what} [B, classes] of f32, found {} of {}", x[0].shape.declared(), x[0].dtype));
    }
    let expected = x[0].shape.without(&[rank - 1]);
    if !x[1].dtype.is_index() || x[1].shape != expected {
        let expected = expected.declared();
        return Err(format!(
            "needs a target of class ids {expected} (u8, u16 or u32), found {} of {}",
            x[1].shape.declared(),
            x[1].dtype
        ));
    }
    Ok(TensorType::scalar())
}

/// The number of classes of a row.
pub(super) fn classes(rows: &TensorType) -> usize {
    rows.shape.0.last().expect("a row of classes has an axis").factor()
}

/// Logits minus the largest of their row, without a gradient. Infinity minus itself counts as 0: for a single infinite logit that
/// is the limit.
fn shifted(b: &mut Builder, logits: NodeId) -> NodeId {
    let (shape, fixed) = (b.shape(logits), b.detach(logits));
    let last = shape.rank() - 1;
    let [zero, endless] = [0.0, f64::INFINITY].map(|number| b.constant(number, &shape));
    let top = b.max_over(fixed, &[last]);
    let top = b.broadcast_over(top, &shape, &[last]);
    let shifted = b.sub(fixed, top);
    let is_endless = b.compare(Cmp::Eq, fixed, endless);
    b.select(is_endless, zero, shifted)
}

/// For each row, minus the logarithm of the softmax of its target: `ln(1 + o)` if the target has the largest logit, where `o` is the
/// sum of the powers of the others. The logarithm of the whole sum would be 0 for a confident answer, and its gradient with respect
/// to the target's logit, `-o / (1 + o)`, a difference of ones.
fn own_loss(b: &mut Builder, logits: NodeId, shifted: NodeId, is_target: NodeId) -> NodeId {
    let shape = b.shape(logits);
    let last = shape.rank() - 1;
    let zero = b.constant(0.0, &shape);
    let power = b.exp(shifted);
    let other = b.select(is_target, zero, power);
    let others = b.sum(other, &[last]);
    let own = pick(b, is_target, power);
    let one = b.constant_like(1.0, own);
    let rest = b.sub(own, one);
    let rest = b.add(others, rest);
    let partition = b.log1p(rest);
    let picked = pick(b, is_target, shifted);
    let loss = b.sub(partition, picked);
    let sum = b.add(own, others);
    let loss = undecided(b, logits, sum, loss);

    let minus = b.neg(others);
    let minus = b.broadcast_over(minus, &shape, &[last]);
    let slope = b.select(is_target, minus, power);
    let change = b.with_slope(zero, logits, slope);
    let change = b.sum(change, &[last]);
    let slope = b.div(one, sum);
    b.with_slope(loss, change, slope)
}

/// NaN for rows of several infinite logits, whose powers add up to more than 1: nothing says which of them is the largest.
fn undecided(b: &mut Builder, logits: NodeId, sum: NodeId, loss: NodeId) -> NodeId {
    let last = b.shape(logits).rank() - 1;
    let fixed = b.detach(logits);
    let top = b.max_over(fixed, &[last]);
    let [endless, one] = [f64::INFINITY, 1.0].map(|number| b.constant_like(number, top));
    let is_endless = b.compare(Cmp::Eq, top, endless);
    let powers = b.select(is_endless, sum, one);
    let several = b.compare(Cmp::Gt, powers, one);
    let difference = b.sub(top, top);
    b.select(several, difference, loss)
}

/// For each class of each row, what the loss would be if it were the target.
fn losses(b: &mut Builder, logits: NodeId, shifted: NodeId) -> NodeId {
    let shape = b.shape(logits);
    let last = shape.rank() - 1;
    let one = b.constant(1.0, &shape);
    let shifted = b.with_slope(shifted, logits, one);
    let power = b.exp(shifted);
    let sum = b.sum(power, &[last]);
    let partition = b.ln(sum);
    let partition = b.broadcast_over(partition, &shape, &[last]);
    b.sub(partition, shifted)
}

/// The loss of the target, mixed with this share of the mean loss of all classes.
fn smoothed(b: &mut Builder, own: NodeId, alike: NodeId, share: f64) -> NodeId {
    let alike = b.scale(alike, share);
    if share == 1.0 {
        // 0 times infinity would be NaN.
        return alike;
    }
    let own = b.scale(own, 1.0 - share);
    b.add(own, alike)
}

/// Cross-entropy in which each class counts by its weight: the sum over all rows, divided by the sum of the weights of the targets.
/// `is_target` marks the target of each row, `loss` is its unweighted loss, and `counted` says whether it counts, if some do not.
fn weighted(
    b: &mut Builder,
    weights: &'static [f64],
    smoothing: f64,
    logits: NodeId,
    (is_target, loss): (NodeId, NodeId),
    counted: Option<NodeId>,
) -> NodeId {
    let shape = b.shape(logits);
    let last = shape.rank() - 1;
    let some_are_zero = weights.contains(&0.0);
    let weights = b.table("class_weights", weights);
    let weights = b.broadcast(weights, &shape, &[last]);
    let own = pick(b, is_target, weights);
    // A class without weight costs nothing, even if 0 is multiplied by infinity.
    let weighed = |b: &mut Builder, weight: NodeId, loss: NodeId| {
        let mut loss = loss;
        if some_are_zero {
            let zero = b.constant_like(0.0, weight);
            let counts = b.compare(Cmp::Ne, weight, zero);
            loss = b.mask(counts, loss);
        }
        b.mul(weight, loss)
    };
    let mut loss = weighed(b, own, loss);
    if smoothing > 0.0 {
        // The loss of a confident answer in its own class may be the only one that counts.
        let log_softmax = LOG_SOFTMAX.function.expect("it is a function")(b, &[], logits);
        let losses = b.neg(log_softmax);
        let losses = weighed(b, weights, losses);
        let alike = b.mean(losses, &[last]);
        loss = smoothed(b, loss, alike, smoothing);
    }
    if let Some(counted) = counted {
        let [loss, own] = [loss, own].map(|x| b.mask(counted, x));
        return quotient_or_zero(b, loss, own);
    }
    let axes: Vec<usize> = (0..last).collect();
    let total = b.sum(loss, &axes);
    let count = b.sum(own, &axes);
    b.div(total, count)
}

/// For each class of each row of `like`, whether it is the target: cheaper than a gather, and no one-hot rows are ever
/// stored.
pub(super) fn is_target(b: &mut Builder, target: NodeId, like: NodeId) -> NodeId {
    let shape = b.shape(like);
    let last = shape.rank() - 1;
    let position = b.iota(last, &shape);
    let target = b.broadcast_over(target, &shape, &[last]);
    b.index_eq(position, target)
}

/// For each row, the one value at which the mask holds.
fn pick(b: &mut Builder, mask: NodeId, x: NodeId) -> NodeId {
    let last = b.shape(x).rank() - 1;
    let kept = b.mask(mask, x);
    b.sum(kept, &[last])
}

/// The mean of one value per row.
fn mean_of_rows(b: &mut Builder, x: NodeId) -> NodeId {
    let axes: Vec<usize> = (0..b.shape(x).rank()).collect();
    b.mean(x, &axes)
}
