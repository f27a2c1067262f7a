//! With lints of the macro that the network or the program allows.

#![allow(dead_code)]
#![deny(warnings)]

use gradloom::network;

network! {
    #[allow(softmax_before_cross_entropy, bias_before_batch_norm, reason = "both are what is shown")]
    #[allow(gradloom::batch_norm_momentum, gradloom::constant_metric)]
    pub Classes<x: [B, 8] -> y: [B, 4]> { Dense(8), BatchNorm(momentum = 0.1), relu, Dense(4), softmax }
    loss(t: [u8; B]) = cross_entropy(y, t);
    metric version = 1;

    #[allow(deprecated)]
    pub Learns<x: [B, 8] -> y: [B, 4]> { Dense(4), step, Dense(4), sigmoid }
    loss(t: [B, 4]) = bce_with_logits(y, t);
}

mod inner {
    #![allow(deprecated)]
    gradloom::network! { Norm<x: [B, 8] -> y: [B, 4]> { Dense(4), BatchNorm } }
}

fn main() {}
