//! Numbers at the ends of what f32 holds, and quotients in the place of numbers and sizes.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::{self, Arg, ArgDef, ArgKind, LayerDef};
use gradloom_runtime::network::{At, BinaryOp, Expr, Number, Outcome, Value};
use gradloom_runtime::types::Shape;

use super::expressions::{Context, apply};
use super::tape::Tape;
use crate::handmade::{binary, call, leak};

/// Next to the largest.
pub const LARGE: [f64; 3] = [1e38, -3e38, 3.4028234e38];
/// The smallest normal numbers, and smaller ones, down to the least above 0.
pub const SMALL: [f64; 5] = [1.2e-38, -1e-38, 1e-40, 1e-45, -1e-45];

/// Functions of numbers at the ends that are no such numbers themselves.
const OF_LARGE: [&FunctionDef; 5] =
    [&functions::LN, &functions::SIGN, &functions::ERF, &functions::LOG1P, &functions::SQRT];
const OF_SMALL: [&FunctionDef; 8] = [
    &functions::LN,
    &functions::SIGN,
    &functions::ERF,
    &functions::LOG1P,
    &functions::SQRT,
    &functions::EXP,
    &functions::EXPM1,
    &functions::ABS,
];
const BOUNDED: [&LayerDef; 12] = [
    &layers::SIGMOID,
    &layers::TANH,
    &layers::SOFTSIGN,
    &layers::HARD_SIGMOID,
    &layers::HARD_TANH,
    &layers::RELU,
    &layers::ELU,
    &layers::SOFTPLUS,
    &layers::SILU,
    &layers::MISH,
    &layers::GELU,
    &layers::STEP,
];

impl Context<'_, '_> {
    /// An expression with numbers at the ends of the range, which is at none itself.
    pub fn ends(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let x = self.float(shape, depth);
        let [large, small] = [&LARGE[..], &SMALL].map(|all| self.tape.pick(all));
        let number = |tape: &mut Tape<'_>, value| literal(tape, value);
        match self.tape.below(9) {
            0 => {
                let zero = number(self.tape, -0.0);
                binary(self.tape.pick(&[BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul]), x, zero)
            }
            1 => {
                let zero = number(self.tape, -0.0);
                binary(self.tape.pick(&[BinaryOp::Add, BinaryOp::Sub]), zero, x)
            }
            2 => {
                let small = number(self.tape, small);
                binary(self.tape.pick(&[BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul]), x, small)
            }
            3 => binary(BinaryOp::Div, x, number(self.tape, large)),
            4 => {
                let [low, high] = [-1.0, 1.0].map(|sign| number(self.tape, sign * large.abs()));
                call(&functions::CLAMP, &[], vec![x, low, high])
            }
            5 => {
                let high = number(self.tape, large.abs());
                call(&functions::MINIMUM, &[], vec![x, high])
            }
            // There and back.
            6 => {
                let [there, back] = self.tape.pick(&[[large, small], [small, large]]);
                let bounded = apply(&layers::TANH, &[], x);
                let far = binary(BinaryOp::Mul, bounded, number(self.tape, there));
                binary(BinaryOp::Mul, far, number(self.tape, back))
            }
            7 => {
                let bounded = apply(&layers::TANH, &[], x);
                let y = number(self.tape, small);
                let far = binary(BinaryOp::Mul, bounded, y);
                binary(BinaryOp::Div, far, y)
            }
            _ => {
                let end = match self.tape.below(3) {
                    0 => call(self.tape.pick(&OF_SMALL), &[], vec![number(self.tape, small.abs())]),
                    1 => call(self.tape.pick(&OF_LARGE), &[], vec![number(self.tape, large.abs())]),
                    _ => {
                        let layer = self.tape.pick(&BOUNDED);
                        let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.expect("it has one")).collect();
                        apply(layer, &args, number(self.tape, -large.abs()))
                    }
                };
                binary(BinaryOp::Mul, end, x)
            }
        }
    }
}

/// A number of a declaration, or one that a Rust constant has.
pub fn literal(tape: &mut Tape<'_>, value: f64) -> Expr<'static> {
    if tape.chance(20) { Expr::Constant(value, At(0)) } else { Expr::Number(value) }
}

/// Any single number: plain, a quotient or a Rust constant.
pub fn single(tape: &mut Tape<'_>) -> Expr<'static> {
    if tape.chance(15) {
        let (x, y) = tape.pick(&[(1.0, 2.0), (1.0, 3.0), (-3.0, 4.0), (7.0, 5.0)]);
        return binary(BinaryOp::Div, Expr::Number(x), Expr::Number(y));
    }
    let value = tape.pick(&[0.5, 2.0, 0.0, -0.75, 1.0, -0.0]);
    literal(tape, value)
}

/// `1 / 4`, as a number.
fn ratio(x: i64, y: i64) -> Number<'static> {
    let text = leak(format!("{x} / {y}"));
    Number { value: Outcome::Int(x).ratio(Outcome::Int(y)), text, at: At(0) }
}

/// A size, plain or as a quotient that is rounded down.
pub fn size(tape: &mut Tape<'_>, n: usize) -> Number<'static> {
    if !tape.chance(15) {
        return crate::handmade::number(n);
    }
    let x = 2 * n as i64 + 1;
    Number { value: Outcome::Int(x).div(Outcome::Int(2)), text: leak(format!("{x} / 2")), at: At(0) }
}

/// The value of an argument: one of these; a quotient that it may be; seldom the least or the most that it may be.
pub fn argument(tape: &mut Tape<'_>, arg: &ArgDef, usual: &[Arg]) -> Value<'static> {
    let value = tape.pick(usual);
    match (arg.kind, value) {
        (ArgKind::Size | ArgKind::SizeOr { .. } | ArgKind::Sizes { .. }, Arg::Int(n)) if n > 0 => {
            match size(tape, n as usize) {
                number if number.text.contains('/') => Value::Calculated(number),
                _ => Value::Known(value),
            }
        }
        (ArgKind::Number { least, most, .. }, _) => match tape.below(20) {
            0..15 => Value::Known(value),
            15..18 => {
                let quotients = [(1, 2), (1, 4), (3, 2), (2, 3)];
                let fits = |&(x, y): &(i64, i64)| (least..=most).contains(&(x as f64 / y as f64));
                let fitting: Vec<(i64, i64)> = quotients.into_iter().filter(fits).collect();
                let (x, y) = tape.pick(&fitting);
                Value::Calculated(ratio(x, y))
            }
            18 => Value::Known(Arg::Float(least)),
            _ => Value::Known(Arg::Float(most)),
        },
        (ArgKind::NumberOrList { .. }, Arg::Float(_)) if tape.chance(20) => Value::Calculated(ratio(1, 4)),
        _ => Value::Known(value),
    }
}
