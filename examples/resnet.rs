//! ResNet-20 for photographs of 32 x 32 pixels: how fast a training step is, and with CIFAR-10 at hand, what it learns.
//!
//! ```text
//! cargo run --example resnet                                # on made-up images
//! cargo run --example resnet -- --data-dir FOLDER           # on CIFAR-10, in its binary version
//! ```
//!
//! Prints how many parameters there are, how long compiling took, and how much memory a step works in. With the photographs it
//! then learns for as many epochs as `--epochs` says, 1 unless given, and prints the share of test images that it classifies
//! correctly. At last it prints how long a step takes, and what share that is of what the processor could calculate.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gradloom::data::{ImageSet, cifar10};
use gradloom::ndarray::{Array1, Array4};
use gradloom::{Dataset, Peak, Schedule, Sgd, Stage, network};

network! {
    /// Two 3 x 3 convolutions, whose result is added to what came in.
    block Res(c) {
        residual { Conv2d(c, 3, pad = 1, bias = false), BatchNorm, relu, Conv2d(c, 3, pad = 1, bias = false), BatchNorm },
        relu,
    }
    /// The same with half as many positions along either axis.
    block Down(c) {
        residual { Conv2d(c, 3, stride = 2, pad = 1, bias = false), BatchNorm, relu, Conv2d(c, 3, pad = 1, bias = false), BatchNorm }
        skip     { Conv2d(c, 1, stride = 2, bias = false), BatchNorm },
        relu,
    }
    /// He et al. 2016, section 4.2, with projections where sizes change. The images of a training step are moved and mirrored by
    /// chance; mean and deviation are those of CIFAR-10, for each color.
    pub ResNet20<image: [u8; B, 3, 32, 32] -> logits: [B, 10]> {
        normalize(mean = (0.491, 0.482, 0.447), std = (0.247, 0.243, 0.262)), random_crop(pad = 4), random_flip,
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu,
        repeat(3) { Res(16) }, Down(32), repeat(2) { Res(32) }, Down(64), repeat(2) { Res(64) },
        global_avg_pool, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

const BATCH: usize = 32;
/// How many steps are timed.
const STEPS: usize = 20;
/// Floating-point operations of the products of a step on one image: 82 million forward, and twice as many backward.
const FLOPS: f64 = 3.0 * 82e6;

fn main() -> Result<(), Box<dyn Error>> {
    let (folder, epochs) = options()?;
    let photographs = folder.map(|folder| cifar10(Some(&folder))).transpose()?;
    let steps = photographs.as_ref().map_or(1, |set| epochs * set.train.1.len().div_ceil(BATCH));
    let threads = std::thread::available_parallelism()?.get().min(8);

    let rate = Schedule::cosine(0.05, steps as u64);
    let trainer = ResNet20::trainer(Sgd::new(rate).momentum(0.9).weight_decay(1e-4));
    let trainer = trainer.max_batch(BATCH).seed(1).threads(threads);
    let plan = trainer.ir(Stage::Plan);
    let start = Instant::now();
    let mut net = trainer.build()?;
    let compiling = 1e3 * start.elapsed().as_secs_f64();
    println!("{} parameters, compiled in {compiling:.0} ms for {threads} threads", net.param_count());
    println!("{}", plan.lines().find(|line| line.starts_with("arena")).unwrap_or_default());

    if let Some(ImageSet { train, test, .. }) = photographs {
        let (mut train, test) = (Dataset::new(train.0, train.1)?.seed(1), Dataset::new(test.0, test.1)?);
        net.fit(&mut train).epochs(epochs).run()?;
        println!("test accuracy: {:.3}", net.evaluate(test.inputs(), test.targets())?.accuracy);
    }

    let (images, labels) = made_up();
    let mut shortest = Duration::MAX;
    for _ in 0..STEPS {
        let start = Instant::now();
        net.step(images.view(), labels.view())?;
        shortest = shortest.min(start.elapsed());
    }
    let flops = FLOPS * BATCH as f64 / shortest.as_secs_f64();
    let share = 100.0 * flops / (Peak::measure().flops * threads as f64);
    let step = 1e3 * shortest.as_secs_f64();
    println!("{step:.1} ms a step of {BATCH} images, {:.1} GFLOP/s, {share:.0} % of peak", flops / 1e9);
    Ok(())
}

/// Images of noise with a label each: a step takes the same time on them.
fn made_up() -> (Array4<u8>, Array1<u8>) {
    let noise = |at: usize| (at.wrapping_mul(2_654_435_761) >> 24) as u8;
    let images = Array4::from_shape_fn((BATCH, 3, 32, 32), |(row, channel, y, x)| {
        noise(((row * 3 + channel) * 32 + y) * 32 + x + 1)
    });
    (images, Array1::from_shape_fn(BATCH, |row| (row % 10) as u8))
}

/// The folder after `--data-dir`, and the number after `--epochs`.
fn options() -> Result<(Option<PathBuf>, usize), Box<dyn Error>> {
    let (mut folder, mut epochs) = (None, 1);
    let mut args = std::env::args().skip(1);
    while let Some(option) = args.next() {
        match (option.as_str(), args.next()) {
            ("--data-dir", Some(value)) => folder = Some(PathBuf::from(value)),
            ("--epochs", Some(value)) => epochs = value.parse()?,
            _ => return Err("usage: resnet [--data-dir FOLDER] [--epochs N]".into()),
        }
    }
    Ok((folder, epochs))
}
