//! Names that mean something already, wherever they are declared.

use insta::assert_snapshot;

use super::{body, clauses, signature};
use crate::tests::mistakes;

#[test]
fn the_batch_and_the_weights_are_no_names_for_anything_else() {
    assert_snapshot!(signature("weights: [B, 8] -> B: [B, 4]"), @"
    1:5: `weights` stands for the weights of all layers; choose another name
    1:24: `B` is the batch; choose another name
    ");
    // One mistake is told once: `weights` in the expression is not a second one.
    assert_snapshot!(clauses("loss(weights: [B, 4], B: [B]) = mean(weights * square(y)) + 0.1 * l2(weights);"), @"
    2:6: `weights` stands for the weights of all layers; choose another name
    2:23: `B` is the batch; choose another name
    ");
    assert_snapshot!(body("Dense(4) as weights, residual { Dense(4) as weights, relu as B } as B"), @"
    1:43: `weights` stands for the weights of all layers; choose another name
    1:75: `weights` stands for the weights of all layers; choose another name
    1:92: `B` is the batch; choose another name
    1:99: `B` is the batch; choose another name
    ");
    assert_snapshot!(mistakes("const weights = 3; const B = 4;"), @"
    1:7: `weights` stands for the weights of all layers; choose another name
    1:26: `B` is the batch; choose another name
    ");
    assert_snapshot!(mistakes("block R(weights, B) { Dense(8), relu }"), @"
    1:9: `weights` stands for the weights of all layers; choose another name
    1:18: `B` is the batch; choose another name
    ");
    assert_snapshot!(mistakes("act f = |weights, B = 1.0| weights * B; act g = |x, weights = 2.0| weights * x;"), @"
    1:10: `weights` stands for the weights of all layers; choose another name
    1:19: `B` is the batch; choose another name
    1:53: `weights` stands for the weights of all layers; choose another name
    ");
    assert_snapshot!(mistakes("act weights = |x| x; block B() { relu } act B = |x| x;"), @"
    1:5: `weights` stands for the weights of all layers; choose another name
    1:28: `B` is the batch; choose another name
    1:45: `B` is the batch; choose another name
    ");
}

#[test]
fn the_loss_and_the_optimizer_go_by_their_names_in_reports() {
    assert_snapshot!(body("Dense(4) as loss, Dense(4) as optimizer, Dense(4) as accumulation"), @"
    1:43: `loss` is part of the language; choose another name
    1:61: `optimizer` is part of the language; choose another name
    1:84: `accumulation` is part of the language; choose another name
    ");
    assert_snapshot!(clauses("loss(loss: [B, 4]) = mse(y, loss); metric optimizer = mean(y);"), @"
    2:6: `loss` is part of the language; choose another name
    2:43: `optimizer` is part of the language; choose another name
    ");
}

#[test]
fn a_raw_name_is_the_name() {
    assert_snapshot!(body("residual { relu as r#skip } as r#weights, Dense(4) as r#loss, Dense(4) as r#type"), @"
    1:50: the name `r#skip` is already taken in this network
    1:62: `r#weights` stands for the weights of all layers; choose another name
    1:85: `r#loss` is part of the language; choose another name
    ");
    assert_snapshot!(clauses("loss(r#B: [B, 4]) = mean(y); metric r#loss = mean(y); metric r#rate = mean(y); metric r#type = mean(y);"), @"
    2:6: `r#B` is the batch; choose another name
    2:37: `loss` is the loss of the network; choose another name for the metric
    2:62: a history has columns of its own, `epoch`, `steps`, `rate`, `seconds` and `validation_..`; choose another name for the metric than `r#rate`
    ");
}

#[test]
fn metrics_are_columns_of_a_history() {
    assert_snapshot!(clauses(
        "loss = mean(y);
         metric rate = mean(y); metric epoch = mean(y); metric steps = mean(y); metric seconds = mean(y);
         metric loss = mean(y); metric validation_loss = mean(y); metric validation_h = mean(y);
         metric rates = mean(y); metric validation = mean(y); metric weights = l2(weights); metric h = mean(h);"
    ), @"
    3:17: a history has columns of its own, `epoch`, `steps`, `rate`, `seconds` and `validation_..`; choose another name for the metric than `rate`
    3:40: a history has columns of its own, `epoch`, `steps`, `rate`, `seconds` and `validation_..`; choose another name for the metric than `epoch`
    3:64: a history has columns of its own, `epoch`, `steps`, `rate`, `seconds` and `validation_..`; choose another name for the metric than `steps`
    3:88: a history has columns of its own, `epoch`, `steps`, `rate`, `seconds` and `validation_..`; choose another name for the metric than `seconds`
    4:17: `loss` is the loss of the network; choose another name for the metric
    4:40: a history has columns of its own, `epoch`, `steps`, `rate`, `seconds` and `validation_..`; choose another name for the metric than `validation_loss`
    4:74: a history has columns of its own, `epoch`, `steps`, `rate`, `seconds` and `validation_..`; choose another name for the metric than `validation_h`
    ");
}

#[test]
fn ports_without_names_have_names_all_the_same() {
    assert_snapshot!(signature("out: [B, 8] -> [B, 4]"), @"1:20: without a name this would be `out`, which is taken; give it one: `name: [..]`");
    assert_snapshot!(signature("[B, 8] -> x: [B, 4]"), @"1:15: the name `x` is already taken in this network");
    assert_snapshot!(mistakes("Net<[B, 8] -> [B, 4]> { Dense(4) as x }"), @"1:37: the name `x` is already taken in this network");
}

#[test]
fn ports_called_like_a_stage_or_a_const() {
    assert_snapshot!(mistakes("Net<dense1: [B, 8] -> y: [B, 4]> { Dense(4) }"), @"1:36: this stage would be called `dense1`, and so is a port; name it with `as`, or rename the port");
    assert_snapshot!(mistakes("Net<x: [B, 8] -> y: [B, 4]> { Dense(4) } loss(dense1: [B, 4]) = mse(y, dense1);"), @"1:47: the name `dense1` is already taken in this network");
    assert_snapshot!(mistakes("const y = 4; Net<x: [B, 8] -> y: [B, y]> { Dense(y) } loss = mean(y);"), @"1:31: the name `y` is already taken in this network");
}

#[test]
fn networks_of_one_name() {
    assert_snapshot!(mistakes("A<[B, 1] -> [B, 1]> { relu } AMetrics<[B, 1] -> [B, 1]> { relu } A<[B, 1] -> [B, 1]> { relu }"), @"1:66: there are two networks `A`");
}

#[test]
fn names_that_only_look_alike_are_free() {
    assert_snapshot!(mistakes(
        "act f = |x, mean = 1.0| mean * x; block batch_norm(tanh) { Dense(tanh), gelu(approx = tanh) }
         Net<relu: [B, 8] -> mse: [B, 4]> { batch_norm(4), BatchNorm, f as f, Dense(4) as sum }
         loss(l2: [B, 4]) = mse(mse, l2) + sum(sum) + mean(relu) + mean(f);"
    ), @"");
}

#[test]
fn no_counter_runs_into_a_digit() {
    let digits =
        gradloom_runtime::layers::ALL.iter().filter(|layer| layer.stem.ends_with(|last: char| last.is_numeric()));
    assert_eq!(digits.map(|layer| layer.stem).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn what_is_defined_nowhere_is_one_mistake() {
    assert_snapshot!(mistakes(
        "One<x: [B, N] -> y: [B, N]> { Frob(N), bar, Frob(2), bar, Dense(N) }
         loss(t: [B, N]) = mean(quux(y - z)) + mean(quux(z));
         Two<x: [B, N] -> y: [B, 4]> { Dense(HIDEN), Dense(HIDEN), Dense(4) }
         loss = mean(z);
         const HIDDEN = 3;"
    ), @"
    1:12: unknown size `N`; a constant of Rust is written with its path: `self::N` or `crate::N`
    1:31: unknown layer `Frob`
    1:40: unknown activation `bar`
    2:33: unknown function `quux`
    2:42: unknown name `z`; there are `t`, `x` and `y`
    3:21: unknown size `N`; a constant of Rust is written with its path: `self::N` or `crate::N`
    3:46: unknown size `HIDEN`; did you mean `HIDDEN`?
    3:60: unknown size `HIDEN`; did you mean `HIDDEN`?
    4:22: unknown name `z`; there are `x` and `y`, and a target is declared with the loss: `loss(z: [B, ..]) = ..`
    ");
}
