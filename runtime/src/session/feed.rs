//! From the user's arrays to what compiled code reads.
//!
//! Everything is checked first. Numbers that are contiguous are read where they lie, others are copied; class ids are
//! widened to 32 bits on the way.

use smallvec::SmallVec;

use crate::error::{BuildError, RunError};
use crate::ir::{InputSlot, Slots};
use crate::memory::{FEW_INPUTS, Input};
use crate::tensor::Tensor;
use crate::types::Dim;

use super::Network;
use super::buffer::no_memory;

/// The tensors of a call: inputs, then targets. A few of them take no allocation.
pub(super) type Tensors<'a> = SmallVec<[Tensor<'a>; 4]>;

/// Room for what has to be copied, one buffer an input.
#[derive(Debug, Default)]
pub(super) struct Feed {
    floats: Vec<Vec<f32>>,
    ids: Vec<Vec<u32>>,
}

/// The tensors of a call.
pub(super) fn gather<'a, N: Network>(inputs: N::Inputs<'a>, targets: Option<N::Targets<'a>>) -> Tensors<'a> {
    let mut tensors = Tensors::new();
    N::inputs(inputs, &mut pushing(&mut tensors));
    if let Some(targets) = targets {
        N::targets(targets, &mut pushing(&mut tensors));
    }
    tensors
}

/// Puts each tensor after those before. Not written in `gather`, where it would be compiled again for each network.
fn pushing<'t, 'a>(tensors: &'t mut Tensors<'a>) -> impl FnMut(Tensor<'a>) + 't {
    |tensor| tensors.push(tensor)
}

/// The same rows of every tensor.
pub(super) fn rows<'a>(tensors: &[Tensor<'a>], from: usize, to: usize) -> Tensors<'a> {
    tensors.iter().map(|tensor| tensor.rows(from, to)).collect()
}

impl Feed {
    /// Room for the largest batch.
    ///
    /// # Errors
    /// No memory for it.
    pub(super) fn new(slots: &Slots, max_batch: usize) -> Result<Feed, BuildError> {
        let mut feed = Feed { floats: Vec::new(), ids: Vec::new() };
        for slot in &slots.inputs {
            let (mut floats, mut ids) = (Vec::new(), Vec::new());
            let len = slot.ty.shape.len_at(max_batch);
            let room = match slot.ty.dtype.is_index() {
                true => ids.try_reserve_exact(len),
                false => floats.try_reserve_exact(len),
            };
            room.map_err(|_| no_memory(&format!("{max_batch} rows of `{}`", slot.name), len))?;
            feed.floats.push(floats);
            feed.ids.push(ids);
        }
        Ok(feed)
    }

    /// Checks shapes, batch size and class ids; gives the batch size.
    pub(super) fn check(&self, slots: &Slots, tensors: &[Tensor<'_>], max: usize) -> Result<usize, RunError> {
        let rows = tensors.first().map_or(0, |tensor| tensor.shape().first().copied().unwrap_or(0));
        for (slot, tensor) in slots.inputs.iter().zip(tensors) {
            check_shape(slot, tensor.shape())?;
        }
        if rows == 0 {
            return Err(RunError::Empty { name: slots.inputs[0].name });
        }
        if rows > max {
            return Err(RunError::Batch { actual: rows, max });
        }
        for (slot, tensor) in slots.inputs.iter().zip(tensors) {
            let actual = tensor.shape()[0];
            if actual != rows {
                let (first, name) = (slots.inputs[0].name, slot.name);
                return Err(RunError::Rows { first, expected: rows, name, actual });
            }
        }
        for (slot, tensor) in slots.inputs.iter().zip(tensors) {
            check_ids(slot, tensor)?;
        }
        Ok(rows)
    }

    /// Calls `run` with every tensor as compiled code reads it.
    pub(super) fn with<R>(&mut self, tensors: &[Tensor<'_>], run: impl FnOnce(&[Input<'_>]) -> R) -> R {
        let rooms = self.floats.iter_mut().zip(&mut self.ids);
        let inputs = tensors.iter().zip(rooms).map(|(tensor, (floats, ids))| match tensor {
            Tensor::F32(view) => Input::Float(view.as_slice().unwrap_or_else(|| {
                floats.clear();
                floats.extend(view.iter().copied());
                floats
            })),
            ids_of => {
                ids.clear();
                ids_of.widen(ids);
                Input::Index(ids)
            }
        });
        let inputs: SmallVec<[Input<'_>; FEW_INPUTS]> = inputs.collect();
        run(&inputs)
    }
}

fn check_shape(slot: &InputSlot, actual: &[usize]) -> Result<(), RunError> {
    let expected = &slot.ty.shape.0;
    let fits = expected.len() == actual.len()
        && expected.iter().zip(actual).all(|(dim, &actual)| match dim {
            Dim::Fixed(n) => *n == actual,
            Dim::Batch(_) => true,
        });
    match fits {
        true => Ok(()),
        false => {
            let (name, expected) = (slot.name.to_string(), slot.ty.shape.declared());
            Err(RunError::Shape { name, expected, actual: actual.to_vec() })
        }
    }
}

fn check_ids(slot: &InputSlot, tensor: &Tensor<'_>) -> Result<(), RunError> {
    let Some(classes) = slot.classes else { return Ok(()) };
    let mut wrong = None;
    let mut place = 0;
    tensor.for_each_id(|id| {
        if id as usize >= classes && wrong.is_none() {
            wrong = Some((id, place));
        }
        place += 1;
    });
    match wrong {
        Some((id, place)) => {
            let row = place / tensor.shape()[1..].iter().product::<usize>().max(1);
            Err(RunError::Class { name: slot.name, id, row, classes })
        }
        None => Ok(()),
    }
}
