//! A compilation keeps what every stage leaves, and where operations are in it.

use gradloom::{Adam, Network, network};
use gradloom_runtime::compile::{Compilation, Purpose, Stage, Target, compile};
use gradloom_runtime::ir::{NodeId, Op, Pass, Role};
use gradloom_runtime::kernel::Write;
use gradloom_runtime::optim::TrainingConfig;
use insta::assert_snapshot;

network! {
    Small<x: [B, 4] -> y: [B, 3]> { Dense(8), tanh, Dense(3) }
    loss(t: [B, 3]) = mse(y, t);
}

network! {
    act scaled = |x, beta = 1.0| beta * x;
    Scale<x: [B, 1] -> y: [B, 1]> { scaled }
    metric factor = scaled1.beta;
}

fn step(config: &TrainingConfig) -> Compilation<'_> {
    compile(Small::declared(), Purpose::Train(config), Target::new(16))
}

#[test]
fn every_stage_is_computed_once() {
    let config = TrainingConfig::from(Adam::new(0.1));
    let compilation = step(&config);
    let first: *const _ = compilation.legalized().expect("it compiles");
    compilation.text(Stage::Fused).expect("it compiles");
    compilation.plan().expect("it compiles");
    assert!(std::ptr::eq(first, compilation.legalized().expect("it compiles")));
}

#[test]
fn every_result_is_known_by_the_kernels_that_compute_it() {
    let config = TrainingConfig::from(Adam::new(0.1));
    let compilation = step(&config);
    let (graph, fused) = (compilation.graph().expect("it compiles"), compilation.fused().expect("it compiles"));
    for output in &graph.outputs {
        let kernels = compilation.kernels_of(output.node).expect("it compiles");
        let is_result = |write: &Write| match output.role {
            Role::Update(param) => fused.param_written(write) == Some(param),
            _ => fused.result(&output.role) == Some(write.buffer),
        };
        let writes = |kernel: &usize| fused.kernels[*kernel].writes.iter().any(is_result);
        assert!(kernels.iter().any(writes), "{:?} is computed by {kernels:?}", output.role);
    }
    // The gradient of a `tanh` is made from its result, in the forward pass and in the backward one.
    let tanh = graph.ids().find(|id| graph[*id].op == Op::Tanh).expect("the network has one");
    assert!(!compilation.kernels_of(tanh).expect("it compiles").is_empty());
}

#[test]
fn what_is_simplified_away_has_no_kernel() {
    let config = TrainingConfig::from(Adam::new(0.1));
    let compilation = step(&config);
    let graph = compilation.graph().expect("it compiles");
    // Nobody wants the gradient of the loss by itself but those of the parameters, which are multiplied by it.
    let seed = |id: &NodeId| graph[*id].op == Op::Const(1.0) && graph[*id].origin.pass == Pass::Backward;
    let seed = graph.ids().find(seed).expect("gradients start from 1");
    assert_eq!(compilation.kernels_of(seed).expect("it compiles"), []);
}

#[test]
fn a_metric_that_is_a_parameter_is_legalized_to_a_copy() {
    let compilation = compile(Scale::declared(), Purpose::Evaluate, Target::new(16));
    assert_snapshot!(compilation.text(Stage::Legalized).expect("it compiles"), @"
    %0 = param scaled1.beta : f32[]                                  # factor
    %1 = add %0, -0 : f32[]                                          # factor
    metric factor = %1
    ");
}

#[test]
fn a_session_and_its_printed_stages_come_from_one_place() {
    let config = TrainingConfig::from(Adam::new(0.1));
    let printed = compile(Small::declared(), Purpose::Train(&config), Target::printed(128));
    for stage in [Stage::Static, Stage::Forward, Stage::Backward, Stage::Legalized, Stage::Fused, Stage::Plan] {
        assert_eq!(Small::trainer(Adam::new(0.1)).ir(stage), printed.text(stage).expect("it compiles"));
    }
    let measured = compile(Small::declared(), Purpose::Diagnose(&config), Target::new(16));
    let graph = measured.simplified().expect("it compiles");
    let probes = graph.outputs.iter().filter(|output| matches!(output.role, Role::Probe(_))).count();
    assert_eq!(probes, measured.measures().expect("it compiles").len() + 1, "the loss is one more");
}
