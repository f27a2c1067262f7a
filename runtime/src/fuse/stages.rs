//! The order inside a kernel: its steps, and for each the first stage of the row in which its operands are known.

use std::collections::HashMap;

use super::Draft;
use super::domain::{ReductionAxes, read_access, reduction_axes};
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::Class;
use crate::reason::{Effort, RematerializeReason};
use crate::types::DType;

/// A map or a reduction in a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The operation.
    pub(super) node: NodeId,
    /// The class of its result, if a map; of its operand, if a reduction.
    pub(super) class: Class,
    /// The stage of the row in which it is computed.
    pub(super) stage: usize,
    /// Why it is computed here, if it is computed earlier as well.
    pub(super) rematerialized: Option<RematerializeReason>,
}

/// The steps of a kernel, each in the first stage in which all it needs is known. The nodes of the draft are in order.
pub(super) fn staged(g: &Graph, draft: &Draft) -> Vec<Step> {
    let domain = draft.domain;
    let reasons: HashMap<NodeId, RematerializeReason> = draft.rematerialized.iter().rev().copied().collect();
    let mut steps: Vec<Step> = Vec::new();
    let mut stages: HashMap<NodeId, usize> = HashMap::new();
    for &node in &draft.nodes {
        let mut stage = 0;
        for &operand in &g[node].operands {
            let (base, _) = read_access(g, operand, domain);
            if let Some(known) = stages.get(&base) {
                let along_row = matches!(reduction_axes(g, base), Some((_, ReductionAxes::AlongRow)));
                stage = stage.max(known + usize::from(along_row));
            }
        }
        let shape = if g[node].op.is_map() { &g[node].ty.shape } else { &g[g[node].operands[0]].ty.shape };
        let class = domain.class_of(shape).expect("a node is placed in a kernel that can compute it");
        steps.push(Step { node, class, stage, rematerialized: reasons.get(&node).copied() });
        stages.insert(node, stage);
    }
    sink(g, draft, &mut steps);
    repeat_register_only(g, draft, &mut steps);
    steps.sort_by_key(|step| step.node);
    steps
}

/// Moves maps to the stage that reads them first, so that they need not be stored until then.
fn sink(g: &Graph, draft: &Draft, steps: &mut [Step]) {
    let mut first: HashMap<NodeId, usize> = HashMap::new();
    for step in steps.iter_mut().rev() {
        if step.class == Class::Element && g[step.node].op.is_map() {
            step.stage = first.get(&step.node).copied().unwrap_or(step.stage);
        }
        for &operand in &g[step.node].operands {
            let read = first.entry(read_access(g, operand, draft.domain).0).or_insert(step.stage);
            *read = step.stage.min(*read);
        }
    }
}

/// What it takes to convert an integer.
const CONVERSION: Effort = Effort { operations: 1, reads: 0, writes: 0 };

/// Truth values and indices are not kept from stage to stage: they are recomputed, and so are numbers that are converted from them.
fn repeat_register_only(g: &Graph, draft: &Draft, steps: &mut Vec<Step>) {
    let mut known: HashMap<NodeId, Vec<(usize, Class)>> = HashMap::new();
    for step in &*steps {
        known.entry(step.node).or_default().push((step.stage, step.class));
    }
    // A step that is added is looked at next, since it may need others to be repeated.
    let mut open: Vec<Step> = steps.clone();
    while let Some(Step { node, class, stage, .. }) = open.pop() {
        for &operand in g[node].operands.iter().filter(|_| class == Class::Element) {
            let (base, _) = read_access(g, operand, draft.domain);
            let reason = match g[base].ty.dtype {
                DType::F32 if g[base].op == Op::ToFloat => RematerializeReason::Cheap(CONVERSION),
                DType::F32 => continue,
                _ if g[base].op.is_map() => RematerializeReason::RegisterOnly,
                _ => continue,
            };
            let Some(known) = known.get_mut(&base) else { continue };
            if !known.iter().any(|&(other, class)| other == stage || class != Class::Element) {
                let step = Step { node: base, class: Class::Element, stage, rematerialized: Some(reason) };
                known.push((stage, Class::Element));
                steps.push(step);
                open.push(step);
            }
        }
    }
}
