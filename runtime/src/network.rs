//! The static description of a declared network: what `network!` expands to, in constants.
//!
//! In: the declaration, parsed and resolved by the macro. Out: what `elaborate` checks and unfolds, in the macro and again
//! at run time. Names are resolved (a stage points at its layer, a call at its function) and blocks are written out;
//! repeated bodies are not, and a size that comes from a Rust constant is known at run time alone. Nothing is computed here.

mod assembled;
pub mod number;
mod scan;

use crate::functions::FunctionDef;
use crate::layers::initializers::Initializer;
use crate::layers::{Arg, LayerDef};
use crate::types::{DType, Shape, TensorType};

pub use crate::ir::SourcePlace;

pub use assembled::{Assembled, Size, Use};
pub(crate) use number::is_normal_f32;
pub use number::{Number, Outcome, fits_f32};
pub use scan::Scan;

/// The columns of a history beside the loss and the metrics, which therefore have other names.
pub const COLUMNS: [&str; 4] = ["epoch", "steps", "rate", "seconds"];

/// A declared network.
#[derive(Debug)]
pub struct Definition<'a> {
    /// The name of the type.
    pub name: &'a str,
    /// What flows in.
    pub inputs: &'a [Port<'a>],
    /// What flows out.
    pub outputs: &'a [Port<'a>],
    /// What the loss and the metrics compare with.
    pub targets: &'a [Port<'a>],
    /// Functions of the user's own, named or not.
    pub acts: &'a [Act<'a>],
    /// Numbers that are never trained and may change from step to step.
    pub scalars: &'a [Scalar<'a>],
    /// Layers with names, which stages use by index, as often as they like. Their segment is the name.
    pub layers: &'a [Stage<'a>],
    /// The stages of a body that is one flow from the input to the output, each applied to the result of the one before;
    /// none where the body is made of flows.
    pub body: &'a [Stage<'a>],
    /// The flows of a body, each made of values before it; none where the body is a list of stages.
    pub flows: &'a [Flow<'a>],
    /// What training makes small: an expression without axes.
    pub loss: Option<Clause<'a>>,
    /// What is reported beside the loss.
    pub metrics: &'a [Clause<'a>],
    /// Where each [`At`] is.
    pub places: &'a [SourcePlace],
    /// What is known since it was assembled, of a network with sizes that are chosen when a program runs, or with blocks from
    /// elsewhere.
    pub assembled: Option<&'a Assembled<'a>>,
}

impl Definition<'_> {
    /// Where something is declared.
    pub fn place(&self, at: At) -> SourcePlace {
        self.places.get(at.0 as usize).copied().unwrap_or_default()
    }
}

/// Something that a message may point at: an index into the places of the definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct At(pub u32);

/// A named tensor at the edge of a network.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// The name in the declaration, or the one it has by default.
    pub name: &'a str,
    /// Whether the declaration gives the name.
    pub named: bool,
    /// The element type.
    pub dtype: DType,
    /// The extents.
    pub dims: &'a [Extent<'a>],
    /// The brackets.
    pub at: At,
}

/// An extent of a port.
#[derive(Clone, Copy, Debug)]
pub enum Extent<'a> {
    /// The batch.
    Batch(At),
    /// A size.
    Size(Number<'a>),
}

/// `scalar weight = 0.5;`: a number that is never trained and may change from step to step.
#[derive(Clone, Copy, Debug)]
pub struct Scalar<'a> {
    /// The name.
    pub name: &'a str,
    /// What it is unless it was set.
    pub value: f64,
    /// The name.
    pub at: At,
}

/// One line of a body of named flows: `let u = user -> Dense(128), relu;`, `score = sum(u * v, axis = -1);`.
#[derive(Debug)]
pub struct Flow<'a> {
    /// What the result is called. The paths of the stages begin with it.
    pub name: &'a str,
    /// What flows in: one value, or several for a first stage that joins them.
    pub sources: &'a [Expr<'a>],
    /// What it goes through; nothing where the result is that of the expression.
    pub stages: &'a [Stage<'a>],
    /// The parts of equal size that the result is taken into, if it is.
    pub split: Option<Split<'a>>,
    /// The name.
    pub at: At,
}

/// The parts of a value along an axis: `let (mean, spread) = h -> split;`.
#[derive(Clone, Copy, Debug)]
pub struct Split<'a> {
    /// What the parts are called, the first one first.
    pub names: &'a [&'a str],
    /// The axis, counted from the end where it is negative.
    pub axis: Number<'a>,
    /// The word.
    pub at: At,
}

/// One stage of a body.
#[derive(Debug)]
pub struct Stage<'a> {
    /// What it does.
    pub kind: Kind<'a>,
    /// Its part of the path that names its parameters and its lines in the IR: `dense1`, or the name given with `as`.
    pub segment: &'a str,
    /// Whether the segment was given with `as`, so that losses and metrics know the result by it.
    pub named: bool,
    /// As the declaration writes it: `Dense(256)`.
    pub text: &'a str,
    /// Where the declaration writes it.
    pub at: At,
}

/// What a stage does.
#[derive(Debug)]
pub enum Kind<'a> {
    /// A layer and its arguments, all of them, defaults filled in.
    Layer(&'static LayerDef, &'a [Value<'a>]),
    /// The function of this index, and how its trainable numbers start.
    Act(usize, &'a [f64]),
    /// The stages of a block.
    Block(&'a [Stage<'a>]),
    /// The result of a body added to what came in, or to what a shortcut makes of it.
    ///
    /// - Value: `y = body(x) + x`, or `body(x) + skip(x)`
    /// - Shapes: `f32[S] -> f32[S]` without a shortcut; with one, `f32[S] -> f32[T]`, which body and shortcut both give
    /// - Parameters: those of the layers inside, as `residual1.dense1.weight` and `residual1.skip.dense1.weight`
    /// - Gradient: `dx` is `dy` plus the gradient through the body: it reaches the first layer of a deep stack whatever
    ///   the layers in between do to it
    /// - Source: He et al. 2016, equation 1
    Residual {
        /// The body.
        body: &'a [Stage<'a>],
        /// The shortcut, if there is one.
        skip: Option<&'a [Stage<'a>]>,
    },
    /// A body `n` times, one copy after the other, each with parameters of its own.
    ///
    /// - Value: `y = body(.. body(x) ..)`
    /// - Shapes: those of the copies one after the other; each takes what the one before it gives
    /// - Argument `n`: how many copies; an integer of at least 1
    /// - Parameters: those of the layers inside, for every copy: `repeat1.1.dense1.weight`, `repeat1.2.dense1.weight`
    /// - Gradient: through every copy; no parameter is shared
    Repeat {
        /// How often, at least once.
        count: Number<'a>,
        /// The body.
        body: &'a [Stage<'a>],
    },
    /// Bodies beside each other, each applied to what came in, and their results one after the other: along the channels of
    /// images, the features of a matrix.
    ///
    /// - Value: `y = (first(x), second(x), ..)` along the second axis
    /// - Shapes: each body `f32[S] -> f32[B, n, ...]` with an `n` of its own; together `f32[S] -> f32[B, n1 + n2 + .., ...]`
    /// - Parameters: those of the layers inside, as `concat1.1.conv1.weight` and `concat1.2.conv1.weight`
    /// - Gradient: to each body the part of `dy` that belongs to its result; `dx` is the sum of what they send back
    /// - A body that leaves `x` as it is: `{ |x| x }`
    /// - Source: Szegedy et al. 2015, section 4
    Branches {
        /// The bodies, one at least.
        bodies: &'a [&'a [Stage<'a>]],
    },
    /// A loop over the elements of a sequence: at each step the body makes the next state of the element and the state so far.
    ///
    /// - Value: `h_t = body(x_t, h_(t-1))` for `t` from 0 to `T - 1`, or with `reverse = true` from `T - 1` to 0. The first state is
    ///   zero, or the value that `initial` names. With `lengths = n`, a value `[B]`, positions from `n` on leave the state as it
    ///   is, and give zeros. All states, or with `last = true` the one after the last step alone
    /// - Shapes: `f32[B, T, R] -> f32[B, T, S]`, or `f32[B, S]` with `last = true`, where the body makes `f32[B, S]` of `f32[B, R]`
    ///   and `f32[B, S]`; `R` is at least one axis
    /// - Argument `n`: the size of a state `f32[B, n]`; without it the state has the shape of `initial`, else that of an element
    /// - Argument `last = false`: whether to give the state after the last step alone; `true` or `false`
    /// - Argument `reverse = false`: whether to begin with the last position; `true` or `false`
    /// - Argument `initial = none`: the state before the first step; the name of a value
    /// - Argument `lengths = none`: how many positions each row has, as class ids or numbers; the name of a value
    /// - Body: an expression, or in braces lines `let z = ..;` and a last one without `;`, which is the next state. `x` and `h` are
    ///   the element and the state; whatever else the network has is the same at every step. What the body names is not seen
    ///   outside
    /// - Parameters: those of the layers inside, as `scan1.dense1.weight` and `scan1.z.dense1.weight`, and trained numbers that follow
    ///   the two names, as `scan1.decay`: the same at every step, and so are random numbers, as the mask of a `Dropout`
    /// - Gradient: through all steps
    /// - Source: Werbos 1990 for the gradient; Gal & Ghahramani 2016 for one mask
    Scan(&'a Scan<'a>),
    /// The layer of this index among those with names: its parameters are the same wherever it is used.
    Shared(usize),
    /// The values that flow in, one after the other along an axis, which is counted from the end where it is negative. The
    /// first stage of a flow: `(u, v) -> concat, Dense(16)`.
    ///
    /// - Value: the elements of the first along the axis, then those of the second, and so on
    /// - Shapes: `f32[B, n], f32[B, m] -> f32[B, n + m]`; all other axes agree
    /// - Argument `axis = -1`: along which axis; not that of the batch
    /// - Gradient: to each what comes back for its elements
    Concat(Number<'a>),
    /// A block or a function from elsewhere, which the macro does not see; never in a program that compiles, where what it is
    /// stands in its place.
    Elsewhere,
    /// A mistake that the macro has reported; never in a program that compiles.
    Broken,
}

/// The value of an argument, as far as the macro knows it.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Known and checked.
    Known(Arg),
    /// Calculated from a Rust constant.
    Calculated(Number<'a>),
    /// Two sizes, one of them at least calculated from a Rust constant.
    Pair(&'a [Number<'a>; 2]),
    /// Axes or extents, one of them at least calculated, and what they are if all are known: see [`Value::list`]. A network that has
    /// any is assembled.
    List(&'a [Number<'a>], &'static [i64]),
    /// An initializer, and the value of its number if it takes one.
    Init(&'static Initializer, At, &'a [Value<'a>]),
    /// A mistake that the macro has reported; never in a program that compiles.
    Broken,
}

impl<'a> Value<'a> {
    /// Axes or extents. If they are known they are kept as long as the program runs, as arguments are.
    pub fn list(numbers: &'a [Number<'a>]) -> Value<'a> {
        let known = numbers.iter().map(|number| match number.value {
            Outcome::Int(n) => Some(n),
            _ => None,
        });
        Value::List(numbers, known.collect::<Option<Vec<i64>>>().unwrap_or_default().leak())
    }
}

/// A function of the user's own: `|x, beta = 1.0| x * sigmoid(beta * x)`.
#[derive(Debug)]
pub struct Act<'a> {
    /// The name, or none for a function written into a body.
    pub name: Option<&'a str>,
    /// The name of the value that it is applied to.
    pub operand: &'a str,
    /// The names of its trainable numbers, and how they start.
    pub extras: &'a [(&'a str, f64)],
    /// What it computes.
    pub expr: Expr<'a>,
}

/// The loss or a metric.
#[derive(Debug)]
pub struct Clause<'a> {
    /// The name of the field in the metrics of the network.
    pub name: &'a str,
    /// The expression, without axes.
    pub expr: Expr<'a>,
    /// Where the expression stands.
    pub at: At,
}

/// An expression over outputs, named values, targets and parameters.
#[derive(Clone, Copy, Debug)]
pub enum Expr<'a> {
    /// A literal.
    Number(f64),
    /// A Rust constant, whose value the macro does not see.
    Constant(f64, At),
    /// An output, a value named with `as`, a target or an input; in a function of the user's own, one of its names.
    Name(&'a str),
    /// `dense1.weight`: a parameter, or a value named inside a structure, by its path.
    Path(&'a str, At),
    /// The weights of all layers: only as the operand of a function that sums over them.
    Weights(At),
    /// `-x`.
    Neg(At, &'a Expr<'a>),
    /// `!x`, of a truth value.
    Not(At, &'a Expr<'a>),
    /// `x + y` and the like; a scalar operand spreads over the other's shape.
    Binary(BinaryOp, At, &'a Expr<'a>, &'a Expr<'a>),
    /// `if p { x } else { y }`, element by element. A gradient flows through the branch taken alone.
    If(At, &'a Expr<'a>, &'a Expr<'a>, &'a Expr<'a>),
    /// `huber(x, y, delta = 2.0)`: a function, the values of all its options, and its operands.
    Call(&'static FunctionDef, At, &'a [Value<'a>], &'a [Expr<'a>]),
    /// `gelu(x)`: a layer without parameters, applied to a value, with its arguments.
    Apply(&'static LayerDef, At, &'a [Value<'a>], &'a Expr<'a>),
    /// `h[.., 0..8]`: a part of a value, one entry for each of its axes.
    Part(At, &'a Expr<'a>, &'a [Span<'a>]),
    /// The user's function of this index, applied to a value, with a value for each of its trainable numbers.
    Inline(usize, At, &'a [Expr<'a>]),
    /// A function from elsewhere, which the macro does not see, applied to operands; never in a program that compiles, where what
    /// it is stands in its place.
    Elsewhere(At, &'a [Expr<'a>]),
    /// A mistake that the macro has reported; never in a program that compiles.
    Broken,
}

/// What is taken along an axis. Negative numbers count from the end.
#[derive(Clone, Copy, Debug)]
pub enum Span<'a> {
    /// `..`: everything.
    All,
    /// `2..8`, `..8` or `2..`: from the first number on, up to the one before the second.
    Range(Option<Number<'a>>, Option<Number<'a>>),
    /// `3`: one element, and the axis is gone.
    One(Number<'a>),
}

/// The operators of expressions, of which these are the infix ones.
///
/// As in Rust they bind in this order, the tightest first: `-x` and `!x`, `*` and `/`, `+` and `-`, comparisons, `&&`, `||`.
///
/// All work element by element. A single value on one side counts for every element of the other: `x > mean(x)`. Otherwise axes are
/// aligned at the last one, and those with one element stretch: `[B, 8] - [B, 1]`, `[B, 4, 8] * [8]`.
///
/// - `x + y`, `x - y`, `x * y`, `x / y`: `f32[S], f32[S] -> f32[S]`; `-x`: `f32[S] -> f32[S]`
/// - `x == y`, `x != y`, `x < y`, `x <= y`, `x > y`, `x >= y`: `f32[S], f32[S] -> bool[S]`. NaN equals nothing, and is
///   neither less nor greater than anything. Comparisons do not chain: write `0 < x && x < 1`
/// - `==` and `!=` also compare truth values with each other, and class ids; every comparison takes a class id and an
///   integer: `k == 1`, `argmax(y) != 0`
/// - `x && y`, `x || y`: `bool[S], bool[S] -> bool[S]`; `!x`: `bool[S] -> bool[S]`
/// - Truth values are the condition of an `if`; `mean` and `sum` count those that are true:
///   `mean(y > 0 && t > 0.5)` is a share of all elements
/// - Gradient: of `x + y` 1 and 1, of `x - y` 1 and -1, of `x * y` `y` and `x`, of `x / y` `1 / y` and `-x / y^2`; none
///   through truth values
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `&&`
    And,
    /// `||`
    Or,
}

impl BinaryOp {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::And => "&&",
            BinaryOp::Or => "||",
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }

    /// Whether it makes a truth value of two.
    pub fn is_logical(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or)
    }

    /// How tightly it binds: the operators of expressions have levels from 1 on.
    pub fn level(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And => 2,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div => 5,
            _ => 3,
        }
    }

    /// How tightly its operands have to bind to stand without parentheses. Comparisons do not chain; the others group from the
    /// left.
    pub fn operand_levels(self) -> (u8, u8) {
        let level = self.level();
        (if self.is_comparison() { level + 1 } else { level }, level + 1)
    }

    /// The type of `x op y`, or what does not fit, in words.
    pub fn result(self, x: &TensorType, y: &TensorType) -> Result<TensorType, String> {
        let symbol = self.symbol();
        let shape = Shape::broadcast([&x.shape, &y.shape])
            .ok_or_else(|| format!("`{symbol}` needs {}", x.shape.misfit(&y.shape)))?;
        let tells_apart = matches!(self, BinaryOp::Eq | BinaryOp::Ne);
        let fits = match (x.dtype, y.dtype) {
            (DType::F32, DType::F32) => !self.is_logical(),
            (DType::Bool, DType::Bool) => tells_apart || self.is_logical(),
            (x, y) => x.is_index() && y.is_index() && tells_apart,
        };
        if !fits && self.is_logical() {
            return Err(format!("`{symbol}` joins truth values, such as `x > 0`, found {} and {}", x.dtype, y.dtype));
        }
        if !fits {
            return Err(format!("`{symbol}` does not apply to {} and {}", x.dtype, y.dtype));
        }
        let is_truth = self.is_comparison() || self.is_logical();
        Ok(TensorType { dtype: if is_truth { DType::Bool } else { DType::F32 }, shape })
    }
}

/// How tightly `-x` and `!x` bind; what stands alone binds more tightly.
pub const UNARY_LEVEL: u8 = 6;
