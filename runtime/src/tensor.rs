//! Tensors at the edge: views of the user's arrays, of any element type that a port may have.

use ndarray::{Array, ArrayView, ArrayViewD, Dimension, IxDyn};

use crate::types::DType;

/// A view of an array that a network reads.
#[derive(Clone, Debug)]
pub enum Tensor<'a> {
    /// Numbers.
    F32(ArrayViewD<'a, f32>),
    /// Class ids, or the bytes of an image.
    U8(ArrayViewD<'a, u8>),
    /// Class ids.
    U16(ArrayViewD<'a, u16>),
    /// Class ids.
    U32(ArrayViewD<'a, u32>),
}

macro_rules! tensor {
    ($($element:ty, $variant:ident;)*) => {$(
        impl<'a, D: Dimension> From<ArrayView<'a, $element, D>> for Tensor<'a> {
            fn from(view: ArrayView<'a, $element, D>) -> Tensor<'a> {
                Tensor::$variant(view.into_dyn())
            }
        }
    )*

        impl<'a> Tensor<'a> {
            /// The extents.
            pub fn shape(&self) -> &[usize] {
                match self {$(Tensor::$variant(view) => view.shape(),)*}
            }

            /// The rows `from..to` along the first axis.
            pub fn rows(&self, from: usize, to: usize) -> Tensor<'a> {
                match self {$(Tensor::$variant(view) => {
                    let mut view = view.clone();
                    view.slice_axis_inplace(ndarray::Axis(0), ndarray::Slice::from(from..to));
                    Tensor::$variant(view)
                })*}
            }
        }
    };
}

tensor! {
    f32, F32;
    u8, U8;
    u16, U16;
    u32, U32;
}

impl Tensor<'_> {
    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Tensor::F32(_) => DType::F32,
            Tensor::U8(_) => DType::U8,
            Tensor::U16(_) => DType::U16,
            Tensor::U32(_) => DType::U32,
        }
    }

    /// Calls `each` with every number, in order; nothing for class ids.
    pub(crate) fn for_each_number(&self, each: impl FnMut(f32)) {
        if let Tensor::F32(view) = self {
            view.iter().copied().for_each(each);
        }
    }

    /// Appends every class id or byte, in order, widened; nothing for numbers.
    pub(crate) fn widen(&self, ids: &mut Vec<u32>) {
        match self {
            Tensor::F32(_) => {}
            Tensor::U8(view) => widened(view, ids),
            Tensor::U16(view) => widened(view, ids),
            Tensor::U32(view) => widened(view, ids),
        }
    }

    /// Calls `each` with every class id, in order; nothing for numbers.
    pub(crate) fn for_each_id(&self, mut each: impl FnMut(u32)) {
        match self {
            Tensor::F32(_) => {}
            Tensor::U8(view) => view.iter().for_each(|&id| each(u32::from(id))),
            Tensor::U16(view) => view.iter().for_each(|&id| each(u32::from(id))),
            Tensor::U32(view) => view.iter().for_each(|&id| each(id)),
        }
    }
}

/// The elements of a contiguous view are widened several at a time.
fn widened<T: Copy + Into<u32>>(view: &ArrayViewD<'_, T>, ids: &mut Vec<u32>) {
    match view.as_slice() {
        Some(all) => ids.extend(all.iter().map(|&id| id.into())),
        None => ids.extend(view.iter().map(|&id| id.into())),
    }
}

/// A view with the number of axes that the declaration says.
pub fn view<T, D: Dimension>(view: ArrayView<'_, T, IxDyn>) -> ArrayView<'_, T, D> {
    view.into_dimensionality().expect("an output has the rank of its declaration")
}

/// An array with the number of axes that the declaration says.
pub fn array<T, D: Dimension>(array: Array<T, IxDyn>) -> Array<T, D> {
    array.into_dimensionality().expect("an output has the rank of its declaration")
}
