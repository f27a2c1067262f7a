//! Loops of the user's own.

use insta::assert_snapshot;

use crate::tests::mistakes;

/// A network whose body is this loop, on `x: [B, 5, 8]`.
fn one(stages: &str) -> String {
    mistakes(&format!("Net<x: [B, 5, 8] -> y: [B, 5, 4]> {{\n{stages}\n}}"))
}

/// One of lines, with a first state and lengths.
fn lines(lines: &str) -> String {
    mistakes(&format!("Net<(x: [B, 5, 8], s: [B, 4], n: [u8; B]) -> y: [B, 5, 4]> {{\n{lines}\n}}"))
}

#[test]
fn no_mistake() {
    assert_snapshot!(one("scan(4) |x, h| { (x, h) -> concat, Dense(4), tanh }"), @"");
    assert_snapshot!(one("Dense(4), scan |x, h, decay = 0.9| decay * h + (1.0 - decay) * x as out, relu"), @"");
    assert_snapshot!(lines("
        let gain = s -> Dense(4);
        y = x -> scan(initial = s, lengths = n, reverse = true) |x, h| {
            let (a, b) = (x, h) -> concat, Dense(8) as both, split;
            let x_part = x[.., ..4] + both[.., 4..];
            x_part * gain + a * b
        };
    "), @"");
}

#[test]
fn state_of_another_shape() {
    assert_snapshot!(one("scan(4) |x, h| { (x, h) -> concat, Dense(5) }"), @"2:18: the body of `scan(4)` makes the next state of `h`, [B, 4] of f32, but gives [B, 5] of f32");
    assert_snapshot!(one("scan |x, h| { let z = x -> Dense(4); z * sum(h, axis = -1, keep = true) }"), @"2:38: the body of `scan` makes the next state of `h`, [B, 8] of f32, but gives [B, 4] of f32");
    assert_snapshot!(one("scan(4) |x, h| h > x[.., ..4]"), @"2:16: the body of `scan(4)` makes the next state of `h`, [B, 4] of f32, but gives [B, 4] of bool");
}

#[test]
fn names() {
    assert_snapshot!(one("scan(4) |x| x"), @"2:9: `scan` names two values, the element and the state before the step: `|x, h| ..`; trainable numbers follow them: `|x, h, decay = 0.9| ..`");
    assert_snapshot!(one("scan(4) |x, h, g| { x + h + g }, Dense(4)"), @"2:9: `scan` names two values, the element and the state before the step: `|x, h| ..`; trainable numbers follow them: `|x, h, decay = 0.9| ..`");
    assert_snapshot!(one("scan(4) || 1.0"), @"2:9: `scan` names two values, the element and the state before the step: `|x, h| ..`; trainable numbers follow them: `|x, h, decay = 0.9| ..`");
    assert_snapshot!(one("scan(4) |x, x| x"), @"
    2:13: the name `x` is already taken in this network
    2:16: the body of `scan(4)` makes the next state of `x`, [B, 4] of f32, but gives [B, 8] of f32
    ");
    assert_snapshot!(one("scan(4) |x, h = 0.5| x"), @"2:9: `scan` names two values, the element and the state before the step: `|x, h| ..`; trainable numbers follow them: `|x, h, decay = 0.9| ..`");
    assert_snapshot!(one("scan(4) { Dense(4) }"), @"2:9: expected `|x, h|`, names for the element and the state, and the body of `scan`, found `{`");
    assert_snapshot!(one("scan(4)"), @"2:7: expected `|x, h|`, names for the element and the state, and the body of `scan`, found the end");
    assert_snapshot!(one("scan(4) |x, B| { x -> Dense(4) }"), @"2:13: `B` is the batch; choose another name");
    assert_snapshot!(one("scan(4) |x, h, h| x -> Dense(4)"), @"
    2:9: `scan` names two values, the element and the state before the step: `|x, h| ..`; trainable numbers follow them: `|x, h, decay = 0.9| ..`
    2:21: without braces the next state is an expression; write `{ (x, h) -> concat, Dense(8) }`
    ");
}

#[test]
fn never_used() {
    assert_snapshot!(one("scan(4) |x, h| { x -> Dense(4) }"), @"2:13: `h` is never used");
    assert_snapshot!(one("scan(4) |x, h, rate = 0.1| { let a = h * 2.0; h }"), @"
    2:10: `x` is never used
    2:16: `rate` is never used
    2:34: the flow `a` is never used
    ");
    assert_snapshot!(one("scan(4) |_x, h, _rate = 0.1| { let _a = h * 2.0; h }"), @"");
}

#[test]
fn lines_of_a_body() {
    assert_snapshot!(one("scan(4) |x, h| { let a = b + x; let b = h -> Dense(8); a -> Dense(4) }"), @"2:26: `b` is used before it is made; write its line before this one");
    assert_snapshot!(one("scan(4) |x, h| { let a = b + x; let b = a * h; let c = c + b; c -> Dense(4) }"), @"
    2:26: `a` and `b` are made of one another
    2:56: `c` is made of itself
    ");
    assert_snapshot!(one("scan(4) |x, h| { let h = x -> Dense(4); h }"), @"2:22: `h` is made twice");
    assert_snapshot!(one("scan(4) |x, h| { let a = x -> Dense(4) as a; a + h }"), @"2:43: `a` is made twice");
    assert_snapshot!(one("scan(4) |x, h| { a = x -> Dense(4); a + h }"), @"2:18: the body of a loop makes no outputs; write `let a = ..;`");
    assert_snapshot!(one("scan(4) |x, h| { layer a = Dense(4); x + h }"), @"
    2:24: `layer a` belongs to the network; write its line before that of the loop
    2:40: `+` needs operands of one shape, but for sizes of 1, found [B, 8] and [B, 4]
    ");
    assert_snapshot!(one("scan(4) |x, h| { let a = x -> Dense(4); a + h; }"), @"2:46: the last expression of `scan` is the next state, and ends without `;`");
    assert_snapshot!(one("scan(4) |x, h| { let a = x -> Dense(4); }"), @"2:39: the body of `scan` ends with the next state: an expression, or `(x, h) -> concat, Dense(8)`");
    assert_snapshot!(one("scan(4) |x, h| { }"), @"2:16: the body of `scan` ends with the next state: an expression, or `(x, h) -> concat, Dense(8)`");
    assert_snapshot!(one("scan(4) |x, h| { x -> Dense(4), relu h }"), @"2:38: expected the end of the body, whose last expression is the next state, found `h`");
    assert_snapshot!(one("scan(4) |x, h| { (x, h) }"), @"2:23: expected `->` and what joins the values, such as `concat`, found the end");
    assert_snapshot!(one("scan(4) |x, h| { let dense2 = h * 2.0; (x, dense2) -> concat, Dense(4), Dense(4) }"), @"2:73: this stage would be called `dense2`, and so is a value of the loop; name one of them otherwise");
    assert_snapshot!(one("scan(4) |x, h| { h + y_part }"), @"2:22: unknown name `y_part`");
    assert_snapshot!(one("scan(4) |x, h| (x, h) -> concat, Dense(4)"), @"2:23: without braces the next state is an expression; write `{ (x, h) -> concat, Dense(8) }`");
}

#[test]
fn loops_inside_of_loops() {
    assert_snapshot!(one("scan(4) |x, h| { let z = x -> reshape1; z + h }"), @"2:31: unknown activation `reshape1`");
    assert_snapshot!(mistakes("
        block Inner(n) { scan(n) |x, h| { (x, h) -> concat, Dense(n) } }
        Net<x: [B, 5, 3, 8] -> y: [B, 5, 3, 4]> {
            scan(initial = h) |x, s| { let a = x -> scan(4) |e, g| { (e, g) -> concat, Dense(4) }; a + s },
        }
        Other<x: [B, 5, 3, 8] -> y: [B, 5, 3, 4]> { scan |x, s| { let a = x -> Inner(8); a + s }, Dense(4) }
        Ready<x: [B, 5, 3, 8] -> y: [B, 5, 3, 4]> { scan |x, s| { let a = x -> Gru(8); a + s }, Dense(4) }
    "), @"
    4:13: `scan(initial = h)` finds no value `h` before it
    ");
    // Each sees the names of those around it, but not from within a block; what it uses of them is used.
    assert_snapshot!(mistakes("
        block Inner(n) { scan(n) |e, g| { let z = e * s; z + g } }
        Net<x: [B, 5, 3, 8] -> y: [B, 5, 3, 8]> {
            scan |x, s| { let kept = 0.5 * s; let lost = 2.0 * s; let a = x -> scan(8) |e, g| e + g + kept[.., 0, ..]; a + later },
            scan |x, s| { let a = x -> Inner(8); let b = a -> scan |e, g| e * g + c; let c = 2.0 * b; c + s },
            scan |x, s| { let a = x -> scan |e, _g| { let own = 2.0 * e; own }; a + own + s },
        }
    "), @"
    2:55: unknown name `s`
    4:124: unknown name `later`
    5:83: `b` and `c` are made of one another
    6:85: unknown name `own`
    ");
}

#[test]
fn one_mistake_inside_is_one_error() {
    let body = |inner: &str| {
        mistakes(&format!(
            "Net<(x: [B, 1000, 1000, 8], n: [u16; B]) -> y: [B, 1000, 8]> {{
                y = x -> scan(8, lengths = n) |x, h| {{
                    let a = x -> {inner};
                    let b = mean(a, axis = 1);
                    let _c = b + h;
                    h + mean(x, axis = 1)
                }};
            }}"
        ))
    };
    let all = [
        "scan(8) |e, g| { let z = e -> Dense(4000000); e + g * mean(z, axis = -1, keep = true) }",
        "scan(4) |e, g| { (e, g) -> concat, Dense(5) }",
        "scan(2000000000000) |_e, g| g",
        "scan(4, initial = n) |e, g| { (e, g) -> concat, Dense(4) }",
        "scan(4, initial = x) |e, g| { (e, g) -> concat, Dense(4) }",
        "scan(8) |e, g| { let z = e -> Dense(3); z + g + h }",
        "scan(8) |e, g| { (e, g) -> concat, Dense(8), BatchNorm }",
        "Gru(8, last = true), scan(8) |e, g| e + g",
        "scan(0) |e, g| e + g",
        "scan(8, last = 2) |e, g| e + g",
        "scan(8) |e, g| { let z = e -> Dens(8); z + g }",
        "scan(8) |e, g| e + g + k",
        "scan(8) |e, g| { e -> Dense(8) }",
        "scan(8) |e| e",
    ];
    assert_snapshot!(all.map(body).concat(), @"
    3:34: one row of what `scan(8)` makes in all of its steps has more than 2^40 elements: 16 TB
    3:51: the body of `scan(4)` makes the next state of `g`, [B, 4] of f32, but gives [B, 5] of f32
    3:39: `2000000000000` is too large
    3:34: `scan(4, initial = n)` has a state [B, 4] of f32, and `n` is [B] of u16
    3:34: `scan(4, initial = x)` has a state [B, 4] of f32, and `x` is [B, 1000, 8] of f32
    3:76: `+` needs operands of one shape, but for sizes of 1, found [B, 3] and [B, 8]
    3:79: `BatchNorm` has running statistics, which a loop would change at every step; `LayerNorm` has none
    3:55: `scan(8)` needs a sequence [B, T, ..] with a row for each element, found [B, 8]; `reshape(x, [B, T, 1])` makes a row of each number
    x [B,1000,8] -> Gru(8,last=true) [B,8]
    3:39: `n` of `scan` must be an integer of at least 1, or `auto`, found `0`
    3:49: `last` of `scan` must be `true` or `false`, found `2`
    3:64: unknown layer `Dens`; did you mean `Dense`?
    3:57: unknown name `k`
    3:46: `g` is never used
    3:42: `scan` names two values, the element and the state before the step: `|x, h| ..`; trainable numbers follow them: `|x, h, decay = 0.9| ..`
    ");
}

#[test]
fn running_statistics() {
    assert_snapshot!(one("scan(4) |x, h| { (x, h) -> concat, Dense(4), BatchNorm }"), @"2:46: `BatchNorm` has running statistics, which a loop would change at every step; `LayerNorm` has none");
}

#[test]
fn no_sequence() {
    assert_snapshot!(mistakes("Net<x: [B, 5] -> y: [B, 5]> { scan |x, h| x + h }"), @"
    1:31: `scan` needs a sequence [B, T, ..] with a row for each element, found [B, 5]; `reshape(x, [B, T, 1])` makes a row of each number
    x [B,5]
    ");
    assert_snapshot!(mistakes("Net<x: [B] -> y: [B]> { scan |x, h| x + h }"), @"
    1:25: `scan` needs a sequence [B, T, ..] with a row for each element, found [B]
    x [B]
    ");
    assert_snapshot!(mistakes("Net<x: [u8; B, 5, 2] -> y: [B, 5, 2]> { scan |x, h| x + h }"), @"1:41: `scan` needs f32, found u8; put `normalize` before it, which makes numbers of the bytes of an image, or declare `x` without `u8;`");
    assert_snapshot!(mistakes("Net<x: [B, 1000000, 8] -> y: [B, 4]> { scan(100000000, last = true) |x, h| h * mean(x, axis = 1, keep = true) }"), @"1:40: one row of the states of `scan(100000000, last = true)` has more than 2^40 elements: 400 TB");
}

#[test]
fn values_of_a_loop_outside() {
    assert_snapshot!(mistakes("
        Net<x: [B, 5, 8] -> y: [B, 5, 4]> {
            scan(4) |x, h| { let z = (x, h) -> concat, Dense(4) as inner; tanh(z + inner) },
        }
        loss(t: [B, 5, 4]) = mse(y, t) + mean(z) + mean(scan1.inner) + mean(scan1.h);
        metric size = mean(h);
    "), @"
    5:47: `z` is another value at each step of a loop, and what is outside of the loop sees its states alone
    5:57: `scan1.inner` is another value at each step of `scan1`, and what is outside of the loop sees its states alone
    5:77: `scan1.h` is another value at each step of `scan1`, and what is outside of the loop sees its states alone
    6:28: `h` is another value at each step of a loop, and what is outside of the loop sees its states alone
    ");
}

#[test]
fn arguments() {
    assert_snapshot!(lines("y = x -> scan(4, initial = n, lengths = n) |x, h| { (x, h) -> concat, Dense(4) }; let _u = s * 1.0;"), @"
    2:10: `scan(4, initial = n, lengths = n)` has a state [B, 4] of f32, and `n` is [B] of u8
    2:87: the flow `_u` is never used
    ");
    assert_snapshot!(lines("y = x -> scan(4, initial = x) |x, h| { (x, h) -> concat, Dense(4) };"), @"
    1:20: the input `s` is never used
    1:31: the input `n` is never used
    2:10: `scan(4, initial = x)` has a state [B, 4] of f32, and `x` is [B, 5, 8] of f32
    ");
    assert_snapshot!(lines("y = x -> scan(initial = x) |x, h| { (x, h) -> concat, Dense(4) };"), @"
    1:20: the input `s` is never used
    1:31: the input `n` is never used
    2:47: `concat` joins values that agree in all axes but 1, found [B, 8] and [B, 5, 8]
    ");
    assert_snapshot!(lines("y = x -> scan(4, initial = start, lengths = s) |x, h| { (x, h) -> concat, Dense(4) };"), @"
    1:31: the input `n` is never used
    2:10: `scan(4, initial = start, lengths = s)` finds no value `start` before it
    ");
    assert_snapshot!(lines("y = x -> scan(4, initial = late) |x, h| { (x, h) -> concat, Dense(4) }; let late = s * 2.0;"), @"
    1:31: the input `n` is never used
    2:28: `late` is used before it is made; write its line before this one
    ");
    assert_snapshot!(one("scan(0) |x, h| { (x, h) -> concat, Dense(4) }"), @"2:6: `n` of `scan` must be an integer of at least 1, or `auto`, found `0`");
    assert_snapshot!(one("scan(4, revers = true) |x, h| { (x, h) -> concat, Dense(4) }"), @"2:9: unknown argument `revers` of `scan`; did you mean `reverse`?");
    assert_snapshot!(one("scan(4, last = 1, initial = 2.0) |x, h| { (x, h) -> concat, Dense(4) }"), @"
    2:16: `last` of `scan` must be `true` or `false`, found `1`
    2:29: `initial` of `scan` must be the name of a value [B, n], found `2.0`
    ");
}

#[test]
fn in_a_block_a_loop_sees_its_own_names() {
    assert_snapshot!(mistakes("
        const K = 2;
        block Cell(n, gain) { scan(n) |x, h| { let z = (x, h) -> concat, Dense(n); gain * K * z + seen + h } }
        Net<(x: [B, 5, 8], seen: [B, 4]) -> y: [B, 5, 4]> { y = x -> Cell(4, gain = 0.5); }
    "), @"
    3:99: unknown name `seen`
    4:28: the input `seen` is never used
    ");
}

#[test]
fn names_of_the_language() {
    assert_snapshot!(mistakes("
        act scan = |x| x;
        Net<x: [B, 8] -> y: [B, 4]> { Dense(4), scna(4) |x, h| x }
    "), @"
    2:13: `scan` is part of the language; choose another name
    3:49: `scna` takes no names; `scan(n) |x, h| ..` does, a loop over the elements of a sequence
    ");
}
