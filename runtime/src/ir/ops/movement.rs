//! Operations that move elements and compute nothing.

use super::{Body, OpDef};
use crate::ir::{NodeId, Op};
use crate::types::{DType, Dim, Shape, TensorType};

/// Which coordinate along one axis of an operand an element of the result is taken from: `constant` plus the sum of `step` times
/// the coordinate along `axis` of the result, divided by `divisor`. If that leaves a remainder or is outside of the operand, the
/// element is not one of this operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinate {
    /// Where the first element is taken from.
    pub constant: i64,
    /// Axes of the result, each with the step that goes with it.
    pub steps: Vec<(usize, i64)>,
    /// What the sum is divided by, 1 or more.
    pub divisor: i64,
}

impl Coordinate {
    /// The coordinate along one axis of the result.
    fn along(axis: usize) -> Coordinate {
        Coordinate { constant: 0, steps: vec![(axis, 1)], divisor: 1 }
    }

    /// The coordinate for the element of the result with these coordinates, along an axis of this extent.
    pub fn at(&self, place: impl Fn(usize) -> usize, extent: usize) -> Option<usize> {
        let moved: i64 = self.steps.iter().map(|&(axis, step)| step * place(axis) as i64).sum();
        let at = self.constant + moved;
        let whole = at % self.divisor == 0;
        usize::try_from(at / self.divisor).ok().filter(|&at| whole && at < extent)
    }
}

impl Op {
    /// For each axis of an operand, where the elements of the result are taken from, if this operation moves elements axis by axis.
    /// An element comes from the first operand that has it, or else is the [fill](Op::fill).
    pub fn coordinates(&self, operand: usize, shapes: &[&Shape]) -> Option<Vec<Coordinate>> {
        let rank = shapes[operand].rank();
        match self {
            Op::Broadcast(axes) => Some(axes.iter().map(|&axis| Coordinate::along(axis)).collect()),
            Op::Transpose(order) => {
                let at = |own: usize| order.iter().position(|&axis| axis == own).expect("an order has every axis");
                Some((0..rank).map(|own| Coordinate::along(at(own))).collect())
            }
            &Op::Slice { axis, start, step, .. } => {
                let taken = Coordinate { constant: start as i64, steps: vec![(axis, step as i64)], divisor: 1 };
                Some(all_but(rank, axis, taken))
            }
            &Op::Pad { axis, before, inside, .. } => {
                let divisor = inside as i64 + 1;
                Some(all_but(rank, axis, Coordinate { constant: -(before as i64), divisor, ..Coordinate::along(axis) }))
            }
            &Op::Concat(axis) => {
                let before: usize = shapes[..operand].iter().map(|shape| shape.0[axis].factor()).sum();
                Some(all_but(rank, axis, Coordinate { constant: -(before as i64), ..Coordinate::along(axis) }))
            }
            Op::Patches { axis, window, .. } => Some(window.coordinates(*axis, rank)),
            &Op::Skew { axis, along, step, shift, .. } => {
                let moved = Coordinate { constant: shift, steps: vec![(axis, 1), (along, step)], divisor: 1 };
                Some(all_but(rank, axis, moved))
            }
            _ => None,
        }
    }

    /// The value where no operand has an element; `None` if one always has.
    pub fn fill(&self) -> Option<f64> {
        match *self {
            Op::Pad { value, .. } | Op::Patches { value, .. } => Some(value),
            Op::Skew { .. } => Some(0.0),
            _ => None,
        }
    }
}

/// `along` for this axis; unchanged along all others.
fn all_but(rank: usize, axis: usize, coordinate: Coordinate) -> Vec<Coordinate> {
    (0..rank).map(|own| if own == axis { coordinate.clone() } else { Coordinate::along(own) }).collect()
}

/// The extent of an axis that elements move along. They never move along the batch: the distance would depend on its size.
pub(super) fn fixed_extent(what: &str, ty: &TensorType, axis: usize) -> Result<usize, String> {
    match ty.shape.0.get(axis) {
        Some(&Dim::Fixed(extent)) => Ok(extent),
        Some(Dim::Batch(_)) => Err(format!("{what} along axis {axis} of {ty} would move elements along the batch")),
        None => Err(format!("{what} along axis {axis}, which {ty} does not have")),
    }
}

/// The type of a tensor like this one, with these extents in place of `axis`.
pub(super) fn replaced(ty: &TensorType, axis: usize, by: &[usize]) -> TensorType {
    let mut dims = ty.shape.0.clone();
    dims.splice(axis..=axis, by.iter().map(|&extent| Dim::Fixed(extent)));
    TensorType { dtype: ty.dtype, shape: Shape(dims) }
}

/// Whether a fill is an element of this type.
pub(super) fn fits(what: &str, value: f64, dtype: DType) -> Result<(), String> {
    let most = match dtype {
        DType::F32 => return Ok(()),
        DType::U8 => f64::from(u8::MAX),
        DType::U16 => f64::from(u16::MAX),
        DType::U32 => f64::from(u32::MAX),
        DType::Bool => 1.0,
    };
    match value.fract() == 0.0 && (0.0..=most).contains(&value) {
        true => Ok(()),
        false => Err(format!("{what} with {value}, which is no {dtype}")),
    }
}

/// An extent as the sum of its parts. A declared one may be absurdly large.
pub(super) fn extent_of(what: &str, parts: impl FnOnce() -> Option<usize>) -> Result<usize, String> {
    parts()
        .filter(|&extent| i64::try_from(extent).is_ok())
        .ok_or_else(|| format!("{what} to an extent that no memory has"))
}

/// The same elements in the same order under another shape. `T[S] -> T[R]` with as many elements.
pub const RESHAPE: OpDef = OpDef {
    name: "reshape",
    ty: |_, _| Err("the type of `reshape` is given, not inferred".to_string()),
    vjp: |b, at| {
        let shape = b.shape(at.x[0]);
        vec![Some(b.reshape(at.dy, shape))]
    },
    body: Body::View,
};

/// Repetition along new axes. `T[S] -> T[R]`, where axis `i` of `S` is axis `axes[i]` of `R`. The gradient sums over the new axes.
pub const BROADCAST: OpDef = OpDef {
    name: "broadcast",
    ty: |_, _| Err("the type of `broadcast` is given, not inferred".to_string()),
    vjp: |b, at| {
        let Op::Broadcast(axes) = &at.op else { unreachable!("the gradient of a broadcast") };
        let new: Vec<usize> = (0..b.ty(at.dy).shape.rank()).filter(|axis| !axes.contains(axis)).collect();
        vec![Some(if new.is_empty() { at.dy } else { b.sum(at.dy, &new) })]
    },
    body: Body::View,
};

/// Another order of axes. `T[S] -> T[R]`, where axis `i` of `R` is axis `order[i]` of `S`. The gradient is transposed back.
pub const TRANSPOSE: OpDef = OpDef {
    name: "transpose",
    ty: |op, x| {
        let Op::Transpose(order) = op else { unreachable!("the type of a transpose") };
        let mut axes = order.clone();
        axes.sort_unstable();
        if !axes.into_iter().eq(0..x[0].shape.rank()) {
            return Err(format!("{order:?} is no order of the axes of {}", x[0]));
        }
        let dims = order.iter().map(|&axis| x[0].shape.0[axis]);
        Ok(TensorType { dtype: x[0].dtype, shape: Shape(dims.collect()) })
    },
    vjp: |b, at| {
        let Op::Transpose(order) = &at.op else { unreachable!("the gradient of a transpose") };
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        vec![Some(b.transpose(at.dy, &back))]
    },
    body: Body::Move,
};

/// Some of the elements along an axis: `y[i] = x[start + step i]`. `T[.., N, ..] -> T[.., len, ..]`. The gradient is padded with
/// zeros.
pub const SLICE: OpDef = OpDef {
    name: "slice",
    ty: |op, x| {
        let &Op::Slice { axis, start, len, step } = op else { unreachable!("the type of a slice") };
        let extent = fixed_extent("slice", x[0], axis)?;
        let end = match len {
            0 => Some(start),
            _ => step.checked_mul(len - 1).and_then(|last| last.checked_add(start)?.checked_add(1)),
        };
        match end.filter(|&end| step > 0 && end <= extent) {
            Some(_) => Ok(replaced(x[0], axis, &[len])),
            None => Err(format!("slice of {len} elements from {start} on by {step}, along axis {axis} of {}", x[0])),
        }
    },
    vjp: |b, at| {
        let Op::Slice { axis, start, len, step } = at.op else { unreachable!("the gradient of a slice") };
        let extent = b.shape(at.x[0]).0[axis].factor();
        let taken = if len == 0 { 0 } else { step * (len - 1) + 1 };
        let (inside, after) = (step - 1, extent - start - taken);
        vec![Some(b.apply(Op::Pad { axis, before: start, inside, after, value: 0.0 }, &[at.dy]))]
    },
    body: Body::Move,
};

/// The elements with `value` around and between them, along an axis. `T[.., N, ..] -> T[.., M, ..]` with
/// `M = before + N + (N - 1) inside + after`. The gradient is a slice of that of the result.
pub const PAD: OpDef = OpDef {
    name: "pad",
    ty: |op, x| {
        let &Op::Pad { axis, before, inside, after, value } = op else { unreachable!("the type of a pad") };
        let extent = fixed_extent("pad", x[0], axis)?;
        fits("pad", value, x[0].dtype)?;
        let padded = extent_of("pad", || {
            let between = inside.checked_mul(extent.saturating_sub(1))?;
            before.checked_add(extent)?.checked_add(between)?.checked_add(after)
        })?;
        Ok(replaced(x[0], axis, &[padded]))
    },
    vjp: |b, at| {
        let Op::Pad { axis, before, inside, .. } = at.op else { unreachable!("the gradient of a pad") };
        let len = b.shape(at.x[0]).0[axis].factor();
        vec![Some(b.slice(at.dy, axis, before, len, inside + 1))]
    },
    body: Body::Move,
};

/// Tensors one after the other along an axis. `T[.., N1, ..], T[.., N2, ..], .. -> T[.., N1 + N2 + .., ..]`. The gradients are
/// slices of that of the result.
pub const CONCAT: OpDef = OpDef {
    name: "concat",
    ty: |op, x| {
        let &Op::Concat(axis) = op else { unreachable!("the type of a concatenation") };
        let first = x.first().ok_or("concat of no operands")?;
        let extents: Vec<usize> = x.iter().map(|ty| fixed_extent("concat", ty, axis)).collect::<Result<_, _>>()?;
        let alike =
            |ty: &TensorType| ty.dtype == first.dtype && ty.shape.without(&[axis]) == first.shape.without(&[axis]);
        if let Some(other) = x.iter().find(|ty| !alike(ty)) {
            return Err(format!("concat of {first} and {other} along axis {axis}"));
        }
        let sum = || extents.iter().try_fold(0usize, |sum, &extent| sum.checked_add(extent));
        Ok(replaced(first, axis, &[extent_of("concat", sum)?]))
    },
    vjp: |b, at| {
        let Op::Concat(axis) = at.op else { unreachable!("the gradient of a concatenation") };
        let mut start = 0;
        let part = |&x: &NodeId| {
            let len = b.shape(x).0[axis].factor();
            start += len;
            Some(b.slice(at.dy, axis, start - len, len, 1))
        };
        at.x.iter().map(part).collect()
    },
    body: Body::Move,
};
