//! What stands in for the code generator where the feature `jit` is off: networks are declared, checked and printed, but
//! not compiled.

use std::convert::Infallible;

use crate::error::BuildError;
use crate::kernel::Fused;
use crate::memory::Memory;
use crate::plan::Plan;
use crate::tiling::Keep;

/// A compiled program; there is none without a code generator.
#[derive(Debug)]
pub struct Code(Infallible);

impl Code {
    /// Runs the program.
    pub fn run(&self, _: Memory<'_>) -> bool {
        match self.0 {}
    }

    /// Runs the program.
    pub fn run_on(&self, _: &mut Pool, _: Memory<'_>) -> bool {
        match self.0 {}
    }

    /// Runs the program with its kernels timed.
    pub fn run_timed(&self, _: Memory<'_>, _: impl FnMut(usize, f64)) -> bool {
        match self.0 {}
    }

    /// Whether it writes parameters.
    pub fn writes(&self) -> bool {
        match self.0 {}
    }

    /// Floats of what a run needs to be made of parameters, and of what it may use.
    pub fn kept_lens(&self) -> [usize; 2] {
        match self.0 {}
    }

    /// The smallest batches that read what is packed, and that repay it.
    pub fn packs_from(&self) -> [usize; 2] {
        match self.0 {}
    }

    /// Makes what a run needs.
    pub fn prepare(&self, _: &mut [f32], _: &[f32], _: &mut [f32]) {
        match self.0 {}
    }

    /// Makes what a run may use.
    pub fn pack(&self, _: &[f32], _: &[f32], _: &mut [f32]) {
        match self.0 {}
    }

    /// Makes room in a pool.
    pub fn reserve(&self, _: &mut Pool) {
        match self.0 {}
    }
}

/// Threads for compiled code; there are none without a code generator.
#[derive(Debug)]
pub struct Pool(Infallible);

impl Pool {
    /// Says that there is no code generator.
    pub fn new(_: usize) -> Result<Pool, BuildError> {
        Err(absent())
    }

    /// How many threads take part.
    pub fn threads(&self) -> usize {
        match self.0 {}
    }
}

/// Says that there is no code generator.
pub fn compile_timed(_: &Fused, _: &Plan) -> Result<Code, BuildError> {
    Err(absent())
}

/// Says that there is no code generator.
pub fn compile(_: &Fused, _: &Plan) -> Result<Code, BuildError> {
    Err(absent())
}

/// Says that there is no code to print.
pub fn text_keeping(_: &Fused, _: usize, _: Keep, _: Text) -> Result<String, BuildError> {
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
