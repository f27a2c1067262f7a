//! Rows of several stages, some at a time: one stage of all of them, then the next.
//!
//! A sum along a row is known some time after its last element, and what comes next in that row waits for it; the next row does not.
//! What later stages need of a row lies on the stack until then, and elements in as many rows of scratch. Absent on purpose: how many
//! rows, which the tiling decides. Each row is computed as it would be alone, and in their order where rows are added up: no bit
//! depends on it.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Type, Value, types};
use rustc_hash::FxHashMap;

use super::lanes::memory;
use super::wide::WideStage;
use super::{KernelEmitter, Slot};
use crate::kernel::{Arg, Class, LANES, Write};

/// Most rows at a time whose numbers are kept, where nothing else says how many.
const MOST_KEPT: usize = 64;

/// What of a row its later stages need, or a function for many rows, and where it is until then.
struct Carried {
    /// Which values, by the place of their instruction.
    values: Vec<usize>,
    /// The address of those of the first row, one after the other.
    start: Value,
    /// The types of values, as far as they have been computed.
    types: FxHashMap<usize, Type>,
}

impl KernelEmitter<'_, '_> {
    /// All rows: some at a time if the tiling says so or if there are functions for many, or else one after the other.
    pub(super) fn all_rows(&mut self) {
        let (lo, hi) = (self.lo, self.hi);
        let values = self.kept_numbers();
        let functions = self.functions_of_rows(&values);
        if self.canonical.turns.is_none() && functions.iter().all(Option::is_none) {
            return self.rows(lo, hi, &mut |emit, row| {
                emit.fill_rows(row);
                emit.stages();
            });
        }
        let at_once = self.canonical.turns.or((!values.is_empty()).then_some(MOST_KEPT));
        let mut carried = self.carried(at_once.unwrap_or(1), values);
        let evenly = functions.iter().any(Option::is_some);
        self.parts_of_rows([lo, hi], at_once, evenly, &mut |emit, [first, end]| {
            for (stage, function) in functions.iter().enumerate() {
                match function {
                    Some(function) => emit.stage_of_rows(stage, function, [first, end], &mut carried),
                    None => emit.rows(first, end, &mut |emit, row| {
                        let number = emit.fill_row_of(row, first);
                        emit.stage_of_row(stage, number, &mut carried, &mut |emit| emit.stage(stage));
                    }),
                }
            }
        });
    }

    /// Emits `body` for parts of the rows, so many each at most; if `evenly`, only such of which all addresses are evenly apart, and all
    /// runs as long.
    fn parts_of_rows(
        &mut self,
        [lo, hi]: [Value; 2],
        most: Option<usize>,
        evenly: bool,
        body: &mut dyn FnMut(&mut Self, [Value; 2]),
    ) {
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let first = self.fb.append_block_param(head, types::I64);
        self.fb.ins().jump(head, &[lo.into()]);
        self.fb.switch_to_block(head);
        let mut end = hi;
        if let Some(most) = most {
            let next = self.fb.ins().iadd_imm_u(first, most as i64);
            end = self.fb.ins().smin(end, next);
        }
        if evenly && !self.kernel.is_plain() {
            self.go_to_row(first);
            let position = self.point.row[self.kernel.rows - 1];
            if self.kernel.rows > 1 {
                let extent = self.kernel.axes[self.kernel.rows - 1].factor();
                let extent = self.fb.ins().iconst(types::I64, extent as i64);
                end = self.end_before(end, first, [position, extent]);
            }
            if let Some(triangle) = self.kernel.triangle {
                // Runs are whole lanes, and one longer from row to row.
                let column = self.fb.ins().iadd_imm_s(position, triangle.offset);
                let lane = self.fb.ins().band_imm_s(column, LANES as i64 - 1);
                let lanes = self.fb.ins().iconst(types::I64, LANES as i64);
                end = self.end_before(end, first, [lane, lanes]);
            }
        }
        body(self, [first, end]);
        let more = self.fb.ins().icmp(IntCC::SignedLessThan, end, hi);
        self.fb.ins().brif(more, head, &[end.into()], exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// Where rows from the first one on end, of which only those from a position to an extent come next.
    fn end_before(&mut self, end: Value, first: Value, [position, extent]: [Value; 2]) -> Value {
        let left = self.fb.ins().isub(extent, position);
        let next = self.fb.ins().iadd(first, left);
        self.fb.ins().smin(end, next)
    }

    /// The numbers of a row that are computed and that its later stages read, or that a function for many rows reads or leaves.
    fn kept_numbers(&self) -> Vec<usize> {
        let together = self.canonical.stages.iter().any(|stage| stage.together.is_some());
        let kept = |&index: &usize| {
            let value = Arg::Value(index);
            let is_number = matches!(self.kernel.arg_class(value), Class::Row | Class::Single);
            let mut later = self.kernel.body[index].stage + 1..=self.kernel.last_stage();
            let by_function = || self.is_read_by_elements(value) || self.canonical.lanes.contains_key(&index);
            is_number
                && !self.singles.contains_key(&value)
                && (later.any(|stage| self.is_read_in(index, stage)) || together && by_function())
        };
        (0..self.kernel.body.len()).filter(kept).collect()
    }

    /// Room for such numbers of so many rows, none of which is computed yet.
    fn carried(&mut self, rows: usize, values: Vec<usize>) -> Carried {
        let size = 4 * (rows * values.len()).max(1) as u32;
        let slot = self.fb.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3));
        let start = self.fb.ins().stack_addr(types::I64, slot, 0);
        self.kept = start;
        Carried { values, start, types: FxHashMap::default() }
    }

    /// Whether a stage reads a value.
    fn is_read_in(&self, index: usize, stage: usize) -> bool {
        let (kernel, value) = (self.kernel, Arg::Value(index));
        let copied = |write: &&Write| write.copied && kernel.copy_stage(write) == stage;
        kernel.body.iter().any(|each| each.stage == stage && each.args.contains(&value))
            || kernel.writes.iter().filter(copied).any(|write| write.value == value)
    }

    /// Whether something that happens at every element reads a number.
    fn is_read_by_elements(&self, number: Arg) -> bool {
        let kernel = self.kernel;
        let body = kernel.body.iter().enumerate();
        let mut elements = body.filter(|(index, _)| kernel.class(*index) == Class::Element);
        elements.any(|(_, each)| each.args.contains(&number))
            || kernel.writes.iter().any(|write| write.copied && write.value == number)
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

    /// Moves on to a row; its number among those from the first one on.
    fn fill_row_of(&mut self, row: Value, first: Value) -> Value {
        self.fill_rows(row);
        let number = self.fb.ins().isub(row, first);
        self.fill_spills(number);
        number
    }

    /// Emits what a stage does with a row, with what earlier ones have left of it; leaves what later ones need.
    fn stage_of_row(&mut self, stage: usize, number: Value, carried: &mut Carried, body: &mut dyn FnMut(&mut Self)) {
        let before = self.times(number, 4 * carried.values.len().max(1) as i64);
        let start = self.fb.ins().iadd(carried.start, before);
        let places = || (0..).step_by(4).zip(carried.values.iter().copied());
        let is_early = |index: usize| self.kernel.body[index].stage < stage && self.is_read_in(index, stage);
        let early: Vec<(i32, usize)> = places().filter(|&(_, index)| is_early(index)).collect();
        let now: Vec<(i32, usize)> = places().filter(|&(_, index)| self.kernel.body[index].stage == stage).collect();
        for (at, index) in early {
            if let Some(&ty) = carried.types.get(&index) {
                let value = match ty {
                    types::I8 => {
                        let word = self.fb.ins().load(types::I32, memory(), start, at);
                        self.fb.ins().ireduce(ty, word)
                    }
                    _ => self.fb.ins().load(ty, memory(), start, at),
                };
                self.rows.insert(Arg::Value(index), value);
            }
        }
        body(self);
        for (at, index) in now {
            // What is uniform in all rows is known already.
            if let Some(&value) = self.rows.get(&Arg::Value(index)) {
                let ty = self.fb.func.dfg.value_type(value);
                carried.types.insert(index, ty);
                // Four bytes each, as functions read them.
                let word = if ty == types::I8 { self.fb.ins().uextend(types::I32, value) } else { value };
                self.fb.ins().store(memory(), word, start, at);
            }
        }
    }

    /// A stage of some rows that has a function for all of them: what is one number of each row, row by row, and then their elements.
    fn stage_of_rows(&mut self, stage: usize, function: &WideStage, [first, end]: [Value; 2], carried: &mut Carried) {
        if self.has_row_steps(stage) {
            self.rows(first, end, &mut |emit, row| {
                let number = emit.fill_row_of(row, first);
                emit.stage_of_row(stage, number, carried, &mut |emit| emit.row_steps(stage));
            });
        }
        self.go_to_row(first);
        self.fill_row_of(first, first);
        let rows = self.fb.ins().isub(end, first);
        let bytes = self.bytes_of_run();
        self.call_along(function, bytes, Some(rows));
        let body = self.kernel.body.iter().enumerate();
        let ends = body.filter(|(index, each)| each.stage == stage && self.canonical.lanes.contains_key(index));
        carried.types.extend(ends.map(|(index, _)| (index, types::F32)));
        self.write_beyond(stage, Some(rows));
    }
}
