//! Which operand of a kernel, or of its prologue, a kept value may overwrite: one whose last reader that is, if every element
//! is read before the element of the same place is written, and never after.

use crate::fuse::Fused;
use crate::ir::ops::function;
use crate::ir::{Graph, NodeId};
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
    read_for_the_last_time(graph, kernel, dying)
}

/// The operand of the prologue `ahead` that `id`, an element of the kernel behind it, may overwrite, and where it lies: one that
/// the kernel itself does not read. Rows of the prologue are done before the same rows of the kernel begin.
pub(super) fn replaced_row_by_row(
    fused: &Fused,
    ahead: &Kernel,
    kernel: &Kernel,
    id: NodeId,
    dying: impl Fn(NodeId) -> Option<usize>,
) -> Option<(NodeId, usize)> {
    let graph = &fused.graph;
    let (_, class) = resolve(graph, id, kernel.domain);
    if class != Class::Element || kernel.domain != ahead.domain || graph[id].ty.dtype != DType::F32 {
        return None;
    }
    read_for_the_last_time(graph, ahead, dying)
}

/// An operand of the maps and reductions of a kernel that is read element by element and in no other way.
fn read_for_the_last_time(
    graph: &Graph,
    kernel: &Kernel,
    dying: impl Fn(NodeId) -> Option<usize>,
) -> Option<(NodeId, usize)> {
    let operands = kernel.steps.iter().flat_map(|step| &graph[step.node].operands);
    let reads: Vec<(NodeId, Class)> = operands.map(|&operand| resolve(graph, operand, kernel.domain)).collect();
    let computed = |id: NodeId| kernel.product == Some(id) || kernel.steps.iter().any(|step| step.node == id);
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
