//! How much code a program becomes, and that its bits do not depend on that.

use gradloom::{Sgd, Stage, network};
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, Role};
use gradloom_runtime::jit::{Text, text};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::compiled::{Compiled, Reference, with_isa};
use crate::{draw, handmade};

network! {
    /// Three layers that are alike, between two that are not.
    pub Three<x: [B, 6] -> y: [B, 2]> { Dense(48), tanh, repeat(3) { Dense(48), BatchNorm, tanh }, Dense(2) }
    loss(target: [B, 2]) = mse(y, target);
}

network! {
    /// Twenty of them.
    pub Twenty<x: [B, 6] -> y: [B, 2]> { Dense(48), tanh, repeat(20) { Dense(48), BatchNorm, tanh }, Dense(2) }
    loss(target: [B, 2]) = mse(y, target);
}

/// Functions that are compiled, and kernels that use those of others.
fn functions(clif: &str) -> (usize, usize) {
    (clif.matches("\nfunction ").count(), clif.matches("; the code of kernel ").count())
}

#[test]
fn layers_that_are_alike_are_compiled_once() {
    let three = functions(&Three::trainer(Sgd::new(0.1)).max_batch(64).ir(Stage::Clif));
    let twenty = functions(&Twenty::trainer(Sgd::new(0.1)).max_batch(64).ir(Stage::Clif));
    // Vectors of parameters share kernels, of which the number of layers decides how many are full.
    assert!(twenty.0 <= three.0 + 4, "{three:?} and {twenty:?}");
    assert!(twenty.1 >= three.1 + 17 * 5, "{three:?} and {twenty:?}");
}

/// A product of operands of these extents: rows, columns, terms; a batch, unless one of the two is `B`.
fn product(rows: Dim, cols: usize, terms: Dim, transposed: (bool, bool)) -> Graph {
    let mut b = Builder::new(Graph::default());
    let matrix = |first: Dim, second: Dim, swap: bool| {
        TensorType::f32(Shape(if swap { vec![second, first] } else { vec![first, second] }))
    };
    let x = handmade::input(&mut b, "a", matrix(rows, terms, transposed.0));
    let y = handmade::input(&mut b, "b", matrix(terms, Dim::Fixed(cols), transposed.1));
    let z = b.dot(x, y, transposed.0, transposed.1);
    let shape = b.shape(z);
    let column = handmade::input(&mut b, "column", TensorType::f32(Shape::fixed(&[cols])));
    let column = b.broadcast(column, &shape, &[1]);
    let moved = b.add(z, column);
    handmade::output(&mut b, Role::Output(0), z);
    handmade::output(&mut b, Role::Output(1), moved);
    b.finish()
}

#[test]
fn small_products_have_the_bits_of_large_ones() {
    let (fixed, batch) = (Dim::Fixed, Dim::B);
    let cases = [
        (batch, fixed(3), (false, false)),
        (batch, fixed(17), (false, false)),
        (batch, fixed(5), (false, true)),
        (batch, fixed(20), (false, true)),
        (fixed(4), batch, (true, false)),
        (fixed(1), batch, (true, false)),
    ];
    for (rows, terms, transposed) in cases {
        for cols in [1, 2, 4, 5, 7, 16, 19] {
            let graph = product(rows, cols, terms, transposed);
            // The same graph with room for few rows, where the product is written out, and with room for many.
            let (mut small, mut large) = (Compiled::new(&graph, 2), Compiled::new(&graph, 2000));
            for batch in [1, 2] {
                let values = draw::singles(&draw::values(&graph, batch, cols as u64));
                let (small, large) = (small.run(batch, &values), large.run(batch, &values));
                for role in [Role::Output(0), Role::Output(1)] {
                    assert_eq!(
                        small.get(&role),
                        large.get(&role),
                        "{rows} x {cols}, {terms} terms, {transposed:?}, batch {batch}"
                    );
                }
            }
        }
    }
}

#[test]
fn elements_of_whole_lanes_leave_nothing_over() {
    for (cols, over) in [(16, false), (48, false), (20, true)] {
        let mut b = Builder::new(Graph::default());
        let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)])));
        let y = b.tanh(x);
        handmade::output(&mut b, Role::Output(0), y);
        let clif = text(&fuse(&b.finish()), 64, Text::Clif).expect("the graph compiles");
        let kernel = clif.split("; entry").next().expect("kernels come first");
        assert_eq!(kernel.contains("load.f32 "), over, "{cols} columns: {kernel}");
    }
}

#[test]
fn a_small_network_calls_no_product() {
    let calls = |max_batch| {
        Three::trainer(Sgd::new(0.1)).max_batch(max_batch).ir(Stage::Clif).matches("gradloom_product").count()
    };
    assert_eq!(
        (calls(64), Line::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Clif).matches("gradloom_product").count()),
        (1, 0)
    );
}

network! {
    /// Few enough multiplications to be written out.
    pub Line<x: [B, 3] -> y: [B, 1]> { Dense(8), relu, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

#[test]
fn an_entry_whose_registers_are_given_in_one_pass_computes_the_same() {
    let mut b = Builder::new(Graph::default());
    let weights = TensorType::f32(Shape::fixed(&[16, 16]));
    let mut x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(16)])));
    let weights = handmade::input(&mut b, "weights", weights);
    for _ in 0..30 {
        let product = b.dot(x, weights, false, false);
        x = b.tanh(product);
    }
    handmade::output(&mut b, Role::Output(0), x);
    let graph = b.finish();
    let clif = text(&fuse(&graph), 130, Text::Clif).expect("the graph compiles");
    let entry = clif.split("; entry").nth(1).expect("there is an entry");
    assert!(entry.lines().count() > 400, "long enough: {} lines", entry.lines().count());
    for isa in Isa::available() {
        with_isa(isa, || {
            for threads in [1, 2] {
                let mut compiled = Compiled::for_threads(&graph, 130, threads);
                for batch in [1, 5, 130] {
                    let values = draw::singles(&draw::values(&graph, batch, 7));
                    let results = compiled.run(batch, &values);
                    Reference::new(&graph, batch, &values).check(&format!("{isa:?}, {threads} threads"), &results);
                }
            }
        });
    }
}
