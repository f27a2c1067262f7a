//! Sums over the taps of windows as products over windows: the gradient of a convolution by its input, and transposed convolutions.
//!
//! In: a fold of a product, whose result has positions of windows from the left operand and taps from the right one. Out: one product
//! over the taps as well. At element `y`, tap `k` belongs to the position `o` with `o stride + k dilation - before = y`. With a
//! stride of 1 those are a window over the positions, over which the weights stand in reverse. A longer stride divides the elements
//! `y = q stride + p` into phases `p`, and each phase has taps of its own: those for which `o = q + i` is a whole number. So
//! every phase is a dense product, in which no zero between positions is multiplied.

use super::batch::transposed;
use crate::fuse::runs::{has_windows, readable, right_is_readable};
use crate::ir::{Builder, DotAxes, Node, NodeId, Op, Window};
use crate::types::{Dim, Shape};

/// The fold of an axis of a product, whose axis of taps comes right after it.
struct Fold {
    /// The positions, as an axis of the product.
    positions: usize,
    window: Window,
    /// How many elements the positions become.
    extent: usize,
}

/// Which positions are over an element: of element `q stride + p` those at `q + first + i dilation`, for `count` taps `i`.
struct Reach {
    /// Phases, as many as the stride.
    phases: usize,
    /// Elements of each phase.
    elements: usize,
    first: i64,
    dilation: i64,
    count: usize,
    /// The tap over element `p` of a position is `tap + p - step i`.
    tap: i64,
    step: i64,
}

impl Reach {
    /// Of positions with gaps of their own, none: which taps there are would depend on more than the phase.
    fn of(fold: &Fold) -> Option<Reach> {
        let Window { size, stride, dilation, before, .. } = fold.window;
        let [taps, stride, dilation, before] = [size, stride, dilation, before].map(|n| n as i64);
        if stride > 1 && dilation > 1 {
            return None;
        }
        let covered = dilation * (taps - 1);
        let phases = stride as usize;
        let elements = fold.extent.div_ceil(phases);
        // From the last tap over the first element to the first tap over the last one of a phase.
        let first = -(covered - before).div_euclid(stride);
        let last = (stride - 1 + before).div_euclid(stride);
        let count = ((last - first) / dilation + 1) as usize;
        let (tap, step) = if stride == 1 { (taps - 1, 1) } else { (before - stride * first, stride) };
        Some(Reach { phases, elements, first, dilation, count, tap, step })
    }
}

/// What is folded: a product of two operands, with or without columns of both.
struct Folded {
    left: NodeId,
    right: NodeId,
    axes: DotAxes,
    columns: Option<(usize, usize)>,
    /// Where the axes that are folded are in the product.
    order: Vec<usize>,
}

impl Folded {
    fn of(b: &Builder, x: NodeId, folds: &[Fold]) -> Option<Folded> {
        let (product, order) = match &b[x].op {
            Op::Transpose(order) => (b[x].operands[0], order.clone()),
            _ => (x, (0..b.ty(x).shape.rank()).collect()),
        };
        let &[left, right] = &b[product].operands[..] else { return None };
        if let Op::Dot(axes) = &b[product].op {
            return Some(Folded { left, right, axes: axes.clone(), columns: None, order });
        }
        // Of two numbers, one for each position and one for each tap, neighbors by neighbors.
        let last = b.ty(x).shape.rank() - 1;
        let taps: Vec<usize> = folds.iter().map(|fold| fold.positions + 1).chain([last]).collect();
        let is_pair = |numbers: NodeId, weights: NodeId| {
            let (Op::Broadcast(own), Op::Broadcast(other)) = (&b[numbers].op, &b[weights].op) else { return None };
            let rest = own.iter().filter(|axis| taps.contains(axis)).eq([&last]) && own.len() + taps.len() == last + 2;
            (*other == taps && rest).then(|| own.clone())
        };
        let is_product = b[product].op == Op::Mul && product == x;
        let (left, right, own) = [(left, right), (right, left)]
            .into_iter()
            .filter(|_| is_product)
            .find_map(|(numbers, weights)| Some((numbers, weights, is_pair(numbers, weights)?)))?;
        let natural: Vec<usize> = own[..own.len() - 1].iter().chain(&taps).copied().collect();
        let order = (0..=last).map(|axis| natural.iter().position(|other| *other == axis).expect("it has every axis"));
        Some(Folded {
            order: order.collect(),
            left: b[left].operands[0],
            right: b[right].operands[0],
            axes: DotAxes::default(),
            columns: Some((own.len() - 1, taps.len() - 1)),
        })
    }
}

/// The fold of a product, along all axes of its taps, becomes a product. Exact but for the order of the sum: terms are left out that
/// are no terms of the fold either.
pub(super) fn of_product(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let (folds, x) = chain(b, node)?;
    let Folded { left, right, axes, columns, order } = Folded::of(b, x, &folds)?;
    let [mut own, mut other] = [(0, left), (1, right)].map(|(side, x)| axes.of(side, b.ty(x).shape.rank()));
    if let Some((l, r)) = columns {
        own.free.retain(|&axis| axis != l);
        other.free.retain(|&axis| axis != r);
    }
    let (batch, rows) = (axes.batch.len(), own.free.len());
    let reaches: Vec<Reach> = folds.iter().map(Reach::of).collect::<Option<_>>()?;
    // For each fold the axis of the left operand that has the positions, and that of the right one that has the taps.
    let places = folds.iter().map(|fold| {
        let [positions, taps] = [0, 1].map(|next| order[fold.positions + next].checked_sub(batch));
        Some((*own.free.get(positions?)?, *other.free.get(taps?.checked_sub(rows)?)?))
    });
    let places: Vec<(usize, usize)> = places.collect::<Option<_>>()?;
    let remaining: Vec<usize> =
        other.free.iter().copied().filter(|axis| !places.iter().any(|(_, taps)| taps == axis)).collect();
    let col = match (&remaining[..], columns) {
        (&[col], None) | (&[], Some((_, col))) => col,
        _ => return None,
    };
    if b.shape(right).0.iter().any(|dim| dim.is_batch()) {
        return None;
    }
    // Each axis by what it is in the operands that there were.
    let (left, left_axes) = windows_of(b, left, &places, &reaches);
    let (right, right_axes) = weights_of(b, right, &places, &reaches, col);
    let at = |axes: &[Axis], axis: Axis| axes.iter().position(|other| *other == axis).expect("every axis has a place");
    let pair = |l: Axis, r: Axis| (at(&left_axes, l), at(&right_axes, r));
    let phased = || (0..folds.len()).filter(|&fold| reaches[fold].phases > 1);
    let kept = axes.batch.iter().map(|&(l, r)| pair(Axis::Own(l), Axis::Own(r)));
    let phases = phased().map(|fold| pair(Axis::Phase(fold), Axis::Phase(fold)));
    let taps = (0..folds.len()).map(|fold| pair(Axis::Tap(fold), Axis::Tap(fold)));
    let summed = axes.contracted.iter().map(|&(l, r)| pair(Axis::Own(l), Axis::Own(r)));
    let mut product_axes = DotAxes { batch: kept.chain(phases).collect(), contracted: taps.chain(summed).collect() };
    let columns = columns.map(|(l, r)| pair(Axis::Own(l), Axis::Own(r)));
    let is_readable = readable(b.graph(), left, &product_axes, columns.map(|(l, _)| l)).is_some()
        && right_is_readable(b.graph(), right, &product_axes, at(&right_axes, Axis::Own(col)));
    if !has_windows(b.graph(), left) || !is_readable {
        return None;
    }
    product_axes.batch.extend(columns);
    let op = if columns.is_some() { Op::DotByColumn(product_axes) } else { Op::Dot(product_axes) };
    let result = b.apply(op, &[left, right]);
    Some(as_elements(b, result, &order, &folds, &reaches, batch))
}

/// The fold of products of two numbers, one a position and one a tap, as a depthwise convolution has them. Without strides it is the sum
/// over the taps of such products again, for a window over the positions.
pub(super) fn of_map(b: &mut Builder, node: &Node, _: &[bool]) -> Option<NodeId> {
    let (folds, x) = chain(b, node)?;
    let (&[left, right], Op::Mul) = (&b[x].operands[..], &b[x].op) else { return None };
    if folds.iter().any(|fold| fold.window.stride > 1) {
        return None;
    }
    let taps: Vec<usize> = folds.iter().map(|fold| fold.positions + 1).collect();
    // The number of a position is the same for all taps, that of a tap for all positions.
    let (at, numbers, weights) = [(0, left, right), (1, right, left)].into_iter().find(|&(_, numbers, weights)| {
        let (Op::Broadcast(own), Op::Broadcast(other)) = (&b[numbers].op, &b[weights].op) else { return false };
        let positions = |fold: &Fold| other.contains(&fold.positions);
        // Taps of another axis are folded along with these.
        let remaining = other.iter().any(|axis| !own.contains(axis) && !taps.contains(axis));
        !remaining && !folds.iter().any(positions) && !taps.iter().any(|tap| own.contains(tap))
    })?;
    let mut windows = numbers;
    for Fold { positions, window, extent } in folds {
        let (step, shift) = (-(window.dilation as i64), window.before as i64);
        windows = b.apply(Op::Skew { axis: positions, along: positions + 1, step, shift, extent }, &[windows]);
    }
    let shape = b.shape(windows);
    let Op::Broadcast(axes) = b[weights].op.clone() else { unreachable!("it has just been one") };
    let weight = b[weights].operands[0];
    let weights = b.broadcast(weight, &shape, &axes);
    let product = if at == 0 { b.mul(windows, weights) } else { b.mul(weights, windows) };
    Some(b.sum(product, &taps))
}

/// An axis of an operand: one that it had, or a new one of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Own(usize),
    Phase(usize),
    Tap(usize),
}

/// Folds of folds, the first axis first, and what is folded.
fn chain(b: &Builder, node: &Node) -> Option<(Vec<Fold>, NodeId)> {
    let mut found: Vec<Fold> = Vec::new();
    let mut node = node;
    let mut x = None;
    while let &Op::Fold { axis, window, extent } = &node.op {
        // A fold removes the axis of its taps.
        let later = |fold: &mut Fold| fold.positions += usize::from(fold.positions > axis);
        if found.iter().any(|fold| fold.positions == axis) {
            return None;
        }
        found.iter_mut().for_each(later);
        found.push(Fold { positions: axis, window, extent });
        x = Some(node.operands[0]);
        node = &b[node.operands[0]];
    }
    found.sort_by_key(|fold| fold.positions);
    Some((found, x?))
}

/// The left operand as windows over its positions, once for each phase.
fn windows_of(b: &mut Builder, x: NodeId, places: &[(usize, usize)], reaches: &[Reach]) -> (NodeId, Vec<Axis>) {
    let mut axes: Vec<Axis> = (0..b.ty(x).shape.rank()).map(Axis::Own).collect();
    let mut x = x;
    for (fold, (&(positions, _), reach)) in places.iter().zip(reaches).enumerate() {
        let axis = axes.iter().position(|other| *other == Axis::Own(positions)).expect("no axis is lost");
        x = repeated(b, x, axis + 1, reach.count);
        axes.insert(axis + 1, Axis::Tap(fold));
        let (step, shift, extent) = (reach.dilation, reach.first, reach.elements);
        x = b.apply(Op::Skew { axis, along: axis + 1, step, shift, extent }, &[x]);
    }
    for (fold, reach) in reaches.iter().enumerate().filter(|(_, reach)| reach.phases > 1) {
        x = repeated(b, x, 0, reach.phases);
        axes.insert(0, Axis::Phase(fold));
    }
    (x, axes)
}

/// The right operand with its columns side by side, and the taps of every phase. It does not grow with the batch, so that a copy costs
/// little.
fn weights_of(
    b: &mut Builder,
    x: NodeId,
    places: &[(usize, usize)],
    reaches: &[Reach],
    col: usize,
) -> (NodeId, Vec<Axis>) {
    let rank = b.ty(x).shape.rank();
    let taps = places.iter().map(|&(_, taps)| taps);
    let others = (0..rank).filter(|axis| *axis != col && !places.iter().any(|(_, taps)| taps == axis));
    let order: Vec<usize> = taps.chain(others).chain([col]).collect();
    let mut axes: Vec<Axis> = order.iter().copied().map(Axis::Own).collect();
    let mut x = match order.is_sorted() {
        true => x,
        false => {
            let turned = transposed(b, x, &order);
            b.offset(turned, -0.0)
        }
    };
    for (fold, (&(_, taps), reach)) in places.iter().zip(reaches).enumerate() {
        let axis = axes.iter().position(|other| *other == Axis::Own(taps)).expect("no axis is lost");
        x = repeated(b, x, axis + 1, reach.count);
        axes[axis] = Axis::Phase(fold);
        axes.insert(axis + 1, Axis::Tap(fold));
        let (step, shift, extent) = (-reach.step, reach.tap, reach.phases);
        x = b.apply(Op::Skew { axis, along: axis + 1, step, shift, extent }, &[x]);
        if reach.phases == 1 {
            let mut dims = b.shape(x).0;
            dims.remove(axis);
            axes.remove(axis);
            x = b.reshape(x, Shape(dims));
        }
    }
    (x, axes)
}

/// The same along a new axis.
fn repeated(b: &mut Builder, x: NodeId, axis: usize, count: usize) -> NodeId {
    let mut dims = b.shape(x).0;
    dims.insert(axis, Dim::Fixed(count));
    let kept: Vec<usize> = (0..dims.len()).filter(|&other| other != axis).collect();
    b.broadcast(x, &Shape(dims), &kept)
}

/// The result with its axes in the order that the fold had, `order` before its taps were summed, and phases as elements.
fn as_elements(
    b: &mut Builder,
    result: NodeId,
    order: &[usize],
    folds: &[Fold],
    reaches: &[Reach],
    batch: usize,
) -> NodeId {
    let phased: Vec<usize> = (0..folds.len()).filter(|&fold| reaches[fold].phases > 1).collect();
    let rank = b.ty(result).shape.rank();
    let taps: Vec<usize> = folds.iter().map(|fold| order[fold.positions + 1]).collect();
    let mut turned = Vec::new();
    for (at, &axis) in order.iter().enumerate() {
        if taps.contains(&axis) {
            continue;
        }
        // Phases follow the batch axes, taps are gone.
        let before = taps.iter().filter(|&&tap| tap < axis).count();
        turned.push(if axis < batch { axis } else { axis + phased.len() - before });
        let phase = phased.iter().position(|&fold| folds[fold].positions == at);
        turned.extend(phase.map(|phase| batch + phase));
    }
    debug_assert_eq!(turned.len(), rank);
    let x = transposed(b, result, &turned);
    if phased.is_empty() {
        return x;
    }
    // As numbers with an axis for the phases, which whatever reads them can have among its own.
    let mut x = b.offset(x, -0.0);
    for (axis, at) in (0..order.len()).filter(|&at| !taps.contains(&order[at])).enumerate() {
        if let Some(&fold) = phased.iter().find(|&&fold| folds[fold].positions == at) {
            let Reach { phases, elements, .. } = reaches[fold];
            let mut dims = b.shape(x).0;
            dims.splice(axis..=axis + 1, [Dim::Fixed(phases * elements)]);
            x = b.reshape(x, Shape(dims));
            if folds[fold].extent < phases * elements {
                x = b.slice(x, axis, 0, folds[fold].extent, 1);
            }
        }
    }
    x
}
