//! What happens once per block or once per row: values that are uniform or one per row, and the ends of reductions.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::element::{add_to, lane_of_row};
use super::lanes::{Width, memory};
use super::loops::Trip;
use super::{Context, KernelEmitter, Slot};
use crate::ir::ops::{Body, Reduction, Total};
use crate::kernel::{Arg, Class, Kernel, LANES, What, Write};
use crate::scalar::{Reg, Scalar};
use crate::tiling::VECTORS;

impl<'a, 'f> KernelEmitter<'a, 'f> {
    /// Loads or computes what is uniform, before any loop.
    pub(super) fn open_singles(&mut self) {
        let kernel = self.kernel;
        for arg in operands(kernel) {
            let elsewhere = matches!(arg, Arg::Read(_)) && !kernel.is_plain();
            let wanted = kernel.arg_class(arg) == Class::Single && !self.singles.contains_key(&arg) && !elsewhere;
            if let Some(value) = Some(arg).filter(|_| wanted).and_then(|arg| self.single(arg)) {
                self.singles.insert(arg, value);
            }
        }
        for (index, instruction) in kernel.body.iter().enumerate() {
            let first = instruction.stage == 0 && kernel.is_plain();
            if first && instruction.what == What::Map && kernel.class(index) == Class::Single {
                let value = self.scalar_map(index);
                self.singles.insert(Arg::Value(index), value);
                self.store_number(index, value);
            }
        }
    }

    /// A value that is uniform and comes from outside the kernel.
    fn single(&mut self, arg: Arg) -> Option<Value> {
        match arg {
            Arg::Const(_) | Arg::Index(_) | Arg::Value(_) | Arg::Dot => None,
            Arg::Scalar(index) => {
                let scalars = self.fb.ins().load(types::I64, memory(), self.ctx, Context::SCALARS);
                let ty = if self.scalars[index].ty().dtype.is_index() { types::I32 } else { types::F32 };
                Some(self.fb.ins().load(ty, memory(), scalars, 4 * index as i32))
            }
            Arg::Count(factor) => {
                let batch = self.fb.ins().load(types::I64, memory(), self.ctx, Context::BATCH);
                let count = self.times(batch, factor as i64);
                Some(self.fb.ins().fcvt_from_sint(types::F32, count))
            }
            Arg::Read(read) => {
                let slot = self.slot_read(arg, 0)?;
                let (address, ty) = (self.bases[&slot], self.read_type(read));
                Some(self.fb.ins().load(ty, memory(), address, 0))
            }
        }
    }

    pub(super) fn read_type(&self, read: usize) -> cranelift_codegen::ir::Type {
        if self.canonical.reads_index(read) { types::I32 } else { types::F32 }
    }

    /// Moves on to a row: its addresses, and what is read of it once.
    pub(super) fn fill_rows(&mut self, row: Value) {
        self.row = row;
        self.row_offset = self.times(row, 4 * self.kernel.cols() as i64);
        self.rows.clear();
        self.row_bases.clear();
        let mut slots: Vec<(Slot, Value)> = self.bases.iter().map(|(&slot, &base)| (slot, base)).collect();
        slots.sort_by_key(|(_, base)| *base);
        for (slot, base) in slots {
            if let Slot::Strided(write) = slot {
                let address = self.row_of_write(write, base);
                self.row_bases.insert(slot, address);
            }
            let moves = matches!(slot, Slot::Location(..) | Slot::Tile(_) | Slot::Block(_) | Slot::SharedBlock(_));
            if moves && self.element_slots.contains(&slot) {
                let address = self.fb.ins().iadd(base, self.row_offset);
                self.row_bases.insert(slot, address);
            }
        }
        let plain = self.kernel.is_plain();
        for arg in operands(self.kernel) {
            let Arg::Read(read) = arg else { continue };
            if !plain {
                let whole = matches!(self.kernel.arg_class(arg), Class::Row | Class::Single);
                if whole && !self.rows.contains_key(&arg) {
                    let value = self.row_read(read);
                    self.rows.insert(arg, value);
                }
                continue;
            }
            if self.kernel.arg_class(arg) == Class::Row && !self.rows.contains_key(&arg) {
                let slot = self.slot_read(arg, 0).expect("what is read is in memory");
                let value = self.row_load(slot, read);
                self.rows.insert(arg, value);
            }
        }
    }

    /// Where the elements of the present row are written by a write whose rows lie as it says.
    fn row_of_write(&mut self, write: usize, base: Value) -> Value {
        let at = &self.kernel.writes[write].access.at;
        let steps: Vec<(usize, i64)> = (0..self.kernel.rows).map(|axis| (axis, at.steps[axis])).collect();
        let row = self.point.row.clone();
        self.moved(base, &row, &steps, 4)
    }

    fn row_load(&mut self, slot: Slot, read: usize) -> Value {
        let start = self.bases[&slot];
        let offset = self.times(self.row, 4);
        let address = self.fb.ins().iadd(start, offset);
        let ty = self.read_type(read);
        self.fb.ins().load(ty, memory(), address, 0)
    }

    /// The stages of a row, one after the other.
    pub(super) fn stages(&mut self) {
        (0..=self.kernel.last_stage()).for_each(|stage| self.stage(stage));
    }

    /// One stage of a row.
    pub(super) fn stage(&mut self, stage: usize) {
        self.row_steps(stage);
        let ended = self.ends_in_wide(stage);
        self.start_lanes(stage, ended);
        self.elements(stage);
        self.write_beyond(stage, None);
        self.finish_lanes(stage, ended);
    }

    /// Values of which there is one per row.
    pub(super) fn row_steps(&mut self, stage: usize) {
        let kernel = self.kernel;
        for (index, instruction) in kernel.body.iter().enumerate().filter(|(_, each)| each.stage == stage) {
            let class = kernel.class(index);
            // Of other kernels nothing is known ahead of the rows.
            let single = class == Class::Single && (stage > 0 || !kernel.is_plain());
            if class != Class::Row && !single {
                continue;
            }
            match instruction.reduction() {
                None => {
                    let value = self.scalar_map(index);
                    self.rows.insert(Arg::Value(index), value);
                    self.store_number(index, value);
                }
                Some((reduction, _)) => self.reduce_row_value(index, total(reduction)),
            }
        }
    }

    /// Values of which there is one per row in its first stage, without their stores and sums.
    fn row_maps(&mut self) {
        let kernel = self.kernel;
        for (index, instruction) in kernel.body.iter().enumerate() {
            let single = !kernel.is_plain() && kernel.class(index) == Class::Single;
            let whole = single || kernel.class(index) == Class::Row;
            if instruction.stage == 0 && instruction.what == What::Map && whole {
                let value = self.scalar_map(index);
                self.rows.insert(Arg::Value(index), value);
            }
        }
    }

    /// A map on numbers that are one per row, or uniform.
    fn scalar_map(&mut self, index: usize) -> Value {
        let instruction = &self.kernel.body[index];
        let op = &instruction.origin.op;
        let Body::Map(body) = op.def().body else { unreachable!("only maps are computed row by row") };
        let operands: Vec<Result<Value, f64>> = instruction.args.iter().map(|&arg| self.scalar_operand(arg)).collect();
        let mut lanes = self.lanes(Width::One);
        let operands: Vec<Reg> = operands
            .into_iter()
            .map(|operand| match operand {
                Ok(value) => lanes.spread(value),
                Err(constant) => lanes.float(constant),
            })
            .collect();
        let result = body(&mut lanes, op, &operands);
        lanes.part(result, 0)
    }

    /// A number, or a constant.
    fn scalar_operand(&mut self, arg: Arg) -> Result<Value, f64> {
        match arg {
            Arg::Const(value) => Err(value.value()),
            // The only axis that one number a row can count is that of the rows.
            Arg::Index(index) if !self.kernel.is_plain() => Ok(self.row_index(index)),
            Arg::Index(_) => Ok(self.fb.ins().ireduce(types::I32, self.row)),
            _ => Ok(*self.rows.get(&arg).or_else(|| self.singles.get(&arg)).expect("operands are computed first")),
        }
    }

    /// The writes of a value that is computed here.
    pub(super) fn writes_of(&self, index: usize) -> impl Iterator<Item = &'a Write> + use<'a, 'f> {
        let kernel = self.kernel;
        kernel.writes.iter().filter(move |write| write.value == Arg::Value(index) && !write.copied)
    }

    /// Writes a number that is uniform, or one of the row, to where it is kept.
    fn store_number(&mut self, index: usize, value: Value) {
        if self.kernel.class(index) != Class::Single {
            return self.store_row(index, value);
        }
        for write in self.writes_of(index) {
            let slot = self.slot_written(write).expect("what is stored has a place");
            let address = self.bases[&slot];
            self.fb.ins().store(memory(), value, address, 0);
        }
    }

    /// Writes a number of the row to where it is kept.
    fn store_row(&mut self, index: usize, value: Value) {
        for write in self.writes_of(index) {
            let slot = self.slot_written(write).expect("what is stored has a place");
            let start = self.bases[&slot];
            let offset = self.times(self.row, 4);
            let address = self.fb.ins().iadd(start, offset);
            self.fb.ins().store(memory(), value, address, 0);
        }
    }

    /// A reduction over everything of numbers that are one per row.
    fn reduce_row_value(&mut self, index: usize, total: &Total) {
        let value = self.scalar_operand(self.kernel.body[index].args[0]);
        let (at, len) = self.canonical.partials[&index];
        let address = lane_of_row(&mut self.fb, self.bases[&Slot::Partial(at, len)], self.row);
        let mut lanes = self.lanes(Width::One);
        let value = match value {
            Ok(value) => lanes.spread(value),
            Err(constant) => lanes.float(constant),
        };
        add_to(&mut lanes, address, 0, total, value);
    }

    /// Totals of elements that gather in lanes, in this stage.
    fn lane_totals(&self, stage: usize) -> Vec<(usize, &'static Total)> {
        let body = self.kernel.body.iter().enumerate().filter(|(_, each)| each.stage == stage);
        let gathered = body.filter_map(|(index, each)| Some((index, each.reduction()?.0.total()?)));
        gathered.filter(|(index, _)| self.canonical.lanes.contains_key(index)).collect()
    }

    fn start_lanes(&mut self, stage: usize, ended: bool) {
        for (index, total) in self.lane_totals(stage) {
            let address = self.bases[&Slot::Scratch(self.canonical.lanes[&index])];
            if ended {
                // Of a triangle, a row may have no elements.
                if self.kernel.triangle.is_some() {
                    let none = self.fb.ins().f32const(total.identity as f32);
                    self.fb.ins().store(memory(), none, address, 0);
                }
                continue;
            }
            if self.kernel.is_within(index) {
                self.start_results(index, total, address);
                continue;
            }
            let mut lanes = self.lanes(Width::Vectors(4));
            let start = lanes.float(total.identity);
            lanes.store(start, address, 0);
        }
    }

    fn finish_lanes(&mut self, stage: usize, ended: bool) {
        for (index, total) in self.lane_totals(stage) {
            let address = self.bases[&Slot::Scratch(self.canonical.lanes[&index])];
            if self.kernel.is_within(index) {
                self.finish_results(index, address);
                continue;
            }
            if self.kernel.is_over_everything(index) {
                let (at, len) = self.canonical.partials[&index];
                let partial = self.bases[&Slot::Partial(at, len)];
                let mut lanes = self.lanes(Width::Vectors(4));
                let row = lanes.load(address, 0, false, false);
                let before = lanes.load(partial, 0, false, false);
                let after = (total.combine)(&mut lanes, row, before);
                lanes.store(after, partial, 0);
                continue;
            }
            let value = match ended {
                true => self.fb.ins().load(types::F32, memory(), address, 0),
                false => self.across_lanes(address, total),
            };
            self.rows.insert(Arg::Value(index), value);
            self.store_row(index, value);
        }
    }

    /// One number out of sixteen lanes, as a tree. Its last levels are vectors too, of which the first lane counts: they have no branches.
    fn across_lanes(&mut self, address: Value, total: &Total) -> Value {
        let mut lanes = self.lanes(Width::Vectors(1));
        let mut parts: Vec<Reg> = (0..4).map(|part| lanes.load(address, 16 * part, false, false)).collect();
        while parts.len() > 1 {
            parts = parts.chunks(2).map(|pair| (total.combine)(&mut lanes, pair[0], pair[1])).collect();
        }
        let vector = [[1, 0, 3, 2], [2, 3, 0, 1]].into_iter().fold(parts[0], |vector, order| {
            let others = lanes.reordered(vector, order);
            (total.combine)(&mut lanes, vector, others)
        });
        let vector = lanes.part(vector, 0);
        self.fb.ins().extractlane(vector, 0)
    }

    /// Clears the block's part of every reduction that ends after the kernel.
    pub(super) fn start_partials(&mut self) {
        for (&index, &(at, len)) in &self.canonical.partials {
            let address = self.bases[&Slot::Partial(at, len)];
            let (reduction, _) = self.kernel.body[index].reduction().expect("partial results are of reductions");
            let columns = if self.kernel.is_over_everything(index) { LANES } else { self.kernel.cols() };
            let Some(total) = reduction.total() else {
                self.start_moments(index, address, len);
                continue;
            };
            self.columns(Trip::Known(columns), VECTORS, &mut |emit, width, at| {
                let address = emit.fb.ins().iadd(address, at);
                let mut lanes = emit.lanes(width);
                let start = lanes.float(total.identity);
                lanes.store(start, address, 0);
            });
        }
    }

    /// The deviations of a block are taken from the mean of its first eight rows, or from its first row if it has fewer:
    /// a number of the column's own size, so that nothing cancels. No mean of some of `n` rows is further than `sqrt(n)`
    /// standard deviations from the mean of all, which bounds the error; that of eight is seldom further than one. A row
    /// moves the mean of those before it by its share of the distance, so that the mean of equal numbers is that number.
    fn start_moments(&mut self, index: usize, address: Value, len: usize) {
        let columns = Trip::Known(self.kernel.cols());
        let stride = (4 * len / 3) as i32;
        self.columns(columns, VECTORS, &mut |emit, width, at| {
            let shift = emit.fb.ins().iadd(address, at);
            let mut lanes = emit.lanes(width);
            let zero = lanes.float(0.0);
            (0..3).for_each(|part| lanes.store(zero, shift, part * stride));
        });
        let rows = self.fb.ins().isub(self.hi, self.lo);
        let enough = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, rows, 8);
        let choose = |emit: &mut Self, many: Value, one: Value| emit.fb.ins().select(enough, many, one);
        let (eight, one) = (self.fb.ins().iconst(types::I64, 8), self.fb.ins().iconst(types::I64, 1));
        let count = choose(self, eight, one);
        let (lo, end) = (self.lo, self.fb.ins().iadd(self.lo, count));
        let operand = self.kernel.body[index].args[0];
        self.rows(lo, end, &mut |emit, row| {
            emit.fill_rows(row);
            emit.row_maps();
            let before = emit.fb.ins().isub(row, lo);
            let count = emit.fb.ins().iadd_imm_u(before, 1);
            let (one, count) = (emit.fb.ins().f32const(1.0), emit.fb.ins().fcvt_from_sint(types::F32, count));
            let share = emit.fb.ins().fdiv(one, count);
            let scalar = emit.is_scalar(None);
            emit.points(scalar, 4, &mut |emit, width, at| {
                let shift = emit.fb.ins().iadd(address, at);
                emit.element_alone(operand, width, at, |lanes, value| {
                    let share = lanes.splat(share);
                    let mean = lanes.load(shift, 0, false, false);
                    let distance = lanes.sub(value, mean);
                    let mean = lanes.mul_add(distance, share, mean);
                    lanes.store(mean, shift, 0);
                });
            });
        });
    }

    /// From shifted sums, the sum of squared deviations and the distance of the block's mean from the shift, in the places of
    /// the two. The mean is left in two parts: of a large number the distance would be rounded away.
    pub(super) fn finish_moments(&mut self) {
        for (&index, &(at, len)) in &self.canonical.partials {
            let reduction = self.kernel.body[index].reduction();
            if reduction.is_none_or(|(reduction, _)| reduction.total().is_some()) {
                continue;
            }
            let address = self.bases[&Slot::Partial(at, len)];
            let stride = (4 * len / 3) as i32;
            let rows = self.fb.ins().isub(self.hi, self.lo);
            let count = self.fb.ins().fcvt_from_sint(types::F32, rows);
            self.columns(Trip::Known(self.kernel.cols()), 2, &mut |emit, width, at| {
                let address = emit.fb.ins().iadd(address, at);
                let mut lanes = emit.lanes(width);
                let count = lanes.splat(count);
                let sum = lanes.load(address, stride, false, false);
                let squares = lanes.load(address, 2 * stride, false, false);
                let offset = lanes.div(sum, count);
                let excess = lanes.mul(sum, offset);
                let rest = lanes.sub(squares, excess);
                let zero = lanes.float(0.0);
                let rest = lanes.max(zero, rest);
                lanes.store(rest, address, stride);
                lanes.store(offset, address, 2 * stride);
            });
        }
    }
}

/// That of a reduction of what is one per row.
fn total(reduction: &Reduction) -> &Total {
    reduction.total().expect("moments are those of elements")
}

/// The operands of all instructions, and what is copied.
fn operands(kernel: &Kernel) -> impl Iterator<Item = Arg> {
    let copied = kernel.writes.iter().filter(|write| write.copied).map(|write| write.value);
    kernel.body.iter().flat_map(|instruction| instruction.args.iter().copied()).chain(copied)
}
