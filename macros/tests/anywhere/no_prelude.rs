//! Without a prelude.

#![no_implicit_prelude]

use ::gradloom::network;

const WIDTH: usize = 4;
const SLOPE: f64 = 0.1;

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    block Wide(n) { Dense(n, bias = false), BatchNorm, swish }
    /// With everything that has an expansion of its own.
    pub Net<x: [B, crate::WIDTH] -> y: [B, 3]> {
        residual { Wide(crate::WIDTH) } skip { Dense(4, init = he_normal) },
        leaky_relu(crate::SLOPE), repeat(2) { Dense(4), relu }, Dense(3) as z,
    }
    loss(label: [u8; B], weight: [B]) = cross_entropy(y, label) + 1e-4 * l2(weights) + crate::SLOPE * mean(weight) + mean(abs(z));
    metric accuracy = mean(argmax(y) == label);
    metric spread = if max(y) > 0.0 { max(y) } else { -mean(y) };
}

fn main() {
    let report: fn(::gradloom::MetricsOf<Net>) -> [f32; 3] = |step| [step.loss, step.accuracy, step.spread];
    let _ = (Net, report, Net::predictor(), Net::ir(::gradloom::Stage::Static));
}
