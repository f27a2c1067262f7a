//! Who touched a part of memory last.
//!
//! In: what each phase reads and writes. Out: the last phase that something has to wait for. The arena is kept as parts that
//! nobody has touched differently, so that the answer takes as long as there are parts, however many phases there are.

use std::collections::{BTreeMap, HashMap};

/// Memory that several kernels may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// A part of the arena: its offset and its length.
    Arena(usize, usize),
    /// A parameter.
    Param(usize),
}

/// What a kernel reads and writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    pub(super) reads: Vec<Region>,
    pub(super) writes: Vec<Region>,
}

impl Access {
    /// Of other work as well.
    pub(super) fn extend(&mut self, other: &Access) {
        self.reads.extend(&other.reads);
        self.writes.extend(&other.writes);
    }
}

/// The last phases that read and wrote a part of memory.
#[derive(Clone, Copy, Debug, Default)]
struct Users {
    read: Option<usize>,
    written: Option<usize>,
}

impl Users {
    /// The last phase that has to be over before this part is read, or written.
    fn before(self, write: bool) -> Option<usize> {
        if write { self.read.max(self.written) } else { self.written }
    }

    fn add(&mut self, phase: usize, write: bool) {
        let user = if write { &mut self.written } else { &mut self.read };
        *user = Some(phase).max(*user);
    }
}

/// What all phases so far have touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Offset to end and users, of parts that do not overlap.
    arena: BTreeMap<usize, (usize, Users)>,
    params: HashMap<usize, Users>,
}

impl Touched {
    /// The last phase that touches what is written here, or writes what is read here.
    pub(super) fn before(&self, access: &Access) -> Option<usize> {
        let each = |write: bool| move |&region: &Region| self.before_region(region, write);
        access.reads.iter().filter_map(each(false)).chain(access.writes.iter().filter_map(each(true))).max()
    }

    fn before_region(&self, region: Region, write: bool) -> Option<usize> {
        match region {
            Region::Param(param) => self.params.get(&param)?.before(write),
            Region::Arena(at, len) => {
                let across = self.arena.range(..at).next_back().filter(|(_, (end, _))| *end > at);
                let parts = across.into_iter().chain(self.arena.range(at..at + len));
                parts.filter_map(|(_, (_, users))| users.before(write)).max()
            }
        }
    }

    /// A phase touches this as well.
    pub(super) fn add(&mut self, phase: usize, access: &Access) {
        access.reads.iter().for_each(|&region| self.add_region(phase, region, false));
        access.writes.iter().for_each(|&region| self.add_region(phase, region, true));
    }

    fn add_region(&mut self, phase: usize, region: Region, write: bool) {
        match region {
            Region::Param(param) => self.params.entry(param).or_default().add(phase, write),
            Region::Arena(at, len) => {
                self.cut(at);
                self.cut(at + len);
                self.fill(at, at + len);
                self.arena.range_mut(at..at + len).for_each(|(_, (_, users))| users.add(phase, write));
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
    use super::{Access, Region, Touched};
    use crate::init::Random;

    fn meet(x: Region, y: Region) -> bool {
        match (x, y) {
            (Region::Arena(at, len), Region::Arena(other, other_len)) => at < other + other_len && other < at + len,
            (Region::Param(index), Region::Param(other)) => index == other,
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
                    0 => Region::Param(below(5)),
                    _ => Region::Arena(16 * below(40), 16 * (1 + below(9))),
                };
                (0..2).map(|_| region()).collect::<Vec<Region>>()
            };
            let access = Access { reads: regions(), writes: regions() };
            let any = |x: &[Region], y: &[Region]| x.iter().any(|&x| y.iter().any(|&y| meet(x, y)));
            let conflicts = |other: &Access| {
                any(&access.writes, &other.writes)
                    || any(&access.writes, &other.reads)
                    || any(&access.reads, &other.writes)
            };
            let wanted = all.iter().filter(|(_, other)| conflicts(other)).map(|(phase, _)| *phase).max();
            assert_eq!(touched.before(&access), wanted);
            let phase = below(30);
            touched.add(phase, &access);
            all.push((phase, access));
            if all.len() % 40 == 0 {
                (touched, all) = (Touched::default(), Vec::new());
            }
        }
    }
}
