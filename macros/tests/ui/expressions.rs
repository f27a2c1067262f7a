//! Losses and metrics: a name, a type, a shape.

use gradloom::network;

network! {
    Net<x: [B, 8] -> y: [B, 4]> { Dense(16) as hidden, relu, Dense(4) }
    loss(label: [B]) = cross_entropy(y, label) + 1e-4 * mean(hiden * hiden);
    metric accuracy = argmax(y) == argmax(x);
    metric chain = mean(0.0 < y < 1.0);
}

fn main() {
    let _: fn(gradloom::MetricsOf<Net>) -> [f32; 3] = |step| [step.loss, step.accuracy, step.chain];
}
