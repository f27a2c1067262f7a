//! Two towers: an image and the name of a digit, each as a point in eight dimensions; the closer they point, the better they fit.
//!
//! ```text
//! cargo run --example two_tower
//! ```
//!
//! This is how images are found for words, and goods for customers: what is known of one side is compiled into a point once, and
//! a search compares points. Here both sides are real but small, handwritten digits and the ten digits that they may stand for. The
//! network never hears which of the ten an image is: only, of pairs, whether they fit. The pairs come from a `Stream`, with new wrong
//! ones in every pass. Prints how well scores tell right pairs from wrong ones (the area under the ROC curve), and which digit is
//! found for an image when all ten are tried.

mod data;

use std::convert::Infallible;
use std::error::Error;

use gradloom::evaluation::{Confusion, roc_auc};
use gradloom::ndarray::{Array1, Array2, Axis, concatenate};
use gradloom::{Adam, Stream, StreamOf, network};

network! {
    /// 64 pixels and the id of a digit -> how well they fit, as a logit, and the point of the image.
    pub TwoTower<(image: [B, 64], digit: [u8; B]) -> (score: [B], point: [B, 8])> {
        let word = one_hot(digit, classes = 10) -> Dense(8);
        point = image -> Dense(64), relu, Dense(8);
        score = sum(point * word, axis = -1);
    }
    loss(fits: [B]) = bce_with_logits(score, fits);
    metric right = mean((score > 0.0) == (fits > 0.5));
}

/// Images of a batch; each goes in twice.
const BATCH: usize = 32;
const EPOCHS: usize = 20;
const RATE: f64 = 2e-3;

fn main() -> Result<(), Box<dyn Error>> {
    let (train, test) = data::digits()?.seed(1).split_stratified(0.2)?;
    println!("{} images to learn from, {} to be tested on", train.len(), test.len());
    let mut net = TwoTower::trainer(Adam::new(RATE)).max_batch(2 * BATCH).seed(1).build()?;
    let history = net.fit_stream(&mut pairs(train)).epochs(EPOCHS).run()?;
    if let Some(last) = history.epochs.last() {
        println!("loss {:.4}, {:.3} of the pairs right", last.train.loss, last.train.right);
    }

    // Every image held out with every digit.
    let (images, labels) = (test.inputs(), test.targets());
    let every = Array2::from_shape_fn((10 * test.len(), 64), |(pair, pixel)| images[[pair / 10, pixel]]);
    let digits = Array1::from_shape_fn(10 * test.len(), |pair| (pair % 10) as u8);
    let fits = Array1::from_shape_fn(10 * test.len(), |pair| u8::from(labels[pair / 10] == digits[pair]));
    let scores = net.predict_owned((every.view(), digits.view()))?.score;
    let area = roc_auc(fits.view(), scores.view())?;
    let found = Confusion::of_scores(labels, scores.into_shape_with_order((test.len(), 10))?.view())?;
    println!("{found}");
    println!("area under the ROC curve: {area:.4}");
    println!("digits found: {:.3}", found.accuracy());
    Ok(())
}

/// Every image with the digit that it is, and once more with one that it is not, drawn anew for every pass.
fn pairs(mut train: data::Digits) -> StreamOf<TwoTower> {
    Stream::new(move |pass| {
        let batches = train.batches(BATCH).enumerate().map(|(batch, (images, labels))| {
            let wrong = labels.iter().enumerate().map(|(row, label)| (label + 1 + draw(pass, batch, row)) % 10);
            let digits = labels.iter().copied().chain(wrong).collect();
            let images = concatenate(Axis(0), &[images, images]).expect("both have 64 columns");
            let fits = Array1::from_shape_fn(images.nrows(), |row| if row < labels.len() { 1.0 } else { 0.0 });
            Ok::<_, Infallible>(((images, digits), fits))
        });
        batches.collect::<Vec<_>>()
    })
}

/// A number from 0 to 8 that looks random: a hash of three (SplitMix64).
fn draw(pass: usize, batch: usize, row: usize) -> u8 {
    let mut bits =
        [pass, batch, row].iter().fold(0, |bits: u64, &n| (bits + n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) % 9) as u8
}
