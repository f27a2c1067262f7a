//! Activations: pure functions of one value, or of one row of values, each a composition of primitive operations.

use super::gates::{Halves, gated, gelu, gelu_of_tanh, not_endless};
use super::rows::{log_softmax, of_rows, softmax};
use super::{Arg, ArgDef, ArgKind, Function, Gain, LayerDef, Layout, Scope, Takes, float, word};
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;

const ANY: ArgKind = ArgKind::Number { least: -1e6, most: 1e6, range: "between -1e6 and 1e6" };

const POSITIVE: ArgKind = ArgKind::Number { least: 1e-6, most: 1e6, range: "between 1e-6 and 1e6" };

macro_rules! activation {
    ($(#[$meta:meta])* $item:ident $name:literal $gain:ident [$($arg:expr),*] $function:expr) => {
        activation! { $(#[$meta])* $item $name $gain [$($arg),*] $function, |x, _| Ok(x.clone()), None }
    };
    ($(#[$meta:meta])* $item:ident $name:literal $gain:ident [$($arg:expr),*] $function:expr, $shape:expr, $layout:expr) => {
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
            takes: Takes::Numbers,
            least_rows: |_| 1,
            by_position: |_| true,
            layout: $layout,
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
    /// - Gradient: 0 everywhere, so that nothing before it is trained: the reason why others replaced it
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
    /// - Gradient: `y (1 - y)`, at most 1/4: why it vanishes through a deep stack of them. With all its digits also where
    ///   `y` is 1, above 17
    /// - Source: Rumelhart et al. 1986
    SIGMOID "sigmoid" Xavier []
    |b, _, x| b.sigmoid(x)
}

activation! {
    /// The hyperbolic tangent.
    ///
    /// - Value: `(e^x - e^-x) / (e^x + e^-x)`, in (-1, 1)
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: `1 - y^2`, at most 1, at 0. With all its digits also where `y` is 1 or -1, beyond 9
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
        if float(args, 0) == 0.0 {
            // 0 times infinity would be NaN.
            return b.max(zero, x);
        }
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
        if alpha == 1.0 {
            return elu(b, x, alpha);
        }
        let zero = b.constant_like(0.0, x);
        let above = b.compare(Cmp::Gt, x, zero);
        let negative = b.min(x, zero);
        // From here on the slope is 0; without the bound it would be infinity minus infinity.
        let limit = b.constant_like(-1e3 * alpha, x);
        let negative = b.max(limit, negative);
        // The quotient is the exponent of the slope, where its rounding error matters.
        let divisor = b.constant_like(alpha, x);
        let quotient = b.div(negative, divisor);
        let minus = b.neg(quotient);
        let lost = b.mul_add(minus, divisor, negative);
        let lost = b.scale(lost, 1.0 / alpha);
        let slope = b.exp(quotient);
        let slope = b.mul_add(slope, lost, slope);
        let below = b.expm1(quotient);
        let below = b.scale(below, alpha);
        let below = b.detach(below);
        let below = b.with_slope(below, negative, slope);
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
        if word(args, 0) == "tanh" { gelu_of_tanh(b, x) } else { gelu(b, x) }
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
        let halves = Halves::of(b, x);
        let slope = halves.slope(b);
        gated(b, x, halves.y, slope)
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
    /// The self-regularized non-monotonic rectifier.
    ///
    /// - Value: `x tanh(softplus(x))`, at least -0.3088
    /// - Shapes: `f32[S] -> f32[S]`
    /// - Gradient: smooth everywhere, 0.6 at 0
    /// - Source: Misra 2019
    MISH "mish" He []
    |b, _, x| {
        // tanh(ln(1 + E)) = (E^2 + 2 E) / (E^2 + 2 E + 2) of E = e^x; above 0, both over E^2.
        let [zero, one, two] = [0.0, 1.0, 2.0].map(|number| b.constant_like(number, x));
        let above = b.compare(Cmp::Gt, x, zero);
        let size = b.abs(x);
        let minus = b.neg(size);
        let power = b.exp(minus);
        let square = b.mul(power, power);
        let right = b.mul_add(two, power, one);
        let left = b.mul_add(two, power, square);
        let numerator = b.select(above, right, left);
        let twice = b.add(square, square);
        let gap = b.select(above, twice, two);
        let denominator = b.add(numerator, gap);
        let gate = b.div(numerator, denominator);

        // Its slope: 4 E (E + 1) / (E^2 + 2 E + 2)^2.
        let most = b.select(above, square, power);
        let sum = b.add(power, one);
        let product = b.mul(most, sum);
        let product = b.scale(product, 4.0);
        let squared = b.mul(denominator, denominator);
        let slope = b.div(product, squared);
        gated(b, x, gate, slope)
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
        let x = not_endless(b, x);
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
        // Infinity over infinity would be NaN.
        let [least, most] = [f64::from(f32::MIN), f64::from(f32::MAX)].map(|limit| b.constant_like(limit, x));
        let within = b.max(least, x);
        let within = b.min(most, within);
        let size = b.abs(within);
        let size = b.offset(size, 1.0);
        let y = b.div(within, size);
        let y = b.detach(y);
        // The gradient of the quotient would be a difference of nearly equal numbers.
        let one = b.constant_like(1.0, x);
        let inverse = b.div(one, size);
        let slope = b.mul(inverse, inverse);
        b.with_slope(y, x, slope)
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
    |b, _, x| softmax(b, x), |x, _| of_rows(x), Some(Layout::Declared)
}

activation! {
    /// The logarithm of softmax.
    ///
    /// - Value: `x - ln(sum(e^x))` along the last axis, shifted by the largest so that nothing overflows
    /// - Shapes: `f32[B, ..., C] -> f32[B, ..., C]`
    /// - Gradient: `dy - softmax(x) sum(dy)`
    /// - Source: Goodfellow et al. 2016, 6.2.2.3
    LOG_SOFTMAX "log_softmax" Xavier []
    |b, _, x| log_softmax(b, x), |x, _| of_rows(x), Some(Layout::Declared)
}

/// `x` above 0, else `alpha (e^x - 1)`. The operand of the exponential is at most 0, so that no infinite slope meets a cotangent
/// of zero.
fn elu(b: &mut Builder, x: NodeId, alpha: f64) -> NodeId {
    let zero = b.constant_like(0.0, x);
    let above = b.compare(Cmp::Gt, x, zero);
    let negative = b.min(x, zero);
    let below = b.expm1(negative);
    let below = b.scale(below, alpha);
    b.select(above, x, below)
}

/// `(min(max(x, -3), 3) + 3) / 6`: `x + 3` might round to a kink that `x` is not at. Constants are the first operands, so that they
/// get the gradient at both kinks, and `x` gets none.
fn hard_sigmoid(b: &mut Builder, x: NodeId) -> NodeId {
    let [least, most] = [-3.0, 3.0].map(|kink| b.constant_like(kink, x));
    let above = b.max(least, x);
    let within = b.min(most, above);
    let moved = b.offset(within, 3.0);
    b.scale(moved, 1.0 / 6.0)
}
