//! A graph with its loops written out, one copy of the body for every step: what a loop means, and what a search for the origin of a
//! number walks through. A loop inside of another is written out as soon as the network is lowered, and no later stage meets any.

use std::rc::Rc;

use super::{Builder, Graph, Loop, NodeId, Op, Output};

/// The same results without loops inside of loops: those are written out in the body of the one around them.
pub fn flatten(mut graph: Graph) -> Graph {
    loop {
        let inner = innermost(&graph);
        if inner.is_empty() {
            return graph;
        }
        let mut apart = vec![false; graph.nodes.len()];
        inner.iter().flat_map(|run| run.body.iter().chain(&run.collects)).for_each(|id| apart[id.index()] = true);
        inner.iter().for_each(|run| apart[run.carry.index()] = true);
        graph = without(&graph, &inner, |id| apart[id.index()]);
    }
}

/// The loops that are inside of others, and have none inside of themselves.
fn innermost(graph: &Graph) -> Vec<Loop> {
    let mut loops = graph.loops();
    if loops.len() < 2 {
        return Vec::new();
    }
    let bodies: Vec<Vec<bool>> = loops.iter().map(|run| depending(graph, run)).collect();
    for (run, body) in loops.iter_mut().zip(&bodies) {
        run.body = graph.ids().filter(|id| body[id.index()] && *id != run.carry).collect();
    }
    // What is inside ends first, and something of it depends on the head of the one around it.
    let is_inside = |inner: usize, outer: usize| {
        let run: &Loop = &loops[inner];
        let mut own = run.body.iter().chain(&run.collects).chain([&run.carry, &run.history]);
        run.history < loops[outer].history && own.any(|id| bodies[outer][id.index()])
    };
    let any = |is: &dyn Fn(usize) -> bool| (0..loops.len()).any(is);
    let all = 0..loops.len();
    let chosen = all.filter(|&own| any(&|outer| is_inside(own, outer)) && !any(&|inner| is_inside(inner, own)));
    chosen.map(|own| loops[own].clone()).collect()
}

/// For every node, whether it has another value at each step of a loop: the head, and what depends on it.
fn depending(graph: &Graph, run: &Loop) -> Vec<bool> {
    let mut depends = vec![false; graph.nodes.len()];
    for id in graph.ids().skip(run.carry.index()) {
        let is_exit = id == run.history || run.collects.contains(&id);
        let through = || graph[id].operands.iter().any(|operand| depends[operand.index()]);
        depends[id.index()] = id == run.carry || !is_exit && through();
    }
    depends
}

/// The same results without loops.
pub fn unroll(graph: &Graph) -> Graph {
    let loops = graph.loops();
    if loops.is_empty() {
        return graph.clone();
    }
    let heads = graph.heads();
    without(graph, &loops, |id| heads[id.index()].is_some() || matches!(graph[id].op, Op::Collect { .. }))
}

/// The same results without these loops, of which these nodes are parts.
fn without(graph: &Graph, loops: &[Loop], is_part: impl Fn(NodeId) -> bool) -> Graph {
    let mut b = Builder::new(Graph { nodes: Vec::new(), outputs: Vec::new(), slots: graph.slots.clone() });
    let mut to = vec![NodeId(u32::MAX); graph.nodes.len()];
    for id in graph.ids() {
        if is_part(id) {
            continue;
        }
        match loops.iter().find(|known| known.history == id) {
            Some(known) => written_out(&mut b, graph, known, &mut to),
            None => to[id.index()] = copied(&mut b, graph, id, &to, None),
        }
    }
    let outputs = graph.outputs.iter();
    b.graph_mut().outputs =
        outputs.map(|Output { role, node }| Output { role: role.clone(), node: to[node.index()] }).collect();
    b.finish()
}

/// A node with its operands where they are now, as part of a step.
fn copied(b: &mut Builder, graph: &Graph, id: NodeId, to: &[NodeId], step: Option<usize>) -> NodeId {
    let mut node = graph[id].clone();
    node.operands.iter_mut().for_each(|operand| *operand = to[operand.index()]);
    if let Some(position) = step {
        node.origin = node.origin.at_step(position);
    }
    b.add_node(node)
}

/// All steps of a loop, and what leads out of it.
fn written_out(b: &mut Builder, graph: &Graph, run: &Loop, to: &mut [NodeId]) {
    let exits: Vec<NodeId> = [run.history].into_iter().chain(run.collects.iter().copied()).collect();
    let mut rows: Vec<Vec<Option<NodeId>>> = exits.iter().map(|_| vec![None; run.steps + 1]).collect();
    let mut state = to[graph[run.carry].operands[0].index()];
    rows[0][if run.reverse { run.steps } else { 0 }] = Some(state);
    for position in run.positions() {
        to[run.carry.index()] = state;
        for &id in &run.body {
            let node = &graph[id];
            to[id.index()] = match node.op {
                Op::Element => {
                    b.enter(Rc::clone(&node.origin));
                    let row = b.slice(to[node.operands[1].index()], 0, position, 1, 1);
                    b.reshape(row, node.ty.shape.clone())
                }
                _ => copied(b, graph, id, to, Some(position)),
            };
        }
        for (number, &exit) in exits.iter().enumerate() {
            let at = if exit == run.history { run.rows(position)[1] } else { position };
            rows[number][at] = Some(to[graph[exit].operands[1].index()]);
        }
        state = to[graph[run.history].operands[1].index()];
    }
    for (&exit, rows) in exits.iter().zip(rows) {
        b.enter(Rc::clone(&graph[exit].origin));
        let mut parts = Vec::with_capacity(run.steps + 1);
        for row in rows.into_iter().flatten() {
            let shape = b.shape(row).stacked(1);
            parts.push(b.reshape(row, shape));
        }
        to[exit.index()] = joined(b, parts);
    }
}

/// Rows one after the other. A kernel that joins some asks of each element which of them it is in, so many are joined a few at a time.
fn joined(b: &mut Builder, mut parts: Vec<NodeId>) -> NodeId {
    const FEW: usize = 8;
    while parts.len() > FEW {
        parts = parts.chunks(FEW).map(|some| if some.len() == 1 { some[0] } else { b.concat(some, 0) }).collect();
    }
    b.concat(&parts, 0)
}
