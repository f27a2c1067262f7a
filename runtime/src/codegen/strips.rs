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
use crate::kernel::{Class, Step, resolve, way};
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
        let updates = self.kernel.stores.iter().any(|store| store.param.is_some()) || !self.memory.in_place.is_empty();
        if !self.target.strips || !enough || updates {
            return None;
        }
        let calls: Vec<Option<Function>> = steps.iter().map(|step| self.called(step)).collect();
        if calls.iter().all(Option::is_none) {
            return None;
        }
        let levels = self.levels(steps, &calls);
        self.stages(steps, &calls, &levels)
    }

    /// The function to call for a step.
    fn called(&self, step: &Step) -> Option<Function> {
        let node = &self.graph[step.node];
        let function = function(&node.op)?;
        let (base, class) = resolve(self.graph, node.operands[0], self.kernel.domain);
        let elements = class == Class::Element && !matches!(self.graph[base].op, Op::Const(_) | Op::Iota(_));
        elements.then_some(function)
    }

    /// The elements among these steps that a step reads, by their place.
    fn operands(&self, steps: &[Step], step: &Step) -> Vec<usize> {
        let bases = self.graph[step.node].operands.iter().map(|&id| resolve(self.graph, id, self.kernel.domain));
        let elements = bases.filter(|(_, class)| *class == Class::Element);
        elements
            .filter_map(|(base, _)| steps.iter().position(|other| other.node == base && way_none(self, other)))
            .collect()
    }

    /// The stage in which each step is computed; a call ends the stage of its operand.
    fn levels(&self, steps: &[Step], calls: &[Option<Function>]) -> Vec<usize> {
        let operands: Vec<Vec<usize>> = steps.iter().map(|step| self.operands(steps, step)).collect();
        let mut levels = vec![0; steps.len()];
        for index in 0..steps.len() {
            let ready = |&operand: &usize| levels[operand] + usize::from(calls[operand].is_some());
            levels[index] = operands[index].iter().map(ready).max().unwrap_or(0);
        }
        // A map moves to the stage that first reads it if what it reads is at hand there: nothing is kept of it till then.
        for index in (0..steps.len()).rev() {
            if calls[index].is_some() || !self.graph[steps[index].node].op.is_map() {
                continue;
            }
            let operands = &operands;
            let readers = |of: usize| (of + 1..steps.len()).filter(move |&reader| operands[reader].contains(&of));
            let Some(first) = readers(index).map(|reader| levels[reader]).min() else { continue };
            let at_hand = |&operand: &usize| {
                calls[operand].is_some() || readers(operand).any(|reader| reader != index && levels[reader] >= first)
            };
            if operands[index].iter().all(at_hand) {
                levels[index] = first;
            }
        }
        levels
    }

    fn stages(&self, steps: &[Step], calls: &[Option<Function>], levels: &[usize]) -> Option<Strips> {
        let last = levels.iter().zip(calls).map(|(level, call)| level + usize::from(call.is_some())).max().unwrap_or(0);
        let mut stages: Vec<Stage> = (0..=last).map(|_| Stage::default()).collect();
        let mut buffers = 0;
        for (index, step) in steps.iter().enumerate() {
            let (id, level) = (step.node, levels[index]);
            let readers =
                (index + 1..steps.len()).filter(|&reader| self.operands(steps, &steps[reader]).contains(&index));
            // A call reads at the end of its stage, everything else in it.
            let later: Vec<usize> = readers
                .filter(|&reader| levels[reader] > level || calls[reader].is_some())
                .map(|reader| levels[reader])
                .collect();
            let targets = self.view().targets(id);
            let written = targets.first().map(|&(slot, _)| slot);
            let slot = match written {
                Some(slot) => slot,
                None if calls[index].is_none() && later.is_empty() => {
                    stages[level].steps.push(*step);
                    continue;
                }
                None => {
                    buffers += 1;
                    Slot::Strip(buffers - 1)
                }
            };
            let Some(function) = calls[index] else {
                // Truth values and positions have no place in a strip.
                if !later.is_empty() && self.graph[id].ty.dtype != DType::F32 {
                    return None;
                }
                stages[level].steps.push(*step);
                if written.is_none() {
                    stages[level].kept.push((id, slot));
                }
                for at in later.into_iter().filter(|&at| at > level) {
                    stages[at].held.insert(id, slot);
                }
                continue;
            };
            let operand = resolve(self.graph, self.graph[id].operands[0], self.kernel.domain).0;
            let kept = |stage: &Stage| stage.kept.iter().find(|(kept, _)| *kept == operand).map(|&(_, slot)| slot);
            let from = stages[..=level].iter().find_map(kept).or_else(|| stages[level].held.get(&operand).copied());
            let computed =
                self.operands(steps, step).first().and_then(|&at| self.view().targets(steps[at].node).first().copied());
            let from = from
                .or(computed.map(|(slot, _)| slot))
                .or_else(|| self.slot_read(self.graph[id].operands[0], step.phase))?;
            stages[level].calls.push(Call { function, from, to: slot });
            if targets.len() > 1 {
                stages[level + 1].arrived.push((id, slot));
            }
            for at in later {
                stages[at].held.insert(id, slot);
            }
            if targets.len() > 1 {
                stages[level + 1].held.insert(id, slot);
            }
        }
        (buffers <= MOST).then_some(Strips { stages, buffers })
    }

    /// Emits the steps of a phase strip by strip.
    pub(super) fn in_strips(&mut self, strips: &Strips, copies: &[(NodeId, Slot)], phase: usize, trip: Trip) {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 4 * STRIP as u32, 6);
        let stack: Vec<_> = (0..strips.buffers).map(|_| self.fb.create_sized_stack_slot(data.clone())).collect();
        self.chunks(trip, STRIP, |emit, start, part| {
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

fn way_none(emit: &Emit<'_, '_>, step: &Step) -> bool {
    way(emit.graph, step.node).is_none()
}
