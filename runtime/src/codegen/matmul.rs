//! The products of kernels as calls of the microkernels: operands, what is rearranged ahead, and the rows or columns of a part.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::entry::DriverEmitter;
use super::host;
use crate::kernel::{Dot, Kernel};
use crate::types::Dim;

/// A product, ready to be called for some rows.
#[derive(Clone)]
pub(super) struct Product {
    /// Address and strides of the left operand.
    pub(super) left: (Value, i64, i64),
    /// Whether the left operand is scratch for some rows, which others overwrite.
    left_scratch: bool,
    /// Address and strides of the right operand.
    pub(super) right: (Value, i64, i64),
    /// Whether the right operand is rearranged first.
    pub(super) packed: Option<Value>,
    inner: Value,
    /// Terms that are added up in one go.
    piece: Value,
    pub(super) cols: i64,
    pub(super) result: Value,
    /// Whether the result is scratch for some rows, which others overwrite.
    scratch: bool,
    workspace: Value,
    /// Axes ahead of the rows, along which both operands change.
    batch: Option<Batch>,
    /// The loops over rows and terms, if the left operand is read in runs.
    nest: Option<Value>,
    /// Rows that are computed in one go, a power of two.
    at_once: i64,
}

/// Products that follow one another, each of operands of its own.
#[derive(Clone, Debug)]
struct Batch {
    /// How many rows each has.
    rows: Dim,
    /// The axes ahead of them, outermost first: the extent, and the steps of left and right operand.
    axes: Vec<(i64, [i64; 2])>,
}

impl DriverEmitter<'_, '_> {
    /// The product ahead of a kernel's blocks, unless they compute it themselves.
    pub(super) fn called_product(&mut self, index: usize, kernel: &Kernel) -> Option<Product> {
        let dot = kernel.dot.as_ref().filter(|_| !self.program.plan.tiling.kernels[index].is_inline())?;
        Some(self.product(index, kernel, dot))
    }

    fn product(&mut self, index: usize, kernel: &Kernel, dot: &Dot) -> Product {
        let plan = &self.program.plan.kernels[index];
        let left = match plan.left {
            Some((_, at)) => self.scratch_at(at),
            None => self.buffer(dot.a),
        };
        let right = self.buffer(dot.b);
        let inner = self.extent(dot.inner());
        let piece = self.fb.ins().iconst(types::I64, dot.order.piece as i64);
        let cols = kernel.cols() as i64;
        let (result, scratch) = match plan.product {
            Some(at) => (self.scratch_at(at), true),
            None => {
                let buffer = self.program.fused.dot_buffer(kernel).expect("what is not in scratch has a buffer");
                (self.buffer(buffer), false)
            }
        };
        let workspace = self.scratch_at(plan.workspace);
        let packed = plan.packed.map(|at| self.arena_at(at));
        let [a_steps, b_steps] = kernel.dot_steps();
        let left = self.moved(left, 4 * dot.a_at.constant);
        let right = self.moved(right, 4 * dot.b_at.constant);
        let right = (right, b_steps[0], b_steps[1]);
        let left = (left, a_steps[0], a_steps[1]);
        let batch = self.batch_of(kernel, dot);
        let nest = self.nest(kernel, dot);
        let at_once = self.program.plan.tiling.m_tile_of(kernel) as i64;
        Product {
            left,
            left_scratch: plan.left.is_some(),
            right,
            packed,
            inner,
            piece,
            cols,
            result,
            scratch,
            workspace,
            batch,
            nest,
            at_once,
        }
    }

    /// An address so many bytes further.
    fn moved(&mut self, address: Value, bytes: i64) -> Value {
        if bytes == 0 { address } else { self.fb.ins().iadd_imm_s(address, bytes) }
    }

    fn batch_of(&self, kernel: &Kernel, dot: &Dot) -> Option<Batch> {
        let (count, rows) = kernel.dot_rows();
        let axis = |axis: usize| (dot.axes[axis].factor() as i64, [dot.a_at.steps[axis], dot.b_at.steps[axis]]);
        (count > 0).then(|| Batch { rows, axes: (0..count).map(axis).collect() })
    }

    /// The same for products one after the other: each takes its own part of the rows.
    fn rows_of_products(&mut self, product: &Product, batch: &Batch, lo: Value, hi: Value) {
        let each = self.extent(batch.rows);
        let cols = self.fb.ins().iconst(types::I64, product.cols);
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let row = self.fb.append_block_param(head, types::I64);
        self.fb.ins().jump(head, &[lo.into()]);
        self.fb.switch_to_block(head);
        let number = self.fb.ins().udiv(row, each);
        let first = self.fb.ins().imul(number, each);
        let within = self.fb.ins().isub(row, first);
        let end = self.fb.ins().iadd(first, each);
        let end = self.least(end, hi);
        let rows = self.fb.ins().isub(end, row);
        let mut left = product.left.0;
        if product.nest.is_none() {
            let before = self.fb.ins().imul_imm_s(within, 4 * product.left.1);
            left = self.fb.ins().iadd(left, before);
        }
        let mut right = product.right.0;
        let mut rest = number;
        for (at, &(extent, [a, b])) in batch.axes.iter().enumerate().rev() {
            let coordinate = match at {
                0 => rest,
                _ => {
                    let next = self.fb.ins().udiv_imm_u(rest, extent);
                    let before = self.fb.ins().imul_imm_u(next, extent);
                    let coordinate = self.fb.ins().isub(rest, before);
                    rest = next;
                    coordinate
                }
            };
            let [a, b] = [a, b].map(|step| self.fb.ins().imul_imm_s(coordinate, 4 * step));
            left = self.fb.ins().iadd(left, a);
            right = self.fb.ins().iadd(right, b);
        }
        let before = self.rows_before(product, row, product.scratch);
        let before = self.fb.ins().imul_imm_u(before, 4 * product.cols);
        let result = self.fb.ins().iadd(product.result, before);
        match product.nest {
            Some(nest) => {
                let to = self.fb.ins().iadd(within, rows);
                self.call_runs(product, nest, [within, to], [left, right, result]);
            }
            None => self.call_product(product, [rows, cols], [left, right, result]),
        }
        let again = self.fb.ins().icmp(IntCC::SignedLessThan, end, hi);
        self.fb.ins().brif(again, head, &[end.into()], exit, &[]);
        self.fb.switch_to_block(exit);
    }

    pub(super) fn rows_of_product(&mut self, product: &Product, lo: Value, hi: Value) {
        if let Some(batch) = &product.batch {
            return self.rows_of_products(product, batch, lo, hi);
        }
        if let Some(nest) = product.nest {
            let before = self.rows_before(product, lo, product.scratch);
            let before = self.fb.ins().imul_imm_u(before, 4 * product.cols);
            let result = self.fb.ins().iadd(product.result, before);
            return self.call_runs(product, nest, [lo, hi], [product.left.0, product.right.0, result]);
        }
        let rows = self.fb.ins().isub(hi, lo);
        let before = self.rows_before(product, lo, product.left_scratch);
        let before = self.fb.ins().imul_imm_u(before, 4 * product.left.1);
        let left = self.fb.ins().iadd(product.left.0, before);
        let before = self.rows_before(product, lo, product.scratch);
        let before = self.fb.ins().imul_imm_u(before, 4 * product.cols);
        let result = self.fb.ins().iadd(product.result, before);
        match product.packed {
            Some(packed) => {
                let isa = self.isa_number();
                let numbers = [product.cols, product.left.1, product.left.2];
                let [cols, a_row, a_col] = numbers.map(|value| self.fb.ins().iconst(types::I64, value));
                let (inner, piece, workspace) = (product.inner, product.piece, product.workspace);
                let (a, c, ldc) = (left, result, cols);
                host::PackedProduct { isa, rows, cols, inner, piece, a, a_row, a_col, packed, c, ldc, workspace }
                    .call(&mut self.imports, &mut self.fb);
            }
            None => {
                let cols = self.fb.ins().iconst(types::I64, product.cols);
                self.call_product(product, [rows, cols], [left, product.right.0, result]);
            }
        }
    }

    /// How many rows lie ahead of row `lo`: all, or in scratch those that are computed in one go with it.
    fn rows_before(&mut self, product: &Product, lo: Value, scratch: bool) -> Value {
        if scratch { self.fb.ins().band_imm_s(lo, product.at_once - 1) } else { lo }
    }

    /// Some rows of a product in runs; its operands as they begin, its result with the first of these rows.
    fn call_runs(&mut self, product: &Product, nest: Value, [lo, hi]: [Value; 2], [a, b, c]: [Value; 3]) {
        let (isa, workspace) = (self.isa_number(), product.workspace);
        host::ProductInRuns { isa, nest, lo, hi, a, b, c, workspace }.call(&mut self.imports, &mut self.fb);
    }

    /// A part of a product whose right operand is not rearranged ahead: its extents, and where its operands and it begin.
    pub(super) fn call_product(&mut self, product: &Product, [rows, cols]: [Value; 2], [a, b, c]: [Value; 3]) {
        let isa = self.isa_number();
        let numbers = [product.left.1, product.left.2, product.right.1, product.right.2, product.cols];
        let [a_row, a_col, b_row, b_col, ldc] = numbers.map(|value| self.fb.ins().iconst(types::I64, value));
        let (inner, piece, workspace) = (product.inner, product.piece, product.workspace);
        host::Product { isa, rows, cols, inner, piece, a, a_row, a_col, b, b_row, b_col, c, ldc, workspace }
            .call(&mut self.imports, &mut self.fb);
    }

    /// A batch of up to `most` rows is not worth rearranging the right operand for; the bits are the same. `may_pack` is given
    /// the product either way, `never` one whose right operand is read where it lies.
    pub(super) fn packed_or_not(
        &mut self,
        rows: Value,
        most: usize,
        product: Product,
        may_pack: impl Fn(&mut Self, &Product),
        never: impl Fn(&mut Self, &Product),
    ) {
        if product.packed.is_none() {
            return never(self, &product);
        }
        let [few, many, exit] = [(); 3].map(|()| self.fb.create_block());
        let enough = self.fb.ins().icmp_imm_u(IntCC::SignedLessThanOrEqual, rows, most as i64);
        self.fb.ins().brif(enough, few, &[], many, &[]);
        self.fb.switch_to_block(few);
        may_pack(self, &Product { packed: None, ..product.clone() });
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(many);
        may_pack(self, &product);
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// Rearranges some columns of the right operand.
    pub(super) fn pack(&mut self, product: &Product, from: Value, to: Value) {
        let packed = product.packed.expect("there is room for what is packed");
        let isa = self.isa_number();
        let (inner, piece, (b, row, col)) = (product.inner, product.piece, product.right);
        let [b_row, b_col, cols] = [row, col, product.cols].map(|value| self.fb.ins().iconst(types::I64, value));
        host::PackRight { isa, cols, inner, piece, b, b_row, b_col, from, to, packed }
            .call(&mut self.imports, &mut self.fb);
    }

    fn isa_number(&mut self) -> Value {
        self.fb.ins().iconst(types::I64, self.program.plan.tiling.machine.isa as i64)
    }
}
