//! What compiling takes, and what it makes, grows as the network does. Where it grew faster once, these networks took from
//! a hundred times as long to for ever.

use std::cell::RefCell;
use std::time::Instant;

use gradloom::ndarray::Array2;
use gradloom::{Adam, CheckpointError, NameMap, Network, Sgd, Trainer, network};
use gradloom_runtime::autodiff::slope;
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::elaborate::elaborate;
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role, SlotKind};
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::lower;
use gradloom_runtime::network::{Act, At, Definition, Expr, Kind, Stage};
use gradloom_runtime::optim::TrainingConfig;
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::corners::check_with;
use crate::handmade;

network! {
    act bend = |x, a = 1.0| x * sigmoid(a * x);
    act squared = |x| x * x;

    Plain<x: [B, 4] -> y: [B, 4]> { repeat(1000) { Dense(4), tanh } }
    loss(t: [B, 4]) = mse(y, t);

    Residual<x: [B, 4] -> y: [B, 4]> { repeat(300) { residual { Dense(4), tanh, Dense(4) } } }
    loss(t: [B, 4]) = mse(y, t);

    Norms<x: [B, 4] -> y: [B, 4]> { repeat(60) { Dense(4), BatchNorm, relu, Dropout(0.1), Dense(4), LayerNorm, prelu } }
    loss(t: [B, 4]) = mse(y, t) + 1e-4 * l2(weights);

    /// Some thousand operations on one element.
    Bends<x: [B, 4] -> y: [B, 4]> { repeat(300) { bend } }
    loss(t: [B, 4]) = mse(y, t);

    /// The same, with fewer of them.
    FewerBends<x: [B, 4] -> y: [B, 4]> { repeat(80) { bend } }
    loss(t: [B, 4]) = mse(y, t);

    /// A product of 2^28 factors, of 28 operations.
    Power<x: [B, 4] -> y: [B, 4]> { Dense(4, init = zeros) }
    loss(t: [B, 4]) = mse(y, t) + sum(squared(squared(squared(squared(squared(squared(squared(squared(squared(squared(
        squared(squared(squared(squared(squared(squared(squared(squared(squared(squared(squared(squared(squared(
        squared(squared(squared(squared(squared(dense1.weight)))))))))))))))))))))))))))));
}

fn builds<N: Network>(threads: usize) {
    let built = Trainer::<N>::new(Adam::new(1e-3)).max_batch(8).threads(threads).build();
    assert_eq!(built.expect("it builds").max_batch(), 8);
}

fn fused<N: Network>(clip_norm: bool) -> Fused {
    let how = TrainingConfig { clip_norm: clip_norm.then_some(1.0), ..Adam::new(1e-3).into() };
    fuse(&simplified(N::declared(), Purpose::Train(&how)).expect("it is a network"))
}

#[test]
fn a_thousand_layers_are_compiled() {
    builds::<Plain>(1);
}

#[test]
fn three_hundred_residual_layers_are_compiled_for_several_threads() {
    builds::<Residual>(2);
}

#[test]
fn norms_and_penalties_of_many_layers_are_compiled() {
    builds::<Norms>(2);
}

#[test]
fn a_power_of_a_power_is_compiled_in_as_many_operations() {
    let mut net = Power::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let (x, t) = (Array2::<f32>::ones((2, 4)), Array2::<f32>::ones((2, 4)));
    assert_eq!(net.step(x.view(), t.view()).expect("the batch fits").loss, 1.0);
}

/// What a norm is made of is computed once, and not again by each of the updates that it is a factor of.
#[test]
fn work_grows_as_the_network_whatever_the_updates_have_in_common() {
    for clip_norm in [false, true] {
        let fused = fused::<Residual>(clip_norm);
        let steps: usize = fused.kernels.iter().map(|kernel| kernel.body.len()).sum();
        let nodes = fused.kernels.iter().flat_map(|kernel| kernel.origins()).map(|origin| origin.node).max();
        let nodes = nodes.expect("it computes something").index();
        assert!(nodes > 10_000 && steps < 2 * nodes, "{steps} steps of {nodes} operations");
    }
}

/// Registers are given in a time that grows faster than a kernel.
#[test]
fn no_kernel_grows_without_end() {
    let fused = fused::<Bends>(false);
    let steps: Vec<usize> = fused.kernels.iter().map(|kernel| kernel.body.len()).collect();
    assert!(steps.iter().sum::<usize>() > 3_000 && steps.iter().all(|&steps| steps <= 1_100), "{steps:?}");
}

#[test]
fn what_is_cut_into_several_kernels_computes_the_same() {
    check_with::<FewerBends>(1, &[[7, 5]]);
}

network! {
    act doubled = |x| x + x;

    /// 2^28 times a penalty, which counts once.
    Doubled<x: [B, 4] -> y: [B, 4]> { Dense(4, bias = false, init = zeros) }
    loss(t: [B, 4]) = sum(square(y - t)) + doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(
        doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(doubled(
        doubled(doubled(doubled(doubled(doubled(doubled(l2(weights)))))))))))))))))))))))))))));

    Hundred<x: [B, 2] -> y: [B, 2]> { repeat(100) { Dense(2) } }
    loss(t: [B, 2]) = mse(y, t);

    Deep<x: [B, 2] -> y: [B, 2]> { repeat(400) { Dense(2), BatchNorm, tanh } }
    loss(t: [B, 2]) = mse(y, t);

    HalfAsDeep<x: [B, 2] -> y: [B, 2]> { repeat(200) { Dense(2), BatchNorm, tanh } }
    loss(t: [B, 2]) = mse(y, t);
}

/// How many times as long as one thing takes another may take, so that it is no square of the other.
#[track_caller]
fn takes_at_most<T, U>(times: f64, one: impl Fn() -> T, other: impl Fn() -> U) {
    let timed = |run: &dyn Fn()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    // What takes little time is run often: of two runs each may be interrupted.
    let least = |run: &dyn Fn()| {
        let (start, mut least) = (Instant::now(), f64::INFINITY);
        for count in 0.. {
            if count >= 2 && start.elapsed().as_secs_f64() > 0.3 {
                break;
            }
            least = timed(run).min(least);
        }
        least
    };
    let [base, found] = [least(&|| drop(one())), least(&|| drop(other()))];
    eprintln!("{found:.4} s beside {base:.4} s, {:.2}", found / base);
    assert!(found <= times * base, "{found:.4} s beside {base:.4} s");
}

#[test]
fn kernels_are_printed_in_the_time_that_they_take_to_make() {
    let how = Adam::new(1e-3).into();
    let graph = simplified(Deep::declared(), Purpose::Train(&how)).expect("it is a network");
    let fused = fuse(&graph);
    takes_at_most(8.0, || fuse(&graph), || fused.to_string());
}

#[test]
fn what_is_measured_of_every_layer_grows_as_the_network() {
    let (x, t) = (Array2::<f32>::eye(2), Array2::<f32>::ones((2, 2)));
    let mut half = HalfAsDeep::trainer(Sgd::new(0.0)).max_batch(2).build().expect("it builds");
    let mut deep = Deep::trainer(Sgd::new(0.0)).max_batch(2).build().expect("it builds");
    assert_eq!(deep.diagnose(x.view(), t.view()).expect("the batch fits").layers.len(), 1200);
    let (half, deep) = (RefCell::new(&mut half), RefCell::new(&mut deep));
    takes_at_most(
        3.5,
        || half.borrow_mut().diagnose(x.view(), t.view()).expect("the batch fits"),
        || deep.borrow_mut().diagnose(x.view(), t.view()).expect("the batch fits"),
    );
}

#[test]
fn slopes_of_a_chain_take_a_few_times_as_long_as_the_chain() {
    let chain = || {
        let mut b = Builder::new(Graph::default());
        let mut values = vec![handmade::parameter(&mut b, "x", &[2])];
        for at in 0..20_000 {
            values.push(b.exp(values[at]));
        }
        (b, values)
    };
    let slopes = || {
        let (mut b, values) = chain();
        assert!(values.windows(2).all(|ends| slope(&mut b, ends[0], ends[1]).is_some()));
    };
    takes_at_most(120.0, chain, slopes);
}

/// A stage of so many numbers, and metrics that name what there is of each.
fn named(n: usize, expr: impl Fn(usize) -> Expr<'static>) -> &'static Definition<'static> {
    let numbers: Vec<(&str, f64)> = (0..n).map(|number| (handmade::leak(format!("a{number}")).as_str(), 1.0)).collect();
    let act = Act { name: Some("f"), operand: "x", extras: handmade::leak(numbers), expr: Expr::Name("x") };
    let kind = Kind::Act(0, handmade::leak(vec![1.0; n]));
    let stage = Stage { kind, segment: "f1", named: false, text: "f", at: At(0) };
    let metrics = (0..n).map(|number| handmade::clause(handmade::leak(format!("m{number}")), expr(number)));
    handmade::leak(Definition {
        name: "Named",
        inputs: handmade::leak([handmade::port("x", &[Dim::B])]),
        outputs: handmade::leak([handmade::port("y", &[Dim::B])]),
        targets: &[],
        acts: handmade::leak([act]),
        scalars: &[],
        layers: &[],
        body: handmade::leak([stage]),
        flows: &[],
        loss: None,
        metrics: handmade::leak(metrics.collect::<Vec<_>>()),
        places: &[],
        assembled: None,
    })
}

fn path(text: String) -> Expr<'static> {
    Expr::Path(handmade::leak(text), At(0))
}

#[test]
fn parameters_are_found_by_their_names_at_once() {
    let [numbers, names] =
        [named(30_000, |_| Expr::Number(1.0)), named(30_000, |number| path(format!("f1.a{number}")))];
    let lowered = |definition| lower(definition, Mode::Infer).expect("it is a network").nodes.len();
    takes_at_most(5.0, || lowered(numbers), || lowered(names));
}

#[test]
fn stages_that_are_taken_for_values_are_found_at_once() {
    let [numbers, stages] = [named(10_000, |_| Expr::Number(1.0)), named(10_000, |_| path("f1".to_string()))];
    let checked = |definition| elaborate(definition).1.len();
    takes_at_most(20.0, || checked(numbers), || checked(stages));
}

#[test]
fn a_sum_of_a_sum_is_accumulated_in_as_many_operations() {
    let mut net = Doubled::trainer(Sgd::new(0.125)).max_batch(2).build().expect("it builds");
    let (x, t) = (Array2::<f32>::ones((2, 4)), Array2::<f32>::ones((2, 4)));
    assert_eq!(net.accumulate(x.view(), t.view()).expect("the batch fits").loss, 8.0);
    net.update().expect("there are gradients");
    // -2 (0 - 1) of each of two rows; the penalty has no slope at zero.
    assert!(net.param("dense1.weight").expect("it is there").iter().all(|&weight| weight == 0.5));
}

#[test]
fn a_statistic_that_is_a_power_of_a_power_is_looked_at_once() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(3)])));
    handmade::parameter(&mut b, "running_var", &[3]);
    b.graph_mut().slots.params[0].kind = SlotKind::Running;
    let variance = b.variance(x, &[0]);
    let power = (0..60).fold(variance, |power, _| b.mul(power, power));
    handmade::output(&mut b, Role::Update(0), power);
    let fused = fuse(&b.finish());
    let origins = fused.statistics.iter().map(|&buffer| fused.buffer(buffer).origin);
    assert_eq!(origins.collect::<Vec<NodeId>>(), [variance]);
}

#[test]
fn thousands_of_names_that_a_file_does_not_have() {
    let path = std::env::temp_dir().join(format!("gradloom-growth-{}.safetensors", std::process::id()));
    let mut net = Hundred::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    net.save(&path).expect("the folder can be written");
    let rule = |names: NameMap, n: usize| {
        names.renamed(format!("repeat1.{n}.dense1.wieght"), format!("repeat1.{n}.dense1.weihgt"))
    };
    let names = (0..20_000).fold(NameMap::new(), rule);
    let start = Instant::now();
    let error = net.load_mapped(&path, &names);
    let took = start.elapsed();
    std::fs::remove_file(&path).expect("it was written");
    let Err(CheckpointError::Mismatch { mistakes, more, .. }) = error else { panic!("nothing is called so") };
    let expected = "no tensor `repeat1.7.dense1.wieght` in the file; did you mean `repeat1.7.dense1.weight`?";
    assert!(mistakes.iter().any(|mistake| mistake == expected), "{:?}", &mistakes[..20]);
    assert_eq!(mistakes.len() + more, 40_000);
    assert!(took.as_secs() < 5, "{took:?}");
}
