//! Kernels over matrices that exceed the cache ask for what comes next: the results are those of kernels that don't, also
//! where they ask past the last row.

use gradloom_runtime::fuse::fuse;
use gradloom_runtime::interp::{Tensor, Values};
use gradloom_runtime::ir::{Builder, Graph, Role};
use gradloom_runtime::jit::{Text, text};
use gradloom_runtime::types::{Shape, TensorType};

use crate::budget::share;
use crate::compiled::{Compiled, Reference};
use crate::compiled_ops::matrix;
use crate::{draw, handmade};

/// A matrix, one in which every column counts, and sums of all directions: with a transcendental function, or
/// without one.
fn graph(cols: usize, function: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let (x, y) = (handmade::input(&mut b, "x", matrix(cols)), handmade::input(&mut b, "y", matrix(cols)));
    let shape = b.shape(x);
    let column = handmade::input(&mut b, "column", TensorType::f32(Shape::fixed(&[cols])));
    let column = b.broadcast(column, &shape, &[1]);
    let product = b.mul(x, y);
    let moved = b.add(product, column);
    let value = if function { b.tanh(moved) } else { b.abs(moved) };
    let position = b.iota(1, &shape);
    let position = b.to_float(position);
    let placed = b.mul(value, position);
    for (index, node) in
        [value, placed, b.sum(value, &[0]), b.sum(value, &[1]), b.sum(value, &[0, 1])].into_iter().enumerate()
    {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

/// Whether the code asks for some of a matrix to read it, and to write it.
fn requests(graph: &Graph, max_batch: usize) -> [bool; 2] {
    let clif = text(&fuse(graph), max_batch, Text::Clif).expect("the graph compiles");
    // Of a call for several elements, or of a step of a function with wide vectors.
    [(" gradloom_prefetch", false), (" gradloom_prefetch_to_write", true)].map(|(call, to_write)| {
        let step = |line: &str| line.trim_start().starts_with("prefetch ") && line.ends_with(", to write") == to_write;
        clif.lines().any(|line| line.ends_with(call) || step(line))
    })
}

fn asks(graph: &Graph, max_batch: usize) -> bool {
    requests(graph, max_batch) != [false, false]
}

#[test]
fn what_large_matrices_hold_is_asked_for_and_others_are_not() {
    for function in [false, true] {
        assert!(asks(&graph(256, function), 1024), "three matrices of a MiB");
        assert!(!asks(&graph(256, function), 64), "three matrices of 64 KiB");
        assert!(!asks(&graph(100, function), 1 << 14), "short rows");
    }
}

#[test]
fn what_is_written_is_asked_for_to_write_it() {
    for function in [false, true] {
        let mut graph = graph(256, function);
        assert_eq!(requests(&graph, 1024), [true, true]);
        // The sums alone: matrices are read only.
        graph.outputs.drain(..2);
        assert_eq!(requests(&graph, 1024), [true, false]);
    }
}

#[test]
fn what_is_asked_for_changes_no_bit() {
    // Whole lines of the cache and parts of one, with a function and without.
    let sizes = [(128, false), (130, true), (255, false), (257, true), (700, false), (1030, true)];
    let interpreted = share(&sizes, 0, 3);
    for (cols, function) in sizes {
        let graph = graph(cols, function);
        let (few, many) = (60, (1 << 18) / cols + 1);
        assert!(!asks(&graph, few) && asks(&graph, many), "{cols} columns");
        let (mut small, mut large) = (Compiled::new(&graph, few), Compiled::new(&graph, many));
        for batch in [1, 2, 60] {
            let values = draw::singles(&draw::values(&graph, batch, (cols + batch) as u64));
            let (small, large) = (small.run(batch, &values), large.run(batch, &values));
            for role in (0..5).map(Role::Output) {
                assert_eq!(small.get(&role), large.get(&role), "{role:?} of {cols} columns, {batch} rows");
            }
        }
        // The last row of all that there is room for.
        let values = draw::singles(&draw::values(&graph, many, cols as u64));
        let results = large.run(many, &values);
        let last = |input: &Tensor| Tensor::floats(&[few, cols], &input.as_floats()[(many - few) * cols..]);
        let [x, y, column] = &values.inputs[..] else { panic!("three inputs") };
        let inputs = vec![last(x), last(y), column.clone()];
        let alone = small.run(few, &Values { inputs, ..Values::default() });
        for role in [0, 1, 3].map(Role::Output) {
            let (found, wanted) = (results.get(&role), alone.get(&role));
            assert_eq!(&found[found.len() - wanted.len()..], wanted, "{role:?} of the last of {cols} columns");
        }
        if interpreted.contains(&(cols, function)) {
            Reference::new(&graph, many, &values).check(&format!("{cols} columns"), &results);
        }
    }
}
