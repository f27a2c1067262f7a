//! What one core can do at most: multiply-adds in registers, and the best of gradloom's own whole products.

use std::hint::black_box;

use gradloom::ndarray::{Array2, ArrayView2};
use gradloom::{Network, Peak, PredictorBuilder, network};

use crate::Result;
use crate::arguments::Arguments;
use crate::timing::Samples;
use crate::workloads::classes;

network! {
    Small<x: [B, 256] -> y: [B, 256]> { Dense(256, bias = false) }
    Medium<x: [B, 512] -> y: [B, 512]> { Dense(512, bias = false) }
    Large<x: [B, 1024] -> y: [B, 1024]> { Dense(1024, bias = false) }
}

/// Prints a line of JSON.
pub fn measure(arguments: &Arguments) -> Result<()> {
    let seconds = arguments.seconds.min(0.5);
    let products = [
        product(Small::predictor(), 256, seconds)?,
        product(Medium::predictor(), 512, seconds)?,
        product(Large::predictor(), 1024, seconds)?,
    ];
    let peak = (0..20)
        .map(|_| Peak::measure())
        .fold((0.0f64, 0.0f64), |best, peak| (best.0.max(peak.flops), best.1.max(peak.bytes)));
    let (best, size) = products.into_iter().max_by(|x, y| x.0.total_cmp(&y.0)).expect("three products");
    println!(
        "{{\"fma_gflops\": {:.1}, \"product_gflops\": {best:.1}, \"product\": \"{size} x {size} x {size}\", \
         \"memory_gbytes\": {:.1}}}",
        peak.0 / 1e9,
        peak.1 / 1e9,
    );
    Ok(())
}

/// The rate of a product of two square matrices, in GFLOP/s, and their size.
fn product<N>(builder: PredictorBuilder<N>, size: usize, seconds: f64) -> Result<(f64, usize)>
where
    N: for<'a> Network<Inputs<'a> = ArrayView2<'a, f32>>,
{
    let mut net = builder.max_batch(size).build()?;
    let (x, _): (Array2<f32>, _) = classes(size, size);
    let times = Samples::of(seconds, 0.1, || net.predict(x.view()).map(|outputs| drop(black_box(outputs))))?;
    Ok((2.0 * (size as f64).powi(3) / (1e3 * times.min()), size))
}
