//! Floats that start on a cache line.

/// A block of zeros at first, aligned to 64 bytes.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    floats: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    pub(super) fn new(len: usize) -> Buffer {
        let floats = vec![0.0; len + 16];
        let start = floats.as_ptr().align_offset(64);
        // A pointer that cannot be aligned is still a pointer to floats; only speed is lost.
        Buffer { floats, start: if start <= 16 { start } else { 0 }, len }
    }

    /// Makes room for `len` floats. What was there is lost if it has to move.
    pub(super) fn grow(&mut self, len: usize) {
        if len > self.len {
            *self = Buffer::new(len);
        }
    }

    pub(super) fn floats(&self) -> &[f32] {
        &self.floats[self.start..self.start + self.len]
    }

    pub(super) fn floats_mut(&mut self) -> &mut [f32] {
        &mut self.floats[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn floats_start_on_a_cache_line_and_end_where_they_should() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut buffer = Buffer::new(len);
            assert_eq!(buffer.floats().len(), len);
            assert_eq!(buffer.floats_mut().as_ptr() as usize % 64, 0);
        }
    }
}
