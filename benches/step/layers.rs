//! How fast each product of the convolutional workloads is, forward, by the input and by the weight: alone, bare and hot; and in the
//! kernel that it has in a training step, with all that is fused into it, and those in the form of Winograd as sums of products too.

use gradloom::Profile;
use gradloom_runtime::kernel::{Fused, Kernel};

use crate::Result;
use crate::bare::{Layer, Rates};
use crate::workloads::Workload;

/// What a product computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Forward,
    ByInput,
    ByWeight,
}

/// A product in its kernel.
pub struct Product<'a> {
    pub layer: &'a str,
    pub pass: Pass,
    /// Floating-point operations of the product alone, as if no window stood over an edge.
    pub flops: f64,
    /// The time of the whole kernel.
    pub seconds: f64,
    /// Whether it has the form of Winograd.
    pub winograd: bool,
}

/// The products of a step. The first one of a layer is its forward pass; gradients by weights are sums over the batch.
pub fn products<'a>(fused: &'a Fused, profile: &Profile, batch: usize) -> Vec<Product<'a>> {
    assert_eq!(fused.kernels.len(), profile.kernels.len(), "what is profiled has been fused the same way");
    let mut found: Vec<Product<'a>> = Vec::new();
    for (kernel, timed) in fused.kernels.iter().zip(&profile.kernels) {
        let Some((layer, flops, by_weight)) = product(kernel, batch) else { continue };
        let winograd = kernel.dot.as_ref().is_some_and(|dot| dot.winograd.is_some());
        let known = found.iter().any(|other| other.layer == layer);
        let pass = match (by_weight, known) {
            (true, _) => Pass::ByWeight,
            (false, false) => Pass::Forward,
            (false, true) => Pass::ByInput,
        };
        found.push(Product { layer, pass, flops, seconds: timed.work.seconds, winograd });
    }
    found
}

/// The layer of the product of a kernel, its operations, and whether it is summed over the batch.
fn product(kernel: &Kernel, batch: usize) -> Option<(&str, f64, bool)> {
    let dot = kernel.dot.as_ref()?;
    let layer = dot.origin.layer.split(" (").next()?;
    let flops = dot.origin.flops.each as f64 * batch as f64 + dot.origin.flops.once as f64;
    Some((layer, flops, dot.inner().is_batch()))
}

/// Prints a table for each workload.
pub fn measure() -> Result<()> {
    for workload in [Workload::Cnn, Workload::ResNet20] {
        let (fused, profile) = (workload.kernels(true)?, workload.profile(true)?);
        let direct = (workload.kernels(false)?, workload.profile(false)?);
        let products = [(&fused, &profile), (&direct.0, &direct.1)]
            .map(|(fused, profile)| self::products(fused, profile, workload.batch()));
        println!(
            "| {}, GFLOP/s (% of the arithmetic peak; direct) | forward | by the input | by the weight |",
            workload.name()
        );
        println!("| --- | ---: | ---: | ---: |");
        let mut layers: Vec<&str> = Vec::new();
        for product in &products[0] {
            if !layers.contains(&product.layer) {
                layers.push(product.layer);
            }
        }
        let known = |&layer: &&str| Layer::of(workload, layer);
        let alone = Rates::of(&layers.iter().filter_map(known).collect::<Vec<Layer>>())?;
        for layer in layers {
            let rate = |form: usize, pass: Pass| {
                let own = products[form].iter().find(|product| product.layer == layer && product.pass == pass);
                own.map(|product| (product.flops / product.seconds, product.winograd))
            };
            let share = |rate: f64| format!("{:.0}", 100.0 * rate / profile.peak.flops);
            let cell = |pass: Pass| {
                let Some((own, winograd)) = rate(0, pass) else { return "-".to_string() };
                let direct = rate(1, pass).filter(|_| winograd);
                let direct = direct.map_or(String::new(), |(rate, _)| format!("; {:.1}", rate / 1e9));
                let alone = known(&layer).and_then(|layer| alone.get(layer, pass));
                let alone =
                    alone.map_or(String::new(), |rate| format!("{:.1} ({} %) alone; ", rate / 1e9, share(rate)));
                format!("{alone}{:.1} ({} %{direct}) in the step", own / 1e9, share(own))
            };
            let cells = [Pass::Forward, Pass::ByInput, Pass::ByWeight].map(cell);
            println!("| {layer} | {} |", cells.join(" | "));
        }
        println!();
    }
    Ok(())
}
