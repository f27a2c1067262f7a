//! Layers: unknown ones, and those that do not fit.

use insta::assert_snapshot;

use super::{body, signature};
use crate::tests::mistakes;

#[test]
fn unknown_layer() {
    assert_snapshot!(body("Dense(16), BatchNrom, relu, Dense(4)"), @"1:42: unknown layer `BatchNrom`; did you mean `BatchNorm`?");
}

#[test]
fn unknown_layer_of_another_library() {
    assert_snapshot!(body("Linear(16), ReLU, Dense(4)"), @"
    1:31: unknown layer `Linear`; write `Dense(n)`: the size of what comes in is inferred
    1:43: unknown layer `ReLU`; did you mean `relu`?
    ");
}

#[test]
fn unknown_activation() {
    assert_snapshot!(body("Dense(16), rellu, Dense(4)"), @"1:42: unknown activation `rellu`; did you mean `relu`?");
}

#[test]
fn unknown_layer_is_one_mistake() {
    assert_snapshot!(mistakes(
        "Net<x: [B, 8, 8] -> y: [B, 4]> { Flaten, Dense(4) as h, Dense(5) }
         loss = mean(h * h) + mean(y) + mean(dense1.weight);"
    ), @"1:34: unknown layer `Flaten`; did you mean `flatten`?");
}

#[test]
fn function_as_a_stage() {
    assert_snapshot!(body("Dense(4), mean"), @"1:41: `mean` is a function for expressions, not a stage of a body");
}

#[test]
fn misfit_with_a_hint_and_the_trace() {
    assert_snapshot!(mistakes("Net<image: [B, 1, 28, 28] -> [B, 10]> { relu, Dense(10) }"), @"
    1:47: `Dense(10)` works along the last axis of [B, 1, 28, 28], which makes `out` [B, 1, 28, 10] instead of [B, 10]; insert `flatten` before it (gives [B, 784])
    image [B,1,28,28] -> Dense(10) [B,1,28,10]
    ");
}

#[test]
fn misfit_of_batch_norm() {
    assert_snapshot!(mistakes("Net<x: [B] -> [B, 10]> { BatchNorm, Dense(10) }"), @"
    1:26: `BatchNorm` needs [B, features] or [B, channels, ...], found [B]
    x [B]
    ");
}

#[test]
fn misfit_without_a_hint() {
    assert_snapshot!(mistakes("Net<[B] -> [B, 10]> { Dense(10) }"), @"
    1:23: `Dense(10)` needs [B, .., features], found [B]
    x [B]
    ");
}

#[test]
fn output_of_another_size() {
    assert_snapshot!(mistakes("Mlp<image: [B, 784] -> logits: [B, 12]> { Dense(256), relu, Dense(10) }
        loss(label: [u8; B]) = cross_entropy(logits, label);"), @"1:32: `Mlp` declares logits: [B, 12], but its last layer `Dense(10)` gives [B, 10]");
}

#[test]
fn output_of_another_type() {
    assert_snapshot!(mistakes("Mlp<image: [B, 784] -> [u8; B]> { Dense(256) }"), @"1:24: `Mlp` declares [u8; B], but its last layer `Dense(256)` gives [B, 256]");
}

#[test]
fn empty_body() {
    assert_snapshot!(body(""), @"1:29: `Net` has an empty body; it needs at least one layer");
}

#[test]
fn input_of_class_ids() {
    assert_snapshot!(signature("image: [u8; B, 784] -> [B, 4]"), @"1:38: `Dense(4)` needs f32, found u8; put `normalize` before it, which makes numbers of the bytes of an image, or declare `image` without `u8;`");
}
