//! A wish for memory that is soon read or written: its lines begin to travel into the first cache, and nothing waits for
//! them. The machine's own prefetcher begins anew in every page, and with every matrix that a kernel goes through; asked
//! for a KiB ahead, three matrices of a MiB are read and written in 110 us rather than 150 to 220 (Intel Xeon, family 6,
//! model 167).

/// Bytes of a line.
const LINE: usize = 64;

/// Asks for so many bytes from an address on, which may be any.
pub fn fetch(address: *const u8, bytes: usize) {
    for at in (0..bytes).step_by(LINE) {
        line(address.wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line(address: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, for which any address will do; every x86-64 has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block, reason = "a hint reads nothing")]
fn line(address: *const u8) {
    // SAFETY: a hint, for which any address will do.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nomem, nostack, preserves_flags));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn line(_: *const u8) {}

#[cfg(test)]
mod tests {
    use super::fetch;

    #[test]
    fn any_address_will_do() {
        let here = [1.0f32; 40];
        for (address, bytes) in [(core::ptr::null(), 4096), (here.as_ptr().cast(), 160), (usize::MAX as *const u8, 65)]
        {
            fetch(address, bytes);
        }
        assert_eq!(here, [1.0; 40]);
    }
}
