//! Where a graph chooses: the operations whose result follows one operand here and another one there.
//!
//! In: a graph and its values. Out: how every choice falls, element by element. As long as none falls differently, the graph
//! computes one smooth function. Which of equals the shift of a softmax takes is no choice: the result does not depend on it.

use crate::interp::{Evaluation, destinations};
use crate::ir::{Graph, NodeId, Op, Role};

/// The choices that matter for the loss.
pub struct Decisions<'g> {
    graph: &'g Graph,
    nodes: Vec<NodeId>,
}

impl<'g> Decisions<'g> {
    pub fn new(graph: &'g Graph) -> Decisions<'g> {
        let [live, flows] = [true, false].map(|through_detach| reaches_loss(graph, through_detach));
        let chooses = |id: &NodeId| match graph[*id].op {
            Op::Max | Op::Min | Op::Abs | Op::Compare(_) => live[id.index()],
            Op::MaxOver(_) => flows[id.index()],
            _ => false,
        };
        Decisions { graph, nodes: graph.ids().filter(chooses).collect() }
    }

    /// How they fall: the sign of a difference or of an operand, or whether an element is the largest.
    pub fn of(&self, run: &Evaluation<'_>) -> Vec<i8> {
        let mut all = Vec::new();
        for &id in &self.nodes {
            let node = &self.graph[id];
            let x = run[node.operands[0]].as_floats();
            match &node.op {
                Op::Abs => all.extend(x.iter().map(|&x| sign(x, 0.0))),
                Op::MaxOver(axes) => {
                    let top = &run[id];
                    let homes = destinations(&run[node.operands[0]].shape, axes, &top.shape);
                    all.extend(x.iter().zip(homes).map(|(&x, home)| sign(x, top.as_floats()[home])));
                }
                _ => all.extend(x.iter().zip(run[node.operands[1]].as_floats()).map(|(&x, &y)| sign(x, y))),
            }
        }
        all
    }
}

/// That of `x - y`, without its overflow.
fn sign(x: f64, y: f64) -> i8 {
    i8::from(x > y) - i8::from(x < y)
}

/// For every node, whether the loss depends on it; where nothing passes through `detach`, whether a gradient does.
fn reaches_loss(graph: &Graph, through_detach: bool) -> Vec<bool> {
    let mut reaches = vec![false; graph.nodes.len()];
    let loss = graph.output(&Role::Loss).expect("only a graph with a loss is checked");
    reaches[loss.index()] = true;
    for id in graph.ids().rev() {
        if reaches[id.index()] && (through_detach || graph[id].op != Op::Detach) {
            graph[id].operands.iter().for_each(|operand| reaches[operand.index()] = true);
        }
    }
    reaches
}
