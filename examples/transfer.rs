//! Transfer learning: what a network has learned of some kinds of clothes helps with others, of which there are few pictures.
//!
//! ```text
//! cargo run --release --example transfer
//! ```
//!
//! A convolutional network learns five kinds of clothes from 1,000 pictures. Others learn five further kinds from eight pictures of
//! each: one from nothing, one on the frozen features of the first, with a new last layer alone, and one that then goes on to
//! train the features as well, at a small rate. Prints what each tells apart of test pictures, and how sure the last is of clothes that
//! it knows and of clothes that it has never seen. `data/README.md` says where the pictures come from.

mod data;

use std::error::Error;
use std::path::Path;

use gradloom::data::ImageSet;
use gradloom::ndarray::{Array1, Array4, Axis};
use gradloom::{Adam, CheckpointError, Dataset, NameMap, Progress, Session, Trainer, network};

network! {
    /// What both networks see with: 64 features of a picture.
    block Features {
        normalize(mean = 0.286, std = 0.353),
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu, max_pool(2),
        Conv2d(32, 3, pad = 1, bias = false), BatchNorm, relu, max_pool(2),
        flatten, Dense(64), relu,
    }

    /// The kinds of which there are many pictures.
    pub Known<image: [u8; B, 1, 28, 28] -> logits: [B, 5]> {
        let seen = image -> Features;
        logits = seen -> Dense(5);
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// The others.
    pub Rare<image: [u8; B, 1, 28, 28] -> (logits: [B, 5], chances: [B, 5])> {
        let seen = image -> Features;
        logits = seen -> Dropout(0.5), Dense(5);
        chances = softmax(logits);
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

/// T-shirt, trouser, pullover, sneaker, bag.
const KNOWN: [u8; 5] = [0, 1, 2, 7, 8];
/// Dress, coat, sandal, shirt, ankle boot.
const RARE: [u8; 5] = [3, 4, 5, 6, 9];
/// How many pictures there are of each rare kind.
const FEW: usize = 8;

type Pictures = Dataset<Array4<u8>, Array1<u8>>;

/// The pictures of these kinds, so many of each at most, labeled by the place in the list.
fn of_kinds(side: &(Array4<u8>, Array1<u8>), kinds: &[u8], most: usize) -> Result<Pictures, Box<dyn Error>> {
    let mut counts = vec![0; kinds.len()];
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for (row, label) in side.1.iter().enumerate() {
        if let Some(kind) = kinds.iter().position(|kind| kind == label).filter(|&kind| counts[kind] < most) {
            counts[kind] += 1;
            rows.push(row);
            labels.push(kind as u8);
        }
    }
    Ok(Dataset::new(side.0.select(Axis(0), &rows), Array1::from_vec(labels))?.seed(1))
}

/// A network of the rare kinds, trained on few pictures from where it is made to start.
fn trained(
    trainer: Trainer<Rare>,
    start: impl FnOnce(&mut Session<Rare>) -> Result<(), CheckpointError>,
    few: &mut Pictures,
) -> Result<Session<Rare>, Box<dyn Error>> {
    let mut net = trainer.max_batch(20).seed(1).build()?;
    start(&mut net)?;
    net.fit(few).epochs(60).progress(Progress::Quiet).run()?;
    Ok(net)
}

fn main() -> Result<(), Box<dyn Error>> {
    let ImageSet { train, test, .. } = data::fashion()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join("transfer.safetensors");

    let (mut many, tested) = (of_kinds(&train, &KNOWN, usize::MAX)?, of_kinds(&test, &KNOWN, usize::MAX)?);
    let mut known = Known::trainer(Adam::new(2e-3)).max_batch(32).seed(1).build()?;
    println!("{} pictures of the kinds that are known", many.len());
    known.fit(&mut many).epochs(6).progress(Progress::Quiet).run()?;
    println!("known kinds: {:.3}", known.evaluate(tested.inputs(), tested.targets())?.accuracy);
    known.save(&file)?;

    let (mut few, tested) = (of_kinds(&train, &RARE, FEW)?, of_kinds(&test, &RARE, usize::MAX)?);
    println!("{} pictures of the others to learn from, {} to be tested on", few.len(), tested.len());
    let accuracy =
        |net: &mut Session<Rare>| net.evaluate(tested.inputs(), tested.targets()).map(|found| found.accuracy);

    let mut alone = trained(Rare::trainer(Adam::new(2e-3)), |_| Ok(()), &mut few)?;
    println!("from nothing:     {:.3}", accuracy(&mut alone)?);

    // The last layer of the file is that of other kinds.
    let features = NameMap::new().ignored("logits.*").kept("logits.*");
    let frozen = Rare::trainer(Adam::new(5e-3)).freeze("seen.*");
    let mut frozen = trained(frozen, |net| net.load_mapped(&file, &features), &mut few)?;
    println!("{}", frozen.summary());
    println!("frozen features:  {:.3}", accuracy(&mut frozen)?);

    frozen.save(&file)?;
    let tuned = Rare::trainer(Adam::new(2e-4)).freeze("*.running_*");
    let mut tuned = trained(tuned, |net| net.load_params(&file), &mut few)?;
    println!("all of it tuned:  {:.3}", accuracy(&mut tuned)?);

    // A hundred opinions of each picture: how far the chances lie apart.
    let strange = of_kinds(&test, &KNOWN, usize::MAX)?;
    let mut unsure = |pictures: &Pictures| -> Result<f32, Box<dyn Error>> {
        let found = tuned.monte_carlo(pictures.inputs(), 100, 1)?;
        Ok(found.deviation.chances.mean().unwrap_or(f32::NAN))
    };
    println!("deviation of the chances: {:.3}", unsure(&tested)?);
    println!("of clothes never seen:    {:.3}", unsure(&strange)?);
    Ok(())
}
