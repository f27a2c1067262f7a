//! The batch first: in memory it is the outermost axis, so that every stride is static and the rows of a kernel follow the batch.
//!
//! A node with the batch at another axis is computed with the batch first, and read in the order that was asked for.

use crate::ir::ops::Body;
use crate::ir::{Builder, Node, NodeId, Op};
use crate::types::{Shape, TensorType};

/// The same graph, in which maps and reductions have the batch first.
pub(super) fn batch_in_front(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let shape = match node.op.def().body {
        Body::Map(_) => &node.ty.shape,
        Body::Reduce(_) => &b[node.operands[0]].ty.shape,
        _ => return None,
    };
    let batch = shape.0.iter().position(|dim| dim.is_batch()).filter(|&axis| axis > 0)?;
    Some(in_front(b, &node.op, &node.operands, &node.ty, batch))
}

/// The operation with the batch, which is axis `batch` of its elements, first; then its result in the original order.
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
    // The axes that remain are in the order of `order`.
    let kept: Vec<usize> = order.iter().copied().filter(|axis| !axes.contains(axis)).collect();
    let mut wanted = kept.clone();
    wanted.sort_unstable();
    let back: Vec<usize> =
        wanted.iter().map(|axis| kept.iter().position(|other| other == axis).expect("it is kept")).collect();
    transposed(b, result, &back)
}

/// A reshape of a tensor whose batch is not the outermost axis. The axes before the batch have equally many elements in both
/// shapes, so they are moved to the end first, and back afterwards.
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

/// A tensor with its axes in another order. Two transposes in a row become one.
pub(super) fn transposed(b: &mut Builder, x: NodeId, order: &[usize]) -> NodeId {
    let (x, order) = match b[x].op.clone() {
        Op::Transpose(before) => (b[x].operands[0], order.iter().map(|&axis| before[axis]).collect()),
        _ => (x, order.to_vec()),
    };
    if order.is_sorted() { x } else { b.transpose(x, &order) }
}
