//! Movement that no single access does: what comes from several tensors, from between elements, or from several places at once.

use crate::fuse::domain::{Domain, is_memory};
use crate::fuse::view::bases;
use crate::ir::{Builder, Node, NodeId, Op};
use crate::scalar::Cmp;
use crate::types::{DType, Dim, Shape, TensorType};

/// One after the other: at each position the operand that has an element there, of which the others are padded.
pub(super) fn concat(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Concat(axis) = node.op else { return None };
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

/// Truth values are never in memory, and neither are positions that are computed: what moves is numbers.
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

fn as_numbers(b: &mut Builder, x: NodeId) -> NodeId {
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

fn as_dtype(b: &mut Builder, x: NodeId, dtype: DType) -> NodeId {
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

/// Elements with others between them are the first of so many each, the rest of which is filling.
pub(super) fn padded_inside(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Pad { axis, before, inside: inside @ 1.., after, value } = node.op else { return None };
    let spread = apart(b, node.operands[0], axis, inside, value);
    Some(match (before, after) {
        (0, 0) => spread,
        around => b.pad(spread, axis, [around.0, around.1], value),
    })
}

/// The elements along an axis with so many others between each two.
fn apart(b: &mut Builder, x: NodeId, axis: usize, inside: usize, value: f64) -> NodeId {
    let mut dims = b.shape(x).0;
    let count = dims[axis].factor();
    dims.insert(axis + 1, Dim::Fixed(1));
    let split = b.reshape(x, Shape(dims.clone()));
    let filled = b.pad(split, axis + 1, [0, inside], value);
    dims.remove(axis + 1);
    dims[axis] = Dim::Fixed(count * (inside + 1));
    let merged = b.reshape(filled, Shape(dims));
    b.slice(merged, axis, 0, count * (inside + 1) - inside, 1)
}

/// The sum of the taps over each element: for each tap the positions, moved by its distance.
pub(super) fn fold(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Fold { axis, window, extent } = node.op else { return None };
    let apart = match window.stride {
        1 => node.operands[0],
        stride => apart(b, node.operands[0], axis, stride - 1, 0.0),
    };
    let (step, shift) = (-(window.dilation as i64), window.before as i64);
    let moved = b.apply(Op::Skew { axis, along: axis + 1, step, shift, extent }, &[apart]);
    Some(b.sum(moved, &[axis + 1]))
}

/// What is in no memory, such as a constant, is computed before something is put around it, and so is a position before it is
/// seen in another shape.
pub(super) fn moved_leaf(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let &operand = node.operands.first()?;
    let filled = node.op.fill().is_some() || node.op == Op::Gather;
    let reshaped = node.op == Op::Reshape && Domain::of(&b[operand].ty.shape) != Domain::of(&node.ty.shape);
    let made = |base: NodeId| {
        let op = &b[base].op;
        let position = matches!(op, Op::Iota(_));
        op.is_leaf() && !is_memory(op) && (filled || reshaped && position)
    };
    if !(filled || reshaped) || !bases(b.graph(), operand).into_iter().any(made) {
        return None;
    }
    let computed = match b.ty(operand).dtype {
        DType::F32 => b.offset(operand, -0.0),
        _ => {
            let number = b.to_float(operand);
            let ty = b.ty(operand).clone();
            b.push(Op::ToIndex, &[number], ty)
        }
    };
    let operands: Vec<NodeId> = std::iter::once(computed).chain(node.operands[1..].iter().copied()).collect();
    Some(b.push(node.op.clone(), &operands, node.ty.clone()))
}

/// Rows are added in the order of the index, which has the batch in front. Where the batch is part of a row, each row of the
/// result is the sum of all that have its number.
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
    let added = b.keep(here, repeated);
    Some(if places == 0 { added } else { b.sum(added, &own[..places]) })
}
