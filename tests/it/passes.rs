//! How often memory is passed over: batch norm as in Ioffe & Szegedy (2015), and the optimizer's state.

use gradloom::{Adam, Network, Sgd, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Op, Role, SlotKind};
use gradloom_runtime::kernel::{Arg, Fused, Home, Kernel, Write};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::lower;
use gradloom_runtime::network::Definition;
use gradloom_runtime::optim::TrainingConfig;
use gradloom_runtime::reason::MaterializeReason;
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

network! {
    /// An activation that takes an exponential, of what is kept for nothing else.
    Gelu<x: [B, 3] -> y: [B, 1]> { Dense(8), gelu(approx = tanh), Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

network! {
    /// The same of what is normalized.
    GeluNorm<x: [B, 3] -> y: [B, 1]> { Dense(8), BatchNorm, gelu(approx = tanh), Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

network! {
    /// The gradient reads what the function is made of, too.
    GeluAndItsOperand<x: [B, 3] -> y: [B, 1]> { Dense(8) as h, gelu(approx = tanh), Dense(1) }
    loss(target: [B, 1]) = mse(y, target) + 0.01 * mean(h * h);
}

/// The kernels of a training step.
fn trained(definition: &'static Definition<'static>, config: impl Into<TrainingConfig>) -> Fused {
    fuse(&simplified(definition, Purpose::Train(&config.into())).expect("the network is sound"))
}

/// Algorithm 1, line by line: mini-batch variance, mini-batch mean, then one scale, of normalizing and of gamma, and the shift.
#[test]
fn batch_norm_in_training_reads_like_algorithm_1() {
    let mut graph = lower(JustNorm::declared(), Mode::Train).expect("the network is sound");
    graph.outputs.retain(|output| output.role == Role::Output(0));
    assert_snapshot!(fuse(&simplify(&graph)), @"
    kernel 0: B x 3, 12*B FLOP, 12*B + 24 bytes
      %1 = mean x over 0 : f32[3]                                    # batch_norm1
      %2 = variance x over 0 : f32[3]                                # batch_norm1
    kernel 1: 1 x 3, 9 FLOP, 36 bytes                                # %2 is known when kernel 0 is done
      %3 = add %2, 1e-5 : f32[3]                                     # batch_norm1
      %4 = rsqrt %3 : f32[3]                                         # batch_norm1
      %7 = mul batch_norm1.gamma, %4 : f32[3]                        # batch_norm1
      materialize %7                                                 # for kernel 2: used as a column
    kernel 2: B x 3, 9*B FLOP, 24*B + 36 bytes                       # %7 comes from kernel 1, over 1 x 3
      %11 = sub x, %1.col : f32[B,3]                                 # batch_norm1
      %12 = mul_add %11, %7.col, batch_norm1.beta.col : f32[B,3]     # batch_norm1
      materialize %12                                                # output y
    in all: 3 kernels, 21*B + 9 FLOP, 36*B + 96 bytes
    unfused: 21*B + 9 FLOP, 72*B + 144 bytes
    ");
}

/// Section 3: the sums over dy and over dy (x - mean), the numbers one a column, then dx. Beside it the running statistics.
#[test]
fn the_gradient_of_batch_norm_is_two_sums_and_a_pass_that_uses_them() {
    let fused = trained(Norm::declared(), Sgd::new(0.1));
    let text = fused.to_string();
    let (_, backward) = text.split_once("check that the loss is finite\n").expect("a training step checks its loss");
    let of_layer = backward.lines().filter(|line| line.starts_with("kernel") || line.ends_with("# batch_norm1"));
    let lines: Vec<&str> = of_layer.collect();
    let empty =
        |at: usize| lines[at].starts_with("kernel") && lines.get(at + 1).is_none_or(|next| next.starts_with("kernel"));
    let lines: Vec<&str> = (0..lines.len()).filter(|&at| !empty(at)).map(|at| lines[at]).collect();
    assert_snapshot!(lines.join("\n"), @"
    kernel 5: B x 4, 56*B FLOP, 44*B + 128 bytes                     # a matmul
      %92 = mul %90, %14 : f32[B,4]                                  # batch_norm1
      %93 = sum %90 over 0 : f32[4]                                  # batch_norm1
      %94 = sum %92 over 0 : f32[4]                                  # batch_norm1
    kernel 7: 1 x 4, 100 FLOP, 256 bytes                             # %94 is known when kernel 5 is done
      %10 = neg %9 : f32[4]                                          # batch_norm1
      %17 = add B, -1 : f32[]                                        # batch_norm1
      %18 = div B, %17.one : f32[]                                   # batch_norm1
      %20 = mul %4, %18.one : f32[4]                                 # batch_norm1
      %23 = mul %3, 0.1 : f32[4]                                     # batch_norm1
      %24 = mul_add batch_norm1.running_mean, 0.9, %23 : f32[4]      # batch_norm1
      %25 = ne batch_norm1.due, 0 : bool[]                           # batch_norm1
      %27 = select %25.one, %24, batch_norm1.running_mean : f32[4]   # batch_norm1
      %29 = mul %20, 0.1 : f32[4]                                    # batch_norm1
      %30 = mul_add batch_norm1.running_var, 0.9, %29 : f32[4]       # batch_norm1
      %31 = select %25.one, %30, batch_norm1.running_var : f32[4]    # batch_norm1
      %95 = mul %93, %10 : f32[4]                                    # batch_norm1
      %96 = mul %94, %6 : f32[4]                                     # batch_norm1
      %97 = mul %94, batch_norm1.gamma : f32[4]                      # batch_norm1
      %98 = mul %6, %6 : f32[4]                                      # batch_norm1
      %99 = mul %6, -0.5 : f32[4]                                    # batch_norm1
      %100 = mul %99, %98 : f32[4]                                   # batch_norm1
      %101 = mul %97, %100 : f32[4]                                  # batch_norm1
      %102 = mul %101, 2 : f32[4]                                    # batch_norm1
      %104 = div %102, B : f32[4]                                    # batch_norm1
      %108 = div %95, B : f32[4]                                     # batch_norm1
    kernel 8: B x 4, 20*B FLOP, 48*B + 64 bytes                      # %104 comes from kernel 7, over 1 x 4
      %91 = mul %90, %9.col : f32[B,4]                               # batch_norm1
      %106 = mul %104.col, %14 : f32[B,4]                            # batch_norm1
      %107 = add %91, %106 : f32[B,4]                                # batch_norm1
      %110 = add %107, %108.col : f32[B,4]                           # batch_norm1
    ");
}

/// The kernels that go over all activations of a layer `[B, columns]`, before the loss is known and after.
fn passes(fused: &Fused, layer: &str, columns: usize) -> (usize, usize) {
    let of_layer = |index: &usize| {
        let kernel = &fused.kernels[*index];
        kernel.axes == [Dim::B, Dim::Fixed(columns)] && kernel.body.iter().any(|each| &*each.origin.layer == layer)
    };
    let check = fused.check.expect("a training step checks its loss");
    let (forward, backward): (Vec<usize>, Vec<usize>) =
        (0..fused.kernels.len()).filter(of_layer).partition(|&index| index < check);
    (forward.len(), backward.len())
}

#[test]
fn batch_norm_takes_two_passes_forward_and_two_backward() {
    for definition in [Norm::declared(), TanhNorm::declared()] {
        let fused = trained(definition, Adam::new(1e-3));
        assert_eq!(passes(&fused, "batch_norm1", 4), (2, 2), "{fused}");
    }
}

#[test]
fn batch_norm_forward_keeps_its_input_and_the_activation_behind_it() {
    for definition in [Norm::declared(), TanhNorm::declared()] {
        let fused = trained(definition, Adam::new(1e-3));
        let check = fused.check.expect("a training step checks its loss");
        let activations = [Dim::B, Dim::Fixed(4)];
        let kernels = fused.kernels[..check].iter().filter(|kernel| kernel.axes == activations);
        let written = kernels.flat_map(|kernel| &kernel.writes);
        let whole = written.filter(|write| fused.buffer(write.buffer).shape.0 == activations);
        assert_eq!(whole.count(), 2, "{fused}");
    }
}

/// The kernels that compute an operation, and whether any of them keeps it.
fn homes(fused: &Fused, op: &Op) -> (Vec<usize>, bool) {
    let computes = |kernel: &Kernel| kernel.body.iter().any(|each| each.origin.op == *op);
    let homes = (0..fused.kernels.len()).filter(|&index| computes(&fused.kernels[index])).collect();
    let written = |kernel: &Kernel, value: Arg| match value {
        Arg::Value(index) => kernel.body[index].origin.op == *op,
        _ => false,
    };
    let kept = fused.kernels.iter().any(|kernel| kernel.writes.iter().any(|write| written(kernel, write.value)));
    (homes, kept)
}

#[test]
fn a_slope_is_kept_where_its_function_is_made_instead_of_an_operand() {
    let fused = trained(Mlp::declared(), Sgd::new(0.1));
    assert_eq!(homes(&fused, &Op::TanhSlope), (homes(&fused, &Op::Tanh).0, true), "{fused}");
}

#[test]
fn a_slope_is_made_of_its_operand_where_that_is_made_again_anyway() {
    let fused = trained(TanhNorm::declared(), Sgd::new(0.1));
    let ((slope, kept), (function, _)) = (homes(&fused, &Op::TanhSlope), homes(&fused, &Op::Tanh));
    assert!(!kept && slope.len() == 1 && slope[0] > function[0], "{fused}");
}

#[test]
fn what_the_gradient_makes_with_an_exponential_is_kept_where_that_is_made_instead_of_its_operand() {
    let fused = trained(Gelu::declared(), Sgd::new(0.1));
    let (exponentials, _) = homes(&fused, &Op::Sigmoid);
    assert_eq!(exponentials.len(), 1, "{fused}");
    // Beside the operand of the next product.
    let written = &fused.kernels[exponentials[0]].writes;
    let wide = written.iter().filter(|write| fused.buffer(write.buffer).shape.0 == [Dim::B, Dim::Fixed(8)]);
    assert_eq!(wide.count(), 2, "{fused}");
    let beside = |write: &&Write| matches!(write.materialized, Some(MaterializeReason::Beside(_)));
    assert_eq!(written.iter().filter(beside).count(), 1, "{fused}");
}

#[test]
fn it_is_made_again_of_an_operand_that_is_kept_anyway() {
    for definition in [GeluNorm::declared(), GeluAndItsOperand::declared()] {
        let fused = trained(definition, Sgd::new(0.1));
        let check = fused.check.expect("a training step checks its loss");
        let (exponentials, kept) = homes(&fused, &Op::Sigmoid);
        let (forward, backward): (Vec<usize>, Vec<usize>) = exponentials.iter().partition(|&&kernel| kernel < check);
        assert_eq!(([forward.len(), backward.len()], kept), ([1, 1], false), "{fused}");
    }
}

/// The kernels that read or write a parameter, statistic or state.
fn kernels_at(fused: &Fused, slot: usize) -> Vec<usize> {
    let touches = |index: &usize| {
        let kernel = &fused.kernels[*index];
        let written = kernel.writes.iter().map(|write| write.buffer);
        kernel.buffers_read().chain(written).any(|buffer| fused.buffer(buffer).home == Home::Param(slot))
    };
    (0..fused.kernels.len()).filter(touches).collect()
}

#[test]
fn an_optimizer_passes_once_over_its_state() {
    let optimizers: [fn() -> TrainingConfig; 2] = [|| Adam::new(1e-3).into(), || Sgd::new(0.1).momentum(0.9).into()];
    let definitions = [Line::declared(), Mlp::declared(), Norm::declared(), Sparse::declared(), TanhNorm::declared()];
    for (optimizer, definition) in optimizers.into_iter().flat_map(|one| definitions.map(|other| (one, other))) {
        let fused = trained(definition, optimizer());
        for (slot, param) in fused.slots.params.iter().enumerate() {
            let state = matches!(param.kind, SlotKind::Optimizer(_));
            let passes = kernels_at(&fused, slot);
            assert!(!state || passes.len() == 1, "{}: {} in kernels {passes:?}", definition.name, param.name);
        }
    }
}

#[test]
fn the_gradient_of_a_weight_is_never_in_memory() {
    for definition in [Line::declared(), Mlp::declared(), Norm::declared(), Sparse::declared(), TanhNorm::declared()] {
        let fused = trained(definition, Adam::new(1e-3));
        for kernel in &fused.kernels {
            assert!(kernel.row_count().is_batch() || fused.dot_buffer(kernel).is_none(), "{fused}");
        }
    }
}
