//! Rows of several stages, some at a time: one stage of all of them, then the next.
//!
//! A sum along a row is known some time after its last element, and what comes next in that row waits for it; the next row does not.
//! What later stages need of a row lies on the stack until then, and elements in as many rows of scratch. Absent on purpose: how many
//! rows, which the tiling decides. Each row is computed as it would be alone, and in their order where rows are added up: no bit
//! depends on it.

use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Type, Value, types};
use rustc_hash::FxHashMap;

use super::lanes::memory;
use super::{KernelEmitter, Slot};
use crate::kernel::{Arg, Class, Write};

/// What of a row its later stages need, and where it is until then.
struct Carried {
    /// Which values, by the place of their instruction.
    values: Vec<usize>,
    /// The address of those of the first row, one after the other.
    start: Value,
    /// Their types, as far as they have been computed.
    types: FxHashMap<usize, Type>,
}

impl KernelEmitter<'_, '_> {
    /// All rows, so many at a time.
    pub(super) fn rows_in_turns(&mut self, at_once: usize) {
        let (lo, hi) = (self.lo, self.hi);
        let mut carried = self.carried(at_once);
        self.counted(lo, hi, at_once as i64, false, &mut |emit, first| {
            let next = emit.fb.ins().iadd_imm_u(first, at_once as i64);
            let end = emit.fb.ins().smin(next, hi);
            for stage in 0..=emit.kernel.last_stage() {
                emit.rows(first, end, &mut |emit, row| {
                    emit.fill_rows(row);
                    let number = emit.fb.ins().isub(row, first);
                    emit.fill_spills(number);
                    emit.stage_of_row(stage, number, &mut carried);
                });
            }
        });
    }

    /// What later stages need of so many rows, none of which is computed yet.
    fn carried(&mut self, rows: usize) -> Carried {
        let values: Vec<usize> = (0..self.kernel.body.len()).filter(|&index| self.is_carried(index)).collect();
        let size = 4 * (rows * values.len()).max(1) as u32;
        let slot = self.fb.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3));
        let start = self.fb.ins().stack_addr(types::I64, slot, 0);
        Carried { values, start, types: FxHashMap::default() }
    }

    /// Whether a value is one number of a row that a later stage reads.
    fn is_carried(&self, index: usize) -> bool {
        let number = matches!(self.kernel.arg_class(Arg::Value(index)), Class::Row | Class::Single);
        let last = self.kernel.last_stage();
        number && (self.kernel.body[index].stage + 1..=last).any(|stage| self.is_read_in(index, stage))
    }

    /// Whether a stage reads a value.
    fn is_read_in(&self, index: usize, stage: usize) -> bool {
        let (kernel, value) = (self.kernel, Arg::Value(index));
        let copied = |write: &&Write| write.copied && kernel.copy_stage(write) == stage;
        kernel.body.iter().any(|each| each.stage == stage && each.args.contains(&value))
            || kernel.writes.iter().filter(copied).any(|write| write.value == value)
    }

    /// The rows of scratch of the present row, which has this number among those that are worked on.
    fn fill_spills(&mut self, number: Value) {
        let row = 4 * self.kernel.padded_cols() as i64;
        let before = self.times(number, row);
        for &at in self.canonical.spills.values() {
            let slot = Slot::Scratch(at);
            let start = self.fb.ins().iadd(self.bases[&slot], before);
            self.row_bases.insert(slot, start);
        }
    }

    /// A stage of a row, with what earlier ones have left of it; leaves what later ones need.
    fn stage_of_row(&mut self, stage: usize, number: Value, carried: &mut Carried) {
        let before = self.times(number, 4 * carried.values.len().max(1) as i64);
        let start = self.fb.ins().iadd(carried.start, before);
        let places = || (0..).step_by(4).zip(&carried.values);
        for (at, &index) in places().filter(|(_, index)| self.kernel.body[**index].stage < stage) {
            if let Some(&ty) = carried.types.get(&index).filter(|_| self.is_read_in(index, stage)) {
                let value = self.fb.ins().load(ty, memory(), start, at);
                self.rows.insert(Arg::Value(index), value);
            }
        }
        self.stage(stage);
        for (at, &index) in places().filter(|(_, index)| self.kernel.body[**index].stage == stage) {
            // What is uniform in all rows is known already.
            if let Some(&value) = self.rows.get(&Arg::Value(index)) {
                carried.types.insert(index, self.fb.func.dfg.value_type(value));
                self.fb.ins().store(memory(), value, start, at);
            }
        }
    }
}
