//! Products of tensors as products of matrices: `[.., M, K]` by `[.., K, N]` for each position along the leading axes.
//!
//! Operands are transposed and reshaped to that form; where no access can express it, fusion copies them. The batch is the first
//! of the leading axes, or the first of the rows, or of the terms.

use super::batch::transposed;
use crate::ir::{Builder, DotAxes, Node, NodeId, Op};
use crate::types::{Dim, Shape};

/// Whether a product has the form that kernels compute.
fn is_canonical(axes: &DotAxes, ranks: [usize; 2], result: &Shape) -> bool {
    if axes.as_matrix().is_some() && ranks == [2; 2] {
        return true;
    }
    let front = axes.batch.len();
    let alike = axes.batch.iter().enumerate().all(|(at, &pair)| pair == (at, at));
    let batch = result.0.iter().position(|dim| dim.is_batch());
    alike && ranks == [front + 2; 2] && axes.contracted == [(front + 1, front)] && batch.is_none_or(|batch| batch == 0)
}

pub(super) fn product(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let Op::Dot(axes) = &node.op else { return None };
    let ranks = [0, 1].map(|side| b[node.operands[side]].ty.shape.rank());
    let columns = axes.as_matrix().is_some() && ranks == [2; 2] && node.ty.shape.0[1].is_batch();
    let other = columns || !is_canonical(axes, ranks, &node.ty.shape);
    other.then(|| canonical(b, axes, node.operands[0], node.operands[1]))
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
