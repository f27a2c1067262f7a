//! Sums of products: the matrix product.

use super::{Body, OpDef};
use crate::ir::Op;
use crate::types::{DType, Shape, TensorType};

/// Matrix product. `f32[M,K], f32[K,N] -> f32[M,N]`; a transposed operand is stored `[K,M]` or `[N,K]`.
/// `dA = dy B^T`, `dB = A^T dy`, each as a product of the same kind.
pub const DOT: OpDef = OpDef {
    name: "dot",
    ty: |op, x| {
        let Op::Dot { ta, tb } = *op else { unreachable!("the type of a product") };
        let matrix = |ty: &TensorType| ty.dtype == DType::F32 && ty.shape.rank() == 2;
        if !matrix(x[0]) || !matrix(x[1]) {
            return Err(format!("dot needs matrices, found {} and {}", x[0], x[1]));
        }
        let (a, b) = (&x[0].shape.0, &x[1].shape.0);
        let (m, k) = if ta { (a[1], a[0]) } else { (a[0], a[1]) };
        let (inner, n) = if tb { (b[1], b[0]) } else { (b[0], b[1]) };
        if k != inner {
            return Err(format!("dot of {} and {}: {k} is not {inner}", x[0], x[1]));
        }
        Ok(TensorType::f32(Shape(vec![m, n])))
    },
    vjp: |g, at| {
        let Op::Dot { ta, tb } = at.op else { unreachable!("the gradient of a product") };
        let (a, b) = (at.x[0], at.x[1]);
        let da = if ta { g.dot(b, at.dy, tb, true) } else { g.dot(at.dy, b, false, !tb) };
        let db = if tb { g.dot(at.dy, a, true, ta) } else { g.dot(a, at.dy, !ta, false) };
        vec![Some(da), Some(db)]
    },
    body: Body::Contract,
};
