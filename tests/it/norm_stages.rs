//! What every stage prints of a batch norm between two products, in training and in inference.
//!
//! Short texts stand here, long ones in `snapshots/`, as in `stages`.

use gradloom::{Adam, Sgd, Stage};
use insta::assert_snapshot;

use crate::stages::Norm;

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
    assert_snapshot!(Norm::predictor().ir(Stage::Forward));
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
    %10 = broadcast %6 to 1 : f32[B,4]                               # batch_norm1
    %11 = broadcast %9 to 1 : f32[B,4]                               # batch_norm1
    %12 = broadcast %8 to 1 : f32[B,4]                               # batch_norm1
    %13 = sub %2, %10 : f32[B,4]                                     # batch_norm1
    %14 = mul_add %13, %11, %12 : f32[B,4]                           # batch_norm1
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
fn norm_of_inference_is_in_the_epilogue_of_the_product() {
    assert_snapshot!(Norm::predictor().ir(Stage::Fused), @"
    kernel 0: 1 x 4, 12 FLOP, 48 bytes
      %4 = add batch_norm1.running_var, 1e-5 : f32[4]                # batch_norm1
      %5 = rsqrt %4 : f32[4]                                         # batch_norm1
      %9 = mul batch_norm1.gamma, %5 : f32[4]                        # batch_norm1
      materialize %9                                                 # for kernel 1: of parameters alone
    kernel 1: B x 4, 32*B FLOP, 24*B + 80 bytes                      # a matmul
      %2 = dot x, dense1.weight : f32[B,4]                           # dense1
      %13 = sub %2, batch_norm1.running_mean.col : f32[B,4]          # batch_norm1
      %14 = mul_add %13, %9.col, batch_norm1.beta.col : f32[B,4]     # batch_norm1
      %15 = max 0, %14 : f32[B,4]                                    # relu1
      materialize %15                                                # for kernel 2: a matmul reads memory
    kernel 2: B x 3, 27*B FLOP, 28*B + 60 bytes                      # a matmul
      %17 = dot %15, dense2.weight : f32[B,3]                        # dense2
      %20 = add %17, dense2.bias.col : f32[B,3]                      # dense2
      materialize %20                                                # output logits
    in all: 3 kernels, 59*B + 12 FLOP, 52*B + 188 bytes
    unfused: 59*B + 12 FLOP, 172*B + 252 bytes
    ");
}

#[test]
fn norm_of_inference_plan() {
    assert_snapshot!(Norm::predictor().max_batch(32).ir(Stage::Plan), @"
    batches of up to 32 rows
    parameters 0.4 KiB
    arena 0.9 KiB, without sharing 0.9 KiB
    scratch 0.5 KiB a thread
    made of parameters 0.1 KiB
    kernel 0: 1 x 4
      runs when a parameter has changed: it reads nothing else
      elements 4 vectors of 4 at a time: 4 in a run
      on one thread: about 2 ns
      %9                     kept 0..4                               # batch_norm1
    kernel 1: B x 4
      matmul written out: 256 multiplications
      elements 4 vectors of 4 at a time: 4 in a run
      on one thread: about 56 ns
      %15                    0..128, to kernel 2                     # relu1
      block of %2            scratch 0..128                          # dense1
    kernel 2: B x 3
      matmul written out: 384 multiplications
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 27 ns
      %20                    128..224, a result                      # dense2
      block of %17           scratch 0..96                           # dense2
    ");
}

#[test]
fn norm_of_inference_clif() {
    assert_snapshot!(Norm::predictor().max_batch(32).ir(Stage::Clif));
}

#[test]
fn norm_of_inference_asm() {
    assert_snapshot!(Norm::predictor().max_batch(32).ir(Stage::Asm));
}

// ---- A loss over the output and a named value -----------------------------------------------------------------------
