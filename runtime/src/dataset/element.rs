//! What rows are made of.
//!
//! In: the elements of an array in slices, whatever its number of axes. A dataset is generic, so that its code is compiled in
//! the user's crate, perhaps without optimization: what is done to every element is therefore done here, for each of the types
//! that a port may have.

use std::fmt::Debug;

use ndarray::ArrayViewD;

/// A type of which inputs and targets are made: `f32`, `u8`, `u16` or `u32`.
#[diagnostic::on_unimplemented(
    message = "a dataset has elements of `f32`, `u8`, `u16` or `u32`, as a port has, not of `{Self}`",
    note = "`mapv` converts an array: `labels.mapv(|label| label as u32)`"
)]
pub trait Element: Copy + Debug + Send + Sync + 'static + sealed::Sealed {
    /// Exchanges two rows of this many elements each.
    #[doc(hidden)]
    fn swap_rows(elements: &mut [Self], width: usize, x: usize, y: usize);

    /// The elements in the standard layout, or `None` if there is no memory for them.
    #[doc(hidden)]
    fn copied(view: ArrayViewD<'_, Self>) -> Option<Vec<Self>>;
}

/// A type of class ids: `u8`, `u16` or `u32`.
pub trait ClassId: Element + Ord {
    /// The number of the class.
    fn class(self) -> usize;
}

macro_rules! class_ids {
    ($($id:ty)*) => {$(
        impl ClassId for $id {
            fn class(self) -> usize {
                self as usize
            }
        }
    )*};
}

class_ids!(u8 u16 u32);

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($element:ty)*) => {$(
        impl sealed::Sealed for $element {}

        impl Element for $element {
            fn swap_rows(elements: &mut [Self], width: usize, x: usize, y: usize) {
                if x != y {
                    let (head, tail) = elements.split_at_mut(x.max(y) * width);
                    head[x.min(y) * width..][..width].swap_with_slice(&mut tail[..width]);
                }
            }

            fn copied(view: ArrayViewD<'_, Self>) -> Option<Vec<Self>> {
                let mut elements = Vec::new();
                elements.try_reserve_exact(view.len()).ok()?;
                match view.as_slice() {
                    Some(all) => elements.extend_from_slice(all),
                    None => view.rows().into_iter().for_each(|row| elements.extend(row.iter())),
                }
                Some(elements)
            }
        }
    )*};
}

elements!(f32 u8 u16 u32);
