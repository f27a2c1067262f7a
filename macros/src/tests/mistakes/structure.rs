//! Blocks, residuals, repetition and functions of the user's own.

use insta::assert_snapshot;

use super::{body, clauses};
use crate::tests::mistakes;

/// A network on `x: [B, 8]` after these items.
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
    assert_snapshot!(items("block Residual(c) { Dense(c) }", "Residul(8), Dense(4)"), @"2:31: unknown layer `Residul`; did you mean `residual`?");
}

#[test]
fn recursive_blocks() {
    assert_snapshot!(items("block A(c) { Z(c) } block Z(c) { Dense(c), A(c) }", "A(8), Dense(4)"), @r"
    1:14: the block `Z` contains itself
    1:44: the block `A` contains itself
    ");
}

#[test]
fn blocks_that_grow_beyond_bounds() {
    let blocks: String = (0..40).map(|n| format!("block Z{n}() {{ Z{}, Z{} }} ", n + 1, n + 1)).collect();
    assert_snapshot!(items(&format!("{blocks} block Z40() {{ relu }}"), "Z0, Dense(4)"), @"1:692: with `Z29`, the block `Z28` stands for more than 10000 stages");
}

#[test]
fn arguments_of_a_block() {
    assert_snapshot!(items("block R(c, bias = true) { Dense(c, bias = bias) }", "R, R(c = 8, width = 3), R(8, 3), R(0), Dense(4)"), @r"
    1:33: `n` of `Dense` must be an integer of at least 1, found `c` = 0
    1:43: `bias` of `Dense` must be `true` or `false`, found `bias`
    2:31: `R` needs the argument `c`
    2:43: unknown argument `width` of `R`; there are `c` and `bias`
    ");
}

#[test]
fn unused_names() {
    assert_snapshot!(items(
        "act swish = |x, beta = 1.0| x * sigmoid(x);\nblock R(c, heads) { Dense(c) }",
        "R(8, 2), swish, |x| 1.0, Dense(4)"
    ), @r"
    1:17: `beta` is never used
    2:12: `heads` is never used
    3:47: `|x| 1.0` must give what it takes, [B, 8] of f32, but gives a single f32
    3:48: `x` is never used
    ");
}

#[test]
fn a_mistake_in_a_block_is_told_once() {
    assert_snapshot!(items("block R(c) { Dense(c), relo }", "R(8), R(8), Dense(4)"), @"1:24: unknown activation `relo`; did you mean `relu`?");
}

#[test]
fn a_mistake_in_a_block_that_nobody_uses() {
    assert_snapshot!(items("block R(c) { Dense(c), relo }\nact f = |x| expp(x);", "Dense(4)"), @r"
    1:24: unknown activation `relo`; did you mean `relu`?
    2:13: unknown function `expp`; did you mean `exp`?
    ");
}

#[test]
fn branches_of_different_shapes() {
    assert_snapshot!(body("residual { Dense(16) }, residual { Dense(8), relu } skip { Dense(9) }, Dense(4)"), @r"
    1:31: `residual` adds its body to what comes in: the body gives [B, 16], but [B, 8] comes in; a `skip { .. }` after it can bring that to [B, 16]
    x [B,8] -> Dense(16) [B,16]
    ");
}

#[test]
fn branches_of_different_shapes_with_a_shortcut() {
    assert_snapshot!(body("Dense(8), residual { Dense(8), relu } skip { Dense(9) }, Dense(4)"), @r"
    1:41: the branches of `residual` must have one shape: its body gives [B, 8], its `skip` [B, 9]
    x [B,8]
    ");
}

#[test]
fn structures_without_a_body() {
    assert_snapshot!(body("residual, residual { }, repeat(2), skip { relu }, { relu }, relu { tanh }, residual(3) { relu }, Dense(4)"), @r"
    1:39: expected `{` and the body of `residual`, found `,`
    1:50: `residual` has an empty body; it needs at least one layer
    1:64: expected `{` and the body of `repeat(n)`, found `,`
    1:66: `skip { .. }` comes right after `residual { .. }`, without a comma between them
    1:81: a body follows `residual`, `skip` or `repeat(n)`
    1:91: `relu` has no body; `residual { .. }` and `repeat(n) { .. }` have one
    1:106: `residual` takes no arguments
    ");
}

#[test]
fn counts_of_repeat() {
    assert_snapshot!(body("repeat { relu }, repeat(0) { relu }, repeat(2, 3) { relu }, repeat(100000) { relu }, Dense(4)"), @r"
    1:31: `repeat` needs the argument `n` (how often)
    1:55: a size is an integer of at least 1, found `0`
    1:78: `repeat` takes one argument, `n`
    ");
}

#[test]
fn wrong_arity_of_a_function() {
    assert_snapshot!(body("|x, y| x * y, || 1.0, |x = 1.0| x, |x, x = 2| x, |x| { x }, Dense(4)"), @r"
    1:35: a function takes one value; `y` can be a trainable number, which needs a start: `y = 1.0`
    1:45: a function needs a name for what comes in: `|x| ..`
    1:54: `x` is what comes in and has no value of its own; trainable numbers follow it: `|x, x = ..|`
    1:70: the name `x` is already taken in this network
    1:84: a function is one expression, without braces around it
    ");
}

#[test]
fn options_and_shapes_of_element_wise_functions() {
    assert_snapshot!(items("", "|x| pow(x), |x| pow(x, 3), |x| pow(x, n = 65), |x| pow(x, n = 0), |x| clamp(x, 1), Dense(4)"), @r"
    2:35: `pow` needs the argument `n` (the exponent)
    2:54: options of `pow` have names; write `n = 3`
    2:62: `pow` needs an exponent `n` of at most 64, found 65
    2:93: `n` of `pow` must be an integer of at least 1, found `0`
    2:101: `clamp` needs the argument `high`
    ");
    assert_snapshot!(clauses("loss = mean(maximum(y, x));"), @"2:13: `maximum` needs operands of one shape, but for sizes of 1, found [B, 4] and [B, 8]");
}

#[test]
fn a_function_that_is_none() {
    assert_snapshot!(items("act f = 3;\nact g = |x| f(x) * mean(x);", "g, |x| dense1.weight * x, |x| y + x, |x| x > 0, Dense(4)"), @r"
    1:9: expected a function like `|x| x * sigmoid(x)`, found `3`
    2:13: unknown function `f`
    2:20: `mean` looks at more than one element; a function of your own works element by element
    3:38: a function of your own only knows its own names, not `dense1.weight`
    3:61: unknown name `y`
    3:68: `|x| x > 0` must give what it takes, [B, 8] of f32, but gives [B, 8] of bool
    ");
}

#[test]
fn functions_that_call_themselves() {
    assert_snapshot!(items("act f = |x| g(x) + 1; act g = |x| f(x);", "f, Dense(4)"), @"1:35: the function `f` is defined in terms of itself");
}

#[test]
fn numbers_of_a_function_in_an_expression() {
    assert_snapshot!(mistakes(
        "act swish = |x, beta = 1.0| x * sigmoid(beta * x);
         Net<x: [B, 8] -> y: [B, 4]> { swish(beta = 2, 3), swish(gamma = 1), Dense(4) }
         loss = mean(swish(y)) + mean(swish(y, 3)) + mean(swish(y, beta = 3)) + mean(swish());"
    ), @r"
    2:56: an argument without a name comes before those with one
    2:66: unknown argument `gamma` of `swish`; there is `beta`
    3:22: `beta` is trained where `swish` is a stage; in an expression give it a value: `beta = ..`
    3:48: options of `swish` have names; write `beta = 3`
    3:86: `swish` needs the argument `x`
    3:86: `swish` needs the argument `beta`
    ");
}

#[test]
fn names_that_are_taken() {
    assert_snapshot!(items(
        "act relu = |x| x; block Dense(c) { relu } act f = |x| x; block f(c) { Dense(c) }\n#[inline]\nact g = |x| x;",
        "residual { Dense(8) as a, relu as a } as x, Dense(4)"
    ), @r"
    1:5: `relu` is part of the language; choose another name
    1:25: `Dense` is part of the language; choose another name
    1:31: `c` is never used
    1:64: the name `f` is defined twice
    2:1: `act` takes documentation, but no attributes
    4:65: the name `a` is already taken in this network
    4:72: the name `x` is already taken in this network
    ");
}

#[test]
fn conditions() {
    assert_snapshot!(clauses("loss = mean(if y { 1 } else { 2 }) + mean(if y > 0 { h } else { y }) + if mean(y) > 0 { 1 };"), @"2:92: expected `else { .. }`, found `;`");
}

#[test]
fn weights_and_layers_as_values() {
    assert_snapshot!(clauses("loss = mean(weights) + mean(dense1) + mean(relu1) + mean(h) + sum(crate::f(2));"), @"
    2:13: `weights` stands for the weights of all layers; it is the operand of `l1(weights)` or `l2(weights)`, and of nothing else
    2:29: unknown name `dense1`; there are `h`, `x` and `y`, and a target is declared with the loss: `loss(dense1: [B, ..]) = ..`
    2:44: `relu1` is a stage; write `as` and a name after it to use its result
    ");
}

#[test]
fn branches_without_braces() {
    assert_snapshot!(mistakes("Net<x: [B, 8] -> y: [B, 8]> { concat { Dense(4), Dense(4) } }"), @"
    1:40: expected `{` and the body of `concat`, found `Dense`
    1:50: expected `{` and the body of `concat`, found `Dense`
    ");
}
