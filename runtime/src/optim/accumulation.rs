//! Gradients of several batches merged before one update, as IR.
//!
//! In: a graph with a loss, or with its gradients. Out: the graph that merges the gradients of a batch with those before, and
//! the graph that makes the update from the merged gradients, as from the gradient of one batch with all those rows. How they
//! merge follows from the loss: see [`GradientMerge`]. A running mean is weighted by rows, with weights of at most 1, so that it
//! overflows no earlier than the gradient of one batch with all rows. The merged gradients are parameters next to the
//! optimizer's state. The first batch after an update overwrites them, so that nothing has to be cleared.

use std::collections::HashSet;
use std::rc::Rc;

use super::attach::{Trained, finish};
use super::{GradientMerge, TrainingConfig, attach, merge};
use crate::init::Init;
use crate::ir::origin::of_params;
use crate::ir::rewrite::{NodeMap, carry};
use crate::ir::{Builder, Graph, NodeId, Origin, Output, ParamSlot, Role, ScalarSlot, SlotKind};

/// Terms of a loss that do not depend on the rows, next to a sum over the rows, count once: only the first batch has their
/// gradient.
pub fn once(graph: &Graph, terms: &[NodeId]) -> Graph {
    if terms.is_empty() {
        return graph.clone();
    }
    let mut b = Builder::new(Graph { slots: graph.slots.clone(), ..Graph::default() });
    b.enter(Origin::of_layer(Rc::from("accumulation"), None));
    // Whether the batch is the first since the last update.
    let first = b.is_set(ScalarSlot::First);
    let map = carry(&mut b, 0, graph.nodes.clone(), &mut |b, _, _, node| Some(b.add_node(node)));
    let loss = graph.output(&Role::Loss).expect("only a graph with a loss is trained");
    b.enter(Rc::clone(&graph[loss].origin));
    let counted = once_in(graph, loss, terms, &map, first, &mut b);
    let outputs = graph.outputs.iter();
    let outputs = outputs.map(|output| {
        let node = if output.role == Role::Loss { counted } else { map.at(output.node) };
        Output { role: output.role.clone(), node }
    });
    b.graph_mut().outputs = outputs.collect();
    b.finish()
}

/// The same sum, in which these terms have a gradient in the first batch only. Other readers of the terms are unaffected.
fn once_in(graph: &Graph, sum: NodeId, terms: &[NodeId], map: &NodeMap, first: NodeId, b: &mut Builder) -> NodeId {
    let terms: HashSet<NodeId> = terms.iter().copied().collect();
    let in_sum = merge::in_sum(graph, sum, |id| terms.contains(&id));
    let mut counted: Vec<NodeId> = graph.ids().map(|id| map.at(id)).collect();
    for id in graph.ids().filter(|id| in_sum[id.index()]) {
        let copy = map.at(id);
        let parts = merge::parts(graph, id);
        if terms.contains(&id) {
            let shape = b.shape(copy);
            let [first, held] = [b.spread(first, &shape), b.detach(copy)];
            counted[id.index()] = b.select(first, copy, held);
        } else if !parts.is_empty() {
            let mut node = b.graph()[copy].clone();
            for at in parts {
                node.operands[at] = counted[graph[id].operands[at].index()];
            }
            counted[id.index()] = b.add_node(node);
        }
    }
    counted[sum.index()]
}

/// Replaces every gradient by the next value of the merged gradient.
pub fn accumulate(graph: &Graph, config: &TrainingConfig, merge: GradientMerge) -> Graph {
    let mut b = Builder::new(graph.clone());
    let (trained, others) = attach::split(&mut b, config, &of_params(graph));
    b.graph_mut().outputs = others;
    let merged = merged(&mut b, &trained);
    b.enter(Origin::of_updates("accumulation"));
    // Whether the batch is the first since the last update.
    let first = b.is_set(ScalarSlot::First);
    let share = b.new_scalar(ScalarSlot::Share);
    for (one, slot) in trained.iter().zip(merged) {
        b.enter(Rc::clone(&one.origin));
        let shape = b.shape(one.gradient);
        let old = b.param(slot);
        let next = match merge {
            GradientMerge::Sum => b.add(old, one.gradient),
            GradientMerge::Mean => {
                let minus = b.neg(share);
                let [share, minus] = [share, minus].map(|scalar| b.spread(scalar, &shape));
                let kept = b.mul_add(minus, old, old);
                b.mul_add(share, one.gradient, kept)
            }
        };
        let first = b.spread(first, &shape);
        let node = b.select(first, one.gradient, next);
        b.graph_mut().outputs.push(Output { role: Role::Update(slot), node });
    }
    b.finish()
}

/// From a graph with gradients, the graph of the update from the merged gradients: it reads no input.
pub fn update(graph: &Graph, config: &TrainingConfig) -> Graph {
    let mut slots = graph.slots.clone();
    slots.inputs.clear();
    let mut b = Builder::new(Graph { slots, ..Graph::default() });
    for output in graph.outputs.iter().filter(|output| matches!(output.role, Role::Gradient(_))) {
        b.graph_mut().outputs.push(Output { role: output.role.clone(), node: NodeId(0) });
    }
    let (mut trained, _) = attach::split(&mut b, config, &of_params(graph));
    let merged = merged(&mut b, &trained);
    for (one, slot) in trained.iter_mut().zip(merged) {
        b.enter(Rc::clone(&one.origin));
        one.gradient = b.param(slot);
    }
    finish(b, config, trained)
}

/// What the merged gradients of a parameter are called.
pub fn accumulated(param: &str) -> String {
    format!("{param}.accumulated")
}

/// The slots of the merged gradients, after the optimizer's state.
fn merged(b: &mut Builder, trained: &[Trained]) -> Vec<usize> {
    let params = &mut b.graph_mut().slots.params;
    let first = params.len();
    for one in trained {
        let slot = &params[one.param];
        let (name, shape, order) = (accumulated(&slot.name), slot.shape.clone(), slot.order);
        params.push(ParamSlot { name, shape, order, init: Init::Constant(0.0), kind: SlotKind::Optimizer(one.param) });
    }
    (first..params.len()).collect()
}
