//! Which operand of a kernel, or of its prologue, a kept value may overwrite: one whose last reader that is, if every element
//! is read before the element of the same place is written, and never after.

use std::collections::HashSet;

use crate::fuse::Fused;
use crate::ir::ops::function;
use crate::ir::{Graph, NodeId};
use crate::kernel::{Class, Kernel, Step, resolve};
use crate::types::DType;

/// What may be overwritten in a kernel, as far as the kernel itself goes.
pub(super) struct Operands {
    /// The operands of its maps and reductions that are read element by element and in no other way, in the order in which they
    /// are read.
    free: Vec<NodeId>,
    /// The maps that are computed there, one number an element; none if elements are read after others were written.
    elements: HashSet<NodeId>,
}

impl Operands {
    /// Of a kernel.
    pub(super) fn of(fused: &Fused, kernel: &Kernel) -> Operands {
        let graph = &fused.graph;
        // Row by row, a later phase would read what an earlier one has overwritten; and what functions are called for is
        // read strip by strip.
        let simple = kernel.steps.iter().all(|step| step.phase == 0 && function(&graph[step.node].op).is_none());
        let is_element = |step: &&Step| simple && step.class == Class::Element && graph[step.node].op.is_map();
        let elements = kernel.steps.iter().filter(is_element).map(|step| step.node).collect();
        let mut taken: HashSet<NodeId> = kernel.steps.iter().map(|step| step.node).chain(kernel.product).collect();
        let by_product = kernel.product.iter().flat_map(|&product| &graph[product].operands);
        taken.extend(by_product.map(|&operand| graph.behind_views(operand)));
        taken.extend(kernel.stores.iter().map(|store| graph.behind_views(store.node)));
        let operands = kernel.steps.iter().flat_map(|step| &graph[step.node].operands);
        let reads: Vec<(NodeId, Class)> = operands.map(|&operand| resolve(graph, operand, kernel.domain)).collect();
        taken.extend(reads.iter().filter(|(_, class)| *class != Class::Element).map(|(base, _)| *base));
        let fits = |base: &NodeId| graph[*base].ty.dtype == DType::F32 && taken.insert(*base);
        Operands { free: reads.iter().map(|(base, _)| *base).filter(fits).collect(), elements }
    }

    /// The operand that `id` may overwrite in this kernel, and where it lies. `dying` gives the place of values of the right
    /// length that nothing reads later.
    pub(super) fn replaced(
        &self,
        graph: &Graph,
        id: NodeId,
        dying: impl Fn(NodeId) -> Option<usize>,
    ) -> Option<(NodeId, usize)> {
        let element = self.elements.contains(&id) && graph[id].ty.dtype == DType::F32;
        if element { self.read_for_the_last_time(dying) } else { None }
    }

    /// The operand of the prologue `ahead`, whose operands these are, that `id`, an element of the kernel behind it, may overwrite,
    /// and where it lies: one that the kernel itself does not read. Rows of the prologue are done before the same rows of the
    /// kernel begin.
    pub(super) fn replaced_row_by_row(
        &self,
        graph: &Graph,
        ahead: &Kernel,
        kernel: &Kernel,
        id: NodeId,
        dying: impl Fn(NodeId) -> Option<usize>,
    ) -> Option<(NodeId, usize)> {
        let (_, class) = resolve(graph, id, kernel.domain);
        if class != Class::Element || kernel.domain != ahead.domain || graph[id].ty.dtype != DType::F32 {
            return None;
        }
        self.read_for_the_last_time(dying)
    }

    fn read_for_the_last_time(&self, dying: impl Fn(NodeId) -> Option<usize>) -> Option<(NodeId, usize)> {
        self.free.iter().find_map(|&base| Some((base, dying(base)?)))
    }
}
