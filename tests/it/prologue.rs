//! Kernels that compute rows of a product's left operand just before those are multiplied.

use gradloom_runtime::fuse::{Fused, fuse};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::plan::{Plan, Work, plan, schedule, text};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{Shape, TensorType};
use insta::assert_snapshot;

use crate::compiled::{Compiled, Reference, with_isa};
use crate::compiled_ops::matrix;
use crate::{draw, handmade};

/// Two functions of inputs, each moved by its mean down the columns, and their product, which is multiplied by a matrix of
/// so many columns. `build` makes of the left operand and of that what comes out.
fn graph(cols: usize, build: impl Fn(&mut Builder, NodeId, NodeId) -> Vec<NodeId>) -> Graph {
    let mut b = Builder::new(Graph::default());
    let (x, y) = (handmade::input(&mut b, "x", matrix(37)), handmade::input(&mut b, "y", matrix(37)));
    let w = handmade::input(&mut b, "w", TensorType::f32(Shape::fixed(&[37, cols])));
    let moved = [b.tanh(x), b.sigmoid(y)].map(|bent| {
        let (mean, shape) = (b.mean(bent, &[0]), b.shape(bent));
        let mean = b.broadcast(mean, &shape, &[1]);
        b.sub(bent, mean)
    });
    let left = b.mul(moved[0], moved[1]);
    let product = b.dot(left, w, false, false);
    let results = build(&mut b, left, product);
    for (index, node) in results.into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

fn planned(graph: &Graph, max_batch: usize) -> (Fused, Plan) {
    let fused = fuse(&simplify(graph));
    let plan = plan(&fused, max_batch, Isa::detect()).expect("it fits");
    (fused, plan)
}

/// How many products have a prologue, with room for more rows than are multiplied in one go.
fn prologues(graph: &Graph) -> usize {
    let (fused, plan) = planned(graph, 300);
    (0..fused.kernels.len()).filter(|&kernel| plan.prologue(kernel).is_some()).count()
}

#[test]
fn what_a_product_is_made_of_is_computed_with_its_rows() {
    let (fused, plan) = planned(&graph(37, |b, _, product| vec![b.abs(product)]), 300);
    let text = text(&plan, &fused);
    let from = text.find("kernel 3").expect("kernels 0 to 2 are about the means");
    assert_snapshot!(text[from..], @"
    kernel 3: B x 37
      %15                    0..11104, to kernel 4, over %3
    kernel 4: B x 37, prologue: kernel 3
      %17                    11152..22256, a result, over %4
      block of %16           scratch 0..9472
      workspace of %16       scratch 9472..20128
    phase 0: kernel 0 by 64 rows; then sums of kernel 0
    phase 1: kernel 1 by 64 rows; then sums of kernel 1, kernel 2
    phase 2: kernel 4 by 64 rows
    ");
}

#[test]
fn rows_that_are_multiplied_in_one_go_need_no_prologue() {
    let (fused, plan) = planned(&graph(37, |_, _, product| vec![product]), 256);
    assert!((0..fused.kernels.len()).all(|kernel| plan.prologue(kernel).is_none()));
}

#[test]
fn a_prologue_touches_its_own_rows_only() {
    assert_eq!(prologues(&graph(40, |_, left, product| vec![left, product])), 1, "what is read later too");
    assert_eq!(prologues(&graph(40, |b, left, product| vec![product, b.sum(left, &[1])])), 1, "sums of its rows");
    assert_eq!(prologues(&graph(40, |b, left, product| vec![product, b.sum(left, &[0])])), 0, "sums of its columns");
    assert_eq!(prologues(&graph(40, |b, left, product| vec![product, b.sum(left, &[0, 1])])), 0, "a sum of everything");
    assert_eq!(prologues(&graph(37, |b, left, _| vec![b.dot(left, left, true, false)])), 0, "a transposed operand");
    let second = graph(40, |b, _, product| {
        let v = handmade::input(b, "v", TensorType::f32(Shape::fixed(&[40, 3])));
        vec![b.dot(product, v, false, false)]
    });
    assert_eq!(prologues(&second), 1, "a product is not part of another one's prologue");
}

/// Left operands that others read as well or nobody else does; results that take the place of what the prologue reads, with a
/// function that is called for strips and without, or are too wide or too narrow for that.
fn graphs() -> Vec<Graph> {
    vec![
        graph(37, |b, _, product| vec![b.abs(product)]),
        graph(37, |b, _, product| vec![b.tanh(product)]),
        graph(37, |_, left, product| vec![product, left]),
        graph(130, |b, left, product| vec![b.tanh(product), b.sum(product, &[0]), b.dot(left, product, true, false)]),
        graph(700, |b, left, product| vec![b.sum(product, &[1]), b.sum(left, &[1])]),
        graph(1, |b, _, product| vec![b.exp(product)]),
    ]
}

#[test]
fn a_prologue_changes_no_bit() {
    for (index, graph) in graphs().iter().enumerate() {
        assert_eq!(prologues(graph), 1, "graph {index}");
        let (mut without, mut with) = (Compiled::new(graph, 256), Compiled::new(graph, 700));
        let mut shared = [2, 3].map(|threads| Compiled::for_threads(graph, 700, threads));
        for batch in [1, 2, 63, 64, 65, 128, 255, 256, 257, 321, 512, 513, 700] {
            let what = format!("graph {index}, {batch} rows");
            let values = draw::singles(&draw::values(graph, batch, (index + batch) as u64));
            let results = with.run(batch, &values);
            Reference::new(graph, batch, &values).check(&what, &results);
            if batch <= 256 {
                assert!(without.run(batch, &values).bits() == results.bits(), "{what}");
            }
            for shared in &mut shared {
                assert!(shared.run(batch, &values).bits() == results.bits(), "{what}, several threads");
            }
        }
    }
}

#[test]
fn a_prologue_runs_on_every_instruction_set() {
    for isa in Isa::available() {
        for (index, graph) in graphs().iter().enumerate() {
            let mut compiled = with_isa(isa, || Compiled::new(graph, 600));
            for batch in [255, 257, 600] {
                let values = draw::singles(&draw::values(graph, batch, (index + batch) as u64));
                let results = compiled.run(batch, &values);
                Reference::new(graph, batch, &values).check(&format!("graph {index}, {batch} rows, {isa:?}"), &results);
            }
        }
    }
}

#[test]
fn much_work_ahead_of_little_is_shared() {
    let (fused, plan) = planned(&graph(1, |_, _, product| vec![product]), 5000);
    let product = (0..fused.kernels.len()).find(|&kernel| plan.prologue(kernel).is_some()).expect("a prologue");
    let tasks = schedule(&fused, &plan).into_iter().flat_map(|phase| phase.tasks);
    assert_eq!(tasks.filter(|task| task.kernel == product && task.work == Work::Rows).count(), 1);
}
