//! Sizes that are chosen when a program runs, with names that they cannot have.

use gradloom::network;

network! {
    Net(B: usize = 4, n: usize = 8, weights: usize = 2)<x: [B, 8] -> y: [B, 8]> { Dense(n) }
}

fn main() {
    let _ = Net::predictor().with(|sizes| sizes.n = 3);
}
