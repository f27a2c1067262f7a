//! Losses: how far an output is from a target, as one number.

use super::FunctionDef;
use crate::ir::{Builder, NodeId, Op};
use crate::layers::shift;
use crate::types::{DType, TensorType};

/// Mean cross-entropy of logits against class ids, in nats.
pub const CROSS_ENTROPY: FunctionDef = FunctionDef {
    name: "cross_entropy",
    item: "CROSS_ENTROPY",
    doc: "`mean(-log_softmax(logits)[target])`, in nats: `f32[B, C], u8[B] -> f32[]` (class ids of any integer type, below `C`). Takes \
          logits, not probabilities; finite for |logits| <= 1e4. Source: Goodfellow et al. 2016, 6.2.2.3.",
    operands: &["logits", "target"],
    ty: |x| {
        let rank = x[0].shape.rank();
        if x[0].dtype != DType::F32 || rank < 2 {
            return Err(format!("needs logits [B, classes] of f32, found {} of {}", x[0].shape.declared(), x[0].dtype));
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
    },
    lower: |b, x| {
        let shape = b.shape(x[0]);
        let last = shape.rank() - 1;
        limit_classes(b, x[1], shape.0[last].factor());
        let shifted = shift(b, x[0]);
        let exp = b.exp(shifted);
        let sum = b.sum(exp, &[last]);
        let partition = b.ln(sum);
        let position = b.iota(last, &shape);
        let target = b.broadcast_over(x[1], &shape, &[last]);
        // The target is compared with every position: cheaper than a gather, and no one-hot rows are ever stored.
        let is_target = b.index_eq(position, target);
        let kept = b.keep(is_target, shifted);
        let picked = b.sum(kept, &[last]);
        let loss = b.sub(partition, picked);
        let axes: Vec<usize> = (0..last).collect();
        b.mean(loss, &axes)
    },
};

/// If `target` is an input, its class ids must be below `classes`.
fn limit_classes(b: &mut Builder, target: NodeId, classes: usize) {
    if let Op::Input(index) = b.graph()[target].op {
        let limit = &mut b.graph_mut().slots.inputs[index].classes;
        *limit = Some(limit.map_or(classes, |other| other.min(classes)));
    }
}

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

/// Mean binary cross-entropy of logits against probabilities.
pub const BCE_WITH_LOGITS: FunctionDef = FunctionDef {
    name: "bce_with_logits",
    item: "BCE_WITH_LOGITS",
    doc: "`mean(softplus(x) - x y)`, which is `mean(-y ln p - (1 - y) ln(1 - p))` for `p = sigmoid(x)`, without overflow: \
          `f32[S], f32[S] -> f32[]`. Source: Goodfellow et al. 2016, 6.2.2.2.",
    operands: &["logits", "target"],
    ty: |x| pair(x, "target"),
    lower: |b, x| {
        let partition = b.softplus(x[0]);
        let product = b.mul(x[0], x[1]);
        let loss = b.sub(partition, product);
        (super::MEAN.lower)(b, &[loss])
    },
};

/// Mean squared error.
pub const MSE: FunctionDef = FunctionDef {
    name: "mse",
    item: "MSE",
    doc: "`mean((x - y)^2)`: `f32[S], f32[S] -> f32[]`.",
    operands: &["prediction", "target"],
    ty: |x| pair(x, "target"),
    lower: |b, x| {
        let difference = b.sub(x[0], x[1]);
        let square = b.mul(difference, difference);
        (super::MEAN.lower)(b, &[square])
    },
};
