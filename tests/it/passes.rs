//! How often memory is passed over: batch norm as in Ioffe & Szegedy (2015), and the optimiser's state.

use gradloom::{Adam, Network, Sgd, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::{Fused, fuse};
use gradloom_runtime::ir::{NodeId, Op, Role, SlotKind};
use gradloom_runtime::kernel::Domain;
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::lower;
use gradloom_runtime::network::Definition;
use gradloom_runtime::optim::Optimisation;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::Dim;
use insta::assert_snapshot;

use crate::stages::{Line, Mlp, Norm, Sparse};

network! {
    /// A batch norm and nothing else.
    pub JustNorm<x: [B, 3] -> y: [B, 3]> { BatchNorm }
}

network! {
    /// An activation that is worth keeping.
    pub TanhNorm<x: [B, 2] -> y: [B, 1]> { Dense(4, bias = false), BatchNorm, tanh, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

/// The kernels of a training step.
fn trained(definition: &'static Definition<'static>, how: impl Into<Optimisation>) -> Fused {
    fuse(&simplified(definition, Purpose::Train(&how.into())).expect("the network is sound"))
}

/// Algorithm 1, line by line: mini-batch variance, mini-batch mean, then one scale, of normalising and of gamma, and the shift.
#[test]
fn batch_norm_in_training_reads_like_algorithm_1() {
    let mut graph = lower(JustNorm::DEFINITION, Mode::Train).expect("the network is sound");
    graph.outputs.retain(|output| output.role == Role::Output(0));
    assert_snapshot!(fuse(&simplify(&graph)), @"
    kernel 0: B x 3, 12*B FLOP, 12*B + 24 bytes
      %1 = variance x over 0 : f32[3]                                # batch_norm1
      %2 = sum x over 0 : f32[3]                                     # batch_norm1
    kernel 1: 1 x 3, 12 FLOP, 60 bytes                               # %2 is known when kernel 0 is done
      %5 = div %2, B : f32[3]                                        # batch_norm1
      %6 = add %1, 1e-5 : f32[3]                                     # batch_norm1
      %7 = rsqrt %6 : f32[3]                                         # batch_norm1
      %10 = mul batch_norm1.gamma, %7 : f32[3]                       # batch_norm1
      keep %5                                                        # for kernel 2: used as a column
      keep %10                                                       # for kernel 2: used as a column
    kernel 2: B x 3, 9*B FLOP, 24*B + 36 bytes                       # %5 comes from kernel 1, over 1 x 3
      %14 = sub x, %5.col : f32[B,3]                                 # batch_norm1
      %15 = mul_add %14, %10.col, batch_norm1.beta.col : f32[B,3]    # batch_norm1
      keep %15                                                       # output y
    in all: 3 kernels, 21*B + 12 FLOP, 36*B + 120 bytes
    unfused: 21*B + 12 FLOP, 72*B + 168 bytes
    ");
}

/// Section 3: the sums over dy and over dy (x - mean), the numbers one a column, then dx. Beside it the running statistics.
#[test]
fn the_gradient_of_batch_norm_is_two_sums_and_a_pass_that_uses_them() {
    let fused = trained(Norm::DEFINITION, Sgd::new(0.1));
    let text = fused.to_string();
    let (_, backward) = text.split_once("check that the loss is finite\n").expect("a training step checks its loss");
    let of_layer = backward.lines().filter(|line| line.starts_with("kernel") || line.ends_with("# batch_norm1"));
    let lines: Vec<&str> = of_layer.collect();
    let empty =
        |at: usize| lines[at].starts_with("kernel") && lines.get(at + 1).is_none_or(|next| next.starts_with("kernel"));
    let lines: Vec<&str> = (0..lines.len()).filter(|&at| !empty(at)).map(|at| lines[at]).collect();
    assert_snapshot!(lines.join("\n"), @"
    kernel 5: B x 4, 56*B FLOP, 44*B + 128 bytes                     # a product
      %88 = mul %87, %17 : f32[B,4]                                  # batch_norm1
      %89 = sum %87 over 0 : f32[4]                                  # batch_norm1
      %90 = sum %88 over 0 : f32[4]                                  # batch_norm1
    kernel 7: 1 x 4, 100 FLOP, 256 bytes                             # %90 is known when kernel 5 is done
      %13 = neg %12 : f32[4]                                         # batch_norm1
      %19 = add B, -1 : f32[]                                        # batch_norm1
      %20 = div B, %19.one : f32[]                                   # batch_norm1
      %22 = mul %3, %20.one : f32[4]                                 # batch_norm1
      %25 = mul %7, 0.1 : f32[4]                                     # batch_norm1
      %26 = mul_add batch_norm1.running_mean, 0.9, %25 : f32[4]      # batch_norm1
      %27 = ne batch_norm1.due, 0 : bool[]                           # batch_norm1
      %29 = select %27.one, %26, batch_norm1.running_mean : f32[4]   # batch_norm1
      %31 = mul %22, 0.1 : f32[4]                                    # batch_norm1
      %32 = mul_add batch_norm1.running_var, 0.9, %31 : f32[4]       # batch_norm1
      %33 = select %27.one, %32, batch_norm1.running_var : f32[4]    # batch_norm1
      %91 = mul %89, %13 : f32[4]                                    # batch_norm1
      %92 = mul %90, %9 : f32[4]                                     # batch_norm1
      %93 = mul %90, batch_norm1.gamma : f32[4]                      # batch_norm1
      %94 = mul %9, %9 : f32[4]                                      # batch_norm1
      %95 = mul %9, -0.5 : f32[4]                                    # batch_norm1
      %96 = mul %95, %94 : f32[4]                                    # batch_norm1
      %97 = mul %93, %96 : f32[4]                                    # batch_norm1
      %98 = div %91, B : f32[4]                                      # batch_norm1
      %101 = mul %97, 2 : f32[4]                                     # batch_norm1
      %102 = div %101, B : f32[4]                                    # batch_norm1
    kernel 8: B x 4, 20*B FLOP, 48*B + 64 bytes                      # %102 comes from kernel 7, over 1 x 4
      %100 = mul_add %87, %12.col, %98.col : f32[B,4]                # batch_norm1
      %104 = mul_add %102.col, %17, %100 : f32[B,4]                  # batch_norm1
    ");
}

/// The kernels that go over all activations of a layer `[B, columns]`, before the loss is known and after.
fn passes(fused: &Fused, layer: &str, columns: usize) -> (usize, usize) {
    let domain = Domain { rows: Dim::B, cols: columns };
    let of_layer = |index: &usize| {
        let kernel = &fused.kernels[*index];
        kernel.domain == domain && kernel.steps.iter().any(|step| &*fused.graph[step.node].layer == layer)
    };
    let check = fused.check.expect("a training step checks its loss");
    let (forward, backward): (Vec<usize>, Vec<usize>) =
        (0..fused.kernels.len()).filter(of_layer).partition(|&index| index < check);
    (forward.len(), backward.len())
}

#[test]
fn batch_norm_takes_two_passes_forward_and_two_backward() {
    for definition in [Norm::DEFINITION, TanhNorm::DEFINITION] {
        let fused = trained(definition, Adam::new(1e-3));
        assert_eq!(passes(&fused, "batch_norm1", 4), (2, 2), "{fused}");
    }
}

#[test]
fn batch_norm_forward_keeps_its_input_and_the_activation_behind_it() {
    for definition in [Norm::DEFINITION, TanhNorm::DEFINITION] {
        let fused = trained(definition, Adam::new(1e-3));
        let check = fused.check.expect("a training step checks its loss");
        let domain = Domain { rows: Dim::B, cols: 4 };
        let kernels = fused.kernels[..check].iter().filter(|kernel| kernel.domain == domain);
        let kept = kernels
            .flat_map(|kernel| &kernel.stores)
            .filter(|store| Domain::of(&fused.graph[store.node].ty.shape) == domain);
        assert_eq!(kept.count(), 2, "{fused}");
    }
}

/// The kernels that read or write a parameter, statistic or state.
fn kernels_at(fused: &Fused, slot: usize) -> Vec<usize> {
    let graph = &fused.graph;
    let is_slot = |mut id: NodeId| {
        while graph[id].op.is_view() {
            id = graph[id].operands[0];
        }
        graph[id].op == Op::Param(slot)
    };
    let touches = |index: &usize| {
        let kernel = &fused.kernels[*index];
        let computed = kernel.steps.iter().map(|step| step.node).chain(kernel.product);
        let reads = computed.flat_map(|id| graph[id].operands.iter().copied()).any(is_slot);
        reads || kernel.stores.iter().any(|store| store.param == Some(slot))
    };
    (0..fused.kernels.len()).filter(touches).collect()
}

#[test]
fn an_optimiser_passes_once_over_its_state() {
    let optimisers: [fn() -> Optimisation; 2] = [|| Adam::new(1e-3).into(), || Sgd::new(0.1).momentum(0.9).into()];
    let definitions = [Line::DEFINITION, Mlp::DEFINITION, Norm::DEFINITION, Sparse::DEFINITION, TanhNorm::DEFINITION];
    for (optimiser, definition) in optimisers.into_iter().flat_map(|one| definitions.map(|other| (one, other))) {
        let fused = trained(definition, optimiser());
        for (slot, param) in fused.graph.slots.params.iter().enumerate() {
            let state = matches!(param.kind, SlotKind::Optimiser(_));
            let passes = kernels_at(&fused, slot);
            assert!(!state || passes.len() == 1, "{}: {} in kernels {passes:?}", definition.name, param.name);
        }
    }
}

#[test]
fn the_gradient_of_a_weight_is_never_in_memory() {
    for definition in [Line::DEFINITION, Mlp::DEFINITION, Norm::DEFINITION, Sparse::DEFINITION, TanhNorm::DEFINITION] {
        let fused = trained(definition, Adam::new(1e-3));
        for kernel in &fused.kernels {
            let weight = kernel.product.filter(|_| !kernel.domain.rows.is_batch());
            assert!(!kernel.stores.iter().any(|store| Some(store.node) == weight), "{fused}");
        }
    }
}
