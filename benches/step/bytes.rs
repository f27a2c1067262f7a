//! How many bytes a step moves: as its kernels do, and as it would if every operation were a kernel of its own.

use gradloom_runtime::kernel::{Cost, cost};

use crate::Result;
use crate::workloads::Workload;

/// Prints a table. Nothing is measured: these are the figures that fusion decides by.
pub fn count() -> Result<()> {
    println!("| a step | rows | kernels | MFLOP | MB moved | FLOP a byte | MB unfused | unfused / moved |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for workload in Workload::ALL {
        let (batch, fused) = (workload.batch(), workload.kernels(true)?);
        let apart = fused.unfused.expect("it was counted when the kernels were made");
        let mut step = Cost::default();
        (0..fused.kernels.len()).for_each(|index| step += cost(&fused, index));
        let [flops, moved, apart] = [step.flops, step.bytes, apart.bytes].map(|n| n.at(batch) as f64);
        println!(
            "| {} | {batch} | {} | {:.4} | {:.4} | {:.1} | {:.4} | {:.2} |",
            workload.name(),
            fused.kernels.len(),
            flops / 1e6,
            moved / 1e6,
            flops / moved,
            apart / 1e6,
            apart / moved,
        );
    }
    Ok(())
}
