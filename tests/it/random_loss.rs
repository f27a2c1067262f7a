//! Losses and metrics drawn at random: every function of an output and a target, with a target that suits it, and terms of
//! one value.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::{self, Arg, ArgDef};
use gradloom_runtime::network::{At, BinaryOp, Clause, Expr, Port};
use gradloom_runtime::types::{DType, Dim};
use proptest::prelude::*;

use crate::draw::Target;
use crate::handmade::{self, binary, leak};

/// A function of an output and a target.
#[derive(Clone, Copy, Debug)]
pub struct Criterion {
    function: &'static FunctionDef,
    /// Which values its options take.
    variant: u8,
}

/// Any of them that a network can be trained by.
pub fn loss() -> impl Strategy<Value = Criterion> {
    let counts = ["top_k", "precision", "recall"];
    criterion(all().into_iter().filter(|function| !counts.contains(&function.name)).collect())
}

/// Those without a kink.
pub fn smooth() -> impl Strategy<Value = Criterion> {
    let names = ["cross_entropy", "mse"];
    criterion(all().into_iter().filter(|function| names.contains(&function.name)).collect())
}

/// Any of them.
pub fn metric() -> impl Strategy<Value = Criterion> {
    criterion(all())
}

fn criterion(functions: Vec<&'static FunctionDef>) -> impl Strategy<Value = Criterion> {
    (prop::sample::select(functions), 0..40u8).prop_map(|(function, variant)| Criterion { function, variant })
}

fn all() -> Vec<&'static FunctionDef> {
    functions::ALL.iter().copied().filter(|function| function.operands.len() == 2 && !function.elementwise).collect()
}

impl Criterion {
    /// What it compares an output of so many columns with.
    pub fn target(&self, outputs: usize) -> Target {
        match self.function.name {
            "cross_entropy" | "nll" | "top_k" => Target::Classes,
            "precision" | "recall" if outputs == 1 => Target::Labels,
            "precision" | "recall" => Target::Classes,
            "bce_with_logits" => Target::Probabilities,
            "kl_div" => Target::Distribution,
            "hinge" => Target::Signs,
            "mse" | "mae" | "huber" | "mean_abs_error" | "r2" => Target::Values,
            other => panic!("say what target suits {other}"),
        }
    }

    /// Of the output.
    pub fn expr(&self, outputs: usize) -> Expr<'static> {
        let target = self.target(outputs);
        let args: Vec<Arg> = self.function.args.iter().map(|arg| self.option(arg, target, outputs)).collect();
        let takes_logarithms = self.function.operands[0].starts_with("log_") && self.variant.is_multiple_of(2);
        let output = match takes_logarithms {
            true => Expr::Apply(&layers::LOG_SOFTMAX, At(0), &[], leak(Expr::Name("out"))),
            false => Expr::Name("out"),
        };
        handmade::call(self.function, &args, vec![output, Expr::Name(target.name())])
    }

    fn option(&self, arg: &ArgDef, target: Target, outputs: usize) -> Arg {
        let [first, second] = [0, 1].map(|bit| self.variant >> bit & 1 == 1);
        match (arg.name, arg.default) {
            ("k", _) => Arg::Int(1 + u64::from(self.variant) % outputs as u64),
            ("class_weights", _) if second => {
                Arg::Numbers(leak((0..outputs).map(|class| 0.5 + (class % 4) as f64).collect::<Vec<f64>>()))
            }
            ("ignore", _) if first && second => Arg::Int(u64::from(self.variant) % outputs as u64),
            // Where the largest logit decides, there is none.
            ("threshold", _) if target == Target::Labels && first => Arg::Float(0.1),
            ("threshold", Some(default)) => default,
            (_, Some(Arg::Float(value))) if first => Arg::Float(1.7 * value + 0.1),
            (_, Some(default)) => default,
            (name, None) => panic!("say what values `{name}` may take"),
        }
    }
}

/// The port of a target beside an output of so many columns.
pub fn port(target: Target, outputs: usize) -> Port<'static> {
    match target {
        Target::Classes => handmade::port_of(DType::U8, target.name(), &[Dim::B]),
        _ => handmade::port(target.name(), &[Dim::B, Dim::Fixed(outputs)]),
    }
}

/// Metrics without a target, of the output and of one value more; some need the rows twice.
pub fn measures(value: &'static str, twice: bool) -> Vec<Clause<'static>> {
    let size = mean(call(&functions::ABS, vec![value_of(value)]));
    let positive = mean(binary(BinaryOp::Gt, Expr::Name("out"), Expr::Number(0.0)));
    // A quotient of means, and a mean that needs another mean first.
    let least = binary(BinaryOp::Add, mean(square("out")), Expr::Number(1.0));
    let ratio = binary(BinaryOp::Div, mean(value_of(value)), least);
    let mut metrics = vec![("size", size), ("positive", positive), ("ratio", ratio)];
    if twice {
        let deviation = || binary(BinaryOp::Sub, Expr::Name("out"), mean(Expr::Name("out")));
        metrics.push(("spread", mean(binary(BinaryOp::Mul, deviation(), deviation()))));
    }
    metrics.into_iter().map(|(name, expr)| handmade::clause(name, expr)).collect()
}

/// Metrics of the class of each row: the share of rows whose largest output is that of it, and the mean output of it.
pub fn of_classes(outputs: usize) -> [Clause<'static>; 2] {
    let class = || Expr::Name(Target::Classes.name());
    let best = call(&functions::ARGMAX, vec![Expr::Name("out")]);
    let is_class = handmade::call(&functions::ONE_HOT, &[Arg::Int(outputs as u64)], vec![class()]);
    let own = binary(BinaryOp::Mul, is_class, Expr::Name("out"));
    [handmade::clause("accuracy", mean(binary(BinaryOp::Eq, best, class()))), handmade::clause("own", mean(own))]
}

/// Terms of a loss, each of one value.
pub const TERMS: [fn(&'static str) -> Expr<'static>; 10] = [
    |name| mean(square(name)),
    |name| mean(call(&functions::ABS, vec![value_of(name)])),
    |name| mean(call(&functions::SQRT, vec![binary(BinaryOp::Add, square(name), Expr::Number(1.0))])),
    |name| mean(call(&functions::EXP, vec![Expr::Neg(At(0), leak(square(name)))])),
    |name| call(&functions::MAX, vec![value_of(name)]),
    |name| binary(BinaryOp::Mul, Expr::Number(1e-2), call(&functions::L1, vec![value_of(name)])),
    |name| binary(BinaryOp::Mul, Expr::Number(1e-2), call(&functions::L2, vec![value_of(name)])),
    |name| {
        let sum = call(&functions::SUM, vec![binary(BinaryOp::Sub, value_of(name), Expr::Number(0.1))]);
        binary(BinaryOp::Mul, sum, Expr::Number(1e-2))
    },
    |name| {
        let padded = binary(BinaryOp::Add, square(name), Expr::Number(0.5));
        mean(binary(
            BinaryOp::Div,
            value_of(name),
            call(&functions::LN, vec![binary(BinaryOp::Add, padded, Expr::Number(1.0))]),
        ))
    },
    |name| {
        let soft = Expr::Apply(&layers::SOFTMAX, At(0), &[], leak(value_of(name)));
        mean(binary(BinaryOp::Mul, soft, value_of(name)))
    },
];

/// A value or, with a point in it, a parameter.
pub fn value_of(name: &'static str) -> Expr<'static> {
    if name.contains('.') { Expr::Path(name, At(0)) } else { Expr::Name(name) }
}

/// The mean of an expression.
pub fn mean(x: Expr<'static>) -> Expr<'static> {
    call(&functions::MEAN, vec![x])
}

fn square(name: &'static str) -> Expr<'static> {
    binary(BinaryOp::Mul, value_of(name), value_of(name))
}

fn call(function: &'static FunctionDef, operands: Vec<Expr<'static>>) -> Expr<'static> {
    handmade::call(function, &[], operands)
}
