//! Why kernels are as they are: the decisions of fusion, each recorded where it was made and printed from there.
//!
//! Out: what a kernel, a value that it materializes and an instruction that it repeats carry along. Nothing is compiled from it.

use crate::ir::NodeId;

/// Why an operation starts a kernel instead of joining an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitReason {
    /// It is a matrix product, whose rows arrive from the beginning of a kernel on.
    Product,
    /// It is made of this sum, down the columns or over everything, which is known when its own kernel is done.
    Sum(NodeId),
    /// It is made of this value of a kernel of other extents.
    Extents(NodeId),
    /// It is a variance, and the kernel that has what it is made of sums along rows.
    Variance,
    /// It is written over a parameter, so it waits until the loss is known to be finite.
    Check,
    /// It is written over this parameter, so it waits for the last kernel that reads the old value.
    Readers(usize),
    /// The kernel that would have taken it is long already.
    Long,
    /// No earlier kernel of its extents computes what it is made of; nor does one without a product read it.
    Apart,
}

/// Why a value is written to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaterializeReason {
    /// It is a result.
    Result,
    /// It goes into a matrix product, which reads memory.
    Operand,
    /// Its operation is never repeated.
    Once,
    /// It is needed again, and this is more than to write and read it.
    Costly(Effort),
    /// It is the slope of this function, and takes little beside it; its operand would have to be materialized otherwise.
    Slope(NodeId),
    /// It is made of this function, which would be repeated for it; and its operand would have to be materialized instead.
    Beside(NodeId),
    /// A later kernel uses it as a column.
    Column,
    /// A later kernel uses it in another shape.
    Reshaped,
    /// It is made of more operations than a kernel takes on, or repeats for one number.
    Long,
    /// It depends on parameters alone, and products use it as a column: it is computed ahead of them.
    Prepared,
    /// It becomes the next value of this parameter, which may not be written yet.
    Update(usize),
    /// It is made of a parameter that may be overwritten before it is wanted.
    Overwritten,
    /// A loop reads it at every step.
    Outside,
    /// Each step of a loop has one.
    Step,
    /// Each step of a loop reads what the one before has left, and of all that nothing but the last is read elsewhere.
    Carried,
    /// It is a part of a concatenation.
    Part,
    /// It is added up tile by tile.
    Tiles,
}

/// Why a value that an earlier kernel, or an earlier reduction stage, has computed is rematerialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RematerializeReason {
    /// This is less than to write and read it.
    Cheap(Effort),
    /// It is one number.
    Single,
    /// Truth values and indices are register-only.
    RegisterOnly,
    /// It is a product with at least as many elements as both of its operands, which are kept anyway.
    Grows,
}

/// Why kernels run tile by tile, in bytes: fixed, and for each row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupReason {
    /// By what is moved.
    Passed {
        /// What is not written to memory, or not read from there.
        saved: [u64; 2],
        /// What every tile reads again, as the right operands of all products together do not stay in the cache.
        reread: u64,
    },
    /// By what a value would take that is too much as a whole.
    Shared([u64; 2]),
}

/// Why a kernel does not run tile by tile with the one before it, although that passes on to it more than is computed in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApartReason {
    /// It reads this value at other points than its own.
    Points(NodeId),
    /// Its rows are no parts of the points: it adds up what it is passed, or has other extents.
    Rows,
    /// What a tile of so many bytes has would not stay in the cache.
    Large(u64),
    /// Bytes: it would save so many, and read so many again with every tile.
    Costly {
        /// What would not be written to memory, or not read from there.
        saved: u64,
        /// What would be read again.
        reread: u64,
    },
    /// There are as many kernels in the group as one has.
    Long,
}

/// What it takes to rematerialize an element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Operations.
    pub operations: usize,
    /// Elements that would be read on top of what is read anyway.
    pub reads: usize,
    /// Elements that would have to be written first.
    pub writes: usize,
}

impl Effort {
    /// Elements that pass between kernel and memory.
    pub fn transfers(self) -> usize {
        self.reads + self.writes
    }
}
