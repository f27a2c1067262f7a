//! A variational autoencoder on handwritten digits: learns to draw digits from two random numbers (Kingma & Welling 2014).
//!
//! ```text
//! cargo run --example vae
//! ```
//!
//! The encoder gives the mean and the logarithm of the variance of two hidden numbers, noise is added, and the decoder draws the
//! image again. The loss is the cross-entropy of the pixels plus the divergence of the hidden numbers from a normal distribution,
//! whose weight grows from 0 to 1 in the first epochs: a scalar, for which nothing is compiled. Prints both parts for images that
//! are held out, and draws, as `target/vae.svg`, digits decoded all over the plane of the two numbers, and where those images lie
//! in it.

mod data;
mod plot;

use std::error::Error;

use gradloom::ndarray::{Array2, ArrayView1, ArrayView2};
use gradloom::{Adam, Dataset, Progress, Session, network};
use plot::{Axis, Curve, Panel, Picture, Style, Tiles};
use plotters::style::RGBColor;

network! {
    block Decode(wide) { Dense(wide), relu, Dense(2 * wide), relu, Dense(64) }

    /// 64 pixels -> two hidden numbers -> 64 pixels, as logits.
    pub Vae<image: [B, 64] -> (pixels: [B, 64], place: [B, 2])> {
        layer decoder = { Decode(64) };
        let (middle, log_var) = image -> Dense(128), relu, Dense(64), relu, Dense(4), split;
        let noise = middle -> Normal;                                   // 0 in inference
        pixels = middle + exp(0.5 * log_var) * noise -> decoder;
        place = middle;
    }
    scalar kl_weight = 0.0;
    loss = 64.0 * bce_with_logits(pixels, image)
        + kl_weight * 0.5 * mean(sum(square(place) + exp(log_var) - log_var - 1.0, axis = -1));
    metric likeness = 64.0 * bce_with_logits(pixels, image);
    metric divergence = 0.5 * mean(sum(square(place) + exp(log_var) - log_var - 1.0, axis = -1));

    /// The second half alone: its parameters have the names that they have in the first network.
    pub Decoder<place: [B, 2] -> pixels: [B, 64]> {
        layer decoder = { Decode(64) };
        pixels = place -> decoder;
    }
}

const EPOCHS: usize = 80;
/// In so many epochs the weight of the divergence grows from 0 to 1. With all of it at once, the hidden numbers may stay random.
const RISING: usize = 20;
const RATE: f64 = 1e-3;
/// How many digits are drawn along an axis, from -`REACH` to `REACH`.
const SIDE: usize = 15;
const REACH: f64 = 2.1;

fn main() -> Result<(), Box<dyn Error>> {
    let (train, test) = data::digits()?.seed(1).split_stratified(0.2)?;
    // The loss has no targets: an image is its own.
    let mut images = Dataset::new(train.inputs().to_owned(), ())?.seed(1);
    let mut net = Vae::trainer(Adam::new(RATE)).max_batch(32).seed(1).build()?;

    println!("nats an image, for images held out");
    println!("epoch  kl_weight  likeness  divergence");
    for epoch in 1..=EPOCHS {
        let weight = ((epoch - 1) as f64 / RISING as f64).min(1.0);
        net.set_scalar("kl_weight", weight)?;
        net.fit(&mut images).epochs(1).progress(Progress::Quiet).run()?;
        if epoch == 1 || epoch % 10 == 0 {
            let found = net.evaluate(test.inputs(), ())?;
            println!("{epoch:5}  {weight:9.2}  {:8.2}  {:10.2}", found.likeness, found.divergence);
        }
    }

    let samples = samples(&net)?;
    let places = net.predict_owned(test.inputs())?.place;
    picture(samples, places.view(), test.targets()).save("vae")
}

/// Digits decoded from the points of a grid.
fn samples(net: &Session<Vae>) -> Result<Tiles, Box<dyn Error>> {
    let mut decoder = Decoder::predictor().build()?;
    let names: Vec<String> = decoder.names().map(String::from).collect();
    for name in names {
        decoder.set_param(&name, net.param(&name)?)?;
    }
    let step = 2.0 * REACH / SIDE as f64;
    let along = |at: usize| step * (at as f64 + 0.5) - REACH;
    let grid: Vec<(f64, f64)> = (0..SIDE * SIDE).map(|at| (along(at % SIDE), along(at / SIDE))).collect();
    let points = Array2::from_shape_fn((grid.len(), 2), |(at, axis)| [grid[at].0, grid[at].1][axis] as f32);
    let pixels = decoder.predict_owned(points.view())?.mapv(|logit| 1.0 / (1.0 + (-logit).exp()));
    let images = grid.into_iter().zip(pixels.rows()).map(|(middle, pixels)| (middle, pixels.to_vec()));
    Ok(Tiles { step, side: 8, images: images.collect() })
}

/// A color for each digit.
const COLORS: [RGBColor; 10] = [
    plot::BLACK,
    plot::ORANGE,
    plot::SKY,
    plot::GREEN,
    plot::YELLOW,
    plot::BLUE,
    plot::VERMILLION,
    plot::PURPLE,
    plot::GRAY,
    RGBColor(120, 70, 30),
];

fn picture(samples: Tiles, places: ArrayView2<'_, f32>, labels: ArrayView1<'_, u8>) -> Picture {
    let digit = |digit: u8| {
        let own = places.rows().into_iter().zip(labels).filter(|(_, label)| **label == digit);
        let points = own.map(|(place, _)| (f64::from(place[0]), f64::from(place[1]))).collect();
        Curve { name: digit.to_string(), color: COLORS[usize::from(digit)], style: Style::Dots, points }
    };
    let axes =
        |reach: f64| ["first", "second"].map(|which| Axis::linear(&format!("{which} number")).range(-reach, reach));
    let ([x, y], [u, v]) = (axes(REACH), axes(3.0));
    let drawn = Panel { tiles: Some(samples), ..Panel::new("what the decoder draws", x, y, Vec::new()) };
    let plane = Panel::new("where the images held out lie", u, v, (0..10).map(digit).collect());
    Picture { title: "digits from two numbers".to_string(), columns: 2, panels: vec![drawn, plane] }
}
