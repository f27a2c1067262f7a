//! Checks a plan by playing it: every part of the arena remembers who wrote it last, and every reader must find what it
//! expects.

use std::collections::{BTreeMap, HashSet};

use super::{Allocation, Content, Location, Plan, padded};
use crate::kernel::{BufferId, Fused, LoopPart};

/// What a part of the arena holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    let mut owners = Owners::default();
    // The first kernel that writes a part of each buffer.
    let mut first = vec![usize::MAX; fused.buffers.len()];
    for (index, kernel) in fused.kernels.iter().enumerate().rev() {
        kernel.writes.iter().for_each(|write| first[write.buffer.index()] = index);
    }
    for run in fused.runs() {
        let ahead = run.clone().filter(|&index| fused.loop_of(index).is_some());
        for (at, len, owner) in ahead.flat_map(|index| packed(plan, index)) {
            owners.fill(at, len, owner);
        }
        let mut known = HashSet::new();
        match fused.loops_around(run.start).last() {
            Some(number) => steps(plan, fused, (&mut owners, &mut known), (number, &first))?,
            None => run
                .into_iter()
                .try_for_each(|index| play(plan, fused, (&mut owners, &mut known), (index, 0, &first)))?,
        }
    }
    let kept: Vec<Part> = fused.results.iter().filter_map(|&(_, buffer, _)| allocation(plan, fused, buffer)).collect();
    holds(&owners, &kept).map_err(|fault| format!("after the last kernel: {fault}"))
}

/// Takes steps of a loop: after two, each has come after each. `known` is what the step around has read, which the loop adds to.
fn steps(
    plan: &Plan,
    fused: &Fused,
    (owners, known): (&mut Owners, &mut HashSet<Owner>),
    (number, first): (usize, &[usize]),
) -> Result<(), String> {
    let before = known.clone();
    for step in 0..fused.loops[number].steps.min(2) {
        known.clone_from(&before);
        for part in fused.parts_of_loop(number) {
            match part {
                LoopPart::Kernel(index) => play(plan, fused, (owners, known), (index, step, first))?,
                LoopPart::Loop(inner) => steps(plan, fused, (owners, known), (inner, first))?,
            }
        }
    }
    Ok(())
}

/// Runs a kernel, in a loop at this step. `known` is what earlier kernels of its run read, as far as none has replaced it: they read
/// later points when this kernel has written the first ones.
fn play(
    plan: &Plan,
    fused: &Fused,
    (owners, known): (&mut Owners, &mut HashSet<Owner>),
    (index, step, first): (usize, usize, &[usize]),
) -> Result<(), String> {
    let mut read = reads(plan, fused, index);
    // What is overwritten step by step has been read as far as it is.
    let of_step = |id: BufferId| {
        let mut reads = fused.kernels[index].reads.iter();
        step > 0 && reads.any(|read| read.buffer == id && read.access.position != 0)
    };
    let gone = plan.kernels[index].in_place.values().filter(|id| of_step(**id));
    let gone: Vec<Owner> = gone.map(|&id| Owner::Value(id)).collect();
    read.retain(|(.., owner)| !gone.contains(owner));
    let of_inputs = read.len();
    let written = writes(plan, fused, index);
    if fused.loop_of(index).is_some() {
        read.extend(packed(plan, index));
        // What earlier steps have written.
        let rows = fused.kernels[index].writes.iter().filter(|write| step > 0 && write.access.position != 0);
        read.extend(rows.filter_map(|write| allocation(plan, fused, write.buffer)));
    }
    // The parts of a whole that earlier kernels have written.
    let parts = fused.kernels[index].writes.iter().filter(|write| write.part);
    let begun = parts.map(|write| write.buffer).filter(|id| first[id.index()] < index);
    read.extend(begun.filter_map(|id| allocation(plan, fused, id)));
    holds(owners, &read).map_err(|fault| format!("before kernel {index}: {fault}"))?;
    // But for what it overwrites element by element.
    let replaced: Vec<Owner> = plan.kernels[index].in_place.values().map(|&id| Owner::Value(id)).collect();
    replaced.iter().for_each(|owner| _ = known.remove(owner));
    let of = |parts: &[Part]| -> Vec<Owner> {
        parts.iter().map(|&(.., owner)| owner).filter(|owner| !replaced.contains(owner)).collect()
    };
    let own = of(&read);
    for &(at, len, owner) in &written {
        let needed = |other: &Owner| *other != owner && (own.contains(other) || known.contains(other));
        if let Some(other) = owners.inside(at, len).find(needed) {
            return Err(format!(
                "kernel {index} writes over what it reads: {owner:?} lies at {at}, where {other:?} should be"
            ));
        }
        owners.fill(at, len, owner);
    }
    known.extend(of(&read[..of_inputs]));
    holds(owners, &written).map_err(|fault| format!("kernel {index} writes twice: {fault}"))
}

fn holds(owners: &Owners, expected: &[Part]) -> Result<(), String> {
    for &(at, len, owner) in expected {
        if let Some(other) = owners.other(at, len, owner) {
            return Err(format!("{other:?} lies at {at}, where {owner:?} should be"));
        }
    }
    Ok(())
}

/// Who wrote which part of the arena last: the end and the owner of each part, by its beginning.
#[derive(Default)]
struct Owners(BTreeMap<usize, (usize, Owner)>);

impl Owners {
    /// Gives a part to an owner.
    fn fill(&mut self, at: usize, len: usize, owner: Owner) {
        if len == 0 {
            return;
        }
        self.cut(at);
        self.cut(at + len);
        let inside: Vec<usize> = self.0.range(at..at + len).map(|(&at, _)| at).collect();
        inside.iter().for_each(|at| _ = self.0.remove(at));
        self.0.insert(at, (at + len, owner));
    }

    /// Sees to it that no part goes across an offset.
    fn cut(&mut self, at: usize) {
        let across = self.0.range_mut(..at).next_back().filter(|(_, (end, _))| *end > at);
        if let Some((_, part)) = across {
            let (end, owner) = std::mem::replace(part, (at, part.1));
            self.0.insert(at, (end, owner));
        }
    }

    /// Who has some of a part.
    fn inside(&self, at: usize, len: usize) -> impl Iterator<Item = Owner> {
        let before = self.0.range(..at).next_back().filter(move |(_, (end, _))| *end > at && len > 0);
        before.into_iter().chain(self.0.range(at..at + len)).map(|(_, &(_, owner))| owner)
    }

    /// Who has some of a part, if not this owner all of it.
    fn other(&self, at: usize, len: usize, owner: Owner) -> Option<Owner> {
        let before = self.0.range(..=at).next_back().filter(|(_, (end, _))| *end > at);
        let mut next = at;
        let inside = self.0.range(at..at + len).filter(|(start, _)| **start > at);
        for (&start, &(end, found)) in before.into_iter().chain(inside) {
            if start > next {
                return Some(Owner::Nobody);
            }
            if found != owner {
                return Some(found);
            }
            next = end;
        }
        (next < at + len).then_some(Owner::Nobody)
    }
}

/// Where a buffer of the arena lies.
fn allocation(plan: &Plan, fused: &Fused, id: BufferId) -> Option<Part> {
    if let Some(tile) = plan.tiles.get(&id).filter(|tile| tile.shared) {
        let own = |allocation: &&Allocation| allocation.content == Content::SharedTile(id);
        let len = plan.allocations.iter().find(own).map_or(0, |allocation| allocation.len);
        return Some((tile.at, len, Owner::Value(id)));
    }
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
        Content::Partial(_) | Content::SharedBlock => true,
        Content::Packed => once,
        _ => false,
    };
    let scratch = plan.allocations_of(index).iter().filter(own).map(|allocation| (allocation.at, allocation.len));
    for (number, (at, len)) in scratch.enumerate() {
        result.push((at, len, Owner::Scratch(number)));
    }
    result
}
