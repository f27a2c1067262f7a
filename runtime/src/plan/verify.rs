//! Checks a plan by playing it: every line of the arena remembers who wrote it last, and every reader must find what it
//! expects.

use super::{Allocation, Content, Location, Plan, padded};
use crate::kernel::{BufferId, Fused};

/// What a line of the arena holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Value(BufferId),
    /// Scratch of the present kernel, by number.
    Scratch(usize),
    /// The right operand of this kernel's product, which is rearranged before its loop.
    Packed(usize),
}

/// A allocation of the arena and what is in it.
type Part = (usize, usize, Owner);

/// Says which value is overwritten before its last reader, if one is. Runs in debug builds and tests.
pub fn verify(plan: &Plan, fused: &Fused) -> Result<(), String> {
    let mut lines = vec![Owner::Nobody; plan.arena / 16];
    for run in fused.runs() {
        let steps = fused.loop_of(run.start).map_or(1, |run| run.steps.min(2));
        let ahead = run.clone().filter(|&index| fused.loop_of(index).is_some());
        for (at, len, owner) in ahead.flat_map(|index| packed(plan, index)) {
            lines[at / 16..(at + len) / 16].fill(owner);
        }
        // After two steps, each has come after each.
        for step in 0..steps {
            run.clone().try_for_each(|index| play(plan, fused, &mut lines, (index, step)))?;
        }
    }
    let kept: Vec<Part> = fused.results.iter().filter_map(|&(_, buffer, _)| allocation(plan, fused, buffer)).collect();
    holds(&lines, &kept).map_err(|fault| format!("after the last kernel: {fault}"))
}

/// Runs a kernel, in a loop at this step.
fn play(plan: &Plan, fused: &Fused, lines: &mut [Owner], (index, step): (usize, usize)) -> Result<(), String> {
    let mut read = reads(plan, fused, index);
    let written = writes(plan, fused, index);
    if fused.loop_of(index).is_some() {
        read.extend(packed(plan, index));
        // What earlier steps have written.
        let rows = fused.kernels[index].writes.iter().filter(|write| step > 0 && write.access.position != 0);
        read.extend(rows.filter_map(|write| allocation(plan, fused, write.buffer)));
    }
    holds(lines, &read).map_err(|fault| format!("before kernel {index}: {fault}"))?;
    for &(at, len, owner) in &written {
        lines[at / 16..(at + len) / 16].fill(owner);
    }
    // But for what it overwrites element by element.
    let replaced = |part: &&Part| plan.kernels[index].in_place.values().any(|&id| part.2 == Owner::Value(id));
    let mut kept: Vec<Part> = read.iter().filter(|part| !replaced(part)).copied().collect();
    for other in fused.run_of(index).start..index {
        // It reads its later points when this kernel has written the first ones.
        let overwritten = |part: &&Part| {
            let replaced = |by: usize| plan.kernels[by].in_place.values().any(|&id| part.2 == Owner::Value(id));
            (other..=index).any(replaced)
        };
        kept.extend(reads(plan, fused, other).iter().filter(|part| !overwritten(part)));
    }
    holds(lines, &kept).map_err(|fault| format!("kernel {index} writes over what it reads: {fault}"))?;
    holds(lines, &written).map_err(|fault| format!("kernel {index} writes twice: {fault}"))
}

fn holds(lines: &[Owner], expected: &[Part]) -> Result<(), String> {
    for &(at, len, owner) in expected {
        let other = lines[at / 16..(at + len) / 16].iter().find(|line| **line != owner);
        if let Some(other) = other {
            return Err(format!("{other:?} lies at {at}, where {owner:?} should be"));
        }
    }
    Ok(())
}

/// Where a buffer of the arena lies.
fn allocation(plan: &Plan, fused: &Fused, id: BufferId) -> Option<Part> {
    match plan.places[id.index()] {
        Some(Location::Arena(at)) => {
            Some((at, padded(fused.buffer(id).shape.len_at(plan.max_batch)), Owner::Value(id)))
        }
        _ => None,
    }
}

/// Where the right operand of a kernel's product is rearranged.
fn packed(plan: &Plan, index: usize) -> impl Iterator<Item = Part> {
    let packed = plan.allocations_of(index).iter().filter(|allocation| allocation.content == Content::Packed);
    packed.map(move |allocation| (allocation.at, allocation.len, Owner::Packed(index)))
}

/// What a kernel reads that an earlier one wrote.
fn reads(plan: &Plan, fused: &Fused, index: usize) -> Vec<Part> {
    fused.kernels[index].buffers_read().filter_map(|id| allocation(plan, fused, id)).collect()
}

/// What a kernel writes: values that are kept, and scratch.
fn writes(plan: &Plan, fused: &Fused, index: usize) -> Vec<Part> {
    let written = fused.kernels[index].writes.iter().map(|write| write.buffer);
    let mut result: Vec<Part> = written.filter_map(|id| allocation(plan, fused, id)).collect();
    let once = fused.loop_of(index).is_none();
    let own = |allocation: &&Allocation| match allocation.content {
        Content::Partial(_) => true,
        Content::Packed => once,
        _ => false,
    };
    let scratch = plan.allocations_of(index).iter().filter(own).map(|allocation| (allocation.at, allocation.len));
    for (number, (at, len)) in scratch.enumerate() {
        result.push((at, len, Owner::Scratch(number)));
    }
    result
}
