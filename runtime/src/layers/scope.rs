//! What a layer sees while it adds its operations to the graph.

use super::Arg;
use crate::ir::{Builder, NodeId, Output, Role, ScalarSlot};

/// What the graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; loss, metrics and next running statistics.
    Train,
    /// Running statistics; outputs, and loss and metrics if there are targets.
    Infer,
}

/// What a layer sees while it adds its operations.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The graph under construction.
    pub b: &'a mut Builder,
    /// The layer's arguments.
    pub args: &'a [Arg],
    /// Training or inference.
    pub mode: Mode,
    path: &'a str,
}

impl<'a> Scope<'a> {
    /// For the layer with this path.
    pub(crate) fn new(b: &'a mut Builder, args: &'a [Arg], mode: Mode, path: &'a str) -> Scope<'a> {
        Scope { b, args, mode, path }
    }

    /// The layer's own parameter or running statistic of this name.
    pub fn param(&mut self, name: &str) -> NodeId {
        let index = self.slot(name);
        self.b.param(index)
    }

    /// The next value of a running statistic.
    pub fn update(&mut self, name: &str, value: NodeId) {
        let role = Role::Update(self.slot(name));
        self.b.graph_mut().outputs.push(Output { role, node: value });
    }

    /// A run-time scalar: 1 if the running statistics of this layer are due on this step, else 0.
    pub fn due(&mut self, every: u64) -> NodeId {
        let slots = &mut self.b.graph_mut().slots;
        slots.scalars.push(ScalarSlot::Due { layer: self.path.to_string(), every });
        let index = slots.scalars.len() - 1;
        self.b.scalar(index)
    }

    fn slot(&self, name: &str) -> usize {
        let path = format!("{}.{name}", self.path);
        let params = &self.b.graph().slots.params;
        params.iter().position(|slot| slot.name == path).expect("a layer asks for the parameters it declared")
    }
}
