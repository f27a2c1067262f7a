//! Loops over steps: the kernels of a body one after the other, for each position.
//!
//! The code is that of one body, however many steps there are; a loop in a body is one in its code. What a right operand of a product is
//! rearranged to serves all steps. Where samples have nothing to do with one another, some of them take all steps while what they pass
//! on is in a cache.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::entry::DriverEmitter;
use super::groups::Part;
use super::matmul::Product;
use crate::kernel::LoopPart;
use crate::types::Dim;

impl DriverEmitter<'_, '_> {
    /// All steps of a loop that is in no other.
    pub(super) fn all_steps(&mut self, run: &Range<usize>) {
        let (fused, tiling) = (self.program.fused, &self.program.plan.tiling);
        let number = fused.loops_around(run.start).last().expect("it is a loop");
        let zero = self.fb.ins().iconst(types::I64, 0);
        for product in self.products(run).iter().flatten().filter(|product| product.has_ahead()) {
            let cols = self.fb.ins().iconst(types::I64, product.cols);
            self.pack(product, zero, cols);
        }
        match fused.loops[number].rows {
            Some(_) => {
                let samples = self.extent(Dim::B);
                let most = tiling.loops[number].samples as i64;
                self.parts([zero, samples, zero], most, &mut |emit, [lo, hi, _]| emit.steps_of_samples(run, [lo, hi]));
            }
            None => self.steps(number, &|emit, index, product| emit.step_of_kernel(index, product)),
        }
    }

    /// All steps of a loop that is in no other, for some samples.
    pub(super) fn steps_of_samples(&mut self, run: &Range<usize>, samples: Part) {
        let number = self.program.fused.loops_around(run.start).last().expect("it is a loop");
        self.steps(number, &|emit, index, product| emit.points_of(index, product, samples));
    }

    /// Emits `body` for each kernel of a loop, at every position, in the order of the loop.
    fn steps(&mut self, number: usize, body: &dyn Fn(&mut Self, usize, Option<&Product>)) {
        let fused = self.program.fused;
        let known = &fused.loops[number];
        let to = known.last() as i64;
        let (from, by) = if known.reverse { (known.steps as i64 - 1, -1) } else { (0, 1) };
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let position = self.fb.append_block_param(head, types::I64);
        let from = self.fb.ins().iconst(types::I64, from);
        self.fb.ins().jump(head, &[from.into()]);
        self.fb.switch_to_block(head);
        // A kernel has the position of the innermost loop that it is in.
        let around = self.position.replace(position);
        let parts = fused.parts_of_loop(number);
        let scratch = self.scratch();
        let product = |part: &LoopPart| match *part {
            LoopPart::Kernel(index) => self.called_product(index, [scratch; 2]),
            LoopPart::Loop(_) => None,
        };
        let products: Vec<Option<Product>> = parts.iter().map(product).collect();
        for (part, product) in parts.into_iter().zip(products) {
            match part {
                LoopPart::Kernel(index) => self.unless_idle(index, |emit| body(emit, index, product.as_ref())),
                LoopPart::Loop(inner) => self.steps(inner, body),
            }
        }
        self.position = around;
        let next = self.fb.ins().iadd_imm_s(position, by);
        let done = self.fb.ins().icmp_imm_s(IntCC::Equal, position, to);
        self.fb.ins().brif(done, exit, &[], head, &[next.into()]);
        self.fb.switch_to_block(exit);
    }

    /// Emits what a kernel does, which in a loop may be nothing at the last step.
    pub(super) fn unless_idle(&mut self, index: usize, body: impl FnOnce(&mut Self)) {
        let run = self.program.fused.loop_of(index).filter(|run| run.is_idle(index));
        let Some((run, position)) = run.zip(self.position) else { return body(self) };
        let (some, none) = (self.fb.create_block(), self.fb.create_block());
        let is_last = self.fb.ins().icmp_imm_s(IntCC::Equal, position, run.last() as i64);
        self.fb.ins().brif(is_last, none, &[], some, &[]);
        self.fb.switch_to_block(some);
        body(self);
        self.fb.ins().jump(none, &[]);
        self.fb.switch_to_block(none);
    }

    /// One step of a kernel of which other kernels may need all rows, with the last stages of its reductions.
    fn step_of_kernel(&mut self, index: usize, product: Option<&Product>) {
        let (fused, tiling) = (self.program.fused, &self.program.plan.tiling);
        let zero = self.fb.ins().iconst(types::I64, 0);
        let rows = self.extent(fused.kernels[index].row_count());
        match product {
            None => self.blocks(index, None, [zero, rows]),
            Some(product) => {
                self.parts([zero, rows, zero], tiling.points(fused, index) as i64, &mut |emit, [lo, hi, _]| {
                    emit.rows_of_product(product, lo, [lo, hi]);
                    emit.blocks(index, Some(lo), [lo, hi]);
                })
            }
        }
        if !self.program.plan.kernels[index].partials.is_empty() {
            self.finish(index, None);
        }
        self.tick(index);
    }

    /// An address so many elements further for each position.
    pub(super) fn at_position(&mut self, address: Value, elements: i64) -> Value {
        match self.position.filter(|_| elements != 0) {
            None => address,
            Some(position) => {
                let before = self.fb.ins().imul_imm_s(position, 4 * elements);
                self.fb.ins().iadd(address, before)
            }
        }
    }
}
