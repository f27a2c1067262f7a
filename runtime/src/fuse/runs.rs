//! Products whose left operand is a view with windows: read in runs of terms where it lies, without a matrix of patches.
//!
//! In: a product and what its operands are views of. Out: whether the left operand can be read in loops that microkernels have, and
//! the places of both operands along the axes of a kernel.

use super::domain::is_memory;
use super::view::{Source, follow, operand_base, own_coordinates, viewed};
use crate::ir::{DotAxes, Graph, NodeId, Op};
use crate::kernel::{Affine, Bound, Operands, Runs, runs};
use crate::types::{Dim, Shape};

/// Most axes that terms are summed over.
const MOST_TERMS: usize = 3;

/// Whether a product has the form of one of matrices: `[.., M, K]` by `[.., K, N]`, or two matrices in any order of their axes.
pub(super) fn is_of_matrices(axes: &DotAxes, ranks: [usize; 2]) -> bool {
    let front = axes.batch.len();
    let alike = axes.batch.iter().enumerate().all(|(at, &pair)| pair == (at, at));
    let standing = axes.as_matrix().is_some() && ranks == [2; 2];
    standing || alike && ranks == [front + 2; 2] && axes.contracted == [(front + 1, front)]
}

/// Whether a product is in the form that is read in runs of terms.
pub(super) fn in_runs(g: &Graph, product: NodeId) -> bool {
    let Op::Dot(axes) = &g[product].op else { return matches!(g[product].op, Op::DotByColumn(_)) };
    !is_of_matrices(axes, [0, 1].map(|side| g[g[product].operands[side]].ty.shape.rank()))
}

/// The axes of a product, and those of its columns if both operands have columns.
pub(super) fn axes(g: &Graph, product: NodeId) -> (&DotAxes, Option<(usize, usize)>) {
    match &g[product].op {
        Op::Dot(axes) => (axes, None),
        Op::DotByColumn(axes) => (axes, axes.batch.last().copied()),
        op => unreachable!("{op:?} is no product"),
    }
}

/// Whether windows move over what an operand is a view of.
pub(super) fn has_windows(g: &Graph, mut id: NodeId) -> bool {
    while let Some(operand) = viewed(g, id) {
        if matches!(g[id].op, Op::Patches { .. } | Op::Skew { .. }) {
            return true;
        }
        id = operand;
    }
    false
}

/// Where an operand of a product in runs lies, in terms of its own axes; what cannot be read is to be copied.
pub(super) fn source(g: &Graph, operand: NodeId) -> Source {
    let shape = &g[operand].ty.shape;
    let own = || own_coordinates(shape);
    let found = follow(g, operand, own(), &shape.0, None);
    let found = found.or_else(|view| follow(g, operand, own(), &shape.0, Some(view)));
    let readable = |source: &Source| {
        let made = g[source.base].op.is_leaf() && !is_memory(&g[source.base].op);
        !made && source.index.is_none() && source.fill.is_none_or(|fill| fill.value() == 0.0)
    };
    found.ok().filter(readable).unwrap_or_else(|| whole(g, operand))
}

/// What has to be in memory for an operand of a product: the left one if `side` is 0, else the right one.
pub(super) fn base(g: &Graph, product: NodeId, side: usize) -> NodeId {
    let operand = g[product].operands[side];
    match (in_runs(g, product), side) {
        (true, 0) => source(g, operand).base,
        (true, _) => right_base(g, product, operand),
        (false, _) => operand_base(g, operand),
    }
}

/// What has to be in memory for the right operand of a product in runs. Terms that it does not have are left out too.
fn right_base(g: &Graph, product: NodeId, right: NodeId) -> NodeId {
    let (axes, column) = axes(g, product);
    let col = column.map(|(_, right)| right).or_else(|| axes.of(1, g[right].ty.shape.rank()).free.first().copied());
    match col.is_some_and(|col| lacks_terms(g, right, axes, col)) {
        true => source(g, right).base,
        false => operand_base(g, right),
    }
}

/// Whether the right operand of a product with these axes is read where it does not have all terms.
pub(super) fn lacks_terms(g: &Graph, right: NodeId, axes: &DotAxes, col: usize) -> bool {
    !source(g, right).bounds.is_empty() && right_is_readable(g, right, axes, col)
}

/// Whether microkernels can leave out the terms that the right operand of a product with these axes does not have: for each axis of
/// terms some, as the position along the batch axes of the product says.
pub(super) fn right_is_readable(g: &Graph, right: NodeId, axes: &DotAxes, col: usize) -> bool {
    let dims = &g[right].ty.shape.0;
    let found = source(g, right);
    let roles = axes.of(1, dims.len());
    let moves = |axis: &usize| found.coordinates.iter().any(|coordinate| coordinate.steps[*axis] != 0);
    let still = |axis: &usize| dims[*axis] != Dim::Fixed(1) && !moves(axis);
    let one = |bound: &Bound| {
        let along = |axis: &&usize| bound.coordinate.steps[**axis] != 0;
        let of_batch = roles.batch.iter().filter(along).any(|&axis| dims[axis].is_batch());
        roles.contracted.iter().filter(along).count() == 1 && bound.coordinate.steps[col] == 0 && !of_batch
    };
    let alone = |&axis: &usize| found.bounds.iter().filter(|bound| bound.coordinate.steps[axis] != 0).count() <= 1;
    let repeated = roles.contracted.iter().chain([&col]).any(still);
    !repeated && found.bounds.iter().all(one) && roles.contracted.iter().all(alone)
}

/// An operand that is in memory as it is.
fn whole(g: &Graph, operand: NodeId) -> Source {
    let shape = &g[operand].ty.shape;
    let base = g.behind_reshapes(operand);
    follow(g, operand, own_coordinates(shape), &shape.0, Some(base))
        .expect("a reshape of what is in memory is read there")
}

/// Whether microkernels can read the left operand of a product with these axes in runs; and if so, whether terms are left out.
/// The left one may have columns, an axis of its own, which the result has last.
pub(super) fn readable(g: &Graph, left: NodeId, axes: &DotAxes, column: Option<usize>) -> Option<bool> {
    let dims = &g[left].ty.shape.0;
    let mut roles = axes.of(0, dims.len());
    roles.batch.retain(|&axis| column != Some(axis));
    roles.free.retain(|&axis| column != Some(axis));
    let terms = roles.contracted.iter().filter(|&&axis| dims[axis] != Dim::Fixed(1)).count();
    if terms > MOST_TERMS || roles.contracted.is_empty() {
        return None;
    }
    let source = source(g, left);
    // The axes of a kernel: batch axes, rows, columns, and the terms after them.
    let order: Vec<usize> = [&roles.batch[..], &roles.free, &roles.contracted].concat();
    let own: Vec<Dim> = order.iter().map(|&axis| dims[axis]).collect();
    let (lead, rows) = (roles.batch.len(), roles.batch.len() + roles.free.len());
    let cols = column.map_or(Dim::Fixed(1), |axis| dims[axis]);
    let kernel: Vec<Dim> = own[..rows].iter().copied().chain([cols]).collect();
    let over = &own[rows..];
    let placed = |affine: &Affine| {
        let mut steps: Vec<i64> = order.iter().map(|&axis| affine.steps[axis]).collect();
        steps.insert(rows, column.map_or(0, |axis| affine.steps[axis]));
        Affine { constant: affine.constant, steps }
    };
    let mut a = placed(&super::kernels::place_in(&source, dims.len()));
    let bounds = source.bounds.iter();
    let mut bounds: Vec<Bound> =
        bounds.map(|bound| Bound { coordinate: placed(&bound.coordinate), extent: bound.extent }).collect();
    let fixed = |bound: &Bound| (0..lead).chain([rows]).all(|axis| bound.coordinate.steps[axis] == 0);
    if !bounds.iter().all(fixed) || column.is_some_and(|axis| dims[axis] != Dim::Fixed(1)) && a.steps[rows] != 1 {
        return None;
    }
    // The other operand may lie in any order, so that no two axes of terms are one.
    let mut b = Affine::constant(0, a.steps.len());
    b.steps[kernel.len()..].fill(1);
    forward(kernel.len(), over, &mut a, &mut b, [&mut bounds, &mut Vec::new()], &mut []);
    let operands = Operands { a_at: &a, bounds: &bounds, b_at: &b, b_bounds: &[] };
    let loops: Runs = runs(operands, &kernel, over, lead..rows);
    loops.is_runnable().then_some(!bounds.is_empty())
}

/// Turns axes that are summed over around wherever that makes the left operand ascend: terms are in an order of their own.
pub(super) fn forward(
    first: usize,
    over: &[Dim],
    a: &mut Affine,
    b: &mut Affine,
    [bounds, b_bounds]: [&mut Vec<Bound>; 2],
    others: &mut [Vec<Affine>],
) {
    for (at, dim) in over.iter().enumerate() {
        let axis = first + at;
        let &Dim::Fixed(extent) = dim else { continue };
        let bounded = bounds.iter().map(|bound| bound.coordinate.steps[axis]).find(|&step| step != 0);
        let step = bounded.unwrap_or(a.steps[axis]);
        if step >= 0 {
            continue;
        }
        let turn = |affine: &mut Affine| {
            affine.constant += affine.steps[axis] * (extent as i64 - 1);
            affine.steps[axis] = -affine.steps[axis];
        };
        turn(a);
        turn(b);
        bounds.iter_mut().chain(b_bounds.iter_mut()).for_each(|bound| turn(&mut bound.coordinate));
        others.iter_mut().flatten().for_each(turn);
    }
}

/// The shape of the loops around a product: the axes of its result, and those that are summed over.
pub(super) fn summed(g: &Graph, left: NodeId, axes: &DotAxes) -> Vec<Dim> {
    let Shape(dims) = &g[left].ty.shape;
    axes.contracted.iter().map(|&(axis, _)| dims[axis]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Builder, InputSlot, Window};
    use crate::types::TensorType;

    /// Whether windows of three over both axes of images of this size, with this padding, are read in runs.
    fn windows(size: usize, pad: usize) -> Option<bool> {
        let mut b = Builder::new(Graph::default());
        let shape = [Dim::B, Dim::Fixed(size), Dim::Fixed(size), Dim::Fixed(2)];
        let ty = TensorType::f32(Shape(shape.into()));
        b.graph_mut().slots.inputs.push(InputSlot { name: "x", ty, target: false, classes: None });
        let x = b.input(0);
        let window = Window { before: pad, after: pad, ..Window::of(3) };
        let rows = b.patches(x, 1, window, 0.0);
        let both = b.patches(rows, 3, window, 0.0);
        readable(b.graph(), both, &DotAxes { batch: vec![], contracted: vec![(2, 0), (4, 1), (5, 2)] }, None)
    }

    #[test]
    fn windows_are_read_where_the_image_lies_and_terms_are_left_out_at_padding() {
        assert_eq!([windows(8, 0), windows(8, 1), windows(3, 0)], [Some(false), Some(true), Some(false)]);
    }
}
