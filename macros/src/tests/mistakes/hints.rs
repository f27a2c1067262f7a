//! Words of other libraries: every row of the table is met where it says, and what it proposes is known here.

use std::collections::HashSet;

use gradloom_runtime::layers::initializers;
use gradloom_runtime::{functions, layers};

use super::{body, clauses};
use crate::diagnostics::hints::{ROWS, SourcePlace};
use crate::tests::mistakes;

/// A mistake at a word of a row, where it is met.
fn said(place: SourcePlace, word: &str) -> String {
    match place {
        SourcePlace::Stage => body(word),
        SourcePlace::Function => clauses(&format!("loss(t: [B, 4]) = mean({word}(y));")),
        // Of any layer or function that has the argument in its place.
        SourcePlace::Argument => [
            body(&format!("Dense(4, {word} = 1)")),
            body(&format!("Dropout(0.5, {word} = 1)")),
            body(&format!("BatchNorm({word} = 1)")),
            body(&format!("Conv2d(4, 3, {word} = 1)")),
            body(&format!("max_pool(2, {word} = 1)")),
            body(&format!("ConvTranspose2d(4, 3, {word} = 1)")),
            body(&format!("upsample(2, {word} = 1)")),
            body(&format!("Rnn(4, {word} = 1)")),
            body(&format!("leaky_relu({word} = 1)")),
            body(&format!("gelu({word} = 1)")),
            body(&format!("Dense(4, init = normal({word} = 1))")),
            clauses(&format!("loss(t: [u8; B]) = cross_entropy(y, t, {word} = 1);")),
            clauses(&format!("loss(t: [B, 4]) = huber(y, t, {word} = 1);")),
            clauses(&format!("loss = mean(y, {word} = 1);")),
        ]
        .concat(),
        SourcePlace::Value => clauses(&format!("loss = mean({word});")) + &body(&format!("Dense({word})")),
        SourcePlace::Init => body(&format!("Dense(4, init = {word})")),
    }
}

/// The names that are called in a piece of the language, or stand alone.
fn names(text: &str) -> Vec<&str> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let calls = text.match_indices('(').map(|(end, _)| {
        let start = text[..end].rfind(|letter| !is_part(letter)).map_or(0, |start| start + 1);
        &text[start..end]
    });
    calls.chain(text.chars().all(is_part).then_some(text)).filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_word_is_met_and_what_is_proposed_is_known() {
    let words: HashSet<&str> = layers::ALL
        .iter()
        .map(|layer| layer.name)
        .chain(functions::ALL.iter().map(|function| function.name))
        .chain(initializers::ALL.iter().map(|initializer| initializer.name))
        .collect();
    let known: HashSet<&str> = words
        .iter()
        .copied()
        .chain(layers::ALL.iter().flat_map(|layer| layer.args.iter().map(|arg| arg.name)))
        .chain(functions::ALL.iter().flat_map(|function| function.args.iter().map(|arg| arg.name)))
        .chain(["same", "deviation", "residual", "weights", "true", "false"])
        .collect();
    let mut offences = Vec::new();
    let mut met = HashSet::new();
    for &(place, word, instead, why) in ROWS {
        let is_new = met.insert((format!("{place:?}"), word));
        let hint = if instead.is_empty() { why.to_string() } else { format!("; write `{instead}`") };
        let is_own =
            words.contains(word) && matches!(place, SourcePlace::Stage | SourcePlace::Function | SourcePlace::Init);
        let is_said = said(place, word).contains(&hint) && !hint.is_empty();
        if !is_new || is_own || !is_said || names(instead).iter().any(|name| !known.contains(name)) {
            offences.push(format!("{word}: {}", said(place, word)));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn what_follows_a_foreign_operator_is_read_all_the_same() {
    insta::assert_snapshot!(clauses(
        "loss(t: [B, 4]) = mean((y - t)^2) + mean(z) + mean(y.f()[0].g() ** 2 ** 3) + mean(2 ^ 3 * zz) + mean(-y ^ -1);
         metric a = mean(y[0][1]) + mean(torch.nn.relu(y, 1)) + mean(dense2.weight.pow(2).clamp(0, 1).sum());"
    ), @"
    2:31: `^` is no operator here; write `pow(y - t, n = 2)`
    2:42: unknown name `z`; there are `h`, `t`, `x` and `y`
    2:54: expressions have no methods; write `f(y)`
    2:70: `**` is no operator here; write `8`
    2:85: `^` is no operator here; write `8`
    2:91: unknown name `zz`; there are `h`, `t`, `x` and `y`
    2:105: `^` is no operator here; write `exp(-1 * ln(y))`
    3:26: `[..]` takes an entry for each axis of [B, 4]: 2, found 1; `..` is all of an axis
    3:51: functions stand in no module here; write `relu(y, 1)`
    3:84: expressions have no methods; write `sum(clamp(pow(dense2.weight, n = 2), 0, 1))`
    ");
    // However long it is.
    assert_eq!(clauses(&format!("loss = mean(y{});", ".f()[0]".repeat(5_000))).lines().count(), 1);
}

#[test]
fn sizes_of_what_comes_in_are_left_out() {
    insta::assert_snapshot!(mistakes(
        "Net<x: [B, 3, 8] -> y: [B, 3, 4]> {
             LayerNorm(8), BatchNorm(8), RmsNorm(8), Lstm(8, 16), Gru(8, 16), Rnn(8, 16), Attention(8, 2), Dense(8, 4),
             LayerNorm(eps = 8), Dropout(8), Dense(4),
         }
         Image<x: [B, 16, 4, 4] -> y: [B, 16, 4, 4]> { GroupNorm(4, 16) }"
    ), @"
    2:24: `eps` of `LayerNorm` must be a number between 1e-12 and 1, found `8`; what comes in is inferred: `LayerNorm` takes no size
    2:38: `momentum` of `BatchNorm` must be a number between 0 and 1, found `8`; what comes in is inferred: `BatchNorm` takes no size
    2:50: `eps` of `RmsNorm` must be a number between 1e-12 and 1, found `8`; what comes in is inferred: `RmsNorm` takes no size
    2:62: `last` of `Lstm` must be `true` or `false`, found `16`; what comes in is inferred: `Lstm` takes `n` alone
    2:74: `last` of `Gru` must be `true` or `false`, found `16`; what comes in is inferred: `Gru` takes `n` alone
    2:86: `activation` of `Rnn` must be `tanh` or `relu`, found `16`; what comes in is inferred: `Rnn` takes `n` alone
    2:104: `causal` of `Attention` must be `true` or `false`, found `2`; what comes in is inferred: `Attention` takes `heads` alone
    2:117: `bias` of `Dense` must be `true` or `false`, found `4`; what comes in is inferred: `Dense` takes `n` alone
    3:30: `eps` of `LayerNorm` must be a number between 1e-12 and 1, found `8`
    3:42: `p` of `Dropout` must be a number of at least 0 and at most 1 - 2^-24, found `8`
    5:69: `eps` of `GroupNorm` must be a number between 1e-12 and 1, found `16`; what comes in is inferred: `GroupNorm` takes `groups` alone
    ");
}

#[test]
fn a_layer_is_not_called_with_a_value() {
    insta::assert_snapshot!(mistakes(
        "Net<x: [B, 8] -> y: [B, 4]> {
             let h = Dense(16)(x);
             let g = nn.Linear(16)(h);
             let f = Dense(8)(Dense(16)(g)) + 1;
             y = f -> Dense(8)(g), Dense(4);
         }
         Stages<x: [B, 8] -> y: [B, 4]> { Dense(8)(x), relu, Dense(4) }"
    ), @"
    2:22: `Dense(16)` is no function; a value flows into a layer: `x -> Dense(16)`
    3:25: functions stand in no module here; write `Linear(16)`
    4:22: `Dense(8)` is no function; a value flows into a layer: `.. -> Dense(8)`
    5:31: a stage takes what the one before it gives; leave this out
    7:51: a stage takes what the one before it gives; leave this out
    ");
}

#[test]
fn ranges_of_python() {
    insta::assert_snapshot!(mistakes(
        "Net<x: [B, 6, 8] -> y: [B, 6, 4]> {
             let a = x[:, :, 0:4];
             let b = x[:, ::2, :4];
             let c = x[..., 4:];
             let d = x[.., 0 1, 2];
             y = a + b + c + d;
         }"
    ), @"
    2:24: a range has two dots: write `..`
    2:27: a range has two dots: write `..`
    2:30: a range has two dots: write `0..4`
    3:24: a range has two dots: write `..`
    3:27: a range has two dots, and has no step: write `..`
    3:32: a range has two dots: write `..4`
    4:24: there is no `...`; write `..` for each axis that stays as it is
    4:29: a range has two dots: write `4..`
    5:30: expected `,`, found `1`
    ");
}
