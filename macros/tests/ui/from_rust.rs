//! Sizes from Rust: what is no `usize`, and what does not exist.

use gradloom::network;

const RATE: f32 = 0.5;
const WIDTH: i32 = 8;

network! {
    Net<x: [B, 8] -> y: [B, 4]> { Dense(crate::WIDTH), Dense(crate::HIDDEN), leaky_relu(crate::RATE), Dense(4) }
}

fn main() {
    let _ = Net;
}
