//! What the language promises and the macro cannot do yet is said, once each.

use gradloom::network;

const WIDTH: usize = 8;

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    block Res(c) { residual { Dense(c) }, relu }
    Net<x: [B, 8] -> y: [B, 4]> {
        Dense(crate::WIDTH), |x, a = 1.0| a * x,
        residual { Dense(8) }, repeat(3) { Dense(8), relu },
        Dense(4),
    }
    loss = mean(if y > 0.0 { y } else { 0.0 });
}

fn main() {
    let _ = (Net, WIDTH);
}
