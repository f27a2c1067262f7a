//! Transcendental functions of the elements of a stage, called for a strip of them at a time: what they are functions of
//! is computed for the whole strip, then they are called, then what comes after is computed.

use std::collections::HashMap;

use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

use super::element::ElementBody;
use super::host;
use super::loops::Trip;
use super::{KernelEmitter, Slot};
use crate::kernel::{Arg, What};
use crate::scalar::Function;
use crate::tiling::{Functions, Prefetch, called, vectors};
use crate::types::DType;

/// The steps of a stage, cut at the calls.
pub(super) struct Strips {
    parts: Vec<Part>,
    /// Strips on the stack.
    buffers: usize,
}

/// What is computed for a strip before some calls.
#[derive(Default)]
struct Part {
    /// What calls gave that is still to be written to some place.
    arrived: Vec<(usize, Slot)>,
    steps: Vec<usize>,
    /// Steps whose value a later part reads, and the strip in which it is kept.
    kept: Vec<(usize, Slot)>,
    /// What is known from earlier parts, and where it lies.
    held: HashMap<Arg, Slot>,
    calls: Vec<Call>,
}

struct Call {
    function: Function,
    from: Source,
    to: Slot,
}

/// Where the elements are that a function is called for.
#[derive(Clone, Copy)]
enum Source {
    Slot(Slot),
    /// Where this read of the kernel finds them, one after the other.
    Read(usize),
}

impl KernelEmitter<'_, '_> {
    /// How to compute these steps with calls, and how many elements at a time, if that is wanted and nothing is against it.
    pub(super) fn strips(&self, steps: &[usize], stage: usize) -> Option<(Strips, usize)> {
        let Functions::Strips { elements, most, .. } = self.tiling.stages[stage].functions else { return None };
        let calls: Vec<Option<Function>> = steps.iter().map(|&step| called(self.kernel, step)).collect();
        let operands: Vec<Vec<usize>> = steps.iter().map(|&step| self.elements_of(steps, step)).collect();
        let levels = self.levels(steps, &calls, &operands);
        let strips = self.parts(steps, &calls, &operands, &levels)?;
        (strips.buffers <= most).then_some((strips, elements))
    }

    /// The elements that a step reads of those that these steps compute, by the place of their step.
    fn elements_of(&self, steps: &[usize], step: usize) -> Vec<usize> {
        let computed = self.kernel.body[step].args.iter().filter_map(|arg| match *arg {
            Arg::Value(value) if self.kernel.body[value].what == What::Map => Some(value),
            _ => None,
        });
        computed.filter_map(|value| steps.iter().position(|&other| other == value)).collect()
    }

    /// The part in which each step is computed; a call ends the part of its operand.
    fn levels(&self, steps: &[usize], calls: &[Option<Function>], operands: &[Vec<usize>]) -> Vec<usize> {
        let mut levels = vec![0; steps.len()];
        for index in 0..steps.len() {
            let ready = |&operand: &usize| levels[operand] + usize::from(calls[operand].is_some());
            levels[index] = operands[index].iter().map(ready).max().unwrap_or(0);
        }
        // A map moves to the part that first reads it if what it reads is at hand there: nothing is kept of it till then.
        let readers = |of: usize| (of + 1..steps.len()).filter(move |&reader| operands[reader].contains(&of));
        let dtype = |index: usize| self.kernel.body[steps[index]].origin.ty.dtype;
        for index in (0..steps.len()).rev() {
            if calls[index].is_some() || self.kernel.body[steps[index]].what != What::Map {
                continue;
            }
            let Some(first) = readers(index).map(|reader| levels[reader]).min() else { continue };
            let at_hand = |&operand: &usize| {
                calls[operand].is_some() || readers(operand).any(|reader| reader != index && levels[reader] >= first)
            };
            // A truth value has no place in a strip; the numbers that it is made of do.
            let number = |&operand: &usize| dtype(operand) == DType::F32;
            let truth = dtype(index) == DType::Bool && operands[index].iter().all(number);
            if truth || operands[index].iter().all(at_hand) {
                levels[index] = first;
            }
        }
        levels
    }

    fn parts(
        &self,
        steps: &[usize],
        calls: &[Option<Function>],
        operands: &[Vec<usize>],
        levels: &[usize],
    ) -> Option<Strips> {
        // The parts of a step's readers, as far as they find it in memory: those after its own, and calls, which come
        // at the end of a part.
        let later = |index: usize| {
            let readers = (index + 1..steps.len()).filter(move |&reader| operands[reader].contains(&index));
            readers.filter(move |&reader| levels[reader] > levels[index] || calls[reader].is_some())
        };
        // Where such a value lies: in its own place, or in a strip.
        let mut buffers = 0;
        let mut homes: Vec<Option<Slot>> = Vec::new();
        for (index, &step) in steps.iter().enumerate() {
            let read = later(index).next().is_some();
            // Truth values and positions have no place in a strip.
            if read && self.kernel.body[step].origin.ty.dtype != DType::F32 {
                return None;
            }
            let placed = self.view().targets(step).first().map(|&(slot, _)| slot);
            homes.push(placed.or_else(|| {
                (read || calls[index].is_some()).then(|| {
                    buffers += 1;
                    Slot::Strip(buffers - 1)
                })
            }));
        }
        let last = levels.iter().zip(calls).map(|(level, call)| level + usize::from(call.is_some())).max().unwrap_or(0);
        let mut parts: Vec<Part> = (0..=last).map(|_| Part::default()).collect();
        for (index, &step) in steps.iter().enumerate() {
            let level = levels[index];
            match (calls[index], homes[index]) {
                (Some(function), Some(to)) => {
                    let (arg, stage) = (self.kernel.body[step].args[0], self.kernel.body[step].stage);
                    let from = match (operands[index].first(), arg) {
                        (Some(&operand), _) => Source::Slot(homes[operand]?),
                        (None, Arg::Read(read)) if self.is_elsewhere(read) => Source::Read(read),
                        _ => Source::Slot(self.slot_read(arg, stage)?),
                    };
                    parts[level].calls.push(Call { function, from, to });
                    if self.view().targets(step).len() > 1 {
                        parts[level + 1].arrived.push((step, to));
                        parts[level + 1].held.insert(Arg::Value(step), to);
                    }
                }
                (_, home) => {
                    parts[level].steps.push(step);
                    parts[level]
                        .kept
                        .extend(home.filter(|slot| matches!(slot, Slot::Strip(_))).map(|slot| (step, slot)));
                }
            }
            for reader in later(index).filter(|&reader| levels[reader] > level) {
                parts[levels[reader]].held.extend(homes[index].map(|slot| (Arg::Value(step), slot)));
            }
        }
        Some(Strips { parts, buffers })
    }

    /// Emits the steps of a stage strip by strip.
    pub(super) fn in_strips(
        &mut self,
        strips: &Strips,
        elements: usize,
        copies: &[(Arg, Slot)],
        stage: usize,
        trip: Trip,
    ) {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 4 * elements as u32, 6);
        let stack: Vec<_> = (0..strips.buffers).map(|_| self.fb.create_sized_stack_slot(data.clone())).collect();
        let fetches = matches!(self.tiling.stages[stage].prefetch, Prefetch::Ahead { .. });
        self.chunks(trip, elements, |emit, start, part| {
            if fetches {
                emit.fetch_ahead(start, part, elements);
            }
            for (index, &slot) in stack.iter().enumerate() {
                let address = emit.fb.ins().stack_addr(types::I64, slot, 0);
                let base = emit.fb.ins().isub(address, start);
                emit.bases.insert(Slot::Strip(index), base);
            }
            let count = match part {
                Trip::Known(count) => emit.fb.ins().iconst(types::I64, count as i64),
                Trip::Bytes(bytes) => emit.fb.ins().ushr_imm_u(bytes, 2),
            };
            for (number, steps) in strips.parts.iter().enumerate() {
                let copies = if number == 0 { copies } else { &[] };
                emit.part(steps, copies, stage, start, part);
                for call in &steps.calls {
                    emit.call_strip(call, start, count);
                }
            }
        });
    }

    fn part(&mut self, part: &Part, copies: &[(Arg, Slot)], stage: usize, start: Value, elements: Trip) {
        if part.steps.is_empty() && part.arrived.is_empty() && copies.is_empty() {
            return;
        }
        let nest = !self.kernel.is_plain();
        self.columns(elements, vectors(self.kernel, &part.steps, true), |emit, width, at| {
            let at = emit.fb.ins().iadd(start, at);
            emit.point.inner = Some(at).filter(|_| nest);
            let mut body = ElementBody::new(emit, &part.steps, width, stage, at);
            body.held.clone_from(&part.held);
            for &(step, slot) in &part.arrived {
                let value = body.operand(Arg::Value(step), false);
                body.keep(step, value, Some(slot));
            }
            for &step in &part.steps {
                body.step(step);
                if let Some(&(_, slot)) = part.kept.iter().find(|(kept, _)| *kept == step) {
                    let value = body.operand(Arg::Value(step), false);
                    body.write(slot, value);
                }
            }
            for &(value, slot) in copies {
                body.copy(value, slot);
            }
            body.overwrite();
            emit.point.inner = None;
        });
    }

    /// Whether a read finds elements in another order than that of the kernel.
    fn is_elsewhere(&self, read: usize) -> bool {
        !self.kernel.is_plain() && !self.kernel.is_aligned(&self.kernel.reads[read].access)
    }

    fn call_strip(&mut self, call: &Call, start: Value, count: Value) {
        let of_slot = |slot: Slot| *self.row_bases.get(&slot).or_else(|| self.bases.get(&slot)).expect("it was opened");
        let from = match call.from {
            Source::Slot(slot) => of_slot(slot),
            Source::Read(read) => self.point.row_of(read).expect("it looks up no index"),
        };
        let [from, to] = [from, of_slot(call.to)].map(|base| self.fb.ins().iadd(base, start));
        host::Strip { function: call.function, from, to, count }.call(&mut self.imports, &mut self.fb);
    }
}
