//! Views as accesses: where the elements of an operand lie, followed through every operation that only moves elements.
//!
//! In: a node, and its coordinates in terms of the axes of a kernel. Out: the node that is in memory, with its coordinates, each
//! affine in the axes; or the view that no affine access can express, which is therefore copied.

use std::ops::Range;

use super::domain::is_memory;
use crate::ir::ops::Body;
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::{Affine, Bound, Number};
use crate::types::{Dim, Shape};

/// Where the elements of an operand come from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The node that is in memory, or a leaf.
    pub(super) base: NodeId,
    /// The shape that the coordinates refer to: its own, or another one with the same elements in the same order.
    pub(super) shape: Shape,
    /// Its element at each point: one coordinate per axis of that shape.
    pub(super) coordinates: Vec<Affine>,
    /// Where there is such an element.
    pub(super) bounds: Vec<Bound>,
    /// What is read outside of the bounds.
    pub(super) fill: Option<Number>,
    /// The index that the first axis is looked up by, with the coordinates of the index.
    pub(super) index: Option<(NodeId, Vec<Affine>)>,
    /// How each coordinate grows from position to position of the loop that the node is in.
    pub(super) positions: Vec<i64>,
}

/// What has to be in memory for an operand of a product: its base if a microkernel can read the operand there, without bounds
/// and without repeating an element except along the leading axes; else the operand itself.
pub(super) fn operand_base(g: &Graph, operand: NodeId) -> NodeId {
    let shape = &g[operand].ty.shape;
    let whole = g.behind_reshapes(operand);
    let own = || own_coordinates(shape);
    let found = follow(g, operand, own(), &shape.0, None);
    let source = found.or_else(|view| follow(g, operand, own(), &shape.0, Some(view)));
    let Ok(source) = source else { return whole };
    let made = g[source.base].op.is_leaf() && !is_memory(&g[source.base].op);
    let still = |axis: usize| {
        let moves = source.coordinates.iter().any(|coordinate| coordinate.steps[axis] != 0);
        !moves && shape.0[axis] != Dim::Fixed(1)
    };
    let rank = shape.rank();
    let repeated = (rank.saturating_sub(2)..rank).any(still);
    if source.fill.is_some() || source.index.is_some() || made || repeated { whole } else { source.base }
}

/// A batch size to compare extents with: a large prime, so that no product of constants is a multiple of it by chance.
const LARGE: usize = 1_000_003;

/// Whether the elements of a node are those of another, moved, or a fill. The state of a loop is a row of its history.
pub(super) fn is_view(g: &Graph, id: NodeId) -> bool {
    let op = &g[id].op;
    let moves = matches!(op.def().body, Body::View | Body::Move);
    moves && g[id].operands.len() == 1 || matches!(op, Op::Gather | Op::Element | Op::Carry { .. })
}

/// The earlier node that a node is a view of.
pub(super) fn viewed(g: &Graph, id: NodeId) -> Option<NodeId> {
    match g[id].op {
        Op::Element => Some(g[id].operands[1]),
        Op::Carry { .. } => None,
        _ if is_view(g, id) => Some(g[id].operands[0]),
        _ => None,
    }
}

/// The history of a loop with this head, if the graph has it already.
fn history(g: &Graph, carry: NodeId) -> Option<NodeId> {
    let mut after = g.ids().skip(carry.index() + 1);
    after.find(|&id| matches!(g[id].op, Op::History { .. }) && g[id].operands[0] == carry)
}

/// Everything that a node is a view of: the node that holds its elements, which may be itself, and the indices on the way.
pub(super) fn bases(g: &Graph, id: NodeId) -> Vec<NodeId> {
    let mut open = vec![id];
    let mut found = Vec::new();
    while let Some(id) = open.pop() {
        match &g[id].op {
            Op::Carry { .. } => found.push(id),
            Op::Element => open.push(g[id].operands[1]),
            _ if is_view(g, id) => open.extend(&g[id].operands),
            _ => found.push(id),
        }
    }
    found
}

/// The indices that rows are looked up by between a node and what it is a view of.
pub(super) fn indices(g: &Graph, mut id: NodeId, base: NodeId) -> Vec<NodeId> {
    let mut found = Vec::new();
    while let Some(operand) = viewed(g, id).filter(|_| id != base) {
        if g[id].op == Op::Gather {
            found.push(g[id].operands[1]);
        }
        id = operand;
    }
    found
}

/// The node whose elements lie in memory as those of `id` do: through transposes that put the batch in front, where it is in memory
/// anyway.
fn behind_batch(g: &Graph, mut id: NodeId) -> NodeId {
    while let Op::Transpose(order) = &g[id].op {
        let operand = g[id].operands[0];
        if memory_order(&g[operand].ty.shape).as_ref() != Some(order) {
            break;
        }
        id = operand;
    }
    id
}

/// The coordinates of each element of a shape, in terms of its own axes.
pub(super) fn own_coordinates(shape: &Shape) -> Vec<Affine> {
    (0..shape.rank()).map(|axis| Affine::axis(axis, shape.rank())).collect()
}

/// Follows a node to where its elements lie: to `until`, or as far as views go. `coordinates` say which of its elements is read
/// at each point of `axes`. The error is a view that has to be copied.
pub(super) fn follow(
    g: &Graph,
    id: NodeId,
    coordinates: Vec<Affine>,
    axes: &[Dim],
    until: Option<NodeId>,
) -> Result<Source, NodeId> {
    let shape = g[id].ty.shape.clone();
    let mut source =
        Source { base: id, shape, coordinates, bounds: Vec::new(), fill: None, index: None, positions: Vec::new() };
    // The position in a loop is one more axis after those of the kernel.
    let (own, mut axes) = (axes.len(), axes.to_vec());
    while is_view(g, source.base) && until != Some(source.base) {
        let node = &g[source.base];
        if let Op::Carry { steps, reverse, .. } = node.op {
            axes.push(Dim::Fixed(steps));
            // The state before a step is the row before it, or after it where the last comes first.
            source.enter_loop(own, i64::from(reverse));
            source.shape.0.insert(0, Dim::Fixed(steps + 1));
            source.base = history(g, source.base).unwrap_or(source.base);
            break;
        }
        let operand = viewed(g, source.base).expect("it is a view");
        let to = &g[operand].ty.shape;
        match &node.op {
            Op::Element => {
                axes.push(to.0[0]);
                source.enter_loop(own, 0);
            }
            // The index would be another one at each step.
            Op::Gather if axes.len() > own => return Err(source.base),
            Op::Reshape => {
                // The elements lie in memory in the same order under either shape.
                let memory = g.behind_reshapes(operand);
                if !is_view(g, memory) || until == Some(memory) {
                    source.base = memory;
                    break;
                }
                let turned = behind_batch(g, memory);
                if turned != memory && (!is_view(g, turned) || until == Some(turned)) {
                    source.base = turned;
                    break;
                }
                source.coordinates = reshaped(&source.coordinates, &source.shape, to, &axes).ok_or(memory)?;
            }
            Op::Gather => {
                let index = node.operands[1];
                let rest = source.coordinates.split_off(g[index].ty.shape.rank());
                let fill = Number::new(f64::NAN);
                if source.fill.is_some_and(|other| other != fill) {
                    return Err(source.base);
                }
                source.fill = Some(fill);
                source.index = Some((index, std::mem::take(&mut source.coordinates)));
                source.coordinates = std::iter::once(Affine::constant(0, axes.len())).chain(rest).collect();
                let table = g.behind_reshapes(operand);
                if is_view(g, table) && until != Some(table) {
                    return Err(table);
                }
                source.base = table;
                source.shape = to.clone();
                break;
            }
            op => {
                let mut coordinates = Vec::new();
                for moved in op.coordinates(0, &[to]).expect("what only names elements says where they are") {
                    if moved.divisor != 1 {
                        return Err(source.base);
                    }
                    let mut coordinate = Affine::constant(moved.constant, axes.len());
                    for (axis, step) in moved.steps {
                        coordinate.add(&source.coordinates[axis], step);
                    }
                    coordinates.push(coordinate);
                }
                if let Some(fill) = op.fill() {
                    source.bound(&coordinates, to, Number::new(fill), (&axes, own))?;
                }
                source.coordinates = coordinates;
            }
        }
        source.base = operand;
        source.shape = to.clone();
    }
    if axes.len() > own {
        source.positions = source.coordinates.iter_mut().map(|affine| affine.steps.remove(own)).collect();
        source.bounds.iter_mut().for_each(|bound| bound.coordinate.steps.truncate(own));
    }
    Ok(source)
}

impl Source {
    /// One more coordinate ahead of all: the position of the loop, so many further. It is an axis after these.
    fn enter_loop(&mut self, axes: usize, constant: i64) {
        let bounded = self.bounds.iter_mut().map(|bound| &mut bound.coordinate);
        self.coordinates.iter_mut().chain(bounded).for_each(|affine| affine.steps.push(0));
        self.coordinates.insert(0, Affine { constant, ..Affine::axis(axes, axes + 1) });
    }

    /// Elements outside of a shape are `fill`. The error is the view that has to be copied because there is another fill already. Of
    /// the axes, so many are those of a kernel.
    fn bound(
        &mut self,
        coordinates: &[Affine],
        shape: &Shape,
        fill: Number,
        (axes, own): (&[Dim], usize),
    ) -> Result<(), NodeId> {
        for (coordinate, dim) in coordinates.iter().zip(&shape.0) {
            let &Dim::Fixed(extent) = dim else { continue };
            let (least, most) = coordinate.range(axes.iter().map(|axis| axis.at(1)));
            if least >= 0 && most < extent as i64 {
                continue;
            }
            // Bounds are the same at each step of a loop.
            let moves = coordinate.steps[own..].iter().any(|&step| step != 0);
            if moves || self.fill.is_some_and(|other| other != fill) {
                return Err(self.base);
            }
            self.fill = Some(fill);
            let bound = Bound { coordinate: coordinate.clone(), extent };
            if !self.bounds.contains(&bound) {
                self.bounds.push(bound);
            }
        }
        Ok(())
    }
}

/// The coordinates of the same elements under another shape, if they are affine.
pub(super) fn reshaped(coordinates: &[Affine], from: &Shape, to: &Shape, axes: &[Dim]) -> Option<Vec<Affine>> {
    let mut result = Vec::new();
    for (outer, inner) in runs_of_axes(from, to) {
        let mut place = Affine::constant(0, axes.len());
        for (coordinate, dim) in coordinates[outer.clone()].iter().zip(&from.0[outer]) {
            let mut next = Affine::constant(0, axes.len());
            next.add(&place, dim.factor() as i64);
            next.add(coordinate, 1);
            place = next;
        }
        let inner = &to.0[inner];
        for at in 0..inner.len() {
            // An axis before the batch has one element.
            if inner[at + 1..].iter().any(|dim| dim.is_batch()) {
                result.push(Affine::constant(0, axes.len()));
                continue;
            }
            let size: usize = inner[at + 1..].iter().map(|dim| dim.factor()).product();
            let (whole, rest) = divided(&place, size as i64, axes)?;
            result.push(whole);
            place = rest;
        }
    }
    Some(result)
}

/// The steps along the axes of another shape with the same elements in the same order, if each axis has one.
pub(super) fn restrided(steps: &[i64], from: &Shape, to: &Shape) -> Option<Vec<i64>> {
    let mut result = vec![0; to.rank()];
    for (outer, inner) in runs_of_axes(from, to) {
        let several = outer.filter(|&axis| from.0[axis] != Dim::Fixed(1));
        let mut next: Option<(i64, i64)> = None;
        let mut step = 1;
        for axis in several.rev() {
            match next {
                None => step = steps[axis],
                Some((step, extent)) if steps[axis] == step * extent => {}
                Some(_) => return None,
            }
            next = Some((steps[axis], from.0[axis].factor() as i64));
        }
        for axis in inner.rev() {
            result[axis] = step;
            step *= to.0[axis].factor() as i64;
        }
    }
    Some(result)
}

/// The shortest runs of axes of two shapes that have equally many elements.
fn runs_of_axes(from: &Shape, to: &Shape) -> Vec<(Range<usize>, Range<usize>)> {
    let (from, to) = (&from.0[..], &to.0[..]);
    let (mut i, mut j) = (0, 0);
    let mut runs = Vec::new();
    while i < from.len() || j < to.len() {
        let (first, start) = (i, j);
        let (mut before, mut after) = (1u128, 1u128);
        loop {
            let taken = (i > first || i == from.len()) && (j > start || j == to.len());
            if before == after && taken {
                break;
            }
            let next = before < after || before == after && i == first;
            if i < from.len() && (next || j == to.len()) {
                before *= from[i].at(LARGE) as u128;
                i += 1;
            } else if j < to.len() {
                after *= to[j].at(LARGE) as u128;
                j += 1;
            } else {
                break;
            }
        }
        runs.push((first..i, start..j));
    }
    runs
}

/// An offset divided by a number of elements: which run of that length, and which element in the run. None if an axis crosses
/// from one run into the next.
fn divided(place: &Affine, by: i64, axes: &[Dim]) -> Option<(Affine, Affine)> {
    let count = axes.len();
    let mut whole = Affine::constant(place.constant.div_euclid(by), count);
    let mut rest = Affine::constant(place.constant.rem_euclid(by), count);
    for (axis, &step) in place.steps.iter().enumerate() {
        if step % by == 0 {
            whole.steps[axis] = step / by;
        } else {
            rest.steps[axis] = step;
        }
    }
    let (least, most) = rest.range(axes.iter().map(|dim| dim.at(LARGE)));
    (least >= 0 && most < by).then_some((whole, rest))
}

/// The axes of a tensor in the order in which they lie in memory, outermost first, if that differs from the order of its shape:
/// the batch is always outermost.
pub(super) fn memory_order(shape: &Shape) -> Option<Vec<usize>> {
    let batch = shape.0.iter().position(|dim| dim.is_batch()).filter(|&axis| axis > 0)?;
    Some(std::iter::once(batch).chain((0..shape.rank()).filter(|&axis| axis != batch)).collect())
}

/// The strides of a buffer in memory, in elements, for each axis of its shape.
pub(super) fn strides(shape: &Shape) -> Vec<i64> {
    let order = memory_order(shape).unwrap_or_else(|| (0..shape.rank()).collect());
    let mut strides = vec![1; shape.rank()];
    for at in (1..order.len()).rev() {
        strides[order[at - 1]] = strides[order[at]] * shape.0[order[at]].factor() as i64;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::{Affine, reshaped};
    use crate::types::{Dim, Shape};

    fn shape(extents: &[usize]) -> Shape {
        Shape(std::iter::once(Dim::B).chain(extents.iter().map(|&extent| Dim::Fixed(extent))).collect())
    }

    /// The last three of four axes, 4 x 2 x 3, as one of 24.
    fn merged_of(fine: &[Affine]) -> Affine {
        let mut merged = Affine::constant(0, 4);
        fine[1..].iter().zip([6, 3, 1]).for_each(|(axis, step)| merged.add(axis, step));
        merged
    }

    #[test]
    fn axes_that_a_shape_merges_add_up_and_what_adds_up_is_split() {
        let axes = shape(&[4, 6]);
        let own: Vec<Affine> = (0..3).map(|axis| Affine::axis(axis, 3)).collect();
        let merged = reshaped(&own, &axes, &shape(&[24]), &axes.0).expect("two axes become one");
        assert_eq!(merged[1], Affine { constant: 0, steps: vec![0, 6, 1] });
        assert_eq!(reshaped(&own, &axes, &shape(&[4, 2, 3]), &axes.0), None, "the last axis would have to be cut");
        let cut = shape(&[4, 2, 3]);
        let fine: Vec<Affine> = (0..4).map(|axis| Affine::axis(axis, 4)).collect();
        let split = reshaped(&[fine[0].clone(), merged_of(&fine)], &shape(&[24]), &cut, &cut.0).expect("it is");
        assert_eq!(split, fine);
        let batch = Shape(vec![Dim::Batch(4), Dim::Fixed(6)]);
        let batch = reshaped(&own, &axes, &batch, &axes.0).expect("the batch is outermost");
        assert_eq!(batch[0], Affine { constant: 0, steps: vec![4, 1, 0] });
        let first = Shape([&[Dim::Fixed(1)], &axes.0[..]].concat());
        let before = reshaped(&own, &axes, &first, &axes.0).expect("an axis of one element is no axis in memory");
        assert_eq!(before, [vec![Affine::constant(0, 3)], own].concat());
    }
}
