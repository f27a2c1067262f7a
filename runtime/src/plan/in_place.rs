//! Which operand of a kernel, or of an earlier one of its group, a kept value may overwrite: one whose last reader that is, if
//! every element is read before the element of the same place is written, and never after. In a loop, an operand from outside may be
//! overwritten step by step, if each step reads its own part of it and nothing else.

use std::collections::HashSet;

use crate::kernel::{
    Access, Arg, BufferId, Class, Fused, Instruction, Kernel, Mode, What, Write, is_read_by_points,
    is_written_by_points,
};
use crate::types::DType;

/// What may be overwritten in a kernel, as far as the kernel itself goes.
pub(super) struct Operands {
    /// The buffers that its maps and reductions read element by element and in no other way, in the order in which they
    /// are read.
    free: Vec<BufferId>,
    /// The buffers that take the elements of its maps, as a whole; none if elements are read after others were written.
    elements: HashSet<BufferId>,
}

impl Operands {
    /// Of a kernel.
    pub(super) fn of(fused: &Fused, kernel: &Kernel) -> Operands {
        // Row by row, a later stage would read what an earlier one has overwritten.
        let simple = kernel.body.iter().all(|each| each.stage == 0);
        let is_element = |write: &&Write| match write.value {
            Arg::Value(index) => {
                simple && !write.copied && kernel.body[index].what == What::Map && kernel.class(index) == Class::Element
            }
            _ => false,
        };
        let floats = |buffer: BufferId| fused.buffer(buffer).dtype == DType::F32;
        let elements = kernel.writes.iter().filter(is_element).filter(|write| !kernel.is_strided(write));
        let elements = elements.map(|write| write.buffer);
        let elements = elements.filter(|&buffer| floats(buffer)).collect();
        let mut taken: HashSet<BufferId> = kernel.dot.iter().flat_map(|dot| [dot.a, dot.b]).collect();
        taken.extend(kernel.writes.iter().filter_map(|write| match write.value {
            Arg::Read(read) => Some(kernel.reads[read].buffer),
            _ => None,
        }));
        let other = kernel.reads.iter().filter(|read| !kernel.is_aligned(&read.access));
        taken.extend(other.map(|read| read.buffer));
        let fits = |buffer: &BufferId| floats(*buffer) && taken.insert(*buffer);
        Operands { free: kernel.reads.iter().map(|read| read.buffer).filter(fits).collect(), elements }
    }

    /// Those that a buffer may take the place of if this kernel writes it.
    fn below(&self, written: BufferId) -> &[BufferId] {
        if self.elements.contains(&written) { &self.free } else { &[] }
    }
}

/// The operand that what kernel `index` writes may take the place of, and where that lies. `operands` are those of the kernels of
/// its group up to it; `writers` are the kernels that write it; `dying` gives the place of those of the right length that nothing
/// reads after a kernel.
///
/// An operand of the kernel itself is read element by element before it is overwritten; one of an earlier kernel of the group,
/// point by point.
pub(super) fn replaced(
    fused: &Fused,
    index: usize,
    (write, writers): (&Write, &[usize]),
    operands: &[Operands],
    dying: impl Fn(BufferId, usize, Read) -> Option<usize>,
) -> Option<(BufferId, usize)> {
    let (own, earlier) = operands.split_last()?;
    let group = fused.group_of(index);
    let first = index - earlier.len();
    // The other kernels of the group are done with a point when this one writes it, if that is all they read of it.
    let by_points = |buffer: BufferId, but: usize| {
        let others = first..index;
        let reads = |other: &usize| fused.kernels[*other].buffers_read().any(|read| read == buffer);
        group.is_none_or(|group| {
            let mut reading = others.filter(reads).filter(|&other| other != but);
            reading.all(|other| is_read_by_points(fused, group, other, buffer))
        })
    };
    let place = |buffer: BufferId, reader: usize| {
        let at = dying(buffer, reader, Read::Whole)?;
        by_points(buffer, reader).then_some((buffer, at))
    };
    let found = own.below(write.buffer).iter().find_map(|&buffer| place(buffer, index));
    let alone = found.is_none() && writers == [index];
    let found = if alone { parts_replaced(fused, index, write.buffer, &dying) } else { found };
    let group = match group.filter(|_| found.is_none() && fused.buffer(write.buffer).dtype == DType::F32) {
        Some(group) if is_written_by_points(fused, group, index, write.buffer) => group,
        _ => return found,
    };
    let part = group.part_of(fused, write.buffer);
    (first..index).zip(earlier).rev().find_map(|(reader, operands)| {
        let same = |&&buffer: &&BufferId| {
            group.part_of(fused, buffer) == part && is_read_by_points(fused, group, reader, buffer)
        };
        operands.free.iter().filter(same).find_map(|&buffer| place(buffer, reader))
    })
}

/// The tile that has the place of a kernel's product: what is made of it, element by element, when nothing reads the product any more.
pub(super) fn of_product(fused: &Fused, index: usize) -> Option<BufferId> {
    let kernel = &fused.kernels[index];
    let stages = kernel.body.iter().filter(|each| each.args.contains(&Arg::Dot)).map(|each| each.stage);
    let last = stages.max().unwrap_or(0);
    let copied = kernel.writes.iter().any(|write| write.value == Arg::Dot);
    let fits = |write: &&Write| match write.value {
        Arg::Value(value) => {
            let Instruction { what, stage, .. } = &kernel.body[value];
            let element = *what == What::Map && *stage >= last && !write.copied && !write.part;
            element && kernel.is_aligned(&write.access) && kernel.class(value) == Class::Element
        }
        _ => false,
    };
    let tile = |buffer: &BufferId| fused.is_tile(*buffer) && fused.buffer(*buffer).dtype == DType::F32;
    let found = kernel.writes.iter().filter(fits).map(|write| write.buffer).find(tile);
    found.filter(|_| !copied && kernel.triangle.is_none())
}

/// How much of an operand a kernel of a loop reads at a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Any part.
    Whole,
    /// A part that no other step reads.
    OfStep,
}

/// The operand of a kernel whose elements are read where those of a buffer are written that no other kernel writes, part by part or
/// step by step, and that may be overwritten so; and where it lies.
fn parts_replaced(
    fused: &Fused,
    index: usize,
    written: BufferId,
    dying: &impl Fn(BufferId, usize, Read) -> Option<usize>,
) -> Option<(BufferId, usize)> {
    let (kernel, run) = (&fused.kernels[index], fused.run_of(index));
    let floats = |buffer: BufferId| fused.buffer(buffer).dtype == DType::F32;
    let writes: Vec<&Write> = kernel.writes.iter().filter(|write| write.buffer == written).collect();
    let is_element = |write: &&Write| match write.value {
        Arg::Value(value) => {
            !write.copied && kernel.body[value].what == What::Map && kernel.class(value) == Class::Element
        }
        _ => false,
    };
    let placed = |access: &Access| access.bounds.is_empty() && access.gather.is_none();
    let fits = fused.group_of(index).is_none()
        && floats(written)
        && kernel.body.iter().all(|each| each.stage == 0)
        && writes.iter().all(|write| write.mode == Mode::Set && placed(&write.access) && is_element(write));
    if !fits {
        return None;
    }
    let same = |access: &Access| writes.iter().any(|write| write.access == *access);
    kernel.reads.iter().find_map(|read| {
        let operand = read.buffer;
        let of_step = read.access.position != 0;
        let mut reads = kernel.reads.iter().filter(|read| read.buffer == operand);
        let in_product = kernel.dot.as_ref().is_some_and(|dot| [dot.a, dot.b].contains(&operand));
        let is_copied = kernel.writes.iter().any(|write| match write.value {
            Arg::Read(read) => kernel.reads[read].buffer == operand,
            _ => false,
        });
        // What is written at the steps as well, such as a state, is read by them as it was written.
        let elsewhere = |other: usize| {
            let own = &fused.kernels[other];
            let mut written = own.writes.iter().map(|write| write.buffer);
            other != index && own.buffers_read().any(|buffer| buffer == operand)
                || written.any(|buffer| buffer == operand)
        };
        let fits = floats(operand)
            && !in_product
            && !is_copied
            && reads.all(|read| same(&read.access))
            && !run.clone().any(elsewhere);
        let at = dying(operand, index, if of_step { Read::OfStep } else { Read::Whole });
        at.filter(|_| fits).map(|at| (operand, at))
    })
}
