//! Branches: conditions of every shape that their branches allow, branches that are only defined where they are taken, and
//! branches that nobody takes.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::network::{At, BinaryOp, Expr};
use gradloom_runtime::types::Shape;

use super::expressions::Context;
use super::numbers::{LARGE, SMALL, literal};
use crate::handmade::{self, binary, leak};

const COMPARISONS: [BinaryOp; 6] = [BinaryOp::Gt, BinaryOp::Lt, BinaryOp::Ge, BinaryOp::Le, BinaryOp::Ne, BinaryOp::Eq];

/// What joins truth values.
const TRUTHS: [BinaryOp; 4] = [BinaryOp::And, BinaryOp::Or, BinaryOp::Eq, BinaryOp::Ne];

impl Context<'_, '_> {
    /// `if p { x } else { y }` of this shape.
    pub fn choice(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let scalar = Shape::scalar();
        match self.tape.below(6) {
            0 | 1 => {
                let condition = self.condition(shape, depth);
                let (x, y) = self.two(shape, depth);
                branch(condition, x, y)
            }
            2 => {
                let condition = self.condition(&scalar, depth);
                let (x, y) = self.two(shape, depth);
                branch(condition, x, y)
            }
            3 => {
                let condition = self.condition(shape, depth);
                branch(condition, self.either(shape, depth), self.either(shape, depth))
            }
            4 => self.defined_where_taken(shape, depth),
            _ => self.never_taken(shape, depth),
        }
    }

    /// A truth value for each element.
    pub fn condition(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        if depth > 0 && self.tape.chance(20) {
            let op = self.tape.pick(&TRUTHS);
            let (x, y) = (self.condition(shape, depth - 1), self.either_condition(shape, depth - 1));
            return if self.tape.chance(50) { binary(op, y, x) } else { binary(op, x, y) };
        }
        if depth > 0 && self.tape.chance(10) {
            return Expr::Not(At(0), leak(self.condition(shape, depth - 1)));
        }
        if self.reduces
            && self.tape.chance(20)
            && let Some((x, y)) = self.two_ids(shape)
        {
            let op = self.tape.pick(&[BinaryOp::Eq, BinaryOp::Ne]);
            return binary(op, x, y);
        }
        let op = self.tape.pick(&COMPARISONS);
        if self.tape.chance(10) {
            let end = self.tape.pick(&[LARGE[0], LARGE[1], SMALL[0], SMALL[3], -0.0]);
            return binary(op, self.float(shape, depth.min(2)), literal(self.tape, end));
        }
        let (x, y) = self.two(shape, depth.min(2));
        binary(op, x, y)
    }

    /// Of this shape, or a single one.
    fn either_condition(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let shape = if self.tape.chance(25) { Shape::scalar() } else { shape.clone() };
        self.condition(&shape, depth)
    }

    /// Class ids of this shape: given, or the positions of the largest of rows.
    pub fn some_ids(&mut self, shape: &Shape) -> Option<Expr<'static>> {
        let given: Vec<Expr<'static>> = self.ids.iter().filter(|ids| ids.shape == *shape).map(|ids| ids.expr).collect();
        if !given.is_empty() && !self.tape.chance(40) {
            let expr = self.tape.pick(&given);
            if let Expr::Name(name) = expr {
                self.used.insert(name);
            }
            return Some(expr);
        }
        let rows = self.shape_with(|rows| rows.rank() > 0 && rows.without(&[rows.rank() - 1]) == *shape)?;
        let rows = self.float(&rows, 1);
        Some(handmade::call(&functions::ARGMAX, &[], vec![rows]))
    }

    fn two_ids(&mut self, shape: &Shape) -> Option<(Expr<'static>, Expr<'static>)> {
        let ids = self.some_ids(shape)?;
        let class = Expr::Number(self.tape.below(3) as f64);
        match self.tape.below(4) {
            0 => Some((ids, class)),
            1 => Some((class, ids)),
            _ => Some((ids, self.some_ids(shape)?)),
        }
    }

    /// A function that has no value, or an infinite slope, where the other branch is taken.
    fn defined_where_taken(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let x = self.float(shape, depth);
        let limit = Expr::Number(self.tape.pick(&[0.125, 0.5]));
        let call = |function: &'static FunctionDef| handmade::call(function, &[], vec![x]);
        let steep = match self.tape.below(4) {
            0 => call(&functions::SQRT),
            1 => call(&functions::LN),
            2 => call(&functions::RSQRT),
            _ => binary(BinaryOp::Div, Expr::Number(0.25), x),
        };
        let other = self.either(shape, depth);
        if self.tape.chance(50) {
            branch(binary(BinaryOp::Le, x, limit), other, steep)
        } else {
            branch(binary(BinaryOp::Gt, x, limit), steep, other)
        }
    }

    /// A branch that is not a number, and that no element takes.
    fn never_taken(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let hundred = Expr::Number(100.0);
        let condition = if self.tape.chance(40) { Shape::scalar() } else { shape.clone() };
        let condition = self.leaf(&condition);
        let inner = if self.reduces && self.tape.chance(60) { self.any_shape() } else { shape.clone() };
        let zero = binary(BinaryOp::Mul, Expr::Number(0.0), self.float(&inner, depth));
        let call = |function: &'static FunctionDef, x| handmade::call(function, &[], vec![x]);
        let is_total = inner != *shape || self.reduces && self.tape.chance(50);
        let total = if is_total {
            call(self.tape.pick(&[&functions::L2, &functions::SUM, &functions::MAX]), zero)
        } else {
            zero
        };
        let steep = match self.tape.below(3) {
            0 => call(&functions::SQRT, total),
            1 => call(&functions::LN, total),
            _ => binary(BinaryOp::Div, Expr::Number(1.0), total),
        };
        let own = self.float(shape, depth);
        let x = if self.tape.chance(50) { binary(BinaryOp::Mul, steep, self.leaf(shape)) } else { steep };
        if self.tape.chance(30) {
            branch(binary(BinaryOp::Lt, condition, hundred), own, x)
        } else {
            branch(binary(BinaryOp::Gt, condition, hundred), x, own)
        }
    }
}

fn branch(condition: Expr<'static>, x: Expr<'static>, y: Expr<'static>) -> Expr<'static> {
    Expr::If(At(0), leak(condition), leak(x), leak(y))
}
