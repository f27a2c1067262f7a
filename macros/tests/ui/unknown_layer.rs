//! A misspelled layer is one error, though the type is used.

use gradloom::network;

network! {
    /// 784 -> 10 digit classifier.
    pub Mlp<image: [B, 784] -> logits: [B, 10]> {
        Dense(256, bias = false), BatchNrom, relu,
        Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

fn accuracy(step: gradloom::MetricsOf<Mlp>) -> f32 {
    step.accuracy
}

fn main() {
    let _ = (Mlp::predictor(), accuracy);
}
