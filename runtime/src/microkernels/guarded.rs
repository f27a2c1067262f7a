//! Memory next to pages that may not be touched: a test that reads or writes outside ends there and then.

/// A buffer that ends, or begins, at a page without access.
pub(crate) struct Guarded {
    pages: *mut u8,
    mapped: usize,
    /// Its first float.
    pub data: *mut f32,
    /// How many floats there are.
    len: usize,
}

/// Bytes of a page.
const PAGE: usize = 4096;

impl Guarded {
    pub(crate) fn new(values: &[f32], guard_after: bool) -> Guarded {
        let bytes = size_of_val(values);
        let inner = bytes.next_multiple_of(PAGE);
        let mapped = inner + 2 * PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: fresh pages, of which only the inner ones are opened and written.
        unsafe {
            let pages = libc::mmap(core::ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0).cast::<u8>();
            assert_ne!(pages.cast(), libc::MAP_FAILED);
            assert_eq!(libc::mprotect(pages.add(PAGE).cast(), inner, libc::PROT_READ | libc::PROT_WRITE), 0);
            let data = pages.add(PAGE + if guard_after { inner - bytes } else { 0 }).cast::<f32>();
            data.copy_from_nonoverlapping(values.as_ptr(), values.len());
            Guarded { pages, mapped, data, len: values.len() }
        }
    }

    /// Takes a page of a buffer of whole pages away, which begins with this float.
    #[cfg(feature = "jit")]
    pub(crate) fn close(&mut self, at: usize) {
        assert!((4 * at).is_multiple_of(PAGE) && (4 * self.len).is_multiple_of(PAGE) && at < self.len);
        // SAFETY: a page of this buffer, as asserted, and nobody has borrowed it.
        assert_eq!(unsafe { libc::mprotect(self.data.add(at).cast(), PAGE, libc::PROT_NONE) }, 0);
    }

    pub(crate) fn floats(&self) -> &[f32] {
        // SAFETY: so many floats, written by `new`.
        unsafe { core::slice::from_raw_parts(self.data, self.len) }
    }

    /// The same as class ids.
    #[allow(dead_code, reason = "read by the integration tests, which have this file too")]
    pub(crate) fn ids(&self) -> &[u32] {
        // SAFETY: as above; every float is a number of 32 bits.
        unsafe { core::slice::from_raw_parts(self.data.cast(), self.len) }
    }

    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed by nobody else.
        unsafe { core::slice::from_raw_parts_mut(self.data, self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody keeps a pointer longer than the buffer.
        unsafe { libc::munmap(self.pages.cast(), self.mapped) };
    }
}
