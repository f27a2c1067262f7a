//! How long kernels take, roughly: what decides whether threads are worth a meeting.

use crate::kernel::Fused;

use super::Tiling;

impl Tiling {
    /// Roughly how long a kernel takes on one thread: its product at the machine's peak, or for few rows as long as the right
    /// operand takes to be read; and each of its elements in every step. In a loop, all of
    /// its steps.
    pub fn nanoseconds(&self, fused: &Fused, index: usize, batch: usize) -> f64 {
        let (kernel, machine) = (&fused.kernels[index], &self.machine);
        let (rows, cols) = (kernel.row_count().at(batch) as f64, kernel.cols() as f64);
        let inner = kernel.dot.as_ref().map_or(0, |dot| dot.inner().at(batch)) as f64;
        let rate = if self.resident { machine.cache_bandwidth } else { machine.bandwidth };
        let product = (2.0 * inner * rows * cols / machine.peak).max(4.0 * inner * cols / rate);
        let steps = kernel.body.len() + kernel.writes.len();
        (product + rows * cols * steps as f64 / machine.elements) * kernel.times() as f64
    }
}
