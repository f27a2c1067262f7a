//! Activations: pure functions of one value, or of one row of values, each a composition of primitive operations.

use super::{Arg, ArgDef, ArgKind, Function, Gain, LayerDef, Misfit, Scope, float, word};
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;
use crate::types::Shape;

const ANY: ArgKind = ArgKind::Number { least: -1e6, most: 1e6, range: "between -1e6 and 1e6" };

const POSITIVE: ArgKind = ArgKind::Number { least: 1e-6, most: 1e6, range: "between 1e-6 and 1e6" };

macro_rules! activation {
    ($(#[$meta:meta])* $item:ident $name:literal $gain:ident [$($arg:expr),*] $doc:literal $function:expr) => {
        activation! { $(#[$meta])* $item $name $gain [$($arg),*] $doc $function, |x, _| Ok(x.clone()) }
    };
    ($(#[$meta:meta])* $item:ident $name:literal $gain:ident [$($arg:expr),*] $doc:literal $function:expr, $shape:expr) => {
        $(#[$meta])*
        pub const $item: LayerDef = LayerDef {
            name: $name,
            item: stringify!($item),
            stem: $name,
            doc: $doc,
            args: &[$($arg),*],
            shape: $shape,
            params: |_, _, _| Vec::new(),
            lower: |scope: &mut Scope<'_>, x| {
                let function: Function = $function;
                function(scope.b, scope.args, x)
            },
            least_rows: 1,
            gain: Some(Gain::$gain),
            function: Some($function),
        };
    };
}

activation! {
    /// Heaviside's step.
    STEP "step" Xavier []
    "1 above 0, else 0. Its gradient is 0 everywhere, so nothing before it is trained: the perceptron's activation, here to see why \
     others came after it."
    |b, _, x| {
        let zero = b.constant_like(0.0, x);
        let one = b.constant_like(1.0, x);
        let above = b.compare(Cmp::Gt, x, zero);
        b.select(above, one, zero)
    }
}

activation! {
    /// The logistic function.
    SIGMOID "sigmoid" Xavier []
    "`1 / (1 + e^-x)`, in (0, 1). The slope is at most 1/4, which is why deep stacks of it have vanishing gradients."
    |b, _, x| b.sigmoid(x)
}

activation! {
    /// The hyperbolic tangent.
    TANH "tanh" Xavier []
    "`tanh x`, in (-1, 1). The slope is at most 1, at 0."
    |b, _, x| b.tanh(x)
}

activation! {
    /// The rectified linear unit.
    RELU "relu" He []
    "`max(0, x)`. The gradient at 0 is 0; NaN passes. Source: Nair & Hinton 2010."
    |b, _, x| {
        let zero = b.constant_like(0.0, x);
        b.max(zero, x)
    }
}

activation! {
    /// The rectifier with a slope below 0.
    LEAKY_RELU "leaky_relu" He
    [ArgDef { name: "slope", kind: ANY, default: Some(Arg::Float(0.01)), doc: "the slope below 0" }]
    "`x` above 0, else `slope x`. The gradient at 0 is `slope`. Source: Maas et al. 2013."
    |b, args, x| {
        let zero = b.constant_like(0.0, x);
        let above = b.compare(Cmp::Gt, x, zero);
        let below = b.scale(x, float(args, 0));
        b.select(above, x, below)
    }
}

activation! {
    /// The exponential linear unit.
    ELU "elu" He
    [ArgDef { name: "alpha", kind: ANY, default: Some(Arg::Float(1.0)), doc: "minus the limit at minus infinity" }]
    "`x` above 0, else `alpha (e^x - 1)`. Source: Clevert et al. 2016."
    |b, args, x| elu(b, x, float(args, 0))
}

activation! {
    /// The exponential linear unit whose slope is 1 at 0 whatever `alpha` is.
    CELU "celu" He
    [ArgDef { name: "alpha", kind: POSITIVE, default: Some(Arg::Float(1.0)), doc: "minus the limit at minus infinity" }]
    "`x` above 0, else `alpha (e^(x / alpha) - 1)`: `f32[S] -> f32[S]`. The gradient at 0 is 1, from both sides; NaN passes. \
     Source: Barron 2017."
    |b, args, x| {
        let alpha = float(args, 0);
        let zero = b.constant_like(0.0, x);
        let above = b.compare(Cmp::Gt, x, zero);
        let negative = b.min(x, zero);
        let shrunk = b.scale(negative, 1.0 / alpha);
        let below = b.expm1(shrunk);
        let below = b.scale(below, alpha);
        b.select(above, x, below)
    }
}

activation! {
    /// The scaled exponential linear unit.
    SELU "selu" He []
    "`1.0507 elu(x, 1.6733)`: the fixed point of mean 0 and variance 1. Source: Klambauer et al. 2017."
    |b, _, x| {
        let y = elu(b, x, 1.673_263_242_354_377_2);
        b.scale(y, 1.050_700_987_355_480_5)
    }
}

activation! {
    /// The Gaussian error linear unit.
    GELU "gelu" He
    [ArgDef {
        name: "approx",
        kind: ArgKind::Word(&["none", "tanh"]),
        default: Some(Arg::Word("none")),
        doc: "`tanh` for the approximation of the paper's section 2",
    }]
    "`x Phi(x)`, with the normal distribution function `Phi(x) = (1 + erf(x / sqrt 2)) / 2`, or with `approx = tanh` \
     `(1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2`. Source: Hendrycks & Gimpel 2016."
    |b, args, x| {
        let bend = if word(args, 0) == "tanh" {
            let square = b.mul(x, x);
            let cubic = b.scale(square, 0.044715);
            let cubic = b.offset(cubic, 1.0);
            let inner = b.mul(x, cubic);
            let inner = b.scale(inner, (2.0 / std::f64::consts::PI).sqrt());
            b.tanh(inner)
        } else {
            let inner = b.scale(x, std::f64::consts::FRAC_1_SQRT_2);
            b.erf(inner)
        };
        let sum = b.offset(bend, 1.0);
        let half = b.scale(x, 0.5);
        b.mul(half, sum)
    }
}

activation! {
    /// The sigmoid linear unit.
    SILU "silu" He []
    "`x sigmoid(x)`, also called swish. Source: Elfwing et al. 2018."
    |b, _, x| {
        let gate = b.sigmoid(x);
        b.mul(x, gate)
    }
}

activation! {
    /// The smooth rectifier.
    SOFTPLUS "softplus" He []
    "`ln(1 + e^x)`. Source: Dugas et al. 2001."
    |b, _, x| b.softplus(x)
}

activation! {
    /// The self-regularised non-monotonic rectifier.
    MISH "mish" He []
    "`x tanh(softplus(x))`: `f32[S] -> f32[S]`, smooth everywhere, at least -0.3088. Source: Misra 2019."
    |b, _, x| {
        let soft = b.softplus(x);
        let gate = b.tanh(soft);
        b.mul(x, gate)
    }
}

activation! {
    /// The sigmoid of three straight lines.
    HARD_SIGMOID "hard_sigmoid" Xavier []
    "`min(max(x + 3, 0), 6) / 6`: `f32[S] -> f32[S]`, in [0, 1]. The gradient at -3 and 3 is 0, as on the flat sides; NaN passes. \
     Source: Howard et al. 2019, 5.2."
    |b, _, x| hard_sigmoid(b, x)
}

activation! {
    /// Swish with the sigmoid of three straight lines.
    HARD_SWISH "hard_swish" He []
    "`x hard_sigmoid(x)`: `f32[S] -> f32[S]`. The gradient is 0 at -3 and 1 at 3, as on the straight sides; NaN passes. \
     Source: Howard et al. 2019, 5.2."
    |b, _, x| {
        let gate = hard_sigmoid(b, x);
        b.mul(x, gate)
    }
}

activation! {
    /// The identity, cut off at -1 and 1.
    HARD_TANH "hard_tanh" Xavier []
    "`min(max(x, -1), 1)`: `f32[S] -> f32[S]`. The gradient at -1 and 1 is 0, as on the flat sides; NaN passes. Source: Collobert 2004."
    |b, _, x| {
        let least = b.constant_like(-1.0, x);
        let most = b.constant_like(1.0, x);
        let y = b.max(least, x);
        b.min(most, y)
    }
}

activation! {
    /// The identity, bent towards -1 and 1.
    SOFTSIGN "softsign" Xavier []
    "`x / (1 + |x|)`: `f32[S] -> f32[S]`, in (-1, 1). The slope at 0 is 1, and falls with the square of the distance: slower than that \
     of `tanh`. Source: Bergstra et al. 2009."
    |b, _, x| {
        let size = b.abs(x);
        let size = b.offset(size, 1.0);
        b.div(x, size)
    }
}

activation! {
    /// Positive numbers that sum to 1 along the last axis.
    SOFTMAX "softmax" Xavier []
    "`e^x / sum(e^x)` along the last axis, shifted by the largest so that nothing overflows. Before `cross_entropy` leave it out: that \
     takes logits."
    |b, _, x| softmax(b, x), |x, _| of_rows(x)
}

activation! {
    /// The logarithm of softmax.
    LOG_SOFTMAX "log_softmax" Xavier []
    "`x - ln(sum(e^x))` along the last axis, shifted by the largest so that nothing overflows."
    |b, _, x| log_softmax(b, x), |x, _| of_rows(x)
}

/// A row for each sample, along which something is normalised.
fn of_rows(x: &Shape) -> Result<Shape, Misfit> {
    match x.rank() {
        2.. => Ok(x.clone()),
        _ => Err(Misfit { needs: "[B, ..., classes]".to_string(), hint: None }),
    }
}

/// `x` above 0, else `alpha (e^x - 1)`. The exponential sees no positive number, so that nothing infinite meets a zero
/// cotangent.
fn elu(b: &mut Builder, x: NodeId, alpha: f64) -> NodeId {
    let zero = b.constant_like(0.0, x);
    let above = b.compare(Cmp::Gt, x, zero);
    let negative = b.min(x, zero);
    let below = b.expm1(negative);
    let below = b.scale(below, alpha);
    b.select(above, x, below)
}

/// `min(max(x + 3, 0), 6) / 6`. Constants stand first, so that the gradient at both kinks is theirs: none.
fn hard_sigmoid(b: &mut Builder, x: NodeId) -> NodeId {
    let zero = b.constant_like(0.0, x);
    let six = b.constant_like(6.0, x);
    let moved = b.offset(x, 3.0);
    let above = b.max(zero, moved);
    let within = b.min(six, above);
    b.scale(within, 1.0 / 6.0)
}

/// Softmax along the last axis.
fn softmax(b: &mut Builder, x: NodeId) -> NodeId {
    let (shape, axes) = rows(b, x);
    let shifted = shift(b, x);
    let exp = b.exp(shifted);
    let sum = b.sum(exp, &axes);
    let sum = b.broadcast_over(sum, &shape, &axes);
    b.div(exp, sum)
}

/// Log-softmax along the last axis.
fn log_softmax(b: &mut Builder, x: NodeId) -> NodeId {
    let (shape, axes) = rows(b, x);
    let shifted = shift(b, x);
    let exp = b.exp(shifted);
    let sum = b.sum(exp, &axes);
    let log = b.ln(sum);
    let log = b.broadcast_over(log, &shape, &axes);
    b.sub(shifted, log)
}

/// `x` minus the largest of its row. Both functions are invariant under the shift, so no gradient has to flow through it.
pub(crate) fn shift(b: &mut Builder, x: NodeId) -> NodeId {
    let (shape, axes) = rows(b, x);
    let fixed = b.detach(x);
    let top = b.max_over(fixed, &axes);
    let top = b.broadcast_over(top, &shape, &axes);
    b.sub(x, top)
}

fn rows(b: &Builder, x: NodeId) -> (Shape, [usize; 1]) {
    let shape = b.shape(x);
    let last = shape.rank() - 1;
    (shape, [last])
}
