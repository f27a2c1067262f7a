//! What diagnostics look at: the values that go in and out of each layer, and the states of those that have any.

use std::rc::Rc;

use super::{Lowering, lowered};
use crate::elaborate::Step;
use crate::error::BuildError;
use crate::ir::{Graph, NodeId, Output, Role, nest};
use crate::layers::{Arg, Frozen, LayerDef, Mode};
use crate::network::Definition;

/// Lowers a network for training. The inputs, outputs and states of every layer are among its results: for the layer of index `i`,
/// those with the roles from `Probe(3 i)` on. In a loop they are another value at each step, and none.
pub fn lower_with_probes(
    definition: &'static Definition<'static>,
    frozen: Frozen<'_>,
) -> Result<(Graph, Vec<Probed>), BuildError> {
    let Lowering { mut b, layers, .. } = lowered(definition, Mode::Train, frozen)?;
    for (index, layer) in layers.iter().enumerate() {
        let ends = [layer.x, layer.y, layer.states].into_iter().enumerate();
        let ends = ends.filter_map(|(end, node)| Some(Output { role: Role::Probe(3 * index + end), node: node? }));
        b.graph_mut().outputs.extend(ends);
    }
    Ok((nest(b.finish()), layers))
}

/// A layer or function, with the nodes of its input and output.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The path.
    pub path: Rc<str>,
    /// What the paths of its parameters begin with.
    pub owner: Rc<str>,
    /// The layer and its arguments; none for a function of the user's own.
    pub layer: Option<(&'static LayerDef, Vec<Arg>)>,
    /// What goes in; none where it is another value at each step of a loop, or a loop itself.
    pub x: Option<NodeId>,
    /// What comes out; none where it is another value at each step of a loop.
    pub y: Option<NodeId>,
    /// All states, the first one included, where it is a loop by itself.
    pub states: Option<NodeId>,
}

impl Lowering<'_> {
    /// What goes in and out of a layer, and its states.
    pub(super) fn probe(
        &mut self,
        step: &Step<'static>,
        layer: Option<(&'static LayerDef, Vec<Arg>)>,
        ends: [Option<NodeId>; 3],
    ) {
        let (path, owner) = (Rc::clone(&step.path), Rc::clone(&step.owner));
        let [x, y, states] = ends.map(|end| end.filter(|_| step.inside.is_none()));
        self.layers.push(Probed { path, owner, layer, x, y, states });
    }
}
