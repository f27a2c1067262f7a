//! The rewrites, each a named row with its condition in plain sight.

use super::loops;
use crate::ir::ops::Body;
use crate::ir::{Builder, Node, NodeId, Op, Rule};
use crate::scalar::{Host32, Host64, Scalar};
use crate::types::DType;

/// Rules that make less work.
pub const ALGEBRA: &[Rule] = &[
    Rule { name: "fold", apply: |b, node, _| folded(b, node, |exact, rounded| same(exact as f32, rounded)) },
    Rule { name: "undetach", apply: |_, node, _| unary(node, &Op::Detach) },
    Rule { name: "without-slope", apply: |_, node, _| unary(node, &Op::WithSlope) },
    Rule {
        name: "mul-one",
        apply: |b, node, _| {
            let (x, y) = binary(node, &Op::Mul)?;
            if is(b, y, 1.0) { Some(x) } else { is(b, x, 1.0).then_some(y) }
        },
    },
    Rule {
        name: "div-one",
        apply: |b, node, _| {
            let (x, y) = binary(node, &Op::Div)?;
            is(b, y, 1.0).then_some(x)
        },
    },
    Rule {
        name: "sub-zero",
        apply: |b, node, _| {
            let (x, y) = binary(node, &Op::Sub)?;
            is(b, y, 0.0).then_some(x)
        },
    },
    Rule {
        name: "neg-neg",
        apply: |b, node, _| {
            let x = unary(node, &Op::Neg)?;
            unary(&b[x], &Op::Neg)
        },
    },
    Rule {
        name: "neg-mul",
        apply: |b, node, single| {
            let product = unary(node, &Op::Neg).filter(|_| single[0])?;
            let (x, y) = binary(&b[product], &Op::Mul)?;
            let c = b.graph().constant(y)?;
            Some(b.scale(x, -c))
        },
    },
    Rule {
        name: "add-neg",
        apply: |b, node, _| {
            let (x, y) = binary(node, &Op::Add)?;
            if let Some(y) = unary(&b[y], &Op::Neg) {
                return Some(b.sub(x, y));
            }
            let x = unary(&b[x], &Op::Neg)?;
            Some(b.sub(y, x))
        },
    },
    Rule {
        name: "sub-neg",
        apply: |b, node, _| {
            let (x, y) = binary(node, &Op::Sub)?;
            let y = unary(&b[y], &Op::Neg)?;
            Some(b.add(x, y))
        },
    },
    Rule {
        name: "div-power-of-two",
        apply: |b, node, _| {
            let (x, y) = binary(node, &Op::Div)?;
            let c = b.graph().constant(y)?;
            // Within these bounds the reciprocal is a normal f32, so that nothing is lost.
            let normal = (2f64.powi(-126)..=2f64.powi(126)).contains(&c.abs());
            let power = normal && c.to_bits() << 12 == 0;
            power.then(|| b.scale(x, 1.0 / c))
        },
    },
    Rule {
        name: "select-same",
        apply: |_, node, _| match (&node.op, &node.operands[..]) {
            (Op::Select, &[_, x, y]) if x == y => Some(x),
            _ => None,
        },
    },
    Rule {
        name: "reshape-reshape",
        apply: |b, node, _| {
            let inner = unary(node, &Op::Reshape)?;
            let x = unary(&b[inner], &Op::Reshape)?;
            let shape = node.ty.shape.clone();
            Some(b.reshape(x, shape))
        },
    },
    Rule {
        name: "reshape-same",
        apply: |b, node, _| {
            let x = unary(node, &Op::Reshape)?;
            (b.shape(x) == node.ty.shape).then_some(x)
        },
    },
    Rule {
        name: "broadcast-same",
        apply: |b, node, _| {
            let (x, _) = broadcast(node)?;
            (b.shape(x) == node.ty.shape).then_some(x)
        },
    },
    Rule {
        name: "broadcast-broadcast",
        apply: |b, node, _| {
            let (inner, outer_axes) = broadcast(node)?;
            let (x, inner_axes) = broadcast(&b[inner])?;
            let axes: Vec<usize> = inner_axes.iter().map(|&axis| outer_axes[axis]).collect();
            let shape = node.ty.shape.clone();
            Some(b.broadcast(x, &shape, &axes))
        },
    },
    Rule {
        name: "transpose-same",
        apply: |_, node, _| {
            let (x, order) = transpose(node)?;
            order.is_sorted().then_some(x)
        },
    },
    Rule {
        name: "transpose-transpose",
        apply: |b, node, _| {
            let (inner, outer) = transpose(node)?;
            let (x, inner) = transpose(&b[inner])?;
            let order: Vec<usize> = outer.iter().map(|&axis| inner[axis]).collect();
            Some(b.transpose(x, &order))
        },
    },
    Rule { name: "dot-transpose", apply: dot_of_transposes },
    Rule {
        name: "slice-all",
        apply: |b, node, _| {
            let Op::Slice { .. } = node.op else { return None };
            let x = node.operands[0];
            // Of as many elements as there are, every step between them is the only one.
            (b.shape(x) == node.ty.shape).then_some(x)
        },
    },
    Rule {
        name: "slice-slice",
        apply: |b, node, _| {
            let Op::Slice { axis, start, len, step } = node.op else { return None };
            let inner = &b[node.operands[0]];
            let Op::Slice { axis: same, start: first, step: each, .. } = inner.op else { return None };
            let x = inner.operands[0];
            (axis == same && len > 0).then(|| b.slice(x, axis, first + start * each, len, step * each))
        },
    },
    Rule {
        name: "pad-nothing",
        apply: |b, node, _| {
            let Op::Pad { .. } = node.op else { return None };
            let x = node.operands[0];
            (b.shape(x) == node.ty.shape).then_some(x)
        },
    },
    Rule {
        name: "slice-pad",
        apply: |b, node, _| {
            let Op::Slice { axis, start, len, step } = node.op else { return None };
            let inner = &b[node.operands[0]];
            let Op::Pad { axis: same, before, inside, .. } = inner.op else { return None };
            let x = inner.operands[0];
            let own = axis == same && start == before && step == inside + 1;
            (own && b.shape(x).0[axis].factor() == len).then_some(x)
        },
    },
    Rule {
        name: "slice-of-padding",
        apply: |b, node, _| {
            let Op::Slice { axis, start, len, step } = node.op else { return None };
            let inner = &b[node.operands[0]];
            let Op::Pad { axis: same, before, after, value, .. } = inner.op else { return None };
            if axis != same || node.ty.dtype != DType::F32 {
                return None;
            }
            let end = inner.ty.shape.0[axis].factor() - after;
            let nothing = len == 0 || start + (len - 1) * step < before || start >= end;
            nothing.then(|| b.constant(value, &node.ty.shape))
        },
    },
    Rule {
        name: "concat-one",
        apply: |_, node, _| match (&node.op, &node.operands[..]) {
            (Op::Concat(_), &[x]) => Some(x),
            _ => None,
        },
    },
    Rule { name: "slice-concat", apply: slice_of_concat },
    Rule { name: "fast-concat-of-pads", apply: concat_of_pads },
    Rule { name: "map-before-broadcast", apply: map_before_broadcast },
    Rule {
        name: "neg-after-sum",
        apply: |b, node, _| {
            let Op::Sum(axes) = &node.op else { return None };
            let x = unary(&b[node.operands[0]], &Op::Neg)?;
            let axes = axes.clone();
            let sum = b.sum(x, &axes);
            // A sum is never -0, and of no numbers 0: so is this, which a negation would turn into -0.
            let zero = b.constant_like(0.0, sum);
            Some(b.sub(zero, sum))
        },
    },
    Rule { name: "element-of-repeated", apply: loops::element_of_repeated },
    Rule { name: "collect-of-known", apply: loops::collect_of_known },
    Rule { name: "hoist-dot", apply: loops::hoist_dot },
    Rule { name: "hoist-map", apply: loops::hoist_map },
    Rule { name: "fast-fold", apply: |b, node, _| folded(b, node, |_, _| true) },
];

/// Rules for the end, when products have found their places.
pub const CONTRACTION: &[Rule] = &[
    Rule { name: "fast-mul-add", apply: mul_add },
    Rule { name: "map-before-broadcast", apply: map_before_broadcast },
];

/// The operand of a unary operation.
fn unary(node: &Node, op: &Op) -> Option<NodeId> {
    (node.op == *op).then(|| node.operands[0])
}

/// The operands of a binary operation.
fn binary(node: &Node, op: &Op) -> Option<(NodeId, NodeId)> {
    (node.op == *op).then(|| (node.operands[0], node.operands[1]))
}

/// The operand and axes of a broadcast.
fn broadcast(node: &Node) -> Option<(NodeId, &[usize])> {
    match &node.op {
        Op::Broadcast(axes) => Some((node.operands[0], axes)),
        _ => None,
    }
}

/// The operand and the order of a transpose.
fn transpose(node: &Node) -> Option<(NodeId, &[usize])> {
    match &node.op {
        Op::Transpose(order) => Some((node.operands[0], order)),
        _ => None,
    }
}

/// A slice that stays within one operand of a concatenation along its axis is one of that operand.
fn slice_of_concat(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Slice { axis, start, len, step } = node.op else { return None };
    let inner = &b[node.operands[0]];
    if inner.op != Op::Concat(axis) || len == 0 {
        return None;
    }
    let mut first = 0;
    for &operand in &inner.operands {
        let end = first + b.shape(operand).0[axis].factor();
        if first <= start && start + (len - 1) * step < end {
            return Some(b.slice(operand, axis, start - first, len, step));
        }
        first = end;
    }
    None
}

/// Most parts that are looked for in a sum, so that it takes no longer in a larger graph.
const PARTS: usize = 64;

/// A sum of pieces padded with zeros, of which each element belongs to one piece, is their concatenation: the gradient of what was
/// split. Adding 0 to -0 would give 0.
fn concat_of_pads(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    if node.op != Op::Add || node.ty.dtype != DType::F32 {
        return None;
    }
    let mut open = node.operands.clone();
    let mut along = None;
    let mut pieces: Vec<(usize, NodeId)> = Vec::new();
    while let Some(id) = open.pop() {
        match b[id].op {
            Op::Add if pieces.len() + open.len() < PARTS => open.extend(&b[id].operands),
            Op::Pad { axis, before, inside: 0, value, .. }
                if value == 0.0 && along.is_none_or(|other| other == axis) =>
            {
                along = Some(axis);
                pieces.push((before, b[id].operands[0]));
            }
            _ => return None,
        }
    }
    let axis = along?;
    pieces.sort_by_key(|(before, _)| *before);
    let mut end = 0;
    for &(before, piece) in &pieces {
        let extent = b.shape(piece).0[axis].factor();
        if before != end || extent == 0 {
            return None;
        }
        end += extent;
    }
    let pieces: Vec<NodeId> = pieces.into_iter().map(|(_, piece)| piece).collect();
    (end == node.ty.shape.0[axis].factor()).then(|| b.concat(&pieces, axis))
}

/// A product of what was transposed is one of what it was before, over other pairs of axes, as long as the free axes come in the
/// same order. The terms of its sums do.
fn dot_of_transposes(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Dot(mut axes) = node.op.clone() else { return None };
    let mut operands = node.operands.clone();
    let mut changed = false;
    for (side, operand) in operands.iter_mut().enumerate() {
        let Some((x, order)) = transpose(&b[*operand]) else { continue };
        let free = axes.of(side, order.len()).free;
        if !free.iter().map(|&axis| order[axis]).is_sorted() {
            continue;
        }
        for (a, b) in axes.batch.iter_mut().chain(&mut axes.contracted) {
            let axis = if side == 0 { a } else { b };
            *axis = order[*axis];
        }
        *operand = x;
        changed = true;
    }
    changed.then(|| b.product(operands[0], operands[1], axes))
}

/// Whether a node is this constant, sign of zero included.
fn is(b: &Builder, id: NodeId, value: f64) -> bool {
    b.graph().constant(id).is_some_and(|c| c.to_bits() == value.to_bits())
}

/// Computes what depends on constants alone, and moves constants through views: as real numbers, if `accept` takes that for
/// the result in f32.
fn folded(b: &mut Builder, node: &Node, accept: fn(f64, f32) -> bool) -> Option<NodeId> {
    b.graph().constant(*node.operands.first()?).filter(|_| node.ty.dtype == DType::F32)?;
    let values: Option<Vec<f64>> = node.operands.iter().map(|&x| b.graph().constant(x)).collect();
    let values = values?;
    let value = match node.op.def().body {
        Body::View => values[0],
        Body::Move => {
            let alike = |value: f64| value.to_bits() == values[0].to_bits();
            Some(values[0]).filter(|_| values.iter().copied().chain(node.op.fill()).all(alike))?
        }
        Body::Map(body) => {
            let (mut exact, mut rounded) = (Host64::new(), Host32::new());
            let operands: Vec<_> = values.iter().map(|&value| exact.float(value)).collect();
            let value = body(&mut exact, &node.op, &operands);
            let value = exact.get_float(value);
            let operands: Vec<_> = values.iter().map(|&value| rounded.float(value)).collect();
            let result = body(&mut rounded, &node.op, &operands);
            Some(value).filter(|&value| accept(value, rounded.get_float(result)))?
        }
        _ => return None,
    };
    let shape = node.ty.shape.clone();
    Some(b.constant(value, &shape))
}

/// Whether two numbers are the same to the bit, or both NaN.
fn same(x: f32, y: f32) -> bool {
    x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()
}

/// `f(broadcast x, broadcast y)` is `broadcast f(x, y)` when both go the same way: fewer elements to compute.
fn map_before_broadcast(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let mut way: Option<(&[usize], NodeId)> = None;
    for &operand in node.operands.iter().filter(|_| node.op.is_map()) {
        match broadcast(&b[operand]) {
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

/// A sum of a product that nobody else reads becomes one operation, rounded once. Not so where what is added is made of a
/// product too: with one of two products rounded, `y y - t t` would not be 0 for equal numbers, nor
/// `mean(y y) - mean(y) mean(y)` for numbers that are all alike.
fn mul_add(b: &mut Builder, node: &Node, single: &[bool]) -> Option<NodeId> {
    let (Op::Add | Op::Sub, &[x, y]) = (&node.op, &node.operands[..]) else { return None };
    let minus = node.op == Op::Sub;
    let factors =
        |product, other, single: bool| binary(&b[product], &Op::Mul).filter(|_| single && !made_of_product(b, other));
    // Of a difference the second is looked at first: its sign goes to a factor.
    let [first, second] = [factors(x, y, single[0]), factors(y, x, single[1])];
    match (first, second) {
        (Some((p, q)), _) if !minus => Some(b.mul_add(p, q, y)),
        (None, Some((p, q))) if !minus => Some(b.mul_add(p, q, x)),
        (_, Some((p, q))) => {
            // To the one that is computed less often.
            let (p, q) = if broadcast(&b[q]).is_some() || b.graph().constant(q).is_some() { (q, p) } else { (p, q) };
            let p = match b.graph().constant(p) {
                Some(value) => b.constant_like(-value, p),
                None => b.neg(p),
            };
            Some(b.mul_add(p, q, x))
        }
        (Some((p, q)), None) => {
            let z = b.neg(y);
            Some(b.mul_add(p, q, z))
        }
        (None, None) => None,
    }
}

/// How many nodes `made_of_product` looks at, so that it takes no longer in a larger graph.
const NEAR: usize = 32;

/// Whether a value is a rounded product, one of several, or a sum or mean of them.
fn made_of_product(b: &Builder, id: NodeId) -> bool {
    let g = b.graph();
    let mut open = vec![id];
    let mut seen = 0;
    while let Some(id) = open.pop() {
        seen += 1;
        let node = &g[id];
        match node.op {
            Op::Mul | Op::MulAdd => return true,
            _ if seen > NEAR => return true,
            Op::Reshape | Op::Broadcast(_) | Op::Neg | Op::Abs | Op::Detach | Op::WithSlope => {
                open.push(node.operands[0]);
            }
            Op::Sum(_) | Op::Mean(_) | Op::MaxOver(_) => open.push(node.operands[0]),
            Op::Add | Op::Sub => open.extend(&node.operands),
            Op::Div if matches!(g[g.behind_views(node.operands[0])].op, Op::Sum(_)) => open.push(node.operands[0]),
            Op::Max | Op::Min => open.extend(&node.operands),
            Op::Select => open.extend(&node.operands[1..]),
            _ => {}
        }
    }
    false
}
