//! Tensors without elements: nothing computes them, and what is computed from them is known.

use crate::ir::ops::Body;
use crate::ir::{Builder, Node, NodeId, Op};
use crate::types::Shape;

/// Whether there are no elements.
pub(crate) fn is_empty(shape: &Shape) -> bool {
    shape.0.iter().any(|dim| dim.factor() == 0)
}

/// A node without elements, or one computed from none.
pub(super) fn known(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    if node.op.is_leaf() {
        return None;
    }
    // A loop without a state may still collect something.
    if matches!(node.op, Op::Carry { .. } | Op::History { .. }) {
        return None;
    }
    if is_empty(&node.ty.shape) {
        return Some(b.push(Op::Const(0.0), &[], node.ty.clone()));
    }
    let without = |b: &Builder, x: NodeId| is_empty(&b[x].ty.shape);
    let from_none = node.operands.first().is_some_and(|&operand| without(b, operand));
    match node.op.def().body {
        Body::Loop => None,
        Body::Move if matches!(node.op, Op::Concat(_)) => {
            let full: Vec<NodeId> = node.operands.iter().copied().filter(|&x| !without(b, x)).collect();
            (full.len() < node.operands.len()).then(|| b.push(node.op.clone(), &full, node.ty.clone()))
        }
        _ if !from_none => None,
        Body::Reduce(reduction) => Some(b.constant(reduction.of_none, &node.ty.shape)),
        Body::Gather => Some(b.constant(f64::NAN, &node.ty.shape)),
        Body::Move => {
            let value = node.op.fill().unwrap_or(0.0);
            Some(b.push(Op::Const(value), &[], node.ty.clone()))
        }
        _ => Some(b.push(Op::Const(0.0), &[], node.ty.clone())),
    }
}
