//! Kernels that run together: those of a group tile by tile, and a kernel that is in none by itself, as if its rows were the points.
//!
//! Products of few rows are cut by columns between threads: one block of rows would keep one thread busy with reading all of the
//! right operand. The tasks of a parallel region compute the product alone, and its end does what follows; the end of the region
//! before does what the group computes ahead of it. Tiles and products that are not kept lie meanwhile in the scratch of the ends of
//! regions, the first after the arena, which no task has for its own. An element depends on its row and column alone, so the bits
//! are those of any other cut.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

use super::entry::DriverEmitter;
use super::host::declared;
use super::lanes::constant_memory;
use super::matmul::Product;
use super::{Context, Numbers, kernel_signature};
use crate::microkernels::winograd::SIDE;
use crate::plan::{MergedAhead, Skinny, Task, Work};
use crate::types::Dim;

/// Points, or rows: the first and the one after the last.
pub(super) type Part = [Value; 2];

/// For each kernel of a run the product that it calls, if it does.
type Products = [Option<Product>];

impl DriverEmitter<'_, '_> {
    /// All of some kernels that run together, then the last stages of their reductions.
    pub(super) fn run(&mut self, run: Range<usize>) {
        let (fused, tiling) = (self.program.fused, &self.program.plan.tiling);
        if fused.loop_of(run.start).is_some() {
            return self.all_steps(&run);
        }
        let (first, points) = (run.start, self.points(&run));
        let zero = self.fb.ins().iconst(types::I64, 0);
        let products = self.products(&run);
        let ahead = products.iter().flatten().any(|product| product.squares.is_some());
        let prefetch = tiling.kernels[first].row_prefetch.as_ref();
        let at_once = prefetch.map_or(tiling.skinny_rows, |prefetch| prefetch.rows.min(tiling.skinny_rows));
        match products[..] {
            [None] => {
                self.blocks(first, None, [zero, points]);
                self.tick(first);
            }
            _ if !ahead && matches!(fused.kernels[first].row_count(), Dim::Fixed(rows) if rows <= at_once) => {
                self.tile(&run, &products, [zero, points]);
            }
            _ => self.packed_or_not(points, tiling.points(fused, first), products, &|emit, products, may_pack| {
                let packed = products.iter().flatten().any(Product::has_ahead);
                let sums = fused.points_of_sum(first).is_some();
                if may_pack && !packed && !sums {
                    return emit.tile(&run, products, [zero, points]);
                }
                for product in products.iter().flatten().filter(|product| product.has_ahead()) {
                    match &product.squares {
                        Some(squares) => emit.all_ahead(product, squares),
                        None => {
                            let cols = emit.fb.ins().iconst(types::I64, product.cols);
                            emit.pack(product, zero, cols);
                        }
                    }
                }
                emit.tiles(&run, products, [zero, points]);
            }),
        }
        for index in run.filter(|&index| !self.program.plan.kernels[index].partials.is_empty()) {
            self.finish(index, None);
            self.tick(index);
        }
    }

    /// One unit of a task.
    pub(super) fn unit(&mut self, task: Task, [unit, tile]: [Value; 2]) {
        let (fused, tiling) = (self.program.fused, &self.program.plan.tiling);
        let rows_of_point = if task.work == Work::Rows { fused.rows_of_point(task.kernel) } else { 1 };
        let size = (task.unit / rows_of_point) as i64;
        let lo = self.fb.ins().imul_imm_u(unit, size);
        let next = self.fb.ins().iadd_imm_u(lo, size);
        match task.work {
            Work::Pack => {
                let scratch = self.scratch();
                let product =
                    self.called_product(task.kernel, [scratch; 2]).expect("what is packed belongs to a product");
                let cols = self.fb.ins().iconst(types::I64, product.cols);
                let end = self.least(next, cols);
                match &product.squares {
                    Some(squares) => self.taps(&product, squares, [lo, end]),
                    None => self.pack(&product, lo, end),
                }
            }
            Work::Sums { .. } | Work::Fold => {
                let scratch = self.scratch();
                let product = self.called_product(task.kernel, [scratch; 2]).expect("what is added up is a product");
                let squares = product.squares.as_ref().expect("it is in the form of Winograd");
                if task.work == Work::Fold {
                    return self.fold(&product, squares, [lo, next]);
                }
                // Some rows of positions of a part, or all of them.
                let part = self.fb.ins().udiv_imm_u(lo, SIDE as i64);
                let before = self.fb.ins().imul_imm_u(part, SIDE as i64);
                let positions = [lo, next].map(|row| self.fb.ins().isub(row, before));
                let end = self.fb.ins().iadd_imm_u(part, 1);
                self.sums(&product, squares, [[part, end], positions]);
            }
            Work::Columns => self.columns(task.kernel, lo, next),
            Work::Member => self.member(task.kernel, [lo, next]),
            Work::Tile { part, .. } => self.part_of_tile(task.kernel, part, [lo, next], tile),
            Work::Rows => {
                let run = fused.run_of(task.kernel);
                let points = self.points(&run);
                let hi = self.least(next, points);
                if fused.loop_of(run.start).is_some() {
                    return self.steps_of_samples(&run, [lo, hi]);
                }
                let products = self.products(&run);
                match products[..] {
                    [None] => self.blocks(task.kernel, None, [lo, hi]),
                    _ => {
                        let few = tiling.skinny_points(fused, run.clone());
                        let sums = fused.points_of_sum(run.start).is_some();
                        let tiles = sums || size > tiling.points(fused, run.start) as i64;
                        self.packed_or_not(points, few, products, &|emit, products, _| match tiles {
                            true => emit.tiles(&run, products, [lo, hi]),
                            false => emit.tile(&run, products, [lo, hi]),
                        })
                    }
                }
                for index in run.filter(|&index| !self.program.plan.kernels[index].partials.is_empty()) {
                    if let Some(MergedAhead { blocks, .. }) = MergedAhead::of(fused, task, index) {
                        let rows_of_point = fused.rows_of_point(index) as i64;
                        let rows = [lo, hi].map(|point| self.fb.ins().imul_imm_u(point, rows_of_point));
                        self.merge_ahead(index, blocks, rows);
                    }
                }
            }
        }
    }

    /// How many points a run has.
    pub(super) fn points(&mut self, run: &Range<usize>) -> Value {
        let fused = self.program.fused;
        let of_group = fused.group_of(run.start).map(|group| group.points());
        let of_loop = fused.loop_of(run.start).map(|_| Dim::B);
        self.extent(of_group.or(of_loop).unwrap_or(fused.kernels[run.start].row_count()))
    }

    /// The products of the kernels of a run that are called.
    pub(super) fn products(&mut self, run: &Range<usize>) -> Vec<Option<Product>> {
        let scratch = self.scratch();
        run.clone().map(|index| self.called_product(index, [scratch; 2])).collect()
    }

    /// Some points, tile by tile. Where they are added up, all that belong to one sum and then those of the next.
    fn tiles(&mut self, run: &Range<usize>, products: &Products, [lo, hi]: Part) {
        let (fused, tiling) = (self.program.fused, &self.program.plan.tiling);
        let (zero, tile) = (self.fb.ins().iconst(types::I64, 0), tiling.points(fused, run.start) as i64);
        match fused.points_of_sum(run.start) {
            None => self.parts([lo, hi, zero], tile, &mut |emit, [lo, hi, _]| emit.tile(run, products, [lo, hi])),
            Some(sum) => self.parts([lo, hi, zero], sum as i64, &mut |emit, [lo, hi, _]| {
                emit.parts([lo, hi, zero], tile, &mut |emit, [lo, hi, _]| emit.tile(run, products, [lo, hi]));
            }),
        }
    }

    /// A tile: some points in one kernel after the other.
    pub(super) fn tile(&mut self, run: &Range<usize>, products: &Products, points: Part) {
        for (index, product) in run.clone().zip(products) {
            self.points_of(index, product.as_ref(), points);
        }
    }

    /// The points of a tile in one kernel: their product, then their blocks while they are in the cache.
    pub(super) fn points_of(&mut self, index: usize, product: Option<&Product>, points: Part) {
        if let Some(group) = self.program.fused.group_of(index).filter(|group| group.adds_up(index)) {
            let product = product.expect("what adds up over points is a product that is called");
            match group.points_of_sum() {
                Some(sum) => self.terms_of_product(product, sum, points),
                None => self.terms_of_all(index, product, points),
            }
            return self.tick(index);
        }
        let rows_of_point = self.program.fused.rows_of_point(index) as i64;
        let rows = match rows_of_point {
            1 => points,
            _ => points.map(|point| self.fb.ins().imul_imm_u(point, rows_of_point)),
        };
        self.rows_of(index, product, points[0], rows);
    }

    /// Some rows of a kernel, in the tile that begins with point `first`.
    fn rows_of(&mut self, index: usize, product: Option<&Product>, first: Value, rows: Part) {
        if let Some(product) = product {
            self.rows_of_product(product, first, rows);
        }
        self.blocks(index, Some(first), rows);
        self.tick(index);
    }

    /// Some rows of a kernel whose group has one tile, which all threads share: it lies in the scratch of the ends of regions.
    fn member(&mut self, index: usize, [lo, next]: Part) {
        let (fused, tiling) = (self.program.fused, &self.program.plan.tiling);
        let run = fused.run_of(index);
        let all = self.extent(fused.kernels[index].row_count());
        let hi = self.least(next, all);
        let points = self.points(&run);
        let (tiles, own) = (self.arena_at(self.program.plan.arena), self.scratch());
        let products = vec![self.called_product(index, [tiles, own])];
        let zero = self.fb.ins().iconst(types::I64, 0);
        let shared = self.ctx_with_tiles(tiles);
        let context = std::mem::replace(&mut self.ctx, shared);
        self.packed_or_not(points, tiling.skinny_points(fused, run), products, &|emit, products, _| {
            emit.rows_of(index, products[0].as_ref(), zero, [lo, hi]);
        });
        self.ctx = context;
    }

    /// A context with tiles elsewhere, on the stack.
    fn ctx_with_tiles(&mut self, tiles: Value) -> Value {
        let size = size_of::<Context>() as u32;
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        for at in (0..size as i32).step_by(8) {
            let word = match at {
                Context::TILES => tiles,
                _ => self.fb.ins().load(types::I64, constant_memory(), self.ctx, at),
            };
            self.fb.ins().stack_store(types::I64, word, slot, at);
        }
        self.fb.ins().stack_addr(types::I64, slot, 0)
    }

    /// The blocks of some rows, which are in the tile that begins with point `first`, or each by itself.
    pub(super) fn blocks(&mut self, index: usize, first: Option<Value>, [lo, hi]: Part) {
        let kernel = &self.program.fused.kernels[index];
        if self.program.fused.is_product_alone(kernel) && !self.program.plan.tiling.kernels[index].is_inline() {
            return;
        }
        let signature = kernel_signature(self.target, self.position.is_some());
        let (code, list) = self.kernels.calls[index];
        let number = Numbers::of(self.program.fused).kernel(code);
        let function = declared(&mut self.fb, number, signature, true);
        let table = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::TABLE);
        let list = self.fb.ins().iadd_imm_u(table, i64::from(list));
        // Partial results lie block by block.
        let number = match self.program.plan.kernels[index].partials.is_empty() {
            true => self.fb.ins().iconst(types::I64, 0),
            false => self.fb.ins().udiv_imm_u(lo, kernel.block as i64),
        };
        let mut block = |emit: &mut Self, [lo, hi, number]: [Value; 3]| {
            let position = emit.position;
            let arguments = [emit.ctx, lo, hi, number, list, first.unwrap_or(lo)].into_iter().chain(position);
            emit.fb.ins().call(function, &arguments.collect::<Vec<Value>>());
        };
        match kernel.row_count() {
            Dim::Fixed(rows) if rows <= kernel.block => block(self, [lo, hi, number]),
            _ => self.parts([lo, hi, number], kernel.block as i64, &mut block),
        }
    }

    /// A loop from one number to another in parts of so many, which are counted from a number on.
    pub(super) fn parts(
        &mut self,
        [from, to, number]: [Value; 3],
        by: i64,
        body: &mut dyn FnMut(&mut Self, [Value; 3]),
    ) {
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let lo = self.fb.append_block_param(head, types::I64);
        let block = self.fb.append_block_param(head, types::I64);
        self.fb.ins().jump(head, &[from.into(), number.into()]);
        self.fb.switch_to_block(head);
        let next = self.fb.ins().iadd_imm_u(lo, by);
        let whole = self.fb.ins().icmp(IntCC::SignedLessThan, next, to);
        let hi = self.fb.ins().select(whole, next, to);
        body(self, [lo, hi, block]);
        let next_block = self.fb.ins().iadd_imm_u(block, 1);
        let more = self.fb.ins().icmp(IntCC::SignedLessThan, next, to);
        self.fb.ins().brif(more, head, &[next.into(), next_block.into()], exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// Few points are not worth rearranging right operands for; the bits are the same. `body` is given the products as they are, or
    /// none of them rearranged, and whether there is a choice.
    fn packed_or_not(
        &mut self,
        points: Value,
        most: usize,
        products: Vec<Option<Product>>,
        body: &dyn Fn(&mut Self, &Products, bool),
    ) {
        if !products.iter().flatten().any(Product::has_ahead) {
            return body(self, &products, false);
        }
        let [few, many, exit] = [(); 3].map(|()| self.fb.create_block());
        let enough = self.fb.ins().icmp_imm_u(IntCC::SignedLessThanOrEqual, points, most as i64);
        self.fb.ins().brif(enough, few, &[], many, &[]);
        self.fb.switch_to_block(few);
        let unpacked = products.iter().map(|product| product.clone().map(Product::unpacked));
        body(self, &unpacked.collect::<Vec<_>>(), true);
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(many);
        body(self, &products, true);
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// All rows of a kernel's product, but only columns from `from`, a multiple of 32, to `to` or the last.
    fn columns(&mut self, index: usize, from: Value, to: Value) {
        let rows = self.extent(self.program.fused.kernels[index].row_count());
        let ends = self.arena_at(self.program.plan.arena);
        let product = self.called_product(index, [ends; 2]).expect("what is cut by columns is a product");
        let all = self.fb.ins().iconst(types::I64, product.cols);
        let to = self.least(to, all);
        let cols = self.fb.ins().isub(to, from);
        let before = self.fb.ins().imul_imm_u(from, 4 * product.right_steps[1]);
        let right = self.fb.ins().iadd(product.right.base, before);
        let before = self.fb.ins().imul_imm_u(from, 4);
        let result = self.fb.ins().iadd(product.result.base, before);
        self.call_product(&product, rows, (Some(from), cols), [product.left.base, right, result]);
    }

    /// Kernels between two products that are cut by columns, if their rows are few.
    pub(super) fn skinny(&mut self, Skinny { from, to, rows, follows }: Skinny) {
        let fused = self.program.fused;
        let count = self.extent(fused.kernels[from].row_count());
        let points = self.points(&fused.run_of(from));
        let [few, exit] = [(); 2].map(|()| self.fb.create_block());
        let is_skinny = self.fb.ins().icmp_imm_u(IntCC::SignedLessThanOrEqual, count, rows as i64);
        self.fb.ins().brif(is_skinny, few, &[], exit, &[]);
        self.fb.switch_to_block(few);
        let zero = self.fb.ins().iconst(types::I64, 0);
        let products = self.products(&(from..to));
        for (index, product) in (from..to).zip(products) {
            let done = follows && index == from;
            let product = product.filter(|_| !done).map(Product::unpacked);
            self.points_of(index, product.as_ref(), [zero, points]);
        }
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(exit);
    }
}
