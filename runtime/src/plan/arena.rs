//! Where there is room: offsets in the arena and in scratch, kernel by kernel.

use std::collections::BTreeMap;

use super::{Allocation, Content, padded};

/// First fit over time: what is taken by one kernel is free again after its last use.
#[derive(Default)]
pub(super) struct Arena {
    /// All that was laid out.
    pub allocations: Vec<Allocation>,
    /// Length without scratch.
    pub len: usize,
    /// The most scratch that a kernel takes, with the tiles of its group.
    pub scratch: usize,
    /// Scratch that the present kernel has taken, and the tiles before it.
    scratch_taken: usize,
    /// The tiles of the present group that are still to be read: offset, length, last kernel.
    tiles: Vec<(usize, usize, usize)>,
    /// The sum of all lengths taken.
    pub total: usize,
    /// The present kernel.
    now: usize,
    /// Offset to (length, last kernel) of what is in use.
    taken: BTreeMap<usize, (usize, usize)>,
    /// Last kernel to the offsets that it gives back, unless they have been taken over.
    ends: BTreeMap<usize, Vec<usize>>,
    /// Offset to length of the room between what is in use.
    gaps: BTreeMap<usize, usize>,
    /// The end of what is in use.
    end: usize,
}

impl Arena {
    /// Moves on to kernel `now` and frees what neither it nor a later one reads.
    pub(super) fn release(&mut self, now: usize) {
        self.now = now;
        self.tiles.retain(|&(.., last)| last >= now);
        self.scratch_taken = self.tiles.iter().map(|(at, len, _)| at + len).max().unwrap_or(0);
        while let Some(entry) = self.ends.first_entry().filter(|entry| *entry.key() < now) {
            let (last, offsets) = entry.remove_entry();
            for at in offsets {
                if let Some((len, _)) = self.taken.get(&at).copied().filter(|(_, current)| *current == last) {
                    self.taken.remove(&at);
                    self.free(at, len);
                }
            }
        }
    }

    /// Joins the room with that on both sides.
    fn free(&mut self, mut at: usize, len: usize) {
        let mut end = at + len;
        if let Some((&start, &before)) = self.gaps.range(..at).next_back()
            && start + before == at
        {
            self.gaps.remove(&start);
            at = start;
        }
        if let Some(behind) = self.gaps.remove(&end) {
            end += behind;
        }
        if end == self.end {
            self.end = at;
        } else {
            self.gaps.insert(at, end - at);
        }
    }

    /// Puts a value where another is that the present kernel or an earlier one of its group reads for the last time.
    pub(super) fn take_over(&mut self, content: Content, at: usize, len: usize, last: usize) {
        let len = padded(len.max(1));
        self.occupy(at, len, last);
        self.allocations.push(Allocation { content, at, len, first: self.now, last });
        self.total += len;
    }

    /// Puts a tile where there is room in scratch until its last use. Other scratch of the kernel comes after all tiles.
    pub(super) fn take_tile(&mut self, content: Content, len: usize, last: usize) -> usize {
        let len = padded(len.max(1));
        self.tiles.sort_unstable();
        let at =
            self.tiles.iter().fold((0, false), |(at, found), &(start, other, _)| match found || start - at >= len {
                true => (at, true),
                false => (start + other, false),
            });
        self.tiles.push((at.0, len, last));
        self.scratch_taken = self.scratch_taken.max(at.0 + len);
        self.scratch = self.scratch.max(self.scratch_taken);
        self.allocations.push(Allocation { content, at: at.0, len, first: self.now, last });
        at.0
    }

    /// Puts something where there is room until its last use.
    pub(super) fn take(&mut self, content: Content, len: usize, last: usize) -> usize {
        let len = padded(len.max(1));
        if content.is_scratch() {
            let at = self.scratch_taken;
            self.scratch_taken += len;
            self.scratch = self.scratch.max(self.scratch_taken);
            self.allocations.push(Allocation { content, at, len, first: self.now, last: self.now });
            return at;
        }
        let gap = self.gaps.iter().find(|(_, room)| **room >= len).map(|(&at, &room)| (at, room));
        let at = match gap {
            Some((at, room)) => {
                self.gaps.remove(&at);
                if room > len {
                    self.gaps.insert(at + len, room - len);
                }
                at
            }
            None => {
                self.end += len;
                self.end - len
            }
        };
        self.occupy(at, len, last);
        self.allocations.push(Allocation { content, at, len, first: self.now, last });
        self.len = self.len.max(at + len);
        self.total += len;
        at
    }

    fn occupy(&mut self, at: usize, len: usize, last: usize) {
        self.taken.insert(at, (len, last));
        // A result is never given back.
        if last < usize::MAX {
            self.ends.entry(last).or_default().push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;
    use crate::init::Random;
    use crate::kernel::BufferId;
    use crate::plan::Content;

    /// Room is looked for from the beginning, among all that is in use.
    #[test]
    fn everything_lies_in_the_first_room_that_is_large_enough() {
        let mut random = Random::new(1, 0);
        let mut below = |bound: u64| random.below(bound) as usize;
        let (mut arena, mut used) = (Arena::default(), Vec::<(usize, usize, usize)>::new());
        for now in 0..400 {
            arena.release(now);
            used.retain(|&(.., last)| last >= now);
            for id in 0..below(4) {
                let (content, len) = (Content::Value(BufferId(id as u32)), 16 * (1 + below(6)));
                let last = if below(40) == 0 { usize::MAX } else { now + below(30) };
                let dying = used.iter().position(|&(_, other, last)| other == len && last == now);
                if let Some(dying) = dying.filter(|_| below(2) == 0) {
                    let (at, ..) = used.swap_remove(dying);
                    arena.take_over(content, at, len, last);
                    used.push((at, len, last));
                    continue;
                }
                used.sort_unstable();
                let wanted =
                    used.iter().fold((0, false), |(at, found), &(start, other, _)| match found || start - at >= len {
                        true => (at, true),
                        false => (start + other, false),
                    });
                assert_eq!(arena.take(content, len, last), wanted.0, "in kernel {now}");
                used.push((wanted.0, len, last));
            }
        }
        assert!(arena.allocations.len() > 400 && arena.len < arena.total / 2);
    }
}
