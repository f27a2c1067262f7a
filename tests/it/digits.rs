//! Every activation and every function of a number, value and slope, in f32 against formulas in f64: from -100 to 100, near zero, at
//! kinks and at the infinities, where a finite limit is the value. The bounds are in units in the last place of the result
//! itself, however small that is; where a slope passes zero, of the terms that cancel there.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role};
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::simplify::simplify;

use crate::compiled::Compiled;
use crate::formulas::{sigmoid, softplus};
use crate::handmade::{output, parameter};

const INF: f64 = f64::INFINITY;

/// Something applied to every element.
#[derive(Clone, Copy)]
enum Applied {
    Layer(&'static LayerDef),
    Function(&'static FunctionDef),
}

/// A function with its formulas.
struct Case {
    applied: Applied,
    args: Vec<Arg>,
    value: fn(f64) -> f64,
    /// The slope, and the sum of the sizes of its terms.
    slope: fn(f64) -> (f64, f64),
    /// Value and slope at minus and plus infinity.
    ends: [(f64, f64); 2],
    /// Units in the last place that value and slope may be off.
    ulps: (f64, f64),
}

fn layer(
    layer: &'static LayerDef,
    args: &[Arg],
    value: fn(f64) -> f64,
    slope: fn(f64) -> (f64, f64),
    ends: [(f64, f64); 2],
    ulps: (f64, f64),
) -> Case {
    Case { applied: Applied::Layer(layer), args: args.to_vec(), value, slope, ends, ulps }
}

fn function(
    function: &'static FunctionDef,
    args: &[Arg],
    value: fn(f64) -> f64,
    slope: fn(f64) -> (f64, f64),
    ends: [(f64, f64); 2],
    ulps: (f64, f64),
) -> Case {
    Case { applied: Applied::Function(function), args: args.to_vec(), value, slope, ends, ulps }
}

/// A slope that is one term.
fn one(slope: f64) -> (f64, f64) {
    (slope, slope.abs())
}

/// A slope of two terms.
fn two(x: f64, y: f64) -> (f64, f64) {
    (x + y, x.abs() + y.abs())
}

fn sigmoid_slope(x: f64) -> f64 {
    sigmoid(x) * sigmoid(-x)
}

fn bell(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// The share of the normal distribution below `x`: its series near zero (Abramowitz & Stegun 26.2.11), in the tail its continued
/// fraction (26.2.14).
fn normal(x: f64) -> f64 {
    if x > 0.0 {
        return 1.0 - normal(-x);
    }
    let a = -x;
    if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            term *= a * a / f64::from(2 * n + 1);
            sum += term;
        }
        return 0.5 - bell(a) * sum;
    }
    let fraction = (1..200).rev().fold(a, |below, n| a + f64::from(n) / below);
    bell(a) / fraction
}

fn erf(x: f64) -> f64 {
    // Near zero the share has the digits of 1/2.
    if x.abs() < 2.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return FRAC_2_SQRT_PI * (-x * x).exp() * sum;
    }
    x.signum() * (1.0 - 2.0 * normal(-x.abs() * 2f64.sqrt()))
}

fn tanh_slope(x: f64) -> f64 {
    1.0 / (x.cosh() * x.cosh())
}

fn elu(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { x } else { alpha * x.exp_m1() }
}

fn elu_slope(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { 1.0 } else { alpha * x.exp() }
}

const SELU: (f64, f64) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);

fn gelu_inner(x: f64) -> f64 {
    2.0 * (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)
}

fn gelu_inner_slope(x: f64) -> f64 {
    2.0 * (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044715 * x * x)
}

fn mish_gate(x: f64) -> f64 {
    softplus(x).tanh()
}

/// The slope of the line between two kinks.
fn between(x: f64, low: f64, high: f64, slope: f64) -> f64 {
    if low < x && x < high { slope } else { 0.0 }
}

fn cases() -> Vec<Case> {
    let flat = (0.0, 0.0);
    let line = (INF, 1.0);
    let float = |value| vec![Arg::Float(value)];
    let mut cases = vec![
        layer(&layers::STEP, &[], |x| f64::from(x > 0.0), |_| one(0.0), [flat, (1.0, 0.0)], (0.0, 0.0)),
        layer(&layers::SIGMOID, &[], sigmoid, |x| one(sigmoid_slope(x)), [flat, (1.0, 0.0)], (2.0, 5.0)),
        layer(&layers::TANH, &[], f64::tanh, |x| one(tanh_slope(x)), [(-1.0, 0.0), (1.0, 0.0)], (2.0, 5.0)),
        layer(&layers::RELU, &[], |x| x.max(0.0), |x| one(f64::from(x > 0.0)), [flat, line], (0.0, 0.0)),
        layer(&layers::SOFTPLUS, &[], softplus, |x| one(sigmoid(x)), [flat, line], (4.0, 2.0)),
        layer(&layers::ELU, &float(1.0), |x| elu(x, 1.0), |x| one(elu_slope(x, 1.0)), [(-1.0, 0.0), line], (2.0, 2.0)),
        layer(&layers::ELU, &float(0.0), |x| x.max(0.0), |x| one(f64::from(x > 0.0)), [flat, line], (0.0, 0.0)),
        layer(&layers::CELU, &float(1.0), |x| elu(x, 1.0), |x| one(elu_slope(x, 1.0)), [(-1.0, 0.0), line], (2.0, 2.0)),
        layer(
            &layers::CELU,
            &float(0.375),
            |x| if x > 0.0 { x } else { 0.375 * (x / 0.375).exp_m1() },
            |x| one(elu_slope(x / 0.375, 1.0)),
            [(-0.375, 0.0), line],
            (4.0, 4.0),
        ),
        layer(
            &layers::SELU,
            &[],
            |x| SELU.0 * elu(x, SELU.1),
            |x| one(SELU.0 * elu_slope(x, SELU.1)),
            [(-SELU.0 * SELU.1, 0.0), (INF, SELU.0)],
            (4.0, 4.0),
        ),
        layer(
            &layers::SILU,
            &[],
            |x| x * sigmoid(x),
            |x| two(sigmoid(x), x * sigmoid_slope(x)),
            [flat, line],
            (4.0, 6.0),
        ),
        layer(
            &layers::GELU,
            &[Arg::Word("none")],
            |x| x * normal(x),
            |x| two(normal(x), x * bell(x)),
            [flat, line],
            (5.0, 6.0),
        ),
        layer(
            &layers::MISH,
            &[],
            |x| x * mish_gate(x),
            |x| two(mish_gate(x), x * tanh_slope(softplus(x)) * sigmoid(x)),
            [flat, line],
            (6.0, 9.0),
        ),
        layer(
            &layers::HARD_SIGMOID,
            &[],
            |x| (x + 3.0).clamp(0.0, 6.0) / 6.0,
            |x| one(between(x, -3.0, 3.0, 1.0 / 6.0)),
            [flat, (1.0, 0.0)],
            (2.0, 1.0),
        ),
        layer(
            &layers::HARD_SWISH,
            &[],
            |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            |x| two((x + 3.0).clamp(0.0, 6.0) / 6.0, x * between(x, -3.0, 3.0, 1.0 / 6.0)),
            [flat, line],
            (3.0, 3.0),
        ),
        layer(
            &layers::HARD_TANH,
            &[],
            |x| x.clamp(-1.0, 1.0),
            |x| one(between(x, -1.0, 1.0, 1.0)),
            [(-1.0, 0.0), (1.0, 0.0)],
            (0.0, 0.0),
        ),
        layer(
            &layers::SOFTSIGN,
            &[],
            |x| x / (1.0 + x.abs()),
            |x| one((1.0 + x.abs()).powi(-2)),
            [(-1.0, 0.0), (1.0, 0.0)],
            (2.0, 4.0),
        ),
    ];
    cases.extend(leaky());
    cases.extend(of_expressions());
    cases
}

fn leaky() -> [Case; 2] {
    [
        layer(
            &layers::LEAKY_RELU,
            &[Arg::Float(0.01)],
            |x| if x > 0.0 { x } else { 0.01 * x },
            |x| one(if x > 0.0 { 1.0 } else { 0.01 }),
            [(-INF, 0.01), (INF, 1.0)],
            (2.0, 1.0),
        ),
        layer(
            &layers::LEAKY_RELU,
            &[Arg::Float(0.0)],
            |x| x.max(0.0),
            |x| one(f64::from(x > 0.0)),
            [(0.0, 0.0), (INF, 1.0)],
            (0.0, 0.0),
        ),
    ]
}

fn of_expressions() -> Vec<Case> {
    let (flat, nan) = ((0.0, 0.0), (f64::NAN, f64::NAN));
    // The slope goes on where there is no value.
    let no_value = (f64::NAN, 0.0);
    vec![
        function(&functions::EXP, &[], f64::exp, |x| one(x.exp()), [flat, (INF, INF)], (2.0, 2.0)),
        function(&functions::LN, &[], f64::ln, |x| one(1.0 / x), [no_value, (INF, 0.0)], (2.0, 1.0)),
        function(&functions::SQRT, &[], f64::sqrt, |x| one(0.5 / x.sqrt().abs()), [nan, (INF, 0.0)], (1.0, 2.0)),
        function(
            &functions::ABS,
            &[],
            f64::abs,
            |x| one(f64::from(x > 0.0) - f64::from(x < 0.0)),
            [(INF, -1.0), (INF, 1.0)],
            (0.0, 0.0),
        ),
        function(&functions::EXPM1, &[], f64::exp_m1, |x| one(x.exp()), [(-1.0, 0.0), (INF, INF)], (2.0, 2.0)),
        function(&functions::LOG1P, &[], f64::ln_1p, |x| one(1.0 / (1.0 + x)), [no_value, (INF, 0.0)], (2.0, 2.0)),
        function(
            &functions::RSQRT,
            &[],
            |x| 1.0 / x.sqrt(),
            |x| one(-0.5 * (1.0 / x.sqrt()).powi(3)),
            [nan, (0.0, 0.0)],
            (2.0, 6.0),
        ),
        function(&functions::SQUARE, &[], |x| x * x, |x| one(2.0 * x), [(INF, -INF), (INF, INF)], (1.0, 0.0)),
        function(
            &functions::ERF,
            &[],
            erf,
            |x| one(FRAC_2_SQRT_PI * (-x * x).exp()),
            [(-1.0, 0.0), (1.0, 0.0)],
            (2.0, 5.0),
        ),
        function(
            &functions::SIGN,
            &[],
            |x| if x == 0.0 { x } else { x.signum() },
            |_| one(0.0),
            [(-1.0, 0.0), (1.0, 0.0)],
            (0.0, 0.0),
        ),
        // A product of products rounds each of them.
        function(
            &functions::POW,
            &[Arg::Int(5)],
            |x| x.powi(5),
            |x| one(5.0 * x.powi(4)),
            [(-INF, INF), (INF, INF)],
            (5.0, 6.0),
        ),
    ]
}

/// Points as f32: zeros of both signs, small numbers of every size, a dense grid, and both sides of each kink.
fn points() -> Vec<f64> {
    let small = (1..150).map(|power| 2f64.powi(-power) * 1.37);
    let dense = (1..=4000).map(|step| f64::from(step) * 0.025);
    let kinks = [1.0f32, 3.0, 6.0].into_iter().flat_map(|kink| [kink.next_down(), kink, kink.next_up()].map(f64::from));
    let up: Vec<f64> = small.chain(dense).chain(kinks).chain([f64::from(f32::from_bits(1))]).collect();
    let all = up.iter().flat_map(|&x| [x, -x]).chain([0.0, -0.0]);
    all.map(|x| f64::from(x as f32)).collect()
}

/// The distance from one f32 to the next, of this size.
pub fn ulp(x: f64) -> f64 {
    let size = (x.abs() as f32).max(f32::MIN_POSITIVE);
    2f64.powi((size.to_bits() >> 23) as i32 - 127 - 23)
}

/// Panics if a result is further from a number than so many units in the last place of `size`.
#[track_caller]
pub fn within(ulps: f64, size: f64, found: f64, wanted: f64, what: impl Fn() -> String) {
    let rounded = f64::from(wanted as f32);
    let same = found == rounded || found.is_nan() && rounded.is_nan();
    let error = (found - wanted).abs() / ulp(size);
    // What overflows in f64 is infinite; what is within a unit of it may be either.
    let ends = rounded.is_infinite()
        && found.abs() >= f64::from(f32::MAX) * (1.0 - 1e-6)
        && found.signum() == rounded.signum();
    assert!(same || ends || error <= ulps, "{}: {found:e} for {wanted:e}, {error:.1} ulp off", what());
}

/// The sum of the function over these points, and its gradient by them.
fn graph(case: &Case, n: usize) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = parameter(&mut b, "x", &[n]);
    let y: NodeId = match case.applied {
        Applied::Layer(layer) => layer.function.expect("an activation is a function")(&mut b, &case.args, x),
        Applied::Function(function) => (function.lower)(&mut b, &case.args, &[x]),
    };
    output(&mut b, Role::Output(0), y);
    let loss = b.sum(y, &[0]);
    output(&mut b, Role::Loss, loss);
    differentiate(&b.finish(), &[0])
}

fn name(case: &Case) -> &'static str {
    match case.applied {
        Applied::Layer(layer) => layer.name,
        Applied::Function(function) => function.name,
    }
}

#[track_caller]
fn check(case: &Case, at: &[f64], y: &[f64], dx: &[f64], how: &str) {
    let name = name(case);
    for ((&x, &y), &dx) in at.iter().zip(y).zip(dx) {
        let (value, (slope, terms)) = match x {
            f64::NEG_INFINITY => (case.ends[0].0, one(case.ends[0].1)),
            f64::INFINITY => (case.ends[1].0, one(case.ends[1].1)),
            x => ((case.value)(x), (case.slope)(x)),
        };
        // A gate that is subnormal has a few digits only, and is multiplied by `x`.
        let gated = ["silu", "gelu", "mish"].contains(&name) && x.is_finite();
        let lost = if gated { x.abs() * f64::from(f32::from_bits(1)) } else { 0.0 };
        within(case.ulps.0 + lost / ulp(value), value, y, value, || format!("{name}({x:e}) {how}"));
        within(case.ulps.1 + lost / ulp(terms), terms, dx, slope, || format!("slope of {name} at {x:e} {how}"));
    }
}

#[test]
fn values_and_slopes_have_their_digits_from_end_to_end() {
    let mut at = points();
    at.extend([-INF, INF]);
    for case in cases() {
        let graph = simplify(&graph(&case, at.len()));
        let values = Values { params: vec![Tensor::floats(&[at.len()], at.clone())], ..Values::default() };
        let run = evaluate(&graph, Precision::F32, 1, &values);
        let (y, dx) = (run.output(&Role::Output(0)), run.output(&Role::Gradient(0)));
        check(&case, &at, y.as_floats(), dx.as_floats(), "interpreted");
        let results = Compiled::new(&graph, 1).run(1, &values);
        check(&case, &at, results.get(&Role::Output(0)), results.get(&Role::Gradient(0)), "compiled");
    }
}

/// Both results at `x` as the interpreter finds them.
fn found(case: &Case, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let graph = simplify(&graph(case, x.len()));
    let values = Values { params: vec![Tensor::floats(&[x.len()], x)], ..Values::default() };
    let run = evaluate(&graph, Precision::F32, 1, &values);
    let [y, dx] = [Role::Output(0), Role::Gradient(0)].map(|role| run.output(&role).as_floats().to_vec());
    (y, dx)
}

#[test]
fn gelu_of_tanh_has_the_digits_of_its_exponent() {
    let case = layer(
        &layers::GELU,
        &[Arg::Word("tanh")],
        |x| x * sigmoid(gelu_inner(x)),
        |x| two(sigmoid(gelu_inner(x)), x * sigmoid_slope(gelu_inner(x)) * gelu_inner_slope(x)),
        [(0.0, 0.0), (INF, 1.0)],
        (0.0, 0.0),
    );
    let mut at = points();
    at.extend([-INF, INF]);
    let (y, dx) = found(&case, &at);
    for ((&x, &y), &dx) in at.iter().zip(&y).zip(&dx) {
        let (value, (slope, terms)) = match x {
            f64::NEG_INFINITY => (0.0, one(0.0)),
            f64::INFINITY => (INF, one(1.0)),
            x => ((case.value)(x), (case.slope)(x)),
        };
        // The tail is e^z of a rounded z.
        let exponent = if x < 0.0 { gelu_inner(x).abs().min(104.0) } else { 0.0 };
        within(5.0 + 2.0 * exponent, value, y, value, || format!("gelu({x:e})"));
        within(8.0 + 2.0 * exponent, terms, dx, slope, || format!("slope of gelu at {x:e}"));
    }
}

#[test]
fn every_function_of_a_number_has_a_case() {
    let rows = ["softmax", "log_softmax"];
    let several = ["maximum", "minimum", "clamp"];
    let cases = cases();
    let known = |name: &str| cases.iter().any(|case| self::name(case) == name);
    for layer in layers::ALL.iter().filter(|layer| layer.function.is_some() && !rows.contains(&layer.name)) {
        assert!(known(layer.name), "`{}` has no case", layer.name);
    }
    for function in functions::ALL.iter().filter(|function| function.elementwise && !several.contains(&function.name)) {
        assert!(known(function.name), "`{}` has no case", function.name);
    }
}
