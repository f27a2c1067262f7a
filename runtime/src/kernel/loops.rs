//! Loops: kernels that run once for each step.
//!
//! At a step, an access of theirs moves on by so many elements for each position; the state before a step is read where the step before
//! has written it. What only these kernels read has the memory of one step. Where no kernel has to do with two samples at once, a
//! loop is cut by samples: some of them take all steps before others take the first.
//!
//! A loop inside of another has some of the kernels of that, and takes all its steps at each step of it. The position of an access is
//! that of the innermost loop: what the loops have to do with one another has the memory of one step of the one around.

use std::ops::Range;

use super::{Affine, BufferId, Fused, Kernel, Mode, Write, parts};
use crate::types::Dim;

/// Kernels that run once for each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// Which: they follow one another.
    pub kernels: Range<usize>,
    /// How many steps there are.
    pub steps: usize,
    /// Whether the last position comes first.
    pub reverse: bool,
    /// For each kernel, how many of its rows belong to a sample; none if some kernel needs more than its own samples.
    pub rows: Option<Vec<usize>>,
    /// For each kernel, whether it has nothing to do at the last step, as nobody reads what it would make there: the state after
    /// it, or the gradient by a first state that is a constant.
    pub idle: Vec<bool>,
}

/// What a loop runs at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopPart {
    /// A kernel that is in no other loop inside of it.
    Kernel(usize),
    /// All steps of a loop, by its number.
    Loop(usize),
}

impl Loop {
    /// Whether a kernel has nothing to do at the last step.
    pub fn is_idle(&self, kernel: usize) -> bool {
        self.idle[kernel - self.kernels.start]
    }

    /// The position of the last step.
    pub fn last(&self) -> usize {
        if self.reverse { 0 } else { self.steps - 1 }
    }
}

impl Fused {
    /// The number of the innermost loop that a kernel is in.
    pub fn loop_number(&self, kernel: usize) -> Option<usize> {
        let next = self.loops.partition_point(|run| run.kernels.end <= kernel);
        (next..self.loops.len()).find(|&number| self.loops[number].kernels.contains(&kernel))
    }

    /// The innermost loop that a kernel is in.
    pub fn loop_of(&self, kernel: usize) -> Option<&Loop> {
        self.loop_number(kernel).map(|number| &self.loops[number])
    }

    /// The loop around another one.
    pub fn loop_around(&self, number: usize) -> Option<usize> {
        let Range { start, end } = self.loops[number].kernels;
        let mut around = number + 1..self.loops.len();
        around.find(|&other| self.loops[other].kernels.start <= start && end <= self.loops[other].kernels.end)
    }

    /// The numbers of all loops that a kernel is in, the innermost first.
    pub fn loops_around(&self, kernel: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.loop_number(kernel), |&number| self.loop_around(number))
    }

    /// What a loop runs at a step, one after the other.
    pub fn parts_of_loop(&self, number: usize) -> Vec<LoopPart> {
        let Range { mut start, end } = self.loops[number].kernels;
        let mut parts = Vec::new();
        while start < end {
            let inner = self.loops_around(start).take_while(|&other| other != number).last();
            let part = inner.map_or(LoopPart::Kernel(start), LoopPart::Loop);
            start = inner.map_or(start + 1, |inner| self.loops[inner].kernels.end);
            parts.push(part);
        }
        parts
    }

    /// For each kernel of a loop, how many of its rows belong to a sample, if each can be computed sample by sample.
    pub fn rows_of_samples(&self, kernels: Range<usize>) -> Option<Vec<usize>> {
        let mut written = vec![false; self.buffers.len()];
        let here = |index: usize| &self.kernels[index];
        kernels.clone().flat_map(|index| &here(index).writes).for_each(|write| written[write.buffer.index()] = true);
        kernels.map(|index| self.rows_of_sample(here(index), &written)).collect()
    }

    /// For each kernel of a loop, whether nobody reads what it makes at the last step. What a step leaves is read by later kernels
    /// of the step, by kernels of the next step, or after the loop. A loop inside of it takes all its steps.
    pub fn idle_at_the_end(&self, number: usize) -> Vec<bool> {
        let kernels = self.loops[number].kernels.clone();
        let mut wanted = vec![false; self.buffers.len()];
        let outside = self.kernels.iter().enumerate().filter(|(index, _)| !kernels.contains(index));
        let read = outside.flat_map(|(_, kernel)| kernel.buffers_read()).chain(self.statistics.iter().copied());
        let results = self.results.iter().map(|&(_, buffer, _)| buffer);
        read.chain(results).for_each(|buffer| wanted[buffer.index()] = true);
        let mut idle = Vec::new();
        for index in kernels.rev() {
            let kernel = &self.kernels[index];
            let is_wanted = |write: &Write| !self.is_computed(write.buffer) || wanted[write.buffer.index()];
            let works = self.loop_number(index) != Some(number) || kernel.writes.iter().any(is_wanted);
            if works {
                kernel.buffers_read().for_each(|buffer| wanted[buffer.index()] = true);
            }
            idle.push(!works);
        }
        idle.reverse();
        idle
    }

    fn rows_of_sample(&self, kernel: &Kernel, written: &[bool]) -> Option<usize> {
        let rows = parts(kernel.row_count(), Dim::B)?;
        if (0..kernel.body.len()).any(|index| kernel.ends_later(index)) {
            return None;
        }
        let part = |buffer: BufferId| parts(self.buffer(buffer).shape.len()?, Dim::B);
        let stays = |buffer: BufferId, axes: &[Dim], at: &Affine, bounds: &[super::Bound]| {
            let fixed = bounds.iter().all(|bound| bound.coordinate.steps[0] == 0);
            fixed && part(buffer).is_some_and(|part| is_of_sample(axes, at, part))
        };
        for write in &kernel.writes {
            let set = write.mode == Mode::Set && self.is_computed(write.buffer);
            if !set || !stays(write.buffer, &kernel.axes, &write.access.at, &write.access.bounds) {
                return None;
            }
        }
        for read in kernel.reads.iter().filter(|read| written[read.buffer.index()]) {
            if !stays(read.buffer, &kernel.axes, &read.access.at, &read.access.bounds) {
                return None;
            }
        }
        if let Some(dot) = &kernel.dot {
            let axes: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
            let sides = [(dot.a, &dot.a_at, &dot.bounds), (dot.b, &dot.b_at, &dot.b_bounds)];
            let stay = |&(buffer, at, bounds): &(BufferId, &Affine, &Vec<super::Bound>)| {
                !written[buffer.index()] || stays(buffer, &axes, at, bounds)
            };
            if dot.over.iter().any(|dim| dim.is_batch()) || !sides.iter().all(stay) {
                return None;
            }
        }
        Some(rows)
    }
}

/// Whether what lies at a place belongs to the sample of the point, if each sample has so many elements. Where the batch is one sample,
/// all places are its own, as none is outside of the buffer; so it is enough that the next sample is that much further.
fn is_of_sample(axes: &[Dim], at: &Affine, part: usize) -> bool {
    matches!(axes[0], Dim::Batch(count) if at.steps[0] * count as i64 == part as i64)
}

/// Says what is wrong with the loops, if anything.
pub(super) fn verify_loops(fused: &Fused) -> Result<(), String> {
    let mut last = 0;
    for (number, run) in fused.loops.iter().enumerate() {
        let fault = |fault: &str| Err(format!("loop {number}: {fault}"));
        let Range { start, end } = run.kernels;
        // One that ends later begins later, or is around.
        let crossed = |other: &Loop| other.kernels.end > start && other.kernels.start < start;
        if end < last || end > fused.kernels.len() || start >= end || run.steps == 0 {
            return fault("its kernels are no loop");
        }
        if fused.loops[..number].iter().any(crossed) {
            return fault("some of its kernels are part of another loop that is not inside of it");
        }
        last = end;
        if fused.groups.iter().any(|group| group.kernels.start < end && start < group.kernels.end) {
            return fault("some of its kernels are a group");
        }
        if fused.check.is_some_and(|check| start < check && check < end) {
            return fault("the loss is checked in it");
        }
        if run.rows.is_some() && run.rows != fused.rows_of_samples(run.kernels.clone()) {
            return fault("its samples are no parts of its kernels");
        }
        let may_be = fused.idle_at_the_end(number);
        if run.idle.len() != may_be.len() || run.idle.iter().zip(may_be).any(|(&idle, may_be)| idle && !may_be) {
            return fault("a kernel rests at the last step whose results are read");
        }
    }
    for (index, kernel) in fused.kernels.iter().enumerate() {
        if kernel.steps != fused.loop_of(index).map_or(1, |run| run.steps) {
            return Err(format!("kernel {index} is in no loop of {} steps", kernel.steps));
        }
        let around = fused.loops_around(index).skip(1).map(|number| fused.loops[number].steps);
        if kernel.outer_steps != around.fold(1, usize::saturating_mul) {
            return Err(format!("the loop of kernel {index} does not run {} times", kernel.outer_steps));
        }
        if kernel.steps == 1 && fused.loop_of(index).is_none() && kernel.positions().any(|step| step != 0) {
            return Err(format!("kernel {index} has elements of a step, but no loop"));
        }
    }
    passed_on(fused)
}

/// What is written at each step is read at the same step, or after the loop if each step has a place of its own. Outside of a loop
/// around it has none.
fn passed_on(fused: &Fused) -> Result<(), String> {
    for index in 0..fused.kernels.len() {
        for write in &fused.kernels[index].writes {
            let passed = fused.loops_around(index).nth(usize::from(write.access.position != 0));
            let Some(run) = passed.map(|number| &fused.loops[number]) else { continue };
            let reads = |other: &usize| fused.kernels[*other].buffers_read().any(|buffer| buffer == write.buffer);
            let mut outside = (0..fused.kernels.len()).filter(|other| !run.kernels.contains(other));
            let result = fused.results.iter().any(|&(_, buffer, _)| buffer == write.buffer);
            let param = !fused.is_computed(write.buffer);
            // What there was before the first step is the state that each step leaves to the next, and the last one to all.
            let before = fused.kernels[..run.kernels.start].iter().flat_map(|kernel| &kernel.writes);
            let carried = write.access.position == 0 && before.into_iter().any(|other| other.buffer == write.buffer);
            if param || result || !carried && outside.any(|other| reads(&other)) {
                let name = fused.buffer_name(write.buffer);
                return Err(format!("kernel {index} writes {name} at every step, of which one is left"));
            }
        }
    }
    Ok(())
}

impl Kernel {
    /// How far each access moves from position to position.
    fn positions(&self) -> impl Iterator<Item = i64> {
        let accesses = self.reads.iter().map(|read| &read.access).chain(self.writes.iter().map(|write| &write.access));
        let dot = self.dot.iter().flat_map(|dot| dot.positions);
        accesses.map(|access| access.position).chain(dot)
    }

    /// Whether a value is written to a part of a buffer, or where its own elements do not lie one after the other, in the order of
    /// the kernel.
    pub fn is_strided(&self, write: &Write) -> bool {
        let super::Access { at, position, .. } = &write.access;
        let mut dense = Affine::constant(0, at.steps.len());
        let mut step = 1;
        for axis in (0..at.steps.len()).rev().filter(|&axis| at.steps[axis] != 0) {
            dense.steps[axis] = step;
            step *= self.axes[axis].factor() as i64;
        }
        write.mode == Mode::Set && (write.part || *position != 0 || *at != dense)
    }
}
