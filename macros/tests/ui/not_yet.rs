//! What the language promises and the macro cannot do yet is said, once each.

use gradloom::network;

network! {
    Net<x: [B, 8] -> y: [B, 4]> {
        Lstm(4),
        Dense(4),
    }
    Two<(user: [B, 4], item: [B, 4]) -> [B, 4]> { Dense(4) }
}

fn main() {
    let _ = Net;
}
