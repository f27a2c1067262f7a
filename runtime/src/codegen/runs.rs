//! Products that are read in runs as calls of their microkernel: the loops, written down on the stack.

use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

use super::entry::DriverEmitter;
use crate::kernel::{Dot, Kernel, Runs};
use crate::microkernels::runs::{AXES, Nest};
use crate::types::Dim;

/// A number of the loops.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Number(i64),
    Extent(Dim),
}

impl DriverEmitter<'_, '_> {
    /// Where the loops of a product are written down, in the layout of [`Nest`].
    pub(super) fn nest(&mut self, kernel: &Kernel, dot: &Dot) -> Option<Value> {
        let words = words(&kernel.runs()?, kernel.cols(), dot.order.piece);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size_of::<Nest>() as u32, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        for (index, word) in words.into_iter().enumerate() {
            let value = match word {
                Word::Number(number) => self.fb.ins().iconst(types::I64, number),
                Word::Extent(dim) => self.extent(dim),
            };
            self.fb.ins().stack_store(types::I64, value, slot, 8 * index as i32);
        }
        Some(self.fb.ins().stack_addr(types::I64, slot, 0))
    }
}

/// The loops, number by number in the order of [`Nest`].
fn words(runs: &Runs, cols: usize, piece: usize) -> Vec<Word> {
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
    words.extend([cols as i64, runs.b_col, cols as i64, piece as i64].map(Number));
    assert_eq!(8 * words.len(), size_of::<Nest>(), "every number of the loops is written down");
    words
}
