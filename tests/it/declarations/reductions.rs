//! What makes one number of many: reductions, sums over weights, shares of truth values.

use gradloom_runtime::functions;
use gradloom_runtime::layers::Arg;
use gradloom_runtime::network::{At, BinaryOp, Expr, Span};
use gradloom_runtime::types::{Dim, Shape};

use super::expressions::Context;
use super::numbers::argument;
use crate::handmade::{binary, call, leak, number};

/// That of seven classes for each id.
fn encoded_shape(ids: &Shape) -> Shape {
    Shape(ids.0.iter().copied().chain([Dim::Fixed(7)]).collect())
}

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
        if choice == 3 && !self.ids.is_empty() && self.tape.chance(40) {
            let id = self.tape.pick(&self.ids.clone());
            let args = functions::ONE_HOT.args.iter().map(|arg| argument(self.tape, arg, &[Arg::Int(7)]));
            let args = leak(args.collect::<Vec<_>>());
            let encoded = Expr::Call(&functions::ONE_HOT, At(0), args, leak(vec![id.expr]));
            if let Expr::Name(name) = id.expr {
                self.used.insert(name);
            }
            return call(&functions::MEAN, &[], vec![self.along(encoded, &encoded_shape(&id.shape))]);
        }
        let shape = self.any_shape();
        let x = self.float(&shape, depth);
        if choice == 4 && shape.rank() >= 2 {
            return call(&functions::MEAN, &[], vec![self.along(x, &shape)]);
        }
        match choice {
            5 | 6 => small(call(&functions::SUM, &[], vec![x])),
            7 => call(&functions::MAX, &[], vec![x]),
            8 => small(call(&functions::L1, &[], vec![x])),
            9 => small(call(&functions::L2, &[], vec![x])),
            _ => call(&functions::MEAN, &[], vec![x]),
        }
    }

    /// Something of a value along some of its axes, by itself or with the value: reductions that keep their axes or not, parts,
    /// values side by side, other shapes and orders.
    pub fn along(&mut self, x: Expr<'static>, shape: &Shape) -> Expr<'static> {
        let rank = shape.rank();
        let axis = 1 + self.tape.below(rank - 1);
        let written = if self.tape.chance(50) { axis as i64 } else { axis as i64 - rank as i64 };
        let axes = match self.tape.chance(25) {
            true => Arg::Ints(leak((1..rank as i64).collect::<Vec<i64>>())),
            false => Arg::Ints(leak([written])),
        };
        let extent = shape.0[axis].factor();
        match self.tape.below(9) {
            which @ 0..5 => {
                let reductions = [&functions::MEAN, &functions::SUM, &functions::MAX, &functions::MIN, &functions::VAR];
                let keep = self.tape.chance(60);
                let reduced = call(reductions[which], &[axes, Arg::Flag(keep)], vec![x]);
                let small = binary(BinaryOp::Mul, Expr::Number(0.25), reduced);
                if keep { binary(self.tape.pick(&[BinaryOp::Sub, BinaryOp::Mul]), x, small) } else { small }
            }
            5 => {
                let from = self.tape.below(extent);
                let to = from + 1 + self.tape.below(extent - from);
                let span = match self.tape.below(3) {
                    0 => Span::One(number(from)),
                    1 => Span::Range((from > 0).then(|| number(from)), (to < extent).then(|| number(to))),
                    _ => Span::Range(Some(number(from)), Some(number(to))),
                };
                let spans = (0..rank).map(|at| if at == axis { span } else { Span::All });
                Expr::Part(At(0), leak(x), leak(spans.collect::<Vec<_>>()))
            }
            6 => {
                let other = binary(BinaryOp::Mul, x, Expr::Number(0.5));
                call(&functions::CONCAT, &[Arg::Ints(leak([written]))], vec![x, other, x])
            }
            7 if rank >= 3 => {
                let given = self.tape.chance(50);
                let order: Vec<i64> = [0].into_iter().chain((1..rank as i64).rev()).collect();
                call(&functions::TRANSPOSE, &[Arg::Ints(if given { leak(order).as_slice() } else { &[] })], vec![x])
            }
            _ => {
                let width: usize = shape.0[1..].iter().map(|dim| dim.factor()).product();
                let row = if self.tape.chance(50) { vec![width as i64, 1] } else { vec![width as i64] };
                call(&functions::RESHAPE, &[Arg::Ints(leak(row))], vec![x])
            }
        }
    }
}
