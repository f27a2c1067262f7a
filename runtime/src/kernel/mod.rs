//! A kernel says what it is: a loop nest over axes, with what it reads, computes and writes.
//!
//! [`fuse`](mod@crate::fuse) makes kernels of a graph and is the last that sees one: views have become accesses, operands are
//! values of the kernel, numbers, or reads of buffers. Later stages cut kernels into pieces, place their buffers and emit their
//! code from what stands here. Which elements a value occurs for, what a kernel reads and writes, and what it costs are derived
//! in this room, by one function each.
//!
//! The first axes of a kernel are its *rows*, walked point by point; the others are *the row*. A matrix product, if there is one,
//! comes first: its rows arrive in blocks, and what follows works on them while they are in the cache. A reduction over axes of
//! the row is known in the row's next stage; one over the rows is known when the kernel is done.
//!
//! Kernels that pass on what belongs to the same points may be a [`Group`], which runs tile by tile. Those of a [`Loop`] run once
//! for each step.

mod access;
mod constant;
mod cost;
mod flow;
mod group;
mod loops;
mod order;
mod parts;
mod print;
mod runs;
mod triangle;
mod verify;
mod why;
mod winograd;

use std::rc::Rc;

use crate::flops::Flops;
use crate::ir::ops::Reduction;
use crate::ir::print::Names;
use crate::ir::{NodeId, Op, Role, Slots};
use crate::reason::{ApartReason, MaterializeReason, RematerializeReason, SplitReason};
use crate::types::{DType, Dim, Shape, TensorType};

pub use access::{Access, Affine, AxisSet, Bound, Gather};
pub use constant::Constants;
pub(crate) use cost::grouped;
pub use cost::{Cost, Count, cost, costs};
pub use flow::Class;
pub use group::{Group, is_read_by_points, is_written_by_points, joins, parts};
pub use loops::{Loop, LoopPart};
pub use order::{CHUNK, DotOrder, LANES, LONG_ROWS, MOST_TERMS, SQUARES_OF_PIECE, SumOrder};
pub use runs::{Limit, RunBound, Runs};
pub(crate) use runs::{Operands, runs};
pub use triangle::{Triangle, TrianglePart};
pub use verify::verify;
pub use winograd::{
    Against, CHANNELS as WINOGRAD_CHANNELS, Winograd, WinogradForm, WinogradUse, whole_rows as winograd_rows,
};

/// A graph cut into kernels.
#[derive(Clone, Debug)]
pub struct Fused {
    /// Inputs, parameters and scalars.
    pub slots: Slots,
    /// Everything that lies in memory.
    pub buffers: Vec<Buffer>,
    /// In the order in which they run.
    pub kernels: Vec<Kernel>,
    /// Which of them run tile by tile, in order.
    pub groups: Vec<Group>,
    /// Which of them run once for each step, in order: a loop inside of another comes before that.
    pub loops: Vec<Loop>,
    /// Which of them are in no group with the one before, and why, where that is not plain.
    pub apart: Vec<(usize, ApartReason)>,
    /// Where something is updated: this many kernels run before the loss is known and the first update may be written.
    pub check: Option<usize>,
    /// The variances of the batch that running ones are made of: no update is written if one of them is not finite.
    pub statistics: Vec<BufferId>,
    /// Where each result is, and its shape.
    pub results: Vec<(Role, BufferId, Shape)>,
    /// What every operation would cost as a kernel of its own, where that is printed or counted.
    pub unfused: Option<Cost>,
    pub(crate) names: Names,
}

/// The index of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

impl BufferId {
    /// As an index into [`Fused::buffers`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A tensor in memory, its elements in row-major order.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Whose memory it is.
    pub home: Home,
    /// The type of its elements.
    pub dtype: DType,
    /// Its extents.
    pub shape: Shape,
    /// The operation whose result lies there, in the graph that was fused.
    pub origin: NodeId,
    /// The layer which that came from.
    pub layer: Rc<str>,
}

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// The input of this index.
    Input(usize),
    /// The parameter of this index.
    Param(usize),
    /// In the arena: a kernel writes it.
    Arena,
    /// In the scratch of each thread: kernels of one group write and read it, some points at a time.
    Tile,
}

/// A fused loop nest.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// The extents, from the outermost to the innermost.
    pub axes: Vec<Dim>,
    /// How many of the axes are walked point by point; the rest are the row.
    pub rows: usize,
    /// Whether rows do not matter, so that a block is one run of elements.
    pub flat: bool,
    /// How many rows are worked on at a time: a chunk of the sums that end with the kernel, if there are any.
    pub block: usize,
    /// What there is of its rows, if elements are left out: of those it is known what they are.
    pub triangle: Option<Triangle>,
    /// The matrix product whose elements arrive block by block.
    pub dot: Option<Dot>,
    /// What is computed, in the order of the graph: maps and reductions.
    pub body: Vec<Instruction>,
    /// What is read from memory, in the order of first use.
    pub reads: Vec<Read>,
    /// Positions that are used as numbers.
    pub indices: Vec<Affine>,
    /// What is written to memory for later kernels, or as a result.
    pub writes: Vec<Write>,
    /// How often it runs for each time that its loop does, if it is in one: once for each step. The innermost of several counts.
    pub steps: usize,
    /// How often that loop runs: once for each step of those around it.
    pub outer_steps: usize,
    /// Why it is a kernel of its own.
    pub split: SplitReason,
}

/// A product: sums of products of what is read from two buffers.
///
/// Places are given along the axes of the result, followed by those that are summed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    /// The axes of the result: rows, then columns. Those of the kernel if both operands are read as matrices; else its own, and the
    /// kernel may have fewer, as it has the same rows one after the other.
    pub axes: Vec<Dim>,
    /// The left operand: it has the rows.
    pub a: BufferId,
    /// Where an element of it lies, in elements.
    pub a_at: Affine,
    /// Where there is one. Elsewhere the term is left out.
    pub bounds: Vec<Bound>,
    /// The right operand: it has the columns.
    pub b: BufferId,
    /// Where an element of it lies, in elements.
    pub b_at: Affine,
    /// Where there is one. Elsewhere the term is left out.
    pub b_bounds: Vec<Bound>,
    /// Elements from a step to the next in both operands.
    pub positions: [i64; 2],
    /// The axes that are summed over, outermost first: one if both operands are read as matrices.
    pub over: Vec<Dim>,
    /// Whether the left operand is read in runs of terms: over several axes, with rows that are not evenly apart, or with terms left
    /// out.
    pub in_runs: bool,
    /// How it is computed with fewer multiplications, if it is.
    pub winograd: Option<Winograd>,
    /// What there is of it, if a part is left out.
    pub triangle: Option<Triangle>,
    /// Why it is computed again, if another kernel computes the same product.
    pub rematerialized: Option<RematerializeReason>,
    /// In which order.
    pub order: DotOrder,
    /// The coordinates in both buffers, as they are printed; none where both are read as matrices.
    pub coordinates: [Vec<Affine>; 2],
    /// The operation that it was.
    pub origin: Origin,
}

impl Dot {
    /// How many terms are added.
    pub fn inner(&self) -> Dim {
        Dim::product(&self.over).expect("extents were checked when the network was lowered")
    }
}

/// A map or a reduction in a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// What is computed.
    pub what: What,
    /// From what.
    pub args: Vec<Arg>,
    /// Along which axes it is computed: those of its result, if a map; of its operand, if a reduction.
    pub axes: AxisSet,
    /// The stage of the row in which it is computed.
    pub stage: usize,
    /// Why it is computed here, if it was computed before.
    pub rematerialized: Option<RematerializeReason>,
    /// The operation that it was.
    pub origin: Origin,
}

/// The operation of the graph that became part of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Its node.
    pub node: NodeId,
    /// What it is.
    pub op: Op,
    /// The type of its result.
    pub ty: TensorType,
    /// Its floating-point operations.
    pub flops: Flops,
    /// The layer it came from.
    pub layer: Rc<str>,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// One element from one element of each operand, by the body of its operation.
    Map,
    /// One element from many.
    Reduce {
        /// Which.
        kind: &'static Reduction,
        /// Over which axes.
        over: AxisSet,
        /// In which order.
        order: SumOrder,
    },
}

/// An operand of an instruction, or what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// The result of the instruction of this index.
    Value(usize),
    /// An element of the product.
    Dot,
    /// An element of memory: the read of this index.
    Read(usize),
    /// A number.
    Const(Number),
    /// The run-time scalar of this index.
    Scalar(usize),
    /// A constant times the batch size.
    Count(usize),
    /// A position: the one of this index.
    Index(usize),
}

/// A constant, the same as another one if all its bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(u64);

impl Number {
    /// This number.
    pub fn new(value: f64) -> Number {
        Number(value.to_bits())
    }

    /// Its value.
    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// What a kernel reads from a buffer, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// From where.
    pub buffer: BufferId,
    /// Which element at which point.
    pub access: Access,
    /// What is read outside of the bounds.
    pub fill: Number,
    /// The coordinates in the buffer, as they are printed.
    pub coordinates: Vec<Affine>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In place of what was there.
    Set,
    /// Added to what is there, zeros at first, in the order of the rows.
    Add,
}

/// What is written of rows of which elements are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// What each of these elements is.
    pub value: Number,
    /// Whether nobody looks further than [`LANES`] of them.
    pub near: bool,
}

/// A value that a kernel writes to memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The value.
    pub value: Arg,
    /// To where.
    pub buffer: BufferId,
    /// Which element at which point.
    pub access: Access,
    /// How.
    pub mode: Mode,
    /// Whether it is a part of the buffer, or all of it in another order than the kernel's: a row for a step of a loop, a part of a
    /// concatenation, what others read in that order.
    pub part: bool,
    /// The coordinates in the buffer of a part of a concatenation, as they are printed.
    pub coordinates: Vec<Affine>,
    /// Whether the value is copied: known here, but not computed as what is written.
    pub copied: bool,
    /// The elements that are left out of the kernel's rows.
    pub beyond: Option<Beyond>,
    /// Why it is written; `None` where it overwrites a parameter.
    pub materialized: Option<MaterializeReason>,
    /// The node that it was.
    pub origin: NodeId,
}

impl Fused {
    /// A buffer.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.index()]
    }

    /// The parameter that a write overwrites.
    pub fn param_written(&self, write: &Write) -> Option<usize> {
        match self.buffer(write.buffer).home {
            Home::Param(param) => Some(param),
            Home::Input(_) | Home::Arena | Home::Tile => None,
        }
    }

    /// Where a result is.
    pub fn result(&self, role: &Role) -> Option<BufferId> {
        self.results.iter().find(|(known, ..)| known == role).map(|&(_, buffer, _)| buffer)
    }
}

impl Kernel {
    /// The windows of its product, if they are computed in the form of Winograd, row by row.
    pub fn winograd_windows(&self) -> Option<&Winograd> {
        let found = self.dot.as_ref().and_then(|dot| dot.winograd.as_ref());
        found.filter(|winograd| winograd.form == WinogradForm::Windows)
    }

    /// How often it runs.
    pub fn times(&self) -> usize {
        self.steps.saturating_mul(self.outer_steps)
    }

    /// How many rows there are.
    pub fn row_count(&self) -> Dim {
        Dim::product(&self.axes[..self.rows]).expect("extents were checked when the network was lowered")
    }

    /// How many elements a row has.
    pub fn cols(&self) -> usize {
        self.axes[self.rows..].iter().map(|dim| dim.factor()).product()
    }
}
