//! Metrics of decisions: the share of positive decisions that are right, and the share of positives that are found.

use super::classes::{against_classes, classes, is_target};
use super::{ARGMAX, FunctionDef, MEAN};
use crate::ir::{Builder, NodeId};
use crate::layers::{Arg, ArgDef, ArgKind, float};
use crate::scalar::Cmp;
use crate::types::{DType, TensorType};

/// The share of positive decisions that are right.
///
/// - Value: `TP / (TP + FP)`. Of scores against 0 and 1: a score above `threshold` decides for positive (0 is
///   probability 0.5 of a logit), a target above 0.5 is positive, NaN is neither. Of logits against class ids: each
///   class against the rest by `argmax`, and the mean over all `C` classes. 0 where nothing is decided positive, as
///   with `zero_division=0` and `average="macro"` in scikit-learn
/// - Shapes: `f32[B], f32[B] -> f32[]`, or `[B, 1]` both; `f32[B, C], u8[B] -> f32[]`, class ids of any integer type,
///   below `C`
/// - Argument `threshold = 0.0`: what a score has to exceed; a number between -1e6 and 1e6
/// - Gradient: none
/// - Source: van Rijsbergen 1979, chapter 7
pub const PRECISION: FunctionDef = FunctionDef {
    name: "precision",
    item: "PRECISION",
    operands: &["scores", "target"],
    over_weights: false,
    elementwise: false,
    args: &[THRESHOLD],
    ty: decided,
    lower: |b, args, x| {
        let Counts { hits, decided, .. } = count(b, args, x);
        share(b, hits, decided)
    },
};

/// The share of positives that are found.
///
/// - Value: `TP / (TP + FN)`; scores, logits, `threshold` and classes as for `precision`. 0 where there are no
///   positives, also for a class that does not occur
/// - Shapes: `f32[B], f32[B] -> f32[]`, or `[B, 1]` both; `f32[B, C], u8[B] -> f32[]`, class ids of any integer type,
///   below `C`
/// - Argument `threshold = 0.0`: what a score has to exceed; a number between -1e6 and 1e6
/// - Gradient: none
/// - Source: van Rijsbergen 1979, chapter 7
pub const RECALL: FunctionDef = FunctionDef {
    name: "recall",
    item: "RECALL",
    operands: &["scores", "target"],
    over_weights: false,
    elementwise: false,
    args: &[THRESHOLD],
    ty: decided,
    lower: |b, args, x| {
        let Counts { hits, positive, .. } = count(b, args, x);
        share(b, hits, positive)
    },
};

const THRESHOLD: ArgDef = ArgDef {
    name: "threshold",
    kind: ArgKind::Number { least: -1e6, most: 1e6, range: "between -1e6 and 1e6" },
    default: Some(Arg::Float(0.0)),
    doc: "what a score has to exceed",
};

/// Scores against 0 and 1, or rows of logits against class ids.
fn decided(x: &[&TensorType], args: &[Arg]) -> Result<TensorType, String> {
    if x[1].dtype.is_index() {
        let ty = against_classes(x, "logits")?;
        return match (classes(x[0]), float(args, 0) == 0.0) {
            (2.., true) => Ok(ty),
            (2.., false) => Err("takes no `threshold` with class ids: the largest logit decides".to_string()),
            _ => Err(format!(
                "needs logits of at least 2 classes with class ids, found {}; a score is compared with a target of f32",
                x[0].shape.declared()
            )),
        };
    }
    let one_a_row = match x[0].shape.0[..] {
        [_] => true,
        [_, columns] => columns.factor() == 1,
        _ => false,
    };
    match one_a_row && x[0].dtype == DType::F32 && x[0] == x[1] {
        true => Ok(TensorType::scalar()),
        false => Err(format!(
            "needs scores [B] or [B, 1] and a target like them, or logits [B, classes] and class ids, found {} of {} and {} of {}",
            x[0].shape.declared(),
            x[0].dtype,
            x[1].shape.declared(),
            x[1].dtype
        )),
    }
}

/// Counts, in total or for each class.
struct Counts {
    /// Decided positive, and positive.
    hits: NodeId,
    /// Decided positive.
    decided: NodeId,
    /// Positive.
    positive: NodeId,
}

fn count(b: &mut Builder, args: &[Arg], x: &[NodeId]) -> Counts {
    let (decided, positive) = if b.ty(x[1]).dtype.is_index() {
        let classes = classes(b.ty(x[0]));
        b.limit_ids(x[1], classes);
        let best = (ARGMAX.lower)(b, &[], &x[..1]);
        (is_target(b, best, x[0]), is_target(b, x[1], x[0]))
    } else {
        let threshold = b.constant_like(float(args, 0), x[0]);
        let half = b.constant_like(0.5, x[1]);
        (b.compare(Cmp::Gt, x[0], threshold), b.compare(Cmp::Gt, x[1], half))
    };
    let one = b.constant_like(1.0, x[0]);
    let decided = b.mask(decided, one);
    let hits = b.mask(positive, decided);
    let positive = b.mask(positive, one);
    // For rows of classes this leaves one number per class.
    let axes: Vec<usize> = (0..b.shape(x[1]).rank()).collect();
    let [hits, decided, positive] = [hits, decided, positive].map(|flags| b.sum(flags, &axes));
    Counts { hits, decided, positive }
}

/// The mean over classes of `hits / all`. A class with none at all has no hits either, and counts 0 / 1 = 0.
fn share(b: &mut Builder, hits: NodeId, all: NodeId) -> NodeId {
    let one = b.constant_like(1.0, all);
    let all = b.max(all, one);
    let share = b.div(hits, all);
    (MEAN.lower)(b, &[], &[share])
}
