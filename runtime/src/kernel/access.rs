//! Which element is meant at which point: offsets that are affine in the axes.

use std::fmt;

use crate::types::Dim;

/// A number for each point of a loop nest: a constant, and a step along each axis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affine {
    /// At the origin.
    pub constant: i64,
    /// What each axis adds from point to point.
    pub steps: Vec<i64>,
}

impl Affine {
    /// The same number at every point of so many axes.
    pub fn constant(constant: i64, axes: usize) -> Affine {
        Affine { constant, steps: vec![0; axes] }
    }

    /// The position along an axis.
    pub fn axis(axis: usize, axes: usize) -> Affine {
        let mut affine = Affine::constant(0, axes);
        affine.steps[axis] = 1;
        affine
    }

    /// The axes along which it changes.
    pub fn axes(&self) -> AxisSet {
        let moving = self.steps.iter().enumerate().filter(|(_, step)| **step != 0);
        moving.fold(AxisSet::NONE, |set, (axis, _)| set.with(axis))
    }

    /// Adds a multiple of another.
    pub fn add(&mut self, other: &Affine, times: i64) {
        self.constant += other.constant * times;
        self.steps.iter_mut().zip(&other.steps).for_each(|(step, other)| *step += other * times);
    }

    /// Whether the elements of a row, whose axes come after `rows` others, follow one another.
    pub fn is_run(&self, axes: &[Dim], rows: usize) -> bool {
        let mut next = 1;
        (rows..axes.len()).rev().filter(|&axis| axes[axis] != Dim::Fixed(1)).all(|axis| {
            let follows = self.steps[axis] == next;
            next *= axes[axis].factor() as i64;
            follows
        })
    }

    /// The smallest and the largest number over axes of these extents, none of them 0.
    pub fn range(&self, extents: impl Iterator<Item = usize>) -> (i64, i64) {
        let mut range = (self.constant, self.constant);
        for (extent, &step) in extents.zip(&self.steps) {
            let reach = step * (extent as i64 - 1);
            range.0 += reach.min(0);
            range.1 += reach.max(0);
        }
        range
    }
}

/// Which element of a buffer is read or written at a point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Its place, in elements from the beginning of the buffer.
    pub at: Affine,
    /// Where there is an element: outside of one of these, a read gives its fill.
    pub bounds: Vec<Bound>,
    /// What else the place depends on.
    pub gather: Option<Gather>,
    /// Elements from a position of the kernel's loop to the next.
    pub position: i64,
}

/// A coordinate that has to be one of an axis: from 0 up to but not including the extent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// The coordinate.
    pub coordinate: Affine,
    /// The extent of the axis.
    pub extent: usize,
}

/// A place that is looked up: so many elements further for each unit of an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gather {
    /// The read of the kernel that gives the index.
    pub index: usize,
    /// Elements from one index to the next.
    pub step: i64,
    /// How many indices there are: any other is out of bounds.
    pub extent: usize,
}

impl Access {
    /// The axes along which it changes.
    pub fn axes(&self) -> AxisSet {
        self.bounds.iter().fold(self.at.axes(), |set, bound| set.union(bound.coordinate.axes()))
    }

    /// Whether it is a place and nothing more.
    pub fn is_plain(&self) -> bool {
        self.bounds.is_empty() && self.gather.is_none() && self.position == 0
    }
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

    /// The same axes, when `inner` and the one before it have become one, which is among them if either was.
    pub fn merged(self, inner: usize) -> AxisSet {
        let either = self.contains(inner) || self.contains(inner - 1);
        let others = self.iter().filter(|&axis| axis != inner && axis + 1 != inner);
        let moved = others.fold(AxisSet::NONE, |set, axis| set.with(if axis > inner { axis - 1 } else { axis }));
        if either { moved.with(inner - 1) } else { moved }
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
