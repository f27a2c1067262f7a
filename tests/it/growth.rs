//! What compiling takes, and what it makes, grows as the network does. Where it grew faster once, these networks took from
//! a hundred times as long to for ever.

use gradloom::ndarray::Array2;
use gradloom::{Adam, Network, Sgd, Trainer, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::optim::Optimization;

use crate::corners::check_with;

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
    let how = Optimization { clip_norm: clip_norm.then_some(1.0), ..Adam::new(1e-3).into() };
    fuse(&simplified(N::DEFINITION, Purpose::Train(&how)).expect("it is a network"))
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
