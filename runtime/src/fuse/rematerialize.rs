//! Whether a value that a second kernel needs is kept in memory or recomputed: whichever moves fewer bytes.

use super::choose::{LONG, MOST};
use super::domain::{Domain, read_access};
use super::{Ctx, Demand, Nodes};
use crate::ir::ops::{Body, sloped};
use crate::ir::{NodeId, Op};
use crate::kernel::Class;
use crate::reason::{Effort, MaterializeReason, RematerializeReason};
use crate::types::DType;

/// Operations that may be repeated to save a transfer to memory and back.
const CHEAP: usize = 8;

/// How many operations a random number counts as: computing it takes about as long as writing and reading it, and no memory.
const HASH: usize = 5;

impl Ctx<'_> {
    /// Whether to recompute a map rather than write it in one kernel and read it in another, where `read` is read anyway;
    /// with the reason for either.
    pub(super) fn rematerialize(
        &self,
        id: NodeId,
        class: Class,
        demand: &Demand,
    ) -> Result<RematerializeReason, MaterializeReason> {
        if self.g[id].ty.dtype != DType::F32 {
            return Ok(RematerializeReason::RegisterOnly);
        }
        if class == Class::Single {
            return Ok(RematerializeReason::Single);
        }
        if demand.to_rematerialize.contains(id) {
            return Ok(RematerializeReason::Cheap(self.effort(id, demand)));
        }
        if !is_cheap(&self.g[id].op) {
            return Err(MaterializeReason::Once);
        }
        let effort = self.effort(id, demand);
        match effort.operations <= CHEAP && effort.transfers() < 2 {
            true => Ok(RematerializeReason::Cheap(effort)),
            false => Err(MaterializeReason::Costly(effort)),
        }
    }

    /// The function whose slope a map is, if it is better to compute the slope in the kernel of the function and keep it than to
    /// keep the operand for it: the same number of bytes, and one exponential less.
    pub(super) fn function_beside(&self, slope: NodeId, domain: Domain, demand: &Demand) -> Option<NodeId> {
        let op = sloped(&self.g[slope].op).filter(|_| self.home[slope.index()].is_none())?;
        let (x, class) = read_access(self.g, self.g[slope].operands[0], domain);
        let home = self.home[x.index()].filter(|_| class == Class::Element && !self.stored[x.index()])?;
        let draft = &self.drafts[home];
        if draft.run != self.loops.open
            || draft.domain != domain
            || draft.nodes.len() >= MOST
            || self.rematerialize(x, class, demand).is_ok()
        {
            return None;
        }
        let found = |id: &&NodeId| self.g[**id].op == op && self.g[**id].operands == self.g[slope].operands;
        draft.nodes.iter().find(found).filter(|function| self.home[function.index()] == Some(home)).copied()
    }

    /// Computes slopes in the kernels of their functions.
    pub(super) fn place_slopes(&mut self, demand: &mut Demand) {
        for (slope, function) in std::mem::take(&mut demand.slopes) {
            let home = self.home[function.index()].expect("the function is computed");
            // Keeping another operand may have placed it in the meantime.
            if self.home[slope.index()].is_none() {
                self.home[slope.index()] = Some(home);
                self.put(home, slope);
            }
            demand.materialized.push((slope, MaterializeReason::Slope(function)));
        }
    }

    /// Whether a map is too much for a kernel over `domain`: a single number made of so many others that repeating them in every
    /// kernel that reads it would cost too much, or an element that needs as many others as a kernel may have.
    pub(super) fn is_long(&self, id: NodeId, class: Class, domain: Domain, demand: &Demand) -> bool {
        if self.stored[id.index()] || self.g[id].ty.dtype != DType::F32 {
            return false;
        }
        match class {
            Class::Single => domain != Domain::SCALAR && self.has_many_numbers(id),
            _ => demand.entered >= MOST,
        }
    }

    /// Whether a single number is made of more others than a kernel repeats for it.
    fn has_many_numbers(&self, id: NodeId) -> bool {
        let (mut open, mut seen) = (vec![id], Nodes::default());
        while let Some(id) = open.pop() {
            let base = self.g.behind_views(id);
            let computed = self.g[base].op.is_map() && !self.stored[base.index()];
            if computed && seen.insert(base) {
                open.extend(&self.g[base].operands);
            }
            if seen.len() > LONG {
                return true;
            }
        }
        false
    }

    /// A node that was placed in a later kernel first, and then in an earlier one too, is recomputed in the later one.
    pub(super) fn order_reasons(&mut self) {
        let nodes = self.drafts.iter().enumerate().flat_map(|(at, draft)| draft.nodes.iter().map(move |&id| (id, at)));
        let before_home =
            nodes.filter_map(|(id, at)| Some((id, at, self.home[id.index()]?))).filter(|(_, at, home)| at < home);
        let mut earlier: Vec<(NodeId, usize, usize)> = before_home.collect();
        // The earliest of several is the one without a reason.
        earlier.sort();
        earlier.dedup_by_key(|(id, ..)| *id);
        for (id, first, home) in earlier {
            let reasons = &mut self.drafts[first].rematerialized;
            let at = reasons.iter().position(|(node, _)| *node == id);
            let moved = reasons.swap_remove(at.expect("every kernel but the home has a reason"));
            self.drafts[home].rematerialized.push(moved);
        }
    }

    /// What it takes to recompute a map where some values are read anyway.
    pub(super) fn effort(&self, id: NodeId, Demand { read, to_rematerialize, .. }: &Demand) -> Effort {
        let domain = Domain::of(&self.g[id].ty.shape);
        let start = id;
        let mut effort = Effort::default();
        let mut open = vec![id];
        let (mut seen, mut seen_elsewhere) = (Nodes::default(), Nodes::default());
        while let Some(id) = open.pop() {
            let (base, class) = read_access(self.g, id, domain);
            if class == Class::Other && base != start && !is_free(&self.g[base].op) {
                effort.reads += usize::from(seen_elsewhere.insert(base) && !read.contains(base));
                continue;
            }
            if class != Class::Element || !seen.insert(base) {
                continue;
            }
            let op = &self.g[base].op;
            match op.def().body {
                Body::Leaf => effort.reads += usize::from(matches!(op, Op::Input(_) | Op::Param(_))),
                _ if base != start && read.contains(base) => {}
                _ if self.stored[base.index()] => effort.reads += 1,
                Body::Map(_) if is_cheap(op) || to_rematerialize.contains(base) => {
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

/// Whether a value takes nothing to read.
pub(super) fn is_free(op: &Op) -> bool {
    matches!(op, Op::Const(_) | Op::Iota(_))
}

/// Whether a map costs about as much as a few additions.
pub(super) fn is_cheap(op: &Op) -> bool {
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
