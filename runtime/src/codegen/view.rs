//! Where the values of a kernel are read and written, known before any code is emitted.

use super::Slot;
use crate::kernel::{Arg, BufferId, Class, Fused, Kernel, Write};
use crate::plan::{KernelPlan, Plan, ProductRows};

/// What is known of a kernel before any code is emitted.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) fused: &'a Fused,
    pub(super) kernel: &'a Kernel,
    pub(super) plan: &'a Plan,
    pub(super) memory: &'a KernelPlan,
}

impl View<'_> {
    /// Where an operand is read from in a stage, if it is read from memory.
    pub(super) fn slot_read(self, arg: Arg, stage: usize) -> Option<Slot> {
        let buffer = match arg {
            Arg::Const(_) | Arg::Index(_) | Arg::Count(_) | Arg::Scalar(_) => return None,
            Arg::Dot => match self.memory.product {
                Some(ProductRows::Scratch(at)) => return Some(Slot::Block(at)),
                Some(ProductRows::Arena(at)) => return Some(Slot::SharedBlock(at)),
                Some(ProductRows::Tile(buffer)) => buffer,
                None => self.fused.dot_buffer(self.kernel)?,
            },
            Arg::Value(index) => {
                let known = self.kernel.body[index].stage >= stage;
                if known || self.kernel.arg_class(arg) != Class::Element {
                    return None;
                }
                match self.memory.spills.get(&index) {
                    Some(&at) => return Some(Slot::Scratch(at)),
                    None => self.kernel.buffer_of(arg, |buffer| self.fused.is_computed(buffer))?,
                }
            }
            Arg::Read(read) => {
                let read = &self.kernel.reads[read];
                return Some(self.place(read.buffer, read.access.position));
            }
        };
        Some(self.place(buffer, 0))
    }

    pub(super) fn place(self, buffer: BufferId, position: i64) -> Slot {
        match self.plan.tiles.get(&buffer) {
            Some(&tile) => Slot::Tile(tile),
            None => {
                let place = self.plan.places[buffer.index()].expect("what is read or written has a place");
                Slot::Location(place, position)
            }
        }
    }

    /// Where a value is written. Sums that end after the kernel are written by what ends them, a product by itself.
    pub(super) fn slot_written(self, write: &Write) -> Option<Slot> {
        let by_itself = write.value == Arg::Dot && !write.copied && self.fused.is_computed(write.buffer);
        if self.kernel.is_written_later(write) || by_itself {
            return None;
        }
        if self.kernel.is_strided(write) {
            let same = |other: &Write| std::ptr::eq(other, write);
            return self.kernel.writes.iter().position(same).map(Slot::Strided);
        }
        Some(self.place(write.buffer, 0))
    }

    /// Where an element is written that was computed here, and whether that may overwrite what is read here.
    pub(super) fn targets(self, index: usize) -> Vec<(Slot, bool)> {
        let writes = self.kernel.writes.iter().filter(|write| write.value == Arg::Value(index) && !write.copied);
        let overwrites = |write: &Write| {
            let product = self.memory.product == Some(ProductRows::Tile(write.buffer));
            // A state that a step leaves in the place of the one that it has read.
            let again = write.part
                && self.kernel.reads.iter().any(|read| read.buffer == write.buffer && read.access.position == 0);
            product
                || again
                || !self.fused.is_computed(write.buffer)
                || self.memory.in_place.contains_key(&write.buffer)
        };
        let placed = writes.filter_map(|write| self.slot_written(write).map(|slot| (slot, overwrites(write))));
        let spilled = self.memory.spills.get(&index).map(|&at| (Slot::Scratch(at), false));
        placed.chain(spilled).collect()
    }
}
