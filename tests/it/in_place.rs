//! Values that are written over an operand, and what keeps one from being.

use gradloom::{Network as _, Sgd, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role, unroll};
use gradloom_runtime::network::Definition;
use gradloom_runtime::plan::{plan, text};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::{Isa, Machine, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::compiled::{Compiled, Reference};
use crate::compiled_ops::matrix;
use crate::{draw, handmade};

/// The hyperbolic tangent of the input, moved by its mean down each column, then multiplied by a matrix: what is moved
/// has to be kept, and what it is moved from as well. `build` makes of both what comes out.
fn graph(build: impl Fn(&mut Builder, NodeId, NodeId) -> Vec<NodeId>) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", matrix(37));
    let w = handmade::input(&mut b, "w", TensorType::f32(Shape::fixed(&[37, 40])));
    let bent = b.tanh(x);
    let mean = b.mean(bent, &[0]);
    let shape = b.shape(bent);
    let mean = b.broadcast(mean, &shape, &[1]);
    let moved = b.sub(bent, mean);
    let product = b.dot(moved, w, false, false);
    let results = build(&mut b, bent, product);
    for (index, node) in results.into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

/// How many matrices are written over others; and the results are right.
#[track_caller]
fn overwritten(graph: &Graph) -> usize {
    let mut compiled = Compiled::new(graph, 200);
    for batch in [1, 66, 200] {
        let values = draw::singles(&draw::values(graph, batch, batch as u64));
        let results = compiled.run(batch, &values);
        Reference::new(graph, batch, &values).check(&format!("{batch} rows"), &results);
    }
    let fused = fuse(&simplify(graph));
    let plan = plan(&fused, tile(&fused, 200, Machine::of(Isa::detect()))).expect("it fits");
    let all = || plan.kernels.iter().flat_map(|kernel| kernel.in_place.keys());
    assert_eq!(text(&plan, &fused).matches(", over %").count(), all().count());
    all().filter(|id| fused.buffer(**id).shape == Shape(vec![Dim::B, Dim::Fixed(37)])).count()
}

#[test]
fn a_value_takes_the_place_of_an_operand_that_nobody_reads_later() {
    assert_eq!(overwritten(&graph(|_, _, product| vec![product])), 1);
}

#[test]
fn what_is_read_later_stays() {
    let later = graph(|b, bent, product| {
        let other = b.dot(bent, product, true, false);
        vec![product, other]
    });
    assert_eq!(overwritten(&later), 0);
}

#[test]
fn a_result_stays() {
    assert_eq!(overwritten(&graph(|_, bent, product| vec![product, bent])), 0);
}

network! {
    /// The last matrix is narrow.
    Narrow<x: [B, 20] -> y: [B, 16]> { Dense(256), |x| exp(x), Dense(16) }
    loss(target: [B, 16]) = mse(y, target);

    /// The last matrix is a column too wide for that.
    Wider<x: [B, 20] -> y: [B, 17]> { Dense(256), |x| exp(x), Dense(17) }
    loss(target: [B, 17]) = mse(y, target);
}

/// How many hidden activations are overwritten in a step, and the length of its arena.
fn hidden(definition: &'static Definition<'static>) -> (usize, usize) {
    let graph = simplified(definition, Purpose::Train(&Sgd::new(0.1).into())).expect("the network is sound");
    let fused = fuse(&graph);
    let plan = plan(&fused, tile(&fused, 1000, Machine::of(Isa::detect()))).expect("it fits");
    let all = plan.kernels.iter().flat_map(|kernel| kernel.in_place.keys());
    (all.filter(|id| fused.buffer(**id).shape == Shape(vec![Dim::B, Dim::Fixed(256)])).count(), plan.arena)
}

#[test]
fn the_gradient_takes_the_place_of_what_a_narrow_matrix_has_been_multiplied_by() {
    let ((narrow, short), (wider, long)) = (hidden(Narrow::declared()), hidden(Wider::declared()));
    assert_eq!((narrow, wider), (1, 0));
    assert!(long - short > 250_000, "{short} and {long} floats");
}

/// `z = s_p + h w` and `h' = tanh(z)` over the elements of a sequence that is computed ahead of the loop, and all `z`. Whether the
/// sequence is a result as well, or every step looks at its first element.
fn over_a_sequence([is_result, looks_back]: [bool; 2]) -> Graph {
    const STEPS: usize = 5;
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(STEPS), Dim::Fixed(20)]));
    let x = handmade::input(&mut b, "x", ty);
    let w = handmade::parameter(&mut b, "w", &[20, 20]);
    let bent = b.tanh(x);
    let sequence = b.transpose(bent, &[1, 0, 2]);
    let start = b.constant(0.25, &Shape(vec![Dim::B, Dim::Fixed(20)]));
    let carry = b.carry(start, STEPS, true);
    let element = b.element(carry, sequence);
    let product = b.dot(carry, w, false, false);
    let mut sum = b.add(product, element);
    if looks_back {
        let shape = b.shape(carry);
        let first = b.slice(sequence, 0, 0, 1, 1);
        let first = b.reshape(first, shape);
        sum = b.add(sum, first);
    }
    let next = b.tanh(sum);
    let history = b.history(carry, next);
    let all = b.collect(history, sum);
    let [history, all] = [history, all].map(|rows| b.transpose(rows, &[1, 0, 2]));
    let results = [history, all, bent];
    for (index, &node) in results[..2 + usize::from(is_result)].iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

#[test]
fn what_each_step_leaves_takes_the_place_of_what_it_alone_has_read() {
    for (what, expected) in [([false, false], 1), ([true, false], 0), ([false, true], 0)] {
        let graph = over_a_sequence(what);
        for threads in 1..=3 {
            let mut compiled = Compiled::for_threads(&graph, 70, threads);
            for batch in [1, 9, 70] {
                let values = draw::singles(&draw::values(&graph, batch, batch as u64));
                let results = compiled.run(batch, &values);
                Reference::new(&unroll(&graph), batch, &values).check(&format!("{what:?}, {batch} rows"), &results);
            }
        }
        let fused = fuse(&simplify(&graph));
        let plan = plan(&fused, tile(&fused, 70, Machine::of(Isa::detect()))).expect("it fits");
        let in_loop = fused.loops[0].kernels.clone();
        let replaced: usize = in_loop.map(|kernel| plan.kernels[kernel].in_place.len()).sum();
        assert_eq!(replaced, expected, "{what:?}:\n{fused}");
    }
}
