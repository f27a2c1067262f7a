//! The language for dense networks: structure, functions of the user's own, sizes from Rust.

use gradloom::{Adam, Sgd, Stage, network};
use insta::assert_snapshot;
use ndarray::Array2;

pub const HIDDEN: usize = 6;
const RATE: f64 = 0.5;

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    act leaky = |x| if x > 0.0 { x } else { 0.01 * x };
    block Two(n, slope = 0.5, bias = true) {
        residual { Dense(n, bias = bias), swish(beta = slope) } skip { Dense(n) },
        leaky,
    }
    Structured<x: [B, 3] -> y: [B, 2]> {
        Two(4), repeat(2) { Two(4, bias = false) as two, |x, a = 0.25| a * x },
        Dense(crate::language::HIDDEN), relu, Dense(2),
    }
    loss(t: [B, 2]) = mse(y, t) + RATE::VALUE * mean(repeat1.2.two.residual1.dense1.weight);
}

#[allow(non_snake_case)]
mod RATE {
    pub const VALUE: f64 = super::RATE;
}

#[test]
fn structures_are_written_out() {
    assert_snapshot!(Structured::ir(Stage::Static), @r"
    network Structured<x: f32[B,3] -> y: f32[B,2]>
      act swish = |x, beta = 1| x * sigmoid(beta * x)
      act leaky = |x| if x > 0 { x } else { 0.01 * x }
      two1.residual1.dense1                Dense(4)                f32[B,4]  16 parameters
      two1.residual1.swish1                swish(beta = 0.5)       f32[B,4]   1 parameter
      two1.residual1.skip.dense1           Dense(4)                f32[B,4]  16 parameters
      two1.residual1                       residual                f32[B,4]
      two1.leaky1                          leaky                   f32[B,4]
      repeat1.1.two.residual1.dense1       Dense(4, bias = false)  f32[B,4]  16 parameters
      repeat1.1.two.residual1.swish1       swish(beta = 0.5)       f32[B,4]   1 parameter
      repeat1.1.two.residual1.skip.dense1  Dense(4)                f32[B,4]  20 parameters
      repeat1.1.two.residual1              residual                f32[B,4]
      repeat1.1.two.leaky1                 leaky                   f32[B,4]
      repeat1.1.lambda1                    |x, a = 0.25| a * x     f32[B,4]   1 parameter
      repeat1.2.two.residual1.dense1       Dense(4, bias = false)  f32[B,4]  16 parameters
      repeat1.2.two.residual1.swish1       swish(beta = 0.5)       f32[B,4]   1 parameter
      repeat1.2.two.residual1.skip.dense1  Dense(4)                f32[B,4]  20 parameters
      repeat1.2.two.residual1              residual                f32[B,4]
      repeat1.2.two.leaky1                 leaky                   f32[B,4]
      repeat1.2.lambda1                    |x, a = 0.25| a * x     f32[B,4]   1 parameter
      dense1                               Dense(6)                f32[B,6]  30 parameters
      relu1                                relu                    f32[B,6]
      dense2                               Dense(2)                f32[B,2]  14 parameters
      loss(t: f32[B,2]) = mse(y, t) + 0.5 * mean(repeat1.2.two.residual1.dense1.weight)
      153 parameters
    ");
}

#[test]
fn structures_train() {
    let mut net = Structured::trainer(Adam::new(1e-2)).max_batch(8).seed(3).build().expect("it builds");
    let x = Array2::from_shape_fn((8, 3), |(row, column)| ((row * 3 + column) as f32 * 0.7).sin());
    let t = Array2::from_shape_fn((8, 2), |(row, column)| x[[row, column]] * x[[row, 2]]);
    let first = net.step(x.view(), t.view()).expect("it runs").loss;
    for _ in 0..300 {
        net.step(x.view(), t.view()).expect("it runs");
    }
    let last = net.step(x.view(), t.view()).expect("it runs").loss;
    assert!(last < first / 4.0, "{first} {last}");
    let _ = Sgd::new(0.1);
}
