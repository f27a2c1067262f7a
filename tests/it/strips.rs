//! Kernels that call functions for strips of elements, against the interpreter: around the ends of strips, with values
//! that are wanted before a call, after it and on both sides.

use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role};
use gradloom_runtime::jit::{Text, text};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::tiling::{Functions, Machine, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::compiled::{Compiled, Reference, with_isa};
use crate::compiled_ops::matrix;
use crate::{draw, handmade};

/// The least that is called for is 32 elements, a strip has 512.
const COLS: [usize; 7] = [31, 32, 45, 512, 513, 700, 1030];

/// A graph of a matrix and two vectors: one number a column, one a row.
fn graph(cols: usize, build: impl Fn(&mut Builder, NodeId, NodeId, NodeId) -> Vec<NodeId>) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", matrix(cols));
    let shape = b.shape(x);
    let column = handmade::input(&mut b, "column", TensorType::f32(Shape::fixed(&[cols])));
    let column = b.broadcast(column, &shape, &[1]);
    let row = handmade::input(&mut b, "row", TensorType::f32(Shape(vec![Dim::B])));
    let row = b.broadcast(row, &shape, &[0]);
    for (index, node) in build(&mut b, x, column, row).into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

#[track_caller]
fn check(build: impl Fn(&mut Builder, NodeId, NodeId, NodeId) -> Vec<NodeId>) {
    check_under(&[Isa::detect()], build);
}

#[track_caller]
fn check_under(isas: &[Isa], build: impl Fn(&mut Builder, NodeId, NodeId, NodeId) -> Vec<NodeId>) {
    for cols in COLS {
        let graph = graph(cols, &build);
        let mut compiled: Vec<(Isa, Compiled)> =
            isas.iter().map(|&isa| (isa, with_isa(isa, || Compiled::new(&graph, 67)))).collect();
        for batch in [1, 3, 67] {
            let values = draw::singles(&draw::values(&graph, batch, (cols + batch) as u64));
            let wanted = Reference::new(&graph, batch, &values);
            for (isa, compiled) in &mut compiled {
                wanted.check(&format!("{cols} columns, {batch} rows, {isa:?}"), &compiled.run(batch, &values));
            }
        }
    }
}

#[test]
fn values_may_be_wanted_on_both_sides_of_a_call() {
    check(|b, x, column, row| {
        let moved = b.mul(x, column);
        let y = b.tanh(moved);
        let after = b.mul(y, row);
        let both = b.mul(after, moved);
        vec![b.add(both, x)]
    });
}

#[test]
fn calls_may_follow_each_other_and_share_what_they_read() {
    successive(&[Isa::detect()]);
}

/// Calls one after the other, under each of these instruction sets.
pub fn successive(isas: &[Isa]) {
    check_under(isas, |b, x, column, row| {
        let moved = b.add(x, column);
        let (tanh, sigmoid) = (b.tanh(moved), b.sigmoid(moved));
        let product = b.mul(tanh, sigmoid);
        let exp = b.exp(product);
        let scaled = b.mul(exp, row);
        let deep = b.apply(Op::Softplus, &[scaled]);
        let mixed = b.mul(deep, tanh);
        vec![b.add(mixed, moved)]
    });
}

#[test]
fn a_function_of_an_input_may_be_a_result_and_an_operand() {
    check(|b, x, column, _| {
        let y = b.tanh(x);
        let z = b.exp(y);
        let sum = b.add(z, column);
        vec![y, z, sum]
    });
}

#[test]
fn what_is_computed_before_a_call_may_be_a_result_too() {
    check(|b, x, column, row| {
        let moved = b.mul(x, column);
        let y = b.erf(moved);
        let z = b.mul(y, row);
        vec![moved, y, z]
    });
}

#[test]
fn conditions_may_cross_a_call() {
    check(|b, x, column, row| {
        let right = b.compare(Cmp::Gt, x, column);
        let y = b.tanh(x);
        let z = b.mul(y, row);
        vec![b.select(right, z, x)]
    });
}

#[test]
fn sums_every_way_may_follow_a_call() {
    check(|b, x, column, row| {
        let moved = b.mul(x, column);
        let y = b.sigmoid(moved);
        let z = b.mul(y, row);
        let ways = [vec![0], vec![1], vec![0, 1]];
        ways.into_iter().map(|axes| b.sum(z, &axes)).collect()
    });
}

#[test]
fn a_softmax_calls_between_its_phases() {
    check(|b, x, _, row| {
        let shape = b.shape(x);
        let most = b.max_over(x, &[1]);
        let most = b.broadcast(most, &shape, &[0]);
        let shifted = b.sub(x, most);
        let exp = b.exp(shifted);
        let sum = b.sum(exp, &[1]);
        let sum = b.broadcast(sum, &shape, &[0]);
        let y = b.div(exp, sum);
        vec![y, b.mul(y, row)]
    });
}

#[test]
fn few_columns_are_not_worth_a_call() {
    let calls = |cols: usize| {
        let graph = graph(cols, |b, x, column, _| {
            let moved = b.mul(x, column);
            vec![b.apply(Op::Tanh, &[moved])]
        });
        let text = text(&fuse(&graph), 32, Text::Clif).expect("it compiles");
        let (kernels, _) = text.split_once("; entry").expect("the entry comes last");
        kernels.matches("call fn").count()
    };
    assert_eq!([31, 32, 512, 513].map(calls), [0, 1, 1, 2]);
}

#[test]
fn functions_of_parts_of_rows_are_called_where_the_parts_lie() {
    for cols in COLS {
        let mut b = Builder::new(Graph::default());
        let x = handmade::input(&mut b, "x", matrix(4 * cols));
        let part = |b: &mut Builder, at: usize| b.slice(x, 1, at * cols, cols, 1);
        let [input, forget, new, kept] = [0, 1, 2, 3].map(|at| part(&mut b, at));
        let (input, forget, new) = (b.sigmoid(input), b.sigmoid(forget), b.tanh(new));
        let (kept, new) = (b.mul(forget, kept), b.mul(input, new));
        let cell = b.add(kept, new);
        let bent = b.tanh(cell);
        // Then sums along the row, and a function of what another stage gives.
        let power = b.exp(bent);
        let shape = b.shape(power);
        let sum = b.sum(power, &[1]);
        let sum = b.broadcast(sum, &shape, &[0]);
        let share = b.div(power, sum);
        let last = b.softplus(share);
        for (index, node) in [cell, last].into_iter().enumerate() {
            handmade::output(&mut b, Role::Output(index), node);
        }
        let graph = b.finish();
        let fused = fuse(&graph);
        let tiling = tile(&fused, 67, Machine::of(Isa::Avx2));
        let called =
            tiling.kernels[0].stages.iter().filter(|stage| matches!(stage.functions, Functions::Strips { .. }));
        assert_eq!((fused.kernels[0].is_plain(), called.count()), (false, if cols < 32 { 0 } else { 2 }), "{fused}");
        for isa in Isa::available() {
            let mut compiled = with_isa(isa, || Compiled::new(&graph, 67));
            for batch in [1, 3, 67] {
                let values = draw::singles(&draw::values(&graph, batch, (cols + batch) as u64));
                let wanted = Reference::new(&graph, batch, &values);
                wanted.check(&format!("{cols} columns, {batch} rows, {isa:?}"), &compiled.run(batch, &values));
            }
        }
    }
}
