//! Training that is stopped and continued: the same bits as if it had never been stopped.
//!
//! ```text
//! cargo run --example resume
//! ```
//!
//! One session learns 300 steps without a break. A second one stops after 120 of them and is saved; a third, built anew, goes on
//! from the file, which is a safetensors file, so other programs can read it. Prints the losses of both ways and whether every
//! parameter, statistic and moment is the same to the last bit.

use std::error::Error;
use std::path::Path;

use gradloom::ndarray::{Array1, Array2};
use gradloom::{Adam, Session, network};

network! {
    /// Whether a point lies within a ring.
    pub Ring<point: [B, 2] -> logits: [B, 2]> {
        Dense(32, bias = false), BatchNorm(every = 5), relu,
        Dense(16, bias = false), BatchNorm, tanh,
        Dense(2),
    }
    loss(inside: [u8; B]) = cross_entropy(logits, inside);
    metric accuracy = mean(argmax(logits) == inside);
}

const STEPS: u64 = 300;
const STOP: u64 = 120;
const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join("resume.safetensors");
    let build = |seed| Ring::trainer(Adam::new(1e-2)).max_batch(BATCH).seed(seed).build();

    let mut whole = build(1)?;
    train(&mut whole, STEPS)?;

    let mut stopped = build(1)?;
    train(&mut stopped, STOP)?;
    stopped.save(&file)?;
    drop(stopped);

    // Another seed gives other parameters; what counts is what the file holds.
    let mut resumed = build(2)?;
    resumed.load(&file)?;
    println!("resumed after step {}", resumed.steps());
    train(&mut resumed, STEPS)?;

    let (x, inside) = points(0);
    for (name, net) in [("in one go", &mut whole), ("resumed", &mut resumed)] {
        let report = net.evaluate(x.view(), inside.view())?;
        println!("{name:<10} loss {:.9}  accuracy {:.3}", report.loss, report.accuracy);
    }
    let differing = differences(&whole, &resumed)?;
    println!("{} tensors compared, {} differ", whole.names().count(), differing.len());
    match differing.is_empty() {
        true => Ok(()),
        false => Err(format!("these differ: {}", differing.join(", ")).into()),
    }
}

/// Goes on until so many steps have been made. The step decides the batch and the learning rate.
fn train(net: &mut Session<Ring>, steps: u64) -> Result<(), Box<dyn Error>> {
    while net.steps() < steps {
        let step = net.steps();
        net.set_learning_rate(1e-2 * (1.0 - step as f64 / STEPS as f64))?;
        let (x, inside) = points(step);
        net.step(x.view(), inside.view())?;
    }
    Ok(())
}

/// The batch of a step: points of a spiral, and whether their distance from the middle is between 0.4 and 0.8.
fn points(step: u64) -> (Array2<f32>, Array1<u8>) {
    let at = |row: usize| step as f32 * 0.37 + row as f32 * 2.399;
    let radius = |row: usize| ((row as f32 * 0.618 + step as f32 * 0.1) % 1.0).sqrt();
    let x = Array2::from_shape_fn((BATCH, 2), |(row, axis)| {
        radius(row) * if axis == 0 { at(row).cos() } else { at(row).sin() }
    });
    (x, Array1::from_shape_fn(BATCH, |row| u8::from((0.4..0.8).contains(&radius(row)))))
}

/// The names of tensors that are not the same to the last bit.
fn differences(x: &Session<Ring>, y: &Session<Ring>) -> Result<Vec<String>, Box<dyn Error>> {
    let mut differing = Vec::new();
    for name in x.names() {
        let (a, b) = (x.param(name)?, y.param(name)?);
        if a.iter().zip(b.iter()).any(|(a, b)| a.to_bits() != b.to_bits()) {
            differing.push(name.to_string());
        }
    }
    Ok(differing)
}
