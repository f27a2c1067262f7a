//! Products that the gradient computes again rather than reads: scores of attention, and what is made of them element by element.
//!
//! In: a legalized graph. Out: the same, in which what comes after the loss reads copies of them. Scores have an element for each pair
//! of positions, and all that they are made of is kept for the gradient anyway; so nothing that grows with the pairs has to be kept
//! from one pass to the other. A copy is the same operations on the same numbers, so it has the same bits. What is known of a row,
//! such as its largest score, is read.

use std::collections::HashMap;

use crate::fuse::runs::in_runs;
use crate::ir::ops::Body;
use crate::ir::rewrite::{NodeMap, rewrite};
use crate::ir::{Builder, Graph, Node, NodeId, Op, Role};
use crate::types::Dim;

/// The rule in the origin of such a copy of a product.
pub(in crate::fuse) const AGAIN: &str = "again";

/// Most operations between a product and what is read of it.
const MOST: usize = 64;

pub(super) fn products_after_the_loss(graph: Graph) -> (Graph, NodeMap) {
    let made = Made::of(&graph);
    if made.of.iter().all(Option::is_none) {
        let nodes = graph.nodes.len();
        return (graph, NodeMap::identity(nodes));
    }
    with_copies(graph, made)
}

/// Never in line: most programs have no such products, and need the question alone.
#[inline(never)]
fn with_copies(graph: Graph, made: Made) -> (Graph, NodeMap) {
    let (old, heads) = (graph.clone(), graph.heads());
    let mut moved: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    let mut copies: HashMap<NodeId, NodeId> = HashMap::new();
    rewrite(graph, |b, id, mut node| {
        // A step of a loop would compute all of it each time.
        if id > made.loss && heads[id.index()].is_none() {
            for (at, &operand) in old[id].operands.iter().enumerate() {
                if made.of[operand.index()].is_some() {
                    node.operands[at] = copy(b, &old, (&made, &moved), &mut copies, operand);
                }
            }
        }
        moved.push(b.add_node(node));
        moved.last().copied()
    })
}

/// A node once more, with the product that it is made of.
fn copy(
    b: &mut Builder,
    old: &Graph,
    (made, moved): (&Made, &[NodeId]),
    copies: &mut HashMap<NodeId, NodeId>,
    id: NodeId,
) -> NodeId {
    if let Some(&copy) = copies.get(&id) {
        return copy;
    }
    let is_product = made.of[id.index()].is_some_and(|(product, _)| product == id);
    let operand = |operand: NodeId, b: &mut Builder, copies: &mut HashMap<NodeId, NodeId>| {
        let again = !is_product && made.of[operand.index()].is_some();
        if again { copy(b, old, (made, moved), copies, operand) } else { moved[operand.index()] }
    };
    let Node { op, operands, ty, origin } = old[id].clone();
    let origin = if is_product { origin.by_rule(AGAIN) } else { origin };
    let operands = operands.into_iter().map(|id| operand(id, b, copies)).collect();
    let copy = b.add_node(Node { op, operands, ty, origin });
    copies.insert(id, copy);
    copy
}

/// What is made of a product element by element, up to the loss.
struct Made {
    loss: NodeId,
    /// For each node the product, if it is made of one, and how many operations are between them.
    of: Vec<Option<(NodeId, usize)>>,
}

impl Made {
    fn of(g: &Graph) -> Made {
        let mut of = vec![None; g.nodes.len()];
        let loss = g.outputs.iter().find(|output| output.role == Role::Loss).map(|output| output.node);
        let Some(loss) = loss else { return Made { loss: NodeId(0), of } };
        let heads = g.heads();
        let mut is_result = vec![false; g.nodes.len()];
        g.outputs.iter().for_each(|output| is_result[g.behind_reshapes(output.node).index()] = true);
        for id in g.ids().take_while(|id| *id < loss) {
            let node = &g[id];
            if heads[id.index()].is_some() || is_result[id.index()] {
                continue;
            }
            of[id.index()] = match node.op.def().body {
                Body::Contract => grows(g, id).then_some((id, 0)),
                Body::Map(_) => made_of_one(g, id, &of),
                _ if matches!(node.op, Op::Reshape | Op::Transpose(_)) => of[node.operands[0].index()],
                _ => None,
            };
        }
        Made { loss, of }
    }
}

/// The product that a map is made of, if it has an element for each of its elements.
fn made_of_one(g: &Graph, id: NodeId, of: &[Option<(NodeId, usize)>]) -> Option<(NodeId, usize)> {
    let mut products = g[id].operands.iter().filter_map(|operand| of[operand.index()]);
    let (product, mut count) = products.next()?;
    for (other, others) in products {
        if other != product {
            return None;
        }
        count += others;
    }
    (g[id].ty.shape.len() == g[product].ty.shape.len() && count < MOST).then_some((product, count + 1))
}

/// Whether a product of two values that each sample has of its own has as many elements as both together: then it takes as long to
/// read as to compute, and no memory.
fn grows(g: &Graph, id: NodeId) -> bool {
    let len = |id: NodeId| match g[id].ty.shape.len() {
        Some(Dim::Batch(len)) => Some(len),
        _ => None,
    };
    let [a, b] = g[id].operands[..] else { return false };
    let (Some(own), Some(a), Some(b)) = (len(id), len(a), len(b)) else { return false };
    own >= a.saturating_add(b) && !in_runs(g, id)
}
