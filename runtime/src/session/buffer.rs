//! Floats that start on a cache line, and large ones on a large page.

use crate::microkernels::pages;

/// A block of zeros at first, aligned to 64 bytes, or to a large page if it fills one.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    floats: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Zeros, or `None` if there is no memory for them.
    pub(super) fn new(len: usize) -> Option<Buffer> {
        // Asks before it takes: a vector of zeros would end the process.
        Vec::<f32>::new().try_reserve_exact(len + alignment(len)).ok()?;
        Some(Buffer::zeros(len))
    }

    /// Zeros. Ends the process if there is no memory for them, as every vector does.
    pub(super) fn zeros(len: usize) -> Buffer {
        let alignment = alignment(len);
        // What is left in front of the first float is never touched, so it takes no memory.
        let floats = vec![0.0; len + alignment];
        let start = floats.as_ptr().align_offset(4 * alignment);
        // A pointer that cannot be aligned is still a pointer to floats; only speed is lost.
        let mut buffer = Buffer { floats, start: if start <= alignment { start } else { 0 }, len };
        pages::prefer_large(buffer.floats_mut());
        buffer
    }

    /// Scratch for `len` floats. In debug builds it is full of NaN, so that what is read before it is written shows.
    pub(super) fn scratch(len: usize) -> Option<Buffer> {
        let mut buffer = Buffer::new(len)?;
        if cfg!(debug_assertions) {
            buffer.floats_mut().fill(f32::NAN);
        }
        Some(buffer)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn floats(&self) -> &[f32] {
        &self.floats[self.start..self.start + self.len]
    }

    pub(super) fn floats_mut(&mut self) -> &mut [f32] {
        &mut self.floats[self.start..self.start + self.len]
    }
}

/// In floats.
fn alignment(len: usize) -> usize {
    if len >= pages::LARGE { pages::LARGE } else { 16 }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        let mut clone = Buffer::zeros(self.len);
        clone.floats_mut().copy_from_slice(self.floats());
        clone
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;
    use crate::microkernels::pages::LARGE;

    #[test]
    fn floats_start_on_a_cache_line_and_end_where_they_should() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut buffer = Buffer::new(len).expect("a few floats");
            assert_eq!(buffer.floats().len(), len);
            buffer.floats_mut().fill(0.5);
            let clone = buffer.clone();
            assert_eq!(clone.floats(), buffer.floats());
            for buffer in [buffer, clone] {
                assert_eq!(buffer.floats().as_ptr() as usize % 64, 0);
            }
        }
    }

    #[test]
    fn what_fills_a_large_page_starts_on_one() {
        for len in [LARGE, 2 * LARGE + 5] {
            let mut buffer = Buffer::new(len).expect("a few megabytes");
            assert_eq!((buffer.floats().len(), buffer.floats().as_ptr() as usize % (4 * LARGE)), (len, 0));
            assert!(buffer.floats().iter().all(|float| *float == 0.0));
            buffer.floats_mut().fill(0.5);
            assert_eq!(buffer.clone().floats(), buffer.floats());
        }
    }
}
