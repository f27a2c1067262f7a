//! Every primitive operation: its gradient against central differences, and what it does at kinks, ties and NaN.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::ops::{self, Body, OpDef};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, ScalarSlot, Window, verify};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::bound::Bound;
use crate::{draw, finite_difference, handmade};

const BATCH: usize = 3;

/// An operation at work on float operands.
struct Case {
    op: Op,
    operands: Vec<Tensor>,
    build: Build,
}

/// From the operands, each a parameter, a float result that the operation has a part in.
type Build = fn(&mut Builder, Op, &[NodeId]) -> NodeId;

/// The operation's own result.
fn itself(b: &mut Builder, op: Op, x: &[NodeId]) -> NodeId {
    b.apply(op, x)
}

fn vector(values: &[f64]) -> Tensor {
    Tensor::floats(&[values.len()], values)
}

fn block(shape: &[usize], seed: u64) -> Tensor {
    draw::normal(shape, &mut Random::new(seed, 0))
}

#[test]
fn every_operation_has_the_gradient_that_central_differences_show() {
    for (number, case) in cases().into_iter().enumerate() {
        let what = format!("case {number}, {:?}", case.op);
        let graph = graph(&case);
        let wanted: Vec<usize> = (0..case.operands.len()).collect();
        verify(&graph).expect("the case is a graph");
        verify(&differentiate(&graph, &wanted)).expect("so is its gradient");
        assert!(graph.nodes.iter().any(|node| node.op == case.op), "{what} contains its operation");
        finite_difference::check(&what, &graph, BATCH, &values(&graph, &case), &wanted, finite_difference::STEP);
    }
}

#[test]
fn every_operation_of_the_table_has_a_case() {
    // Two operations print as `max`: one of two operands, one over axes.
    let key = |def: &OpDef| (def.name, matches!(def.body, Body::Reduce(_)));
    let cases = cases();
    for def in ops::ALL {
        assert!(cases.iter().any(|case| key(case.op.def()) == key(def)), "`{}` has no case", def.name);
    }
}

/// The loss is the sum of the result, weighted at random.
fn graph(case: &Case) -> Graph {
    let mut b = Builder::new(Graph::default());
    b.graph_mut().slots.scalars.push(ScalarSlot::Optimizer("rate", 1.0));
    let names = ["x0", "x1", "x2"];
    let x: Vec<NodeId> = case
        .operands
        .iter()
        .zip(names)
        .map(|(operand, name)| handmade::parameter(&mut b, name, &operand.shape))
        .collect();
    let y = (case.build)(&mut b, case.op.clone(), &x);
    handmade::weighted_loss(&mut b, y);
    b.finish()
}

fn values(graph: &Graph, case: &Case) -> Values {
    Values { params: case.operands.clone(), ..draw::values(graph, BATCH, 5) }
}

fn cases() -> Vec<Case> {
    let parts =
        [leaves(), unary(), indices_and_masks(), several_operands(), movement(), reductions(), products(), loops()];
    parts.into_iter().flatten().collect()
}

/// A loop over the rows of the first operand, from the second on: `tanh(row * state)`. Its states, and what each step has multiplied.
fn looped(b: &mut Builder, x: &[NodeId], reverse: bool) -> [NodeId; 2] {
    let carry = b.carry(x[1], 3, reverse);
    let element = b.element(carry, x[0]);
    let product = b.mul(element, carry);
    let next = b.tanh(product);
    let history = b.history(carry, next);
    [history, b.collect(history, product)]
}

fn loops() -> Vec<Case> {
    let case = |op, build: Build| Case { op, operands: vec![block(&[3, 2], 1), block(&[2], 2)], build };
    let [forwards, backwards] = [false, true].map(|reverse| Op::Carry { number: 0, steps: 3, reverse });
    vec![
        case(forwards, |b, _, x| looped(b, x, false)[0]),
        case(backwards, |b, _, x| looped(b, x, true)[0]),
        case(Op::Element, |b, _, x| looped(b, x, true)[1]),
        case(Op::History { steps: 3 }, |b, _, x| looped(b, x, false)[0]),
        case(Op::Collect { steps: 3 }, |b, _, x| looped(b, x, false)[1]),
    ]
}

fn leaves() -> Vec<Case> {
    let case = |op, build: Build| Case { op, operands: vec![block(&[2, 3], 1)], build };
    vec![
        // The parameter and the weights of the loss.
        case(Op::Param(0), |_, _, x| x[0]),
        case(Op::Input(0), |_, _, x| x[0]),
        case(Op::Scalar(0), |b, _, x| {
            let shape = b.shape(x[0]);
            let rate = b.scalar(0);
            let rate = b.spread(rate, &shape);
            b.mul(x[0], rate)
        }),
        case(Op::Const(-1.5), |b, _, x| b.scale(x[0], -1.5)),
        case(Op::Count(2), |b, _, x| {
            let shape = b.shape(x[0]);
            let count = b.count(&Shape(vec![Dim::Fixed(2), Dim::B]), &[0, 1]);
            let count = b.spread(count, &shape);
            b.div(x[0], count)
        }),
        case(Op::Iota(1), |b, _, x| {
            let position = position(b, x[0], 1);
            b.mul(x[0], position)
        }),
    ]
}

/// The position along an axis, as a float of the shape of `like`.
fn position(b: &mut Builder, like: NodeId, axis: usize) -> NodeId {
    let shape = b.shape(like);
    let position = b.iota(axis, &shape);
    b.to_float(position)
}

fn unary() -> Vec<Case> {
    // Zero is in it: a smooth operation has its gradient there too.
    const SMOOTH: &[f64] = &[0.0, 0.3, -0.7, 1.5, -2.5, 3.0, -1e-3, 1e-6];
    const AWAY_FROM_ZERO: &[f64] = &[0.3, -0.7, 1.5, -2.5, -1e-3];
    const POSITIVE: &[f64] = &[0.2, 0.9, 1.0, 1.7, 40.0];
    const ABOVE_MINUS_ONE: &[f64] = &[0.0, 0.3, -0.7, 1.5, 30.0, 1e-6];
    let smooth = [Op::Neg, Op::Exp, Op::Expm1, Op::Sigmoid, Op::Tanh, Op::Softplus, Op::Erf, Op::NormalCdf]
        .into_iter()
        .chain([Op::SigmoidSlope, Op::TanhSlope])
        .map(|op| (op, SMOOTH));
    let positive = [Op::Ln, Op::Sqrt, Op::Rsqrt].map(|op| (op, POSITIVE));
    let others = [(Op::Abs, AWAY_FROM_ZERO), (Op::Log1p, ABOVE_MINUS_ONE)];
    let all = smooth.chain(positive).chain(others);
    all.map(|(op, points)| Case { op, operands: vec![vector(points)], build: itself }).collect()
}

/// These have no gradient themselves; they decide about one.
fn indices_and_masks() -> Vec<Case> {
    let case = |op, build: Build| Case { op, operands: vec![block(&[2, 3], 1), block(&[2, 3], 2)], build };
    let mut cases = vec![
        case(Op::ToFloat, |b, _, x| {
            let position = position(b, x[0], 0);
            b.mul(x[0], position)
        }),
        case(Op::ToIndex, |b, _, x| {
            let shape = b.shape(x[0]);
            let one = b.constant(1.0, &shape);
            let one = b.to_index(one);
            let position = b.iota(1, &shape);
            let second_column = b.index_eq(position, one);
            b.mask(second_column, x[0])
        }),
        case(Op::IndexEq, |b, _, x| {
            let shape = b.shape(x[0]);
            let (row, column) = (b.iota(0, &shape), b.iota(1, &shape));
            let diagonal = b.index_eq(row, column);
            b.select(diagonal, x[0], x[1])
        }),
        case(Op::Not, |b, _, x| {
            let less = b.compare(Cmp::Lt, x[0], x[1]);
            let not_less = b.not(less);
            b.mask(not_less, x[0])
        }),
        case(Op::Uniform, |b, op, x| {
            let shape = b.shape(x[0]);
            let (row, column) = (b.iota(0, &shape), b.iota(1, &shape));
            let number = b.apply(op, &[column, row, row, column]);
            b.mul(x[0], number)
        }),
        // A value without a gradient of its own, and the slope that it has.
        case(Op::WithSlope, |b, op, x| {
            let square = b.mul(x[0], x[0]);
            let square = b.detach(square);
            let slope = b.scale(x[0], 2.0);
            b.apply(op, &[square, x[0], slope])
        }),
        case(Op::Detach, |b, _, x| {
            let half = b.constant_like(0.5, x[0]);
            let half = b.detach(half);
            b.mul(x[0], half)
        }),
    ];
    for cmp in [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge] {
        cases.push(case(Op::Compare(cmp), |b, op, x| {
            let mask = b.apply(op, x);
            let square = b.mul(x[1], x[1]);
            b.select(mask, x[0], square)
        }));
    }
    cases
}

fn several_operands() -> Vec<Case> {
    let case = |op, operands: &[Tensor]| Case { op, operands: operands.to_vec(), build: itself };
    let (x, y, z) = (block(&[2, 3], 1), block(&[2, 3], 2), block(&[2, 3], 3));
    let mut cases: Vec<Case> =
        [Op::Add, Op::Sub, Op::Mul, Op::Max, Op::Min].map(|op| case(op, &[x.clone(), y.clone()])).into();
    let divisor = Tensor::floats(&[2, 3], [0.5, -0.8, 2.0, -3.0, 1.0, 0.7]);
    cases.push(case(Op::Div, &[x.clone(), divisor]));
    cases.push(case(Op::MulAdd, &[x.clone(), y.clone(), z.clone()]));
    cases.push(Case {
        op: Op::Select,
        operands: vec![x, y, z],
        build: |b, op, x| {
            let zero = b.constant_like(0.0, x[0]);
            let mask = b.compare(Cmp::Gt, x[0], zero);
            b.apply(op, &[mask, x[1], x[2]])
        },
    });
    cases
}

fn movement() -> Vec<Case> {
    let case = |op, shape: &[usize], build: Build| Case { op, operands: vec![block(shape, 1)], build };
    vec![
        case(Op::Reshape, &[2, 6], |b, _, x| b.reshape(x[0], Shape::fixed(&[3, 2, 2]))),
        case(Op::Broadcast(vec![1]), &[3], |b, _, x| b.broadcast(x[0], &Shape::fixed(&[2, 3]), &[1])),
        case(Op::Broadcast(vec![0]), &[3], |b, _, x| b.broadcast(x[0], &Shape::fixed(&[3, 2]), &[0])),
        case(Op::Broadcast(vec![0, 2]), &[3, 2], |b, _, x| b.broadcast(x[0], &Shape::fixed(&[3, 4, 2]), &[0, 2])),
        case(Op::Broadcast(vec![0, 1]), &[3, 2], |b, _, x| b.broadcast(x[0], &Shape::fixed(&[3, 2]), &[0, 1])),
        case(Op::Broadcast(vec![]), &[], |b, _, x| b.broadcast(x[0], &Shape::fixed(&[3, 4]), &[])),
        case(Op::Broadcast(vec![1]), &[4], |b, _, x| b.broadcast(x[0], &Shape(vec![Dim::B, Dim::Fixed(4)]), &[1])),
        case(Op::Transpose(vec![1, 0]), &[2, 3], itself),
        case(Op::Transpose(vec![2, 0, 3, 1]), &[2, 3, 1, 4], itself),
        case(Op::Transpose(vec![]), &[], itself),
        case(Op::Slice { axis: 1, start: 1, len: 2, step: 2 }, &[2, 5, 3], itself),
        case(Op::Slice { axis: 0, start: 3, len: 1, step: 1 }, &[4], itself),
        case(Op::Pad { axis: 1, before: 2, inside: 1, after: 1, value: 0.5 }, &[2, 3, 2], itself),
        case(Op::Pad { axis: 0, before: 0, inside: 0, after: 0, value: 0.0 }, &[1], itself),
        case(Op::Concat(1), &[2, 3, 2], |b, op, x| {
            let twice = b.scale(x[0], 2.0);
            let part = b.slice(x[0], 1, 1, 1, 1);
            b.apply(op, &[twice, part, x[0]])
        }),
        case(Op::Patches { axis: 1, window: WINDOW, value: -1.0 }, &[2, 6, 2], itself),
        case(Op::Fold { axis: 1, window: WINDOW, extent: 6 }, &[2, 3, 3, 2], itself),
        case(Op::Skew { axis: 1, along: 2, step: -2, shift: 1, extent: 4 }, &[2, 5, 3], itself),
        case(Op::Gather, &[4, 2, 3], |b, op, x| {
            // Rows 0 to 2, each as often as there are rows in the batch.
            let index = b.iota(1, &Shape(vec![Dim::B, Dim::Fixed(3)]));
            b.apply(op, &[x[0], index])
        }),
        case(Op::ScatterAdd { rows: 4 }, &[2, 3, 2], |b, op, x| {
            let index = b.iota(1, &Shape::fixed(&[2, 3]));
            b.apply(op, &[x[0], index])
        }),
    ]
}

/// Padded, with steps and with gaps.
const WINDOW: Window = Window { size: 3, stride: 2, dilation: 2, before: 2, after: 1 };

fn reductions() -> Vec<Case> {
    let kinds: [fn(Vec<usize>) -> Op; 4] = [Op::Sum, Op::MaxOver, Op::Mean, Op::Variance];
    let mut cases = Vec::new();
    for kind in kinds {
        for axes in [vec![0], vec![1], vec![2], vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]] {
            cases.push(Case { op: kind(axes), operands: vec![block(&[2, 3, 4], 1)], build: itself });
        }
        for axes in [vec![1, 3, 4], vec![0, 2, 5], vec![2]] {
            cases.push(Case { op: kind(axes), operands: vec![block(&[2, 3, 1, 2, 1, 2], 1)], build: itself });
        }
        // Over the batch: as many different rows as it has.
        cases.push(Case {
            op: kind(vec![0]),
            operands: vec![block(&[4], 1)],
            build: |b, op, x| {
                let rows = b.broadcast(x[0], &Shape(vec![Dim::B, Dim::Fixed(4)]), &[1]);
                let position = position(b, rows, 0);
                let rows = b.mul(rows, position);
                b.apply(op, &[rows])
            },
        });
    }
    cases
}

fn products() -> Vec<Case> {
    let (m, k, n) = (2, 3, 4);
    let case = |(ta, tb)| {
        let a = if ta { [k, m] } else { [m, k] };
        let b = if tb { [n, k] } else { [k, n] };
        Case { op: Op::Dot(DotAxes::matrix(ta, tb)), operands: vec![block(&a, 1), block(&b, 2)], build: itself }
    };
    let mut cases: Vec<Case> = [(false, false), (false, true), (true, false), (true, true)].map(case).into();
    // Batch axes, several axes to sum over, and all of them in any order; without one or the other; of numbers.
    type Pairs = &'static [(usize, usize)];
    let general: [(&[usize], &[usize], Pairs, Pairs); 11] = [
        (&[2, 3, 4], &[2, 4, 2], &[(0, 0)], &[(2, 1)]),
        (&[3, 2, 4], &[4, 3, 2], &[(1, 2)], &[(2, 0)]),
        (&[2, 3, 4, 2], &[3, 4, 5], &[], &[(2, 1), (1, 0)]),
        (&[4, 2, 3], &[3, 4, 2], &[(0, 1), (1, 2)], &[(2, 0)]),
        (&[2, 3, 2, 3], &[3, 3, 2, 2], &[(3, 1)], &[(1, 0), (2, 3)]),
        (&[2, 3], &[4], &[], &[]),
        (&[2, 3], &[3, 2], &[(0, 1), (1, 0)], &[]),
        (&[2, 3], &[2, 3], &[], &[(1, 1), (0, 0)]),
        (&[4], &[4], &[], &[(0, 0)]),
        (&[1, 3, 1], &[3, 1, 2], &[(2, 1)], &[(1, 0)]),
        (&[], &[], &[], &[]),
    ];
    for (a, b, batch, contracted) in general {
        let axes = DotAxes { batch: batch.to_vec(), contracted: contracted.to_vec() };
        if !batch.is_empty() {
            let op = Op::DotByColumn(axes.clone());
            cases.push(Case { op, operands: vec![block(a, 1), block(b, 2)], build: itself });
        }
        cases.push(Case { op: Op::Dot(axes), operands: vec![block(a, 1), block(b, 2)], build: itself });
    }
    cases
}

/// The result in f64 and the gradient of its sum, at `x`.
fn value_and_gradient(x: &Tensor, build: fn(&mut Builder, NodeId) -> NodeId) -> (Vec<f64>, Vec<f64>) {
    let mut b = Builder::new(Graph::default());
    let param = handmade::parameter(&mut b, "x", &x.shape);
    let y = build(&mut b, param);
    let axes: Vec<usize> = (0..b.shape(y).rank()).collect();
    let loss = if axes.is_empty() { y } else { b.sum(y, &axes) };
    handmade::output(&mut b, Role::Loss, loss);
    let graph = differentiate(&b.finish(), &[0]);
    let values = Values { params: vec![x.clone()], ..Values::default() };
    let evaluation = evaluate(&graph, Precision::F64, BATCH, &values);
    (evaluation[y].as_floats().to_vec(), evaluation.output(&Role::Gradient(0)).as_floats().to_vec())
}

/// The same of a maximum over `axes` of a tensor that is repeated along the batch, which is its second axis.
fn value_and_gradient_over_rows(x: &Tensor, axes: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let mut b = Builder::new(Graph::default());
    let param = handmade::parameter(&mut b, "x", &x.shape);
    let flat = b.reshape(param, Shape::fixed(&[2, 2]));
    let rows = b.broadcast(flat, &Shape(vec![Dim::Fixed(2), Dim::B, Dim::Fixed(2)]), &[0, 2]);
    let y = b.max_over(rows, axes);
    let kept = Vec::from_iter(0..b.shape(y).rank());
    let loss = if kept.is_empty() { y } else { b.sum(y, &kept) };
    handmade::output(&mut b, Role::Loss, loss);
    let graph = differentiate(&b.finish(), &[0]);
    verify(&graph).expect("the gradient is a graph");
    let values = Values { params: vec![x.clone()], ..Values::default() };
    let evaluation = evaluate(&graph, Precision::F64, BATCH, &values);
    (evaluation[y].as_floats().to_vec(), evaluation.output(&Role::Gradient(0)).as_floats().to_vec())
}

#[test]
fn abs_has_gradient_zero_at_zero() {
    let (y, dx) = value_and_gradient(&vector(&[-2.0, -0.0, 0.0, 3.0]), |b, x| b.abs(x));
    assert_eq!(y, [2.0, 0.0, 0.0, 3.0]);
    assert_eq!(dx, [-1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn max_and_min_of_equals_give_the_gradient_to_the_first() {
    for choose in [Builder::max, Builder::min] {
        let mut b = Builder::new(Graph::default());
        let (x, y) = (handmade::parameter(&mut b, "x", &[2]), handmade::parameter(&mut b, "y", &[2]));
        let chosen = choose(&mut b, x, y);
        handmade::weighted_loss(&mut b, chosen);
        let graph = differentiate(&b.finish(), &[0, 1]);
        let equal = vector(&[0.0, 1.5]);
        let values = Values { inputs: vec![vector(&[3.0, 4.0])], params: vec![equal.clone(), equal], scalars: vec![] };
        let evaluation = evaluate(&graph, Precision::F64, 1, &values);
        assert_eq!(evaluation.output(&Role::Gradient(0)).as_floats(), [3.0, 4.0]);
        assert_eq!(evaluation.output(&Role::Gradient(1)).as_floats(), [0.0, 0.0]);
    }
}

#[test]
fn max_over_an_axis_gives_the_gradient_to_the_first_of_equals() {
    let x = Tensor::floats(&[2, 3], [1.0, 5.0, 5.0, 7.0, 7.0, 7.0]);
    let (top, dx) = value_and_gradient(&x, |b, x| b.max_over(x, &[1]));
    assert_eq!(top, [5.0, 7.0]);
    assert_eq!(dx, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    let x = Tensor::floats(&[3, 2], [1.0, 7.0, 5.0, 7.0, 5.0, 7.0]);
    let (_, dx) = value_and_gradient(&x, |b, x| b.max_over(x, &[0]));
    assert_eq!(dx, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    // Over several axes, in row-major order of them, whatever stands between.
    let x = Tensor::floats(&[2, 2, 2], [1.0, 7.0, 5.0, 7.0, 5.0, 7.0, 5.0, 6.0]);
    let (_, dx) = value_and_gradient(&x, |b, x| b.max_over(x, &[0, 1]));
    assert_eq!(dx, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let (_, dx) = value_and_gradient(&x, |b, x| b.max_over(x, &[0, 2]));
    assert_eq!(dx, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    // The batch has no number of elements yet: as the outer axis, between others, and alone.
    let alike = Tensor::floats(&[2, 1, 2], [3.0, 3.0, 3.0, 3.0]);
    let first = [
        (&[0, 1, 2][..], [1.0, 0.0, 0.0, 0.0]),
        (&[0, 1], [1.0, 1.0, 0.0, 0.0]),
        (&[1, 2], [1.0, 0.0, 1.0, 0.0]),
        (&[0, 2], [3.0, 0.0, 0.0, 0.0]),
    ];
    for (axes, dx) in first {
        let (_, found) = value_and_gradient_over_rows(&alike, axes);
        assert_eq!(found, dx, "{axes:?}");
    }
    let signs_of_zero = vector(&[-0.0, 0.0]);
    let (_, dx) = value_and_gradient(&signs_of_zero, |b, x| b.max_over(x, &[0]));
    assert_eq!(dx, [1.0, 0.0]);
}

#[test]
fn max_over_an_axis_with_nan_gives_no_element_a_gradient() {
    let x = Tensor::floats(&[2, 2], [1.0, f64::NAN, 3.0, 4.0]);
    let (_, dx) = value_and_gradient(&x, |b, x| b.max_over(x, &[1]));
    assert_eq!(dx, [0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn nan_passes_through_max_min_and_max_over_an_axis() {
    let zero_or_more = |b: &mut Builder, x| {
        let zero = b.constant_like(0.0, x);
        b.max(zero, x)
    };
    let (y, _) = value_and_gradient(&vector(&[f64::NAN, 1.0]), zero_or_more);
    assert!(y[0].is_nan() && y[1] == 1.0);
    let at_most_zero = |b: &mut Builder, x| {
        let zero = b.constant_like(0.0, x);
        b.min(x, zero)
    };
    let (y, _) = value_and_gradient(&vector(&[f64::NAN, 1.0]), at_most_zero);
    assert!(y[0].is_nan() && y[1] == 0.0);
    let x = Tensor::floats(&[3, 2], [1.0, f64::NAN, f64::NAN, 2.0, 3.0, 4.0]);
    let (y, _) = value_and_gradient(&x, |b, x| b.max_over(x, &[1]));
    assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 4.0);
}

#[test]
fn select_gives_what_is_not_taken_gradient_zero_even_against_infinity() {
    let mut b = Builder::new(Graph::default());
    let (x, y) = (handmade::parameter(&mut b, "x", &[2]), handmade::parameter(&mut b, "y", &[2]));
    let zero = b.constant_like(0.0, x);
    let above = b.compare(Cmp::Gt, x, zero);
    let chosen = b.select(above, x, y);
    handmade::weighted_loss(&mut b, chosen);
    let graph = differentiate(&b.finish(), &[0, 1]);
    let params = vec![vector(&[1.0, f64::NAN]), vector(&[f64::NAN, 2.0])];
    let values = Values { inputs: vec![vector(&[f64::INFINITY, f64::NAN])], params, scalars: vec![] };
    let evaluation = evaluate(&graph, Precision::F64, 1, &values);
    assert_eq!(evaluation[chosen].as_floats(), [1.0, 2.0]);
    assert_eq!(evaluation.output(&Role::Gradient(0)).as_floats(), [f64::INFINITY, 0.0]);
    let dy = evaluation.output(&Role::Gradient(1)).as_floats();
    assert!(dy[0] == 0.0 && dy[1].is_nan());
}

#[test]
fn detach_is_the_identity_without_a_gradient() {
    let (y, dx) = value_and_gradient(&vector(&[2.0, -3.0]), |b, x| {
        let fixed = b.detach(x);
        b.mul(x, fixed)
    });
    assert_eq!(y, [4.0, 9.0]);
    assert_eq!(dx, [2.0, -3.0]);
}

#[test]
fn a_parameter_that_the_loss_ignores_has_gradient_zero() {
    let (_, dx) = value_and_gradient(&vector(&[2.0, -3.0]), |b, x| b.detach(x));
    assert_eq!(dx, [0.0, 0.0]);
}

/// Data whose mean is 10,000 standard deviations, exact in f32, and its variance.
fn far_from_zero() -> (Tensor, f64) {
    let deviations: Vec<f64> = block(&[256], 9).as_floats().iter().map(|x| (x * 1024.0).round() / 1024.0).collect();
    let mean = deviations.iter().sum::<f64>() / 256.0;
    let variance = deviations.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 256.0;
    (vector(&deviations.iter().map(|x| x + 10_000.0).collect::<Vec<f64>>()), variance)
}

#[test]
fn variance_does_not_cancel_where_the_mean_is_10_000_deviations() {
    let (x, expected) = far_from_zero();
    let mut b = Builder::new(Graph::default());
    let param = handmade::parameter(&mut b, "x", &x.shape);
    let variance = b.variance(param, &[0]);
    handmade::output(&mut b, Role::Loss, variance);
    let graph = b.finish();
    let values = Values { params: vec![x], ..Values::default() };
    let actual = |precision| evaluate(&graph, precision, 1, &values).loss();
    Bound { relative: 1e-12, absolute: 0.0 }.check("f64", &[actual(Precision::F64)], &[expected]);
    Bound { relative: 1e-5, absolute: 0.0 }.check("f32", &[actual(Precision::F32)], &[expected]);
    // The differences of a quadratic have no error but rounding, so the step may be large: 1e-3 of 10,000.
    finite_difference::check("variance", &graph, 1, &values, &[0], 1e-3);
}

#[test]
fn index_types_compare_with_each_other() {
    let mut b = Builder::new(Graph::default());
    let shape = Shape::fixed(&[4]);
    let ids = handmade::input(&mut b, "ids", TensorType { dtype: DType::U8, shape: shape.clone() });
    let position = b.iota(0, &shape);
    let equal = b.index_eq(ids, position);
    let one = b.constant(1.0, &shape);
    let share = b.mask(equal, one);
    let graph = b.finish();
    let values = Values { inputs: vec![Tensor::indices(&[4], [0, 2, 2, 1])], ..Values::default() };
    assert_eq!(evaluate(&graph, Precision::F32, 1, &values)[share].as_floats(), [1.0, 0.0, 1.0, 0.0]);
}
