//! Paths to blocks and functions: those that do not exist, and those of something else.

use gradloom::network;

mod blocks {
    gradloom::network! {
        block Hidden(width) { Dense(width) }
        pub block Res(width) { residual { Dense(width) } }
        pub Other<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    }
    pub const N: usize = 4;
    pub fn half(x: f32) -> f32 {
        0.5 * x
    }
}

network! {
    Net<x: [B, 8] -> y: [B, 8]> {
        blocks::Res(8), blocks::Hidden(8), blocks::Rse(8), blocks::Other, blocks::N, nowhere::Res(8), blocks::Res(-1.5),
    }
    loss = mean(blocks::half(y));
}

network! {
    Sized(hidden: usize = 8)<x: [B, 8] -> y: [B, 8]> { Dense(hidden) }
}

fn main() {
    let _ = Net;
    let _ = Sized::predictor().with(|sizes| sizes.widht = 3);
    let _ = Sized::predictor().with(|sizes| sizes.hidden = -3);
}
