//! Where there is room: offsets in the arena and in scratch, kernel by kernel.

use std::collections::BTreeMap;

use super::{Content, Stretch, padded};

/// First fit over time: what is taken by one kernel is free again after its last use.
#[derive(Default)]
pub(super) struct Arena {
    /// All that was laid out.
    pub stretches: Vec<Stretch>,
    /// Length without scratch.
    pub len: usize,
    /// The most scratch that a kernel takes, with its prologue.
    pub scratch: usize,
    /// Scratch that the present kernel has taken, with its prologue.
    scratch_taken: usize,
    /// The sum of all lengths taken.
    pub total: usize,
    /// The present kernel.
    now: usize,
    /// Offset to (length, last kernel) of what is in use.
    taken: BTreeMap<usize, (usize, usize)>,
}

impl Arena {
    /// Moves on to kernel `now` and frees what neither it nor a later one reads. Scratch of its prologue stays.
    pub(super) fn release(&mut self, now: usize, prologue: bool) {
        self.now = now;
        if !prologue {
            self.scratch_taken = 0;
        }
        self.taken.retain(|_, (_, last)| *last >= now);
    }

    /// Puts a value where another is that the present kernel or its prologue reads for the last time.
    pub(super) fn take_over(&mut self, content: Content, at: usize, len: usize, last: usize) {
        let len = padded(len.max(1));
        self.taken.insert(at, (len, last));
        self.stretches.push(Stretch { content, at, len, first: self.now, last });
        self.total += len;
    }

    /// Puts something where there is room until its last use.
    pub(super) fn take(&mut self, content: Content, len: usize, last: usize) -> usize {
        let len = padded(len.max(1));
        if content.is_scratch() {
            let at = self.scratch_taken;
            self.scratch_taken += len;
            self.scratch = self.scratch.max(self.scratch_taken);
            self.stretches.push(Stretch { content, at, len, first: self.now, last });
            return at;
        }
        let mut at = 0;
        for (&start, &(length, _)) in &self.taken {
            if start - at >= len {
                break;
            }
            at = start + length;
        }
        self.taken.insert(at, (len, last));
        self.stretches.push(Stretch { content, at, len, first: self.now, last });
        self.len = self.len.max(at + len);
        self.total += len;
        at
    }
}
