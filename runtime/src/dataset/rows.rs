//! What a dataset holds of each side: an array, several of them in a tuple, or nothing.
//!
//! In: arrays of the user's, of any rank and of every element type that a port may have. Out: views of ranges of rows, and
//! rows exchanged in place. Several arrays have as many rows each; nothing has as many as is wanted.

use std::fmt::Debug;
use std::ops::Range;

use ndarray::{Array, ArrayView, Axis, Dimension, RemoveAxis, Slice};

use super::Element;

/// One side of a dataset: an array, or a tuple of up to eight, each with a row for every sample. `()` stands for no targets.
#[diagnostic::on_unimplemented(
    message = "a dataset holds arrays of `f32`, `u8`, `u16` or `u32`, as ports have, or tuples of up to eight, not `{Self}`",
    note = "`mapv` converts an array: `labels.mapv(|label| label as u32)`"
)]
pub trait Rows: Clone + Debug + Send + Sync + 'static + sealed::Sealed {
    /// Views of some rows, as a network takes them.
    type Views<'a>
    where
        Self: 'a;

    /// All rows as views, as [`Session::step`](crate::session::Session::step) takes them: an `ArrayView` of an array, a tuple of
    /// them of several.
    fn views(&self) -> Self::Views<'_>;

    // Hidden methods have no name that an array's own have, which they would cover where this trait is in scope.

    /// The rows of each array; an array without axes has none.
    #[doc(hidden)]
    fn counts(&self) -> Vec<usize>;

    /// Arrays in the standard layout, taken over where they are, or `None` if there is no memory for a copy.
    #[doc(hidden)]
    fn standard(self) -> Option<Self>;

    /// Some rows.
    #[doc(hidden)]
    fn part(&self, rows: Range<usize>) -> Self::Views<'_>;

    /// A copy of some rows, or `None` if there is no memory for it.
    #[doc(hidden)]
    fn copied(&self, rows: Range<usize>) -> Option<Self>;

    /// Forgets the rows from this one on.
    #[doc(hidden)]
    fn truncate(&mut self, rows: usize);

    /// Exchanges two rows of every array. All are in the standard layout.
    #[doc(hidden)]
    fn exchange(&mut self, x: usize, y: usize);
}

mod sealed {
    pub trait Sealed {}
}

impl<T: Element, D: Dimension> sealed::Sealed for Array<T, D> {}

impl<T: Element, D: RemoveAxis + 'static> Rows for Array<T, D> {
    type Views<'a> = ArrayView<'a, T, D>;

    fn views(&self) -> ArrayView<'_, T, D> {
        self.view()
    }

    fn counts(&self) -> Vec<usize> {
        vec![self.shape().first().map_or(0, |rows| *rows)]
    }

    fn standard(self) -> Option<Self> {
        if self.is_standard_layout() { Some(self) } else { copy(self.view()) }
    }

    fn part(&self, rows: Range<usize>) -> ArrayView<'_, T, D> {
        self.slice_axis(Axis(0), Slice::from(rows))
    }

    fn copied(&self, rows: Range<usize>) -> Option<Self> {
        copy(self.part(rows))
    }

    fn truncate(&mut self, rows: usize) {
        self.slice_axis_inplace(Axis(0), (..rows).into());
    }

    fn exchange(&mut self, x: usize, y: usize) {
        let width = self.len() / self.len_of(Axis(0)).max(1);
        T::swap_rows(self.as_slice_mut().expect("a dataset keeps rows in order"), width, x, y);
    }
}

/// In the standard layout.
fn copy<T: Element, D: Dimension>(array: ArrayView<'_, T, D>) -> Option<Array<T, D>> {
    let shape = array.raw_dim();
    let elements = T::copied(array.into_dyn())?;
    Some(Array::from_shape_vec(shape, elements).expect("as many elements as before"))
}

macro_rules! tuples {
    ($(($($name:ident $index:tt)*))*) => {$(
        impl<$($name: Rows),*> sealed::Sealed for ($($name,)*) {}

        // The tuple of nothing uses nothing.
        #[allow(unused_variables, clippy::unused_unit)]
        impl<$($name: Rows),*> Rows for ($($name,)*) {
            type Views<'a> = ($($name::Views<'a>,)*);

            fn views(&self) -> Self::Views<'_> {
                ($(self.$index.views(),)*)
            }

            fn counts(&self) -> Vec<usize> {
                let counts: [Vec<usize>; tuples!(@count $($name)*)] = [$(self.$index.counts()),*];
                counts.concat()
            }

            fn standard(self) -> Option<Self> {
                Some(($(self.$index.standard()?,)*))
            }

            fn part(&self, rows: Range<usize>) -> Self::Views<'_> {
                ($(self.$index.part(rows.clone()),)*)
            }

            fn copied(&self, rows: Range<usize>) -> Option<Self> {
                Some(($(self.$index.copied(rows.clone())?,)*))
            }

            fn truncate(&mut self, rows: usize) {
                $(self.$index.truncate(rows);)*
            }

            fn exchange(&mut self, x: usize, y: usize) {
                $(self.$index.exchange(x, y);)*
            }
        }
    )*};
    (@count) => { 0 };
    (@count $first:ident $($rest:ident)*) => { 1 + tuples!(@count $($rest)*) };
}

tuples! {
    ()
    (A 0 B 1)
    (A 0 B 1 C 2)
    (A 0 B 1 C 2 D 3)
    (A 0 B 1 C 2 D 3 E 4)
    (A 0 B 1 C 2 D 3 E 4 F 5)
    (A 0 B 1 C 2 D 3 E 4 F 5 G 6)
    (A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7)
}
