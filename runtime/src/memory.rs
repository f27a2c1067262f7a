//! What a program is given for a run, with or without a code generator to run it.

/// So many inputs take no allocation.
pub const FEW_INPUTS: usize = 16;

/// The memory of one run.
#[derive(Debug)]
pub struct Memory<'a> {
    /// Values of the step.
    pub arena: &'a mut [f32],
    /// Parameters, running statistics, optimiser state.
    pub params: Params<'a>,
    /// Run-time scalars.
    pub scalars: &'a [f32],
    /// Inputs, then targets.
    pub inputs: &'a [Input<'a>],
    /// The batch size.
    pub batch: usize,
}

/// Parameters, running statistics, optimiser state, as far as a program knows them.
#[derive(Debug)]
pub enum Params<'a> {
    /// Of one session: a training step writes them.
    Own(&'a mut [f32]),
    /// Read by several threads at once: for programs that write none.
    Shared(&'a [f32]),
}

impl Params<'_> {
    /// How many numbers there are.
    #[expect(clippy::len_without_is_empty, reason = "a network without parameters is no special case")]
    pub fn len(&self) -> usize {
        match self {
            Params::Own(floats) => floats.len(),
            Params::Shared(floats) => floats.len(),
        }
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
