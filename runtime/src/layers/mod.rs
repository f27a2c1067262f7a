//! Every layer and activation of the language: one `const` each, with name, arguments, documentation, shape rule,
//! parameters and its composition of primitive operations.
//!
//! The macro reads [`ALL`], so that a layer's arguments, ranges and shape rule exist once.

mod activations;
mod arguments;
mod attend;
mod attention;
mod augment;
mod batch_norm;
mod conv1d;
mod conv2d;
mod conv_transpose2d;
mod convolve;
mod dense;
mod dropout;
mod embedding;
mod flatten;
mod gates;
mod group_norm;
pub mod initializers;
mod layer_norm;
mod layout;
mod levels;
mod normal;
mod normalize;
mod pooling;
mod positions;
mod prelu;
mod recurrent;
mod rms_norm;
mod rows;
mod scope;
mod standardize;
pub(crate) mod steps;
mod tables;
mod upsample;
mod windows;

use crate::init::Init;
use crate::ir::{Builder, NodeId, SlotKind};
use crate::types::Shape;

pub use activations::{
    CELU, ELU, GELU, HARD_SIGMOID, HARD_SWISH, HARD_TANH, LEAKY_RELU, LOG_SOFTMAX, MISH, RELU, SELU, SIGMOID, SILU,
    SOFTMAX, SOFTPLUS, SOFTSIGN, STEP, TANH,
};
pub use arguments::{Arg, ArgDef, ArgKind, Named};
pub(crate) use arguments::{extents, flag, float, init, int, ints, numbers, path, word, word_of};
pub use attention::{ATTENTION, CROSS_ATTENTION};
pub use augment::{RANDOM_CROP, RANDOM_FLIP};
pub use batch_norm::BATCH_NORM;
pub use conv_transpose2d::CONV_TRANSPOSE2D;
pub use conv1d::CONV1D;
pub use conv2d::CONV2D;
pub use dense::DENSE;
pub use dropout::DROPOUT;
pub use embedding::EMBEDDING;
pub use flatten::FLATTEN;
pub use group_norm::GROUP_NORM;
pub use layer_norm::LAYER_NORM;
pub use layout::Layout;
pub use normal::NORMAL_NOISE;
pub use normalize::NORMALIZE;
pub use pooling::{AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL};
pub use positions::{POSITIONAL, POSITIONS};
pub use prelu::PRELU;
pub use recurrent::{GRU, LSTM, RNN};
pub use rms_norm::RMS_NORM;
pub use scope::{Frozen, Mode, Next, Scope};
pub use standardize::{MIN_MAX, STANDARDIZE};
pub use upsample::UPSAMPLE;

/// All layers, in the order of their documentation.
pub const ALL: &[&LayerDef] = &[
    &DENSE,
    &EMBEDDING,
    &POSITIONAL,
    &POSITIONS,
    &ATTENTION,
    &CROSS_ATTENTION,
    &RNN,
    &GRU,
    &LSTM,
    &NORMALIZE,
    &RANDOM_CROP,
    &RANDOM_FLIP,
    &CONV2D,
    &CONV1D,
    &CONV_TRANSPOSE2D,
    &UPSAMPLE,
    &MAX_POOL,
    &AVG_POOL,
    &GLOBAL_AVG_POOL,
    &GLOBAL_MAX_POOL,
    &STANDARDIZE,
    &MIN_MAX,
    &BATCH_NORM,
    &LAYER_NORM,
    &RMS_NORM,
    &GROUP_NORM,
    &DROPOUT,
    &NORMAL_NOISE,
    &FLATTEN,
    &STEP,
    &SIGMOID,
    &TANH,
    &RELU,
    &LEAKY_RELU,
    &PRELU,
    &ELU,
    &CELU,
    &SELU,
    &GELU,
    &SILU,
    &SOFTPLUS,
    &MISH,
    &HARD_SIGMOID,
    &HARD_SWISH,
    &HARD_TANH,
    &SOFTSIGN,
    &SOFTMAX,
    &LOG_SOFTMAX,
];

/// The definition of a layer.
#[derive(Debug)]
pub struct LayerDef {
    /// As it is written: `UpperCamel` if it owns parameters or state; `snake_case` if it is an activation, `prelu` included, or
    /// only moves elements.
    pub name: &'static str,
    /// The path of its `const` under [`crate::layers`], for the macro's expansion.
    pub item: &'static str,
    /// The stem of its path in names and in the IR: `dense` in `dense1.weight`.
    pub stem: &'static str,
    /// The arguments, in positional order.
    pub args: &'static [ArgDef],
    /// The shape of the output, from that of the input.
    pub shape: fn(&Shape, &[Arg]) -> Result<Shape, Misfit>,
    /// The parameters and statistics that it owns, from the shape of the input.
    pub params: fn(&Shape, &[Arg], Gain) -> Vec<ParamDef>,
    /// The composition of primitive operations, added to the graph of `Scope`. In and out are in the order of `layout`.
    pub lower: fn(&mut Scope<'_>, NodeId) -> NodeId,
    /// What flows in.
    pub takes: Takes,
    /// The fewest rows that a training batch may have, from the shape of the output: 2 where each number of a row is normalized by
    /// the variance of the batch.
    pub least_rows: fn(&Shape) -> usize,
    /// With these arguments, whether inference makes of each position of a sequence `[B, T, ..]` what it would make of it alone, or
    /// looks back at what `Scope::kept` has of the positions before.
    pub by_position: fn(&[Arg]) -> bool,
    /// In which order it wants the axes of an image; `None` if it does the same with every element, in whatever order they come.
    pub layout: Option<Layout>,
    /// For an activation: the initialization that suits the weights before it.
    pub gain: Option<Gain>,
    /// For a pure function: the composition, also usable in expressions.
    pub function: Option<Function>,
}

/// What flows into a layer.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A value of numbers.
    Numbers,
    /// A value of numbers, or the bytes of an image: an input of `u8`.
    NumbersOrBytes,
    /// The class ids of an input: how many classes there are, from the arguments.
    Ids(fn(&[Arg]) -> usize),
    /// Two values of numbers: whether the shape of the second suits that of the first.
    Memory(fn(&Shape, &Shape, &[Arg]) -> Result<(), Misfit>),
}

/// The composition of a pure function, from a value to a value.
pub type Function = fn(&mut Builder, &[Arg], NodeId) -> NodeId;

/// Which default initialization suits the activation that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// He normal: the activation drops half of its input.
    He,
    /// LeCun normal: the activation keeps mean 0 and variance 1.
    LeCun,
    /// Xavier uniform: the activation is close to the identity around 0.
    Xavier,
}

/// A parameter or running statistic of a layer.
#[derive(Clone, Debug)]
pub struct ParamDef {
    /// The last part of its path.
    pub name: &'static str,
    /// The extents, in the order of the graph.
    pub shape: Vec<usize>,
    /// The order in which users and files have the axes, as in [`ParamSlot::order`](crate::ir::ParamSlot::order).
    pub order: &'static [usize],
    /// The first value.
    pub init: Init,
    /// Weight, other parameter or running statistic.
    pub kind: SlotKind,
}

impl LayerDef {
    /// The parameters that a layer declares, apart from those that it takes from other layers.
    pub fn own_params(&self, x: &Shape, args: &[Arg], next: Gain) -> Vec<ParamDef> {
        let mut params = (self.params)(x, args, next);
        params.retain(|param| self.borrowed(args, param.name).is_none());
        params
    }

    /// The path of the parameter whose transpose stands in place of the layer's own of this name, if one was given.
    pub fn borrowed(&self, args: &[Arg], name: &str) -> Option<&'static str> {
        let position = self.args.iter().position(|arg| matches!(arg.kind, ArgKind::Parameter) && arg.name == name)?;
        path(args, position)
    }

    /// The values that arguments name: each with the name of its argument, what it has to be, and its own name.
    pub fn named(&self, args: &[Arg]) -> impl Iterator<Item = (&'static str, Named, &'static str)> {
        let named = self.args.iter().zip(args).filter_map(|(arg, value)| match (arg.kind, value) {
            (ArgKind::Value(named), &Arg::Path(name)) if !name.is_empty() => Some((arg.name, named, name)),
            _ => None,
        });
        named.collect::<Vec<_>>().into_iter()
    }
}

impl ParamDef {
    /// One that users see in the order of the graph.
    pub(crate) fn new(name: &'static str, shape: Vec<usize>, init: Init, kind: SlotKind) -> ParamDef {
        ParamDef { name, shape, order: &[], init, kind }
    }
}

/// Why a shape does not fit a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What the layer needs: `[B, features]`.
    pub needs: String,
    /// What may help: "insert `flatten` before it (gives [B, 400])".
    pub hint: Option<String>,
}

/// Checks for `[B, .., features]`: the features are those of the last axis, whatever is before it.
pub(crate) fn last_axis(shape: &Shape) -> Result<usize, Misfit> {
    match shape.0[..] {
        [rows, .., columns] if rows.is_batch() => Ok(columns.factor()),
        _ => Err(Misfit { needs: "[B, .., features]".to_string(), hint: None }),
    }
}
