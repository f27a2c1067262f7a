//! Products of few rows, which several threads cut by columns: one block of rows would keep one thread busy with reading all
//! of the right operand.
//!
//! The tasks of a parallel region compute the product alone, and its end does what follows; the end of the region before does what its
//! prologue computes. What is not kept lies meanwhile in the scratch of the ends of regions, the first behind the arena, which
//! no task has for its own. An element depends on its row and column alone, so the bits are those of any other cut.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::entry::DriverEmitter;
use crate::kernel::Kernel;
use crate::plan::Task;

impl DriverEmitter<'_, '_> {
    /// All rows of a kernel's product, but only columns from `from`, a multiple of 32, to `to` or the last.
    pub(super) fn columns(&mut self, index: usize, kernel: &Kernel, from: Value, to: Value) {
        let product = self.called_product(index, kernel).expect("what is cut by columns is a product");
        let plan = self.program.plan;
        let result = match plan.kernels[index].product {
            Some(at) => self.arena_at(plan.arena + at),
            None => product.result,
        };
        let left = match plan.kernels[index].left {
            Some((_, at)) => self.arena_at(plan.arena + at),
            None => product.left.0,
        };
        let rows = self.extent(kernel.row_count());
        let all = self.fb.ins().iconst(types::I64, product.cols);
        let to = self.least(to, all);
        let cols = self.fb.ins().isub(to, from);
        let before = self.fb.ins().imul_imm_u(from, 4 * product.right.2);
        let right = self.fb.ins().iadd(product.right.0, before);
        let before = self.fb.ins().imul_imm_u(from, 4);
        let result = self.fb.ins().iadd(result, before);
        self.call_product(&product, [rows, cols], [left, right, result]);
    }

    /// The blocks of a kernel if the rows are few: behind its product, which the tasks of the region have computed, or ahead of
    /// the tasks of a product whose prologue it is.
    pub(super) fn skinny(&mut self, task: Task) {
        let kernel = &self.program.fused.kernels[task.kernel];
        let rows = self.extent(kernel.row_count());
        let [few, exit] = [(); 2].map(|()| self.fb.create_block());
        let is_skinny = self.fb.ins().icmp_imm_u(IntCC::SignedLessThanOrEqual, rows, task.skinny as i64);
        self.fb.ins().brif(is_skinny, few, &[], exit, &[]);
        self.fb.switch_to_block(few);
        let zero = self.fb.ins().iconst(types::I64, 0);
        self.blocks(task.kernel, kernel, [zero, rows, zero]);
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(exit);
    }
}
