//! Loops: bottom-tested, so that an iteration has one branch. What emits a body is called through a pointer, so that what emits a loop
//! is compiled once, and not once for each body.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Value, types};
use cranelift_frontend::FunctionBuilder;

use super::KernelEmitter;
use super::lanes::Width;
use crate::kernel::LANES;
use crate::tiling::VECTORS;

/// Bytes of the lanes of a sum.
pub(super) const LANE_BYTES: i64 = 4 * LANES as i64;

/// How far a loop over columns goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trip {
    /// So many elements.
    Known(usize),
    /// So many bytes, known at run time.
    Bytes(Value),
    /// The same, if they are whole lanes of a sum.
    Lanes(Value),
}

/// The sum of two numbers: the other one if one of them is known to be 0. At `opt_level = none` nobody improves on it later.
pub(super) fn sum(fb: &mut FunctionBuilder<'_>, x: Value, y: Value) -> Value {
    let is_zero = |value: Value| {
        let inst = fb.func.dfg.value_def(value).inst();
        inst.is_some_and(|inst| match fb.func.dfg.insts[inst] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => imm.bits() == 0,
            _ => false,
        })
    };
    match (is_zero(x), is_zero(y)) {
        (_, true) => x,
        (true, false) => y,
        (false, false) => fb.ins().iadd(x, y),
    }
}

impl KernelEmitter<'_, '_> {
    /// A value times a constant, in the cheapest way: at `opt_level = none` nobody improves on it later.
    pub(super) fn times(&mut self, value: Value, factor: i64) -> Value {
        match factor {
            1 => value,
            power if power.count_ones() == 1 => self.fb.ins().ishl_imm_u(value, i64::from(power.trailing_zeros())),
            _ => self.fb.ins().imul_imm_u(value, factor),
        }
    }

    /// Emits `body` for every value from `from` on in steps of `step` below `to`; at least once unless `guarded`.
    pub(super) fn counted(
        &mut self,
        from: Value,
        to: Value,
        step: i64,
        guarded: bool,
        body: &mut dyn FnMut(&mut Self, Value),
    ) {
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let at = self.fb.append_block_param(head, types::I64);
        if guarded {
            let enter = self.fb.ins().icmp(IntCC::SignedLessThan, from, to);
            self.fb.ins().brif(enter, head, &[from.into()], exit, &[]);
        } else {
            self.fb.ins().jump(head, &[from.into()]);
        }
        self.fb.switch_to_block(head);
        body(self, at);
        let next = self.fb.ins().iadd_imm_u(at, step);
        let more = self.fb.ins().icmp(IntCC::SignedLessThan, next, to);
        self.fb.ins().brif(more, head, &[next.into()], exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// Emits `body` for all columns, as wide as they allow: `unroll` vectors, then fewer, then one number at a time. The
    /// position is a byte offset; where it is in the lanes of a sum is noted, as far as it is known here.
    pub(super) fn columns(&mut self, trip: Trip, unroll: usize, body: &mut dyn FnMut(&mut Self, Width, Value)) {
        match trip {
            Trip::Known(count) => self.known_columns(0, count, unroll, body),
            Trip::Bytes(end) => {
                let zero = self.fb.ins().iconst(types::I64, 0);
                let wide = 16 * unroll as i64;
                let main = self.fb.ins().band_imm_s(end, -wide);
                self.lane = (wide % LANE_BYTES == 0).then_some(0);
                self.counted(zero, main, wide, true, &mut |emit, at| body(emit, Width::Vectors(unroll), at));
                self.rest_of_columns(main, end, body);
            }
            Trip::Lanes(end) => {
                let zero = self.fb.ins().iconst(types::I64, 0);
                self.lane = (unroll == VECTORS).then_some(0);
                debug_assert!(VECTORS.is_multiple_of(unroll), "vectors fill lanes");
                self.counted(zero, end, 16 * unroll as i64, true, &mut |emit, at| {
                    body(emit, Width::Vectors(unroll), at)
                });
            }
        }
    }

    /// Emits `body` for the columns from some byte on: vector by vector, then number by number.
    pub(super) fn rest_of_columns(&mut self, from: Value, end: Value, body: &mut dyn FnMut(&mut Self, Width, Value)) {
        self.lane = None;
        let vectors = self.fb.ins().band_imm_s(end, -16);
        self.counted(from, vectors, 16, true, &mut |emit, at| body(emit, Width::Vectors(1), at));
        self.counted(vectors, end, 4, true, &mut |emit, at| body(emit, Width::One, at));
    }

    /// Emits `body` for parts of at most so many elements: where a part begins, in bytes, and how long it is.
    pub(super) fn chunks(&mut self, trip: Trip, most: usize, body: &mut dyn FnMut(&mut Self, Value, Trip)) {
        let bytes = |elements: usize| 4 * elements as i64;
        match trip {
            Trip::Known(count) => {
                let main = count / most * most;
                self.known(0, bytes(main), bytes(most), &mut |emit, at| body(emit, at, Trip::Known(most)));
                if main < count {
                    let at = self.fb.ins().iconst(types::I64, bytes(main));
                    body(self, at, Trip::Known(count - main));
                }
            }
            Trip::Bytes(end) | Trip::Lanes(end) => {
                let zero = self.fb.ins().iconst(types::I64, 0);
                let main = self.fb.ins().band_imm_s(end, -bytes(most));
                self.counted(zero, main, bytes(most), true, &mut |emit, at| body(emit, at, Trip::Known(most)));
                self.counted(main, end, bytes(most), true, &mut |emit, at| {
                    let rest = emit.fb.ins().isub(end, at);
                    let whole = matches!(trip, Trip::Lanes(_)) && most.is_multiple_of(LANES);
                    body(emit, at, if whole { Trip::Lanes(rest) } else { Trip::Bytes(rest) });
                });
            }
        }
    }

    /// Emits `body` for the columns from `from` on, whole vectors from the first, up to `count`.
    pub(super) fn known_columns(
        &mut self,
        from: usize,
        count: usize,
        unroll: usize,
        body: &mut dyn FnMut(&mut Self, Width, Value),
    ) {
        let first = from / 4;
        let vectors = count / 4;
        let unroll = unroll.min((vectors - first).max(1));
        let main = first + (vectors - first) / unroll * unroll;
        let bytes = |elements: usize| 4 * elements as i64;
        let lane = |elements: usize| Some((bytes(elements) % LANE_BYTES) as i32);
        if main > first {
            let whole = main == first + unroll || bytes(4 * unroll) % LANE_BYTES == 0;
            self.lane = if whole { lane(from) } else { None };
            self.known(bytes(from), bytes(4 * main), bytes(4 * unroll), &mut |emit, at| {
                body(emit, Width::Vectors(unroll), at)
            });
        }
        if main < vectors {
            let at = self.fb.ins().iconst(types::I64, bytes(4 * main));
            self.lane = lane(4 * main);
            body(self, Width::Vectors(vectors - main), at);
        }
        self.lane = if count - 4 * vectors == 1 { lane(4 * vectors) } else { None };
        self.known(bytes(4 * vectors), bytes(count), 4, &mut |emit, at| body(emit, Width::One, at));
    }

    /// A loop between known bounds; no loop at all for one iteration or none.
    pub(super) fn known(&mut self, from: i64, to: i64, step: i64, body: &mut dyn FnMut(&mut Self, Value)) {
        if from >= to {
            return;
        }
        let start = self.fb.ins().iconst(types::I64, from);
        if from + step >= to {
            return body(self, start);
        }
        let end = self.fb.ins().iconst(types::I64, to);
        self.counted(start, end, step, false, body);
    }
}
