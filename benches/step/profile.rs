//! Where the time of a step goes: what its products would take at the arithmetic peak, what their kernels take beyond that,
//! what other kernels take.

use gradloom::Profile;
use gradloom_runtime::kernel::Fused;

use crate::Result;
use crate::arguments::Arguments;
use crate::layers;
use crate::workloads::Workload;

/// Time and multiply-adds of some kernels with products.
#[derive(Clone, Copy, Default)]
struct Products {
    seconds: f64,
    flops: f64,
}

/// Prints two tables, or of one workload the layers and kernels.
pub fn measure(arguments: &Arguments) -> Result<()> {
    if let Some(workload) = arguments.workload {
        println!("{:#}", workload.profile(true)?);
        return Ok(());
    }
    println!(
        "| a step on one thread, % of its time | us | products at the peak | their kernels beyond | other kernels | \
         between kernels |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let mut rates = Vec::new();
    for workload in Workload::ALL {
        let (fused, profile) = (workload.kernels(true)?, workload.profile(true)?);
        let kinds = products(&fused, &profile, workload.batch());
        let total = |of: fn(&Products) -> f64| kinds.iter().map(of).sum::<f64>();
        let all: f64 = profile.kernels.iter().map(|kernel| kernel.work.seconds).sum();
        // Kernels are timed one by one, each at its best.
        let step = profile.step.max(all);
        let (at_peak, with_products) = (total(|kind| kind.flops) / profile.peak.flops, total(|kind| kind.seconds));
        let parts = [at_peak, with_products - at_peak, all - with_products, step - all];
        let parts = parts.map(|part| format!("{:.1}", 100.0 * part / step));
        println!("| {} | {:.1} | {} |", workload.name(), 1e6 * step, parts.join(" | "));
        rates.push((workload, kinds, profile.peak.flops));
    }
    println!();
    println!(
        "| kernels with products, % of the arithmetic peak | forward | gradient of an input | gradient of a weight, update |"
    );
    println!("| --- | ---: | ---: | ---: |");
    for (workload, kinds, peak) in rates {
        let rates = kinds.map(|kind| format!("{:.1}", 100.0 * kind.flops / kind.seconds / peak));
        println!("| {} | {} |", workload.name(), rates.join(" | "));
    }
    Ok(())
}

/// The kernels with products: forward, gradients of inputs, gradients of weights.
fn products(fused: &Fused, profile: &Profile, batch: usize) -> [Products; 3] {
    let mut kinds = [Products::default(); 3];
    for product in layers::products(fused, profile, batch) {
        let kind = &mut kinds[product.pass as usize];
        kind.seconds += product.seconds;
        kind.flops += product.flops;
    }
    kinds
}
