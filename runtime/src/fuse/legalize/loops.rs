//! Loops as kernels run them: their bodies in one piece, their sequences in memory.

use super::movement::{as_dtype, as_numbers};
use crate::fuse::domain::is_memory;
use crate::fuse::view::bases;
use crate::ir::rewrite::{NodeMap, reordered};
use crate::ir::{Builder, Graph, Node, NodeId, Op};
use crate::types::{DType, Dim, TensorType};

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

/// How many views of a sequence are looked through.
const NEAR: usize = 8;

/// `len` indices of an axis of an element, from `start` on: those of the sequence, as far as padding leaves any. What is a gradient of
/// a part of the states is zero everywhere else.
pub(super) fn part_of_element(b: &mut Builder, element: NodeId, [axis, start, len]: [usize; 3]) -> NodeId {
    let (carry, sequence) = (b[element].operands[0], b[element].operands[1]);
    let Some(part) = part_of_padded(b, (sequence, NEAR), [axis + 1, start, len]) else {
        return b.slice(element, axis, start, len, 1);
    };
    match b.graph().constant(part) {
        Some(value) => {
            let shape = b.shape(part).without(&[0]);
            b.constant(value, &shape)
        }
        None => b.element(carry, part),
    }
}

/// The same of a tensor, if it has been padded along this axis.
fn part_of_padded(b: &mut Builder, (x, near): (NodeId, usize), [axis, start, len]: [usize; 3]) -> Option<NodeId> {
    let near = near.checked_sub(1)?;
    let inner = b[x].operands.first().copied()?;
    match b[x].op {
        Op::Pad { axis: along, before, inside: 0, value, .. } if along == axis => {
            let after = before + b.shape(inner).0[axis].factor();
            let (first, last) = (start.max(before), (start + len).min(after));
            if first >= last {
                return Some(filled(b, x, axis, len, value));
            }
            let own = b.slice(inner, axis, first - before, last - first, 1);
            let around = [first - start, start + len - last];
            Some(if around == [0, 0] { own } else { b.pad(own, axis, around, value) })
        }
        Op::Pad { axis: along, before, inside: 0, after, value } => {
            let part = part_of_padded(b, (inner, near), [axis, start, len])?;
            match b.graph().constant(part) {
                Some(other) if other.to_bits() != value.to_bits() => None,
                Some(_) => Some(filled(b, x, axis, len, value)),
                None => Some(b.pad(part, along, [before, after], value)),
            }
        }
        Op::Slice { axis: along, start: first, len: count, step } if along != axis => {
            let part = part_of_padded(b, (inner, near), [axis, start, len])?;
            Some(b.slice(part, along, first, count, step))
        }
        _ => None,
    }
}

/// A number in place of `len` indices of an axis.
fn filled(b: &mut Builder, x: NodeId, axis: usize, len: usize, value: f64) -> NodeId {
    let mut shape = b.shape(x);
    shape.0[axis] = Dim::Fixed(len);
    b.constant(value, &shape)
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
