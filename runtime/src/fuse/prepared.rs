//! What is computed ahead of all products, so that their epilogues can use it.

use super::Ctx;
use crate::ir::Op;
use crate::reason::MaterializeReason;
use crate::types::DType;

impl Ctx<'_> {
    /// What depends on parameters alone and is needed as one value per column is computed first, so that later products can
    /// use it in their epilogues: the factor of a batch norm in inference. Masks are never stored.
    pub(super) fn place_prepared(&mut self, live: &[bool]) {
        let mut varies = vec![false; self.g.nodes.len()];
        for id in self.g.ids() {
            let node = &self.g[id];
            let computed = !node.op.is_map() && !node.op.is_leaf() && !node.op.is_view();
            let input = matches!(node.op, Op::Input(_) | Op::Count(_));
            varies[id.index()] = input || computed || node.operands.iter().any(|x| varies[x.index()]);
        }
        for id in self.g.ids().filter(|id| live[id.index()]) {
            let base = self.g.behind_views(id);
            let column = matches!(&self.g[id].op, Op::Broadcast(axes) if !axes.is_empty());
            let float = self.g[base].ty.dtype == DType::F32;
            if column && float && self.g[base].op.is_map() && !varies[base.index()] {
                self.materialize(base, MaterializeReason::Prepared);
            }
        }
    }
}
