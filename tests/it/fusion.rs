//! Every decision of fusion, on the smallest graph or network that shows it.

use gradloom::{Network, Sgd, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role};
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::handmade::{input, output, parameter};

network! {
    pub Relu<x: [B, 2] -> y: [B, 3]> { Dense(3), relu }
    loss(target: [B, 3]) = mse(y, target);
}

network! {
    pub Classes<x: [B, 2] -> logits: [B, 3]> { Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

network! {
    pub Deep<x: [B, 2] -> y: [B, 3]> { Dense(3), relu, Dense(3) }
    loss(target: [B, 3]) = mse(y, target);
}

network! {
    pub Tied<x: [B, 2] -> y: [B, 2]> { Dense(2, bias = false), Dense(2, bias = false) }
    loss(target: [B, 2]) = mse(y, target) + sum(dense1.weight * dense2.weight);
}

network! {
    pub Norm<x: [B, 2] -> y: [B, 1]> { Dense(4, bias = false), BatchNorm, relu, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

fn trained<N: Network>() -> Fused {
    fuse(&simplified(N::declared(), Purpose::Train(&Sgd::new(0.1).into())).expect("the network is sound"))
}

fn inferred<N: Network>() -> Fused {
    fuse(&simplified(N::declared(), Purpose::Predict).expect("the network is sound"))
}

/// A graph with one output, fused as it is.
fn fused(build: fn(&mut Builder) -> NodeId) -> Fused {
    let mut b = Builder::new(Graph::default());
    b.graph_mut().slots.outputs.push("y");
    let result = build(&mut b);
    output(&mut b, Role::Output(0), result);
    fuse(&b.finish())
}

/// A matrix of activations: `[B, n]`.
fn x(b: &mut Builder, name: &'static str, columns: usize) -> NodeId {
    input(b, name, TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(columns)])))
}

/// Rows as matrices, with their axes in another order.
fn split_and_turned(b: &mut Builder, x: NodeId, [rows, columns]: [usize; 2], order: &[usize]) -> NodeId {
    let split = b.reshape(x, Shape(vec![Dim::B, Dim::Fixed(rows), Dim::Fixed(columns)]));
    b.transpose(split, order)
}

/// The text of one kernel.
fn kernel(fused: &Fused, number: usize) -> String {
    let text = fused.to_string();
    let lines = text.lines().skip_while(|line| !line.starts_with(&format!("kernel {number}:")));
    let mut lines = lines.map(str::to_string);
    let head = lines.next().into_iter();
    head.chain(lines.take_while(|line| line.starts_with(' '))).collect::<Vec<_>>().join("\n")
}

/// The only kernel that has this line.
fn kernel_with(fused: &Fused, line: &str) -> usize {
    let found: Vec<usize> = (0..fused.kernels.len()).filter(|&number| kernel(fused, number).contains(line)).collect();
    assert_eq!(found.len(), 1, "`{line}` in kernels {found:?} of\n{fused}");
    found[0]
}

#[test]
fn bias_and_activation_go_into_the_epilogue_of_the_product() {
    assert_snapshot!(inferred::<Relu>(), @"
    kernel 0: B x 3, 18*B FLOP, 20*B + 36 bytes
      %2 = dot x, dense1.weight : f32[B,3]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,3]                        # dense1
      %6 = max 0, %5 : f32[B,3]                                      # relu1
      materialize %6                                                 # output y
    in all: 1 kernel, 18*B FLOP, 20*B + 36 bytes
    unfused: 18*B FLOP, 68*B + 36 bytes
    ");
}

#[test]
fn the_moments_of_a_batch_norm_go_into_the_epilogue_of_the_product() {
    assert_snapshot!(kernel(&trained::<Norm>(), 0), @"
    kernel 0: B x 4, 32*B FLOP, 24*B + 64 bytes
      %2 = dot x, dense1.weight : f32[B,4]                           # dense1
      %3 = mean %2 over 0 : f32[4]                                   # batch_norm1
      %4 = variance %2 over 0 : f32[4]                               # batch_norm1
      materialize %2                                                 # for kernels 2, 5, 8: dot runs once
    ");
}

#[test]
fn softmax_cross_entropy_and_its_gradient_go_into_the_epilogue_of_the_last_product() {
    assert_snapshot!(kernel(&trained::<Classes>(), 0), @"
    kernel 0: B x 3, 77*B + 1 FLOP, 24*B + 52 bytes
      %2 = dot x, dense1.weight : f32[B,3]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,3]                        # dense1
      %7 = max %5 over 1 : f32[B]                                    # loss
      %39 = div 1, B : f32[]                                         # loss
      along the row
      %9 = sub %5, %7.row : f32[B,3]                                 # loss
      %10 = eq %5, inf : bool[B,3]                                   # loss
      %11 = select %10, 0, %9 : f32[B,3]                             # loss
      %14 = index_eq column, label.row : bool[B,3]                   # loss
      %15 = exp %11 : f32[B,3]                                       # loss
      %16 = select %14, 0, %15 : f32[B,3]                            # loss
      %17 = sum %16 over 1 : f32[B]                                  # loss
      %18 = select %14, %15, 0 : f32[B,3]                            # loss
      %19 = sum %18 over 1 : f32[B]                                  # loss
      %23 = select %14, %11, 0 : f32[B,3]                            # loss
      %24 = sum %23 over 1 : f32[B]                                  # loss
      %27 = eq %7.row, inf : bool[B]                                 # loss
      %30 = sub %7.row, %7.row : f32[B]                              # loss
      along the row
      %14 = index_eq column, label.row : bool[B,3]                   # loss, rematerialized: register-only
      %20 = sub %19.row, 1 : f32[B]                                  # loss
      %21 = add %17.row, %20.row : f32[B]                            # loss
      %22 = log1p %21.row : f32[B]                                   # loss
      %25 = sub %22.row, %24.row : f32[B]                            # loss
      %26 = add %19.row, %17.row : f32[B]                            # loss
      %28 = select %27.row, %26.row, 1 : f32[B]                      # loss
      %29 = gt %28.row, 1 : bool[B]                                  # loss
      %31 = select %29.row, %30.row, %25.row : f32[B]                # loss
      %32 = neg %17.row : f32[B]                                     # loss
      %34 = select %14, %32.row, %15 : f32[B,3]                      # loss
      %35 = div 1, %26.row : f32[B]                                  # loss
      %36 = sum %31.row over 0 : f32[]                               # loss
      %41 = mul %39.one, %35.row : f32[B]                            # loss
      %43 = mul %41.row, %34 : f32[B,3]                              # loss
      %44 = sum %43 over 0 : f32[3]                                  # dense1
      materialize %43                                                # for kernel 2: a matmul reads memory
    ");
}

#[test]
fn the_update_goes_into_the_epilogue_of_the_gradient_which_is_never_kept() {
    let fused = trained::<Relu>();
    assert_snapshot!(kernel(&fused, kernel_with(&fused, "dense1.weight <-")), @"
    kernel 2: 2 x 3, 12*B + 13 FLOP, 20*B + 48 bytes                 # a matmul
      %20 = dot x.T, %18 : f32[2,3]                                  # dense1
      %22 = neg rate : f32[]                                         # optimizer
      %24 = mul_add %22.one, %20, dense1.weight : f32[2,3]           # dense1.weight
      dense1.weight <- %24
    ");
}

#[test]
fn a_cheap_map_is_computed_again_rather_than_kept() {
    // x - mean, in the sum and after it.
    assert_snapshot!(fused(|b| {
        let (x, mean) = (x(b, "x", 3), parameter(b, "mean", &[3]));
        let shape = b.shape(x);
        let mean = b.broadcast(mean, &shape, &[1]);
        let deviation = b.sub(x, mean);
        let sum = b.sum(deviation, &[0]);
        let sum = b.broadcast(sum, &shape, &[1]);
        b.mul(deviation, sum)
    }), @"
    kernel 0: B x 3, 6*B FLOP, 12*B + 24 bytes
      %3 = sub x, mean.col : f32[B,3]
      %4 = sum %3 over 0 : f32[3]
    kernel 1: B x 3, 6*B FLOP, 24*B + 24 bytes                       # %4 is known when kernel 0 is done
      %3 = sub x, mean.col : f32[B,3]                                # rematerialized: 1 operation, 1 read
      %6 = mul %3, %4.col : f32[B,3]
      materialize %6                                                 # output y
    in all: 2 kernels, 12*B FLOP, 36*B + 48 bytes
    unfused: 9*B FLOP, 60*B + 36 bytes
    ");
}

#[test]
fn an_expensive_map_is_kept_rather_than_computed_again() {
    assert_snapshot!(fused(|b| {
        let x = x(b, "x", 3);
        let shape = b.shape(x);
        let power = b.exp(x);
        let sum = b.sum(power, &[0]);
        let sum = b.broadcast(sum, &shape, &[1]);
        b.mul(power, sum)
    }), @"
    kernel 0: B x 3, 6*B FLOP, 24*B + 12 bytes
      %1 = exp x : f32[B,3]
      %2 = sum %1 over 0 : f32[3]
      materialize %1                                                 # for kernel 1: exp runs once
    kernel 1: B x 3, 3*B FLOP, 24*B + 12 bytes                       # %2 is known when kernel 0 is done
      %4 = mul %1, %2.col : f32[B,3]
      materialize %4                                                 # output y
    in all: 2 kernels, 9*B FLOP, 48*B + 24 bytes
    unfused: 9*B FLOP, 60*B + 24 bytes
    ");
}

#[test]
fn a_map_that_would_need_another_value_kept_is_kept_itself() {
    // The gradient after a relu: computing it again would need the product before it in memory.
    let fused = trained::<Norm>();
    assert_snapshot!(kernel(&fused, kernel_with(&fused, "dense2.weight.T")), @"
    kernel 5: B x 4, 40*B FLOP, 36*B + 96 bytes                      # a matmul
      %43 = dot %41, dense2.weight.T : f32[B,4]                      # dense2
      %14 = sub %2, %3.col : f32[B,4]                                # batch_norm1, rematerialized: 1 operation
      %15 = mul_add %14, %9.col, batch_norm1.beta.col : f32[B,4]     # batch_norm1, rematerialized: 2 operations
      %45 = gt %15, 0 : bool[B,4]                                    # relu1
      %46 = select %45, %43, 0 : f32[B,4]                            # relu1
      %48 = mul %46, %14 : f32[B,4]                                  # batch_norm1
      %49 = sum %46 over 0 : f32[4]                                  # batch_norm1
      %50 = sum %48 over 0 : f32[4]                                  # batch_norm1
      materialize %46                                                # for kernel 8: to rematerialize it takes 4 operations, 1 read, 1 write
    ");
    let text = fused.to_string();
    let computed = text.lines().filter(|line| line.contains(" = select ") && line.contains("# relu1"));
    assert_eq!(computed.count(), 1, "{text}");
}

#[test]
fn a_relu_in_memory_says_where_its_gradient_goes() {
    // What it is made of would have to be in memory beside it.
    let fused = trained::<Deep>();
    assert_snapshot!(kernel(&fused, 0), @"
    kernel 0: B x 3, 18*B FLOP, 20*B + 36 bytes
      %2 = dot x, dense1.weight : f32[B,3]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,3]                        # dense1
      %6 = max 0, %5 : f32[B,3]                                      # relu1
      materialize %6                                                 # for kernels 1, 3, 4: a matmul reads memory
    ");
    assert_snapshot!(kernel(&fused, kernel_with(&fused, "dense2.weight.T")), @"
    kernel 3: B x 3, 27*B FLOP, 36*B + 48 bytes                      # a matmul
      %23 = dot %21, dense2.weight.T : f32[B,3]                      # dense2
      %25 = gt %6, 0 : bool[B,3]                                     # relu1
      %26 = select %25, %23, 0 : f32[B,3]                            # relu1
      %27 = sum %26 over 0 : f32[3]                                  # dense1
      materialize %26                                                # for kernel 5: a matmul reads memory
    ");
}

#[test]
fn a_map_of_two_values_in_memory_is_kept() {
    assert_snapshot!(fused(|b| {
        let (x, y) = (x(b, "x", 3), x(b, "y", 3));
        let shape = b.shape(x);
        let product = b.mul(x, y);
        let sum = b.sum(product, &[0]);
        let sum = b.broadcast(sum, &shape, &[1]);
        b.mul(product, sum)
    }), @"
    kernel 0: B x 3, 6*B FLOP, 36*B + 12 bytes
      %2 = mul x, y : f32[B,3]
      %3 = sum %2 over 0 : f32[3]
      materialize %2                                                 # for kernel 1: to rematerialize it takes 1 operation, 2 reads
    kernel 1: B x 3, 3*B FLOP, 24*B + 12 bytes                       # %3 is known when kernel 0 is done
      %5 = mul %2, %3.col : f32[B,3]
      materialize %5                                                 # output y
    in all: 2 kernels, 9*B FLOP, 60*B + 24 bytes
    unfused: 9*B FLOP, 72*B + 24 bytes
    ");
}

#[test]
fn an_update_waits_for_every_reader_of_the_old_value() {
    let fused = trained::<Deep>();
    let reader = kernel_with(&fused, "dense2.weight.T");
    let writer = kernel_with(&fused, "dense2.weight <-");
    assert!(reader < writer, "read in kernel {reader}, overwritten in kernel {writer} of\n{fused}");
}

#[test]
fn an_update_waits_for_a_reader_in_a_kernel_of_another_shape() {
    let fused = trained::<Norm>();
    let writer = kernel_with(&fused, "batch_norm1.beta <-");
    let readers = (0..fused.kernels.len()).filter(|&number| kernel(&fused, number).contains("batch_norm1.beta.col"));
    assert!(readers.max().is_some_and(|reader| reader < writer), "{fused}");
}

#[test]
fn an_update_reads_the_old_value_of_another_parameter() {
    let text = trained::<Tied>().to_string();
    let (_, updates) = text.split_once("check that the loss is finite\n").expect("the loss is checked");
    assert_snapshot!(updates, @"
    kernel 4: B x 2, 8*B FLOP, 16*B + 16 bytes                       # a matmul
      %18 = dot %17, dense2.weight.T : f32[B,2]                      # dense2
      materialize %18                                                # for kernel 6: a matmul reads memory
    kernel 5: 2 x 2, 8*B + 4 FLOP, 16*B + 32 bytes                   # a matmul
      %19 = dot %2.T, %17 : f32[2,2]                                 # dense2
      %22 = add %19, dense1.weight : f32[2,2]                        # dense2
      materialize %22                                                # for kernel 7: made of what is overwritten
    kernel 6: 2 x 2, 8*B + 13 FLOP, 16*B + 64 bytes                  # a matmul
      %20 = dot x.T, %18 : f32[2,2]                                  # dense1
      %21 = add %20, dense2.weight : f32[2,2]                        # dense1
      %24 = neg rate : f32[]                                         # optimizer
      %26 = mul_add %24.one, %21, dense1.weight : f32[2,2]           # dense1.weight
      materialize %21                                                # made of what is overwritten
      dense1.weight <- %26
    kernel 7: 2 x 2, 9 FLOP, 48 bytes                                # waits for the readers of dense2.weight
      %24 = neg rate : f32[]                                         # optimizer, rematerialized: one number
      %27 = mul_add %24.one, %22, dense2.weight : f32[2,2]           # dense2.weight
      dense2.weight <- %27
    in all: 8 kernels, 50*B + 37 FLOP, 88*B + 244 bytes
    unfused: 50*B + 36 FLOP, 160*B + 384 bytes
    ");
}

#[test]
fn updates_wait_for_the_check_of_the_loss() {
    for fused in [trained::<Relu>(), trained::<Classes>(), trained::<Deep>(), trained::<Norm>()] {
        let text = fused.to_string();
        let (before, after) = text.split_once("check that the loss is finite").expect("the loss is checked");
        assert!(!before.contains("<-") && after.contains("<-"), "{text}");
    }
}

#[test]
fn columns_that_depend_on_parameters_alone_come_first() {
    assert_snapshot!(inferred::<Norm>(), @"
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
    kernel 2: B x 1, 9*B FLOP, 20*B + 20 bytes                       # a matmul
      %17 = dot %15, dense2.weight : f32[B,1]                        # dense2
      %20 = add %17, dense2.bias.col : f32[B,1]                      # dense2
      materialize %20                                                # output y
    in all: 3 kernels, 41*B + 12 FLOP, 44*B + 148 bytes
    unfused: 41*B + 12 FLOP, 148*B + 212 bytes
    ");
}

#[test]
fn numbers_that_are_one_a_row_are_computed_in_the_kernel_of_the_row() {
    assert_snapshot!(fused(|b| {
        let x = x(b, "x", 3);
        let sum = b.sum(x, &[1]);
        b.ln(sum)
    }), @"
    kernel 0: B x 3, 4*B FLOP, 16*B bytes
      %1 = sum x over 1 : f32[B]
      along the row
      %2 = ln %1.row : f32[B]
      materialize %2.row                                             # output y
    in all: 1 kernel, 4*B FLOP, 16*B bytes
    unfused: 4*B FLOP, 24*B bytes
    ");
}

#[test]
fn what_a_sum_along_the_row_was_made_of_is_not_computed_again_behind_it() {
    assert_snapshot!(fused(|b| {
        let x = x(b, "x", 3);
        let shape = b.shape(x);
        let power = b.exp(x);
        let sum = b.sum(power, &[1]);
        let sum = b.broadcast(sum, &shape, &[0]);
        b.div(power, sum)
    }), @"
    kernel 0: B x 3, 9*B FLOP, 24*B bytes
      %1 = exp x : f32[B,3]
      %2 = sum %1 over 1 : f32[B]
      along the row
      %4 = div %1, %2.row : f32[B,3]
      materialize %4                                                 # output y
    in all: 1 kernel, 9*B FLOP, 24*B bytes
    unfused: 9*B FLOP, 68*B bytes
    ");
}

#[test]
fn updates_of_one_width_share_a_kernel() {
    let fused = trained::<Deep>();
    let shared = kernel_with(&fused, "dense1.bias <-");
    assert_eq!(shared, kernel_with(&fused, "dense2.bias <-"), "{fused}");
    assert_snapshot!(kernel(&fused, shared), @"
    kernel 6: 1 x 3, 13 FLOP, 72 bytes                               # %27 is known when kernel 3 is done
      %30 = neg rate : f32[]                                         # optimizer, rematerialized: one number
      %34 = mul_add %30.one, %27, dense1.bias : f32[3]               # dense1.bias
      %37 = mul_add %30.one, %22, dense2.bias : f32[3]               # dense2.bias
      dense1.bias <- %34
      dense2.bias <- %37
    ");
}

#[test]
fn a_variance_along_the_row_takes_two_passes_over_the_row() {
    assert_snapshot!(fused(|b| {
        let x = x(b, "x", 3);
        b.variance(x, &[1])
    }), @"
    kernel 0: B x 3, 35*B FLOP, 16*B bytes
      %1 = sum x over 1 : f32[B]
      %3 = max x over 1 : f32[B]
      %4 = neg x : f32[B,3]
      %5 = max %4 over 1 : f32[B]
      along the row
      %2 = div %1.row, 3 : f32[B]
      %6 = neg %5.row : f32[B]
      %7 = max %6.row, %2.row : f32[B]
      %8 = min %7.row, %3.row : f32[B]
      %10 = sub x, %8.row : f32[B,3]
      %11 = mul %10, %10 : f32[B,3]
      %12 = sum %11 over 1 : f32[B]
      %14 = sum %10 over 1 : f32[B]
      along the row
      %13 = div %12.row, 3 : f32[B]
      %15 = div %14.row, 3 : f32[B]
      %16 = mul %15.row, %15.row : f32[B]
      %17 = sub %13.row, %16.row : f32[B]
      %18 = max 0, %17.row : f32[B]
      %19 = mul_add %18.row, 0, %18.row : f32[B]
      materialize %19.row                                            # output y
    in all: 1 kernel, 35*B FLOP, 16*B bytes
    unfused: 35*B FLOP, 248*B bytes
    ");
}

#[test]
fn a_variance_down_the_columns_is_one_pass_with_its_sum() {
    assert_snapshot!(fused(|b| {
        let x = x(b, "x", 3);
        let mean = b.mean(x, &[0]);
        let variance = b.variance(x, &[0]);
        b.div(variance, mean)
    }), @"
    kernel 0: B x 3, 12*B FLOP, 12*B + 24 bytes
      %1 = sum x over 0 : f32[3]
      %5 = variance x over 0 : f32[3]
    kernel 1: 1 x 3, 6 FLOP, 36 bytes                                # %5 is known when kernel 0 is done
      %4 = div %1, B : f32[3]
      %6 = div %5, %4 : f32[3]
      materialize %6                                                 # output y
    in all: 2 kernels, 12*B + 6 FLOP, 12*B + 60 bytes
    unfused: 12*B + 6 FLOP, 24*B + 84 bytes
    ");
}

#[test]
fn a_map_of_two_values_that_lie_elsewhere_is_kept() {
    assert_snapshot!(fused(|b| {
        let turned = [x(b, "x", 6), x(b, "y", 6)].map(|x| split_and_turned(b, x, [2, 3], &[0, 2, 1]));
        let product = b.mul(turned[0], turned[1]);
        let shape = b.shape(product);
        let sum = b.sum(product, &[0, 1]);
        let sum = b.broadcast(sum, &shape, &[2]);
        b.mul(product, sum)
    }), @"
    kernel 0: b B, i 3, j 2, 12*B FLOP, 72*B + 8 bytes
      %6 = mul x[b, j, i], y[b, j, i] : f32[B,3,2]
      %7 = sum %6 over 0,1 : f32[2]
      materialize %6                                                 # for kernel 1: to rematerialize it takes 1 operation, 2 reads
    kernel 1: 3*B x 2, 6*B FLOP, 48*B + 8 bytes                      # %7 is known when kernel 0 is done
      %9 = mul %6, %7.col : f32[B,3,2]
      materialize %9                                                 # output y
    in all: 2 kernels, 18*B FLOP, 120*B + 16 bytes
    unfused: 18*B FLOP, 240*B + 16 bytes
    ");
}

#[test]
fn what_is_transposed_and_then_repeated_is_copied_in_between() {
    assert_snapshot!(fused(|b| {
        let x = x(b, "x", 6);
        let shape = Shape([Dim::B, Dim::Fixed(3), Dim::Fixed(5), Dim::Fixed(2)].to_vec());
        let z = input(b, "z", TensorType::f32(shape.clone()));
        let bent = b.tanh(x);
        let turned = split_and_turned(b, bent, [2, 3], &[0, 2, 1]);
        let repeated = b.broadcast(turned, &shape, &[0, 1, 3]);
        b.mul(repeated, z)
    }), @"
    kernel 0: B x 6, 6*B FLOP, 48*B bytes
      %2 = tanh x : f32[B,6]
      materialize %2                                                 # for kernel 1: used in another shape
    kernel 1: b B, i 3, j 2, 6*B FLOP, 48*B bytes                    # %2 comes from kernel 0, over B x 6
      %5 = add %2[b, j, i], -0 : f32[B,3,2]
      materialize %5                                                 # for kernel 2: used in another shape
    kernel 2: b 3*B, i 5, j 2, 30*B FLOP, 264*B bytes                # %5 comes from kernel 1, over 3*B x 2
      %7 = mul %5[b, j], z : f32[B,3,5,2]
      materialize %7                                                 # output y
    in all: 3 kernels, 42*B FLOP, 360*B bytes
    unfused: 42*B FLOP, 408*B bytes
    ");
}

#[test]
fn what_only_lies_behind_the_batch_is_not_copied_to_be_repeated() {
    let fused = fused(|b| {
        let x = x(b, "x", 12);
        let last = split_and_turned(b, x, [4, 3], &[1, 2, 0]);
        let (mean, shape) = (b.mean(last, &[0]), b.shape(last));
        let mean = b.broadcast(mean, &shape, &[1, 2]);
        let moved = b.sub(last, mean);
        b.transpose(moved, &[2, 0, 1])
    });
    assert!(!fused.to_string().contains(", -0 :"), "{fused}");
}

#[test]
fn what_several_values_are_made_of_is_kept_instead_of_them() {
    let fused = fused(|b| {
        let (x, w) = (x(b, "x", 3), parameter(b, "w", &[3, 4]));
        let z = b.dot(x, w, false, false);
        let (square, size) = (b.mul(z, z), b.abs(z));
        let bent = b.sigmoid(square);
        let both = b.mul(bent, size);
        // After the sum of everything all three are needed again, each less than what it is made of is worth by itself.
        let (sum, shape) = (b.sum(both, &[0, 1]), b.shape(z));
        let sum = b.broadcast(sum, &shape, &[]);
        let moved = b.add(square, sum);
        let scaled = b.mul(moved, size);
        b.mul(scaled, bent)
    });
    assert_snapshot!(fused.to_string(), @"
    kernel 0: B x 4, 44*B FLOP, 28*B + 52 bytes
      %2 = dot x, w : f32[B,4]
      %3 = mul %2, %2 : f32[B,4]
      %4 = abs %2 : f32[B,4]
      %5 = sigmoid %3 : f32[B,4]
      %6 = mul %5, %4 : f32[B,4]
      %7 = sum %6 over 0,1 : f32[]
      materialize %2                                                 # for kernel 1: dot runs once
    kernel 1: B x 4, 24*B FLOP, 32*B + 4 bytes                       # %7 is known when kernel 0 is done
      %3 = mul %2, %2 : f32[B,4]                                     # rematerialized: 1 operation
      %4 = abs %2 : f32[B,4]                                         # rematerialized: 1 operation
      %5 = sigmoid %3 : f32[B,4]                                     # rematerialized: 2 operations
      %9 = add %3, %7.one : f32[B,4]
      %10 = mul %9, %4 : f32[B,4]
      %11 = mul %10, %5 : f32[B,4]
      materialize %11                                                # output y
    in all: 2 kernels, 68*B FLOP, 60*B + 56 bytes
    unfused: 56*B FLOP, 316*B + 56 bytes
    ");
}
