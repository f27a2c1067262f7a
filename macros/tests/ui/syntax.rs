//! Commas, arrows and semicolons that are missing: all of them at once, and the names beyond them stay known.

use gradloom::network;

network! {
    const WIDTH = 16;
    Net<x: [B, 8] y: [B, 4]> { Dense(WIDTH) relu, Dense(4 as hidden), Dense(4) }
    loss(target: [B, 4]) = mse(y, target)
    metric size = mean(abs(hidden));
}

fn main() {
    let _: fn(gradloom::MetricsOf<Net>) -> f32 = |step| step.size;
}
