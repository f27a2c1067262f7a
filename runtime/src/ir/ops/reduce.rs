//! Operations that make one element out of many, along axes that then disappear.

use super::{Body, OpDef};
use crate::ir::Op;
use crate::scalar::Cmp;
use crate::types::{DType, TensorType};

/// How many elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// The largest; NaN if any is NaN.
    Max,
    /// Their mean, which of equal numbers is that number.
    Mean,
    /// Their mean squared deviation from their mean.
    Variance,
}

impl Op {
    /// The axes of a reduction.
    pub fn axes(&self) -> Option<&[usize]> {
        match self {
            Op::Sum(axes) | Op::MaxOver(axes) | Op::Mean(axes) | Op::Variance(axes) => Some(axes),
            _ => None,
        }
    }
}

fn dropped(op: &Op, x: &[&TensorType]) -> Result<TensorType, String> {
    let axes = op.axes().expect("a reduction has axes");
    if x[0].dtype != DType::F32 || axes.is_empty() || axes.iter().any(|&axis| axis >= x[0].shape.rank()) {
        return Err(format!("no reduction of {} over {axes:?}", x[0]));
    }
    Ok(TensorType::f32(x[0].shape.without(axes)))
}

/// Sum over axes. `f32[S] -> f32[S without axes]`.
pub const SUM: OpDef = OpDef {
    name: "sum",
    ty: dropped,
    vjp: |b, at| {
        let shape = b.shape(at.x[0]);
        vec![Some(b.broadcast_over(at.dy, &shape, at.op.axes().expect("a reduction has axes")))]
    },
    body: Body::Reduce(Reduction::Sum),
};

/// Largest element over axes. `f32[S] -> f32[S without axes]`. NaN passes. The gradient is the first of equals', along the
/// last reduced axis; reduce one axis at a time where ties matter across several.
pub const MAX_OVER: OpDef = OpDef {
    name: "max",
    ty: dropped,
    vjp: |b, at| {
        let axes = at.op.axes().expect("a reduction has axes");
        let axis = axes[axes.len() - 1];
        let shape = b.shape(at.x[0]);
        let top = b.broadcast_over(at.y, &shape, axes);
        let is_top = b.compare(Cmp::Eq, at.x[0], top);
        let position = b.iota(axis, &shape);
        let position = b.to_float(position);
        let minus = b.neg(position);
        let never = b.constant(f64::NEG_INFINITY, &shape);
        let candidate = b.select(is_top, minus, never);
        let first = b.max_over(candidate, axes);
        let first = b.broadcast_over(first, &shape, axes);
        let is_first = b.compare(Cmp::Eq, candidate, first);
        let dy = b.broadcast_over(at.dy, &shape, axes);
        let taken = b.keep(is_first, dy);
        vec![Some(b.keep(is_top, taken))]
    },
    body: Body::Reduce(Reduction::Max),
};

/// Mean over axes. `f32[S] -> f32[S without axes]`. `dx = dy / n`. Computed around a sample, as a variance is and together with
/// it: of equal numbers it is that number to the bit, and no sum overflows. Where neither matters, [`Builder::mean`] is less work.
///
/// [`Builder::mean`]: crate::ir::Builder::mean
pub const MEAN: OpDef = OpDef {
    name: "mean",
    ty: dropped,
    vjp: |b, at| {
        let axes = at.op.axes().expect("a reduction has axes");
        let shape = b.shape(at.x[0]);
        let count = b.count(&shape, axes);
        let kept = b.shape(at.dy);
        let count = b.spread(count, &kept);
        let share = b.div(at.dy, count);
        vec![Some(b.broadcast_over(share, &shape, axes))]
    },
    body: Body::Reduce(Reduction::Mean),
};

/// Biased variance over axes: the mean squared deviation from the mean. `f32[S] -> f32[S without axes]`.
/// `dx = dy 2 (x - mean) / n`. Computed without cancellation: shifted by a sample, merged by Chan's formula
/// (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance"). NaN where it is beyond the largest f32, from
/// about 1e37 on: an infinite one would make zeros of what is divided by its root.
pub const VARIANCE: OpDef = OpDef {
    name: "variance",
    ty: dropped,
    vjp: |b, at| {
        let axes = at.op.axes().expect("a reduction has axes");
        let shape = b.shape(at.x[0]);
        let mean = b.center(at.x[0], axes);
        let mean = b.broadcast_over(mean, &shape, axes);
        let deviation = b.sub(at.x[0], mean);
        let two = b.scale(at.dy, 2.0);
        let count = b.count(&shape, axes);
        let kept = b.shape(at.dy);
        let count = b.spread(count, &kept);
        let factor = b.div(two, count);
        let factor = b.broadcast_over(factor, &shape, axes);
        vec![Some(b.mul(factor, deviation))]
    },
    body: Body::Reduce(Reduction::Variance),
};
