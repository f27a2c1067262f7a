//! Sums of products of two tensors, matrix products among them.

use super::{Body, OpDef};
use crate::ir::{Builder, NodeId, Op};
use crate::types::{DType, Dim, Shape, TensorType};

/// The most columns that a narrow matrix has.
const NARROW: usize = 16;

/// With this many rows, the update of a narrow matrix may be a kernel of its own.
const ENOUGH: usize = 256;

/// What the axes of a product's operands are for, as pairs of an axis of the left and an axis of the right operand. All other
/// axes are free. The axes of the result are the batch axes in the order of the list, then the free axes of the left operand,
/// then those of the right operand, each in the order of its operand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DotAxes {
    /// The positions along both are the same, and that of the result too.
    pub batch: Vec<(usize, usize)>,
    /// Products are summed over these, the first one outermost.
    pub contracted: Vec<(usize, usize)>,
}

/// What the axes of one operand of a product are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperandAxes {
    /// The batch axes, in the order of the result.
    pub batch: Vec<usize>,
    /// The free axes, in the order of the result.
    pub free: Vec<usize>,
    /// The axes that are summed over, outermost first.
    pub contracted: Vec<usize>,
}

impl DotAxes {
    /// The axes of a matrix product. A transposed operand is stored `[K,M]` or `[N,K]`.
    pub fn matrix(ta: bool, tb: bool) -> DotAxes {
        DotAxes { batch: Vec::new(), contracted: vec![(usize::from(!ta), usize::from(tb))] }
    }

    /// Which operands are transposed, if these are the axes of a matrix product. Operands of another rank may have the same
    /// pairs: [`Graph::matrix_product`] looks at them as well.
    ///
    /// [`Graph::matrix_product`]: crate::ir::Graph::matrix_product
    pub fn as_matrix(&self) -> Option<(bool, bool)> {
        match (&self.batch[..], &self.contracted[..]) {
            ([], &[(a @ (0 | 1), b @ (0 | 1))]) => Some((a == 0, b == 1)),
            _ => None,
        }
    }

    /// The same product where one operand, number 0 or 1, has a further axis in front, and where that axis is in the result, in
    /// which it is free. `left` is the rank of the left operand without it.
    pub fn lifted(&self, operand: usize, left: usize) -> (DotAxes, usize) {
        let by = |side: usize| usize::from(side == operand);
        let shifted = |pairs: &[(usize, usize)]| pairs.iter().map(|&(a, b)| (a + by(0), b + by(1))).collect();
        let own = self.of(0, left);
        let at = own.batch.len() + if operand == 0 { 0 } else { own.free.len() };
        (DotAxes { batch: shifted(&self.batch), contracted: shifted(&self.contracted) }, at)
    }

    /// For a product by column whose result has this rank: where each axis is in the result of the product that has the last of the
    /// batch axes among the others.
    pub fn with_column_in_front(&self, rank: usize) -> Vec<usize> {
        let column = self.batch.len() - 1;
        (0..column).chain([rank - 1]).chain(column..rank - 1).collect()
    }

    /// What the axes of an operand of this rank are for: the left one is number 0, the right one number 1.
    pub fn of(&self, operand: usize, rank: usize) -> OperandAxes {
        let side = |pairs: &[(usize, usize)]| -> Vec<usize> {
            pairs.iter().map(|&(a, b)| if operand == 0 { a } else { b }).collect()
        };
        let (batch, contracted) = (side(&self.batch), side(&self.contracted));
        let free = (0..rank).filter(|axis| !batch.contains(axis) && !contracted.contains(axis)).collect();
        OperandAxes { batch, free, contracted }
    }
}

/// Product of tensors: sums of products of two elements, over pairs of axes. `f32[..], f32[..] -> f32[batch, free of the left,
/// free of the right]`. Of matrices `f32[M,K], f32[K,N] -> f32[M,N]`; a transposed operand is stored `[K,M]` or `[N,K]`.
/// Each gradient is the product of the cotangent with the other operand, over the free axes of that.
pub const DOT: OpDef = OpDef {
    name: "dot",
    ty: |op, x| {
        let Op::Dot(axes) = op else { unreachable!("the type of a product") };
        Ok(TensorType::f32(Shape(extents(axes, x)?)))
    },
    vjp: |g, at| {
        let Op::Dot(axes) = &at.op else { unreachable!("the gradient of a product") };
        // The gradient that is computed first stays in memory while the second one is computed. That of a narrow matrix is short.
        // After it, only the other gradient needs the left operand, and can be written over it.
        let shape = &g.shape(at.x[1]).0;
        let matrix = axes.as_matrix().filter(|_| shape.len() == 2 && g.ty(at.x[0]).shape.rank() == 2);
        let short = matrix.is_some_and(|(_, tb)| {
            let narrow = matches!(shape[usize::from(!tb)], Dim::Fixed(cols) if cols <= NARROW);
            narrow && matches!(shape[usize::from(tb)], Dim::Fixed(inner) if inner >= ENOUGH)
        });
        if short {
            let db = gradient(g, axes, at.x[0], at.x[1], at.dy, 1);
            return vec![Some(gradient(g, axes, at.x[0], at.x[1], at.dy, 0)), Some(db)];
        }
        [0, 1].map(|wanted| Some(gradient(g, axes, at.x[0], at.x[1], at.dy, wanted))).into()
    },
    body: Body::Contract,
};

/// The same with the last of the batch axes at the end: sums of products of neighbors, column by column, as a depthwise convolution
/// has them. `f32[..], f32[..] -> f32[batch but the last, free of the left, free of the right, last of the batch]`.
pub const DOT_BY_COLUMN: OpDef = OpDef {
    name: "dot-by-column",
    ty: |op, x| {
        let Op::DotByColumn(axes) = op else { unreachable!("the type of a product by column") };
        let mut dims = extents(axes, x)?;
        let Some(column) = axes.batch.len().checked_sub(1) else {
            return Err(format!("dot-by-column of {} and {} without columns", x[0], x[1]));
        };
        dims[column..].rotate_left(1);
        Ok(TensorType::f32(Shape(dims)))
    },
    vjp: |g, at| {
        let Op::DotByColumn(axes) = &at.op else { unreachable!("the gradient of a product by column") };
        let dy = g.transpose(at.dy, &axes.with_column_in_front(g.ty(at.dy).shape.rank()));
        [0, 1].map(|wanted| Some(gradient(g, axes, at.x[0], at.x[1], dy, wanted))).into()
    },
    body: Body::Contract,
};

/// The extents of a product: batch axes, free axes of the left operand, free axes of the right one.
fn extents(axes: &DotAxes, x: &[&TensorType]) -> Result<Vec<Dim>, String> {
    if x.iter().any(|ty| ty.dtype != DType::F32) {
        return Err(format!("dot needs numbers, found {} and {}", x[0], x[1]));
    }
    for (operand, ty) in x.iter().enumerate() {
        let OperandAxes { batch, contracted, .. } = axes.of(operand, ty.shape.rank());
        let mut named: Vec<usize> = batch.into_iter().chain(contracted).collect();
        named.sort_unstable();
        if named.last().is_some_and(|&last| last >= ty.shape.rank()) || named.windows(2).any(|two| two[0] == two[1]) {
            return Err(format!("dot of {} and {}: {ty} does not have axes {named:?}, each once", x[0], x[1]));
        }
    }
    let (a, b) = (&x[0].shape.0, &x[1].shape.0);
    let mut pairs = axes.batch.iter().chain(&axes.contracted);
    if let Some(&(i, j)) = pairs.find(|&&(i, j)| a[i] != b[j]) {
        return Err(format!("dot of {} and {}: {} is not {}", x[0], x[1], a[i], b[j]));
    }
    let (left, right) = (axes.of(0, a.len()), axes.of(1, b.len()));
    let dims = left.batch.iter().chain(&left.free).map(|&axis| a[axis]);
    Ok(dims.chain(right.free.iter().map(|&axis| b[axis])).collect())
}

/// The gradient with respect to one of the operands: `dy` times the other operand, summed over the other's free axes. The order of
/// the factors decides the order of the result's axes; where neither order fits the operand, the result is transposed.
fn gradient(g: &mut Builder, axes: &DotAxes, a: NodeId, b: NodeId, dy: NodeId, wanted: usize) -> NodeId {
    let ranks = [a, b].map(|x| g.ty(x).shape.rank());
    let other = [b, a][wanted];
    let [own, others] = [wanted, 1 - wanted].map(|operand| axes.of(operand, ranks[operand]));
    let batch = axes.batch.len();
    // In the cotangent, after the batch axes, the free axes of the left operand come first.
    let (own_at, others_at) = match wanted {
        0 => (batch, batch + own.free.len()),
        _ => (batch + others.free.len(), batch),
    };
    let pairs = DotAxes {
        batch: others.batch.iter().enumerate().map(|(at, &axis)| (at, axis)).collect(),
        contracted: others.free.iter().enumerate().map(|(at, &axis)| (others_at + at, axis)).collect(),
    };
    debug_assert_eq!(pairs.of(0, g.ty(dy).shape.rank()).free, Vec::from_iter(own_at..own_at + own.free.len()));
    // The free axes of the other operand in this product are those that were summed over, in its own order.
    let rest = pairs.of(1, ranks[1 - wanted]).free;
    let summed = rest.iter().map(|axis| {
        let at = others.contracted.iter().position(|summed| summed == axis);
        own.contracted[at.expect("what is neither batch nor free was summed over")]
    });
    let summed: Vec<usize> = summed.collect();
    let dy_first: Vec<usize> = own.batch.iter().chain(&own.free).chain(&summed).copied().collect();
    let dy_last: Vec<usize> = own.batch.iter().chain(&summed).chain(&own.free).copied().collect();
    // What has to be transposed is moved in runs if its last axis stays the last.
    let runs = |order: &[usize]| order.last() == order.iter().max();
    let in_order = dy_last.is_sorted() || runs(&dy_last) && !runs(&dy_first);
    if !dy_first.is_sorted() && in_order {
        let swap = |pairs: &[(usize, usize)]| pairs.iter().map(|&(x, y)| (y, x)).collect();
        let pairs = DotAxes { batch: swap(&pairs.batch), contracted: swap(&pairs.contracted) };
        let product = g.apply(Op::Dot(pairs), &[other, dy]);
        return in_place(g, product, &dy_last);
    }
    let product = g.apply(Op::Dot(pairs), &[dy, other]);
    in_place(g, product, &dy_first)
}

/// What has these axes of an operand, with its axes as the operand has them.
fn in_place(g: &mut Builder, x: NodeId, axes: &[usize]) -> NodeId {
    let order = (0..axes.len()).map(|axis| axes.iter().position(|&own| own == axis).expect("all axes are there"));
    let order: Vec<usize> = order.collect();
    if order.is_sorted() { x } else { g.transpose(x, &order) }
}
