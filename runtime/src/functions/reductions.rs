//! Functions that make fewer numbers out of many: of all elements, or of those along some axes.

use super::FunctionDef;
use crate::axes::{axes_of, axis_of, reduced};
use crate::ir::{Builder, NodeId};
use crate::layers::{Arg, ArgDef, ArgKind, ints};
use crate::scalar::Cmp;
use crate::types::{DType, TensorType};

const AXES: ArgDef = ArgDef {
    name: "axis",
    kind: ArgKind::Axes,
    default: Some(Arg::Ints(&[])),
    doc: "the axes that disappear, all of them if left out",
};
const AXIS: ArgDef =
    ArgDef { name: "axis", kind: ArgKind::Axis, default: Some(Arg::Ints(&[-1])), doc: "the axis that disappears" };
const KEEP: ArgDef = ArgDef {
    name: "keep",
    kind: ArgKind::Flag,
    default: Some(Arg::Flag(false)),
    doc: "whether the axes stay, with one element each",
};

/// The mean of all elements, or of those along axes.
///
/// - Value: `sum(x) / n`; of truth values, the share of true ones
/// - Shapes: `f32[S] -> f32[]`, `bool[S] -> f32[]`; with `axis = -1`, `f32[B, n] -> f32[B]`
/// - Argument `axis = []`: the axes that disappear, all of them if left out; an axis, such as -1, or a list of them,
///   such as `[1, 2]`
/// - Argument `keep = false`: whether the axes stay, with one element each; `true` or `false`
/// - Gradient: `1 / n` to every element; none through truth values
pub const MEAN: FunctionDef = FunctionDef {
    name: "mean",
    item: "MEAN",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[AXES, KEEP],
    ty: |x, args| of_numbers(x[0], true, args),
    lower: |b, args, x| {
        let values = numbers(b, x[0]);
        reduce(b, args, values, |b, x, axes| b.mean(x, axes))
    },
};

/// The sum of all elements, or of those along axes.
///
/// - Value: of truth values, the number of true ones
/// - Shapes: `f32[S] -> f32[]`, `bool[S] -> f32[]`; with `axis = -1`, `f32[B, n] -> f32[B]`
/// - Argument `axis = []`: the axes that disappear, all of them if left out; an axis, such as -1, or a list of them,
///   such as `[1, 2]`
/// - Argument `keep = false`: whether the axes stay, with one element each; `true` or `false`
/// - Gradient: 1 to every element; none through truth values
pub const SUM: FunctionDef = FunctionDef {
    name: "sum",
    item: "SUM",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[AXES, KEEP],
    ty: |x, args| of_numbers(x[0], true, args),
    lower: |b, args, x| {
        let values = numbers(b, x[0]);
        reduce(b, args, values, |b, x, axes| b.sum(x, axes))
    },
};

/// The largest of all elements, or of those along axes. The larger of two tensors is `maximum`.
///
/// - Value: NaN passes
/// - Shapes: `f32[S] -> f32[]`; with `axis = -1`, `f32[B, n] -> f32[B]`
/// - Argument `axis = []`: the axes that disappear, all of them if left out; an axis, such as -1, or a list of them,
///   such as `[1, 2]`
/// - Argument `keep = false`: whether the axes stay, with one element each; `true` or `false`
/// - Gradient: 1 to the first of the largest, 0 to all others
pub const MAX: FunctionDef = FunctionDef {
    name: "max",
    item: "MAX",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[AXES, KEEP],
    ty: |x, args| of_numbers(x[0], false, args),
    lower: |b, args, x| reduce(b, args, x[0], largest),
};

/// The smallest of all elements, or of those along axes. The smaller of two tensors is `minimum`.
///
/// - Value: NaN passes
/// - Shapes: `f32[S] -> f32[]`; with `axis = -1`, `f32[B, n] -> f32[B]`
/// - Argument `axis = []`: the axes that disappear, all of them if left out; an axis, such as -1, or a list of them,
///   such as `[1, 2]`
/// - Argument `keep = false`: whether the axes stay, with one element each; `true` or `false`
/// - Gradient: 1 to the first of the smallest, 0 to all others
pub const MIN: FunctionDef = FunctionDef {
    name: "min",
    item: "MIN",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[AXES, KEEP],
    ty: |x, args| of_numbers(x[0], false, args),
    lower: |b, args, x| {
        let mirrored = b.neg(x[0]);
        let largest = reduce(b, args, mirrored, largest);
        b.neg(largest)
    },
};

/// The variance of all elements, or of those along axes.
///
/// - Value: `mean((x - mean(x))^2)`, without the correction for samples. Computed relative to an element, so that a
///   large mean costs no digits
/// - Shapes: `f32[S] -> f32[]`; with `axis = -1`, `f32[B, n] -> f32[B]`
/// - Argument `axis = []`: the axes that disappear, all of them if left out; an axis, such as -1, or a list of them,
///   such as `[1, 2]`
/// - Argument `keep = false`: whether the axes stay, with one element each; `true` or `false`
/// - Gradient: `2 (x - mean(x)) / n`
/// - Source: Chan et al. 1983
pub const VAR: FunctionDef = FunctionDef {
    name: "var",
    item: "VAR",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[AXES, KEEP],
    ty: |x, args| of_numbers(x[0], false, args),
    lower: |b, args, x| {
        let single = b.shape(x[0]).rank() == 0;
        if single {
            // Infinite and NaN are NaN, as where there is an axis.
            return b.sub(x[0], x[0]);
        }
        reduce(b, args, x[0], |b, x, axes| b.variance(x, axes))
    },
};

/// The position of the largest element along an axis.
///
/// - Value: the first of equals; 0 where there is a NaN
/// - Shapes: `f32[B, n] -> u32[B]`
/// - Argument `axis = -1`: the axis that disappears; an axis, such as 1 or -1
/// - Gradient: none
pub const ARGMAX: FunctionDef = FunctionDef {
    name: "argmax",
    item: "ARGMAX",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[AXIS],
    ty: |x, args| match (x[0].dtype, x[0].shape.rank()) {
        (DType::F32, 1..) => {
            let axis = axis_of(&x[0].shape, axis(args))?;
            Ok(TensorType { dtype: DType::U32, shape: x[0].shape.without(&[axis]) })
        }
        _ => Err(format!("needs f32 with at least one axis, found {}", x[0])),
    },
    lower: |b, args, x| {
        let shape = b.shape(x[0]);
        let axis = axis_of(&shape, axis(args)).expect("the axis was checked");
        let x = b.detach(x[0]);
        let top = b.max_over(x, &[axis]);
        let top = b.broadcast_over(top, &shape, &[axis]);
        // Written as "not below", so that a row whose largest element is NaN has a position too.
        let below = b.compare(Cmp::Lt, x, top);
        let position = b.iota(axis, &shape);
        let position = b.to_float(position);
        let minus = b.neg(position);
        let never = b.constant(f64::NEG_INFINITY, &shape);
        let candidate = b.select(below, never, minus);
        let first = b.max_over(candidate, &[axis]);
        let first = b.neg(first);
        b.to_index(first)
    },
};

/// The axes that were given. Other compositions leave all arguments out.
fn axes(args: &[Arg]) -> &'static [i64] {
    if args.is_empty() { &[] } else { ints(args, 0) }
}

/// The one axis that was given, or the last.
fn axis(args: &[Arg]) -> i64 {
    axes(args).first().copied().unwrap_or(-1)
}

/// Whether the axes stay.
fn keeps(args: &[Arg]) -> bool {
    args.get(1) == Some(&Arg::Flag(true))
}

/// The type that a reduction of numbers gives, or of truth values, if it takes them.
fn of_numbers(x: &TensorType, or_truths: bool, args: &[Arg]) -> Result<TensorType, String> {
    match x.dtype {
        DType::F32 => {}
        DType::Bool if or_truths => {}
        other if or_truths => return Err(format!("needs f32 or bool, found {other}")),
        other => return Err(format!("needs f32, found {other}")),
    }
    let axes = axes_of(&x.shape, axes(args))?;
    Ok(TensorType::f32(reduced(&x.shape, &axes, keeps(args))))
}

/// A reduction over the axes of the arguments.
fn reduce(
    b: &mut Builder,
    args: &[Arg],
    x: NodeId,
    over: impl FnOnce(&mut Builder, NodeId, &[usize]) -> NodeId,
) -> NodeId {
    let shape = b.shape(x);
    let axes = axes_of(&shape, axes(args)).expect("the axes were checked");
    let result = if axes.is_empty() { x } else { over(b, x, &axes) };
    match keeps(args) && !axes.is_empty() {
        true => b.reshape(result, reduced(&shape, &axes, true)),
        false => result,
    }
}

/// The largest element, one axis at a time, innermost first, so that the gradient finds the first of equals.
fn largest(b: &mut Builder, x: NodeId, axes: &[usize]) -> NodeId {
    axes.iter().rev().fold(x, |x, &axis| b.max_over(x, &[axis]))
}

/// Truth values as 1 and 0; numbers as they are.
fn numbers(b: &mut Builder, x: NodeId) -> NodeId {
    if b.ty(x).dtype != DType::Bool {
        return x;
    }
    let shape = b.shape(x);
    let one = b.constant(1.0, &shape);
    let zero = b.constant(0.0, &shape);
    b.select(x, one, zero)
}
