//! Kept in memory or computed again: whichever moves fewer bytes, for a value that a second kernel wants.

use super::Ctx;
use crate::ir::ops::Body;
use crate::ir::{NodeId, Op};
use crate::kernel::{Class, Domain, resolve};
use crate::reason::{Again, Effort, Kept};
use crate::types::DType;

/// Operations that may be repeated to save a transfer to memory and back.
const CHEAP: usize = 8;

/// As how many of them a random number counts: to compute it takes about as long as to write and read it, and no memory.
const HASH: usize = 5;

impl Ctx<'_> {
    /// Whether to compute a map again rather than write it in one kernel and read it in another, which reads some values
    /// anyway; either with the reason.
    pub(super) fn again(&self, id: NodeId, class: Class, read: &[NodeId]) -> Result<Again, Kept> {
        if self.g[id].ty.dtype != DType::F32 {
            return Ok(Again::Fleeting);
        }
        if class == Class::Single {
            return Ok(Again::Single);
        }
        if !is_cheap(&self.g[id].op) {
            return Err(Kept::Once);
        }
        let effort = self.effort(id, read);
        match effort.operations <= CHEAP && effort.transfers() < 2 {
            true => Ok(Again::Cheap(effort)),
            false => Err(Kept::Costly(effort)),
        }
    }

    /// What it takes to compute a map again where some values are read anyway.
    pub(super) fn effort(&self, id: NodeId, read: &[NodeId]) -> Effort {
        let domain = Domain::of(&self.g[id].ty.shape);
        let start = id;
        let mut effort = Effort::default();
        let mut open = vec![id];
        let mut seen = Vec::new();
        while let Some(id) = open.pop() {
            let (base, class) = resolve(self.g, id, domain);
            if seen.contains(&base) || class != Class::Element {
                continue;
            }
            seen.push(base);
            let op = &self.g[base].op;
            match op.def().body {
                Body::Leaf => effort.reads += usize::from(matches!(op, Op::Input(_) | Op::Param(_))),
                _ if base != start && read.contains(&base) => {}
                _ if self.stored[base.index()] => effort.reads += 1,
                Body::Map(_) if is_cheap(op) => {
                    effort.operations += if *op == Op::Uniform { HASH } else { 1 };
                    open.extend(&self.g[base].operands);
                }
                _ => {
                    effort.writes += 1;
                    effort.reads += 1;
                }
            }
        }
        effort
    }
}

/// Whether a map costs about as much as a few additions.
fn is_cheap(op: &Op) -> bool {
    matches!(
        op,
        Op::Neg
            | Op::Abs
            | Op::Add
            | Op::Sub
            | Op::Mul
            | Op::MulAdd
            | Op::Max
            | Op::Min
            | Op::Compare(_)
            | Op::Select
            | Op::Not
            | Op::IndexEq
            | Op::ToFloat
            | Op::Detach
            | Op::WithSlope
            | Op::Uniform
    )
}
