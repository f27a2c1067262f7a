//! Learns to write sonnets: a small language model that guesses the next character of a text.
//!
//! ```text
//! cargo run --example shakespeare
//! cargo run --example shakespeare -- --text FILE        # any other text
//! cargo run --example shakespeare -- --steps 3000       # for longer
//! ```
//!
//! Prints how many bits a character of the last tenth of the text takes, which it does not learn from, beside what a table of
//! pairs of characters takes; and at last some text of its own. `data/README.md` says where the sonnets come from.

use std::error::Error;
use std::time::Instant;

use gradloom::ndarray::{Array2, s};
use gradloom::{AdamW, Sampling, Schedule, Session, network};

network! {
    const LENGTH = 64;

    block Transformer(d, heads, ff = 4 * d) {
        residual { LayerNorm, Attention(heads, causal = true), Dropout(0.1) },
        residual { LayerNorm, Dense(ff), gelu(tanh), Dense(d), Dropout(0.1) },
    }

    /// Characters -> how likely each of them is to be the next, at every place.
    pub Writer<text: [u8; B, LENGTH] -> logits: [B, LENGTH, 96]> {
        Embedding(96, 128), Positional, repeat(4) { Transformer(128, heads = 4) }, LayerNorm, Dense(96),
    }
    loss(next: [u8; B, LENGTH]) = cross_entropy(logits, next);
}

const LENGTH: usize = 64;
const BATCH: usize = 16;
const STEPS: usize = 600;
const SONNETS: &str = include_str!("data/sonnets.txt");

fn main() -> Result<(), Box<dyn Error>> {
    let (text, steps) = settings()?;
    let characters: Vec<u8> = text.chars().map(id).collect();
    let (learned, held_out) = characters.split_at(characters.len() / 10 * 9);
    if held_out.len() <= LENGTH {
        return Err(format!("a text of {} characters is too short", characters.len()).into());
    }
    println!("{} characters to learn from, {} to be tested on", learned.len(), held_out.len());
    println!("a table of pairs of characters: {:.3} bits a character", bits_of_pairs(learned, held_out));

    let start = Instant::now();
    let threads = std::thread::available_parallelism()?.get().min(8);
    let rate = Schedule::cosine(2e-3, steps as u64);
    let mut net =
        Writer::trainer(AdamW::new(rate).weight_decay(0.1)).max_batch(BATCH).seed(1).threads(threads).build()?;
    let compiling = 1e3 * start.elapsed().as_secs_f64();
    println!("{} parameters, compiled in {compiling:.1} ms for {threads} threads", net.param_count());

    let (mut random, mut fastest) = (Random(1), f64::INFINITY);
    for step in 1..=steps {
        let places: Vec<usize> = (0..BATCH).map(|_| random.below(learned.len() - LENGTH)).collect();
        let batch = Array2::from_shape_fn((BATCH, LENGTH + 1), |(row, at)| learned[places[row] + at]);
        let start = Instant::now();
        net.step(batch.slice(s![.., ..LENGTH]), batch.slice(s![.., 1..]))?;
        fastest = fastest.min(1e3 * start.elapsed().as_secs_f64());
        if step % 100 == 0 {
            println!("step {step:>4}: {:.3} bits a character", bits(&mut net, held_out)?);
        }
    }
    println!("the fastest step took {fastest:.1} ms");

    println!("\n{}", written(&mut net, "Shall I compare thee", 400, 0.7)?);
    println!("\ntest: {:.3} bits a character", bits(&mut net, held_out)?);
    Ok(())
}

/// The text of the file after `--text`, or the sonnets; and the number after `--steps`.
fn settings() -> Result<(String, usize), Box<dyn Error>> {
    let (mut text, mut steps) = (SONNETS.to_string(), STEPS);
    let args: Vec<String> = std::env::args().skip(1).collect();
    for option in args.chunks(2) {
        match option {
            [name, file] if name == "--text" => {
                text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
            }
            [name, count] if name == "--steps" && count.parse().is_ok_and(|count: usize| count > 0) => {
                steps = count.parse()?;
            }
            _ => return Err("usage: shakespeare [--text FILE] [--steps N]".into()),
        }
    }
    Ok((text, steps))
}

/// What can be printed in ASCII, and the end of a line; everything else is a question mark.
fn id(character: char) -> u8 {
    match character {
        '\n' => 95,
        ' '..='~' => character as u8 - b' ',
        _ => b'?' - b' ',
    }
}

fn character(id: u8) -> char {
    if id == 95 { '\n' } else { char::from(id + b' ') }
}

/// How many bits a character of a text takes, each guessed from those before it in its piece of the text.
fn bits(net: &mut Session<Writer>, text: &[u8]) -> Result<f32, Box<dyn Error>> {
    let rows = (text.len() - 1) / LENGTH;
    let of = |from: usize| Array2::from_shape_fn((rows, LENGTH), |(row, at)| text[row * LENGTH + at + from]);
    Ok(net.evaluate(of(0).view(), of(1).view())?.loss / std::f32::consts::LN_2)
}

/// The same where each is guessed from the one before it, by how often that was seen.
fn bits_of_pairs(learned: &[u8], text: &[u8]) -> f64 {
    let mut counts = [[1.0f64; 96]; 96];
    learned.windows(2).for_each(|pair| counts[usize::from(pair[0])][usize::from(pair[1])] += 1.0);
    let bits = text.windows(2).map(|pair| {
        let row = &counts[usize::from(pair[0])];
        -(row[usize::from(pair[1])] / row.iter().sum::<f64>()).log2()
    });
    bits.sum::<f64>() / (text.len() - 1) as f64
}

/// A text that begins so, with so many characters more. A low temperature takes few risks.
fn written(net: &mut Session<Writer>, start: &str, more: usize, temperature: f64) -> Result<String, Box<dyn Error>> {
    let prompt: Vec<u8> = start.chars().map(id).collect();
    let ids = net.predictor()?.generate(&prompt, more, &Sampling::temperature(temperature).seed(2))?;
    Ok(start.chars().chain(ids.into_iter().map(|id| character(id as u8))).collect())
}

/// Steele, Lea & Flood 2014, `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}
