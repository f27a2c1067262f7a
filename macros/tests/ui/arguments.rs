//! Arguments: unknown, missing, out of range, strings.

use gradloom::network;

network! {
    Net<[B, 8] -> [B, 4]> {
        Dense(16, bais = false), BatchNorm(momentum = 1.5), gelu(approx = "tanh"),
        Dropout(1), Dense(bias = false),
        Dense(8, init = kaiming_normal), Dense(8, init = normal(-1)), Dense(8, init = normal),
        Dense(4),
    }
}

fn main() {}
