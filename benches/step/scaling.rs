//! How step and compile time grow with width, depth, batch and threads: each should grow as its work does. And that the compile time of
//! a layer with a state does not grow with its steps.

use std::time::Instant;

use gradloom::ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use gradloom::{Network, Sgd, Trainer, network};

use crate::Result;
use crate::arguments::Arguments;
use crate::timing::Samples;
use crate::workloads::classes;

/// Networks of hidden layers of one width.
macro_rules! stacks {
    ($($name:ident: $width:tt wide, $depth:tt deep;)*) => {
        $(network! {
            $name<x: [B, $width] -> logits: [B, 10]> {
                repeat($depth) { Dense($width, bias = false), BatchNorm, relu },
                Dense(10),
            }
            loss(label: [u8; B]) = cross_entropy(logits, label);
        })*
    };
}

stacks! {
    Wide64: 64 wide, 4 deep;
    Wide128: 128 wide, 4 deep;
    Wide256: 256 wide, 4 deep;
    Wide512: 512 wide, 4 deep;
    Wide1024: 1024 wide, 4 deep;
    Deep1: 256 wide, 1 deep;
    Deep2: 256 wide, 2 deep;
    Deep8: 256 wide, 8 deep;
    Deep16: 256 wide, 16 deep;
    Deep32: 256 wide, 32 deep;
}

/// Layers with a state over sequences of one length.
macro_rules! sequences {
    ($($name:ident: $steps:tt steps;)*) => {
        $(network! {
            $name<x: [B, $steps, 256] -> y: [B, $steps, 256]> { Lstm(256) }
            loss = mean(square(y));
        })*
    };
}

sequences! {
    Steps64: 64 steps;
    Steps1000: 1000 steps;
    Steps10000: 10000 steps;
}

/// Prints two tables.
pub fn measure(arguments: &Arguments) -> Result<()> {
    let optimizer = || Sgd::new(0.01).momentum(0.9);
    println!("| width | depth | batch | threads | MFLOP a step | step, us | GFLOP/s | build, ms | build, ms a layer |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let size = Size { width: 256, depth: 4, batch: 256, threads: 1, seconds: arguments.seconds.min(0.5) };
    Size { width: 64, ..size }.row(|| Wide64::trainer(optimizer()))?;
    Size { width: 128, ..size }.row(|| Wide128::trainer(optimizer()))?;
    size.row(|| Wide256::trainer(optimizer()))?;
    Size { width: 512, ..size }.row(|| Wide512::trainer(optimizer()))?;
    Size { width: 1024, ..size }.row(|| Wide1024::trainer(optimizer()))?;
    Size { depth: 1, ..size }.row(|| Deep1::trainer(optimizer()))?;
    Size { depth: 2, ..size }.row(|| Deep2::trainer(optimizer()))?;
    Size { depth: 8, ..size }.row(|| Deep8::trainer(optimizer()))?;
    Size { depth: 16, ..size }.row(|| Deep16::trainer(optimizer()))?;
    Size { depth: 32, ..size }.row(|| Deep32::trainer(optimizer()))?;
    for batch in [4, 16, 64, 1024, 4096] {
        Size { batch, ..size }.row(|| Wide256::trainer(optimizer()))?;
    }
    for threads in 2..=arguments.threads {
        Size { threads, ..size }.row(|| Wide256::trainer(optimizer()))?;
        Size { threads, width: 1024, ..size }.row(|| Wide1024::trainer(optimizer()))?;
        Size { threads, batch: 4096, ..size }.row(|| Wide256::trainer(optimizer()))?;
    }
    println!("\n| steps of an lstm | build, ms |");
    println!("| ---: | ---: |");
    println!("| 64 | {:.1} |", built(|| Steps64::trainer(optimizer()).max_batch(1))?);
    println!("| 1000 | {:.1} |", built(|| Steps1000::trainer(optimizer()).max_batch(1))?);
    println!("| 10000 | {:.1} |", built(|| Steps10000::trainer(optimizer()).max_batch(1))?);
    Ok(())
}

/// Milliseconds that building takes, the least of three times.
fn built<N: Network>(trainer: impl Fn() -> Trainer<N>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let before = Instant::now();
        drop(trainer().seed(1).build()?);
        least = least.min(1e3 * before.elapsed().as_secs_f64());
    }
    Ok(least)
}

#[derive(Clone, Copy)]
struct Size {
    width: usize,
    depth: usize,
    batch: usize,
    threads: usize,
    /// How long steps are measured.
    seconds: f64,
}

impl Size {
    /// Of the products: forward, by the weights, and by the inputs of all layers but the first.
    fn flops(self) -> f64 {
        let Size { width, depth, batch, .. } = self;
        let (hidden, last) = (2 * batch * width * width, 2 * batch * width * 10);
        ((3 * depth - 1) * hidden + 3 * last) as f64
    }

    /// Measures a network of this size and prints its row.
    fn row<N>(self, trainer: impl Fn() -> Trainer<N>) -> Result<()>
    where
        N: for<'a> Network<Inputs<'a> = ArrayView2<'a, f32>, Targets<'a> = ArrayView1<'a, u8>>,
    {
        let Size { width, depth, batch, threads, seconds } = self;
        let (x, label): (Array2<f32>, Array1<u8>) = classes(batch, width);
        let trainer = || trainer().max_batch(batch).threads(threads);
        let build = built(trainer)?;
        let mut net = trainer().seed(1).build()?;
        let step = Samples::of(seconds, 0.05, || net.step(x.view(), label.view()).map(drop))?.min();
        println!(
            "| {width} | {depth} | {batch} | {threads} | {:.1} | {step:.1} | {:.1} | {build:.1} | {:.2} |",
            self.flops() / 1e6,
            self.flops() / (1e3 * step),
            build / (depth + 1) as f64,
        );
        Ok(())
    }
}
