//! Losses, metrics and functions by the names that other libraries have for them.

use gradloom::network;

network! {
    Net<x: [B, 8] -> y: [B, 4]> { Dense(4) }
    loss(t: [B, 4], label: [u8; B]) = mse_loss(y, t) + MSELoss(y, t) + l1_loss(y, t) + smooth_l1_loss(y, t)
        + binary_cross_entropy(y, t) + CrossEntropyLoss(y, label) + nll_loss(y, label) + mean(log(y)) + swish(y)
        + where(y > 0, y, t) + F.relu(y);
    metric right = accuracy(y, label);
    metric f = f1_score(y, label);
}

network! {
    Powers<x: [B, 8] -> y: [B, 4]> { Dense(4), |x| x.pow(2) }
    loss(t: [B, 4]) = mean((y - t)^2) + mean((y - t) ** 2) + mean((y - t).pow(2)) + mean((y - t).abs()) + y.sub(t).log().mean();
    metric root = mean(y ** 0.5);
    metric first = mean(y[.., 0]);
    metric product = mean(y @ t);
}

fn main() {
    let _ = (Net, Powers);
}
