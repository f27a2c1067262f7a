//! A graph with its loops written out, one copy of the body for every step: what a loop means, and what a search for the origin of a
//! number walks through.

use std::rc::Rc;

use super::{Builder, Graph, Loop, NodeId, Op, Output};

/// The same results without loops.
pub fn unroll(graph: &Graph) -> Graph {
    let loops = graph.loops();
    if loops.is_empty() {
        return graph.clone();
    }
    let heads = graph.heads();
    let mut b = Builder::new(Graph { nodes: Vec::new(), outputs: Vec::new(), slots: graph.slots.clone() });
    let mut to = vec![NodeId(u32::MAX); graph.nodes.len()];
    for id in graph.ids() {
        if heads[id.index()].is_some() || matches!(graph[id].op, Op::Collect { .. }) {
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
        to[exit.index()] = b.concat(&parts, 0);
    }
}
