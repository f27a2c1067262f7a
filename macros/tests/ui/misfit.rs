//! Layers that do not fit what comes before them: with the way there, and a hint where there is one.

use gradloom::network;

network! {
    Net<image: [B, 1, 28, 28] -> logits: [B, 10]> {
        relu,
        Dense(10),
    }
}

network! {
    Line<[B] -> [B, 3]> { tanh, Dense(3, bias = false) }
}

network! {
    Ids<tokens: [u16; B, 64] -> [B, 3]> { Dense(3) }
}

fn main() {}
