//! Concatenations: every part is written to its place by the kernel that computes it, and read there by all others.

use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Role};
use gradloom_runtime::kernel::{Fused, verify};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::{Machine, Prefetch, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::compiled::{Compiled, Reference, with_isa};
use crate::draw;
use crate::handmade::{input, output, parameter};

fn batch(extents: &[usize]) -> TensorType {
    TensorType::f32(Shape(std::iter::once(Dim::B).chain(extents.iter().map(|&extent| Dim::Fixed(extent))).collect()))
}

fn graph(build: impl FnOnce(&mut Builder) -> Vec<NodeId>) -> Graph {
    let mut b = Builder::new(Graph::default());
    let results = build(&mut b);
    results.into_iter().enumerate().for_each(|(index, node)| output(&mut b, Role::Output(index), node));
    b.finish()
}

/// The kernels of a graph, without the sums of what they cost.
fn kernels(build: impl FnOnce(&mut Builder) -> Vec<NodeId>) -> String {
    let text = fuse(&simplify(&graph(build))).to_string();
    text[..text.find("in all:").expect("the sums come last")].to_string()
}

fn times(b: &mut Builder, x: NodeId, w: NodeId) -> NodeId {
    let last = b.shape(x).rank() - 1;
    b.product(x, w, DotAxes { batch: vec![], contracted: vec![(last, 0)] })
}

/// Half of the columns go through one function, half through another.
fn two_parts(b: &mut Builder) -> Vec<NodeId> {
    let (x, w) = (input(b, "x", batch(&[6])), parameter(b, "w", &[6, 16]));
    let product = times(b, x, w);
    let bent = b.tanh(x);
    vec![b.concat(&[product, bent], 1)]
}

#[test]
fn two_computed_parts_are_written_where_they_have_their_places() {
    assert_snapshot!(kernels(two_parts), @"
    kernel 0: b B, i 16, 192*B FLOP, 88*B + 384 bytes
      %2 = dot x, w : f32[B,16]
      materialize %2 as %4[b, i]                                     # a part of a concatenation
    kernel 1: b B, i 6, 6*B FLOP, 48*B bytes                         # no kernel over B x 6 has its operands
      %3 = tanh x : f32[B,6]
      materialize %3 as %4[b, i+16]                                  # a part of a concatenation
    ");
}

/// What comes of `x`, cut into halves, through both, given the gradient of the result.
fn split(b: &mut Builder) -> Vec<NodeId> {
    let (x, dy) = (input(b, "x", batch(&[8])), input(b, "dy", batch(&[4])));
    let [first, second] = [0, 4].map(|start| b.slice(x, 1, start, 4, 1));
    let (to_first, to_second) = (b.mul(dy, second), b.mul(dy, first));
    let (first, second) = (b.pad(to_first, 1, [0, 4], 0.0), b.pad(to_second, 1, [4, 0], 0.0));
    let whole = b.add(first, second);
    let w = parameter(b, "w", &[8, 3]);
    vec![times(b, whole, w)]
}

#[test]
fn the_gradient_of_a_split_is_written_by_parts() {
    assert_snapshot!(kernels(split), @"
    kernel 0: b B, i 4, 8*B FLOP, 80*B bytes
      %4 = mul dy, x[b, i+4] : f32[B,4]
      %5 = mul dy, x[b, i] : f32[B,4]
      materialize %4 as %6[b, i]                                     # for kernel 1: a part of a concatenation
      materialize %5 as %6[b, i+4]                                   # for kernel 1: a part of a concatenation
    kernel 1: B x 3, 48*B FLOP, 44*B + 96 bytes                      # a matmul
      %8 = dot %6, w : f32[B,3]
      materialize %8                                                 # output y
    ");
}

/// A state of two parts, each of which the step makes of both.
fn cell(b: &mut Builder, steps: usize, size: usize) -> Vec<NodeId> {
    let (x, w) = (input(b, "x", batch(&[steps, 2 * size])), parameter(b, "w", &[size, 2 * size]));
    let sequence = b.transpose(x, &[1, 0, 2]);
    let start = b.constant(0.0, &Shape(vec![Dim::B, Dim::Fixed(2 * size)]));
    let carry = b.carry(start, steps, false);
    let element = b.element(carry, sequence);
    let [h, c] = [0, size].map(|start| b.slice(carry, 1, start, size, 1));
    let gates = times(b, h, w);
    let gates = b.add(gates, element);
    let [keep, new] = [0, size].map(|start| b.slice(gates, 1, start, size, 1));
    let (keep, new) = (b.sigmoid(keep), b.tanh(new));
    let kept = b.mul(keep, c);
    let c = b.add(kept, new);
    let bent = b.tanh(c);
    let h = b.mul(bent, keep);
    let next = b.concat(&[h, c], 1);
    let history = b.history(carry, next);
    let gates = b.collect(history, gates);
    vec![b.transpose(history, &[1, 0, 2]), b.transpose(gates, &[1, 0, 2])]
}

#[test]
fn a_cell_writes_both_parts_of_its_state_where_the_next_step_reads_them() {
    assert_snapshot!(kernels(|b| cell(b, 3, 4)), @"
    kernel 0: b B, i 8, 0 FLOP, 32*B bytes
      materialize 0 as %17[0]                                        # for kernels 1, 2, 3: each step has one
    loop of 3 steps: kernels 1, 2                                    # each sample by itself
    kernel 1: b B, i 8, 216*B FLOP, 240*B + 384 bytes                # a matmul
      %7 = dot %17, w : f32[B,8]
      %8 = add %7, x[b, p, i] : f32[B,8]
      materialize %8 as %18[p]                                       # for kernels 2, 4: each step has one
    kernel 2: b B, i 4, 72*B FLOP, 240*B bytes                       # %8 comes from kernel 1, over B x 8
      %11 = sigmoid %18[p, b, i] : f32[B,4]
      %12 = tanh %18[p, b, i+4] : f32[B,4]
      %13 = mul_add %11, %17[p, b, i+4], %12 : f32[B,4]
      %14 = tanh %13 : f32[B,4]
      %15 = mul %14, %11 : f32[B,4]
      materialize %13 as %17[p+1, b, i+4]                            # for kernel 3: a part of a concatenation
      materialize %15 as %17[p+1, b, i]                              # for kernel 3: a part of a concatenation
    kernel 3: 4*B x 8, 0 FLOP, 256*B bytes                           # no kernel over 4*B x 8 has its operands
      materialize %17[b, i]                                          # output y
    kernel 4: 3*B x 8, 0 FLOP, 192*B bytes                           # no kernel over 3*B x 8 has its operands
      materialize %18[b, i]                                          # output y
    ");
}

#[test]
fn a_matrix_whose_rows_are_those_of_two_axes_is_read_where_it_lies() {
    let text = kernels(|b| {
        let (x, w) = (input(b, "x", batch(&[5, 4])), parameter(b, "w", &[4, 4]));
        let sequence = b.transpose(x, &[1, 0, 2]);
        let start = b.constant(0.0, &Shape(vec![Dim::B, Dim::Fixed(4)]));
        let carry = b.carry(start, 5, false);
        let element = b.element(carry, sequence);
        let product = times(b, carry, w);
        let next = b.add(product, element);
        let bent = b.tanh(next);
        let history = b.history(carry, next);
        let bent = b.collect(history, bent);
        let gradient = b.product(bent, sequence, DotAxes { batch: vec![], contracted: vec![(0, 0), (1, 1)] });
        vec![history, gradient]
    });
    assert!(!text.contains("a matmul reads memory"), "{text}");
}

/// Products of two heads, whose rows come to stand side by side, times a matrix.
fn heads(b: &mut Builder) -> NodeId {
    let (x, y) = (input(b, "x", batch(&[2, 6, 4])), input(b, "y", batch(&[2, 4, 5])));
    let read = b.product(x, y, DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 2)] });
    let side_by_side = b.transpose(read, &[0, 2, 1, 3]);
    let rows = b.reshape(side_by_side, Shape(vec![Dim::B, Dim::Fixed(6), Dim::Fixed(10)]));
    let w = parameter(b, "w", &[10, 3]);
    times(b, rows, w)
}

#[test]
fn what_is_read_in_another_order_is_written_in_it() {
    assert_snapshot!(kernels(|b| vec![heads(b)]), @"
    kernel 0: b B, i 2, j 6, k 5, 480*B FLOP, 592*B bytes
      %2 = dot x, y batch 0:0,1:1, over 3:2 : f32[B,2,6,5]
      materialize %2 as %3[b, j, i, k]                               # for kernel 1: a matmul reads memory
    kernel 1: 6*B x 3, 360*B FLOP, 312*B + 120 bytes                 # a matmul
      %7 = dot %3, w : f32[6*B,3]
      materialize %7                                                 # output y
    ");
    // One element of a row after the other would be written far apart.
    let text = kernels(|b| {
        let (x, w, v) = (input(b, "x", batch(&[5, 6])), parameter(b, "w", &[6, 9]), parameter(b, "v", &[5, 4]));
        let product = times(b, x, w);
        let turned = b.transpose(product, &[0, 2, 1]);
        let rows = b.reshape(turned, Shape(vec![Dim::B, Dim::Fixed(45)]));
        let square = b.mul(rows, rows);
        vec![times(b, turned, v), square]
    });
    assert!(!text.contains(" as %"), "{text}");
}

#[test]
fn a_product_of_which_nothing_else_is_wanted_is_written_row_by_row_where_its_rows_lie() {
    let fused = fuse(&simplify(&graph(|b| vec![heads(b)])));
    let scattered = |kernel: &gradloom_runtime::kernel::Kernel| kernel.scattered_product().is_some();
    assert_eq!(fused.kernels.iter().map(scattered).collect::<Vec<_>>(), [true, false]);
    assert!(fused.dot_buffer(&fused.kernels[0]).is_some(), "no copy in scratch");
    let bent = fuse(&simplify(&graph(|b| {
        let (x, y) = (input(b, "x", batch(&[2, 6, 4])), input(b, "y", batch(&[2, 4, 5])));
        let read = b.product(x, y, DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 2)] });
        let bent = b.tanh(read);
        let side_by_side = b.transpose(bent, &[0, 2, 1, 3]);
        let rows = b.reshape(side_by_side, Shape(vec![Dim::B, Dim::Fixed(6), Dim::Fixed(10)]));
        let w = parameter(b, "w", &[10, 3]);
        vec![times(b, rows, w)]
    })));
    assert!(!bent.kernels.iter().any(scattered), "its elements are worked on first");
}

/// Every way in which parts come about.
fn cases() -> Vec<(&'static str, Graph)> {
    let mut cases: Vec<(&'static str, Graph)> =
        vec![("two parts", graph(two_parts)), ("a split", graph(split)), ("a cell", graph(|b| cell(b, 3, 20)))];
    let mut case = |name, build: fn(&mut Builder) -> Vec<NodeId>| cases.push((name, graph(build)));
    case("a part is needed elsewhere too", |b| {
        let (x, w) = (input(b, "x", batch(&[5, 6])), parameter(b, "w", &[6, 20]));
        let product = times(b, x, w);
        let bent = b.sigmoid(product);
        let double = b.add(bent, bent);
        let whole = b.concat(&[double, bent], 2);
        let v = parameter(b, "v", &[20, 7]);
        let [all, turned] = [times(b, bent, v), b.transpose(bent, &[0, 2, 1])];
        let (turned, sum) = (b.neg(turned), b.sum(bent, &[0, 1]));
        vec![b.neg(whole), all, turned, sum]
    });
    case("parts are results", |b| {
        let x = input(b, "x", batch(&[6]));
        let (bent, twice) = (b.tanh(x), b.add(x, x));
        let whole = b.concat(&[bent, twice], 1);
        vec![whole, bent, b.neg(whole)]
    });
    case("the same part twice, and between others", |b| {
        let x = input(b, "x", batch(&[3, 5]));
        let (bent, w) = (b.exp(x), parameter(b, "w", &[2, 5]));
        let shape = Shape(vec![Dim::B, Dim::Fixed(2), Dim::Fixed(5)]);
        let repeated = b.broadcast(w, &shape, &[1, 2]);
        let whole = b.concat(&[bent, x, bent, repeated, bent], 1);
        vec![b.neg(whole)]
    });
    case("a whole is a part of a whole", |b| {
        let (x, w) = (input(b, "x", batch(&[2, 4])), parameter(b, "w", &[4, 18]));
        let (bent, twice) = (b.tanh(x), b.add(x, x));
        let inner = b.concat(&[bent, twice], 1);
        let square = b.mul(inner, inner);
        let outer = b.concat(&[square, inner], 1);
        let product = times(b, outer, w);
        let last = b.concat(&[product, outer], 2);
        let largest = b.max_over(inner, &[2]);
        vec![b.neg(last), largest, b.neg(outer)]
    });
    case("parts of heads", |b| {
        let (x, y) = (input(b, "x", batch(&[2, 6, 4])), input(b, "y", batch(&[2, 6, 4])));
        let scores = b.product(x, y, DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 3)] });
        let axes = || DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 2)] };
        let turned = || DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(2, 2)] };
        let parts = [
            b.product(scores, y, axes()),
            b.product(scores, x, turned()),
            b.product(y, x, DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 3)] }),
        ];
        let parts = parts.map(|part| {
            let (side_by_side, width) = (b.transpose(part, &[0, 2, 1, 3]), b.shape(part).0[3].factor());
            b.reshape(side_by_side, Shape(vec![Dim::B, Dim::Fixed(6), Dim::Fixed(2 * width)]))
        });
        let whole = b.concat(&parts, 2);
        let w = parameter(b, "w", &[28, 3]);
        vec![times(b, whole, w), b.sum(whole, &[0, 1])]
    });
    case("a part of which the largest of squares are wanted", |b| {
        let x = input(b, "x", batch(&[4, 4, 3]));
        let bent = b.tanh(x);
        let squares = [2, 2, 2, 2, 3].map(Dim::Fixed);
        let squares = b.reshape(bent, Shape([Dim::B].into_iter().chain(squares).collect()));
        let largest = b.max_over(squares, &[2, 4]);
        let twice = b.add(x, x);
        let whole = b.concat(&[bent, twice], 3);
        let w = parameter(b, "w", &[6, 5]);
        vec![times(b, whole, w), b.neg(largest)]
    });
    case("heads side by side", |b| vec![heads(b)]);
    case("heads side by side, and one by one", |b| {
        let (x, y) = (input(b, "x", batch(&[2, 6, 4])), input(b, "y", batch(&[2, 4, 5])));
        let read = b.product(x, y, DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 2)] });
        let side_by_side = b.transpose(read, &[0, 2, 1, 3]);
        let rows = b.reshape(side_by_side, Shape(vec![Dim::B, Dim::Fixed(6), Dim::Fixed(10)]));
        let w = parameter(b, "w", &[10, 3]);
        vec![times(b, rows, w), b.sum(read, &[0, 1]), b.neg(read)]
    });
    case("a map in another order", |b| {
        let x = input(b, "x", batch(&[3, 20]));
        let bent = b.tanh(x);
        let turned = b.reshape(bent, Shape(vec![Dim::B, Dim::Fixed(3), Dim::Fixed(4), Dim::Fixed(5)]));
        let turned = b.transpose(turned, &[0, 2, 1, 3]);
        let turned = b.reshape(turned, Shape(vec![Dim::B, Dim::Fixed(60)]));
        let w = parameter(b, "w", &[60, 7]);
        vec![times(b, turned, w), b.sum(turned, &[1])]
    });
    case("columns as rows", |b| {
        let (x, w) = (input(b, "x", batch(&[5, 6])), parameter(b, "w", &[6, 9]));
        let product = times(b, x, w);
        let turned = b.transpose(product, &[0, 2, 1]);
        let v = parameter(b, "v", &[5, 4]);
        vec![times(b, turned, v)]
    });
    case("the axis before the batch, and after it", |b| {
        let x = input(b, "x", batch(&[3, 4]));
        let (bent, twice) = (b.tanh(x), b.add(x, x));
        let after = b.concat(&[twice, bent], 1);
        let [first, second] = [bent, twice].map(|part| b.transpose(part, &[1, 0, 2]));
        let before = b.concat(&[first, second, first], 0);
        let after = b.exp(after);
        let before = b.neg(before);
        vec![b.transpose(before, &[1, 0, 2]), after]
    });
    case("one number per row", |b| {
        let x = input(b, "x", batch(&[7]));
        let (sum, most, bent) = (b.sum(x, &[1]), b.max_over(x, &[1]), b.tanh(x));
        let [sum, most] = [sum, most].map(|each| b.reshape(each, Shape(vec![Dim::B, Dim::Fixed(1)])));
        let more = b.add(sum, most);
        let whole = b.concat(&[sum, bent, most, more], 1);
        vec![b.neg(whole)]
    });
    case("nothing that depends on the batch", |b| {
        let (v, w) = (parameter(b, "v", &[3, 5]), parameter(b, "w", &[4, 5]));
        let (bent, twice) = (b.tanh(v), b.add(w, w));
        let whole = b.concat(&[bent, twice, v], 0);
        let sums = b.sum(bent, &[0]);
        let x = input(b, "x", batch(&[5]));
        let product = b.product(x, whole, DotAxes { batch: vec![], contracted: vec![(1, 1)] });
        vec![product, sums]
    });
    case("a map of a whole, and of that", |b| {
        let (x, y, w) = (input(b, "x", batch(&[6])), input(b, "y", batch(&[14])), parameter(b, "w", &[6, 8]));
        let (product, bent) = (times(b, x, w), b.tanh(x));
        let whole = b.concat(&[product, bent], 1);
        let moved = b.add(y, whole);
        let half = b.scale(moved, 0.5);
        vec![b.exp(half), b.sum(half, &[1])]
    });
    case("an empty part", |b| {
        let x = input(b, "x", batch(&[4]));
        let (bent, nothing) = (b.tanh(x), b.slice(x, 1, 0, 0, 1));
        let twice = b.add(bent, bent);
        let whole = b.concat(&[nothing, bent, nothing, twice], 1);
        vec![b.neg(whole)]
    });
    case("truth values and positions", |b| {
        let x = input(b, "x", batch(&[4]));
        let (bent, twice) = (b.tanh(x), b.add(x, x));
        let [larger, smaller] = [Cmp::Gt, Cmp::Lt].map(|cmp| b.compare(cmp, bent, twice));
        let truth = b.concat(&[larger, smaller], 1);
        let shape = b.shape(x);
        let (own, index) = (b.iota(1, &shape), b.to_index(bent));
        let positions = b.concat(&[own, index], 1);
        let (positions, whole) = (b.to_float(positions), b.concat(&[bent, twice], 1));
        let kept = b.mask(truth, whole);
        vec![kept, positions]
    });
    case("a part overwrites what another part still reads", |b| {
        let (x, w) = (input(b, "x", batch(&[16])), parameter(b, "w", &[16, 16]));
        let product = times(b, x, w);
        let moved = b.add(product, x);
        let (first, turned) = (b.mul(moved, moved), times(b, moved, w));
        let whole = b.concat(&[first, turned], 1);
        let folded = [0, 16].map(|start| b.slice(whole, 1, start, 16, 1));
        let back = b.add(folded[0], folded[1]);
        vec![times(b, back, w), b.sum(moved, &[0])]
    });
    cases
}

#[test]
fn parts_and_wholes_compute_what_the_interpreter_computes() {
    for (name, graph) in cases() {
        let mut compiled = [1, 2, 3].map(|threads| Compiled::for_threads(&graph, 70, threads));
        for batch in [1, 3, 70] {
            let values = draw::singles(&draw::values(&graph, batch, 7));
            let reference = Reference::new(&graph, batch, &values);
            let bits = compiled[0].run(batch, &values).bits();
            for compiled in &mut compiled {
                let results = compiled.run(batch, &values);
                reference.check(&format!("{name}, {batch} rows"), &results);
                assert!(results.bits() == bits, "{name}, {batch} rows: other bits on several threads");
            }
            for isa in Isa::available() {
                let results = with_isa(isa, || Compiled::new(&graph, 70)).run(batch, &values);
                reference.check(&format!("{name}, {batch} rows, {isa:?}"), &results);
            }
        }
    }
}

#[test]
fn rows_of_a_loop_are_asked_for_one_ahead_unless_they_stay_in_the_cache() {
    let fused = fuse(&simplify(&graph(|b| cell(b, 64, 128))));
    let gates = fused.kernels.iter().position(|kernel| kernel.steps == 64 && kernel.dot.is_none());
    let gates = gates.expect("the gates have a kernel of their own");
    let prefetch = |batch, isa| tile(&fused, batch, Machine::of(isa)).kernels[gates].stages[0].prefetch;
    // Both gates and one state are read, and two states written, of which each step has its own.
    let bytes = 64 * 64 * 128 * 4 * 5;
    assert_eq!(prefetch(64, Isa::Avx2), Prefetch::NextRow { bytes });
    assert_eq!(prefetch(2, Isa::Avx2), Prefetch::Cached(bytes / 32));
    assert_eq!(prefetch(1, Isa::Avx2), Prefetch::Nothing, "there is one row");
    assert_eq!(prefetch(64, Isa::Portable), Prefetch::Nothing, "only wide vectors ask");
}

#[test]
fn what_is_only_a_part_has_no_other_place() {
    let text = kernels(two_parts);
    assert_eq!(text.matches("materialize").count(), 2, "{text}");
    assert!(!text.contains("select"), "{text}");
}

#[test]
fn a_part_that_is_written_twice_or_never_is_found() {
    let fused = fuse(&simplify(&graph(two_parts)));
    let moved = |by: i64| {
        let mut wrong: Fused = fused.clone();
        let parts = wrong.kernels.iter_mut().flat_map(|kernel| &mut kernel.writes).filter(|write| write.part);
        let last = parts.max_by_key(|write| write.access.at.constant).expect("there are parts");
        last.access.at.constant += by;
        verify(&wrong)
    };
    assert_eq!(moved(0), Ok(()));
    let fault = moved(-1).expect_err("two parts meet");
    assert!(fault.contains("once more"), "{fault}");
    assert!(moved(1).is_err(), "an element is left out");
}

#[test]
fn kernels_that_write_parts_are_a_group_where_that_pays() {
    let graph = simplify(&graph(|b| {
        let (x, w) = (input(b, "x", batch(&[64, 64])), parameter(b, "w", &[64, 64]));
        let (product, bent) = (times(b, x, w), b.tanh(x));
        let whole = b.concat(&[product, bent], 2);
        let v = parameter(b, "v", &[128, 32]);
        vec![times(b, whole, v)]
    }));
    let grouped = group(fuse(&graph), &Budget::new(256));
    assert_eq!(verify(&grouped), Ok(()));
    let values = draw::singles(&draw::values(&graph, 9, 3));
    let reference = Reference::new(&graph, 9, &values);
    for threads in [1, 2] {
        reference.check("a group", &Compiled::for_threads(&graph, 256, threads).run(9, &values));
    }
}
