//! What fusion saves: the work of a graph of which every operation is a kernel of its own, in a loop once for each step.

use crate::flops;
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::{Cost, Count};

/// What the graph would have to do if every operation were a kernel of its own, which reads its operands from memory and
/// writes its result there.
pub fn unfused(graph: &Graph) -> Cost {
    let (live, runs) = (graph.live(), graph.runs());
    let mut sum = Cost::default();
    for id in graph.ids().filter(|id| live[id.index()]) {
        let node = &graph[id];
        if node.op.is_leaf() || node.op.is_view() || node.op.is_of_loop() {
            continue;
        }
        let times = runs[id.index()] as u64;
        let mut read: Vec<NodeId> = node.operands.iter().map(|&operand| graph.behind_views(operand)).collect();
        read.sort();
        read.dedup();
        read.retain(|&base| !graph[base].op.is_leaf() || matches!(graph[base].op, Op::Input(_) | Op::Param(_)));
        sum.flops += Count::from(flops::of_node(graph, id)) * times;
        read.iter().chain([&id]).for_each(|&id| sum.bytes += Count::bytes(&graph[id].ty.shape) * times);
    }
    sum
}
