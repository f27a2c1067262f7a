//! Functions of the user's own drawn at random: of one value and up to two trainable numbers, with branches, none of which
//! grows faster than its value.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::{Act, At, BinaryOp, Expr};
use proptest::prelude::*;

use crate::handmade::{self, binary, leak};

/// The names of the trainable numbers.
pub const NUMBERS: [&str; 2] = ["a", "b"];

/// An expression, as it is drawn and made smaller.
#[derive(Clone, Debug)]
pub enum Function {
    /// What comes in.
    Value,
    /// A trainable number.
    Trained(usize),
    Number(f64),
    Neg(Box<Function>),
    Sum(Box<Function>, Box<Function>),
    Difference(Box<Function>, Box<Function>),
    /// `f * tanh(g)`
    Product(Box<Function>, Box<Function>),
    /// `f / (1 + g^2)`
    Quotient(Box<Function>, Box<Function>),
    Apply(&'static LayerDef, Box<Function>),
    Call(&'static FunctionDef, Box<Function>),
    /// `ln(f^2 + 0.5)`
    Ln(Box<Function>),
    /// `exp(-f^2)`
    Bell(Box<Function>),
    /// The smaller or the larger of two.
    Least(&'static FunctionDef, Box<Function>, Box<Function>),
    /// `if p > q { f } else { g }`
    If(Box<[Function; 4]>),
}

/// Any of them.
pub fn function() -> impl Strategy<Value = Function> {
    let number = prop::sample::select(vec![-1.5, -0.1, 0.0, 0.5, 1.0, 2.0]).prop_map(Function::Number);
    let leaf =
        prop_oneof![5 => Just(Function::Value), 2 => (0..NUMBERS.len()).prop_map(Function::Trained), 2 => number];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let pair = || (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        let one = || inner.clone().prop_map(Box::new);
        let smooth = [&layers::SIGMOID, &layers::TANH, &layers::SOFTPLUS, &layers::GELU, &layers::RELU];
        let elementwise = [&functions::ABS, &functions::ERF, &functions::SIGN];
        let least = [&functions::MINIMUM, &functions::MAXIMUM];
        prop_oneof![
            1 => one().prop_map(Function::Neg),
            1 => pair().prop_map(|(f, g)| Function::Sum(f, g)),
            1 => pair().prop_map(|(f, g)| Function::Difference(f, g)),
            2 => pair().prop_map(|(f, g)| Function::Product(f, g)),
            1 => pair().prop_map(|(f, g)| Function::Quotient(f, g)),
            1 => (prop::sample::select(smooth.to_vec()), one()).prop_map(|(layer, f)| Function::Apply(layer, f)),
            1 => (prop::sample::select(elementwise.to_vec()), one()).prop_map(|(call, f)| Function::Call(call, f)),
            1 => one().prop_map(Function::Ln),
            1 => one().prop_map(Function::Bell),
            1 => (prop::sample::select(least.to_vec()), pair()).prop_map(|(call, (f, g))| Function::Least(call, f, g)),
            2 => (inner.clone(), inner.clone(), inner.clone(), inner)
                .prop_map(|(p, q, f, g)| Function::If(Box::new([p, q, f, g]))),
        ]
    })
}

impl Function {
    /// What it is made of.
    fn parts(&self) -> Vec<&Function> {
        match self {
            Function::Value | Function::Number(_) | Function::Trained(_) => Vec::new(),
            Function::Neg(f) | Function::Apply(_, f) | Function::Call(_, f) | Function::Ln(f) | Function::Bell(f) => {
                vec![f]
            }
            Function::Sum(f, g)
            | Function::Difference(f, g)
            | Function::Product(f, g)
            | Function::Quotient(f, g)
            | Function::Least(_, f, g) => vec![f, g],
            Function::If(parts) => parts.iter().collect(),
        }
    }

    /// How many trainable numbers it has: those up to the last that it reads.
    pub fn n_numbers(&self) -> usize {
        match self {
            Function::Trained(index) => index + 1,
            _ => self.parts().into_iter().map(Function::n_numbers).max().unwrap_or(0),
        }
    }

    /// Whether there is an `if` in it.
    pub fn has_branches(&self) -> bool {
        matches!(self, Function::If(_)) || self.parts().into_iter().any(Function::has_branches)
    }

    /// The declaration of `|x, a = 1.0, b = 1.0| x + 0.8 * f`, which depends on its value whatever `f` is: the sum of numbers
    /// that are all the same but for rounding, as those of `x + (a - x)` are, is off by more than chance explains.
    pub fn act(&self) -> Act<'static> {
        let extras: Vec<(&str, f64)> = NUMBERS.iter().take(self.n_numbers()).map(|&name| (name, 1.0)).collect();
        let term = binary(BinaryOp::Mul, Expr::Number(0.8), self.expr());
        let expr = binary(BinaryOp::Add, Expr::Name("x"), term);
        Act { name: None, operand: "x", extras: leak(extras), expr }
    }

    fn expr(&self) -> Expr<'static> {
        let call = |function: &'static FunctionDef, operands| {
            let args: Vec<Arg> = function.args.iter().map(|arg| arg.default.expect("it has defaults")).collect();
            handmade::call(function, &args, operands)
        };
        let square = |f: &Function| binary(BinaryOp::Mul, f.expr(), f.expr());
        let apply = |layer: &'static LayerDef, f: &Function| {
            let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.expect("it has defaults")).collect();
            Expr::Apply(layer, At(0), leak(handmade::values(&args)), leak(f.expr()))
        };
        match self {
            Function::Value => Expr::Name("x"),
            Function::Trained(index) => Expr::Name(NUMBERS[*index]),
            Function::Number(value) => Expr::Number(*value),
            Function::Neg(f) => Expr::Neg(At(0), leak(f.expr())),
            Function::Sum(f, g) => binary(BinaryOp::Add, f.expr(), g.expr()),
            Function::Difference(f, g) => binary(BinaryOp::Sub, f.expr(), g.expr()),
            Function::Product(f, g) => binary(BinaryOp::Mul, f.expr(), apply(&layers::TANH, g)),
            Function::Quotient(f, g) => {
                binary(BinaryOp::Div, f.expr(), binary(BinaryOp::Add, Expr::Number(1.0), square(g)))
            }
            Function::Apply(layer, f) => apply(layer, f),
            Function::Call(function, f) => call(function, vec![f.expr()]),
            Function::Ln(f) => call(&functions::LN, vec![binary(BinaryOp::Add, square(f), Expr::Number(0.5))]),
            Function::Bell(f) => call(&functions::EXP, vec![Expr::Neg(At(0), leak(square(f)))]),
            Function::Least(function, f, g) => call(function, vec![f.expr(), g.expr()]),
            Function::If(parts) => {
                let [p, q, f, g] = &**parts;
                let condition = binary(BinaryOp::Gt, p.expr(), q.expr());
                Expr::If(At(0), leak(condition), leak(f.expr()), leak(g.expr()))
            }
        }
    }
}
