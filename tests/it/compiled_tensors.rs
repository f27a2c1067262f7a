//! Random graphs of tensors of any rank as machine code, against the interpreter: every operation, with gradients, whatever the
//! number of threads and of rows, under every instruction set.

use gradloom_runtime::ir::{Builder, Graph, NodeId, Role};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::budget::cases;
use crate::compiled::{Compiled, agrees, with_isa};
use crate::draw;
use crate::handmade::{input, output};
use crate::random_tensors::graph;

#[test]
fn random_tensor_graphs_compute_what_the_interpreter_computes() {
    let (mut compared, cases) = (0, cases(500));
    for seed in 0..cases {
        let graph = graph(seed);
        let mut compiled = [Compiled::new(&graph, 5)];
        for batch in [5, 1] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases, "{compared} were compared");
}

#[test]
fn random_tensor_graphs_over_several_blocks_have_the_same_bits_on_any_threads() {
    let (mut compared, cases) = (0, cases(60));
    for seed in 0..cases {
        let graph = graph(10_000 + seed);
        let mut one = [Compiled::new(&graph, 65)];
        let mut shared = [2, 3].map(|threads| Compiled::for_threads(&graph, 65, threads));
        for batch in [65, 7] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut one, batch, seed));
            let values = draw::singles(&draw::values(&graph, batch, seed));
            let bits = one[0].run(batch, &values).bits();
            for shared in &mut shared {
                assert!(
                    shared.run(batch, &values).bits() == bits,
                    "seed {seed}, {batch} rows, several threads\n{graph}"
                );
            }
        }
    }
    assert!(compared > cases / 2, "{compared} were compared");
}

#[test]
fn random_tensor_graphs_run_on_every_instruction_set() {
    for seed in 0..cases(60) {
        let graph = graph(20_000 + seed);
        let compile = |isa| with_isa(isa, || Compiled::new(&graph, 9));
        let mut compiled: Vec<Compiled> = Isa::available().into_iter().map(compile).collect();
        agrees(&format!("seed {seed}, under every instruction set"), &graph, &mut compiled, 9, seed);
    }
}

/// Holds a graph with these results against the interpreter.
fn check(what: &str, build: impl FnOnce(&mut Builder) -> Vec<NodeId>) {
    let mut b = Builder::new(Graph::default());
    let results = build(&mut b);
    for (index, node) in results.into_iter().enumerate() {
        output(&mut b, Role::Output(index), node);
    }
    let graph = b.finish();
    for batch in [1, 70] {
        assert!(agrees(what, &graph, &mut [Compiled::new(&graph, 70)], batch, 1), "{what} is compared");
    }
}

fn batch_of(extents: &[usize]) -> TensorType {
    TensorType::f32(Shape(std::iter::once(Dim::B).chain(extents.iter().map(|&extent| Dim::Fixed(extent))).collect()))
}

#[test]
fn moments_of_the_same_numbers_in_two_shapes_are_both_there() {
    check("two means", |b| {
        let x = input(b, "x", batch_of(&[3]));
        let bent = b.tanh(x);
        let other = b.reshape(bent, batch_of(&[1, 3]).shape);
        let mut results = Vec::new();
        for (x, axes) in [(bent, &[0][..]), (other, &[0, 1])] {
            results.extend([b.variance(x, axes), b.center(x, axes)]);
        }
        results
    });
}

#[test]
fn positions_are_those_of_their_own_shape() {
    check("positions", |b| {
        let x = input(b, "x", batch_of(&[3, 1, 2, 2]));
        let position = b.iota(3, &batch_of(&[3, 2, 2]).shape);
        let position = b.reshape(position, b.shape(x));
        let number = b.to_float(position);
        vec![b.mul(x, number)]
    });
}

#[test]
fn what_is_read_twice_in_two_orders_is_right_in_both() {
    check("an order and another", |b| {
        let x = input(b, "x", batch_of(&[3, 3]));
        let bent = b.tanh(x);
        let turned = b.transpose(bent, &[0, 2, 1]);
        vec![b.sub(bent, turned)]
    });
}
