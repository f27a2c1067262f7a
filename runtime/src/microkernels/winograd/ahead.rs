//! What is prefetched while transformed operands are multiplied: what the transforms, and what follows the product, read and write soon.
//!
//! In: memory that is needed soon. Out: hints, some at a time between products, which leave the machine room for them: all at once
//! would wait for one another. A row of an image is a page or less, and the machine's own prefetcher begins anew in each.

use crate::microkernels::prefetch;

/// Floats of a cache line.
const LINE: usize = 16;

/// Some memory, of which each of several steps prefetches a part.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    at: *const f32,
    lines: usize,
}

impl Ahead {
    /// None.
    pub(super) const NOTHING: Ahead = Ahead { at: core::ptr::null(), lines: 0 };

    /// So many floats from an address on, which may be any.
    #[inline]
    pub(super) fn of(at: *const f32, floats: usize) -> Ahead {
        Ahead { at, lines: floats / LINE }
    }

    /// One of so many parts.
    #[inline]
    pub(super) fn part(self, number: usize, parts: usize) -> Ahead {
        let lines = self.lines.div_ceil(parts);
        Ahead { at: self.at.wrapping_add(number * lines * LINE), lines }
    }

    /// Asks for what is prefetched in one step of several, of which each asks for so many lines.
    #[inline(always)]
    pub(super) fn prefetch(&self, step: usize, lines: usize) {
        for line in step * lines..(step + 1) * lines {
            prefetch::line(self.at.wrapping_add(line * LINE).cast());
        }
    }

    /// How many lines each of so many steps asks for.
    #[inline(always)]
    pub(super) fn each(&self, steps: usize) -> usize {
        self.lines.div_ceil(steps)
    }
}
