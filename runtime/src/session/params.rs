//! Parameters, running statistics, optimizer state and gradients, by name.

use ndarray::{ArrayView, ArrayViewD, Dimension, IxDyn};

use super::any::{AnySession, is_own};
use super::programs::Kind;
use super::{Network, Session};
use crate::compile::Program;
use crate::elaborate::words::closest;
use crate::error::RunError;
use crate::ir::declared::stored_positions;
use crate::ir::{ParamSlot, Role, SlotKind, Slots};
use crate::plan::Location;
use crate::types::Shape;

impl<N: Network> Session<N> {
    /// The names of all parameters and running statistics, then those of the optimizer's state: `dense1.weight`,
    /// `batch_norm1.running_mean`, `dense1.weight.m`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        named(&self.any.programs[Kind::Train].slots).map(|(_, slot)| slot.name.as_str())
    }

    /// A parameter, running statistic or optimizer state. The view of a convolution's weights is not contiguous: they lie in
    /// memory in another order of axes.
    ///
    /// # Errors
    /// A name that the network does not have; the message suggests the closest.
    pub fn param(&self, name: &str) -> Result<ArrayViewD<'_, f32>, RunError> {
        read(&self.any.programs[Kind::Train], self.any.params.floats(), name)
    }

    /// Overwrites a parameter, running statistic or optimizer state.
    ///
    /// # Errors
    /// A name that the network does not have, or another shape than the parameter's.
    pub fn set_param<D: Dimension>(&mut self, name: &str, value: ArrayView<'_, f32, D>) -> Result<(), RunError> {
        let index = place(&self.any.programs[Kind::Train], name, value.shape())?;
        write(&self.any.programs[Kind::Train], self.any.params.floats_mut(), index, value);
        Ok(())
    }

    /// How many numbers training changes.
    pub fn param_count(&self) -> usize {
        self.any.param_count()
    }
}

impl AnySession {
    fn param_count(&self) -> usize {
        let own = self.programs[Kind::Train].slots.params.iter().filter(|slot| is_own(slot.kind));
        own.filter(|slot| slot.kind != SlotKind::Running).map(ParamSlot::len).sum()
    }
}

/// A parameter by its name.
pub(super) fn read<'a>(program: &Program, params: &'a [f32], name: &str) -> Result<ArrayViewD<'a, f32>, RunError> {
    let index = find(&program.slots, name)?;
    Ok(tensor(&program.slots.params[index], &params[program.params[index]..]))
}

/// The index of a parameter that is to be written, if it has this shape.
pub(super) fn place(program: &Program, name: &str, shape: &[usize]) -> Result<usize, RunError> {
    let index = find(&program.slots, name)?;
    let declared = program.slots.params[index].declared_shape();
    match declared == shape {
        true => Ok(index),
        false => {
            let expected = Shape::fixed(&declared).declared();
            Err(RunError::Shape { name: name.to_string(), expected, actual: shape.to_vec() })
        }
    }
}

/// Overwrites the parameter of this index with a value of its shape.
pub(super) fn write<D: Dimension>(program: &Program, params: &mut [f32], index: usize, value: ArrayView<'_, f32, D>) {
    let slot = &program.slots.params[index];
    let param = &mut params[program.params[index]..][..slot.len()];
    if slot.order.is_empty() {
        param.iter_mut().zip(value.iter()).for_each(|(float, &new)| *float = new);
    } else {
        stored_positions(&slot.shape, slot.order).zip(value.iter()).for_each(|(at, &new)| param[at] = new);
    }
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
    fn gradient(&self, index: usize) -> Option<ArrayViewD<'a, f32>> {
        Some(tensor(&self.program.slots.params[index], self.stored(index)?))
    }

    /// The same as it lies in memory.
    pub(super) fn stored(&self, index: usize) -> Option<&'a [f32]> {
        let len = self.program.slots.params[index].len();
        match self.program.result(&Role::Gradient(index))? {
            Location::Arena(at) => Some(&self.arena[at..][..len]),
            Location::Param(other) => Some(&self.params[self.program.params[other]..][..len]),
            Location::Input(_) => unreachable!("an input follows the batch, a gradient does not"),
            Location::Prepared(_) => unreachable!("no result is kept from run to run"),
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
    let stored = ArrayViewD::from_shape(IxDyn(&slot.shape), &floats[..slot.len()])
        .expect("a parameter has the elements of its shape");
    if slot.order.is_empty() { stored } else { stored.permuted_axes(slot.order) }
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
