//! Loops of one's own: a state that changes its shape, names that are missing, unused or seen from outside, loops in loops.

use gradloom::network;

network! {
    Shape<x: [B, 5, 8] -> y: [B, 5, 4]> {
        scan(4) |x, h| {
            let z = (x, h) -> concat, Dense(6), tanh;
            z
        },
    }
    Names<x: [B, 5, 8] -> y: [B, 5, 8]> { scan |x| x, scan |x, h| tanh(x), scan |x, h, a = 0.5| { let b = a * h; x + h } }
    Nested<x: [B, 5, 300, 8] -> y: [B, 5, 300, 8]> {
        scan |x, h| { let z = x -> scan(8) |e, g| e + g; z + h }, scan |x, h| { (x, h) -> concat, BatchNorm, Dense(8) },
    }
}

network! {
    Outside<x: [B, 5, 8] -> y: [B, 8]> { scan(last = true) |x, h| { let kept = 0.5 * h; kept + x }, Dense(8) }
    loss(t: [B, 8]) = mse(y, t) + mean(kept);
    Flat<x: [B, 5] -> y: [B, 5]> { scan |x, h| x + h }
}

fn main() {
    let _ = (Shape, Names, Nested, Outside, Flat);
}
