//! Every rewrite of the simplifier: the smallest graph that shows it, before and after, and a numeric check of both.
//!
//! The checks run in the interpreter: in f64 to 1e-12, and in f32 to the bit wherever the rule promises that.

use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::Rule;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, verify};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::simplify::{ALGEBRA, CONTRACTION, sweep};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::draw;
use crate::handmade::{input, output, parameter};

/// What the inputs are made of where a rule is exact: every class of number.
const SPECIAL: [f64; 8] = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, f32::MAX as f64, -1.5];
const BATCH: usize = 4;

/// A matrix of activations: `[B, n]`.
pub fn x(b: &mut Builder, name: &'static str, columns: usize) -> NodeId {
    input(b, name, TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(columns)])))
}

/// Graph before, graph after one sweep with this rule alone; checks that both compute the same.
pub fn rewritten(name: &str, build: fn(&mut Builder) -> NodeId) -> String {
    let rule = rule(name);
    let mut b = Builder::new(Graph::default());
    b.graph_mut().slots.outputs.push("y");
    let result = build(&mut b);
    output(&mut b, Role::Output(0), result);
    let before = b.finish();
    verify(&before).expect("the graph is one");
    let (after, changed) = sweep(&before, &[rule]);
    verify(&after).expect("the rewritten graph is one");
    assert!(changed, "{name} applies");
    let (rest, _) = sweep(&after, &[]);
    same_numbers(name, &before, &rest);
    format!("{before}=>\n{rest}")
}

fn rule(name: &str) -> Rule {
    let mut rules = ALGEBRA.iter().chain(CONTRACTION);
    *rules.find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule is called {name}"))
}

fn same_numbers(name: &str, before: &Graph, after: &Graph) {
    let values = draw::values(before, BATCH, 7);
    for (x, y) in outputs(before, after, Precision::F64, &values) {
        assert!((x - y).abs() <= 1e-12 * x.abs().max(1.0), "{name} in f64: {x} becomes {y}");
    }
    // These round less often than what they replace.
    if name.starts_with("fast-") {
        return;
    }
    for values in [special(values.clone()), values] {
        for (x, y) in outputs(before, after, Precision::F32, &values) {
            assert!(x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()), "{name} in f32: {x} becomes {y}");
        }
    }
}

/// Every input and parameter filled with zeros of both signs, infinities, NaN, a subnormal and the largest number.
fn special(mut values: Values) -> Values {
    for (slot, tensor) in values.inputs.iter_mut().chain(&mut values.params).enumerate() {
        let len = tensor.as_floats().len();
        let numbers: Vec<f64> = (0..len).map(|at| SPECIAL[(at + 3 * slot) % SPECIAL.len()]).collect();
        *tensor = Tensor::floats(&tensor.shape, numbers);
    }
    values
}

fn outputs(before: &Graph, after: &Graph, precision: Precision, values: &Values) -> Vec<(f64, f64)> {
    let role = Role::Output(0);
    let (before, after) = (evaluate(before, precision, BATCH, values), evaluate(after, precision, BATCH, values));
    let (x, y) = (before.output(&role), after.output(&role));
    assert_eq!(x.shape, y.shape);
    x.as_floats().iter().copied().zip(y.as_floats().iter().copied()).collect()
}

#[test]
fn every_rule_is_shown_here() {
    let here = [include_str!("simplify.rs"), include_str!("simplify_loops.rs")].concat();
    let rules = ALGEBRA.iter().chain(CONTRACTION);
    let missing: Vec<&str> =
        rules.map(|rule| rule.name).filter(|name| !here.contains(&format!("rewritten(\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test shows {missing:?}");
}

#[test]
fn what_depends_on_constants_alone_is_computed_now() {
    assert_snapshot!(rewritten("fold", |b| {
        let x = x(b, "x", 2);
        let two = b.constant_like(2.0, x);
        let root = b.sqrt(two);
        b.mul(x, root)
    }), @"
    %0 = input x : f32[B,2]
    %1 = sqrt 2 : f32[B,2]
    %2 = mul %0, %1 : f32[B,2]
    output y = %2
    =>
    %0 = input x : f32[B,2]
    %1 = mul %0, 1.4142135 : f32[B,2]
    output y = %1
    ");
}

#[test]
fn a_constant_passes_through_a_view() {
    assert_snapshot!(rewritten("fold", |b| {
        let x = x(b, "x", 2);
        let shape = b.shape(x);
        let two = b.constant(2.0, &Shape::scalar());
        let two = b.broadcast(two, &shape, &[]);
        b.add(x, two)
    }), @"
    %0 = input x : f32[B,2]
    %1 = broadcast 2 : f32[B,2]
    %2 = add %0, %1 : f32[B,2]
    output y = %2
    =>
    %0 = input x : f32[B,2]
    %1 = add %0, 2 : f32[B,2]
    output y = %1
    ");
}

#[test]
fn constants_that_f32_would_round_on_the_way_are_computed_as_real_numbers() {
    assert_snapshot!(rewritten("fast-fold", |b| {
        let x = x(b, "x", 2);
        let small = b.constant_like(1e-30, x);
        let none = b.scale(small, 1e-30);
        let third = b.constant(1.0 / 3.0, &Shape::scalar());
        let one = b.scale(third, 3.0);
        let one = b.exp(one);
        let one = b.spread(one, &b.shape(x));
        let sum = b.add(x, one);
        b.add(sum, none)
    }), @"
    %0 = input x : f32[B,2]
    %1 = mul 1e-30, 1e-30 : f32[B,2]
    %2 = mul 0.33333334, 3 : f32[]
    %3 = exp %2 : f32[]
    %4 = broadcast %3 : f32[B,2]
    %5 = add %0, %4 : f32[B,2]
    %6 = add %5, %1 : f32[B,2]
    output y = %6
    =>
    %0 = input x : f32[B,2]
    %1 = add %0, 2.7182817 : f32[B,2]
    %2 = add %1, 0 : f32[B,2]
    output y = %2
    ");
}

#[test]
fn a_slope_means_nothing_once_gradients_are_there() {
    assert_snapshot!(rewritten("without-slope", |b| {
        let (x, y) = (x(b, "x", 2), x(b, "y", 2));
        let slope = b.exp(y);
        b.with_slope(x, y, slope)
    }), @"
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = exp %1 : f32[B,2]
    %3 = with_slope %0, %1, %2 : f32[B,2]
    output y = %3
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn detach_means_nothing_once_gradients_are_there() {
    assert_snapshot!(rewritten("undetach", |b| {
        let x = x(b, "x", 2);
        let still = b.detach(x);
        b.exp(still)
    }), @"
    %0 = input x : f32[B,2]
    %1 = detach %0 : f32[B,2]
    %2 = exp %1 : f32[B,2]
    output y = %2
    =>
    %0 = input x : f32[B,2]
    %1 = exp %0 : f32[B,2]
    output y = %1
    ");
}

#[test]
fn times_one_is_nothing() {
    assert_snapshot!(rewritten("mul-one", |b| {
        let x = x(b, "x", 2);
        b.scale(x, 1.0)
    }), @"
    %0 = input x : f32[B,2]
    %1 = mul %0, 1 : f32[B,2]
    output y = %1
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn divided_by_one_is_nothing() {
    assert_snapshot!(rewritten("div-one", |b| {
        let x = x(b, "x", 2);
        let one = b.constant_like(1.0, x);
        b.div(x, one)
    }), @"
    %0 = input x : f32[B,2]
    %1 = div %0, 1 : f32[B,2]
    output y = %1
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn minus_zero_is_nothing() {
    assert_snapshot!(rewritten("sub-zero", |b| {
        let x = x(b, "x", 2);
        let zero = b.constant_like(0.0, x);
        b.sub(x, zero)
    }), @"
    %0 = input x : f32[B,2]
    %1 = sub %0, 0 : f32[B,2]
    output y = %1
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn plus_zero_stays_because_it_changes_minus_zero() {
    let mut b = Builder::new(Graph::default());
    let x = x(&mut b, "x", 2);
    let y = b.offset(x, 0.0);
    output(&mut b, Role::Output(0), y);
    let (_, changed) = sweep(&b.finish(), ALGEBRA);
    assert!(!changed);
}

#[test]
fn two_signs_cancel() {
    assert_snapshot!(rewritten("neg-neg", |b| {
        let x = x(b, "x", 2);
        let minus = b.neg(x);
        b.neg(minus)
    }), @"
    %0 = input x : f32[B,2]
    %1 = neg %0 : f32[B,2]
    %2 = neg %1 : f32[B,2]
    output y = %2
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn a_sign_moves_into_a_constant_factor() {
    assert_snapshot!(rewritten("neg-mul", |b| {
        let x = x(b, "x", 2);
        let scaled = b.scale(x, 3.0);
        b.neg(scaled)
    }), @"
    %0 = input x : f32[B,2]
    %1 = mul %0, 3 : f32[B,2]
    %2 = neg %1 : f32[B,2]
    output y = %2
    =>
    %0 = input x : f32[B,2]
    %1 = mul %0, -3 : f32[B,2]
    output y = %1
    ");
}

#[test]
fn adding_the_negative_is_subtracting() {
    assert_snapshot!(rewritten("add-neg", |b| {
        let (x, y) = (x(b, "x", 2), x(b, "y", 2));
        let minus = b.neg(y);
        b.add(x, minus)
    }), @"
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = neg %1 : f32[B,2]
    %3 = add %0, %2 : f32[B,2]
    output y = %3
    =>
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = sub %0, %1 : f32[B,2]
    output y = %2
    ");
}

#[test]
fn adding_to_the_negative_is_subtracting() {
    assert_snapshot!(rewritten("add-neg", |b| {
        let (x, y) = (x(b, "x", 2), x(b, "y", 2));
        let minus = b.neg(x);
        b.add(minus, y)
    }), @"
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = neg %0 : f32[B,2]
    %3 = add %2, %1 : f32[B,2]
    output y = %3
    =>
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = sub %1, %0 : f32[B,2]
    output y = %2
    ");
}

#[test]
fn subtracting_the_negative_is_adding() {
    assert_snapshot!(rewritten("sub-neg", |b| {
        let (x, y) = (x(b, "x", 2), x(b, "y", 2));
        let minus = b.neg(y);
        b.sub(x, minus)
    }), @"
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = neg %1 : f32[B,2]
    %3 = sub %0, %2 : f32[B,2]
    output y = %3
    =>
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = add %0, %1 : f32[B,2]
    output y = %2
    ");
}

#[test]
fn a_division_by_a_power_of_two_is_a_product() {
    assert_snapshot!(rewritten("div-power-of-two", |b| {
        let x = x(b, "x", 2);
        let eight = b.constant_like(8.0, x);
        b.div(x, eight)
    }), @"
    %0 = input x : f32[B,2]
    %1 = div %0, 8 : f32[B,2]
    output y = %1
    =>
    %0 = input x : f32[B,2]
    %1 = mul %0, 0.125 : f32[B,2]
    output y = %1
    ");
}

#[test]
fn a_choice_between_equals_is_none() {
    assert_snapshot!(rewritten("select-same", |b| {
        let (x, y) = (x(b, "x", 2), x(b, "y", 2));
        let mask = b.compare(Cmp::Lt, x, y);
        b.select(mask, x, x)
    }), @"
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = lt %0, %1 : bool[B,2]
    %3 = select %2, %0, %0 : f32[B,2]
    output y = %3
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn only_the_last_shape_counts() {
    assert_snapshot!(rewritten("reshape-reshape", |b| {
        let w = parameter(b, "w", &[2, 6]);
        let flat = b.reshape(w, Shape::fixed(&[12]));
        b.reshape(flat, Shape::fixed(&[3, 4]))
    }), @"
    %0 = param w : f32[2,6]
    %1 = reshape %0 : f32[12]
    %2 = reshape %1 : f32[3,4]
    output y = %2
    =>
    %0 = param w : f32[2,6]
    %1 = reshape %0 : f32[3,4]
    output y = %1
    ");
}

#[test]
fn a_reshape_to_the_same_shape_is_nothing() {
    assert_snapshot!(rewritten("reshape-same", |b| {
        let w = parameter(b, "w", &[2, 3]);
        b.reshape(w, Shape::fixed(&[2, 3]))
    }), @"
    %0 = param w : f32[2,3]
    %1 = reshape %0 : f32[2,3]
    output y = %1
    =>
    %0 = param w : f32[2,3]
    output y = %0
    ");
}

#[test]
fn a_broadcast_that_repeats_nothing_is_nothing() {
    assert_snapshot!(rewritten("broadcast-same", |b| {
        let w = parameter(b, "w", &[2, 3]);
        b.broadcast(w, &Shape::fixed(&[2, 3]), &[0, 1])
    }), @"
    %0 = param w : f32[2,3]
    %1 = broadcast %0 to 0,1 : f32[2,3]
    output y = %1
    =>
    %0 = param w : f32[2,3]
    output y = %0
    ");
}

#[test]
fn two_broadcasts_are_one() {
    assert_snapshot!(rewritten("broadcast-broadcast", |b| {
        let w = parameter(b, "w", &[]);
        let row = b.broadcast(w, &Shape::fixed(&[3]), &[]);
        b.broadcast(row, &Shape::fixed(&[2, 3]), &[1])
    }), @"
    %0 = param w : f32[]
    %1 = broadcast %0 : f32[3]
    %2 = broadcast %1 to 1 : f32[2,3]
    output y = %2
    =>
    %0 = param w : f32[]
    %1 = broadcast %0 : f32[2,3]
    output y = %1
    ");
}

#[test]
fn a_map_runs_before_its_operands_are_repeated() {
    assert_snapshot!(rewritten("map-before-broadcast", |b| {
        let shape = Shape(vec![Dim::B, Dim::Fixed(3)]);
        let (v, w) = (parameter(b, "v", &[3]), parameter(b, "w", &[3]));
        let (v, w) = (b.broadcast(v, &shape, &[1]), b.broadcast(w, &shape, &[1]));
        b.mul(v, w)
    }), @"
    %0 = param v : f32[3]
    %1 = param w : f32[3]
    %2 = broadcast %0 to 1 : f32[B,3]
    %3 = broadcast %1 to 1 : f32[B,3]
    %4 = mul %2, %3 : f32[B,3]
    output y = %4
    =>
    %0 = param v : f32[3]
    %1 = param w : f32[3]
    %2 = mul %0, %1 : f32[3]
    %3 = broadcast %2 to 1 : f32[B,3]
    output y = %3
    ");
}

#[test]
fn a_sign_leaves_a_sum() {
    assert_snapshot!(rewritten("neg-after-sum", |b| {
        let x = x(b, "x", 2);
        let minus = b.neg(x);
        b.sum(minus, &[0])
    }), @"
    %0 = input x : f32[B,2]
    %1 = neg %0 : f32[B,2]
    %2 = sum %1 over 0 : f32[2]
    output y = %2
    =>
    %0 = input x : f32[B,2]
    %1 = sum %0 over 0 : f32[2]
    %2 = sub 0, %1 : f32[2]
    output y = %2
    ");
}

#[test]
fn a_factor_stays_in_its_sum() {
    let mut b = Builder::new(Graph::default());
    let x = x(&mut b, "x", 2);
    let shape = b.shape(x);
    let gamma = parameter(&mut b, "gamma", &[2]);
    let gamma = b.broadcast(gamma, &shape, &[1]);
    let scaled = b.mul(x, gamma);
    let scaled = b.scale(scaled, 1e-30);
    let sum = b.sum(scaled, &[0]);
    output(&mut b, Role::Output(0), sum);
    let (_, changed) = sweep(&b.finish(), ALGEBRA);
    assert!(!changed);
}

#[test]
fn a_product_and_a_sum_round_once() {
    assert_snapshot!(rewritten("fast-mul-add", |b| {
        let (x, y, z) = (x(b, "x", 2), x(b, "y", 2), x(b, "z", 2));
        let product = b.mul(x, y);
        b.add(product, z)
    }), @"
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = input z : f32[B,2]
    %3 = mul %0, %1 : f32[B,2]
    %4 = add %3, %2 : f32[B,2]
    output y = %4
    =>
    %0 = input x : f32[B,2]
    %1 = input y : f32[B,2]
    %2 = input z : f32[B,2]
    %3 = mul_add %0, %1, %2 : f32[B,2]
    output y = %3
    ");
}

#[test]
fn taking_a_product_away_rounds_once() {
    assert_snapshot!(rewritten("fast-mul-add", |b| {
        let (x, z) = (x(b, "x", 2), x(b, "z", 2));
        let product = b.scale(x, 3.0);
        b.sub(z, product)
    }), @"
    %0 = input x : f32[B,2]
    %1 = input z : f32[B,2]
    %2 = mul %0, 3 : f32[B,2]
    %3 = sub %1, %2 : f32[B,2]
    output y = %3
    =>
    %0 = input x : f32[B,2]
    %1 = input z : f32[B,2]
    %2 = mul_add -3, %0, %1 : f32[B,2]
    output y = %2
    ");
}

#[test]
fn of_two_products_neither_is_rounded_alone() {
    let difference = |b: &mut Builder| {
        let (y, t) = (x(b, "y", 2), x(b, "t", 2));
        let (y, t) = (b.mul(y, y), b.mul(t, t));
        b.sub(y, t)
    };
    let deviation = |b: &mut Builder| {
        let y = x(b, "y", 2);
        let (square, mean) = (b.mul(y, y), b.mean(y, &[0, 1]));
        let (of_squares, of_mean) = (b.mean(square, &[0, 1]), b.mul(mean, mean));
        b.sub(of_squares, of_mean)
    };
    for build in [&difference as &dyn Fn(&mut Builder) -> NodeId, &deviation] {
        let mut b = Builder::new(Graph::default());
        let result = build(&mut b);
        output(&mut b, Role::Output(0), result);
        let (after, _) = sweep(&b.finish(), CONTRACTION);
        assert!(after.nodes.iter().all(|node| node.op != Op::MulAdd), "{after}");
    }
}

#[test]
fn a_product_with_another_reader_is_rounded_by_itself() {
    let mut b = Builder::new(Graph::default());
    let x = x(&mut b, "x", 2);
    let square = b.mul(x, x);
    let sum = b.add(square, x);
    let both = b.apply(Op::Max, &[square, sum]);
    output(&mut b, Role::Output(0), both);
    let (_, changed) = sweep(&b.finish(), CONTRACTION);
    assert!(!changed);
}

#[test]
fn equal_operations_are_done_once() {
    let mut b = Builder::new(Graph::default());
    b.graph_mut().slots.outputs.push("y");
    let x = x(&mut b, "x", 2);
    let (first, second) = (b.exp(x), b.exp(x));
    let sum = b.add(first, second);
    output(&mut b, Role::Output(0), sum);
    let (once, _) = sweep(&b.finish(), &[]);
    assert_snapshot!(once, @"
    %0 = input x : f32[B,2]
    %1 = exp %0 : f32[B,2]
    %2 = add %1, %1 : f32[B,2]
    output y = %2
    ");
}

#[test]
fn zeros_of_both_signs_are_different_constants() {
    let mut b = Builder::new(Graph::default());
    let x = x(&mut b, "x", 2);
    let (plus, minus) = (b.offset(x, 0.0), b.offset(x, -0.0));
    let quotient = b.div(plus, minus);
    output(&mut b, Role::Output(0), quotient);
    let before = b.finish();
    let (after, _) = sweep(&before, &[]);
    assert_eq!(after.nodes.len(), before.nodes.len());
}

#[test]
fn one_transpose_does_for_two_and_none_for_one_that_changes_nothing() {
    assert_snapshot!(rewritten("transpose-transpose", |b| {
        let x = input(b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(2), Dim::Fixed(3)])));
        let turned = b.transpose(x, &[1, 2, 0]);
        b.transpose(turned, &[0, 2, 1])
    }), @"
    %0 = input x : f32[B,2,3]
    %1 = transpose %0 by 1,2,0 : f32[2,3,B]
    %2 = transpose %1 by 0,2,1 : f32[2,B,3]
    output y = %2
    =>
    %0 = input x : f32[B,2,3]
    %1 = transpose %0 by 1,0,2 : f32[2,B,3]
    output y = %1
    ");
    assert_snapshot!(rewritten("transpose-same", |b| {
        let x = x(b, "x", 2);
        b.transpose(x, &[0, 1])
    }), @"
    %0 = input x : f32[B,2]
    %1 = transpose %0 by 0,1 : f32[B,2]
    output y = %1
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn a_product_reads_what_was_transposed_as_it_was() {
    assert_snapshot!(rewritten("dot-transpose", |b| {
        let (x, w) = (x(b, "x", 2), parameter(b, "w", &[3, 2]));
        let w = b.transpose(w, &[1, 0]);
        b.dot(x, w, false, false)
    }), @"
    %0 = input x : f32[B,2]
    %1 = param w : f32[3,2]
    %2 = transpose %1 by 1,0 : f32[2,3]
    %3 = dot %0, %2 : f32[B,3]
    output y = %3
    =>
    %0 = input x : f32[B,2]
    %1 = param w : f32[3,2]
    %2 = dot %0, %1.T : f32[B,3]
    output y = %2
    ");
    // Heads, which stand side by side, as batches; on the right, free axes would change places.
    assert_snapshot!(rewritten("dot-transpose", |b| {
        let x = input(b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(4), Dim::Fixed(2), Dim::Fixed(3)])));
        let heads = b.transpose(x, &[2, 0, 1, 3]);
        let other = b.transpose(x, &[1, 0, 2, 3]);
        b.product(heads, other, DotAxes { batch: vec![(1, 1)], contracted: vec![(3, 3)] })
    }), @"
    %0 = input x : f32[B,4,2,3]
    %1 = transpose %0 by 2,0,1,3 : f32[2,B,4,3]
    %2 = transpose %0 by 1,0,2,3 : f32[4,B,2,3]
    %3 = dot %1, %2 batch 1:1, over 3:3 : f32[B,2,4,4,2]
    output y = %3
    =>
    %0 = input x : f32[B,4,2,3]
    %1 = transpose %0 by 2,0,1,3 : f32[2,B,4,3]
    %2 = dot %1, %0 batch 1:0, over 3:3 : f32[B,2,4,4,2]
    output y = %2
    ");
}

#[test]
fn a_slice_of_a_slice_is_one_and_of_everything_none() {
    assert_snapshot!(rewritten("slice-slice", |b| {
        let x = x(b, "x", 12);
        let some = b.slice(x, 1, 1, 4, 3);
        b.slice(some, 1, 1, 2, 2)
    }), @"
    %0 = input x : f32[B,12]
    %1 = slice %0 axis 1, 4 from 1 step 3 : f32[B,4]
    %2 = slice %1 axis 1, 2 from 1 step 2 : f32[B,2]
    output y = %2
    =>
    %0 = input x : f32[B,12]
    %1 = slice %0 axis 1, 2 from 4 step 6 : f32[B,2]
    output y = %1
    ");
    assert_snapshot!(rewritten("slice-all", |b| {
        let x = x(b, "x", 2);
        b.slice(x, 1, 0, 2, 1)
    }), @"
    %0 = input x : f32[B,2]
    %1 = slice %0 axis 1, 2 from 0 : f32[B,2]
    output y = %1
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn what_is_padded_and_cut_again_is_what_it_was() {
    assert_snapshot!(rewritten("slice-pad", |b| {
        let x = x(b, "x", 3);
        let padded = b.apply(Op::Pad { axis: 1, before: 2, inside: 1, after: 1, value: 7.0 }, &[x]);
        b.slice(padded, 1, 2, 3, 2)
    }), @"
    %0 = input x : f32[B,3]
    %1 = pad %0 axis 1, before 2, inside 1, after 1, with 7 : f32[B,8]
    %2 = slice %1 axis 1, 3 from 2 step 2 : f32[B,3]
    output y = %2
    =>
    %0 = input x : f32[B,3]
    output y = %0
    ");
    let before = rewritten("slice-of-padding", |b| {
        let x = x(b, "x", 3);
        let padded = b.pad(x, 1, [2, 2], 7.0);
        b.slice(padded, 1, 0, 2, 1)
    });
    let after = rewritten("slice-of-padding", |b| {
        let x = x(b, "x", 3);
        let padded = b.pad(x, 1, [2, 2], 7.0);
        b.slice(padded, 1, 5, 2, 1)
    });
    assert!([before, after].iter().all(|text| text.ends_with("=>\noutput y = 7\n")));
    assert_snapshot!(rewritten("pad-nothing", |b| {
        let x = x(b, "x", 1);
        b.apply(Op::Pad { axis: 1, before: 0, inside: 3, after: 0, value: 7.0 }, &[x])
    }), @"
    %0 = input x : f32[B,1]
    %1 = pad %0 axis 1, inside 3, with 7 : f32[B,1]
    output y = %1
    =>
    %0 = input x : f32[B,1]
    output y = %0
    ");
    assert_snapshot!(rewritten("concat-one", |b| {
        let x = x(b, "x", 2);
        b.concat(&[x], 1)
    }), @"
    %0 = input x : f32[B,2]
    %1 = concat %0 axis 1 : f32[B,2]
    output y = %1
    =>
    %0 = input x : f32[B,2]
    output y = %0
    ");
}

#[test]
fn a_part_of_what_is_joined_is_a_part_of_one_operand() {
    assert_snapshot!(rewritten("slice-concat", |b| {
        let (x, y) = (x(b, "x", 3), x(b, "y", 4));
        let joined = b.concat(&[x, y], 1);
        b.slice(joined, 1, 4, 2, 2)
    }), @"
    %0 = input x : f32[B,3]
    %1 = input y : f32[B,4]
    %2 = concat %0, %1 axis 1 : f32[B,7]
    %3 = slice %2 axis 1, 2 from 4 step 2 : f32[B,2]
    output y = %3
    =>
    %0 = input y : f32[B,4]
    %1 = slice %0 axis 1, 2 from 1 step 2 : f32[B,2]
    output y = %1
    ");
}

#[test]
fn pieces_padded_with_zeros_that_make_a_whole_are_joined() {
    assert_snapshot!(rewritten("fast-concat-of-pads", |b| {
        let (x, y) = (x(b, "x", 3), x(b, "y", 4));
        let (x, y) = (b.pad(x, 1, [4, 0], 0.0), b.pad(y, 1, [0, 3], 0.0));
        b.add(x, y)
    }), @"
    %0 = input x : f32[B,3]
    %1 = input y : f32[B,4]
    %2 = pad %0 axis 1, before 4, with 0 : f32[B,7]
    %3 = pad %1 axis 1, after 3, with 0 : f32[B,7]
    %4 = add %2, %3 : f32[B,7]
    output y = %4
    =>
    %0 = input x : f32[B,3]
    %1 = input y : f32[B,4]
    %2 = concat %1, %0 axis 1 : f32[B,7]
    output y = %2
    ");
}
