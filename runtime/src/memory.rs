//! What a program is given for a run, with or without a code generator to run it.

/// So many inputs take no allocation.
pub const FEW_INPUTS: usize = 16;

/// The memory of one run.
#[derive(Debug)]
pub struct Memory<'a> {
    /// Values of the step.
    pub arena: &'a mut [f32],
    /// Parameters, running statistics, optimiser state.
    pub params: &'a mut [f32],
    /// Run-time scalars.
    pub scalars: &'a [f32],
    /// Inputs, then targets.
    pub inputs: &'a [Input<'a>],
    /// The batch size.
    pub batch: usize,
}

/// An input as compiled code reads it.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Numbers.
    Float(&'a [f32]),
    /// Class ids.
    Index(&'a [u32]),
}
