//! What is legal, and hardly what was meant: which lint, at which token, and which declarations nothing is said of.

use insta::assert_snapshot;

use super::mistakes;

/// The lints of all networks, which are without mistakes, as `line:column: name`.
fn lints(source: &str) -> String {
    assert_eq!(mistakes(source), "");
    alone(source)
}

fn alone(source: &str) -> String {
    let mut errors = crate::diagnostics::Errors::default();
    let program = crate::parse::program(source.parse().expect("the tokens of a test are tokens"), &mut errors);
    let bump = bumpalo::Bump::new();
    let networks = crate::resolve::program(&program, &bump, &mut errors).networks;
    let mut found: Vec<_> = networks.iter().flat_map(crate::lint::network).map(|found| found.key()).collect();
    found.sort_by_key(|(_, line, column)| (*line, *column));
    found.iter().map(|(lint, line, column)| format!("{line}:{}: {lint}\n", column + 1)).collect()
}

/// Of a network that ends like this and tells classes apart.
fn classes(body: &str, clauses: &str) -> String {
    lints(&format!("Net<x: [B, 8] -> y: [B, 4]> {{ {body} }}\n{clauses}"))
}

#[test]
fn softmax_is_part_of_cross_entropy() {
    let loss = "loss(t: [u8; B]) = cross_entropy(y, t);";
    assert_snapshot!(classes("Dense(4), softmax", loss), @"1:41: softmax_before_cross_entropy");
    assert_snapshot!(classes("Dense(4), log_softmax, flatten", loss), @"1:41: softmax_before_cross_entropy");
    assert_snapshot!(classes("residual { relu } skip { relu }, repeat(2) { Dense(4), softmax }", loss), @"1:86: softmax_before_cross_entropy");
    assert_snapshot!(lints("block Out(n) { Dense(n), softmax } A<x: [B, 8] -> y: [B, 4]> { Out(4) } loss(t: [u8; B]) = cross_entropy(y, t);
        act soft = |x| softmax(x); C<x: [B, 8] -> y: [B, 4]> { Dense(4) as z, soft } loss(t: [u8; B]) = cross_entropy(y, t) + cross_entropy(soft(z), t);"), @"
    1:26: softmax_before_cross_entropy
    2:79: softmax_before_cross_entropy
    2:141: softmax_before_cross_entropy
    ");
    assert_snapshot!(classes("Dense(4) as z, softmax as p", "loss(t: [u8; B]) = cross_entropy(p, t) + nll(softmax(z), t) + nll(p, t);"), @"
    1:46: softmax_before_cross_entropy
    1:46: softmax_before_nll
    2:46: softmax_before_nll
    ");
    assert_snapshot!(classes("Dense(4)", "loss(t: [u8; B]) = cross_entropy(y, t); metric m = cross_entropy(log_softmax(y), t);"), @"2:66: softmax_before_cross_entropy");
    // The logits are what the loss takes, and `nll` takes what it asks for.
    assert_snapshot!(classes("Dense(4) as z, softmax", "loss(t: [u8; B]) = cross_entropy(z, t) + nll(log_softmax(z), t);"), @"");
    assert_snapshot!(classes("Dense(4), softmax, Dense(4)", loss), @"");
    assert_snapshot!(classes("Dense(4), residual { softmax }", loss), @"");
}

#[test]
fn the_sigmoid_is_part_of_bce_with_logits() {
    assert_snapshot!(classes("Dense(4), sigmoid", "loss(t: [B, 4]) = bce_with_logits(y, t) + bce_with_logits(hard_sigmoid(y), t);"), @"
    1:41: sigmoid_before_bce_with_logits
    2:59: sigmoid_before_bce_with_logits
    ");
    assert_snapshot!(classes("Dense(4), sigmoid", "loss(t: [B, 4]) = mse(y, t) + bce_with_logits(-y, t);"), @"");
}

#[test]
fn batch_norm_subtracts_a_bias() {
    assert_snapshot!(classes("Dense(4), BatchNorm, relu, Dense(4, bias = true), flatten, BatchNorm", ""), @"
    1:31: bias_before_batch_norm
    1:58: bias_before_batch_norm
    ");
    assert_snapshot!(classes("repeat(2) { BatchNorm, relu, Dense(4) }", ""), @"1:60: bias_before_batch_norm");
    assert_snapshot!(lints("block Norm(n) { Dense(n), BatchNorm } block Dry(n) { Dense(n) }
        A<x: [B, 8] -> y: [B, 4]> { Norm(4), repeat(2) { Dry(4) }, BatchNorm } B<x: [B, 8] -> y: [B, 4]> { Norm(4) }"), @"
    1:17: bias_before_batch_norm
    1:17: bias_before_batch_norm
    1:54: bias_before_batch_norm
    ");
    // Without a bias, with something between, where both branches have it, and where a loss knows it.
    assert_snapshot!(classes("Dense(4, bias = false), BatchNorm, Dense(4), relu, BatchNorm, Dense(4), LayerNorm", ""), @"");
    assert_snapshot!(classes("Dense(4), residual { BatchNorm }, BatchNorm, Dense(4) as z, BatchNorm", "loss = mean(z);"), @"");
}

#[test]
fn momentum_is_what_is_kept() {
    assert_snapshot!(classes("BatchNorm(momentum = 0.1), Dense(4), relu, BatchNorm(0.01), relu, BatchNorm(momentum = 1 - 0.9)", ""), @"
    1:41: batch_norm_momentum
    1:84: batch_norm_momentum
    1:107: batch_norm_momentum
    ");
    assert_snapshot!(classes("BatchNorm, BatchNorm(momentum = 0.5), BatchNorm(momentum = 0), BatchNorm(1), Dense(4)", ""), @"");
}

#[test]
fn nothing_is_trained_before_a_step() {
    let loss = "loss(t: [B, 4]) = mse(y, t);";
    assert_snapshot!(classes("Dense(8), step, Dense(4)", loss), @"1:41: step_before_loss");
    assert_snapshot!(classes("Dense(8), residual { Dense(8), step }, repeat(2) { step, Dense(8) }, |x| sign(x), Dense(4)", loss), @"
    1:62: step_before_loss
    1:82: step_before_loss
    1:100: step_before_loss
    ");
    assert_snapshot!(classes("prelu, step, Dense(4) as h, step", "loss(t: [B, 4]) = mse(h, t); metric m = mean(y);"), @"1:38: step_before_loss");
    // Nothing before it, no loss, a loss that does not look at it, or that looks at what comes before.
    assert_snapshot!(classes("step, Dense(4)", loss), @"");
    assert_snapshot!(classes("Dense(8), step, Dense(4)", ""), @"");
    assert_snapshot!(classes("Dense(4) as z, step", "loss(t: [B, 4]) = mse(z, t);"), @"");
    assert_snapshot!(classes("Dense(4) as z, step", "loss(t: [B, 4]) = mse(z, t) + mean(y);"), @"");
    assert_snapshot!(classes("residual { step }, repeat(1) { step, Dense(4) }", "loss = mean(y);"), @"");
}

#[test]
fn nested_repetitions_are_looked_through_once() {
    let body = "repeat(2) { ".repeat(30) + "step, Dense(8), BatchNorm" + &" }".repeat(30);
    // Too many stages to build, but not to read.
    assert_eq!(alone(&format!("Net<x: [B, 8] -> y: [B, 8]> {{ {body} }} loss = mean(y);")).lines().count(), 2);
}

#[test]
fn some_metrics_never_change() {
    assert_snapshot!(classes("Dense(4)", "loss(t: [u8; B]) = cross_entropy(y, t);
        metric a = 1; metric b = mean(2 * 3 > 4); metric c = top_k(y, t, k = 4); metric d = top_k(y, t, k = 3); metric e = l2(weights);
        metric f = mean(t == 1);"), @"
    3:16: constant_metric
    3:30: constant_metric
    3:62: constant_metric
    ");
}

#[test]
fn one_column_is_one_class() {
    let one = |body: &str, clauses: &str| lints(&format!("Net<x: [B, 8] -> y: [B, 1]> {{ {body} }} {clauses}"));
    assert_snapshot!(one("Dense(1)", "loss(t: [u8; B]) = cross_entropy(y, t); metric accuracy = mean(argmax(y) == t);"), @"
    1:61: one_class
    1:105: one_class
    ");
    assert_snapshot!(one("Dense(1), softmax", "loss(t: [B, 1]) = mse(y, t) + mean(softmax(y));"), @"
    1:41: one_class
    1:86: one_class
    ");
    assert_snapshot!(one("Dense(1)", "loss(t: [B, 1]) = bce_with_logits(y, t); metric m = mean((y > 0) == (t > 0.5)) + max(y);"), @"");
}

#[test]
fn attributes_name_lints_that_there_are() {
    assert_snapshot!(mistakes(
        "#[allow(one_class, dead_code)] #[deny(gradloom::one_class)] A<x: [B, 8] -> y: [B, 1]> { Dense(1) }
         #[allow(one_clas)] #[allow(gradloom::nonsense, clippy::all)] B<x: [B, 8] -> y: [B, 1]> { Dense(1) }
         #[expect(one_class, reason = \"none\")] #[warn(missing_docs)] C<x: [B, 8] -> y: [B, 1]> { Dense(1) }"
    ), @"
    2:18: unknown lint `one_clas`; did you mean `one_class`?
    2:37: unknown lint `nonsense`; there are `softmax_before_cross_entropy`, `softmax_before_nll`, `sigmoid_before_bce_with_logits`, `bias_before_batch_norm`, `batch_norm_momentum`, `step_before_loss`, `constant_metric` and `one_class`
    3:19: lints of `network!` cannot be expected; write `#[allow(one_class)]`
    ");
}

#[test]
fn rustc_gets_the_attributes_that_are_its_own() {
    let expanded = super::expanded(
        "#[allow(one_class, dead_code, reason = \"why\")] #[allow(constant_metric, reason = \"why\")] #[deny(step_before_loss)]
         #[allow(bias_before_batch_norm,)] Net<x: [B, 1] -> y: [B, 1]> { relu, softmax } metric m = 1;",
    );
    let before = expanded.split("struct Net").next().expect("there is a struct");
    assert_snapshot!(before, @r#"
    #[allow(dead_code, reason = "why")]
    #[::core::prelude::v1::derive(
        ::core::clone::Clone,
        ::core::marker::Copy,
        ::core::fmt::Debug
    )]
    "#);
}
