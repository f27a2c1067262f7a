//! Where elements stand in their tensors, in row-major order.

use std::iter::zip;

use crate::ir::ops::Coordinate;
use crate::ir::{DotAxes, Graph, Node, NodeId, Op};
use crate::types::Shape;

/// For every element of the operand of a reduction, in row-major order, the element of the result that it becomes part of.
pub fn destinations(shape: &[usize], axes: &[usize], result: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let mut kept = row_major(result).into_iter();
    let strides: Vec<usize> = (0..shape.len())
        .map(|axis| if axes.contains(&axis) { 0 } else { kept.next().expect("the result has the axes that are kept") })
        .collect();
    offsets(shape, &strides)
}

/// The distance between neighbors along each axis.
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// For every position within `shape`, in row-major order, the sum of coordinate times stride.
pub fn offsets(shape: &[usize], strides: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let axes = zip(zip(row_major(shape), shape), strides).map(|((step, &extent), &stride)| (step, extent, stride));
    let axes: Vec<(usize, usize, usize)> = axes.filter(|&(_, extent, stride)| extent > 1 && stride > 0).collect();
    let len = shape.iter().product();
    (0..len).map(move |at: usize| axes.iter().map(|(step, extent, stride)| at / step % extent * stride).sum())
}

/// The elements of a tensor, walked with these of its axes, the first outermost.
pub fn positions(shape: &[usize], order: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let strides = row_major(shape);
    let pick = |of: &[usize]| -> Vec<usize> { order.iter().map(|&axis| of[axis]).collect() };
    offsets(&pick(shape), &pick(&strides))
}

/// Of operands of these shapes, the pairs of elements of which the element of a product at this place is a sum, in order.
pub fn product_terms(axes: &DotAxes, shapes: [&[usize]; 2], place: &[usize]) -> Vec<[usize; 2]> {
    let own = [0, 1].map(|operand| axes.of(operand, shapes[operand].len()));
    let (batch, free) = place.split_at(axes.batch.len());
    let (left, right) = free.split_at(own[0].free.len());
    let [a, b] = [(0, left), (1, right)].map(|(operand, free): (usize, &[usize])| {
        let (strides, own) = (row_major(shapes[operand]), &own[operand]);
        let fixed = zip(&own.batch, batch).chain(zip(&own.free, free));
        let start: usize = fixed.map(|(&axis, at)| strides[axis] * at).sum();
        positions(shapes[operand], &own.contracted).map(move |at| start + at).collect::<Vec<usize>>()
    });
    zip(a, b).map(|(a, b)| [a, b]).collect()
}

/// Where the elements of a result of movement are from.
pub struct Sources<'a> {
    /// For each operand, its extents, and from where along each of its axes.
    operands: Vec<(&'a [usize], Vec<Coordinate>)>,
    /// Of each axis of the result, the extent and the distance between neighbors.
    axes: Vec<(usize, usize)>,
}

impl<'a> Sources<'a> {
    /// Of a node with these extents; `None` if its elements are not moved axis by axis.
    pub fn new(
        graph: &Graph,
        node: &Node,
        result: &[usize],
        extents: impl Fn(NodeId) -> &'a [usize],
    ) -> Option<Sources<'a>> {
        let shapes: Vec<&Shape> = node.operands.iter().map(|&operand| &graph[operand].ty.shape).collect();
        let operand = |(at, &id): (usize, &NodeId)| Some((extents(id), node.op.coordinates(at, &shapes)?));
        let operands: Option<Vec<_>> = node.operands.iter().enumerate().map(operand).collect();
        Some(Sources { operands: operands?, axes: zip(result.iter().copied(), row_major(result)).collect() })
    }

    /// The operand and the position in it that this element of the result is; `None` for a fill.
    pub fn of(&self, at: usize) -> Option<(usize, usize)> {
        let place = |axis: usize| {
            let (extent, stride) = self.axes[axis];
            at / stride % extent
        };
        self.operands.iter().enumerate().find_map(|(operand, (extents, coordinates))| {
            let mut position = 0;
            for (coordinate, &extent) in zip(coordinates, *extents) {
                position = position * extent + coordinate.at(place, extent)?;
            }
            Some((operand, position))
        })
    }
}

/// The elements of an operand of these extents that a fold adds up to this element of its result, in order.
pub fn folded(op: &Op, extents: &[usize], at: usize) -> Vec<usize> {
    let &Op::Fold { axis, window, extent } = op else { unreachable!("{op:?} is no fold") };
    let inner: usize = extents[axis + 2..].iter().product();
    let (outer, element, inside) = (at / inner / extent, at / inner % extent, at % inner);
    let [positions, taps] = [extents[axis], extents[axis + 1]];
    let found = (0..taps).filter_map(|tap| {
        let position = window.position_over(element, tap, positions)?;
        Some(((outer * positions + position) * taps + tap) * inner + inside)
    });
    found.collect()
}
