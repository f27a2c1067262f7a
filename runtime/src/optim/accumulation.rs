//! Gradients of several batches added up before one update, as IR.
//!
//! In: a graph with gradients. Out: the graph that adds them to sums, each batch weighted by its rows, and the graph that
//! makes the update from the sums, as from the gradient of one batch with all those rows. The sums are parameters beside
//! the optimiser's state. The first batch behind an update overwrites them, so that nothing has to be cleared.

use std::rc::Rc;

use super::attach::{Trained, finish, scalar};
use super::{Optimisation, attach};
use crate::init::Init;
use crate::ir::{Builder, Graph, NodeId, Output, ParamSlot, Role, ScalarSlot, SlotKind};
use crate::types::{Dim, Shape};

/// Replaces every gradient by the next value of its sum.
pub fn accumulate(graph: &Graph, how: &Optimisation) -> Graph {
    let mut b = Builder::new(graph.clone());
    let (trained, others) = attach::split(&mut b, how);
    b.graph_mut().outputs = others;
    let sums = sums(&mut b, &trained);
    b.enter(Rc::from("accumulation"));
    let kept = scalar(&mut b, ScalarSlot::Kept);
    let rows = b.count(&Shape(vec![Dim::B]), &[0]);
    for (one, sum) in trained.iter().zip(sums) {
        enter(&mut b, one);
        let shape = b.shape(one.gradient);
        let old = b.param(sum);
        let [kept, rows] = [kept, rows].map(|scalar| b.spread(scalar, &shape));
        let old = b.mul(old, kept);
        let new = b.mul(one.gradient, rows);
        let node = b.add(old, new);
        b.graph_mut().outputs.push(Output { role: Role::Update(sum), node });
    }
    b.finish()
}

/// From a graph with gradients, the graph of the update that follows from their sums: it reads no input.
pub fn update(graph: &Graph, how: &Optimisation) -> Graph {
    let mut slots = graph.slots.clone();
    slots.inputs.clear();
    let mut b = Builder::new(Graph { slots, ..Graph::default() });
    for output in graph.outputs.iter().filter(|output| matches!(output.role, Role::Gradient(_))) {
        b.graph_mut().outputs.push(Output { role: output.role.clone(), node: NodeId(0) });
    }
    let (mut trained, _) = attach::split(&mut b, how);
    let sums = sums(&mut b, &trained);
    b.enter(Rc::from("accumulation"));
    let rows = scalar(&mut b, ScalarSlot::Rows);
    for (one, sum) in trained.iter_mut().zip(sums) {
        enter(&mut b, one);
        let sum = b.param(sum);
        let shape = b.shape(sum);
        let rows = b.spread(rows, &shape);
        one.gradient = b.div(sum, rows);
    }
    finish(b, how, trained)
}

/// From here on, nodes are part of the update of this parameter.
fn enter(b: &mut Builder, trained: &Trained) {
    let name = Rc::from(b.graph().slots.params[trained.param].name.as_str());
    b.enter(name);
}

/// Room for the sums, behind the optimiser's state.
fn sums(b: &mut Builder, trained: &[Trained]) -> Vec<usize> {
    let params = &mut b.graph_mut().slots.params;
    let first = params.len();
    for one in trained {
        let slot = &params[one.param];
        let (name, shape) = (format!("{}.accumulated", slot.name), slot.shape.clone());
        params.push(ParamSlot { name, shape, init: Init::Constant(0.0), kind: SlotKind::Optimiser(one.param) });
    }
    (first..params.len()).collect()
}
