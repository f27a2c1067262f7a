//! Operations that give elements other places and compute nothing.

use super::{Body, OpDef};
use crate::ir::Op;
use crate::types::{Shape, TensorType};

/// Where along one axis of an operand an element of the result is taken from: at `constant` plus the sum of `step` times the
/// element's coordinate along `axis` of the result, divided by `divisor`. Where that leaves a remainder or the operand, the
/// element is not of this operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinate {
    /// Where the first element is from.
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

    /// For the element of the result that has these coordinates, along an axis of this extent.
    pub fn at(&self, place: impl Fn(usize) -> usize, extent: usize) -> Option<usize> {
        let moved: i64 = self.steps.iter().map(|&(axis, step)| step * place(axis) as i64).sum();
        let at = self.constant + moved;
        let whole = at % self.divisor == 0;
        usize::try_from(at / self.divisor).ok().filter(|&at| whole && at < extent)
    }
}

impl Op {
    /// For each axis of an operand, where the elements of the result are from; of an operation that gives elements other places
    /// axis by axis. An element is of the first operand that has it, or else the [fill](Op::fill).
    pub fn coordinates(&self, operand: usize, shapes: &[&Shape]) -> Option<Vec<Coordinate>> {
        let rank = shapes[operand].rank();
        match self {
            Op::Broadcast(axes) => Some(axes.iter().map(|&axis| Coordinate::along(axis)).collect()),
            Op::Transpose(order) => {
                let at = |own: usize| order.iter().position(|&axis| axis == own).expect("an order has every axis");
                Some((0..rank).map(|own| Coordinate::along(at(own))).collect())
            }
            _ => None,
        }
    }
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

/// Repetition along new axes. `T[S] -> T[R]`, axis `i` of `S` being axis `axes[i]` of `R`. The gradient sums over the new axes.
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

/// Another order of axes. `T[S] -> T[R]`, axis `i` of `R` being axis `order[i]` of `S`. The gradient goes back the same way.
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
