//! Predicts how a disease goes on from ten measurements: 442 patients, real data, hardly more than a straight line in it.
//!
//! ```text
//! cargo run --example regression
//! ```
//!
//! Every patient is held out once: in each of five folds the network learns from four fifths of the table and is tested on
//! the last one, beside two predictions that need no network, the mean of the patients and linear least squares. Prints the
//! coefficient of determination (1 is perfect, 0 is the mean) of all three for every fold. `data/README.md` says where the
//! table comes from.

mod least_squares;

use std::error::Error;
use std::time::Instant;

use gradloom::ndarray::{Array2, ArrayView2, Axis, s};
use gradloom::{AdamW, Dataset, network};
use least_squares::least_squares;

network! {
    // A correction to what comes in, none at first.
    block Refine(n) { residual { LayerNorm, Dense(n), gelu, Dense(n, init = zeros) } }

    /// Ten measurements -> progression, in standard deviations from the mean.
    pub Progression<x: [B, 10] -> y: [B, 1]> { Dense(16), repeat(2) { Refine(16) }, Dense(1) }
    loss(t: [B, 1]) = huber(y, t);
    metric r2 = r2(y, t);
}

const FOLDS: usize = 5;
const EPOCHS: usize = 20;
const BATCH: usize = 16;
const RATE: f64 = 2e-3;
const DECAY: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    let table = load(include_str!("data/diabetes.csv"))?;
    println!("{}", Progression::trainer(AdamW::new(RATE)));
    println!("r2 on the fifth that was held out:");
    println!("fold  mean  least squares  network");
    let start = Instant::now();
    let mut sums = [0.0; 3];
    for fold in 0..FOLDS {
        let scores = score(&table, fold)?;
        let [mean, linear, network] = scores;
        println!("{:>4} {mean:>5.2} {linear:>14.3} {network:>8.3}", fold + 1);
        sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
    }
    let [mean, linear, network] = sums.map(|sum: f32| sum / FOLDS as f32);
    println!("{FOLDS} networks of {EPOCHS} epochs in {:.2} s", start.elapsed().as_secs_f64());
    println!("all  {mean:>5.2} {linear:>14.3} {network:>8.3}");
    Ok(())
}

/// How well the mean, least squares and the network predict the patients of a fold from the others.
fn score(table: &Array2<f32>, fold: usize) -> Result<[f32; 3], Box<dyn Error>> {
    let (held, kept): (Vec<usize>, Vec<usize>) = (0..table.nrows()).partition(|row| row % FOLDS == fold);
    let (mut train, mut test) = (table.select(Axis(0), &kept), table.select(Axis(0), &held));
    standardize(&mut train, &mut test);
    let (x, y) = (test.slice(s![.., ..10]), test.slice(s![.., 10..]));

    let linear = least_squares(train.view())?;
    let linear = x.dot(&linear.slice(s![..10])).insert_axis(Axis(1)) + linear[10];

    let (inputs, targets) = (train.slice(s![.., ..10]).to_owned(), train.slice(s![.., 10..]).to_owned());
    let mut train = Dataset::new(inputs, targets)?.seed(1);
    let mut net = Progression::trainer(AdamW::new(RATE).weight_decay(DECAY)).max_batch(BATCH).seed(1).build()?;
    for epoch in 0..EPOCHS {
        let turn = std::f64::consts::PI * epoch as f64 / EPOCHS as f64;
        net.set_learning_rate(RATE * 0.5 * (1.0 + turn.cos()))?;
        for (inputs, targets) in train.batches(BATCH) {
            net.step(inputs, targets)?;
        }
    }
    let mean = Array2::zeros(y.dim());
    Ok([r2(mean.view(), y), r2(linear.view(), y), net.evaluate(x, y)?.r2])
}

/// The share of the variance that a prediction explains.
fn r2(prediction: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> f32 {
    let mean = y.mean().unwrap_or(0.0);
    1.0 - (&y - &prediction).mapv(|x| x * x).sum() / y.mapv(|y| (y - mean) * (y - mean)).sum()
}

/// Every column by mean and standard deviation of the patients to learn from.
fn standardize(train: &mut Array2<f32>, test: &mut Array2<f32>) {
    for (mut train, mut test) in train.columns_mut().into_iter().zip(test.columns_mut()) {
        let (mean, deviation) = (train.mean().unwrap_or(0.0), train.std(0.0));
        train.mapv_inplace(|x| (x - mean) / deviation);
        test.mapv_inplace(|x| (x - mean) / deviation);
    }
}

/// One patient a line, after a header: ten measurements, then the progression.
fn load(csv: &str) -> Result<Array2<f32>, Box<dyn Error>> {
    let mut values = Vec::new();
    for line in csv.lines().skip(1) {
        let before = values.len();
        for value in line.split(',') {
            values.push(value.parse::<f32>()?);
        }
        if values.len() != before + 11 {
            return Err(format!("a line of the data has {} columns", values.len() - before).into());
        }
    }
    Ok(Array2::from_shape_vec((values.len() / 11, 11), values)?)
}
