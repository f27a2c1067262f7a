//! The activations, each by its formula.

use gradloom_runtime::layers::Arg;

use super::array::Array;
use super::decisions::Decisions;
use crate::formulas::{sigmoid, softplus};

/// An activation of this name.
pub fn activation(name: &str, args: &[Arg], x: &Array<f64>, decisions: &mut Decisions) -> Array<f64> {
    match name {
        "softmax" => by_rows(x, |row, partition| row.iter().map(|x| (x - partition).exp()).collect()),
        "log_softmax" => by_rows(x, |row, partition| row.iter().map(|x| x - partition).collect()),
        _ => x.map(|x| of_number(name, args, x, decisions)),
    }
}

/// The numbers of each row, beside the logarithm of the sum of their exponentials.
fn by_rows(x: &Array<f64>, f: impl Fn(&[f64], f64) -> Vec<f64>) -> Array<f64> {
    Array::new(&x.shape, x.rows().flat_map(|row| f(row, log_sum_exp(row))).collect())
}

/// `ln(sum(e^x))`, shifted by the largest.
pub fn log_sum_exp(row: &[f64]) -> f64 {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
}

fn of_number(name: &str, args: &[Arg], x: f64, decisions: &mut Decisions) -> f64 {
    match name {
        "step" => f64::from(u8::from(decisions.above(x, 0.0))),
        "sigmoid" => sigmoid(x),
        "tanh" => x.tanh(),
        "relu" => decisions.larger(0.0, x),
        "leaky_relu" => bent(x, decisions, |x| number(args) * x),
        "elu" => bent(x, decisions, |x| number(args) * x.exp_m1()),
        "celu" => bent(x, decisions, |x| number(args) * (x / number(args)).exp_m1()),
        "selu" => 1.050_700_987_355_480_5 * bent(x, decisions, |x| 1.673_263_242_354_377_2 * x.exp_m1()),
        "gelu" if args == [Arg::Word("tanh")] => {
            let bend = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            x * (1.0 + bend.tanh()) / 2.0
        }
        "gelu" => x * (1.0 + erf(x / 2f64.sqrt())) / 2.0,
        "silu" => x * sigmoid(x),
        "softplus" => softplus(x),
        "mish" => x * softplus(x).tanh(),
        "hard_sigmoid" => hard_sigmoid(x, decisions),
        "hard_swish" => x * hard_sigmoid(x, decisions),
        "hard_tanh" => {
            let above = decisions.larger(-1.0, x);
            decisions.smaller(1.0, above)
        }
        "softsign" => {
            decisions.compare(x, 0.0);
            x / (1.0 + x.abs())
        }
        other => panic!("say what {other} computes"),
    }
}

/// The only argument.
fn number(args: &[Arg]) -> f64 {
    match args {
        [Arg::Float(number)] => *number,
        other => panic!("wanted one number, found {other:?}"),
    }
}

/// `x` above 0, something else below.
fn bent(x: f64, decisions: &mut Decisions, below: impl Fn(f64) -> f64) -> f64 {
    if decisions.above(x, 0.0) { x } else { below(x) }
}

fn hard_sigmoid(x: f64, decisions: &mut Decisions) -> f64 {
    let above = decisions.larger(0.0, x + 3.0);
    decisions.smaller(6.0, above) / 6.0
}

/// `2 / sqrt(pi) e^(-x^2) sum(2^n x^(2n + 1) / (1 3 .. (2n + 1)))`: no term has another sign than the others.
/// Source: Abramowitz & Stegun 1964, 7.1.6.
pub fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum, mut n) = (x, 0.0, 0.0);
    while sum + term != sum {
        sum += term;
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

#[test]
fn the_error_function_is_that_of_tables() {
    // Abramowitz & Stegun 1964, table 7.1.
    for (x, y) in [(0.0, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0), (8.0, 1.0)] {
        assert!((erf(x) - y).abs() < 1e-10 && (erf(-x) + y).abs() < 1e-10, "erf({x}) is {}", erf(x));
    }
}
