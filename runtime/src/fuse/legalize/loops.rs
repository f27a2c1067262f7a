//! Loops as kernels run them: their bodies in one piece, their sequences in memory.

use super::movement::{as_dtype, as_numbers, computed};
use super::view_of_truth;
use crate::fuse::domain::is_memory;
use crate::fuse::view::{bases, is_view};
use crate::ir::rewrite::{NodeMap, reordered, rewrite};
use crate::ir::{Builder, Graph, Loop, Node, NodeId, Op};
use crate::types::{DType, Dim, TensorType};

/// Truth values are never in memory: those of each step are kept as numbers. What is the same at each step is made of what is
/// repeated: numbers made of it would come after the loop that keeps them.
pub(super) fn truth_of_steps(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    if node.ty.dtype != DType::Bool || !matches!(node.op, Op::Element | Op::Collect { .. }) {
        return None;
    }
    let (of, value) = (node.operands[0], node.operands[1]);
    if node.op != Op::Element {
        let (own, head) = (b.graph().heads()[value.index()], b[of].operands[0]);
        if !b.graph().is_within(own, Some(head)) {
            let axes: Vec<usize> = (1..node.ty.shape.rank()).collect();
            return Some(view_of_truth(b, &Op::Broadcast(axes), value, &node.ty.shape));
        }
    }
    let numbers = as_numbers(b, value);
    let of_step = b.push(node.op.clone(), &[of, numbers], TensorType::f32(node.ty.shape.clone()));
    Some(as_dtype(b, of_step, DType::Bool))
}

/// A sequence that is made of a constant or of positions is computed before its loop.
pub(super) fn made_sequence(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let (Op::Element, &[carry, sequence]) = (&node.op, &node.operands[..]) else { return None };
    let made = |base: NodeId| b[base].op.is_leaf() && !is_memory(&b[base].op);
    if !bases(b.graph(), sequence).into_iter().any(made) {
        return None;
    }
    let computed = computed(b, sequence);
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

/// What a loop inside of another reads of a step around it is in memory that no position moves in: elements and the state of the step
/// are copied there. So an access depends on the position of one loop, the innermost.
pub(super) fn copied_for_inner_loops(graph: Graph) -> (Graph, NodeMap) {
    let loops = graph.loops();
    if loops.iter().all(|run| graph.around(run.carry).is_none()) {
        let nodes = graph.nodes.len();
        return (graph, NodeMap::identity(nodes));
    }
    let heads = graph.heads();
    let mut read = vec![false; graph.nodes.len()];
    for run in loops.iter().filter(|run| graph.around(run.carry).is_some()) {
        let exits = run.collects.iter().chain([&run.history]).map(|&exit| graph[exit].operands[1]);
        // What a loop in the body leaves is there; what that begins with is read in the body.
        let is_exit = |id: &&NodeId| matches!(graph[**id].op, Op::History { .. } | Op::Collect { .. });
        let inner = loops.iter().filter(|inner| graph.around(inner.carry) == Some(run.carry));
        let exits = exits.chain(inner.map(|inner| graph[inner.carry].operands[0]));
        let mut open: Vec<NodeId> = run
            .body
            .iter()
            .filter(|id| !is_exit(id))
            .flat_map(|id| graph[*id].values())
            .copied()
            .chain(exits)
            .collect();
        let mut seen = vec![false; graph.nodes.len()];
        while let Some(id) = open.pop() {
            let head = heads[id.index()];
            if head.is_none() || head == Some(run.carry) || std::mem::replace(&mut seen[id.index()], true) {
                continue;
            }
            match &graph[id].op {
                Op::Carry { .. } | Op::Element => read[id.index()] = true,
                // These are never in memory, and what they show is read.
                op if is_view(&graph, id) || op.is_map() && graph[id].ty.dtype != DType::F32 => {
                    open.extend(&graph[id].operands);
                }
                _ => {}
            }
        }
    }
    let heads: Vec<Option<(usize, NodeId)>> = graph.ids().map(|id| head_of(&graph, id)).collect();
    let mut moved: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    rewrite(graph, |b, id, mut node| {
        // Which loop something is part of is no reading of its state.
        if let Some((at, head)) = heads[id.index()] {
            node.operands[at] = moved[head.index()];
        }
        let own = b.add_node(node);
        moved.push(own);
        Some(if read[id.index()] { computed(b, own) } else { own })
    })
}

/// The operand of a node that only says which loop it is part of, if that is the head of one.
fn head_of(graph: &Graph, id: NodeId) -> Option<(usize, NodeId)> {
    let at = match graph[id].op {
        Op::Carry { .. } => 1,
        Op::Element | Op::History { .. } => 0,
        _ => return None,
    };
    Some((at, *graph[id].operands.get(at)?))
}

/// The same graph with the body of each loop in one piece, right before its history.
pub(super) fn in_one_piece(graph: Graph) -> (Graph, NodeMap) {
    let loops = graph.loops();
    if loops.is_empty() {
        let nodes = graph.nodes.len();
        return (graph, NodeMap::identity(nodes));
    }
    let heads = graph.heads();
    let (order, placed) = (Vec::with_capacity(graph.nodes.len()), vec![false; graph.nodes.len()]);
    let mut pieces = Pieces { graph: &graph, loops: &loops, heads: &heads, order, placed };
    for id in graph.ids().filter(|id| heads[id.index()].is_none()) {
        pieces.with_bodies(id);
    }
    // A loop without a history computes nothing.
    let order = pieces.order;
    reordered(graph, &order)
}

/// Nodes in the order in which kernels compute them.
struct Pieces<'a> {
    graph: &'a Graph,
    loops: &'a [Loop],
    /// For every node, the head of the innermost loop that it is part of.
    heads: &'a [Option<NodeId>],
    order: Vec<NodeId>,
    placed: Vec<bool>,
}

impl Pieces<'_> {
    /// A node; ahead of a history, the body of its loop; what it collects right after it, as another loop may read that at once.
    fn with_bodies(&mut self, id: NodeId) {
        let graph = self.graph;
        let Some(run) = self.loops.iter().find(|run| run.history == id) else {
            let is_inside = |history: NodeId| graph.around(graph[history].operands[0]).is_some();
            if !matches!(graph[id].op, Op::Collect { .. }) || !is_inside(graph[id].operands[0]) {
                self.place(id);
            }
            return;
        };
        self.place(run.carry);
        run.body.iter().for_each(|&id| self.with_bodies(id));
        self.place(id);
        if graph.around(run.carry).is_some() {
            run.collects.iter().for_each(|&id| self.place(id));
        }
    }

    /// A node after what no loop changes among its operands: a rewrite of a result of a loop makes constants, and views of them, that come
    /// after the loop.
    fn place(&mut self, id: NodeId) {
        if std::mem::replace(&mut self.placed[id.index()], true) {
            return;
        }
        let (graph, heads) = (self.graph, self.heads);
        let outside = graph[id].operands.iter().filter(|operand| heads[operand.index()].is_none());
        outside.for_each(|&operand| self.place(operand));
        self.order.push(id);
    }
}
