//! How much arithmetic a graph is, layer by layer.
//!
//! In: a graph. Out: its floating-point operations. A product of `[m,k]` and `[k,n]` has `2 m n k` of them. An element-wise
//! operation has one for each element, be it a sum, a comparison or a logarithm, and `mul_add` has two; a sum or a maximum
//! has one for each element that goes in; a variance has three, for deviation, square and sum, since every user of one
//! computes the mean as well. What only names, repeats or fixes numbers has none.

use std::collections::HashMap;
use std::rc::Rc;

use crate::ir::ops::Body;
use crate::ir::{Graph, NodeId, Op};
use crate::types::{Dim, Shape};

/// A number of floating-point operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    /// For each row of a batch.
    pub each: u64,
    /// On top of that, however many rows there are.
    pub once: u64,
}

impl std::ops::AddAssign for Flops {
    fn add_assign(&mut self, other: Flops) {
        self.each = self.each.saturating_add(other.each);
        self.once = self.once.saturating_add(other.once);
    }
}

impl std::iter::Sum for Flops {
    fn sum<I: Iterator<Item = Flops>>(parts: I) -> Flops {
        parts.fold(Flops::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

/// What the results of a graph need, by the layer that its nodes come from; in an update, by the parameter.
pub fn by_layer(graph: &Graph) -> HashMap<Rc<str>, Flops> {
    let live = graph.live();
    let mut layers: HashMap<Rc<str>, Flops> = HashMap::new();
    let runs = graph.runs();
    for id in graph.ids().filter(|id| live[id.index()]) {
        let once = of_node(graph, id);
        let times = runs[id.index()] as u64;
        let all = Flops { each: once.each.saturating_mul(times), once: once.once.saturating_mul(times) };
        *layers.entry(Rc::clone(graph[id].origin.name())).or_default() += all;
    }
    layers
}

/// What one operation needs; in a loop, at one step.
pub fn of_node(graph: &Graph, id: NodeId) -> Flops {
    let node = &graph[id];
    let operand = |index: usize| &graph[node.operands[index]].ty.shape;
    match (node.op.def().body, &node.op) {
        (Body::Leaf | Body::View | Body::Move | Body::Gather | Body::Loop, _) | (_, Op::Detach | Op::WithSlope) => {
            Flops::default()
        }
        (Body::Map(_), Op::MulAdd) => times(2, &node.ty.shape),
        (Body::Map(_), _) => times(1, &node.ty.shape),
        (Body::Fold | Body::Scatter, _) => times(1, operand(0)),
        (Body::Reduce(reduction), _) => times(reduction.flops, operand(0)),
        (Body::Contract, op) => {
            let (Op::Dot(axes) | Op::DotByColumn(axes)) = op else { unreachable!("{op:?} is no product") };
            let inner = axes.contracted.iter().map(|&(axis, _)| operand(0).0[axis]);
            times(2, &Shape(node.ty.shape.0.iter().copied().chain(inner).collect()))
        }
    }
}

/// As many for each element of this shape.
fn times(factor: u64, shape: &Shape) -> Flops {
    let elements = shape.0.iter().fold(factor, |product, dim| product.saturating_mul(dim.factor() as u64));
    match shape.0.iter().copied().any(Dim::is_batch) {
        true => Flops { each: elements, once: 0 },
        false => Flops { each: 0, once: elements },
    }
}
