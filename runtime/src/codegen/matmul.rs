//! The products of kernels as calls of the microkernels: operands, what is rearranged ahead, and the rows or columns of a part.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

use super::entry::{DriverEmitter, Place};
use super::groups::Part;
use super::lanes::constant_memory;
use super::runs::Loops;
use super::winograd::Squares;
use super::{Context, host};
use crate::kernel::{Dot, Kernel, Triangle, TrianglePart};
use crate::plan::ProductRows;
use crate::tiling::KernelTiling;
use crate::types::Dim;

/// A product, ready to be called for some rows.
#[derive(Clone)]
pub(super) struct Product {
    pub(super) left: Place,
    /// From row to row, and from term to term.
    pub(super) left_steps: [i64; 2],
    pub(super) right: Place,
    /// From term to term, and from column to column.
    pub(super) right_steps: [i64; 2],
    /// Where the right operand is rearranged first, or lies so already.
    pub(super) packed: Option<Value>,
    /// Whether that is kept from run to run.
    is_kept: bool,
    /// Where it may lie so already, among what is kept from run to run.
    kept: Option<usize>,
    inner: Value,
    /// Terms that are added up in one go.
    piece: Value,
    pub(super) cols: i64,
    pub(super) result: Place,
    /// From row to row of the result.
    result_step: i64,
    pub(super) workspace: Value,
    /// Axes ahead of the rows, along which both operands change.
    batch: Option<Batch>,
    /// Which of its operands are prefetched for the next sample.
    next_sample: [bool; 2],
    /// The loops over rows and terms, if the left operand is read in runs.
    nest: Option<Loops>,
    /// The windows, if they are computed in the form of Winograd.
    pub(super) squares: Option<Squares>,
    /// What there is of it, if a part is left out.
    triangle: Option<Triangle>,
    /// Where matrices begin of which its rows are prefetched meanwhile.
    pub(super) prefetched: Vec<Value>,
}

impl Product {
    /// The same without rearranging the right operand first, if there is a choice.
    pub(super) fn unpacked(self) -> Product {
        if self.squares.is_some() { self } else { Product { packed: None, ..self } }
    }

    /// Whether something has to be made ahead of its rows.
    pub(super) fn has_ahead(&self) -> bool {
        self.packed.is_some() && !self.is_kept
    }
}

/// Products that follow one another, each of operands of its own.
#[derive(Clone, Debug)]
struct Batch {
    /// How many rows each has.
    rows: Dim,
    /// The axes ahead of them, outermost first: the extent, and the steps of left and right operand.
    axes: Vec<(i64, [i64; 2])>,
    /// The steps of the result along them, where its rows do not follow one another.
    scattered: Option<Vec<i64>>,
}

impl DriverEmitter<'_, '_> {
    /// The product ahead of a kernel's blocks, unless they compute it themselves, with tiles, and products that are not kept, in these
    /// scratches.
    pub(super) fn called_product(&mut self, index: usize, [tiles, scratch]: [Value; 2]) -> Option<Product> {
        let (fused, plan) = (self.program.fused, self.program.plan);
        let kernel = &fused.kernels[index];
        let dot = kernel.dot.as_ref().filter(|_| !plan.tiling.kernels[index].is_inline())?;
        let memory = &plan.kernels[index];
        let [a_position, b_position] = dot.positions;
        let operands = [(dot.a, dot.a_at.constant, a_position), (dot.b, dot.b_at.constant, b_position)];
        let [left, right] = operands.map(|(operand, constant, position)| {
            let place = self.place(operand, tiles);
            let base = self.moved(place.base, 4 * constant);
            Place { base: self.at_position(base, position), ..place }
        });
        let inner = self.extent(dot.inner());
        let piece = self.fb.ins().iconst(types::I64, dot.order.piece as i64);
        let cols = kernel.cols() as i64;
        let part = 4 * fused.rows_of_point(index) as i64 * cols;
        let result = match memory.product {
            Some(ProductRows::Scratch(at)) => Place { base: self.moved(scratch, 4 * at as i64), part },
            Some(ProductRows::Arena(at)) => Place { base: self.arena_at(at), part },
            Some(ProductRows::Tile(buffer)) => self.place(buffer, tiles),
            None => {
                let buffer = fused.dot_buffer(kernel).expect("what is not in scratch has a buffer");
                let place = self.place(buffer, tiles);
                let access = kernel.scattered_product().map(|write| &write.access);
                let base = self.moved(place.base, access.map_or(0, |access| 4 * access.at.constant));
                Place { base: self.at_position(base, access.map_or(0, |access| access.position)), ..place }
            }
        };
        let result_step = kernel.scattered_product().map_or(cols, |write| write.access.at.steps[kernel.rows - 1]);
        let own = self.scratch();
        let workspace = self.moved(own, 4 * memory.workspace as i64);
        let taps = memory.kept.filter(|_| dot.winograd.is_some());
        let packed = match taps {
            Some(at) => Some(self.prepared_at(at)),
            None => memory.packed.map(|at| self.arena_at(at)),
        };
        let [left_steps, right_steps] = kernel.dot_steps();
        let batch = self.batch_of(kernel, dot);
        let squares = dot.winograd.as_ref().map(|winograd| self.windows(winograd));
        let KernelTiling { row_prefetch, sample_prefetch, window_prefetch, .. } = &plan.tiling.kernels[index];
        let of_rows = row_prefetch.iter().flat_map(|prefetch| &prefetch.matrices);
        let of_windows = window_prefetch.iter().flat_map(|prefetch| &prefetch.matrices);
        let prefetched = of_rows.chain(of_windows).map(|&buffer| self.place(buffer, tiles).base).collect();
        let read = plan.tiling.kernels[index].runs_left();
        let nest = read.and_then(|read| self.nest(kernel, dot, read));
        Some(Product {
            left,
            left_steps,
            right,
            right_steps,
            packed,
            is_kept: taps.is_some(),
            kept: memory.kept.filter(|_| taps.is_none()),
            inner,
            piece,
            cols,
            result,
            result_step,
            workspace,
            batch,
            next_sample: sample_prefetch.map_or([false; 2], |prefetch| prefetch.operands),
            nest,
            squares,
            triangle: dot.triangle,
            prefetched,
        })
    }

    fn zero(&mut self) -> Value {
        self.fb.ins().iconst(types::I64, 0)
    }

    /// An address so many bytes further.
    fn moved(&mut self, address: Value, bytes: i64) -> Value {
        if bytes == 0 { address } else { self.fb.ins().iadd_imm_s(address, bytes) }
    }

    /// Where the first point of all would be, if the tile begins with this one.
    pub(super) fn start(&mut self, place: Place, first: Value) -> Value {
        match place.part {
            0 => place.base,
            part => {
                let before = self.fb.ins().imul_imm_u(first, part);
                self.fb.ins().isub(place.base, before)
            }
        }
    }

    fn batch_of(&self, kernel: &Kernel, dot: &Dot) -> Option<Batch> {
        let (count, rows) = kernel.dot_rows();
        let axis = |axis: usize| (dot.axes[axis].factor() as i64, [dot.a_at.steps[axis], dot.b_at.steps[axis]]);
        let scattered = kernel.scattered_product().map(|write| write.access.at.steps[..count].to_vec());
        (count > 0).then(|| Batch { rows, axes: (0..count).map(axis).collect(), scattered })
    }

    /// The position of one of several products along the axes ahead of the rows, and where its operands begin.
    fn operands_of(
        &mut self,
        batch: &Batch,
        number: Value,
        [mut left, mut right]: [Value; 2],
    ) -> (Vec<Value>, [Value; 2]) {
        let mut rest = number;
        let mut position = vec![number; batch.axes.len()];
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
            position[at] = coordinate;
            let [a, b] = [a, b].map(|step| self.fb.ins().imul_imm_s(coordinate, 4 * step));
            left = self.fb.ins().iadd(left, a);
            right = self.fb.ins().iadd(right, b);
        }
        (position, [left, right])
    }

    /// Where a row of one of several products begins: its number among all, and among those of its own.
    fn row_of_result(
        &mut self,
        product: &Product,
        batch: &Batch,
        mut result: Value,
        (position, row, within): (&[Value], Value, Value),
    ) -> Value {
        match &batch.scattered {
            None => {
                let before = self.fb.ins().imul_imm_u(row, 4 * product.cols);
                result = self.fb.ins().iadd(result, before);
            }
            Some(steps) => {
                let own = (within, product.result_step);
                for (coordinate, step) in position.iter().copied().zip(steps.iter().copied()).chain([own]) {
                    let before = self.fb.ins().imul_imm_s(coordinate, 4 * step);
                    result = self.fb.ins().iadd(result, before);
                }
            }
        }
        result
    }

    /// The terms of a tile of one of several products, which are those of the points from `lo` on: they are added to those before them.
    /// A product has `all` of them together.
    pub(super) fn terms_of_product(&mut self, product: &Product, all: usize, [lo, hi]: Part) {
        let batch = product.batch.as_ref().expect("it is one of several");
        let starts = [product.left, product.right].map(|place| self.start(place, lo));
        let number = self.fb.ins().udiv_imm_u(lo, all as i64);
        let first = self.fb.ins().imul_imm_u(number, all as i64);
        let within = self.fb.ins().isub(lo, first);
        let (position, starts) = self.operands_of(batch, number, starts);
        let steps = [product.left_steps[1], product.right_steps[0]];
        let [left, right] = [0, 1].map(|side| {
            let before = self.fb.ins().imul_imm_s(within, 4 * steps[side]);
            self.fb.ins().iadd(starts[side], before)
        });
        let rows = self.extent(batch.rows);
        let row = self.fb.ins().imul(number, rows);
        let zero = self.zero();
        let result = self.row_of_result(product, batch, product.result.base, (&position, row, zero));
        let triangle = product.triangle.unwrap_or(Triangle { part: TrianglePart::Neither, offset: 0 });
        let mut offset = self.fb.ins().iconst(types::I64, triangle.offset);
        if matches!(triangle.part, TrianglePart::TermsTo | TrianglePart::TermsFrom) {
            // Positions of terms are counted from the first of the tile.
            offset = self.fb.ins().isub(offset, within);
        }
        let inner = self.fb.ins().isub(hi, lo);
        let cols = self.fb.ins().iconst(types::I64, product.cols);
        let part = Product { inner, ..product.clone() };
        self.call_part(&part, (triangle.part, offset, within), [rows, cols], [left, right, result]);
    }

    /// Some rows of products that follow one another: each takes its own part of them.
    fn rows_of_products(&mut self, product: &Product, batch: &Batch, [lo, hi]: Part, starts: [Value; 3]) {
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
        let (position, [mut left, right]) = self.operands_of(batch, number, [starts[0], starts[1]]);
        if product.nest.is_none() {
            let before = self.fb.ins().imul_imm_s(within, 4 * product.left_steps[0]);
            left = self.fb.ins().iadd(left, before);
        }
        self.prefetch_next_sample(product, batch, [rows, cols], [left, right]);
        let result = self.row_of_result(product, batch, starts[2], (&position, row, within));
        match &product.nest {
            Some(nest) => {
                let to = self.fb.ins().iadd(within, rows);
                let [left, right] = self.limit(nest, &position, [left, right]);
                self.call_runs(product, nest, [within, to], [left, right, result]);
            }
            None => match product.triangle {
                Some(triangle) => {
                    let (offset, adds) = (self.fb.ins().iadd_imm_s(within, triangle.offset), self.zero());
                    let part = (triangle.part, offset, adds);
                    self.call_part(product, part, [rows, cols], [left, right, result]);
                }
                None => self.call_product(product, rows, (None, cols), [left, right, result]),
            },
        }
        let more = self.fb.ins().icmp(IntCC::SignedLessThan, end, hi);
        self.fb.ins().brif(more, head, &[end.into()], exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// Asks for the operands of the same product of the next sample: past the last one that does no harm.
    fn prefetch_next_sample(&mut self, product: &Product, batch: &Batch, extents: [Value; 2], operands: [Value; 2]) {
        let steps = [product.left_steps[0], product.right_steps[1]];
        let bytes = self.fb.ins().imul_imm_u(product.inner, 4);
        for side in (0..2).filter(|&side| product.next_sample[side]) {
            let address = self.moved(operands[side], 4 * batch.axes[0].1[side]);
            let (step, rows) = (self.fb.ins().iconst(types::I64, 4 * steps[side]), extents[side]);
            host::PrefetchRows { address, step, rows, bytes }.call(&mut self.imports, &mut self.fb);
        }
    }

    /// Some rows of a product, in the tile that begins with point `first`.
    pub(super) fn rows_of_product(&mut self, product: &Product, first: Value, [lo, hi]: Part) {
        let starts = [product.left, product.right, product.result].map(|place| self.start(place, first));
        if let Some(squares) = &product.squares {
            let before = self.fb.ins().imul_imm_u(lo, 4 * product.cols);
            let result = self.fb.ins().iadd(starts[2], before);
            return self.rows_of_windows(product, squares, [lo, hi], [starts[0], starts[1], result]);
        }
        if let Some(batch) = &product.batch {
            return self.rows_of_products(product, batch, [lo, hi], starts);
        }
        if let Some(nest) = &product.nest {
            let before = self.fb.ins().imul_imm_u(lo, 4 * product.cols);
            let result = self.fb.ins().iadd(starts[2], before);
            let [left, right] = self.limit(nest, &[], [starts[0], starts[1]]);
            return self.call_runs(product, nest, [lo, hi], [left, right, result]);
        }
        let rows = self.fb.ins().isub(hi, lo);
        let before = self.fb.ins().imul_imm_u(lo, 4 * product.left_steps[0]);
        let left = self.fb.ins().iadd(starts[0], before);
        let before = self.fb.ins().imul_imm_u(lo, 4 * product.cols);
        let result = self.fb.ins().iadd(starts[2], before);
        if !product.prefetched.is_empty() {
            return self.product_and_prefetch(product, [lo, rows], [left, starts[1], result]);
        }
        match product.packed {
            Some(packed) => {
                let isa = self.isa_number();
                let numbers = [product.cols, product.left_steps[0], product.left_steps[1]];
                let [cols, a_row, a_col] = numbers.map(|value| self.fb.ins().iconst(types::I64, value));
                let (inner, piece, workspace) = (product.inner, product.piece, product.workspace);
                let (a, c, ldc) = (left, result, cols);
                host::PackedProduct { isa, rows, cols, inner, piece, a, a_row, a_col, packed, c, ldc, workspace }
                    .call(&mut self.imports, &mut self.fb);
            }
            None => {
                let cols = self.fb.ins().iconst(types::I64, product.cols);
                self.call_product(product, rows, (None, cols), [left, starts[1], result]);
            }
        }
    }

    /// Where some rows of matrices begin that are prefetched, written down on the stack; and how many matrices there are.
    pub(super) fn prefetched(&mut self, product: &Product, lo: Value) -> [Value; 2] {
        let before = self.fb.ins().imul_imm_u(lo, 4 * product.cols);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * product.prefetched.len().max(1) as u32, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        for (at, &matrix) in (0..).step_by(8).zip(&product.prefetched) {
            let start = self.fb.ins().iadd(matrix, before);
            self.fb.ins().stack_store(types::I64, start, slot, at);
        }
        let prefetched = self.fb.ins().stack_addr(types::I64, slot, 0);
        [prefetched, self.fb.ins().iconst(types::I64, product.prefetched.len() as i64)]
    }

    /// Some rows of a product that prefetches as many of other matrices meanwhile.
    fn product_and_prefetch(&mut self, product: &Product, [lo, rows]: [Value; 2], [a, b, c]: [Value; 3]) {
        let [prefetched, matrices] = self.prefetched(product, lo);
        let isa = self.isa_number();
        let ([a_row, a_col], [b_row, b_col]) = (product.left_steps, product.right_steps);
        let numbers = [product.cols, a_row, a_col, b_row, b_col];
        let [cols, a_row, a_col, b_row, b_col] = numbers.map(|value| self.fb.ins().iconst(types::I64, value));
        let packed = product.packed.unwrap_or_else(|| self.zero());
        let (inner, piece, ldc, workspace) = (product.inner, product.piece, cols, product.workspace);
        host::ProductAndPrefetch {
            isa,
            rows,
            cols,
            inner,
            piece,
            a,
            a_row,
            a_col,
            b,
            b_row,
            b_col,
            packed,
            c,
            ldc,
            prefetched,
            matrices,
            workspace,
        }
        .call(&mut self.imports, &mut self.fb);
    }

    /// Some rows of a product in runs; its operands as they begin, its result with the first of these rows.
    fn call_runs(&mut self, product: &Product, nest: &Loops, [lo, hi]: [Value; 2], [a, b, c]: [Value; 3]) {
        let (isa, nest, workspace) = (self.isa_number(), self.address(nest), product.workspace);
        host::ProductInRuns { isa, nest, lo, hi, a, b, c, workspace }.call(&mut self.imports, &mut self.fb);
    }

    /// A part of a product whose right operand is not rearranged in this run: its rows, its columns from one on, if that is not the
    /// first, and where its operands and it begin.
    pub(super) fn call_product(
        &mut self,
        product: &Product,
        rows: Value,
        (from, cols): (Option<Value>, Value),
        [a, b, c]: [Value; 3],
    ) {
        let isa = self.isa_number();
        let ([a_row, a_col], [b_row, b_col]) = (product.left_steps, product.right_steps);
        let numbers = [a_row, a_col, b_row, b_col, product.result_step];
        let [a_row, a_col, b_row, b_col, ldc] = numbers.map(|value| self.fb.ins().iconst(types::I64, value));
        let (inner, piece, workspace) = (product.inner, product.piece, product.workspace);
        if let Some(at) = product.kept {
            let packed = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::PACKED);
            let [at, all] = [at as i64, product.cols].map(|value| self.fb.ins().iconst(types::I64, value));
            let from = from.unwrap_or_else(|| self.fb.ins().iconst(types::I64, 0));
            return host::KeptProduct {
                isa,
                rows,
                all,
                from,
                cols,
                inner,
                piece,
                a,
                a_row,
                a_col,
                b,
                b_row,
                b_col,
                packed,
                at,
                c,
                ldc,
                workspace,
            }
            .call(&mut self.imports, &mut self.fb);
        }
        host::Product { isa, rows, cols, inner, piece, a, a_row, a_col, b, b_row, b_col, c, ldc, workspace }
            .call(&mut self.imports, &mut self.fb);
    }

    /// Some of the terms of a product: they are added to what those before them gave, if there are any.
    pub(super) fn call_terms(&mut self, product: &Product, [lo, hi]: Part, extents: [Value; 2], starts: [Value; 3]) {
        let (zero, inner) = (self.zero(), self.fb.ins().isub(hi, lo));
        let part = Product { inner, ..product.clone() };
        self.call_part(&part, (TrianglePart::Neither, zero, lo), extents, starts);
    }

    /// The same of a product of which a part is left out. It is added to what is there unless `adds` is 0.
    fn call_part(
        &mut self,
        product: &Product,
        (part, offset, adds): (TrianglePart, Value, Value),
        [rows, cols]: [Value; 2],
        [a, b, c]: [Value; 3],
    ) {
        let isa = self.isa_number();
        let ([a_row, a_col], [b_row, b_col]) = (product.left_steps, product.right_steps);
        let numbers = [a_row, a_col, b_row, b_col, product.result_step, part as i64];
        let [a_row, a_col, b_row, b_col, ldc, part] = numbers.map(|value| self.fb.ins().iconst(types::I64, value));
        let (inner, piece, workspace) = (product.inner, product.piece, product.workspace);
        host::ProductInPart {
            isa,
            rows,
            cols,
            inner,
            piece,
            a,
            a_row,
            a_col,
            b,
            b_row,
            b_col,
            c,
            ldc,
            part,
            offset,
            adds,
            workspace,
        }
        .call(&mut self.imports, &mut self.fb);
    }

    /// Rearranges some columns of the right operand.
    pub(super) fn pack(&mut self, product: &Product, from: Value, to: Value) {
        let packed = product.packed.expect("there is room for what is packed");
        let isa = self.isa_number();
        let (inner, piece, b, [row, col]) = (product.inner, product.piece, product.right.base, product.right_steps);
        let [b_row, b_col, cols] = [row, col, product.cols].map(|value| self.fb.ins().iconst(types::I64, value));
        host::PackRight { isa, cols, inner, piece, b, b_row, b_col, from, to, packed }
            .call(&mut self.imports, &mut self.fb);
    }

    pub(super) fn isa_number(&mut self) -> Value {
        self.fb.ins().iconst(types::I64, self.program.plan.tiling.machine.isa as i64)
    }
}
