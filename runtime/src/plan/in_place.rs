//! Which operand of a kernel a kept value may overwrite: one whose last reader it is, if every element is read before the
//! element of the same place is written, and never after.

use crate::fuse::Fused;
use crate::ir::NodeId;
use crate::ir::ops::function;
use crate::kernel::{Class, Kernel, resolve};
use crate::types::DType;

/// The operand that `id` may overwrite in `kernel`, and where it lies. `dying` gives the place of values of the right
/// length that nothing reads later.
pub(super) fn replaced(
    fused: &Fused,
    kernel: &Kernel,
    id: NodeId,
    dying: impl Fn(NodeId) -> Option<usize>,
) -> Option<(NodeId, usize)> {
    let graph = &fused.graph;
    let computed = |id: NodeId| kernel.product == Some(id) || kernel.steps.iter().any(|step| step.node == id);
    // Row by row, a later phase would read what an earlier one has overwritten; and what functions are called for is
    // read strip by strip.
    let simple = kernel.steps.iter().all(|step| step.phase == 0 && function(&graph[step.node].op).is_none());
    let element = |id: NodeId| {
        let step = kernel.steps.iter().find(|step| step.node == id);
        step.is_some_and(|step| step.class == Class::Element && graph[id].op.is_map())
    };
    if !simple || !element(id) || graph[id].ty.dtype != DType::F32 {
        return None;
    }
    let operands = kernel.steps.iter().flat_map(|step| &graph[step.node].operands);
    let reads: Vec<(NodeId, Class)> = operands.map(|&operand| resolve(graph, operand, kernel.domain)).collect();
    let by_product = |id: NodeId| {
        let operands = kernel.product.iter().flat_map(|&product| &graph[product].operands);
        operands.map(|&operand| graph.behind_views(operand)).any(|operand| operand == id)
    };
    let copied = |id: NodeId| kernel.stores.iter().any(|store| graph.behind_views(store.node) == id);
    let fits = |operand: NodeId| {
        let everywhere = reads.iter().filter(|(base, _)| *base == operand).all(|(_, class)| *class == Class::Element);
        let float = graph[operand].ty.dtype == DType::F32;
        everywhere && float && !computed(operand) && !by_product(operand) && !copied(operand)
    };
    reads.iter().map(|&(base, _)| base).filter(|&base| fits(base)).find_map(|base| Some((base, dying(base)?)))
}
