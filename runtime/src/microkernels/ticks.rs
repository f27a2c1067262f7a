//! A clock that compiled code reads: when the kernels of a timed program end. Every thread keeps its own times.

use std::cell::RefCell;
use std::time::Instant;

thread_local! {
    static TICKS: RefCell<Vec<Instant>> = const { RefCell::new(Vec::new()) };
}

/// What compiled code calls before the first kernel and after each.
pub extern "C" fn tick() {
    TICKS.with_borrow_mut(|ticks| ticks.push(Instant::now()));
}

/// Forgets the times of this thread.
pub fn clear() {
    TICKS.with_borrow_mut(Vec::clear);
}

/// How long each kernel took since [`clear`], in seconds.
pub fn spans() -> Vec<f64> {
    TICKS.with_borrow(|ticks| ticks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect())
}
