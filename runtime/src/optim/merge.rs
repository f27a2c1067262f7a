//! How the gradients of several batches become that of one batch with all their rows, derived from the loss.
//!
//! In: a graph with a loss. Out: a [`GradientMerge`], or why there is none. A value grows with the power `p` of the rows if it
//! becomes `k^p` times as large when every row is repeated `k` times: a sum over rows with power 1, a mean with power 0. This is
//! derived from the graph, operation by operation. The gradients of a loss with power 0 are averaged, those of a loss with power 1
//! are added up. For means and sums of terms that each belong to one row, this is exact. Other losses with power 0, such as the
//! root of a mean or a mean weighted by classes (0 for those to ignore), are computed per batch, like the statistics of batch norm,
//! and then averaged.

use crate::ir::ops::Body;
use crate::ir::{Graph, NodeId, Op, Role};

/// How gradients of several batches become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientMerge {
    /// Their mean, weighted by rows.
    Mean,
    /// Their sum.
    Sum,
}

/// What follows from a loss for its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Merging {
    /// How they become one.
    pub merge: GradientMerge,
    /// For a loss whose gradients are added up, the terms that do not depend on the rows: they count once.
    pub once: Vec<NodeId>,
}

/// How the gradients of a loss merge; an error says, as a part of a sentence, why they do not.
pub fn merging(graph: &Graph) -> Result<Merging, String> {
    let loss = graph.output(&Role::Loss).expect("only a graph with a loss is trained");
    let growth = Growths::new(graph);
    let terms = terms(graph, loss);
    let mut once = Vec::new();
    let (mut grows, mut stays) = (false, false);
    for term in terms {
        match growth.of[term.index()] {
            Growth::Any => {}
            Growth::Power(0.0) if !growth.varies[term.index()] => once.push(term),
            Growth::Power(0.0) => stays = true,
            Growth::Power(1.0) => grows = true,
            Growth::Power(power) => return Err(format!("one of its terms grows with the power {power} of the rows")),
            Growth::Unknown(culprit) => {
                let node = &graph[culprit];
                return Err(format!(
                    "in `{}`, `{}` is taken of what grows with the rows",
                    node.origin.label(),
                    node.op.def().name
                ));
            }
        }
    }
    match (grows, stays) {
        (true, true) => Err("it adds up terms that grow with the rows and terms that do not".to_string()),
        (true, false) => Ok(Merging { merge: GradientMerge::Sum, once }),
        (false, _) => Ok(Merging { merge: GradientMerge::Mean, once: Vec::new() }),
    }
}

/// The terms of the sum that a value is, each once, without constant factors.
fn terms(graph: &Graph, value: NodeId) -> Vec<NodeId> {
    let in_sum = in_sum(graph, value, |_| false);
    graph.ids().rev().filter(|&id| in_sum[id.index()] && parts(graph, id).is_empty()).collect()
}

/// Whether a node is the value, or a part of the sum that it is; of those for which `is_term` holds the parts do not count.
pub(super) fn in_sum(graph: &Graph, value: NodeId, is_term: impl Fn(NodeId) -> bool) -> Vec<bool> {
    let mut in_sum = vec![false; graph.nodes.len()];
    in_sum[value.index()] = true;
    // Operands come before what is made of them.
    for id in graph.ids().rev() {
        if in_sum[id.index()] && !is_term(id) {
            parts(graph, id).into_iter().for_each(|at| in_sum[graph[id].operands[at].index()] = true);
        }
    }
    in_sum
}

/// Which operands a value is a sum of, or a constant multiple.
pub(super) fn parts(graph: &Graph, value: NodeId) -> Vec<usize> {
    let node = &graph[value];
    let constant = |operand: usize| graph.constant(node.operands[operand]).is_some();
    match node.op {
        Op::Add | Op::Sub => vec![0, 1],
        Op::Neg | Op::Reshape => vec![0],
        Op::Mul | Op::Div if constant(1) => vec![0],
        Op::Mul if constant(0) => vec![1],
        _ => Vec::new(),
    }
}

/// How a value grows with the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    /// Zero, whatever it is multiplied by.
    Any,
    /// With this power of them.
    Power(f64),
    /// In no such way, because of this operation.
    Unknown(NodeId),
}

/// What is known about every node.
struct Growths {
    of: Vec<Growth>,
    /// Whether it depends on the content of the rows.
    varies: Vec<bool>,
}

impl Growths {
    fn new(graph: &Graph) -> Growths {
        let mut growths = Growths { of: Vec::new(), varies: Vec::new() };
        for id in graph.ids() {
            let node = &graph[id];
            let given = matches!(node.op, Op::Input(_) | Op::Uniform);
            let varies = given || node.operands.iter().any(|operand| growths.varies[operand.index()]);
            let growth = growths.next(graph, id);
            growths.of.push(growth);
            growths.varies.push(varies);
        }
        growths
    }

    fn next(&self, graph: &Graph, id: NodeId) -> Growth {
        let node = &graph[id];
        let x = |operand: usize| self.of[node.operands[operand].index()];
        let unknown = node.operands.iter().map(|operand| self.of[operand.index()]);
        if let Some(unknown) = unknown.into_iter().find(|growth| matches!(growth, Growth::Unknown(_))) {
            return unknown;
        }
        let scaled = |growth: Growth, by: f64, plus: f64| match growth {
            Growth::Power(power) => Growth::Power(by * power + plus),
            other => other,
        };
        let product = |x: Growth, y: Growth, sign: f64| match (x, y) {
            (Growth::Power(x), Growth::Power(y)) => Growth::Power(x + sign * y),
            _ => Growth::Any,
        };
        let alike = |x: Growth, y: Growth| match (x, y) {
            (Growth::Any, other) | (other, Growth::Any) => other,
            (x, y) if x == y => x,
            _ => Growth::Unknown(id),
        };
        let flat = |growth: Growth| match growth {
            Growth::Any | Growth::Power(0.0) => Growth::Power(0.0),
            _ => Growth::Unknown(id),
        };
        // Whether the batch is among the axes that disappear.
        let rows = |axes: &[usize]| {
            let extents = &graph[node.operands[0]].ty.shape.0;
            f64::from(u8::from(axes.iter().any(|&axis| extents[axis].is_batch())))
        };
        match &node.op {
            Op::Const(0.0) => Growth::Any,
            Op::Count(_) => Growth::Power(1.0),
            op if op.is_leaf() => Growth::Power(0.0),
            op if op.is_view() => x(0),
            // Zeros and infinities stay what they are.
            Op::Pad { value, .. } | Op::Patches { value, .. } if *value != 0.0 && value.is_finite() => {
                alike(x(0), Growth::Power(0.0))
            }
            Op::Transpose(_)
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Patches { .. }
            | Op::Fold { .. }
            | Op::Skew { .. } => x(0),
            Op::Concat(_) => (0..node.operands.len()).map(x).fold(Growth::Any, alike),
            Op::Gather => x(0),
            Op::ScatterAdd { .. } => {
                let index = &graph[node.operands[1]].ty.shape;
                scaled(x(0), 1.0, rows(&Vec::from_iter(0..index.rank())))
            }
            Op::Neg | Op::Abs | Op::Detach | Op::WithSlope | Op::Not => x(0),
            Op::ToFloat | Op::ToIndex => x(0),
            Op::Sqrt => scaled(x(0), 0.5, 0.0),
            Op::Rsqrt => scaled(x(0), -0.5, 0.0),
            Op::Add | Op::Sub | Op::Max | Op::Min => alike(x(0), x(1)),
            Op::Mul => product(x(0), x(1), 1.0),
            Op::Div => product(x(0), x(1), -1.0),
            Op::MulAdd => alike(product(x(0), x(1), 1.0), x(2)),
            Op::Compare(_) | Op::IndexEq => match alike(x(0), x(1)) {
                Growth::Unknown(id) => Growth::Unknown(id),
                _ => Growth::Power(0.0),
            },
            Op::Select => alike(x(1), x(2)),
            Op::Dot(axes) | Op::DotByColumn(axes) => {
                let over = axes.of(0, graph[node.operands[0]].ty.shape.rank()).contracted;
                scaled(product(x(0), x(1), 1.0), 1.0, rows(&over))
            }
            Op::Carry { .. } => x(0),
            Op::Element | Op::Collect { .. } => x(1),
            // What a step makes of the state has to grow as the state that it was given.
            Op::History { .. } => alike(x(0), x(1)),
            op if let Some((reduction, axes)) = op.def().reduction().zip(op.axes()) => {
                scaled(x(0), reduction.power, if reduction.adds_up { rows(axes) } else { 0.0 })
            }
            // Any other function of zero, or of numbers that do not grow, does not grow.
            op if matches!(op.def().body, Body::Map(_)) => {
                node.operands.iter().map(|operand| flat(self.of[operand.index()])).fold(Growth::Power(0.0), alike)
            }
            op => unreachable!("{op:?} is none of these"),
        }
    }
}
