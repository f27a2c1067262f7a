//! Floats that start on a cache line, and large ones on a large page; and what is said where there is no memory for them.

use crate::compile::Program;
use crate::elaborate::words::{bytes, size};
use crate::error::BuildError;
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
        let alignment = alignment(len);
        // What is left in front of the first float is never touched, so it takes no memory.
        let floats = pages::zeros(len.checked_add(alignment)?)?;
        let start = floats.as_ptr().align_offset(4 * alignment);
        // A pointer that cannot be aligned is still a pointer to floats; only speed is lost.
        let mut buffer = Buffer { floats, start: if start <= alignment { start } else { 0 }, len };
        pages::prefer_large(buffer.floats_mut());
        Some(buffer)
    }

    /// The same floats in memory of their own, or `None` if there is none.
    pub(super) fn try_clone(&self) -> Option<Buffer> {
        let mut clone = Buffer::new(self.len)?;
        clone.floats_mut().copy_from_slice(self.floats());
        Some(clone)
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

/// Room for the parameters of a program, all 0.
///
/// # Errors
/// No memory for it.
pub(super) fn params(program: &Program) -> Result<Buffer, BuildError> {
    Buffer::new(program.params_len).ok_or_else(|| {
        // Of equals the last: a parameter rather than what the optimizer keeps of it.
        let largest = program.slots.params.iter().rev().max_by_key(|slot| slot.len());
        let largest = largest
            .map(|slot| format!(", the largest `{}` {:?}", slot.name, slot.declared_shape()))
            .unwrap_or_default();
        no_memory(
            &format!("{} parameters and parts of the optimizer's state{largest}", program.slots.params.len()),
            program.params_len,
        )
    })
}

/// Room for what a program computes from `max_batch` rows.
///
/// # Errors
/// No memory for it.
pub(super) fn arena(program: &Program, max_batch: usize) -> Result<Buffer, BuildError> {
    Buffer::scratch(program.arena).ok_or_else(|| {
        let what = format!("what is computed from {max_batch} rows, the largest {}", program.largest);
        no_memory(&what, program.arena)
    })
}

/// The error for so many numbers of something.
pub(super) fn no_memory(what: &str, len: usize) -> BuildError {
    BuildError::NoMemory { what: format!("{what}: {} in all", bytes(size(&[len]))) }
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
            let clone = buffer.try_clone().expect("a few floats");
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
            assert_eq!(buffer.try_clone().expect("a few megabytes").floats(), buffer.floats());
        }
    }
}
