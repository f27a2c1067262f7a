//! Operations on tensors of any rank: their types and what these reject, their text, what they cost, and their corners.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fault::{Fault, Given};
use gradloom_runtime::flops::{Flops, of_node};
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, Node, NodeId, Op, Role, Window, verify};
use gradloom_runtime::optim::GradientMerge;
use gradloom_runtime::sentinel::Replay;
use gradloom_runtime::simplify::{simplify, sweep};
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::handmade;

const B: Dim = Dim::B;

fn dims(dims: &[Dim]) -> Shape {
    Shape(dims.to_vec())
}

fn fixed(extents: &[usize]) -> TensorType {
    TensorType::f32(Shape::fixed(extents))
}

fn numbers(of: &[Dim]) -> TensorType {
    TensorType::f32(dims(of))
}

fn index(of: &[Dim]) -> TensorType {
    numbers(of).with(DType::U32)
}

fn n(extent: usize) -> Dim {
    Dim::Fixed(extent)
}

/// The type of the result, or what is wrong.
fn ty(op: &Op, operands: &[TensorType]) -> String {
    match (op.def().ty)(op, &operands.iter().collect::<Vec<_>>()) {
        Ok(ty) => ty.to_string(),
        Err(fault) => fault,
    }
}

fn dot(batch: &[(usize, usize)], contracted: &[(usize, usize)]) -> Op {
    Op::Dot(DotAxes { batch: batch.to_vec(), contracted: contracted.to_vec() })
}

fn slice(axis: usize, start: usize, len: usize, step: usize) -> Op {
    Op::Slice { axis, start, len, step }
}

fn pad(axis: usize, [before, inside, after]: [usize; 3], value: f64) -> Op {
    Op::Pad { axis, before, inside, after, value }
}

#[test]
fn results_have_the_shapes_that_their_operands_give_them() {
    let image = numbers(&[B, n(8), n(6), n(3)]);
    let mask = image.with(DType::Bool);
    let window = Window { size: 3, stride: 2, dilation: 2, before: 1, after: 2 };
    let patches = Op::Patches { axis: 1, window, value: 0.0 };
    let cases = [
        (Op::Transpose(vec![3, 0, 1, 2]), vec![image.clone()], "f32[3,B,8,6]"),
        (Op::Transpose(vec![]), vec![index(&[])], "u32[]"),
        (slice(2, 1, 3, 2), vec![mask.clone()], "bool[B,8,3,3]"),
        (slice(3, 3, 0, 1), vec![image.clone()], "f32[B,8,6,0]"),
        (pad(1, [1, 2, 3], 0.0), vec![image.clone()], "f32[B,26,6,3]"),
        (pad(0, [1, 2, 3], 7.0), vec![index(&[n(0)])], "u32[4]"),
        (pad(1, [0, 0, 1], 1.0), vec![mask], "bool[B,9,6,3]"),
        (Op::Concat(2), vec![image.clone(), numbers(&[B, n(8), n(1), n(3)])], "f32[B,8,7,3]"),
        (patches.clone(), vec![image.clone()], "f32[B,4,3,6,3]"),
        (patches, vec![index(&[B, n(8)])], "u32[B,4,3]"),
        (Op::Fold { axis: 1, window, extent: 8 }, vec![numbers(&[B, n(4), n(3), n(6)])], "f32[B,8,6]"),
        (Op::Gather, vec![fixed(&[9, 4]), index(&[n(2), B]).with(DType::U8)], "f32[2,B,4]"),
        (Op::Gather, vec![numbers(&[n(9), B]), index(&[])], "f32[B]"),
        (Op::ScatterAdd { rows: 9 }, vec![numbers(&[B, n(2), n(4)]), index(&[B, n(2)])], "f32[9,4]"),
        (Op::ScatterAdd { rows: 2 }, vec![numbers(&[n(5), B]), index(&[n(5)])], "f32[2,B]"),
        (Op::Dot(DotAxes::matrix(true, true)), vec![fixed(&[3, 2]), fixed(&[4, 3])], "f32[2,4]"),
        (dot(&[(0, 0), (2, 2)], &[(3, 3)]), vec![image.clone(), numbers(&[B, n(5), n(6), n(3)])], "f32[B,6,8,5]"),
        (dot(&[], &[(0, 0), (1, 1), (2, 2)]), vec![image.clone(), image.clone()], "f32[3,3]"),
        (dot(&[], &[]), vec![fixed(&[2]), numbers(&[B])], "f32[2,B]"),
        (Op::Variance(vec![0, 2]), vec![image], "f32[8,3]"),
    ];
    for (op, operands, expected) in cases {
        assert_eq!(ty(&op, &operands), expected, "{op:?}");
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let x = numbers(&[B, n(4), n(3)]);
    let gap = Window { size: 0, ..Window::of(1) };
    let cases = [
        (Op::Transpose(vec![0, 1, 1]), vec![x.clone()], "[0, 1, 1] is no order of the axes of f32[B,4,3]"),
        (Op::Transpose(vec![1, 0]), vec![x.clone()], "[1, 0] is no order of the axes of f32[B,4,3]"),
        (slice(1, 2, 2, 2), vec![x.clone()], "slice of 2 elements from 2 on by 2, along axis 1 of f32[B,4,3]"),
        (slice(1, 0, 2, 0), vec![x.clone()], "slice of 2 elements from 0 on by 0, along axis 1 of f32[B,4,3]"),
        (
            slice(1, 1, usize::MAX, 2),
            vec![fixed(&[1, 4])],
            "slice of 18446744073709551615 elements from 1 on by 2, along axis 1 of f32[1,4]",
        ),
        (slice(3, 0, 1, 1), vec![x.clone()], "slice along axis 3, which f32[B,4,3] does not have"),
        (pad(1, [0, 0, 1], 0.5), vec![x.with(DType::U8)], "pad with 0.5, which is no u8"),
        (pad(1, [0, 0, 1], 256.0), vec![x.with(DType::U8)], "pad with 256, which is no u8"),
        (pad(1, [0, 0, 1], 2.0), vec![x.with(DType::Bool)], "pad with 2, which is no bool"),
        (pad(1, [usize::MAX, 0, 1], 0.0), vec![x.clone()], "pad to an extent that no memory has"),
        (Op::Concat(1), vec![x.clone(), numbers(&[B, n(4), n(2)])], "concat of f32[B,4,3] and f32[B,4,2] along axis 1"),
        (Op::Concat(1), vec![x.clone(), x.with(DType::U32)], "concat of f32[B,4,3] and u32[B,4,3] along axis 1"),
        (Op::Concat(0), vec![], "concat of no operands"),
        (
            Op::Patches { axis: 1, window: Window { dilation: 3, after: 2, ..Window::of(3) }, value: 0.0 },
            vec![x.clone()],
            "patches of f32[B,4,3]: a window over 7 elements does not fit on 6, padding included",
        ),
        (
            Op::Patches { axis: 1, window: gap, value: 0.0 },
            vec![x.clone()],
            "patches of f32[B,4,3]: size, stride and dilation of a window are at least 1, in Window { size: 0, stride: 1, dilation: 1, before: 0, after: 0 }",
        ),
        (
            Op::Fold { axis: 1, window: Window::of(3), extent: 5 },
            vec![x.clone()],
            "fold of f32[B,4,3] along axis 1 to 5: that has 3 positions of 3 taps",
        ),
        (
            Op::Gather,
            vec![x.with(DType::U32), index(&[])],
            "gather needs numbers and an index, found u32[B,4,3] and u32[]",
        ),
        (Op::Gather, vec![fixed(&[]), index(&[])], "gather needs a table, found f32[]"),
        (
            Op::ScatterAdd { rows: 3 },
            vec![x.clone(), index(&[n(4)])],
            "scatter_add of f32[B,4,3] by u32[4]: the index has other axes",
        ),
        (dot(&[], &[(2, 0)]), vec![x.clone(), fixed(&[4])], "dot of f32[B,4,3] and f32[4]: 3 is not 4"),
        (
            dot(&[(0, 0)], &[(0, 1)]),
            vec![x.clone(), x.clone()],
            "dot of f32[B,4,3] and f32[B,4,3]: f32[B,4,3] does not have axes [0, 0], each once",
        ),
        (
            dot(&[], &[(3, 0)]),
            vec![x.clone(), x.clone()],
            "dot of f32[B,4,3] and f32[B,4,3]: f32[B,4,3] does not have axes [3], each once",
        ),
        (dot(&[], &[]), vec![x.clone(), index(&[])], "dot needs numbers, found f32[B,4,3] and u32[]"),
        (Op::Sum(vec![1, 0]), vec![x.clone()], "no reduction of f32[B,4,3] over [1, 0]"),
        (Op::Mean(vec![1, 1]), vec![x.clone()], "no reduction of f32[B,4,3] over [1, 1]"),
        (Op::MaxOver(vec![0, 3]), vec![x], "no reduction of f32[B,4,3] over [0, 3]"),
    ];
    for (op, operands, expected) in cases {
        assert_eq!(ty(&op, &operands), expected, "{op:?}");
    }
}

/// What `verify` says of a graph with this node, which reads inputs of these types.
fn verdict(op: Op, operands: Vec<TensorType>, result: TensorType) -> String {
    let mut b = Builder::new(Graph::default());
    let x: Vec<NodeId> = operands.iter().map(|ty| handmade::input(&mut b, "x", ty.clone())).collect();
    b.push(op, &x, result);
    verify(b.graph()).err().unwrap_or_default()
}

#[test]
fn what_has_no_static_step_is_rejected_by_name() {
    let rows = numbers(&[B, n(3)]);
    let twice = "%0 (input): f32[B,2*B] has two batch axes, and no step along the first";
    assert_eq!(verdict(Op::Neg, vec![numbers(&[B, Dim::Batch(2)])], rows.clone()), twice);
    let outer = verdict(dot(&[], &[(1, 1)]), vec![rows.clone(), rows.clone()], numbers(&[B, B]));
    assert_eq!(outer, "%2 (dot): f32[B,B] has two batch axes, and no step along the first");
    let spread = verdict(Op::Broadcast(vec![0]), vec![numbers(&[B])], numbers(&[B, B]));
    assert_eq!(spread, "%1 (broadcast): f32[B,B] has two batch axes, and no step along the first");
    let huge = n(1 << 40);
    let spread = verdict(Op::Broadcast(vec![]), vec![numbers(&[])], numbers(&[huge, huge]));
    assert!(spread.ends_with("has more elements than can be counted"), "{spread}");

    let window = Window::of(1);
    let along = "would move elements along the batch";
    let one = [
        (slice(0, 0, 1, 1), "slice"),
        (pad(0, [1, 0, 0], 0.0), "pad"),
        (Op::Concat(0), "concat"),
        (Op::Patches { axis: 0, window, value: 0.0 }, "patches"),
    ];
    for (op, name) in one {
        assert_eq!(
            verdict(op, vec![rows.clone()], rows.clone()),
            format!("%1 ({name}): {name} along axis 0 of f32[B,3] {along}")
        );
    }
    let columns = numbers(&[n(3), B]);
    for (operand, axis) in [(&rows, 0), (&columns, 1)] {
        let found = verdict(Op::Fold { axis: 0, window, extent: 3 }, vec![operand.clone()], rows.clone());
        assert_eq!(found, format!("%1 (fold): fold along axis {axis} of {operand} {along}"));
    }
    let found = verdict(Op::Gather, vec![rows.clone(), index(&[n(2)])], fixed(&[2, 3]));
    assert_eq!(found, format!("%2 (gather): gather from f32[B,3] {along}"));
}

#[test]
fn a_reshape_leaves_the_batch_outermost_of_its_axis() {
    let stays: [(&[Dim], &[Dim]); 9] = [
        (&[B, n(6)], &[Dim::Batch(6)]),
        (&[Dim::Batch(6)], &[Dim::Batch(3), n(1), n(2)]),
        (&[Dim::Batch(2), n(3)], &[Dim::Batch(3), n(2)]),
        (&[n(6), B, n(2)], &[n(2), n(3), Dim::Batch(2)]),
        (&[n(1), B], &[B, n(1), n(1)]),
        (&[n(4), n(3), B], &[n(12), B]),
        (&[n(2), n(3)], &[n(3), n(2)]),
        (&[n(2), B, n(0)], &[n(0), B]),
        (&[], &[n(1), n(1)]),
    ];
    for (from, to) in stays {
        assert_eq!(verdict(Op::Reshape, vec![numbers(from)], numbers(to)), "", "{} to {}", numbers(from), numbers(to));
    }
    let moves: [(&[Dim], &[Dim]); 4] = [
        (&[n(2), B], &[Dim::Batch(2)]),
        (&[Dim::Batch(2)], &[n(2), B]),
        (&[n(4), B], &[n(2), Dim::Batch(2)]),
        (&[n(2), B, n(3)], &[n(3), B, n(2)]),
    ];
    for (from, to) in moves {
        let (from, to) = (numbers(from), numbers(to));
        let expected = format!(
            "%1 (reshape): {from} does not reshape to {to}: the batch would not stay outermost of its axis, and there would be no step along the axes before it"
        );
        assert_eq!(verdict(Op::Reshape, vec![from], to), expected);
    }
    assert_eq!(verdict(Op::Reshape, vec![fixed(&[4])], fixed(&[5])), "%1 (reshape): f32[4] does not reshape to f32[5]");
}

#[test]
fn positions_and_numbers_have_types_of_their_own() {
    assert_eq!(verdict(Op::Iota(1), vec![], index(&[B])), "%0 (iota): no positions along axis 1 are u32[B]");
    assert_eq!(verdict(Op::Iota(0), vec![], numbers(&[B])), "%0 (iota): no positions along axis 0 are f32[B]");
    assert_eq!(verdict(Op::Iota(2), vec![], index(&[n(2), B, n(3)])), "");
    assert_eq!(verdict(Op::Const(1.0), vec![], index(&[])), "%0 (const): a number cannot be u32[]");
    assert_eq!(verdict(Op::Count(1), vec![], numbers(&[n(1)])), "%0 (count): one number cannot be f32[1]");
}

#[test]
fn attributes_are_printed_where_they_are_not_the_usual_ones() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", numbers(&[B, n(4), n(6)]));
    let ids = handmade::input(&mut b, "ids", index(&[B, n(2)]));
    let w = handmade::parameter(&mut b, "w", &[6, 5]);
    let turned = b.transpose(x, &[2, 0, 1]);
    let some = b.slice(x, 2, 1, 3, 1);
    let every = b.slice(x, 2, 1, 3, 2);
    let padded = b.pad(every, 1, [2, 0], f64::NEG_INFINITY);
    let between = b.apply(pad(1, [0, 2, 1], 0.0), &[some]);
    let both = b.concat(&[padded, some], 1);
    let plain = b.patches(x, 1, Window::of(2), 0.0);
    let wide = b.patches(x, 1, Window { size: 3, stride: 2, dilation: 2, before: 1, after: 2 }, -1.5);
    let folded = b.fold(plain, 1, Window::of(2), 4);
    let rows = b.gather(w, ids);
    let sums = b.scatter_add(rows, ids, 6);
    let matrix = b.dot(w, w, true, false);
    let product = b.product(x, w, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
    let batched = b.product(x, x, DotAxes { batch: vec![(0, 0)], contracted: vec![(1, 1), (2, 2)] });
    let pairs = b.product(x, x, DotAxes { batch: vec![(0, 0), (1, 1), (2, 2)], contracted: vec![] });
    let vectors = b.product(sums, sums, DotAxes { batch: vec![], contracted: vec![(0, 0), (1, 1)] });
    let outer = b.product(vectors, vectors, DotAxes::default());
    let results = [turned, between, both, wide, folded, matrix, product, batched, pairs, outer];
    results.into_iter().enumerate().for_each(|(index, node)| handmade::output(&mut b, Role::Output(index), node));
    let graph = b.finish();
    verify(&graph).expect("it is a graph");
    let text = graph.to_string();
    let (nodes, _) = text.split_once("output").expect("results come last");
    assert_snapshot!(nodes, @"
    %0 = input x : f32[B,4,6]
    %1 = input ids : u32[B,2]
    %2 = param w : f32[6,5]
    %3 = transpose %0 by 2,0,1 : f32[6,B,4]
    %4 = slice %0 axis 2, 3 from 1 : f32[B,4,3]
    %5 = slice %0 axis 2, 3 from 1 step 2 : f32[B,4,3]
    %6 = pad %5 axis 1, before 2, with -inf : f32[B,6,3]
    %7 = pad %4 axis 1, inside 2, after 1, with 0 : f32[B,11,3]
    %8 = concat %6, %4 axis 1 : f32[B,10,3]
    %9 = patches %0 axis 1, size 2, with 0 : f32[B,3,2,6]
    %10 = patches %0 axis 1, size 3, stride 2, dilation 2, before 1, after 2, with -1.5 : f32[B,2,3,6]
    %11 = fold %9 axis 1, size 2, to 4 : f32[B,4,6]
    %12 = gather %2, %1 : f32[B,2,5]
    %13 = scatter_add %12, %1 to 6 rows : f32[6,5]
    %14 = dot %2.T, %2 : f32[5,5]
    %15 = dot %0, %2 over 2:0 : f32[B,4,5]
    %16 = dot %0, %0 batch 0:0, over 1:1,2:2 : f32[B]
    %17 = dot %0, %0 batch 0:0,1:1,2:2 : f32[B,4,6]
    %18 = dot %13, %13 over 0:0,1:1 : f32[]
    %19 = dot %18, %18 : f32[]
    ");
}

#[test]
fn a_product_of_other_ranks_is_no_matrix_product() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", numbers(&[B, n(3), n(4)]));
    let w = handmade::parameter(&mut b, "w", &[3, 5]);
    let product = b.product(x, w, DotAxes::matrix(false, false));
    handmade::output(&mut b, Role::Output(0), product);
    let matrix = b.dot(w, w, false, true);
    let graph = b.finish();
    assert_eq!(graph.matrix_product(product), None);
    assert_eq!(graph.matrix_product(matrix), Some((false, true)));
    assert_eq!(graph.matrix_product(w), None);
    assert!(graph.to_string().contains("%2 = dot %0, %1 over 1:0 : f32[B,4,5]"), "{graph}");
    for axes in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(DotAxes::matrix(axes.0, axes.1).as_matrix(), Some(axes));
    }
}

#[test]
fn the_gradients_of_a_matrix_product_are_matrix_products() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::parameter(&mut b, "x", &[3, 4]);
    let w = handmade::parameter(&mut b, "w", &[3, 5]);
    let product = b.dot(x, w, true, false);
    let bent = b.exp(product);
    let loss = b.sum(bent, &[0, 1]);
    handmade::output(&mut b, Role::Loss, loss);
    let graph = differentiate(&b.finish(), &[0, 1]);
    assert!(!graph.nodes.iter().any(|node| matches!(node.op, Op::Transpose(_))), "{graph}");
    let gradient = |param| graph.matrix_product(graph.output(&Role::Gradient(param)).expect("it is one"));
    assert_eq!([gradient(0), gradient(1)], [Some((false, true)), Some((false, false))]);
}

#[test]
fn a_gradient_that_has_to_be_transposed_keeps_its_last_axis_last() {
    let mut b = Builder::new(Graph::default());
    // The shares of attention, and values, of which each head is a run.
    let w = handmade::parameter(&mut b, "w", &[2, 3, 5, 6]);
    let v = handmade::parameter(&mut b, "v", &[2, 6, 3, 4]);
    let read = b.product(w, v, DotAxes { batch: vec![(0, 0), (1, 2)], contracted: vec![(3, 1)] });
    let loss = b.sum(read, &[0, 1, 2, 3]);
    handmade::output(&mut b, Role::Loss, loss);
    let graph = differentiate(&b.finish(), &[0, 1]);
    let gradient = &graph[graph.output(&Role::Gradient(1)).expect("it is one")];
    assert_eq!(gradient.op, Op::Transpose(vec![0, 2, 1, 3]), "{graph}");
}

/// The result of an operation on these numbers, of a batch of two rows.
fn result(operands: Vec<Tensor>, build: impl Fn(&mut Builder, &[NodeId]) -> NodeId) -> Tensor {
    let mut b = Builder::new(Graph::default());
    let x: Vec<NodeId> = operands.iter().map(|x| handmade::parameter(&mut b, "x", &x.shape)).collect();
    let y = build(&mut b, &x);
    let graph = b.finish();
    verify(&graph).unwrap_or_else(|fault| panic!("{fault}\n{graph}"));
    let values = Values { params: operands, ..Values::default() };
    let [single, double] =
        [Precision::F32, Precision::F64].map(|precision| evaluate(&graph, precision, 2, &values)[y].clone());
    assert_eq!(format!("{single:?}"), format!("{double:?}"), "small integers are exact");
    double
}

#[test]
fn an_index_without_a_row_reads_nan_and_adds_nothing() {
    let table = Tensor::floats(&[2, 2], [1.0, 2.0, 3.0, 4.0]);
    let rows = result(vec![table.clone()], |b, x| {
        let index = b.iota(0, &Shape::fixed(&[3]));
        b.gather(x[0], index)
    });
    assert_eq!(rows.as_floats()[..4], [1.0, 2.0, 3.0, 4.0]);
    assert!(rows.as_floats()[4..].iter().all(|x| x.is_nan()));
    let values = Tensor::floats(&[3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let sums = result(vec![values], |b, x| {
        let index = b.iota(0, &Shape::fixed(&[3]));
        b.scatter_add(x[0], index, 2)
    });
    assert_eq!(sums, table);
}

#[test]
fn the_batch_may_be_any_axis() {
    let rows = result(vec![Tensor::floats(&[3], [1.0, 2.0, 3.0])], |b, x| {
        let rows = b.broadcast(x[0], &dims(&[B, n(3)]), &[1]);
        let number = b.iota(0, &dims(&[B, n(3)]));
        let number = b.to_float(number);
        let number = b.scale(number, 10.0);
        let rows = b.add(rows, number);
        let columns = b.transpose(rows, &[1, 0]);
        let two = b.slice(columns, 0, 0, 2, 2);
        b.pad(two, 0, [0, 1], -1.0)
    });
    assert_eq!(rows, Tensor::floats(&[3, 2], [1.0, 11.0, 3.0, 13.0, -1.0, -1.0]));
}

#[test]
fn masks_and_indices_move_as_numbers_do() {
    let moved = result(vec![], |b, _| {
        let position = b.iota(1, &Shape::fixed(&[2, 3]));
        let turned = b.transpose(position, &[1, 0]);
        let padded = b.pad(turned, 0, [1, 0], 9.0);
        let mask = {
            let same = b.index_eq(position, position);
            let turned = b.transpose(same, &[1, 0]);
            b.pad(turned, 0, [1, 0], 0.0)
        };
        let number = b.to_float(padded);
        let nothing = b.constant_like(-1.0, number);
        let chosen = b.select(mask, number, nothing);
        b.concat(&[number, chosen], 1)
    });
    let expected = [9.0, 9.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0];
    assert_eq!(moved, Tensor::floats(&[4, 4], expected));
}

#[test]
fn axes_of_one_element_and_of_none_are_axes() {
    let x = Tensor::floats(&[1, 2, 1], [3.0, 4.0]);
    let same =
        |b: &mut Builder, x: &[NodeId], reduce: fn(&mut Builder, NodeId, &[usize]) -> NodeId| reduce(b, x[0], &[0, 2]);
    assert_eq!(result(vec![x.clone()], |b, x| same(b, x, Builder::sum)).as_floats(), [3.0, 4.0]);
    assert_eq!(result(vec![x.clone()], |b, x| same(b, x, Builder::max_over)).as_floats(), [3.0, 4.0]);
    assert_eq!(result(vec![x.clone()], |b, x| same(b, x, Builder::center)).as_floats(), [3.0, 4.0]);
    assert_eq!(result(vec![x.clone()], |b, x| same(b, x, Builder::variance)).as_floats(), [0.0, 0.0]);
    let none = |reduce: fn(&mut Builder, NodeId, &[usize]) -> NodeId| {
        result(vec![x.clone()], |b, x| {
            let nothing = b.slice(x[0], 0, 0, 0, 1);
            reduce(b, nothing, &[0, 2])
        })
    };
    assert_eq!(none(Builder::sum).as_floats(), [0.0, 0.0]);
    assert_eq!(none(Builder::max_over).as_floats(), [f64::NEG_INFINITY; 2]);
    assert!(none(Builder::center).as_floats().iter().all(|x| x.is_nan()));
    assert!(none(Builder::variance).as_floats().iter().all(|x| x.is_nan()));
    let product = result(vec![x], |b, x| {
        let nothing = b.slice(x[0], 2, 1, 0, 1);
        b.product(nothing, nothing, DotAxes { batch: vec![(1, 1)], contracted: vec![(2, 2)] })
    });
    assert_eq!(product, Tensor::floats(&[2, 1, 1], [0.0, 0.0]));
}

#[test]
fn what_only_moves_costs_no_operation_and_what_is_added_one() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", numbers(&[B, n(4), n(6)]));
    let ids = handmade::input(&mut b, "ids", index(&[B, n(4)]));
    let w = handmade::parameter(&mut b, "w", &[6, 5]);
    let turned = b.transpose(x, &[2, 0, 1]);
    let patches = b.patches(x, 1, Window::of(2), 0.0);
    let folded = b.fold(patches, 1, Window::of(2), 4);
    let rows = b.gather(w, ids);
    let sums = b.scatter_add(x, ids, 3);
    let product = b.product(x, w, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
    let all = b.product(x, x, DotAxes { batch: vec![(0, 0)], contracted: vec![(1, 1), (2, 2)] });
    let over_rows = b.product(x, x, DotAxes { batch: vec![(1, 1)], contracted: vec![(0, 0), (2, 2)] });
    let graph = b.finish();
    let each = |node| of_node(&graph, node);
    assert_eq!([turned, patches, rows].map(each), [Flops::default(); 3]);
    let expected = [3 * 2 * 6, 4 * 6, 2 * 4 * 5 * 6, 2 * 4 * 6, 2 * 4 * 6].map(|each| Flops { each, once: 0 });
    assert_eq!([folded, sums, product, all, over_rows].map(each), expected);
}

#[test]
fn fills_of_either_sign_of_zero_are_different_numbers() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::parameter(&mut b, "x", &[2]);
    let [plus, minus, again] = [0.0, -0.0, 0.0].map(|value| b.pad(x, 0, [1, 0], value));
    for (index, node) in [plus, minus, again].into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    let (graph, _) = sweep(&b.finish(), &[]);
    assert_eq!(graph.nodes.len(), 3, "{graph}");
}

#[test]
fn constants_move_only_where_nothing_else_comes_in() {
    let kept = |build: fn(&mut Builder, NodeId) -> NodeId| {
        let mut b = Builder::new(Graph::default());
        let one = b.constant(1.0, &Shape::fixed(&[2, 3]));
        let y = build(&mut b, one);
        handmade::output(&mut b, Role::Output(0), y);
        let nodes: Vec<Node> = simplify(&b.finish()).nodes;
        nodes.last().is_some_and(|node| node.op == Op::Const(1.0))
    };
    assert!(kept(|b, x| b.transpose(x, &[1, 0])) && kept(|b, x| b.slice(x, 1, 1, 1, 1)));
    assert!(kept(|b, x| b.pad(x, 0, [1, 1], 1.0)) && kept(|b, x| b.patches(x, 1, Window::of(2), 1.0)));
    assert!(kept(|b, x| b.concat(&[x, x], 0)));
    assert!(!kept(|b, x| b.pad(x, 0, [1, 1], 0.0)));
    assert!(!kept(|b, x| {
        let two = b.constant_like(2.0, x);
        b.concat(&[x, two], 0)
    }));
}

#[test]
fn gradients_of_moved_rows_merge_as_those_of_rows_do() {
    let merged = |build: fn(&mut Builder, NodeId) -> NodeId| {
        let mut b = Builder::new(Graph::default());
        let x = handmade::input(&mut b, "x", numbers(&[B, n(4), n(6)]));
        let y = build(&mut b, x);
        let axes = Vec::from_iter(0..b.shape(y).rank());
        let loss = if axes.is_empty() { y } else { b.sum(y, &axes) };
        handmade::output(&mut b, Role::Loss, loss);
        gradloom_runtime::optim::merging(&b.finish()).map(|merging| merging.merge)
    };
    assert_eq!(merged(|b, x| b.transpose(x, &[1, 0, 2])), Ok(GradientMerge::Sum));
    assert_eq!(merged(|b, x| b.patches(x, 1, Window::of(2), -1.0)), Ok(GradientMerge::Sum));
    assert_eq!(
        merged(|b, x| b.product(x, x, DotAxes { batch: vec![(1, 1)], contracted: vec![(0, 0), (2, 2)] })),
        Ok(GradientMerge::Sum)
    );
    let averaged = |b: &mut Builder, x: NodeId| {
        let mean = b.mean(x, &[0]);
        let turned = b.transpose(mean, &[1, 0]);
        b.pad(turned, 0, [1, 0], 0.0)
    };
    assert_eq!(merged(averaged), Ok(GradientMerge::Mean));
}

#[test]
fn a_number_that_is_not_finite_is_followed_through_every_movement() {
    type Build = fn(&mut Builder, NodeId, NodeId) -> NodeId;
    let movements: [Build; 10] = [
        |b, w, _| b.transpose(w, &[1, 0]),
        |b, w, _| b.slice(w, 1, 1, 2, 2),
        |b, w, _| b.pad(w, 0, [1, 1], 0.0),
        |b, w, _| {
            let zero = b.constant_like(0.0, w);
            b.concat(&[zero, w], 1)
        },
        |b, w, _| b.patches(w, 1, Window { before: 1, after: 1, ..Window::of(3) }, 0.0),
        |b, w, _| {
            let w = b.reshape(w, Shape::fixed(&[2, 2, 2]));
            b.fold(w, 1, Window::of(2), 3)
        },
        |b, w, ids| b.gather(w, ids),
        |b, w, ids| b.scatter_add(w, ids, 3),
        |b, w, _| {
            let one = b.constant(1.0, &Shape::fixed(&[4, 2]));
            b.product(one, w, DotAxes { batch: vec![(1, 0)], contracted: vec![(0, 1)] })
        },
        |b, w, _| {
            let turned = b.transpose(w, &[1, 0]);
            let spread = b.broadcast(turned, &Shape::fixed(&[4, 3, 2]), &[0, 2]);
            b.mul(spread, spread)
        },
    ];
    for (number, build) in movements.into_iter().enumerate() {
        let mut b = Builder::new(Graph::default());
        let w = handmade::parameter(&mut b, "w", &[2, 4]);
        let ids = handmade::input(&mut b, "ids", index(&[n(2)]));
        let moved = build(&mut b, w, ids);
        let axes = Vec::from_iter(0..b.shape(moved).rank());
        let loss = b.sum(moved, &axes);
        handmade::output(&mut b, Role::Loss, loss);
        let graph = b.finish();
        verify(&graph).unwrap_or_else(|fault| panic!("{fault}\n{graph}"));
        let mut numbers = vec![1.0; 8];
        numbers[4 + 3] = f64::INFINITY;
        let params = vec![Tensor::floats(&[2, 4], numbers)];
        let values = Values { inputs: vec![Tensor::indices(&[2], [0, 1])], params, scalars: Vec::new() };
        let fault = Replay { graph }.search(1, &values).expect("the loss is infinite");
        let Fault::Given { with: Given::Parameter, name, element, .. } = fault else {
            panic!("case {number}: {fault:?}")
        };
        assert_eq!((&*name, &element[..]), ("w", &[1, 3][..]), "case {number}");
    }
}
