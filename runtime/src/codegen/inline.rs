//! Products so small that a call would take longer: written out in their kernel, ahead of everything else it does.
//!
//! An element is the sum over ascending terms in the pieces that the kernel says, as the microkernels have it, so the bits are
//! theirs.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value, types};

use super::lanes::{Lanes, Width, constant_memory, memory};
use super::loops::Trip;
use super::{Context, KernelEmitter, Slot};
use crate::kernel::{Arg, Dot};
use crate::scalar::{Reg, Scalar};
use crate::tiling::VECTORS;
use crate::tiling::matmul::UNROLLED_TERMS;
use crate::types::Dim;

/// An operand for one row of the result or one column: where its terms begin, and bytes from each to the next.
#[derive(Clone, Copy)]
struct Terms {
    first: Value,
    apart: i64,
}

impl<'a> KernelEmitter<'a, '_> {
    /// The product that this kernel computes by itself.
    fn written_out(&self) -> Option<&'a Dot> {
        self.kernel.dot.as_ref()
    }

    /// What a product that is written out reads and writes.
    pub(super) fn inline_slots(&self) -> Vec<Slot> {
        let Some(dot) = self.written_out() else { return Vec::new() };
        vec![
            self.canonical.place(dot.a, dot.positions[0]),
            self.canonical.place(dot.b, dot.positions[1]),
            self.slot_read(Arg::Dot, 0).expect("a product lies in memory"),
        ]
    }

    /// The rows of the block's product, if it is written out.
    pub(super) fn inline_product(&mut self) {
        let Some(dot) = self.written_out() else { return };
        let bases: Vec<Value> = self.inline_slots().iter().map(|slot| self.bases[slot]).collect();
        let [left, right, result] = bases[..] else { unreachable!("two operands and a result") };
        let [[a_row, a_inner], [b_inner, b_col]] = self.kernel.dot_steps().map(|steps| steps.map(|step| 4 * step));
        let (inner, cols) = (dot.inner(), self.kernel.cols());
        let (lo, hi) = (self.lo, self.hi);
        self.counted(lo, hi, 1, false, &mut |emit, row| {
            let before = emit.times(row, a_row);
            let left = Terms { first: emit.fb.ins().iadd(left, before), apart: a_inner };
            let before = emit.times(row, 4 * cols as i64);
            let result = emit.fb.ins().iadd(result, before);
            if b_col != 4 {
                // The columns of the result are rows of the operand, so they are computed one by one.
                emit.known(0, 4 * cols as i64, 4, &mut |emit, at| {
                    let before = emit.times(at, b_col / 4);
                    let right = Terms { first: emit.fb.ins().iadd(right, before), apart: b_inner };
                    emit.sum_of_terms(Width::One, inner, left, right, result, at);
                });
            } else {
                emit.columns(Trip::Known(cols), VECTORS, &mut |emit, width, at| {
                    let right = Terms { first: emit.fb.ins().iadd(right, at), apart: b_inner };
                    emit.sum_of_terms(width, inner, left, right, result, at);
                });
            }
        });
    }

    /// Writes the sum of the products of some terms, for as many columns as `width` has.
    fn sum_of_terms(&mut self, width: Width, inner: Dim, left: Terms, right: Terms, result: Value, at: Value) {
        let result = self.fb.ins().iadd(result, at);
        if let Dim::Fixed(terms) = inner
            && terms <= UNROLLED_TERMS
        {
            let mut lanes = self.lanes(width);
            let mut sum = lanes.float(0.0);
            for term in 0..terms as i64 {
                sum = next_term(&mut lanes, sum, left, right, term);
            }
            return lanes.store(sum, result, 0);
        }
        let count = match inner {
            Dim::Fixed(terms) => self.fb.ins().iconst(types::I64, terms as i64),
            Dim::Batch(factor) => {
                let batch = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::BATCH);
                self.times(batch, factor as i64)
            }
        };
        let piece = self.kernel.dot.as_ref().expect("the product is written out").order.piece;
        let sum = match inner.at(self.max_batch) <= piece {
            true => self.piece(width, count, left, right).0,
            false => self.pieces(width, count, piece, left, right),
        };
        let mut lanes = self.lanes(width);
        let sum = lanes.parts(&|_, part| sum[part]);
        lanes.store(sum, result, 0);
    }

    /// The sum of so many terms, at least one, in pieces, part by part.
    fn pieces(&mut self, width: Width, count: Value, piece: usize, left: Terms, right: Terms) -> Vec<Value> {
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let mut lanes = self.lanes(width);
        // What -0 is added to is what it was.
        let nothing = lanes.float(-0.0);
        let start: Vec<Value> = (0..width.parts()).map(|part| lanes.part(nothing, part)).collect();
        let [totals, places] = self.loop_values(head, &start, 3);
        let [left_at, right_at, rest] = places[..] else { unreachable!("three numbers") };
        let first = start.into_iter().chain([left.first, right.first, count]);
        let first: Vec<BlockArg> = first.map(BlockArg::from).collect();
        self.fb.ins().jump(head, &first);
        self.fb.switch_to_block(head);
        let most = self.fb.ins().iconst(types::I64, piece as i64);
        let last = self.fb.ins().icmp(IntCC::SignedLessThan, rest, most);
        let terms = self.fb.ins().select(last, rest, most);
        let (left, right) = (Terms { first: left_at, ..left }, Terms { first: right_at, ..right });
        let (sums, [left_at, right_at]) = self.piece(width, terms, left, right);
        let added = totals.iter().zip(sums).map(|(&total, sum)| self.fb.ins().fadd(total, sum));
        let totals: Vec<Value> = added.collect();
        let rest = self.fb.ins().isub(rest, terms);
        let next = totals.iter().copied().chain([left_at, right_at, rest]);
        let next: Vec<BlockArg> = next.map(BlockArg::from).collect();
        self.fb.ins().brif(rest, head, &next, exit, &[]);
        self.fb.switch_to_block(exit);
        totals
    }

    /// The sum of so many terms, at least one, from zero, part by part, and where the terms after them are.
    fn piece(&mut self, width: Width, count: Value, left: Terms, right: Terms) -> (Vec<Value>, [Value; 2]) {
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let mut lanes = self.lanes(width);
        let zero = lanes.float(0.0);
        let zeros: Vec<Value> = (0..width.parts()).map(|part| lanes.part(zero, part)).collect();
        let [sums, places] = self.loop_values(head, &zeros, 3);
        let [left_at, right_at, rest] = places[..] else { unreachable!("three numbers") };
        let start = zeros.iter().copied().chain([left.first, right.first, count]);
        let start: Vec<BlockArg> = start.map(BlockArg::from).collect();
        self.fb.ins().jump(head, &start);
        self.fb.switch_to_block(head);
        let mut lanes = self.lanes(width);
        let sum = lanes.parts(&|_, part| sums[part]);
        let sum = next_term(&mut lanes, sum, Terms { first: left_at, ..left }, Terms { first: right_at, ..right }, 0);
        let sums: Vec<Value> = (0..width.parts()).map(|part| lanes.part(sum, part)).collect();
        let left_at = self.fb.ins().iadd_imm_u(left_at, left.apart);
        let right_at = self.fb.ins().iadd_imm_u(right_at, right.apart);
        let rest = self.fb.ins().iadd_imm_s(rest, -1);
        let next = sums.iter().copied().chain([left_at, right_at, rest]);
        let next: Vec<BlockArg> = next.map(BlockArg::from).collect();
        self.fb.ins().brif(rest, head, &next, exit, &[]);
        self.fb.switch_to_block(exit);
        (sums, [left_at, right_at])
    }

    /// What a loop carries from round to round: values like these, and so many addresses or counts.
    fn loop_values(&mut self, head: Block, like: &[Value], numbers: usize) -> [Vec<Value>; 2] {
        let ty = self.fb.func.dfg.value_type(like[0]);
        let values = like.iter().map(|_| self.fb.append_block_param(head, ty)).collect();
        [values, (0..numbers).map(|_| self.fb.append_block_param(head, types::I64)).collect()]
    }
}

fn next_term(lanes: &mut Lanes<'_, '_>, sum: Reg, left: Terms, right: Terms, term: i64) -> Reg {
    let x = lanes.fb.ins().load(types::F32, memory(), left.first, (term * left.apart) as i32);
    let x = lanes.splat(x);
    let y = lanes.load(right.first, (term * right.apart) as i32, false, false);
    lanes.mul_add(x, y, sum)
}
