//! Mistakes in networks over sequences.

use insta::assert_snapshot;

use crate::tests::mistakes;

/// The mistakes of a body over sequences of 6 rows of 12 numbers.
fn body(stages: &str) -> String {
    mistakes(&format!("Net<x: [B, 6, 12] -> y: [B, 6, 12]> {{ {stages} }}"))
}

#[test]
fn heads_divide_features() {
    assert_snapshot!(body("Attention(5)"), @"
    1:39: `Attention(5)` needs [B, T, features] with features that `heads = 5` divides, found [B, 6, 12]
    x [B,6,12]
    ");
    assert_snapshot!(body("Attention(4, kv = 3)"), @"
    1:39: `Attention(4, kv = 3)` needs `kv` to divide `heads = 4`, found [B, 6, 12]
    x [B,6,12]
    ");
    assert_snapshot!(body("Attention(4, rope = true)"), @"
    1:39: `Attention(4, rope = true)` needs heads of an even size where `rope = true`, found [B, 6, 12]
    x [B,6,12]
    ");
    assert_snapshot!(body("Attention(4, kv = same, dropout = 1.0)"), @"
    1:57: unknown size `same`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    1:73: `dropout` of `Attention` must be a number between 0 and 0.99, found `1.0`
    ");
    assert_snapshot!(mistakes("Net<x: [B, 12] -> y: [B, 12]> { Dense(12), Attention(4) }"), @"
    1:44: `Attention(4)` needs [B, T, features], found [B, 12]
    x [B,12]
    ");
    assert_snapshot!(body("Positional, positions(rotary), RmsNorm(0)"), @"
    1:61: `kind` of `positions` must be `sinusoidal`, found `rotary`
    1:78: `eps` of `RmsNorm` must be a number between 1e-12 and 1, found `0`
    ");
}

#[test]
fn embeddings_take_the_ids_of_an_input() {
    assert_snapshot!(body("Embedding(10, 12)"), @"1:39: `Embedding(10, 12)` needs the class ids of an input, such as `[u16; B, 64]`, found f32");
    assert_snapshot!(mistakes("Net<x: [u8; B, 6] -> y: [B, 6, 12]> { Dense(4), Embedding(10, 12) }"), @"1:39: `Dense(4)` needs f32, found u8; put `normalize` before it, which makes numbers of the bytes of an image, or declare `x` without `u8;`");
    assert_snapshot!(mistakes("Net<x: [u8; B, 6] -> y: [B, 6, 12]> { Embedding(12) }"), @"1:39: `Embedding` needs the argument `d` (how many numbers a row has)");
    assert_snapshot!(mistakes("Net<x: [B, 6] -> y: [B, 4]> { let c = argmax(x); y = c -> Embedding(6, 4); }"), @"1:59: `Embedding(6, 4)` needs the class ids of an input; whether those of a flow are in range is not checked");
}

#[test]
fn what_looks_from_one_flow_at_another_takes_both() {
    let two = |line: &str| mistakes(&format!("Net<(x: [B, 6, 12], m: [B, 5, 12]) -> y: [B, 6, 12]> {{ {line} }}"));
    assert_snapshot!(two("y = (x, m) -> CrossAttention(3);"), @"");
    assert_snapshot!(two("y = x + m[.., 0..1, ..] -> CrossAttention(3);"), @"1:83: `CrossAttention(3)` takes two values, and 1 flows in: `(x, memory) -> CrossAttention(3)`");
    assert_snapshot!(two("let k = m[.., .., 0..8]; y = (x, k) -> CrossAttention(3);"), @"
    1:95: `CrossAttention(3)` needs a memory [B, S, 12], found [B, 5, 8]
    (x [B,6,12], k [B,5,8])
    ");
    assert_snapshot!(two("y = (x, x, m) -> CrossAttention(3);"), @"1:73: `CrossAttention(3)` takes two values, and 3 flow in: `(x, memory) -> CrossAttention(3)`");
    assert_snapshot!(body("residual { CrossAttention(3) }"), @"1:50: `CrossAttention(3)` takes two values, and 1 flows in: `(x, memory) -> CrossAttention(3)`");
}

#[test]
fn masks_and_weights_of_other_layers() {
    assert_snapshot!(mistakes("
        Net<(tokens: [u8; B, 6], seen: [B, 5], whole: [B, 6]) -> y: [B, 6, 9]> {
            let rows = tokens -> Embedding(9, 12);
            let a = rows -> Attention(2, mask = seen);
            let b = a -> Attention(2, mask = tokens);
            let c = b -> Attention(2, mask = hole);
            let d = c -> Attention(2, mask = 0.5), Attention(2, mask = late);
            let late = rows -> |x| x;
            let e = (rows, whole) -> CrossAttention(2, mask = whole);
            y = late -> Dense(9, weight = rows.embedding1.weigt);
        }
        loss(t: [u8; B, 6]) = cross_entropy(y, t, ignore = 9) + mean(d) + mean(e);
        Other<x: [B, 4] -> y: [B, 4]> { Dense(8), Dense(5, weight = dense1.weight), Dense(4, weight = w), Dense(4, weight = 3) }
    "), @"
    4:29: `Attention(2, mask = seen)` looks at positions [B, 6], and `seen` is [B, 5] of f32; a mask is f32
    7:46: `mask` of `Attention` must be the name of a value [B, T], found `0.5`
    7:72: `late` is used before it is made; write its line before this one
    9:38: `CrossAttention(2, mask = whole)` needs a memory [B, S, 12], found [B, 6]
    (rows [B,6,12], whole [B,6])
    12:31: `cross_entropy` needs `ignore` below 9, the number of classes, found 9
    13:51: `Dense(5, weight = dense1.weight)` takes the transpose of a parameter [5, 8] for its weights, and `dense1.weight` is [4, 8]
    13:103: `weight` of `Dense` must be the path of a parameter, such as `embedding1.weight`, found `w`
    13:125: `weight` of `Dense` must be the path of a parameter, such as `embedding1.weight`, found `3`
    ");
    assert_snapshot!(mistakes("
        Auto<x: [B, 12] -> y: [B, 12]> { Dense(3), tanh, Dense(12, weight = dense1.weight) }
        loss = mse(y, x) + l2(weights);
        Sum<x: [B, 12] -> y: [B, 12]> { Dense(3), Dense(6, weight = dense1.weight) }
    "), @"4:51: `Dense(6, weight = dense1.weight)` takes the transpose of a parameter [6, 3] for its weights, and `dense1.weight` is [12, 3]");
}

#[test]
fn weights_of_another_layer_start_as_that_says() {
    let tied = |rest: &str| {
        mistakes(&format!(
            "Net<tokens: [u8; B, 6] -> y: [B, 6, 9]> {{ Embedding(9, 12), Dense(9, weight = embedding1.weight{rest}) }}"
        ))
    };
    assert_snapshot!(tied(""), @"");
    assert_snapshot!(tied(", init = auto, bias = false"), @"");
    assert_snapshot!(tied(", init = normal(0.02)"), @"1:61: `Dense(9, weight = embedding1.weight, init = normal(0.02))` has no weights that `init` could start, for `embedding1.weight` stands in their place; leave out one of them");
    assert_snapshot!(tied(", init = zeros"), @"1:61: `Dense(9, weight = embedding1.weight, init = zeros)` has no weights that `init` could start, for `embedding1.weight` stands in their place; leave out one of them");
}
