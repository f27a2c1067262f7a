//! Products that are read in runs as calls of their microkernel: the loops, written down on the stack.

use std::mem::offset_of;

use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

use super::entry::DriverEmitter;
use crate::kernel::{Dot, Kernel, Limit, Runs};
use crate::microkernels::runs::{ACROSS, AXES, Clip, Nest, ROWS, TERMS, TermAxis};
use crate::tiling::matmul::RunsLeft;
use crate::types::Dim;

/// The loops of a product, written down on the stack.
#[derive(Clone)]
pub(super) struct Loops {
    slot: StackSlot,
    limited: Vec<Limited>,
}

/// An axis of terms of which the right operand has some, as the position along the leading axes says.
#[derive(Clone)]
struct Limited {
    limit: Limit,
    /// Where the axis is written down.
    offset: usize,
    extent: i64,
    /// From term to term in both operands.
    steps: [i64; 2],
    /// The coordinate of the left operand at the first term, and how it grows, if there is one.
    clip: Option<[i64; 2]>,
    /// What its coordinate does not exceed at the first term.
    reach: i64,
}

/// A number of the loops.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Number(i64),
    Extent(Dim),
}

impl DriverEmitter<'_, '_> {
    /// Where the loops of a product are written down, in the layout of [`Nest`].
    pub(super) fn nest(&mut self, kernel: &Kernel, dot: &Dot, read: RunsLeft) -> Option<Loops> {
        let runs = kernel.runs()?;
        let words = words(&runs, kernel.cols(), dot.order.piece, read);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size_of::<Nest>() as u32, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        for (index, word) in words.into_iter().enumerate() {
            let value = match word {
                Word::Number(number) => self.fb.ins().iconst(types::I64, number),
                Word::Extent(dim) => self.extent(dim),
            };
            self.fb.ins().stack_store(types::I64, value, slot, 8 * index as i32);
        }
        let limited = runs.limits.iter().map(|limit| Limited::of(&runs, limit, &dot.axes)).collect();
        Some(Loops { slot, limited })
    }

    /// The address of the loops.
    pub(super) fn address(&mut self, loops: &Loops) -> Value {
        self.fb.ins().stack_addr(types::I64, loops.slot, 0)
    }

    /// Writes down which terms there are at a position along the leading axes; and where both operands begin with the first of them.
    pub(super) fn limit(&mut self, loops: &Loops, at: &[Value], operands: [Value; 2]) -> [Value; 2] {
        loops.limited.iter().fold(operands, |operands, limited| self.limit_axis(loops.slot, limited, at, operands))
    }

    fn limit_axis(&mut self, slot: StackSlot, limited: &Limited, at: &[Value], operands: [Value; 2]) -> [Value; 2] {
        let &Limited { ref limit, offset, extent, steps, clip, reach } = limited;
        let mut first = self.fb.ins().iconst(types::I64, limit.constant);
        for (&position, &step) in at.iter().zip(&limit.lead).filter(|(_, step)| **step != 0) {
            let moved = self.fb.ins().imul_imm_s(position, step);
            first = self.fb.ins().iadd(first, moved);
        }
        // The coordinate grows from below 0 or falls from the extent on; it stays inside until it is at the other end.
        let by = limit.step.abs();
        let (outside, inside) = match limit.step > 0 {
            true => {
                let least = self.fb.ins().ineg(first);
                let most = self.fb.ins().iadd_imm_s(least, limit.extent as i64);
                (self.fb.ins().iadd_imm_s(least, by - 1), self.fb.ins().iadd_imm_s(most, by - 1))
            }
            false => {
                let above = self.fb.ins().iadd_imm_s(first, by - limit.extent as i64);
                (above, self.fb.ins().iadd_imm_s(first, by))
            }
        };
        let zero = self.fb.ins().iconst(types::I64, 0);
        let all = self.fb.ins().iconst(types::I64, extent);
        let start = self.quotient(outside, by, reach);
        let start = self.fb.ins().smax(start, zero);
        let start = self.fb.ins().smin(start, all);
        let end = self.quotient(inside, by, reach);
        let end = self.fb.ins().smin(end, all);
        let end = self.fb.ins().smax(end, start);
        let count = self.fb.ins().isub(end, start);
        self.fb.ins().stack_store(types::I64, count, slot, (offset + offset_of!(TermAxis, extent)) as i32);
        if let Some([constant, step]) = clip {
            let moved = self.fb.ins().imul_imm_s(start, step);
            let moved = self.fb.ins().iadd_imm_s(moved, constant);
            let offset = offset + offset_of!(TermAxis, clip) + offset_of!(Clip, constant);
            self.fb.ins().stack_store(types::I64, moved, slot, offset as i32);
        }
        std::array::from_fn(|side| {
            let moved = self.fb.ins().imul_imm_s(start, 4 * steps[side]);
            self.fb.ins().iadd(operands[side], moved)
        })
    }

    /// A number, no less than `-reach`, divided and rounded down.
    fn quotient(&mut self, number: Value, by: i64, reach: i64) -> Value {
        if by == 1 {
            return number;
        }
        let times = reach / by + 1;
        let positive = self.fb.ins().iadd_imm_s(number, times * by);
        let quotient = self.fb.ins().udiv_imm_u(positive, by);
        self.fb.ins().iadd_imm_s(quotient, -times)
    }
}

impl Limited {
    fn of(runs: &Runs, limit: &Limit, axes: &[Dim]) -> Limited {
        let (dim, steps) = runs.terms[limit.term];
        let bound = runs.bounds.iter().find(|bound| bound.terms[limit.term] != 0);
        let axis = AXES - runs.terms.len() + limit.term;
        Limited {
            limit: limit.clone(),
            offset: offset_of!(Nest, terms) + axis * size_of::<TermAxis>(),
            extent: dim.factor() as i64,
            steps,
            clip: bound.map(|bound| [bound.constant, bound.terms[limit.term]]),
            reach: limit.reach(axes),
        }
    }
}

/// The loops, number by number in the order of [`Nest`].
fn words(runs: &Runs, cols: usize, piece: usize, read: RunsLeft) -> Vec<Word> {
    use Word::{Extent, Number};
    let (no_rows, no_terms) = (AXES - runs.rows.len(), AXES - runs.terms.len());
    let one = Extent(Dim::Fixed(1));
    let mut words = Vec::new();
    for axis in 0..AXES {
        match axis.checked_sub(no_rows) {
            None => words.extend([one, Number(0)]),
            Some(axis) => words.extend([Extent(runs.rows[axis].0), Number(runs.rows[axis].1)]),
        }
    }
    for axis in 0..AXES {
        let Some(axis) = axis.checked_sub(no_terms) else {
            words.extend([one, Number(0), Number(0)]);
            words.extend([0, 0, 1, 0, 0, 0].map(Number));
            continue;
        };
        let (dim, [a, b]) = runs.terms[axis];
        words.extend([Extent(dim), Number(a), Number(b)]);
        match runs.bounds.iter().find(|bound| bound.terms[axis] != 0) {
            None => words.extend([0, 0, 1, 0, 0, 0].map(Number)),
            Some(bound) => {
                words.extend([bound.extent as i64, bound.constant, bound.terms[axis]].map(Number));
                let rows = (0..AXES).map(|axis| axis.checked_sub(no_rows).map_or(0, |axis| bound.rows[axis]));
                words.extend(rows.map(Number));
            }
        }
    }
    let gathered = match read {
        RunsLeft::InPlace | RunsLeft::ByColumn { .. } => 0,
        RunsLeft::Across(_) => ACROSS,
        RunsLeft::Gathered(_) => TERMS,
        RunsLeft::GatheredRows(_) => ROWS,
    };
    words.extend([cols as i64, runs.a_col, runs.b_col, cols as i64, piece as i64, gathered].map(Number));
    assert_eq!(8 * words.len(), size_of::<Nest>(), "every number of the loops is written down");
    words
}
