//! Where elements stand in their tensors, in row-major order.

use std::iter::zip;

/// For every element of the operand of a reduction, in row-major order, the element of the result that it becomes part of.
pub fn destinations(shape: &[usize], axes: &[usize], result: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let mut kept = row_major(result).into_iter();
    let strides: Vec<usize> = (0..shape.len())
        .map(|axis| if axes.contains(&axis) { 0 } else { kept.next().expect("the result has the axes that are kept") })
        .collect();
    offsets(shape, &strides)
}

/// The distance between neighbors along each axis.
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// For every position within `shape`, in row-major order, the sum of coordinate times stride.
pub fn offsets(shape: &[usize], strides: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let axes: Vec<(usize, usize, usize)> =
        zip(zip(row_major(shape), shape), strides).map(|((step, &extent), &stride)| (step, extent, stride)).collect();
    let len = shape.iter().product();
    (0..len).map(move |at: usize| axes.iter().map(|(step, extent, stride)| at / step % extent * stride).sum())
}
