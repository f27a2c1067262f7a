//! The order inside a kernel: steps, the phases of a row, and the size of a block.

use std::collections::HashMap;

use super::Draft;
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::{Class, Kernel, Step, Way, resolve, way};
use crate::reason::Again;
use crate::types::{DType, Dim};

/// Rows that a kernel works on at a time: enough to keep the ends of a block cheap, few enough to stay in the cache, for a
/// sum in single precision, and to share a batch of ordinary size between threads.
const BLOCK: usize = 64;
/// Elements of a block without rows of its own.
const FLAT_BLOCK: usize = 8192;

/// Orders the steps of a kernel, finds their phases and sets the block.
pub(super) fn finish(g: &Graph, mut draft: Draft) -> Kernel {
    draft.nodes.sort();
    draft.stores.sort_by_key(|store| (store.param, store.node));
    let domain = draft.domain;
    let steps = phased(g, &draft);
    let mut kernel =
        Kernel { domain, product: draft.product, steps, stores: draft.stores, block: BLOCK, begin: draft.begin };
    if kernel.is_flat(g) {
        kernel.block = (FLAT_BLOCK / domain.cols).max(1);
    }
    if let Dim::Fixed(rows) = domain.rows {
        kernel.block = kernel.block.min(rows.max(1));
    }
    kernel
}

/// The steps of a kernel, each in the phase in which all it needs is ready.
fn phased(g: &Graph, draft: &Draft) -> Vec<Step> {
    let domain = draft.domain;
    let reasons: HashMap<NodeId, Again> = draft.again.iter().rev().copied().collect();
    let mut steps: Vec<Step> = Vec::new();
    let mut phases: HashMap<NodeId, usize> = HashMap::new();
    for &node in &draft.nodes {
        let mut phase = 0;
        for &operand in &g[node].operands {
            let (base, _) = resolve(g, operand, domain);
            if let Some(known) = phases.get(&base) {
                let along_row = matches!(way(g, base), Some((_, Way::AlongRow)));
                phase = phase.max(known + usize::from(along_row));
            }
        }
        let shape = if g[node].op.is_map() { &g[node].ty.shape } else { &g[g[node].operands[0]].ty.shape };
        let class = domain.class_of(shape).expect("a node is placed in a kernel that can compute it");
        steps.push(Step { node, class, phase, again: reasons.get(&node).copied() });
        phases.insert(node, phase);
    }
    sink(g, draft, &mut steps);
    repeat_fleeting(g, draft, &mut steps);
    steps.sort_by_key(|step| step.node);
    steps
}

/// Moves maps to the phase that reads them first, so that nothing has to be kept of them until then.
fn sink(g: &Graph, draft: &Draft, steps: &mut [Step]) {
    let mut first: HashMap<NodeId, usize> = HashMap::new();
    for step in steps.iter_mut().rev() {
        if step.class == Class::Element && g[step.node].op.is_map() {
            step.phase = first.get(&step.node).copied().unwrap_or(step.phase);
        }
        for &operand in &g[step.node].operands {
            let read = first.entry(resolve(g, operand, draft.domain).0).or_insert(step.phase);
            *read = step.phase.min(*read);
        }
    }
}

/// Truth values and indices are not kept from phase to phase: they are computed again.
fn repeat_fleeting(g: &Graph, draft: &Draft, steps: &mut Vec<Step>) {
    let mut known: HashMap<NodeId, Vec<(usize, Class)>> = HashMap::new();
    for step in &*steps {
        known.entry(step.node).or_default().push((step.phase, step.class));
    }
    // What is repeated is looked at before the step that came before the one that reads it.
    let mut open: Vec<Step> = steps.clone();
    while let Some(Step { node, class, phase, .. }) = open.pop() {
        for &operand in g[node].operands.iter().filter(|_| class == Class::Element) {
            let (base, _) = resolve(g, operand, draft.domain);
            let fleeting = g[base].ty.dtype != DType::F32 && g[base].op.is_map();
            let Some(known) = known.get_mut(&base).filter(|_| fleeting) else { continue };
            if !known.iter().any(|&(other, class)| other == phase || class != Class::Element) {
                let step = Step { node: base, class: Class::Element, phase, again: Some(Again::Fleeting) };
                known.push((phase, Class::Element));
                steps.push(step);
                open.push(step);
            }
        }
    }
}

impl Kernel {
    /// Whether rows do not matter, so that a block is one run of elements.
    pub fn is_flat(&self, g: &Graph) -> bool {
        let element = |class: Class| matches!(class, Class::Element | Class::Single);
        let plain = |step: &Step| {
            let reads = g[step.node].operands.iter().all(|&operand| {
                let (base, class) = resolve(g, operand, self.domain);
                element(class) && !matches!(g[base].op, Op::Iota(_))
            });
            let reduces = way(g, step.node).is_none_or(|(_, way)| way == Way::Everything);
            step.phase == 0 && element(step.class) && reads && reduces
        };
        let stores = self.stores.iter().all(|store| {
            let (base, class) = resolve(g, store.node, self.domain);
            element(class) && !matches!(g[base].op, Op::Iota(_))
        });
        self.product.is_none() && self.steps.iter().all(plain) && stores
    }
}
