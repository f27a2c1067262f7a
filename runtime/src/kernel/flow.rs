//! What follows from a kernel: how often values occur, when they are known, and what is read and written.

use std::collections::HashSet;

use super::{
    Access, Affine, Arg, AxisSet, BufferId, Fused, Home, Instruction, Kernel, LANES, Mode, SumOrder, What, Write,
};
use crate::ir::NodeId;
use crate::ir::ops::{Form, Reduction};
use crate::types::{DType, Dim};

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
    /// Some other element; read from memory, never computed.
    Other,
}

impl Instruction {
    /// The reduction that it is.
    pub fn reduction(&self) -> Option<(&'static Reduction, AxisSet)> {
        match self.what {
            What::Map => None,
            What::Reduce { kind, over, .. } => Some((kind, over)),
        }
    }

    /// The order in which it adds up, if it is a reduction.
    pub fn order(&self) -> Option<SumOrder> {
        match self.what {
            What::Map => None,
            What::Reduce { order, .. } => Some(order),
        }
    }

    /// The axes of its result.
    pub fn result_axes(&self) -> AxisSet {
        self.reduction().map_or(self.axes, |(_, over)| self.axes.without(over))
    }
}

impl Kernel {
    /// The axes that are walked point by point.
    pub fn row_axes(&self) -> AxisSet {
        AxisSet::range(0..self.rows)
    }

    /// The axes of the row.
    pub fn col_axes(&self) -> AxisSet {
        AxisSet::range(self.rows..self.axes.len())
    }

    /// How often something occurs that changes along these axes. In a kernel of one column the rows are the elements, in one of a
    /// single row the columns are.
    pub fn class_of(&self, axes: AxisSet) -> Class {
        let (row, col) =
            (!axes.intersection(self.row_axes()).is_empty(), !axes.intersection(self.col_axes()).is_empty());
        match (self.row_count() == Dim::Fixed(1), self.cols() == 1) {
            (true, true) => Class::Element,
            (true, false) => {
                if col {
                    Class::Element
                } else {
                    Class::Single
                }
            }
            (false, true) if row => Class::Element,
            _ => match (row, col) {
                (true, true) => Class::Element,
                (true, false) => Class::Row,
                (false, true) => Class::Column,
                (false, false) => Class::Single,
            },
        }
    }

    /// The place of each point among all, in their order.
    pub fn linear(&self) -> Affine {
        let mut steps = vec![1; self.axes.len()];
        for axis in (1..steps.len()).rev() {
            steps[axis - 1] = steps[axis] * self.axes[axis].factor() as i64;
        }
        Affine { constant: 0, steps }
    }

    /// Whether an access is that of a matrix `rows x cols`, of one of its columns, of one of its rows or of one number.
    fn is_simple(&self, access: &Access) -> bool {
        let [row, col] = access.at.steps[..] else { return false };
        let simple = [(self.axes[1].factor() as i64, 1), (1, 0), (0, 1), (0, 0)].contains(&(row, col));
        access.at.constant == 0 && access.is_plain() && simple
    }

    /// Whether it is a matrix of rows and columns in which everything is read element by element, by rows or by columns.
    pub fn is_plain(&self) -> bool {
        let indices =
            self.indices.iter().all(|index| index.constant == 0 && matches!(index.steps[..], [0, 1] | [1, 0]));
        let writes =
            self.writes.iter().all(|write| write.mode == Mode::Set && !write.part && self.is_simple(&write.access));
        self.axes.len() == 2 && indices && writes && self.reads.iter().all(|read| self.is_simple(&read.access))
    }

    /// Whether an access is to the elements of the kernel in their order.
    pub fn is_aligned(&self, access: &Access) -> bool {
        access.is_plain() && access.at == self.linear()
    }

    /// Whether an access finds each row in one run, in memory that it has not gone through at the step before.
    pub fn comes_in_rows(&self, access: &Access, in_tile: bool) -> bool {
        let (rows, columns) = access.at.steps.split_at(self.rows);
        let by_rows = rows.iter().any(|&step| step != 0) && access.gather.is_none() && columns == [1];
        by_rows && !in_tile && (self.steps == 1 || access.position != 0)
    }

    /// How the rows of its product are cut: the axes ahead of them, of which each position has a left and a right operand of its
    /// own, and how many rows follow one another in one product. Rows that are read in runs need not be in one.
    pub fn dot_rows(&self) -> (usize, Dim) {
        let dot = self.dot.as_ref().expect("the kernel has a product");
        let rows = if dot.in_runs { dot.axes.len() - 1 } else { self.rows };
        let mut batch = rows;
        while batch > 0 && dot.b_at.steps[batch - 1] == 0 {
            let next = dot.axes.get(batch).filter(|_| batch < rows).map(|dim| dim.factor() as i64);
            let follows = |next: i64| dot.a_at.steps[batch - 1] == dot.a_at.steps[batch] * next;
            if !dot.in_runs && !next.is_none_or(follows) {
                break;
            }
            batch -= 1;
        }
        (batch, Dim::product(&dot.axes[batch..rows]).expect("extents were checked when the network was lowered"))
    }

    /// The steps of a product's left operand from row to row and from term to term, and of its right operand from term to term and
    /// from column to column.
    pub fn dot_steps(&self) -> [[i64; 2]; 2] {
        let dot = self.dot.as_ref().expect("the kernel has a product");
        let (last, term) = (dot.axes.len() - 1, dot.axes.len());
        [[dot.a_at.steps[self.rows.min(last) - 1], dot.a_at.steps[term]], [dot.b_at.steps[term], dot.b_at.steps[last]]]
    }

    /// Whether its product is one of two matrices.
    pub fn has_plain_dot(&self) -> bool {
        self.dot.as_ref().is_some_and(|dot| {
            let starts = dot.a_at.constant == 0 && dot.b_at.constant == 0;
            starts && !dot.in_runs && self.dot_rows().0 == 0
        })
    }

    /// Where its product is written row by row to rows that lie elsewhere, if nothing else is done with it and each of its rows is one
    /// run there.
    pub fn scattered_product(&self) -> Option<&Write> {
        let [write] = &self.writes[..] else { return None };
        let dot = self.dot.as_ref()?;
        let alone = self.body.is_empty() && write.value == Arg::Dot && write.access.is_plain();
        if !alone || dot.in_runs || dot.winograd.is_some() || dot.axes != self.axes || !self.is_strided(write) {
            return None;
        }
        let (batch, _) = self.dot_rows();
        let steps = &write.access.at.steps;
        let run = self.rows + 1 == self.axes.len() && write.access.at.is_run(&self.axes, self.rows);
        // The rows of each product are evenly apart.
        let mut rows = (batch + 1..self.rows).map(|axis| (steps[axis - 1], steps[axis], self.axes[axis].factor()));
        let even = rows.all(|(outer, inner, extent)| outer == inner * extent as i64);
        (batch > 0 && run && even).then_some(write)
    }

    /// How often an instruction is computed.
    pub fn class(&self, index: usize) -> Class {
        self.class_of(self.body[index].axes)
    }

    /// How often an operand occurs.
    pub fn arg_class(&self, arg: Arg) -> Class {
        match arg {
            Arg::Value(index) => self.class_of(self.body[index].result_axes()),
            Arg::Dot => Class::Element,
            Arg::Read(read) => self.class_of(self.read_axes(read)),
            Arg::Const(_) | Arg::Scalar(_) | Arg::Count(_) => Class::Single,
            Arg::Index(index) => self.class_of(self.indices[index].axes()),
        }
    }

    /// The axes along which a read changes, with those of the index that it is looked up by.
    pub fn read_axes(&self, read: usize) -> AxisSet {
        let access = &self.reads[read].access;
        let index = access.gather.as_ref().map_or(AxisSet::NONE, |gather| self.read_axes(gather.index));
        access.axes().union(index)
    }

    /// Whether a reduction is known in the row's next stage.
    pub fn is_along_row(&self, index: usize) -> bool {
        let along = |(_, over): (&Reduction, AxisSet)| over.intersection(self.row_axes()).is_empty();
        self.body[index].reduction().is_some_and(along)
    }

    /// Whether a reduction is known only when the kernel is done.
    pub fn ends_later(&self, index: usize) -> bool {
        self.body[index].reduction().is_some() && !self.is_along_row(index)
    }

    /// Whether a value is written by what ends its reduction, after the kernel.
    pub fn is_written_later(&self, write: &Write) -> bool {
        matches!(write.value, Arg::Value(index) if self.ends_later(index))
    }

    /// Whether a reduction is over some axes of the row, of which others are left: a row of results, known when the row is done.
    pub fn is_within(&self, index: usize) -> bool {
        let within = |(_, over): (&Reduction, AxisSet)| over != self.col_axes();
        self.is_along_row(index) && self.body[index].reduction().is_some_and(within)
    }

    /// How many results a reduction within rows has for each row.
    pub fn results_within(&self, index: usize) -> usize {
        let left = self.body[index].result_axes().intersection(self.col_axes());
        left.iter().map(|axis| self.axes[axis].factor()).product()
    }

    /// The place of each result of a reduction within rows among those of its row.
    pub fn place_within(&self, index: usize) -> Affine {
        let left = self.body[index].result_axes().intersection(self.col_axes());
        let mut place = Affine::constant(0, self.axes.len());
        let mut step = 1;
        for axis in (self.rows..self.axes.len()).rev().filter(|&axis| left.contains(axis)) {
            place.steps[axis] = step;
            step *= self.axes[axis].factor() as i64;
        }
        place
    }

    /// Whether a reduction is over all elements of the kernel.
    pub fn is_over_everything(&self, index: usize) -> bool {
        self.body[index].reduction().is_some_and(|(_, over)| over == AxisSet::range(0..self.axes.len()))
    }

    /// Whether the elements of each row, or of a block without rows, are added up in lanes of their own. A number of the row, or
    /// its only element, is added to those of the block.
    pub fn gathers_in_lanes(&self, index: usize) -> bool {
        let several = self.class(index) == Class::Element && (self.flat || self.cols() > 1);
        let along = self.is_along_row(index) && !self.is_within(index);
        along || self.is_over_everything(index) && several
    }

    /// The first stage in which what is copied is known.
    pub fn copy_stage(&self, write: &Write) -> usize {
        match write.value {
            Arg::Value(index) => self.body[index].stage + usize::from(self.is_along_row(index)),
            _ => 0,
        }
    }

    /// The last stage of a row.
    pub fn last_stage(&self) -> usize {
        let copied = self.writes.iter().filter(|write| write.copied).map(|write| self.copy_stage(write));
        self.body.iter().map(|instruction| instruction.stage).chain(copied).max().unwrap_or(0)
    }

    /// The variance in this kernel whose moments also give the mean of this index, if there is one.
    pub fn moments(&self, mean: usize) -> Option<usize> {
        let is_mean = |reduction: &Reduction| matches!(reduction.form, Form::Mean);
        let is_variance = |reduction: &Reduction| matches!(reduction.form, Form::Variance);
        let (_, over) = self.body[mean].reduction().filter(|(reduction, _)| is_mean(reduction))?;
        let same = |wanted: fn(&Reduction) -> bool| {
            let over_same = |(reduction, other): (&Reduction, AxisSet)| wanted(reduction) && other == over;
            let args = &self.body[mean].args;
            self.body.iter().position(|other| other.reduction().is_some_and(over_same) && other.args == *args)
        };
        // They give one mean: another one of the same numbers is computed by itself.
        same(is_variance).filter(|_| same(is_mean) == Some(mean))
    }

    /// Elements that a later stage of the same row reads, and that this kernel does not write: in the order of their readers.
    /// Truth values and indices are not among them: they are computed again.
    pub fn spilled(&self, is_computed: impl Fn(BufferId) -> bool) -> Vec<usize> {
        let mut found = Vec::new();
        if self.last_stage() == 0 {
            return found;
        }
        let mut seen = HashSet::new();
        for reader in &self.body {
            for &arg in &reader.args {
                let Arg::Value(index) = arg else { continue };
                let value = &self.body[index];
                let number = value.what == What::Map && value.origin.ty.dtype == DType::F32;
                let earlier = value.stage < reader.stage && self.class(index) == Class::Element;
                if number && earlier && seen.insert(index) && self.buffer_of(arg, &is_computed).is_none() {
                    found.push(index);
                }
            }
        }
        found
    }

    /// Floats of a row in scratch: whole lanes.
    pub fn padded_cols(&self) -> usize {
        self.cols().next_multiple_of(LANES)
    }

    /// The buffer that this kernel writes a value to for others, as it has it: not a row for each step.
    pub fn buffer_of(&self, value: Arg, is_computed: impl Fn(BufferId) -> bool) -> Option<BufferId> {
        // A product that is written by itself is written wherever it has its place.
        let dense = |write: &Write| value == Arg::Dot || !self.is_strided(write);
        let own = |write: &&Write| write.value == value && !write.copied && dense(write);
        let written = self.writes.iter().filter(own);
        written.map(|write| write.buffer).find(|&buffer| is_computed(buffer))
    }

    /// The buffers that a kernel reads, in the order of first use; some more than once.
    pub fn buffers_read(&self) -> impl Iterator<Item = BufferId> {
        let by_dot = self.dot.iter().flat_map(|dot| [dot.a, dot.b]);
        by_dot.chain(self.reads.iter().map(|read| read.buffer))
    }

    /// Whether it computes a node.
    pub fn computes(&self, node: NodeId) -> bool {
        self.origins().any(|origin| origin.node == node)
    }

    /// The operations that it was made of, the product first.
    pub fn origins(&self) -> impl Iterator<Item = &super::Origin> {
        self.dot.iter().map(|dot| &dot.origin).chain(self.body.iter().map(|instruction| &instruction.origin))
    }
}

impl Fused {
    /// Whether a kernel writes a buffer for others, or as a result.
    pub fn is_computed(&self, buffer: BufferId) -> bool {
        matches!(self.buffer(buffer).home, Home::Arena | Home::Tile)
    }

    /// For each buffer, the last kernel that reads it, or that writes it if none does; results live to the end.
    pub fn last_uses(&self) -> Vec<usize> {
        let mut last = vec![0; self.buffers.len()];
        for (index, kernel) in self.kernels.iter().enumerate() {
            let written = kernel.writes.iter().map(|write| write.buffer);
            kernel.buffers_read().chain(written).for_each(|buffer| last[buffer.index()] = index);
        }
        self.results.iter().for_each(|&(_, buffer, _)| last[buffer.index()] = usize::MAX);
        last
    }

    /// The buffer that the product of a kernel is written to, if it is.
    pub fn dot_buffer(&self, kernel: &Kernel) -> Option<BufferId> {
        kernel.buffer_of(Arg::Dot, |buffer| self.is_computed(buffer))
    }

    /// Whether a kernel does nothing with its product, which is written to where it belongs.
    pub fn is_product_alone(&self, kernel: &Kernel) -> bool {
        let by_itself = |write: &Write| write.value == Arg::Dot && !write.copied && self.is_computed(write.buffer);
        kernel.dot.is_some() && kernel.body.is_empty() && kernel.writes.iter().all(by_itself)
    }
}
