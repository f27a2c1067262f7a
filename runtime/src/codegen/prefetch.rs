//! The elements that come next, prefetched into the cache while the present ones are worked on.

use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::loops::{Trip, sum};
use super::{KernelEmitter, Slot, host};

impl KernelEmitter<'_, '_> {
    /// The addresses of the present row in the matrices that are read or written, and whether they are written.
    fn matrices(&self) -> Vec<(Value, bool)> {
        let written: Vec<Slot> = self.kernel.writes.iter().filter_map(|write| self.slot_written(write)).collect();
        let matrices = self.row_bases.iter().filter(|(slot, _)| matches!(slot, Slot::Location(..)));
        let mut addresses: Vec<_> = matrices.map(|(slot, &address)| (address, written.contains(slot))).collect();
        addresses.sort();
        addresses
    }

    /// Asks for what lies `distance` elements past these ones, those from `start` bytes on, in every matrix. Past the
    /// last row that does no harm.
    pub(super) fn prefetch_columns(&mut self, start: Value, part: Trip, distance: usize) {
        let bytes = match part {
            Trip::Known(count) => self.fb.ins().iconst(types::I64, 4 * count as i64),
            Trip::Bytes(bytes) | Trip::Lanes(bytes) => bytes,
        };
        for (matrix, written) in self.matrices() {
            let here = sum(&mut self.fb, matrix, start);
            let address = self.fb.ins().iadd_imm_u(here, 4 * distance as i64);
            match written {
                true => host::PrefetchToWrite { address, bytes }.call(&mut self.imports, &mut self.fb),
                false => host::Prefetch { address, bytes }.call(&mut self.imports, &mut self.fb),
            }
        }
    }
}
