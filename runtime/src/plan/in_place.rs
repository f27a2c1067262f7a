//! Which operand of a kernel, or of its prologue, a kept value may overwrite: one whose last reader that is, if every element
//! is read before the element of the same place is written, and never after.

use std::collections::HashSet;

use crate::ir::ops::function;
use crate::kernel::{Arg, BufferId, Class, Fused, Kernel, What, Write};
use crate::types::DType;

/// What may be overwritten in a kernel, as far as the kernel itself goes.
pub(super) struct Operands {
    /// The buffers that its maps and reductions read element by element and in no other way, in the order in which they
    /// are read.
    free: Vec<BufferId>,
    /// The buffers that take the elements of its maps; none if elements are read after others were written.
    elements: HashSet<BufferId>,
}

impl Operands {
    /// Of a kernel.
    pub(super) fn of(fused: &Fused, kernel: &Kernel) -> Operands {
        // Row by row, a later stage would read what an earlier one has overwritten; and what functions are called for is
        // read strip by strip.
        let simple = kernel.body.iter().all(|each| each.stage == 0 && function(&each.origin.op).is_none());
        let is_element = |write: &&Write| match write.value {
            Arg::Value(index) => {
                simple && !write.copied && kernel.body[index].what == What::Map && kernel.class(index) == Class::Element
            }
            _ => false,
        };
        let floats = |buffer: BufferId| fused.buffer(buffer).dtype == DType::F32;
        let elements = kernel.writes.iter().filter(is_element).map(|write| write.buffer);
        let elements = elements.filter(|&buffer| floats(buffer)).collect();
        let mut taken: HashSet<BufferId> = kernel.dot.iter().flat_map(|dot| [dot.a, dot.b]).collect();
        taken.extend(kernel.writes.iter().filter_map(|write| match write.value {
            Arg::Read(read) => Some(kernel.reads[read].buffer),
            _ => None,
        }));
        let whole = |access| kernel.class_of(access) == Class::Element;
        taken.extend(kernel.reads.iter().filter(|read| !whole(read.access.at.axes())).map(|read| read.buffer));
        let fits = |buffer: &BufferId| floats(*buffer) && taken.insert(*buffer);
        Operands { free: kernel.reads.iter().map(|read| read.buffer).filter(fits).collect(), elements }
    }

    /// The operand that a buffer may take the place of in this kernel, and where that lies. `dying` gives the place of those of
    /// the right length that nothing reads later.
    pub(super) fn replaced(
        &self,
        written: BufferId,
        dying: impl Fn(BufferId) -> Option<usize>,
    ) -> Option<(BufferId, usize)> {
        if self.elements.contains(&written) { self.read_for_the_last_time(dying) } else { None }
    }

    /// The operand of the prologue `ahead`, whose operands these are, that an element of the kernel after it may overwrite,
    /// and where it lies: one that the kernel itself does not read. Rows of the prologue are done before the same rows of the
    /// kernel begin.
    pub(super) fn replaced_row_by_row(
        &self,
        fused: &Fused,
        ahead: &Kernel,
        kernel: &Kernel,
        write: &Write,
        dying: impl Fn(BufferId) -> Option<usize>,
    ) -> Option<(BufferId, usize)> {
        let class = kernel.class_of(write.access.at.axes());
        if class != Class::Element || kernel.axes != ahead.axes || fused.buffer(write.buffer).dtype != DType::F32 {
            return None;
        }
        self.read_for_the_last_time(dying)
    }

    fn read_for_the_last_time(&self, dying: impl Fn(BufferId) -> Option<usize>) -> Option<(BufferId, usize)> {
        self.free.iter().find_map(|&base| Some((base, dying(base)?)))
    }
}
