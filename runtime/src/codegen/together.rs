//! Several rows at a time, stage by stage: while the sums of one are made, the elements of the others are worked on.
//!
//! Each of them has lanes and scratch of its own; what is known of a row is put aside while another one has its turn.

use cranelift_codegen::ir::{InstBuilder, Value};
use rustc_hash::FxHashMap;

use super::nest::Point;
use super::{KernelEmitter, Slot};
use crate::kernel::Arg;
use crate::plan::{lanes_of_row, spilled_row};

/// What is known of a row.
struct Row {
    rows: FxHashMap<Arg, Value>,
    row_bases: FxHashMap<Slot, Value>,
    row: Value,
    row_offset: Value,
    point: Point,
}

impl KernelEmitter<'_, '_> {
    /// All rows, so many at a time, then those that are left one by one.
    pub(super) fn rows_together(&mut self, lo: Value, hi: Value, several: usize) {
        let scratch = self.scratch_of_rows(several);
        let count = self.fb.ins().isub(hi, lo);
        let whole = self.fb.ins().band_imm_s(count, -(several as i64));
        let main = self.fb.ins().iadd(lo, whole);
        self.rows_in_steps(lo, main, (several, true), |emit, first, mut coordinates| {
            let mut rows = Vec::new();
            for bases in &scratch {
                let row = emit.fb.ins().iadd_imm_u(first, rows.len() as i64);
                emit.bases.extend(bases.iter().copied());
                emit.start_row(coordinates.clone());
                emit.fill_rows(row);
                rows.push(emit.put_aside());
                if !coordinates.is_empty() && rows.len() < several {
                    coordinates = emit.coordinates_after(&coordinates);
                }
            }
            for stage in 0..=emit.kernel.last_stage() {
                let turns = std::mem::take(&mut rows).into_iter().zip(&scratch);
                for (row, bases) in turns {
                    emit.bases.extend(bases.iter().copied());
                    emit.take_up(row);
                    emit.stage(stage);
                    rows.push(emit.put_aside());
                }
            }
        });
        self.bases.extend(scratch[0].iter().copied());
        self.rows_in_steps(main, hi, (1, true), |emit, row, coordinates| {
            emit.start_row(coordinates);
            emit.fill_rows(row);
            emit.stages();
        });
    }

    /// Where lanes and scratch of each of some rows are.
    fn scratch_of_rows(&mut self, rows: usize) -> Vec<Vec<(Slot, Value)>> {
        let kernel = self.kernel;
        let spills = self.canonical.spills.values().map(|&at| (at, spilled_row(kernel)));
        let lanes = self.canonical.lanes.iter().map(|(&index, &at)| (at, lanes_of_row(kernel, index)));
        let all: Vec<(usize, usize)> = spills.chain(lanes).collect();
        let of_row = |emit: &mut Self, row: usize| {
            let slots = all.iter().map(|&(at, len)| {
                let first = emit.bases[&Slot::Scratch(at)];
                let base = if row == 0 { first } else { emit.fb.ins().iadd_imm_u(first, (4 * row * len) as i64) };
                (Slot::Scratch(at), base)
            });
            slots.collect()
        };
        (0..rows).map(|row| of_row(self, row)).collect()
    }

    fn put_aside(&mut self) -> Row {
        Row {
            rows: std::mem::take(&mut self.rows),
            row_bases: std::mem::take(&mut self.row_bases),
            row: self.row,
            row_offset: self.row_offset,
            point: std::mem::take(&mut self.point),
        }
    }

    fn take_up(&mut self, Row { rows, row_bases, row, row_offset, point }: Row) {
        (self.rows, self.row_bases, self.row, self.row_offset, self.point) = (rows, row_bases, row, row_offset, point);
    }
}
