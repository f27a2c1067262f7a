//! Where everything lies that is made of parameters once and kept from run to run: in memory that belongs to the parameters, of any
//! number of arenas. Results of kernels and transformed taps lie in one block, without which nothing runs; rearranged right operands
//! in another, which may be there or not.

use super::{Location, padded};
use crate::kernel::{BufferId, Fused};
use crate::microkernels::{gemm, winograd};
use crate::tiling::{Kept, Tiling, few_in_place};

/// What is kept from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptPlan {
    /// Floats of results and taps.
    pub prepared: usize,
    /// Floats of rearranged right operands.
    pub packed: usize,
    /// The smallest batch that reads any of the latter.
    pub read_from: usize,
    /// The smallest batch that repays rearranging them before it runs, whether or not they are wanted again.
    pub repaid_from: usize,
    /// All of it.
    pub parts: Vec<KeptPart>,
}

/// A part of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPart {
    /// The kernel that computes it, or that it is the right operand of.
    pub kernel: usize,
    /// What it is.
    pub content: KeptContent,
    /// Its offset in its block.
    pub at: usize,
    /// Its length.
    pub len: usize,
}

/// What lies in a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptContent {
    /// A value.
    Value(BufferId),
    /// Transformed taps.
    Taps,
    /// A rearranged right operand.
    Packed,
}

/// Lays out what is kept; values of which only kernels know that do not run either lie in the arena.
pub(super) fn lay_out(fused: &Fused, tiling: &Tiling, places: &mut [Option<Location>]) -> KeptPlan {
    let mut kept = KeptPlan { read_from: usize::MAX, repaid_from: usize::MAX, ..KeptPlan::default() };
    let mut read = vec![false; fused.buffers.len()];
    let running = fused.kernels.iter().zip(&tiling.kernels).filter(|(_, tiling)| !tiling.is_kept());
    running.flat_map(|(kernel, _)| kernel.buffers_read()).for_each(|id| read[id.index()] = true);
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let place = |end: &mut usize, len: usize| {
            *end += padded(len.max(1));
            *end - padded(len.max(1))
        };
        match tiling.kernels[index].kept {
            None => {}
            Some(Kept::Results) => {
                let written = kernel.writes.iter().map(|write| write.buffer);
                for id in written.filter(|&id| read[id.index()] && !fused.is_tile(id)) {
                    let len = fused.buffer(id).shape.len_at(1);
                    let at = place(&mut kept.prepared, len);
                    places[id.index()] = Some(Location::Prepared(at));
                    kept.parts.push(KeptPart { kernel: index, content: KeptContent::Value(id), at, len });
                }
            }
            Some(Kept::Taps(_)) => {
                let dot = kernel.dot.as_ref().and_then(|dot| dot.winograd.as_ref());
                let windows = dot.expect("it was tiled in this form");
                let len = winograd::ahead_len(windows.channels, windows.cols);
                let at = place(&mut kept.prepared, len);
                kept.parts.push(KeptPart { kernel: index, content: KeptContent::Taps, at, len });
            }
            Some(Kept::Right(_)) => {
                let dot = kernel.dot.as_ref().expect("what is rearranged is the right operand of a product");
                let len = gemm::packed_b_len(kernel.cols(), dot.inner().factor());
                let at = place(&mut kept.packed, len);
                kept.parts.push(KeptPart { kernel: index, content: KeptContent::Packed, at, len });
                let [_, [_, col]] = kernel.dot_steps();
                let rows = kernel.row_count().at(1);
                let few = few_in_place(&tiling.machine, [kernel.cols(), dot.inner().factor()], col as usize);
                kept.read_from = kept.read_from.min(few / rows + 1);
                // One call packs each panel once anyway, and nothing is written to memory for it; but a loop would at every step.
                let once = if tiling.machine.cores > 1 { tiling.skinny_rows } else { tiling.m_tile };
                let repaid = if kernel.times() > 1 { few } else { once };
                kept.repaid_from = kept.repaid_from.min(repaid / rows + 1);
            }
        }
    }
    kept
}

impl KeptPlan {
    /// What is kept of a kernel.
    pub fn of(&self, kernel: usize) -> impl Iterator<Item = &KeptPart> {
        let from = self.parts.partition_point(|part| part.kernel < kernel);
        self.parts[from..].iter().take_while(move |part| part.kernel == kernel)
    }
}
