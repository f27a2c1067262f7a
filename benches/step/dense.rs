//! Dense networks over a grid of widths, depths and batches: a training step, and a prediction of the batch.

use std::hint::black_box;

use gradloom::ndarray::{Array1, Array2};
use gradloom::{Sgd, network};

use crate::Result;
use crate::arguments::Arguments;
use crate::timing::Samples;
use crate::workloads::classes;

network! {
    Stack(width: usize = 16, depth: usize = 1)<x: [B, width] -> logits: [B, 10]> {
        repeat(depth) { Dense(width), relu },
        Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

const WIDTHS: [usize; 5] = [16, 64, 256, 1024, 4096];
const DEPTHS: [usize; 3] = [1, 4, 8];
const BATCHES: [usize; 5] = [1, 4, 32, 256, 4096];
/// Most numbers of the weights, so that they fit in memory beside those of another framework.
const MOST_WEIGHTS: usize = 1 << 26;
/// Most operations of a step, which would take seconds.
const MOST_FLOPS: usize = 30_000_000_000;

/// Prints a table, which `benches/compare/dense_pytorch.py` holds against PyTorch.
pub fn measure(arguments: &Arguments) -> Result<()> {
    let (seconds, warmup) = (arguments.seconds.min(0.2), arguments.warmup.min(0.05));
    println!("| width | depth | batch | step, us | predict, us |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    for (width, depth, batch) in sizes() {
        let (x, label): (Array2<f32>, Array1<u8>) = classes(batch, width);
        let trainer =
            Stack::trainer(Sgd::new(1e-3).momentum(0.9)).with(|sizes| (sizes.width, sizes.depth) = (width, depth));
        let mut net = trainer.max_batch(batch).threads(arguments.threads).seed(1).build()?;
        let step = Samples::of(seconds, warmup, || net.step(x.view(), label.view()).map(drop))?.min();
        let predict = Samples::of(seconds, warmup, || net.predict(x.view()).map(|y| _ = black_box(y)))?.min();
        println!("| {width} | {depth} | {batch} | {step:.2} | {predict:.2} |");
    }
    Ok(())
}

/// Widths, depths and batches of the networks that are measured.
fn sizes() -> impl Iterator<Item = (usize, usize, usize)> {
    let all = WIDTHS.into_iter().flat_map(|width| DEPTHS.map(|depth| (width, depth)));
    all.flat_map(|(width, depth)| BATCHES.map(|batch| (width, depth, batch))).filter(|&(width, depth, batch)| {
        let weights = depth * width * width;
        weights <= MOST_WEIGHTS && 6 * weights * batch <= MOST_FLOPS
    })
}
