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
    /// A function of one or more operands, which are kept to where it is defined and flat enough.
    Call(&'static FunctionDef, Vec<Function>),
    /// `if p > q { f } else { g }`, or another comparison.
    If(BinaryOp, Logic, Box<[Function; 4]>),
}

/// Any of them.
pub fn function() -> impl Strategy<Value = Function> {
    let number = prop::sample::select(vec![-1.5, -0.1, 0.0, 0.5, 1.0, 2.0]).prop_map(Function::Number);
    let leaf =
        prop_oneof![5 => Just(Function::Value), 2 => (0..NUMBERS.len()).prop_map(Function::Trained), 2 => number];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let pair = || (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        let one = || inner.clone().prop_map(Box::new);
        let operands = |f: Function, g: Function, h: Function, function: &'static FunctionDef| {
            Function::Call(function, [f, g, h].into_iter().take(function.operands.len()).collect())
        };
        let compare = prop::sample::select(COMPARISONS.to_vec());
        let logic = prop::sample::select(vec![Logic::Plain, Logic::Not, Logic::Not, Logic::And, Logic::Or]);
        prop_oneof![
            1 => one().prop_map(Function::Neg),
            1 => pair().prop_map(|(f, g)| Function::Sum(f, g)),
            1 => pair().prop_map(|(f, g)| Function::Difference(f, g)),
            2 => pair().prop_map(|(f, g)| Function::Product(f, g)),
            1 => pair().prop_map(|(f, g)| Function::Quotient(f, g)),
            1 => (prop::sample::select(activations()), one()).prop_map(|(layer, f)| Function::Apply(layer, f)),
            4 => (inner.clone(), inner.clone(), inner.clone(), prop::sample::select(elementwise()))
                .prop_map(move |(f, g, h, function)| operands(f, g, h, function)),
            2 => (compare, logic, inner.clone(), inner.clone(), inner.clone(), inner)
                .prop_map(|(compare, logic, p, q, f, g)| Function::If(compare, logic, Box::new([p, q, f, g]))),
        ]
    })
}

/// What a condition is made of beside a comparison.
#[derive(Clone, Copy, Debug)]
pub enum Logic {
    Plain,
    Not,
    And,
    Or,
}

const COMPARISONS: [BinaryOp; 6] = [BinaryOp::Gt, BinaryOp::Ge, BinaryOp::Lt, BinaryOp::Le, BinaryOp::Eq, BinaryOp::Ne];

/// The activations that look at one element at a time.
fn activations() -> Vec<&'static LayerDef> {
    let pure = layers::ALL.iter().copied().filter(|layer| layer.function.is_some());
    pure.filter(|layer| !layer.name.ends_with("softmax")).collect()
}

/// The functions that do.
fn elementwise() -> Vec<&'static FunctionDef> {
    functions::ALL.iter().copied().filter(|function| function.elementwise).collect()
}

impl Function {
    /// What it is made of.
    fn parts(&self) -> Vec<&Function> {
        match self {
            Function::Value | Function::Number(_) | Function::Trained(_) => Vec::new(),
            Function::Neg(f) | Function::Apply(_, f) => vec![f],
            Function::Sum(f, g) | Function::Difference(f, g) | Function::Product(f, g) | Function::Quotient(f, g) => {
                vec![f, g]
            }
            Function::Call(_, operands) => operands.iter().collect(),
            Function::If(_, _, parts) => parts.iter().collect(),
        }
    }

    /// How many trainable numbers it has: those up to the last that it reads.
    pub fn n_numbers(&self) -> usize {
        match self {
            Function::Trained(index) => index + 1,
            _ => self.parts().into_iter().map(Function::n_numbers).max().unwrap_or(0),
        }
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
            let args: Vec<Arg> = function.args.iter().map(|arg| arg.default.unwrap_or(Arg::Int(3))).collect();
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
            Function::Call(function, operands) => {
                let first = &operands[0];
                let shifted = || binary(BinaryOp::Add, square(first), Expr::Number(0.5));
                let operand = match function.name {
                    "abs" | "erf" | "sign" | "minimum" | "maximum" | "clamp" => first.expr(),
                    "ln" | "sqrt" | "rsqrt" => shifted(),
                    "log1p" => square(first),
                    "exp" | "expm1" => Expr::Neg(At(0), leak(square(first))),
                    "square" | "pow" => apply(&layers::TANH, first),
                    other => panic!("say where {other} is defined and flat enough"),
                };
                call(function, [operand].into_iter().chain(operands[1..].iter().map(Function::expr)).collect())
            }
            Function::If(compare, logic, parts) => {
                let [p, q, f, g] = &**parts;
                let compared = binary(*compare, p.expr(), q.expr());
                let second = || binary(BinaryOp::Lt, p.expr(), Expr::Number(0.3));
                let condition = match logic {
                    Logic::Plain => compared,
                    Logic::Not => Expr::Not(At(0), leak(compared)),
                    Logic::And => binary(BinaryOp::And, compared, second()),
                    Logic::Or => binary(BinaryOp::Or, second(), compared),
                };
                Expr::If(At(0), leak(condition), leak(f.expr()), leak(g.expr()))
            }
        }
    }
}
