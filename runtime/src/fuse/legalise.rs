//! Rewrites what kernels cannot do in one go: a variance along rows, or over everything, takes two passes, mean first. And
//! what is reduced along rows of one element is that element: there a number of the row and of its element are the same. A loss,
//! metric or probe that is a parameter becomes a copy of it, because a step overwrites the parameter.

use crate::ir::ops::Reduction;
use crate::ir::{Builder, Graph, Node, NodeId, Op, Output, Role};
use crate::kernel::{Way, way};
use crate::types::Dim;

/// A graph that kernels can do.
pub(super) fn legalise(graph: &Graph) -> Graph {
    let graph = rewrite(graph, |id| variance_in_two_passes(graph, id));
    copy_parameters(rewrite(&graph, |id| row_of_one(&graph, id)))
}

/// Adding -0 changes no number, not even -0.
fn copy_parameters(graph: Graph) -> Graph {
    let is_param = |output: &Output| matches!(graph[graph.behind_reshapes(output.node)].op, Op::Param(_));
    let copied: Vec<bool> = graph
        .outputs
        .iter()
        .map(|output| matches!(output.role, Role::Loss | Role::Metric(_) | Role::Probe(_)) && is_param(output))
        .collect();
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

fn variance_in_two_passes(graph: &Graph, id: NodeId) -> Option<Replacement> {
    match way(graph, id) {
        Some((Reduction::Variance, Way::AlongRow | Way::Everything)) => Some(|b, node, operands| {
            let axes = node.op.axes().expect("a variance has axes");
            let shape = b.shape(operands[0]);
            let mean = b.mean(operands[0], axes);
            let mean = b.broadcast_over(mean, &shape, axes);
            let deviation = b.sub(operands[0], mean);
            let square = b.mul(deviation, deviation);
            b.mean(square, axes)
        }),
        _ => None,
    }
}

fn row_of_one(graph: &Graph, id: NodeId) -> Option<Replacement> {
    let along_row = matches!(way(graph, id), Some((Reduction::Sum | Reduction::Max, Way::AlongRow)));
    let one = along_row && graph[graph[id].operands[0]].ty.shape.0.last() == Some(&Dim::Fixed(1));
    one.then_some(|b, node, operands| {
        let only = b.reshape(operands[0], node.ty.shape.clone());
        // A sum is never -0.
        if matches!(node.op, Op::Sum(_)) { b.offset(only, 0.0) } else { only }
    })
}

/// A copy of the graph in which some nodes are replaced.
fn rewrite(graph: &Graph, replacement: impl Fn(NodeId) -> Option<Replacement>) -> Graph {
    let empty = Graph { slots: graph.slots.clone(), ..Graph::default() };
    let mut b = Builder::new(empty);
    let mut map: Vec<NodeId> = Vec::new();
    for id in graph.ids() {
        let node = &graph[id];
        b.enter(node.layer.clone());
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| map[operand.index()]).collect();
        map.push(match replacement(id) {
            None => b.push(node.op.clone(), &operands, node.ty.clone()),
            Some(replace) => replace(&mut b, node, &operands),
        });
    }
    let moved = graph.outputs.iter().map(|output| Output { role: output.role.clone(), node: map[output.node.index()] });
    b.graph_mut().outputs = moved.collect();
    b.finish()
}
