//! One small recurrent step at a time: an element of 16 numbers comes, a state of 64 goes on.

use std::hint::black_box;

use gradloom::{Network, Predictor, network};

use crate::Result;
use crate::arguments::Arguments;
use crate::timing::Samples;
use crate::workloads::sequences;

network! {
    Elman<x: [B, 64, 16] -> y: [B, 64, 64]> { Rnn(64) }
    Gated<x: [B, 64, 16] -> y: [B, 64, 64]> { Gru(64) }
    Cell<x: [B, 64, 16] -> y: [B, 64, 64]> { Lstm(64) }
}

/// How many elements are fed before the clock is looked at: it takes as long as a part of a step.
const ELEMENTS: usize = 64;

/// Prints a table; `benches/compare/stream_pytorch.py` prints that of PyTorch.
pub fn measure(arguments: &Arguments) -> Result<()> {
    println!("| an element of a stream, us | least | median |");
    println!("| --- | ---: | ---: |");
    one("rnn", Elman::predictor().build()?, arguments)?;
    one("gru", Gated::predictor().build()?, arguments)?;
    one("lstm", Cell::predictor().build()?, arguments)
}

fn one<N: Network>(name: &str, predictor: Predictor<N>, arguments: &Arguments) -> Result<()> {
    let x = sequences(1, ELEMENTS, 16);
    let elements: Vec<Vec<f32>> =
        x.outer_iter().flat_map(|x| x.rows().into_iter().map(|x| x.to_vec()).collect::<Vec<_>>()).collect();
    let mut stream = predictor.stream()?;
    let samples = Samples::of(arguments.seconds, arguments.warmup, || {
        elements.iter().try_for_each(|element| stream.feed(element).map(|y| _ = black_box(y)))
    })?;
    let [least, median] = [samples.min(), samples.median()].map(|us| us / ELEMENTS as f64);
    println!("| {name} | {least:.3} | {median:.3} |");
    Ok(())
}
