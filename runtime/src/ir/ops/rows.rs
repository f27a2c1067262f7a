//! Rows of a table by their numbers, and the adjoint. The index is a tensor of any rank, and so is a row.

use super::{Body, OpDef};
use crate::ir::Op;
use crate::types::{DType, Dim, Shape, TensorType};

/// Whether the second operand is an index.
fn indexed(what: &str, x: &[&TensorType]) -> Result<(), String> {
    match x[0].dtype == DType::F32 && x[1].dtype.is_index() {
        true => Ok(()),
        false => Err(format!("{what} needs numbers and an index, found {} and {}", x[0], x[1])),
    }
}

/// Rows of a table: `y[s.., d..] = x[index[s..], d..]`. `f32[N, D..], u32[S..] -> f32[S.., D..]`. NaN where an index is N or
/// more. The gradient is added to the rows that were read.
pub const GATHER: OpDef = OpDef {
    name: "gather",
    ty: |_, x| {
        indexed("gather", x)?;
        match x[0].shape.0.split_first() {
            Some((Dim::Fixed(_), row)) => Ok(TensorType::f32(Shape([&x[1].shape.0, row].concat()))),
            Some((Dim::Batch(_), _)) => Err(format!("gather from {} would move elements along the batch", x[0])),
            None => Err(format!("gather needs a table, found {}", x[0])),
        }
    },
    vjp: |b, at| {
        let rows = b.shape(at.x[0]).0[0].factor();
        vec![Some(b.scatter_add(at.dy, at.x[1], rows)), None]
    },
    body: Body::Gather,
};

/// The adjoint of [`GATHER`]: each row of the result is the sum of the values that come with its number, in row-major order of
/// the index. `f32[S.., D..], u32[S..] -> f32[N, D..]`. Values whose number is N or more are left out. The gradient is gathered
/// from the rows.
pub const SCATTER_ADD: OpDef = OpDef {
    name: "scatter_add",
    ty: |op, x| {
        let &Op::ScatterAdd { rows } = op else { unreachable!("the type of a scatter") };
        indexed("scatter_add", x)?;
        match x[0].shape.0.strip_prefix(&x[1].shape.0[..]) {
            Some(row) => Ok(TensorType::f32(Shape([&[Dim::Fixed(rows)], row].concat()))),
            None => Err(format!("scatter_add of {} by {}: the index has other axes", x[0], x[1])),
        }
    },
    vjp: |b, at| vec![Some(b.gather(at.dy, at.x[1])), None],
    body: Body::Scatter,
};
