//! Ctrl-C while a training runs: the first asks it to end after its step, the second ends the process.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many trainings listen.
static LISTENING: AtomicUsize = AtomicUsize::new(0);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// What a shell reports of a process that Ctrl-C ended.
const KILLED: i32 = 128 + 2;

/// Installed once, and only if the process has no handler of its own, whose business Ctrl-C then is.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let handler = || {
            if LISTENING.load(Ordering::SeqCst) == 0 || REQUESTED.swap(true, Ordering::SeqCst) {
                std::process::exit(KILLED);
            }
        };
        // Without a handler Ctrl-C ends the process at once, as it does elsewhere.
        let _ = ctrlc::try_set_handler(handler);
    });
}

/// A training that listens.
pub(in crate::fit) struct Interrupt(());

impl Interrupt {
    pub(in crate::fit) fn listen() -> Interrupt {
        install();
        LISTENING.fetch_add(1, Ordering::SeqCst);
        Interrupt(())
    }

    /// Whether there was a Ctrl-C since the first of the trainings that run began to listen.
    pub(in crate::fit) fn requested(&self) -> bool {
        REQUESTED.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if LISTENING.fetch_sub(1, Ordering::SeqCst) == 1 {
            REQUESTED.store(false, Ordering::SeqCst);
        }
    }
}
