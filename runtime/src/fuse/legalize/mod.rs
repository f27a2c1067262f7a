//! Rewrites what kernels cannot compute as it is.
//!
//! In: any graph that verifies. Out: a graph of operations that kernels have. Products become products of matrices, reductions
//! go along rows, down columns, over everything or within rows, movement that no access can express becomes maps and views, and
//! the batch comes first. Moments along rows, or over everything, take two passes, mean first. A reduction along rows of one element is
//! that element. What is broadcast in one shape and read in another is computed in between. Truth values are never stored, so
//! those of another shape are computed in the shape in which they are used. A loss, metric or probe that is a parameter becomes
//! a copy of it, because a step overwrites the parameter. So does an update that is a reduction: its result is known before
//! anything may be overwritten.

mod batch;
pub(super) mod dots;
pub(super) mod empty;
mod movement;
mod reductions;

use super::domain::{Domain, Way, way};
use super::view::memory_order;
use crate::ir::ops::Reduction;
use crate::ir::{Builder, Graph, Node, NodeId, Op, Output, Role};
use crate::types::{DType, Dim, Shape, TensorType};

/// The same computation as a graph that kernels can compute.
pub fn legalize(graph: &Graph) -> Graph {
    let tensors = [
        empty::known,
        movement::scattered_rows_of_batches,
        movement::fold,
        movement::concat,
        movement::padded_inside,
        movement::moved_leaf,
        dots::product,
        truth_of_another_shape,
    ];
    let graph = batch::batch_in_front(tensors.into_iter().fold(graph.clone(), rewrite));
    let matrices = [
        batch::reshaped_after_other_axes,
        movement::moved_without_numbers,
        reductions::down_leading_axes,
        moments_in_two_passes,
        reductions::axis_by_axis,
        position_of_one,
        row_of_one,
        truth_of_another_shape,
        repeated_in_another_shape,
    ];
    copies(matrices.into_iter().fold(graph, rewrite))
}

/// Adding -0 changes no number, not even -0.
fn copies(graph: Graph) -> Graph {
    let is_copied = |output: &Output| {
        let op = &graph[graph.behind_reshapes(output.node)].op;
        match output.role {
            Role::Loss | Role::Metric(_) | Role::Probe(_) => matches!(op, Op::Param(_)),
            Role::Update(_) => op.axes().is_some(),
            Role::Output(_) | Role::Gradient(_) => false,
        }
    };
    let copied: Vec<bool> = graph.outputs.iter().map(is_copied).collect();
    let mut b = Builder::new(graph);
    for (index, _) in copied.into_iter().enumerate().filter(|(_, copied)| *copied) {
        let node = b.graph().outputs[index].node;
        b.enter(b.graph()[node].layer.clone());
        b.graph_mut().outputs[index].node = b.offset(node, -0.0);
    }
    b.finish()
}

/// What takes the place of a node, given its operands in the new graph.
type Replacement = fn(&mut Builder, &Node, &[NodeId]) -> NodeId;

fn moments_in_two_passes(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let axes = graph[id].op.axes()?;
    let canonical = reductions::is_canonical(axes, graph[graph[id].operands[0]].ty.shape.rank());
    let down = canonical && matches!(way(graph, id), Some((_, Way::DownColumns)));
    match graph[id].op.def().reduction()? {
        Reduction::Mean if !down => {
            Some(|b, node, operands| center(b, operands[0], node.op.axes().expect("a mean has axes")))
        }
        Reduction::Variance if !down => Some(|b, node, operands| {
            let axes = node.op.axes().expect("a variance has axes");
            let shape = b.shape(operands[0]);
            let center = center(b, operands[0], axes);
            let center = b.broadcast_over(center, &shape, axes);
            let near = b.sub(operands[0], center);
            let square = b.mul(near, near);
            let square = b.mean(square, axes);
            // The center is rounded: what is left of the mean is taken off.
            let rest = b.mean(near, axes);
            let excess = b.mul(rest, rest);
            let variance = b.sub(square, excess);
            let zero = b.constant_like(0.0, variance);
            let variance = b.max(zero, variance);
            // NaN for infinity.
            b.apply(Op::MulAdd, &[variance, zero, variance])
        }),
        _ => None,
    }
}

fn center(b: &mut Builder, x: NodeId, axes: &[usize]) -> NodeId {
    let mean = b.mean(x, axes);
    let [center, ..] = b.mean_between(mean, x, axes);
    center
}

fn row_of_one(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let along = matches!(way(graph, id), Some((Reduction::Sum | Reduction::Max, Way::AlongRow | Way::Within)));
    let extents = &graph[*graph[id].operands.first()?].ty.shape.0;
    let one = along && graph[id].op.axes()?.iter().all(|&axis| extents[axis] == Dim::Fixed(1));
    one.then_some(|b, node, operands| {
        let only = b.reshape(operands[0], node.ty.shape.clone());
        // A sum is never -0.
        if matches!(node.op, Op::Sum(_)) { b.offset(only, 0.0) } else { only }
    })
}

/// The position along an axis of one element is 0. As an `iota` it would be taken for the position of the row.
fn position_of_one(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let node = &graph[id];
    let one = matches!(node.op, Op::Iota(axis) if node.ty.shape.0[axis] == Dim::Fixed(1));
    one.then_some(|b, node, _| {
        let zero = b.constant(0.0, &node.ty.shape);
        b.to_index(zero)
    })
}

/// A broadcast repeats along rows or columns in its own shape only. Under another shape it is read as the numbers that it
/// expands to. Adding -0 changes none of them.
fn repeated_in_another_shape(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let node = &graph[id];
    if node.op != Op::Reshape || node.ty.dtype != DType::F32 {
        return None;
    }
    let inner = &graph[graph.behind_reshapes(id)];
    let repeats = matches!(&inner.op, Op::Broadcast(axes) if !axes.is_empty());
    let moves = repeats && Domain::of(&inner.ty.shape) != Domain::of(&node.ty.shape);
    moves.then_some(|b, node, operands| {
        let numbers = b.offset(operands[0], -0.0);
        b.reshape(numbers, node.ty.shape.clone())
    })
}

/// A row of a tensor of three axes is not a row of the matrix that its kernel computes, and would have to come from memory. So
/// would a column, and a vector that does not follow the batch, which lies in memory as one row.
fn truth_of_another_shape(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let (node, view) = (&graph[id], graph[id].op.is_view());
    if !view || node.ty.dtype != DType::Bool {
        return None;
    }
    let operand = &graph[node.operands[0]].ty.shape;
    let reshaped = node.op == Op::Reshape && Domain::of(operand) != Domain::of(&node.ty.shape);
    let turned = memory_order(&node.ty.shape).is_some();
    let large = node.ty.shape.rank().max(operand.rank()) > 2;
    let far = large || matches!(operand.0[..], [Dim::Fixed(_)]) || reshaped || turned;
    far.then_some(|b, node, operands| view_of_truth(b, &node.op, operands[0], &node.ty.shape))
}

/// A view of truth values, as truth values made of views.
fn view_of_truth(b: &mut Builder, view: &Op, x: NodeId, shape: &Shape) -> NodeId {
    let node = b.graph()[x].clone();
    let ty = TensorType { dtype: node.ty.dtype, shape: shape.clone() };
    match node.op {
        Op::Const(value) => b.constant(value, shape),
        _ if node.ty.dtype != DType::Bool || !node.op.is_map() => b.push(view.clone(), &[x], ty),
        op => {
            let operands: Vec<NodeId> = node.operands.iter().map(|&x| view_of_truth(b, view, x, shape)).collect();
            b.push(op, &operands, ty)
        }
    }
}

/// The graph with some nodes replaced; in most graphs none are.
fn rewrite(graph: Graph, replacement: fn(&Graph, NodeId) -> Option<Replacement>) -> Graph {
    if graph.ids().all(|id| replacement(&graph, id).is_none()) {
        return graph;
    }
    let empty = Graph { slots: graph.slots.clone(), ..Graph::default() };
    let mut b = Builder::new(empty);
    let mut map: Vec<NodeId> = Vec::new();
    for id in graph.ids() {
        let node = &graph[id];
        b.enter(node.layer.clone());
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| map[operand.index()]).collect();
        map.push(match replacement(&graph, id) {
            None => b.push(node.op.clone(), &operands, node.ty.clone()),
            Some(replace) => replace(&mut b, node, &operands),
        });
    }
    let moved = graph.outputs.iter().map(|output| Output { role: output.role.clone(), node: map[output.node.index()] });
    b.graph_mut().outputs = moved.collect();
    b.finish()
}
