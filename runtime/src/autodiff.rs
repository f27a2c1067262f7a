//! Symbolic reverse mode: from a forward graph, one joint graph with the gradient of the loss by every parameter.
//!
//! In: a graph with a loss. Out: the same graph, the operations of the backward pass after those of the forward pass,
//! and a gradient for each wanted parameter. The sweep runs once from the loss to the front, applying each operation's
//! own rule (Griewank & Walther 2008, section 3.2); cotangents that meet are added. Only what lies between a wanted
//! parameter and the loss is visited.

mod loops;
mod rows;

use std::rc::Rc;

use crate::ir::ops::At;
use crate::ir::origin::of_params;
use crate::ir::{Builder, Graph, Loop, NodeId, Op, Origin, Output, Pass, Role};
use crate::types::{DType, Shape};

use loops::{Results, backward};

/// Adds the gradients of the loss by the parameters of these indices; zeros where the loss does not depend on one.
pub fn differentiate(graph: &Graph, wanted: &[usize]) -> Graph {
    differentiate_at(graph, wanted, &[]).0
}

/// The same, and the gradients by these nodes; none for a node on no way from a wanted parameter to the loss. Those by a history are
/// the gradients by each state, through all that comes of it.
pub fn differentiate_at(graph: &Graph, wanted: &[usize], nodes: &[NodeId]) -> (Graph, Vec<Option<NodeId>>) {
    let loss = graph.output(&Role::Loss).expect("only a graph with a loss is differentiated");
    let needed = depends_on(graph, wanted);
    let mut b = Builder::new(graph.clone());
    b.enter(graph[loss].origin.in_pass(Pass::Backward));
    let seed = b.constant(1.0, &Shape::scalar());
    let cotangents = sweep(&mut b, &graph.loops(), 0, loss, seed, &needed);
    gradients(&mut b, graph, wanted, &cotangents);
    let at = nodes.iter().map(|node| cotangents[node.index()].filter(|_| needed[node.index()]));
    (b.finish(), at.collect())
}

/// The derivative of every element of `y` by the element of `x` that it is made from; `None` if `y` is `x`, or is made by
/// anything but operations on single elements. Zero where nothing flows back.
pub fn slope(b: &mut Builder, x: NodeId, y: NodeId) -> Option<NodeId> {
    if x >= y {
        return None;
    }
    let between = between(b.graph(), x, y);
    let ids = || (x.0..=y.0).map(NodeId);
    let maps = |(&inside, id): (&bool, NodeId)| !inside || id == x || b.graph()[id].op.is_map();
    if !between[between.len() - 1] || !between.iter().zip(ids()).all(maps) {
        return None;
    }
    let smooth = |id: NodeId| b.graph()[id].ty.dtype == DType::F32 && b.graph()[id].op != Op::Detach;
    let needed: Vec<bool> = between.iter().zip(ids()).map(|(&inside, id)| inside && smooth(id)).collect();
    let seed = b.constant_like(1.0, y);
    let cotangents = sweep(b, &[], x.index(), y, seed, &needed);
    Some(cotangents[0].unwrap_or_else(|| b.constant_like(0.0, x)))
}

/// For every node from `x` to `y`, whether it lies on a way from one to the other.
fn between(graph: &Graph, x: NodeId, y: NodeId) -> Vec<bool> {
    let at = |id: NodeId| id.index().checked_sub(x.index());
    let mut depends: Vec<bool> = Vec::new();
    for id in (x.0..=y.0).map(NodeId) {
        let through = graph[id].operands.iter().filter_map(|&operand| at(operand)).any(|operand| depends[operand]);
        depends.push(id == x || through);
    }
    let mut live = vec![false; depends.len()];
    *live.last_mut().expect("there is `y`") = true;
    for index in (1..depends.len()).rev().filter(|&index| depends[index]) {
        if live[index] {
            let operands = &graph[NodeId(x.0 + index as u32)].operands;
            operands.iter().filter_map(|&operand| at(operand)).for_each(|operand| live[operand] = true);
        }
    }
    depends.iter().zip(live).map(|(&depends, live)| depends && live).collect()
}

/// From the cotangent of `last`, those of all nodes from the one of index `first` to it through which it is needed.
fn sweep(
    b: &mut Builder,
    loops: &[Loop],
    first: usize,
    last: NodeId,
    seed: NodeId,
    needed: &[bool],
) -> Vec<Option<NodeId>> {
    let mut cotangents: Vec<Option<NodeId>> = vec![None; needed.len()];
    cotangents[last.index() - first] = Some(seed);
    // The origin of the node before, and that of its gradient: nodes of a layer share theirs.
    let mut origins: Option<[Rc<Origin>; 2]> = None;
    for index in (0..=last.index() - first).rev() {
        if let Some(run) = loops.iter().find(|run| run.history.index() == first + index) {
            through_loop(b, (loops, run), first, &mut cotangents, needed);
            continue;
        }
        let Some(dy) = cotangents[index].filter(|_| needed[index]) else { continue };
        let id = NodeId((first + index) as u32);
        let node = b.graph()[id].clone();
        let known = origins.take().filter(|[forward, _]| Rc::ptr_eq(forward, &node.origin));
        let [forward, backward] = known.unwrap_or_else(|| {
            let backward = node.origin.in_pass(Pass::Backward);
            [node.origin, backward]
        });
        b.enter(Rc::clone(&backward));
        origins = Some([forward, backward]);
        let at = At { op: node.op, x: node.operands, y: id, dy };
        for (&x, dx) in at.x.iter().zip((at.op.def().vjp)(b, &at)) {
            let Some(x) = x.index().checked_sub(first).filter(|&x| needed[x]) else { continue };
            let Some(dx) = dx else { continue };
            cotangents[x] = Some(match cotangents[x] {
                None => dx,
                Some(other) => b.add(other, dx),
            });
        }
    }
    cotangents
}

/// From the cotangents of a loop's results, parts of the cotangents of all that it reads.
fn through_loop(
    b: &mut Builder,
    (loops, run): (&[Loop], &Loop),
    first: usize,
    cotangents: &mut [Option<NodeId>],
    needed: &[bool],
) {
    let of = |id: NodeId| id.index().checked_sub(first).filter(|&at| needed.get(at).copied().unwrap_or(false));
    let Some(results) = Results::of(b, run, |id| of(id).and_then(|at| cotangents[at])) else { return };
    let (states, parts) = backward(b, (loops, run), results, &|id| of(id).is_some());
    if let Some(at) = of(run.history) {
        cotangents[at] = Some(states);
    }
    for (x, dx) in parts {
        let Some(at) = of(x) else { continue };
        cotangents[at] = Some(match cotangents[at] {
            None => dx,
            Some(other) => b.add(other, dx),
        });
    }
}

/// Names the gradients as outputs. A parameter may be read by several nodes; their cotangents add up.
fn gradients(b: &mut Builder, graph: &Graph, wanted: &[usize], cotangents: &[Option<NodeId>]) {
    let mut reads: Vec<Vec<NodeId>> = vec![Vec::new(); graph.slots.params.len()];
    for id in graph.ids() {
        if let Op::Param(param) = graph[id].op {
            reads[param].push(id);
        }
    }
    let origins = of_params(graph);
    for &param in wanted {
        b.enter(origins[param].in_pass(Pass::Backward));
        let parts: Vec<NodeId> = reads[param].iter().filter_map(|id| cotangents[id.index()]).collect();
        let total = parts.into_iter().reduce(|sum, part| b.add(sum, part));
        let node = total.unwrap_or_else(|| b.constant(0.0, &Shape::fixed(&graph.slots.params[param].shape)));
        b.graph_mut().outputs.push(Output { role: Role::Gradient(param), node });
    }
}

/// For every node, whether it is a float that depends on one of these parameters.
fn depends_on(graph: &Graph, wanted: &[usize]) -> Vec<bool> {
    let mut is_wanted = vec![false; graph.slots.params.len()];
    wanted.iter().for_each(|&param| is_wanted[param] = true);
    let mut depends = vec![false; graph.nodes.len()];
    let own = |id: NodeId, depends: &[bool]| {
        let node = &graph[id];
        let reads = matches!(node.op, Op::Param(index) if is_wanted[index]);
        let through = node.ty.dtype == DType::F32 && node.op != Op::Detach;
        reads || (through && node.values().iter().any(|x| depends[x.index()]))
    };
    // The next step begins with what this one has made: once more, until nothing changes.
    let mut changes = true;
    while changes {
        changes = false;
        for id in graph.ids() {
            if let (Op::History { .. }, &[carry, next]) = (&graph[id].op, &graph[id].operands[..])
                && depends[next.index()]
                && !depends[carry.index()]
            {
                (depends[carry.index()], changes) = (true, true);
            }
            depends[id.index()] |= own(id, &depends);
        }
    }
    depends
}
