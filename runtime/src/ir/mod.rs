//! The tensor IR: one graph of primitive operations in static single assignment, in topological order.
//!
//! In: nodes added through [`Builder`], which infers every type. Out: a [`Graph`] that each later stage borrows. A node
//! refers to earlier nodes only, so every sweep is a loop over indices. The graph carries its slots (inputs, parameters,
//! run-time scalars) along, and each node its origin: the layer and the pass that it is part of.

mod build;
pub mod declared;
mod kinds;
mod loops;
pub mod ops;
pub(crate) mod origin;
pub(crate) mod print;
pub mod rewrite;
mod unroll;
mod verify;

use std::rc::Rc;

use crate::init::Init;
use crate::scalar::Cmp;
use crate::types::{DType, TensorType};

pub use build::Builder;
pub use kinds::Kinds;
pub use loops::{Loop, nest};
pub use ops::{DotAxes, Window};
pub use origin::{Origin, Pass, SourcePlace};
pub use rewrite::{NodeMap, Rule, rewrite};
pub use unroll::unroll;
pub use verify::verify;

/// The index of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index into [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A primitive operation. [`ops`] defines what each means.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The input or target of this index.
    Input(usize),
    /// The parameter, running statistic or optimizer state of this index.
    Param(usize),
    /// The run-time scalar of this index, such as the learning rate.
    Scalar(usize),
    /// A constant in every element.
    Const(f64),
    /// The position along an axis.
    Iota(usize),
    /// A constant times the batch size, as a number.
    Count(usize),
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// `e^x`.
    Exp,
    /// `e^x - 1`.
    Expm1,
    /// The natural logarithm.
    Ln,
    /// `ln(1 + x)`.
    Log1p,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// The slope of `Sigmoid`.
    SigmoidSlope,
    /// The slope of `Tanh`.
    TanhSlope,
    /// `ln(1 + e^x)`.
    Softplus,
    /// The error function.
    Erf,
    /// The distribution function of the normal distribution.
    NormalCdf,
    /// The square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// A position as a number.
    ToFloat,
    /// An integral number as a position.
    ToIndex,
    /// The negation of a truth value.
    Not,
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`.
    Div,
    /// The larger of two.
    Max,
    /// The smaller of two.
    Min,
    /// An IEEE-754 comparison.
    Compare(Cmp),
    /// Whether two positions are the same.
    IndexEq,
    /// `a b + c`, rounded once.
    MulAdd,
    /// The second where the first holds, else the third.
    Select,
    /// The identity, through which no gradient flows.
    Detach,
    /// The first, to which the second contributes a gradient by the slope that is the third.
    WithSlope,
    /// A random number in [0, 1), from a key and a position.
    Uniform,
    /// The same elements in the same order under another shape: the node's type.
    Reshape,
    /// The operand's axis `i` becomes the result's axis `axes[i]`; along the others the operand repeats.
    Broadcast(Vec<usize>),
    /// The elements in another order of axes: axis `i` of the result is the operand's axis of this number.
    Transpose(Vec<usize>),
    /// Some of the elements along an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// The first element that is taken.
        start: usize,
        /// How many are taken.
        len: usize,
        /// From one to the next.
        step: usize,
    },
    /// Padding: the elements along an axis, with others around and between them.
    Pad {
        /// The axis.
        axis: usize,
        /// How many are added before the first element.
        before: usize,
        /// How many are added between any two neighbors.
        inside: usize,
        /// How many are added at the end.
        after: usize,
        /// What is added, as in [`Op::Const`].
        value: f64,
    },
    /// The operands one after the other, along this axis.
    Concat(usize),
    /// The elements under a window that moves along an axis. The axis becomes two: positions of the window, and its taps.
    Patches {
        /// The axis.
        axis: usize,
        /// The window.
        window: Window,
        /// What is read outside of the axis, as in [`Op::Const`].
        value: f64,
    },
    /// The adjoint of `Patches`: positions and taps become one axis, and what falls on the same element is added up.
    Fold {
        /// The axis of the positions; that of the taps follows it.
        axis: usize,
        /// The window.
        window: Window,
        /// The extent of the axis that they become.
        extent: usize,
    },
    /// The elements moved along an axis, by more for each step along another axis; zeros are moved in.
    Skew {
        /// The axis along which they move.
        axis: usize,
        /// The other axis.
        along: usize,
        /// What each step along the other axis adds to the coordinate that an element is taken from.
        step: i64,
        /// What is added to that coordinate in any case.
        shift: i64,
        /// The extent of the axis along which they move.
        extent: usize,
    },
    /// Rows of a table, by their numbers.
    Gather,
    /// The adjoint of `Gather`: starting from zeros, each value is added to the row whose number comes with it.
    ScatterAdd {
        /// How many rows there are.
        rows: usize,
    },
    /// The sum over these axes.
    Sum(Vec<usize>),
    /// The largest element over these axes.
    MaxOver(Vec<usize>),
    /// The mean over these axes, which of equal numbers is that number.
    Mean(Vec<usize>),
    /// The mean squared deviation from the mean over these axes (divided by the count).
    Variance(Vec<usize>),
    /// Sums of products of two tensors over pairs of axes: a matrix product, or one of more axes.
    Dot(DotAxes),
    /// The same with the last of the batch axes after all others: each column of the result has columns of its own in both operands.
    DotByColumn(DotAxes),
    /// The head of a [`Loop`]: the state before a step. A second operand is the head of the loop around, if it is inside of one.
    Carry {
        /// Another one for each loop of a graph, so that loops which begin alike stay two.
        number: u32,
        /// How many steps there are.
        steps: usize,
        /// Whether the steps are taken from the last element to the first.
        reverse: bool,
    },
    /// The element of a sequence for this step.
    Element,
    /// All states of a loop.
    History {
        /// How many steps there are.
        steps: usize,
    },
    /// A value of a loop's body, at every step.
    Collect {
        /// How many steps there are.
        steps: usize,
    },
}

/// One operation applied to earlier nodes.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From what; all of them earlier.
    pub operands: Vec<NodeId>,
    /// The type of the result.
    pub ty: TensorType,
    /// Where it comes from.
    pub origin: Rc<Origin>,
}

/// What a slot of the session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Trained, and one of the `weights` of the language: of a dense layer, not a bias or a norm's.
    Weight,
    /// Trained.
    Parameter,
    /// A running statistic.
    Running,
    /// What an optimizer remembers about the parameter of this index.
    Optimizer(usize),
    /// A table that the declaration gives, such as the weights of classes: never trained, and no parameter of the user's.
    Fixed,
}

/// A tensor that outlives a step: a parameter, a running statistic or a part of the optimizer's state.
#[derive(Clone, Debug)]
pub struct ParamSlot {
    /// The path: `dense1.weight`, `batch_norm2.running_mean`, `dense1.weight.m`.
    pub name: String,
    /// The extents, in the order in which memory and the graph have the axes.
    pub shape: Vec<usize>,
    /// The order in which users and files have the axes: their axis `i` is axis `order[i]` of `shape`. Empty where it is the same.
    pub order: &'static [usize],
    /// The first value.
    pub init: Init,
    /// What it is for.
    pub kind: SlotKind,
}

impl ParamSlot {
    /// The extents as users and files have them.
    pub fn declared_shape(&self) -> Vec<usize> {
        declared::declared_shape(&self.shape, self.order)
    }

    /// Number of elements.
    #[expect(clippy::len_without_is_empty, reason = "a parameter is never empty")]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A tensor that a caller passes in.
#[derive(Clone, Debug)]
pub struct InputSlot {
    /// The name of the port.
    pub name: &'static str,
    /// The type.
    pub ty: TensorType,
    /// Whether it is a target of the loss rather than an input of the network.
    pub target: bool,
    /// For class ids: how many classes there are.
    pub classes: Option<usize>,
}

/// A number that may change from step to step without recompiling.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarSlot {
    /// A number of the declaration by its name, and what it is unless it was set. These come before all others.
    Declared(&'static str, f64),
    /// A number of the optimizer by its name, such as `rate`, at this multiple of the learning rate. The numbers of one optimizer
    /// are adjacent.
    Optimizer(&'static str, f64),
    /// What decoupled decay leaves of a parameter: `1 - rate factor decay`.
    Decay {
        /// The share taken off, times the rate.
        decay: f64,
        /// The multiple of the learning rate.
        factor: f64,
    },
    /// Whether a batch is the first since the last update: 1 if so, otherwise 0.
    First,
    /// The share of a batch in all rows since the last update, its own included.
    Share,
    /// Whether the running statistics of a layer are due: 1 on steps 1, `every` + 1, ..., otherwise 0.
    Due {
        /// The path of the layer.
        layer: String,
        /// The period in steps.
        every: u64,
    },
    /// Whether running statistics are frozen: 0 for the first `after` steps, then 1.
    StatisticsFrozen {
        /// The number of steps.
        after: u64,
    },
    /// Half of the key of a layer's random numbers, an integer: another for each forward pass in training.
    Key {
        /// The path of the layer.
        layer: String,
        /// The number of the layer among those that draw random numbers.
        stream: u32,
        /// The first half or the second.
        half: usize,
    },
}

impl ScalarSlot {
    /// The type of the scalar.
    pub fn ty(&self) -> TensorType {
        match self {
            ScalarSlot::Declared(..)
            | ScalarSlot::Optimizer(..)
            | ScalarSlot::Decay { .. }
            | ScalarSlot::First
            | ScalarSlot::Share
            | ScalarSlot::Due { .. }
            | ScalarSlot::StatisticsFrozen { .. } => TensorType::scalar(),
            ScalarSlot::Key { .. } => TensorType::scalar().with(DType::U32),
        }
    }
}

/// What a result of the graph is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The loss, a scalar.
    Loss,
    /// The metric of this index.
    Metric(usize),
    /// The output port of this index.
    Output(usize),
    /// The gradient of the loss with respect to the parameter of this index.
    Gradient(usize),
    /// The next value of the parameter, statistic or state of this index.
    Update(usize),
    /// What diagnostics look at, or the number of this index that they make of it.
    Probe(usize),
}

/// A result of the graph.
#[derive(Clone, Debug)]
pub struct Output {
    /// What it is for.
    pub role: Role,
    /// Which node.
    pub node: NodeId,
}

/// What exists outside the graph and is referred to inside it by index.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// Inputs of the network, then targets.
    pub inputs: Vec<InputSlot>,
    /// Parameters, running statistics, optimizer state.
    pub params: Vec<ParamSlot>,
    /// Run-time scalars.
    pub scalars: Vec<ScalarSlot>,
    /// Names of the output ports.
    pub outputs: Vec<&'static str>,
    /// Names of the metrics.
    pub metrics: Vec<&'static str>,
}

/// A computation: nodes in topological order and the results that matter.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The operations.
    pub nodes: Vec<Node>,
    /// The results; whatever they do not need is dead.
    pub outputs: Vec<Output>,
    /// Inputs, parameters and scalars.
    pub slots: Slots,
}

impl Graph {
    /// All node ids in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The result with this role, if there is one.
    pub fn output(&self, role: &Role) -> Option<NodeId> {
        self.outputs.iter().find(|output| output.role == *role).map(|output| output.node)
    }

    /// The node that a view refers to, through all views.
    pub fn behind_views(&self, mut id: NodeId) -> NodeId {
        while self[id].op.is_view() {
            id = self[id].operands[0];
        }
        id
    }

    /// The node whose elements lie in memory as those of `id` do: through all reshapes.
    pub fn behind_reshapes(&self, mut id: NodeId) -> NodeId {
        while self[id].op == Op::Reshape {
            id = self[id].operands[0];
        }
        id
    }

    /// The constant that fills this node, if it is one.
    pub fn constant(&self, id: NodeId) -> Option<f64> {
        match self[id].op {
            Op::Const(c) => Some(c),
            _ => None,
        }
    }

    /// Which operands are transposed, if this node is a product of two matrices.
    pub fn matrix_product(&self, id: NodeId) -> Option<(bool, bool)> {
        let Op::Dot(axes) = &self[id].op else { return None };
        let matrices = self[id].operands.iter().all(|&operand| self[operand].ty.shape.rank() == 2);
        axes.as_matrix().filter(|_| matrices)
    }

    /// For every node, whether a result needs it.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for output in &self.outputs {
            live[output.node.index()] = true;
        }
        for id in self.ids().rev() {
            if live[id.index()] {
                for operand in &self[id].operands {
                    live[operand.index()] = true;
                }
            }
        }
        live
    }
}

impl std::ops::Index<NodeId> for Graph {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }
}
