//! What a program is given for a run, with or without a code generator to run it.

use crate::ir::ScalarSlot;

/// So many inputs take no allocation.
pub const FEW_INPUTS: usize = 16;

/// The memory of one run.
#[derive(Debug)]
pub struct Memory<'a> {
    /// Values of the step.
    pub arena: &'a mut [f32],
    /// Parameters, running statistics, optimizer state.
    pub params: Params<'a>,
    /// Run-time scalars.
    pub scalars: &'a [Word],
    /// Inputs, then targets.
    pub inputs: &'a [Input<'a>],
    /// The batch size.
    pub batch: usize,
}

/// Parameters, running statistics, optimizer state, as far as a program knows them.
#[derive(Debug)]
pub enum Params<'a> {
    /// Of one session: a training step writes them.
    Own(&'a mut [f32]),
    /// Read by several threads at once: for programs that write none.
    Shared(&'a [f32]),
    /// The same, with what the program has made of them.
    Prepared {
        /// The parameters.
        params: &'a [f32],
        /// What every run needs.
        prepared: &'a [f32],
        /// What makes a run faster, if there is room for it.
        packed: Option<&'a [f32]>,
    },
}

impl Params<'_> {
    /// How many numbers there are.
    #[expect(clippy::len_without_is_empty, reason = "a network without parameters is no special case")]
    pub fn len(&self) -> usize {
        match self {
            Params::Own(floats) => floats.len(),
            Params::Shared(floats) | Params::Prepared { params: floats, .. } => floats.len(),
        }
    }
}

/// A run-time scalar as compiled code reads it: the bits of an f32 or of a u32.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word(u32);

impl Word {
    /// The scalar of this slot.
    pub fn new(slot: &ScalarSlot, value: f64) -> Word {
        if slot.ty().dtype.is_index() { Word::from(value as u32) } else { Word::from(value as f32) }
    }

    /// What the scalar of this slot is.
    pub fn value(self, slot: &ScalarSlot) -> f64 {
        if slot.ty().dtype.is_index() { f64::from(self.0) } else { f64::from(f32::from_bits(self.0)) }
    }
}

impl From<f32> for Word {
    fn from(number: f32) -> Word {
        Word(number.to_bits())
    }
}

impl From<u32> for Word {
    fn from(integer: u32) -> Word {
        Word(integer)
    }
}

/// An input as compiled code reads it.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Numbers.
    Float(&'a [f32]),
    /// Class ids.
    Index(&'a [u32]),
}
