//! What every stage prints, for networks that each show something.
//!
//! Short texts stand here, long ones in `snapshots/`. CLIF and machine code are those of a fixed machine, x86-64 with AVX2
//! and FMA, whatever machine the tests run on; one network is also compiled for aarch64.

use gradloom::{Adam, Network, Sgd, Stage, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::{Fused, fuse};
use gradloom_runtime::ir::{Graph, Op, Role, SlotKind};
use gradloom_runtime::jit::{Text, isa_by_name, text_for};
use gradloom_runtime::kernel::Domain;
use gradloom_runtime::lower::{Mode, lower, trainable};
use gradloom_runtime::optim::Optimiser;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::Dim;
use insta::assert_snapshot;

network! {
    /// One product: what an optimiser does to it is most of its step.
    pub Line<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

network! {
    /// A hidden layer.
    pub Mlp<x: [B, 2] -> y: [B, 1]> { Dense(3), tanh, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

network! {
    /// A batch norm between two products.
    pub Norm<x: [B, 2] -> logits: [B, 3]> { Dense(4, bias = false), BatchNorm(every = 2), relu, Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

network! {
    /// A loss over the output and a value named on the way.
    pub Sparse<x: [B, 2] -> y: [B, 1]> { Dense(3), relu as h, Dense(1) }
    loss(target: [B, 1]) = mse(y, target) + 0.01 * mean(h * h);
}

network! {
    /// A batch norm and nothing else.
    pub JustNorm<x: [B, 3] -> y: [B, 3]> { BatchNorm }
    loss(target: [B, 3]) = mse(y, target);
}

network! {
    /// As `Norm`, with an activation that is worth keeping.
    pub TanhNorm<x: [B, 2] -> y: [B, 1]> { Dense(4, bias = false), BatchNorm, tanh, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

// ---- A line: what plain descent, momentum and Adam are --------------------------------------------------------------

#[test]
fn line_static() {
    assert_snapshot!(Line::ir(Stage::Static), @"
    network Line<x: f32[B,2] -> y: f32[B,1]>
      dense1  Dense(1)  f32[B,1]  3 parameters
      loss(target: f32[B,1]) = mse(y, target)
      3 parameters
    ");
}

#[test]
fn line_forward() {
    assert_snapshot!(Line::ir(Stage::Forward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,1]                              # dense1
    %2 = dot %0, %1 : f32[B,1]                                       # dense1
    %3 = param dense1.bias : f32[1]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,1]                                # dense1
    %5 = add %2, %4 : f32[B,1]                                       # dense1
    %6 = target target : f32[B,1]
    %7 = sub %5, %6 : f32[B,1]                                       # loss
    %8 = mul %7, %7 : f32[B,1]                                       # loss
    %9 = sum %8 over 0,1 : f32[]                                     # loss
    %10 = count B : f32[]                                            # loss
    %11 = div %9, %10 : f32[]                                        # loss
    output y = %5
    loss = %11
    ");
}

#[test]
fn line_backward() {
    assert_snapshot!(Line::ir(Stage::Backward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,1]                              # dense1
    %2 = dot %0, %1 : f32[B,1]                                       # dense1
    %3 = param dense1.bias : f32[1]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,1]                                # dense1
    %5 = add %2, %4 : f32[B,1]                                       # dense1
    %6 = target target : f32[B,1]
    %7 = sub %5, %6 : f32[B,1]                                       # loss
    %8 = mul %7, %7 : f32[B,1]                                       # loss
    %9 = sum %8 over 0,1 : f32[]                                     # loss
    %10 = count B : f32[]                                            # loss
    %11 = div %9, %10 : f32[]                                        # loss
    %12 = div 1, %10 : f32[]                                         # loss
    %13 = broadcast %12 : f32[B,1]                                   # loss
    %14 = mul %13, %7 : f32[B,1]                                     # loss
    %15 = mul %13, %7 : f32[B,1]                                     # loss
    %16 = add %14, %15 : f32[B,1]                                    # loss
    %17 = sum %16 over 0 : f32[1]                                    # dense1
    %18 = dot %0.T, %16 : f32[2,1]                                   # dense1
    loss = %11
    d dense1.weight = %18
    d dense1.bias = %17
    ");
}

#[test]
fn line_simplified_with_momentum() {
    assert_snapshot!(Line::trainer(Sgd::new(0.1).momentum(0.9)).ir(Stage::Simplified), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,1]                              # dense1
    %2 = dot %0, %1 : f32[B,1]                                       # dense1
    %3 = param dense1.bias : f32[1]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,1]                                # dense1
    %5 = add %2, %4 : f32[B,1]                                       # dense1
    %6 = target target : f32[B,1]
    %7 = sub %5, %6 : f32[B,1]                                       # loss
    %8 = mul %7, %7 : f32[B,1]                                       # loss
    %9 = sum %8 over 0,1 : f32[]                                     # loss
    %10 = count B : f32[]                                            # loss
    %11 = div %9, %10 : f32[]                                        # loss
    %12 = div 1, %10 : f32[]                                         # loss
    %13 = broadcast %12 : f32[B,1]                                   # loss
    %14 = mul %13, %7 : f32[B,1]                                     # loss
    %15 = add %14, %14 : f32[B,1]                                    # loss
    %16 = sum %15 over 0 : f32[1]                                    # dense1
    %17 = dot %0.T, %15 : f32[2,1]                                   # dense1
    %18 = scalar rate : f32[]                                        # optimiser
    %19 = param dense1.weight.velocity : f32[2,1]                    # dense1.weight
    %20 = mul_add %19, 0.9, %17 : f32[2,1]                           # dense1.weight
    %21 = neg %18 : f32[]                                            # dense1.weight
    %22 = broadcast %21 : f32[2,1]                                   # dense1.weight
    %23 = mul_add %22, %20, %1 : f32[2,1]                            # dense1.weight
    %24 = param dense1.bias.velocity : f32[1]                        # dense1.bias
    %25 = mul_add %24, 0.9, %16 : f32[1]                             # dense1.bias
    %26 = broadcast %21 : f32[1]                                     # dense1.bias
    %27 = mul_add %26, %25, %3 : f32[1]                              # dense1.bias
    loss = %11
    dense1.weight <- %23
    dense1.weight.velocity <- %20
    dense1.bias <- %27
    dense1.bias.velocity <- %25
    ");
}

#[test]
fn line_fused_with_descent() {
    assert_snapshot!(Line::trainer(Sgd::new(0.1)).ir(Stage::Fused), @"
    kernel 0: B x 1
      %2 = dot x, dense1.weight : f32[B,1]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,1]                        # dense1
      %7 = sub %5, target : f32[B,1]                                 # loss
      %8 = mul %7, %7 : f32[B,1]                                     # loss
      %9 = sum %8 over 0,1 : f32[]                                   # loss
      %12 = div 1, B : f32[]                                         # loss
      %14 = mul %12.one, %7 : f32[B,1]                               # loss
      %15 = add %14, %14 : f32[B,1]                                  # loss
      %16 = sum %15 over 0 : f32[1]                                  # dense1
      keep %15
    kernel 1: 1 x 1
      %11 = div %9, B : f32[]                                        # loss
      keep %11
    check that the loss is finite
    kernel 2: 2 x 1
      %17 = dot x.T, %15 : f32[2,1]                                  # dense1
      %19 = neg rate : f32[]                                         # dense1.weight
      %21 = mul_add %19.one, %17, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %21
    kernel 3: 1 x 1
      %19 = neg rate : f32[]                                         # dense1.weight
      %23 = mul_add %19.one, %16, dense1.bias : f32[1]               # dense1.bias
      dense1.bias <- %23
    ");
}

#[test]
fn line_fused_with_momentum() {
    assert_snapshot!(Line::trainer(Sgd::new(0.1).momentum(0.9)).ir(Stage::Fused), @"
    kernel 0: B x 1
      %2 = dot x, dense1.weight : f32[B,1]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,1]                        # dense1
      %7 = sub %5, target : f32[B,1]                                 # loss
      %8 = mul %7, %7 : f32[B,1]                                     # loss
      %9 = sum %8 over 0,1 : f32[]                                   # loss
      %12 = div 1, B : f32[]                                         # loss
      %14 = mul %12.one, %7 : f32[B,1]                               # loss
      %15 = add %14, %14 : f32[B,1]                                  # loss
      %16 = sum %15 over 0 : f32[1]                                  # dense1
      keep %15
    kernel 1: 1 x 1
      %11 = div %9, B : f32[]                                        # loss
      keep %11
    check that the loss is finite
    kernel 2: 2 x 1
      %17 = dot x.T, %15 : f32[2,1]                                  # dense1
      %20 = mul_add dense1.weight.velocity, 0.9, %17 : f32[2,1]      # dense1.weight
      %21 = neg rate : f32[]                                         # dense1.weight
      %23 = mul_add %21.one, %20, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %23
      dense1.weight.velocity <- %20
    kernel 3: 1 x 1
      %21 = neg rate : f32[]                                         # dense1.weight
      %25 = mul_add dense1.bias.velocity, 0.9, %16 : f32[1]          # dense1.bias
      %27 = mul_add %21.one, %25, dense1.bias : f32[1]               # dense1.bias
      dense1.bias <- %27
      dense1.bias.velocity <- %25
    ");
}

#[test]
fn line_fused_with_adam_is_one_kernel_a_parameter() {
    assert_snapshot!(Line::trainer(Adam::new(0.1)).ir(Stage::Fused), @"
    kernel 0: B x 1
      %2 = dot x, dense1.weight : f32[B,1]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,1]                        # dense1
      %7 = sub %5, target : f32[B,1]                                 # loss
      %8 = mul %7, %7 : f32[B,1]                                     # loss
      %9 = sum %8 over 0,1 : f32[]                                   # loss
      %12 = div 1, B : f32[]                                         # loss
      %14 = mul %12.one, %7 : f32[B,1]                               # loss
      %15 = add %14, %14 : f32[B,1]                                  # loss
      %16 = sum %15 over 0 : f32[1]                                  # dense1
      keep %15
    kernel 1: 1 x 1
      %11 = div %9, B : f32[]                                        # loss
      keep %11
    check that the loss is finite
    kernel 2: 2 x 1
      %17 = dot x.T, %15 : f32[2,1]                                  # dense1
      %23 = mul %17, 0.1 : f32[2,1]                                  # dense1.weight
      %24 = mul_add dense1.weight.m, 0.9, %23 : f32[2,1]             # dense1.weight
      %25 = mul %17, %17 : f32[2,1]                                  # dense1.weight
      %26 = mul %25, 0.001 : f32[2,1]                                # dense1.weight
      %27 = mul_add dense1.weight.v, 0.999, %26 : f32[2,1]           # dense1.weight
      %28 = sqrt %27 : f32[2,1]                                      # dense1.weight
      %29 = mul_add %28, root_correction, 1e-8 : f32[2,1]            # dense1.weight
      %30 = div %24, %29 : f32[2,1]                                  # dense1.weight
      %31 = neg step_size : f32[]                                    # dense1.weight
      %33 = mul_add %31.one, %30, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %33
      dense1.weight.m <- %24
      dense1.weight.v <- %27
    kernel 3: 1 x 1
      %31 = neg step_size : f32[]                                    # dense1.weight
      %37 = mul %16, 0.1 : f32[1]                                    # dense1.bias
      %38 = mul_add dense1.bias.m, 0.9, %37 : f32[1]                 # dense1.bias
      %39 = mul %16, %16 : f32[1]                                    # dense1.bias
      %40 = mul %39, 0.001 : f32[1]                                  # dense1.bias
      %41 = mul_add dense1.bias.v, 0.999, %40 : f32[1]               # dense1.bias
      %42 = sqrt %41 : f32[1]                                        # dense1.bias
      %43 = mul_add %42, root_correction, 1e-8 : f32[1]              # dense1.bias
      %44 = div %38, %43 : f32[1]                                    # dense1.bias
      %46 = mul_add %31.one, %44, dense1.bias : f32[1]               # dense1.bias
      dense1.bias <- %46
      dense1.bias.m <- %38
      dense1.bias.v <- %41
    ");
}

#[test]
fn line_simplified_with_adam() {
    assert_snapshot!(Line::trainer(Adam::new(0.1)).ir(Stage::Simplified));
}

#[test]
fn line_plan_with_adam() {
    assert_snapshot!(Line::trainer(Adam::new(0.1)).max_batch(32).ir(Stage::Plan), @"
    max batch 32
    arena 2.6 KiB, without sharing 0.3 KiB
    parameters 0.4 KiB
    kernel 0: B x 1, 128 rows at a time
      %9                       at 0
      %15                      at 16
      %16                      at 48
      partial %9               at 64
      partial %16              at 96
      lanes %9                 at 80
      block of the product     at 112
    kernel 1: 1 x 1, 1 rows at a time
      %11                      at 64
    kernel 2: 2 x 1, 2 rows at a time
      block of the product     at 0
    kernel 3: 1 x 1, 1 rows at a time
    ");
}

#[test]
fn line_clif_with_adam() {
    assert_snapshot!(Line::trainer(Adam::new(0.1)).max_batch(32).ir(Stage::Clif));
}

#[test]
fn line_asm_of_inference() {
    assert_snapshot!(Line::predictor().max_batch(32).ir(Stage::Asm));
}

#[test]
fn line_asm_of_inference_on_aarch64() {
    let graph = simplified(Line::DEFINITION, Purpose::Predict).expect("the network is sound");
    let isa = isa_by_name("aarch64-unknown-linux-gnu").expect("tests have Cranelift's aarch64");
    assert_snapshot!(text_for(&fuse(&graph), 32, Text::Asm, isa).expect("it compiles"));
}

#[test]
fn every_network_compiles_for_aarch64() {
    for definition in [Line::DEFINITION, Mlp::DEFINITION, Norm::DEFINITION, Sparse::DEFINITION, TanhNorm::DEFINITION] {
        for purpose in [Purpose::Train(&Adam::new(0.1)), Purpose::Evaluate, Purpose::Predict] {
            let graph = simplified(definition, purpose).expect("the network is sound");
            let isa = isa_by_name("aarch64-unknown-linux-gnu").expect("tests have Cranelift's aarch64");
            let text = text_for(&fuse(&graph), 32, Text::Asm, isa);
            assert!(text.is_ok_and(|text| text.contains("ret")), "{} for {purpose:?}", definition.name);
        }
    }
}

// ---- A hidden layer -------------------------------------------------------------------------------------------------

#[test]
fn mlp_static() {
    assert_snapshot!(Mlp::ir(Stage::Static), @"
    network Mlp<x: f32[B,2] -> y: f32[B,1]>
      dense1  Dense(3)  f32[B,3]  9 parameters
      tanh1   tanh      f32[B,3]
      dense2  Dense(1)  f32[B,1]  4 parameters
      loss(target: f32[B,1]) = mse(y, target)
      13 parameters
    ");
}

#[test]
fn mlp_forward() {
    assert_snapshot!(Mlp::ir(Stage::Forward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,3]                              # dense1
    %2 = dot %0, %1 : f32[B,3]                                       # dense1
    %3 = param dense1.bias : f32[3]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,3]                                # dense1
    %5 = add %2, %4 : f32[B,3]                                       # dense1
    %6 = tanh %5 : f32[B,3]                                          # tanh1
    %7 = param dense2.weight : f32[3,1]                              # dense2
    %8 = dot %6, %7 : f32[B,1]                                       # dense2
    %9 = param dense2.bias : f32[1]                                  # dense2
    %10 = broadcast %9 to 1 : f32[B,1]                               # dense2
    %11 = add %8, %10 : f32[B,1]                                     # dense2
    %12 = target target : f32[B,1]
    %13 = sub %11, %12 : f32[B,1]                                    # loss
    %14 = mul %13, %13 : f32[B,1]                                    # loss
    %15 = sum %14 over 0,1 : f32[]                                   # loss
    %16 = count B : f32[]                                            # loss
    %17 = div %15, %16 : f32[]                                       # loss
    output y = %11
    loss = %17
    ");
}

#[test]
fn mlp_backward() {
    assert_snapshot!(Mlp::ir(Stage::Backward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,3]                              # dense1
    %2 = dot %0, %1 : f32[B,3]                                       # dense1
    %3 = param dense1.bias : f32[3]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,3]                                # dense1
    %5 = add %2, %4 : f32[B,3]                                       # dense1
    %6 = tanh %5 : f32[B,3]                                          # tanh1
    %7 = param dense2.weight : f32[3,1]                              # dense2
    %8 = dot %6, %7 : f32[B,1]                                       # dense2
    %9 = param dense2.bias : f32[1]                                  # dense2
    %10 = broadcast %9 to 1 : f32[B,1]                               # dense2
    %11 = add %8, %10 : f32[B,1]                                     # dense2
    %12 = target target : f32[B,1]
    %13 = sub %11, %12 : f32[B,1]                                    # loss
    %14 = mul %13, %13 : f32[B,1]                                    # loss
    %15 = sum %14 over 0,1 : f32[]                                   # loss
    %16 = count B : f32[]                                            # loss
    %17 = div %15, %16 : f32[]                                       # loss
    %18 = div 1, %16 : f32[]                                         # loss
    %19 = broadcast %18 : f32[B,1]                                   # loss
    %20 = mul %19, %13 : f32[B,1]                                    # loss
    %21 = mul %19, %13 : f32[B,1]                                    # loss
    %22 = add %20, %21 : f32[B,1]                                    # loss
    %23 = sum %22 over 0 : f32[1]                                    # dense2
    %24 = dot %22, %7.T : f32[B,3]                                   # dense2
    %25 = dot %6.T, %22 : f32[3,1]                                   # dense2
    %26 = mul %6, %6 : f32[B,3]                                      # tanh1
    %27 = sub 1, %26 : f32[B,3]                                      # tanh1
    %28 = mul %24, %27 : f32[B,3]                                    # tanh1
    %29 = sum %28 over 0 : f32[3]                                    # dense1
    %30 = dot %0.T, %28 : f32[2,3]                                   # dense1
    loss = %17
    d dense1.weight = %30
    d dense1.bias = %29
    d dense2.weight = %25
    d dense2.bias = %23
    ");
}

#[test]
fn mlp_simplified() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).ir(Stage::Simplified), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,3]                              # dense1
    %2 = dot %0, %1 : f32[B,3]                                       # dense1
    %3 = param dense1.bias : f32[3]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,3]                                # dense1
    %5 = add %2, %4 : f32[B,3]                                       # dense1
    %6 = tanh %5 : f32[B,3]                                          # tanh1
    %7 = param dense2.weight : f32[3,1]                              # dense2
    %8 = dot %6, %7 : f32[B,1]                                       # dense2
    %9 = param dense2.bias : f32[1]                                  # dense2
    %10 = broadcast %9 to 1 : f32[B,1]                               # dense2
    %11 = add %8, %10 : f32[B,1]                                     # dense2
    %12 = target target : f32[B,1]
    %13 = sub %11, %12 : f32[B,1]                                    # loss
    %14 = mul %13, %13 : f32[B,1]                                    # loss
    %15 = sum %14 over 0,1 : f32[]                                   # loss
    %16 = count B : f32[]                                            # loss
    %17 = div %15, %16 : f32[]                                       # loss
    %18 = div 1, %16 : f32[]                                         # loss
    %19 = broadcast %18 : f32[B,1]                                   # loss
    %20 = mul %19, %13 : f32[B,1]                                    # loss
    %21 = add %20, %20 : f32[B,1]                                    # loss
    %22 = sum %21 over 0 : f32[1]                                    # dense2
    %23 = dot %21, %7.T : f32[B,3]                                   # dense2
    %24 = dot %6.T, %21 : f32[3,1]                                   # dense2
    %25 = neg %6 : f32[B,3]                                          # tanh1
    %26 = mul_add %25, %6, 1 : f32[B,3]                              # tanh1
    %27 = mul %23, %26 : f32[B,3]                                    # tanh1
    %28 = sum %27 over 0 : f32[3]                                    # dense1
    %29 = dot %0.T, %27 : f32[2,3]                                   # dense1
    %30 = scalar rate : f32[]                                        # optimiser
    %31 = neg %30 : f32[]                                            # dense1.weight
    %32 = broadcast %31 : f32[2,3]                                   # dense1.weight
    %33 = mul_add %32, %29, %1 : f32[2,3]                            # dense1.weight
    %34 = broadcast %31 : f32[3]                                     # dense1.bias
    %35 = mul_add %34, %28, %3 : f32[3]                              # dense1.bias
    %36 = broadcast %31 : f32[3,1]                                   # dense2.weight
    %37 = mul_add %36, %24, %7 : f32[3,1]                            # dense2.weight
    %38 = broadcast %31 : f32[1]                                     # dense2.bias
    %39 = mul_add %38, %22, %9 : f32[1]                              # dense2.bias
    loss = %17
    dense1.weight <- %33
    dense1.bias <- %35
    dense2.weight <- %37
    dense2.bias <- %39
    ");
}

#[test]
fn mlp_fused() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).ir(Stage::Fused), @"
    kernel 0: B x 3
      %2 = dot x, dense1.weight : f32[B,3]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,3]                        # dense1
      %6 = tanh %5 : f32[B,3]                                        # tanh1
      keep %6
    kernel 1: B x 1
      %8 = dot %6, dense2.weight : f32[B,1]                          # dense2
      %11 = add %8, dense2.bias.col : f32[B,1]                       # dense2
      %13 = sub %11, target : f32[B,1]                               # loss
      %14 = mul %13, %13 : f32[B,1]                                  # loss
      %15 = sum %14 over 0,1 : f32[]                                 # loss
      %18 = div 1, B : f32[]                                         # loss
      %20 = mul %18.one, %13 : f32[B,1]                              # loss
      %21 = add %20, %20 : f32[B,1]                                  # loss
      %22 = sum %21 over 0 : f32[1]                                  # dense2
      keep %21
    kernel 2: 1 x 1
      %17 = div %15, B : f32[]                                       # loss
      keep %17
    check that the loss is finite
    kernel 3: B x 3
      %23 = dot %21.row, dense2.weight.T : f32[B,3]                  # dense2
      %25 = neg %6 : f32[B,3]                                        # tanh1
      %26 = mul_add %25, %6, 1 : f32[B,3]                            # tanh1
      %27 = mul %23, %26 : f32[B,3]                                  # tanh1
      %28 = sum %27 over 0 : f32[3]                                  # dense1
      keep %27
    kernel 4: 3 x 1
      %24 = dot %6.T, %21 : f32[3,1]                                 # dense2
      %31 = neg rate : f32[]                                         # dense1.weight
      %37 = mul_add %31.one, %24, dense2.weight : f32[3,1]           # dense2.weight
      dense2.weight <- %37
    kernel 5: 2 x 3
      %29 = dot x.T, %27 : f32[2,3]                                  # dense1
      %31 = neg rate : f32[]                                         # dense1.weight
      %33 = mul_add %31.one, %29, dense1.weight : f32[2,3]           # dense1.weight
      dense1.weight <- %33
    kernel 6: 1 x 3
      %31 = neg rate : f32[]                                         # dense1.weight
      %35 = mul_add %31.one, %28, dense1.bias : f32[3]               # dense1.bias
      dense1.bias <- %35
    kernel 7: 1 x 1
      %31 = neg rate : f32[]                                         # dense1.weight
      %39 = mul_add %31.one, %22, dense2.bias : f32[1]               # dense2.bias
      dense2.bias <- %39
    ");
}

#[test]
fn mlp_plan() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Plan), @"
    max batch 32
    arena 3.5 KiB, without sharing 1.1 KiB
    parameters 0.2 KiB
    kernel 0: B x 3, 128 rows at a time
      %6                       at 0
      block of the product     at 96
    kernel 1: B x 1, 128 rows at a time
      %15                      at 96
      %21                      at 112
      %22                      at 144
      partial %15              at 160
      partial %22              at 192
      lanes %15                at 176
      block of the product     at 208
    kernel 2: 1 x 1, 1 rows at a time
      %17                      at 160
    kernel 3: B x 3, 128 rows at a time
      %27                      at 176
      %28                      at 96
      partial %28              at 272
      block of the product     at 288
    kernel 4: 3 x 1, 3 rows at a time
      block of the product     at 272
    kernel 5: 2 x 3, 2 rows at a time
      block of the product     at 0
    kernel 6: 1 x 3, 1 rows at a time
    kernel 7: 1 x 1, 1 rows at a time
    ");
}

#[test]
fn mlp_clif() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Clif));
}

#[test]
fn mlp_asm() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Asm));
}

// ---- A batch norm ---------------------------------------------------------------------------------------------------

#[test]
fn norm_static() {
    assert_snapshot!(Norm::ir(Stage::Static), @"
    network Norm<x: f32[B,2] -> logits: f32[B,3]>
      dense1       Dense(4, bias = false)  f32[B,4]   8 parameters
      batch_norm1  BatchNorm(every = 2)    f32[B,4]   8 parameters
      relu1        relu                    f32[B,4]
      dense2       Dense(3)                f32[B,3]  15 parameters
      loss(label: u8[B]) = cross_entropy(logits, label)
      metric accuracy = mean(argmax(logits) == label)
      31 parameters
    ");
}

#[test]
fn norm_forward() {
    assert_snapshot!(Norm::ir(Stage::Forward));
}

#[test]
fn norm_backward() {
    assert_snapshot!(Norm::ir(Stage::Backward));
}

#[test]
fn norm_simplified() {
    assert_snapshot!(Norm::trainer(Adam::new(1e-3)).ir(Stage::Simplified));
}

#[test]
fn norm_fused() {
    assert_snapshot!(Norm::trainer(Adam::new(1e-3)).ir(Stage::Fused));
}

#[test]
fn norm_plan() {
    assert_snapshot!(Norm::trainer(Adam::new(1e-3)).max_batch(32).ir(Stage::Plan));
}

#[test]
fn norm_clif() {
    assert_snapshot!(Norm::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Clif));
}

#[test]
fn norm_of_inference_forward() {
    assert_snapshot!(Norm::predictor().ir(Stage::Forward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,4]                              # dense1
    %2 = dot %0, %1 : f32[B,4]                                       # dense1
    %3 = param batch_norm1.running_var : f32[4]                      # batch_norm1
    %4 = add %3, 1e-5 : f32[4]                                       # batch_norm1
    %5 = rsqrt %4 : f32[4]                                           # batch_norm1
    %6 = param batch_norm1.running_mean : f32[4]                     # batch_norm1
    %7 = param batch_norm1.gamma : f32[4]                            # batch_norm1
    %8 = param batch_norm1.beta : f32[4]                             # batch_norm1
    %9 = mul %7, %5 : f32[4]                                         # batch_norm1
    %10 = mul %6, %9 : f32[4]                                        # batch_norm1
    %11 = sub %8, %10 : f32[4]                                       # batch_norm1
    %12 = broadcast %9 to 1 : f32[B,4]                               # batch_norm1
    %13 = broadcast %11 to 1 : f32[B,4]                              # batch_norm1
    %14 = mul %2, %12 : f32[B,4]                                     # batch_norm1
    %15 = add %14, %13 : f32[B,4]                                    # batch_norm1
    %16 = max 0, %15 : f32[B,4]                                      # relu1
    %17 = param dense2.weight : f32[4,3]                             # dense2
    %18 = dot %16, %17 : f32[B,3]                                    # dense2
    %19 = param dense2.bias : f32[3]                                 # dense2
    %20 = broadcast %19 to 1 : f32[B,3]                              # dense2
    %21 = add %18, %20 : f32[B,3]                                    # dense2
    %22 = target label : u8[B]
    %23 = detach %21 : f32[B,3]                                      # loss
    %24 = max %23 over 1 : f32[B]                                    # loss
    %25 = broadcast %24 to 0 : f32[B,3]                              # loss
    %26 = sub %21, %25 : f32[B,3]                                    # loss
    %27 = exp %26 : f32[B,3]                                         # loss
    %28 = sum %27 over 1 : f32[B]                                    # loss
    %29 = ln %28 : f32[B]                                            # loss
    %30 = iota axis 1 : u32[B,3]                                     # loss
    %31 = broadcast %22 to 0 : u8[B,3]                               # loss
    %32 = index_eq %30, %31 : bool[B,3]                              # loss
    %33 = select %32, %26, 0 : f32[B,3]                              # loss
    %34 = sum %33 over 1 : f32[B]                                    # loss
    %35 = sub %29, %34 : f32[B]                                      # loss
    %36 = sum %35 over 0 : f32[]                                     # loss
    %37 = count B : f32[]                                            # loss
    %38 = div %36, %37 : f32[]                                       # loss
    %39 = detach %21 : f32[B,3]                                      # accuracy
    %40 = max %39 over 1 : f32[B]                                    # accuracy
    %41 = broadcast %40 to 0 : f32[B,3]                              # accuracy
    %42 = lt %39, %41 : bool[B,3]                                    # accuracy
    %43 = iota axis 1 : u32[B,3]                                     # accuracy
    %44 = to_float %43 : f32[B,3]                                    # accuracy
    %45 = neg %44 : f32[B,3]                                         # accuracy
    %46 = select %42, -inf, %45 : f32[B,3]                           # accuracy
    %47 = max %46 over 1 : f32[B]                                    # accuracy
    %48 = neg %47 : f32[B]                                           # accuracy
    %49 = to_index %48 : u32[B]                                      # accuracy
    %50 = index_eq %49, %22 : bool[B]                                # accuracy
    %51 = select %50, 1, 0 : f32[B]                                  # accuracy
    %52 = sum %51 over 0 : f32[]                                     # accuracy
    %53 = count B : f32[]                                            # accuracy
    %54 = div %52, %53 : f32[]                                       # accuracy
    output logits = %21
    loss = %38
    metric accuracy = %54
    ");
}

#[test]
fn norm_of_inference_simplified() {
    assert_snapshot!(Norm::predictor().ir(Stage::Simplified), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,4]                              # dense1
    %2 = dot %0, %1 : f32[B,4]                                       # dense1
    %3 = param batch_norm1.running_var : f32[4]                      # batch_norm1
    %4 = add %3, 1e-5 : f32[4]                                       # batch_norm1
    %5 = rsqrt %4 : f32[4]                                           # batch_norm1
    %6 = param batch_norm1.running_mean : f32[4]                     # batch_norm1
    %7 = param batch_norm1.gamma : f32[4]                            # batch_norm1
    %8 = param batch_norm1.beta : f32[4]                             # batch_norm1
    %9 = mul %7, %5 : f32[4]                                         # batch_norm1
    %10 = neg %6 : f32[4]                                            # batch_norm1
    %11 = mul_add %10, %9, %8 : f32[4]                               # batch_norm1
    %12 = broadcast %9 to 1 : f32[B,4]                               # batch_norm1
    %13 = broadcast %11 to 1 : f32[B,4]                              # batch_norm1
    %14 = mul_add %2, %12, %13 : f32[B,4]                            # batch_norm1
    %15 = max 0, %14 : f32[B,4]                                      # relu1
    %16 = param dense2.weight : f32[4,3]                             # dense2
    %17 = dot %15, %16 : f32[B,3]                                    # dense2
    %18 = param dense2.bias : f32[3]                                 # dense2
    %19 = broadcast %18 to 1 : f32[B,3]                              # dense2
    %20 = add %17, %19 : f32[B,3]                                    # dense2
    output logits = %20
    ");
}

#[test]
fn norm_of_inference_is_a_scale_and_a_shift_in_the_epilogue_of_the_product() {
    assert_snapshot!(Norm::predictor().ir(Stage::Fused), @"
    kernel 0: 1 x 4
      %4 = add batch_norm1.running_var, 1e-5 : f32[4]                # batch_norm1
      %5 = rsqrt %4 : f32[4]                                         # batch_norm1
      %9 = mul batch_norm1.gamma, %5 : f32[4]                        # batch_norm1
      %10 = neg batch_norm1.running_mean : f32[4]                    # batch_norm1
      %11 = mul_add %10, %9, batch_norm1.beta : f32[4]               # batch_norm1
      keep %9
      keep %11
    kernel 1: B x 4
      %2 = dot x, dense1.weight : f32[B,4]                           # dense1
      %14 = mul_add %2, %9.col, %11.col : f32[B,4]                   # batch_norm1
      %15 = max 0, %14 : f32[B,4]                                    # relu1
      keep %15
    kernel 2: B x 3
      %17 = dot %15, dense2.weight : f32[B,3]                        # dense2
      %20 = add %17, dense2.bias.col : f32[B,3]                      # dense2
      keep %20
    ");
}

#[test]
fn norm_of_inference_plan() {
    assert_snapshot!(Norm::predictor().max_batch(32).ir(Stage::Plan), @"
    max batch 32
    arena 3.6 KiB, without sharing 1.0 KiB
    parameters 0.4 KiB
    kernel 0: 1 x 4, 1 rows at a time
      %9                       at 0
      %11                      at 16
    kernel 1: B x 4, 128 rows at a time
      %15                      at 32
      block of the product     at 160
    kernel 2: B x 3, 128 rows at a time
      %20                      at 160
      block of the product     at 256
    ");
}

#[test]
fn norm_of_inference_clif() {
    assert_snapshot!(Norm::predictor().max_batch(32).ir(Stage::Clif));
}

/// The output of a network in training, without loss and update.
fn training_forward<N: Network>() -> Fused {
    let mut graph = lower(N::DEFINITION, Mode::Train).expect("the network is sound");
    graph.outputs.retain(|output| output.role == Role::Output(0));
    fuse(&simplify(&graph))
}

/// Ioffe & Szegedy 2015, Algorithm 1: mini-batch mean, mini-batch variance, normalise, scale and shift.
#[test]
fn batch_norm_reads_like_algorithm_1() {
    assert_snapshot!(training_forward::<JustNorm>(), @"
    kernel 0: B x 3
      %1 = sum x over 0 : f32[3]                                     # batch_norm1
      %5 = variance x over 0 : f32[3]                                # batch_norm1
    kernel 1: 1 x 3
      %4 = div %1, B : f32[3]                                        # batch_norm1
      %6 = add %5, 1e-5 : f32[3]                                     # batch_norm1
      %7 = rsqrt %6 : f32[3]                                         # batch_norm1
      keep %4
      keep %7
    kernel 2: B x 3
      %14 = sub x, %4.col : f32[B,3]                                 # batch_norm1
      %15 = mul %14, %7.col : f32[B,3]                               # batch_norm1
      %16 = mul_add %15, batch_norm1.gamma.col, batch_norm1.beta.col : f32[B,3] # batch_norm1
      keep %16
    ");
}

/// Ioffe & Szegedy 2015, section 3: the gradients by the input, by gamma and by beta.
#[test]
fn the_gradient_of_batch_norm_takes_two_passes() {
    let mut graph = lower(JustNorm::DEFINITION, Mode::Train).expect("the network is sound");
    graph.outputs.retain(|output| output.role == Role::Loss);
    let wanted: Vec<usize> = trainable(&graph).collect();
    assert_snapshot!(fuse(&simplify(&differentiate(&graph, &wanted))), @"
    kernel 0: B x 3
      %1 = sum x over 0 : f32[3]                                     # batch_norm1
      %5 = variance x over 0 : f32[3]                                # batch_norm1
    kernel 1: 1 x 3
      %4 = div %1, B : f32[3]                                        # batch_norm1
      %6 = add %5, 1e-5 : f32[3]                                     # batch_norm1
      %7 = rsqrt %6 : f32[3]                                         # batch_norm1
      keep %4
      keep %7
    kernel 2: B x 3
      %14 = sub x, %4.col : f32[B,3]                                 # batch_norm1
      %15 = mul %14, %7.col : f32[B,3]                               # batch_norm1
      %16 = mul_add %15, batch_norm1.gamma.col, batch_norm1.beta.col : f32[B,3] # batch_norm1
      %18 = sub %16, target : f32[B,3]                               # loss
      %19 = mul %18, %18 : f32[B,3]                                  # loss
      %20 = sum %19 over 0,1 : f32[]                                 # loss
      %23 = div 1, 3*B : f32[]                                       # loss
      %25 = mul %23.one, %18 : f32[B,3]                              # loss
      %26 = add %25, %25 : f32[B,3]                                  # loss
      %27 = sum %26 over 0 : f32[3]                                  # batch_norm1
      %28 = mul %14, %26 : f32[B,3]                                  # batch_norm1
      %29 = sum %28 over 0 : f32[3]                                  # batch_norm1
    kernel 3: 1 x 1
      %22 = div %20, 3*B : f32[]                                     # loss
      keep %22
    check that the loss is finite
    kernel 4: 1 x 3
      %30 = mul %29, %7 : f32[3]                                     # batch_norm1
      keep %30
    ");
}

// ---- A loss over the output and a named value -----------------------------------------------------------------------

#[test]
fn sparse_static() {
    assert_snapshot!(Sparse::ir(Stage::Static), @"
    network Sparse<x: f32[B,2] -> y: f32[B,1]>
      dense1  Dense(3)  f32[B,3]  9 parameters
      h       relu      f32[B,3]
      dense2  Dense(1)  f32[B,1]  4 parameters
      loss(target: f32[B,1]) = mse(y, target) + 0.01 * mean(h * h)
      13 parameters
    ");
}

#[test]
fn sparse_forward() {
    assert_snapshot!(Sparse::ir(Stage::Forward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,3]                              # dense1
    %2 = dot %0, %1 : f32[B,3]                                       # dense1
    %3 = param dense1.bias : f32[3]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,3]                                # dense1
    %5 = add %2, %4 : f32[B,3]                                       # dense1
    %6 = max 0, %5 : f32[B,3]                                        # h
    %7 = param dense2.weight : f32[3,1]                              # dense2
    %8 = dot %6, %7 : f32[B,1]                                       # dense2
    %9 = param dense2.bias : f32[1]                                  # dense2
    %10 = broadcast %9 to 1 : f32[B,1]                               # dense2
    %11 = add %8, %10 : f32[B,1]                                     # dense2
    %12 = target target : f32[B,1]
    %13 = sub %11, %12 : f32[B,1]                                    # loss
    %14 = mul %13, %13 : f32[B,1]                                    # loss
    %15 = sum %14 over 0,1 : f32[]                                   # loss
    %16 = count B : f32[]                                            # loss
    %17 = div %15, %16 : f32[]                                       # loss
    %18 = mul %6, %6 : f32[B,3]                                      # loss
    %19 = sum %18 over 0,1 : f32[]                                   # loss
    %20 = count 3*B : f32[]                                          # loss
    %21 = div %19, %20 : f32[]                                       # loss
    %22 = mul 0.01, %21 : f32[]                                      # loss
    %23 = add %17, %22 : f32[]                                       # loss
    output y = %11
    loss = %23
    ");
}

#[test]
fn sparse_backward() {
    assert_snapshot!(Sparse::ir(Stage::Backward));
}

#[test]
fn sparse_simplified() {
    assert_snapshot!(Sparse::trainer(Sgd::new(0.1)).ir(Stage::Simplified));
}

#[test]
fn sparse_fused() {
    assert_snapshot!(Sparse::trainer(Sgd::new(0.1)).ir(Stage::Fused), @"
    kernel 0: B x 3
      %2 = dot x, dense1.weight : f32[B,3]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,3]                        # dense1
      %6 = max 0, %5 : f32[B,3]                                      # h
      %18 = mul %6, %6 : f32[B,3]                                    # loss
      %19 = sum %18 over 0,1 : f32[]                                 # loss
      keep %6
      keep %5
    kernel 1: B x 1
      %8 = dot %6, dense2.weight : f32[B,1]                          # dense2
      %11 = add %8, dense2.bias.col : f32[B,1]                       # dense2
      %13 = sub %11, target : f32[B,1]                               # loss
      %14 = mul %13, %13 : f32[B,1]                                  # loss
      %15 = sum %14 over 0,1 : f32[]                                 # loss
      %27 = div 1, B : f32[]                                         # loss
      %29 = mul %27.one, %13 : f32[B,1]                              # loss
      %30 = add %29, %29 : f32[B,1]                                  # loss
      %31 = sum %30 over 0 : f32[1]                                  # dense2
      keep %30
    kernel 2: 1 x 1
      %17 = div %15, B : f32[]                                       # loss
      %21 = div %19, 3*B : f32[]                                     # loss
      %22 = mul_add 0.01, %21, %17 : f32[]                           # loss
      keep %22
    check that the loss is finite
    kernel 3: B x 3
      %32 = dot %30.row, dense2.weight.T : f32[B,3]                  # dense2
      %23 = div 0.01, 3*B : f32[]                                    # loss
      %25 = mul %23.one, %6 : f32[B,3]                               # loss
      %26 = add %25, %25 : f32[B,3]                                  # loss
      %34 = add %26, %32 : f32[B,3]                                  # dense2
      %35 = gt %5, 0 : bool[B,3]                                     # h
      %36 = select %35, %34, 0 : f32[B,3]                            # h
      %37 = sum %36 over 0 : f32[3]                                  # dense1
      keep %36
    kernel 4: 3 x 1
      %33 = dot %6.T, %30 : f32[3,1]                                 # dense2
      %40 = neg rate : f32[]                                         # dense1.weight
      %46 = mul_add %40.one, %33, dense2.weight : f32[3,1]           # dense2.weight
      dense2.weight <- %46
    kernel 5: 2 x 3
      %38 = dot x.T, %36 : f32[2,3]                                  # dense1
      %40 = neg rate : f32[]                                         # dense1.weight
      %42 = mul_add %40.one, %38, dense1.weight : f32[2,3]           # dense1.weight
      dense1.weight <- %42
    kernel 6: 1 x 3
      %40 = neg rate : f32[]                                         # dense1.weight
      %44 = mul_add %40.one, %37, dense1.bias : f32[3]               # dense1.bias
      dense1.bias <- %44
    kernel 7: 1 x 1
      %40 = neg rate : f32[]                                         # dense1.weight
      %48 = mul_add %40.one, %31, dense2.bias : f32[1]               # dense2.bias
      dense2.bias <- %48
    ");
}

#[test]
fn sparse_plan() {
    assert_snapshot!(Sparse::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Plan), @"
    max batch 32
    arena 3.9 KiB, without sharing 1.6 KiB
    parameters 0.2 KiB
    kernel 0: B x 3, 128 rows at a time
      %6                       at 0
      %19                      at 96
      %5                       at 112
      partial %19              at 208
      lanes %19                at 224
      block of the product     at 240
    kernel 1: B x 1, 128 rows at a time
      %15                      at 208
      %30                      at 224
      %31                      at 256
      partial %15              at 272
      partial %31              at 304
      lanes %15                at 288
      block of the product     at 320
    kernel 2: 1 x 1, 1 rows at a time
      %22                      at 272
    kernel 3: B x 3, 128 rows at a time
      %36                      at 288
      %37                      at 96
      partial %37              at 208
      block of the product     at 384
    kernel 4: 3 x 1, 3 rows at a time
      block of the product     at 112
    kernel 5: 2 x 3, 2 rows at a time
      block of the product     at 0
    kernel 6: 1 x 3, 1 rows at a time
    kernel 7: 1 x 1, 1 rows at a time
    ");
}

#[test]
fn sparse_clif() {
    assert_snapshot!(Sparse::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Clif));
}

// ---- How often memory is passed over --------------------------------------------------------------------------------

/// The kernels that go over all activations of a batch norm, before the loss is known and after.
fn passes<N: Network>(layer: &str, columns: usize) -> (Vec<usize>, Vec<usize>) {
    let graph = simplified(N::DEFINITION, Purpose::Train(&Adam::new(1e-3))).expect("the network is sound");
    let fused = fuse(&graph);
    let domain = Domain { rows: Dim::B, cols: columns };
    let of_layer = |index: &usize| {
        let kernel = &fused.kernels[*index];
        kernel.domain == domain && kernel.steps.iter().any(|step| &*fused.graph[step.node].layer == layer)
    };
    let check = fused.check.expect("a training step checks its loss");
    (0..fused.kernels.len()).filter(of_layer).partition(|&index| index < check)
}

#[test]
fn batch_norm_takes_two_passes_forward_and_two_backward() {
    let (forward, backward) = passes::<Norm>("batch_norm1", 4);
    assert_eq!(
        (forward.len(), backward.len()),
        (2, 2),
        "{forward:?}, {backward:?} of\n{}",
        Norm::trainer(Adam::new(1e-3)).ir(Stage::Fused)
    );
    let (forward, backward) = passes::<TanhNorm>("batch_norm1", 4);
    assert_eq!(
        (forward.len(), backward.len()),
        (2, 2),
        "{forward:?}, {backward:?} of\n{}",
        TanhNorm::trainer(Adam::new(1e-3)).ir(Stage::Fused)
    );
}

/// The kernels that read or write a slot.
fn kernels_at(fused: &Fused, slot: usize) -> Vec<usize> {
    let graph: &Graph = &fused.graph;
    let is_slot = |mut id: gradloom_runtime::ir::NodeId| {
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
    let optimisers: [&dyn Optimiser; 2] = [&Adam::new(1e-3), &Sgd::new(0.1).momentum(0.9)];
    for optimiser in optimisers {
        for definition in
            [Line::DEFINITION, Mlp::DEFINITION, Norm::DEFINITION, Sparse::DEFINITION, TanhNorm::DEFINITION]
        {
            let graph = simplified(definition, Purpose::Train(optimiser)).expect("the network is sound");
            let fused = fuse(&graph);
            for (slot, param) in fused.graph.slots.params.iter().enumerate() {
                if matches!(param.kind, SlotKind::Optimiser(_)) {
                    let passes = kernels_at(&fused, slot);
                    assert_eq!(passes.len(), 1, "{}: {} in kernels {passes:?}", definition.name, param.name);
                }
            }
        }
    }
}
