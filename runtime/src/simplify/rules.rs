//! The rewrites, each a named row with its condition in plain sight.

use crate::ir::ops::Body;
use crate::ir::{Builder, NodeId, Op};
use crate::scalar::{Host64, Scalar};
use crate::types::DType;

/// A rewrite of one node: the node that takes its place, if the rule applies. The slice says which operands have no other
/// reader.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The name under which tests and printed IR know it.
    pub name: &'static str,
    /// The rewrite.
    pub apply: fn(&mut Builder, NodeId, &[bool]) -> Option<NodeId>,
}

/// Rules that make less work.
pub const ALGEBRA: &[Rule] = &[
    Rule { name: "fold", apply: |b, id, _| fold(b, id) },
    Rule { name: "undetach", apply: |b, id, _| unary(b, id, &Op::Detach) },
    Rule {
        name: "mul-one",
        apply: |b, id, _| {
            let (x, y) = binary(b, id, &Op::Mul)?;
            if is(b, y, 1.0) { Some(x) } else { is(b, x, 1.0).then_some(y) }
        },
    },
    Rule {
        name: "div-one",
        apply: |b, id, _| {
            let (x, y) = binary(b, id, &Op::Div)?;
            is(b, y, 1.0).then_some(x)
        },
    },
    Rule {
        name: "sub-zero",
        apply: |b, id, _| {
            let (x, y) = binary(b, id, &Op::Sub)?;
            is(b, y, 0.0).then_some(x)
        },
    },
    Rule {
        name: "neg-neg",
        apply: |b, id, _| {
            let x = unary(b, id, &Op::Neg)?;
            unary(b, x, &Op::Neg)
        },
    },
    Rule {
        name: "neg-mul",
        apply: |b, id, single| {
            let product = unary(b, id, &Op::Neg).filter(|_| single[0])?;
            let (x, y) = binary(b, product, &Op::Mul)?;
            let c = b.graph().constant(y)?;
            Some(b.scale(x, -c))
        },
    },
    Rule {
        name: "add-neg",
        apply: |b, id, _| {
            let (x, y) = binary(b, id, &Op::Add)?;
            if let Some(y) = unary(b, y, &Op::Neg) {
                return Some(b.sub(x, y));
            }
            let x = unary(b, x, &Op::Neg)?;
            Some(b.sub(y, x))
        },
    },
    Rule {
        name: "sub-neg",
        apply: |b, id, _| {
            let (x, y) = binary(b, id, &Op::Sub)?;
            let y = unary(b, y, &Op::Neg)?;
            Some(b.add(x, y))
        },
    },
    Rule {
        name: "div-power-of-two",
        apply: |b, id, _| {
            let (x, y) = binary(b, id, &Op::Div)?;
            let c = b.graph().constant(y)?;
            // Within these bounds the reciprocal is a normal f32, so that nothing is lost.
            let normal = (2f64.powi(-126)..=2f64.powi(126)).contains(&c.abs());
            let power = normal && c.to_bits() << 12 == 0;
            power.then(|| b.scale(x, 1.0 / c))
        },
    },
    Rule {
        name: "select-same",
        apply: |b, id, _| match (&b.graph()[id].op, &b.graph()[id].operands[..]) {
            (Op::Select, &[_, x, y]) if x == y => Some(x),
            _ => None,
        },
    },
    Rule {
        name: "reshape-reshape",
        apply: |b, id, _| {
            let inner = unary(b, id, &Op::Reshape)?;
            let x = unary(b, inner, &Op::Reshape)?;
            let shape = b.shape(id);
            Some(b.reshape(x, shape))
        },
    },
    Rule {
        name: "reshape-same",
        apply: |b, id, _| {
            let x = unary(b, id, &Op::Reshape)?;
            (b.shape(x) == b.shape(id)).then_some(x)
        },
    },
    Rule {
        name: "broadcast-same",
        apply: |b, id, _| {
            let (x, _) = broadcast(b, id)?;
            (b.shape(x) == b.shape(id)).then_some(x)
        },
    },
    Rule {
        name: "broadcast-broadcast",
        apply: |b, id, _| {
            let (inner, outer_axes) = broadcast(b, id)?;
            let (x, inner_axes) = broadcast(b, inner)?;
            let axes: Vec<usize> = inner_axes.iter().map(|&axis| outer_axes[axis]).collect();
            let shape = b.shape(id);
            Some(b.broadcast(x, &shape, &axes))
        },
    },
    Rule { name: "map-before-broadcast", apply: |b, id, _| map_before_broadcast(b, id) },
    Rule {
        name: "fast-neg-after-sum",
        apply: |b, id, _| {
            let Op::Sum(axes) = &b.graph()[id].op else { return None };
            let x = unary(b, b.graph()[id].operands[0], &Op::Neg)?;
            let axes = axes.clone();
            let sum = b.sum(x, &axes);
            Some(b.neg(sum))
        },
    },
    Rule { name: "fast-factor-out-of-sum", apply: |b, id, _| factor_out_of_sum(b, id) },
];

/// Rules for the end, when products have found their places.
pub const CONTRACTION: &[Rule] = &[
    Rule { name: "mul-add", apply: mul_add },
    Rule { name: "map-before-broadcast", apply: |b, id, _| map_before_broadcast(b, id) },
];

/// The operand of a unary operation.
fn unary(b: &Builder, id: NodeId, op: &Op) -> Option<NodeId> {
    let node = &b.graph()[id];
    (node.op == *op).then(|| node.operands[0])
}

/// The operands of a binary operation.
fn binary(b: &Builder, id: NodeId, op: &Op) -> Option<(NodeId, NodeId)> {
    let node = &b.graph()[id];
    (node.op == *op).then(|| (node.operands[0], node.operands[1]))
}

/// The operand and axes of a broadcast.
fn broadcast(b: &Builder, id: NodeId) -> Option<(NodeId, &[usize])> {
    match &b.graph()[id].op {
        Op::Broadcast(axes) => Some((b.graph()[id].operands[0], axes)),
        _ => None,
    }
}

/// Whether a node is this constant, sign of zero included.
fn is(b: &Builder, id: NodeId, value: f64) -> bool {
    b.graph().constant(id).is_some_and(|c| c.to_bits() == value.to_bits())
}

/// Computes what depends on constants alone, and moves constants through views.
fn fold(b: &mut Builder, id: NodeId) -> Option<NodeId> {
    let node = &b.graph()[id];
    b.graph().constant(*node.operands.first()?).filter(|_| node.ty.dtype == DType::F32)?;
    let values: Option<Vec<f64>> = node.operands.iter().map(|&x| b.graph().constant(x)).collect();
    let values = values?;
    let value = match node.op.def().body {
        Body::View => values[0],
        Body::Map(body) => {
            let mut host = Host64::new();
            let operands: Vec<_> = values.iter().map(|&value| host.float(value)).collect();
            let result = body(&mut host, &node.op, &operands);
            host.get_float(result)
        }
        _ => return None,
    };
    let shape = node.ty.shape.clone();
    Some(b.constant(value, &shape))
}

/// `f(broadcast x, broadcast y)` is `broadcast f(x, y)` when both go the same way: fewer elements to compute.
fn map_before_broadcast(b: &mut Builder, id: NodeId) -> Option<NodeId> {
    let node = &b.graph()[id];
    let mut way: Option<(&[usize], NodeId)> = None;
    for &operand in node.operands.iter().filter(|_| node.op.is_map()) {
        match broadcast(b, operand) {
            Some((x, axes)) if way.is_none_or(|(other, _)| other == axes) => way = Some((axes, x)),
            _ if b.graph().constant(operand).is_some() => {}
            _ => return None,
        }
    }
    let (axes, like) = way?;
    let (axes, node) = (axes.to_vec(), node.clone());
    let small = b.shape(like);
    let operands: Vec<NodeId> = node
        .operands
        .iter()
        .map(|&operand| match b.graph().constant(operand) {
            Some(value) => b.constant(value, &small),
            None => b.graph()[operand].operands[0],
        })
        .collect();
    let ty = crate::types::TensorType { dtype: node.ty.dtype, shape: small };
    let result = b.push(node.op, &operands, ty);
    Some(b.broadcast(result, &node.ty.shape, &axes))
}

/// Factors of a product that are looked at. A square of a square of a square has as many as its power.
const MOST_FACTORS: usize = 64;

/// `sum(x c)` is `c sum(x)` where `c` does not vary along the sum. The factors that stay are ordered by age, so that
/// equal products meet.
fn factor_out_of_sum(b: &mut Builder, id: NodeId) -> Option<NodeId> {
    let Op::Sum(axes) = &b.graph()[id].op else { return None };
    let axes = axes.clone();
    let product = b.graph()[id].operands[0];
    let rank = b.ty(product).shape.rank();
    let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
    let fixed = |b: &Builder, factor: NodeId| {
        b.graph().constant(factor).is_some()
            || broadcast(b, factor).is_some_and(|(_, to)| to == kept || (to.is_empty() && !kept.is_empty()))
    };
    // A product of which nothing leaves the sum stays as it is: others may use it too.
    let has_fixed = |b: &Builder, factor: NodeId| {
        let mut open = vec![factor];
        for _ in 0..MOST_FACTORS {
            let Some(factor) = open.pop() else { break };
            match binary(b, factor, &Op::Mul) {
                Some((x, y)) => open.extend([x, y]),
                None if fixed(b, factor) => return true,
                None => {}
            }
        }
        false
    };
    let mut factors = Vec::new();
    let mut open = vec![product];
    while let Some(factor) = open.pop() {
        if factors.len() + open.len() > MOST_FACTORS {
            return None;
        }
        match binary(b, factor, &Op::Mul) {
            Some((x, y)) if has_fixed(b, factor) => open.extend([x, y]),
            _ => factors.push(factor),
        }
    }
    factors.sort();
    let (out, inside): (Vec<NodeId>, Vec<NodeId>) = factors.into_iter().partition(|&factor| fixed(b, factor));
    if out.is_empty() || inside.is_empty() {
        return None;
    }
    let inner = inside.into_iter().reduce(|x, y| b.mul(x, y))?;
    let sum = b.sum(inner, &axes);
    let shape = b.shape(sum);
    let outer: Vec<NodeId> = out
        .into_iter()
        .map(|factor| match (b.graph().constant(factor), broadcast(b, factor)) {
            (Some(value), _) => b.constant(value, &shape),
            (None, Some((x, _))) => b.spread(x, &shape),
            (None, None) => unreachable!("a factor that leaves the sum is a constant or a broadcast"),
        })
        .collect();
    let factor = outer.into_iter().reduce(|x, y| b.mul(x, y))?;
    Some(b.mul(sum, factor))
}

/// A sum of a product that nobody else reads becomes one operation, rounded once.
fn mul_add(b: &mut Builder, id: NodeId, single: &[bool]) -> Option<NodeId> {
    let product = |b: &Builder, position: usize| {
        let operand = b.graph()[id].operands[position];
        binary(b, operand, &Op::Mul).filter(|_| single[position])
    };
    if !matches!(b.graph()[id].op, Op::Add | Op::Sub) {
        return None;
    }
    let node = b.graph()[id].clone();
    let operands = |position: usize| node.operands[position];
    match node.op {
        Op::Add => {
            if let Some((x, y)) = product(b, 0) {
                return Some(b.apply(Op::MulAdd, &[x, y, operands(1)]));
            }
            let (x, y) = product(b, 1)?;
            Some(b.apply(Op::MulAdd, &[x, y, operands(0)]))
        }
        Op::Sub => {
            if let Some((x, y)) = product(b, 1) {
                // The sign goes to the factor that is computed less often.
                let (x, y) = if broadcast(b, y).is_some() || b.graph().constant(y).is_some() { (y, x) } else { (x, y) };
                let minus = b.graph().constant(x);
                let minus = match minus {
                    Some(value) => b.constant_like(-value, x),
                    None => b.neg(x),
                };
                return Some(b.apply(Op::MulAdd, &[minus, y, operands(0)]));
            }
            let (x, y) = product(b, 0)?;
            let minus = b.neg(operands(1));
            Some(b.apply(Op::MulAdd, &[x, y, minus]))
        }
        _ => None,
    }
}
