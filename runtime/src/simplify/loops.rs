//! Rewrites of loops: what needs no state is computed for all steps at once, before or after the loop.

use crate::ir::{Builder, Node, NodeId, Op};
use crate::types::TensorType;

/// How many nodes are looked at to see that a value is not part of a loop.
const NEAR: usize = 32;

/// An element of what repeats itself at every step is that.
pub(super) fn element_of_repeated(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let (Op::Element, &[_, sequence]) = (&node.op, &node.operands[..]) else { return None };
    if let Some(value) = b.graph().constant(sequence) {
        return Some(b.constant(value, &node.ty.shape));
    }
    let Op::Broadcast(axes) = &b[sequence].op else { return None };
    let (x, axes) = (b[sequence].operands[0], axes.clone());
    let shape = node.ty.shape.clone();
    (!axes.contains(&0)).then(|| {
        let axes: Vec<usize> = axes.iter().map(|axis| axis - 1).collect();
        b.broadcast(x, &shape, &axes)
    })
}

/// What a loop collects of its sequences and states is there already.
pub(super) fn collect_of_known(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let (&Op::Collect { steps }, &[history, value]) = (&node.op, &node.operands[..]) else { return None };
    let carry = b[history].operands[0];
    match b[value].op {
        Op::Element if is_element_of(b, value, carry) => Some(b[value].operands[1]),
        Op::Carry { reverse, .. } if value == carry => Some(b.slice(history, 0, usize::from(reverse), steps, 1)),
        _ => None,
    }
}

/// A product of elements with what is the same at every step is an element of the product of the whole sequence.
pub(super) fn hoist_dot(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Dot(axes) = &node.op else { return None };
    // Of elements of two loops, that of the inner one moves.
    let side = (0..2).find(|&side| {
        let x = &b[node.operands[side]];
        x.op == Op::Element && is_outside(b, node.operands[1 - side], x.operands[0])
    })?;
    let (carry, sequence) = (b[node.operands[side]].operands[0], b[node.operands[side]].operands[1]);
    let (lifted, at) = axes.lifted(side, b.ty(node.operands[0]).shape.rank());
    let mut operands = node.operands.clone();
    operands[side] = sequence;
    let product = b.product(operands[0], operands[1], lifted);
    let rank = b.ty(product).shape.rank();
    let order: Vec<usize> = [at].into_iter().chain((0..rank).filter(|&axis| axis != at)).collect();
    let product = if at == 0 { product } else { b.transpose(product, &order) };
    Some(b.element(carry, product))
}

/// A map of an element of a product that nobody else reads, and of what is the same at every step, is an element of the map of the
/// whole product, in the kernel of that.
pub(super) fn hoist_map(b: &mut Builder, node: &Node, single: &[bool]) -> Option<NodeId> {
    if !node.op.is_map() {
        return None;
    }
    let is_product = |sequence: NodeId| {
        let behind = b.graph().behind_views(sequence);
        matches!(b[behind].op, Op::Dot(_))
    };
    let elements = node.operands.iter().filter(|&&x| b[x].op == Op::Element);
    let (carry, _) = elements.map(|&x| (b[x].operands[0], b[x].operands[1])).find(|&(carry, product)| {
        // A kernel for itself at each step of a loop around would be no part of a product that is made once.
        let is_near = |x: NodeId| {
            let around = b.graph().around(carry);
            around.is_none_or(|around| is_outside(b, x, around) || !is_outside(b, product, around))
        };
        let is_lifted = |(&x, &single): (&NodeId, &bool)| match is_element_of(b, x, carry) {
            true => single && is_product(b[x].operands[1]),
            false => is_outside(b, x, carry) && is_near(x),
        };
        node.operands.iter().zip(single).all(is_lifted)
    })?;
    let Op::Carry { steps, .. } = b[carry].op else { return None };
    let mut operands = Vec::with_capacity(node.operands.len());
    for &x in &node.operands {
        let whole = match b[x].op {
            Op::Element if is_element_of(b, x, carry) => b[x].operands[1],
            Op::Const(value) => {
                let shape = b.shape(x).stacked(steps);
                b.constant(value, &shape)
            }
            _ => {
                let shape = b.shape(x).stacked(steps);
                let axes: Vec<usize> = (1..shape.rank()).collect();
                b.broadcast(x, &shape, &axes)
            }
        };
        operands.push(whole);
    }
    let ty = TensorType { dtype: node.ty.dtype, shape: node.ty.shape.stacked(steps) };
    let whole = b.push(node.op.clone(), &operands, ty);
    Some(b.element(carry, whole))
}

fn is_element_of(b: &Builder, id: NodeId, carry: NodeId) -> bool {
    b[id].op == Op::Element && b[id].operands[0] == carry
}

/// Whether a value is surely the same at every step of the loop with this head.
fn is_outside(b: &Builder, id: NodeId, carry: NodeId) -> bool {
    let around = |head: NodeId| b.graph().outward(head).skip(1);
    let mut open = vec![id];
    let mut seen = 0;
    while let Some(id) = open.pop() {
        seen += 1;
        match b[id].op {
            // Those of a loop around are.
            Op::Carry { .. } if around(carry).any(|head| head == id) => {}
            Op::Element if around(carry).any(|head| head == b[id].operands[0]) => {}
            Op::Carry { .. } | Op::Element => return false,
            // What another loop leaves is not if that is part of the body.
            Op::History { .. } => {
                if around(b[id].operands[0]).any(|head| head == carry) {
                    return false;
                }
            }
            Op::Collect { .. } => open.push(b[id].operands[0]),
            _ if seen > NEAR => return false,
            _ => open.extend(&b[id].operands),
        }
    }
    true
}
