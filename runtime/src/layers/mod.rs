//! Every layer and activation of the language: one `const` each, with name, arguments, documentation, shape rule,
//! parameters and its composition of primitive operations.
//!
//! The macro reads [`ALL`], so that a layer's arguments, ranges and shape rule exist once.

mod activations;
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
mod tables;
mod upsample;
mod windows;

use crate::init::Init;
use crate::ir::{Builder, NodeId, SlotKind};
use crate::types::{DType, Dim, Shape};
use initializers::{Initializer, Weights};

pub use activations::{
    CELU, ELU, GELU, HARD_SIGMOID, HARD_SWISH, HARD_TANH, LEAKY_RELU, LOG_SOFTMAX, MISH, RELU, SELU, SIGMOID, SILU,
    SOFTMAX, SOFTPLUS, SOFTSIGN, STEP, TANH,
};
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

/// The value of an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// A size or a count.
    Int(u64),
    /// Two sizes: height and width.
    Pair(u64, u64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Flag(bool),
    /// One of the words that the argument allows; written without quotes.
    Word(&'static str),
    /// A list of numbers, written `[1.0, 2.0]`; empty where it was left out.
    Numbers(&'static [f64]),
    /// Axes, or the extents of a row; none where they were left out.
    Ints(&'static [i64]),
    /// How weights start, with its number if it takes one.
    Init(&'static Initializer, Option<f64>),
    /// The path of a parameter or the name of a value; empty where it was left out.
    Path(&'static str),
}

/// The declaration of an argument.
#[derive(Debug)]
pub struct ArgDef {
    /// The name in `name = value`.
    pub name: &'static str,
    /// Which values it may have.
    pub kind: ArgKind,
    /// The value if it is left out; `None` if it is required.
    pub default: Option<Arg>,
    /// What it means, for documentation.
    pub doc: &'static str,
}

/// Which values an argument may have.
#[derive(Clone, Copy, Debug)]
pub enum ArgKind {
    /// An integer of at least 1.
    Size,
    /// An integer, or a word in its place.
    SizeOr {
        /// The least integer.
        least: u64,
        /// The word.
        word: &'static str,
    },
    /// An integer, or two as `(height, width)`.
    Sizes {
        /// The least integer.
        least: u64,
        /// A word that may stand in their place.
        word: Option<&'static str>,
    },
    /// A number within these bounds.
    Number {
        /// The least value.
        least: f64,
        /// The greatest value.
        most: f64,
        /// The bounds in words: "between 0 and 1".
        range: &'static str,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of numbers, each within these bounds. The shape rule says how many there have to be.
    Numbers {
        /// The least value.
        least: f64,
        /// The greatest value.
        most: f64,
        /// The bounds in words: "between 0 and 1".
        range: &'static str,
    },
    /// A number within these bounds, or a list of them, written `(1.0, 2.0)` or `[1.0, 2.0]`. The shape rule says how many there
    /// have to be.
    NumberOrList {
        /// The least value.
        least: f64,
        /// The greatest value.
        most: f64,
        /// The bounds in words: "between 0 and 1".
        range: &'static str,
    },
    /// An axis: an integer, negative where it counts from the end.
    Axis,
    /// Axes: one, or a list of them.
    Axes,
    /// The extents of a shape, the batch first: `[B, 4, 7]`. The argument is those of a row.
    Extents,
    /// One of [`initializers::ALL`], with its number if it takes one: `normal(0.02)`.
    Init,
    /// The path of a matrix that another layer owns. Its transpose stands in place of the layer's own parameter of the same name as
    /// the argument.
    Parameter,
    /// The name of a value.
    Value(Named),
}

/// What a value has to be that an argument names.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// `f32[B, T]`: a number for every position of what the layer looks at.
    Mask,
    /// `[B]`: for every row how many of its positions there are, as ids or numbers.
    Lengths,
    /// `f32[B, n]`: a state of so many numbers, from the arguments.
    State(fn(&[Arg]) -> usize),
}

impl Named {
    /// The shape of a value for a layer that looks at one of this shape.
    pub fn shape(self, looks_at: &Shape, args: &[Arg]) -> Shape {
        match self {
            Named::Mask => Shape(looks_at.0[..2].to_vec()),
            Named::Lengths => Shape(vec![looks_at.0[0]]),
            Named::State(size) => Shape(vec![looks_at.0[0], Dim::Fixed(size(args))]),
        }
    }

    /// Whether its elements may be of this type.
    pub fn accepts(self, dtype: DType) -> bool {
        dtype == DType::F32 || matches!(self, Named::Lengths) && dtype.is_index()
    }

    /// The shape in words.
    pub fn extents(self) -> &'static str {
        match self {
            Named::Mask => "[B, T]",
            Named::Lengths => "[B]",
            Named::State(_) => "[B, n]",
        }
    }
}

impl ArgKind {
    /// Converts an argument to the form that the layer reads, or says in words what is wanted.
    pub fn accept(self, arg: Arg) -> Result<Arg, String> {
        match (self, arg) {
            (ArgKind::Size, Arg::Int(n)) if n >= 1 => Ok(arg),
            (ArgKind::SizeOr { least, .. }, Arg::Int(n)) if n >= least => Ok(arg),
            (ArgKind::SizeOr { word: known, .. }, Arg::Word(word)) if word == known => Ok(Arg::Word(known)),
            (ArgKind::Sizes { least, .. }, Arg::Int(n)) if n >= least => Ok(arg),
            (ArgKind::Sizes { least, .. }, Arg::Pair(h, w)) if h >= least && w >= least => Ok(arg),
            (ArgKind::Sizes { word: Some(known), .. }, Arg::Word(word)) if word == known => Ok(Arg::Word(known)),
            (ArgKind::Number { least, most, .. }, Arg::Float(x)) if least <= x && x <= most => Ok(arg),
            (ArgKind::Number { .. }, Arg::Int(n)) => self.accept(Arg::Float(n as f64)),
            (ArgKind::Flag, Arg::Flag(_)) => Ok(arg),
            (ArgKind::Word(words), Arg::Word(word)) => match words.iter().find(|known| **known == word) {
                Some(&known) => Ok(Arg::Word(known)),
                None => Err(self.wanted()),
            },
            (ArgKind::Numbers { least, most, .. }, Arg::Numbers(list)) if !list.is_empty() => {
                let within = list.iter().all(|&x| least <= x && x <= most);
                if within { Ok(arg) } else { Err(self.wanted()) }
            }
            (ArgKind::NumberOrList { least, most, range }, Arg::Numbers(_)) => {
                ArgKind::Numbers { least, most, range }.accept(arg).map_err(|_| self.wanted())
            }
            (ArgKind::NumberOrList { least, most, range }, Arg::Int(_) | Arg::Float(_)) => {
                ArgKind::Number { least, most, range }.accept(arg).map_err(|_| self.wanted())
            }
            (ArgKind::Axis, Arg::Ints([_])) | (ArgKind::Axes, Arg::Ints([_, ..])) => Ok(arg),
            (ArgKind::Extents, Arg::Ints(list)) if list.iter().all(|&n| n >= 1) => Ok(arg),
            (ArgKind::Init, Arg::Init(..)) => Ok(arg),
            (ArgKind::Parameter | ArgKind::Value(_), Arg::Path(_)) => Ok(arg),
            _ => Err(self.wanted()),
        }
    }

    /// What is wanted, in words.
    pub fn wanted(self) -> String {
        match self {
            ArgKind::Size => "an integer of at least 1".to_string(),
            ArgKind::SizeOr { least, word } => format!("an integer of at least {least}, or `{word}`"),
            ArgKind::Sizes { least, word: None } => {
                format!("an integer of at least {least}, or two as `(height, width)`")
            }
            ArgKind::Sizes { least, word: Some(word) } => {
                format!("an integer of at least {least}, two as `(height, width)`, or `{word}`")
            }
            ArgKind::Number { range, .. } => format!("a number {range}"),
            ArgKind::Flag => "`true` or `false`".to_string(),
            ArgKind::Word(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                quoted.join(" or ")
            }
            ArgKind::Numbers { range, .. } => format!("a list of numbers {range}"),
            ArgKind::NumberOrList { range, .. } => format!("a number {range}, or a list with one for each channel"),
            ArgKind::Axis => "an axis, such as 1 or -1".to_string(),
            ArgKind::Axes => "an axis, such as -1, or a list of them, such as `[1, 2]`".to_string(),
            ArgKind::Extents => "a shape, such as `[B, 4, 7]`".to_string(),
            ArgKind::Init => "an initializer".to_string(),
            ArgKind::Parameter => "the path of a parameter, such as `embedding1.weight`".to_string(),
            ArgKind::Value(named) => format!("the name of a value {}", named.extents()),
        }
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

/// The integer argument of this position; the macro has checked it.
pub(crate) fn int(args: &[Arg], position: usize) -> usize {
    match args[position] {
        Arg::Int(n) => usize::try_from(n).expect("sizes were checked when the network was declared"),
        ref other => unreachable!("argument {position} was checked to be an integer, found {other:?}"),
    }
}

/// The extents of this position, the same along every axis if one number was given; the macro has checked them.
pub(crate) fn extents<const N: usize>(args: &[Arg], position: usize) -> [usize; N] {
    let size = |n: u64| usize::try_from(n).expect("sizes were checked when the network was declared");
    match args[position] {
        Arg::Int(n) => [size(n); N],
        Arg::Pair(height, width) if N == 2 => std::array::from_fn(|axis| size([height, width][axis])),
        ref other => unreachable!("argument {position} was checked to be extents, found {other:?}"),
    }
}

/// The word that stands in place of other values at this position, if one does.
pub(crate) fn word_of(args: &[Arg], position: usize) -> Option<&'static str> {
    match args[position] {
        Arg::Word(word) => Some(word),
        _ => None,
    }
}

/// The number of this position; the macro has checked it.
pub(crate) fn float(args: &[Arg], position: usize) -> f64 {
    match args[position] {
        Arg::Float(x) => x,
        ref other => unreachable!("argument {position} was checked to be a number, found {other:?}"),
    }
}

/// The truth value of this position; the macro has checked it.
pub(crate) fn flag(args: &[Arg], position: usize) -> bool {
    args[position] == Arg::Flag(true)
}

/// The word of this position; the macro has checked it.
pub(crate) fn word(args: &[Arg], position: usize) -> &'static str {
    match args[position] {
        Arg::Word(word) => word,
        ref other => unreachable!("argument {position} was checked to be a word, found {other:?}"),
    }
}

/// The path of this position, if one was given.
pub(crate) fn path(args: &[Arg], position: usize) -> Option<&'static str> {
    match args[position] {
        Arg::Path(path) => Some(path).filter(|path| !path.is_empty()),
        ref other => unreachable!("argument {position} was checked to be a path, found {other:?}"),
    }
}

/// The list of this position; the macro has checked it.
pub(crate) fn numbers(args: &[Arg], position: usize) -> &'static [f64] {
    match args[position] {
        Arg::Numbers(list) => list,
        ref other => unreachable!("argument {position} was checked to be a list, found {other:?}"),
    }
}

/// The axes or extents of this position; the macro has checked them.
pub(crate) fn ints(args: &[Arg], position: usize) -> &'static [i64] {
    match args[position] {
        Arg::Ints(list) => list,
        ref other => unreachable!("argument {position} was checked to be integers, found {other:?}"),
    }
}

/// How these weights start, by the initializer of this position.
pub(crate) fn init(args: &[Arg], position: usize, weights: &Weights) -> Init {
    match args[position] {
        Arg::Init(initializer, number) => (initializer.init)(weights, number.unwrap_or_default()),
        ref other => unreachable!("argument {position} was checked to be an initializer, found {other:?}"),
    }
}

/// Checks for `[B, .., features]`: the features are those of the last axis, whatever is before it.
pub(crate) fn last_axis(shape: &Shape) -> Result<usize, Misfit> {
    match shape.0[..] {
        [rows, .., columns] if rows.is_batch() => Ok(columns.factor()),
        _ => Err(Misfit { needs: "[B, .., features]".to_string(), hint: None }),
    }
}
