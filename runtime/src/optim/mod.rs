//! Optimisers: the update of a parameter as IR, compiled and fused with everything else.
//!
//! In: a graph with gradients. Out: the graph with, for each gradient, the next parameter and the next state in its
//! place. What varies from step to step (learning rate, bias corrections) enters as run-time scalars, computed on the host
//! in f64, so that nothing recompiles.

mod adam;
mod sgd;

use std::fmt::Debug;
use std::rc::Rc;

use crate::error::BuildError;
use crate::init::Init;
use crate::ir::{Builder, Graph, NodeId, Output, ParamSlot, Role, ScalarSlot, SlotKind};

pub use adam::{Adam, AdamW};
pub use sgd::Sgd;

/// A rule that turns gradients into updates.
pub trait Optimiser: Debug + Send {
    /// The learning rate that training starts with.
    fn rate(&self) -> f64;
    /// Says which setting is out of range, if one is.
    fn check(&self) -> Result<(), BuildError>;
    /// What is remembered of each parameter, by name; zero at first.
    fn state(&self) -> &'static [&'static str];
    /// The run-time scalars, by name.
    fn scalars(&self) -> &'static [&'static str];
    /// Their values at a step, counted from 1, in the order of `scalars`.
    fn values(&self, rate: f64, step: u64, values: &mut [f32]);
    /// Adds the update of one parameter to the graph: its next value, then the next state.
    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>);
}

/// What an update is made from; all tensors have the parameter's shape.
#[derive(Debug)]
pub struct At<'a> {
    /// The parameter.
    pub param: NodeId,
    /// The gradient of the loss.
    pub gradient: NodeId,
    /// The state, in the order of `Optimiser::state`.
    pub state: &'a [NodeId],
    /// The run-time scalars, in the order of `Optimiser::scalars`.
    pub scalars: &'a [NodeId],
}

/// Replaces every gradient of the graph by the updates that follow from it.
pub fn attach(graph: &Graph, optimiser: &dyn Optimiser) -> Graph {
    let mut b = Builder::new(graph.clone());
    let slots = &mut b.graph_mut().slots;
    let first = slots.scalars.len();
    slots.scalars.extend(optimiser.scalars().iter().map(|name| ScalarSlot::Optimiser(name)));
    b.enter(Rc::from("optimiser"));
    let scalars: Vec<NodeId> = (0..optimiser.scalars().len()).map(|index| b.scalar(first + index)).collect();

    let outputs = std::mem::take(&mut b.graph_mut().outputs);
    for output in outputs {
        match output.role {
            Role::Gradient(param) => update(&mut b, optimiser, param, output.node, &scalars),
            _ => b.graph_mut().outputs.push(output),
        }
    }
    b.finish()
}

fn update(b: &mut Builder, optimiser: &dyn Optimiser, param: usize, gradient: NodeId, scalars: &[NodeId]) {
    let slot = b.graph().slots.params[param].clone();
    b.enter(Rc::from(slot.name.as_str()));
    let mut indices = vec![param];
    let mut state = Vec::new();
    for name in optimiser.state() {
        let name = format!("{}.{name}", slot.name);
        let params = &mut b.graph_mut().slots.params;
        let (init, kind) = (Init::Constant(0.0), SlotKind::Optimiser(param));
        params.push(ParamSlot { name, shape: slot.shape.clone(), init, kind });
        indices.push(params.len() - 1);
        state.push(b.param(indices[indices.len() - 1]));
    }
    let param = b.param(param);
    let shape = b.shape(param);
    let scalars: Vec<NodeId> = scalars.iter().map(|&scalar| b.spread(scalar, &shape)).collect();
    let (next, next_state) = optimiser.update(b, &At { param, gradient, state: &state, scalars: &scalars });
    for (index, node) in indices.into_iter().zip(std::iter::once(next).chain(next_state)) {
        b.graph_mut().outputs.push(Output { role: Role::Update(index), node });
    }
}

/// A setting that must lie in `0 <= value < limit`.
fn within(name: &'static str, value: f64, limit: f64, wanted: &'static str) -> Result<(), BuildError> {
    match (0.0..limit).contains(&value) {
        true => Ok(()),
        false => Err(BuildError::Setting { name, wanted, actual: value.to_string() }),
    }
}

/// A learning rate: positive and finite, or zero to hold everything still.
pub(crate) fn check_rate(rate: f64) -> Result<(), BuildError> {
    within("learning rate", rate, f64::INFINITY, "a finite number of at least 0")
}
