//! What the language promises and the macro cannot do yet.

use insta::assert_snapshot;

use super::{body, clauses};
use crate::tests::mistakes;

#[test]
fn blocks_and_functions() {
    assert_snapshot!(mistakes("act swish = |x, beta = 1.0| x * sigmoid(beta * x);\nblock Res(c) { relu }"), @"
    1:1: `act` is not supported yet
    2:1: `block` is not supported yet
    ");
}

#[test]
fn structure_in_a_body() {
    assert_snapshot!(body("residual { Dense(8) } skip { relu }, repeat(3) { relu }, concat { { relu } }, Dense(4)"), @"
    1:31: `residual { .. }` is not supported yet
    1:68: `repeat { .. }` is not supported yet
    1:88: `concat { .. }` is not supported yet
    ");
}

#[test]
fn lambdas() {
    assert_snapshot!(body("|x, b = 1.0| b * x, |x| if x > 0.0 { x } else { 0.01 * x }, Dense(4)"), @"
    1:31: a function of its own (`|x| ..`) is not supported yet
    1:51: a function of its own (`|x| ..`) is not supported yet
    ");
}

#[test]
fn flows() {
    assert_snapshot!(mistakes(
        "Two<(a: [B, 6], b: [B, 3]) -> (c: [B], d: [B, 16])> { let u = a -> Dense(1), relu; c = sum(u * b); }"
    ), @"
    1:20: a network with several inputs is not supported yet
    1:43: a network with several outputs is not supported yet
    1:55: a body of named flows is not supported yet
    ");
}

#[test]
fn sizes_from_rust() {
    assert_snapshot!(body("Dense(crate::HIDDEN), Dense(config::N)"), @"
    1:37: a size from a Rust constant is not supported yet
    1:59: a size from a Rust constant is not supported yet
    ");
}

#[test]
fn weights_as_a_whole() {
    assert_snapshot!(clauses("loss = mean(y) + 1e-4 * mean(weights);"), @"2:30: `weights` is not supported yet");
}
