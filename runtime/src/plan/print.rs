//! A plan as text: how each kernel runs, what lies where, from which kernel to which, and how much sharing saves.

use std::fmt::Write;

use super::{Allocation, Content, Last, ParallelRegion, Plan, Work, parallel_regions};
use crate::ir::print::line_with_layer;
use crate::kernel::{BufferId, Fused};

/// The memory of a program: under each kernel how it runs, and each value that it writes with the floats it occupies and its last
/// reader.
pub fn text(plan: &Plan, fused: &Fused) -> String {
    let mut text = String::new();
    write(&mut text, plan, fused).expect("a string can be written to");
    text
}

fn write(text: &mut String, plan: &Plan, fused: &Fused) -> std::fmt::Result {
    let kib = |floats: usize| floats as f64 * 4.0 / 1024.0;
    writeln!(text, "batches of up to {} rows", plan.max_batch)?;
    writeln!(text, "parameters {:.1} KiB", kib(plan.params_len))?;
    writeln!(text, "arena {:.1} KiB, without sharing {:.1} KiB", kib(plan.arena), kib(plan.unshared))?;
    writeln!(text, "scratch {:.1} KiB a thread", kib(plan.scratch))?;
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let prologue = plan.prologue(index).map_or(String::new(), |prologue| format!(", prologue: kernel {prologue}"));
        let cut = kernel.dot.as_ref().filter(|dot| dot.order.cuts(dot.inner()));
        let pieces = cut.map_or(String::new(), |dot| format!(", terms by {}", dot.order.piece));
        writeln!(text, "kernel {index}: {}{pieces}{prologue}", kernel.extents())?;
        for line in plan.tiling.lines(index) {
            writeln!(text, "  {line}")?;
        }
        for allocation in plan.allocations_of(index) {
            let replaced = match allocation.content {
                Content::Value(id) => plan.kernels[index].in_place.get(&id).copied(),
                _ => None,
            };
            entry(text, allocation, replaced, fused)?;
        }
    }
    let regions = parallel_regions(fused, plan);
    match regions.iter().any(|region| !region.tasks.is_empty()) {
        true => regions.iter().enumerate().try_for_each(|(index, each)| region(text, index, each, fused)),
        false => Ok(()),
    }
}

/// What several threads share between two meetings, and what one of them does at the second.
fn region(text: &mut String, index: usize, region: &ParallelRegion, fused: &Fused) -> std::fmt::Result {
    let shared = region.tasks.iter().map(|task| match task.work {
        Work::Pack => format!("right operand of kernel {} by {} columns", task.kernel, task.unit),
        Work::Columns => format!("up to {} rows of kernel {} by {} columns", task.skinny, task.kernel, task.unit),
        Work::Rows => format!("kernel {} by {} rows", task.kernel, task.unit),
    });
    let alone = region.tail.iter().map(|last| match last {
        Last::Skinny(task) if fused.kernels[task.kernel].dot.is_none() => {
            format!("up to {} rows of kernel {}", task.skinny, task.kernel)
        }
        Last::Skinny(task) => format!("what follows the matmul of up to {} rows", task.skinny),
        Last::Finish(kernel) => format!("sums of kernel {kernel}"),
        Last::Kernel(kernel) => format!("kernel {kernel}"),
    });
    let mut line = format!("parallel region {index}: {}", shared.collect::<Vec<String>>().join(", "));
    let alone: Vec<String> = alone.chain(region.check.then(|| "check of the loss".to_string())).collect();
    if !alone.is_empty() {
        line.push_str(&format!("; then {}", alone.join(", ")));
    }
    writeln!(text, "{}", line.replace(": ; then", ": one thread does"))
}

fn entry(text: &mut String, allocation: &Allocation, replaced: Option<BufferId>, fused: &Fused) -> std::fmt::Result {
    let kernel = &fused.kernels[allocation.first];
    let of_buffer = |id: BufferId| (fused.buffer_name(id), &*fused.buffer(id).layer);
    let of_instruction = |index: usize| {
        let origin = &kernel.body[index].origin;
        (fused.value_name(origin.node), &*origin.layer)
    };
    let of_dot = || {
        let origin = &kernel.dot.as_ref().expect("there is a product").origin;
        (fused.value_name(origin.node), &*origin.layer)
    };
    let (what, (value, layer)) = match allocation.content {
        Content::Value(id) => ("", of_buffer(id)),
        Content::Partial(index) => ("partial ", of_instruction(index)),
        Content::Lanes(index) => ("lanes of ", of_instruction(index)),
        Content::Row(index) => ("row of ", of_instruction(index)),
        Content::Block => ("block of ", of_dot()),
        Content::Operand(id) => ("rows of ", of_buffer(id)),
        Content::Workspace => ("workspace of ", of_dot()),
        Content::Packed => ("right operand of ", of_dot()),
    };
    let until = match allocation.last {
        usize::MAX => ", a result".to_string(),
        last if last == allocation.first => String::new(),
        last => format!(", to kernel {last}"),
    };
    let value = format!("{what}{value}");
    let whose = if allocation.content.is_scratch() { "scratch " } else { "" };
    let range = format!("{whose}{}..{}", allocation.at, allocation.at + allocation.len);
    let over = replaced.map_or(String::new(), |id| format!(", over {}", fused.buffer_name(id)));
    line_with_layer(text, &format!("  {value:<22} {range}{until}{over}"), layer)
}
