//! What kernels cannot do in one go is written as what they can.

use crate::ir::ops::Reduction;
use crate::ir::{Builder, Graph, NodeId, Output};
use crate::kernel::{Way, way};

/// Rewrites what kernels cannot do in one go: a variance along rows, or over everything, takes two passes, mean first.
pub(super) fn legalise(graph: &Graph) -> Graph {
    let wide = |id: NodeId| match way(graph, id) {
        Some((Reduction::Variance, way)) => way != Way::DownColumns,
        _ => false,
    };
    if !graph.ids().any(wide) {
        return graph.clone();
    }
    let empty = Graph { slots: graph.slots.clone(), ..Graph::default() };
    let mut b = Builder::new(empty);
    let mut map: Vec<NodeId> = Vec::new();
    for id in graph.ids() {
        let node = &graph[id];
        b.enter(node.layer.clone());
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| map[operand.index()]).collect();
        map.push(match node.op.axes().filter(|_| wide(id)) {
            None => b.push(node.op.clone(), &operands, node.ty.clone()),
            Some(axes) => {
                let shape = b.shape(operands[0]);
                let mean = b.mean(operands[0], axes);
                let mean = b.broadcast_over(mean, &shape, axes);
                let deviation = b.sub(operands[0], mean);
                let square = b.mul(deviation, deviation);
                b.mean(square, axes)
            }
        });
    }
    let moved = graph.outputs.iter().map(|output| Output { role: output.role.clone(), node: map[output.node.index()] });
    b.graph_mut().outputs = moved.collect();
    b.finish()
}
