//! Attention by itself: the kernels between the products that give queries, keys and values and the one that takes the means, forward
//! and back. `benches/compare/attention_pytorch.py` prints the same of PyTorch's fused attention.

use gradloom::{Sgd, Supervised, Trainer, network};
use gradloom_runtime::compile::{Purpose, Target, simplified};
use gradloom_runtime::fuse::{Budget, fuse_legalized, group, legalize};
use gradloom_runtime::kernel::{Fused, Kernel};
use gradloom_runtime::optim::TrainingConfig;

use gradloom::Rows as _;

use crate::Result;
use crate::workloads::sequences;

network! {
    Short<x: [B, 64, 128] -> y: [B, 64, 128]> { Attention(4, causal = true) }
    loss = mean(square(y));
}

network! {
    Middle<x: [B, 512, 256] -> y: [B, 512, 256]> { Attention(8, causal = true) }
    loss = mean(square(y));
}

network! {
    Long<x: [B, 2048, 64] -> y: [B, 2048, 64]> { Attention(2, causal = true) }
    loss = mean(square(y));
}

/// How often each network is profiled: the least of each kernel counts.
const ROUNDS: usize = 3;

/// Prints a table, in microseconds on one thread.
pub fn measure() -> Result<()> {
    println!("| causal attention, heads of 32 | forward | backward | both, GFLOP/s |");
    println!("| --- | ---: | ---: | ---: |");
    one::<Short>("64 heads, T 64", 16, sequences(16, 64, 128))?;
    one::<Middle>("8 heads, T 512", 1, sequences(1, 512, 256))?;
    one::<Long>("2 heads, T 2048", 1, sequences(1, 2048, 64))
}

fn one<N: Supervised<TargetArrays = ()>>(name: &str, batch: usize, x: N::InputArrays) -> Result<()> {
    let fused = kernels::<N>(batch)?;
    let mut net = Trainer::<N>::new(Sgd::new(0.1)).max_batch(batch).build()?;
    let mut least = vec![f64::INFINITY; fused.kernels.len()];
    for _ in 0..ROUNDS {
        let profile = net.profile(x.views(), ().views())?;
        assert_eq!(fused.kernels.len(), profile.kernels.len(), "what is profiled has been fused the same way");
        least.iter_mut().zip(&profile.kernels).for_each(|(least, kernel)| *least = least.min(kernel.work.seconds));
    }
    let before = fused.check.unwrap_or(fused.kernels.len());
    let (mut times, mut flops) = ([0.0; 2], 0.0);
    for (index, kernel) in fused.kernels.iter().enumerate().filter(|(_, kernel)| is_of_heads(kernel)) {
        times[usize::from(index >= before)] += least[index];
        flops += kernel.dot.as_ref().map_or(0, |dot| dot.origin.flops.each) as f64 * batch as f64;
    }
    let [forward, backward] = times.map(|seconds| 1e6 * seconds);
    println!("| {name} | {forward:.0} | {backward:.0} | {:.0} |", flops / (forward + backward) / 1e3);
    Ok(())
}

/// Whether a kernel has a product for each head.
fn is_of_heads(kernel: &Kernel) -> bool {
    kernel.dot.as_ref().is_some_and(|dot| dot.origin.ty.shape.rank() > 3)
}

fn kernels<N: Supervised>(batch: usize) -> Result<Fused> {
    let config = TrainingConfig::from(Sgd::new(0.1));
    let graph = legalize(&simplified(N::declared(), Purpose::Train(&config))?);
    Ok(group(fuse_legalized(&graph, Target::new(batch).winograd), &Budget::new(batch)))
}
