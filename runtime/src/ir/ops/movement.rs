//! Operations that rename elements and compute nothing.

use super::{Body, OpDef};
use crate::ir::Op;

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
