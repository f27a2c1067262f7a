//! Learns to read handwritten digits: 1,797 images of 8 x 8 pixels, a fifth of them kept for the test.
//!
//! ```text
//! cargo run --example digits
//! ```
//!
//! Prints how long compiling took, the mean loss and accuracy of every epoch, how fast it trained, and at last the share of
//! test images that the network reads correctly. Ctrl-C ends the training early, and the test follows. `data/README.md` says
//! where the images come from.

mod data;

use std::error::Error;
use std::time::Instant;

use gradloom::{AdamW, Schedule, network};

network! {
    /// 64 pixels -> 10 digits. The layers before a batch norm need no bias: it would be subtracted again.
    pub Digits<image: [B, 64] -> logits: [B, 10]> {
        Dense(128, bias = false), BatchNorm, relu,
        Dense(64, bias = false), BatchNorm, relu,
        Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

const BATCH: usize = 32;
const EPOCHS: usize = 20;
const RATE: f64 = 5e-3;
const DECAY: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut train, test) = data::digits()?.seed(1).split(0.2)?;

    let start = Instant::now();
    let steps = EPOCHS * train.len().div_ceil(BATCH);
    let rate = Schedule::cosine(RATE, steps as u64);
    let mut net = Digits::trainer(AdamW::new(rate).weight_decay(DECAY)).max_batch(BATCH).seed(1).build()?;
    let compiling = start.elapsed();
    println!("{} images to learn from, {} to be tested on", train.len(), test.len());
    println!("{} parameters, compiled in {:.1} ms", net.param_count(), 1e3 * compiling.as_secs_f64());

    let history = net.fit(&mut train).epochs(EPOCHS).run()?;
    let seconds: f64 = history.epochs.iter().map(|epoch| epoch.seconds).sum();
    let images = history.epochs.len() * train.len();
    println!("{} epochs in {seconds:.2} s, {:.0} images per second", history.epochs.len(), images as f64 / seconds);

    let result = net.evaluate(test.inputs(), test.targets())?;
    println!("test accuracy: {:.3}", result.accuracy);
    Ok(())
}
