//! How long each kernel of a timed program takes: compiled code calls in between, and every thread keeps its own times.

use std::cell::RefCell;
use std::time::Instant;

use super::Code;
use crate::memory::Memory;

thread_local! {
    static TICKS: RefCell<Vec<Instant>> = const { RefCell::new(Vec::new()) };
}

/// What compiled code calls before the first kernel and behind each.
pub(super) extern "C" fn tick() {
    TICKS.with_borrow_mut(|ticks| ticks.push(Instant::now()));
}

impl Code {
    /// Runs a program that was compiled to be timed, and passes on the number of each kernel with how long it took, in
    /// seconds. Says whether loss and statistics are finite; if not, the last kernels did not run.
    ///
    /// # Panics
    /// As [`Code::run`].
    pub fn run_timed(&self, memory: Memory<'_>, mut took: impl FnMut(usize, f64)) -> bool {
        TICKS.with_borrow_mut(Vec::clear);
        let finite = self.run(memory);
        TICKS.with_borrow(|ticks| {
            let spans = ticks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
            spans.enumerate().for_each(|(kernel, seconds)| took(kernel, seconds));
        });
        finite
    }
}
