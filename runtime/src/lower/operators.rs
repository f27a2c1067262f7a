//! The operators of expressions: parts, choices, arithmetic and comparisons.
//!
//! In: nodes and what the declaration does with them, which was checked. Out: nodes of the shape that they have together.

use super::{Lowering, Names};
use crate::elaborate::parts;
use crate::ir::NodeId;
use crate::network::{BinaryOp, Expr, Span};
use crate::scalar::Cmp;
use crate::types::{DType, Shape};

impl Lowering<'_> {
    /// `x[.., 0..8]`
    pub(super) fn part(&mut self, x: NodeId, spans: &[Span<'static>]) -> NodeId {
        let shape = self.b.shape(x);
        let taken = parts(&shape, spans).expect("the network was checked");
        let mut part = x;
        for (axis, taken) in taken.iter().enumerate() {
            if taken.dim != shape.0[axis] {
                part = self.b.slice(part, axis, taken.start, taken.dim.factor(), 1);
            }
        }
        let kept = Shape(taken.iter().filter(|taken| !taken.is_one).map(|taken| taken.dim).collect());
        if self.b.shape(part) == kept { part } else { self.b.reshape(part, kept) }
    }

    /// `if p { x } else { y }`: both branches are computed, and one is taken.
    pub(super) fn choice(
        &mut self,
        condition: &Expr<'static>,
        x: &Expr<'static>,
        y: &Expr<'static>,
        names: Names<'_>,
    ) -> NodeId {
        let [mask, x, y] = [condition, x, y].map(|expr| self.expr(expr, names));
        let b = &mut self.b;
        let shapes = [mask, x, y].map(|node| b.shape(node));
        let shape = Shape::broadcast(&shapes).expect("the branches were checked");
        let [mask, x, y] = [mask, x, y].map(|node| b.spread(node, &shape));
        let choice = b.select(mask, x, y);
        self.choices.push(choice);
        choice
    }

    /// `x op y`
    pub(super) fn binary(&mut self, op: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
        let b = &mut self.b;
        let ty = op.result(b.ty(x), b.ty(y)).expect("the macro checked the operands");
        let x = b.spread(x, &ty.shape);
        let y = b.spread(y, &ty.shape);
        if op.is_logical() {
            return self.logical(op, x, y);
        }
        let [x, y] = match b.ty(x).dtype {
            DType::Bool => [x, y].map(|truth| self.number(truth)),
            _ => [x, y],
        };
        let b = &mut self.b;
        let index = b.ty(x).dtype != DType::F32;
        match op {
            BinaryOp::Add => b.add(x, y),
            BinaryOp::Sub => b.sub(x, y),
            BinaryOp::Mul => b.mul(x, y),
            BinaryOp::Div => b.div(x, y),
            BinaryOp::Eq if index => b.index_eq(x, y),
            BinaryOp::Ne if index => {
                let equal = b.index_eq(x, y);
                b.not(equal)
            }
            BinaryOp::Eq => b.compare(Cmp::Eq, x, y),
            BinaryOp::Ne => b.compare(Cmp::Ne, x, y),
            BinaryOp::Lt => b.compare(Cmp::Lt, x, y),
            BinaryOp::Le => b.compare(Cmp::Le, x, y),
            BinaryOp::Gt => b.compare(Cmp::Gt, x, y),
            BinaryOp::Ge => b.compare(Cmp::Ge, x, y),
            BinaryOp::And | BinaryOp::Or => unreachable!("these take truth values"),
        }
    }

    /// `x && y` or `x || y`: where `x` does not decide, `y` does.
    fn logical(&mut self, op: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
        let y = self.number(y);
        let b = &mut self.b;
        let either = match op {
            BinaryOp::And => b.mask(x, y),
            _ => {
                let one = b.constant_like(1.0, y);
                b.select(x, one, y)
            }
        };
        let zero = b.constant_like(0.0, either);
        b.compare(Cmp::Gt, either, zero)
    }

    /// A truth value as 0 or 1, a class id as its number.
    pub(super) fn number(&mut self, x: NodeId) -> NodeId {
        let b = &mut self.b;
        match b.ty(x).dtype {
            DType::F32 => x,
            DType::Bool => {
                let one = b.constant_like(1.0, x);
                b.mask(x, one)
            }
            _ => b.to_float(x),
        }
    }
}
