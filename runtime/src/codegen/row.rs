//! What happens once a block or once a row: values that are one in all or one a row, and the ends of reductions.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::lanes::{Width, memory};
use super::loops::Trip;
use super::{Context, Emit, Slot};
use crate::ir::ops::{Body, Reduction};
use crate::ir::{NodeId, Op};
use crate::kernel::{Class, Step, Way, resolve, way};
use crate::plan::{LANES, moments};
use crate::scalar::{Reg, Scalar};

impl Emit<'_, '_> {
    /// Loads or computes what is one in all, ahead of any loop.
    pub(super) fn open_singles(&mut self) {
        let operands = self.kernel.steps.iter().flat_map(|step| self.graph[step.node].operands.clone());
        let stored = self.kernel.stores.iter().map(|store| store.node);
        for id in operands.chain(stored).collect::<Vec<_>>() {
            let (base, class) = resolve(self.graph, id, self.kernel.domain);
            let here = self.first.get(&base).is_some_and(|step| !self.flat_element(step));
            let leaf = matches!(self.graph[base].op, Op::Scalar(_) | Op::Count(_));
            let wanted = (class == Class::Single || leaf) && !here && !self.singles.contains_key(&base);
            if let Some(value) = Some(base).filter(|_| wanted).and_then(|base| self.single(base)) {
                self.singles.insert(base, value);
            }
        }
        let steps: Vec<Step> = self.kernel.steps.clone();
        for step in steps.iter().filter(|step| step.class == Class::Single && step.phase == 0) {
            if self.graph[step.node].op.is_map() {
                let value = self.scalar_map(step.node);
                self.singles.insert(step.node, value);
                self.store_number(step, value);
            }
        }
    }

    fn flat_element(&self, step: &Step) -> bool {
        step.class == Class::Element && self.graph[step.node].op.is_map()
    }

    /// A value that is one in all and comes from outside the kernel.
    fn single(&mut self, base: NodeId) -> Option<Value> {
        match self.graph[base].op {
            Op::Const(_) | Op::Iota(_) => None,
            Op::Scalar(index) => {
                let scalars = self.fb.ins().load(types::I64, memory(), self.ctx, Context::SCALARS);
                let ty = self.part_type(base);
                Some(self.fb.ins().load(ty, memory(), scalars, 4 * index as i32))
            }
            Op::Count(factor) => {
                let batch = self.fb.ins().load(types::I64, memory(), self.ctx, Context::BATCH);
                let count = self.times(batch, factor as i64);
                Some(self.fb.ins().fcvt_from_sint(types::F32, count))
            }
            _ => {
                let slot = self.slot_read(base, 0)?;
                let (address, ty) = (self.bases[&slot], self.part_type(base));
                Some(self.fb.ins().load(ty, memory(), address, 0))
            }
        }
    }

    fn part_type(&self, id: NodeId) -> cranelift_codegen::ir::Type {
        if self.graph[id].ty.dtype.is_index() { types::I32 } else { types::F32 }
    }

    /// Moves on to a row: its addresses, and what is read of it once.
    pub(super) fn fill_rows(&mut self, row: Value) {
        self.row = row;
        self.row_offset = self.times(row, 4 * self.kernel.domain.cols as i64);
        self.rows.clear();
        self.row_bases.clear();
        let mut slots: Vec<(Slot, Value)> = self.bases.iter().map(|(&slot, &base)| (slot, base)).collect();
        slots.sort_by_key(|(_, base)| *base);
        for (slot, base) in slots {
            if matches!(slot, Slot::Place(_) | Slot::Rows(_)) && self.element_slots.contains(&slot) {
                let address = self.fb.ins().iadd(base, self.row_offset);
                self.row_bases.insert(slot, address);
            }
        }
        for step in &self.kernel.steps {
            for &operand in &self.graph[step.node].operands {
                let (base, class) = resolve(self.graph, operand, self.kernel.domain);
                let wanted = class == Class::Row && !self.rows.contains_key(&base);
                if let Some(slot) = Some(operand).filter(|_| wanted).and_then(|operand| self.slot_read(operand, 0)) {
                    let value = self.row_load(slot, base);
                    self.rows.insert(base, value);
                }
            }
        }
    }

    fn row_load(&mut self, slot: Slot, base: NodeId) -> Value {
        let start = self.bases[&slot];
        let offset = self.times(self.row, 4);
        let address = self.fb.ins().iadd(start, offset);
        let ty = self.part_type(base);
        self.fb.ins().load(ty, memory(), address, 0)
    }

    /// The phases of a row, one after the other.
    pub(super) fn phases(&mut self) {
        let stores = self.kernel.stores.iter().map(|store| store.node).filter(|id| !self.first.contains_key(id));
        let copied = stores.map(|id| self.copy_phase(id));
        let last = self.kernel.steps.iter().map(|step| step.phase).chain(copied).max().unwrap_or(0);
        for phase in 0..=last {
            self.row_steps(phase);
            self.start_lanes(phase);
            self.elements(phase);
            self.finish_lanes(phase);
        }
    }

    /// Values that are one a row.
    fn row_steps(&mut self, phase: usize) {
        let steps: Vec<Step> = self.kernel.steps.iter().copied().filter(|step| step.phase == phase).collect();
        for step in steps {
            let single = step.class == Class::Single && phase > 0;
            if step.class != Class::Row && !single {
                continue;
            }
            match way(self.graph, step.node) {
                None => {
                    let value = self.scalar_map(step.node);
                    self.rows.insert(step.node, value);
                    self.store_number(&step, value);
                }
                Some((reduction, _)) => self.reduce_row_value(step.node, reduction),
            }
        }
    }

    /// Values that are one a row in its first phase, without their stores and sums.
    fn row_maps(&mut self) {
        let maps = |step: &&Step| step.phase == 0 && step.class == Class::Row && self.graph[step.node].op.is_map();
        for step in self.kernel.steps.iter().filter(maps).copied().collect::<Vec<Step>>() {
            let value = self.scalar_map(step.node);
            self.rows.insert(step.node, value);
        }
    }

    /// A map on numbers that are one a row, or one in all.
    fn scalar_map(&mut self, id: NodeId) -> Value {
        let node = &self.graph[id];
        let Body::Map(body) = node.op.def().body else { unreachable!("only maps are computed row by row") };
        let operands: Vec<Result<Value, f64>> =
            node.operands.iter().map(|&operand| self.scalar_operand(operand)).collect();
        let mut lanes = self.lanes(Width::One);
        let operands: Vec<Reg> = operands
            .into_iter()
            .map(|operand| match operand {
                Ok(value) => lanes.spread(value),
                Err(constant) => lanes.float(constant),
            })
            .collect();
        let result = body(&mut lanes, &node.op, &operands);
        lanes.part(result, 0)
    }

    /// A number, or a constant.
    fn scalar_operand(&mut self, id: NodeId) -> Result<Value, f64> {
        let (base, _) = resolve(self.graph, id, self.kernel.domain);
        match self.graph[base].op {
            Op::Const(value) => Err(value),
            // The only axis that one number a row can count is that of the rows.
            Op::Iota(_) => Ok(self.fb.ins().ireduce(types::I32, self.row)),
            _ => Ok(*self.rows.get(&base).or_else(|| self.singles.get(&base)).expect("operands are computed first")),
        }
    }

    /// Writes a number that is one in all, or one of the row, to where it is kept.
    fn store_number(&mut self, step: &Step, value: Value) {
        if step.class != Class::Single {
            return self.store_row(step.node, value);
        }
        for store in self.kernel.stores.iter().filter(|store| store.node == step.node) {
            let slot = self.slot_written(store).expect("what is stored has a place");
            let address = self.bases[&slot];
            self.fb.ins().store(memory(), value, address, 0);
        }
    }

    /// Writes a number of the row to where it is kept.
    fn store_row(&mut self, id: NodeId, value: Value) {
        for store in self.kernel.stores.iter().filter(|store| store.node == id) {
            let slot = self.slot_written(store).expect("what is stored has a place");
            let start = self.bases[&slot];
            let offset = self.times(self.row, 4);
            let address = self.fb.ins().iadd(start, offset);
            self.fb.ins().store(memory(), value, address, 0);
        }
    }

    /// A reduction over everything of numbers that are one a row.
    fn reduce_row_value(&mut self, id: NodeId, reduction: Reduction) {
        let value = self.scalar_operand(self.graph[id].operands[0]);
        let (at, len) = self.memory.partials[&id];
        let address = self.bases[&Slot::Partial(at, len)];
        let mut lanes = self.lanes(Width::One);
        let value = match value {
            Ok(value) => lanes.spread(value),
            Err(constant) => lanes.float(constant),
        };
        let total = lanes.load(address, 0, false, false);
        let total = combine(&mut lanes, reduction, value, total);
        lanes.store(total, address, 0);
    }

    /// Reductions of elements that gather in lanes, in this phase.
    fn lane_reductions(&self, phase: usize) -> Vec<(NodeId, Reduction, Way)> {
        let steps = self.kernel.steps.iter().filter(|step| step.phase == phase && step.class == Class::Element);
        let gathered =
            steps.filter_map(|step| way(self.graph, step.node).map(|(reduction, way)| (step.node, reduction, way)));
        gathered.filter(|(id, _, _)| self.memory.lanes.contains_key(id)).collect()
    }

    fn start_lanes(&mut self, phase: usize) {
        for (id, reduction, _) in self.lane_reductions(phase) {
            let address = self.bases[&Slot::Scratch(self.memory.lanes[&id])];
            let mut lanes = self.lanes(Width::Vectors(4));
            let start = lanes.float(identity(reduction));
            lanes.store(start, address, 0);
        }
    }

    fn finish_lanes(&mut self, phase: usize) {
        for (id, reduction, way) in self.lane_reductions(phase) {
            let address = self.bases[&Slot::Scratch(self.memory.lanes[&id])];
            if way == Way::Everything {
                let (at, len) = self.memory.partials[&id];
                let partial = self.bases[&Slot::Partial(at, len)];
                let mut lanes = self.lanes(Width::Vectors(4));
                let row = lanes.load(address, 0, false, false);
                let total = lanes.load(partial, 0, false, false);
                let total = combine(&mut lanes, reduction, row, total);
                lanes.store(total, partial, 0);
                continue;
            }
            let value = self.across_lanes(address, reduction);
            self.rows.insert(id, value);
            self.store_row(id, value);
        }
    }

    /// One number out of sixteen lanes, as a tree.
    fn across_lanes(&mut self, address: Value, reduction: Reduction) -> Value {
        let mut lanes = self.lanes(Width::Vectors(1));
        let mut parts: Vec<Reg> = (0..4).map(|part| lanes.load(address, 16 * part, false, false)).collect();
        while parts.len() > 1 {
            parts = parts.chunks(2).map(|pair| combine(&mut lanes, reduction, pair[0], pair[1])).collect();
        }
        let vector = lanes.part(parts[0], 0);
        let numbers: Vec<Value> = (0..4).map(|lane| self.fb.ins().extractlane(vector, lane)).collect();
        let mut lanes = self.lanes(Width::One);
        let mut numbers: Vec<Reg> = numbers.into_iter().map(|number| lanes.spread(number)).collect();
        while numbers.len() > 1 {
            numbers = numbers.chunks(2).map(|pair| combine(&mut lanes, reduction, pair[0], pair[1])).collect();
        }
        lanes.part(numbers[0], 0)
    }

    /// Clears the block's part of every reduction that ends after the kernel.
    pub(super) fn start_partials(&mut self) {
        let partials: Vec<(NodeId, usize, usize)> =
            self.memory.partials.iter().map(|(&id, &(at, len))| (id, at, len)).collect();
        for (id, at, len) in partials {
            let address = self.bases[&Slot::Partial(at, len)];
            let (reduction, way) = way(self.graph, id).expect("partial results are of reductions");
            let columns = match way {
                Way::Everything => LANES,
                _ => self.kernel.domain.cols,
            };
            if matches!(reduction, Reduction::Mean | Reduction::Variance) {
                self.start_moments(id, address, len);
                continue;
            }
            self.columns(Trip::Known(columns), 4, |emit, width, at| {
                let address = emit.fb.ins().iadd(address, at);
                let mut lanes = emit.lanes(width);
                let start = lanes.float(identity(reduction));
                lanes.store(start, address, 0);
            });
        }
    }

    /// The deviations of a block are taken from the mean of its first eight rows, or from its first row if it has fewer:
    /// a number of the column's own size, so that nothing cancels. No mean of some of `n` rows is further than `sqrt(n)`
    /// standard deviations from the mean of all, which bounds the error; that of eight is seldom further than one. A row
    /// moves the mean of those before it by its share of the distance, so that the mean of equal numbers is that number.
    fn start_moments(&mut self, id: NodeId, address: Value, len: usize) {
        let columns = Trip::Known(self.kernel.domain.cols);
        let stride = (4 * len / 3) as i32;
        self.columns(columns, 4, |emit, width, at| {
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
        let operand = self.graph[id].operands[0];
        self.counted(lo, end, 1, false, |emit, row| {
            emit.fill_rows(row);
            emit.row_maps();
            let before = emit.fb.ins().isub(row, lo);
            let count = emit.fb.ins().iadd_imm_u(before, 1);
            let (one, count) = (emit.fb.ins().f32const(1.0), emit.fb.ins().fcvt_from_sint(types::F32, count));
            let share = emit.fb.ins().fdiv(one, count);
            emit.columns(columns, 4, |emit, width, at| {
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
        let partials: Vec<(NodeId, usize, usize)> =
            self.memory.partials.iter().map(|(&id, &(at, len))| (id, at, len)).collect();
        for (id, at, len) in partials {
            if !matches!(self.graph[id].op, Op::Mean(_) | Op::Variance(_)) {
                continue;
            }
            let address = self.bases[&Slot::Partial(at, len)];
            let stride = (4 * len / 3) as i32;
            let rows = self.fb.ins().isub(self.hi, self.lo);
            let count = self.fb.ins().fcvt_from_sint(types::F32, rows);
            self.columns(Trip::Known(self.kernel.domain.cols), 2, |emit, width, at| {
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

    /// Whether the moments of a variance in this kernel give this mean too.
    pub(super) fn comes_with_moments(&self, id: NodeId) -> bool {
        moments(self.graph, self.kernel, id).is_some()
    }
}

/// The number that changes nothing.
pub(super) fn identity(reduction: Reduction) -> f64 {
    match reduction {
        Reduction::Sum | Reduction::Mean | Reduction::Variance => 0.0,
        Reduction::Max => f64::NEG_INFINITY,
    }
}

/// One more number into a total.
pub(super) fn combine(s: &mut impl Scalar, reduction: Reduction, x: Reg, total: Reg) -> Reg {
    match reduction {
        Reduction::Max => s.max(x, total),
        Reduction::Sum | Reduction::Mean | Reduction::Variance => s.add(total, x),
    }
}
