//! Loops as kernels run them: their bodies in one piece, their sequences in memory.

use super::movement::{as_dtype, as_numbers};
use crate::fuse::domain::is_memory;
use crate::fuse::view::bases;
use crate::ir::rewrite::{NodeMap, reordered};
use crate::ir::{Builder, Graph, Node, NodeId, Op};
use crate::types::{DType, TensorType};

/// Truth values are never in memory: those of each step are kept as numbers.
pub(super) fn truth_of_steps(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    if node.ty.dtype != DType::Bool || !matches!(node.op, Op::Element | Op::Collect { .. }) {
        return None;
    }
    let numbers = as_numbers(b, node.operands[1]);
    let of_step = b.push(node.op.clone(), &[node.operands[0], numbers], TensorType::f32(node.ty.shape.clone()));
    Some(as_dtype(b, of_step, DType::Bool))
}

/// A sequence that is made of a constant or of positions is computed before its loop.
pub(super) fn made_sequence(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let (Op::Element, &[carry, sequence]) = (&node.op, &node.operands[..]) else { return None };
    let made = |base: NodeId| b[base].op.is_leaf() && !is_memory(&b[base].op);
    if !bases(b.graph(), sequence).into_iter().any(made) {
        return None;
    }
    let computed = match b.ty(sequence).dtype {
        DType::F32 => b.offset(sequence, -0.0),
        _ => {
            let number = b.to_float(sequence);
            let ty = b.ty(sequence).clone();
            b.push(Op::ToIndex, &[number], ty)
        }
    };
    Some(b.push(Op::Element, &[carry, computed], node.ty.clone()))
}

/// The same graph with the body of each loop in one piece, right before its history.
pub(super) fn in_one_piece(graph: Graph) -> (Graph, NodeMap) {
    let loops = graph.loops();
    if loops.is_empty() {
        let nodes = graph.nodes.len();
        return (graph, NodeMap::identity(nodes));
    }
    let heads = graph.heads();
    let mut order = Vec::with_capacity(graph.nodes.len());
    for id in graph.ids().filter(|id| heads[id.index()].is_none()) {
        if let Some(run) = loops.iter().find(|run| run.history == id) {
            order.push(run.carry);
            order.extend(&run.body);
        }
        order.push(id);
    }
    // A loop without a history computes nothing.
    reordered(graph, &order)
}
