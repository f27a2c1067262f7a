//! Loops over elements in wide vectors, against the interpreter: rows that fill vectors and rows that leave some over, functions one
//! after the other, conditions, and sums every way.

use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role};
use gradloom_runtime::jit::{Text, text};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::tiling::{Machine, Wide, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::compiled::{Compiled, Reference, with_isa};
use crate::compiled_ops::matrix;
use crate::{draw, handmade};

/// Around whole vectors of 8 and of 16, the lanes of a sum, and the least that is worth a call, which is 32.
const COLS: [usize; 9] = [7, 16, 31, 32, 33, 45, 48, 512, 700];

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

/// Batches of these sizes under each of these instruction sets.
#[track_caller]
fn agree(graph: &Graph, cols: usize, isas: &[Isa], batches: &[usize]) {
    let mut compiled: Vec<(Isa, Compiled)> =
        isas.iter().map(|&isa| (isa, with_isa(isa, || Compiled::new(graph, 67)))).collect();
    for &batch in batches {
        let values = draw::singles(&draw::values(graph, batch, (cols + batch) as u64));
        let wanted = Reference::new(graph, batch, &values);
        for (isa, compiled) in &mut compiled {
            wanted.check(&format!("{cols} columns, {batch} rows, {isa:?}"), &compiled.run(batch, &values));
        }
    }
}

#[track_caller]
fn check_under(isas: &[Isa], build: impl Fn(&mut Builder, NodeId, NodeId, NodeId) -> Vec<NodeId>) {
    for cols in COLS {
        agree(&graph(cols, &build), cols, isas, &[1, 3, 67]);
    }
}

#[test]
fn values_may_be_wanted_on_both_sides_of_a_function() {
    check(|b, x, column, row| {
        let moved = b.mul(x, column);
        let y = b.tanh(moved);
        let after = b.mul(y, row);
        let both = b.mul(after, moved);
        vec![b.add(both, x)]
    });
}

#[test]
fn functions_may_follow_each_other_and_share_what_they_read() {
    successive(&[Isa::detect()]);
}

/// Functions one after the other, under each of these instruction sets.
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
fn what_is_computed_before_a_function_may_be_a_result_too() {
    check(|b, x, column, row| {
        let moved = b.mul(x, column);
        let y = b.erf(moved);
        let z = b.mul(y, row);
        vec![moved, y, z]
    });
}

#[test]
fn conditions_may_cross_a_function() {
    check(|b, x, column, row| {
        let right = b.compare(Cmp::Gt, x, column);
        let y = b.tanh(x);
        let z = b.mul(y, row);
        vec![b.select(right, z, x)]
    });
}

#[test]
fn sums_every_way_may_follow_a_function() {
    check(|b, x, column, row| {
        let moved = b.mul(x, column);
        let y = b.sigmoid(moved);
        let z = b.mul(y, row);
        let ways = [vec![0], vec![1], vec![0, 1]];
        ways.into_iter().map(|axes| b.sum(z, &axes)).collect()
    });
}

#[test]
fn a_softmax_has_a_function_between_its_stages() {
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
fn rows_that_are_worth_a_call_have_a_function_and_say_what_it_does() {
    let graph = |cols: usize| {
        graph(cols, |b, x, column, _| {
            let moved = b.mul(x, column);
            let bent = b.apply(Op::Tanh, &[moved]);
            vec![bent, b.sum(bent, &[1])]
        })
    };
    let runs = |cols: usize| {
        let text = text(&fuse(&graph(cols)), 32, Text::Clif).expect("it compiles");
        text.matches("a run of elements, 8 at a time").count()
    };
    assert_eq!([7, 31, 32, 33].map(runs), [0, 0, 1, 1]);
    let wide = |cols: usize, isa| tile(&fuse(&graph(cols)), 32, Machine::of(isa)).kernels[0].stages[0].wide;
    assert_eq!([31, 32].map(|cols| wide(cols, Isa::Avx2)), [Wide::Short(31), Wide::Lanes(8)]);
    assert_eq!([31, 32].map(|cols| wide(cols, Isa::Avx512)), [Wide::Short(31), Wide::Lanes(16)]);
    assert_eq!([Isa::Neon, Isa::Portable].map(|isa| wide(512, isa)), [Wide::None; 2]);
}

#[test]
fn short_runs_that_lie_evenly_apart_have_one_call() {
    let run = |graph: &Graph, isa, rows| tile(&fuse(graph), rows, Machine::of(isa)).kernels[0].stages[0].together;
    let summed = |cols: usize, sums: bool| {
        graph(cols, |b, x, column, _| {
            let moved = b.mul(x, column);
            let bent = b.apply(Op::Tanh, &[moved]);
            let sum = b.sum(bent, &[1]);
            let shape = b.shape(bent);
            let sum = b.broadcast(sum, &shape, &[0]);
            vec![if sums { b.mul(bent, sum) } else { b.abs(bent) }]
        })
    };
    // A sum along a row has sixteen lanes, in vectors of any width.
    let runs = [48, 40, 33, 1024].map(|cols| [true, false].map(|sums| run(&summed(cols, sums), Isa::Avx2, 32)));
    assert_eq!(runs[0][0], Some(48));
    assert_eq!([runs[1][0], runs[2][0], runs[3][0]], [None; 3]);
    assert_eq!([runs[2][1], runs[3][1]], [None; 2]);
    assert_eq!(run(&summed(48, true), Isa::Avx512, 32), Some(48));
    assert_eq!([run(&summed(48, true), Isa::Avx512, 1), run(&summed(48, true), Isa::Portable, 32)], [None; 2]);
    // Fewer elements than are worth a call of their own, if there are several runs of them.
    let wide = |graph: &Graph, rows| tile(&fuse(graph), rows, Machine::of(Isa::Avx512)).kernels[0].stages[0].wide;
    let short = summed(16, true);
    assert_eq!([1, 32].map(|rows| wide(&short, rows)), [Wide::Short(16), Wide::Lanes(16)]);
    // What is outside of an image has no place.
    let pool = |pad: usize| {
        let mut b = Builder::new(Graph::default());
        let shape = Shape(vec![Dim::B, Dim::Fixed(6), Dim::Fixed(32)]);
        let x = handmade::input(&mut b, "x", TensorType::f32(shape));
        let x = if pad > 0 { b.pad(x, 1, [pad, pad], 0.0) } else { x };
        let last = 6 + 2 * pad - 1;
        let (here, next) = (b.slice(x, 1, 0, last, 1), b.slice(x, 1, 1, last, 1));
        let sum = b.add(here, next);
        handmade::output(&mut b, Role::Output(0), sum);
        b.finish()
    };
    assert_eq!([0, 1].map(|pad| run(&pool(pad), Isa::Avx2, 32)), [Some(32), None]);
    for pad in [0, 1] {
        agree(&pool(pad), 32, &Isa::available(), &[1, 3, 67]);
    }
}

#[test]
fn positions_and_conditions_of_rows_have_wide_vectors_too() {
    for cols in COLS {
        let graph = graph(cols, |b, x, column, row| {
            let shape = b.shape(x);
            let zero = b.constant(0.0, &shape);
            // Whether a row is positive is one truth value for it; which column an element is in is a position.
            let positive = b.compare(Cmp::Gt, row, zero);
            let position = b.iota(1, &shape);
            let position = b.to_float(position);
            let less = b.compare(Cmp::Lt, position, column);
            let kept = b.select(less, x, position);
            let chosen = b.select(positive, kept, x);
            vec![chosen, b.sum(chosen, &[1])]
        });
        agree(&graph, cols, &Isa::available(), &[1, 3, 67]);
    }
}

#[test]
fn functions_of_parts_of_rows_find_the_parts_where_they_lie() {
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
        assert!(!fused.kernels[0].is_plain(), "{fused}");
        agree(&graph, cols, &Isa::available(), &[1, 3, 67]);
    }
}

#[test]
fn rows_in_several_stages_are_right_whatever_their_number() {
    // Sums along the row, down the columns and over everything, of what a stage before has given.
    for cols in [16, 33, 64, 256, 257] {
        let graph = graph(cols, |b, x, column, row| {
            let shape = b.shape(x);
            let most = b.max_over(x, &[1]);
            let most = b.broadcast(most, &shape, &[0]);
            let shifted = b.sub(x, most);
            let power = b.exp(shifted);
            let sum = b.sum(power, &[1]);
            let sum = b.broadcast(sum, &shape, &[0]);
            let share = b.div(power, sum);
            let weighted = b.mul(share, column);
            let own = b.sum(weighted, &[1]);
            let own = b.broadcast(own, &shape, &[0]);
            let rest = b.sub(weighted, own);
            let last = b.mul(rest, row);
            vec![share, last, b.sum(last, &[0]), b.sum(last, &[0, 1])]
        });
        let tiling = tile(&fuse(&graph), 67, Machine::of(Isa::Avx2));
        assert_eq!(tiling.kernels[0].stages.len(), 4, "{cols} columns");
        agree(&graph, cols, &Isa::available(), &[1, 2, 3, 4, 5, 8, 66, 67]);
    }
}
