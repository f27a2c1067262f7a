//! Writes expressions that lose their digits, or overflow on the way, in the form that does not.
//!
//! In: a forward graph. Out: one that computes the same in real numbers. This comes before differentiation, because the
//! gradient of the careless form is as careless. A rule leaves its name in the origins of the nodes that it makes. Nodes that
//! others still read stay as they are.

use std::rc::Rc;

use crate::ir::rewrite::apply;
use crate::ir::{Builder, Graph, Node, NodeId, Op, Rule};
use crate::types::{Dim, Shape};

/// All rules; of several that apply to a node the first is taken.
pub const RULES: &[Rule] = &[
    // ln(1 + e^x): e^x overflows above 88.7, and is lost beside 1 below -17.
    Rule {
        name: "stable-ln-one-plus-exp",
        apply: |b, node, _| {
            let sum = operand_of(node, &Op::Ln)?;
            let exp = one_plus(b, sum)?;
            let x = operand_of(&b[exp], &Op::Exp)?;
            Some(b.softplus(x))
        },
    },
    // ln(1 - sigmoid(x)): the difference is 0 from x = 17 on.
    Rule {
        name: "stable-ln-one-minus-sigmoid",
        apply: |b, node, _| {
            let difference = operand_of(node, &Op::Ln)?;
            let (one, sigmoid) = operands_of(&b[difference], &Op::Sub)?;
            let x = operand_of(&b[sigmoid], &Op::Sigmoid).filter(|_| b.graph().constant(one) == Some(1.0))?;
            let softplus = b.softplus(x);
            Some(b.neg(softplus))
        },
    },
    // ln(sigmoid(x)): the sigmoid is 0 below -104, and as coarse as 1 is above 17.
    Rule {
        name: "stable-ln-sigmoid",
        apply: |b, node, _| {
            let sigmoid = operand_of(node, &Op::Ln)?;
            let x = operand_of(&b[sigmoid], &Op::Sigmoid)?;
            let mirrored = b.neg(x);
            let softplus = b.softplus(mirrored);
            Some(b.neg(softplus))
        },
    },
    // ln(e^x / sum(e^x)): a probability of 0 has no logarithm.
    Rule {
        name: "stable-ln-softmax",
        apply: |b, node, _| {
            let softmax = operand_of(node, &Op::Ln)?;
            let (exp, spread) = operands_of(&b[softmax], &Op::Div)?;
            let x = operand_of(&b[exp], &Op::Exp)?;
            let Op::Broadcast(axes) = b[spread].op.clone() else { return None };
            let sum = b[spread].operands[0];
            let is_sum = |b: &Builder, sum: NodeId| matches!(b[sum].op, Op::Sum(_));
            let partition = if is_sum(b, sum) && b[sum].operands[0] == exp {
                b.ln(sum)
            } else {
                // That of `softmax`, where the largest is 1, and stands outside of the sum.
                let others = one_plus(b, sum).filter(|&others| is_sum(b, others))?;
                let all_but_one = &b[b[others].operands[0]];
                if all_but_one.op != Op::Select || all_but_one.operands[2] != exp {
                    return None;
                }
                b.log1p(others)
            };
            let shape = node.ty.shape.clone();
            let partition = b.broadcast(partition, &shape, &axes);
            Some(b.sub(x, partition))
        },
    },
    // ln(1 + x): below 1e-8 nothing of x is left beside 1.
    Rule {
        name: "stable-ln-one-plus",
        apply: |b, node, _| {
            let sum = operand_of(node, &Op::Ln)?;
            let x = one_plus(b, sum)?;
            Some(b.log1p(x))
        },
    },
    // e^x - 1: near 0 the difference has the digits of 1.
    Rule {
        name: "stable-exp-minus-one",
        apply: |b, node, _| {
            let (exp, one) = operands_of(node, &Op::Sub)?;
            let x = operand_of(&b[exp], &Op::Exp).filter(|_| b.graph().constant(one) == Some(1.0))?;
            Some(b.expm1(x))
        },
    },
    // x - mean(x): the mean of large numbers is rounded by as much as they may be apart.
    Rule {
        name: "stable-deviation",
        apply: |b, node, _| {
            let (x, spread) = operands_of(node, &Op::Sub)?;
            let Op::Broadcast(kept) = b[spread].op.clone() else { return None };
            let mean = b[spread].operands[0];
            let axes = axes_of_mean(b, mean, x).filter(|_| !is_near(b, x))?;
            let shape = b.shape(x);
            let fixed = b.detach(mean);
            let fixed = b.broadcast(fixed, &shape, &kept);
            let near = b.sub(x, fixed);
            let rest = b.mean(near, &axes);
            let rest = b.broadcast(rest, &shape, &kept);
            Some(b.sub(near, rest))
        },
    },
    // 1 / (1 + e^-x): below -88.7 its gradient is infinity times zero.
    Rule {
        name: "stable-one-over-one-plus-exp",
        apply: |b, node, _| {
            let (one, sum) = operands_of(node, &Op::Div)?;
            let exp = one_plus(b, sum).filter(|_| b.graph().constant(one) == Some(1.0))?;
            let exponent = operand_of(&b[exp], &Op::Exp)?;
            let x = operand_of(&b[exponent], &Op::Neg)?;
            Some(b.sigmoid(x))
        },
    },
];

/// Applies the rules to every node, operands first.
pub fn stabilize(graph: &Graph) -> Graph {
    let (graph, _) = apply(graph.clone(), RULES, |rule, made| {
        if let Some(first) = made.first() {
            let origin = first.origin.by_rule(rule.name);
            made.iter_mut().for_each(|node| node.origin = Rc::clone(&origin));
        }
    });
    graph
}

/// The operand of a node that is this operation.
fn operand_of(node: &Node, op: &Op) -> Option<NodeId> {
    (node.op == *op).then(|| node.operands[0])
}

/// Both operands of a node that is this operation.
fn operands_of(node: &Node, op: &Op) -> Option<(NodeId, NodeId)> {
    (node.op == *op).then(|| (node.operands[0], node.operands[1]))
}

/// The axes of a mean of `x`, if this is one: a sum divided by how many there are.
fn axes_of_mean(b: &Builder, id: NodeId, x: NodeId) -> Option<Vec<usize>> {
    let (sum, divisor) = operands_of(&b[id], &Op::Div)?;
    let Op::Sum(axes) = b[sum].op.clone() else { return None };
    if b[sum].operands[0] != x {
        return None;
    }
    let over = Shape(axes.iter().map(|&axis| b.ty(x).shape.0[axis]).collect()).len()?;
    let counted = match (&b[b.graph().behind_views(divisor)].op, over) {
        (Op::Const(c), Dim::Fixed(n)) => *c == n as f64,
        (Op::Count(factor), Dim::Batch(n)) => *factor == n,
        _ => false,
    };
    counted.then_some(axes)
}

/// Whether this is a distance from a fixed number near it already.
fn is_near(b: &Builder, id: NodeId) -> bool {
    operands_of(&b[id], &Op::Sub).is_some_and(|(_, from)| b[b.graph().behind_views(from)].op == Op::Detach)
}

/// `x` of `1 + x` or `x + 1`.
fn one_plus(b: &Builder, id: NodeId) -> Option<NodeId> {
    let (x, y) = operands_of(&b[id], &Op::Add)?;
    match [x, y].map(|side| b.graph().constant(side) == Some(1.0)) {
        [true, _] => Some(y),
        [_, true] => Some(x),
        _ => None,
    }
}
