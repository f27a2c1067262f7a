//! Values with rows so long that all of them are too much memory, as the logits of a large vocabulary are: what makes such a value and
//! all that reads it run some rows at a time.
//!
//! In: kernels, and a [`Budget`]. Out: the same kernels, with a shared group for each such value. Readers come forward to what writes
//! it. A product that adds up over the rows, as the gradient of a weight does, becomes a kernel of its own, with what is made of it
//! left where it was; and the loss is checked after the group, which updates nothing. No bit depends on it: the terms of such a product
//! are cut into pieces of some rows in any case. Absent on purpose: how many rows, which the tiling decides.

use std::cmp::Reverse;

use super::Budget;
use super::blocks::{block, is_flat};
use super::groups::{is_free, is_tile, loops};
use crate::kernel::{
    Access, Arg, Buffer, BufferId, Count, Fused, Group, Home, Instruction, Kernel, Mode, Number, Read, Write, joins,
    parts,
};
use crate::reason::{GroupReason, MaterializeReason, SplitReason};
use crate::types::DType;

/// Rows of a value are long if the smallest tile of them is more than this part of what is too much. Shorter ones stay in a cache: each
/// thread had better have a tile of its own.
const PART: usize = 16;

/// Forms groups around values that are too much memory, the largest first.
pub(super) fn share(mut fused: Fused, budget: &Budget) -> Fused {
    let bytes = |fused: &Fused, buffer| Count::bytes(&fused.buffer(buffer).shape).at(budget.max_batch);
    let all = (0..fused.buffers.len() as u32).map(BufferId);
    let mut large: Vec<BufferId> = all.filter(|&buffer| bytes(&fused, buffer) > budget.memory as u64).collect();
    if large.is_empty() {
        return fused;
    }
    large.sort_by_key(|&buffer| Reverse(bytes(&fused, buffer)));
    for buffer in large {
        fused = Sharing::of(&fused, budget, buffer).unwrap_or(fused);
    }
    fused
}

/// Kernels while those that read a value come to the one that writes it.
struct Sharing {
    fused: Fused,
    value: BufferId,
    group: Group,
}

impl Sharing {
    /// The kernels with a group of the one that writes this value and all that read it, if that is possible. Hardly any program has such
    /// a value: the search for one is better off without this in between.
    #[cold]
    fn of(fused: &Fused, budget: &Budget, value: BufferId) -> Option<Fused> {
        let [first] = fused.writers()[value.index()][..] else { return None };
        let kernel = &fused.kernels[first];
        let points = kernel.row_count();
        if !points.is_batch() || fused.loop_of(first).is_some() || fused.group_of(first).is_some() {
            return None;
        }
        let Count { fixed, batch } = Count::bytes(&fused.buffer(value).shape);
        let reason = GroupReason::Shared([fixed, batch]);
        let (kernels, rows) = (first..first + 1, vec![1]);
        let group = Group { kernels, loops: loops(kernel, points), rows, sums: Vec::new(), shared: true, reason };
        let mut sharing = Sharing { fused: fused.clone(), value, group };
        while let Some(reader) = sharing.next_reader() {
            sharing.take(reader)?;
        }
        sharing.finished(budget)
    }

    fn next_reader(&self) -> Option<usize> {
        let rest = self.group.kernels.end..self.fused.kernels.len();
        rest.into_iter().find(|&index| self.fused.kernels[index].buffers_read().any(|buffer| buffer == self.value))
    }

    /// Takes a kernel that reads the value, if it can.
    fn take(&mut self, from: usize) -> Option<()> {
        let points = self.group.points();
        let adds = self.fused.kernels[from].dot.as_ref().is_some_and(|dot| dot.inner() == points);
        if adds {
            self.set_apart(from)?;
        }
        let (fused, group) = (&mut self.fused, &mut self.group);
        let to = group.kernels.end;
        if fused.loop_of(from).is_some() || !is_free(fused, from, to) {
            return None;
        }
        group.rows.push(if adds { 0 } else { parts(fused.kernels[from].row_count(), points)? });
        group.sums.extend(adds.then_some(to));
        group.kernels.end += 1;
        fused.kernels[to..=from].rotate_right(1);
        if let Some(check) = fused.check.as_mut().filter(|check| (group.kernels.start + 1..=from).contains(check)) {
            *check += 1;
        }
        Some(())
    }

    /// Makes two kernels of one with a product, if there is more in it: the product, and what is made of it.
    fn set_apart(&mut self, index: usize) -> Option<()> {
        let fused = &mut self.fused;
        let mut rest = fused.kernels[index].clone();
        let dot = rest.dot.take().filter(|_| rest.triangle.is_none() && fused.kernels[index].has_plain_dot())?;
        let by_itself = |write: &Write| write.value == Arg::Dot && !write.copied && fused.is_computed(write.buffer);
        let (own, others): (Vec<Write>, Vec<Write>) = rest.writes.into_iter().partition(by_itself);
        rest.writes = others;
        let access = Access { at: rest.linear(), ..Access::default() };
        let write = match &own[..] {
            [] => {
                let buffer = BufferId(fused.buffers.len() as u32);
                let (origin, layer) = (dot.origin.node, dot.origin.layer.clone());
                let shape = dot.origin.ty.shape.clone();
                fused.buffers.push(Buffer { home: Home::Arena, dtype: DType::F32, shape, origin, layer });
                Write {
                    value: Arg::Dot,
                    buffer,
                    access: access.clone(),
                    mode: Mode::Set,
                    part: false,
                    coordinates: Vec::new(),
                    copied: false,
                    beyond: None,
                    materialized: Some(MaterializeReason::Tiles),
                    origin,
                }
            }
            [write] if write.access == access && !write.part => write.clone(),
            _ => return None,
        };
        let read = Read { buffer: write.buffer, access, fill: Number::new(0.0), coordinates: Vec::new() };
        let mut alone = Kernel {
            flat: false,
            body: Vec::new(),
            reads: Vec::new(),
            indices: Vec::new(),
            writes: vec![write],
            split: SplitReason::Product,
            dot: Some(dot),
            ..rest.clone()
        };
        alone.block = block(&alone);
        if rest.body.is_empty() && rest.writes.is_empty() {
            fused.kernels[index] = alone;
            return Some(());
        }
        let number = Arg::Read(rest.reads.len());
        let replace = |arg: &mut Arg| *arg = if *arg == Arg::Dot { number } else { *arg };
        rest.body.iter_mut().for_each(|Instruction { args, .. }| args.iter_mut().for_each(replace));
        for write in &mut rest.writes {
            write.copied |= write.value == Arg::Dot;
            replace(&mut write.value);
        }
        rest.reads.push(read);
        let updates = rest.writes.iter().any(|write| fused.param_written(write).is_some());
        let product = alone.dot.as_ref().expect("it has been set apart").origin.node;
        rest.split = if updates { SplitReason::Check } else { SplitReason::Sum(product) };
        rest.flat = is_flat(&rest);
        if !(0..rest.body.len()).any(|index| rest.ends_later(index)) {
            rest.block = block(&rest);
        }
        fused.kernels[index] = rest;
        fused.kernels.insert(index, alone);
        fused.loops.iter_mut().filter(|run| run.kernels.start >= index).for_each(|run| {
            run.kernels = run.kernels.start + 1..run.kernels.end + 1;
        });
        if let Some(check) = fused.check.as_mut().filter(|check| **check > index) {
            *check += 1;
        }
        Some(())
    }

    /// The kernels with the group, if it can be one, and tiles of it are much less than the whole.
    fn finished(self, budget: &Budget) -> Option<Fused> {
        let Sharing { mut fused, value, group } = self;
        let (writers, last_uses) = (fused.writers(), fused.last_uses());
        if let Some(check) = fused.check.as_mut().filter(|check| group.kernels.contains(check)) {
            *check = group.kernels.end;
        }
        let joined = group.kernels.clone().all(|index| joins(&fused, &group, index, &writers).is_ok());
        let whole = group.whole(&fused);
        let few = 2 * whole <= group.points().at(budget.max_batch);
        let long = group.part_of(&fused, value)?.saturating_mul(4 * PART).saturating_mul(whole) > budget.memory;
        if group.kernels.len() < 2 || !joined || !few || !long || !is_tile(&fused, &group, &writers, &last_uses, value)
        {
            return None;
        }
        let number = fused.groups.partition_point(|other| other.kernels.start < group.kernels.start);
        fused.groups.insert(number, group);
        Some(fused)
    }
}
