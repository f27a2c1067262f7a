//! Stages in vectors wider than Cranelift's: what happens at every element as a [`Body`], and the call of its function.
//!
//! The function is called for as many columns as fill whole vectors; those that are left over are emitted as ever.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, StackSlotData, StackSlotKind, Value, types};
use cranelift_codegen::isa::CallConv;

use super::element::pairs;
use super::host::declared;
use super::lanes::{Width, memory};
use super::loops::Trip;
use super::reader::Reader;
use super::row::combine;
use super::{KernelEmitter, Slot, View};
use crate::ir::ops::{Body as OpBody, Reduction};
use crate::kernel::{Arg, Bound, Class, LANES, Mode, Read};
use crate::scalar::{Reg, Scalar};
use crate::tiling::Wide;
use crate::types::DType;
use crate::wide::{self, Body, Element, Recorder};

/// The functions of a program with wide vectors, each once.
#[derive(Debug, Default)]
pub struct WideFunctions {
    /// Their machine code.
    pub code: Vec<wide::Wide>,
    /// What they do.
    pub bodies: Vec<Body>,
    known: HashMap<Body, Option<usize>>,
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
}

/// A number that the function is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// One of the row, or one in all.
    Repeated(Arg),
    /// What a read finds where the innermost axis begins, and all along it.
    Read(usize),
    /// A position where the innermost axis begins, an integer.
    Index(usize),
    /// Whether what a read finds is within its bounds, all along the innermost axis.
    Within(usize),
}

/// A place of which the function is passed the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// The elements here.
    Element(Slot),
    /// The columns here, in every row the same.
    Column(Slot),
    /// Where a read finds them.
    Read(usize),
    /// The lanes of a sum along the row.
    Lanes(Slot),
    /// The results of a reduction within the row, by the place of the instruction.
    Within(Slot, usize),
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
    /// A stage as a function with wide vectors, if it is wanted and there is one.
    pub(super) fn wide(&mut self, steps: &[usize], copies: &[(Arg, Slot)], stage: usize) -> Option<WideStage> {
        let Wide::Lanes(lanes) = self.tiling.stages[stage].wide else { return None };
        let kernel = self.kernel;
        let adds = kernel.writes.iter().any(|write| write.mode == Mode::Add && kernel.copy_stage(write) == stage);
        if adds || self.is_scalar(Some(stage)) {
            return None;
        }
        let mut recording = Recording {
            view: self.view(),
            stage,
            pairs: pairs(kernel, steps),
            recorder: Recorder::default(),
            known: HashMap::new(),
            numbers: Vec::new(),
            places: Vec::new(),
            updates: Vec::new(),
        };
        for &step in steps {
            recording.step(step)?;
        }
        for &(value, slot) in copies {
            let value = recording.operand(value)?;
            recording.updates.push((slot, value));
        }
        for (slot, value) in std::mem::take(&mut recording.updates) {
            recording.store(slot, value);
        }
        let Recording { recorder, numbers, places, .. } = recording;
        let body = recorder.finish();
        // Behind a run that ends within the lanes, the next would begin there.
        let row = &kernel.axes[kernel.rows..];
        let whole = kernel.is_plain() || row.len() == 1 || row[row.len() - 1].factor().is_multiple_of(LANES);
        if body.has_totals() && !whole {
            return None;
        }
        let elements = if body.has_totals() { LANES } else { lanes };
        let function = self.wide_functions.of(body, lanes)?;
        Some(WideStage { function, elements, numbers, places })
    }

    /// Emits `body` for all columns: first for those that fill wide vectors, in one go, then for those that are left.
    pub(super) fn runs(
        &mut self,
        trip: Trip,
        unroll: usize,
        wide: Option<&WideStage>,
        mut body: impl FnMut(&mut Self, Run, Value),
    ) {
        let Some(wide) = wide else {
            return self.columns(trip, unroll, |emit, width, at| body(emit, Run::Narrow(width), at));
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
            Trip::Bytes(end) => {
                let main = self.fb.ins().band_imm_s(end, -4 * wide.elements as i64);
                let (some, none) = (self.fb.create_block(), self.fb.create_block());
                let any = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThan, main, 0);
                self.fb.ins().brif(any, some, &[], none, &[]);
                self.fb.switch_to_block(some);
                body(self, Run::Wide(main), zero);
                self.fb.ins().jump(none, &[]);
                self.fb.switch_to_block(none);
                self.rest_of_columns(main, end, &mut |emit, width, at| body(emit, Run::Narrow(width), at));
            }
        }
    }

    /// Calls the function of a stage for so many bytes of columns from `at` on.
    pub(super) fn call_wide(&mut self, wide: &WideStage, at: Value, bytes: Value) {
        let count = wide.numbers.len() + wide.places.len();
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * count.max(1) as u32, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        let arguments = self.fb.ins().stack_addr(types::I64, slot, 0);
        let numbers: Vec<Value> = wide.numbers.iter().map(|&number| self.number(number, at)).collect();
        let addresses: Vec<Value> = wide.places.iter().map(|&place| self.address_of(place, at)).collect();
        for (index, value) in numbers.into_iter().chain(addresses).enumerate() {
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
                            super::Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
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
                let of = self.kernel.reads[read].buffer;
                let ty = if self.fused.buffer(of).dtype.is_index() { types::I32 } else { types::F32 };
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
        let mut lanes = super::Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
        Reader { view, point: &point, bases: &self.bases, width: Width::One }.place(&mut lanes, read)
    }

    fn address_of(&mut self, place: Place, at: Value) -> Value {
        match place {
            Place::Element(slot) => {
                let start =
                    *self.row_bases.get(&slot).or_else(|| self.bases.get(&slot)).expect("every slot was opened");
                self.fb.ins().iadd(start, at)
            }
            Place::Column(slot) => self.fb.ins().iadd(self.bases[&slot], at),
            Place::Lanes(slot) => self.bases[&slot],
            Place::Read(read) => self.place_of_read(read).0,
            Place::Within(slot, index) => {
                let (view, point, place) = (self.view(), self.point.clone(), self.kernel.place_within(index));
                let start = self.bases[&slot];
                let mut lanes =
                    super::Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
                let reader = Reader { view, point: &point, bases: &self.bases, width: Width::One };
                let offset = reader.whole(&mut lanes, &place, 4);
                self.fb.ins().iadd(start, offset)
            }
        }
    }
}

/// A stage that is being written down. Whatever has no wide form ends it.
struct Recording<'a> {
    view: View<'a>,
    stage: usize,
    /// Sigmoids whose slopes are computed here too, and the slopes.
    pairs: Vec<[usize; 2]>,
    recorder: Recorder,
    known: HashMap<Arg, Reg>,
    numbers: Vec<Number>,
    places: Vec<Place>,
    /// What overwrites parameters or operands, to be written last.
    updates: Vec<(Slot, Reg)>,
}

impl Recording<'_> {
    fn step(&mut self, index: usize) -> Option<()> {
        let instruction = &self.view.kernel.body[index];
        match instruction.reduction() {
            None => {
                let value = self.compute(index)?;
                for (slot, overwrites) in self.view.targets(index) {
                    match overwrites {
                        true => self.updates.push((slot, value)),
                        false => self.store(slot, value),
                    }
                }
            }
            Some((reduction, _)) => {
                let value = self.operand(instruction.args[0])?;
                self.reduce(index, reduction, value)?;
            }
        }
        Some(())
    }

    fn compute(&mut self, index: usize) -> Option<Reg> {
        if let Some(&reg) = self.known.get(&Arg::Value(index)) {
            return Some(reg);
        }
        if let Some(&pair) = self.pairs.iter().find(|pair| pair.contains(&index)) {
            let x = self.operand(self.view.kernel.body[pair[0]].args[0])?;
            let values = self.recorder.sigmoid_and_slope(x);
            self.known.extend(pair.map(Arg::Value).into_iter().zip(values));
            return Some(self.known[&Arg::Value(index)]);
        }
        let instruction = &self.view.kernel.body[index];
        let op = &instruction.origin.op;
        let OpBody::Map(body) = op.def().body else { unreachable!("only maps are computed element by element") };
        let mut operands = Vec::new();
        for &arg in &instruction.args {
            operands.push(self.operand(arg)?);
        }
        let value = body(&mut self.recorder, op, &operands);
        self.known.insert(Arg::Value(index), value);
        Some(value)
    }

    fn operand(&mut self, arg: Arg) -> Option<Reg> {
        let kernel = self.view.kernel;
        let class = match arg {
            Arg::Const(value) => return Some(self.recorder.float(value.value())),
            _ => kernel.arg_class(arg),
        };
        if let Some(&reg) = self.known.get(&arg) {
            return Some(reg);
        }
        if let Arg::Index(index) = arg {
            let reg = self.index(index);
            self.known.insert(arg, reg);
            return Some(reg);
        }
        let reg = if matches!(class, Class::Row | Class::Single) {
            let truth = |index: usize| kernel.body[index].origin.ty.dtype == DType::Bool;
            match arg {
                Arg::Value(index) if truth(index) => self.truth(Number::Repeated(arg)),
                _ => self.number(Number::Repeated(arg)),
            }
        } else if let Arg::Read(read) = arg
            && !kernel.is_plain()
            && !kernel.is_aligned(&kernel.reads[read].access)
        {
            self.read(read)?
        } else {
            let slot = self.view.slot_read(arg, self.stage)?;
            self.load(if class == Class::Column { Place::Column(slot) } else { Place::Element(slot) })
        };
        self.known.insert(arg, reg);
        Some(reg)
    }

    fn number(&mut self, number: Number) -> Reg {
        self.numbers.push(number);
        self.recorder.number()
    }

    /// A number that is not 0 where something holds.
    fn truth(&mut self, number: Number) -> Reg {
        let (number, zero) = (self.number(number), self.recorder.int(0));
        let fails = self.recorder.int_eq(number, zero);
        self.recorder.not(fails)
    }

    /// Elements that lie elsewhere than those of the kernel: one after the other, or one for all columns. Bounds are those of
    /// the row as a whole.
    fn read(&mut self, read: usize) -> Option<Reg> {
        let View { kernel, fused, .. } = self.view;
        let Read { access, buffer, fill, .. } = &kernel.reads[read];
        let along = |bound: &Bound| bound.coordinate.steps.last().is_some_and(|&step| step != 0);
        if access.gather.is_some() || access.bounds.iter().any(along) {
            return None;
        }
        let found = match access.at.steps.last() {
            Some(1) => self.load(Place::Read(read)),
            Some(0) => self.number(Number::Read(read)),
            _ => return None,
        };
        if access.bounds.is_empty() {
            return Some(found);
        }
        let within = self.truth(Number::Within(read));
        let fill = match fused.buffer(*buffer).dtype.is_index() {
            true => self.recorder.int(fill.value() as i32),
            false => self.recorder.float(fill.value()),
        };
        Some(self.recorder.select(within, found, fill))
    }

    /// Positions along the axes, an integer for each element.
    fn index(&mut self, index: usize) -> Reg {
        let first = self.number(Number::Index(index));
        let step = self.view.kernel.indices[index].steps.last().copied().unwrap_or(0);
        if step == 0 {
            return first;
        }
        let position = self.recorder.position();
        let by = match step {
            1 => position,
            step => {
                let step = self.recorder.int(step as i32);
                self.recorder.int_mul(position, step)
            }
        };
        self.recorder.int_add(first, by)
    }

    fn place(&mut self, place: Place, offset: i32) -> Element {
        let known = self.places.iter().position(|&other| other == place);
        let address = known.unwrap_or_else(|| {
            self.places.push(place);
            self.recorder.address()
        });
        Element { address, offset }
    }

    fn load(&mut self, place: Place) -> Reg {
        let element = self.place(place, 0);
        self.recorder.load(element)
    }

    fn store(&mut self, slot: Slot, value: Reg) {
        let element = self.place(Place::Element(slot), 0);
        self.recorder.store(value, element);
    }

    fn reduce(&mut self, index: usize, reduction: Reduction, value: Reg) -> Option<()> {
        let View { kernel, memory, .. } = self.view;
        if let Some(&at) = memory.lanes.get(&index) {
            let slot = Slot::Scratch(at);
            if kernel.is_within(index) {
                let along = kernel.place_within(index).steps.last() == Some(&1);
                return along.then(|| self.add_to(Place::Within(slot, index), reduction, value));
            }
            let address = self.place(Place::Lanes(slot), 0).address;
            let total = self.recorder.total(address);
            let so_far = self.recorder.total_so_far(total);
            let sum = combine(&mut self.recorder, reduction, value, so_far);
            self.recorder.set_total(total, sum);
            return Some(());
        }
        let (at, len) = memory.partials[&index];
        let place = Place::Element(Slot::Partial(at, len));
        if matches!(reduction, Reduction::Mean | Reduction::Variance) {
            let stride = i32::try_from(4 * len / 3).ok()?;
            let [shift, sum, squares] = [0, 1, 2].map(|part| self.place(place, part * stride));
            let shift = self.recorder.load(shift);
            let deviation = self.recorder.sub(value, shift);
            let before = self.recorder.load(sum);
            let after = self.recorder.add(before, deviation);
            self.recorder.store(after, sum);
            let before = self.recorder.load(squares);
            let after = self.recorder.mul_add(deviation, deviation, before);
            self.recorder.store(after, squares);
            return Some(());
        }
        if kernel.is_over_everything(index) {
            return None;
        }
        self.add_to(place, reduction, value);
        Some(())
    }

    fn add_to(&mut self, place: Place, reduction: Reduction, value: Reg) {
        let element = self.place(place, 0);
        let before = self.recorder.load(element);
        let after = combine(&mut self.recorder, reduction, value, before);
        self.recorder.store(after, element);
    }
}
