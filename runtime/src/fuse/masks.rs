//! Where the gradient of a maximum goes, read off the maximum itself: so that its operand need not be in memory beside it.
//!
//! In: a graph and its kernels. Out: the same graph with `y > c` in place of `x > c` wherever `y`, the larger of `c` and `x`, is in
//! memory anyway and `x` is for these truth values alone. They are the same for any numbers: where `x` is not above `c`, or either is
//! NaN, nor is `y`. The same goes for the smaller of two.

use std::collections::{HashMap, HashSet};

use crate::ir::{Graph, NodeId, Op};
use crate::kernel::Fused;
use crate::reason::MaterializeReason;
use crate::scalar::Cmp;

/// The graph, if anything changes.
pub(super) fn of_results(graph: &Graph, fused: &Fused) -> Option<Graph> {
    let writes = || fused.kernels.iter().flat_map(|kernel| &kernel.writes);
    let costly = writes().filter(|write| matches!(write.materialized, Some(MaterializeReason::Costly(_))));
    let costly: HashSet<NodeId> = costly.map(|write| write.origin).collect();
    if costly.is_empty() { None } else { read_off(graph, fused, costly) }
}

/// Never in line: most programs keep nothing costly, and need the question alone.
#[inline(never)]
fn read_off(graph: &Graph, fused: &Fused, costly: HashSet<NodeId>) -> Option<Graph> {
    let writes = || fused.kernels.iter().flat_map(|kernel| &kernel.writes);
    let stored: HashSet<NodeId> =
        writes().filter(|write| write.materialized.is_some()).map(|write| write.origin).collect();
    let mut users: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for id in graph.ids() {
        let wanted = graph[id].operands.iter().filter(|operand| costly.contains(operand));
        wanted.for_each(|&operand| users.entry(operand).or_default().push(id));
    }
    let results: HashSet<NodeId> = graph.outputs.iter().map(|output| output.node).collect();
    let mut changed: Option<Graph> = None;
    for x in costly.into_iter().filter(|x| !results.contains(x)) {
        let users = users.get(&x).map_or(&[][..], Vec::as_slice);
        let Some(&y) = users.iter().find(|user| stored.contains(user) && limit(graph, **user).is_some()) else {
            continue;
        };
        let masks: Vec<NodeId> = users.iter().copied().filter(|&user| is_mask(graph, user, x, y)).collect();
        if !masks.is_empty() && masks.len() + 1 == users.len() {
            let graph = changed.get_or_insert_with(|| graph.clone());
            masks.into_iter().for_each(|mask| graph.nodes[mask.index()].operands[0] = y);
        }
    }
    changed
}

/// The operand that a maximum, or a minimum, gives where the other is not beyond it, and how that would compare to it.
fn limit(graph: &Graph, id: NodeId) -> Option<(NodeId, Cmp)> {
    match graph[id].op {
        Op::Max => Some((graph[id].operands[0], Cmp::Gt)),
        Op::Min => Some((graph[id].operands[0], Cmp::Lt)),
        _ => None,
    }
}

/// Whether a node says where `y` is `x` rather than its limit.
fn is_mask(graph: &Graph, id: NodeId, x: NodeId, y: NodeId) -> bool {
    let same = |one: NodeId, other: NodeId| {
        let constant = matches!(graph[one].op, Op::Const(_)) && graph[one].op == graph[other].op;
        one == other || constant && graph[one].ty == graph[other].ty
    };
    let (node, maximum) = (&graph[id], &graph[y]);
    let limit = limit(graph, y).filter(|(limit, _)| *limit != x && maximum.operands[1] == x);
    limit.is_some_and(|(limit, compare)| {
        node.op == Op::Compare(compare) && node.operands[0] == x && same(node.operands[1], limit) && y < id
    })
}
