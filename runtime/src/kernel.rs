//! What a kernel is: one pass over a matrix of elements, in row blocks, computing everything that can be computed there.
//!
//! A kernel has a domain of `rows x cols`: `cols` is the last axis, `rows` all others. Each value in it is of a class: one
//! per element, per row, per column, or one in all. A kernel may begin with a matrix product, whose rows arrive block by
//! block and are worked on while they are in the cache. Sums along a row are ready in the same row's next phase; sums down
//! the columns or over everything are ready when the kernel is done.

use crate::ir::ops::{Body, Reduction};
use crate::ir::{Graph, NodeId, Op};
use crate::reason::{Again, Begin, Kept};
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

/// How often a value occurs in its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// One for each element.
    Element,
    /// One for each row.
    Row,
    /// One for each column; read, never computed.
    Column,
    /// One in all.
    Single,
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

/// Rows of a product that are computed in one go, one or more blocks of its kernel: enough to keep it efficient, few
/// enough that what follows finds most of them in the second-level cache. A power of two, and a multiple of every block of
/// several blocks.
pub const PRODUCT_ROWS: usize = 256;

/// Rows that repay rearranging a right operand for several threads, or that a thread takes at least of a product with a
/// large one. A divisor of [`PRODUCT_ROWS`].
pub const ENOUGH_ROWS: usize = 128;

/// A fused loop nest.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The extents.
    pub domain: Domain,
    /// The matrix product whose elements arrive block by block.
    pub product: Option<NodeId>,
    /// What is computed, in topological order: maps and reductions.
    pub steps: Vec<Step>,
    /// What is written to memory for later kernels, or as a result.
    pub stores: Vec<Store>,
    /// How many rows are worked on at a time.
    pub block: usize,
    /// Why it is a kernel of its own.
    pub begin: Begin,
}

/// A map or a reduction in a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The operation.
    pub node: NodeId,
    /// Of its result, if a map; of its operand, if a reduction.
    pub class: Class,
    /// The phase of the row in which it is computed.
    pub phase: usize,
    /// Why it is computed here, if it was computed before.
    pub again: Option<Again>,
}

/// A value that a kernel writes to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// The value.
    pub node: NodeId,
    /// The parameter that it overwrites; `None` for a buffer of its own.
    pub param: Option<usize>,
    /// Why it is written to a buffer; `None` where it overwrites a parameter.
    pub kept: Option<Kept>,
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
