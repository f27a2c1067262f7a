//! Functions that make one number out of many.

use super::FunctionDef;
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;
use crate::types::{DType, Shape, TensorType};

/// The mean of all elements.
///
/// - Value: `sum(x) / n`; of truth values, the share of true ones
/// - Shapes: `f32[S] -> f32[]`, `bool[S] -> f32[]`
/// - Gradient: `1 / n` to every element; none through truth values
pub const MEAN: FunctionDef = FunctionDef {
    name: "mean",
    item: "MEAN",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| match x[0].dtype {
        DType::F32 | DType::Bool => Ok(TensorType::scalar()),
        other => Err(format!("needs f32 or bool, found {other}")),
    },
    lower: |b, _, x| {
        let values = numbers(b, x[0]);
        match axes(b, values) {
            axes if axes.is_empty() => values,
            axes => b.mean(values, &axes),
        }
    },
};

/// The sum of all elements.
///
/// - Value: of truth values, the number of true ones
/// - Shapes: `f32[S] -> f32[]`, `bool[S] -> f32[]`
/// - Gradient: 1 to every element; none through truth values
pub const SUM: FunctionDef = FunctionDef {
    name: "sum",
    item: "SUM",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| (MEAN.ty)(x, &[]),
    lower: |b, _, x| {
        let values = numbers(b, x[0]);
        match axes(b, values) {
            axes if axes.is_empty() => values,
            axes => b.sum(values, &axes),
        }
    },
};

/// The largest of all elements. The larger of two tensors is `maximum`.
///
/// - Value: NaN passes
/// - Shapes: `f32[S] -> f32[]`
/// - Gradient: 1 to the first of the largest, 0 to all others
pub const MAX: FunctionDef = FunctionDef {
    name: "max",
    item: "MAX",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| match x[0].dtype {
        DType::F32 => Ok(TensorType::scalar()),
        other => Err(format!("needs f32, found {other}")),
    },
    // One axis at a time, innermost first, so that the gradient finds the first of equals.
    lower: |b, _, x| axes(b, x[0]).into_iter().rev().fold(x[0], |x, axis| b.max_over(x, &[axis])),
};

/// The position of the largest element along the last axis.
///
/// - Value: the first of equals; 0 for a row with NaN
/// - Shapes: `f32[B, n] -> u32[B]`
/// - Gradient: none
pub const ARGMAX: FunctionDef = FunctionDef {
    name: "argmax",
    item: "ARGMAX",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[],
    ty: |x, _| match (x[0].dtype, x[0].shape.rank()) {
        (DType::F32, 1..) => Ok(TensorType { dtype: DType::U32, shape: x[0].shape.without(&[x[0].shape.rank() - 1]) }),
        _ => Err(format!("needs f32 with at least one axis, found {}", x[0])),
    },
    lower: |b, _, x| {
        let shape = b.shape(x[0]);
        let last = shape.rank() - 1;
        let x = b.detach(x[0]);
        let top = b.max_over(x, &[last]);
        let top = b.broadcast_over(top, &shape, &[last]);
        // Written as "not below", so that a row whose largest element is NaN has a position too.
        let below = b.compare(Cmp::Lt, x, top);
        let position = b.iota(last, &shape);
        let position = b.to_float(position);
        let minus = b.neg(position);
        let never = b.constant(f64::NEG_INFINITY, &shape);
        let candidate = b.select(below, never, minus);
        let first = b.max_over(candidate, &[last]);
        let first = b.neg(first);
        b.to_index(first)
    },
};

/// Truth values as 1 and 0; numbers as they are.
fn numbers(b: &mut Builder, x: NodeId) -> NodeId {
    if b.ty(x).dtype != DType::Bool {
        return x;
    }
    let shape: Shape = b.shape(x);
    let one = b.constant(1.0, &shape);
    let zero = b.constant(0.0, &shape);
    b.select(x, one, zero)
}

fn axes(b: &Builder, x: NodeId) -> Vec<usize> {
    (0..b.ty(x).shape.rank()).collect()
}
