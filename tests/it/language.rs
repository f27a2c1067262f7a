//! The language for dense networks: structure, functions of the user's own, sizes from Rust.

use gradloom::{Adam, Network, Sgd, Stage, network};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::{lower, trainable};
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
    let (x, t) = batch();
    let first = net.step(x.view(), t.view()).expect("it runs").loss;
    for _ in 0..300 {
        net.step(x.view(), t.view()).expect("it runs");
    }
    let last = net.step(x.view(), t.view()).expect("it runs").loss;
    assert!(last < first / 4.0, "{first} {last}");
}

/// Eight rows, and something to learn from them.
fn batch() -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((8, 3), |(row, column)| ((row * 3 + column) as f32 * 0.7).sin());
    let t = Array2::from_shape_fn((8, 2), |(row, column)| x[[row, column]] * x[[row, 2]]);
    (x, t)
}

#[test]
fn structures_compute_what_they_say() {
    // With many rows and many kinks, every draw has a value next to one of them.
    crate::corners::check_with::<Branches>(1, &[[1, 1], [7, 5], [20, 9]]);
    crate::corners::check_with::<Scalars>(1, &[[1, 1], [7, 5], [20, 9]]);
    crate::corners::check_with::<Structured>(1, &[[1, 1], [7, 5], [40, 9]]);
    crate::corners::check_with::<Smooth>(4, &[[4, 4], [7, 5]]);
    crate::corners::check_with::<Penalized>(1, &[[1, 1], [7, 5], [300, 129]]);
}

network! {
    act slow_elu = |x, a = 1.0| if x > 0.0 { x } else { a * (exp(x) - 1.0) };
    act hump = |x| if x < -1.0 { 0.5 * x - 0.5 } else if x < 1.0 { x * abs(x) } else { ln(x) + 1.0 };
    Branches<x: [B, 3] -> y: [B, 4]> { Dense(5), slow_elu, Dense(4), hump, |x, s = 0.5| x + s * tanh(hump(x)) as y2 }
    loss = mean(if y > 0.0 { y * y } else { -y }) + sum(slow_elu(y2, a = 0.5)) / 10;
}

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    block Pre(c, wide = 2 * c) { residual { LayerNorm, Dense(wide), swish, Dense(c) } }
    Smooth<x: [B, 3] -> y: [B, 4]> { Dense(8, bias = false), repeat(2) { Pre(8) }, Pre(8, wide = 4) as last, Dense(4) }
    loss(t: [u8; B]) = cross_entropy(y, t, class_weights = [1.0, 0.5, 2, 3 / 2.0]) + 1e-3 * mean(last * last);
}

network! {
    Penalized<x: [B, 3] -> y: [B, 2]> { Dense(4), tanh, residual { Dense(4), relu }, Dense(2) }
    loss(t: [B, 2]) = mse(y, t) + 1e-3 * l2(weights) + 1e-4 * l1(weights) + 1e-2 * l2(dense1.bias);
    metric squares = l2(weights);
    metric sizes = l1(weights);
}

#[test]
fn weights_are_all_weights_and_no_biases() {
    let mut net = Penalized::trainer(Sgd::new(0.1)).max_batch(8).seed(4).build().expect("it builds");
    let names: Vec<String> = net.names().filter(|name| name.ends_with("weight")).map(str::to_string).collect();
    assert_eq!(names.len(), 3);
    let sum = |term: fn(f32) -> f32| -> f32 {
        names.iter().map(|name| net.param(name).expect("it is a parameter").mapv(term).sum()).sum()
    };
    let expected = [sum(|w| w * w), sum(f32::abs)];
    let (x, t) = batch();
    let step = net.evaluate(x.view(), t.view()).expect("it runs");
    for (found, expected) in [step.squares, step.sizes].into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4 * expected, "{found} {expected}");
    }
}

network! {
    act bump = |x, width = 1.0| exp(-square(x / width)) + 0.1 * pow(x, n = 3);
    act bounded = |x, low = -0.5| maximum(low, minimum(x, 0.75)) + clamp(0.5 * x, -2, 2) - erf(x) * rsqrt(1 + square(x));
    Scalars<x: [B, 3] -> y: [B, 2]> { Dense(4), bump, |x| log1p(abs(x)) * sign(x) + expm1(0.1 * x), Dense(4), bounded, Dense(2) }
    loss(t: [B, 2]) = mse(y, t) + 0.1 * sqrt(1 + mean(square(y)));
}

#[test]
fn functions_have_the_gradients_that_central_differences_show() {
    for definition in [Structured::declared(), Branches::declared(), Scalars::declared()] {
        let graph = lower(definition, Mode::Train).expect("the network is sound");
        let wanted: Vec<usize> = trainable(&graph).collect();
        let values = crate::draw::values(&graph, 5, 7);
        crate::finite_difference::check(definition.name, &graph, 5, &values, &wanted, crate::finite_difference::STEP);
    }
}

network! {
    Lazy<x: [B, 1] -> y: [B, 1]> { |x, a = 2.0| if x > 0.0 { a * x } else { a * (exp(x) - 1.0) } }
    loss = sum(y);
}

#[test]
fn a_branch_that_is_not_taken_has_no_gradient_even_where_its_slope_is_infinite() {
    // e^200 overflows: the gradient of the branch not taken is infinite, and zero times that is NaN.
    let mut net = Lazy::trainer(Sgd::new(0.1)).build().expect("it builds");
    let gradients = net.gradients(ndarray::array![[200.0f32], [-1.0]].view(), ()).expect("it runs");
    let a = gradients.get("lambda1.a").expect("it is a parameter").sum();
    let expected = 200.0 + (-1.0f32).exp() - 1.0;
    assert!((a - expected).abs() < 1e-4, "{a} {expected}");
}

const EMPTY: u32 = line!() + 3;
network! {
    const DOUBLE = 2 * crate::language::NONE;
    Empty<x: [B, 3] -> y: [B, 2]> { Dense(DOUBLE - 1), relu, repeat(crate::language::HIDDEN / crate::language::NONE) { relu }, Dense(2) }
    loss = mean(y);
}

pub const NONE: usize = 0;

#[test]
fn a_size_from_rust_is_checked_when_the_network_is_built() {
    let error = Empty::trainer(Sgd::new(0.1)).build().expect_err("it is no size").to_string();
    let lines: Vec<&str> = error.lines().map(|line| line.rsplit_once(": ").map_or(line, |(_, text)| text)).collect();
    assert_snapshot!(lines.join("\n"), @"`n` of `Dense` must be an integer of at least 1, found `DOUBLE - 1` = -1");
    assert!(error.starts_with(&format!("tests/it/language.rs:{EMPTY}:43: ")), "{error}");
}

const MISFIT: u32 = line!() + 2;
network! {
    Misfit<x: [B, crate::language::HIDDEN] -> y: [B, 2]> { residual { Dense(4) }, Dense(2) }
    loss = mean(y) + mean(dense7.weight);
}

#[test]
fn what_depends_on_a_size_from_rust_has_the_words_of_the_macro() {
    let text = Misfit::ir(Stage::Static);
    assert!(text.starts_with(&format!("tests/it/language.rs:{MISFIT}:60: ")), "{text}");
    assert_snapshot!(text.split_once(": ").expect("a place and a message").1, @r"
    `residual` adds its body to what comes in: the body gives [B, 4], but [B, 6] comes in; a `skip { .. }` after it can bring that to [B, 4]
    x [B,6] -> Dense(4) [B,4]
    ");
}

network! {
    act own = |x| maximum(0, x);
    /// An activation of the user's own between two products.
    Own<x: [B, 3] -> y: [B, 2]> { Dense(4), own as a, Dense(2) }
    loss(t: [B, 2]) = mse(y, t);

    /// The same one of the language's.
    BuiltIn<x: [B, 3] -> y: [B, 2]> { Dense(4), relu as a, Dense(2) }
    loss(t: [B, 2]) = mse(y, t);
}

#[test]
fn a_function_of_ones_own_becomes_the_code_of_a_built_in_one() {
    for stage in [Stage::Backward, Stage::Fused, Stage::Plan] {
        assert_eq!(Own::trainer(Adam::new(0.1)).ir(stage), BuiltIn::trainer(Adam::new(0.1)).ir(stage), "{stage:?}");
    }
}
