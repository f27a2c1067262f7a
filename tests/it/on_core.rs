//! How long something computes, whatever else the machine does meanwhile.

use std::fs;
use std::time::{Duration, Instant};

/// Runs something that no other thread takes part in. Gives the time that it had a core, where the system tells, else the time that
/// went by.
pub fn on_core<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let (start, before) = (Instant::now(), used());
    let result = run();
    let went_by = start.elapsed();
    let used = used().zip(before).map(|(after, before)| after.saturating_sub(before));
    (result, used.unwrap_or(went_by))
}

/// For how long this thread has had a core since it began: the first number that Linux has in this file, up to the last tick.
fn used() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[test]
fn waiting_is_no_work() {
    let ((), waited) = on_core(|| std::thread::sleep(Duration::from_millis(300)));
    let start = Instant::now();
    let (rounds, worked) = on_core(|| (0..).take_while(|_| start.elapsed() < Duration::from_millis(300)).count());
    assert!(rounds > 0 && (used().is_none() || waited < worked), "{waited:?} of waiting, {worked:?} of work");
}
