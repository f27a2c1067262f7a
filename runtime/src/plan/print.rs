//! A plan as text: what lies where, from which kernel to which, and how much sharing saves.

use std::fmt::Write;

use super::{Place, Plan};
use crate::fuse::Fused;
use crate::ir::print::Names;

/// The memory of a program, a line a value.
pub fn text(plan: &Plan, fused: &Fused) -> String {
    let names = Names::new(&fused.graph);
    let kib = |floats: usize| floats as f64 * 4.0 / 1024.0;
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a string can be written to");
    line(format!("max batch {}", plan.max_batch));
    line(format!("arena {:.1} KiB, without sharing {:.1} KiB", kib(plan.arena), kib(plan.unshared)));
    line(format!("parameters {:.1} KiB", kib(plan.params_len)));
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let memory = &plan.kernels[index];
        line(format!(
            "kernel {index}: {} x {}, {} rows at a time",
            kernel.domain.rows, kernel.domain.cols, kernel.block
        ));
        let mut entry = |what: &str, at: usize| line(format!("  {what:<24} at {at}"));
        for store in kernel.stores.iter().filter(|store| store.param.is_none()) {
            if let Some(Place::Arena(at)) = plan.places.get(&store.node) {
                entry(&names.name(&fused.graph, store.node), *at);
            }
        }
        for (id, (at, _)) in &memory.partials {
            entry(&format!("partial {}", names.name(&fused.graph, *id)), *at);
        }
        for (id, at) in &memory.lanes {
            entry(&format!("lanes {}", names.name(&fused.graph, *id)), *at);
        }
        for (id, at) in &memory.spills {
            entry(&format!("row of {}", names.name(&fused.graph, *id)), *at);
        }
        let product = [("block of the product", memory.product), ("packed operand", memory.packed)];
        for (what, at) in product {
            if let Some(at) = at {
                entry(what, at);
            }
        }
    }
    text
}
