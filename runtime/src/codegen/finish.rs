//! The last stages of reductions: calls that merge the partial results of blocks.
//!
//! A thread merges those of its unit ahead, as far as they are branches of the tree in which all are merged, and the end of the region
//! goes on with what has become of them. No bit depends on it.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::Context;
use super::entry::DriverEmitter;
use super::groups::Part;
use super::host;
use super::lanes::constant_memory;
use crate::ir::ops::Form;
use crate::kernel::{Arg, BufferId, Kernel};
use crate::plan::MergedAhead;

impl DriverEmitter<'_, '_> {
    /// The last stages of the kernel's reductions, parts of which may have been merged.
    pub(super) fn finish(&mut self, index: usize, ahead: Option<MergedAhead>) {
        let kernel = &self.program.fused.kernels[index];
        let rows = self.extent(kernel.row_count());
        let ahead = self.blocks_ahead(rows, ahead);
        for (reducing, (at, len)) in self.program.plan.kernels[index].partials.clone() {
            let (reduction, _) = kernel.body[reducing].reduction().expect("partial results are of reductions");
            let partials = self.arena_at(at);
            let buffer = self.result_of(kernel, reducing);
            let out = self.buffer(buffer);
            let [stride, columns, block] =
                [len, kernel.cols(), kernel.block].map(|size| self.fb.ins().iconst(types::I64, size as i64));
            match reduction.form {
                Form::Mean | Form::Variance => {
                    let none = self.fb.ins().iconst(types::I64, 0);
                    let [mean, variance] = match reduction.form {
                        Form::Variance => [self.mean_of_moments(kernel, reducing), out],
                        _ => [out, none],
                    };
                    let overflow = match self.program.fused.statistics.contains(&buffer) {
                        true => self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::OVERFLOW),
                        false => none,
                    };
                    host::MergeMoments { partials, stride, columns, block, rows, ahead, mean, variance, overflow }
                        .call(&mut self.imports, &mut self.fb);
                }
                Form::Total(_) => {
                    let number = self.fb.ins().iconst(types::I64, reduction.number() as i64);
                    if kernel.is_over_everything(reducing) {
                        let up = self.fb.ins().iadd_imm_u(rows, kernel.block as i64 - 1);
                        let blocks = self.fb.ins().udiv_imm_u(up, kernel.block as i64);
                        host::TotalOfAll { reduction: number, partials, blocks, out }
                            .call(&mut self.imports, &mut self.fb);
                    } else {
                        host::TotalOfColumns { reduction: number, partials, stride, columns, block, rows, ahead, out }
                            .call(&mut self.imports, &mut self.fb);
                    }
                }
            }
        }
    }

    /// How many blocks at a time have been merged, with so many rows.
    fn blocks_ahead(&mut self, rows: Value, ahead: Option<MergedAhead>) -> Value {
        let one = self.fb.ins().iconst(types::I64, 1);
        let Some(MergedAhead { blocks, few }) = ahead else { return one };
        let blocks = self.fb.ins().iconst(types::I64, blocks as i64);
        let many = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThan, rows, few as i64);
        self.fb.ins().select(many, blocks, one)
    }

    /// Merges the partial results of some rows of a kernel, if they are so many blocks.
    pub(super) fn merge_ahead(&mut self, index: usize, blocks: usize, [from, to]: Part) {
        let kernel = &self.program.fused.kernels[index];
        for (reducing, (at, len)) in self.program.plan.kernels[index].partials.clone() {
            let (reduction, _) = kernel.body[reducing].reduction().expect("partial results are of reductions");
            if matches!(reduction.form, Form::Total(_)) && kernel.is_over_everything(reducing) {
                continue;
            }
            let partials = self.arena_at(at);
            let [stride, columns, block, ahead] =
                [len, kernel.cols(), kernel.block, blocks].map(|size| self.fb.ins().iconst(types::I64, size as i64));
            match reduction.form {
                Form::Mean | Form::Variance => {
                    host::MomentsAhead { partials, stride, columns, block, from, to, ahead }
                        .call(&mut self.imports, &mut self.fb);
                }
                Form::Total(_) => {
                    let reduction = self.fb.ins().iconst(types::I64, reduction.number() as i64);
                    host::TotalsAhead { reduction, partials, stride, columns, block, from, to, ahead }
                        .call(&mut self.imports, &mut self.fb);
                }
            }
        }
    }

    /// The buffer of a reduction that ends after its kernel.
    fn result_of(&self, kernel: &Kernel, reducing: usize) -> BufferId {
        let is_computed = |buffer| self.program.fused.is_computed(buffer);
        kernel.buffer_of(Arg::Value(reducing), is_computed).expect("what ends after its kernel has a buffer")
    }

    /// Where the mean goes that comes with a variance, or null.
    fn mean_of_moments(&mut self, kernel: &Kernel, variance: usize) -> Value {
        let mean = (0..kernel.body.len()).find(|&index| kernel.moments(index) == Some(variance));
        match mean {
            Some(mean) => self.buffer(self.result_of(kernel, mean)),
            None => self.fb.ins().iconst(types::I64, 0),
        }
    }
}
