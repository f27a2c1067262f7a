//! Movement that no single access can express: elements from several tensors, from between elements, or sums of several elements.

use super::empty::is_empty;
use super::loops::part_of_element;
use crate::fuse::domain::{Domain, is_memory};
use crate::fuse::view::{bases, memory_order};
use crate::ir::ops::Body;
use crate::ir::{Builder, Node, NodeId, Op};
use crate::scalar::Cmp;
use crate::types::{DType, Dim, Shape, TensorType};

/// A concatenation that is not made of parts: every operand is padded to the whole extent, and each position selects the operand that
/// has an element there.
pub(super) fn concat(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Concat(axis) = node.op else { return None };
    if has_parts(b, node, axis) {
        return None;
    }
    let shape = &node.ty.shape;
    let total = shape.0[axis].factor();
    let position = b.iota(axis, shape);
    let position = b.to_float(position);
    let mut end = total;
    let mut result = None;
    for &operand in node.operands.iter().rev() {
        let start = end - b.shape(operand).0[axis].factor();
        let numbers = as_numbers(b, operand);
        let padded = b.pad(numbers, axis, [start, total - end], 0.0);
        result = Some(match result {
            None => padded,
            Some(rest) => {
                let limit = b.constant(end as f64, shape);
                let here = b.compare(Cmp::Lt, position, limit);
                b.select(here, padded, rest)
            }
        });
        end = start;
    }
    Some(as_dtype(b, result?, node.ty.dtype))
}

/// Whether the parts of a concatenation are written to their places in it: where at least half of it is computed. What is in memory
/// already would have to be copied, and may as well be read where it is.
fn has_parts(b: &Builder, node: &Node, axis: usize) -> bool {
    let is_computed = |operand: NodeId| {
        let mut id = operand;
        while matches!(b[id].op, Op::Reshape | Op::Transpose(_)) {
            id = b[id].operands[0];
        }
        let op = &b[id].op;
        op.is_map() || matches!(op.def().body, Body::Contract | Body::Reduce(_)) || matches!(op, Op::Concat(_))
    };
    let computed = node.operands.iter().filter(|operand| is_computed(**operand));
    let computed: usize = computed.map(|&operand| b[operand].ty.shape.0[axis].factor()).sum();
    node.ty.dtype == DType::F32 && !is_empty(&node.ty.shape) && 2 * computed >= node.ty.shape.0[axis].factor()
}

/// A map of a concatenation that nobody else reads is the concatenation of maps of its parts, each computed where its part is; so long
/// as its other operands are constants or lie in memory.
pub(super) fn map_of_parts(b: &mut Builder, node: &Node, single: &[bool]) -> Option<NodeId> {
    let parts = |b: &Builder, x: NodeId| match b[x].op {
        Op::Concat(axis) => Some((axis, b[x].operands.clone())),
        _ => None,
    };
    let floats = node.ty.dtype == DType::F32 && node.op.is_map();
    let (at, (axis, whole)) = node.operands.iter().enumerate().find_map(|(at, &x)| Some((at, parts(b, x)?)))?;
    let follows = |&(other, &x): &(usize, &NodeId)| {
        let op = &b[x].op;
        other == at || b.ty(x).dtype == DType::F32 && (is_memory(op) || matches!(op, Op::Const(_) | Op::Element))
    };
    if !floats || !single[at] || !node.operands.iter().enumerate().all(|each| follows(&each)) {
        return None;
    }
    let mut start = 0;
    let mut maps = Vec::new();
    for part in whole {
        let shape = b.shape(part);
        let len = shape.0[axis].factor();
        let mut operands = Vec::new();
        for (other, &x) in node.operands.iter().enumerate() {
            operands.push(match b[x].op {
                _ if other == at => part,
                Op::Const(value) => b.constant(value, &shape),
                Op::Element if single[other] => part_of_element(b, x, [axis, start, len]),
                _ => b.slice(x, axis, start, len, 1),
            });
        }
        maps.push(b.push(node.op.clone(), &operands, TensorType::f32(shape)));
        start += len;
    }
    Some(b.concat(&maps, axis))
}

/// Truth values are never in memory, and neither are computed positions: they are moved as numbers.
pub(super) fn moved_without_numbers(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let moves = node.op.coordinates(0, &[&b[*node.operands.first()?].ty.shape]).is_some();
    let truth = node.ty.dtype == DType::Bool;
    let plain = matches!(node.op, Op::Broadcast(_) | Op::Concat(_));
    if !moves || !truth || plain {
        return None;
    }
    let numbers = as_numbers(b, node.operands[0]);
    let moved = b.push(node.op.clone(), &[numbers], TensorType::f32(node.ty.shape.clone()));
    Some(as_dtype(b, moved, DType::Bool))
}

pub(super) fn as_numbers(b: &mut Builder, x: NodeId) -> NodeId {
    match b.ty(x).dtype {
        DType::F32 => x,
        DType::Bool => {
            let shape = b.shape(x);
            let [one, zero] = [1.0, 0.0].map(|value| b.constant(value, &shape));
            b.select(x, one, zero)
        }
        DType::U8 | DType::U16 | DType::U32 => b.to_float(x),
    }
}

pub(super) fn as_dtype(b: &mut Builder, x: NodeId, dtype: DType) -> NodeId {
    match dtype {
        DType::F32 => x,
        DType::Bool => {
            let zero = b.constant_like(0.0, x);
            b.compare(Cmp::Ne, x, zero)
        }
        DType::U8 | DType::U16 | DType::U32 => {
            let ty = TensorType { dtype, shape: b.shape(x) };
            b.push(Op::ToIndex, &[x], ty)
        }
    }
}

/// The same numbers, or positions, computed: adding -0 changes no number. As a number, a position above 2^24 would be rounded.
pub(super) fn computed(b: &mut Builder, x: NodeId) -> NodeId {
    match b.ty(x).dtype {
        DType::F32 => b.offset(x, -0.0),
        _ => b.detach(x),
    }
}

/// Padding between elements: each element becomes a group of which it is the first, and the rest is the fill.
pub(super) fn padded_inside(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Pad { axis, before, inside: inside @ 1.., after, value } = node.op else { return None };
    let groups = in_groups(b, node.operands[0], axis, inside, value);
    // The fill after the last element is more than there is between two, or less.
    let (spread, after) = match after.checked_sub(inside) {
        Some(more) => (groups, more),
        None => {
            let len = b.shape(groups).0[axis].factor() + after - inside;
            (b.slice(groups, axis, 0, len, 1), 0)
        }
    };
    Some(match (before, after) {
        (0, 0) => spread,
        around => b.pad(spread, axis, [around.0, around.1], value),
    })
}

/// The elements along an axis with `inside` others after each. As numbers with an axis of their own for them, so that whatever reads
/// them can have that among its axes.
fn in_groups(b: &mut Builder, x: NodeId, axis: usize, inside: usize, value: f64) -> NodeId {
    let mut dims = b.shape(x).0;
    let count = dims[axis].factor();
    dims.insert(axis + 1, Dim::Fixed(1));
    let split = b.reshape(x, Shape(dims.clone()));
    let filled = b.pad(split, axis + 1, [0, inside], value);
    let numbers = if b.ty(filled).dtype == DType::F32 { b.offset(filled, -0.0) } else { filled };
    dims.remove(axis + 1);
    dims[axis] = Dim::Fixed(count * (inside + 1));
    b.reshape(numbers, Shape(dims))
}

/// The sum of the taps over each element: the positions of each tap are moved by the distance of the tap, and added up.
pub(super) fn fold(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Fold { axis, window, extent } = node.op else { return None };
    let apart = match window.stride {
        1 => node.operands[0],
        stride => {
            let groups = in_groups(b, node.operands[0], axis, stride - 1, 0.0);
            let len = b.shape(groups).0[axis].factor() - (stride - 1);
            b.slice(groups, axis, 0, len, 1)
        }
    };
    let (step, shift) = (-(window.dilation as i64), window.before as i64);
    let moved = b.apply(Op::Skew { axis, along: axis + 1, step, shift, extent }, &[apart]);
    Some(b.sum(moved, &[axis + 1]))
}

/// A leaf that is not in memory, such as a constant, is computed before it is padded or gathered, and a position before it is
/// reshaped.
pub(super) fn moved_leaf(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let &operand = node.operands.first()?;
    let filled = node.op.fill().is_some() || node.op == Op::Gather;
    let (from, to) = (&b[operand].ty.shape, &node.ty.shape);
    let others = from.rank().max(to.rank()) > 2 || Domain::of(from) != Domain::of(to);
    let reshaped = node.op == Op::Reshape && others;
    let made = |base: NodeId| {
        let op = &b[base].op;
        let position = matches!(op, Op::Iota(_));
        op.is_leaf() && !is_memory(op) && (filled || reshaped && position)
    };
    if !(filled || reshaped) || !bases(b.graph(), operand).into_iter().any(made) {
        return None;
    }
    let computed = computed(b, operand);
    let operands: Vec<NodeId> = std::iter::once(computed).chain(node.operands[1..].iter().copied()).collect();
    Some(b.push(node.op.clone(), &operands, node.ty.clone()))
}

/// Rows are added in the order of the index, whose first axis is the batch. Where the batch is part of a row,
/// or a later axis of the index, each row of the result is a sum over all values, of which those with another number are masked
/// out.
pub(super) fn scattered_rows_of_batches(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::ScatterAdd { rows } = node.op else { return None };
    let (values, index) = (node.operands[0], node.operands[1]);
    let (shape, places) = (b.shape(values), b.shape(index).rank());
    let batch = shape.0.iter().position(|dim| dim.is_batch())?;
    if batch < places && batch == 0 {
        return None;
    }
    let all = Shape(std::iter::once(Dim::Fixed(rows)).chain(shape.0.iter().copied()).collect());
    let own: Vec<usize> = (1..=shape.rank()).collect();
    let repeated = b.broadcast(values, &all, &own);
    let index = b.broadcast(index, &all, &own[..places]);
    let row = b.iota(0, &all);
    let here = b.index_eq(index, row);
    let added = b.mask(here, repeated);
    Some(if places == 0 { added } else { b.sum(added, &own[..places]) })
}

/// What is transposed and then repeated is copied in between: where it lies each element is on a line of its own, and is read there every
/// time. Measured with 64 x 7 x 7 elements a sample that windows of 2 x 2 repeat in two kernels: 433 and 487 us without a copy, 173 and
/// 168 with one, which takes 40 (AMD Zen 5).
pub(super) fn repeated_transposition(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Broadcast(axes) = &node.op else { return None };
    let operand = *node.operands.first()?;
    let x = b.graph().behind_reshapes(operand);
    let Op::Transpose(order) = &b[x].op else { return None };
    let turned =
        order.last().is_some_and(|&last| last + 1 != order.len() && b[x].ty.shape.0.last() != Some(&Dim::Fixed(1)));
    let from = bases(b.graph(), x);
    let computed = from.iter().all(|&base| !b[base].op.is_leaf());
    // What is behind the batch lies in memory as if the batch came first.
    let moves_batch = [x, b[x].operands[0]].iter().any(|&x| memory_order(&b[x].ty.shape).is_some());
    if axes.is_empty() || !turned || moves_batch || !computed || b.ty(operand).dtype != DType::F32 {
        return None;
    }
    let copy = b.offset(operand, -0.0);
    Some(b.push(node.op.clone(), &[copy], node.ty.clone()))
}
