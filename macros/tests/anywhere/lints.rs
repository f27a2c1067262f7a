//! Where `unsafe` is forbidden, and what is written is held to every rule that users turn on.

#![forbid(unsafe_code)]
#![warn(clippy::pedantic, clippy::nursery)]
#![warn(future_incompatible, let_underscore, nonstandard_style, rust_2018_idioms, rust_2021_compatibility, unused)]
#![warn(missing_debug_implementations, missing_docs, non_local_definitions, single_use_lifetimes, unreachable_pub)]
#![warn(trivial_casts, trivial_numeric_casts, unused_lifetimes, unused_qualifications, unused_results)]

use gradloom::network;

/// Columns that come in.
pub const WIDTH: usize = 4;

/// Below 0.
pub const SLOPE: f64 = 0.1;

network! {
    const HALF = 2;
    /// A function.
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    /// A block.
    block Wide(n) { Dense(n, bias = false), BatchNorm, swish }
    /// With everything that has an expansion of its own.
    pub Net<image: [B, HALF, HALF] -> y: [B, 3]> {
        flatten, residual { Wide(crate::WIDTH) } skip { Dense(4, init = normal(0.02)) },
        leaky_relu(crate::SLOPE), repeat(2) { Dense(2 * HALF), gelu(approx = tanh) }, Dense(003) as z,
    }
    loss(label: [u8; B], weight: [B]) = cross_entropy(y, label) + 1e-4 * l2(weights) + crate::SLOPE * mean(weight) - mean(z);
    metric accuracy = mean(argmax(y) == label);
    metric spread = if max(y) > 0.0 { max(y) } else { -mean(z) };

    /// Without a loss, and in the crate alone.
    pub(crate) Plain<[B, 2] -> [B, 1]> { Dense(1) }

    /// For nobody else.
    Own<x: [B, 2] -> [B, 1]> { Dense(1) }
    /// Small.
    loss(t: [B, 1]) = mse(out, t);
    /// Far.
    metric reach = max(abs(out));

    /// Of yesterday.
    #[deprecated(note = "use `Own`")]
    pub Old<[B, 2] -> [B, 1]> { Dense(1) }
    loss = mean(out);
}

/// In a function.
#[must_use]
pub fn local() -> String {
    network! { Local<x: [B, 2] -> [B, 1]> { Dense(1) } loss = mean(out); }
    Local::ir(gradloom::Stage::Static)
}

fn main() {
    let report: fn(gradloom::MetricsOf<Net>) -> [f32; 3] = |step| [step.loss, step.accuracy, step.spread];
    let own: fn(gradloom::MetricsOf<Own>) -> f32 = |step| step.reach;
    drop((Net, report, own, Net::predictor(), Plain::ir(gradloom::Stage::Static), local()));
}
