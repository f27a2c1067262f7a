//! Arguments by the names that other libraries have for them, and their values.

use gradloom::network;

const N: usize = 16;

network! {
    Net<x: [B, 8] -> y: [B, 4]> {
        Dense(units = 16), Dense(in_features = 8, out_features = 16), Dense(16, activation = relu),
        Dense(16, use_bias = false), Dense(16, bias=False), Dense(16, kernel_initializer = "glorot_uniform"),
        Dense(16, init = ones), BatchNorm(num_features = 16), BatchNorm(epsilon = 1e-5, bias = None), Dropout(rate = 0.5),
        leaky_relu(negative_slope = 0.1), gelu(approximate = tanh), Dense(N), Dense(hidden), Dense(None), Dense(2 ^ 4),
        Dense(4),
    }
    loss(t: [u8; B]) = cross_entropy(y, t, weight = [1.0, 2.0, 1.0, 1.0]) + cross_entropy(y, t, from_logits = true);
}

fn main() {
    let hidden = N;
    let _ = (Net, hidden);
}
