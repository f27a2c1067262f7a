//! States that one step of a loop leaves to the next, and of which nothing but the last is read after it: they have the memory of one
//! step.
//!
//! In: the kernels of a loop, and a buffer with a row for the state before each step and after the last. Out: the same kernels with one
//! row, which each step reads and then writes anew, if nothing is read later than it is overwritten. What reads the state that the last
//! step leaves finds it there.

use crate::ir::NodeId;
use crate::kernel::{Access, Affine, Arg, BufferId, Class, Fused, Home, Kernel, Loop, Mode, What, Write};
use crate::reason::MaterializeReason;
use crate::types::{DType, Dim, Shape};

/// Where a kernel has to do with a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Read(usize),
    Operand(usize),
    Write(usize),
}

/// What a kernel reads or writes of a buffer: a part of one row.
struct Part {
    kernel: usize,
    place: Place,
    /// Which row, at position 0 of the loop.
    row: i64,
    /// From the first element of the row to the last, of a sample.
    span: [i64; 2],
    moves: bool,
}

/// Gives states the memory of one step, where they may have it. `is_history` tells those that are states from what is collected.
pub(super) fn settle(fused: &mut Fused, run: &Loop, is_history: impl Fn(NodeId) -> bool) {
    let writes = run.kernels.clone().flat_map(|index| &fused.kernels[index].writes);
    let mut states: Vec<(BufferId, i64)> = writes
        .filter(|write| write.access.position > 0 && is_history(fused.buffer(write.buffer).origin))
        .map(|write| (write.buffer, write.access.position))
        .collect();
    states.sort();
    states.dedup();
    for (buffer, step) in states {
        let rows = Rows { buffer, step, sample: step * (run.steps as i64 + 1) };
        if let Some(parts) = rows.parts(fused).filter(|parts| rows.fits(fused, run, parts)) {
            rows.become_one(fused, parts);
        }
    }
}

/// A buffer of rows.
struct Rows {
    buffer: BufferId,
    /// Elements of a row, of a sample.
    step: i64,
    /// Elements of all rows of a sample.
    sample: i64,
}

impl Rows {
    /// Whether one row is enough.
    fn fits(&self, fused: &Fused, run: &Loop, parts: &[Part]) -> bool {
        let own = fused.buffer(self.buffer);
        let wanted = fused.results.iter().any(|(_, buffer, _)| *buffer == self.buffer)
            || fused.statistics.contains(&self.buffer);
        let rows = own.shape.0.first() == Some(&Dim::Fixed(run.steps + 1));
        if wanted || !rows || own.home != Home::Arena || own.dtype != DType::F32 {
            return false;
        }
        let last = run.steps as i64;
        let ([before, after], [first, end]) = if run.reverse { ([1, 0], [last, 0]) } else { ([0, 1], [0, last]) };
        let here = |part: &Part| run.kernels.contains(&part.kernel);
        let place_fits = |part: &Part| match part.place {
            _ if part.kernel < run.kernels.start => {
                matches!(part.place, Place::Write(_)) && !part.moves && part.row == first
            }
            _ if !here(part) => !matches!(part.place, Place::Write(_)) && !part.moves && part.row == end,
            Place::Write(_) => part.moves && part.row == after,
            _ => part.moves && [before, after].contains(&part.row),
        };
        let written: Vec<&Part> =
            parts.iter().filter(|part| here(part) && matches!(part.place, Place::Write(_))).collect();
        let in_order = |read: &Part| {
            let meets = |write: &&&Part| write.span[0] <= read.span[1] && read.span[0] <= write.span[1];
            written.iter().filter(meets).all(|write| match read.row == before {
                // Ahead of what overwrites it, or element by element with that.
                true if write.kernel == read.kernel => {
                    self.is_element_by_element(&fused.kernels[read.kernel], read, write)
                }
                true => read.kernel < write.kernel,
                false => write.kernel < read.kernel,
            })
        };
        let reads = parts.iter().filter(|part| here(part) && !matches!(part.place, Place::Write(_)));
        parts.iter().all(place_fits) && reads.into_iter().all(in_order)
    }

    /// All that kernels have to do with the buffer; none if that is not row by row.
    fn parts(&self, fused: &Fused) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        for (index, kernel) in fused.kernels.iter().enumerate() {
            let plain = |access: &Access| access.bounds.is_empty() && access.gather.is_none();
            let reads = kernel.reads.iter().enumerate().filter(|(_, read)| read.buffer == self.buffer);
            for (number, read) in reads {
                let own = self.part(index, Place::Read(number), (&kernel.axes, &read.access.at, read.access.position));
                parts.push(own.filter(|_| plain(&read.access))?);
            }
            let writes = kernel.writes.iter().enumerate().filter(|(_, write)| write.buffer == self.buffer);
            for (number, write) in writes {
                let Access { at, position, .. } = &write.access;
                let own = self.part(index, Place::Write(number), (&kernel.axes, at, *position));
                parts.push(own.filter(|_| plain(&write.access) && write.mode == Mode::Set)?);
            }
            let Some(dot) = &kernel.dot else { continue };
            let axes: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
            let sides = [(dot.a, &dot.a_at, &dot.bounds), (dot.b, &dot.b_at, &dot.b_bounds)];
            for (side, (_, at, bounds)) in sides.into_iter().enumerate().filter(|(_, side)| side.0 == self.buffer) {
                let own = self.part(index, Place::Operand(side), (&axes, at, dot.positions[side]));
                parts.push(own.filter(|_| bounds.is_empty() && !dot.in_runs)?);
            }
        }
        Some(parts)
    }

    fn part(&self, kernel: usize, place: Place, (axes, at, position): (&[Dim], &Affine, i64)) -> Option<Part> {
        let steps = || axes.iter().zip(&at.steps);
        let by_samples = steps().all(|(dim, &step)| match dim {
            Dim::Batch(1) => step == self.sample,
            Dim::Batch(_) => false,
            Dim::Fixed(_) => true,
        });
        let (mut least, mut most) = (at.constant, at.constant);
        for (dim, &step) in steps().filter(|(dim, _)| !dim.is_batch()) {
            let reach = step * (dim.factor() as i64 - 1);
            least += reach.min(0);
            most += reach.max(0);
        }
        let row = least.div_euclid(self.step);
        let fits = by_samples && most.div_euclid(self.step) == row && [0, self.step].contains(&position);
        let span = [least, most].map(|place| place - row * self.step);
        fits.then_some(Part { kernel, place, row, span, moves: position != 0 })
    }

    /// Whether a kernel writes an element of the state in place of the same one that it has read before.
    fn is_element_by_element(&self, kernel: &Kernel, read: &Part, write: &Part) -> bool {
        let (Place::Read(number), Place::Write(target)) = (read.place, write.place) else { return false };
        let (own, target) = (&kernel.reads[number].access, &kernel.writes[target]);
        let is_map = |write: &Write| match write.value {
            Arg::Value(value) => {
                !write.copied && kernel.body[value].what == What::Map && kernel.class(value) == Class::Element
            }
            _ => false,
        };
        let copied = kernel.writes.iter().any(|write| match write.value {
            Arg::Read(read) => kernel.reads[read].buffer == self.buffer,
            _ => false,
        });
        let constants =
            [(own, read.row), (&target.access, write.row)].map(|(own, row)| own.at.constant - row * self.step);
        let same = constants[0] == constants[1] && own.at.steps == target.access.at.steps;
        same && !copied && is_map(target) && kernel.body.iter().all(|each| each.stage == 0)
    }

    /// Lets all of them find one row.
    fn become_one(&self, fused: &mut Fused, parts: Vec<Part>) {
        let rank = fused.buffer(self.buffer).shape.rank();
        let shape = &mut fused.buffers[self.buffer.index()].shape;
        *shape = Shape(shape.0[1..].to_vec());
        for Part { kernel, place, row, .. } in parts {
            let kernel = &mut fused.kernels[kernel];
            let one = |axes: &[Dim], at: &mut Affine, position: &mut i64, coordinates: &mut Vec<Affine>| {
                let linear = [&at.steps[..], &[*position]].concat();
                let is_place = |only: &Affine| only.constant == at.constant && only.steps == linear;
                let is_linear = matches!(&coordinates[..], [only] if is_place(only));
                at.constant -= row * self.step;
                axes.iter()
                    .zip(&mut at.steps)
                    .filter(|(dim, _)| dim.is_batch())
                    .for_each(|(_, step)| *step = self.step);
                *position = 0;
                if is_linear {
                    *coordinates = vec![Affine { constant: at.constant, steps: [&at.steps[..], &[0]].concat() }];
                } else if coordinates.len() == rank {
                    coordinates.remove(0);
                }
            };
            match place {
                Place::Read(number) => {
                    let read = &mut kernel.reads[number];
                    one(&kernel.axes, &mut read.access.at, &mut read.access.position, &mut read.coordinates);
                }
                Place::Write(number) => {
                    let write = &mut kernel.writes[number];
                    one(&kernel.axes, &mut write.access.at, &mut write.access.position, &mut write.coordinates);
                    if write.materialized == Some(MaterializeReason::Step) {
                        write.materialized = Some(MaterializeReason::Carried);
                    }
                }
                Place::Operand(side) => {
                    let dot = kernel.dot.as_mut().expect("it has operands");
                    let axes: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
                    let at = if side == 0 { &mut dot.a_at } else { &mut dot.b_at };
                    one(&axes, at, &mut dot.positions[side], &mut dot.coordinates[side]);
                }
            }
        }
    }
}
