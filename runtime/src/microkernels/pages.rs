//! What is asked of the system's memory. Large pages: an address is found in one step less, and a few hundred addresses
//! that are pages apart, such as the rows of a panel, all stay known. Products with a million weights took 7 to 10 % less
//! time on a virtual machine.

use std::alloc::{self, Layout};

/// Floats of a large page: 2 MiB.
pub const LARGE: usize = 1 << 19;

/// So many zeros, or `None` if there is no memory for them. The system mostly has pages of zeros, which are not touched for that.
pub fn zeros(len: usize) -> Option<Vec<f32>> {
    if len == 0 {
        return Some(Vec::new());
    }
    let layout = Layout::array::<f32>(len).ok()?;
    // SAFETY: the layout is that of `len` floats, of which there is at least one.
    let floats = unsafe { alloc::alloc_zeroed(layout) };
    if floats.is_null() {
        return None;
    }
    // SAFETY: the allocator of all vectors gave memory of just this layout, and its bytes are zeros, which are floats.
    Some(unsafe { Vec::from_raw_parts(floats.cast(), len, len) })
}

/// Asks for large pages wherever the floats fill one. A wish: nothing but speed and the size of what is touched at once
/// depends on it, and systems other than Linux decide by themselves.
pub fn prefer_large(floats: &mut [f32]) {
    #[cfg(target_os = "linux")]
    {
        let before = floats.as_ptr().align_offset(4 * LARGE);
        let whole = floats.len().saturating_sub(before) / LARGE * LARGE;
        if whole > 0 {
            let first = floats[before..].as_mut_ptr();
            // SAFETY: the range lies inside the slice, so no other memory is affected, and the advice changes no content.
            // Its only failure is that it is not followed.
            unsafe { libc::madvise(first.cast(), 4 * whole, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = floats;
}

/// Gives memory that was freed back to the system, as far as the allocator of the C library has it. Compiling takes a few
/// megabytes for a moment, which training would never use again.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the allocator gives back only what nobody owns, and takes its own locks.
        unsafe { libc::malloc_trim(0) };
    }
}
