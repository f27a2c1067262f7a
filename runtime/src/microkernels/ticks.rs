//! A clock that compiled code reads: when the kernels of a timed program end. Every thread keeps its own times.

use std::cell::RefCell;
use std::time::Instant;

thread_local! {
    static TICKS: RefCell<Vec<(usize, Instant)>> = const { RefCell::new(Vec::new()) };
}

/// What compiled code calls before the first kernel and after each, or after each tile of one: the time since the last call is that
/// of this kernel.
pub extern "C" fn tick(kernel: usize) {
    TICKS.with_borrow_mut(|ticks| ticks.push((kernel, Instant::now())));
}

/// Forgets the times of this thread.
pub fn clear() {
    TICKS.with_borrow_mut(Vec::clear);
}

/// How long each kernel took since [`clear`], in seconds, in order; those that did not run are left out.
pub fn spans() -> Vec<(usize, f64)> {
    let mut spans: Vec<(usize, f64)> = Vec::new();
    TICKS.with_borrow(|ticks| {
        spans.extend(ticks.windows(2).map(|pair| (pair[1].0, (pair[1].1 - pair[0].1).as_secs_f64())));
    });
    spans.sort_by_key(|&(kernel, _)| kernel);
    spans.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        sum.1 += if same { next.1 } else { 0.0 };
        same
    });
    spans
}
