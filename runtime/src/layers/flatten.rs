//! `flatten`: each sample as one row.

use super::{LayerDef, Layout, Misfit, Takes};
use crate::types::{Dim, Shape};

/// The elements of each sample in one row.
///
/// - Value: the same elements in the order of the declared axes: of an image channel by channel, row by row, as in PyTorch
/// - Shapes: `f32[B, d1, d2, ...] -> f32[B, d1 d2 ...]`
/// - Gradient: the same elements in the shape of the input
pub const FLATTEN: LayerDef = LayerDef {
    name: "flatten",
    item: "FLATTEN",
    stem: "flatten",
    args: &[],
    shape: |x, _| {
        flat(x).ok_or_else(|| Misfit { needs: "[B, ...] of a size that can be counted".to_string(), hint: None })
    },
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let shape = flat(&scope.b.shape(x)).expect("the shape was checked when the network was lowered");
        scope.b.reshape(x, shape)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// The flattened shape, or `None` where the size overflows or there is no batch.
pub(super) fn flat(shape: &Shape) -> Option<Shape> {
    let (&batch, rest) = shape.0.split_first()?;
    let features = Shape(rest.to_vec()).len()?;
    batch.is_batch().then(|| Shape(vec![batch, Dim::Fixed(features.factor())]))
}
