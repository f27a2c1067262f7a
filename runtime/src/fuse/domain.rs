//! The matrix of elements that a kernel computes, and how the nodes of a graph relate to it.
//!
//! A kernel has a domain of `rows x cols`: `cols` is the last axis, `rows` all others. Each value in it has a class: one number
//! per element, per row, per column, or a single one. Sums along a row are known in the same row's next stage; sums down
//! the columns or over everything are known when the kernel is done.

use super::view::{follow, is_view, memory_order, own_coordinates, reshaped};
use crate::ir::ops::{Body, Reduction};
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::{Affine, Class};
use crate::types::{Dim, Shape};

/// The extents of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// All axes but the last.
    pub rows: Dim,
    /// The last axis.
    pub cols: usize,
}

impl Domain {
    /// That of a single value.
    pub const SCALAR: Domain = Domain { rows: Dim::Fixed(1), cols: 1 };

    /// The domain of a shape as it lies in memory, with the batch outermost: a vector along the batch is one column, any other
    /// vector one row.
    pub fn of(shape: &Shape) -> Domain {
        if let Some(order) = memory_order(shape) {
            return Domain::of(&Shape(order.into_iter().map(|axis| shape.0[axis]).collect()));
        }
        match shape.0[..] {
            [] => Domain::SCALAR,
            [batch @ Dim::Batch(_)] => Domain { rows: batch, cols: 1 },
            [Dim::Fixed(cols)] => Domain { rows: Dim::Fixed(1), cols },
            [ref leading @ .., last] => {
                let rows = Dim::product(leading).expect("extents were checked when the network was lowered");
                Domain { rows, cols: last.factor() }
            }
        }
    }

    /// The class of a value of this shape in a kernel over this domain, if it can be computed there.
    pub fn class_of(self, shape: &Shape) -> Option<Class> {
        let own = Domain::of(shape);
        if own == self {
            Some(Class::Element)
        } else if own == Domain::SCALAR {
            Some(Class::Single)
        } else if own == (Domain { rows: self.rows, cols: 1 }) || own.is_one_a_row_of(self) {
            Some(Class::Row)
        } else {
            None
        }
    }

    /// Whether it is a matrix with one element per row of the other domain. The rows of both follow the batch.
    pub fn is_one_a_row_of(self, outer: Domain) -> bool {
        self.rows.is_batch() && self.cols > 1 && Dim::product(&[self.rows, Dim::Fixed(self.cols)]) == Some(outer.rows)
    }
}

/// Which way a reduction goes in its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReductionAxes {
    /// Along each row: known in the row's next stage.
    AlongRow,
    /// Down each column: known after the kernel.
    DownColumns,
    /// Over everything: known after the kernel.
    Everything,
    /// Within each row of leading axes, over some of the others but not the last: known after the kernel, which does nothing else.
    Within,
}

/// The node that a value is read from, through views, and its class in a kernel over `domain`. With [`Class::Other`] it is
/// read from memory; the node is then the view itself if that has to be copied first.
pub fn read_access(graph: &Graph, id: NodeId, domain: Domain) -> (NodeId, Class) {
    let mut current = id;
    // In a view with the batch after other axes, the rows are not those of the kernel.
    let turned = memory_order(&graph[id].ty.shape).is_some() && is_view(graph, id);
    let mut class = match domain.class_of(&graph[id].ty.shape).filter(|_| !turned) {
        Some(class) => class,
        None => return elsewhere(graph, id),
    };
    loop {
        let node = &graph[current];
        match &node.op {
            Op::Reshape => {}
            Op::Broadcast(axes) => {
                let shape = &node.ty.shape;
                let rank = shape.rank();
                let one = shape.0.last() == Some(&Dim::Fixed(1));
                let own = Domain::of(shape) == domain;
                class = match (axes.len(), class) {
                    // Every view of a single number is that number.
                    (0, _) | (_, Class::Single) => Class::Single,
                    (_, Class::Element) if own && axes[..] == [rank - 1] => Class::Column,
                    (_, Class::Element) if own && axes.iter().copied().eq(0..rank - 1) => Class::Row,
                    (_, Class::Row) if one && axes.iter().copied().eq(0..rank - 1) => Class::Row,
                    // The only number of the only column.
                    (_, Class::Row) if one && axes[..] == [rank - 1] => Class::Single,
                    _ => return elsewhere(graph, id),
                };
            }
            _ if is_view(graph, current) => return elsewhere(graph, id),
            _ => break,
        }
        current = node.operands[0];
    }
    (current, normal(class, domain))
}

/// What is read from memory: the base of a view, or the view that has to be copied first.
pub fn elsewhere(graph: &Graph, id: NodeId) -> (NodeId, Class) {
    let shape = &graph[id].ty.shape;
    let base = match follow(graph, id, own_coordinates(shape), &shape.0, None) {
        Ok(source) => {
            // A leaf that is not in memory cannot be read where the bounds hold and replaced by the fill elsewhere.
            let made = graph[source.base].op.is_leaf() && !is_memory(&graph[source.base].op);
            if made && source.fill.is_some() { graph.behind_reshapes(id) } else { source.base }
        }
        Err(view) => view,
    };
    (base, Class::Other)
}

/// Whether it lies in memory before any kernel runs.
pub fn is_memory(op: &Op) -> bool {
    matches!(op, Op::Input(_) | Op::Param(_))
}

/// In a domain of one column, rows are elements; in a domain of one row, columns are; in a domain of one element, a single
/// number is.
fn normal(class: Class, domain: Domain) -> Class {
    match class {
        Class::Single if domain == Domain::SCALAR => Class::Element,
        Class::Row if domain.cols == 1 => Class::Element,
        Class::Column if domain.rows == Dim::Fixed(1) => Class::Element,
        class => class,
    }
}

/// Which way the reduction `id` goes in a kernel over the domain of its operand.
pub fn reduction_axes(graph: &Graph, id: NodeId) -> Option<(&'static Reduction, ReductionAxes)> {
    let node = &graph[id];
    reduction_axes_over(&node.op, &graph[*node.operands.first()?].ty.shape)
}

/// The same for this operation on an operand of this shape.
pub fn reduction_axes_over(op: &Op, shape: &Shape) -> Option<(&'static Reduction, ReductionAxes)> {
    let Body::Reduce(reduction) = op.def().body else { return None };
    let axes = op.axes().expect("a reduction has axes");
    let rank = shape.rank();
    let along = if axes.len() == rank && (rank > 1 || shape.0[0].is_batch()) {
        ReductionAxes::Everything
    } else if axes == [rank - 1] {
        ReductionAxes::AlongRow
    } else if axes.iter().copied().eq(0..rank - 1) {
        ReductionAxes::DownColumns
    } else {
        ReductionAxes::Within
    };
    Some((reduction, along))
}

/// For each point of a kernel with these axes, so many of them rows, the coordinates of the element of a tensor of this shape that is
/// computed there; `None` if the axes are coarser than those of that tensor.
pub(super) fn coordinates((domain, axes, rows): (Domain, &[Dim], usize), shape: &Shape) -> Option<Vec<Affine>> {
    let count = axes.len();
    let within = match domain.class_of(shape) {
        Some(Class::Element) => 0..count,
        Some(Class::Row) => 0..rows,
        _ => return Some(vec![Affine::constant(0, count); shape.rank()]),
    };
    let own: Vec<Affine> = within.clone().map(|axis| Affine::axis(axis, count)).collect();
    let order = memory_order(shape).unwrap_or_else(|| (0..shape.rank()).collect());
    let memory = Shape(order.iter().map(|&axis| shape.0[axis]).collect());
    let found = reshaped(&own, &Shape(axes[within].to_vec()), &memory, axes)?;
    let mut coordinates = vec![Affine::constant(0, count); shape.rank()];
    order.into_iter().zip(found).for_each(|(axis, coordinate)| coordinates[axis] = coordinate);
    Some(coordinates)
}
