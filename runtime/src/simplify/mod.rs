//! Removes work that cannot change a result.
//!
//! In: a graph. Out: a smaller one with the same results. Rules are named, point one way and never make more work; a rule
//! whose result may differ in rounding has a name that starts with `fast-`. Constants are real numbers until code is
//! generated, so folding them rounds less, not more. After the algebra comes contraction: `mul-add`, the one place where
//! two roundings become one.

mod rules;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use crate::ir::{Builder, Graph, NodeId, Op, Output};
use crate::types::TensorType;

pub use rules::{ALGEBRA, CONTRACTION, Rule};

/// Simplifies a graph to a fixed point.
pub fn simplify(graph: &Graph) -> Graph {
    let algebra = to_fixed_point(graph.clone(), ALGEBRA);
    to_fixed_point(algebra, CONTRACTION)
}

fn to_fixed_point(mut graph: Graph, rules: &[Rule]) -> Graph {
    // Every rule lowers the amount of work or the depth of a product, so the loop ends; the bound is for a faulty rule.
    for _ in 0..32 {
        let (next, changed) = sweep(&graph, rules);
        graph = next;
        if !changed {
            break;
        }
    }
    graph
}

/// One sweep: rules, common subexpressions, then dead code. Says whether anything changed.
pub fn sweep(graph: &Graph, rules: &[Rule]) -> (Graph, bool) {
    let (rewritten, changed) = rewrite(graph, rules);
    let compact = compact(&rewritten);
    let shrunk = compact.nodes.len() != graph.nodes.len();
    (compact, changed || shrunk)
}

fn rewrite(graph: &Graph, rules: &[Rule]) -> (Graph, bool) {
    let empty = Graph { slots: graph.slots.clone(), ..Graph::default() };
    let mut b = Builder::new(empty);
    let uses = uses(graph);
    let mut changed = false;
    let mut map: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for id in graph.ids() {
        let node = &graph[id];
        b.enter(node.layer.clone());
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| map[operand.index()]).collect();
        let copy = b.push(node.op.clone(), &operands, node.ty.clone());
        let single: Vec<bool> = node.operands.iter().map(|operand| uses[operand.index()] == 1).collect();
        let replaced = rules.iter().find_map(|rule| (rule.apply)(&mut b, copy, &single));
        changed |= replaced.is_some();
        map.push(replaced.unwrap_or(copy));
    }
    let outputs = graph.outputs.iter();
    b.graph_mut().outputs =
        outputs.map(|output| Output { role: output.role.clone(), node: map[output.node.index()] }).collect();
    (b.finish(), changed)
}

/// How often each node is read.
fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    let operands = graph.nodes.iter().flat_map(|node| &node.operands);
    for id in operands.chain(graph.outputs.iter().map(|output| &output.node)) {
        uses[id.index()] += 1;
    }
    uses
}

/// Keeps one of equal nodes, and only what a result needs.
fn compact(graph: &Graph) -> Graph {
    let live = graph.live();
    let mut known: HashMap<Key, NodeId> = HashMap::new();
    let mut result = Graph { slots: graph.slots.clone(), ..Graph::default() };
    let mut map: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for id in graph.ids() {
        if !live[id.index()] {
            map.push(NodeId(u32::MAX));
            continue;
        }
        let mut node = graph[id].clone();
        node.operands.iter_mut().for_each(|operand| *operand = map[operand.index()]);
        let key = Key { op: node.op.clone(), operands: node.operands.clone(), ty: node.ty.clone() };
        let layer = node.layer.clone();
        let kept = *known.entry(key).or_insert_with(|| {
            result.nodes.push(node);
            NodeId(result.nodes.len() as u32 - 1)
        });
        map.push(kept);
        // What several layers compute belongs to where its operand came from.
        let first = result.nodes[kept.index()].operands.first().copied();
        if let Some(first) = first.filter(|_| result.nodes[kept.index()].layer != layer) {
            result.nodes[kept.index()].layer = result.nodes[first.index()].layer.clone();
        }
    }
    let outputs = graph.outputs.iter();
    result.outputs =
        outputs.map(|output| Output { role: output.role.clone(), node: map[output.node.index()] }).collect();
    // A merge can leave a node without readers; one more pass over the live ones removes it with the next sweep.
    result
}

/// What makes two nodes the same.
struct Key {
    op: Op,
    operands: Vec<NodeId>,
    ty: TensorType,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        // Constants are compared by their bits: 0 and -0 are different numbers.
        let same_op = match (&self.op, &other.op) {
            (Op::Const(x), Op::Const(y)) => x.to_bits() == y.to_bits(),
            (x, y) => x == y,
        };
        same_op && self.operands == other.operands && self.ty == other.ty
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.op).hash(state);
        if let Op::Const(value) = self.op {
            value.to_bits().hash(state);
        }
        self.operands.hash(state);
        self.ty.hash(state);
    }
}
