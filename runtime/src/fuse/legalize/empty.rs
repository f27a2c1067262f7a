//! Tensors without elements: nothing computes them, and what is computed from them is known.

use super::Replacement;
use crate::ir::ops::{Body, Reduction};
use crate::ir::{Graph, NodeId, Op};
use crate::types::Shape;

/// Whether there are no elements.
pub(crate) fn is_empty(shape: &Shape) -> bool {
    shape.0.iter().any(|dim| dim.factor() == 0)
}

/// A node without elements, or one computed from none.
pub(super) fn known(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let node = &graph[id];
    if node.op.is_leaf() {
        return None;
    }
    if is_empty(&node.ty.shape) {
        return Some(|b, node, _| b.push(Op::Const(0.0), &[], node.ty.clone()));
    }
    let from_none = node.operands.first().is_some_and(|&operand| is_empty(&graph[operand].ty.shape));
    match node.op.def().body {
        Body::Move if matches!(node.op, Op::Concat(_)) => {
            let some = node.operands.iter().any(|&operand| is_empty(&graph[operand].ty.shape));
            some.then_some(|b, node, operands| {
                let full = |x: &NodeId| !is_empty(&b.graph()[*x].ty.shape);
                let operands: Vec<NodeId> = operands.iter().copied().filter(full).collect();
                b.push(node.op.clone(), &operands, node.ty.clone())
            })
        }
        _ if !from_none => None,
        Body::Reduce(_) => Some(|b, node, _| {
            let value = match node.op.def().reduction() {
                Some(Reduction::Sum) | None => 0.0,
                Some(Reduction::Max) => f64::NEG_INFINITY,
                Some(Reduction::Mean | Reduction::Variance) => f64::NAN,
            };
            b.constant(value, &node.ty.shape)
        }),
        Body::Gather => Some(|b, node, _| b.constant(f64::NAN, &node.ty.shape)),
        Body::Move => Some(|b, node, _| {
            let value = node.op.fill().unwrap_or(0.0);
            b.push(Op::Const(value), &[], node.ty.clone())
        }),
        _ => Some(|b, node, _| b.push(Op::Const(0.0), &[], node.ty.clone())),
    }
}
