//! Signatures, targets, and the names in them.

use insta::assert_snapshot;

use super::{body, clauses, signature};
use crate::tests::mistakes;

#[test]
fn batch_missing() {
    assert_snapshot!(signature("x: [8] -> [B, 4]"), @"1:8: `x` needs the batch as its first axis: [B, 8]");
}

#[test]
fn batch_not_first() {
    assert_snapshot!(signature("x: [8, B] -> [B, B]"), @"
    1:12: `B`, the batch, is the first axis of `x` and no other
    1:22: `B`, the batch, is the first axis of `out` and no other
    ");
}

#[test]
fn no_axes() {
    assert_snapshot!(signature("x: [] -> [B, 4]"), @"1:8: `x` needs the batch as its first axis: [B]");
}

#[test]
fn too_many_axes() {
    assert_snapshot!(signature("x: [B, 1, 2, 3, 4, 5, 6] -> [B, 4]"), @"1:8: `x` has 7 axes; at most 6 are supported");
}

#[test]
fn input_without_a_shape() {
    assert_snapshot!(signature("image -> logits: [B, 4]"), @"1:5: `image` needs a shape: `image: [B, ...]`");
}

#[test]
fn unknown_element_type() {
    assert_snapshot!(signature("x: [f64; B, 8] -> [str; B, 4]"), @"
    1:9: unknown element type `f64`; there are `f32`, `u8`, `u16` and `u32`
    1:24: unknown element type `str`; there are `f32`, `u8`, `u16` and `u32`
    ");
}

#[test]
fn port_named_like_the_batch() {
    assert_snapshot!(signature("B: [B, 8] -> y: [B, 4]"), @"1:5: `B` is the batch; choose another name");
}

#[test]
fn duplicate_port() {
    assert_snapshot!(signature("x: [B, 8] -> x: [B, 4]"), @"1:18: the name `x` is already taken in this network");
}

#[test]
fn duplicate_name() {
    assert_snapshot!(body("Dense(4) as y, Dense(4) as h, Dense(4) as h, Dense(4) as dense5, Dense(4)"), @"
    1:43: the name `y` is already taken in this network
    1:73: the name `h` is already taken in this network
    1:88: the name `dense5` is already taken in this network
    ");
}

#[test]
fn duplicate_network() {
    assert_snapshot!(mistakes("A<[B, 1] -> [B, 1]> { relu } A<[B, 1] -> [B, 1]> { relu }"), @"1:30: there are two networks `A`");
}

#[test]
fn target_without_a_name() {
    assert_snapshot!(clauses("loss([u8; B]) = mean(y);"), @"2:6: a target needs a name: `label: [B, ...]`");
}

#[test]
fn target_named_like_an_output() {
    assert_snapshot!(clauses("loss(y: [u8; B]) = mean(h);"), @"2:6: the name `y` is already taken in this network");
}
