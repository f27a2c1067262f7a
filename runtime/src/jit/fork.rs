//! Whether a process is a copy that `fork` made of another: such a copy has none of the other's threads.
//!
//! The number of a process does not tell: in a namespace of its own a copy may have the same one, and asking for it is a call
//! of the system. So copies are counted as they begin, in their own memory.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many times this process, or one that it is a copy of, was copied since copies are counted.
static COPIES: AtomicU32 = AtomicU32::new(0);

/// A process, told from all that are copied from it.
#[derive(Debug)]
pub(super) struct Process(u32);

impl Process {
    /// The one that runs this.
    ///
    /// # Errors
    /// The system has no room to note that copies are to be counted.
    pub(super) fn current() -> io::Result<Process> {
        count_copies()?;
        Ok(Process(COPIES.load(Ordering::Relaxed)))
    }

    /// Whether it is the one that runs this, and no copy.
    pub(super) fn is_current(&self) -> bool {
        COPIES.load(Ordering::Relaxed) == self.0
    }
}

/// From the first call on, every copy counts itself.
#[cfg(unix)]
fn count_copies() -> io::Result<()> {
    use std::ffi::c_int;
    use std::sync::OnceLock;

    type Handler = Option<unsafe extern "C" fn()>;
    unsafe extern "C" {
        // Of POSIX; the crate `libc` has it for some systems only.
        fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
    }
    unsafe extern "C" fn count() {
        COPIES.fetch_add(1, Ordering::Relaxed);
    }
    static REFUSAL: OnceLock<c_int> = OnceLock::new();
    // SAFETY: the handler may run in a copy of a process with threads, as it takes no lock and no memory, and it is there as
    // long as the program.
    let refusal = *REFUSAL.get_or_init(|| unsafe { pthread_atfork(None, None, Some(count)) });
    if refusal == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(refusal)) }
}

#[cfg(not(unix))]
fn count_copies() -> io::Result<()> {
    Ok(())
}
