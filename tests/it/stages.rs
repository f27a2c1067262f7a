//! What every stage prints, for networks that each show something.
//!
//! Short texts stand here, long ones in `snapshots/`. CLIF and machine code are those of a fixed machine, x86-64 with AVX2
//! and FMA, whatever machine the tests run on.

use gradloom::{Adam, Sgd, Stage, network};
use insta::assert_snapshot;

network! {
    /// One product: what an optimizer does to it is most of its step.
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
    /// A norm along rows, and a rectifier that learns its slope.
    pub Rows<x: [B, 2] -> y: [B, 1]> { Dense(4), LayerNorm, prelu, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

network! {
    /// Every activation, in vectors and in the rest of a row: not to be read, only to be compiled.
    pub Everything<x: [B, 3, 7] -> logits: [B, 19]> {
        flatten, Dense(19), BatchNorm, LayerNorm, Dropout(0.3), step, sigmoid, tanh, relu, leaky_relu, prelu, elu, celu, selu, gelu,
        gelu(approx = tanh), silu, softplus, mish, hard_sigmoid, hard_swish, hard_tanh, softsign, softmax,
        log_softmax as h, Dense(19),
    }
    loss(label: [u8; B], target: [B, 19]) = cross_entropy(logits, label) + bce_with_logits(h, target) + mse(h, target)
        + cross_entropy(logits, label, label_smoothing = 0.1) + nll(h, label) + kl_div(h, target * target) + hinge(h, target)
        + mae(h, target) + huber(h, target, delta = 0.5) + sqrt(abs(max(h))) + ln(1.0 + exp(mean(h)));
    metric accuracy = mean(argmax(logits) == label);
    metric best = top_k(logits, label, k = 3);
    metric fit = r2(h, target) + mean_abs_error(h, target);
    metric found = precision(logits, label) + recall(logits, label);
    metric size = l1(dense1.weight) + l2(dense2.weight);
    metric above = mean(h > target) + mean(h >= 0.5) - mean(h < target) * mean(h <= 0.5) / sum(h != target);
}

// ---- Rows: a layer norm, and a parameter that is one number ---------------------------------------------------------

#[test]
fn rows_static() {
    assert_snapshot!(Rows::ir(Stage::Static), @"
    network Rows<x: f32[B,2] -> y: f32[B,1]>
      dense1       Dense(4)   f32[B,4]  12 parameters
      layer_norm1  LayerNorm  f32[B,4]   8 parameters
      prelu1       prelu      f32[B,4]   1 parameter
      dense2       Dense(1)   f32[B,1]   5 parameters
      loss(target: f32[B,1]) = mse(y, target)
      26 parameters
    ");
}

#[test]
fn rows_forward() {
    assert_snapshot!(Rows::ir(Stage::Forward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,4]                              # dense1
    %2 = dot %0, %1 : f32[B,4]                                       # dense1
    %3 = param dense1.bias : f32[4]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,4]                                # dense1
    %5 = add %2, %4 : f32[B,4]                                       # dense1
    %6 = param layer_norm1.gamma : f32[4]                            # layer_norm1
    %7 = param layer_norm1.beta : f32[4]                             # layer_norm1
    %8 = detach %5 : f32[B,4]                                        # layer_norm1
    %9 = sum %8 over 1 : f32[B]                                      # layer_norm1
    %10 = div %9, 4 : f32[B]                                         # layer_norm1
    %11 = eq %10, %10 : bool[B]                                      # layer_norm1
    %12 = select %11, %10, 0 : f32[B]                                # layer_norm1
    %13 = max %8 over 1 : f32[B]                                     # layer_norm1
    %14 = neg %8 : f32[B,4]                                          # layer_norm1
    %15 = max %14 over 1 : f32[B]                                    # layer_norm1
    %16 = neg %15 : f32[B]                                           # layer_norm1
    %17 = max %16, %12 : f32[B]                                      # layer_norm1
    %18 = min %17, %13 : f32[B]                                      # layer_norm1
    %19 = max %13, %15 : f32[B]                                      # layer_norm1
    %20 = gt %19, 4.3980465e12 : bool[B]                             # layer_norm1
    %21 = select %20, 9.094947e-13, 1 : f32[B]                       # layer_norm1
    %22 = gt %19, 1.2089258e24 : bool[B]                             # layer_norm1
    %23 = select %22, 3.3087225e-24, %21 : f32[B]                    # layer_norm1
    %24 = gt %19, 3.32307e35 : bool[B]                               # layer_norm1
    %25 = select %24, 1.2037062e-35, %23 : f32[B]                    # layer_norm1
    %26 = gt %19, 4.3980465e12 : bool[B]                             # layer_norm1
    %27 = select %26, 5.169879e-26, 1e-5 : f32[B]                    # layer_norm1
    %28 = mul %18, %25 : f32[B]                                      # layer_norm1
    %29 = detach %28 : f32[B]                                        # layer_norm1
    %30 = broadcast %29 to 0 : f32[B,4]                              # layer_norm1
    %31 = detach %25 : f32[B]                                        # layer_norm1
    %32 = broadcast %31 to 0 : f32[B,4]                              # layer_norm1
    %33 = mul %5, %32 : f32[B,4]                                     # layer_norm1
    %34 = sub %33, %30 : f32[B,4]                                    # layer_norm1
    %35 = sum %34 over 1 : f32[B]                                    # layer_norm1
    %36 = div %35, 4 : f32[B]                                        # layer_norm1
    %37 = broadcast %36 to 0 : f32[B,4]                              # layer_norm1
    %38 = sub %34, %37 : f32[B,4]                                    # layer_norm1
    %39 = detach %37 : f32[B,4]                                      # layer_norm1
    %40 = sub %34, %39 : f32[B,4]                                    # layer_norm1
    %41 = mul %40, %40 : f32[B,4]                                    # layer_norm1
    %42 = sum %41 over 1 : f32[B]                                    # layer_norm1
    %43 = div %42, 4 : f32[B]                                        # layer_norm1
    %44 = add %43, %27 : f32[B]                                      # layer_norm1
    %45 = rsqrt %44 : f32[B]                                         # layer_norm1
    %46 = broadcast %45 to 0 : f32[B,4]                              # layer_norm1
    %47 = broadcast %6 to 1 : f32[B,4]                               # layer_norm1
    %48 = broadcast %7 to 1 : f32[B,4]                               # layer_norm1
    %49 = mul %38, %46 : f32[B,4]                                    # layer_norm1
    %50 = mul %49, %47 : f32[B,4]                                    # layer_norm1
    %51 = add %50, %48 : f32[B,4]                                    # layer_norm1
    %52 = param prelu1.slope : f32[]                                 # prelu1
    %53 = broadcast %52 : f32[B,4]                                   # prelu1
    %54 = gt %51, 0 : bool[B,4]                                      # prelu1
    %55 = mul %51, %53 : f32[B,4]                                    # prelu1
    %56 = select %54, %51, %55 : f32[B,4]                            # prelu1
    %57 = param dense2.weight : f32[4,1]                             # dense2
    %58 = dot %56, %57 : f32[B,1]                                    # dense2
    %59 = param dense2.bias : f32[1]                                 # dense2
    %60 = broadcast %59 to 1 : f32[B,1]                              # dense2
    %61 = add %58, %60 : f32[B,1]                                    # dense2
    %62 = target target : f32[B,1]
    %63 = sub %61, %62 : f32[B,1]                                    # loss
    %64 = mul %63, %63 : f32[B,1]                                    # loss
    %65 = sum %64 over 0,1 : f32[]                                   # loss
    %66 = count B : f32[]                                            # loss
    %67 = div %65, %66 : f32[]                                       # loss
    output y = %61
    loss = %67
    ");
}

#[test]
fn a_layer_norm_is_in_the_epilogue_of_the_product_before_it() {
    assert_snapshot!(Rows::predictor().ir(Stage::Fused), @"
    kernel 0: B x 4, 103*B FLOP, 24*B + 84 bytes
      %2 = dot x, dense1.weight : f32[B,4]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,4]                        # dense1
      %8 = sum %5 over 1 : f32[B]                                    # layer_norm1
      %12 = max %5 over 1 : f32[B]                                   # layer_norm1
      %13 = neg %5 : f32[B,4]                                        # layer_norm1
      %14 = max %13 over 1 : f32[B]                                  # layer_norm1
      along the row
      %9 = mul %8.row, 0.25 : f32[B]                                 # layer_norm1
      %10 = eq %9.row, %9.row : bool[B]                              # layer_norm1
      %11 = select %10.row, %9.row, 0 : f32[B]                       # layer_norm1
      %15 = neg %14.row : f32[B]                                     # layer_norm1
      %16 = max %15.row, %11.row : f32[B]                            # layer_norm1
      %17 = min %16.row, %12.row : f32[B]                            # layer_norm1
      %18 = max %12.row, %14.row : f32[B]                            # layer_norm1
      %19 = gt %18.row, 4.3980465e12 : bool[B]                       # layer_norm1
      %20 = select %19.row, 9.094947e-13, 1 : f32[B]                 # layer_norm1
      %21 = gt %18.row, 1.2089258e24 : bool[B]                       # layer_norm1
      %22 = select %21.row, 3.3087225e-24, %20.row : f32[B]          # layer_norm1
      %23 = gt %18.row, 3.32307e35 : bool[B]                         # layer_norm1
      %24 = select %23.row, 1.2037062e-35, %22.row : f32[B]          # layer_norm1
      %25 = select %19.row, 5.169879e-26, 1e-5 : f32[B]              # layer_norm1
      %26 = mul %17.row, %24.row : f32[B]                            # layer_norm1
      %29 = mul %5, %24.row : f32[B,4]                               # layer_norm1
      %30 = sub %29, %26.row : f32[B,4]                              # layer_norm1
      %31 = sum %30 over 1 : f32[B]                                  # layer_norm1
      along the row
      %32 = mul %31.row, 0.25 : f32[B]                               # layer_norm1
      %34 = sub %30, %32.row : f32[B,4]                              # layer_norm1
      %35 = mul %34, %34 : f32[B,4]                                  # layer_norm1
      %36 = sum %35 over 1 : f32[B]                                  # layer_norm1
      along the row
      %37 = mul_add %36.row, 0.25, %25.row : f32[B]                  # layer_norm1
      %38 = rsqrt %37.row : f32[B]                                   # layer_norm1
      %42 = mul %34, %38.row : f32[B,4]                              # layer_norm1
      %43 = mul_add %42, layer_norm1.gamma.col, layer_norm1.beta.col : f32[B,4] # layer_norm1
      %46 = gt %43, 0 : bool[B,4]                                    # prelu1
      %47 = mul %43, prelu1.slope.one : f32[B,4]                     # prelu1
      %48 = select %46, %43, %47 : f32[B,4]                          # prelu1
      materialize %48                                                # for kernel 1: a matmul reads memory
    kernel 1: B x 1, 9*B FLOP, 20*B + 20 bytes                       # a matmul
      %50 = dot %48, dense2.weight : f32[B,1]                        # dense2
      %53 = add %50, dense2.bias.col : f32[B,1]                      # dense2
      materialize %53                                                # output y
    in all: 2 kernels, 112*B FLOP, 44*B + 104 bytes
    unfused: 112*B FLOP, 728*B + 104 bytes
    ");
}

#[test]
fn rows_fused() {
    assert_snapshot!(Rows::trainer(Sgd::new(0.1)).ir(Stage::Fused));
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
    assert_snapshot!(Line::trainer(Sgd::new(0.1).momentum(0.9)).ir(Stage::Simplified));
}

#[test]
fn line_fused_with_descent() {
    assert_snapshot!(Line::trainer(Sgd::new(0.1)).ir(Stage::Fused), @"
    kernel 0: B x 1, 11*B + 1 FLOP, 16*B + 20 bytes
      %2 = dot x, dense1.weight : f32[B,1]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,1]                        # dense1
      %7 = sub %5, target : f32[B,1]                                 # loss
      %8 = mul %7, %7 : f32[B,1]                                     # loss
      %9 = sum %8 over 0,1 : f32[]                                   # loss
      %12 = div 1, B : f32[]                                         # loss
      %14 = mul %12.one, %7 : f32[B,1]                               # loss
      %15 = add %14, %14 : f32[B,1]                                  # loss
      %16 = sum %15 over 0 : f32[1]                                  # dense1
      materialize %15                                                # for kernel 2: a matmul reads memory
    kernel 1: 1 x 1, 1 FLOP, 8 bytes                                 # %9 is known when kernel 0 is done
      %11 = div %9, B : f32[]                                        # loss
      materialize %11                                                # the loss
    check that the loss is finite
    kernel 2: 2 x 1, 4*B + 5 FLOP, 12*B + 16 bytes                   # a matmul
      %17 = dot x.T, %15 : f32[2,1]                                  # dense1
      %19 = neg rate : f32[]                                         # optimizer
      %21 = mul_add %19.one, %17, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %21
    kernel 3: 1 x 1, 3 FLOP, 12 bytes                                # updates wait for the check of the loss
      %19 = neg rate : f32[]                                         # optimizer, rematerialized: 1 operation
      %23 = mul_add %19, %16, dense1.bias : f32[1]                   # dense1.bias
      dense1.bias <- %23
    in all: 4 kernels, 15*B + 10 FLOP, 28*B + 56 bytes
    unfused: 15*B + 9 FLOP, 76*B + 92 bytes
    ");
}

#[test]
fn line_fused_with_adam() {
    assert_snapshot!(Line::trainer(Adam::new(0.1)).ir(Stage::Fused));
}

#[test]
fn line_simplified_with_adam() {
    assert_snapshot!(Line::trainer(Adam::new(0.1)).ir(Stage::Simplified));
}

#[test]
fn line_plan_with_adam() {
    assert_snapshot!(Line::trainer(Adam::new(0.1)).max_batch(32).ir(Stage::Plan), @"
    batches of up to 32 rows
    parameters 0.4 KiB
    arena 0.4 KiB, without sharing 0.4 KiB
    scratch 0.1 KiB a thread
    kernel 0: B x 1
      matmul written out: 64 multiplications
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 36 ns
      %9                     0..16, to kernel 1                      # loss
      %15                    16..48, to kernel 2                     # loss
      %16                    48..64, to kernel 3                     # dense1
      partial %9             64..80                                  # loss
      partial %16            80..96                                  # dense1
      block of %2            scratch 0..32                           # dense1
    kernel 1: 1 x 1
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 0 ns
      %11                    0..16, a result, over %9                # loss
    kernel 2: 2 x 1, terms by 256
      matmul written out: 64 multiplications
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 4 ns
      block of %17           scratch 0..16                           # dense1
    kernel 3: 1 x 1
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 2 ns
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
fn a_stage_that_depends_on_what_is_compiled_says_whom_to_ask() {
    assert_snapshot!(Line::ir(Stage::Fused), @"Fused depends on what is compiled: ask `Line::trainer(optimizer).ir(Stage::Fused)` or `Line::predictor().ir(Stage::Fused)`");
}

#[test]
fn a_setting_out_of_range_is_said_in_place_of_the_text() {
    assert_snapshot!(Line::trainer(Sgd::new(-0.1)).ir(Stage::Fused), @"learning rate must be a finite number of at least 0, got -0.1");
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
    assert_snapshot!(Mlp::ir(Stage::Backward));
}

#[test]
fn mlp_simplified() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).ir(Stage::Simplified));
}

#[test]
fn mlp_fused() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).ir(Stage::Fused));
}

#[test]
fn mlp_plan() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Plan), @"
    batches of up to 32 rows
    parameters 0.2 KiB
    arena 1.1 KiB, without sharing 1.7 KiB
    scratch 0.4 KiB a thread
    kernel 0: B x 3
      matmul written out: 192 multiplications
      elements 2 vectors of 4 at a time: 3 in a run
      on one thread: about 52 ns
      %6                     0..96, to kernel 4                      # tanh1
      %25                    96..192, to kernel 3                    # tanh1
      block of %2            scratch 0..96                           # dense1
    kernel 1: B x 1
      matmul written out: 96 multiplications
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 37 ns
      %15                    192..208, to kernel 2                   # loss
      %21                    208..240, to kernel 4                   # loss
      %22                    240..256, to kernel 7                   # dense2
      partial %15            256..272                                # loss
      partial %22            272..288                                # dense2
      block of %8            scratch 0..32                           # dense2
    kernel 2: 1 x 1
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 0 ns
      %17                    192..208, a result, over %15            # loss
    kernel 3: B x 3
      matmul written out: 96 multiplications
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 40 ns
      %26                    96..192, to kernel 5, over %25          # tanh1
      %27                    256..272, to kernel 6                   # dense1
      partial %27            272..288                                # dense1
      block of %23           scratch 0..96                           # dense2
    kernel 4: 3 x 1, terms by 256
      matmul written out: 96 multiplications
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 3 ns
      block of %24           scratch 0..16                           # dense2
    kernel 5: 2 x 3, terms by 256
      matmul written out: 192 multiplications
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 6 ns
      block of %28           scratch 0..16                           # dense1
    kernel 6: 1 x 3
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 1 ns
    kernel 7: 1 x 1
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 0 ns
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
    assert_snapshot!(Sparse::ir(Stage::Forward));
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
    assert_snapshot!(Sparse::trainer(Sgd::new(0.1)).ir(Stage::Fused));
}

#[test]
fn sparse_plan() {
    assert_snapshot!(Sparse::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Plan), @"
    batches of up to 32 rows
    parameters 0.2 KiB
    arena 1.1 KiB, without sharing 1.4 KiB
    scratch 0.4 KiB a thread
    kernel 0: B x 3
      matmul written out: 192 multiplications
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 61 ns
      %6                     0..96, to kernel 4                      # h
      %19                    96..112, to kernel 2                    # loss
      partial %19            112..128                                # loss
      lanes of %19           scratch 0..16                           # loss
      block of %2            scratch 16..112                         # dense1
    kernel 1: B x 1
      matmul written out: 96 multiplications
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 37 ns
      %15                    112..128, to kernel 2                   # loss
      %31                    128..160, to kernel 4                   # loss
      %32                    160..176, to kernel 7                   # dense2
      partial %15            176..192                                # loss
      partial %32            192..208                                # dense2
      block of %8            scratch 0..32                           # dense2
    kernel 2: 1 x 1
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 0 ns
      %23                    112..128, a result, over %15            # loss
    kernel 3: B x 3
      matmul written out: 96 multiplications
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 88 ns
      %37                    176..272, to kernel 5                   # h
      %38                    96..112, to kernel 6                    # dense1
      partial %38            272..288                                # dense1
      block of %33           scratch 0..96                           # dense2
    kernel 4: 3 x 1, terms by 256
      matmul written out: 96 multiplications
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 3 ns
      block of %34           scratch 0..16                           # dense2
    kernel 5: 2 x 3, terms by 256
      matmul written out: 192 multiplications
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 6 ns
      block of %39           scratch 0..16                           # dense1
    kernel 6: 1 x 3
      elements 4 vectors of 4 at a time: 3 in a run
      on one thread: about 1 ns
    kernel 7: 1 x 1
      elements 4 vectors of 4 at a time: 1 in a run
      on one thread: about 0 ns
    ");
}

#[test]
fn sparse_clif() {
    assert_snapshot!(Sparse::trainer(Sgd::new(0.1)).max_batch(32).ir(Stage::Clif));
}

#[test]
fn sparse_of_inference_asm() {
    assert_snapshot!(Sparse::predictor().max_batch(32).ir(Stage::Asm));
}
