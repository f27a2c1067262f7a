//! Random graphs of tensors of any rank as machine code, against the interpreter: every operation, with gradients, whatever the
//! number of threads and of rows, under every instruction set.

use std::panic::catch_unwind;

use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Role, Window};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::simplify::simplify;
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
            #[cfg(target_os = "linux")]
            check_beside_pages(&format!("seed {seed}"), &graph, &mut compiled[0], batch, seed);
        }
    }
    assert!(compared > cases, "{compared} were compared");
}

/// A program touches nothing outside of its arena, its parameters and its inputs, and does the same there.
#[cfg(target_os = "linux")]
fn check_beside_pages(what: &str, graph: &Graph, compiled: &mut Compiled, batch: usize, seed: u64) {
    let values = draw::singles(&draw::values(graph, batch, seed));
    let bits = compiled.run(batch, &values).bits();
    for after in [true, false] {
        let beside = compiled.run_beside_pages(batch, &values, after).bits();
        assert!(beside == bits, "{what}, {batch} rows, beside pages that may not be touched\n{graph}");
    }
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

/// Graphs are cut into kernels far faster than they are compiled, so more of them are.
#[test]
fn random_tensor_graphs_are_cut_into_kernels() {
    for seed in 30_000..30_000 + cases(4_000) {
        let graph = simplify(&graph(seed));
        let cut = catch_unwind(|| drop(group(fuse(&graph), &Budget::new(9))));
        assert!(cut.is_ok(), "seed {seed}\n{graph}");
    }
}

#[test]
fn a_part_of_a_concatenation_is_read_as_a_row_of_another_value() {
    check("a part and a row", |b| {
        let (x, y) = (input(b, "x", TensorType::f32(Shape::fixed(&[2]))), input(b, "y", batch_of(&[3])));
        let (bent, zero) = (b.tanh(x), b.constant(0.0, &Shape::fixed(&[0])));
        let whole = b.concat(&[zero, bent], 0);
        let whole = b.concat(&[whole, bent], 0);
        let wide = b.broadcast(bent, &Shape::fixed(&[5, 3, 2]), &[2]);
        vec![b.exp(y), whole, wide]
    });
}

#[test]
fn a_choice_of_rows_is_not_computed_where_each_row_is_several() {
    check("a choice", |b| {
        let (x, w) = (input(b, "x", batch_of(&[8, 2])), input(b, "w", TensorType::f32(Shape::fixed(&[2]))));
        let which = input(b, "which", batch_of(&[]));
        let shape = batch_of(&[8]).shape;
        let product = b.product(x, w, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
        let zero = b.constant_like(0.0, which);
        let above = b.compare(Cmp::Gt, which, zero);
        let chosen = b.select(above, which, zero);
        let total = b.sum(chosen, &[0]);
        let chosen = b.broadcast(chosen, &shape, &[0]);
        vec![b.add(chosen, product), total]
    });
}

#[test]
fn a_column_that_is_a_view_is_stored_by_the_kernel_of_its_rows() {
    check("a column", |b| {
        let x = input(b, "x", batch_of(&[2]));
        let (sum, bent) = (b.sum(x, &[1]), b.tanh(x));
        let moved = b.scale(sum, 0.5);
        let column = b.broadcast(moved, &batch_of(&[1]).shape, &[0]);
        vec![column, bent]
    });
}

#[test]
fn windows_of_what_turns_out_to_be_a_constant_have_their_edges() {
    check("windows of a constant", |b| {
        let x = input(b, "x", batch_of(&[2]));
        let half = b.constant(0.5, &batch_of(&[2, 1]).shape);
        let largest = b.max_over(half, &[2]);
        let window = Window { size: 3, stride: 1, dilation: 1, before: 0, after: 2 };
        let windows = b.patches(largest, 1, window, f64::NEG_INFINITY);
        let rate = b.max_over(windows, &[2]);
        vec![b.mul(x, rate)]
    });
}
