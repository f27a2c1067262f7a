//! Which kernels are prologues: what a product's left operand is made of is computed for some rows, and multiplied while those
//! rows are in the cache.
//!
//! A prologue is a kernel of its own that does not run by itself. Whoever computes some rows of the product, all of them or the
//! unit of a thread, has it compute the same rows first. What it reads therefore lives until the product is done. A left operand
//! that nobody else reads, as in inference, never has more than those rows; in a training step the gradient of the weight
//! reads it again, so there all of it is kept.

use std::collections::HashMap;

use crate::fuse::Fused;
use crate::ir::NodeId;
use crate::kernel::{Domain, Kernel, PRODUCT_ROWS, Step, Way, resolve, way};

use super::is_inline;

/// For each kernel, whether the one before is its prologue.
pub(super) fn prologues(fused: &Fused, max_batch: usize) -> Vec<bool> {
    (0..fused.kernels.len()).map(|index| index > 0 && has_prologue(fused, index, max_batch)).collect()
}

/// Batches that are computed in one go gain nothing, nor do products too small to be called. Other rows than a batch's may be
/// columns elsewhere: of the right operand, or of what the kernel reads besides.
fn has_prologue(fused: &Fused, index: usize, max_batch: usize) -> bool {
    let (ahead, kernel) = (&fused.kernels[index - 1], &fused.kernels[index]);
    let rows = kernel.domain.rows;
    let batch = rows.is_batch() && rows.at(max_batch) > PRODUCT_ROWS;
    let several = batch && !is_inline(&fused.graph, kernel, max_batch);
    // The check of the loss comes before both or behind both.
    let together = ahead.domain.rows == rows && fused.check != Some(index);
    several && together && is_left_operand(fused, ahead, kernel) && leaves_rows_alone(fused, ahead, kernel)
}

/// Whether rows of `ahead` are rows of what `kernel` multiplies from the left, element by element.
fn is_left_operand(fused: &Fused, ahead: &Kernel, kernel: &Kernel) -> bool {
    let graph = &fused.graph;
    let Some(product) = kernel.product.filter(|_| ahead.product.is_none()) else { return false };
    let left = graph.behind_reshapes(graph[product].operands[0]);
    let upright = matches!(graph.matrix_product(product), Some((false, _)));
    let elements = Domain::of(&graph[left].ty.shape) == ahead.domain;
    upright && elements && ahead.stores.iter().any(|store| store.node == left && store.param.is_none())
}

/// Whether no row of a batch in either kernel touches what belongs to another row of both.
fn leaves_rows_alone(fused: &Fused, ahead: &Kernel, kernel: &Kernel) -> bool {
    let sums = |step: &Step| matches!(way(&fused.graph, step.node), Some((_, Way::DownColumns | Way::Everything)));
    let updates = |kernel: &Kernel| kernel.stores.iter().any(|store| store.param.is_some());
    !ahead.steps.iter().any(sums) && !updates(ahead) && !updates(kernel)
}

/// The left operand of a product with a prologue, if nothing but the product reads it.
pub(super) fn own_operand(fused: &Fused, index: usize, last_read: &HashMap<NodeId, usize>) -> Option<NodeId> {
    let (graph, ahead, kernel) = (&fused.graph, &fused.kernels[index - 1], &fused.kernels[index]);
    let operands = &graph[kernel.product?].operands;
    let left = graph.behind_reshapes(operands[0]);
    let in_steps = kernel.steps.iter().flat_map(|step| &graph[step.node].operands);
    let by_steps = in_steps.map(|&operand| resolve(graph, operand, kernel.domain).0).any(|base| base == left);
    let copied = |kernel: &Kernel| {
        kernel.stores.iter().any(|store| store.node != left && graph.behind_views(store.node) == left)
    };
    let by_others = by_steps || graph.behind_views(operands[1]) == left || copied(ahead) || copied(kernel);
    (!by_others && last_read.get(&left) == Some(&index)).then_some(left)
}
