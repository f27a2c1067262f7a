//! Transfer learning: what a network has learned of some kinds of clothes helps with others, of which there are few pictures.
//!
//! ```text
//! cargo run --example transfer
//! ```
//!
//! A convolutional network learns five kinds of clothes from 1,000 pictures. Others learn five further kinds from two pictures of
//! each: one from nothing, one on the frozen features of the first, with a new last layer alone, and one that then goes on to
//! train the features as well, at a small rate. Prints what each tells apart of test pictures, the mean of five starts, and how far
//! predictions with dropout lie apart for clothes that the last was trained on and for clothes that it never saw. `data/README.md` says where the pictures come from.

mod data;

use std::error::Error;
use std::path::Path;

use gradloom::data::ImageSet;
use gradloom::ndarray::{Array1, Array4};
use gradloom::{Adam, CheckpointError, Dataset, NameMap, Progress, Session, Trainer, network};

network! {
    /// What both networks see with: 32 images of 7 x 7 features.
    block Features {
        normalize(mean = 0.286, std = 0.353),
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu, max_pool(2),
        Conv2d(32, 3, pad = 1, bias = false), BatchNorm, relu, max_pool(2),
    }

    /// The kinds of which there are many pictures.
    pub Known<image: [u8; B, 1, 28, 28] -> logits: [B, 5]> {
        let seen = image -> Features;
        logits = seen -> flatten, Dropout(0.5), Dense(5);
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// The others.
    pub Rare<image: [u8; B, 1, 28, 28] -> (logits: [B, 5], chances: [B, 5])> {
        let seen = image -> Features;
        logits = seen -> flatten, Dropout(0.5), Dense(5);
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
const FEW: usize = 2;
/// How often those are learned, from other first parameters and with other masks.
const STARTS: u64 = 5;

type Pictures = Dataset<Array4<u8>, Array1<u8>>;

/// The pictures of these kinds, so many of each at most, labeled by the place in the list.
fn of_kinds(side: &(Array4<u8>, Array1<u8>), kinds: &[u8], most: usize) -> Result<Pictures, Box<dyn Error>> {
    let mut counts = [0; 10];
    let pictures = Dataset::new(side.0.clone(), side.1.clone())?.filter(|_, labels, row| {
        let count = &mut counts[usize::from(labels[row])];
        *count += 1;
        kinds.contains(&labels[row]) && *count <= most
    })?;
    let (images, labels) = pictures.into_parts();
    let place = |label: u8| kinds.iter().position(|kind| *kind == label).unwrap_or_default() as u8;
    Ok(Dataset::new(images, labels.mapv(place))?.seed(1))
}

/// A network of the rare kinds, trained on few pictures from where it is made to start.
fn trained(
    trainer: Trainer<Rare>,
    seed: u64,
    start: impl FnOnce(&mut Session<Rare>) -> Result<(), CheckpointError>,
    few: &Pictures,
) -> Result<Session<Rare>, Box<dyn Error>> {
    let mut net = trainer.max_batch(FEW * RARE.len()).seed(seed).build()?;
    start(&mut net)?;
    net.fit(&mut few.clone()).epochs(60).progress(Progress::Quiet).run()?;
    Ok(net)
}

fn main() -> Result<(), Box<dyn Error>> {
    let ImageSet { train, test, .. } = data::fashion()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let [of_known, of_rare] = ["known", "rare"].map(|name| folder.join(format!("transfer_{name}.safetensors")));

    let (mut many, tested) = (of_kinds(&train, &KNOWN, usize::MAX)?, of_kinds(&test, &KNOWN, usize::MAX)?);
    let mut known = Known::trainer(Adam::new(2e-3)).max_batch(32).seed(1).build()?;
    println!("{} pictures of the kinds that are known", many.len());
    known.fit(&mut many).epochs(8).progress(Progress::Quiet).run()?;
    println!("known kinds: {:.3}", known.evaluate(tested.inputs(), tested.targets())?.accuracy);
    known.save(&of_known)?;

    let (few, tested) = (of_kinds(&train, &RARE, FEW)?, of_kinds(&test, &RARE, usize::MAX)?);
    println!("{} pictures of the others to learn from, {} to be tested on", few.len(), tested.len());
    let accuracy =
        |net: &mut Session<Rare>| net.evaluate(tested.inputs(), tested.targets()).map(|found| found.accuracy);
    // The last layer of the file is that of other kinds.
    let features = NameMap::new().kept("logits.*");
    let (mut sums, mut last) = ([0.0; 3], None);
    for seed in 1..=STARTS {
        let mut alone = trained(Rare::trainer(Adam::new(2e-3)), seed, |_| Ok(()), &few)?;
        let trainer = Rare::trainer(Adam::new(2e-3)).freeze("seen.*");
        let mut frozen = trained(trainer, seed, |net| net.load_mapped(&of_known, &features), &few)?;
        if seed == 1 {
            println!("{}", frozen.summary());
        }
        frozen.save(&of_rare)?;
        let trainer = Rare::trainer(Adam::new(5e-5)).freeze("*.running_*");
        let mut tuned = trained(trainer, seed, |net| net.load_params(&of_rare), &few)?;
        let found = [accuracy(&mut alone)?, accuracy(&mut frozen)?, accuracy(&mut tuned)?];
        sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found / STARTS as f32);
        last = Some(tuned);
    }
    for (name, mean) in ["from nothing:", "frozen features:", "all of it tuned:"].iter().zip(sums) {
        println!("{name:<17} {mean:.3}");
    }

    // Thirty opinions of each picture: how far the chances lie apart.
    let strange = of_kinds(&test, &KNOWN, usize::MAX)?;
    let mut tuned = last.ok_or("there is no start")?;
    for (name, pictures) in [("deviation of the chances:", &tested), ("of clothes never seen:", &strange)] {
        let found = tuned.monte_carlo(pictures.inputs(), 30, 1)?;
        println!("{name:<26} {:.3}", found.deviation.chances.mean().unwrap_or(f32::NAN));
    }
    Ok(())
}
