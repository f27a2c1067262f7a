//! Stages in vectors wider than Cranelift's: what happens at every element as a [`Body`], and the call of its function.
//!
//! The function is called for as many columns as fill whole vectors; those that are left over are emitted as ever.

use std::rc::Rc;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, StackSlotData, StackSlotKind, Value, types};
use cranelift_codegen::isa::CallConv;
use rustc_hash::FxHashMap;

use super::host::declared;
use super::lanes::{Width, memory};
use super::loops::{Trip, sum};
use super::reader::Reader;
use super::recording::{Number, Passage, Place, Recorded, record};
use super::{KernelEmitter, Lanes, Slot};
use crate::kernel::{Arg, LANES, Mode};
use crate::tiling::{StageTiling, Wide};
use crate::wide::{self, Body};

/// The functions of a program with wide vectors, each once.
#[derive(Debug, Default)]
pub struct WideFunctions {
    /// Their machine code.
    pub code: Vec<wide::Wide>,
    /// What they do.
    pub bodies: Vec<Body>,
    known: FxHashMap<Body, Option<usize>>,
}

impl WideFunctions {
    /// The number of the function that does this, if there is one on such a machine.
    fn of(&mut self, body: Body, lanes: usize) -> Option<usize> {
        if let Some(&number) = self.known.get(&body) {
            return number;
        }
        let number = wide::compile(&body, lanes).map(|code| {
            self.code.push(code);
            self.bodies.push(body.clone());
            self.code.len() - 1
        });
        self.known.insert(body, number);
        number
    }
}

/// How such functions are called: where addresses and numbers are, how many bytes each run is long.
pub fn wide_signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend([AbiParam::new(types::I64); 2]);
    signature
}

/// A stage that has a function.
pub(super) struct WideStage {
    function: usize,
    /// The elements that come at a time.
    pub(super) elements: usize,
    numbers: Vec<Number>,
    places: Vec<Place>,
    /// Whether it leaves one number of each sum along the row, where the first of its lanes would be.
    pub(super) ends: bool,
    /// How many axes it goes over by itself, around the innermost one.
    axes: usize,
}

/// How far a loop over elements gets at a time.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// So many.
    Narrow(Width),
    /// All that fill whole wide vectors, in bytes.
    Wide(Value),
}

impl KernelEmitter<'_, '_> {
    /// As [`KernelEmitter::wide`], found once.
    pub(super) fn wide_once(&mut self, steps: &[usize], copies: &[(Arg, Slot)], stage: usize) -> Option<Rc<WideStage>> {
        if let Some(known) = self.wide_stages.get(&stage) {
            return known.clone();
        }
        let wide = self.wide(steps, copies, stage).map(Rc::new);
        self.wide_stages.insert(stage, wide.clone());
        wide
    }

    /// A stage as a function with wide vectors, if it is wanted and there is one.
    fn wide(&mut self, steps: &[usize], copies: &[(Arg, Slot)], stage: usize) -> Option<WideStage> {
        let (lanes, down) = match self.canonical.stages[stage].wide {
            Wide::Lanes(lanes) => (lanes, None),
            Wide::Down { lanes, across } => (lanes, Some(across)),
            Wide::Short(_) | Wide::None => return None,
        };
        let kernel = self.kernel;
        let adds = kernel.writes.iter().any(|write| write.mode == Mode::Add && kernel.copy_stage(write) == stage);
        if adds || self.is_scalar(Some(stage)) {
            return None;
        }
        // A row of one axis is one run; then sums need not wait for what has just been written to their lanes. If it is all in wide
        // vectors, they end there too.
        let begins = kernel.axes.len() == kernel.rows + 1;
        let whole = begins && !kernel.flat && kernel.cols().is_multiple_of(LANES);
        let prefetch = self.canonical.stages[stage].prefetch;
        let passage = Passage { down: down.is_some(), prefetch, begins, whole, kept: None };
        let Recorded { body, numbers, places, ends } = record(self.view(), stage, (steps, copies), passage)?;
        let body = body.with_constants(self.canonical.stages[stage].constants);
        // After a run that ends within the lanes, the next would begin there.
        let row = &kernel.axes[kernel.rows..];
        let whole = kernel.is_plain() || row.len() == 1 || row[row.len() - 1].factor().is_multiple_of(LANES);
        if body.has_totals() && !whole {
            return None;
        }
        let elements = if body.has_totals() { LANES } else { lanes };
        // Vectors side by side, as many as there are registers for.
        let most = down.unwrap_or(1);
        let mut widths = (1..=most).rev().filter(|across| most.is_multiple_of(*across));
        let function = widths.find_map(|across| self.wide_functions.of(body.clone().across(across), lanes))?;
        Some(WideStage { function, elements, numbers, places, ends, axes: 0 })
    }

    /// A stage as a function that goes over some axes by itself, and finds such numbers of each row in memory: if it is wanted, and if
    /// all of it has this form.
    pub(super) fn wide_along(&mut self, stage: usize, axes: &[usize], kept: &[usize]) -> Option<WideStage> {
        let StageTiling { wide: Wide::Lanes(lanes), together: Some(run), prefetch, constants, .. } =
            self.canonical.stages[stage]
        else {
            return None;
        };
        let (steps, copies) = self.steps_of(stage)?;
        let kernel = self.kernel;
        let adds = kernel.writes.iter().any(|write| write.mode == Mode::Add && kernel.copy_stage(write) == stage);
        if adds || axes.is_empty() || self.is_scalar(Some(stage)) {
            return None;
        }
        let begins = kernel.axes.len() == kernel.rows + 1;
        let whole = kernel.cols().is_multiple_of(LANES);
        let passage = Passage { down: false, prefetch, begins, whole, kept: Some(kept) };
        let Recorded { body, numbers, places, ends } = record(self.view(), stage, (&steps, &copies), passage)?;
        let axis = |&axis: &usize| wide::Axis {
            extent: (axis >= kernel.rows).then(|| kernel.axes[axis].factor()),
            steps: places.iter().map(|&place| self.step_of(place, axis, kept.len())).collect(),
            counts: numbers.iter().map(|&number| self.growth_of(number, axis)).collect(),
        };
        let around = axes.iter().map(axis).collect();
        let body = body.with_constants(constants).along(around);
        let elements = if body.has_totals() { LANES } else { lanes };
        let fills = run.is_multiple_of(elements) && (kernel.triangle.is_none() || run.is_multiple_of(LANES));
        let function = if fills { self.wide_functions.of(body, lanes) } else { None };
        Some(WideStage { function: function?, elements, numbers, places, ends, axes: axes.len() })
    }

    /// How far a place moves from one position along an axis to the next, in bytes.
    pub(super) fn step_of(&self, place: Place, axis: usize, kept: usize) -> i64 {
        let kernel = self.kernel;
        let is_row = axis < kernel.rows;
        let after = || kernel.axes[axis + 1..].iter().map(|dim| dim.factor() as i64).product::<i64>();
        let elements = match place {
            Place::Read(read) => kernel.reads[read].access.at.steps[axis],
            Place::Within(_, index) => kernel.place_within(index).steps[axis],
            Place::Kept => i64::from(is_row) * kept as i64,
            Place::Row(_) => i64::from(is_row),
            Place::Lanes(_) => 0,
            Place::Column(_) if is_row => 0,
            Place::Element(slot) if is_row => match slot {
                Slot::Strided(write) => kernel.writes[write].access.at.steps[axis],
                Slot::Scratch(_) => kernel.padded_cols() as i64,
                slot if self.element_slots.contains(&slot) => kernel.cols() as i64,
                _ => 0,
            },
            Place::Column(_) | Place::Element(_) => after(),
        };
        4 * elements
    }

    /// How much a number grows from one position along an axis to the next.
    fn growth_of(&self, number: Number, axis: usize) -> i64 {
        match number {
            Number::Index(index) => self.kernel.indices[index].steps[axis],
            Number::Repeated(_) | Number::Read(_) | Number::Within(_) => 0,
        }
    }

    /// Emits `body` for all columns: first for those that fill wide vectors, in one go, then for those that are left.
    pub(super) fn runs(
        &mut self,
        trip: Trip,
        unroll: usize,
        wide: Option<&WideStage>,
        body: &mut dyn FnMut(&mut Self, Run, Value),
    ) {
        let Some(wide) = wide else {
            return self.columns(trip, unroll, &mut |emit, width, at| body(emit, Run::Narrow(width), at));
        };
        let zero = self.fb.ins().iconst(types::I64, 0);
        match trip {
            Trip::Known(count) => {
                let main = count - count % wide.elements;
                if main > 0 {
                    let bytes = self.fb.ins().iconst(types::I64, 4 * main as i64);
                    body(self, Run::Wide(bytes), zero);
                }
                self.known_columns(main, count, unroll, &mut |emit, width, at| body(emit, Run::Narrow(width), at));
            }
            Trip::Bytes(end) | Trip::Lanes(end) => {
                // Wide vectors fill whole lanes, so that nothing is left of them.
                let fills = matches!(trip, Trip::Lanes(_)) && LANES.is_multiple_of(wide.elements);
                let main = if fills { end } else { self.fb.ins().band_imm_s(end, -4 * wide.elements as i64) };
                let (some, none) = (self.fb.create_block(), self.fb.create_block());
                let any = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThan, main, 0);
                self.fb.ins().brif(any, some, &[], none, &[]);
                self.fb.switch_to_block(some);
                body(self, Run::Wide(main), zero);
                self.fb.ins().jump(none, &[]);
                self.fb.switch_to_block(none);
                if !fills {
                    self.rest_of_columns(main, end, &mut |emit, width, at| body(emit, Run::Narrow(width), at));
                }
            }
        }
    }

    /// Calls the function of a kernel for all its rows, if it has one that goes down the columns.
    pub(super) fn rows_in_wide(&mut self) -> bool {
        if !matches!(self.canonical.stages[0].wide, Wide::Down { .. }) {
            return false;
        }
        let Some((steps, copies)) = self.steps_of(0) else { return false };
        let Some(wide) = self.wide(&steps, &copies, 0) else { return false };
        self.fill_rows(self.lo);
        let columns = 4 * self.kernel.cols() as i64;
        let (at, bytes) = (self.fb.ins().iconst(types::I64, 0), self.fb.ins().iconst(types::I64, columns));
        let rows = self.fb.ins().isub(self.hi, self.lo);
        self.call(&wide, at, bytes, &[bytes, rows, bytes]);
        true
    }

    /// Calls the function of a stage for so many bytes of columns from `at` on.
    pub(super) fn call_wide(&mut self, wide: &WideStage, at: Value, bytes: Value) {
        self.call(wide, at, bytes, &[]);
    }

    /// Calls the function of a stage for so many rows from the present one on, and for all of each.
    pub(super) fn call_along(&mut self, wide: &WideStage, bytes: Value, rows: Option<Value>) {
        let start = self.fb.ins().iconst(types::I64, 0);
        self.call(wide, start, bytes, rows.as_slice());
    }

    /// Passes numbers, addresses and, to a body of rows, how far these go; and leaves it room to count along axes.
    fn call(&mut self, wide: &WideStage, at: Value, bytes: Value, far: &[Value]) {
        let count = wide.numbers.len() + wide.places.len() + far.len().max(wide.axes);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * count.max(1) as u32, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        let arguments = self.fb.ins().stack_addr(types::I64, slot, 0);
        let numbers: Vec<Value> = wide.numbers.iter().map(|&number| self.number(number, at)).collect();
        let addresses: Vec<Value> = wide.places.iter().map(|&place| self.address_of(place, at)).collect();
        for (index, value) in numbers.into_iter().chain(addresses).chain(far.iter().copied()).enumerate() {
            self.fb.ins().store(memory(), value, arguments, 8 * index as i32);
        }
        let number = self.numbers.wide(wide.function);
        let fb = &mut self.fb;
        let function = *self.wide_imports.entry(number).or_insert_with(|| declared(fb, number, wide_signature(), true));
        self.fb.ins().call(function, &[arguments, bytes]);
    }

    fn number(&mut self, number: Number, at: Value) -> Value {
        match number {
            Number::Index(index) => {
                let affine = &self.kernel.indices[index];
                let first = match (self.kernel.is_plain(), affine.axes().contains(0)) {
                    (false, _) => {
                        let (view, point) = (self.view(), self.point.clone());
                        let mut lanes =
                            Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
                        let reader = Reader { view, point: &point, bases: &self.bases, width: Width::One };
                        reader.whole(&mut lanes, affine, 1)
                    }
                    (true, true) => self.row,
                    (true, false) => self.fb.ins().ushr_imm_u(at, 2),
                };
                self.fb.ins().ireduce(types::I32, first)
            }
            Number::Repeated(arg) => {
                let value =
                    *self.rows.get(&arg).or_else(|| self.singles.get(&arg)).expect("the row's values come first");
                match self.fb.func.dfg.value_type(value) {
                    types::I8 => self.fb.ins().uextend(types::I32, value),
                    _ => value,
                }
            }
            Number::Read(read) => {
                let ty = self.read_type(read);
                let address = self.place_of_read(read).0;
                self.fb.ins().load(ty, memory(), address, 0)
            }
            Number::Within(read) => {
                let within = self.place_of_read(read).1.expect("it has bounds");
                self.fb.ins().uextend(types::I32, within)
            }
        }
    }

    /// Where the elements of a read are at the present place along the innermost axis, and whether they are within its bounds.
    fn place_of_read(&mut self, read: usize) -> (Value, Option<Value>) {
        let (view, point) = (self.view(), self.point.clone());
        let mut lanes = Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
        Reader { view, point: &point, bases: &self.bases, width: Width::One }.place(&mut lanes, read)
    }

    fn address_of(&mut self, place: Place, at: Value) -> Value {
        match place {
            Place::Element(slot) => {
                let start =
                    *self.row_bases.get(&slot).or_else(|| self.bases.get(&slot)).expect("every slot was opened");
                sum(&mut self.fb, start, at)
            }
            Place::Column(slot) => sum(&mut self.fb, self.bases[&slot], at),
            Place::Lanes(slot) => self.bases[&slot],
            Place::Kept => self.kept,
            Place::Row(slot) => {
                let before = self.times(self.row, 4);
                self.fb.ins().iadd(self.bases[&slot], before)
            }
            Place::Read(read) => self.place_of_read(read).0,
            Place::Within(slot, index) => {
                let (view, point, place) = (self.view(), self.point.clone(), self.kernel.place_within(index));
                let start = self.bases[&slot];
                let mut lanes = Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
                let reader = Reader { view, point: &point, bases: &self.bases, width: Width::One };
                let offset = reader.whole(&mut lanes, &place, 4);
                self.fb.ins().iadd(start, offset)
            }
        }
    }
}
