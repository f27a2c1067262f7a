//! Windows that move along an axis: the elements under them, and the adjoint.

use super::movement::{extent_of, fits, fixed_extent, replaced};
use super::{Body, Coordinate, OpDef};
use crate::ir::Op;
use crate::types::DType;

/// A window of `size` taps that moves along an axis, with padding at both ends. At position `o`, tap `k` is over element
/// `o stride + k dilation - before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The number of taps, 1 or more.
    pub size: usize,
    /// Elements from one position to the next, 1 or more.
    pub stride: usize,
    /// Elements from one tap to the next, 1 or more.
    pub dilation: usize,
    /// Elements of padding before the first element.
    pub before: usize,
    /// Elements of padding after the last element.
    pub after: usize,
}

impl Window {
    /// A window of neighbors that moves by one element, without padding.
    pub fn of(size: usize) -> Window {
        Window { size, stride: 1, dilation: 1, before: 0, after: 0 }
    }

    /// How many positions there are along an axis of this extent; an error, as a part of a sentence, if there is none.
    pub fn positions(&self, extent: usize) -> Result<usize, String> {
        if self.size == 0 || self.stride == 0 || self.dilation == 0 {
            return Err(format!("size, stride and dilation of a window are at least 1, in {self:?}"));
        }
        let padded = extent_of("a window", || extent.checked_add(self.before)?.checked_add(self.after))?;
        let covered = extent_of("a window", || self.dilation.checked_mul(self.size - 1)?.checked_add(1))?;
        match padded.checked_sub(covered) {
            Some(rest) => Ok(rest / self.stride + 1),
            None => Err(format!("a window over {covered} elements does not fit on {padded}, padding included")),
        }
    }

    /// Where the patches along `axis` of a tensor of this rank are taken from.
    pub(super) fn coordinates(&self, axis: usize, rank: usize) -> Vec<Coordinate> {
        let along = |own: usize| {
            if own != axis {
                return Coordinate { constant: 0, steps: vec![(own + usize::from(own > axis), 1)], divisor: 1 };
            }
            let steps = vec![(axis, self.stride as i64), (axis + 1, self.dilation as i64)];
            Coordinate { constant: -(self.before as i64), steps, divisor: 1 }
        };
        (0..rank).map(along).collect()
    }

    /// The position at which this tap is over an element, if there is one among this many positions.
    pub fn position_over(&self, element: usize, tap: usize, positions: usize) -> Option<usize> {
        let moved = (element + self.before).checked_sub(tap * self.dilation)?;
        Some(moved / self.stride).filter(|&position| moved % self.stride == 0 && position < positions)
    }
}

/// The elements under a window that moves along an axis: `y[.., o, k, ..] = x[.., o stride + k dilation - before, ..]`, and
/// `value` outside. `T[.., N, ..] -> T[.., positions, size, ..]`. The gradient is a fold; the value gets none.
pub const PATCHES: OpDef = OpDef {
    name: "patches",
    ty: |op, x| {
        let &Op::Patches { axis, window, value } = op else { unreachable!("the type of patches") };
        let extent = fixed_extent("patches", x[0], axis)?;
        fits("patches", value, x[0].dtype)?;
        let positions = window.positions(extent).map_err(|fault| format!("patches of {}: {fault}", x[0]))?;
        Ok(replaced(x[0], axis, &[positions, window.size]))
    },
    vjp: |b, at| {
        let Op::Patches { axis, window, .. } = at.op else { unreachable!("the gradient of patches") };
        let extent = b.shape(at.x[0]).0[axis].factor();
        vec![Some(b.fold(at.dy, axis, window, extent))]
    },
    body: Body::Move,
};

/// The adjoint of [`PATCHES`]: every element is the sum of the taps over it, in ascending order of taps.
/// `f32[.., positions, size, ..] -> f32[.., extent, ..]`. The gradient is patches with zeros outside.
pub const FOLD: OpDef = OpDef {
    name: "fold",
    ty: |op, x| {
        let &Op::Fold { axis, window, extent } = op else { unreachable!("the type of a fold") };
        let found = [fixed_extent("fold", x[0], axis)?, fixed_extent("fold", x[0], axis + 1)?];
        let positions = window.positions(extent).map_err(|fault| format!("fold of {}: {fault}", x[0]))?;
        if x[0].dtype != DType::F32 || found != [positions, window.size] {
            let wanted = format!("{positions} positions of {} taps", window.size);
            return Err(format!("fold of {} along axis {axis} to {extent}: that has {wanted}", x[0]));
        }
        let mut folded = replaced(x[0], axis, &[extent]);
        folded.shape.0.remove(axis + 1);
        Ok(folded)
    },
    vjp: |b, at| {
        let Op::Fold { axis, window, .. } = at.op else { unreachable!("the gradient of a fold") };
        vec![Some(b.patches(at.dy, axis, window, 0.0))]
    },
    body: Body::Fold,
};

/// Elements moved along an axis, by more for each step along another: `y[.., p, .., k, ..] = x[.., p + shift + step k, .., k, ..]`
/// where there is one, else 0. `f32[.., N, ..] -> f32[.., extent, ..]`. The gradient moves them back.
pub const SKEW: OpDef = OpDef {
    name: "skew",
    ty: |op, x| {
        let &Op::Skew { axis, along, extent, .. } = op else { unreachable!("the type of a skew") };
        fixed_extent("skew", x[0], axis)?;
        if x[0].dtype != DType::F32 || along == axis || along >= x[0].shape.rank() || x[0].shape.0[along].is_batch() {
            return Err(format!("skew of {} along axis {axis} by axis {along}", x[0]));
        }
        Ok(replaced(x[0], axis, &[extent]))
    },
    vjp: |b, at| {
        let Op::Skew { axis, along, step, shift, .. } = at.op else { unreachable!("the gradient of a skew") };
        let extent = b.shape(at.x[0]).0[axis].factor();
        let back = Op::Skew { axis, along, step: -step, shift: -shift, extent };
        vec![Some(b.apply(back, &[at.dy]))]
    },
    body: Body::Move,
};
