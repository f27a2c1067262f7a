//! Losses and metrics, each of operands of every rank that it takes, with every argument.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::network::{At, Expr, Value};
use gradloom_runtime::types::Shape;

use super::expressions::{Context, apply, square};
use super::numbers::argument;
use crate::handmade::{call, leak};

impl Context<'_, '_> {
    /// A loss or metric of drawn operands.
    pub fn criterion(&mut self, depth: usize) -> Expr<'static> {
        let all = functions::ALL.iter().copied();
        let criteria: Vec<&'static FunctionDef> =
            all.filter(|function| function.operands.len() == 2 && !function.elementwise).collect();
        let function = self.tape.pick(&criteria);
        let found = match function.name {
            "cross_entropy" | "nll" | "top_k" => self.against_classes(function, depth),
            "precision" | "recall" if self.tape.chance(50) => self.against_classes(function, depth),
            "precision" | "recall" => self.decisions(function, depth),
            _ => self.pair(function, depth),
        };
        found.unwrap_or_else(|| {
            let shape = self.any_shape();
            call(&functions::MEAN, &[], vec![self.float(&shape, depth)])
        })
    }

    /// Rows of logits and a class id for each.
    fn against_classes(&mut self, function: &'static FunctionDef, depth: usize) -> Option<Expr<'static>> {
        let least = if function.args.iter().any(|arg| arg.name == "threshold") { 2 } else { 1 };
        let is_rows = |shape: &Shape| shape.rank() >= 2 && shape.0[shape.rank() - 1].factor() >= least;
        let shape = self.shape_with(is_rows)?;
        let classes = shape.0[shape.rank() - 1].factor();
        let target = self.some_ids(&shape.without(&[shape.rank() - 1]))?;
        // The largest of other rows may be at a position that these do not have.
        if !matches!(target, Expr::Name(_)) && !self.all_rows_are_alike(&shape) {
            return None;
        }
        let mut logits = self.float(&shape, depth);
        if function.name == "nll" && !self.tape.chance(30) {
            logits = apply(&layers::LOG_SOFTMAX, &[], logits);
        }
        let args = function.args.iter().map(|arg| match (arg.name, arg.default) {
            ("k", _) => {
                let k = 1 + self.tape.below(classes) as u64;
                argument(self.tape, arg, &[Arg::Int(k)])
            }
            ("label_smoothing", _) => argument(self.tape, arg, &[0.0, 0.1, 1.0].map(Arg::Float)),
            ("class_weights", _) if self.tape.chance(40) => {
                // The first class counts, so that the weights of no batch add up to nothing too often.
                let weights: [f64; 3] = self.tape.pick(&[[0.5, 0.75, 1.0], [1.0, 0.0, 0.5], [1e6, 1.0, 0.0]]);
                Value::Known(Arg::Numbers(leak((0..classes).map(|class| weights[class % 3]).collect::<Vec<f64>>())))
            }
            ("ignore", _) if self.tape.chance(20) => {
                let id = self.tape.below(classes) as u64;
                argument(self.tape, arg, &[Arg::Int(id)])
            }
            (_, default) => Value::Known(default.expect("it has one")),
        });
        let args: Vec<Value<'static>> = args.collect();
        Some(Expr::Call(function, At(0), leak(args), leak(vec![logits, target])))
    }

    /// Whether all rows that a position may come from are as long as these.
    fn all_rows_are_alike(&self, shape: &Shape) -> bool {
        let last = |shape: &Shape| shape.0[shape.rank() - 1];
        let beside = shape.without(&[shape.rank() - 1]);
        let others = self.floats.iter().map(|(_, shape)| shape).filter(|other| other.rank() > 0);
        others.filter(|other| other.without(&[other.rank() - 1]) == beside).all(|other| last(other) == last(shape))
    }

    /// Scores and what they should be.
    fn decisions(&mut self, function: &'static FunctionDef, depth: usize) -> Option<Expr<'static>> {
        let shape = self.shape_with(|shape| match shape.0[..] {
            [_] => true,
            [_, columns] => columns.factor() == 1,
            _ => false,
        })?;
        let threshold = function.args.iter().map(|arg| argument(self.tape, arg, &[0.0, 0.25].map(Arg::Float)));
        let threshold: Vec<Value<'static>> = threshold.collect();
        let operands = vec![self.float(&shape, depth), self.float(&shape, depth)];
        Some(Expr::Call(function, At(0), leak(threshold), leak(operands)))
    }

    /// Two values of one shape.
    fn pair(&mut self, function: &'static FunctionDef, depth: usize) -> Option<Expr<'static>> {
        let least = if function.name == "kl_div" { 2 } else { 1 };
        let shape = self.shape_with(|shape| shape.rank() >= least)?;
        let (x, y) = (self.float(&shape, depth), self.target(&shape, depth));
        let operands = match function.name {
            "kl_div" => {
                let log_q = if self.tape.chance(30) { x } else { apply(&layers::LOG_SOFTMAX, &[], x) };
                let p = match self.tape.below(3) {
                    0 => apply(&layers::SOFTMAX, &[], y),
                    1 => square(y),
                    _ => self.named("distribution", &shape).unwrap_or_else(|| apply(&layers::SOFTMAX, &[], y)),
                };
                vec![log_q, p]
            }
            // A column that is nearly constant has next to no variance.
            "r2" => vec![x, self.leaf(&shape)],
            _ => vec![x, y],
        };
        let args = function.args.iter().map(|arg| argument(self.tape, arg, &[1.0, 0.25].map(Arg::Float)));
        let args: Vec<Value<'static>> = args.collect();
        Some(Expr::Call(function, At(0), leak(args), leak(operands)))
    }

    /// Most often a target.
    fn target(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let name = self.tape.pick(&[self.values, "signs", "labels", "probabilities"]);
        match self.named(name, shape) {
            Some(target) if !self.tape.chance(40) => target,
            _ => self.float(shape, depth),
        }
    }

    fn named(&mut self, name: &'static str, shape: &Shape) -> Option<Expr<'static>> {
        let is = |expr: &Expr<'static>| matches!(expr, Expr::Name(known) if *known == name);
        let (expr, _) = self.floats.iter().find(|(expr, known)| is(expr) && known == shape)?;
        self.used.insert(name);
        Some(*expr)
    }
}
