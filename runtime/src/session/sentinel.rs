//! What a session does about numbers that are not finite: it loses nothing, and says where they came from.

use super::any::AnySession;
use super::programs::Kind;
use crate::error::RunError;
use crate::interp::{self, Values};
use crate::ir::{Graph, ParamSlot, Role, SlotKind};
use crate::memory::Word;
use crate::sentinel::Replay;
use crate::simplify::simplify;
use crate::tensor::Tensor;

/// What has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// A step.
    Step,
    /// A batch whose gradients are added up.
    Accumulation,
    /// The update from what was added up.
    Update,
    /// What writes no state.
    Gradients,
}

impl AnySession {
    /// Copies the state that the next run may write, if the session watches over it.
    pub(super) fn keep(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.floats_mut().copy_from_slice(self.params.floats());
        }
    }

    /// The loss of a run, if it may be used. What is not finite is an error that says where it came from; the state is then as
    /// before the run.
    pub(super) fn sound(
        &mut self,
        ran: Ran,
        loss: Result<f32, f32>,
        tensors: &[Tensor<'_>],
        rows: usize,
    ) -> Result<f32, RunError> {
        let loss = loss.map_err(|loss| self.not_finite(loss, tensors, rows))?;
        self.check_state(ran, tensors, rows)?;
        Ok(loss)
    }

    /// The error for a loss that is not finite, or a running statistic.
    pub(super) fn not_finite(&mut self, loss: f32, tensors: &[Tensor<'_>], rows: usize) -> RunError {
        self.fill_scalars();
        if loss.is_finite() {
            return self.statistic_not_finite(loss, tensors, rows);
        }
        let fault = self.compilation(Kind::Gradients).into_replay().ok().and_then(|replay| {
            let forward = replay.of(|role| *role == Role::Loss);
            if !forward.fits(rows) {
                return None;
            }
            let values = self.values(&forward.graph, &self.programs[Kind::Train].params, &self.scalars, tensors);
            // What overflows in one order of operations need not in another: that of the compiled step is tried next.
            forward.search(rows, &values).or_else(|| Replay { graph: simplify(&forward.graph) }.search(rows, &values))
        });
        RunError::NotFinite { step: self.steps + 1, loss, fault: fault.map(Box::new) }
    }

    fn statistic_not_finite(&self, loss: f32, tensors: &[Tensor<'_>], rows: usize) -> RunError {
        let slots = &self.programs[Kind::Train].slots.params;
        let is_running = |index: usize| slots[index].kind == SlotKind::Running;
        let found = self.compilation(Kind::Train).into_replay().ok().and_then(|replay| {
            let updates = replay.of(|role| matches!(role, Role::Update(index) if is_running(*index)));
            if !updates.fits(rows) {
                return None;
            }
            let values = self.values(&updates.graph, &self.programs[Kind::Train].params, &self.scalars, tensors);
            updates.first_wrong(rows, &values)
        });
        let step = self.steps + 1;
        match found {
            Some((Role::Update(index), value, fault)) => {
                RunError::Update { step, name: slots[index].name.clone(), value, fault: Some(Box::new(fault)) }
            }
            // What overflows in the order of the compiled step alone has no origin: the first may be another's.
            _ => match slots.iter().find(|slot| slot.kind == SlotKind::Running && slot.name.ends_with("_var")) {
                Some(slot) => RunError::Update { step, name: slot.name.clone(), value: f32::NAN, fault: None },
                None => RunError::NotFinite { step, loss, fault: None },
            },
        }
    }

    /// If the session watches over its state, what a run has written has to be finite; else it is put back.
    pub(super) fn check_state(&mut self, ran: Ran, tensors: &[Tensor<'_>], rows: usize) -> Result<(), RunError> {
        let (Some(kept), false) = (&self.kept, ran == Ran::Gradients) else { return Ok(()) };
        let (kind, words) = match (ran, &self.accumulation) {
            (Ran::Accumulation, Some(own)) => (Kind::Accumulate, &own.scalars),
            (Ran::Update, Some(own)) => (Kind::Update, &own.scalars),
            _ => (Kind::Train, &self.scalars),
        };
        let program = &self.programs[kind];
        let floats = self.params.floats();
        let slots = program.slots.params.iter().zip(&program.params).enumerate();
        let wrong = |(index, (slot, &at)): (usize, (&ParamSlot, &usize))| {
            Some((index, first_wrong(&floats[at..at + slot.len()])?))
        };
        let Some((first, value)) = slots.clone().find_map(wrong) else { return Ok(()) };
        let all: Vec<usize> = slots.filter_map(wrong).map(|(index, _)| index).collect();
        let name = program.slots.params[first].name.clone();
        self.params.floats_mut().copy_from_slice(kept.floats());
        let fault = self.compilation(kind).into_replay().ok().and_then(|replay| {
            let updates = replay.of(|role| matches!(role, Role::Update(index) if all.contains(index)));
            if !updates.fits(rows) {
                return None;
            }
            let values = self.values(&updates.graph, &program.params, words, tensors);
            updates.search(rows, &values)
        });
        Err(RunError::Update { step: self.steps + 1, name, value, fault: fault.map(Box::new) })
    }

    /// What a run of a graph begins with, as the interpreter reads it.
    pub(super) fn values(&self, graph: &Graph, offsets: &[usize], words: &[Word], tensors: &[Tensor<'_>]) -> Values {
        let params = graph.slots.params.iter().zip(offsets).map(|(slot, &at)| {
            let floats = &self.params.floats()[at..at + slot.len()];
            interp::Tensor::floats(&slot.shape, floats.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>())
        });
        Values {
            inputs: tensors.iter().map(interpreted).collect(),
            params: params.collect(),
            scalars: words.iter().zip(&graph.slots.scalars).map(|(word, slot)| word.value(slot)).collect(),
        }
    }
}

/// The first number that is not finite.
fn first_wrong(floats: &[f32]) -> Option<f32> {
    let is_wrong = |block: &&[f32]| !block.iter().fold(true, |finite, x| finite & x.is_finite());
    floats.chunks(1024).find(is_wrong)?.iter().copied().find(|x| !x.is_finite())
}

/// As the interpreter reads it.
fn interpreted(tensor: &Tensor<'_>) -> interp::Tensor {
    let (mut numbers, mut ids) = (Vec::new(), Vec::new());
    tensor.for_each_number(|x| numbers.push(f64::from(x)));
    tensor.for_each_id(|id| ids.push(id));
    match tensor.dtype().is_index() {
        true => interp::Tensor::indices(tensor.shape(), ids),
        false => interp::Tensor::floats(tensor.shape(), numbers),
    }
}
