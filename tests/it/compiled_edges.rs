//! Compiled code at the edges: special values of IEEE-754, and how exact the elementary functions are.

use std::f64::consts::LN_2;

use gradloom_runtime::fuse::fuse;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Op, Role};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::{Shape, TensorType};

use crate::compiled::{Compiled, Reference};
use crate::compiled_ops::{elementwise, graph, is_exact, matrix};
use crate::draw;

/// Numbers at the edges of IEEE-754, each with every other.
fn special() -> Vec<f64> {
    let least = f64::from(f32::from_bits(1));
    let subnormal = f64::from(f32::MIN_POSITIVE / 8.0);
    let positive = [0.0, least, subnormal, f64::from(f32::MIN_POSITIVE), 1e-30, 0.5, 1.0, 3.0, 88.0, 89.0, 104.0, 1e30];
    let top = [f64::from(f32::MAX), f64::INFINITY];
    let positive: Vec<f64> = positive.into_iter().chain(top).collect();
    positive.iter().copied().chain(positive.iter().map(|x| -x)).chain([f64::NAN]).collect()
}

#[test]
fn special_values_come_out_in_the_right_class() {
    let values = special();
    let count = values.len();
    let pick = |at: fn(usize, usize) -> usize| -> Tensor {
        let picked: Vec<f64> = (0..count * count).map(|index| values[at(index, count) % count]).collect();
        Tensor::floats(&[count, count], picked)
    };
    let inputs = [
        pick(|index, count| index / count),
        pick(|index, count| index % count),
        pick(|index, count| index / count * 7 + index % count * 3),
    ];
    for (op, operands, build) in elementwise() {
        let graph = graph(&vec![matrix(count); operands], |b, x| vec![build(b, &op, x)]);
        let values = Values { inputs: inputs[..operands].to_vec(), ..Values::default() };
        let results = Compiled::new(&graph, count).run(count, &values);
        let wanted = evaluate(&graph, Precision::F32, count, &values);
        let (actual, wanted) = (results.get(&Role::Output(0)), wanted.output(&Role::Output(0)).as_floats());
        for (at, (&actual, &wanted)) in actual.iter().zip(wanted).enumerate() {
            let operands: Vec<f64> = inputs[..operands].iter().map(|input| input.as_floats()[at]).collect();
            let class = |x: f64| (x.is_nan(), x.is_infinite(), x == 0.0, !x.is_nan() && x.is_sign_negative());
            let subnormal = |x: f64| (x as f32).is_subnormal();
            assert_eq!(class(actual), class(wanted), "{op:?} of {operands:?} is {actual:e} instead of {wanted:e}");
            assert_eq!(
                subnormal(actual),
                subnormal(wanted),
                "{op:?} of {operands:?} is {actual:e} instead of {wanted:e}"
            );
            let same = actual == wanted || actual.is_nan();
            assert!(same || !is_exact(&op), "{op:?} of {operands:?} is {actual:e} instead of {wanted:e}");
        }
    }
}

#[test]
fn a_limit_is_reached_by_the_same_numbers_whether_the_result_is_asked_or_the_operand() {
    let (values, count) = (special(), special().len());
    for (op, compare) in [(Op::Max, Cmp::Gt), (Op::Min, Cmp::Lt)] {
        let tensor = |extents: &[usize]| TensorType::f32(Shape::fixed(extents));
        let graph = graph(&[matrix(1), matrix(3), tensor(&[1, 3]), tensor(&[3, 3])], |b, x| {
            let product = b.dot(x[0], x[2], false, false);
            let product = b.neg(product);
            let limited = b.apply(op.clone(), &[x[1], product]);
            let next = b.dot(limited, x[3], false, false);
            let zero = b.constant_like(0.0, next);
            let beyond = b.compare(compare, product, x[1]);
            vec![b.select(beyond, next, zero)]
        });
        let kernels = fuse(&graph);
        let stored = kernels.kernels.iter().map(|kernel| kernel.writes.len()).collect::<Vec<usize>>();
        assert_eq!(stored, [1, 1], "what is limited, and the result\n{kernels}");
        let rows = count * count;
        let limits: Vec<f64> = (0..3 * rows).map(|index| values[index / 3 % count]).collect();
        let inputs = vec![
            Tensor::floats(&[rows, 1], (0..rows).map(|index| values[index / count]).collect::<Vec<f64>>()),
            Tensor::floats(&[rows, 3], limits),
            Tensor::floats(&[1, 3], vec![1.0; 3]),
            Tensor::floats(&[3, 3], vec![1.0; 9]),
        ];
        let values = Values { inputs, ..Values::default() };
        let results = Compiled::new(&graph, rows).run(rows, &values);
        let wanted = evaluate(&graph, Precision::F32, rows, &values);
        let (actual, wanted) = (results.get(&Role::Output(0)), wanted.output(&Role::Output(0)).as_floats());
        let same = |(x, y): (&f64, &f64)| x == y || x.is_nan() && y.is_nan();
        assert!(actual.iter().zip(wanted).all(same), "{op:?}");
    }
}

#[test]
fn nan_and_infinities_pass_through_reductions() {
    let mut random = Random::new(3, 0);
    for (special, cols, rows) in
        [(f64::NAN, 7, 130), (f64::INFINITY, 7, 130), (f64::NEG_INFINITY, 33, 5), (f64::NAN, 1, 1)]
    {
        let graph = graph(&[matrix(cols)], |b, x| {
            let ways: [&[usize]; 3] = [&[0], &[1], &[0, 1]];
            // A sum that comes with a variance is NaN where the variance is; here each is on its own.
            let twice = b.scale(x[0], 2.0);
            let each = |axes: &&[usize]| [b.sum(x[0], axes), b.max_over(x[0], axes), b.variance(twice, axes)];
            ways.iter().flat_map(each).collect()
        });
        let mut numbers = draw::normal(&[rows, cols], &mut random).as_floats().to_vec();
        let at = random.below(numbers.len() as u64) as usize;
        numbers[at] = special;
        let values =
            draw::singles(&Values { inputs: vec![Tensor::floats(&[rows, cols], numbers)], ..Values::default() });
        let results = Compiled::new(&graph, rows).run(rows, &values);
        Reference::new(&graph, rows, &values).check(&format!("{special} among {rows}x{cols}"), &results);
    }
}

/// An elementary function in f64, good to far below a unit in the last place of f32.
struct Function {
    op: Op,
    exact: fn(f64) -> f64,
    /// Units in the last place that the result may be off.
    ulps: f64,
}

const FUNCTIONS: [Function; 7] = [
    Function { op: Op::Exp, exact: f64::exp, ulps: 2.0 },
    Function { op: Op::Tanh, exact: f64::tanh, ulps: 2.0 },
    Function { op: Op::Ln, exact: f64::ln, ulps: 2.0 },
    Function { op: Op::Sigmoid, exact: |x| 1.0 / (1.0 + (-x).exp()), ulps: 2.0 },
    Function { op: Op::TanhSlope, exact: |x| x.cosh().powi(-2), ulps: 4.0 },
    Function { op: Op::SigmoidSlope, exact: |x| 0.25 * (0.5 * x).cosh().powi(-2), ulps: 3.0 },
    Function { op: Op::Softplus, exact: |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), ulps: 4.0 },
];

const COLUMNS: usize = 1024;
const SAMPLES: usize = 1 << 20;

/// The worst error over these arguments, in units in the last place of f32, and where it is. Where the exact result is no
/// finite f32, compiled code must have the same one.
fn worst(function: &Function, x: &[f32]) -> (f64, f32) {
    let graph = graph(&[matrix(COLUMNS)], |b, x| vec![b.apply(function.op.clone(), x)]);
    let rows = x.len() / COLUMNS;
    let input = Tensor::floats(&[rows, COLUMNS], x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
    let values = Values { inputs: vec![input], ..Values::default() };
    let results = Compiled::new(&graph, rows).run(rows, &values);
    let error = |(&x, &y): (&f32, &f64)| {
        let exact = (function.exact)(f64::from(x));
        let nearest = exact as f32;
        if f64::from(nearest) == y || nearest.is_nan() && y.is_nan() {
            return (0.0, x);
        }
        assert!(nearest.is_nan() == y.is_nan(), "{:?} of {x:e} is {y:e} instead of {exact:e}", function.op);
        // The step beyond the largest finite number counts as one of the last ones before it.
        let finite = nearest.abs().min(f32::MAX);
        let ulp = f64::from(finite) - f64::from(finite.next_down());
        let bounded = y.clamp(-f64::from(f32::MAX) - ulp, f64::from(f32::MAX) + ulp);
        let smallest = f64::from(f32::from_bits(1));
        ((bounded - exact).abs() / ulp.max(smallest), x)
    };
    x.iter()
        .zip(results.get(&Role::Output(0)))
        .map(error)
        .max_by(|x, y| x.0.total_cmp(&y.0))
        .expect("there are samples")
}

#[test]
fn elementary_functions_are_within_their_bounds_over_all_of_f32() {
    // Every 4096th bit pattern, the place within the 4096 at random.
    let mut random = Random::new(1, 0);
    let step = (1u64 << 32) / SAMPLES as u64;
    let x: Vec<f32> =
        (0..SAMPLES as u64).map(|index| f32::from_bits((index * step + random.below(step)) as u32)).collect();
    for function in &FUNCTIONS {
        let (error, at) = worst(function, &x);
        assert!(error <= function.ulps, "{:?} is {error:.3} ulp off at {at:e}", function.op);
    }
}

#[test]
fn elementary_functions_are_within_their_bounds_where_they_bend() {
    let mut random = Random::new(2, 0);
    let mut near =
        |scale: f64| (0..SAMPLES / 2).map(|_| ((2.0 * random.uniform() - 1.0) * scale) as f32).collect::<Vec<f32>>();
    let x = [near(110.0), near(2.0 * LN_2)].concat();
    for function in &FUNCTIONS {
        let (error, at) = worst(function, &x);
        assert!(error <= function.ulps, "{:?} is {error:.3} ulp off at {at:e}", function.op);
    }
}
