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
}

impl DriverEmitter<'_, '_> {
    /// Where the windows of a product are written down, in the layout of [`Windows`].
    pub(super) fn windows(&mut self, winograd: &Winograd) -> Squares {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size_of::<Windows>() as u32, 3);
        let slot = self.fb.create_sized_stack_slot(slot);
        let Winograd { form, images, size, extent, first, a, b, channels, cols } = winograd;
        let images = self.extent(*images);
        self.fb.ins().stack_store(types::I64, images, slot, 0);
        let [size, extent] = [size, extent].map(|sizes| sizes.map(|size| size as i64));
        let numbers = [&size[..], &extent, first, a, b, &[*channels as i64, *cols as i64]].concat();
        assert_eq!(8 * (1 + numbers.len()), size_of::<Windows>(), "every number of the windows is written down");
        for (index, number) in numbers.into_iter().enumerate() {
            let value = self.fb.ins().iconst(types::I64, number);
            self.fb.ins().stack_store(types::I64, value, slot, 8 * (1 + index as i32));
        }
        Squares { slot, form: *form }
    }

    /// Makes all that rows of a product have in common.
    pub(super) fn all_ahead(&mut self, product: &Product, squares: &Squares) {
        let zero = self.fb.ins().iconst(types::I64, 0);
        let end = match squares.form {
            WinogradForm::Windows => product.cols,
            WinogradForm::Gradient => SIDE as i64,
        };
        let end = self.fb.ins().iconst(types::I64, end);
        self.part_ahead(product, squares, [zero, end]);
    }

    /// Makes a part of what rows of a product have in common: transformed taps of some columns, or sums of some rows of positions.
    pub(super) fn part_ahead(&mut self, product: &Product, squares: &Squares, [from, to]: Part) {
        let ahead = product.packed.expect("there is room for what is made ahead");
        let (isa, windows) = (self.isa_number(), self.fb.ins().stack_addr(types::I64, squares.slot, 0));
        let (a, b, workspace) = (product.left.base, product.right.base, product.workspace);
        match squares.form {
            WinogradForm::Windows => {
                host::WinogradTaps { isa, windows, from, to, b, packed: ahead }.call(&mut self.imports, &mut self.fb);
            }
            WinogradForm::Gradient => {
                host::WinogradSums { isa, windows, from, to, a, b, sums: ahead, workspace }
                    .call(&mut self.imports, &mut self.fb);
            }
        }
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
                host::WinogradProduct { isa, windows, lo, hi, a, b, packed, c, workspace }
                    .call(&mut self.imports, &mut self.fb);
            }
            WinogradForm::Gradient => {
                host::WinogradGradient { isa, windows, lo, hi, a, b, sums: ahead, c }
                    .call(&mut self.imports, &mut self.fb);
            }
        }
    }
}
