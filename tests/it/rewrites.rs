//! Every rewrite, tried on operands at both ends of the range, on zeros of either sign, infinities and NaN, alone and where all that
//! it looks at has a second reader, on one row and on several.
//!
//! What is exact leaves the same bits. The two rules that are called `fast-` come at least as near to the real number.

use gradloom::{Sgd, network};
use gradloom_runtime::fuse::legalize;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::Rule;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, verify};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::simplify::{ALGEBRA, CONTRACTION, sweep};
use gradloom_runtime::stabilize::{self, stabilize};
use gradloom_runtime::types::{Dim, Shape, TensorType};

use ndarray::{arr0, array};

use crate::compiled::Compiled;
use crate::digits::within;
use crate::formulas::softplus;
use crate::handmade::{input, output, parameter};

network! {
    Sums<x: [B, 2] -> y: [B, 2]> { |x, b = 1.0, c = 1.0| x + 0.0 * (b + c) }
    loss = sum(y * 1e-30 * 1e-30);
    metric squares = mean(1e-4 * square(y));
    metric numbers = sum(y * lambda1.b * lambda1.c);
}

#[test]
fn factors_in_a_sum_make_its_terms_small_or_large() {
    let mut net = Sums::trainer(Sgd::new(0.1)).build().expect("it builds");
    let found = net.evaluate(array![[1e38f32, 1e38]].view(), ()).expect("the row fits").loss;
    within(2.0, 2e-22, f64::from(found), 2e-22, || "the loss".to_string());
    let found = net.evaluate(array![[1.5e19f32, 1.5e19]].view(), ()).expect("the row fits").squares;
    within(4.0, 2.25e34, f64::from(found), 2.25e34, || "the mean of squares".to_string());
    net.set_param("lambda1.b", arr0(1e30f32).view()).expect("it is a number");
    net.set_param("lambda1.c", arr0(1e20f32).view()).expect("it is a number");
    let found = net.evaluate(array![[1e-30f32, 1e-30]].view(), ()).expect("the row fits").numbers;
    within(4.0, 2e20, f64::from(found), 2e20, || "the sum".to_string());
}

/// Both ends of the range, and all that is no ordinary number.
const SPECIAL: [f64; 20] = [
    0.0,
    -0.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1.5e-45,
    -1.5e-45,
    1e-40,
    -1.2e-38,
    1e-38,
    1e-30,
    -1e-19,
    1.0,
    -1.0,
    1.000_000_119_209_289_6,
    -0.1,
    1e19,
    -1e38,
    2e38,
    f32::MAX as f64,
];

/// Pairs of them lie beside each other in a row.
const COLUMNS: usize = SPECIAL.len() * SPECIAL.len();

/// What a rule is tried on: from inputs `[B, n]` and parameters `[n]`, something to which it applies.
type Build = fn(&mut Builder, &[NodeId; 3], &[NodeId; 2]) -> NodeId;

/// At least one for every rule.
const TRIALS: &[(&str, Build)] = &[
    ("fold", |b, x, _| {
        let two = b.constant_like(2.0, x[0]);
        let root = b.sqrt(two);
        b.mul(x[0], root)
    }),
    ("fold", |b, x, _| {
        let shape = b.shape(x[0]);
        let small = b.constant(1e-30, &Shape::scalar());
        let none = b.scale(small, 1e-30);
        let none = b.broadcast(none, &shape, &[]);
        b.add(x[0], none)
    }),
    ("fold", |b, x, _| {
        let minus_zero = b.constant_like(-0.0, x[0]);
        let zero = b.neg(minus_zero);
        b.mul(x[0], zero)
    }),
    ("fast-fold", |b, x, _| {
        let small = b.constant_like(1e-30, x[0]);
        let none = b.scale(small, 1e-30);
        let small = b.scale(none, 1e30);
        b.mul(x[0], small)
    }),
    ("fast-fold", |b, x, _| {
        let third = b.constant_like(1.0 / 3.0, x[0]);
        let power = b.exp(third);
        b.add(x[0], power)
    }),
    ("undetach", |b, x, _| b.detach(x[0])),
    ("without-slope", |b, x, _| b.with_slope(x[0], x[1], x[2])),
    ("mul-one", |b, x, _| b.scale(x[0], 1.0)),
    ("mul-one", |b, x, _| {
        let one = b.constant_like(1.0, x[0]);
        b.mul(one, x[0])
    }),
    ("div-one", |b, x, _| {
        let one = b.constant_like(1.0, x[0]);
        b.div(x[0], one)
    }),
    ("sub-zero", |b, x, _| {
        let zero = b.constant_like(0.0, x[0]);
        b.sub(x[0], zero)
    }),
    ("neg-neg", |b, x, _| {
        let minus = b.neg(x[0]);
        b.neg(minus)
    }),
    ("neg-mul", |b, x, _| {
        let scaled = b.scale(x[0], 1e-30);
        b.neg(scaled)
    }),
    ("neg-mul", |b, x, _| {
        let scaled = b.scale(x[0], 0.0);
        b.neg(scaled)
    }),
    ("add-neg", |b, x, _| {
        let minus = b.neg(x[1]);
        b.add(x[0], minus)
    }),
    ("add-neg", |b, x, _| {
        let minus = b.neg(x[0]);
        b.add(minus, x[1])
    }),
    ("sub-neg", |b, x, _| {
        let minus = b.neg(x[1]);
        b.sub(x[0], minus)
    }),
    ("div-power-of-two", |b, x, _| {
        let least = b.constant_like(2f64.powi(-126), x[0]);
        b.div(x[0], least)
    }),
    ("div-power-of-two", |b, x, _| {
        let most = b.constant_like(-2f64.powi(126), x[0]);
        b.div(x[0], most)
    }),
    ("select-same", |b, x, _| {
        let mask = b.compare(Cmp::Lt, x[0], x[1]);
        b.select(mask, x[2], x[2])
    }),
    ("reshape-reshape", |b, _, w| {
        let cols = b.reshape(w[0], Shape::fixed(&[SPECIAL.len(), SPECIAL.len()]));
        b.reshape(cols, Shape::fixed(&[1, COLUMNS]))
    }),
    ("reshape-same", |b, _, w| b.reshape(w[0], Shape::fixed(&[COLUMNS]))),
    ("broadcast-same", |b, _, w| b.broadcast(w[0], &Shape::fixed(&[COLUMNS]), &[0])),
    ("broadcast-broadcast", |b, x, w| {
        let shape = b.shape(x[0]);
        let rows = b.broadcast(w[0], &Shape::fixed(&[2, COLUMNS]), &[1]);
        b.broadcast(rows, &Shape(vec![shape.0[0], Dim::Fixed(2), shape.0[1]]), &[1, 2])
    }),
    ("map-before-broadcast", |b, x, w| {
        let shape = b.shape(x[0]);
        let [v, w] = [w[0], w[1]].map(|w| b.broadcast(w, &shape, &[1]));
        let product = b.mul(v, w);
        b.offset(product, 1e-40)
    }),
    ("neg-after-sum", |b, x, _| {
        let minus = b.neg(x[0]);
        b.sum(minus, &[0])
    }),
    ("neg-after-sum", |b, x, _| {
        let minus = b.neg(x[0]);
        b.sum(minus, &[1])
    }),
    ("transpose-same", |b, x, _| b.transpose(x[0], &[0, 1])),
    ("transpose-transpose", |b, x, _| {
        let turned = b.transpose(x[0], &[1, 0]);
        b.transpose(turned, &[1, 0])
    }),
    ("dot-transpose", |b, x, _| {
        let columns = [x[0], x[1]].map(|x| b.slice(x, 1, 0, 20, 20));
        let turned = b.transpose(columns[0], &[1, 0]);
        b.dot(columns[1], turned, true, true)
    }),
    ("slice-all", |b, x, _| b.slice(x[0], 1, 0, COLUMNS, 1)),
    ("slice-slice", |b, x, _| {
        let some = b.slice(x[0], 1, 3, 50, 7);
        b.slice(some, 1, 2, 16, 3)
    }),
    ("pad-nothing", |b, x, _| b.pad(x[0], 1, [0, 0], 1.0)),
    ("slice-pad", |b, x, _| {
        let padded = b.pad(x[0], 1, [2, 3], 1.0);
        b.slice(padded, 1, 2, COLUMNS, 1)
    }),
    ("slice-of-padding", |b, x, _| {
        let padded = b.pad(x[0], 1, [7, 3], -1.5);
        b.slice(padded, 1, 1, 3, 2)
    }),
    ("concat-one", |b, x, _| b.concat(&[x[0]], 1)),
    ("slice-concat", |b, x, _| {
        let [first, rest] = [30, COLUMNS - 30].map(|len| b.slice(x[0], 1, 0, len, 1));
        let joined = b.concat(&[first, rest, x[1]], 1);
        b.slice(joined, 1, 31, 9, 3)
    }),
    ("fast-concat-of-pads", |b, x, _| {
        let parts = [(0, 30), (30, 50), (80, COLUMNS - 80)];
        let padded = [2, 0, 1].map(|at| {
            let (start, len) = parts[at];
            let part = b.slice(x[at], 1, 0, len, 1);
            b.pad(part, 1, [start, COLUMNS - start - len], 0.0)
        });
        let some = b.add(padded[0], padded[1]);
        b.add(padded[2], some)
    }),
    ("element-of-repeated", |b, x, w| {
        let repeated = b.broadcast(w[0], &Shape::fixed(&[3, COLUMNS]), &[1]);
        let carry = b.carry(w[1], 3, false);
        let element = b.element(carry, repeated);
        let next = b.sub(carry, element);
        let history = b.history(carry, next);
        let last = b.slice(history, 0, 3, 1, 1);
        let last = b.reshape(last, Shape::fixed(&[COLUMNS]));
        let shape = b.shape(x[0]);
        b.broadcast(last, &shape, &[1])
    }),
    ("collect-of-known", |b, x, _| {
        let columns = b.transpose(x[0], &[1, 0]);
        let initial = b.slice(x[1], 1, 0, 1, 1);
        let initial = b.reshape(initial, Shape(vec![Dim::B]));
        let carry = b.carry(initial, COLUMNS, true);
        let element = b.element(carry, columns);
        let next = b.max(carry, element);
        let history = b.history(carry, next);
        let [element, state] = [element, carry].map(|x| b.collect(history, x));
        b.sub(element, state)
    }),
    ("hoist-dot", |b, x, w| {
        let columns = b.slice(x[0], 1, 0, 20, 20);
        let columns = b.transpose(columns, &[1, 0]);
        let columns = b.reshape(columns, Shape(vec![Dim::Fixed(20), Dim::B, Dim::Fixed(1)]));
        let matrix = b.slice(w[0], 0, 0, 3, 7);
        let matrix = b.reshape(matrix, Shape::fixed(&[1, 3]));
        let initial = b.slice(x[1], 1, 0, 3, 1);
        let carry = b.carry(initial, 20, false);
        let element = b.element(carry, columns);
        let next = b.dot(element, matrix, false, false);
        let next = b.max(carry, next);
        b.history(carry, next)
    }),
    ("hoist-map", |b, x, w| {
        let columns = b.slice(x[0], 1, 0, 20, 20);
        let columns = b.transpose(columns, &[1, 0]);
        let columns = b.reshape(columns, Shape(vec![Dim::Fixed(20), Dim::B, Dim::Fixed(1)]));
        let [matrix, bias] = [w[0], w[1]].map(|w| b.slice(w, 0, 0, 3, 7));
        let matrix = b.reshape(matrix, Shape::fixed(&[1, 3]));
        let product = b.product(columns, matrix, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
        let initial = b.slice(x[1], 1, 0, 3, 1);
        let carry = b.carry(initial, 20, true);
        let element = b.element(carry, product);
        let shape = b.shape(initial);
        let bias = b.broadcast(bias, &shape, &[1]);
        let next = b.add(element, bias);
        let next = b.max(carry, next);
        b.history(carry, next)
    }),
    ("fast-mul-add", |b, x, _| {
        let product = b.mul(x[0], x[1]);
        b.add(product, x[2])
    }),
    ("fast-mul-add", |b, x, _| {
        let product = b.mul(x[0], x[1]);
        b.add(x[2], product)
    }),
    ("fast-mul-add", |b, x, _| {
        let product = b.mul(x[0], x[1]);
        b.sub(product, x[2])
    }),
    ("fast-mul-add", |b, x, _| {
        let product = b.mul(x[0], x[1]);
        b.sub(x[2], product)
    }),
    ("fast-mul-add", |b, x, _| {
        let product = b.scale(x[0], 3.0);
        b.sub(x[2], product)
    }),
];

fn rules() -> impl Iterator<Item = &'static Rule> {
    ALGEBRA.iter().chain(CONTRACTION)
}

#[test]
fn every_rule_is_tried() {
    for rule in rules() {
        assert!(TRIALS.iter().any(|(name, _)| *name == rule.name), "no trial of `{}`", rule.name);
    }
    for (name, _) in TRIALS {
        assert!(rules().any(|rule| rule.name == *name), "no rule is called `{name}`");
    }
}

/// The graph of a trial; with `twice` everything in it is a result too.
fn graph(build: Build, twice: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(COLUMNS)]));
    let x = ["x", "y", "z"].map(|name| input(&mut b, name, ty.clone()));
    let w = ["v", "w"].map(|name| parameter(&mut b, name, &[COLUMNS]));
    let leaves = b.graph().nodes.len();
    let result = build(&mut b, &x, &w);
    // What has another value at each step of a loop is no result.
    let heads = b.graph().heads();
    let inner = b.graph().ids().skip(leaves).filter(|id| twice && heads[id.index()].is_none());
    let inner: Vec<NodeId> = inner.collect();
    let floats = |b: &Builder, id: &NodeId| b.ty(*id).dtype == b.ty(result).dtype;
    let inner: Vec<NodeId> = inner.into_iter().filter(|id| floats(&b, id)).collect();
    for (index, node) in [result].into_iter().chain(inner).enumerate() {
        output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

/// All pairs of special numbers in the first two operands, and every number beside many pairs in the third.
fn values(batch: usize) -> Values {
    let n = SPECIAL.len();
    let number = |index: usize| f64::from(SPECIAL[index % n] as f32);
    let tensor = |pick: &dyn Fn(usize, usize) -> usize| {
        let elements = (0..batch).flat_map(|row| (0..COLUMNS).map(move |column| (row, column)));
        Tensor::floats(&[batch, COLUMNS], elements.map(|(row, column)| number(pick(row, column))).collect::<Vec<f64>>())
    };
    let inputs = vec![
        tensor(&|row, column| column / n + 3 * row),
        tensor(&|row, column| column % n + row),
        tensor(&|row, column| 7 * (column / n) + 3 * (column % n) + 5 * row),
    ];
    let first: Vec<f64> = (0..COLUMNS).map(|column| number(column / n)).collect();
    let second: Vec<f64> = (0..COLUMNS).map(|column| number(column % n)).collect();
    let params = vec![Tensor::floats(&[COLUMNS], first), Tensor::floats(&[COLUMNS], second)];
    Values { inputs, params, ..Values::default() }
}

fn results(graph: &Graph, precision: Precision, batch: usize, values: &Values) -> Vec<f64> {
    evaluate(graph, precision, batch, values).outputs().flat_map(|(_, tensor)| tensor.as_floats().to_vec()).collect()
}

fn same(x: f64, y: f64) -> bool {
    x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()
}

#[test]
fn what_is_exact_leaves_the_same_bits_and_what_is_fast_comes_nearer() {
    for (name, build) in TRIALS {
        let rule = *rules().find(|rule| rule.name == *name).expect("it is a rule");
        for twice in [false, true] {
            let before = graph(*build, twice);
            verify(&before).expect("the trial is a graph");
            let (after, changed) = sweep(&before, &[rule]);
            verify(&after).expect("the rewritten trial is a graph");
            assert!(changed || twice, "`{name}` applies");
            for batch in [1, 2, 5] {
                let values = values(batch);
                let old = results(&before, Precision::F32, batch, &values);
                let new = results(&after, Precision::F32, batch, &values);
                let exact = results(&before, Precision::F64, batch, &values);
                assert_eq!(old.len(), new.len());
                for ((old, new), exact) in old.into_iter().zip(new).zip(exact) {
                    // In f64 the products are exact, and the sums nearly so. An error that is none is NaN for infinities.
                    let error = |x: f64| if x == exact { 0.0 } else { (x - exact).abs() };
                    let nearer = name.starts_with("fast-")
                        && (error(new) <= error(old) * (1.0 + 1e-9) || f64::from(exact as f32) == new);
                    assert!(
                        same(old, new) || nearer,
                        "`{name}`, {batch} rows: {old:e} becomes {new:e}, exactly {exact:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_difference_of_equal_products_is_nothing() {
    // Numbers whose squares are rounded, as half of all are up and half down.
    let numbers: Vec<f64> = (0..COLUMNS).map(|at| f64::from(1.0 + 0.37 * at as f32)).collect();
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(COLUMNS)]));
    let (y, t) = (input(&mut b, "y", ty.clone()), input(&mut b, "t", ty));
    let squares = [y, t].map(|x| b.mul(x, x));
    let difference = b.sub(squares[0], squares[1]);
    let root = b.sqrt(difference);
    output(&mut b, Role::Output(0), root);
    // The variance of one number by the formula that cancels.
    let flat = b.reshape(y, Shape(vec![Dim::Batch(COLUMNS), Dim::Fixed(1)]));
    let square = b.mul(flat, flat);
    let (of_squares, mean) = (b.mean(square, &[1]), b.mean(flat, &[1]));
    let of_mean = b.mul(mean, mean);
    let variance = b.sub(of_squares, of_mean);
    output(&mut b, Role::Output(1), variance);
    // The square of a difference, written out.
    let twice = b.scale(y, 2.0);
    let [twice, own, other] = [(twice, t), (y, y), (t, t)].map(|(x, y)| b.mul(x, y));
    let (less, both) = (b.sub(own, twice), b.add(own, other));
    let written_out = [b.add(less, other), b.add(other, less), b.sub(both, twice)];
    written_out.into_iter().enumerate().for_each(|(at, node)| output(&mut b, Role::Output(2 + at), node));
    let tensor = Tensor::floats(&[1, COLUMNS], numbers);
    let values = Values { inputs: vec![tensor.clone(), tensor], ..Values::default() };
    let run = Compiled::new(&b.finish(), 1).run(1, &values);
    for role in (0..5).map(Role::Output) {
        assert!(run.get(&role).iter().all(|&x| x == 0.0), "{role:?}: {:?}", run.get(&role));
    }
}

#[test]
fn what_kernels_cannot_do_in_one_go_is_rewritten_exactly() {
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(COLUMNS)]));
    let x = input(&mut b, "x", ty);
    let w = parameter(&mut b, "w", &[]);
    let column = b.reshape(x, Shape(vec![Dim::Batch(COLUMNS), Dim::Fixed(1)]));
    let results = [b.variance(x, &[1]), b.variance(x, &[0, 1]), b.sum(column, &[1]), b.max_over(column, &[1])];
    for (index, node) in results.into_iter().enumerate() {
        output(&mut b, Role::Output(index), node);
    }
    output(&mut b, Role::Metric(0), w);
    b.graph_mut().slots.metrics.push("w");
    let before = b.finish();
    let after = legalize(&before);
    assert_ne!(before.to_string(), after.to_string());
    for number in SPECIAL {
        let values = Values {
            inputs: vec![Tensor::floats(&[1, COLUMNS], vec![number; COLUMNS])],
            params: vec![Tensor::floats(&[], [number])],
            ..Values::default()
        };
        let [old, new] = [&before, &after].map(|graph| self::results(graph, Precision::F32, 1, &values));
        for (old, new) in old.into_iter().zip(new) {
            assert!(same(old, new), "of {number:e}: {old:e} becomes {new:e}");
        }
    }
}

/// What a stable form stands for: the careless one, and its value by a formula that neither overflows nor cancels.
type Careless = (&'static str, fn(&mut Builder, NodeId) -> NodeId, fn(f64) -> f64);

const CARELESS: &[Careless] = &[
    (
        "stable-ln-one-plus-exp",
        |b, x| {
            let power = b.exp(x);
            let sum = b.offset(power, 1.0);
            b.ln(sum)
        },
        softplus,
    ),
    (
        "stable-ln-one-minus-sigmoid",
        |b, x| {
            let y = b.sigmoid(x);
            let one = b.constant_like(1.0, y);
            let rest = b.sub(one, y);
            b.ln(rest)
        },
        |x| -softplus(x),
    ),
    (
        "stable-ln-sigmoid",
        |b, x| {
            let y = b.sigmoid(x);
            b.ln(y)
        },
        |x| -softplus(-x),
    ),
    (
        // Of a row of `x` and 0.
        "stable-ln-softmax",
        |b, x| {
            let zero = b.constant_like(0.0, x);
            let is_first = b.iota(1, &b.shape(x));
            let is_first = b.to_float(is_first);
            let is_first = b.compare(Cmp::Eq, is_first, zero);
            let x = b.select(is_first, x, zero);
            let y = gradloom_runtime::layers::SOFTMAX.function.expect("it is a function")(b, &[], x);
            b.ln(y)
        },
        |x| -softplus(-x),
    ),
    (
        "stable-ln-one-plus",
        |b, x| {
            let sum = b.offset(x, 1.0);
            b.ln(sum)
        },
        f64::ln_1p,
    ),
    (
        "stable-exp-minus-one",
        |b, x| {
            let power = b.exp(x);
            let one = b.constant_like(1.0, power);
            b.sub(power, one)
        },
        f64::exp_m1,
    ),
    (
        "stable-one-over-one-plus-exp",
        |b, x| {
            let minus = b.neg(x);
            let power = b.exp(minus);
            let sum = b.offset(power, 1.0);
            let one = b.constant_like(1.0, sum);
            b.div(one, sum)
        },
        |x| 1.0 / (1.0 + (-x).exp()),
    ),
];

#[test]
fn stable_forms_have_the_digits_that_the_careless_ones_lose() {
    // Deviations are of several numbers: `stable` has theirs.
    let rules = || stabilize::RULES.iter().filter(|rule| rule.name != "stable-deviation");
    assert_eq!((CARELESS.len(), rules().count() + 1), (rules().count(), stabilize::RULES.len()));
    for rule in rules() {
        let (name, build, exact) = CARELESS.iter().find(|(name, ..)| *name == rule.name).expect("every rule is tried");
        let mut b = Builder::new(Graph::default());
        let x = input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(2)])));
        let y = build(&mut b, x);
        output(&mut b, Role::Output(0), y);
        let graph = stabilize(&b.finish());
        assert!(graph.to_string().contains(name), "{name} applies");
        for x in SPECIAL.into_iter().chain([-1e-4, -12.5, 12.5, 20.0, -20.0, -88.0, 88.0, -100.0, 100.0]) {
            let x = f64::from(x as f32);
            let values = Values { inputs: vec![Tensor::floats(&[1, 2], [x, x])], ..Values::default() };
            let found = evaluate(&graph, Precision::F32, 1, &values).output(&Role::Output(0)).as_floats()[0];
            within(5.0, exact(x), found, exact(x), || format!("{name} of {x:e}"));
        }
    }
}

#[test]
fn copies_with_two_readers_are_counted_as_one() {
    // The same product twice in one difference: rounded alike whatever is contracted.
    let mut b = Builder::new(Graph::default());
    let x = input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(COLUMNS)])));
    let (first, second) = (b.mul(x, x), b.mul(x, x));
    let difference = b.sub(first, second);
    output(&mut b, Role::Output(0), difference);
    let (after, _) = sweep(&b.finish(), &[]);
    let (after, changed) = sweep(&after, CONTRACTION);
    assert!(!changed && after.nodes.iter().filter(|node| node.op == Op::Mul).count() == 1, "{after}");
}
