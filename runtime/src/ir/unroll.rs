//! A graph with its loops written out, one copy of the body for every step: what a loop means.

use std::rc::Rc;

use super::{Builder, Graph, Loop, NodeId, Op, Output};

/// The same results without loops.
pub fn unroll(graph: &Graph) -> Graph {
    let loops = graph.loops();
    if loops.is_empty() {
        return graph.clone();
    }
    let heads = graph.heads();
    let b = Builder::new(Graph { nodes: Vec::new(), outputs: Vec::new(), slots: graph.slots.clone() });
    let to = vec![NodeId(u32::MAX); graph.nodes.len()];
    let mut out = WrittenOut { b, graph, loops: &loops, to, at: Vec::new() };
    for id in graph.ids() {
        if heads[id.index()].is_none() {
            out.node(id);
        }
    }
    let WrittenOut { mut b, to, .. } = out;
    let outputs = graph.outputs.iter();
    b.graph_mut().outputs =
        outputs.map(|Output { role, node }| Output { role: role.clone(), node: to[node.index()] }).collect();
    b.finish()
}

struct WrittenOut<'a> {
    b: Builder,
    graph: &'a Graph,
    loops: &'a [Loop],
    /// Where nodes are now; of a body, those of the step that is written out.
    to: Vec<NodeId>,
    /// The positions of the steps that are written out, the outermost first.
    at: Vec<usize>,
}

impl WrittenOut<'_> {
    /// A node with its operands where they are now, or all steps of a loop.
    fn node(&mut self, id: NodeId) {
        match self.graph[id].op {
            // What a loop collects is there as soon as it is written out.
            Op::Collect { .. } => {}
            Op::History { .. } => {
                let run = self.loops.iter().find(|run| run.history == id).expect("a history is that of a loop");
                self.steps(run);
            }
            Op::Element => {
                let Some(&position) = self.at.last() else { unreachable!("an element is part of a loop") };
                let node = &self.graph[id];
                self.b.enter(Rc::clone(&node.origin));
                let row = self.b.slice(self.to[node.operands[1].index()], 0, position, 1, 1);
                self.to[id.index()] = self.b.reshape(row, node.ty.shape.clone());
            }
            _ => {
                let mut node = self.graph[id].clone();
                node.operands.iter_mut().for_each(|operand| *operand = self.to[operand.index()]);
                self.to[id.index()] = self.b.add_node(node);
            }
        }
    }

    /// All steps of a loop, and what leads out of it.
    fn steps(&mut self, run: &Loop) {
        let graph = self.graph;
        let exits: Vec<NodeId> = [run.history].into_iter().chain(run.collects.iter().copied()).collect();
        let mut rows: Vec<Vec<Option<NodeId>>> = exits.iter().map(|_| vec![None; run.steps + 1]).collect();
        let mut state = self.to[graph[run.carry].operands[0].index()];
        rows[0][if run.reverse { run.steps } else { 0 }] = Some(state);
        for position in run.positions() {
            self.to[run.carry.index()] = state;
            self.at.push(position);
            run.body.iter().for_each(|&id| self.node(id));
            self.at.pop();
            for (number, &exit) in exits.iter().enumerate() {
                let at = if exit == run.history { run.rows(position)[1] } else { position };
                rows[number][at] = Some(self.to[graph[exit].operands[1].index()]);
            }
            state = self.to[graph[run.history].operands[1].index()];
        }
        for (&exit, rows) in exits.iter().zip(rows) {
            self.b.enter(Rc::clone(&graph[exit].origin));
            let mut parts = Vec::with_capacity(run.steps + 1);
            for row in rows.into_iter().flatten() {
                let shape = self.b.shape(row).stacked(1);
                parts.push(self.b.reshape(row, shape));
            }
            self.to[exit.index()] = joined(&mut self.b, parts);
        }
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
