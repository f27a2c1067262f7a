//! Blocks, residuals, repetition and functions of the user's own.

use insta::assert_snapshot;

use super::{body, clauses};
use crate::tests::mistakes;

/// A network on `x: [B, 8]` behind these items.
fn items(items: &str, stages: &str) -> String {
    mistakes(&format!("{items}\nNet<x: [B, 8] -> y: [B, 4]> {{ {stages} }}"))
}

#[test]
fn none_in_all_of_them_at_once() {
    assert_snapshot!(items(
        "act swish = |x, beta = 1.0| x * sigmoid(beta * x);
         act leaky = |x| if x > 0.0 { x } else if x < -1 { -0.01 } else { 0.01 * x };
         block Wide(n, by = 2 * n, bias = true) { Dense(by, bias = bias), swish(beta = 0.5), Dense(n) }",
        "residual { Wide(8) } skip { leaky }, repeat(3) { Wide(n = 8, bias = false), |x| x * swish(x, beta = 2) }, Dense(4)"
    ), @"");
}

#[test]
fn sizes_from_rust_are_left_to_rust() {
    assert_snapshot!(items("const H = 2 * crate::HIDDEN;", "Dense(H), Dense(config::N / 2 - 1), Dense(4)"), @"");
}

#[test]
fn unknown_block() {
    assert_snapshot!(items("block Residual(c) { Dense(c) }", "Residul(8), Dense(4)"), @"");
}

#[test]
fn recursive_blocks() {
    assert_snapshot!(items("block A(c) { Z(c) } block Z(c) { Dense(c), A(c) }", "A(8), Dense(4)"), @"");
}

#[test]
fn blocks_that_grow_beyond_bounds() {
    let blocks: String = (0..40).map(|n| format!("block Z{n}() {{ Z{}, Z{} }} ", n + 1, n + 1)).collect();
    assert_snapshot!(items(&format!("{blocks} block Z40() {{ relu }}"), "Z0, Dense(4)").lines().count(), @"");
}

#[test]
fn arguments_of_a_block() {
    assert_snapshot!(items("block R(c, bias = true) { Dense(c, bias = bias) }", "R, R(c = 8, width = 3), R(8, 3), R(0), Dense(4)"), @"");
}

#[test]
fn unused_names() {
    assert_snapshot!(items(
        "act swish = |x, beta = 1.0| x * sigmoid(x);\nblock R(c, heads) { Dense(c) }",
        "R(8, 2), swish, |x| 1.0, Dense(4)"
    ), @"");
}

#[test]
fn a_mistake_in_a_block_is_told_once() {
    assert_snapshot!(items("block R(c) { Dense(c), relo }", "R(8), R(8), Dense(4)"), @"");
}

#[test]
fn a_mistake_in_a_block_that_nobody_uses() {
    assert_snapshot!(items("block R(c) { Dense(c), relo }\nact f = |x| expp(x);", "Dense(4)"), @"");
}

#[test]
fn branches_of_different_shapes() {
    assert_snapshot!(body("residual { Dense(16) }, residual { Dense(8), relu } skip { Dense(9) }, Dense(4)"), @"");
}

#[test]
fn branches_of_different_shapes_with_a_shortcut() {
    assert_snapshot!(body("Dense(8), residual { Dense(8), relu } skip { Dense(9) }, Dense(4)"), @"");
}

#[test]
fn structures_without_a_body() {
    assert_snapshot!(body("residual, residual { }, repeat(2), skip { relu }, { relu }, relu { tanh }, residual(3) { relu }, Dense(4)"), @"");
}

#[test]
fn counts_of_repeat() {
    assert_snapshot!(body("repeat { relu }, repeat(0) { relu }, repeat(2, 3) { relu }, repeat(100000) { relu }, Dense(4)"), @"");
}

#[test]
fn wrong_arity_of_a_function() {
    assert_snapshot!(body("|x, y| x * y, || 1.0, |x = 1.0| x, |x, x = 2| x, |x| { x }, Dense(4)"), @"");
}

#[test]
fn a_function_that_is_none() {
    assert_snapshot!(items("act f = 3;\nact g = |x| f(x) * mean(x);", "g, |x| dense1.weight * x, |x| y + x, |x| x > 0, Dense(4)"), @"");
}

#[test]
fn functions_that_call_themselves() {
    assert_snapshot!(items("act f = |x| g(x) + 1; act g = |x| f(x);", "f, Dense(4)"), @"");
}

#[test]
fn numbers_of_a_function_in_an_expression() {
    assert_snapshot!(mistakes(
        "act swish = |x, beta = 1.0| x * sigmoid(beta * x);
         Net<x: [B, 8] -> y: [B, 4]> { swish(beta = 2, 3), swish(gamma = 1), Dense(4) }
         loss = mean(swish(y)) + mean(swish(y, 3)) + mean(swish(y, beta = 3)) + mean(swish());"
    ), @"");
}

#[test]
fn names_that_are_taken() {
    assert_snapshot!(items(
        "act relu = |x| x; block Dense(c) { relu } act f = |x| x; block f(c) { Dense(c) }\n/// Docs.\nact g = |x| x;",
        "residual { Dense(8) as a, relu as a } as x, Dense(4)"
    ), @"");
}

#[test]
fn conditions() {
    assert_snapshot!(clauses("loss = mean(if y { 1 } else { 2 }) + mean(if y > 0 { h } else { y }) + if mean(y) > 0 { 1 };"), @"");
}

#[test]
fn weights_and_layers_as_values() {
    assert_snapshot!(clauses("loss = mean(weights) + mean(dense1) + mean(relu1) + mean(h) + sum(crate::f(2));"), @"");
}
