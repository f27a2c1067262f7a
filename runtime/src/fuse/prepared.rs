//! What is computed ahead of all products, so that their epilogues can use it.

use super::Ctx;
use super::domain::{Domain, ReductionAxes, reduction_axes};
use crate::ir::{NodeId, Op};
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

    /// One number that is added up over what depends on inputs alone, as how many targets count, is computed first as well where elements
    /// of other values need it: a kernel that has the losses can go on with their gradients then.
    pub(super) fn place_counts(&mut self, live: &[bool]) {
        let of_inputs = self.of_inputs();
        // What is one number and wanted by elements that depend on more than inputs.
        let mut wanted = vec![false; self.g.nodes.len()];
        for id in self.g.ids().rev().filter(|id| live[id.index()]) {
            let node = &self.g[id];
            let is_single = Domain::of(&node.ty.shape) == Domain::SCALAR;
            if node.op.is_map() && if is_single { wanted[id.index()] } else { of_inputs[id.index()].is_none() } {
                node.operands.iter().for_each(|&operand| wanted[self.g.behind_views(operand).index()] = true);
            }
        }
        let is_count = |id: &NodeId| {
            let everything = matches!(reduction_axes(self.g, *id), Some((_, ReductionAxes::Everything)));
            everything && wanted[id.index()] && of_inputs[self.g[*id].operands[0].index()] == Some(true)
        };
        let counts: Vec<NodeId> = self.g.ids().filter(is_count).collect();
        counts.into_iter().for_each(|id| self.place(id));
    }

    /// For each node that is made of inputs and constants alone, element by element, whether an input is among them.
    fn of_inputs(&self) -> Vec<Option<bool>> {
        let mut found: Vec<Option<bool>> = Vec::with_capacity(self.g.nodes.len());
        for id in self.g.ids() {
            let node = &self.g[id];
            let mut operands = node.operands.iter().map(|x| found[x.index()]);
            let own = match node.op {
                Op::Input(_) => Some(true),
                Op::Const(_) | Op::Count(_) => Some(false),
                Op::Broadcast(_) | Op::Reshape => operands.next().flatten(),
                _ if node.op.is_map() && !node.operands.is_empty() => {
                    operands.try_fold(false, |known, next| next.map(|next| known || next))
                }
                _ => None,
            };
            found.push(own);
        }
        found
    }
}
