//! What each choice of an optimizer costs: the kernels of its update, for one product.

use gradloom::{AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, Network, RmsProp, Sgd, Stage, Trainer, network};
use insta::assert_snapshot;

network! {
    /// One product and nothing else.
    pub Bare<x: [B, 2] -> y: [B, 1]> { Dense(1, bias = false) }
    loss(target: [B, 1]) = mse(y, target);

    /// Two, to freeze the first, the second or both.
    pub Pair<x: [B, 2] -> y: [B, 1]> { Dense(3), tanh, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

/// What runs once the loss is known to be finite.
fn updates<N: Network>(trainer: &Trainer<N>) -> String {
    let text = trainer.ir(Stage::Fused);
    let (_, updates) = text.split_once("check that the loss is finite\n").expect("a training step checks its loss");
    updates.to_string()
}

#[test]
fn plain_descent_subtracts_the_gradient_from_the_weight_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1))), @"
    kernel 2: 2 x 1, 4*B + 5 FLOP, 12*B + 16 bytes                   # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = neg rate : f32[]                                         # dense1.weight
      %17 = mul_add %15.one, %13, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %17
    in all: 3 kernels, 13*B + 7 FLOP, 28*B + 36 bytes
    unfused: 13*B + 7 FLOP, 64*B + 68 bytes
    ");
}

#[test]
fn clipping_by_value_costs_two_operations_in_the_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1)).clip_value(1.0)), @"
    kernel 2: 2 x 1, 4*B + 9 FLOP, 12*B + 16 bytes                   # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = max %13, -1 : f32[2,1]                                   # optimizer
      %16 = min %15, 1 : f32[2,1]                                    # optimizer
      %17 = neg rate : f32[]                                         # dense1.weight
      %19 = mul_add %17.one, %16, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %19
    in all: 3 kernels, 13*B + 11 FLOP, 28*B + 36 bytes
    unfused: 13*B + 11 FLOP, 64*B + 100 bytes
    ");
}

#[test]
fn clipping_by_norm_keeps_the_gradient_and_passes_over_it_again() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1)).clip_norm(1.0)), @"
    kernel 2: 2 x 1, 4*B + 10 FLOP, 12*B + 16 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = mul %13, %13 : f32[2,1]                                  # optimizer
      %16 = sum %15 over 0,1 : f32[]                                 # optimizer
      %17 = mul %13, 8.271806e-25 : f32[2,1]                         # optimizer
      %18 = mul %17, %17 : f32[2,1]                                  # optimizer
      %19 = sum %18 over 0,1 : f32[]                                 # optimizer
      materialize %13                                                # for kernel 3: dot runs once
    kernel 3: 2 x 1, 22 FLOP, 32 bytes                               # %16 is known when kernel 2 is done
      %20 = le %16.one, 3.4028235e38 : bool[]                        # optimizer
      %21 = sqrt %16.one : f32[]                                     # optimizer
      %22 = add %21.one, 1e-6 : f32[]                                # optimizer
      %23 = sqrt %19.one : f32[]                                     # optimizer
      %24 = select %20.one, %22.one, %23.one : f32[]                 # optimizer
      %25 = div 1, %24.one : f32[]                                   # optimizer
      %26 = min %25.one, 1 : f32[]                                   # optimizer
      %27 = ge %25.one, 1.2089258e24 : bool[]                        # optimizer
      %28 = mul %25.one, 3.5527137e-15 : f32[]                       # optimizer
      %29 = select %27.one, 1, %28.one : f32[]                       # optimizer
      %30 = select %27.one, 1, 2.3283064e-10 : f32[]                 # optimizer
      %31 = select %20.one, %26.one, %29.one : f32[]                 # optimizer
      %32 = select %20.one, 1, %30.one : f32[]                       # optimizer
      %35 = mul %13, %32.one : f32[2,1]                              # optimizer
      %36 = mul %35, %31.one : f32[2,1]                              # optimizer
      %37 = neg rate : f32[]                                         # dense1.weight
      %39 = mul_add %37.one, %36, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %39
    in all: 4 kernels, 13*B + 34 FLOP, 28*B + 68 bytes
    unfused: 13*B + 34 FLOP, 64*B + 308 bytes
    ");
}

#[test]
fn l2_decay_costs_one_operation_in_the_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1).l2(0.5))), @"
    kernel 2: 2 x 1, 4*B + 9 FLOP, 12*B + 16 bytes                   # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = mul_add dense1.weight, 0.5, %13 : f32[2,1]               # dense1.weight
      %16 = neg rate : f32[]                                         # dense1.weight
      %18 = mul_add %16.one, %15, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %18
    in all: 3 kernels, 13*B + 11 FLOP, 28*B + 36 bytes
    unfused: 13*B + 11 FLOP, 64*B + 92 bytes
    ");
}

#[test]
fn decoupled_decay_costs_one_operation_in_the_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1).weight_decay(0.5))), @"
    kernel 2: 2 x 1, 4*B + 7 FLOP, 12*B + 16 bytes                   # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = mul dense1.weight, decay(0.5) : f32[2,1]                 # dense1.weight
      %18 = neg rate : f32[]                                         # dense1.weight
      %20 = mul_add %18.one, %13, %17 : f32[2,1]                     # dense1.weight
      dense1.weight <- %20
    in all: 3 kernels, 13*B + 9 FLOP, 28*B + 36 bytes
    unfused: 13*B + 9 FLOP, 64*B + 84 bytes
    ");
}

#[test]
fn momentum_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1).momentum(0.9))), @"
    kernel 2: 2 x 1, 4*B + 9 FLOP, 12*B + 32 bytes                   # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %16 = mul_add dense1.weight.velocity, 0.9, %13 : f32[2,1]      # dense1.weight
      %17 = neg rate : f32[]                                         # dense1.weight
      %19 = mul_add %17.one, %16, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %19
      dense1.weight.velocity <- %16
    in all: 3 kernels, 13*B + 11 FLOP, 28*B + 52 bytes
    unfused: 13*B + 11 FLOP, 64*B + 92 bytes
    ");
}

#[test]
fn nesterov_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1).momentum(0.9).nesterov())), @"
    kernel 2: 2 x 1, 4*B + 13 FLOP, 12*B + 32 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %16 = mul_add dense1.weight.velocity, 0.9, %13 : f32[2,1]      # dense1.weight
      %17 = mul_add %16, 0.9, %13 : f32[2,1]                         # dense1.weight
      %18 = neg rate : f32[]                                         # dense1.weight
      %20 = mul_add %18.one, %17, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %20
      dense1.weight.velocity <- %16
    in all: 3 kernels, 13*B + 15 FLOP, 28*B + 52 bytes
    unfused: 13*B + 15 FLOP, 64*B + 116 bytes
    ");
}

#[test]
fn ada_grad_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(AdaGrad::new(0.1))), @"
    kernel 2: 2 x 1, 4*B + 25 FLOP, 12*B + 32 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %16 = max -2.8823038e17, %13 : f32[2,1]                        # dense1.weight
      %17 = min 2.8823038e17, %16 : f32[2,1]                         # dense1.weight
      %18 = mul_add %13, 0, %17 : f32[2,1]                           # dense1.weight
      %19 = mul_add %18, %18, dense1.weight.sum : f32[2,1]           # dense1.weight
      %20 = min 3.4028235e38, %19 : f32[2,1]                         # dense1.weight
      %21 = sqrt %20 : f32[2,1]                                      # dense1.weight
      %22 = add %21, 1e-10 : f32[2,1]                                # dense1.weight
      %23 = div %18, %22 : f32[2,1]                                  # dense1.weight
      %24 = neg rate : f32[]                                         # dense1.weight
      %26 = mul_add %24.one, %23, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %26
      dense1.weight.sum <- %20
    in all: 3 kernels, 13*B + 27 FLOP, 28*B + 52 bytes
    unfused: 13*B + 27 FLOP, 64*B + 220 bytes
    ");
}

#[test]
fn rms_prop_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(RmsProp::new(0.1))), @"
    kernel 2: 2 x 1, 4*B + 27 FLOP, 12*B + 32 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %16 = max -9.223372e18, %13 : f32[2,1]                         # dense1.weight
      %17 = min 9.223372e18, %16 : f32[2,1]                          # dense1.weight
      %18 = mul_add %13, 0, %17 : f32[2,1]                           # dense1.weight
      %19 = mul %18, %18 : f32[2,1]                                  # dense1.weight
      %20 = mul %19, 0.01 : f32[2,1]                                 # dense1.weight
      %21 = mul_add dense1.weight.square, 0.99, %20 : f32[2,1]       # dense1.weight
      %22 = sqrt %21 : f32[2,1]                                      # dense1.weight
      %23 = add %22, 1e-8 : f32[2,1]                                 # dense1.weight
      %24 = div %18, %23 : f32[2,1]                                  # dense1.weight
      %25 = neg rate : f32[]                                         # dense1.weight
      %27 = mul_add %25.one, %24, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %27
      dense1.weight.square <- %21
    in all: 3 kernels, 13*B + 29 FLOP, 28*B + 52 bytes
    unfused: 13*B + 29 FLOP, 64*B + 236 bytes
    ");
}

#[test]
fn centered_rms_prop_with_momentum_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(RmsProp::new(0.1).centered().momentum(0.9))), @"
    kernel 2: 2 x 1, 4*B + 43 FLOP, 12*B + 64 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %18 = max -9.223372e18, %13 : f32[2,1]                         # dense1.weight
      %19 = min 9.223372e18, %18 : f32[2,1]                          # dense1.weight
      %20 = mul_add %13, 0, %19 : f32[2,1]                           # dense1.weight
      %21 = mul %20, %20 : f32[2,1]                                  # dense1.weight
      %22 = mul %21, 0.01 : f32[2,1]                                 # dense1.weight
      %23 = mul_add dense1.weight.square, 0.99, %22 : f32[2,1]       # dense1.weight
      %24 = mul %20, 0.01 : f32[2,1]                                 # dense1.weight
      %25 = mul_add dense1.weight.mean, 0.99, %24 : f32[2,1]         # dense1.weight
      %26 = mul %25, %25 : f32[2,1]                                  # dense1.weight
      %27 = sub %23, %26 : f32[2,1]                                  # dense1.weight
      %28 = max %27, 0 : f32[2,1]                                    # dense1.weight
      %29 = sqrt %28 : f32[2,1]                                      # dense1.weight
      %30 = add %29, 1e-8 : f32[2,1]                                 # dense1.weight
      %31 = div %20, %30 : f32[2,1]                                  # dense1.weight
      %32 = mul_add dense1.weight.velocity, 0.9, %31 : f32[2,1]      # dense1.weight
      %33 = neg rate : f32[]                                         # dense1.weight
      %35 = mul_add %33.one, %32, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %35
      dense1.weight.square <- %23
      dense1.weight.mean <- %25
      dense1.weight.velocity <- %32
    in all: 3 kernels, 13*B + 45 FLOP, 28*B + 84 bytes
    unfused: 13*B + 45 FLOP, 64*B + 356 bytes
    ");
}

#[test]
fn ada_delta_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(AdaDelta::new(1.0))), @"
    kernel 2: 2 x 1, 4*B + 41 FLOP, 12*B + 48 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = max -9.223372e18, %13 : f32[2,1]                         # dense1.weight
      %18 = min 9.223372e18, %17 : f32[2,1]                          # dense1.weight
      %19 = mul_add %13, 0, %18 : f32[2,1]                           # dense1.weight
      %20 = mul %19, %19 : f32[2,1]                                  # dense1.weight
      %21 = mul %20, 0.1 : f32[2,1]                                  # dense1.weight
      %22 = mul_add dense1.weight.square, 0.9, %21 : f32[2,1]        # dense1.weight
      %23 = add dense1.weight.delta, 1e-6 : f32[2,1]                 # dense1.weight
      %24 = sqrt %23 : f32[2,1]                                      # dense1.weight
      %25 = add %22, 1e-6 : f32[2,1]                                 # dense1.weight
      %26 = sqrt %25 : f32[2,1]                                      # dense1.weight
      %27 = div %24, %26 : f32[2,1]                                  # dense1.weight
      %28 = mul %27, %19 : f32[2,1]                                  # dense1.weight
      %29 = mul %28, %28 : f32[2,1]                                  # dense1.weight
      %30 = mul %29, 0.1 : f32[2,1]                                  # dense1.weight
      %31 = mul_add dense1.weight.delta, 0.9, %30 : f32[2,1]         # dense1.weight
      %32 = neg rate : f32[]                                         # dense1.weight
      %34 = mul_add %32.one, %28, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %34
      dense1.weight.square <- %22
      dense1.weight.delta <- %31
    in all: 3 kernels, 13*B + 43 FLOP, 28*B + 68 bytes
    unfused: 13*B + 43 FLOP, 64*B + 348 bytes
    ");
}

#[test]
fn adam_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Adam::new(0.1))), @"
    kernel 2: 2 x 1, 4*B + 35 FLOP, 12*B + 48 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %19 = max -9.223372e18, %13 : f32[2,1]                         # dense1.weight
      %20 = min 9.223372e18, %19 : f32[2,1]                          # dense1.weight
      %21 = mul_add %13, 0, %20 : f32[2,1]                           # dense1.weight
      %22 = mul %21, 0.1 : f32[2,1]                                  # dense1.weight
      %23 = mul_add dense1.weight.m, 0.9, %22 : f32[2,1]             # dense1.weight
      %24 = mul %21, %21 : f32[2,1]                                  # dense1.weight
      %25 = mul %24, 0.001 : f32[2,1]                                # dense1.weight
      %26 = mul_add dense1.weight.v, 0.999, %25 : f32[2,1]           # dense1.weight
      %27 = sqrt %26 : f32[2,1]                                      # dense1.weight
      %28 = mul_add %27, root_correction, 1e-8 : f32[2,1]            # dense1.weight
      %29 = div %23, %28 : f32[2,1]                                  # dense1.weight
      %30 = neg step_size : f32[]                                    # dense1.weight
      %32 = mul_add %30.one, %29, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %32
      dense1.weight.m <- %23
      dense1.weight.v <- %26
    in all: 3 kernels, 13*B + 37 FLOP, 28*B + 68 bytes
    unfused: 13*B + 37 FLOP, 64*B + 276 bytes
    ");
}

#[test]
fn adam_w_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(AdamW::new(0.1))), @"
    kernel 2: 2 x 1, 4*B + 37 FLOP, 12*B + 48 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %21 = mul dense1.weight, decay(0.01) : f32[2,1]                # dense1.weight
      %22 = max -9.223372e18, %13 : f32[2,1]                         # dense1.weight
      %23 = min 9.223372e18, %22 : f32[2,1]                          # dense1.weight
      %24 = mul_add %13, 0, %23 : f32[2,1]                           # dense1.weight
      %25 = mul %24, 0.1 : f32[2,1]                                  # dense1.weight
      %26 = mul_add dense1.weight.m, 0.9, %25 : f32[2,1]             # dense1.weight
      %27 = mul %24, %24 : f32[2,1]                                  # dense1.weight
      %28 = mul %27, 0.001 : f32[2,1]                                # dense1.weight
      %29 = mul_add dense1.weight.v, 0.999, %28 : f32[2,1]           # dense1.weight
      %30 = sqrt %29 : f32[2,1]                                      # dense1.weight
      %31 = mul_add %30, root_correction, 1e-8 : f32[2,1]            # dense1.weight
      %32 = div %26, %31 : f32[2,1]                                  # dense1.weight
      %33 = neg step_size : f32[]                                    # dense1.weight
      %35 = mul_add %33.one, %32, %21 : f32[2,1]                     # dense1.weight
      dense1.weight <- %35
      dense1.weight.m <- %26
      dense1.weight.v <- %29
    in all: 3 kernels, 13*B + 39 FLOP, 28*B + 68 bytes
    unfused: 13*B + 39 FLOP, 64*B + 292 bytes
    ");
}

#[test]
fn lion_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Lion::new(0.1))), @"
    kernel 2: 2 x 1, 4*B + 23 FLOP, 12*B + 32 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = mul %13, 0.1 : f32[2,1]                                  # dense1.weight
      %18 = mul_add dense1.weight.m, 0.9, %17 : f32[2,1]             # dense1.weight
      %19 = neg rate : f32[]                                         # dense1.weight
      %21 = gt %18, 0 : bool[2,1]                                    # dense1.weight
      %22 = lt %18, 0 : bool[2,1]                                    # dense1.weight
      %23 = select %22, rate, %18 : f32[2,1]                         # dense1.weight
      %24 = select %21, %19.one, %23 : f32[2,1]                      # dense1.weight
      %25 = mul %13, 0.01 : f32[2,1]                                 # dense1.weight
      %26 = mul_add dense1.weight.m, 0.99, %25 : f32[2,1]            # dense1.weight
      %27 = add dense1.weight, %24 : f32[2,1]                        # dense1.weight
      dense1.weight <- %27
      dense1.weight.m <- %26
    in all: 3 kernels, 13*B + 25 FLOP, 28*B + 52 bytes
    unfused: 13*B + 25 FLOP, 64*B + 228 bytes
    ");
}

#[test]
fn a_group_with_a_rate_of_its_own_has_a_scalar_of_its_own() {
    let trainer = Bare::trainer(Sgd::new(0.1).weight_decay(0.5)).group(Group::new("dense1.*").rate_factor(0.25));
    assert_snapshot!(updates(&trainer), @"
    kernel 2: 2 x 1, 4*B + 7 FLOP, 12*B + 16 bytes                   # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = mul dense1.weight, decay(0.5)@0.25 : f32[2,1]            # dense1.weight
      %18 = neg rate@0.25 : f32[]                                    # dense1.weight
      %20 = mul_add %18.one, %13, %17 : f32[2,1]                     # dense1.weight
      dense1.weight <- %20
    in all: 3 kernels, 13*B + 9 FLOP, 28*B + 36 bytes
    unfused: 13*B + 9 FLOP, 64*B + 84 bytes
    ");
}

#[test]
fn nothing_is_computed_backwards_of_the_first_layer_that_is_trained() {
    let trainer = Pair::trainer(Sgd::new(0.1)).freeze("dense1.*");
    assert_snapshot!(updates(&trainer), @"
    kernel 3: 3 x 1, 6*B + 7 FLOP, 16*B + 24 bytes                   # a matmul
      %23 = dot %6.T, %21 : f32[3,1]                                 # dense2
      %25 = neg rate : f32[]                                         # optimizer
      %27 = mul_add %25.one, %23, dense2.weight : f32[3,1]           # dense2.weight
      dense2.weight <- %27
    kernel 4: 1 x 1, 3 FLOP, 12 bytes                                # updates wait for the check of the loss
      %25 = neg rate : f32[]                                         # optimizer, rematerialized: 1 operation
      %29 = mul_add %25, %22, dense2.bias : f32[1]                   # dense2.bias
      dense2.bias <- %29
    in all: 5 kernels, 37*B + 12 FLOP, 56*B + 104 bytes
    unfused: 37*B + 11 FLOP, 152*B + 148 bytes
    ");
    let text = trainer.ir(Stage::Backward);
    let (_, backwards) = text.split_once("# loss\n").expect("there is a loss");
    assert_snapshot!(backwards, @"
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
    %24 = dot %6.T, %22 : f32[3,1]                                   # dense2
    loss = %17
    d dense2.weight = %24
    d dense2.bias = %23
    ");
}

#[test]
fn a_frozen_layer_has_no_product_for_its_gradient() {
    let trainer = Pair::trainer(Sgd::new(0.1)).freeze("dense2.weight");
    assert_snapshot!(updates(&trainer), @"
    kernel 3: B x 3, 12*B FLOP, 28*B + 24 bytes                      # a matmul
      %23 = dot %21, dense2.weight.T : f32[B,3]                      # dense2
      %25 = mul %23, %24 : f32[B,3]                                  # tanh1
      %26 = sum %25 over 0 : f32[3]                                  # dense1
      materialize %25                                                # for kernel 4: a matmul reads memory
    kernel 4: 2 x 3, 12*B + 13 FLOP, 20*B + 48 bytes                 # a matmul
      %27 = dot x.T, %25 : f32[2,3]                                  # dense1
      %29 = neg rate : f32[]                                         # optimizer
      %31 = mul_add %29.one, %27, dense1.weight : f32[2,3]           # dense1.weight
      dense1.weight <- %31
    kernel 5: 1 x 3, 7 FLOP, 36 bytes                                # %26 is known when kernel 3 is done
      %29 = neg rate : f32[]                                         # optimizer, rematerialized: one number
      %33 = mul_add %29.one, %26, dense1.bias : f32[3]               # dense1.bias
      dense1.bias <- %33
    kernel 6: 1 x 1, 3 FLOP, 12 bytes                                # updates wait for the check of the loss
      %29 = neg rate : f32[]                                         # optimizer, rematerialized: 1 operation
      %35 = mul_add %29, %22, dense2.bias : f32[1]                   # dense2.bias
      dense2.bias <- %35
    in all: 7 kernels, 58*B + 25 FLOP, 100*B + 188 bytes
    unfused: 58*B + 23 FLOP, 244*B + 260 bytes
    ");
}
