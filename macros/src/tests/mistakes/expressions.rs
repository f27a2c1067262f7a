//! Losses and metrics.

use insta::assert_snapshot;

use super::{clauses, mistakes};

#[test]
fn unknown_name() {
    assert_snapshot!(clauses("loss(label: [u8; B]) = cross_entropy(y, lable);"), @"2:41: unknown name `lable`; did you mean `label`?");
}

#[test]
fn batch_in_an_expression() {
    assert_snapshot!(clauses("loss = sum(y) / B;"), @"2:17: `B` is known only at run time, so nothing can be calculated from it here");
}

#[test]
fn unknown_function() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = crossentropy(y, t) + avg(z);"), @"
    2:20: unknown function `crossentropy`; did you mean `cross_entropy`?
    2:41: unknown function `avg`; write `mean(x)`
    2:45: unknown name `z`; there are `h`, `t`, `x` and `y`
    ");
}

#[test]
fn layer_as_a_function() {
    assert_snapshot!(clauses("loss = mean(Dense(y));"), @"2:13: `Dense` is a stage of a body, not a function for expressions");
}

#[test]
fn unknown_parameter() {
    assert_snapshot!(clauses("loss = mean(h.weight * h.weight) + mean(dense2.wieght);"), @"2:41: unknown parameter `dense2.wieght`; did you mean `dense2.weight`?");
}

#[test]
fn missing_operand() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = cross_entropy(y); metric m = mean();"), @"
    2:20: `cross_entropy` needs the argument `target`
    2:49: `mean` needs the argument `x`
    ");
}

#[test]
fn target_of_the_wrong_type() {
    assert_snapshot!(clauses("loss(t: [B]) = cross_entropy(y, t);"), @"2:16: `cross_entropy` needs a target of class ids [B] (u8, u16 or u32), found [B] of f32");
}

#[test]
fn operands_of_different_shapes() {
    assert_snapshot!(clauses("loss(t: [B, 5]) = mean((y - t) * (y - t));"), @"
    2:27: `-` needs operands of one shape, but for sizes of 1, found [B, 4] and [B, 5]
    2:37: `-` needs operands of one shape, but for sizes of 1, found [B, 4] and [B, 5]
    ");
}

#[test]
fn operands_of_different_types() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = mean(argmax(y) - t);"), @"2:35: `-` does not apply to u32 and u8");
}

#[test]
fn minus_of_class_ids() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = mean(-t);"), @"2:25: `-` does not apply to u8");
}

#[test]
fn activation_of_class_ids() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = mean(sigmoid(t));"), @"2:25: `sigmoid` needs f32, found u8");
}

#[test]
fn loss_that_is_no_number() {
    assert_snapshot!(clauses("loss(t: [B, 4]) = (y - t) * (y - t);"), @"2:19: the loss must be a single number, found [B, 4] of f32; wrap it in `mean(..)`");
}

#[test]
fn metric_that_is_no_number() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = cross_entropy(y, t);\nmetric accuracy = argmax(y) == t;"), @"3:19: the metric `accuracy` must be a single number, found [B] of bool; wrap it in `mean(..)`");
}

#[test]
fn comparison_chain() {
    assert_snapshot!(clauses("metric m = mean(0 < y < 1);"), @"2:23: comparisons cannot be chained; join two of them: `0 < x && x < 1`");
}

#[test]
fn remainder_of_tensors() {
    assert_snapshot!(clauses("metric m = mean(y % 2);"), @"2:19: `%` only works on sizes");
}

#[test]
fn string_in_an_expression() {
    assert_snapshot!(clauses(r#"metric m = mean("y");"#), @r#"2:17: expected a number or a name, found `"y"`"#);
}

#[test]
fn method() {
    assert_snapshot!(clauses("metric m = y.mean();"), @"2:14: expressions have no methods; write `mean(y)`");
}

#[test]
fn metric_named_loss() {
    assert_snapshot!(clauses("metric loss = mean(y);"), @"2:8: `loss` is the loss of the network; choose another name for the metric");
}

#[test]
fn duplicate_metric() {
    assert_snapshot!(clauses("metric m = mean(y); metric m = sum(y);"), @"2:28: there are two metrics `m`");
}

#[test]
fn second_loss() {
    assert_snapshot!(clauses("loss = mean(y);\nloss = mean(h);"), @"3:1: a network has one `loss`; add the terms up in one expression");
}

#[test]
fn nesting_too_deep() {
    assert_snapshot!(clauses(&format!("loss = mean({}y);", "-".repeat(100))), @"2:77: this expression nests too deeply");
}

#[test]
fn option_without_a_name() {
    assert_snapshot!(clauses("loss(t: [B, 4]) = huber(y, t, 0.5); metric m = mae(y, t, 0.5);"), @"
    2:31: options of `huber` have names; write `delta = 0.5`
    2:58: `mae` takes at most 2 arguments: `prediction` and `target`
    ");
}

#[test]
fn option_out_of_range_or_unknown() {
    assert_snapshot!(clauses("loss(t: [B, 4]) = huber(y, t, delta = 0) + huber(y, t, delt = 1) + huber(y, delta = 1);"), @"
    2:39: `delta` of `huber` must be a number between 1e-6 and 1e6, found `0`
    2:56: unknown argument `delt` of `huber`; did you mean `delta`?
    2:68: `huber` needs the argument `target`
    ");
}

#[test]
fn option_that_has_to_be_given() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = cross_entropy(y, t, label_smoothing = 1.5);\nmetric m = top_k(y, t);"), @"
    2:58: `label_smoothing` of `cross_entropy` must be a number between 0 and 1, found `1.5`
    3:12: `top_k` needs the argument `k` (how many classes may be named)
    ");
}

#[test]
fn more_classes_than_there_are() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = nll(log_softmax(y), t);\nmetric m = top_k(y, t, k = 5);"), @"3:12: `top_k` needs `k` of at most 4, the number of classes, found 5");
}

#[test]
fn operands_that_fit_each_other_but_not_the_function() {
    assert_snapshot!(clauses("loss(t: [B]) = hinge(y, t) + kl_div(t, t) + nll(y, t);"), @"
    2:16: `hinge` needs a target like its first operand ([B, 4] of f32), found [B] of f32
    2:30: `kl_div` needs distributions [B, ..., classes], found [B]
    2:45: `nll` needs a target of class ids [B] (u8, u16 or u32), found [B] of f32
    ");
}

#[test]
fn class_ids_and_decisions_compared() {
    assert_snapshot!(clauses(
        "loss(k: [u8; B], j: [u16; B], t: [B, 4]) = cross_entropy(y, k);
         metric a = mean(k == 1) + mean(1 != argmax(y)) + mean(k < 3) + mean((y > 0) == (t > 0.5)) + mean((k == 1) != (j == 2));
         metric b = mean(k == 256) + mean(j == 65536) + mean(argmax(y) == 16777216) + mean(k == 1.5) + mean(k == -1);
         metric c = mean(k == mean(y)) + mean((y > 0) < (t > 0)) + mean((y > 0) == 1) + mean(k < j) + mean(k + 1);"
    ), @"
    4:28: `==` compares u8 with an integer from 0 to 255, found 256
    4:45: `==` compares u16 with an integer from 0 to 65535, found 65536
    4:72: `==` compares u32 with an integer from 0 to 16777215, found 16777216
    4:94: `==` compares u8 with an integer from 0 to 255, found 1.5
    4:111: `==` does not apply to u8 and f32
    5:28: `==` does not apply to u8 and f32
    5:55: `<` does not apply to bool and bool
    5:81: `==` does not apply to bool and f32
    5:96: `<` does not apply to u8 and u16
    5:110: `+` does not apply to u8 and f32
    ");
}

#[test]
fn class_ids_beyond_the_classes() {
    assert_snapshot!(
        clauses(
            "loss = cross_entropy(y, argmax(h)) + nll(y, argmax(sigmoid(h) * 2.0)) + cross_entropy(h, argmax(y));
             metric a = top_k(y, argmax(h), k = 2) + precision(y, argmax(h)) + recall(h, argmax(y)) + mean(argmax(h) == argmax(y));"
        ),
        @"
    2:8: `cross_entropy` has 4 classes, and its target is `argmax` of 16, which may be any class from 0 to 15
    2:38: `nll` has 4 classes, and its target is `argmax` of 16, which may be any class from 0 to 15
    3:25: `top_k` has 4 classes, and its target is `argmax` of 16, which may be any class from 0 to 15
    3:54: `precision` has 4 classes, and its target is `argmax` of 16, which may be any class from 0 to 15
    "
    );
}

#[test]
fn logic_of_what_is_no_truth_value() {
    assert_snapshot!(clauses(
        "loss(k: [u8; B], t: [B, 4], j: [B]) = cross_entropy(y, k);
         metric a = mean(!y) + mean(!k) + mean(!(y > 0)) + mean(y && t > 0) + mean(k || k == 1) + mean(1 && 2);
         metric b = mean(y > 0 && j > 0) + mean((y > 0 && t > 0) + 1) + (y > 0 || t > 0);
         metric c = mean(if y > 0 && t { y } else { t }) + mean(y > 0 || y) + mean(!(y > 0) > 1);"
    ), @"
    3:26: `!` applies to truth values, as in `!(x > 0)`, found f32
    3:37: `!` applies to truth values, as in `!(x > 0)`, found u8
    3:67: `&&` joins truth values, such as `x > 0`, found f32 and bool
    3:86: `||` joins truth values, such as `x > 0`, found u8 and bool
    3:106: `&&` joins truth values, such as `x > 0`, found f32 and f32
    4:32: `&&` needs operands of one shape, but for sizes of 1, found [B, 4] and [B]; with `keep = true` a reduction leaves its axis, with one element
    4:66: `+` does not apply to bool and f32
    5:35: `&&` joins truth values, such as `x > 0`, found bool and f32
    5:71: `||` joins truth values, such as `x > 0`, found bool and f32
    5:93: `>` does not apply to bool and f32
    ");
}

#[test]
fn logic_in_other_words() {
    let words =
        ["y > 0 & t > 0", "y > 0 | t > 0", "y > 0 and t > 0", "y > 0 or t > 0", "~(y > 0)", "not y > 0", "not (y > 0)"];
    let metrics = words.iter().zip('a'..).map(|(words, name)| format!("\nmetric {name} = mean({words});"));
    let metrics: String = metrics.collect();
    assert_snapshot!(clauses(&format!("loss(t: [B, 4]) = mse(y, t);{metrics}")), @"
    3:23: truth values have `!`, `&&` and `||`: write `&&` for `&`
    4:23: truth values have `!`, `&&` and `||`: write `||` for `|`
    5:23: truth values have `!`, `&&` and `||`: write `&&` for `and`
    6:23: truth values have `!`, `&&` and `||`: write `||` for `or`
    7:17: truth values have `!`, `&&` and `||`: write `!` for `~`
    8:17: truth values have `!`, `&&` and `||`: write `!x` for `not x`
    9:17: truth values have `!`, `&&` and `||`: write `!x` for `not(x)`
    ");
}

#[test]
fn logic_as_functions() {
    assert_snapshot!(clauses("loss = mean(y); metric a = mean(and(y > 0, h > 0)) + mean(or(not(y > 0), z > 0));"), @"
    2:33: truth values have `!`, `&&` and `||`: write `x && y` for `and(x, y)`
    2:59: truth values have `!`, `&&` and `||`: write `x || y` for `or(x, y)`
    2:62: truth values have `!`, `&&` and `||`: write `!x` for `not(x)`
    2:74: unknown name `z`; there are `h`, `x` and `y`, and a target is declared with the loss: `loss(z: [B, ..]) = ..`
    ");
}

#[test]
fn logic_of_sizes() {
    assert_snapshot!(mistakes("const A = !3; const C = 1 && 2; Net<x: [B, A] -> y: [B, C || 4]> { Dense(!4) }"), @"
    1:11: expected a number, found `!3`
    1:25: expected a number, found `1 && 2`
    1:74: expected a number, found `!4`
    ");
}
