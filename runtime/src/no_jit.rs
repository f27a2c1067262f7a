//! What stands in for the code generator where the feature `jit` is off: networks are declared, checked and printed, but
//! not compiled.

use std::convert::Infallible;

use crate::error::BuildError;
use crate::fuse::Fused;
use crate::plan::Plan;

/// A compiled program; there is none without a code generator.
#[derive(Debug)]
pub struct Code(Infallible);

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

/// Inputs and targets together.
pub const MAX_INPUTS: usize = 16;

/// An input as compiled code reads it.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Numbers.
    Float(&'a [f32]),
    /// Class ids.
    Index(&'a [u32]),
}

impl Code {
    /// Runs the program.
    pub fn run(&self, _: Memory<'_>) -> bool {
        match self.0 {}
    }
}

/// Says that there is no code generator.
pub fn compile(_: &Fused, _: &Plan) -> Result<Code, BuildError> {
    Err(absent())
}

/// Says that there is no code to print.
pub fn text(_: &Fused, _: usize, _: Text) -> Result<String, BuildError> {
    Err(absent())
}

/// Which text of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Cranelift's intermediate language.
    Clif,
    /// Machine code.
    Asm,
}

fn absent() -> BuildError {
    BuildError::Machine("this build has the feature `jit` switched off".to_string())
}
