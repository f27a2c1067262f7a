//! Parameters, running statistics, optimizer state and gradients, by name.

use ndarray::{ArrayView, ArrayViewD, Dimension, IxDyn};

use super::{Kind, Network, Session, is_own};
use crate::compile::Program;
use crate::elaborate::words::closest;
use crate::error::RunError;
use crate::ir::{ParamSlot, Role, SlotKind, Slots};
use crate::plan::Location;
use crate::types::Shape;

impl<N: Network> Session<N> {
    /// The names of all parameters and running statistics, then those of the optimizer's state: `dense1.weight`,
    /// `batch_norm1.running_mean`, `dense1.weight.m`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        named(&self.programs[Kind::Train].slots).map(|(_, slot)| slot.name.as_str())
    }

    /// A parameter, running statistic or optimizer state.
    ///
    /// # Errors
    /// A name that the network does not have; the message suggests the closest.
    pub fn param(&self, name: &str) -> Result<ArrayViewD<'_, f32>, RunError> {
        read(&self.programs[Kind::Train], self.params.floats(), name)
    }

    /// Overwrites a parameter, running statistic or optimizer state.
    ///
    /// # Errors
    /// A name that the network does not have, or another shape than the parameter's.
    pub fn set_param<D: Dimension>(&mut self, name: &str, value: ArrayView<'_, f32, D>) -> Result<(), RunError> {
        let at = place(&self.programs[Kind::Train], name, value.shape())?;
        write(&mut self.params.floats_mut()[at..], value);
        Ok(())
    }

    /// How many numbers training changes.
    pub fn param_count(&self) -> usize {
        let own = self.programs[Kind::Train].slots.params.iter().filter(|slot| is_own(slot.kind));
        own.filter(|slot| slot.kind != SlotKind::Running).map(ParamSlot::len).sum()
    }
}

/// A parameter by its name.
pub(super) fn read<'a>(program: &Program, params: &'a [f32], name: &str) -> Result<ArrayViewD<'a, f32>, RunError> {
    let index = find(&program.slots, name)?;
    Ok(tensor(&program.slots.params[index], &params[program.params[index]..]))
}

/// Where a parameter begins that is to be written, if it has this shape.
pub(super) fn place(program: &Program, name: &str, shape: &[usize]) -> Result<usize, RunError> {
    let index = find(&program.slots, name)?;
    let slot = &program.slots.params[index];
    match slot.shape == shape {
        true => Ok(program.params[index]),
        false => {
            let expected = Shape::fixed(&slot.shape).declared();
            Err(RunError::Shape { name: name.to_string(), expected, actual: shape.to_vec() })
        }
    }
}

pub(super) fn write<D: Dimension>(floats: &mut [f32], value: ArrayView<'_, f32, D>) {
    floats.iter_mut().zip(value.iter()).for_each(|(float, &new)| *float = new);
}

/// The gradients of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Gradients<'a> {
    /// The loss of the batch.
    pub loss: f32,
    pub(super) program: &'a Program,
    pub(super) arena: &'a [f32],
    pub(super) params: &'a [f32],
}

impl<'a> Gradients<'a> {
    /// The gradient of the loss with respect to a parameter.
    ///
    /// # Errors
    /// A name that the network does not have, or that of a running statistic.
    pub fn get(&self, name: &str) -> Result<ArrayViewD<'a, f32>, RunError> {
        let index = find(&self.program.slots, name)?;
        self.gradient(index).ok_or_else(|| RunError::Name { name: name.to_string(), closest: None })
    }

    /// The gradient of this parameter; none for a running statistic. It may be another parameter: that of `w` in
    /// `sum(v * w)` is `v`.
    pub(super) fn gradient(&self, index: usize) -> Option<ArrayViewD<'a, f32>> {
        let slot = &self.program.slots.params[index];
        match self.program.result(&Role::Gradient(index))? {
            Location::Arena(at) => Some(tensor(slot, &self.arena[at..])),
            Location::Param(other) => Some(tensor(slot, &self.params[self.program.params[other]..])),
            Location::Input(_) => unreachable!("an input follows the batch, a gradient does not"),
        }
    }

    /// All gradients, with the names of their parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, ArrayViewD<'a, f32>)> + use<'a> {
        let all = *self;
        let slots = all.program.slots.params.iter().enumerate();
        slots.filter_map(move |(index, slot)| Some((slot.name.as_str(), all.gradient(index)?)))
    }
}

fn tensor<'a>(slot: &ParamSlot, floats: &'a [f32]) -> ArrayViewD<'a, f32> {
    ArrayViewD::from_shape(IxDyn(&slot.shape), &floats[..slot.len()])
        .expect("a parameter has the elements of its shape")
}

/// The slots that a user can ask for: not the tables of the declaration.
pub(super) fn named(slots: &Slots) -> impl Iterator<Item = (usize, &ParamSlot)> {
    slots.params.iter().enumerate().filter(|(_, slot)| slot.kind != SlotKind::Fixed)
}

fn find(slots: &Slots, name: &str) -> Result<usize, RunError> {
    let found = named(slots).find(|(_, slot)| slot.name == name);
    found.map(|(index, _)| index).ok_or_else(|| RunError::Name {
        name: name.to_string(),
        closest: closest(name, named(slots).map(|(_, slot)| slot.name.as_str())).map(str::to_string),
    })
}
