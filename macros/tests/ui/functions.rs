//! Functions of the user's own: their operands, their numbers, what they may use.

use gradloom::network;

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    act lonely = |x| x * x;
    act endless = |x| 1.0 + endless(x);
    Net<x: [B, 8] -> y: [B, 4]> {
        Dense(4), swish(gamma = 2.0), |x| swish(x, x), endless, |x, slope| slope * x, Dense(4),
    }
}

network! {
    act unsure = |x| if x { x } else { 0.0 };
    act mixed = |x| if x > 0.0 { x } else { x > 1.0 };
    Typed<x: [B, 8] -> y: [B, 4]> { Dense(4), unsure, mixed, |x| x / mean(x), |x, scale = 1.0| x, Dense(4) }
}

fn main() {
    let _ = (Net, Typed);
}
