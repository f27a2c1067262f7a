//! What makes one number of many: reductions, sums over weights, shares of truth values.

use gradloom_runtime::functions;
use gradloom_runtime::network::{At, BinaryOp, Expr};

use super::expressions::Context;
use crate::handmade::{binary, call};

impl Context<'_, '_> {
    /// A loss: several terms, or one expression.
    pub fn loss(&mut self) -> Expr<'static> {
        let mut loss = self.reduction(4);
        while self.tape.chance(30) {
            let term = if self.tape.chance(70) { self.reduction(3) } else { self.scalar(4) };
            loss = binary(BinaryOp::Add, loss, term);
        }
        loss
    }

    /// One number of values of any shape.
    pub fn reduction(&mut self, depth: usize) -> Expr<'static> {
        let small = |x| binary(BinaryOp::Mul, Expr::Number(0.125), x);
        let choice = self.tape.below(20);
        if choice >= 12 {
            return self.criterion(depth);
        }
        if choice == 11 {
            let shape = self.any_shape();
            let truths = self.condition(&shape, depth);
            return call(self.tape.pick(&[&functions::MEAN, &functions::SUM]), &[], vec![truths]);
        }
        if choice == 10 && self.has_weights {
            return small(call(self.tape.pick(&[&functions::L1, &functions::L2]), &[], vec![Expr::Weights(At(0))]));
        }
        let shape = self.any_shape();
        let x = self.float(&shape, depth);
        match choice {
            5 | 6 => small(call(&functions::SUM, &[], vec![x])),
            7 => call(&functions::MAX, &[], vec![x]),
            8 => small(call(&functions::L1, &[], vec![x])),
            9 => small(call(&functions::L2, &[], vec![x])),
            _ => call(&functions::MEAN, &[], vec![x]),
        }
    }
}
