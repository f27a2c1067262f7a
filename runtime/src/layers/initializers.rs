//! Every initializer of the language: one `const` each, with its name, its number if it takes one, its documentation and the
//! distribution that it asks for.

use super::{Arg, ArgDef, ArgKind, Gain};
use crate::init::Init;

/// All initializers, in the order of their documentation.
pub const ALL: &[&Initializer] = &[
    &AUTO,
    &ZEROS,
    &CONSTANT,
    &UNIFORM,
    &NORMAL,
    &XAVIER_UNIFORM,
    &XAVIER_NORMAL,
    &HE_UNIFORM,
    &HE_NORMAL,
    &LECUN_UNIFORM,
    &LECUN_NORMAL,
    &ORTHOGONAL,
];

/// The definition of an initializer.
#[derive(Debug)]
pub struct Initializer {
    /// As it is written.
    pub name: &'static str,
    /// The path of its `const` in this module, for the macro's expansion.
    pub item: &'static str,
    /// The number that it takes, if it takes one.
    pub number: Option<ArgDef>,
    /// The distribution, from what is known about the weights and from the number.
    pub init: fn(&Weights, f64) -> Init,
}

/// There is one of a name.
impl PartialEq for Initializer {
    fn eq(&self, other: &Initializer) -> bool {
        self.name == other.name
    }
}

impl Initializer {
    /// With its number, if it takes one.
    pub(crate) fn with(&'static self, args: &[Arg]) -> Arg {
        let number = args.iter().find_map(|arg| match arg {
            Arg::Float(x) => Some(*x),
            _ => None,
        });
        Arg::Init(self, number)
    }
}

/// What is known about weights before they have values.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// How many inputs one output sums over.
    pub fan_in: usize,
    /// How many outputs one input goes to.
    pub fan_out: usize,
    /// The first extent: the number of rows of the matrix that results if all other extents are merged.
    pub rows: usize,
    /// What suits the next activation.
    pub next: Gain,
}

macro_rules! initializer {
    ($(#[$meta:meta])* $item:ident $name:literal $init:expr) => {
        initializer! { @ $(#[$meta])* $item $name None, |weights, _| { let init: fn(&Weights) -> Init = $init; init(weights) } }
    };
    ($(#[$meta:meta])* $item:ident $name:literal ($arg:expr) $init:expr) => {
        initializer! { @ $(#[$meta])* $item $name Some($arg), $init }
    };
    (@ $(#[$meta:meta])* $item:ident $name:literal $arg:expr, $init:expr) => {
        $(#[$meta])*
        pub const $item: Initializer =
            Initializer { name: $name, item: stringify!($item), number: $arg, init: $init };
    };
}

const SPREAD: ArgKind = ArgKind::Number { least: 0.0, most: 1e6, range: "between 0 and 1e6" };

initializer! {
    /// What suits the activation that comes next; layers in between that keep the scale, as norms do, are passed over.
    ///
    /// - Value: `he_normal` before the relu family, `lecun_normal` before `selu`, `xavier_uniform` before every other
    ///   activation and where none follows
    AUTO "auto" |weights| match weights.next {
        Gain::He => he(weights).normal(),
        Gain::LeCun => lecun(weights).normal(),
        Gain::Xavier => xavier(weights).uniform(),
    }
}

initializer! {
    /// Zero everywhere. All units of a layer then learn the same; right for a last layer that is to begin with even odds.
    ///
    /// - Value: 0
    ZEROS "zeros" |_| Init::Constant(0.0)
}

initializer! {
    /// One number everywhere. All units of a layer then learn the same.
    ///
    /// - Value: `value`
    /// - Argument `value`: the number; a number between -1e6 and 1e6
    CONSTANT "constant" (ArgDef {
        name: "value",
        kind: ArgKind::Number { least: -1e6, most: 1e6, range: "between -1e6 and 1e6" },
        default: None,
        doc: "the number",
    })
    |_, value| Init::Constant(value as f32)
}

initializer! {
    /// Uniform around 0.
    ///
    /// - Value: uniform between `-bound` and `bound`, with standard deviation `bound / sqrt(3)`
    /// - Argument `bound`: how far from 0 at most; a number between 0 and 1e6
    UNIFORM "uniform" (ArgDef { name: "bound", kind: SPREAD, default: None, doc: "how far from 0 at most" })
    |_, bound| Init::Uniform { bound }
}

initializer! {
    /// Normal around 0.
    ///
    /// - Value: normal with mean 0 and standard deviation `deviation`, not cut off
    /// - Argument `deviation`: the standard deviation; a number between 0 and 1e6
    NORMAL "normal" (ArgDef { name: "deviation", kind: SPREAD, default: None, doc: "the standard deviation" })
    |_, deviation| Init::Normal { deviation }
}

initializer! {
    /// Uniform, with the variance at which activations and gradients keep their scale through linear layers; also named
    /// after Glorot.
    ///
    /// - Value: uniform within `sqrt(6 / (fan_in + fan_out))` of 0, with variance `2 / (fan_in + fan_out)`
    /// - Source: Glorot & Bengio 2010, equation 16
    XAVIER_UNIFORM "xavier_uniform" |weights| xavier(weights).uniform()
}

initializer! {
    /// Normal, with the variance of `xavier_uniform`.
    ///
    /// - Value: normal with mean 0 and variance `2 / (fan_in + fan_out)`
    /// - Source: Glorot & Bengio 2010, equation 12
    XAVIER_NORMAL "xavier_normal" |weights| xavier(weights).normal()
}

initializer! {
    /// Uniform, with the variance of `he_normal`.
    ///
    /// - Value: uniform within `sqrt(6 / fan_in)` of 0, with variance `2 / fan_in`
    /// - Source: He et al. 2015, equation 10
    HE_UNIFORM "he_uniform" |weights| he(weights).uniform()
}

initializer! {
    /// Normal, with the variance at which activations keep their scale through layers of rectifiers, each of which drops
    /// half of its input; also named after Kaiming.
    ///
    /// - Value: normal with mean 0 and variance `2 / fan_in`
    /// - Source: He et al. 2015, equation 10
    HE_NORMAL "he_normal" |weights| he(weights).normal()
}

initializer! {
    /// Uniform, with the variance of `lecun_normal`.
    ///
    /// - Value: uniform within `sqrt(3 / fan_in)` of 0, with variance `1 / fan_in`
    /// - Source: LeCun et al. 1998, equation 16
    LECUN_UNIFORM "lecun_uniform" |weights| lecun(weights).uniform()
}

initializer! {
    /// Normal, with the variance at which inputs of variance 1 give outputs of variance 1: what `selu` needs to keep its
    /// fixed point.
    ///
    /// - Value: normal with mean 0 and variance `1 / fan_in`
    /// - Source: LeCun et al. 1998, equation 16; Klambauer et al. 2017, section 2
    LECUN_NORMAL "lecun_normal" |weights| lecun(weights).normal()
}

initializer! {
    /// An orthogonal matrix, any as likely as any other, so that a linear layer keeps lengths where it can: its rows are
    /// orthonormal, or its columns, whichever there are fewer of.
    ///
    /// - Value: `gain Q`, with `Q^T Q = 1` for `[in, n]` where `in >= n`, else `Q Q^T = 1`; takes `2 in n min(in, n)`
    ///   operations to draw
    /// - Argument `gain = 1.0`: what lengths are multiplied by; a number between 0 and 1e6
    /// - Source: Saxe et al. 2014, section 3; Mezzadri 2007, section 5
    ORTHOGONAL "orthogonal" (ArgDef {
        name: "gain",
        kind: SPREAD,
        default: Some(Arg::Float(1.0)),
        doc: "what lengths are multiplied by",
    })
    |weights, gain| Init::Orthogonal { rows: weights.rows, gain }
}

/// A distribution around 0, by its variance.
struct Variance(f64);

impl Variance {
    fn normal(self) -> Init {
        Init::Normal { deviation: self.0.sqrt() }
    }

    /// The uniform distribution within `a` of 0 has variance `a^2 / 3`.
    fn uniform(self) -> Init {
        Init::Uniform { bound: (3.0 * self.0).sqrt() }
    }
}

fn xavier(weights: &Weights) -> Variance {
    Variance(2.0 / (weights.fan_in + weights.fan_out) as f64)
}

fn he(weights: &Weights) -> Variance {
    Variance(2.0 / weights.fan_in as f64)
}

fn lecun(weights: &Weights) -> Variance {
    Variance(1.0 / weights.fan_in as f64)
}
