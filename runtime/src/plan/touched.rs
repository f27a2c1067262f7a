//! Who touched a part of memory last.
//!
//! In: what each region reads and writes. Out: the last region that something has to wait for. The arena is kept as parts that
//! nobody has touched differently, so that the answer takes as long as there are parts, however many regions there are.

use std::collections::{BTreeMap, HashMap};

/// Memory that several kernels may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryRegion {
    /// A part of the arena: its offset and its length.
    Arena(usize, usize),
    /// A parameter.
    Param(usize),
}

/// What a kernel reads and writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    pub(super) reads: Vec<MemoryRegion>,
    pub(super) writes: Vec<MemoryRegion>,
}

impl Access {
    /// Of other work as well.
    pub(super) fn extend(&mut self, other: &Access) {
        self.reads.extend(&other.reads);
        self.writes.extend(&other.writes);
    }
}

/// The last regions that read and wrote a part of memory.
#[derive(Clone, Copy, Debug, Default)]
struct Users {
    read: Option<usize>,
    written: Option<usize>,
}

impl Users {
    /// The last region that has to be over before this part is read, or written.
    fn before(self, write: bool) -> Option<usize> {
        if write { self.read.max(self.written) } else { self.written }
    }

    fn add(&mut self, region: usize, write: bool) {
        let user = if write { &mut self.written } else { &mut self.read };
        *user = Some(region).max(*user);
    }
}

/// What all regions so far have touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Offset to end and users, of parts that do not overlap.
    arena: BTreeMap<usize, (usize, Users)>,
    params: HashMap<usize, Users>,
}

impl Touched {
    /// The last region that touches what is written here, or writes what is read here.
    pub(super) fn before(&self, access: &Access) -> Option<usize> {
        let each = |write: bool| move |&region: &MemoryRegion| self.before_region(region, write);
        access.reads.iter().filter_map(each(false)).chain(access.writes.iter().filter_map(each(true))).max()
    }

    fn before_region(&self, region: MemoryRegion, write: bool) -> Option<usize> {
        match region {
            MemoryRegion::Param(param) => self.params.get(&param)?.before(write),
            MemoryRegion::Arena(at, len) => {
                let across = self.arena.range(..at).next_back().filter(|(_, (end, _))| *end > at);
                let parts = across.into_iter().chain(self.arena.range(at..at + len));
                parts.filter_map(|(_, (_, users))| users.before(write)).max()
            }
        }
    }

    /// A region touches this as well.
    pub(super) fn add(&mut self, parallel: usize, access: &Access) {
        access.reads.iter().for_each(|&region| self.add_region(parallel, region, false));
        access.writes.iter().for_each(|&region| self.add_region(parallel, region, true));
    }

    fn add_region(&mut self, parallel: usize, region: MemoryRegion, write: bool) {
        match region {
            MemoryRegion::Param(param) => self.params.entry(param).or_default().add(parallel, write),
            MemoryRegion::Arena(at, len) => {
                self.cut(at);
                self.cut(at + len);
                self.fill(at, at + len);
                self.arena.range_mut(at..at + len).for_each(|(_, (_, users))| users.add(parallel, write));
            }
        }
    }

    /// Sees to it that no part goes across an offset.
    fn cut(&mut self, at: usize) {
        if let Some((_, part)) = self.arena.range_mut(..at).next_back()
            && part.0 > at
        {
            let behind = std::mem::replace(&mut part.0, at);
            let users = part.1;
            self.arena.insert(at, (behind, users));
        }
    }

    /// Makes parts of what nobody has touched.
    fn fill(&mut self, at: usize, end: usize) {
        let mut from = at;
        let mut holes = Vec::new();
        for (&start, &(behind, _)) in self.arena.range(at..end) {
            holes.extend((start > from).then_some((from, start)));
            from = behind;
        }
        holes.extend((end > from).then_some((from, end)));
        self.arena.extend(holes.into_iter().map(|(at, end)| (at, (end, Users::default()))));
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, MemoryRegion, Touched};
    use crate::init::Random;

    fn meet(x: MemoryRegion, y: MemoryRegion) -> bool {
        match (x, y) {
            (MemoryRegion::Arena(at, len), MemoryRegion::Arena(other, other_len)) => {
                at < other + other_len && other < at + len
            }
            (MemoryRegion::Param(index), MemoryRegion::Param(other)) => index == other,
            _ => false,
        }
    }

    #[test]
    fn the_last_phase_to_wait_for_is_the_last_that_conflicts() {
        let mut random = Random::new(2, 0);
        let mut below = |bound: u64| random.below(bound) as usize;
        let (mut touched, mut all) = (Touched::default(), Vec::<(usize, Access)>::new());
        for _ in 0..600 {
            let mut regions = || {
                let mut region = || match below(4) {
                    0 => MemoryRegion::Param(below(5)),
                    _ => MemoryRegion::Arena(16 * below(40), 16 * (1 + below(9))),
                };
                (0..2).map(|_| region()).collect::<Vec<MemoryRegion>>()
            };
            let access = Access { reads: regions(), writes: regions() };
            let any = |x: &[MemoryRegion], y: &[MemoryRegion]| x.iter().any(|&x| y.iter().any(|&y| meet(x, y)));
            let conflicts = |other: &Access| {
                any(&access.writes, &other.writes)
                    || any(&access.writes, &other.reads)
                    || any(&access.reads, &other.writes)
            };
            let wanted = all.iter().filter(|(_, other)| conflicts(other)).map(|(region, _)| *region).max();
            assert_eq!(touched.before(&access), wanted);
            let region = below(30);
            touched.add(region, &access);
            all.push((region, access));
            if all.len() % 40 == 0 {
                (touched, all) = (Touched::default(), Vec::new());
            }
        }
    }
}
