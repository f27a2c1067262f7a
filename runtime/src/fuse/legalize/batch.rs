//! The batch first: in memory it is the outermost axis, so that every stride is static and the rows of a kernel follow the batch.
//!
//! A node with the batch at another axis is computed with the batch first, and read in the order that was asked for.

use super::Replacement;
use crate::ir::ops::Body;
use crate::ir::{Builder, Graph, NodeId, Op, Output};
use crate::types::{Shape, TensorType};

/// The same graph, in which maps and reductions have the batch first.
pub(super) fn batch_in_front(graph: Graph) -> Graph {
    if graph.ids().all(|id| misplaced(&graph, id).is_none()) {
        return graph;
    }
    let mut b = Builder::new(Graph { slots: graph.slots.clone(), ..Graph::default() });
    let mut map: Vec<NodeId> = Vec::new();
    for id in graph.ids() {
        let node = &graph[id];
        b.enter(node.layer.clone());
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| map[operand.index()]).collect();
        map.push(match misplaced(&graph, id) {
            None => b.push(node.op.clone(), &operands, node.ty.clone()),
            Some(batch) => in_front(&mut b, &node.op, &operands, &node.ty, batch),
        });
    }
    let moved = graph.outputs.iter().map(|output| Output { role: output.role.clone(), node: map[output.node.index()] });
    b.graph_mut().outputs = moved.collect();
    b.finish()
}

/// The axis of the batch among the elements that a node computes, if it is not the first.
fn misplaced(graph: &Graph, id: NodeId) -> Option<usize> {
    let node = &graph[id];
    let shape = match node.op.def().body {
        Body::Map(_) => &node.ty.shape,
        Body::Reduce(_) => &graph[node.operands[0]].ty.shape,
        _ => return None,
    };
    shape.0.iter().position(|dim| dim.is_batch()).filter(|&axis| axis > 0)
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
pub(super) fn reshaped_after_other_axes(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let node = &graph[id];
    let first = |shape: &Shape| shape.0.iter().position(|dim| dim.is_batch());
    let misplaced = node.op == Op::Reshape && first(&graph[node.operands[0]].ty.shape) > Some(0);
    misplaced.then_some(|b, node, operands| {
        let first = |shape: &Shape| shape.0.iter().position(|dim| dim.is_batch()).expect("it has a batch");
        let from = b.shape(operands[0]);
        let (before, rank) = (first(&from), from.rank());
        let order: Vec<usize> = (before..rank).chain(0..before).collect();
        let turned = transposed(b, operands[0], &order);
        let (dims, before) = (&node.ty.shape.0, first(&node.ty.shape));
        let (other, batch) = dims.split_at(before);
        let reshaped = b.reshape(turned, Shape([batch, other].concat()));
        let back: Vec<usize> = (batch.len()..dims.len()).chain(0..batch.len()).collect();
        transposed(b, reshaped, &back)
    })
}

/// A tensor with its axes in another order. Two transposes in a row become one.
pub(super) fn transposed(b: &mut Builder, x: NodeId, order: &[usize]) -> NodeId {
    let (x, order) = match b.graph()[x].op.clone() {
        Op::Transpose(before) => (b.graph()[x].operands[0], order.iter().map(|&axis| before[axis]).collect()),
        _ => (x, order.to_vec()),
    };
    if order.is_sorted() { x } else { b.transpose(x, &order) }
}
