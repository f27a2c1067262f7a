//! Kernels that compute points of a product's left operand just before those are multiplied.

use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::interp::Tensor;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role};
use gradloom_runtime::jit::compile_timed;
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::memory::{Input, Memory, Params};
use gradloom_runtime::plan::{Content, Location, Plan, Work, parallel_regions, plan, text};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::{Isa, Machine, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::budget::share;
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
    let fused = group(fuse(&simplify(graph)), &Budget::new(max_batch));
    let plan = plan(&fused, tile(&fused, max_batch, Machine::of(Isa::Avx2))).expect("it fits");
    (fused, plan)
}

/// How many groups there are, with room for more rows than are multiplied in one go.
fn groups(graph: &Graph) -> usize {
    planned(graph, 300).0.groups.len()
}

#[test]
fn what_a_product_is_made_of_is_computed_with_its_rows() {
    let (fused, plan) = planned(&graph(37, |b, _, product| vec![b.abs(product)]), 300);
    let text = text(&plan, &fused);
    let from = text.find("kernel 3").expect("kernels 0 to 2 are about the means");
    assert_snapshot!(text[from..], @"
    kernel 3: B x 37
      elements in vectors of 8
      tile %15               scratch 0..9472, to kernel 4
    kernel 4: B x 37
      matmul called: left operand read in place, right operand read in place
      elements in vectors of 8
      %17                    0..11104, a result, over %3
      block of %16           scratch 9472..18944
      workspace of %16       scratch 18944..29600
    parallel region 0: kernel 0 by 64 rows; then sums of kernel 0
    parallel region 1: kernel 1 by 64 rows; then sums of kernel 1, kernel 2
    parallel region 2: kernels 3, 4 by 64 rows
    ");
}

#[test]
fn rows_that_are_multiplied_in_one_go_need_no_group() {
    assert!(planned(&graph(37, |_, _, product| vec![product]), 256).0.groups.is_empty());
}

/// 64 rows times a matrix of 1.5 MiB, whose columns are then gone through as rows.
#[test]
fn a_large_right_operand_is_not_read_for_every_few_rows() {
    let groups = |columns: usize| {
        let mut b = Builder::new(Graph::default());
        let x = handmade::input(&mut b, "x", matrix(128));
        let w = handmade::input(&mut b, "w", TensorType::f32(Shape::fixed(&[128, 49 * columns])));
        let bent = b.tanh(x);
        let product = b.dot(bent, w, false, false);
        let split = b.reshape(product, Shape(vec![Dim::B, Dim::Fixed(columns), Dim::Fixed(49)]));
        let turned = b.transpose(split, &[0, 2, 1]);
        let result = b.exp(turned);
        handmade::output(&mut b, Role::Output(0), result);
        planned(&b.finish(), 64).0.groups.len()
    };
    assert_eq!(groups(64), 0, "13 tiles would read it instead of one");
    assert_eq!(groups(32), 1, "half as much stays in the cache");
}

#[test]
fn kernels_of_a_group_touch_their_own_points_only() {
    assert_eq!(groups(&graph(40, |_, left, product| vec![left, product])), 1, "what is read later too");
    assert_eq!(groups(&graph(40, |b, left, product| vec![product, b.sum(left, &[1])])), 1, "sums of its rows");
    assert_eq!(groups(&graph(40, |b, left, product| vec![product, b.sum(left, &[0])])), 1, "sums of its columns");
    assert_eq!(groups(&graph(40, |b, left, product| vec![product, b.sum(left, &[0, 1])])), 1, "a sum of everything");
    let moved = graph(40, |b, left, product| {
        let (total, shape) = (b.sum(left, &[0, 1]), b.shape(product));
        let total = b.broadcast(total, &shape, &[]);
        vec![b.mul(product, total)]
    });
    assert_eq!(groups(&moved), 0, "a sum that the product's kernel reads");
    assert_eq!(groups(&graph(37, |b, left, _| vec![b.dot(left, left, true, false)])), 0, "a transposed operand");
    let second = graph(40, |b, _, product| {
        let v = handmade::input(b, "v", TensorType::f32(Shape::fixed(&[40, 3])));
        vec![b.dot(product, v, false, false)]
    });
    assert_eq!(groups(&second), 1, "two products");
}

#[test]
fn one_number_a_row_is_passed_on_too() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", matrix(37));
    let w = handmade::input(&mut b, "w", TensorType::f32(Shape::fixed(&[1, 40])));
    let bent = b.tanh(x);
    let sum = b.sum(bent, &[1]);
    let left = b.reshape(sum, matrix(1).shape);
    let product = b.dot(left, w, false, false);
    let result = b.abs(product);
    handmade::output(&mut b, Role::Output(0), result);
    let graph = b.finish();
    assert_eq!(groups(&graph), 1);
    same_on_any_threads("a product of sums", &graph, &[1, 255, 256, 257, 700], &[1, 255, 256, 257, 700]);
}

/// A product of 300 rows whatever the batch, with the function of the matrix that it is made of.
fn fixed(cols: [usize; 2], build: impl Fn(&mut Builder, NodeId, NodeId) -> Vec<NodeId>) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape::fixed(&[300, cols[0]])));
    let w = handmade::input(&mut b, "w", TensorType::f32(Shape::fixed(&cols)));
    let left = b.tanh(x);
    let results = build(&mut b, left, w);
    for (index, node) in results.into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

#[test]
fn rows_that_are_not_those_of_a_batch_are_in_no_group() {
    let kept = fixed([20, 40], |b, left, w| {
        let product = b.dot(left, w, false, false);
        vec![left, b.abs(product)]
    });
    let with_itself = fixed([200, 1], |b, left, _| {
        let product = b.dot(left, left, false, true);
        vec![b.abs(product)]
    });
    let by_its_sums = fixed([200, 300], |b, left, w| {
        let (sum, product) = (b.sum(left, &[1]), b.dot(left, w, false, false));
        let shape = b.shape(product);
        let sum = b.broadcast(sum, &shape, &[1]);
        vec![b.mul(product, sum)]
    });
    for (what, graph) in [("kept", kept), ("with itself", with_itself), ("by its sums", by_its_sums)] {
        assert_eq!(groups(&graph), 0, "{what}");
        same_on_any_threads(what, &graph, &[1], &[1]);
    }
}

/// Holds the results of several threads against those of one, and those of these batches against the interpreter.
fn same_on_any_threads(what: &str, graph: &Graph, batches: &[usize], interpreted: &[usize]) {
    let mut one = Compiled::new(graph, 700);
    let mut shared = [2, 3].map(|threads| Compiled::for_threads(graph, 700, threads));
    for &batch in batches {
        let values = draw::singles(&draw::values(graph, batch, batch as u64));
        let results = one.run(batch, &values);
        if interpreted.contains(&batch) {
            Reference::new(graph, batch, &values).check(&format!("{what}, {batch} rows"), &results);
        }
        for shared in &mut shared {
            assert!(shared.run(batch, &values).bits() == results.bits(), "{what}, {batch} rows, several threads");
        }
    }
}

/// Two products side by side, of few rows cut by columns both, and their sum; each in a group of its own.
fn side_by_side() -> Graph {
    let mut b = Builder::new(Graph::default());
    let products = [("x", "v"), ("y", "w")].map(|(x, w)| {
        let x = handmade::input(&mut b, x, matrix(130));
        let w = handmade::input(&mut b, w, TensorType::f32(Shape::fixed(&[130, 140])));
        let bent = b.tanh(x);
        let (mean, shape) = (b.mean(bent, &[1]), b.shape(bent));
        let mean = b.broadcast(mean, &shape, &[0]);
        let moved = b.sub(bent, mean);
        b.dot(moved, w, false, false)
    });
    let sum = b.add(products[0], products[1]);
    handmade::output(&mut b, Role::Output(0), sum);
    b.finish()
}

/// Left operands that others read as well or nobody else does; results that take the place of what an earlier kernel of the group reads, with a
/// transcendental function and without, or are too wide or too narrow for that, or so wide that few rows of them are
/// cut by columns.
fn graphs() -> Vec<Graph> {
    vec![
        graph(37, |b, _, product| vec![b.abs(product)]),
        graph(37, |b, _, product| vec![b.tanh(product)]),
        graph(37, |_, left, product| vec![product, left]),
        graph(37, |b, left, product| vec![b.mul(product, left)]),
        graph(130, |b, left, product| vec![b.tanh(product), b.sum(product, &[0]), b.dot(left, product, true, false)]),
        graph(700, |b, left, product| vec![b.abs(product), b.sum(left, &[1])]),
        graph(700, |b, left, product| vec![b.sum(product, &[1]), b.abs(left)]),
        graph(1, |b, _, product| vec![b.exp(product)]),
        graph(37, |b, left, product| vec![b.abs(product), b.sum(left, &[0]), b.variance(left, &[0])]),
        graph(37, |b, left, product| vec![b.sum(product, &[0, 1]), b.sum(left, &[0, 1])]),
        side_by_side(),
    ]
}

#[test]
fn a_group_changes_no_bit() {
    for (index, graph) in graphs().iter().enumerate() {
        assert_ne!(groups(graph), 0, "graph {index}");
        // Around the ends of a unit of 64 rows and of the 256 that are multiplied in one go.
        let batches = [1, 2, 63, 64, 65, 128, 255, 256, 257, 321, 512, 513, 700];
        // What is interpreted differs between the graphs, of which three are alike where rows are counted.
        let interpreted = share(&batches, index, 3);
        same_on_any_threads(&format!("graph {index}"), graph, &batches, &interpreted);
        let (mut without, mut with) = (Compiled::new(graph, 256), Compiled::new(graph, 700));
        for batch in [1, 64, 129, 256] {
            let values = draw::singles(&draw::values(graph, batch, (index + batch) as u64));
            assert!(
                without.run(batch, &values).bits() == with.run(batch, &values).bits(),
                "graph {index}, {batch} rows"
            );
        }
    }
}

#[test]
fn a_group_runs_on_every_instruction_set() {
    for (index, graph) in graphs().iter().enumerate() {
        let isas = Isa::available().into_iter();
        let mut compiled: Vec<(Isa, Compiled)> =
            isas.map(|isa| (isa, with_isa(isa, || Compiled::new(graph, 600)))).collect();
        // Less than is multiplied in one go, hardly more, and more than two of that.
        for batch in share(&[255, 257, 600], index, 3) {
            let values = draw::singles(&draw::values(graph, batch, (index + batch) as u64));
            let wanted = Reference::new(graph, batch, &values);
            for (isa, compiled) in &mut compiled {
                wanted.check(&format!("graph {index}, {batch} rows, {isa:?}"), &compiled.run(batch, &values));
            }
        }
    }
}

#[test]
fn what_nobody_else_reads_never_has_more_rows_than_are_multiplied_in_one_go() {
    let in_scratch = |graph: &Graph| {
        let (_, plan) = planned(graph, 5000);
        plan.allocations.iter().filter(|allocation| matches!(allocation.content, Content::Tile(_))).count()
    };
    assert_eq!(in_scratch(&graph(700, |b, _, product| vec![b.abs(product)])), 1);
    assert_eq!(in_scratch(&graph(700, |b, left, product| vec![b.abs(product), b.sum(left, &[1])])), 1, "its own rows");
    assert_eq!(in_scratch(&side_by_side()), 2);
    assert_eq!(in_scratch(&graph(37, |b, left, product| vec![b.mul(product, left)])), 1, "the kernel reads it too");
    assert_eq!(in_scratch(&graph(37, |_, left, product| vec![product, left])), 0, "a result");
    let later = graph(130, |b, left, product| vec![b.dot(left, product, true, false)]);
    assert_eq!(in_scratch(&later), 0, "a later kernel reads it");
}

#[test]
fn a_program_that_is_timed_has_the_same_bits() {
    for graph in
        [graph(37, |b, _, product| vec![b.abs(product)]), graph(37, |b, left, product| vec![b.mul(product, left)])]
    {
        let (rows, role) = (600, Role::Output(0));
        let values = draw::singles(&draw::values(&graph, rows, 5));
        let wanted = Compiled::new(&graph, rows).run(rows, &values);
        let (fused, plan) = planned(&graph, rows);
        assert!(!fused.groups.is_empty(), "each of its kernels is timed");
        let code = compile_timed(&fused, &plan).expect("it compiles");
        let floats = |tensor: &Tensor| tensor.as_floats().iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let inputs: Vec<Vec<f32>> = values.inputs.iter().map(floats).collect();
        let inputs: Vec<Input<'_>> = inputs.iter().map(|floats| Input::Float(floats)).collect();
        let mut arena = vec![f32::NAN; plan.with_scratch(1)];
        let memory =
            Memory { arena: &mut arena, params: Params::Own(&mut []), scalars: &[], inputs: &inputs, batch: rows };
        let mut timed = Vec::new();
        assert!(code.run_timed(memory, |kernel, _| timed.push(kernel)));
        assert_eq!(timed, (0..fused.kernels.len()).collect::<Vec<usize>>());
        let result = fused.result(&role).expect("it has a result");
        let Some(Location::Arena(at)) = plan.places[result.index()] else { panic!("a result of the arena") };
        let seen: Vec<f64> = arena[at..at + rows * 37].iter().map(|&x| f64::from(x)).collect();
        assert_eq!(seen, wanted.get(&role));
    }
}

#[test]
fn few_rows_of_what_is_multiplied_are_computed_ahead_of_their_region() {
    let (fused, plan) = planned(&side_by_side(), 300);
    let text = text(&plan, &fused);
    let regions: Vec<&str> = text.lines().filter(|line| line.starts_with("parallel region")).collect();
    assert_snapshot!(regions.join("\n"), @"
    parallel region 0: one thread does up to 64 rows of kernel 0
    parallel region 1: kernels 0, 1 by 64 rows, up to 64 rows of kernel 1 by 64 columns; then what follows the matmul of up to 64 rows, up to 64 rows of kernel 2
    parallel region 2: kernels 2, 3 by 64 rows, up to 64 rows of kernel 3 by 64 columns; then what follows the matmul of up to 64 rows
    ");
}

#[test]
fn much_work_ahead_of_little_is_shared() {
    // The product alone would not be worth a meeting of threads.
    let (fused, plan) = planned(&graph(1, |_, _, product| vec![product]), 4000);
    let first = fused.groups.first().expect("a group").kernels.start;
    let tasks = parallel_regions(&fused, &plan).into_iter().flat_map(|region| region.tasks);
    assert_eq!(tasks.filter(|task| task.kernel == first && task.work == Work::Rows).count(), 1);
}
