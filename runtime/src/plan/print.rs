//! A plan as text: how each kernel runs, what lies where, from which kernel to which, and how much sharing saves.

use std::fmt::Write;
use std::ops::Range;

use super::{
    Allocation, Content, KeptContent, KeptPart, Last, ParallelRegion, Plan, Skinny, TilePart, Work, parallel_regions,
};
use crate::ir::print::line_with_layer;
use crate::kernel::{BufferId, Fused};
use crate::microkernels::winograd::SIDE;

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
    match [plan.kept.prepared, plan.kept.packed] {
        [0, 0] => {}
        [prepared, 0] => writeln!(text, "made of parameters {:.1} KiB", kib(prepared))?,
        [prepared, packed] => {
            writeln!(text, "made of parameters {:.1} KiB, right operands {:.1} KiB", kib(prepared), kib(packed))?;
        }
    }
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let number = fused.group_number(index);
        if let Some(number) = number.filter(|&number| fused.groups[number].kernels.start == index) {
            writeln!(text, "{}", fused.group_name(&fused.groups[number]))?;
            plan.tiling.group_lines(number).iter().try_for_each(|line| writeln!(text, "  {line}"))?;
        }
        let in_loop = fused.loop_number(index);
        for number in fused.loops_from(index) {
            writeln!(text, "{}", fused.loop_name(number))?;
            if fused.loop_around(number).is_none() {
                plan.tiling.loop_lines(number).iter().try_for_each(|line| writeln!(text, "  {line}"))?;
            }
        }
        let cut = kernel.dot.as_ref().filter(|dot| dot.order.cuts(dot.inner()));
        let pieces = cut.map_or(String::new(), |dot| format!(", terms by {}", dot.order.piece));
        writeln!(text, "kernel {index}: {}{pieces}", kernel.extents())?;
        for line in plan.tiling.lines(index, number.or(in_loop).is_some()) {
            writeln!(text, "  {line}")?;
        }
        for allocation in plan.allocations_of(index) {
            let replaced = match allocation.content {
                Content::Value(id) => plan.kernels[index].in_place.get(&id).copied(),
                _ => None,
            };
            entry(text, allocation, replaced, fused)?;
        }
        plan.kept.of(index).try_for_each(|part| kept(text, part, fused))?;
    }
    let regions = parallel_regions(fused, plan);
    match regions.iter().any(|region| !region.tasks.is_empty()) {
        true => regions.iter().enumerate().try_for_each(|(index, each)| region(text, index, each, fused)),
        false => Ok(()),
    }
}

/// `kernel 3`, `kernels 3, 4` or `kernels 3 to 5`.
fn kernels(run: Range<usize>) -> String {
    match run.len() {
        1 => format!("kernel {}", run.start),
        2 => format!("kernels {}, {}", run.start, run.end - 1),
        _ => format!("kernels {} to {}", run.start, run.end - 1),
    }
}

/// What several threads share between two meetings, and what one of them does at the second.
fn region(text: &mut String, index: usize, region: &ParallelRegion, fused: &Fused) -> std::fmt::Result {
    let shared = region.tasks.iter().map(|task| match task.work {
        Work::Pack => format!("right operand of kernel {} by {} columns", task.kernel, task.unit),
        Work::Sums { images } if task.unit == SIDE => format!("sums of kernel {} by {images} images", task.kernel),
        Work::Sums { images } => {
            format!("sums of kernel {} by {images} images and {} rows of positions", task.kernel, task.unit)
        }
        Work::Fold => format!("all sums of kernel {} by {} row of positions", task.kernel, task.unit),
        Work::Columns => format!("up to {} rows of kernel {} by {} columns", task.skinny, task.kernel, task.unit),
        Work::Member => format!("up to {} rows of kernel {} by {} rows", task.skinny, task.kernel, task.unit),
        Work::Rows => format!("{} by {} rows", kernels(fused.run_of(task.kernel)), task.unit),
        Work::Tile { part: TilePart::Columns, .. } => format!("kernel {} by {} columns", task.kernel, task.unit),
        Work::Tile { part: TilePart::Rows, .. } => format!("kernel {} by {} rows", task.kernel, task.unit),
        Work::Tile { part: TilePart::Blocks, .. } => {
            format!("what follows the matmul of kernel {} by {} rows", task.kernel, task.unit)
        }
    });
    let alone = region.tail.iter().map(|last| match last {
        Last::Skinny(Skinny { from, to, rows, follows: false }) => {
            format!("up to {rows} rows of {}", kernels(*from..*to))
        }
        Last::Skinny(Skinny { rows, .. }) => format!("what follows the matmul of up to {rows} rows"),
        Last::Finish { kernel, ahead: None } => format!("sums of kernel {kernel}"),
        Last::Finish { kernel, ahead: Some(ahead) } => {
            format!("sums of kernel {kernel} ({} blocks at a time merged ahead)", ahead.blocks)
        }
        Last::Run(kernel) => kernels(fused.run_of(*kernel)),
    });
    let tile = region.tiles.map_or(String::new(), |tiles| format!(" for each tile of {} points", tiles.of_tile));
    let mut line = format!("parallel region {index}{tile}: {}", shared.collect::<Vec<String>>().join(", "));
    let alone: Vec<String> = alone.chain(region.check.then(|| "check of the loss".to_string())).collect();
    if !alone.is_empty() {
        line.push_str(&format!("; then {}", alone.join(", ")));
    }
    writeln!(text, "{}", line.replace(": ; then", ": one thread does"))
}

/// What lies beside the parameters.
fn kept(text: &mut String, part: &KeptPart, fused: &Fused) -> std::fmt::Result {
    let of_dot = || {
        let origin = &fused.kernels[part.kernel].dot.as_ref().expect("there is a product").origin;
        (fused.value_name(origin.node), &*origin.layer)
    };
    let (what, (value, layer)) = match part.content {
        KeptContent::Value(id) => ("", (fused.buffer_name(id), &*fused.buffer(id).layer)),
        KeptContent::Taps => ("taps of ", of_dot()),
        KeptContent::Packed => ("right operand of ", of_dot()),
    };
    let value = format!("{what}{value}");
    line_with_layer(text, &format!("  {value:<22} kept {}..{}", part.at, part.at + part.len), layer)
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
        Content::Block | Content::SharedBlock => ("block of ", of_dot()),
        Content::Tile(id) | Content::SharedTile(id) => ("tile ", of_buffer(id)),
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
