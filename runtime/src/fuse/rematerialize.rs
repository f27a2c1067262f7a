//! Whether a value that a second kernel needs is kept in memory or recomputed: whichever moves fewer bytes.

use super::bounds::Bounds;
use super::choose::{LONG, MOST};
use super::domain::{Domain, read_access};
use super::{Ctx, Demand, Nodes};
use crate::ir::ops::{Body, is_transcendental, sloped};
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

    /// The same of what the gradient makes of a value before the loss that it would keep for nothing else, element by element with an
    /// exponential or the like between them: a kernel that is at hand has computed that already. Measured with a step of four blocks of a
    /// transformer, 128 wide, with 1,024 rows: 24.02 to 23.83 ms (AMD Zen 5).
    pub(super) fn exponential_beside(&self, slope: NodeId, domain: Domain, demand: &Demand) -> Option<NodeId> {
        let check = self.check?;
        if self.home[slope.index()].is_some() || self.g[slope].ty.dtype != DType::F32 {
            return None;
        }
        let (mut open, mut seen) = (vec![slope], Nodes::default());
        let (mut kept, mut home, mut function) = (None, None, None);
        while let Some(id) = open.pop() {
            for &operand in &self.g[id].operands {
                let (base, class) = read_access(self.g, operand, domain);
                let (node, own) = (&self.g[base], self.home[base.index()]);
                if is_free(&node.op) {
                    continue;
                }
                let elsewhere = own.is_some_and(|own| own >= check || *home.get_or_insert(own) != own);
                if class != Class::Element || node.op.is_leaf() || self.stored[base.index()] || elsewhere {
                    return None;
                }
                match own {
                    Some(_) if !node.op.is_map() || self.rematerialize(base, class, demand).is_err() => {
                        if *kept.get_or_insert(base) != base {
                            return None;
                        }
                    }
                    None if !node.op.is_map() || seen.len() >= LONG => return None,
                    _ => {
                        let found = own.is_some() && is_transcendental(&node.op);
                        function = function.or_else(|| found.then_some(base));
                        if seen.insert(base) {
                            open.push(base);
                        }
                    }
                }
            }
        }
        let draft = &self.drafts[home?];
        let shapes = seen.iter().chain([slope]).map(|id| &self.g[id].ty.shape);
        let fits = shapes
            .map(|shape| Bounds::of(domain, shape))
            .try_fold(draft.bounds.clone(), |all, bounds| all.with(&bounds, domain))
            .is_some();
        let open = draft.run == self.loops.open && draft.domain == domain && !draft.closed;
        let alone = kept.is_some_and(|kept| !demand.read.contains(kept));
        (open && fits && draft.nodes.len() + seen.len() < MOST && alone).then_some(function).flatten()
    }

    /// Computes slopes in the kernels of their functions, with what else they are made of.
    pub(super) fn place_slopes(&mut self, domain: Domain, demand: &mut Demand) {
        for (slope, function) in std::mem::take(&mut demand.slopes) {
            let home = self.home[function.index()].expect("the function is computed");
            for id in self.missing(home, slope, domain) {
                // Keeping another operand may have placed it in the meantime.
                let repeated = *self.home[id.index()].get_or_insert(home) != home;
                let why = repeated.then(|| RematerializeReason::Cheap(self.effort(id, demand)));
                self.put(home, id);
                self.drafts[home].rematerialized.extend(why.map(|why| (id, why)));
            }
            let why = match sloped(&self.g[slope].op) {
                Some(op) if op == self.g[function].op => MaterializeReason::Slope(function),
                _ => MaterializeReason::Beside(function),
            };
            demand.materialized.push((slope, why));
        }
    }

    /// The maps that a value is made of and a kernel does not compute yet, operands first.
    fn missing(&self, kernel: usize, id: NodeId, domain: Domain) -> Vec<NodeId> {
        let (mut open, mut missing) = (vec![id], Vec::new());
        while let Some(id) = open.pop() {
            let computed = is_free(&self.g[id].op) || self.index.computes(kernel, id);
            if !computed && !missing.contains(&id) {
                missing.push(id);
                open.extend(self.g[id].operands.iter().map(|&operand| read_access(self.g, operand, domain).0));
            }
        }
        // Operands have smaller numbers.
        missing.sort();
        missing
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
