//! Reductions in the forms that kernels compute: along the last axis, down all axes but the last, over everything, or over some axes
//! between the first and the last.

use super::batch::transposed;
use crate::ir::{Builder, Node, NodeId, Op};
use crate::kernel::CHUNK;
use crate::types::{Dim, Shape};

/// Whether these axes of a tensor of this rank are the last one, all but the last one, or all.
pub(crate) fn is_canonical(axes: &[usize], rank: usize) -> bool {
    axes.len() == rank || axes == [rank - 1] || axes.iter().copied().eq(0..rank - 1)
}

/// Whether a sum over these axes is one within rows: over neither the first nor the last axis, and not over the batch.
pub(crate) fn is_within(axes: &[usize], shape: &Shape) -> bool {
    let inside = axes.first() > Some(&0) && axes.last() < Some(&(shape.rank() - 1));
    inside && axes.iter().all(|&axis| !shape.0[axis].is_batch())
}

/// A reduction over the leading axes: they become the rows of a matrix, and the others its columns.
pub(super) fn down_leading_axes(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let axes = node.op.axes()?;
    let dims = &b[node.operands[0]].ty.shape.0;
    let leading = axes.iter().copied().eq(0..axes.len());
    if !leading || is_canonical(axes, dims.len()) {
        return None;
    }
    let merged = |dims: &[Dim]| Dim::product(dims).expect("extents were checked when the graph was made");
    let (rows, cols) = dims.split_at(axes.len());
    let shape = Shape(vec![merged(rows), merged(cols)]);
    let matrix = b.reshape(node.operands[0], shape);
    let reduced = b.apply(node.op.over(vec![0]), &[matrix]);
    Some(b.reshape(reduced, node.ty.shape.clone()))
}

/// Sums and maxima over any other axes, one axis after the other.
pub(super) fn axis_by_axis(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let total = node.op.def().reduction()?.total().is_some();
    let axes = node.op.axes()?;
    let shape = &b[node.operands[0]].ty.shape;
    let known = is_canonical(axes, shape.rank()) || is_within(axes, shape);
    (total && !known).then(|| over(b, &node.op, node.operands[0], axes.to_vec()))
}

/// A long sum within rows as a sum of sums, so that no chain of terms is longer than one down a column: their errors would add up.
/// Where the terms have no suitable divisor, it stays as long as it is.
pub(super) fn sum_in_parts(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let (axes, x) = (node.op.axes()?, *node.operands.first()?);
    let adds_up = node.op.def().reduction()?.adds_up;
    let shape = b.shape(x);
    if !adds_up || is_canonical(axes, shape.rank()) || !is_within(axes, &shape) || terms(axes, &shape) <= CHUNK {
        return None;
    }
    in_parts(b, &node.op, x, axes)
}

/// The sum over some axes that have more terms than a chunk: first over the last of them, as many as have no more, or over a part of
/// the very last; then over the others. `None` if the last has no such part.
fn in_parts(b: &mut Builder, op: &Op, mut x: NodeId, axes: &[usize]) -> Option<NodeId> {
    let (&last, outer) = axes.split_last()?;
    let extent = b.shape(x).0[last].factor();
    let mut count = 1;
    let inner: Vec<usize> = (axes.iter().rev().copied())
        .take_while(|&axis| {
            count *= b.shape(x).0[axis].factor();
            count <= CHUNK
        })
        .collect();
    let (inner, outer) = match inner.len() {
        0 => {
            let part = (2..=CHUNK).rev().find(|part| extent.is_multiple_of(*part))?;
            let mut dims = b.shape(x).0;
            dims.splice(last..=last, [Dim::Fixed(extent / part), Dim::Fixed(part)]);
            x = b.reshape(x, Shape(dims));
            (vec![last + 1], [outer, &[last]].concat())
        }
        some => (axes[axes.len() - some..].to_vec(), axes[..axes.len() - some].to_vec()),
    };
    let parts = b.apply(op.over(inner), &[x]);
    let shape = b.shape(parts);
    match terms(&outer, &shape) > CHUNK {
        true => in_parts(b, op, parts, &outer).or_else(|| Some(b.apply(op.over(outer), &[parts]))),
        false => Some(b.apply(op.over(outer), &[parts])),
    }
}

/// How many elements of a tensor become one over these axes.
fn terms(axes: &[usize], shape: &Shape) -> usize {
    axes.iter().map(|&axis| shape.0[axis].factor()).product()
}

/// The reduction over some axes, in ascending order.
fn over(b: &mut Builder, op: &Op, x: NodeId, mut axes: Vec<usize>) -> NodeId {
    let dims = b.shape(x).0;
    let rank = dims.len();
    if axes.is_empty() {
        return x;
    }
    if is_canonical(&axes, rank) || is_within(&axes, &b.shape(x)) {
        return b.apply(op.over(axes), &[x]);
    }
    if axes.last() == Some(&(rank - 1)) {
        axes.pop();
        let inner = b.apply(op.over(vec![rank - 1]), &[x]);
        return over(b, op, inner, axes);
    }
    // The batch stays among the rows; a sum over the batch goes down the rows.
    let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
    let down = axes.iter().any(|&axis| dims[axis].is_batch());
    let (first, last) = if down { (&axes, &kept) } else { (&kept, &axes) };
    let order: Vec<usize> = first.iter().chain(last).copied().collect();
    let moved = transposed(b, x, &order);
    if !down {
        return over(b, op, moved, (kept.len()..rank).collect());
    }
    let dims = b.shape(moved).0;
    let merged = |dims: &[Dim]| Dim::product(dims).expect("extents were checked when the graph was made");
    let (rows, cols) = dims.split_at(axes.len());
    let shape = Shape(cols.to_vec());
    let matrix = b.reshape(moved, Shape(vec![merged(rows), merged(cols)]));
    let reduced = b.apply(op.over(vec![0]), &[matrix]);
    b.reshape(reduced, shape)
}
