//! Which element is meant at which point: offsets that are affine in the axes.

use std::fmt;

/// A number for each point of a loop nest: a constant, and a step along each axis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affine {
    /// At the origin.
    pub constant: i64,
    /// What each axis adds from point to point.
    pub steps: Vec<i64>,
}

impl Affine {
    /// The axes along which it changes.
    pub fn axes(&self) -> AxisSet {
        let moving = self.steps.iter().enumerate().filter(|(_, step)| **step != 0);
        moving.fold(AxisSet::NONE, |set, (axis, _)| set.with(axis))
    }
}

/// Which element of a buffer is read or written at a point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Its place, in elements from the beginning of the buffer.
    pub at: Affine,
}

/// Some axes of a kernel.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisSet(u32);

impl AxisSet {
    /// None of them.
    pub const NONE: AxisSet = AxisSet(0);

    /// The axes of a range.
    pub fn range(axes: std::ops::Range<usize>) -> AxisSet {
        axes.fold(AxisSet::NONE, AxisSet::with)
    }

    /// One more.
    pub fn with(self, axis: usize) -> AxisSet {
        AxisSet(self.0 | 1 << axis)
    }

    /// Those of both.
    pub fn union(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 | other.0)
    }

    /// Those that are in both.
    pub fn intersection(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 & other.0)
    }

    /// Those that are not in the other.
    pub fn without(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 & !other.0)
    }

    /// Whether an axis is among them.
    pub fn contains(self, axis: usize) -> bool {
        self.0 >> axis & 1 == 1
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The axes, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |&axis| self.contains(axis))
    }
}

impl fmt::Debug for AxisSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
