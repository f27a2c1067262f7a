//! What is legal, and hardly what was meant: a warning at the token, once, unless the network allows it.

use gradloom::network;

network! {
    pub Classes<x: [B, 8] -> y: [B, 4]> { Dense(8), BatchNorm(momentum = 0.1), relu, Dense(4), softmax }
    loss(t: [u8; B]) = cross_entropy(y, t);
    metric likelihood = -nll(y, t);
    metric version = 1;
}

network! {
    block Norm(n) { Dense(n), BatchNorm }
    pub First<x: [B, 8] -> y: [B, 4]> { Norm(4), step, Dense(4), sigmoid }
    loss(t: [B, 4]) = bce_with_logits(y, t);
    pub Second<x: [B, 8] -> y: [B, 4]> { Norm(4) }
    loss = mean(y);
}

network! {
    #[allow(one_class)]
    #[deny(constant_metric)]
    pub Levels<x: [B, 8] -> y: [B, 1]> { Dense(1) }
    loss(t: [u8; B]) = cross_entropy(y, t);
    metric right = mean(argmax(y) == t);
    metric seven = 7;
}

network! {
    pub Binary<x: [B, 8] -> y: [B, 1]> { Dense(1) }
    loss(t: [u8; B]) = cross_entropy(y, t);
}

fn main() {}
