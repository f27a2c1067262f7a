//! Sizes: zero, overflowing, absurd, unknown, recursive.

use gradloom::network;

network! {
    const WIDTH = HEIGHT + 1;
    const HEIGHT = WIDTH - 1;
    const HUGE = 1024 * 1024 * 1024;
    Net<[B, 8 - 8] -> [B, 4]> { Dense(HUGE * HUGE * HUGE), Dense(HUG), Dense(4) }
}

network! {
    Wide<[B, 1000000] -> [B, 4]> { Dense(2000000), Dense(4) }
}

fn main() {}
