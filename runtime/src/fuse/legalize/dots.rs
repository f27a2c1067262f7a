//! Products of tensors as products of matrices: `[.., M, K]` by `[.., K, N]` for each position along the leading axes.
//!
//! Operands are transposed and reshaped to that form; where no access can express it, fusion copies them. The batch is the first
//! of the leading axes, or the first of the rows, or of the terms.

use super::batch::transposed;
use crate::fuse::runs::{has_windows, is_of_matrices, lacks_terms, readable};
use crate::ir::{Builder, DotAxes, Node, NodeId, Op};
use crate::types::{Dim, Shape};

/// Whether a product has the form that kernels compute.
fn is_canonical(axes: &DotAxes, ranks: [usize; 2], result: &Shape) -> bool {
    let two = axes.as_matrix().is_some() && ranks == [2; 2];
    let batch = result.0.iter().position(|dim| dim.is_batch());
    two || is_of_matrices(axes, ranks) && batch.is_none_or(|batch| batch == 0)
}

/// A product of windows becomes one whose left operand is read in runs of terms. Where windows stand over an edge, it has no terms for
/// what is outside: they would be zeros times another factor, which is NaN if that is infinite.
pub(super) fn with_terms_left_out(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    in_runs(b, node, true)
}

/// The same where every tap of the windows is over an element.
pub(super) fn with_all_terms(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    in_runs(b, node, false)
}

/// The axes of a product, and those of its columns if both operands have columns: they are among no other axes then.
fn axes_of(op: &Op) -> Option<(DotAxes, Option<(usize, usize)>)> {
    match op {
        Op::Dot(axes) => Some((axes.clone(), None)),
        Op::DotByColumn(axes) => {
            let mut axes = axes.clone();
            let column = axes.batch.pop();
            Some((axes, column))
        }
        _ => None,
    }
}

/// A product in the form that is read in runs: the batch first, a single axis of columns.
fn in_runs(b: &mut Builder, node: &Node, left_out: bool) -> Option<NodeId> {
    let (axes, column) = axes_of(&node.op)?;
    let [left, right] = node.operands[..] else { return None };
    let reversed = |pairs: &[(usize, usize)]| pairs.iter().map(|&(x, y)| (y, x)).collect();
    let turned = DotAxes { batch: reversed(&axes.batch), contracted: reversed(&axes.contracted) };
    let (mut axes, [a, c], swapped) = match [left, right].map(|x| has_windows(b.graph(), x)) {
        [true, _] => (axes, [left, right], false),
        [false, true] => (turned, [right, left], true),
        _ => return None,
    };
    let column = column.map(|(x, y)| if swapped { (y, x) } else { (x, y) });
    let dims = [a, c].map(|x| b.shape(x).0);
    let other = axes.of(1, dims[1].len());
    let [col] = other.free[..] else { return None };
    let own = column.map(|(axis, _)| axis);
    let lacks_terms = readable(b.graph(), a, &axes, own).map(|left| left || lacks_terms(b.graph(), c, &axes, col));
    // The axes of the result as they are named in the operands: those of the left one, then the columns.
    let mut free = axes.of(0, dims[0].len()).free;
    free.retain(|&axis| own != Some(axis));
    // There are rows to walk.
    let rows = axes.batch.len() + free.len();
    if rows == 0 || dims[1][col].is_batch() || lacks_terms != Some(left_out) {
        return None;
    }
    axes.contracted.sort_by_key(|&(axis, _)| !dims[0][axis].is_batch());
    let names = |batch: &[(usize, usize)]| -> Vec<Option<usize>> {
        let rows = free.iter().filter(|&&axis| !batch.iter().any(|&(other, _)| other == axis));
        batch.iter().map(|&(axis, _)| Some(axis)).chain(rows.map(|&axis| Some(axis))).chain([None]).collect()
    };
    let wanted = match swapped && column.is_none() {
        false => names(&axes.batch),
        true => {
            let (batch, rows) = (axes.batch.len(), free.len());
            let natural = names(&axes.batch);
            [&natural[..batch], &[None], &natural[batch..batch + rows]].concat()
        }
    };
    let mut right = c;
    axes.batch.sort_by_key(|&(axis, _)| !dims[0][axis].is_batch());
    let mut columns: Vec<(usize, usize)> = column.into_iter().collect();
    if let Some(&leading) = free.iter().find(|&&axis| dims[0][axis].is_batch()).filter(|_| !axes.batch.is_empty()) {
        // Where the rows follow the batch, every one of the batch axes comes after it.
        let shape = Shape(std::iter::once(dims[0][leading]).chain(dims[1].iter().copied()).collect());
        let kept: Vec<usize> = (1..shape.rank()).collect();
        right = b.broadcast(c, &shape, &kept);
        let moved = |pairs: &mut Vec<(usize, usize)>| pairs.iter_mut().for_each(|pair| pair.1 += 1);
        moved(&mut axes.batch);
        moved(&mut axes.contracted);
        moved(&mut columns);
        axes.batch.insert(0, (leading, 0));
    }
    let found = names(&axes.batch);
    let first = found.iter().position(|name| name.is_some_and(|axis| dims[0][axis].is_batch()));
    if first.is_some_and(|first| first > 0) {
        return None;
    }
    axes.batch.extend(columns);
    let op = if column.is_some() { Op::DotByColumn(axes) } else { Op::Dot(axes) };
    let product = b.apply(op, &[a, right]);
    let order = wanted.iter().map(|name| found.iter().position(|other| other == name).expect("every axis has a place"));
    Some(transposed(b, product, &order.collect::<Vec<usize>>()))
}

/// The sum of products of what is under windows and of what is the same for all of them, or for all taps: what a depthwise convolution
/// and its gradients are. Where windows stand over an edge, there are no terms. The last axis is the same in both.
pub(super) fn of_windows(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Sum(over) = &node.op else { return None };
    let product = &b[*node.operands.first()?];
    let (&[left, right], Op::Mul) = (&product.operands[..], &product.op) else { return None };
    let last = product.ty.shape.rank().checked_sub(1)?;
    [(left, right), (right, left)].into_iter().find_map(|(windows, other)| {
        let Op::Broadcast(axes) = &b[other].op else { return None };
        let place = |axis: usize| axes.iter().position(|&own| own == axis);
        let terms = over.iter().map(|&axis| Some((axis, place(axis)?))).collect::<Option<Vec<_>>>()?;
        let column = (last, place(last)?);
        // What is summed over is all that they share but for the columns.
        if over.contains(&last) || axes.len() != terms.len() + 1 || !has_windows(b.graph(), windows) {
            return None;
        }
        let axes = DotAxes { batch: vec![], contracted: terms };
        readable(b.graph(), windows, &axes, Some(last))?;
        let op = Op::DotByColumn(DotAxes { batch: vec![column], ..axes });
        let other = b[other].operands[0];
        Some(b.apply(op, &[windows, other]))
    })
}

pub(super) fn product(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    if let Op::DotByColumn(axes) = &node.op {
        if is_in_runs(b, node) {
            return None;
        }
        let product = canonical(b, axes, node.operands[0], node.operands[1]);
        let column = axes.batch.len() - 1;
        let rank = node.ty.shape.rank();
        let order: Vec<usize> = (0..column).chain(column + 1..rank).chain([column]).collect();
        return Some(transposed(b, product, &order));
    }
    let Op::Dot(axes) = &node.op else { return None };
    let ranks = [0, 1].map(|side| b[node.operands[side]].ty.shape.rank());
    if !is_of_matrices(axes, ranks) && is_in_runs(b, node) {
        return None;
    }
    let columns = axes.as_matrix().is_some() && ranks == [2; 2] && node.ty.shape.0[1].is_batch();
    let other = columns || !is_canonical(axes, ranks, &node.ty.shape);
    other.then(|| canonical(b, axes, node.operands[0], node.operands[1]))
}

/// Whether a product has been brought into the form that is read in runs.
fn is_in_runs(b: &Builder, node: &Node) -> bool {
    let Some((axes, column)) = axes_of(&node.op) else { return false };
    let right = axes.of(1, b.ty(node.operands[1]).shape.rank());
    let batch = node.ty.shape.0.iter().position(|dim| dim.is_batch());
    let terms = axes.contracted.iter().position(|&(axis, _)| b.ty(node.operands[0]).shape.0[axis].is_batch());
    let outermost = batch.is_none_or(|batch| batch == 0) && terms.is_none_or(|terms| terms == 0);
    let rows = node.ty.shape.rank() > 1;
    let fits = outermost && rows && right.free.len() == 1 && has_windows(b.graph(), node.operands[0]);
    fits && readable(b.graph(), node.operands[0], &axes, column.map(|(axis, _)| axis)).is_some()
}

/// An operand of a product, with its free axes; the batch, if among them, comes first.
struct Parts {
    x: NodeId,
    dims: Vec<Dim>,
    free: Vec<usize>,
}

fn canonical(b: &mut Builder, axes: &DotAxes, left: NodeId, right: NodeId) -> NodeId {
    let sides = [left, right].map(|x| b.shape(x).0);
    let [own, other] = [0, 1].map(|side| axes.of(side, sides[side].len()));
    // Columns may not follow the batch: if they do, the operands are exchanged.
    let swapped = other.free.iter().any(|&axis| sides[1][axis].is_batch());
    let mut front: Vec<[usize; 2]> = axes.batch.iter().map(|&(i, j)| [i, j]).collect();
    let mut terms: Vec<[usize; 2]> = axes.contracted.iter().map(|&(i, j)| [i, j]).collect();
    let [mut a, mut c] = [(left, &sides[0], &own.free), (right, &sides[1], &other.free)].map(|(x, dims, free)| Parts {
        x,
        dims: dims.clone(),
        free: free.clone(),
    });
    if swapped {
        std::mem::swap(&mut a, &mut c);
        front.iter_mut().chain(&mut terms).for_each(|pair| pair.reverse());
    }
    let Parts { dims, free, .. } = &mut a;
    front.sort_by_key(|pair| !dims[pair[0]].is_batch());
    terms.sort_by_key(|pair| !dims[pair[0]].is_batch());
    free.sort_by_key(|&axis| !dims[axis].is_batch());
    // If the rows follow the batch, that is the outermost axis in memory, so it comes before all other leading axes.
    let leading = a.free.first().copied().filter(|&axis| a.dims[axis].is_batch() && !front.is_empty());
    if leading.is_some() {
        a.free.remove(0);
    }
    let extents = |parts: &Parts, axes: &[usize]| axes.iter().map(|&axis| parts.dims[axis]).collect::<Vec<Dim>>();
    let merged = |dims: &[Dim]| Dim::product(dims).expect("extents were checked when the graph was made");
    let side = |pairs: &[[usize; 2]], side: usize| pairs.iter().map(|pair| pair[side]).collect::<Vec<usize>>();
    let (front_a, front_c) = (side(&front, 0), side(&front, 1));
    let (terms_a, terms_c) = (side(&terms, 0), side(&terms, 1));
    let lead: Vec<Dim> = leading.iter().map(|&axis| a.dims[axis]).collect();
    let front_dims: Vec<Dim> = lead.iter().copied().chain(extents(&a, &front_a)).collect();
    let (rows, cols) = (extents(&a, &a.free), extents(&c, &c.free));
    let inner = merged(&extents(&a, &terms_a));
    let order: Vec<usize> = leading.iter().chain(&front_a).chain(&a.free).chain(&terms_a).copied().collect();
    let x = transposed(b, a.x, &order);
    let x = reshaped(b, x, [&front_dims[..], &[merged(&rows), inner]].concat());
    let order: Vec<usize> = front_c.iter().chain(&terms_c).chain(&c.free).copied().collect();
    let y = transposed(b, c.x, &order);
    let y = reshaped(b, y, [&front_dims[lead.len()..], &[inner, merged(&cols)]].concat());
    let y = match lead.is_empty() {
        true => y,
        false => {
            let shape = Shape([&front_dims[..], &[inner, merged(&cols)]].concat());
            let kept: Vec<usize> = (1..shape.rank()).collect();
            b.broadcast(y, &shape, &kept)
        }
    };
    let count = front_dims.len();
    let pairs = DotAxes { batch: (0..count).map(|at| (at, at)).collect(), contracted: vec![(count + 1, count)] };
    let product = b.apply(Op::Dot(pairs), &[x, y]);
    let product = reshaped(b, product, [&front_dims[..], &rows, &cols].concat());
    // Where each axis of the original result is now.
    let names: Vec<(bool, usize)> = leading
        .iter()
        .chain(&front_a)
        .chain(&a.free)
        .map(|&axis| (swapped, axis))
        .chain(c.free.iter().map(|&axis| (!swapped, axis)))
        .collect();
    let left_front = axes.batch.iter().map(|&(i, j)| if swapped { (true, j) } else { (false, i) });
    let wanted =
        left_front.chain(own.free.iter().map(|&axis| (false, axis))).chain(other.free.iter().map(|&axis| (true, axis)));
    let order: Vec<usize> =
        wanted.map(|name| names.iter().position(|other| *other == name).expect("every axis has a place")).collect();
    transposed(b, product, &order)
}

fn reshaped(b: &mut Builder, x: NodeId, dims: Vec<Dim>) -> NodeId {
    if b.shape(x).0 == dims { x } else { b.reshape(x, Shape(dims)) }
}
