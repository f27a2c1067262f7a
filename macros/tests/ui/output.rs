//! An output type that the body does not give.

use gradloom::network;

network! {
    pub Mlp<image: [B, 784] -> logits: [B, 12]> { Dense(256), relu, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

fn main() {
    let _ = Mlp::predictor();
}
