//! Arguments of layers and functions: which values they may have, and how a layer reads them.

use super::initializers::{Initializer, Weights};
use crate::init::Init;
use crate::types::{DType, Dim, Shape};

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
    /// One of [`initializers::ALL`](super::initializers::ALL), with its number if it takes one: `normal(0.02)`.
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
