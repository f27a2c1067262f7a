//! The order of every sum is data: the same bits whatever batch a program is made for, on any number of threads, in any kernel,
//! on one instruction set.

use gradloom::{Adam, Network, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::interp::{Tensor, Values};
use gradloom_runtime::ir::{Builder, Graph, InputSlot, NodeId, Op, Output, Role, verify};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::network::Definition;
use gradloom_runtime::optim::TrainingConfig;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::budget::cases;
use crate::compiled::{Compiled, Results, with_isa};
use crate::random_tensors::graph;
use crate::{draw, handmade, random};

/// The bits of a number, all NaN alike.
fn bits(x: f64) -> u64 {
    if x.is_nan() { u64::MAX } else { x.to_bits() }
}

/// Fails if a result that two runs have in common differs.
#[track_caller]
fn same(what: &str, graph: &Graph, one: &Results, other: &Results) {
    for output in graph.outputs.iter().filter(|output| !matches!(output.role, Role::Probe(_))) {
        let [x, y] = [one, other].map(|results| results.get(&output.role));
        let differs = x.iter().zip(y).position(|(&x, &y)| bits(x) != bits(y));
        if let Some(at) = differs {
            panic!("{what}: {:?}, element {at} is {:e} and {:e}\n{graph}", output.role, x[at], y[at]);
        }
    }
}

/// Runs batches in programs for several largest ones and numbers of threads.
fn compiled_for(what: &str, graph: &Graph, batches: &[usize], values: impl Fn(usize) -> Values) {
    let mut programs: Vec<(usize, usize, Compiled)> = Vec::new();
    for &batch in batches {
        let values = values(batch);
        let mut first: Option<Results> = None;
        for &max_batch in batches.iter().filter(|&&max_batch| max_batch >= batch) {
            // Up to a block of rows, threads share nothing.
            for threads in 1..=if max_batch > 64 { 3 } else { 1 } {
                let known = programs.iter().position(|&(rows, number, _)| (rows, number) == (max_batch, threads));
                let place = known.unwrap_or_else(|| {
                    programs.push((max_batch, threads, Compiled::for_threads(graph, max_batch, threads)));
                    programs.len() - 1
                });
                let results = programs[place].2.run(batch, &values);
                match &first {
                    None => first = Some(results),
                    Some(first) => {
                        let what = format!("{what}: {batch} rows of up to {max_batch}, {threads} threads");
                        same(&what, graph, first, &results);
                    }
                }
            }
        }
    }
}

#[test]
fn a_random_graph_has_the_same_bits_for_any_largest_batch_and_threads() {
    for isa in Isa::available() {
        for seed in 0..cases(24) {
            let graph = graph(30_000 + seed);
            let values = |batch| draw::singles(&draw::values(&graph, batch, seed));
            with_isa(isa, || compiled_for(&format!("seed {seed}, {isa:?}"), &graph, &[1, 5, 65, 300], values));
        }
    }
}

/// Numbers that are computed, with the batch in front or none.
fn intermediates(graph: &Graph) -> Vec<NodeId> {
    let live = graph.live();
    let in_front = |id: NodeId| graph[id].ty.shape.0.iter().skip(1).all(|dim| !dim.is_batch());
    let float = |id: NodeId| graph[id].ty.dtype == DType::F32 && !graph[id].op.is_leaf() && !graph[id].op.is_view();
    let some = |id: NodeId| graph[id].ty.shape.len_at(1) > 0;
    graph.ids().filter(|&id| live[id.index()] && float(id) && in_front(id) && some(id)).collect()
}

/// The same graph with a value read from memory in place of being computed: as an input.
fn read_instead(graph: &Graph, id: NodeId) -> Graph {
    let mut graph = graph.clone();
    let ty = graph[id].ty.clone();
    graph.slots.inputs.push(InputSlot { name: "given", ty, target: false, classes: None });
    let input = graph.slots.inputs.len() - 1;
    let node = &mut graph.nodes[id.index()];
    (node.op, node.operands) = (Op::Input(input), Vec::new());
    graph
}

/// Compares a graph with itself where a value is written to memory too, and where it is read from memory alone.
fn fused_or_not(what: &str, graph: &Graph, batch: usize, values: &Values, some: usize) {
    let graph = simplify(graph);
    let whole = Compiled::as_it_is(graph.clone(), batch, 1).run(batch, values);
    let all = intermediates(&graph);
    let step = all.len().div_ceil(some).max(1);
    for &id in all.iter().skip(all.len() % step).step_by(step) {
        let mut kept = graph.clone();
        kept.outputs.push(Output { role: Role::Probe(9), node: id });
        let results = Compiled::as_it_is(kept, batch, 1).run(batch, values);
        same(&format!("{what}: with %{} in memory", id.0), &graph, &whole, &results);
        let shape = graph[id].ty.shape.at(batch);
        let mut values = values.clone();
        values.inputs.push(Tensor::floats(&shape, results.get(&Role::Probe(9)).to_vec()));
        let others = Compiled::as_it_is(read_instead(&graph, id), batch, 1).run(batch, &values);
        same(&format!("{what}: with %{} given", id.0), &graph, &whole, &others);
    }
}

#[test]
fn a_random_graph_has_the_same_bits_whatever_is_fused() {
    for isa in Isa::available() {
        for seed in 0..cases(40) {
            let graph = graph(40_000 + seed);
            let batch = [70, 3][(seed % 2) as usize];
            let values = draw::singles(&draw::values(&graph, batch, seed));
            with_isa(isa, || fused_or_not(&format!("seed {seed}, {isa:?}"), &graph, batch, &values, 4));
        }
    }
}

network! {
    /// Rows of few columns and of many, sums of every kind, slopes, and products of more terms than one piece.
    Dense<x: [B, 300] -> logits: [B, 10]> {
        Dense(70, bias = false), BatchNorm, tanh, residual { LayerNorm, Dense(70), sigmoid }, Dense(5), tanh, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label) + 1e-4 * l2(weights);
    metric accuracy = mean(argmax(logits) == label);
}

network! {
    /// One column, of which each row has one number: written out in its kernel for few rows.
    Thin<x: [B, 784] -> y: [B, 1]> { Dense(1), tanh }
    loss(t: [B, 1]) = mse(y, t);
}

network! {
    Narrow<x: [B, 6] -> y: [B, 7]> { Dense(20), sigmoid, Dense(7) }
    loss(t: [B, 7]) = mse(y, t) + 0.1 * mean(abs(y));
}

fn step_of(definition: &'static Definition<'static>, config: &TrainingConfig) -> Graph {
    simplified(definition, Purpose::Train(config)).expect("the network is one")
}

#[test]
fn a_dense_step_has_the_same_bits_for_any_largest_batch_and_threads() {
    let config = TrainingConfig { clip_norm: Some(1.0), ..Adam::new(1e-3).into() };
    for definition in [Dense::declared(), Thin::declared(), Narrow::declared()] {
        let graph = step_of(definition, &config);
        for isa in Isa::available() {
            let values = |batch| random::values(&graph, &config, batch, 3);
            with_isa(isa, || compiled_for(&format!("{isa:?}"), &graph, &[1, 5, 65, 300], values));
        }
    }
}

#[test]
fn a_dense_step_has_the_same_bits_whatever_is_fused() {
    let config = TrainingConfig { clip_norm: Some(1.0), ..Adam::new(1e-3).into() };
    for definition in [Dense::declared(), Thin::declared(), Narrow::declared()] {
        let graph = step_of(definition, &config);
        for isa in Isa::available() {
            let values = random::values(&graph, &config, 70, 5);
            with_isa(isa, || fused_or_not(&format!("{isa:?}"), &graph, 70, &values, 8));
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_batch() {
    for definition in [Dense::declared(), Thin::declared(), Narrow::declared()] {
        let graph = simplified(definition, Purpose::Predict).expect("the network is one");
        for isa in Isa::available() {
            let values = draw::singles(&draw::values(&graph, 300, 7));
            let mut compiled = with_isa(isa, || Compiled::new(&graph, 300));
            let all = compiled.run(300, &values);
            let cols = all.get(&Role::Output(0)).len() / 300;
            for rows in [1, 3, 64, 65, 129] {
                let x = &values.inputs[0];
                let width = x.as_floats().len() / 300;
                let some = Tensor::floats(&[rows, width], x.as_floats()[..rows * width].to_vec());
                let some = compiled.run(rows, &Values { inputs: vec![some], ..values.clone() });
                assert!(
                    some.get(&Role::Output(0)) == &all.get(&Role::Output(0))[..rows * cols],
                    "{rows} rows, {isa:?}"
                );
            }
        }
    }
}

/// A graph of one input, and the numbers that it is given.
fn of_input(shape: Shape, batch: usize, make: impl FnOnce(&mut Builder, NodeId) -> NodeId) -> (Graph, Vec<f32>) {
    let mut b = Builder::new(Graph::default());
    let len = shape.len_at(batch);
    let x = handmade::input(&mut b, "x", TensorType::f32(shape));
    let y = make(&mut b, x);
    handmade::output(&mut b, Role::Output(0), y);
    let graph = b.finish();
    verify(&graph).expect("the graph is one");
    // Large and small numbers of both signs, so that every order has its own sum.
    let number = |i: usize| ((i * 7919 % 1013) as f32 - 506.0) * 1.37f32.powi((i * 31 % 17) as i32 - 8);
    (graph, (0..len).map(number).collect())
}

fn run(graph: &Graph, batch: usize, shape: &[usize], numbers: &[f32]) -> Vec<f32> {
    let floats: Vec<f64> = numbers.iter().map(|&x| f64::from(x)).collect();
    let values = Values { inputs: vec![Tensor::floats(shape, floats)], params: vec![], scalars: vec![] };
    Compiled::new(graph, batch).run(batch, &values).get(&Role::Output(0)).iter().map(|&x| x as f32).collect()
}

/// Neighbors are added, then neighbors of what that gives; one that is left over goes on as it is.
fn tree<T: Copy + std::ops::Add<Output = T>>(mut parts: Vec<T>) -> T {
    while parts.len() > 1 {
        parts = parts.chunks(2).map(|pair| if let [x, y] = pair { *x + *y } else { pair[0] }).collect();
    }
    parts[0]
}

/// Element `j` in lane `j` modulo 16.
fn lanes(numbers: &[f32]) -> Vec<f32> {
    let mut lanes = vec![0.0; 16];
    numbers.iter().enumerate().for_each(|(j, x)| lanes[j % 16] += x);
    lanes
}

/// Four vectors of four lanes as a tree, then the lanes of the one that is left.
fn along(row: &[f32]) -> f32 {
    let lanes = lanes(row);
    tree((0..4).map(|lane| tree((0..4).map(|part| lanes[4 * part + lane]).collect())).collect())
}

#[test]
fn a_sum_along_rows_has_sixteen_lanes_whatever_else_is_computed() {
    for cols in [1, 3, 10, 16, 21, 37, 44, 100, 530] {
        let shape = Shape(vec![Dim::B, Dim::Fixed(cols)]);
        // Of numbers in memory, and of what takes long to compute.
        let plain: fn(&mut Builder, NodeId) -> NodeId = |b, x| b.sum(x, &[1]);
        let long: fn(&mut Builder, NodeId) -> NodeId = |b, x| {
            let bounded = b.tanh(x);
            let far = b.scale(bounded, 0.0);
            let same = b.add(x, far);
            b.sum(same, &[1])
        };
        for make in [plain, long] {
            let (graph, numbers) = of_input(shape.clone(), 5, make);
            let wanted: Vec<f32> = numbers.chunks(cols).map(along).collect();
            assert_eq!(run(&graph, 5, &[5, cols], &numbers), wanted, "{cols} columns");
        }
    }
}

#[test]
fn a_sum_over_everything_adds_the_lanes_of_rows_in_chunks_of_sixty_four() {
    for (batch, cols) in [(1, 1), (70, 1), (200, 1), (300, 10), (65, 16), (330, 37), (129, 256)] {
        let shape = Shape(vec![Dim::B, Dim::Fixed(cols)]);
        let plain: fn(&mut Builder, NodeId) -> NodeId = |b, x| b.sum(x, &[0, 1]);
        // Beside numbers of the rows, which a kernel without rows does not have.
        let by_rows: fn(&mut Builder, NodeId) -> NodeId = |b, x| {
            let row = b.sum(x, &[1]);
            let shape = b.shape(x);
            let row = b.broadcast(row, &shape, &[0]);
            let nothing = b.scale(row, 0.0);
            let same = b.add(x, nothing);
            b.sum(same, &[0, 1])
        };
        for make in [plain, by_rows] {
            let (graph, numbers) = of_input(shape.clone(), batch, make);
            let chunk = |rows: &[f32]| {
                if cols == 1 {
                    return lanes(rows);
                }
                let all = rows.chunks(cols).map(lanes);
                all.fold(vec![0.0; 16], |sums, row| sums.iter().zip(row).map(|(x, y)| x + y).collect())
            };
            let chunks = numbers.chunks(64 * cols).map(chunk);
            let wanted = tree(chunks.map(|lanes| tree(lanes.into_iter().map(f64::from).collect())).collect()) as f32;
            let shape = [batch, cols];
            assert_eq!(run(&graph, batch, &shape, &numbers), [wanted], "{batch} x {cols}");
        }
    }
}

#[test]
fn a_sum_down_columns_adds_chunks_of_sixty_four_rows_as_a_tree() {
    for (batch, cols) in [(1, 3), (64, 5), (200, 40), (450, 1)] {
        let (graph, numbers) = of_input(Shape(vec![Dim::B, Dim::Fixed(cols)]), batch, |b, x| b.sum(x, &[0]));
        let column = |col: usize| {
            let chunk = |rows: &[f32]| f64::from(rows.iter().skip(col).step_by(cols).fold(0.0, |sum, x| sum + x));
            tree(numbers.chunks(64 * cols).map(chunk).collect()) as f32
        };
        let wanted: Vec<f32> = (0..cols).map(column).collect();
        assert_eq!(run(&graph, batch, &[batch, cols], &numbers), wanted, "{batch} x {cols}");
    }
}

/// Sums of so many terms, one after the other.
fn chains(terms: Vec<f32>, count: usize) -> Vec<f32> {
    terms.chunks(count).map(|chunk| chunk.iter().fold(0.0, |sum, x| sum + x)).collect()
}

#[test]
fn a_long_sum_within_rows_is_a_sum_of_sums_of_at_most_sixty_four() {
    let sum = |extents: &[usize], axes: &[usize]| {
        let dims = [Dim::B].into_iter().chain(extents.iter().copied().map(Dim::Fixed)).collect();
        let (graph, numbers) = of_input(Shape(dims), 2, |b, x| b.sum(x, axes));
        let shape = [&[2], extents].concat();
        (run(&graph, 2, &shape, &numbers), numbers)
    };
    // Of 1024 pixels rows of 32; of 1000 tokens 50, their largest divisor; of 4,100 pieces of 50, then 41; 61 at a time of 3,721.
    for (extents, axes, parts) in [
        (&[32, 32, 3][..], &[1, 2][..], &[32, 32][..]),
        (&[1000, 5], &[1], &[50, 20]),
        (&[82, 50, 2], &[1, 2], &[50, 41, 2]),
        (&[3721, 4], &[1], &[61, 61]),
        (&[64, 7], &[1], &[64]),
    ] {
        let (sums, numbers) = sum(extents, axes);
        let (cols, terms) = (extents[extents.len() - 1], parts.iter().product::<usize>());
        let column = |row: usize, col: usize| {
            let terms = numbers[row * terms * cols..][..terms * cols].iter().skip(col).step_by(cols);
            parts.iter().fold(terms.copied().collect(), |terms, &count| chains(terms, count))[0]
        };
        let wanted: Vec<f32> = (0..2 * cols).map(|at| column(at / cols, at % cols)).collect();
        assert_eq!(sums, wanted, "{extents:?}");
    }
}

#[test]
fn the_error_of_a_sum_within_rows_does_not_grow_with_its_terms() {
    let (graph, mut numbers) = of_input(Shape(vec![Dim::B, Dim::Fixed(4096), Dim::Fixed(1)]), 1, |b, x| {
        let two = b.concat(&[x, x], 2);
        b.sum(two, &[1])
    });
    numbers.fill(0.1);
    let exact = 4096.0 * f64::from(0.1f32);
    for sum in run(&graph, 1, &[1, 4096, 1], &numbers) {
        // One after the other they would be 4e-5 away.
        assert!((f64::from(sum) / exact - 1.0).abs() < 2e-6, "{sum}, not {exact}");
    }
}

#[test]
fn a_product_written_out_adds_up_the_pieces_of_one_that_is_called() {
    for (inner, piece) in [(256, 256), (257, 129), (784, 196), (1024, 256)] {
        let mut b = Builder::new(Graph::default());
        let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(inner)])));
        let w = handmade::parameter(&mut b, "w", &[inner, 1]);
        let y = b.dot(x, w, false, false);
        handmade::output(&mut b, Role::Output(0), y);
        let graph = b.finish();
        for isa in Isa::available() {
            let values = draw::singles(&draw::values(&graph, 1, inner as u64));
            let [a, c] = [&values.inputs[0], &values.params[0]].map(|x| x.as_floats().iter().map(|&x| x as f32));
            let pairs: Vec<(f32, f32)> = a.zip(c).collect();
            let term = |sum: f32, &(x, y): &(f32, f32)| if isa.fuses() { x.mul_add(y, sum) } else { x * y + sum };
            let sums = pairs.chunks(piece).map(|pairs| pairs.iter().fold(0.0, term));
            let wanted = f64::from(sums.reduce(|x, y| x + y).expect("there are terms"));
            for max_batch in [1, 2, 64, 300] {
                let results = with_isa(isa, || Compiled::new(&graph, max_batch)).run(1, &values);
                assert_eq!(results.get(&Role::Output(0)), [wanted], "{inner} terms, up to {max_batch} rows, {isa:?}");
            }
        }
    }
}

#[test]
fn terms_that_the_batch_counts_are_added_in_pieces_of_256() {
    let mut b = Builder::new(Graph::default());
    let [x, y] = [0, 1].map(|_| handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(1)]))));
    let product = b.dot(x, y, true, false);
    handmade::output(&mut b, Role::Output(0), product);
    let graph = b.finish();
    for isa in Isa::available() {
        for batch in [1, 255, 256, 300, 700] {
            let values = draw::singles(&draw::values(&graph, batch, 9));
            let [a, c] = [0, 1].map(|at| values.inputs[at].as_floats().iter().map(|&x| x as f32));
            let pairs: Vec<(f32, f32)> = a.zip(c).collect();
            let term = |sum: f32, &(x, y): &(f32, f32)| if isa.fuses() { x.mul_add(y, sum) } else { x * y + sum };
            let sums = pairs.chunks(256).map(|pairs| pairs.iter().fold(0.0, term));
            let wanted = f64::from(sums.reduce(|x, y| x + y).expect("there are terms"));
            for max_batch in [batch, 1000, 3000] {
                let results = with_isa(isa, || Compiled::new(&graph, max_batch)).run(batch, &values);
                assert_eq!(results.get(&Role::Output(0)), [wanted], "{batch} terms, up to {max_batch}, {isa:?}");
            }
        }
    }
}
