//! Functions of one number, applied to every element.

use super::FunctionDef;
use crate::layers::Arg;
use crate::types::{DType, TensorType};

fn elementwise(x: &[&TensorType], _: &[Arg]) -> Result<TensorType, String> {
    match x[0].dtype {
        DType::F32 => Ok(x[0].clone()),
        other => Err(format!("needs f32, found {other}")),
    }
}

/// Natural exponential.
pub const EXP: FunctionDef = FunctionDef {
    name: "exp",
    item: "EXP",
    doc: "`e^x` of every element.",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.exp(x[0]),
};

/// Natural logarithm.
pub const LN: FunctionDef = FunctionDef {
    name: "ln",
    item: "LN",
    doc: "The natural logarithm of every element; NaN below 0.",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.ln(x[0]),
};

/// Square root.
pub const SQRT: FunctionDef = FunctionDef {
    name: "sqrt",
    item: "SQRT",
    doc: "The square root of every element; NaN below 0, infinite gradient at 0.",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.sqrt(x[0]),
};

/// Absolute value.
pub const ABS: FunctionDef = FunctionDef {
    name: "abs",
    item: "ABS",
    doc: "`|x|` of every element; the gradient at 0 is 0.",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.abs(x[0]),
};
