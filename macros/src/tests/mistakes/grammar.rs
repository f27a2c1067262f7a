//! What is no part of the grammar, and how the parser goes on after it.

use insta::assert_snapshot;

use super::{body, clauses, signature};
use crate::tests::mistakes;

#[test]
fn missing_comma() {
    assert_snapshot!(body("Dense(16) relu, Dense(4, bias = false init = zeros)"), @"
    1:41: expected `,`, found `relu`
    1:69: expected `,`, found `init`
    ");
}

#[test]
fn missing_arrow() {
    assert_snapshot!(signature("x: [B, 8] y: [B, 4]"), @"1:15: expected `->`, found `y`");
}

#[test]
fn missing_output() {
    assert_snapshot!(signature("x: [B, 8]"), @"1:14: expected `->`, found `>`");
}

#[test]
fn no_ports() {
    assert_snapshot!(signature("() -> ()"), @"1:5: expected a port like `x: [B, 8]`, found the end");
}

#[test]
fn missing_semicolon() {
    assert_snapshot!(clauses("loss = mean(y)\nmetric m = mean(x)"), @"
    3:1: expected `;`, found `metric`
    3:18: expected `;`, found the end
    ");
}

#[test]
fn missing_body() {
    assert_snapshot!(mistakes("Net<[B, 8] -> [B, 4]>\nloss = mean(out);"), @"2:1: expected `{` and the body of `Net`, found `loss`");
}

#[test]
fn stray_tokens() {
    assert_snapshot!(body("Dense(16) & relu, => tanh, Dense(4 4), Dense(,)"), @"
    1:41: expected `,`, found `&`
    1:49: expected a layer or an activation, found `=>`
    1:66: expected `,`, found `4`
    1:76: expected an expression, found `,`
    ");
}

#[test]
fn names_that_were_passed_over_are_not_unknown() {
    assert_snapshot!(mistakes(
        "const W 16;
         Net<x: [B, W] -> y: [B, 4]> { Dense(4) is h, Dense(W) }
         loss = mean(h) + mean(zzz);"
    ), @"
    1:9: expected `=`, found `16`
    2:49: expected `,`, found `is`
    3:32: unknown name `zzz`; there are `x` and `y`, and a target is declared with the loss: `loss(zzz: [B, ..]) = ..`
    ");
}

#[test]
fn an_argument_of_a_block_with_a_type() {
    let text = "block Body(width: usize = 4, n) { Dense(width), Dense(n) } Net<x: [B, 4] -> y: [B, 4]> { Body(8, 4) }";
    assert_snapshot!(mistakes(text), @"1:17: expected `,` or `=` after `width`: arguments of a block have no type, found `:`");
}

#[test]
fn loss_without_a_network() {
    assert_snapshot!(mistakes("loss = mean(y); metric m = mean(y);"), @"1:1: `loss` comes after the network that it belongs to");
}

#[test]
fn neither_item_nor_clause() {
    assert_snapshot!(mistakes("fn main() { } Net { Dense(4) } 3"), @"
    1:1: expected a network, `const`, `act`, `block`, `loss`, `metric` or `scalar`, found `fn`
    1:19: expected `<` and the signature of `Net`, found `{`
    1:32: expected a network, `const`, `act`, `block`, `loss`, `metric` or `scalar`, found `3`
    ");
}

#[test]
fn every_mistake_at_once() {
    assert_snapshot!(mistakes(
        "pub Mlp<image: [B, 784] -> logits: [B, 12]> {
             Dense(256, bais = false), BatchNorm(momentum = 1.5), relu,
             Dense(128) relu,
             Dense(10),
         }
         loss(label: [u8; B]) = cros_entropy(logits, label);
         metric accuracy = mean(argmax(logits) == lable);"
    ), @"
    2:25: unknown argument `bais` of `Dense`; did you mean `bias`?
    2:61: `momentum` of `BatchNorm` must be a number between 0 and 1, found `1.5`
    3:25: expected `,`, found `relu`
    6:33: unknown function `cros_entropy`; did you mean `cross_entropy`?
    7:51: unknown name `lable`; did you mean `label`?
    ");
}
