//! One token of a text after the other, with keys and values kept: how long each takes after so many.

use std::hint::black_box;
use std::time::Instant;

use gradloom::{Network, Predictor, network};

use crate::Result;

network! {
    block Transformer(d, heads) {
        residual { LayerNorm, Attention(heads, causal = true) },
        residual { LayerNorm, Dense(4 * d), gelu(approx = tanh), Dense(d) },
    }
    Small<text: [u8; B, 64] -> logits: [B, 64, 65]> {
        Embedding(65, 128), Positional, repeat(4) { Transformer(128, heads = 4) }, LayerNorm, Dense(65),
    }
    SmallFar<text: [u8; B, 512] -> logits: [B, 512, 65]> {
        Embedding(65, 128), Positional, repeat(4) { Transformer(128, heads = 4) }, LayerNorm, Dense(65),
    }
    Large<text: [u8; B, 64] -> logits: [B, 64, 65]> {
        Embedding(65, 512), Positional, repeat(6) { Transformer(512, heads = 8) }, LayerNorm, Dense(65),
    }
    LargeFar<text: [u8; B, 512] -> logits: [B, 512, 65]> {
        Embedding(65, 512), Positional, repeat(6) { Transformer(512, heads = 8) }, LayerNorm, Dense(65),
    }
}

/// How many tokens at the end of a text are timed.
const TOKENS: usize = 16;
/// How many texts are written.
const TEXTS: usize = 5;

/// Prints a table, on one thread; `benches/compare/generate_pytorch.py` prints that of PyTorch.
pub fn measure() -> Result<()> {
    println!("| a token, us | after 64 | after 512 |");
    println!("| --- | ---: | ---: |");
    let small = [one(Small::predictor().build()?, 64)?, one(SmallFar::predictor().build()?, 512)?];
    let large = [one(Large::predictor().build()?, 64)?, one(LargeFar::predictor().build()?, 512)?];
    println!("| d 128, 4 layers | {:.0} | {:.0} |", small[0], small[1]);
    println!("| d 512, 6 layers | {:.0} | {:.0} |", large[0], large[1]);
    Ok(())
}

/// The least that any of the last tokens took.
fn one<N: Network>(predictor: Predictor<N>, length: usize) -> Result<f64> {
    let mut generator = predictor.generator()?;
    let mut least = f64::INFINITY;
    for _ in 0..TEXTS {
        generator.clear();
        for index in 0..length {
            let start = Instant::now();
            generator.feed((index % 65) as u32)?;
            black_box(generator.logits()?);
            if index + TOKENS >= length {
                least = least.min(start.elapsed().as_secs_f64());
            }
        }
    }
    Ok(1e6 * least)
}
