//! Checks that kernels compute what the graph says: everything is ready when it is read, and nothing is read after it was
//! overwritten.

use super::Fused;
use crate::ir::{NodeId, Op};
use crate::kernel::{Class, Kernel, Way, resolve, way};

/// Says what is wrong with the kernels, if anything. Runs in debug builds and tests.
pub fn verify(fused: &Fused) -> Result<(), String> {
    for (index, kernel) in fused.kernels.iter().enumerate() {
        for (reader, operand) in reads(fused, kernel) {
            ready(fused, index, reader, operand).map_err(|fault| format!("kernel {index}: {fault}"))?;
        }
        for store in &kernel.stores {
            if let Some(param) = store.param {
                last_reader(fused, index, param, store.node).map_err(|fault| format!("kernel {index}: {fault}"))?;
            }
        }
    }
    Ok(())
}

/// Every operand of every step, with its reader.
fn reads<'a>(fused: &'a Fused, kernel: &'a Kernel) -> impl Iterator<Item = (NodeId, NodeId)> + 'a {
    let readers = kernel.steps.iter().map(|step| step.node).chain(kernel.product);
    let computed = readers.flat_map(|id| fused.graph[id].operands.iter().map(move |&operand| (id, operand)));
    computed.chain(kernel.stores.iter().map(|store| (store.node, store.node)))
}

/// What is read is a leaf, computed earlier in the same kernel, or kept by an earlier one.
fn ready(fused: &Fused, index: usize, reader: NodeId, operand: NodeId) -> Result<(), String> {
    let graph = &fused.graph;
    let kernel = &fused.kernels[index];
    let kept = |id: NodeId| {
        fused.kernels[..index].iter().any(|earlier| {
            let stored = earlier.stores.iter().any(|store| store.node == id && store.param.is_none());
            let summed = earlier.steps.iter().any(|step| step.node == id)
                && matches!(way(graph, id), Some((_, Way::DownColumns | Way::Everything)));
            stored || summed
        })
    };
    if kernel.product == Some(reader) && operand != reader {
        let memory = graph.behind_reshapes(operand);
        return match matches!(graph[memory].op, Op::Input(_) | Op::Param(_)) || kept(memory) {
            true => Ok(()),
            false => Err(format!("the product %{} reads %{}, which is not kept", reader.0, memory.0)),
        };
    }
    let (base, _) = resolve(graph, operand, kernel.domain);
    let here = kernel.product == Some(base) || kernel.steps.iter().any(|step| step.node == base);
    match graph[base].op.is_leaf() || here || kept(base) || kept(operand) {
        true => Ok(()),
        false => Err(format!("%{} reads %{}, which is neither computed here nor kept", reader.0, base.0)),
    }
}

/// The kernel that overwrites a parameter reads of it at most the element that it writes, not in a later phase, and no
/// later kernel reads it.
fn last_reader(fused: &Fused, index: usize, param: usize, written: NodeId) -> Result<(), String> {
    let graph = &fused.graph;
    let name = &graph.slots.params[param].name;
    let phase = |kernel: &Kernel, id: NodeId| {
        let steps = kernel.steps.iter().filter(|step| step.node == id);
        (steps.clone().map(|step| step.phase).min().unwrap_or(0), steps.map(|step| step.phase).max().unwrap_or(0))
    };
    for (later, kernel) in fused.kernels.iter().enumerate().skip(index) {
        for (reader, operand) in reads(fused, kernel) {
            let (base, class) = resolve(graph, operand, kernel.domain);
            if graph[base].op != Op::Param(param) {
                continue;
            }
            if later > index {
                return Err(format!("`{name}` is overwritten, but kernel {later} still reads it"));
            }
            let too_late = phase(kernel, reader).1 > phase(kernel, written).0;
            if class != Class::Element || kernel.product == Some(reader) || too_late {
                return Err(format!("`{name}` is overwritten while %{} still reads it", reader.0));
            }
        }
    }
    Ok(())
}
