//! Checks that kernels compute what the graph says: everything is ready when it is read, and nothing is read after it was
//! overwritten.

use std::collections::HashMap;

use super::Fused;
use crate::ir::{NodeId, Op};
use crate::kernel::{Class, Kernel, Way, resolve, way};

/// Says what is wrong with the kernels, if anything. Runs in debug builds and tests.
pub fn verify(fused: &Fused) -> Result<(), String> {
    let known = Known::of(fused);
    for (index, kernel) in fused.kernels.iter().enumerate() {
        for (reader, operand) in reads(fused, kernel) {
            ready(fused, &known, index, reader, operand).map_err(|fault| format!("kernel {index}: {fault}"))?;
        }
        for store in &kernel.stores {
            if let Some(param) = store.param {
                last_reader(fused, &known, index, param, store.node)
                    .map_err(|fault| format!("kernel {index}: {fault}"))?;
            }
        }
    }
    Ok(())
}

/// What is looked up of all kernels.
struct Known {
    /// The first kernel that keeps a value, or leaves it when it is done.
    kept: HashMap<NodeId, usize>,
    /// For every parameter, the kernels that read it and how: reader and class, in order.
    readers: Vec<Vec<(usize, NodeId, Class)>>,
    /// The steps of every kernel: the first and the last phase of each node.
    phases: Vec<HashMap<NodeId, (usize, usize)>>,
}

impl Known {
    fn of(fused: &Fused) -> Known {
        let graph = &fused.graph;
        let mut known =
            Known { kept: HashMap::new(), readers: vec![Vec::new(); graph.slots.params.len()], phases: Vec::new() };
        for (index, kernel) in fused.kernels.iter().enumerate() {
            let stored = kernel.stores.iter().filter(|store| store.param.is_none()).map(|store| store.node);
            let summed = |id: &NodeId| matches!(way(graph, *id), Some((_, Way::DownColumns | Way::Everything)));
            for id in stored.chain(kernel.steps.iter().map(|step| step.node).filter(summed)) {
                known.kept.entry(id).or_insert(index);
            }
            for (reader, operand) in reads(fused, kernel) {
                let (base, class) = resolve(graph, operand, kernel.domain);
                if let Op::Param(param) = graph[base].op {
                    known.readers[param].push((index, reader, class));
                }
            }
            let mut phases = HashMap::new();
            for step in &kernel.steps {
                let (first, last) = phases.entry(step.node).or_insert((step.phase, step.phase));
                (*first, *last) = (step.phase.min(*first), step.phase.max(*last));
            }
            known.phases.push(phases);
        }
        known
    }
}

/// Every operand of every step, with its reader.
fn reads<'a>(fused: &'a Fused, kernel: &'a Kernel) -> impl Iterator<Item = (NodeId, NodeId)> + 'a {
    let readers = kernel.steps.iter().map(|step| step.node).chain(kernel.product);
    let computed = readers.flat_map(|id| fused.graph[id].operands.iter().map(move |&operand| (id, operand)));
    computed.chain(kernel.stores.iter().map(|store| (store.node, store.node)))
}

/// What is read is a leaf, computed earlier in the same kernel, or kept by an earlier one.
fn ready(fused: &Fused, known: &Known, index: usize, reader: NodeId, operand: NodeId) -> Result<(), String> {
    let graph = &fused.graph;
    let kernel = &fused.kernels[index];
    let kept = |id: NodeId| known.kept.get(&id).is_some_and(|&keeper| keeper < index);
    if kernel.product == Some(reader) && operand != reader {
        let memory = graph.behind_reshapes(operand);
        return match matches!(graph[memory].op, Op::Input(_) | Op::Param(_)) || kept(memory) {
            true => Ok(()),
            false => Err(format!("the product %{} reads %{}, which is not kept", reader.0, memory.0)),
        };
    }
    let (base, _) = resolve(graph, operand, kernel.domain);
    let here = kernel.product == Some(base) || known.phases[index].contains_key(&base);
    match graph[base].op.is_leaf() || here || kept(base) || kept(operand) {
        true => Ok(()),
        false => Err(format!("%{} reads %{}, which is neither computed here nor kept", reader.0, base.0)),
    }
}

/// The kernel that overwrites a parameter reads of it at most the element that it writes, not in a later phase, and no
/// later kernel reads it.
fn last_reader(fused: &Fused, known: &Known, index: usize, param: usize, written: NodeId) -> Result<(), String> {
    let name = &fused.graph.slots.params[param].name;
    let phases = |id: NodeId| known.phases[index].get(&id).copied().unwrap_or((0, 0));
    for &(reading, reader, class) in known.readers[param].iter().filter(|(reading, ..)| *reading >= index) {
        if reading > index {
            return Err(format!("`{name}` is overwritten, but kernel {reading} still reads it"));
        }
        let too_late = phases(reader).1 > phases(written).0;
        if class != Class::Element || fused.kernels[index].product == Some(reader) || too_late {
            return Err(format!("`{name}` is overwritten while %{} still reads it", reader.0));
        }
    }
    Ok(())
}
