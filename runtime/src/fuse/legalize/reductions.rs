//! Reductions as kernels have them: along the last axis, down all axes but the last, or over everything.

use super::batch::transposed;
use crate::ir::ops::Reduction;
use crate::ir::{Builder, Node, NodeId, Op};
use crate::types::{Dim, Shape};

/// Whether these axes of a tensor of this rank are its last one, all but its last one, or all.
pub(crate) fn is_canonical(axes: &[usize], rank: usize) -> bool {
    axes.len() == rank || axes == [rank - 1] || axes.iter().copied().eq(0..rank - 1)
}

/// Down the leading axes: those are the rows of a matrix, and the others its columns.
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

/// Sums and maxima over any other axes, one after the other.
pub(super) fn axis_by_axis(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let kind = node.op.def().reduction()?;
    let axes = node.op.axes()?;
    let rank = b[node.operands[0]].ty.shape.rank();
    let simple = matches!(kind, Reduction::Sum | Reduction::Max);
    (simple && !is_canonical(axes, rank)).then(|| over(b, &node.op, node.operands[0], axes.to_vec()))
}

/// The reduction over some axes, in ascending order.
fn over(b: &mut Builder, op: &Op, x: NodeId, mut axes: Vec<usize>) -> NodeId {
    let dims = b.shape(x).0;
    let rank = dims.len();
    if axes.is_empty() {
        return x;
    }
    if is_canonical(&axes, rank) {
        return b.apply(op.over(axes), &[x]);
    }
    if axes.last() == Some(&(rank - 1)) {
        axes.pop();
        let inner = b.apply(op.over(vec![rank - 1]), &[x]);
        return over(b, op, inner, axes);
    }
    // Rows of the batch stay rows; a sum over the batch goes down its rows.
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
