//! What happens at every element of a stage: loads, bodies, stores, and the beginnings of reductions.

use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;
use rustc_hash::{FxHashMap, FxHashSet};

use super::lanes::{Lanes, Width};
use super::loops::{LANE_BYTES, sum};
use super::nest::{Point, splits_lanes};
use super::reader::Reader;
use super::stage::{Progress, Stage};
use super::wide::{Run, WideStage};
use super::{KernelEmitter, Slot, View};
use crate::ir::ops::{Reduction, Total};
use crate::kernel::{Arg, Class, LANES, Mode, Write};
use crate::scalar::{Reg, Scalar};
use crate::tiling::{AT_ONCE, Prefetch, Wide};

/// What is computed at every element of a stage, by the place of the instruction, and what is copied where.
type Steps = (Vec<usize>, Vec<(Arg, Slot)>);

impl KernelEmitter<'_, '_> {
    /// The columns of a stage.
    pub(super) fn elements(&mut self, stage: usize) {
        let kernel = self.kernel;
        let Some((steps, copies)) = self.steps_of(stage) else { return };
        let unroll = self.canonical.stages[stage].vectors;
        // A body of rows that had no function for all of them has none for one.
        let wide = match self.canonical.stages[stage].wide {
            Wide::Down { .. } => None,
            _ => self.wide_once(&steps, &copies, stage),
        };
        if self.runs_of_row(stage) {
            return;
        }
        if !kernel.is_plain() {
            let gathers = splits_lanes(kernel) && steps.iter().any(|&index| kernel.gathers_in_lanes(index));
            let scalar = gathers || self.is_scalar(Some(stage));
            return self.points_in_runs(scalar, unroll, wide.as_deref(), &mut |emit, run, at| {
                emit.run_of_elements(&steps, &copies, (run, wide.as_deref()), stage, at);
            });
        }
        let trip = self.trip();
        // Wide vectors prefetch by themselves.
        let (Prefetch::Ahead { elements, .. }, None) = (self.canonical.stages[stage].prefetch, &wide) else {
            return self.runs(trip, unroll, wide.as_deref(), &mut |emit, run, at| {
                emit.run_of_elements(&steps, &copies, (run, wide.as_deref()), stage, at);
            });
        };
        self.chunks(trip, AT_ONCE, &mut |emit, start, part| {
            emit.prefetch_columns(start, part, elements);
            emit.runs(part, unroll, wide.as_deref(), &mut |emit, run, at| {
                let at = sum(&mut emit.fb, start, at);
                emit.run_of_elements(&steps, &copies, (run, wide.as_deref()), stage, at);
            });
        });
    }

    /// Whether the sums along the row of a stage are one number each when its elements are done.
    pub(super) fn ends_in_wide(&mut self, stage: usize) -> bool {
        let down = matches!(self.canonical.stages[stage].wide, Wide::Down { .. });
        let Some((steps, copies)) = self.steps_of(stage).filter(|_| !down) else { return false };
        self.wide_once(&steps, &copies, stage).is_some_and(|wide| wide.ends)
    }

    /// What is computed and what is copied at every element of a stage, if anything is.
    pub(super) fn steps_of(&self, stage: usize) -> Option<Steps> {
        let kernel = self.kernel;
        let element = |&index: &usize| kernel.body[index].stage == stage && kernel.class(index) == Class::Element;
        // A mean that comes with the moments of a variance takes nothing by itself.
        let steps = (0..kernel.body.len()).filter(element).filter(|&index| kernel.moments(index).is_none());
        let steps: Vec<usize> = steps.collect();
        let copies = self.copies(stage);
        let adds = |write: &Write| write.mode == Mode::Add && kernel.copy_stage(write) == stage;
        let nothing = steps.is_empty() && copies.is_empty() && !kernel.writes.iter().any(adds);
        (!nothing).then_some((steps, copies))
    }

    /// All steps of a stage for some columns, or for all that fill wide vectors.
    fn run_of_elements(
        &mut self,
        steps: &[usize],
        copies: &[(Arg, Slot)],
        (run, wide): (Run, Option<&WideStage>),
        stage: usize,
        at: Value,
    ) {
        match (run, wide) {
            (Run::Narrow(width), _) => self.element(steps, copies, width, stage, at),
            (Run::Wide(bytes), Some(wide)) => self.call_wide(wide, at, bytes),
            (Run::Wide(_), None) => unreachable!("only a stage with a function has wide runs"),
        }
    }

    /// All steps of a stage for some columns.
    fn element(&mut self, steps: &[usize], copies: &[(Arg, Slot)], width: Width, stage: usize, at: Value) {
        let mut body = ElementBody::new(self, steps, width, stage, at);
        body.walk(steps, copies).expect("whatever a stage does has code");
        body.add_rows();
    }

    /// Values that are stored without being computed here: views, constants, inputs.
    fn copies(&self, stage: usize) -> Vec<(Arg, Slot)> {
        let copied = self.kernel.writes.iter().filter(|write| write.copied && write.mode == Mode::Set);
        let now = copied.filter(|write| self.kernel.copy_stage(write) == stage);
        now.filter_map(|write| self.slot_written(write).map(|slot| (write.value, slot))).collect()
    }

    /// Computes one value of the elements at `at`, with all it needs and nothing else.
    pub(super) fn element_alone(
        &mut self,
        arg: Arg,
        width: Width,
        at: Value,
        then: impl FnOnce(&mut Lanes<'_, '_>, Reg),
    ) {
        let kernel = self.kernel;
        let mut needed = FxHashSet::default();
        let mut open = vec![arg];
        // What is not computed here is read, whatever it is made of.
        while let Some(arg) = open.pop() {
            if let Arg::Value(index) = arg
                && kernel.arg_class(arg) == Class::Element
                && needed.insert(index)
            {
                open.extend(&kernel.body[index].args);
            }
        }
        let early = |index: &usize| kernel.body[*index].stage == 0 && needed.contains(index);
        let steps: Vec<usize> = (0..kernel.body.len()).filter(early).collect();
        let mut body = ElementBody::new(self, &steps, width, 0, at);
        for &step in &steps {
            body.compute(step).expect("whatever a stage does has code");
        }
        let value = body.value(arg, false);
        then(&mut body.lanes, value);
    }
}

/// The code for one position.
struct ElementBody<'a, 'f> {
    lanes: Lanes<'a, 'f>,
    view: View<'a>,
    row: Value,
    rows: &'a FxHashMap<Arg, Value>,
    singles: &'a FxHashMap<Arg, Value>,
    bases: &'a FxHashMap<Slot, Value>,
    row_bases: &'a FxHashMap<Slot, Value>,
    progress: Progress,
    /// How often each value is read in this body.
    uses: FxHashMap<Arg, usize>,
    addresses: FxHashMap<Slot, Value>,
    /// In a kernel of more axes than two.
    point: Option<Point>,
    width: Width,
    stage: usize,
    at: Value,
    lane: Option<i32>,
}

impl<'a, 'f> ElementBody<'a, 'f> {
    fn new(emit: &'a mut KernelEmitter<'_, 'f>, steps: &[usize], width: Width, stage: usize, at: Value) -> Self {
        let view = emit.view();
        let mut uses = FxHashMap::default();
        for &arg in steps.iter().flat_map(|&step| &view.kernel.body[step].args) {
            *uses.entry(arg).or_insert(0) += 1;
        }
        let lanes = Lanes::new(&mut emit.fb, emit.constants, emit.table, emit.target.fma, width);
        ElementBody {
            lanes,
            view,
            row: emit.row,
            rows: &emit.rows,
            singles: &emit.singles,
            bases: &emit.bases,
            row_bases: &emit.row_bases,
            progress: Progress::new(view.kernel, steps),
            uses,
            addresses: FxHashMap::default(),
            point: (!view.kernel.is_plain()).then(|| emit.point.clone()),
            width,
            stage,
            at,
            lane: emit.lane,
        }
    }

    /// Adds rows to tables, when all has been computed.
    fn add_rows(&mut self) {
        let view = self.view;
        let now = |write: &&Write| write.mode == Mode::Add && view.kernel.copy_stage(write) == self.stage;
        for write in view.kernel.writes.iter().filter(now).collect::<Vec<_>>() {
            let value = self.value(write.value, false);
            let slot = view.slot_written(write).expect("what is added to has a place");
            let Some(point) = &self.point else { unreachable!("rows are added in a kernel that reads an index") };
            let reader = Reader { view, point, bases: self.bases, width: self.width };
            reader.add(&mut self.lanes, slot, write, value);
        }
    }

    fn address(&mut self, slot: Slot) -> Value {
        if let Some(&address) = self.addresses.get(&slot) {
            return address;
        }
        let start = self.row_bases.get(&slot).or_else(|| self.bases.get(&slot)).expect("every slot was opened");
        let address = sum(self.lanes.fb, *start, self.at);
        self.addresses.insert(slot, address);
        address
    }

    /// The value of an operand here. A load is left to the operation that reads it if nobody else does.
    fn value(&mut self, arg: Arg, lazy: bool) -> Reg {
        let kernel = self.view.kernel;
        let class = match arg {
            Arg::Const(value) => return self.lanes.float(value.value()),
            Arg::Index(index) => match &self.point {
                Some(point) => {
                    let reader = Reader { view: self.view, point, bases: self.bases, width: self.width };
                    return reader.index(&mut self.lanes, index);
                }
                None => return self.iota(!kernel.indices[index].axes().contains(0)),
            },
            _ => kernel.arg_class(arg),
        };
        if matches!(class, Class::Row | Class::Single) {
            return self.repeated(arg);
        }
        if let Some(&reg) = self.progress.known.get(&arg) {
            return reg;
        }
        if let (Some(point), Arg::Read(read)) = (&self.point, arg)
            && !kernel.is_aligned(&kernel.reads[read].access)
        {
            let reader = Reader { view: self.view, point, bases: self.bases, width: self.width };
            let reg = reader.read(&mut self.lanes, read);
            self.progress.known.insert(arg, reg);
            return reg;
        }
        let slot = self.view.slot_read(arg, self.stage).expect("what is not computed here is in memory");
        let address = match class {
            Class::Column => sum(self.lanes.fb, self.bases[&slot], self.at),
            _ => self.address(slot),
        };
        let index = match arg {
            Arg::Read(read) => self.view.canonical.reads_index(read),
            _ => false,
        };
        let lazy = lazy && self.uses.get(&arg) == Some(&1);
        let reg = self.lanes.load(address, 0, index, lazy);
        if !lazy {
            self.progress.known.insert(arg, reg);
        }
        reg
    }

    /// A number of the row, or a uniform one, in every lane.
    fn repeated(&mut self, arg: Arg) -> Reg {
        if let Some(&reg) = self.progress.known.get(&arg) {
            return reg;
        }
        let mut value = *self.rows.get(&arg).or_else(|| self.singles.get(&arg)).expect("the row's values come first");
        if self.width != Width::One && self.lanes.fb.func.dfg.value_type(value) == types::I8 {
            value = self.lanes.fb.ins().bmask(types::I32, value);
        }
        let reg = self.lanes.splat(value);
        self.progress.known.insert(arg, reg);
        reg
    }

    /// The number of the column, or of the row.
    fn iota(&mut self, column: bool) -> Reg {
        if !column {
            let row = self.lanes.fb.ins().ireduce(types::I32, self.row);
            return self.lanes.splat(row);
        }
        let position = self.lanes.fb.ins().ushr_imm_u(self.at, 2);
        let first = self.lanes.fb.ins().ireduce(types::I32, position);
        if self.width == Width::One {
            return self.lanes.spread(first);
        }
        let first = self.lanes.fb.ins().splat(types::I32X4, first);
        self.lanes.parts(&|fb, part| {
            let lanes = (0..4).flat_map(|lane| (4 * part as u32 + lane).to_le_bytes());
            let constant = fb.func.dfg.constants.insert(ConstantData::from(lanes.collect::<Vec<u8>>().as_slice()));
            let steps = fb.ins().vconst(types::I32X4, constant);
            fb.ins().iadd(first, steps)
        })
    }

    /// Adds the elements here to what a reduction has so far.
    fn add(&mut self, index: usize, reduction: &Reduction, value: Reg) {
        let Some(total) = reduction.total() else { return self.moments(index, value) };
        if let Some(&at) = self.view.canonical.lanes.get(&index) {
            let start = self.bases[&Slot::Scratch(at)];
            if !self.view.kernel.is_within(index) {
                return self.gather(start, total, value);
            }
            let place = self.view.kernel.place_within(index);
            let Some(point) = &self.point else { unreachable!("such a kernel has more axes than two") };
            let reader = Reader { view: self.view, point, bases: self.bases, width: self.width };
            let offset = reader.whole(&mut self.lanes, &place, 4);
            let address = self.lanes.fb.ins().iadd(start, offset);
            return add_to(&mut self.lanes, address, 0, total, value);
        }
        let (at, len) = self.view.canonical.partials[&index];
        let slot = Slot::Partial(at, len);
        let address = match self.view.kernel.is_over_everything(index) {
            true => lane_of_row(self.lanes.fb, self.bases[&slot], self.row),
            false => self.address(slot),
        };
        add_to(&mut self.lanes, address, 0, total, value);
    }

    /// Adds the elements here to their lanes.
    fn gather(&mut self, start: Value, total: &Total, value: Reg) {
        if let Some(lane) = self.lane {
            return add_to(&mut self.lanes, start, lane, total, value);
        }
        let kernel = self.view.kernel;
        let short = !kernel.flat && kernel.cols() <= LANES;
        let address = |fb: &mut FunctionBuilder<'_>, at: Value| {
            let lane = if short { at } else { fb.ins().band_imm_s(at, LANE_BYTES - 1) };
            fb.ins().iadd(start, lane)
        };
        if self.width == Width::One || self.point.is_none() {
            let address = address(self.lanes.fb, self.at);
            return add_to(&mut self.lanes, address, 0, total, value);
        }
        // Of several vectors, some may be in the last lanes and some in the first.
        for part in 0..self.width.parts() {
            let value = self.lanes.part(value, part);
            let at = self.lanes.fb.ins().iadd_imm_u(self.at, 16 * part as i64);
            let address = address(self.lanes.fb, at);
            let Lanes { fb, constants, table, fma, .. } = &mut self.lanes;
            let mut lanes = Lanes::new(fb, constants, *table, *fma, Width::Vectors(1));
            let value = lanes.spread(value);
            add_to(&mut lanes, address, 0, total, value);
        }
    }

    /// Adds the deviations from the shift, and their squares.
    fn moments(&mut self, index: usize, value: Reg) {
        let (at, len) = self.view.canonical.partials[&index];
        let (address, stride) = (self.address(Slot::Partial(at, len)), (4 * len / 3) as i32);
        let shift = self.lanes.load(address, 0, false, true);
        let deviation = self.lanes.sub(value, shift);
        let sum = self.lanes.load(address, stride, false, true);
        let sum = self.lanes.add(sum, deviation);
        self.lanes.store(sum, address, stride);
        let squares = self.lanes.load(address, 2 * stride, false, true);
        let squares = self.lanes.mul_add(deviation, deviation, squares);
        self.lanes.store(squares, address, 2 * stride);
    }
}

impl<'a> Stage<'a> for ElementBody<'a, '_> {
    fn view(&self) -> View<'a> {
        self.view
    }

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn scalar(&mut self) -> &mut dyn Scalar {
        &mut self.lanes
    }

    fn operand(&mut self, arg: Arg, lazy: bool) -> Option<Reg> {
        Some(self.value(arg, lazy))
    }

    fn store(&mut self, slot: Slot, value: Reg) {
        let address = self.address(slot);
        self.lanes.store(value, address, 0);
    }

    fn reduce(&mut self, index: usize, reduction: &Reduction, value: Reg) -> Option<()> {
        self.add(index, reduction, value);
        Some(())
    }
}

/// Adds numbers to what lies somewhere.
pub(super) fn add_to(lanes: &mut Lanes<'_, '_>, address: Value, offset: i32, total: &Total, value: Reg) {
    let before = lanes.load(address, offset, false, total.reads_once);
    let after = (total.combine)(lanes, value, before);
    lanes.store(after, address, offset);
}

/// Where the only element of a row is added up.
pub(super) fn lane_of_row(fb: &mut FunctionBuilder<'_>, start: Value, row: Value) -> Value {
    let lane = fb.ins().band_imm_s(row, LANES as i64 - 1);
    let before = fb.ins().ishl_imm_u(lane, 2);
    fb.ins().iadd(start, before)
}
