//! The matrix of elements that a kernel goes over, and how the nodes of a graph lie in it.
//!
//! A kernel has a domain of `rows x cols`: `cols` is the last axis, `rows` all others. Each value in it is of a class: one
//! per element, per row, per column, or one in all. Sums along a row are ready in the same row's next stage; sums down
//! the columns or over everything are ready when the kernel is done.

use crate::ir::ops::{Body, Reduction};
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::{Access, Affine, AxisSet, Class};
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
    /// Of a single value.
    pub const SCALAR: Domain = Domain { rows: Dim::Fixed(1), cols: 1 };

    /// How a shape lies in memory: a vector that follows the batch is one column, any other one row.
    pub fn of(shape: &Shape) -> Domain {
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

    /// The class of a value of shape `shape` that is computed in a kernel over this domain, if it can be.
    pub fn class_of(self, shape: &Shape) -> Option<Class> {
        let own = Domain::of(shape);
        if own == self {
            Some(Class::Element)
        } else if own == Domain::SCALAR {
            Some(Class::Single)
        } else if own == (Domain { rows: self.rows, cols: 1 }) {
            Some(Class::Row)
        } else {
            None
        }
    }
}

impl Domain {
    /// The axes of a kernel over it.
    pub fn axes(self) -> Vec<Dim> {
        vec![self.rows, Dim::Fixed(self.cols)]
    }

    /// The axes along which something of a class changes.
    pub fn axes_of(class: Class) -> AxisSet {
        match class {
            Class::Element => AxisSet::range(0..2),
            Class::Row => AxisSet::range(0..1),
            Class::Column => AxisSet::range(1..2),
            Class::Single => AxisSet::NONE,
        }
    }

    /// Where an element of a class lies among all of them.
    pub fn access(self, class: Class) -> Access {
        let steps = match class {
            Class::Element => [self.cols as i64, 1],
            Class::Row => [1, 0],
            Class::Column => [0, 1],
            Class::Single => [0, 0],
        };
        Access { at: Affine { constant: 0, steps: steps.to_vec() } }
    }
}

/// Which way a reduction goes in its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Along each row: ready in the row's next phase.
    AlongRow,
    /// Down each column: ready after the kernel.
    DownColumns,
    /// Over everything: ready after the kernel.
    Everything,
}

impl Way {
    /// The axes that it goes over.
    pub fn axes(self) -> AxisSet {
        match self {
            Way::AlongRow => AxisSet::range(1..2),
            Way::DownColumns => AxisSet::range(0..1),
            Way::Everything => AxisSet::range(0..2),
        }
    }
}

/// The node that a value is read from, through views, and its class in a kernel over `domain`.
pub fn resolve(graph: &Graph, id: NodeId, domain: Domain) -> (NodeId, Class) {
    let mut current = id;
    let mut class = domain.class_of(&graph[id].ty.shape).unwrap_or(Class::Element);
    loop {
        let node = &graph[current];
        match &node.op {
            Op::Reshape => {}
            Op::Broadcast(axes) => {
                let rank = node.ty.shape.rank();
                class = match (axes.len(), class) {
                    // One number in all is so through every view of it.
                    (0, _) | (_, Class::Single) => Class::Single,
                    (_, Class::Element) if axes[..] == [rank - 1] => Class::Column,
                    (_, Class::Element | Class::Row) if axes.iter().copied().eq(0..rank - 1) => Class::Row,
                    // The only number of the only column.
                    (_, Class::Row) if axes[..] == [rank - 1] => Class::Single,
                    _ => unreachable!("fusion is given broadcasts along rows, columns or both only"),
                };
            }
            _ => break,
        }
        current = node.operands[0];
    }
    (current, normal(class, domain))
}

/// In a domain of one column the rows are the elements, in one of a single row the columns are; where there is one element,
/// what is one in all is that.
fn normal(class: Class, domain: Domain) -> Class {
    match class {
        Class::Single if domain == Domain::SCALAR => Class::Element,
        Class::Row if domain.cols == 1 => Class::Element,
        Class::Column if domain.rows == Dim::Fixed(1) => Class::Element,
        class => class,
    }
}

/// Which way the reduction `id` goes, in a kernel over the domain of its operand.
pub fn way(graph: &Graph, id: NodeId) -> Option<(Reduction, Way)> {
    let node = &graph[id];
    let Body::Reduce(reduction) = node.op.def().body else { return None };
    let axes = node.op.axes().expect("a reduction has axes");
    let shape = &graph[node.operands[0]].ty.shape;
    let rank = shape.rank();
    let way = if axes.len() == rank && (rank > 1 || shape.0[0].is_batch()) {
        Way::Everything
    } else if axes == [rank - 1] {
        Way::AlongRow
    } else if axes.iter().copied().eq(0..rank - 1) {
        Way::DownColumns
    } else {
        unreachable!("fusion is given reductions along rows, columns or both only")
    };
    Some((reduction, way))
}
