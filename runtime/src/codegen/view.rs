//! Where the values of a kernel are read and written, known before any code is emitted.

use super::Slot;
use super::canonical::Canonical;
use super::recording::Place;
use crate::kernel::{Arg, BufferId, Class, Kernel, Write};
use crate::plan::ProductRows;

/// What is known of a kernel before any code is emitted.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) canonical: &'a Canonical,
}

impl View<'_> {
    /// Where an operand is read from in a stage, if it is read from memory.
    pub(super) fn slot_read(self, arg: Arg, stage: usize) -> Option<Slot> {
        let buffer = match arg {
            Arg::Const(_) | Arg::Index(_) | Arg::Count(_) | Arg::Scalar(_) => return None,
            Arg::Dot => match self.canonical.product {
                Some(ProductRows::Scratch(at)) => return Some(Slot::Block(at)),
                Some(ProductRows::Arena(at)) => return Some(Slot::SharedBlock(at)),
                Some(ProductRows::Tile(buffer)) => buffer,
                None => self.buffer_of(arg)?,
            },
            Arg::Value(index) => {
                let known = self.kernel.body[index].stage >= stage;
                if known || self.kernel.arg_class(arg) != Class::Element {
                    return None;
                }
                match self.canonical.spills.get(&index) {
                    Some(&at) => return Some(Slot::Scratch(at)),
                    None => self.buffer_of(arg)?,
                }
            }
            Arg::Read(read) => {
                let read = &self.kernel.reads[read];
                return Some(self.canonical.place(read.buffer, read.access.position));
            }
        };
        Some(self.canonical.place(buffer, 0))
    }

    /// Where a number of the row lies that is read as it is, evenly apart from those of other rows.
    pub(super) fn number_in_memory(self, arg: Arg) -> Option<Place> {
        let Arg::Read(read) = arg else { return None };
        let access = &self.kernel.reads[read].access;
        match self.kernel.is_plain() {
            true => self.slot_read(arg, 0).map(Place::Row).filter(|_| self.kernel.arg_class(arg) == Class::Row),
            false => (access.bounds.is_empty() && access.gather.is_none()).then_some(Place::Read(read)),
        }
    }

    /// The buffer that a value is written to for others.
    fn buffer_of(self, value: Arg) -> Option<BufferId> {
        self.kernel.buffer_of(value, |buffer| self.canonical.is_computed(buffer))
    }

    /// Where a value is written. Sums that end after the kernel are written by what ends them, a product by itself.
    pub(super) fn slot_written(self, write: &Write) -> Option<Slot> {
        let by_itself = write.value == Arg::Dot && !write.copied && self.canonical.is_computed(write.buffer);
        if self.kernel.is_written_later(write) || by_itself {
            return None;
        }
        if self.kernel.is_strided(write) {
            let same = |other: &Write| std::ptr::eq(other, write);
            return self.kernel.writes.iter().position(same).map(Slot::Strided);
        }
        Some(self.canonical.place(write.buffer, 0))
    }

    /// Where an element is written that was computed here, and whether that may overwrite what is read here.
    pub(super) fn targets(self, index: usize) -> Vec<(Slot, bool)> {
        let writes = self.kernel.writes.iter().filter(|write| write.value == Arg::Value(index) && !write.copied);
        let overwrites = |write: &Write| {
            let product = self.canonical.product == Some(ProductRows::Tile(write.buffer));
            // A state that a step leaves in the place of the one that it has read.
            let again = write.part
                && self.kernel.reads.iter().any(|read| read.buffer == write.buffer && read.access.position == 0);
            product || again || !self.canonical.is_computed(write.buffer) || self.canonical.is_in_place(write.buffer)
        };
        let placed = writes.filter_map(|write| self.slot_written(write).map(|slot| (slot, overwrites(write))));
        let spilled = self.canonical.spills.get(&index).map(|&at| (Slot::Scratch(at), false));
        placed.chain(spilled).collect()
    }
}
