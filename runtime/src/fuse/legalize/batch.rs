//! The batch in front: in memory it is the outermost axis, so that every step is known, and rows of a kernel are rows of it.
//!
//! What has it elsewhere is computed with the batch in front, and read in the order that was asked for.

use crate::ir::ops::Body;
use crate::ir::{Builder, Node, NodeId, Op};
use crate::types::{Shape, TensorType};

/// Maps and reductions have the batch in front of the elements that they compute.
pub(super) fn batch_in_front(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let shape = match node.op.def().body {
        Body::Map(_) => &node.ty.shape,
        Body::Reduce(_) => &b[node.operands[0]].ty.shape,
        _ => return None,
    };
    let batch = shape.0.iter().position(|dim| dim.is_batch()).filter(|&axis| axis > 0)?;
    Some(in_front(b, &node.op, &node.operands, &node.ty, batch))
}

/// The operation with the batch, which is axis `batch` of its elements, in front; then its result in the order that it had.
fn in_front(b: &mut Builder, op: &Op, operands: &[NodeId], ty: &TensorType, batch: usize) -> NodeId {
    let rank = b.shape(operands[0]).rank();
    let order: Vec<usize> = std::iter::once(batch).chain((0..rank).filter(|&axis| axis != batch)).collect();
    let operands: Vec<NodeId> = operands.iter().map(|&operand| transposed(b, operand, &order)).collect();
    let at = |axis: usize| order.iter().position(|&other| other == axis).expect("an order has every axis");
    let Some(axes) = op.axes() else {
        let shape = Shape(order.iter().map(|&axis| ty.shape.0[axis]).collect());
        let result = b.push(op.clone(), &operands, TensorType { dtype: ty.dtype, shape });
        let back: Vec<usize> = (0..rank).map(at).collect();
        return transposed(b, result, &back);
    };
    let mut moved: Vec<usize> = axes.iter().map(|&axis| at(axis)).collect();
    moved.sort_unstable();
    let result = b.apply(op.over(moved), &operands);
    // What is left has the order of `order`.
    let kept: Vec<usize> = order.iter().copied().filter(|axis| !axes.contains(axis)).collect();
    let mut wanted = kept.clone();
    wanted.sort_unstable();
    let back: Vec<usize> =
        wanted.iter().map(|axis| kept.iter().position(|other| other == axis).expect("it is kept")).collect();
    transposed(b, result, &back)
}

/// Another shape for elements of which the batch is not the outermost axis: the axes before it have as many elements in both shapes,
/// so they change places with the rest first, and back again.
pub(super) fn reshaped_after_other_axes(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let first = |shape: &Shape| shape.0.iter().position(|dim| dim.is_batch());
    if node.op != Op::Reshape {
        return None;
    }
    let from = b.shape(node.operands[0]);
    let before = first(&from).filter(|&before| before > 0)?;
    let order: Vec<usize> = (before..from.rank()).chain(0..before).collect();
    let turned = transposed(b, node.operands[0], &order);
    let dims = &node.ty.shape.0;
    let (other, batch) = dims.split_at(first(&node.ty.shape)?);
    let reshaped = b.reshape(turned, Shape([batch, other].concat()));
    let back: Vec<usize> = (batch.len()..dims.len()).chain(0..batch.len()).collect();
    Some(transposed(b, reshaped, &back))
}

/// A tensor with its axes in another order; of one that was transposed before, that one in the order of both.
pub(super) fn transposed(b: &mut Builder, x: NodeId, order: &[usize]) -> NodeId {
    let (x, order) = match b[x].op.clone() {
        Op::Transpose(before) => (b[x].operands[0], order.iter().map(|&axis| before[axis]).collect()),
        _ => (x, order.to_vec()),
    };
    if order.is_sorted() { x } else { b.transpose(x, &order) }
}
