//! Loops over steps: what they mean, which are no loops, and their gradients. What is expected comes from the same graph with its
//! loops written out, step by step.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::interp::{Precision, evaluate};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role, nest, unroll, verify};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{Dim, Shape};
use insta::assert_snapshot;

use crate::budget::cases;
use crate::random_loop::Inner;
use crate::{draw, handmade, random_loop};

#[test]
fn a_loop_is_its_body_as_often_as_it_has_steps() {
    for seed in 0..cases(100) {
        let graph = random_loop::graph(seed);
        let values = draw::values(&graph, 3, seed);
        for precision in [Precision::F32, Precision::F64] {
            let unrolled = unroll(&graph);
            verify(&unrolled).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
            let (own, expected) = (evaluate(&graph, precision, 3, &values), evaluate(&unrolled, precision, 3, &values));
            assert!(own.outputs().eq(expected.outputs()), "seed {seed}:\n{graph}");
        }
    }
}

#[test]
fn what_is_no_loop_is_said() {
    let find =
        |graph: &Graph, fits: fn(&Op) -> bool| graph.ids().rfind(|id| fits(&graph[*id].op)).expect("it is there");
    let refused = |change: &dyn Fn(&mut Graph)| {
        let mut graph = recurrent(5, false);
        change(&mut graph);
        verify(&graph).expect_err("something is wrong")
    };
    let is = |op: fn(&Op) -> bool| move |graph: &Graph| find(graph, op);
    let carry = is(|op| matches!(op, Op::Carry { .. }));
    let element = is(|op| matches!(op, Op::Element));
    let history = is(|op| matches!(op, Op::History { .. }));
    let all = [
        // The head is that of another number of steps.
        refused(&|graph| {
            let at = carry(graph);
            let Op::Carry { steps, .. } = &mut graph.nodes[at.index()].op else { unreachable!() };
            *steps = 4;
        }),
        refused(&|graph| {
            let at = element(graph);
            graph.nodes[at.index()].operands[0] = graph[at].operands[1];
        }),
        refused(&|graph| {
            let (at, end) = (carry(graph), history(graph));
            let nothing = graph[at].operands[0];
            graph.nodes[end.index()].operands[0] = nothing;
        }),
        refused(&|graph| {
            let (at, steps) = (carry(graph), history(graph));
            let nothing = graph[at].operands[0];
            graph.nodes[steps.index()].operands[1] = nothing;
            graph.nodes[at.index()].operands.push(nothing);
        }),
        // The state after a step is an output.
        refused(&|graph| {
            let end = history(graph);
            graph.outputs[0].node = graph[end].operands[1];
        }),
    ];
    assert_snapshot!(all.join("\n"), @"
    %5 (element): 5 steps, in a loop of 4
    %5 (element): it is not part of a loop
    %10 (history): it is not part of a loop
    %4 (carry): it is not part of a loop
    Loss is %9, which has another value at each step
    ");
}

/// How many loops are inside of others.
fn inner_loops(graph: &Graph) -> u64 {
    graph.loops().iter().filter(|run| graph.around(run.carry).is_some()).count() as u64
}

#[test]
fn a_loop_inside_of_a_loop_is_its_steps() {
    let (mut inner, mut outside, cases) = (0, 0, cases(200));
    for seed in 0..cases {
        let [graph, steps] = [Inner::Loop, Inner::Steps].map(|inner| random_loop::drawn(seed, inner));
        let loops = |graph: &Graph| graph.nodes.iter().filter(|node| matches!(node.op, Op::History { .. })).count();
        let graph = nest(graph);
        inner += inner_loops(&graph);
        // What depends on no step around is no part of one.
        outside += (loops(&graph) - loops(&steps)) as u64 - inner_loops(&graph);
        verify(&graph).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{graph}"));
        let unrolled = unroll(&graph);
        verify(&unrolled).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{unrolled}"));
        let values = draw::values(&graph, 3, seed);
        for precision in [Precision::F32, Precision::F64] {
            let [own, unrolled, expected] =
                [&graph, &unrolled, &steps].map(|graph| evaluate(graph, precision, 3, &values));
            assert!(own.outputs().eq(expected.outputs()), "seed {seed}:\n{graph}\n{steps}");
            assert!(unrolled.outputs().eq(expected.outputs()), "seed {seed}, written out:\n{graph}\n{steps}");
        }
    }
    assert!(inner > cases / 8, "{inner} loops were inside of others, {outside} independent of them");
}

/// Holds what a graph computes, as made and simplified, against the same steps written out; what is simplified to within a bound.
#[track_caller]
pub(crate) fn check_written_out(seed: u64, graph: &Graph, bound: f64) {
    let unrolled = unroll(graph);
    verify(&unrolled).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    let simple = simplify(graph);
    verify(&simple).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{simple}"));
    let values = draw::values(graph, 3, seed);
    for precision in [Precision::F32, Precision::F64] {
        let [own, expected] = [graph, &unrolled].map(|graph| evaluate(graph, precision, 3, &values));
        assert!(own.outputs().eq(expected.outputs()), "seed {seed}:\n{graph}");
    }
    let [own, expected] = [&simple, &unrolled].map(|graph| evaluate(graph, Precision::F64, 3, &values));
    for ((role, own), (_, expected)) in own.outputs().zip(expected.outputs()) {
        let close = |(x, y): (&f64, &f64)| (x - y).abs() <= bound * (1.0 + y.abs());
        let all = own.as_floats().iter().zip(expected.as_floats());
        assert!(all.clone().all(close), "seed {seed}, {role:?}\n{graph}\n{simple}");
    }
}

/// Holds gradients against those of the same steps written out, differentiated as they are: as made, and simplified.
#[track_caller]
pub(crate) fn check_gradients(seed: u64, graph: &Graph, wanted: &[usize]) {
    let (own, expected) = (differentiate(graph, wanted), differentiate(&unroll(graph), wanted));
    verify(&own).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{own}"));
    let simple = simplify(&own);
    verify(&simple).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{simple}"));
    let values = draw::values(graph, 3, seed);
    let [own, simple, expected] = [&own, &simple, &expected].map(|graph| evaluate(graph, Precision::F64, 3, &values));
    for &param in wanted {
        let role = Role::Gradient(param);
        let expected = expected.output(&role).as_floats();
        let largest = expected.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
        for evaluation in [&own, &simple] {
            let own = evaluation.output(&role).as_floats();
            let close = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-11 * largest;
            let all = own.iter().zip(expected);
            assert!(all.clone().all(close), "seed {seed}, {role:?}: {own:?}, not {expected:?}\n{graph}");
        }
    }
}

#[test]
fn the_gradient_of_a_loop_is_that_of_all_its_steps() {
    for seed in 0..cases(200) {
        let graph = random_loop::graph(seed);
        let wanted: Vec<usize> = (0..graph.slots.params.len()).collect();
        check_gradients(seed, &graph, &wanted);
    }
}

/// `h = tanh(x w + h u)` over `[T, B, 2]`, and the sum of all states as the loss.
fn recurrent(steps: usize, reverse: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(
        &mut b,
        "x",
        gradloom_runtime::types::TensorType::f32(Shape(vec![Dim::Fixed(steps), Dim::B, Dim::Fixed(2)])),
    );
    let [w, u] = ["w", "u"].map(|name| handmade::parameter(&mut b, name, &[2, 2]));
    let initial = b.constant(0.0, &Shape(vec![Dim::B, Dim::Fixed(2)]));
    let carry = b.carry(initial, steps, reverse);
    let element = b.element(carry, x);
    let [given, kept]: [NodeId; 2] = [b.dot(element, w, false, false), b.dot(carry, u, false, false)];
    let sum = b.add(given, kept);
    let next = b.tanh(sum);
    let history = b.history(carry, next);
    let loss = b.sum(history, &[0, 1, 2]);
    handmade::output(&mut b, Role::Loss, loss);
    b.finish()
}

#[test]
fn the_gradient_of_a_loop_is_a_loop_in_the_other_direction() {
    let graph = recurrent(5, false);
    assert_snapshot!(graph, @"
    %0 = input x : f32[5,B,2]
    %1 = param w : f32[2,2]
    %2 = param u : f32[2,2]
    %3 = carry 0 for 5 steps : f32[B,2]
    %4 = element %3, %0 : f32[B,2]
    %5 = dot %4, %1 : f32[B,2]
    %6 = dot %3, %2 : f32[B,2]
    %7 = add %5, %6 : f32[B,2]
    %8 = tanh %7 : f32[B,2]
    %9 = history %3, %8 : f32[6,B,2]
    %10 = sum %9 over 0,1,2 : f32[]
    loss = %10
    ");
    assert_snapshot!(simplify(&differentiate(&graph, &[0, 1])), @"
    %0 = input x : f32[5,B,2]
    %1 = param w : f32[2,2]
    %2 = param u : f32[2,2]
    %3 = carry 0 for 5 steps : f32[B,2]
    %4 = dot %0, %1 over 2:0 : f32[5,B,2]
    %5 = element %3, %4 : f32[B,2]
    %6 = dot %3, %2 : f32[B,2]
    %7 = add %5, %6 : f32[B,2]
    %8 = tanh %7 : f32[B,2]
    %9 = history %3, %8 : f32[6,B,2]
    %10 = sum %9 over 0,1,2 : f32[]
    %11 = carry 0 for 5 steps from the last : f32[B,2]
    %12 = add %11, 1 : f32[B,2]
    %13 = collect %9, %7 : f32[5,B,2]
    %14 = element %11, %13 : f32[B,2]
    %15 = tanh_slope %14 : f32[B,2]
    %16 = mul %12, %15 : f32[B,2]
    %17 = slice %9 axis 0, 5 from 0 : f32[5,B,2]
    %18 = dot %16, %2.T : f32[B,2]
    %19 = history %11, %18 : f32[6,B,2]
    %20 = collect %19, %16 : f32[5,B,2]
    %21 = dot %17, %20 over 0:0,1:1 : f32[2,2]
    %22 = dot %0, %20 over 0:0,1:1 : f32[2,2]
    loss = %10
    d w = %22
    d u = %21
    ");
}

/// The loss is the sum of some states: of the last one, of all after a step, or of those and the last one once more.
fn sum_of_states(states: usize, reverse: bool) -> Graph {
    let mut b = Builder::new(recurrent(5, reverse));
    let history = b.graph().ids().find(|id| matches!(b.graph()[*id].op, Op::History { .. })).expect("it is a loop");
    let (from, last) = if reverse { (0, 0) } else { (1, 5) };
    let parts = [b.slice(history, 0, last, 1, 1), b.slice(history, 0, from, 5, 1)];
    let turned = b.transpose(parts[1], &[1, 0, 2]);
    let column = b.slice(turned, 1, last - from, 1, 1);
    let mut loss = None;
    let chosen = [vec![parts[0]], vec![turned], vec![turned, column]];
    for &part in &chosen[states] {
        let bent = b.mul(part, part);
        let sum = b.sum(bent, &[0, 1, 2]);
        loss = Some(loss.map_or(sum, |other| b.add(other, sum)));
    }
    b.graph_mut().outputs[0].node = loss.expect("some states are chosen");
    b.finish()
}

#[test]
fn nothing_is_padded_for_the_gradient_of_a_loop() {
    for (states, reverse) in [0, 1, 2].into_iter().flat_map(|states| [(states, false), (states, true)]) {
        let graph = sum_of_states(states, reverse);
        let own = simplify(&differentiate(&graph, &[0, 1]));
        let moves = |op: &Op| matches!(op, Op::Pad { .. } | Op::Concat(_));
        assert!(!own.nodes.iter().any(|node| moves(&node.op)), "{own}");
        // The last state alone is what the backward loop begins with.
        let heads = own.nodes.iter().filter(|node| matches!(node.op, Op::Carry { .. }));
        let begins: Vec<Option<f64>> = heads.map(|head| own.constant(head.operands[0])).collect();
        assert_eq!(begins, [Some(0.0), if states == 1 { Some(0.0) } else { None }], "{own}");
        let expected = differentiate(&unroll(&graph), &[0, 1]);
        let values = draw::values(&graph, 3, states as u64);
        let [own, expected] = [&own, &expected].map(|graph| evaluate(graph, Precision::F64, 3, &values));
        for role in [Role::Gradient(0), Role::Gradient(1)] {
            let both = own.output(&role).as_floats().iter().zip(expected.output(&role).as_floats());
            both.for_each(|(x, y)| assert!((x - y).abs() <= 1e-12 * y.abs().max(1.0), "{role:?}: {x}, not {y}"));
        }
    }
}
