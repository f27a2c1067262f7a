//! Cotangents that are zero but for one row.
//!
//! In: a sum, as far as it is padded. Out: what it is at one index of an axis and nowhere else, and all other terms. So the gradient by
//! the last state of a loop is no sequence of zeros.

use crate::ir::{Builder, NodeId, Op};

/// How many operations are looked through to see that a cotangent is zero but for one row.
pub(super) const NEAR: usize = 16;

/// What a sum is made of.
#[derive(Default)]
pub(super) struct Split {
    /// All terms that are zero everywhere but at one index of an axis: what they are there, with that axis.
    pub(super) row: Option<NodeId>,
    /// All others.
    pub(super) rest: Option<NodeId>,
}

impl Split {
    /// The same of what is made of both.
    fn map(self, mut of: impl FnMut(NodeId) -> NodeId) -> Split {
        Split { row: self.row.map(&mut of), rest: self.rest.map(of) }
    }
}

/// Takes out of a sum what is zero everywhere but at this index of an axis, as it was padded; none if there is nothing of the kind.
pub(super) fn split(b: &mut Builder, (x, near): (NodeId, usize), axis: usize, index: usize) -> Option<Split> {
    let near = near.checked_sub(1)?;
    let op = b[x].op.clone();
    match op {
        Op::Pad { axis: along, before, inside: 0, after, value } if value == 0.0 => {
            let inner = b[x].operands[0];
            if along != axis {
                let inner = split(b, (inner, near), axis, index)?;
                return Some(inner.map(|part| b.pad(part, along, [before, after], value)));
            }
            let (extent, index) = (b.shape(inner).0[axis].factor(), index.checked_sub(before)?);
            if extent == 1 && index == 0 {
                return Some(Split { row: Some(inner), rest: None });
            }
            let Split { row, rest } = split(b, (inner, near), axis, index)?;
            Some(Split { row, rest: rest.map(|rest| b.pad(rest, axis, [before, after], value)) })
        }
        Op::Transpose(order) => {
            let inner = split(b, (b[x].operands[0], near), order[axis], index)?;
            Some(inner.map(|part| b.transpose(part, &order)))
        }
        Op::Add => {
            let [l, r] = b[x].operands[..] else { unreachable!("a sum has two terms") };
            let whole = |x| Split { row: None, rest: Some(x) };
            let (own, other) = (split(b, (l, near), axis, index), split(b, (r, near), axis, index));
            if own.is_none() && other.is_none() {
                return None;
            }
            let (l, r) = (own.unwrap_or_else(|| whole(l)), other.unwrap_or_else(|| whole(r)));
            let mut both = |l: Option<NodeId>, r: Option<NodeId>| match (l, r) {
                (Some(l), Some(r)) => Some(b.add(l, r)),
                (only, None) | (None, only) => only,
            };
            Some(Split { row: both(l.row, r.row), rest: both(l.rest, r.rest) })
        }
        _ => None,
    }
}
