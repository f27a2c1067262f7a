//! Rewrites what kernels cannot compute as it is.
//!
//! In: any graph that verifies. Out: a graph of operations that kernels have. Products become products of matrices, reductions go
//! along rows, down columns, over everything or within rows, movement that no access can express becomes maps and views, and the
//! batch comes first. Moments along rows, or over everything, take two passes, mean first. Long sums within rows are sums of sums.
//! A reduction along rows of one element is that element. What is broadcast in one shape and read in another is computed in
//! between, and so is what is transposed and then repeated. Truth values are never stored, so those of another shape are computed in
//! the shape in which they are used. A loss, metric or probe that is a parameter becomes a copy of it, because a step overwrites the
//! parameter. So does an update that is a reduction: its result is known before anything may be overwritten. The body of a loop is
//! in one piece. Products that would be kept for the gradient, and are larger than what they are made of, are written twice.

pub(super) mod again;
mod batch;
pub(super) mod dots;
pub(super) mod empty;
mod folds;
mod loops;
mod movement;
mod reductions;

use std::collections::HashMap;

use super::domain::{Domain, ReductionAxes, is_memory, reduction_axes_over};
use super::view::memory_order;
use crate::ir::ops::{Body, Form};
use crate::ir::rewrite::{NodeMap, apply_in_turn, rewrite};
use crate::ir::{Builder, Graph, Kinds, Node, NodeId, Op, Output, Role, Rule};
use crate::types::{DType, Dim, Shape, TensorType};

/// All rules, first those for tensors of any axes, then those for what kernels go over as matrices. Each sees what the ones
/// before it have left. A rule that needs operations of some kind in the graph stands beside that: it need not be for these alone, as
/// a map of what is concatenated is not.
const RULES: &[(Kinds, Rule)] = &[
    (Kinds::ALL, Rule { name: "empty", apply: empty::known }),
    (Kinds::SCATTER, Rule { name: "scatter-of-batches", apply: movement::scattered_rows_of_batches }),
    (Kinds::FOLD, Rule { name: "fast-fold-of-dot", apply: folds::of_product }),
    (Kinds::FOLD, Rule { name: "fast-fold-of-map", apply: folds::of_map }),
    (Kinds::FOLD, Rule { name: "fold-as-sum", apply: movement::fold }),
    (Kinds::LOOP, Rule { name: "truth-of-steps", apply: loops::truth_of_steps }),
    (Kinds::LOOP, Rule { name: "made-sequence", apply: loops::made_sequence }),
    (Kinds::CONCAT, Rule { name: "concat-as-pads", apply: movement::concat }),
    (Kinds::CONCAT, Rule { name: "map-of-parts", apply: movement::map_of_parts }),
    (Kinds::PAD, Rule { name: "pad-inside", apply: movement::padded_inside }),
    (Kinds::ALL, Rule { name: "moved-leaf", apply: movement::moved_leaf }),
    (Kinds::WINDOWS, Rule { name: "fast-sum-of-windows", apply: dots::of_windows }),
    (Kinds::WINDOWS, Rule { name: "fast-dot-in-runs", apply: dots::with_terms_left_out }),
    (Kinds::WINDOWS, Rule { name: "dot-in-runs", apply: dots::with_all_terms }),
    (Kinds::ALL, Rule { name: "dot-as-matrices", apply: dots::product }),
    (Kinds::ALL, Rule { name: "truth-in-its-shape", apply: truth_of_another_shape }),
    (Kinds::ALL, Rule { name: "batch-in-front", apply: batch::batch_in_front }),
    (Kinds::ALL, Rule { name: "reshape-after-batch", apply: batch::reshaped_after_other_axes }),
    (Kinds::ALL, Rule { name: "moved-truth", apply: movement::moved_without_numbers }),
    (Kinds::ALL, Rule { name: "reduce-leading-axes", apply: reductions::down_leading_axes }),
    (Kinds::ALL, Rule { name: "moments-in-two-passes", apply: moments_in_two_passes }),
    (Kinds::ALL, Rule { name: "reduce-axis-by-axis", apply: reductions::axis_by_axis }),
    (Kinds::ALL, Rule { name: "sum-in-parts", apply: reductions::sum_in_parts }),
    (Kinds::ALL, Rule { name: "position-of-one", apply: position_of_one }),
    (Kinds::ALL, Rule { name: "row-of-one", apply: row_of_one }),
    (Kinds::ALL, Rule { name: "moved-leaf", apply: movement::moved_leaf }),
    (Kinds::ALL, Rule { name: "truth-in-its-shape", apply: truth_of_another_shape }),
    (Kinds::ALL, Rule { name: "repeated-in-its-shape", apply: repeated_in_another_shape }),
    (Kinds::TRANSPOSE, Rule { name: "repeated-transposition", apply: movement::repeated_transposition }),
];

/// The same computation as a graph that kernels can compute.
pub fn legalize(graph: &Graph) -> Graph {
    legalize_mapped(graph).0
}

/// The same, and where nodes are in it.
pub fn legalize_mapped(graph: &Graph) -> (Graph, NodeMap) {
    let (graph, map) = apply_in_turn(graph.clone(), RULES);
    let (graph, shared) = shared_views(copies(graph));
    let map = map.then(&shared);
    let (graph, map) = match Kinds::in_graph(&graph).has_any(Kinds::LOOP) {
        true => with_whole_loops(graph, map),
        false => (graph, map),
    };
    let (graph, again) = again::products_after_the_loss(graph);
    (graph, map.then(&again))
}

/// Loops as kernels run them. Never in line: most programs have none.
#[inline(never)]
fn with_whole_loops(graph: Graph, map: NodeMap) -> (Graph, NodeMap) {
    let (graph, copied) = loops::copied_for_inner_loops(graph);
    let (graph, moved) = loops::in_one_piece(graph);
    (graph, map.then(&copied).then(&moved))
}

/// Each product and each reduction has its own view of what it reads. Of equal views one is left for all of them, so that it is copied
/// once where it has to be.
fn shared_views(graph: Graph) -> (Graph, NodeMap) {
    let mut known: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    rewrite(graph, |b, _, node| {
        let moves = matches!(node.op.def().body, Body::View | Body::Move);
        let first = node.operands.first().copied().filter(|_| moves);
        let (same, view) = (node.clone(), b.add_node(node));
        let Some(first) = first else { return Some(view) };
        let views = known.entry(first).or_default();
        let other = views.iter().copied().find(|&other| {
            let Node { op, operands, ty, .. } = &b[other];
            let fill = op.fill().map(f64::to_bits) == same.op.fill().map(f64::to_bits);
            *op == same.op && *operands == same.operands && *ty == same.ty && fill
        });
        Some(other.unwrap_or_else(|| {
            views.push(view);
            view
        }))
    })
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
        b.enter(b[node].origin.clone());
        b.graph_mut().outputs[index].node = b.offset(node, -0.0);
    }
    b.finish()
}

fn moments_in_two_passes(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let axes = node.op.axes()?;
    let x = node.operands[0];
    let shape = b.shape(x);
    let canonical = reductions::is_canonical(axes, shape.rank());
    if canonical && matches!(reduction_axes_over(&node.op, &shape), Some((_, ReductionAxes::DownColumns))) {
        return None;
    }
    match node.op.def().reduction()?.form {
        Form::Mean => Some(center(b, x, axes)),
        Form::Variance => {
            let center = center(b, x, axes);
            let center = b.broadcast_over(center, &shape, axes);
            let near = b.sub(x, center);
            let square = b.mul(near, near);
            let square = b.mean(square, axes);
            // The center is rounded: what is left of the mean is taken off.
            let rest = b.mean(near, axes);
            let excess = b.mul(rest, rest);
            let variance = b.sub(square, excess);
            let zero = b.constant_like(0.0, variance);
            let variance = b.max(zero, variance);
            // NaN for infinity.
            Some(b.apply(Op::MulAdd, &[variance, zero, variance]))
        }
        Form::Total(_) => None,
    }
}

fn center(b: &mut Builder, x: NodeId, axes: &[usize]) -> NodeId {
    let mean = b.mean(x, axes);
    let [center, ..] = b.mean_between(mean, x, axes);
    center
}

fn row_of_one(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let &x = node.operands.first()?;
    let shape = &b[x].ty.shape;
    let (reduction, over) = reduction_axes_over(&node.op, shape)?;
    let along = matches!(over, ReductionAxes::AlongRow | ReductionAxes::Within) && reduction.total().is_some();
    if !along || !node.op.axes()?.iter().all(|&axis| shape.0[axis] == Dim::Fixed(1)) {
        return None;
    }
    let only = b.reshape(x, node.ty.shape.clone());
    // A sum is never -0.
    Some(if reduction.adds_up { b.offset(only, 0.0) } else { only })
}

/// The position along an axis of one element is 0. As an `iota` it would be taken for the position of the row.
fn position_of_one(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let one = matches!(node.op, Op::Iota(axis) if node.ty.shape.0[axis] == Dim::Fixed(1));
    one.then(|| {
        let zero = b.constant(0.0, &node.ty.shape);
        b.to_index(zero)
    })
}

/// A broadcast repeats along rows or columns in its own shape only. Under another shape it is read as the numbers that it
/// expands to. Adding -0 changes none of them.
fn repeated_in_another_shape(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    if node.op != Op::Reshape || node.ty.dtype != DType::F32 {
        return None;
    }
    let inner = &b[b.graph().behind_reshapes(node.operands[0])];
    let repeats = matches!(&inner.op, Op::Broadcast(axes) if !axes.is_empty());
    let moves = repeats && Domain::of(&inner.ty.shape) != Domain::of(&node.ty.shape);
    moves.then(|| {
        let numbers = b.offset(node.operands[0], -0.0);
        b.reshape(numbers, node.ty.shape.clone())
    })
}

/// A row of a tensor of three axes is not a row of the matrix that its kernel computes, and would have to come from memory. So
/// would a column, a vector that does not follow the batch, which lies in memory as one row, and one truth value of what is in memory, if the
/// kernel that computes it is another one.
fn truth_of_another_shape(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    if !node.op.is_view() || node.ty.dtype != DType::Bool {
        return None;
    }
    let operand = &b[node.operands[0]].ty.shape;
    let reshaped = node.op == Op::Reshape && Domain::of(operand) != Domain::of(&node.ty.shape);
    let turned = memory_order(&node.ty.shape).is_some();
    let large = node.ty.shape.rank().max(operand.rank()) > 2;
    let one = operand.rank() == 0 && !is_of_scalars(b.graph(), node.operands[0]);
    let far = large || matches!(operand.0[..], [Dim::Fixed(_)]) || one || reshaped || turned;
    far.then(|| view_of_truth(b, &node.op, node.operands[0], &node.ty.shape))
}

/// Whether a number is made of those that every kernel is passed, and of nothing in memory.
fn is_of_scalars(graph: &Graph, x: NodeId) -> bool {
    let Node { op, operands, .. } = &graph[x];
    let scalar = op.is_leaf() && !is_memory(op);
    scalar || op.is_map() && operands.iter().all(|&operand| is_of_scalars(graph, operand))
}

/// A view of truth values, as truth values made of views.
pub(super) fn view_of_truth(b: &mut Builder, view: &Op, x: NodeId, shape: &Shape) -> NodeId {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::rewrite::Readers;

    #[test]
    fn rules_for_kinds_that_a_graph_has_none_of_apply_to_none_of_its_nodes() {
        let mut b = Builder::new(Graph::default());
        let x = b.new_input("x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(3)])));
        let y = b.tanh(x);
        let product = b.mul(x, y);
        let sum = b.sum(product, &[1]);
        let shape = b.shape(x);
        let spread = b.broadcast(sum, &shape, &[0]);
        b.sub(y, spread);
        let graph = b.finish();
        let (kinds, readers) = (Kinds::in_graph(&graph), Readers::new(&graph));
        let left_out = RULES.iter().filter(|(of, _)| !kinds.has_any(*of));
        assert_eq!(left_out.clone().count(), RULES.iter().filter(|(of, _)| *of != Kinds::ALL).count());
        let mut scratch = Builder::new(graph.clone());
        for (_, rule) in left_out {
            for (index, node) in graph.nodes.iter().enumerate() {
                assert_eq!((rule.apply)(&mut scratch, node, readers.of(index)), None, "{}: {node:?}", rule.name);
            }
        }
    }
}
