//! Expressions: losses, metrics and functions of the user's own.

use std::cmp::Ordering;

use gradloom_runtime::layers::{Arg, ArgDef, ArgKind};
use gradloom_runtime::network::{self, BinaryOp, Expr, Number, Outcome, Span};

use super::Evaluator;
use super::activations::activation;
use super::array::{Array, Value};
use super::criteria::criterion;
use super::functions::function;

/// The names of a function of the user's own and their values; none outside of one.
type Names<'n> = Option<&'n [(&'static str, Value)]>;

impl Evaluator<'_> {
    /// What an expression comes to.
    pub(super) fn expr(&mut self, expr: &Expr<'static>, names: Names<'_>) -> Value {
        match *expr {
            Expr::Number(number) | Expr::Constant(number, _) => Value::number(number),
            Expr::Name(name) => match names {
                Some(names) => names.iter().find(|(known, _)| *known == name).expect("the name is known").1.clone(),
                None => self.value(name),
            },
            Expr::Path(path, _) => self.value(path),
            Expr::Neg(_, x) => Value::Floats(self.expr(x, names).floats().map(|x| -x)),
            Expr::Not(_, x) => match self.expr(x, names) {
                Value::Truths(truths) => Value::Truths(truths.map(|truth| !truth)),
                other => panic!("wanted truth values, found {other:?}"),
            },
            Expr::Binary(op, _, x, y) => {
                let (x, y) = (self.expr(x, names), self.expr(y, names));
                self.binary(op, &x, &y)
            }
            Expr::If(_, condition, x, y) => {
                let condition = self.expr(condition, names);
                let (x, y) = (self.expr(x, names), self.expr(y, names));
                let Value::Truths(condition) = condition else { panic!("a condition is a truth value") };
                choice(&condition, x.floats(), y.floats())
            }
            Expr::Call(def, _, args, [Expr::Weights(_)]) => {
                let args = settle(def.args, args);
                let weights: Vec<Value> = self.weights().into_iter().map(Value::Floats).collect();
                let terms = weights.iter().map(|weight| {
                    let term = function(def.name, &args, std::slice::from_ref(weight), &mut self.decisions);
                    term.expect("a sum over weights").floats().data[0]
                });
                Value::number(terms.sum())
            }
            Expr::Call(def, _, args, operands) => {
                let args = settle(def.args, args);
                let operands: Vec<Value> = operands.iter().map(|operand| self.expr(operand, names)).collect();
                let found = function(def.name, &args, &operands, &mut self.decisions);
                found.unwrap_or_else(|| Value::number(criterion(def.name, &args, &operands, &mut self.decisions)))
            }
            Expr::Apply(layer, _, args, x) => {
                let x = self.expr(x, names);
                Value::Floats(activation(layer.name, &settle(layer.args, args), x.floats(), &mut self.decisions))
            }
            Expr::Part(_, x, spans) => match self.expr(x, names) {
                Value::Floats(x) => Value::Floats(part(&x, spans)),
                Value::Ids(x) => Value::Ids(part(&x, spans)),
                Value::Truths(x) => Value::Truths(part(&x, spans)),
            },
            Expr::Inline(index, _, operands) => {
                let operands: Vec<Value> = operands.iter().map(|operand| self.expr(operand, names)).collect();
                self.act(index, operands)
            }
            Expr::Weights(_) | Expr::Elsewhere(..) | Expr::Broken => {
                panic!("no network that compiles has this: {expr:?}")
            }
        }
    }

    /// The user's function of this index.
    pub(super) fn act(&mut self, index: usize, operands: Vec<Value>) -> Value {
        let act = &self.definition.acts[index];
        let names = std::iter::once(act.operand).chain(act.extras.iter().map(|(name, _)| *name));
        let names: Vec<(&'static str, Value)> = names.zip(operands).collect();
        self.expr(&act.expr, Some(&names))
    }

    fn binary(&mut self, op: BinaryOp, x: &Value, y: &Value) -> Value {
        let is_eq = op == BinaryOp::Eq;
        match (x, y) {
            (Value::Ids(x), Value::Ids(y)) => return Value::Truths(x.with(y, |x, y| (x == y) == is_eq)),
            (Value::Truths(x), Value::Truths(y)) => {
                return Value::Truths(x.with(y, |x, y| match op {
                    BinaryOp::And => x && y,
                    BinaryOp::Or => x || y,
                    _ => (x == y) == is_eq,
                }));
            }
            // A class of that number.
            (Value::Ids(ids), Value::Floats(id)) | (Value::Floats(id), Value::Ids(ids)) => {
                return Value::Truths(ids.with(id, |x, id| (f64::from(x) == id) == is_eq));
            }
            _ => {}
        }
        let (x, y) = (x.floats(), y.floats());
        let mut truths = |holds: &dyn Fn(Option<Ordering>) -> bool| {
            Value::Truths(x.with(y, |x, y| holds(self.decisions.compare(x, y))))
        };
        match op {
            BinaryOp::Add => Value::Floats(x.with(y, |x, y| x + y)),
            BinaryOp::Sub => Value::Floats(x.with(y, |x, y| x - y)),
            BinaryOp::Mul => Value::Floats(x.with(y, |x, y| x * y)),
            BinaryOp::Div => Value::Floats(x.with(y, |x, y| x / y)),
            BinaryOp::Eq => truths(&|order| order == Some(Ordering::Equal)),
            BinaryOp::Ne => truths(&|order| order != Some(Ordering::Equal)),
            BinaryOp::Lt => truths(&|order| order == Some(Ordering::Less)),
            BinaryOp::Le => truths(&|order| matches!(order, Some(Ordering::Less | Ordering::Equal))),
            BinaryOp::Gt => truths(&|order| order == Some(Ordering::Greater)),
            BinaryOp::Ge => truths(&|order| matches!(order, Some(Ordering::Greater | Ordering::Equal))),
            BinaryOp::And | BinaryOp::Or => panic!("numbers are no truth values"),
        }
    }
}

/// Element by element; what has one element along an axis is the same for all.
fn choice(condition: &Array<bool>, x: &Array<f64>, y: &Array<f64>) -> Value {
    let branches = x.with(y, |x, y| (x, y));
    Value::Floats(condition.with(&branches, |condition, (x, y)| if condition { x } else { y }))
}

/// A part of a value.
fn part<T: Copy>(x: &Array<T>, spans: &[Span<'static>]) -> Array<T> {
    let number = |number: &Number<'static>, n: usize| {
        let at = size(number);
        if at < 0 { (n as i64 + at) as usize } else { at as usize }
    };
    // For each axis, the first element, how many, and whether the axis is left.
    let taken: Vec<(usize, usize, bool)> = x
        .shape
        .iter()
        .zip(spans)
        .map(|(&n, span)| match span {
            Span::All => (0, n, true),
            Span::Range(from, to) => {
                let from = from.as_ref().map_or(0, |from| number(from, n));
                (from, to.as_ref().map_or(n, |to| number(to, n)) - from, true)
            }
            Span::One(at) => (number(at, n), 1, false),
        })
        .collect();
    let extents: Vec<usize> = taken.iter().map(|(_, n, _)| *n).collect();
    let mut result = Array::of(&extents, |place| {
        let own: Vec<usize> = place.iter().zip(&taken).map(|(at, (from, ..))| at + from).collect();
        x.at(&own)
    });
    result.shape = taken.iter().filter(|(.., left)| *left).map(|(_, n, _)| *n).collect();
    result
}

/// The values of arguments.
pub(super) fn settle(declared: &[ArgDef], values: &[network::Value<'static>]) -> Vec<Arg> {
    let settle = |(arg, value): (&ArgDef, &network::Value<'static>)| match (value, arg.kind) {
        (network::Value::Known(arg), _) => *arg,
        (network::Value::Calculated(number), ArgKind::Size | ArgKind::SizeOr { .. } | ArgKind::Sizes { .. }) => {
            Arg::Int(size(number) as u64)
        }
        (network::Value::Calculated(number), _) => Arg::Float(quotient(number).unwrap_or(number.value.to_f64())),
        (network::Value::List(numbers, _), _) => {
            Arg::Ints(numbers.iter().map(|number| size(number)).collect::<Vec<i64>>().leak())
        }
        (network::Value::Pair([height, width]), _) => Arg::Pair(size(height) as u64, size(width) as u64),
        (network::Value::Init(initializer, ..), _) => Arg::Init(initializer, None),
        (network::Value::Broken, _) => panic!("no network that compiles has this"),
    };
    declared.iter().zip(values).map(settle).collect()
}

/// The integer that a number of the declaration stands for. A quotient is worked out from how it is written.
pub(super) fn size(number: &Number<'_>) -> i64 {
    match (quotient(number), number.value) {
        (Some(quotient), _) => quotient.trunc() as i64,
        (None, Outcome::Int(n)) => n,
        (None, other) => panic!("a size is an integer, found {other:?}"),
    }
}

fn quotient(number: &Number<'_>) -> Option<f64> {
    let (x, y) = number.text.split_once(" / ")?;
    let [x, y] = [x, y].map(|side| side.parse::<f64>().expect("a quotient is of numbers"));
    Some(x / y)
}
