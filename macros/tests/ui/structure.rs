//! Blocks, residuals, repetition: what is written twice, calls itself, does not fit or is used by nobody.

use gradloom::network;

network! {
    block Wide(n, by = 4 * n) { Dense(by), relu, Dense(n) }
    block Loop(n) { Dense(n), Loop(n) }
    block Idle(n) { Dense(n) }
    Net<x: [B, 8] -> y: [B, 4]> { Wyde(8), Wide(8, 16, 2), Wide, Loop(8), repeat(0) { relu }, Dense(4) }
}

network! {
    block Half(n) { Dense(n / 2), relu }
    Narrow<x: [B, 8] -> y: [B, 4]> { residual { Half(8) }, Dense(4) }
    Shortcut<x: [B, 8] -> y: [B, 4]> { residual { Dense(16), relu } skip { Dense(12) }, Dense(4) }
}

fn main() {
    let _ = (Net, Narrow, Shortcut);
}
