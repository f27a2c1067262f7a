//! What is prefetched between the products of windows in the form of Winograd: what follows goes through it when some rows are done.
//!
//! The products stay in the first cache and leave the machine time for it. Rows of an image are a page or less, at the beginning of
//! which the machine's own prefetcher begins anew. Measured with a step of a residual network of 20 layers: 28.7 to 25.9 ms (AMD Zen 5).

use crate::kernel::{BufferId, Fused};

use super::{Tiling, tiles};

/// What is prefetched between the products of windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowPrefetch {
    /// The bytes of all rows.
    pub bytes: usize,
    /// Of which matrices, each with the rows and columns of the product, which may be one of them.
    pub matrices: Vec<BufferId>,
}

/// What is prefetched between the products of a kernel, if they are of windows and it does not stay in the second cache.
pub(super) fn decide(fused: &Fused, tiling: &Tiling, index: usize) -> Option<WindowPrefetch> {
    let kernel = &fused.kernels[index];
    kernel.winograd_windows()?;
    let mut matrices: Vec<BufferId> = tiles::matrices(fused, kernel).into_iter().collect();
    matrices.extend(fused.dot_buffer(kernel));
    matrices.retain(|&buffer| fused.is_computed(buffer) && !fused.is_tile(buffer));
    matrices.sort();
    matrices.dedup();
    let floats = kernel.row_count().at(tiling.max_batch).saturating_mul(kernel.cols());
    let bytes = floats.saturating_mul(4 * matrices.len());
    (bytes >= tiling.machine.reread()).then_some(WindowPrefetch { bytes, matrices })
}
