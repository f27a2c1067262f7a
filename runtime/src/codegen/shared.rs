//! Groups whose tiles all threads share: a part of a tile in one kernel, cut by columns or rows of its product, or by blocks of what
//! follows that.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::entry::DriverEmitter;
use super::groups::Part;
use super::matmul::Product;
use crate::plan::TilePart;

impl DriverEmitter<'_, '_> {
    /// Some columns or rows of a kernel in the tile of this number.
    pub(super) fn part_of_tile(&mut self, index: usize, part: TilePart, [from, next]: Part, tile: Value) {
        let points = self.tile_of_points(index, tile);
        let rows = self.rows_of_tile(index, points);
        if part == TilePart::Columns {
            let scratch = self.scratch();
            let product = self.called_product(index, [scratch; 2]).expect("columns are those of a product");
            let all = self.fb.ins().iconst(types::I64, product.cols);
            let to = self.least(next, all);
            return self.part_of_product(index, &product, points, [rows, [from, to]]);
        }
        // The last tile has fewer rows.
        let [from, next] = [from, next].map(|row| self.fb.ins().iadd(rows[0], row));
        let to = self.least(next, rows[1]);
        let [some, exit] = [(); 2].map(|()| self.fb.create_block());
        let any = self.fb.ins().icmp(IntCC::SignedLessThan, from, to);
        self.fb.ins().brif(any, some, &[], exit, &[]);
        self.fb.switch_to_block(some);
        if part == TilePart::Rows {
            let scratch = self.scratch();
            let product = self.called_product(index, [scratch; 2]).expect("these rows are those of a product");
            let zero = self.fb.ins().iconst(types::I64, 0);
            let all = self.fb.ins().iconst(types::I64, product.cols);
            self.part_of_product(index, &product, points, [[from, to], [zero, all]]);
        } else {
            self.blocks(index, Some(points[0]), [from, to]);
        }
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// The points of a tile.
    fn tile_of_points(&mut self, index: usize, tile: Value) -> Part {
        let (fused, tiling) = (self.program.fused, &self.program.plan.tiling);
        let run = fused.run_of(index);
        let points = tiling.points(fused, run.start) as i64;
        let lo = self.fb.ins().imul_imm_u(tile, points);
        let next = self.fb.ins().iadd_imm_u(lo, points);
        let all = self.points(&run);
        [lo, self.least(next, all)]
    }

    /// The rows of a kernel in a tile: those of its points, or all if it adds up over them.
    fn rows_of_tile(&mut self, index: usize, points: Part) -> Part {
        let fused = self.program.fused;
        if fused.group_of(index).is_some_and(|group| group.adds_up(index)) {
            return [self.fb.ins().iconst(types::I64, 0), self.extent(fused.kernels[index].row_count())];
        }
        points.map(|point| self.fb.ins().imul_imm_u(point, fused.rows_of_point(index) as i64))
    }

    /// The terms of a tile of a product that adds up over all points.
    pub(super) fn terms_of_all(&mut self, index: usize, product: &Product, points: Part) {
        let rows = self.rows_of_tile(index, points);
        let zero = self.fb.ins().iconst(types::I64, 0);
        let all = self.fb.ins().iconst(types::I64, product.cols);
        self.part_of_product(index, product, points, [rows, [zero, all]]);
    }

    /// Some rows and columns of a product, in a tile: of the terms of its points, if it adds up over them.
    fn part_of_product(&mut self, index: usize, product: &Product, points: Part, [rows, cols]: [Part; 2]) {
        let adds = self.program.fused.group_of(index).is_some_and(|group| group.adds_up(index));
        let [left, right, result] =
            [product.left, product.right, product.result].map(|place| self.start(place, points[0]));
        let moved = |emit: &mut Self, start: Value, number: Value, step: i64| {
            let before = emit.fb.ins().imul_imm_s(number, 4 * step);
            emit.fb.ins().iadd(start, before)
        };
        let left = moved(self, left, rows[0], product.left_steps[0]);
        let right = moved(self, right, cols[0], product.right_steps[1]);
        let result = moved(self, result, rows[0], product.cols);
        let result = moved(self, result, cols[0], 1);
        let [count, width] = [rows, cols].map(|[from, to]| self.fb.ins().isub(to, from));
        if !adds {
            return self.call_product(product, count, (Some(cols[0]), width), [left, right, result]);
        }
        let left = moved(self, left, points[0], product.left_steps[1]);
        let right = moved(self, right, points[0], product.right_steps[0]);
        self.call_terms(product, points, [count, width], [left, right, result]);
    }
}
