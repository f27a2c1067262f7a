//! Networks of blocks of another library: one with a size that is chosen, and one that makes no sense.

use gradloom::{Stage, network};
use shared_blocks::blocks;

network! {
    Chosen(width: usize = 8)<x: [B, 4] -> y: [B, 2]> {
        Dense(width), blocks::Res(width, drop = 0.1), shared_blocks::blocks::swish, Dense(2),
    }

    Wrong<x: [B, 4] -> y: [B, 2]> { Dense(8), blocks::Res(7), Dense(2) }
}

fn main() {
    println!("{}", Chosen::predictor().with(|sizes| sizes.width = 3).ir(Stage::Static));
    println!("{}", Wrong::predictor().build().expect_err("the sizes differ"));
}
