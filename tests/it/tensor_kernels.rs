//! Kernels of more axes than rows and columns, as they print: what is read where, and what has to be copied.

use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Role, Window};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::handmade::{input, output, parameter, softmax};

/// A batch of tensors of this shape.
fn batch(extents: &[usize]) -> TensorType {
    TensorType::f32(Shape(std::iter::once(Dim::B).chain(extents.iter().map(|&extent| Dim::Fixed(extent))).collect()))
}

/// The kernels of a graph with one result, without the sums of what they cost.
fn kernels(build: impl FnOnce(&mut Builder) -> NodeId) -> String {
    let mut b = Builder::new(Graph::default());
    let result = build(&mut b);
    output(&mut b, Role::Output(0), result);
    let text = fuse(&simplify(&b.finish())).to_string();
    text[..text.find("in all:").expect("the sums come last")].to_string()
}

#[test]
fn a_mean_over_a_middle_axis() {
    assert_snapshot!(kernels(|b| {
        let x = input(b, "x", batch(&[4, 6]));
        let bent = b.tanh(x);
        b.mean(bent, &[1])
    }), @"
    kernel 0: b B, i 4, j 6, 48*B FLOP, 120*B bytes
      %1 = tanh x : f32[B,4,6]
      %2 = sum %1 over 1 : f32[B,6]
      materialize %2                                                 # for kernel 1: sum runs once
    kernel 1: B x 6, 6*B FLOP, 48*B bytes                            # %2 is known when kernel 0 is done
      %3 = mul %2, 0.25 : f32[B,6]
      materialize %3                                                 # output y
    ");
}

#[test]
fn a_broadcast_along_a_middle_axis() {
    assert_snapshot!(kernels(|b| {
        let (x, y) = (input(b, "x", batch(&[4, 6])), input(b, "y", batch(&[6])));
        let shape = b.shape(x);
        let y = b.broadcast(y, &shape, &[0, 2]);
        b.mul(x, y)
    }), @"
    kernel 0: b B, i 4, j 6, 24*B FLOP, 216*B bytes
      %3 = mul x, y[b, j] : f32[B,4,6]
      materialize %3                                                 # output y
    ");
}

#[test]
fn rows_and_columns_of_every_token() {
    assert_snapshot!(kernels(|b| {
        let (x, shift) = (input(b, "x", batch(&[4, 6])), parameter(b, "shift", &[4, 6]));
        let shape = b.shape(x);
        let shift = b.broadcast(shift, &shape, &[1, 2]);
        let moved = b.add(x, shift);
        let mean = b.mean(moved, &[2]);
        let mean = b.broadcast(mean, &shape, &[0, 1]);
        b.sub(moved, mean)
    }), @"
    kernel 0: b B, i 4, j 6, 76*B FLOP, 192*B + 96 bytes
      %3 = add x, shift[i, j] : f32[B,4,6]
      %4 = sum %3 over 2 : f32[B,4]
      along the row
      %5 = div %4.row, 6 : f32[B,4]
      %7 = sub %3, %5.row : f32[B,4,6]
      materialize %7                                                 # output y
    ");
}

#[test]
fn windows_of_a_padded_image_are_read_where_it_lies() {
    assert_snapshot!(kernels(|b| {
        let x = input(b, "x", batch(&[8, 8, 3]));
        let window = Window { size: 2, stride: 2, dilation: 1, before: 1, after: 0 };
        let rows = b.patches(x, 1, window, f64::NEG_INFINITY);
        let both = b.patches(rows, 3, window, f64::NEG_INFINITY);
        b.max_over(both, &[2, 4])
    }), @"
    kernel 0: b B, i 4, j 2, k 4, l 2, m 3, 192*B FLOP, 960*B bytes
      %3 = max x[b, 2*i+j-1, 2*k+l-1, m : -inf] over 2,4 : f32[B,4,4,3]
      materialize %3                                                 # max runs once
    ");
}

#[test]
fn scores_of_heads_are_products_of_what_lies_side_by_side() {
    assert_snapshot!(kernels(|b| {
        // Queries, keys and values of two heads, one after the other for each of five tokens.
        let qkv = input(b, "qkv", batch(&[5, 24]));
        let part = |b: &mut Builder, start| {
            let part = b.slice(qkv, 2, start, 8, 1);
            let heads = b.reshape(part, batch(&[5, 2, 4]).shape);
            b.transpose(heads, &[0, 2, 1, 3])
        };
        let [q, k, v] = [0, 8, 16].map(|start| part(b, start));
        let axes = |term: (usize, usize)| DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![term] };
        let scores = b.product(q, k, axes((3, 3)));
        let share = softmax(b, scores);
        let read = b.product(share, v, axes((3, 2)));
        let tokens = b.transpose(read, &[0, 2, 1, 3]);
        b.reshape(tokens, batch(&[5, 8]).shape)
    }), @"
    kernel 0: b B, i 2, j 5, k 5, 650*B FLOP, 520*B bytes
      %9 = dot qkv, qkv batch 0:0,1:1, over 3:2 : f32[B,2,5,5]
      %10 = max %9 over 3 : f32[B,2,5]
      along the row
      %12 = sub %9, %10.row : f32[B,2,5,5]
      %13 = exp %12 : f32[B,2,5,5]
      %14 = sum %13 over 3 : f32[B,2,5]
      along the row
      %16 = div %13, %14.row : f32[B,2,5,5]
      materialize %16                                                # for kernel 1: a matmul reads memory
    kernel 1: b B, i 2, j 5, k 4, 400*B FLOP, 520*B bytes            # a matmul
      %18 = dot %16, qkv batch 0:0,1:1, over 3:2 : f32[B,2,5,4]
      materialize %18                                                # for kernel 2: dot runs once
    kernel 2: b B, i 5, j 2, k 4, 0 FLOP, 320*B bytes                # no kernel over 10*B x 4 has its operands
      materialize %18[b, j, i, k]                                    # output y
    ");
}

#[test]
fn rows_of_a_table_and_their_gradient() {
    assert_snapshot!(kernels(|b| {
        let table = parameter(b, "table", &[10, 4]);
        let tokens = input(b, "tokens", TensorType { dtype: DType::U16, shape: Shape(vec![Dim::B, Dim::Fixed(5)]) });
        let rows = b.gather(table, tokens);
        let bent = b.tanh(rows);
        b.scatter_add(bent, tokens, 10)
    }), @"
    kernel 0: b 5*B, i 4, 20*B FLOP, 20*B + 320 bytes
      %3 = tanh table[tokens[b], i] : f32[B,5,4]
      add %3 to rows tokens[b] of %4                                 # scatter_add runs once
    ");
}

#[test]
fn tensors_one_after_the_other() {
    assert_snapshot!(kernels(|b| {
        let (x, y) = (input(b, "x", batch(&[2, 3])), input(b, "y", batch(&[1, 3])));
        let both = b.concat(&[x, y], 1);
        b.exp(both)
    }), @"
    kernel 0: b B, i 3, j 3, 36*B FLOP, 72*B bytes
      %3 = to_float i : f32[B,3,3]
      %6 = lt %3, 2 : bool[B,3,3]
      %7 = select %6, x[b, i, j : 0], y[b, i-2, j : 0] : f32[B,3,3]
      %8 = exp %7 : f32[B,3,3]
      materialize %8                                                 # output y
    ");
}

#[test]
fn axes_that_become_one_have_one_coordinate() {
    let part = |extents: &'static [usize], start: usize| {
        kernels(|b| {
            let x = input(b, "x", batch(extents));
            let part = b.slice(x, 1, start, 2, 1);
            b.tanh(part)
        })
    };
    assert_snapshot!(part(&[3, 1, 4], 0), @"
    kernel 0: b B, i 2, j 4, 8*B FLOP, 64*B bytes
      %2 = tanh x[b, i, 0, j] : f32[B,2,1,4]
      materialize %2                                                 # output y
    ");
    assert_snapshot!(part(&[3, 4, 5], 1), @"
    kernel 0: b B, i 8, j 5, 40*B FLOP, 320*B bytes
      %2 = tanh x[b, i+4, j] : f32[B,2,4,5]
      materialize %2                                                 # output y
    ");
}
