//! Layers and activations by the names that other libraries have for them.

use gradloom::network;

network! {
    Torch<x: [B, 8] -> y: [B, 4]> {
        Linear(8, 16), BatchNorm1d(16), ReLU, LeakyReLU(0.1), SiLU, Softmax, Flatten, nn.Identity, dropout(0.5),
        Conv1D(3), LSTM(16), Dense(8, 16), gelu_tanh, ReLU6, Dense(4),
    }
}

network! {
    Keras<x: [B, 8] -> y: [B, 4]> {
        Input(8), Dense(16), Activation(relu), BatchNormalization, swish, Conv2D(3), Add, Dense(4),
    }
}

fn main() {
    let _ = (Torch, Keras);
}
