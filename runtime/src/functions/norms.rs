//! Sizes of a tensor, which a loss adds to keep parameters small.

use super::{FunctionDef, SUM};
use crate::layers::Arg;
use crate::types::{DType, TensorType};

/// The sum of absolute values.
///
/// - Value: `sum(|x|)`, a sum and no mean. Of `weights`, the sum over all weight tensors: `1e-5 * l1(weights)`
/// - Shapes: `f32[S] -> f32[]`
/// - Gradient: the sign of `x`; at 0 it is 0
/// - Source: Tibshirani 1996
pub const L1: FunctionDef = FunctionDef {
    name: "l1",
    item: "L1",
    operands: &["x"],
    over_weights: true,
    elementwise: false,
    args: &[],
    ty: size,
    lower: |b, _, x| {
        let size = b.abs(x[0]);
        (SUM.lower)(b, &[], &[size])
    },
};

/// The sum of squares.
///
/// - Value: `sum(x^2)`, neither halved nor a mean nor a root. Of `weights`, the sum over all weight tensors:
///   `1e-4 * l2(weights)`
/// - Shapes: `f32[S] -> f32[]`
/// - Gradient: `2 x`
/// - Source: Goodfellow et al. 2016, 7.1.1
pub const L2: FunctionDef = FunctionDef {
    name: "l2",
    item: "L2",
    operands: &["x"],
    over_weights: true,
    elementwise: false,
    args: &[],
    ty: size,
    lower: |b, _, x| {
        let square = b.mul(x[0], x[0]);
        (SUM.lower)(b, &[], &[square])
    },
};

/// One number from floats of any shape.
fn size(x: &[&TensorType], _: &[Arg]) -> Result<TensorType, String> {
    match x[0].dtype {
        DType::F32 => Ok(TensorType::scalar()),
        other => Err(format!("needs f32, found {other}")),
    }
}
