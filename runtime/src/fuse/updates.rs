//! Where updates are written: behind every reader of the old value, and behind the check of the loss.

use super::{Bound, Ctx};
use crate::ir::{NodeId, Op, Role, SlotKind};
use crate::kernel::Domain;
use crate::reason::{Begin, Kept};
use crate::types::DType;

impl Ctx<'_> {
    /// The variances that running statistics are made of.
    pub(super) fn statistics(&self) -> Vec<NodeId> {
        let running = |param: usize| self.g.slots.params[param].kind == SlotKind::Running;
        let updates = self.g.outputs.iter().filter(|out| matches!(out.role, Role::Update(param) if running(param)));
        let mut open: Vec<NodeId> = updates.map(|out| out.node).collect();
        let mut statistics = Vec::new();
        while let Some(id) = open.pop() {
            let node = &self.g[id];
            match node.op {
                Op::Variance(_) => statistics.push(id),
                _ if node.op.is_map() || node.op.is_view() => open.extend(&node.operands),
                _ => {}
            }
        }
        statistics
    }

    /// Updates come last: each behind every reader of the value it overwrites, and all behind the check of the loss.
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
        let written: Vec<usize> = updates.iter().map(|&(_, param)| param).collect();
        for &(node, param) in &updates {
            self.keep_foreign_reads(node, param, &written);
        }
        for (node, param) in updates {
            let mut bound = Bound::default();
            bound.raise(self.check.unwrap_or(0), Begin::Check);
            bound.raise(self.after_readers(param, Domain::of(&self.g[node].ty.shape)), Begin::Readers(param));
            self.place_update(node, param, bound);
        }
    }

    /// A map of this update that reads another parameter that is updated too is computed before any update is.
    fn keep_foreign_reads(&mut self, node: NodeId, own: usize, written: &[usize]) {
        let family = |param: usize| match self.g.slots.params[param].kind {
            SlotKind::Optimiser(of) => of,
            _ => param,
        };
        let mut open = vec![node];
        let (mut seen, mut foreign) = (Vec::new(), Vec::new());
        while let Some(id) = open.pop() {
            // What is kept is read from memory; what is not may be computed again, behind an update.
            let computed_once = self.home[id.index()].is_some() && !self.g[id].op.is_map();
            if self.stored[id.index()] || computed_once {
                continue;
            }
            seen.push(id);
            for &operand in &self.g[id].operands {
                let base = self.g.behind_views(operand);
                match self.g[base].op {
                    Op::Param(other) if written.contains(&other) && family(other) != family(own) => foreign.push(id),
                    _ => open.push(base),
                }
            }
        }
        foreign.retain(|&id| self.g[id].op.is_map());
        // Truth values are not kept: what is made of them is.
        while let Some(at) = foreign.iter().position(|&id| self.g[id].ty.dtype != DType::F32) {
            let fleeting = foreign.swap_remove(at);
            let reads = |id: &&NodeId| self.g[**id].operands.iter().any(|&x| self.g.behind_views(x) == fleeting);
            foreign.extend(seen.iter().filter(reads));
        }
        foreign.sort();
        foreign.dedup();
        foreign.into_iter().for_each(|id| self.keep(id, Kept::Overwritten));
    }

    /// The first kernel in which a parameter may be overwritten: behind those that read it, or the last of them if it
    /// reads exactly the element that it then writes.
    fn after_readers(&self, param: usize, domain: Domain) -> usize {
        let mut first = 0;
        let reads = |id: &NodeId| self.readers[param].contains(id);
        for (index, draft) in self.drafts.iter().enumerate() {
            if draft.product.as_ref().is_some_and(&reads) {
                first = first.max(index + 1);
            }
            // A later phase of the same row would read what an earlier one has overwritten.
            let aligned = draft.domain == domain && !self.has_row_sums(draft);
            let views = draft.stores.iter().any(|store| self.g[self.g.behind_views(store.node)].op == Op::Param(param));
            if views || draft.nodes.iter().any(&reads) {
                first =
                    first.max(if aligned && draft.product.is_none_or(|id| !reads(&id)) { index } else { index + 1 });
            }
        }
        first
    }
}
