//! Learns to read handwritten digits: 1,797 images of 8 x 8 pixels, a fifth of them kept for the test.
//!
//! ```text
//! cargo run --release --example digits
//! ```
//!
//! Prints how long compiling took, the mean loss and accuracy of every epoch (as a progress bar in a terminal, as lines
//! elsewhere), how fast it trained, and at last the share of test images that the network reads correctly. `data/README.md`
//! says where the images come from.

use std::error::Error;
use std::time::{Duration, Instant};

use gradloom::ndarray::{Array1, Array2, Ix1, Ix2};
use gradloom::{AdamW, Dataset, Session, network};
use indicatif::{ProgressBar, ProgressStyle};

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

/// Images and their labels.
type Digit = Dataset<u8, Ix2, Ix1>;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut train, test) = load(include_str!("data/digits.csv"))?.seed(1).split(0.2)?;

    let start = Instant::now();
    let mut net = Digits::trainer(AdamW::new(RATE).decay(DECAY)).max_batch(BATCH).seed(1).build()?;
    let compiling = start.elapsed();
    println!("{} images to learn from, {} to be tested on", train.len(), test.len());
    println!("{} parameters, compiled in {:.1} ms", net.param_count(), 1e3 * compiling.as_secs_f64());

    let training = fit(&mut net, &mut train)?;
    let speed = (EPOCHS * train.len()) as f64 / training.as_secs_f64();
    println!("{EPOCHS} epochs in {:.2} s, {speed:.0} images per second", training.as_secs_f64());

    let result = net.evaluate(test.inputs(), test.targets())?;
    println!("test accuracy: {:.3}", result.accuracy);
    Ok(())
}

/// Trains for all epochs, while the learning rate falls along half a cosine. Gives the time it took.
fn fit(net: &mut Session<Digits>, train: &mut Digit) -> Result<Duration, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{bar:32}  {msg}")?;
    let bar = ProgressBar::new(EPOCHS as u64).with_style(style);
    let start = Instant::now();
    for epoch in 0..EPOCHS {
        let turn = std::f64::consts::PI * epoch as f64 / EPOCHS as f64;
        net.set_learning_rate(RATE * 0.5 * (1.0 + turn.cos()))?;

        let (rows, mut loss, mut accuracy) = (train.len() as f32, 0.0, 0.0);
        for (images, labels) in train.batches(BATCH) {
            let weight = labels.len() as f32 / rows;
            let step = net.step(images, labels)?;
            loss += weight * step.loss;
            accuracy += weight * step.accuracy;
        }

        let report = format!("epoch {:>2}/{EPOCHS}  loss {loss:.4}  accuracy {accuracy:.3}", epoch + 1);
        if bar.is_hidden() {
            println!("{report}");
        }
        bar.set_message(report);
        bar.inc(1);
    }
    bar.finish();
    Ok(start.elapsed())
}

/// One image a line: 64 pixels from 0 to 16, then the label.
fn load(csv: &str) -> Result<Digit, Box<dyn Error>> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in csv.lines() {
        let (image, label) = line.rsplit_once(',').ok_or("a line of the data has no label")?;
        for pixel in image.split(',') {
            pixels.push(pixel.parse::<f32>()? / 16.0);
        }
        labels.push(label.parse()?);
    }
    let images = Array2::from_shape_vec((labels.len(), 64), pixels)?;
    Ok(Dataset::new(images, Array1::from_vec(labels))?)
}
