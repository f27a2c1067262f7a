//! Stages as functions that go over many short runs: all of a row, or of many rows.
//!
//! Addresses are computed for the first run, and passed on once. Absent on purpose: whether that is worth it, which the tiling decides.

use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::KernelEmitter;
use super::loops::Trip;
use super::wide::WideStage;
use crate::kernel::Class;

impl KernelEmitter<'_, '_> {
    /// The axes around the innermost one that a row has by itself.
    fn axes_of_row(&self) -> Vec<usize> {
        (self.kernel.rows..self.kernel.axes.len() - 1).collect()
    }

    /// For each stage, its function for many rows, which finds such numbers of each in memory, if there is one.
    pub(super) fn functions_of_rows(&mut self, kept: &[usize]) -> Vec<Option<WideStage>> {
        let kernel = self.kernel;
        let stages = 0..=kernel.last_stage();
        // Stages of a row that come after one another are those of one row, unless some rows take turns. What is added up within a row
        // begins and ends with it; and without elements, a sum along a row has nothing to end.
        let within = (0..kernel.body.len()).any(|index| kernel.is_within(index));
        let alone = kernel.last_stage() > 0 && self.canonical.turns.is_none();
        let may_be_empty = kernel.triangle.is_some_and(|triangle| triangle.offset < 0);
        if kernel.rows == 0 || within || alone || may_be_empty {
            return stages.map(|_| None).collect();
        }
        let axes: Vec<usize> = [kernel.rows - 1].into_iter().chain(self.axes_of_row()).collect();
        stages.map(|stage| self.wide_along(stage, &axes, kept)).collect()
    }

    /// Calls a function for all runs of a stage of the present row, if there is one.
    pub(super) fn runs_of_row(&mut self, stage: usize) -> bool {
        let axes = self.axes_of_row();
        let Some(function) = self.wide_along(stage, &axes, &[]) else { return false };
        let bytes = self.bytes_of_run();
        self.call_along(&function, bytes, None);
        true
    }

    /// How long each run of the present row is.
    pub(super) fn bytes_of_run(&mut self) -> Value {
        let extent = self.kernel.axes[self.kernel.axes.len() - 1].factor();
        let trip = if self.kernel.is_plain() { Trip::Known(extent) } else { self.trip_of_row(extent) };
        match trip {
            Trip::Known(extent) => self.fb.ins().iconst(types::I64, 4 * extent as i64),
            Trip::Bytes(bytes) | Trip::Lanes(bytes) => bytes,
        }
    }

    /// Whether a stage has values of which there is one for each row, beside what ends with its elements.
    pub(super) fn has_row_steps(&self, stage: usize) -> bool {
        let kernel = self.kernel;
        kernel.body.iter().enumerate().any(|(index, each)| {
            let class = kernel.class(index);
            each.stage == stage && (class == Class::Row || class == Class::Single && (stage > 0 || !kernel.is_plain()))
        })
    }
}
