//! What a layer sees while it adds its operations to the graph.

use super::{Arg, Layout};
use crate::ir::{Builder, NodeId, Output, Role, ScalarSlot};
use crate::types::{Dim, Shape, TensorType};

/// What the graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; loss, metrics and next running statistics.
    Train,
    /// Running statistics; outputs, and loss and metrics if there are targets.
    Infer,
    /// Statistics of the batch, which become the running ones as they are; everything else as in inference.
    Calibrate,
    /// As in inference, but for what drops at random, which does.
    MonteCarlo,
}

impl Mode {
    /// Whether `Dropout` and its like drop.
    pub fn drops(self) -> bool {
        matches!(self, Mode::Train | Mode::MonteCarlo)
    }
}

/// Which running statistics are frozen: training normalizes by them, instead of by those of the batch, and does not update them.
#[derive(Clone, Copy)]
pub struct Frozen<'a> {
    /// Whether the one of this name is.
    pub named: &'a dyn Fn(&str) -> bool,
    /// The number of steps after which all of them are.
    pub after: Option<u64>,
}

impl Frozen<'_> {
    /// None of them.
    pub const NONE: Frozen<'static> = Frozen { named: &|_| false, after: None };
}

/// One position of a sequence, where a graph is that of one.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Where it is, `u32[B]`.
    pub position: NodeId,
    /// The length of the sequence.
    pub length: usize,
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
    /// In which order the value that comes in has its axes.
    pub layout: Layout,
    /// The second value of a layer that takes two.
    pub memory: Option<NodeId>,
    /// The values that arguments name, each with the name of its argument.
    pub named: Vec<(&'static str, NodeId)>,
    /// The layer's own names of parameters, and the paths of those of other layers whose transposes stand in their place.
    pub borrowed: Vec<(&'static str, &'static str)>,
    /// The position, where the graph is that of one.
    pub next: Option<Next>,
    /// What is to be kept for the positions after this one, in the order of the inputs that bring it back.
    pub kept: Vec<NodeId>,
    /// The steps after which running statistics are frozen, if they ever are.
    pub frozen_after: Option<u64>,
    path: &'a str,
    /// What the paths of its parameters begin with: its own, but in a layer that is used more than once.
    owner: &'a str,
}

impl<'a> Scope<'a> {
    /// For the layer with this path.
    pub(crate) fn new(b: &'a mut Builder, args: &'a [Arg], mode: Mode, path: &'a str, owner: &'a str) -> Scope<'a> {
        Scope {
            b,
            args,
            mode,
            layout: Layout::Declared,
            memory: None,
            named: Vec::new(),
            borrowed: Vec::new(),
            next: None,
            kept: Vec::new(),
            frozen_after: None,
            path,
            owner,
        }
    }

    /// The value that the argument of this name names, if it was given.
    pub fn value(&self, argument: &str) -> Option<NodeId> {
        self.named.iter().find(|(name, _)| *name == argument).map(|&(_, value)| value)
    }

    /// The layer's own parameter or running statistic of this name, or the transpose of one of another layer that stands in its
    /// place.
    pub fn param(&mut self, name: &str) -> NodeId {
        if let Some(&(_, path)) = self.borrowed.iter().find(|(own, _)| *own == name) {
            let params = &self.b.graph().slots.params;
            let index = params.iter().position(|slot| slot.name == path).expect("it was looked for when declared");
            let param = self.b.param(index);
            return self.b.transpose(param, &[1, 0]);
        }
        let index = self.slot(name);
        self.b.param(index)
    }

    /// What earlier positions left: a tensor of this shape with zeros for those that have not come, this one among them. What it leaves
    /// takes its place, along the axis along which `own` has the extent 1, when the graph has run.
    pub(super) fn earlier(&mut self, shape: &Shape, own: NodeId) -> NodeId {
        let before = self.b.new_input("cache", TensorType::f32(shape.clone()));
        self.kept.push(own);
        before
    }

    /// What the position before this one left, of this shape; zeros before the first. What this one leaves goes to [`Scope::kept`].
    pub(super) fn state(&mut self, shape: &Shape) -> NodeId {
        self.b.new_input("state", TensorType::f32(shape.clone()))
    }

    /// The next value of a running statistic.
    pub fn update(&mut self, name: &str, value: NodeId) {
        let role = Role::Update(self.slot(name));
        self.b.graph_mut().outputs.push(Output { role, node: value });
    }

    /// A run-time scalar: 1 if the running statistics of this layer are due on this step, else 0.
    pub fn due(&mut self, every: u64) -> NodeId {
        self.b.new_scalar(ScalarSlot::Due { layer: self.path.to_string(), every })
    }

    /// A truth value: whether running statistics are frozen on this step. None where they never are.
    pub fn frozen(&mut self) -> Option<NodeId> {
        let after = self.frozen_after.filter(|_| self.mode == Mode::Train)?;
        Some(self.b.is_set(ScalarSlot::StatisticsFrozen { after }))
    }

    /// Random numbers in [0, 1) for a value of this shape in the order of [`Scope::layout`], others for each layer, each forward
    /// pass and each element, whatever that order is. All but the last of the declared axes are rows.
    pub fn uniform(&mut self, shape: &Shape) -> NodeId {
        let numbers = self.declared_uniform(&self.layout.declared(shape));
        Layout::Declared.to(self.layout, self.b, numbers)
    }

    /// Random numbers for a value of this shape as it is declared.
    pub fn declared_uniform(&mut self, shape: &Shape) -> NodeId {
        let key = self.key();
        let (columns, leading) = match shape.0[..] {
            [ref leading @ .., last] if !leading.is_empty() => (last, leading),
            _ => (Dim::Fixed(1), &shape.0[..]),
        };
        let rows = Shape(leading.to_vec()).len().expect("extents were checked when the network was declared");
        let matrix = Shape(vec![rows, columns]);
        let [row, column] = [0, 1].map(|axis| self.b.iota(axis, &matrix));
        let key = key.map(|half| self.b.spread(half, &matrix));
        let numbers = self.b.uniform(key, row, column);
        if *shape == matrix { numbers } else { self.b.reshape(numbers, shape.clone()) }
    }

    /// The two halves of a key of this layer's own.
    fn key(&mut self) -> [NodeId; 2] {
        let scalars = &mut self.b.graph_mut().slots.scalars;
        let last = scalars.iter().rev().find_map(|slot| match slot {
            ScalarSlot::Key { stream, .. } => Some(*stream),
            _ => None,
        });
        let (first, layer) = (scalars.len(), self.path.to_string());
        let slot = |half| ScalarSlot::Key { layer: layer.clone(), stream: last.map_or(0, |last| last + 1), half };
        scalars.extend([0, 1].map(slot));
        [first, first + 1].map(|index| self.b.scalar(index))
    }

    fn slot(&self, name: &str) -> usize {
        let path = format!("{}.{name}", self.owner);
        let params = &self.b.graph().slots.params;
        // A layer declares its parameters just before it asks for them.
        params.iter().rposition(|slot| slot.name == path).expect("a layer asks for the parameters it declared")
    }
}
