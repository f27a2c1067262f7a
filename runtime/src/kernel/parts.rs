//! Buffers with several writers: every element is written once, and before it is read.
//!
//! Checked by brute force with one sample and with two: writes and reads in the order in which they happen, element by element. Large
//! buffers are left out.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{Affine, BufferId, Fused, Kernel};
use crate::types::Dim;

/// When something happens: in which run, at which step of a loop, in which part of its body, and so on to the kernel.
type Time = Rc<[usize]>;

/// Most elements of a buffer that is looked at.
const MOST: usize = 1 << 17;

/// Says what is wrong with the parts of buffers, if anything.
pub(super) fn verify_parts(fused: &Fused) -> Result<(), String> {
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let mut parts = kernel.writes.iter().filter(|write| write.part);
        if let Some(write) = parts.find(|write| !write.access.at.is_run(&kernel.axes, kernel.rows)) {
            return Err(format!("rows of kernel {index} are no runs of {}", fused.buffer_name(write.buffer)));
        }
    }
    for batch in [1, 2] {
        let mut whole: HashMap<BufferId, Vec<Option<Time>>> = HashMap::new();
        let mut overwritten: HashSet<(BufferId, i64)> = HashSet::new();
        let parts = fused.kernels.iter().flat_map(|kernel| &kernel.writes).filter(|write| write.part);
        for buffer in parts.map(|write| write.buffer) {
            let len = fused.buffer(buffer).shape.len_at(batch);
            if len <= MOST {
                whole.entry(buffer).or_insert_with(|| vec![None; len]);
            }
        }
        for (index, kernel) in fused.kernels.iter().enumerate() {
            for write in &kernel.writes {
                let Some(elements) = whole.get_mut(&write.buffer) else { continue };
                let places = places(&kernel.axes, &write.access.at, batch);
                for (step, moved) in steps(fused, index, kernel, write.access.position) {
                    let now = time(fused, index, step);
                    for &place in &places {
                        let element = usize::try_from(place + moved).ok().and_then(|place| elements.get_mut(place));
                        let fits = match element {
                            Some(element @ None) => element.replace(Rc::clone(&now)).is_none(),
                            // A state that each step leaves in place of the one before is there from the beginning.
                            Some(Some(first)) => {
                                let in_loop = fused.loop_of(index).is_some() && write.access.position == 0;
                                in_loop && first[0] < now[0] && overwritten.insert((write.buffer, place))
                            }
                            None => false,
                        };
                        if !fits {
                            let name = fused.buffer_name(write.buffer);
                            return Err(format!("kernel {index} writes element {} of {name} once more", place + moved));
                        }
                    }
                }
            }
        }
        for (&buffer, elements) in &whole {
            if let Some(place) = elements.iter().position(Option::is_none) {
                return Err(format!("no kernel writes element {place} of {}", fused.buffer_name(buffer)));
            }
        }
        for (index, kernel) in fused.kernels.iter().enumerate() {
            for (buffer, axes, at, position) in plain_reads(kernel) {
                let Some(elements) = whole.get(&buffer) else { continue };
                // What is left of each step is written anew at the next.
                let fresh = |written: &Time, now: &Time| written[0] == now[0] && position == 0;
                let places = places(&axes, at, batch);
                for (step, moved) in steps(fused, index, kernel, position) {
                    let now = time(fused, index, step);
                    for &place in &places {
                        let element = usize::try_from(place + moved).ok().and_then(|place| elements.get(place));
                        let ready =
                            element.and_then(Option::as_ref).is_some_and(|written| match fresh(written, &now) {
                                true => written.last() < now.last(),
                                false => *written < now,
                            });
                        if !ready {
                            let name = fused.buffer_name(buffer);
                            return Err(format!("kernel {index} reads element {} of {name} too early", place + moved));
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// What is read without bounds and without an index, along which axes.
fn plain_reads(kernel: &Kernel) -> Vec<(BufferId, Vec<Dim>, &Affine, i64)> {
    let plain = kernel.reads.iter().filter(|read| read.access.bounds.is_empty() && read.access.gather.is_none());
    let plain = plain.map(|read| (read.buffer, kernel.axes.clone(), &read.access.at, read.access.position));
    let dot = kernel.dot.iter().filter(|dot| dot.bounds.is_empty() && dot.b_bounds.is_empty()).flat_map(|dot| {
        let axes: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
        let [a, b] = dot.positions;
        [(dot.a, axes.clone(), &dot.a_at, a), (dot.b, axes, &dot.b_at, b)]
    });
    plain.chain(dot).collect()
}

/// In the first step of all loops around the innermost one: each of their steps goes like that.
fn time(fused: &Fused, kernel: usize, step: usize) -> Time {
    let mut time = vec![kernel];
    for (depth, number) in fused.loops_around(kernel).enumerate() {
        time.extend([if depth == 0 { step } else { 0 }, fused.loops[number].kernels.start]);
    }
    time.reverse();
    if time.len() == 1 {
        time = vec![kernel, 0, kernel];
    }
    time.into()
}

/// The steps that a kernel takes, as far as an access moves on from one to the next: by their number, and how far it has moved.
fn steps(fused: &Fused, index: usize, kernel: &Kernel, position: i64) -> Vec<(usize, i64)> {
    let count = if position == 0 { 1 } else { kernel.steps };
    let reverse = fused.loop_of(index).is_some_and(|run| run.reverse);
    let at = |step: usize| if reverse { count - 1 - step } else { step };
    (0..count).map(|step| (step, position * at(step) as i64)).collect()
}

/// All places that an affine has, each once.
fn places(axes: &[Dim], at: &Affine, batch: usize) -> Vec<i64> {
    let mut places = vec![at.constant];
    for (dim, &step) in axes.iter().zip(&at.steps).filter(|(_, step)| **step != 0) {
        let further = |place: &i64| (0..dim.at(batch) as i64).map(move |position| place + position * step).collect();
        places = places.iter().flat_map(|place| -> Vec<i64> { further(place) }).collect();
    }
    places
}
