//! Activations: pure functions of one value, or of one row of values, each a composition of primitive operations.

use super::{Arg, ArgDef, ArgKind, Function, Gain, LayerDef, Misfit, Scope, float, word};
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;
use crate::types::Shape;

const ANY: ArgKind = ArgKind::Number { least: -1e6, most: 1e6, range: "between -1e6 and 1e6" };

const POSITIVE: ArgKind = ArgKind::Number { least: 1e-6, most: 1e6, range: "between 1e-6 and 1e6" };

macro_rules! activation {
    ($(#[$meta:meta])* $item:ident $name:literal $gain:ident [$($arg:expr),*] $function:expr) => {
        activation! { $(#[$meta])* $item $name $gain [$($arg),*] $function, |x, _| Ok(x.clone()) }
    };
    ($(#[$meta:meta])* $item:ident $name:literal $gain:ident [$($arg:expr),*] $function:expr, $shape:expr) => {
        $(#[$meta])*
        pub const $item: LayerDef = LayerDef {
            name: $name,
            item: stringify!($item),
            stem: $name,
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
    /// Heaviside's step: the perceptron's activation.
    ///
    /// - Value: 1 above 0, else 0, also for NaN
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: 0 everywhere, so that nothing before it is trained: the reason why others came after it
    /// - Source: Rosenblatt 1958
    STEP "step" Xavier []
    |b, _, x| {
        let zero = b.constant_like(0.0, x);
        let one = b.constant_like(1.0, x);
        let above = b.compare(Cmp::Gt, x, zero);
        b.select(above, one, zero)
    }
}

activation! {
    /// The logistic function.
    ///
    /// - Value: `1 / (1 + e^-x)`, in (0, 1)
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: `y (1 - y)`, at most 1/4: why it vanishes through a deep stack of them
    /// - Source: Rumelhart et al. 1986
    SIGMOID "sigmoid" Xavier []
    |b, _, x| b.sigmoid(x)
}

activation! {
    /// The hyperbolic tangent.
    ///
    /// - Value: `(e^x - e^-x) / (e^x + e^-x)`, in (-1, 1)
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: `1 - y^2`, at most 1, at 0
    /// - Source: LeCun et al. 1998, 4.4
    TANH "tanh" Xavier []
    |b, _, x| b.tanh(x)
}

activation! {
    /// The rectified linear unit.
    ///
    /// - Value: `max(0, x)`; NaN passes
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: 1 above 0, else 0; at 0 it is 0. A unit whose input is below 0 for every sample is dead: nothing
    ///   reaches its weights
    /// - Source: Nair & Hinton 2010
    RELU "relu" He []
    |b, _, x| {
        let zero = b.constant_like(0.0, x);
        b.max(zero, x)
    }
}

activation! {
    /// The rectifier with a slope below 0.
    ///
    /// - Value: `x` above 0, else `slope x`; NaN passes
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Argument `slope = 0.01`: the slope below 0; a number between -1e6 and 1e6
    /// - Gradient: 1 above 0, else `slope`; at 0 it is `slope`
    /// - Source: Maas et al. 2013
    LEAKY_RELU "leaky_relu" He
    [ArgDef { name: "slope", kind: ANY, default: Some(Arg::Float(0.01)), doc: "the slope below 0" }]
    |b, args, x| {
        let zero = b.constant_like(0.0, x);
        let above = b.compare(Cmp::Gt, x, zero);
        let below = b.scale(x, float(args, 0));
        b.select(above, x, below)
    }
}

activation! {
    /// The exponential linear unit.
    ///
    /// - Value: `x` above 0, else `alpha (e^x - 1)`
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Argument `alpha = 1.0`: minus the limit at minus infinity; a number between -1e6 and 1e6
    /// - Gradient: 1 above 0, else `alpha e^x`; at 0 it is `alpha`
    /// - Source: Clevert et al. 2016
    ELU "elu" He
    [ArgDef { name: "alpha", kind: ANY, default: Some(Arg::Float(1.0)), doc: "minus the limit at minus infinity" }]
    |b, args, x| elu(b, x, float(args, 0))
}

activation! {
    /// The exponential linear unit whose slope is 1 at 0 whatever `alpha` is.
    ///
    /// - Value: `x` above 0, else `alpha (e^(x / alpha) - 1)`; NaN passes
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Argument `alpha = 1.0`: minus the limit at minus infinity; a number between 1e-6 and 1e6
    /// - Gradient: 1 above 0, else `e^(x / alpha)`; at 0 it is 1
    /// - Source: Barron 2017
    CELU "celu" He
    [ArgDef { name: "alpha", kind: POSITIVE, default: Some(Arg::Float(1.0)), doc: "minus the limit at minus infinity" }]
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
    /// The scaled exponential linear unit, under which mean 0 and variance 1 are a fixed point.
    ///
    /// - Value: `1.0507 elu(x, 1.6733)`
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: 1.0507 above 0, else `1.7581 e^x`; at 0 it is 1.7581
    /// - Source: Klambauer et al. 2017
    SELU "selu" LeCun []
    |b, _, x| {
        let y = elu(b, x, 1.673_263_242_354_377_2);
        b.scale(y, 1.050_700_987_355_480_5)
    }
}

activation! {
    /// The Gaussian error linear unit.
    ///
    /// - Value: `x Phi(x)`, with the normal distribution function `Phi(x) = (1 + erf(x / sqrt 2)) / 2`, or with
    ///   `approx = tanh` `(1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Argument `approx = none`: `tanh` for the approximation of the paper's section 2; `none` or `tanh`
    /// - Gradient: `Phi(x) + x Phi'(x)`, of whichever is chosen; smooth, 1/2 at 0
    /// - Source: Hendrycks & Gimpel 2016, section 2
    GELU "gelu" He
    [ArgDef {
        name: "approx",
        kind: ArgKind::Word(&["none", "tanh"]),
        default: Some(Arg::Word("none")),
        doc: "`tanh` for the approximation of the paper's section 2",
    }]
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
    /// The sigmoid linear unit, also called swish.
    ///
    /// - Value: `x sigmoid(x)`
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: `s + x s (1 - s)` with `s = sigmoid(x)`; smooth, 1/2 at 0
    /// - Source: Elfwing et al. 2018; Ramachandran et al. 2017
    SILU "silu" He []
    |b, _, x| {
        let gate = b.sigmoid(x);
        b.mul(x, gate)
    }
}

activation! {
    /// The smooth rectifier.
    ///
    /// - Value: `ln(1 + e^x)`, without overflow
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: `sigmoid(x)`
    /// - Source: Dugas et al. 2001
    SOFTPLUS "softplus" He []
    |b, _, x| b.softplus(x)
}

activation! {
    /// The self-regularised non-monotonic rectifier.
    ///
    /// - Value: `x tanh(softplus(x))`, at least -0.3088
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: smooth everywhere, 0.6 at 0
    /// - Source: Misra 2019
    MISH "mish" He []
    |b, _, x| {
        let soft = b.softplus(x);
        let gate = b.tanh(soft);
        b.mul(x, gate)
    }
}

activation! {
    /// The sigmoid of three straight lines.
    ///
    /// - Value: `min(max(x + 3, 0), 6) / 6`, in [0, 1]; NaN passes
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: 1/6 between -3 and 3, else 0; at both ends it is 0
    /// - Source: Howard et al. 2019, 5.2
    HARD_SIGMOID "hard_sigmoid" Xavier []
    |b, _, x| hard_sigmoid(b, x)
}

activation! {
    /// Swish with the sigmoid of three straight lines.
    ///
    /// - Value: `x hard_sigmoid(x)`; NaN passes
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: `(2 x + 3) / 6` between -3 and 3, 0 below, 1 above; at -3 it is 0, at 3 it is 1
    /// - Source: Howard et al. 2019, 5.2
    HARD_SWISH "hard_swish" He []
    |b, _, x| {
        let gate = hard_sigmoid(b, x);
        b.mul(x, gate)
    }
}

activation! {
    /// The identity, cut off at -1 and 1.
    ///
    /// - Value: `min(max(x, -1), 1)`; NaN passes
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: 1 between -1 and 1, else 0; at both ends it is 0
    /// - Source: Collobert 2004
    HARD_TANH "hard_tanh" Xavier []
    |b, _, x| {
        let least = b.constant_like(-1.0, x);
        let most = b.constant_like(1.0, x);
        let y = b.max(least, x);
        b.min(most, y)
    }
}

activation! {
    /// The identity, bent towards -1 and 1.
    ///
    /// - Value: `x / (1 + |x|)`, in (-1, 1)
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: `1 / (1 + |x|)^2`, 1 at 0: it falls with the square of the distance, slower than that of `tanh`
    /// - Source: Bergstra et al. 2009
    SOFTSIGN "softsign" Xavier []
    |b, _, x| {
        let size = b.abs(x);
        let size = b.offset(size, 1.0);
        b.div(x, size)
    }
}

activation! {
    /// Positive numbers that sum to 1 along the last axis.
    ///
    /// - Value: `e^x / sum(e^x)`, shifted by the largest so that nothing overflows. Before `cross_entropy` leave it
    ///   out: that takes logits
    /// - Shapes: `f32[B, ..., C] -> f32[B, ..., C]`
    /// - Gradient: `y (dy - sum(dy y))`
    /// - Source: Bridle 1990
    SOFTMAX "softmax" Xavier []
    |b, _, x| softmax(b, x), |x, _| of_rows(x)
}

activation! {
    /// The logarithm of softmax.
    ///
    /// - Value: `x - ln(sum(e^x))` along the last axis, shifted by the largest so that nothing overflows
    /// - Shapes: `f32[B, ..., C] -> f32[B, ..., C]`
    /// - Gradient: `dy - softmax(x) sum(dy)`
    /// - Source: Goodfellow et al. 2016, 6.2.2.3
    LOG_SOFTMAX "log_softmax" Xavier []
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
