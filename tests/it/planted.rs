//! Networks in which numbers overflow or have no logarithm, where tests make them: the lines of this file are in messages.

use gradloom::network;

network! {
    /// `ln` of what a dense layer gives.
    pub Logs<x: [B, 2] -> y: [B, 1]> {
        Dense(3), |x| ln(x) as logs, Dense(1)
    }
    loss(t: [B, 1]) = mse(y, t);

    pub Exps<x: [B, 2] -> y: [B, 1]> { Dense(3), |x| exp(x) as exps, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    // Blocks, copies and branches have layers too.
    block Inner(n) { Dense(n), |x| if x > 0.0 { sqrt(x) } else { 0.0 } as roots }
    pub Nested<x: [B, 2] -> y: [B, 1]> {
        repeat(2) { residual { Inner(2) } },
        Dense(1),
    }
    loss(t: [B, 1]) = mean(ln(y) * t);

    /// A finite loss without a finite gradient: the distance from a target that is reached.
    pub Distance<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) }
    loss(t: [B, 1]) = sqrt(mse(y, t));

    pub Line<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    pub Sum<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss = mean(y);

    pub Norm<x: [B, 2] -> y: [B, 2]> { BatchNorm }
    loss(t: [B, 2]) = mse(y, t);

    pub Dropped<x: [B, 8] -> y: [B, 8]> { Dropout(0.1), |x| ln(x) as logs, Dense(8) }
    loss = mean(y);

    /// Products of a size that is worth two threads.
    pub Large<x: [B, 256] -> y: [B, 64]> { Dense(256), |x| exp(x) as exps, Dense(64) }
    loss(t: [B, 64]) = mse(y, t);

    /// What is not finite at one place is not finite from there to the loss.
    pub Chain<x: [B, 5] -> y: [B, 3]> {
        Dense(7), tanh, Dense(7, bias = false), BatchNorm, relu, Dropout(0.3), Dense(6), leaky_relu, prelu, elu,
        residual { LayerNorm, Dense(6), |x, a = 2.0| x * sigmoid(a * x), Dense(6) }, gelu, Dense(3),
    }
    loss(label: [u8; B]) = cross_entropy(y, label) + 1e-3 * l2(weights);

    /// A loss whose gradients are added up.
    pub Total<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss = sum(y);
}
