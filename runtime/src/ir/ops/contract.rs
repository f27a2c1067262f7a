//! Sums of products: the matrix product.

use super::{Body, OpDef};
use crate::ir::{Builder, Op};
use crate::types::{DType, Dim, Shape, TensorType};

/// Columns of a narrow matrix at most.
const NARROW: usize = 16;

/// Rows of a narrow matrix from which on its update may be a kernel of its own.
const ENOUGH: usize = 256;

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
        let left = |g: &mut Builder| if ta { g.dot(b, at.dy, tb, true) } else { g.dot(at.dy, b, false, !tb) };
        let right = |g: &mut Builder| if tb { g.dot(at.dy, a, true, ta) } else { g.dot(a, at.dy, !ta, false) };
        // What comes first is in memory while the second is computed: the gradient of a narrow matrix is short, and then
        // nothing but the other gradient needs the left operand, whose place it can take.
        let shape = &g.shape(b).0;
        let narrow = matches!(shape[usize::from(!tb)], Dim::Fixed(cols) if cols <= NARROW);
        let enough = matches!(shape[usize::from(tb)], Dim::Fixed(inner) if inner >= ENOUGH);
        if narrow && enough {
            let db = right(g);
            return vec![Some(left(g)), Some(db)];
        }
        vec![Some(left(g)), Some(right(g))]
    },
    body: Body::Contract,
};
