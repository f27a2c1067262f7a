//! Functions that move elements and compute nothing.

use super::FunctionDef;
use crate::axes::{axis_of, concatenated};
use crate::ir::Op;
use crate::layers::{Arg, ArgDef, ArgKind, ints};
use crate::types::{DType, Dim, Shape, TensorType};

/// Values one after the other, along an axis.
///
/// - Value: the elements of the first along the axis, then those of the second, and so on; `concat(a, b, c)`
/// - Shapes: `f32[B, n], f32[B, m] -> f32[B, n + m]`; all other axes agree
/// - Argument `axis = -1`: along which axis; not that of the batch; an axis, such as 1 or -1
/// - Gradient: to each what comes back for its elements
pub const CONCAT: FunctionDef = FunctionDef {
    name: "concat",
    item: "CONCAT",
    operands: &["a", "b", ".."],
    over_weights: false,
    elementwise: false,
    args: &[ArgDef {
        name: "axis",
        kind: ArgKind::Axis,
        default: Some(Arg::Ints(&[-1])),
        doc: "along which axis; not that of the batch",
    }],
    ty: |x, args| {
        if let Some(other) = x.iter().find(|ty| ty.dtype != DType::F32) {
            return Err(format!("joins values of f32, found {}", other.dtype));
        }
        let shapes: Vec<Shape> = x.iter().map(|ty| ty.shape.clone()).collect();
        concatenated(&shapes, ints(args, 0)[0]).map(|(_, shape)| TensorType::f32(shape))
    },
    lower: |b, args, x| {
        let axis = axis_of(&b.shape(x[0]), ints(args, 0)[0]).expect("the axis was checked");
        b.concat(x, axis)
    },
};

/// The same elements in the same order, under another shape.
///
/// - Value: rows stay rows: of each, the elements are counted along its last axis first
/// - Shapes: `f32[B, n] -> f32[B, S]` of the same number of elements
/// - Argument `shape`: the new shape; a shape, such as `[B, 4, 7]`
/// - Gradient: `dy`, under the old shape
pub const RESHAPE: FunctionDef = FunctionDef {
    name: "reshape",
    item: "RESHAPE",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[ArgDef { name: "shape", kind: ArgKind::Extents, default: None, doc: "the new shape" }],
    ty: |x, args| {
        let shape = reshaped(ints(args, 0));
        if x[0].dtype != DType::F32 {
            return Err(format!("needs f32, found {}", x[0].dtype));
        }
        match x[0].shape.0.first() {
            Some(&Dim::B) if x[0].shape.len() == shape.len() => Ok(TensorType::f32(shape)),
            _ => Err(format!(
                "keeps the number of elements of a row, found {} for {}",
                shape.declared(),
                x[0].shape.declared()
            )),
        }
    },
    lower: |b, args, x| {
        let shape = reshaped(ints(args, 0));
        if b.shape(x[0]) == shape { x[0] } else { b.reshape(x[0], shape) }
    },
};

/// The axes in another order.
///
/// - Value: with `axes = [0, 2, 1]`, `y[i, j, k] = x[i, k, j]`; without, the last two axes change places
/// - Shapes: `f32[B, n, m] -> f32[B, m, n]`
/// - Argument `axes = []`: for each axis of the result, which one of `x` it is, that of the batch first; an axis, such as
///   -1, or a list of them, such as `[1, 2]`
/// - Gradient: `dy`, with its axes in the old order
pub const TRANSPOSE: FunctionDef = FunctionDef {
    name: "transpose",
    item: "TRANSPOSE",
    operands: &["x"],
    over_weights: false,
    elementwise: false,
    args: &[ArgDef {
        name: "axes",
        kind: ArgKind::Axes,
        default: Some(Arg::Ints(&[])),
        doc: "for each axis of the result, which one of `x` it is, that of the batch first",
    }],
    ty: |x, args| {
        if x[0].dtype != DType::F32 {
            return Err(format!("needs f32, found {}", x[0].dtype));
        }
        let order = order(&x[0].shape, ints(args, 0))?;
        Ok(TensorType::f32(Shape(order.into_iter().map(|axis| x[0].shape.0[axis]).collect())))
    },
    lower: |b, args, x| {
        let order = order(&b.shape(x[0]), ints(args, 0)).expect("the axes were checked");
        b.apply(Op::Transpose(order), &[x[0]])
    },
};

/// `[B, 4, 7]` from the extents of a row.
fn reshaped(row: &[i64]) -> Shape {
    let extents = row.iter().map(|&n| Dim::Fixed(usize::try_from(n).unwrap_or(usize::MAX)));
    Shape([Dim::B].into_iter().chain(extents).collect())
}

/// For each axis of the result, which one it is.
fn order(shape: &Shape, axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = shape.rank();
    let is_batch = |axis: usize| shape.0[axis].is_batch();
    if axes.is_empty() {
        return match rank {
            2.. if !is_batch(rank - 2) => Ok((0..rank - 2).chain([rank - 1, rank - 2]).collect()),
            _ => Err(format!("changes the last two axes, without that of the batch, found {}", shape.declared())),
        };
    }
    let order = axes.iter().map(|&axis| axis_of(shape, axis)).collect::<Result<Vec<usize>, String>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<usize>>() {
        return Err(format!("needs each axis of {} once, found {axes:?}", shape.declared()));
    }
    match is_batch(0) && order[0] != 0 {
        true => Err(format!("leaves the batch, axis 0 of {}, where it is", shape.declared())),
        false => Ok(order),
    }
}
