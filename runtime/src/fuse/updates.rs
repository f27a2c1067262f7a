//! Where updates are written: after every reader of the old value, and after the check of the loss.

use super::domain::Domain;
use super::view::bases;
use super::{Bound, Ctx, Nodes};
use crate::ir::{NodeId, Op, Role, SlotKind};
use crate::reason::{MaterializeReason, SplitReason};
use crate::types::DType;

impl Ctx<'_> {
    /// The variances that running statistics are computed from.
    pub(super) fn statistics(&self) -> Vec<NodeId> {
        let running = |param: usize| self.g.slots.params[param].kind == SlotKind::Running;
        let updates = self.g.outputs.iter().filter(|out| matches!(out.role, Role::Update(param) if running(param)));
        let mut open: Vec<NodeId> = updates.map(|out| out.node).collect();
        let (mut statistics, mut seen) = (Vec::new(), Nodes::default());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let node = &self.g[id];
            match node.op {
                Op::Variance(_) => statistics.push(id),
                _ if node.op.is_map() || node.op.is_view() => open.extend(&node.operands),
                _ => {}
            }
        }
        statistics
    }

    /// Updates come last: each after every reader of the value it overwrites, and all after the check of the loss.
    pub(super) fn place_updates(&mut self) {
        let updates: Vec<(NodeId, usize)> = self
            .g
            .outputs
            .iter()
            .filter_map(|out| match out.role {
                Role::Update(param) => Some((out.node, param)),
                _ => None,
            })
            .collect();
        if updates.is_empty() {
            return;
        }
        let mut written = vec![false; self.g.slots.params.len()];
        updates.iter().for_each(|&(_, param)| written[param] = true);
        let reaching = self.reaching(&written);
        for &(node, param) in &updates {
            self.keep_foreign_reads(node, param, &written, &reaching);
        }
        for (node, param) in updates {
            let mut bound = Bound::default();
            bound.raise(self.check.unwrap_or(0), SplitReason::Check);
            bound.raise(self.after_readers(param, Domain::of(&self.g[node].ty.shape)), SplitReason::Readers(param));
            self.place_update(node, param, bound);
        }
    }

    /// For every node, whether it, or a map that would be recomputed along with it, reads a parameter that is updated.
    fn reaching(&self, written: &[bool]) -> Vec<bool> {
        let mut reaching = vec![false; self.g.nodes.len()];
        for id in self.g.ids() {
            let node = &self.g[id];
            reaching[id.index()] = !self.in_memory(id)
                && node.operands.iter().flat_map(|&operand| bases(self.g, operand)).any(|base| match self.g[base].op {
                    Op::Param(param) => written[param],
                    _ => reaching[base.index()],
                });
        }
        reaching
    }

    /// Whether it is read from memory wherever it is needed. Any other node may be recomputed, and that after an update.
    fn in_memory(&self, id: NodeId) -> bool {
        let computed_once = self.home[id.index()].is_some() && !self.g[id].op.is_map();
        self.stored[id.index()] || computed_once
    }

    /// Where a map of this update reads another parameter that is updated as well, it is computed before any update.
    fn keep_foreign_reads(&mut self, node: NodeId, own: usize, written: &[bool], reaching: &[bool]) {
        let family = |param: usize| match self.g.slots.params[param].kind {
            SlotKind::Optimizer(of) => of,
            _ => param,
        };
        let mut open = vec![node];
        let (mut seen, mut foreign) = (Nodes::default(), Vec::new());
        while let Some(id) = open.pop() {
            if self.in_memory(id) || !seen.insert(id) {
                continue;
            }
            for base in self.g[id].operands.iter().flat_map(|&operand| bases(self.g, operand)) {
                match self.g[base].op {
                    Op::Param(other) if written[other] && family(other) != family(own) => foreign.push(id),
                    _ => open.extend(Some(base).filter(|_| reaching[base.index()])),
                }
            }
        }
        foreign.retain(|&id| self.g[id].op.is_map());
        // Truth values are never stored: what is made of them is stored instead.
        while let Some(at) = foreign.iter().position(|&id| self.g[id].ty.dtype != DType::F32) {
            let register_only = foreign.swap_remove(at);
            let reads = |id: &NodeId| self.g[*id].operands.iter().any(|&x| self.g.behind_views(x) == register_only);
            foreign.extend(seen.iter().filter(reads));
        }
        foreign.sort();
        foreign.dedup();
        foreign.into_iter().for_each(|id| self.materialize(id, MaterializeReason::Overwritten));
    }

    /// The first kernel in which a parameter may be overwritten: after those that read it, or the last of them if it reads
    /// exactly the element that it then writes.
    fn after_readers(&self, param: usize, domain: Domain) -> usize {
        let index = &self.index;
        let reads = |id: NodeId| index.readers[param].binary_search(&id).is_ok();
        let by_nodes = index.readers[param].iter().flat_map(|reader| &index.computed[reader.index()]);
        let bounds = by_nodes.chain(&index.copied[param]).map(|&kernel| {
            let draft = &self.drafts[kernel];
            // A later stage of the same row would read what an earlier one has overwritten.
            let elsewhere = draft.closed || index.elsewhere[param].binary_search(&kernel).is_ok();
            let aligned = draft.domain == domain && !draft.has_row_sums && !elsewhere;
            if aligned && !draft.product.is_some_and(reads) { kernel } else { kernel + 1 }
        });
        bounds.max().unwrap_or(0)
    }
}
