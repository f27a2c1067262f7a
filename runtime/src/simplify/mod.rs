//! Removes work that cannot change a result.
//!
//! In: a graph. Out: a smaller one with the same results, to the bit, at both ends of the range, for zeros of either sign,
//! infinities and NaN (one NaN is as good as another). Rules are named, point one way and never make more work. Two are not
//! exact, and their names start with `fast-`: constants are real numbers until code is generated, so folding them may round
//! less; and after the algebra comes contraction, the one place where two roundings become one. Neither rounds more.

mod loops;
mod rules;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::ir::rewrite::{NodeMap, apply, rewrite};
use crate::ir::{Graph, Node, NodeId, Op, Rule};

pub use rules::{ALGEBRA, CONTRACTION};

/// Simplifies a graph to a fixed point.
pub fn simplify(graph: &Graph) -> Graph {
    simplify_mapped(graph).0
}

/// The same, and where nodes are in it.
pub fn simplify_mapped(graph: &Graph) -> (Graph, NodeMap) {
    let (algebra, first) = to_fixed_point(graph.clone(), ALGEBRA);
    let (graph, second) = to_fixed_point(algebra, CONTRACTION);
    (graph, first.then(&second))
}

fn to_fixed_point(mut graph: Graph, rules: &[Rule]) -> (Graph, NodeMap) {
    let mut map = NodeMap::identity(graph.nodes.len());
    // Every rule lowers the amount of work or the depth of a product, so the loop ends; the bound is for a faulty rule.
    for _ in 0..32 {
        let (next, moved, changed) = swept(graph, rules);
        (graph, map) = (next, map.then(&moved));
        if !changed {
            break;
        }
    }
    (graph, map)
}

/// One sweep: rules, common subexpressions, then dead code. Says whether anything changed.
pub fn sweep(graph: &Graph, rules: &[Rule]) -> (Graph, bool) {
    let (swept, _, changed) = swept(graph.clone(), rules);
    (swept, changed)
}

/// Nodes move from one graph to the next: most of them stay as they are.
fn swept(graph: Graph, rules: &[Rule]) -> (Graph, NodeMap, bool) {
    let before = graph.nodes.len();
    let mut changed = false;
    let (rewritten, first) = apply(graph, rules, |_, _| changed = true);
    let (compact, second) = compact(rewritten);
    let shrunk = compact.nodes.len() != before;
    (compact, first.then(&second), changed || shrunk)
}

/// Keeps one of equal nodes, and only what a result needs.
fn compact(graph: Graph) -> (Graph, NodeMap) {
    let live = graph.live();
    let mut known = Known::new(graph.nodes.len());
    // A merge can leave a node without readers; one more pass over the live ones removes it with the next sweep.
    rewrite(graph, |b, id, node| {
        if !live[id.index()] {
            return None;
        }
        let nodes = &mut b.graph_mut().nodes;
        let origin = Rc::clone(&node.origin);
        let kept = known.find_or_add(nodes, node);
        // What several layers compute belongs to where its operand came from.
        let first = nodes[kept.index()].operands.first().copied();
        if let Some(first) = first.filter(|_| !nodes[kept.index()].origin.is_alike(&origin)) {
            nodes[kept.index()].origin = Rc::clone(&nodes[first.index()].origin);
        }
        Some(kept)
    })
}

/// Nodes by what they compute, in buckets; the nodes themselves stay in their graph.
struct Known {
    /// The last node of each bucket. There are twice as many buckets as nodes, and a power of two.
    last: Vec<Option<NodeId>>,
    /// The one before it in the bucket, for every node.
    before: Vec<Option<NodeId>>,
}

impl Known {
    fn new(nodes: usize) -> Known {
        Known { last: vec![None; (2 * nodes).next_power_of_two()], before: Vec::with_capacity(nodes) }
    }

    /// The node that computes the same, or this one at the end of `nodes`.
    fn find_or_add(&mut self, nodes: &mut Vec<Node>, node: Node) -> NodeId {
        let bucket = self.bucket(&node);
        let mut other = self.last[bucket];
        while let Some(id) = other {
            if same(&nodes[id.index()], &node) {
                return id;
            }
            other = self.before[id.index()];
        }
        let id = NodeId(nodes.len() as u32);
        nodes.push(node);
        self.before.push(self.last[bucket].replace(id));
        id
    }

    /// Equal nodes have one bucket. Axes, which seldom tell nodes apart, take no part.
    fn bucket(&self, node: &Node) -> usize {
        let op = match node.op {
            Op::Const(value) => value.to_bits(),
            ref op => {
                let mut hasher = DefaultHasher::new();
                std::mem::discriminant(op).hash(&mut hasher);
                // Leaves have no operands to tell them apart.
                if let Op::Input(index) | Op::Param(index) | Op::Scalar(index) | Op::Iota(index) | Op::Count(index) = op
                {
                    index.hash(&mut hasher);
                }
                hasher.finish()
            }
        };
        let extents = node.ty.shape.0.iter().map(|dim| dim.factor() as u64);
        let numbers = node.operands.iter().map(|operand| u64::from(operand.0) + 1).chain(extents);
        let mixed =
            numbers.fold(op, |hash, number| (hash.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (self.last.len() - 1)
    }
}

/// Whether two nodes compute the same. Constants are compared by their bits: 0 and -0 are different numbers.
fn same(x: &Node, y: &Node) -> bool {
    let same_op = match (&x.op, &y.op) {
        (Op::Const(x), Op::Const(y)) => x.to_bits() == y.to_bits(),
        (x, y) => x == y && x.fill().map(f64::to_bits) == y.fill().map(f64::to_bits),
    };
    same_op && x.operands == y.operands && x.ty == y.ty
}
