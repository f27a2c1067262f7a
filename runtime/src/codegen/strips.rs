//! Transcendental functions of the elements of a phase, called for a strip of them at a time: what they are functions of
//! is computed for the whole strip, then they are called, then what comes after is computed.

use std::collections::HashMap;

use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

use super::element::ElementBody;
use super::imports::Import;
use super::loops::Trip;
use super::{Emit, Slot};
use crate::ir::ops::function;
use crate::ir::{NodeId, Op};
use crate::kernel::{Class, Step, resolve};
use crate::scalar::Function;
use crate::types::DType;

/// Elements of a strip: some kilobytes, so that the strips of a kernel stay in the first cache.
const STRIP: usize = 512;
/// Fewer elements are not worth a call.
const LEAST: usize = 32;
/// Most strips on the stack.
const MOST: usize = 8;

/// The steps of a phase, cut at the calls.
pub(super) struct Strips {
    stages: Vec<Stage>,
    /// Strips on the stack.
    buffers: usize,
}

/// What is computed for a strip before some calls.
#[derive(Default)]
struct Stage {
    /// What calls gave that is still to be written to some place.
    arrived: Vec<(NodeId, Slot)>,
    steps: Vec<Step>,
    /// Steps whose value a later stage reads, and the strip in which it is kept.
    kept: Vec<(NodeId, Slot)>,
    /// What is known from earlier stages, and where it lies.
    held: HashMap<NodeId, Slot>,
    calls: Vec<Call>,
}

struct Call {
    function: Function,
    from: Slot,
    to: Slot,
}

impl Emit<'_, '_> {
    /// How to compute these steps with calls, if there is anything to call and nothing against it.
    pub(super) fn strips(&self, steps: &[Step], trip: Trip) -> Option<Strips> {
        let enough = match trip {
            Trip::Known(count) => count >= LEAST,
            Trip::Bytes(_) => true,
        };
        // A kernel with functions writes over no operand of its own, as the plan sees to, but for parameters.
        let updates = self.kernel.stores.iter().any(|store| store.param.is_some());
        if !self.target.strips || !enough || updates {
            return None;
        }
        let calls: Vec<Option<Function>> = steps.iter().map(|step| self.called(step)).collect();
        if calls.iter().all(Option::is_none) {
            return None;
        }
        let operands: Vec<Vec<usize>> = steps.iter().map(|step| self.operands(steps, step)).collect();
        let levels = self.levels(steps, &calls, &operands);
        self.stages(steps, &calls, &operands, &levels)
    }

    /// The function to call for a step.
    fn called(&self, step: &Step) -> Option<Function> {
        let node = &self.graph[step.node];
        let function = function(&node.op)?;
        let (base, class) = resolve(self.graph, node.operands[0], self.kernel.domain);
        let elements = class == Class::Element && !matches!(self.graph[base].op, Op::Const(_) | Op::Iota(_));
        elements.then_some(function)
    }

    /// The elements that a step reads of those that these steps compute, by the place of their step.
    fn operands(&self, steps: &[Step], step: &Step) -> Vec<usize> {
        let bases = self.graph[step.node].operands.iter().map(|&id| resolve(self.graph, id, self.kernel.domain));
        let elements = bases.filter(|(base, class)| *class == Class::Element && self.graph[*base].op.is_map());
        elements.filter_map(|(base, _)| steps.iter().position(|other| other.node == base)).collect()
    }

    /// The stage in which each step is computed; a call ends the stage of its operand.
    fn levels(&self, steps: &[Step], calls: &[Option<Function>], operands: &[Vec<usize>]) -> Vec<usize> {
        let mut levels = vec![0; steps.len()];
        for index in 0..steps.len() {
            let ready = |&operand: &usize| levels[operand] + usize::from(calls[operand].is_some());
            levels[index] = operands[index].iter().map(ready).max().unwrap_or(0);
        }
        // A map moves to the stage that first reads it if what it reads is at hand there: nothing is kept of it till then.
        let readers = |of: usize| (of + 1..steps.len()).filter(move |&reader| operands[reader].contains(&of));
        for index in (0..steps.len()).rev() {
            if calls[index].is_some() || !self.graph[steps[index].node].op.is_map() {
                continue;
            }
            let Some(first) = readers(index).map(|reader| levels[reader]).min() else { continue };
            let at_hand = |&operand: &usize| {
                calls[operand].is_some() || readers(operand).any(|reader| reader != index && levels[reader] >= first)
            };
            // A truth value has no place in a strip; the numbers that it is made of do.
            let number = |&operand: &usize| self.graph[steps[operand].node].ty.dtype == DType::F32;
            let truth = self.graph[steps[index].node].ty.dtype == DType::Bool && operands[index].iter().all(number);
            if truth || operands[index].iter().all(at_hand) {
                levels[index] = first;
            }
        }
        levels
    }

    fn stages(
        &self,
        steps: &[Step],
        calls: &[Option<Function>],
        operands: &[Vec<usize>],
        levels: &[usize],
    ) -> Option<Strips> {
        // The stages of a step's readers, as far as they find it in memory: those behind its own, and calls, which come
        // at the end of a stage.
        let later = |index: usize| {
            let readers = (index + 1..steps.len()).filter(move |&reader| operands[reader].contains(&index));
            readers.filter(move |&reader| levels[reader] > levels[index] || calls[reader].is_some())
        };
        // Where such a value lies: in its own place, or in a strip.
        let mut buffers = 0;
        let mut homes: Vec<Option<Slot>> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let read = later(index).next().is_some();
            // Truth values and positions have no place in a strip.
            if read && self.graph[step.node].ty.dtype != DType::F32 {
                return None;
            }
            let placed = self.view().targets(step.node).first().map(|&(slot, _)| slot);
            homes.push(placed.or_else(|| {
                (read || calls[index].is_some()).then(|| {
                    buffers += 1;
                    Slot::Strip(buffers - 1)
                })
            }));
        }
        if buffers > MOST {
            return None;
        }
        let last = levels.iter().zip(calls).map(|(level, call)| level + usize::from(call.is_some())).max().unwrap_or(0);
        let mut stages: Vec<Stage> = (0..=last).map(|_| Stage::default()).collect();
        for (index, step) in steps.iter().enumerate() {
            let (id, level) = (step.node, levels[index]);
            match (calls[index], homes[index]) {
                (Some(function), Some(to)) => {
                    let from = match operands[index].first() {
                        Some(&operand) => homes[operand]?,
                        None => self.slot_read(self.graph[id].operands[0], step.phase)?,
                    };
                    stages[level].calls.push(Call { function, from, to });
                    if self.view().targets(id).len() > 1 {
                        stages[level + 1].arrived.push((id, to));
                        stages[level + 1].held.insert(id, to);
                    }
                }
                (_, home) => {
                    stages[level].steps.push(*step);
                    stages[level]
                        .kept
                        .extend(home.filter(|slot| matches!(slot, Slot::Strip(_))).map(|slot| (id, slot)));
                }
            }
            for reader in later(index).filter(|&reader| levels[reader] > level) {
                stages[levels[reader]].held.extend(homes[index].map(|slot| (id, slot)));
            }
        }
        Some(Strips { stages, buffers })
    }

    /// Emits the steps of a phase strip by strip.
    pub(super) fn in_strips(&mut self, strips: &Strips, copies: &[(NodeId, Slot)], phase: usize, trip: Trip) {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 4 * STRIP as u32, 6);
        let stack: Vec<_> = (0..strips.buffers).map(|_| self.fb.create_sized_stack_slot(data.clone())).collect();
        let fetches = self.fetches(phase);
        self.chunks(trip, STRIP, |emit, start, part| {
            if fetches {
                emit.fetch_ahead(start, part, STRIP);
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
            for (number, stage) in strips.stages.iter().enumerate() {
                let copies = if number == 0 { copies } else { &[] };
                emit.stage(stage, copies, phase, start, part);
                for call in &stage.calls {
                    emit.call_strip(call, start, count);
                }
            }
        });
    }

    fn stage(&mut self, stage: &Stage, copies: &[(NodeId, Slot)], phase: usize, start: Value, part: Trip) {
        if stage.steps.is_empty() && stage.arrived.is_empty() && copies.is_empty() {
            return;
        }
        let unroll = if stage.steps.iter().any(|step| self.graph[step.node].op == Op::Uniform) { 2 } else { 4 };
        self.columns(part, unroll, |emit, width, at| {
            let at = emit.fb.ins().iadd(start, at);
            let mut body = ElementBody::new(emit, &stage.steps, width, phase, at);
            body.held.clone_from(&stage.held);
            for &(id, slot) in &stage.arrived {
                let value = body.operand(id, false);
                body.keep(id, value, Some(slot));
            }
            for step in &stage.steps {
                body.step(step);
                if let Some(&(_, slot)) = stage.kept.iter().find(|(id, _)| *id == step.node) {
                    let value = body.operand(step.node, false);
                    body.write(slot, value);
                }
            }
            for &(id, slot) in copies {
                body.copy(id, slot);
            }
            body.overwrite();
        });
    }

    fn call_strip(&mut self, call: &Call, start: Value, count: Value) {
        let [from, to] = [call.from, call.to].map(|slot| {
            let base = *self.row_bases.get(&slot).or_else(|| self.bases.get(&slot)).expect("every slot was opened");
            self.fb.ins().iadd(base, start)
        });
        let import = Import::Strip(call.function);
        let function = self.imports.function(&mut self.fb, self.target, self.kernels, import);
        self.fb.ins().call(function, &[from, to, count]);
    }
}
