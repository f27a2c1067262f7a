//! Sizes of a tensor, which a loss adds to keep parameters small.

use super::{FunctionDef, SUM};
use crate::layers::Arg;
use crate::types::{DType, TensorType};

/// Sum of absolute values.
pub const L1: FunctionDef = FunctionDef {
    name: "l1",
    item: "L1",
    doc: "`sum(|x|)` over all elements, a sum and not a mean: `f32[S] -> f32[]`. Of `weights`, the sum over all weight tensors: \
          `1e-5 * l1(weights)`. The gradient is the sign of `x`, and 0 at 0. Source: Tibshirani 1996.",
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

/// Sum of squares.
pub const L2: FunctionDef = FunctionDef {
    name: "l2",
    item: "L2",
    doc: "`sum(x^2)` over all elements, neither halved nor a mean nor a root: `f32[S] -> f32[]`. Of `weights`, the sum over all weight \
          tensors: `1e-4 * l2(weights)`. The gradient is `2 x`. Source: Goodfellow et al. 2016, 7.1.1.",
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
