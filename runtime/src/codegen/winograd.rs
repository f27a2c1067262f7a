//! Products in the form of Winograd as calls of their microkernels: the windows, written down on the stack.

use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

use super::entry::DriverEmitter;
use super::matmul::Product;
use super::{groups::Part, host};
use crate::kernel::{Winograd, WinogradForm};
use crate::microkernels::winograd::{SIDE, Windows};

/// The windows of a product, written down on the stack.
#[derive(Clone)]
pub(super) struct Squares {
    slot: StackSlot,
    form: WinogradForm,
    /// Whether a gradient may have several parts.
    has_parts: bool,
}

impl DriverEmitter<'_, '_> {
    /// Where the windows of a product are written down, in the layout of [`Windows`].
    pub(super) fn windows(&mut self, winograd: &Winograd) -> Squares {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size_of::<Windows>() as u32, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        let Winograd { form, images, size, extent, first, a, b, channels, cols } = winograd;
        let part = winograd.images_of_part() as i64;
        let images = self.extent(*images);
        self.fb.ins().stack_store(types::I64, images, slot, 0);
        let [size, extent] = [size, extent].map(|sizes| sizes.map(|size| size as i64));
        let numbers = [&size[..], &extent, first, a, b, &[*channels as i64, *cols as i64, part]].concat();
        assert_eq!(8 * (1 + numbers.len()), size_of::<Windows>(), "every number of the windows is written down");
        for (index, number) in numbers.into_iter().enumerate() {
            let value = self.fb.ins().iconst(types::I64, number);
            self.fb.ins().stack_store(types::I64, value, slot, 8 * (1 + index as i32));
        }
        Squares { slot, form: *form, has_parts: winograd.parts(self.program.plan.max_batch) > 1 }
    }

    /// Makes all that rows of a product have in common.
    pub(super) fn all_ahead(&mut self, product: &Product, squares: &Squares) {
        let all = |emit: &mut Self, end: i64| [0, end].map(|number| emit.fb.ins().iconst(types::I64, number));
        match squares.form {
            WinogradForm::Windows => {
                let columns = all(self, product.cols);
                self.taps(product, squares, columns);
            }
            WinogradForm::Gradient => {
                let (parts, positions) = (all(self, i64::MAX), all(self, SIDE as i64));
                self.sums(product, squares, [parts, positions]);
                if squares.has_parts {
                    self.fold(product, squares, positions);
                }
            }
        }
    }

    /// Makes a part of what rows of a product have in common: transformed taps of some columns.
    pub(super) fn taps(&mut self, product: &Product, squares: &Squares, [from, to]: Part) {
        let packed = product.packed.expect("there is room for what is made ahead");
        let (isa, windows) = (self.isa_number(), self.fb.ins().stack_addr(types::I64, squares.slot, 0));
        let b = product.right.base;
        host::WinogradTaps { isa, windows, from, to, b, packed }.call(&mut self.imports, &mut self.fb);
    }

    /// The same of a gradient: sums of some parts and rows of positions.
    pub(super) fn sums(&mut self, product: &Product, squares: &Squares, [[first, end], [from, to]]: [Part; 2]) {
        let sums = product.packed.expect("there is room for what is made ahead");
        let (isa, windows) = (self.isa_number(), self.fb.ins().stack_addr(types::I64, squares.slot, 0));
        let (a, b, workspace) = (product.left.base, product.right.base, product.workspace);
        host::WinogradSums { isa, windows, first, end, from, to, a, b, sums, workspace }
            .call(&mut self.imports, &mut self.fb);
    }

    /// Adds up the parts of a gradient: some rows of positions.
    pub(super) fn fold(&mut self, product: &Product, squares: &Squares, [from, to]: Part) {
        let sums = product.packed.expect("there is room for what is made ahead");
        let (isa, windows) = (self.isa_number(), self.fb.ins().stack_addr(types::I64, squares.slot, 0));
        host::WinogradFold { isa, windows, from, to, sums }.call(&mut self.imports, &mut self.fb);
    }

    /// Some rows of a product, given where its operands and they begin.
    pub(super) fn rows_of_windows(
        &mut self,
        product: &Product,
        squares: &Squares,
        [lo, hi]: Part,
        [a, b, c]: [Value; 3],
    ) {
        let ahead = product.packed.expect("it was made ahead");
        let (isa, windows) = (self.isa_number(), self.fb.ins().stack_addr(types::I64, squares.slot, 0));
        match squares.form {
            WinogradForm::Windows => {
                let (packed, workspace) = (ahead, product.workspace);
                let [prefetched, matrices] = self.prefetched(product, lo);
                host::WinogradProduct { isa, windows, lo, hi, a, b, packed, c, prefetched, matrices, workspace }
                    .call(&mut self.imports, &mut self.fb);
            }
            WinogradForm::Gradient => {
                host::WinogradGradient { isa, windows, lo, hi, a, b, sums: ahead, c }
                    .call(&mut self.imports, &mut self.fb);
            }
        }
    }
}
