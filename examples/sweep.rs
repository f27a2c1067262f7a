//! Which size and which learning rate? A search for a rate, then twelve trainings, several at a time, on handwritten digits.
//!
//! ```text
//! cargo run --example sweep
//! ```
//!
//! Prints the loss by learning rate with the rate that is suggested, then a table with a line for each training, and at last the
//! accuracy on images that no choice was made by: of the best training, made once more with the same bits. Writes `target/rate.svg`,
//! `target/sweep.csv`, `target/sweep.svg`, and `target/history.svg` of the best training. `data/README.md` says where the images come
//! from.

mod data;

use std::error::Error;
use std::fs;
use std::path::Path;

use gradloom::ndarray::{Array1, Array2};
use gradloom::{AdamW, BuildError, Dataset, FitError, History, Session, Sweep, network};

network! {
    /// 64 pixels -> 10 digits, by layers of a size that is chosen when the program runs.
    pub Digits(hidden: usize = 64)<image: [B, 64] -> logits: [B, 10]> {
        Dense(hidden, bias = false), BatchNorm, relu, Dropout(0.1),
        Dense(hidden / 2), relu,
        Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

type Images = Dataset<Array2<f32>, Array1<u8>>;

const BATCH: usize = 32;
const EPOCHS: usize = 8;

fn build(hidden: usize, rate: f64) -> Result<Session<Digits>, BuildError> {
    Digits::trainer(AdamW::new(rate)).with(|sizes| sizes.hidden = hidden).max_batch(BATCH).seed(1).build()
}

/// A training with these settings. A fifth of the images decides which epoch is the best.
fn train(hidden: usize, rate: f64, images: &Images) -> Result<(Session<Digits>, History<Digits>), FitError<Digits>> {
    let mut net = build(hidden, rate)?;
    let mut images = images.clone();
    let history = net.fit(&mut images).epochs(EPOCHS).validation_split(0.2).restore_best(true).run()?;
    Ok((net, history))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut images, test) = data::digits()?.seed(1).split(0.2)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    fs::create_dir_all(&folder)?;

    let curve = build(64, 1e-3)?.find_rate(&mut images).run()?;
    println!("{curve}");
    fs::write(folder.join("rate.svg"), curve.to_svg())?;

    let sweep = Sweep::new().over("hidden", [8, 32, 128]).over("rate", [1e-4, 1e-3, 1e-2, 1e-1]);
    let found = sweep.run(|(hidden, rate)| train(hidden, rate, &images).map(|(_, history)| history))?;
    println!("{found}");
    fs::write(folder.join("sweep.csv"), found.to_csv())?;
    fs::write(folder.join("sweep.svg"), found.to_svg())?;

    let best = found.best().ok_or("every training failed")?;
    let (hidden, rate) = best.settings;
    let (mut net, history) = train(hidden, rate, &images)?;
    fs::write(folder.join("history.svg"), history.to_svg())?;
    println!("wrote rate.svg, sweep.csv, sweep.svg and history.svg to target");
    let again = history.best_epoch().and_then(|epoch| epoch.validation);
    let before = best.result.as_ref().ok().and_then(|history| history.best_epoch()?.validation);
    if again.map(|metrics| metrics.loss) != before.map(|metrics| metrics.loss) {
        return Err("the same training gave another loss".into());
    }
    let result = net.evaluate(test.inputs(), test.targets())?;
    println!("test accuracy: {:.3}", result.accuracy);
    Ok(())
}
