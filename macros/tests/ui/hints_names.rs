//! Names that expressions do not know: outputs without a name, targets that are not declared, weights, constants.

use gradloom::network;

const RATE: f64 = 1e-4;

network! {
    Net<[B, 8] -> [B, 4]> { Dense(4) }
    loss = mse(logits, target) + RATE * l2(weight) + l2(parameters);
    metric far = mean(z);

    Named<image: [B, 8] -> scores: [B, 4]> { Dense(4) }
    loss(wanted: [u8; B]) = cross_entropy(y, label) / batch_size;
}

fn main() {
    let _ = (Net, Named);
}
