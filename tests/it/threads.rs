//! Several threads: the same bits as one, for every batch, also beside other sessions, and errors that leave everything as
//! it was.

use gradloom::ndarray::{Array1, Array2};
use gradloom::{Adam, Network, Session, Sgd, Stage, network};
use gradloom_runtime::compile::{Purpose, Target, compile, simplified};
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role};
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::plan::{Task, Work, parallel_regions, plan};
use gradloom_runtime::tiling::{Isa, Machine, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::budget::is_deep;
use crate::compiled::Compiled;
use crate::{draw, handmade};

network! {
    /// Products of every kind, row and column sums, updates: all that is shared.
    Wide<x: [B, 96] -> logits: [B, 10]> {
        Dense(256, bias = false), BatchNorm, relu, residual { LayerNorm, Dense(256), gelu }, Dense(200), tanh, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label) + 1e-4 * l2(weights);
    metric accuracy = mean(argmax(logits) == label);
}

network! {
    /// A right operand of 2 MiB, which is rearranged once for many rows.
    Packed<x: [B, 1024] -> y: [B, 512]> { Dense(512), relu, Dense(512) }
    loss(t: [B, 512]) = mse(y, t);
}

network! {
    Tiny<x: [B, 3] -> y: [B, 1]> { Dense(4), tanh, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

network! {
    Digits<image: [B, 784] -> logits: [B, 10]> { Dense(256, bias = false), BatchNorm, relu, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

network! {
    /// Widths that are no multiple of what a thread takes, products that are kept and that are not, transposed in training.
    Few<x: [B, 600] -> y: [B, 333]> {
        Dense(1000, bias = false), gelu, LayerNorm, Dense(513), tanh, residual { Dense(513) }, Dense(333, bias = false),
    }
    loss(t: [B, 333]) = mse(y, t);
}

fn inputs(rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((37 * i + 11 * j + i * j % 7) % 101) as f32 / 50.0 - 1.0)
}

fn labels(rows: usize) -> Array1<u8> {
    Array1::from_shape_fn(rows, |i| (7 * i % 10) as u8)
}

fn bits<N: Network>(net: &Session<N>) -> Vec<u32> {
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let values = names
        .iter()
        .flat_map(|name| net.param(name).expect("the name is its own").iter().copied().collect::<Vec<f32>>());
    values.map(f32::to_bits).collect()
}

fn wide(threads: usize) -> Session<Wide> {
    Wide::trainer(Adam::new(1e-3)).max_batch(700).seed(3).threads(threads).build().expect("it builds")
}

/// Trains on batches of several sizes; gives all bits that there are in the end, and those of a prediction.
fn trained(threads: usize) -> (Vec<u32>, Vec<u32>) {
    let mut net = wide(threads);
    for rows in [700, 129, 128, 65, 2, 511, 700] {
        let step = net.step(inputs(rows, 96).view(), labels(rows).view()).expect("the step is taken");
        assert!(step.loss.is_finite());
    }
    let (x, y) = (inputs(1500, 96), labels(1500));
    let evaluated = net.evaluate(x.view(), y.view()).expect("it is evaluated");
    let gradients = net.gradients(inputs(300, 96).view(), labels(300).view()).expect("there are gradients");
    let mut seen: Vec<u32> =
        gradients.iter().flat_map(|(_, value)| value.iter().map(|x| x.to_bits()).collect::<Vec<_>>()).collect();
    seen.extend([evaluated.loss.to_bits(), evaluated.accuracy.to_bits()]);
    seen.extend(net.predict(x.view()).expect("it predicts").iter().map(|x| x.to_bits()));
    (bits(&net), seen)
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let one = trained(1);
    for threads in [2, 3, 7] {
        assert!(trained(threads) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn a_rearranged_operand_is_shared_with_the_same_bits() {
    let run = |threads| {
        let mut net =
            Packed::trainer(Sgd::new(0.1).momentum(0.9)).max_batch(600).threads(threads).build().expect("it builds");
        for rows in [600, 128, 129, 600] {
            net.step(inputs(rows, 1024).view(), inputs(rows, 512).view()).expect("the step is taken");
        }
        bits(&net)
    };
    assert!(run(2) == run(1));
}

#[test]
fn many_steps_of_several_sessions_at_once_give_the_bits_of_one_alone() {
    let steps = if is_deep() { 60 } else { 20 };
    let run = |threads: usize| {
        let mut net = wide(threads);
        let (x, y) = (inputs(200, 96), labels(200));
        (0..steps).for_each(|_| _ = net.step(x.view(), y.view()).expect("the step is taken"));
        bits(&net)
    };
    let alone = run(1);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| run(2))).collect();
        others.into_iter().for_each(|other| assert!(other.join().expect("no thread panics") == alone));
    });
}

#[test]
fn a_refused_step_leaves_everything_as_it_was() {
    let mut net = wide(2);
    let (x, y) = (inputs(700, 96), labels(700));
    net.step(x.view(), y.view()).expect("the step is taken");
    let before = bits(&net);
    let mut broken = x.clone();
    broken[[650, 3]] = f32::NAN;
    assert!(net.step(broken.view(), y.view()).is_err());
    assert!(bits(&net) == before);
    net.step(x.view(), y.view()).expect("the next step is taken");
    let mut other = wide(1);
    (0..2).for_each(|_| _ = other.step(x.view(), y.view()).expect("the step is taken"));
    assert!(bits(&net) == bits(&other));
}

#[test]
fn small_networks_train_with_threads_too() {
    let run = |threads| {
        let mut net = Tiny::trainer(Sgd::new(0.1)).max_batch(8).threads(threads).build().expect("it builds");
        (0..20).for_each(|_| _ = net.step(inputs(8, 3).view(), inputs(8, 1).view()).expect("the step is taken"));
        bits(&net)
    };
    assert_eq!(run(4), run(1));
}

#[test]
fn a_number_of_threads_out_of_range_is_an_error() {
    for threads in [0, 257] {
        let error =
            Tiny::trainer(Sgd::new(0.1)).threads(threads).build().map(|_| ()).expect_err("the number is refused");
        assert_eq!(error.to_string(), format!("threads must be from 1 to 256, got {threads}"));
    }
}

#[test]
fn threads_meet_where_data_crosses_and_small_kernels_are_done_in_passing() {
    let text = Digits::trainer(Sgd::new(0.1)).max_batch(128).ir(Stage::Plan);
    let regions: Vec<&str> = text.lines().filter(|line| line.starts_with("parallel region")).collect();
    assert_snapshot!(regions.join("\n"), @"
    parallel region 0: kernel 0 by 64 rows, up to 64 rows of kernel 0 by 64 columns; then what follows the matmul of up to 64 rows, sums of kernel 0, kernel 1
    parallel region 1: kernel 2 by 64 rows
    parallel region 2: kernel 3 by 64 rows; then sums of kernel 3, kernel 4, check of the loss
    parallel region 3: kernel 5 by 64 rows; then kernel 11
    parallel region 4: kernel 6 by 64 rows; then sums of kernel 6, kernel 7, kernel 10
    parallel region 5: kernel 8 by 64 rows
    parallel region 6: kernel 9 by 64 rows
    ");
}

/// How many units a task has for a batch.
fn units_of(fused: &Fused, task: Task, batch: usize) -> usize {
    let kernel = &fused.kernels[task.kernel];
    task.units(task.rows(kernel).at(batch), kernel.cols())
}

/// How many units the kernels of a prediction have that are cut by columns, and that are cut by rows.
fn units<N: Network>(max_batch: usize, batch: usize) -> [Vec<usize>; 2] {
    let fused = fuse(&simplified(N::declared(), Purpose::Predict).expect("the network is sound"));
    let plan = plan(&fused, tile(&fused, max_batch, Machine::of(Isa::detect()))).expect("it fits");
    let tasks: Vec<_> = parallel_regions(&fused, &plan).into_iter().flat_map(|region| region.tasks).collect();
    [Work::Columns, Work::Rows].map(|work| {
        let tasks = tasks.iter().filter(|task| task.work == work);
        tasks.map(|task| units_of(&fused, *task, batch)).filter(|&units| units > 0).collect()
    })
}

#[test]
fn few_rows_are_cut_by_columns_and_many_by_rows() {
    let by_columns = vec![16, 9, 9, 6];
    assert_eq!(units::<Few>(200, 1), [by_columns.clone(), vec![]]);
    assert_eq!(units::<Few>(200, 64), [by_columns.clone(), vec![]]);
    assert_eq!(
        units::<Few>(200, 65),
        [by_columns[..3].to_vec(), vec![2]],
        "where all units read much, they are larger"
    );
    assert_eq!(units::<Few>(200, 129), [vec![], vec![2, 2, 2, 3]]);
    assert_eq!(units::<Few>(1, 1), [by_columns, vec![]]);
}

#[test]
fn many_rows_of_a_product_with_a_large_right_operand_are_cut_into_larger_units() {
    let units = |rows: usize, max_batch: usize| {
        let mut b = Builder::new(Graph::default());
        let matrix = |cols| TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)]));
        let (x, dy) = (handmade::input(&mut b, "x", matrix(rows)), handmade::input(&mut b, "dy", matrix(1024)));
        let product = b.dot(x, dy, true, false);
        handmade::output(&mut b, Role::Output(0), product);
        let fused = fuse(&b.finish());
        let plan = plan(&fused, tile(&fused, max_batch, Machine::of(Isa::Portable))).expect("it fits");
        let tasks = parallel_regions(&fused, &plan).into_iter().flat_map(|region| region.tasks);
        let rows = tasks.filter(|task| task.work == Work::Rows);
        rows.map(|task| units_of(&fused, task, max_batch)).collect::<Vec<usize>>()
    };
    assert_eq!(units(1024, 256), [8]);
    assert_eq!(units(1024, 255), [16], "the right operand is smaller");
    assert_eq!(units(1000, 256), [4], "of fewer rows one thread takes as many as it computes in one go");
}

#[test]
fn one_row_runs_on_several_threads_where_reading_the_parameters_takes_long() {
    let shares = |definition| {
        let program = compile(definition, Purpose::Predict, Target::new(128).with_threads(2))
            .into_program()
            .expect("it compiles");
        program.code.shares(1)
    };
    assert!(shares(Few::declared()));
    assert!(!shares(Digits::declared()));
}

#[test]
fn few_rows_have_the_same_bits_on_any_number_of_threads() {
    let run = |max_batch: usize, threads: usize| {
        let trainer = Few::trainer(Sgd::new(0.1).momentum(0.9)).max_batch(max_batch).threads(threads);
        let mut net = trainer.build().expect("it builds");
        let mut seen = Vec::new();
        for rows in [1, 2, 7, 64, 65, 128, 129].into_iter().filter(|&rows| rows <= max_batch) {
            let (x, y) = (inputs(rows, 600), inputs(rows, 333));
            net.step(x.view(), y.view()).expect("the step is taken");
            seen.extend(net.predict(x.view()).expect("it predicts").iter().map(|x| x.to_bits()));
        }
        seen.extend(bits(&net));
        seen
    };
    for max_batch in [7, 200] {
        let one = run(max_batch, 1);
        for threads in [2, 3] {
            assert!(
                run(max_batch, threads) == one,
                "{threads} threads give other bits than one, up to {max_batch} rows"
            );
        }
    }
}

/// Products side by side: a narrow one that one thread computes, one that is kept, one that is not; and another after it
/// whose right operand is transposed.
fn side_by_side() -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(600)])));
    let bent = |b: &mut Builder, x: NodeId, name: &str, shape: [usize; 2], transposed: bool| {
        let w = handmade::parameter(b, name, &shape);
        let product = b.dot(x, w, false, transposed);
        (product, b.tanh(product))
    };
    let (_, narrow) = bent(&mut b, x, "narrow", [600, 1], false);
    let (_, wide) = bent(&mut b, x, "wide", [600, 1000], false);
    let (kept, of_kept) = bent(&mut b, x, "kept", [600, 700], false);
    let (_, after) = bent(&mut b, wide, "after", [300, 1000], true);
    for (index, node) in [narrow, wide, kept, of_kept, after].into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

#[test]
fn few_rows_of_products_side_by_side_do_not_get_in_each_others_way() {
    let graph = side_by_side();
    let fused = fuse(&graph);
    let regions =
        parallel_regions(&fused, &plan(&fused, tile(&fused, 200, Machine::of(Isa::detect()))).expect("it fits"));
    let by_columns = regions.iter().map(|region| region.tasks.iter().filter(|task| task.work == Work::Columns).count());
    assert_eq!(by_columns.collect::<Vec<usize>>(), [1, 1], "there is room for one product in a region");
    assert!(regions[0].tail.len() > 1, "the narrow product is computed after the wide one");
    let mut compiled = [1, 2, 3].map(|threads| Compiled::for_threads(&graph, 200, threads));
    for batch in [1, 5, 64, 65, 128, 200] {
        let values = draw::singles(&draw::values(&graph, batch, batch as u64));
        let [one, two, three] = compiled.each_mut().map(|compiled| compiled.run(batch, &values).bits());
        assert!(one == two && one == three, "{batch} rows");
    }
}

#[test]
fn what_was_built_in_one_thread_is_used_in_another() {
    fn moves<T: Send>(value: T) -> T {
        value
    }
    fn is_shared<T: Send + Sync>() {}
    is_shared::<gradloom::Predictor<Tiny>>();
    is_shared::<gradloom::Error>();
    is_shared::<gradloom::History<Tiny>>();
    let trainer = moves(Tiny::trainer(Adam::new(1e-3)).max_batch(8).threads(2));
    let mut net = moves(trainer.build().expect("it builds"));
    let (x, t) = (inputs(8, 3), inputs(8, 1));
    // What a session compiles later goes with it.
    net.diagnose(x.view(), t.view()).expect("the batch fits");
    net.accumulate(x.view(), t.view()).expect("the batch fits");
    net.evaluate(x.view(), t.view()).expect("the batch fits");
    let there = std::thread::spawn(move || net.step(x.view(), t.view()).map(|step| (net, step.loss)));
    let (net, loss) = there.join().expect("nothing panics").expect("the batch fits");
    assert!(loss.is_finite() && net.steps() == 1);
}

network! {
    /// A matrix of 16 MiB, of which each thread reads its own part of every row where there are few rows.
    Large<x: [B, 2048] -> y: [B, 2048]> { Dense(2048, init = uniform(0.05)) }
    loss = mean(y);
}

#[test]
fn few_rows_of_a_large_matrix_have_the_same_bits_on_any_threads_and_in_a_batch() {
    let x = Array2::from_shape_fn((9, 2048), |(i, j)| ((i * 37 + j * 11) % 29) as f32 / 29.0 - 0.5);
    let bits = |y: gradloom::ndarray::ArrayView2<'_, f32>| y.iter().map(|y| y.to_bits()).collect::<Vec<u32>>();
    let nets = [1, 2, 3].map(|threads| Large::trainer(Sgd::new(0.1)).max_batch(9).seed(1).threads(threads).build());
    let mut nets = nets.map(|net| net.expect("it builds"));
    let all = bits(nets[0].predict(x.view()).expect("it fits"));
    for net in &mut nets {
        for rows in 1..=5 {
            let y = bits(net.predict(x.slice(gradloom::ndarray::s![..rows, ..])).expect("it fits"));
            assert!(y == all[..rows * 2048], "{rows} rows");
        }
    }
}
