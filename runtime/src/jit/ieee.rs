//! The mode in which the processor rounds and treats subnormals, held to IEEE-754 while compiled code runs.
//!
//! A host may have switched subnormals to zero, as audio programs and some libraries do; results would then depend on
//! who calls.

use std::arch::asm;

/// Restores the caller's mode when dropped.
pub(super) struct IeeeMode {
    before: u64,
}

/// Round to nearest, keep subnormals, raise nothing.
#[cfg(target_arch = "x86_64")]
const IEEE: u64 = 0x1f80;
/// Round to nearest, keep subnormals, raise nothing.
#[cfg(not(target_arch = "x86_64"))]
const IEEE: u64 = 0;
/// Sticky flags that say what happened; they are nobody's mode.
const FLAGS: u64 = if cfg!(target_arch = "x86_64") { 0x3f } else { 0 };

impl IeeeMode {
    /// Sets the mode, unless it is set.
    pub(super) fn enter() -> IeeeMode {
        let before = read();
        if before & !FLAGS != IEEE {
            write(IEEE);
        }
        IeeeMode { before }
    }
}

impl Drop for IeeeMode {
    fn drop(&mut self) {
        if self.before & !FLAGS != IEEE {
            write(self.before);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn read() -> u64 {
    let mut mode = 0u32;
    // SAFETY: the instruction stores four bytes to the variable and changes nothing else.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
    u64::from(mode)
}

#[cfg(target_arch = "x86_64")]
fn write(mode: u64) {
    let mode = mode as u32;
    // SAFETY: the value is the one that every program starts with, or one that was read before; `IeeeMode` restores the
    // caller's before any Rust arithmetic of the caller's runs.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, preserves_flags, readonly)) };
}

#[cfg(target_arch = "aarch64")]
fn read() -> u64 {
    let mode: u64;
    // SAFETY: the instruction reads a control register and changes nothing.
    unsafe { asm!("mrs {}, fpcr", out(reg) mode, options(nomem, nostack, preserves_flags)) };
    mode
}

#[cfg(target_arch = "aarch64")]
fn write(mode: u64) {
    // SAFETY: the value is the one that every program starts with, or one that was read before; `IeeeMode` restores the
    // caller's before any Rust arithmetic of the caller's runs.
    unsafe { asm!("msr fpcr, {}", in(reg) mode, options(nomem, nostack, preserves_flags)) };
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{IEEE, IeeeMode, read, write};

    #[test]
    fn a_caller_that_flushes_subnormals_gets_its_mode_back() {
        let flushing = IEEE | 0x8040;
        let original = read();
        write(flushing);
        let inside = {
            let _mode = IeeeMode::enter();
            read()
        };
        let after = read();
        write(original);
        assert_eq!((inside & 0x8040, after & 0x8040), (0, 0x8040));
    }
}
