//! What depends on parameters alone: it is the same in every run until one of them changes.
//!
//! In: kernels. Out: which of them, and which buffers. A program that writes a parameter has none.

use super::{Arg, Fused, Home, Kernel};
use crate::types::{Dim, Shape};

/// What depends on parameters alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constants {
    /// By kernel. Kernels that run together are all among them, or none.
    pub kernels: Vec<bool>,
    /// By buffer: the parameters, and what these kernels write.
    pub buffers: Vec<bool>,
}

impl Fused {
    /// What depends on parameters alone: on no input, no run-time scalar and not on how many rows there are; but for results, and
    /// what loops compute.
    pub fn constants(&self) -> Constants {
        let mut found =
            Constants { kernels: vec![false; self.kernels.len()], buffers: vec![false; self.buffers.len()] };
        if self.kernels.iter().flat_map(|kernel| &kernel.writes).any(|write| self.param_written(write).is_some()) {
            return found;
        }
        let is_param = |home| matches!(home, Home::Param(_));
        found.buffers.iter_mut().zip(&self.buffers).for_each(|(known, buffer)| *known = is_param(buffer.home));
        let mut is_result = vec![false; self.buffers.len()];
        self.results.iter().for_each(|(_, buffer, _)| is_result[buffer.index()] = true);
        for run in self.runs() {
            let before = found.buffers.clone();
            let constant = self.loop_of(run.start).is_none()
                && self.kernels[run.clone()].iter().all(|kernel| {
                    let own = kernel.writes.iter().map(|write| write.buffer.index());
                    // A part of a whole of which others write the rest.
                    let all = kernel.writes.iter().all(|write| !write.part) && own.clone().all(|id| !is_result[id]);
                    let known = all && kernel.depends_on(&found.buffers);
                    own.for_each(|id| found.buffers[id] = known);
                    known
                });
            match constant {
                true => found.kernels[run].fill(true),
                false => found.buffers = before,
            }
        }
        found
    }
}

impl Kernel {
    /// Whether it depends on nothing but these buffers.
    fn depends_on(&self, buffers: &[bool]) -> bool {
        let args = self.body.iter().flat_map(|instruction| &instruction.args);
        let args = args.chain(self.writes.iter().map(|write| &write.value));
        let over = self.dot.iter().flat_map(|dot| dot.axes.iter().chain(&dot.over));
        let is_fixed = |dim: &Dim| !dim.is_batch();
        self.buffers_read().all(|id| buffers[id.index()])
            && self.axes.iter().chain(over).all(is_fixed)
            && self.origins().all(|origin| is_fixed_shape(&origin.ty.shape))
            && !args.into_iter().any(|arg| matches!(arg, Arg::Scalar(_) | Arg::Count(_)))
    }
}

fn is_fixed_shape(shape: &Shape) -> bool {
    shape.0.iter().all(|dim| !dim.is_batch())
}
