//! A network one position at a time: its program, and what one position leaves for the next.

use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::any::fill_those;
use super::buffer::{self, Buffer, no_memory};
use super::parameters::Parameters;
use super::params::named;
use super::predictor::AnyPredictor;
use crate::compile::{Compilation, Program, Purpose, Target, compile};
use crate::error::BuildError;
use crate::ir::{InputSlot, Op, Role, SlotKind};
use crate::memory::{FEW_INPUTS, Input, Memory, Word};
use crate::plan::Location;
use crate::types::Shape;

/// What is known of one position, once a sequence was to be continued.
#[derive(Clone, Debug)]
pub(super) struct OnePosition {
    pub(super) program: Arc<Program>,
    /// How many numbers each output of the network has there.
    pub(super) outputs: Arc<[usize]>,
    /// Where they are after a run, and after them what is kept for the next one.
    places: Arc<[Location]>,
    /// For each of those that are kept, where what a position leaves goes.
    left: Arc<[Left]>,
    /// Whether anything depends on where it is in its sequence.
    pub(super) is_counted: bool,
}

/// What a position leaves of something that is kept: `len` elements in runs of `run`, one in each `apart`; all of it, if these are the
/// same.
#[derive(Clone, Copy, Debug)]
struct Left {
    len: usize,
    run: usize,
    apart: usize,
}

impl Left {
    /// What has the first of these shapes, in something of the second.
    fn of(own: &Shape, kept: &Shape) -> Left {
        let along = own.0.iter().zip(&kept.0).position(|(own, kept)| own != kept);
        let run = along.map_or(1, |axis| Shape(own.0[axis + 1..].to_vec()).len_at(1));
        Left { len: own.len_at(1), run, apart: run * along.map_or(1, |axis| kept.0[axis].factor()) }
    }

    /// Puts it in its place, if it is that of a position.
    fn put(self, own: &[f32], kept: &mut [f32], position: usize) {
        if self.run == self.apart {
            return kept.copy_from_slice(own);
        }
        for (own, kept) in own.chunks_exact(self.run).zip(kept.chunks_exact_mut(self.apart)) {
            kept[position * self.run..][..self.run].copy_from_slice(own);
        }
    }
}

impl OnePosition {
    fn of(compilation: Compilation<'_>, outputs: usize) -> Result<OnePosition, BuildError> {
        let graph = compilation.forward()?;
        let live = graph.live();
        let is_counted = graph.ids().any(|id| live[id.index()] && graph[id].op == Op::Input(1));
        let node = |output: usize| graph.output(&Role::Output(output)).expect("every port has an output");
        let outputs: Arc<[usize]> = (0..outputs).map(|output| graph[node(output)].ty.shape.len_at(1)).collect();
        let first = outputs.len();
        let left = graph.slots.inputs[2..].iter().enumerate().map(|(index, slot)| {
            let own = graph.output(&Role::Output(first + index)).expect("what is kept is an output");
            Left::of(&graph[own].ty.shape, &slot.ty.shape)
        });
        let left = left.collect();
        let results = graph.outputs.iter().filter(|output| matches!(output.role, Role::Output(_))).count();
        let program = compilation.into_program()?;
        let place = |output| program.result(&Role::Output(output)).expect("every output has a place");
        let places = (0..results).map(place).collect();
        Ok(OnePosition { outputs, places, left, is_counted, program: Arc::new(program) })
    }
}

/// The memory of a sequence that goes on.
#[derive(Debug)]
pub(super) struct Stepper {
    pub(super) one: OnePosition,
    params: Parameters,
    arena: Buffer,
    scalars: Vec<Word>,
    /// Keys and values of all positions for every attention, the state of every layer that has one: they come after the outputs.
    kept: Vec<Buffer>,
    /// The element that was taken last, if it is one of numbers: an output may be that itself.
    element: Vec<f32>,
}

impl AnyPredictor {
    /// A program of one position, compiled once, with a copy of the parameters as they are now.
    pub(super) fn stepper(
        &self,
        known: &OnceLock<OnePosition>,
        purpose: Purpose<'static>,
    ) -> Result<Stepper, BuildError> {
        let one = match known.get() {
            Some(one) => one.clone(),
            None => {
                let one =
                    OnePosition::of(compile(self.definition, purpose, Target::new(1)), self.definition.outputs.len())?;
                known.get_or_init(|| one).clone()
            }
        };
        let program = &*one.program;
        let mut params = Parameters::from(buffer::params(program)?);
        // What is the same in every program, such as tables of angles; the parameters follow.
        fill_those(params.floats_mut(), program, 0, |kind| kind == SlotKind::Fixed);
        let own: Vec<(usize, usize)> = named(&self.program.slots).map(|(index, slot)| (index, slot.len())).collect();
        let there = named(&program.slots).map(|(index, _)| index);
        for ((from, len), to) in own.into_iter().zip(there) {
            let values = &self.params.floats()[self.program.params[from]..][..len];
            params.floats_mut()[program.params[to]..][..len].copy_from_slice(values);
        }
        params.make_room(program)?;
        let mut scalars = vec![Word::default(); program.slots.scalars.len()];
        scalars.iter_mut().zip(&self.declared).for_each(|(word, &number)| *word = Word::from(number));
        let cache = |slot: &InputSlot| {
            let len = slot.ty.shape.len_at(1);
            Buffer::new(len).ok_or_else(|| no_memory("what a sequence leaves for its next position", len))
        };
        let kept = program.slots.inputs[2..].iter().map(cache).collect::<Result<Vec<Buffer>, BuildError>>()?;
        let arena = buffer::arena(program, 1)?;
        let element = Vec::with_capacity(program.slots.inputs[0].ty.shape.len_at(1));
        Ok(Stepper { one, params, arena, scalars, kept, element })
    }
}

impl Stepper {
    /// Takes the element at a position.
    pub(super) fn run(&mut self, element: Input<'_>, position: usize) {
        let place = [position as u32];
        // One after the other: gathered from a chain of iterators, each would be read right after it was written in two halves.
        let mut inputs: SmallVec<[Input<'_>; FEW_INPUTS]> = SmallVec::new();
        inputs.push(element);
        inputs.push(Input::Index(&place));
        self.kept.iter().for_each(|kept| inputs.push(Input::Float(kept.floats())));
        let (program, arena) = (&*self.one.program, self.arena.floats_mut());
        let params = self.params.of_prediction(program, arena, 1).expect("there was room from the beginning");
        program.run(None, Memory { arena, params, scalars: &self.scalars, inputs: &inputs, batch: 1 });
        drop(inputs);
        if let Input::Float(element) = element {
            self.element.clear();
            self.element.extend_from_slice(element);
        }
        let outputs = self.one.outputs.len();
        for index in 0..self.kept.len() {
            let left = self.one.left[index];
            match self.one.places[outputs + index] {
                Location::Input(input) if input == 2 + index => {}
                Location::Arena(at) => {
                    left.put(&self.arena.floats()[at..][..left.len], self.kept[index].floats_mut(), position);
                }
                _ => {
                    let mut kept = std::mem::take(&mut self.kept[index]);
                    left.put(self.output(outputs + index, left.len), kept.floats_mut(), position);
                    self.kept[index] = kept;
                }
            }
        }
    }

    /// What the network gives at the last position that was taken.
    pub(super) fn output(&self, index: usize, len: usize) -> &[f32] {
        match self.one.places[index] {
            Location::Arena(at) => &self.arena.floats()[at..][..len],
            Location::Param(param) => &self.params.floats()[self.one.program.params[param]..][..len],
            Location::Prepared(_) => unreachable!("no result is kept from run to run"),
            Location::Input(0) => &self.element[..len],
            // A state that is given as it was is kept as it was.
            Location::Input(input) => &self.kept[input - 2].floats()[..len],
        }
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        // What is not looked at counts 0 times, and 0 times NaN would be NaN. A position adds what is its own to what is there.
        self.kept.iter_mut().for_each(|kept| kept.floats_mut().fill(0.0));
    }
}
