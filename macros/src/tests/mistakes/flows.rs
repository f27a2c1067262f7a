//! Bodies of named flows.

use insta::assert_snapshot;

use crate::tests::mistakes;

/// A network of two inputs and two outputs with this body.
fn lines(lines: &str) -> String {
    mistakes(&format!("Two<(a: [B, 6], b: [B, 4]) -> (c: [B], d: [B, 16])> {{\n{lines}\n}}"))
}

/// One of one input and one output.
fn one(lines: &str) -> String {
    mistakes(&format!("One<x: [B, 3, 8] -> y: [B, 4]> {{\n{lines}\n}}"))
}

#[test]
fn no_mistake() {
    assert_snapshot!(lines("
        layer shared = { Dense(6), relu };
        let u = a -> shared, shared as h;
        let v = b -> Dense(6), shared;
        c = sum(u * v, axis = -1) + h[.., 0];
        let (e, f) = (u, v) -> concat, Dense(16), split;
        d = concat(f, e);
    "), @"");
}

#[test]
fn used_before_it_is_made() {
    assert_snapshot!(lines("
        let u = v -> Dense(4);
        let v = a -> Dense(4);
        c = sum(u * b, axis = 1);
        d = v -> enc, Dense(16);
        layer enc = Dense(3);
    "), @"
    3:17: `v` is used before it is made; write its line before this one
    6:18: `enc` is used before it is made; write its line before this one
    ");
}

#[test]
fn circles() {
    assert_snapshot!(lines("
        let u = (v, a) -> concat, Dense(4);
        let v = u + b;
        let w = w + 1.0;
        c = sum(v * w, axis = 1);
        d = b -> Dense(16);
    "), @"
    3:18: `u` and `v` are made of one another
    5:17: `w` is made of itself
    ");
}

#[test]
fn never_used() {
    assert_snapshot!(lines("
        layer spare = Dense(4);
        let u = a -> Dense(4);
        c = a[.., 0];
        d = a -> Dense(16);
    "), @"
    1:17: the input `b` is never used
    3:15: the layer `spare` is never used
    4:13: the flow `u` is never used
    ");
}

#[test]
fn made_twice() {
    assert_snapshot!(lines("
        let u = a -> Dense(4);
        let u = b -> Dense(4);
        c = u[.., 0];
        c = u[.., 1];
        layer u = Dense(4);
        d = b -> Dense(16);
    "), @"
    4:13: `u` is made twice
    6:9: `c` is made twice
    7:15: `u` is made twice
    ");
}

#[test]
fn outputs_and_lets() {
    assert_snapshot!(lines("
        let c = a[.., 0];
        dd = b -> Dense(16);
    "), @"
    1:40: no line makes the output `d`; write `d = ..;`
    3:13: `c` is an output, which is made without `let`: `c = ..;`
    4:9: `dd` is no output of this network; write `let dd = ..;`; did you mean the output `d`?
    ");
}

#[test]
fn output_that_no_line_makes() {
    assert_snapshot!(lines("c = a[.., 0] + b[.., 1];"), @"1:40: no line makes the output `d`; write `d = ..;`");
}

#[test]
fn output_of_another_shape() {
    assert_snapshot!(lines("
        c = a -> Dense(1);
        d = b -> Dense(8);
    "), @"
    1:35: `Two` declares c: [B], but its flow gives [B, 1]
    1:43: `Two` declares d: [B, 16], but its flow gives [B, 8]
    ");
}

#[test]
fn output_of_another_type() {
    assert_snapshot!(
        mistakes("One<x: [B, 8] -> (y: [u32; B], z: [B, 8])> { y = argmax(x); z = x > 0.0; }"),
        @"
    1:22: `y` is u32, and outputs are f32; take `argmax` of the output in a metric, or where it is used
    1:35: `One` declares z: [B, 8], but its flow gives [bool; B, 8]
    "
    );
}

#[test]
fn shapes_that_do_not_broadcast() {
    assert_snapshot!(lines("
        let u = a + b;
        let v = a -> Dense(4) as h, relu;
        c = sum(v * maximum(a, h), axis = 1);
        let w = v - mean(v, axis = 1);
        d = if a > 0.0 { w } else { v } -> Dense(16);
    "), @"
    3:13: the flow `u` is never used
    3:19: `+` needs operands of one shape, but for sizes of 1, found [B, 6] and [B, 4]
    5:21: `maximum` needs operands of one shape, but for sizes of 1, found [B, 6] and [B, 4]
    6:19: `-` needs operands of one shape, but for sizes of 1, found [B, 4] and [B]; with `keep = true` a reduction leaves its axis, with one element
    ");
}

#[test]
fn axes_that_are_not_there() {
    assert_snapshot!(one("
        let u = sum(x, axis = 3) + mean(x, axis = [1, -4]) + max(x, axis = [1, 1]);
        let v = concat(x, x, axis = 5);
        let w = transpose(x, axes = [0, 1, 1]);
        let i = argmax(x, axis = -4);
        let j = transpose(x, axes = [1, 0, 2]);
        let (p, q) = x -> split(axis = 7);
        y = min(x, axis = one) -> Dense(4);
    "), @"
    3:13: the flow `u` is never used
    3:17: `sum` finds no axis 3 in [B, 3, 8], whose axes are 0 to 2, or -3 to -1
    3:36: `mean` finds no axis -4 in [B, 3, 8], whose axes are 0 to 2, or -3 to -1
    3:62: `max` is given the axis 1 of [B, 3, 8] twice
    4:13: the flow `v` is never used
    4:17: `concat` finds no axis 5 in [B, 3, 8], whose axes are 0 to 2, or -3 to -1
    5:13: the flow `w` is never used
    5:17: `transpose` needs each axis of [B, 3, 8] once, found [0, 1, 1]
    6:13: the flow `i` is never used
    6:17: `argmax` finds no axis -4 in [B, 3, 8], whose axes are 0 to 2, or -3 to -1
    7:13: the flow `j` is never used
    7:17: `transpose` leaves the batch, axis 0 of [B, 3, 8], where it is
    8:14: the flow `p` is never used
    8:17: the flow `q` is never used
    8:27: `split` finds no axis 7 in [B, 3, 8], whose axes are 0 to 2, or -3 to -1
    9:27: unknown size `one`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    ");
}

#[test]
fn slices_out_of_range() {
    assert_snapshot!(one("
        let u = x[.., 3, ..];
        let v = x[.., 0..4, ..];
        let w = x[.., 2..1, ..];
        let p = x[.., -4, ..];
        let q = x[0, .., ..];
        let r = x[.., 0];
        let s = x[.., 0..=1, ..];
        let t = x[.., 1.5, ..];
        y = x[.., 0, 0..4];
    "), @"
    3:13: the flow `u` is never used
    3:17: `3` is out of range along axis 1 of [B, 3, 8], which has 3
    4:13: the flow `v` is never used
    4:17: `4` is out of range along axis 1 of [B, 3, 8], which has 3
    5:13: the flow `w` is never used
    5:17: `2..1` is empty: the second number is that after the last element
    6:13: the flow `p` is never used
    6:17: `-4` is out of range along axis 1 of [B, 3, 8], which has 3
    7:13: the flow `q` is never used
    7:17: the rows of a batch cannot be taken apart: the first entry is `..`
    8:13: the flow `r` is never used
    8:17: `[..]` takes an entry for each axis of [B, 3, 8]: 3, found 2; `..` is all of an axis
    9:13: the flow `s` is never used
    9:24: a range ends before its second number: write `0..8` for `0..=7`
    10:13: the flow `t` is never used
    10:17: a place along an axis is an integer, found `1.5` = 1.5
    ");
}

#[test]
fn lines_with_a_mistake_use_what_they_name() {
    assert_snapshot!(one("y = x @ x;"), @"2:7: `@` is no operator here; products with trained weights are layers: `Dense(n)`");
    assert_snapshot!(one("y = x.relu();"), @"2:7: expressions have no methods; write `relu(x)`");
    assert_snapshot!(one("y = 0 < x < 1;"), @"2:11: comparisons cannot be chained; join two of them: `0 < x && x < 1`");
}

#[test]
fn rows_that_depend_on_one_another() {
    assert_snapshot!(one("
        let u = x - mean(x, axis = 0);
        let v = x / sum(x);
        y = x[.., 0, ..4];
    "), @"
    3:13: the flow `u` is never used
    3:21: `mean` takes all rows of the batch together, and in a flow each stands for itself; give it other axes (`axis = -1`), or write it into the loss or a metric
    4:13: the flow `v` is never used
    4:21: `sum` takes all rows of the batch together, and in a flow each stands for itself; give it other axes (`axis = -1`), or write it into the loss or a metric
    ");
}

#[test]
fn values_that_cannot_be_joined() {
    assert_snapshot!(lines("
        let u = (a, b) -> Dense(3);
        let v = a -> concat, Dense(3);
        let w = concat(a, b, axis = 0);
        c = (a, b) -> concat(axis = 1), flatten, |x| x[.., 0];
        d = (a[.., 0], b) -> concat, Dense(16);
    "), @"
    1:35: `Two` declares c: [B], but its flow gives [B, 10]
    3:13: the flow `u` is never used
    3:27: `Dense(3)` takes one value, and 2 flow in; join them with `concat` first
    4:13: the flow `v` is never used
    4:22: `concat` joins several values, and one flows in: `(u, v) -> concat`
    5:13: the flow `w` is never used
    5:17: `concat` joins values along any axis but that of the batch
    6:54: `[..]` looks at more than one element; a function of your own works element by element
    7:30: `concat` joins values along any axis but that of the batch
    ");
}

#[test]
fn values_that_cannot_be_split() {
    assert_snapshot!(lines("
        let (e, f, g, h) = a -> split;
        let (i, j) = a -> Dense(4);
        let k = b -> split;
        let (l, m) = split(b, axis = 0);
        c = a -> split, Dense(1);
        d = b -> Dense(16);
    "), @"
    3:14: the flow `e` is never used
    3:17: the flow `f` is never used
    3:20: the flow `g` is never used
    3:23: the flow `h` is never used
    3:33: `split` into 4 parts needs a size that 4 divides, found 6 along axis 1 of [B, 6]
    4:14: several names are parts of one value: `let (u, v) = h -> split;`
    4:14: the flow `i` is never used
    4:17: the flow `j` is never used
    5:13: the flow `k` is never used
    5:22: `split` gives several values, at the end of a line: `let (u, v) = h -> split;`
    6:14: the flow `l` is never used
    6:17: the flow `m` is never used
    6:22: `split` takes a value apart along any axis but that of the batch
    7:18: `split` gives several values, at the end of a line: `let (u, v) = h -> split;`
    ");
}

#[test]
fn shapes_that_hold_other_numbers_of_elements() {
    assert_snapshot!(one("
        let u = reshape(x, [B, 4, 7]);
        let v = reshape(x, [4, 6]);
        let w = reshape(x, shape = 24);
        let p = reshape(x, [B, crate::N]);
        y = reshape(x, [B, 24]) -> Dense(4);
    "), @"
    3:13: the flow `u` is never used
    3:17: `reshape` keeps the number of elements of a row, found [B, 4, 7] for [B, 3, 8]
    4:13: the flow `v` is never used
    4:28: `shape` of `reshape` must be a shape, such as `[B, 4, 7]`, found `[4, 6]`
    5:13: the flow `w` is never used
    5:36: `shape` of `reshape` must be a shape, such as `[B, 4, 7]`, found `24`
    6:13: the flow `p` is never used
    ");
}

#[test]
fn shared_layers_that_do_not_fit() {
    assert_snapshot!(lines("
        layer enc = { Dense(8), relu, Dense(4) };
        layer norm = { BatchNorm, relu };
        layer relu = Dense(4);
        layer dense = Dense(16) as h;
        let u = a -> enc, norm;
        let v = b -> enc, norm;
        c = sum(u * v, axis = -1) + enc;
        d = u -> dense(3), norm(4);
    "), @"
    5:15: `relu` is part of the language; choose another name
    6:36: a layer has its name already
    8:22: `enc` is used before with other sizes: `enc.dense1.weight` is [6, 8], and would be [4, 8] here
    9:37: `enc` is a stage of a body, not a function for expressions
    10:24: `dense` takes no arguments
    10:33: `norm` takes no arguments
    ");
}

#[test]
fn lines_that_are_none() {
    assert_snapshot!(lines("
        let u = a -> Dense(4)
        let v = b -> Dense(4);
        a -> relu;
        (a, b) -> concat;
        let w = (a, b);
        c = a[.., 0] + v[.., 0] * w[.., 0];
        d = b -> Dense(16), ;
    "), @"
    3:13: the flow `u` is never used
    4:9: expected `;`, found `let`
    5:9: a flow has a name: `let u = x -> Dense(8);`, or that of an output: `y = ..;`
    6:9: a flow has a name: `let u = x -> Dense(8);`, or that of an output: `y = ..;`
    7:23: expected `->` and what joins the values, such as `concat`, found `;`
    ");
}

#[test]
fn lines_among_stages() {
    assert_snapshot!(mistakes(
        "One<x: [B, 8] -> y: [B, 4]> { Dense(4), let u = x -> relu, y = relu, residual { let v = x -> relu; }, x -> relu }"
    ), @"1:41: a body is a list of stages, or, in a network, lines of named flows that end with `;`: this begins a line among stages");
}

#[test]
fn stages_and_several_ports() {
    assert_snapshot!(
        mistakes("Two<(a: [B, 8], b: [B, 8]) -> (c: [B, 4], d: [B, 4])> { Dense(4) }"),
        @"
    1:20: a body that is a list of stages has one flow; with several inputs, write lines: `let u = x -> ..;`
    1:46: a body that is a list of stages has one flow; with several outputs, write lines: `let u = x -> ..;`
    "
    );
}

#[test]
fn ports_without_names() {
    assert_snapshot!(mistakes("Two<([B, 8], [B, 8]) -> ([B, 8], [B, 8])> { out = x + 1.0; }"), @"
    1:14: without a name this would be `x`, which is taken; give it one: `name: [..]`
    1:34: without a name this would be `out`, which is taken; give it one: `name: [..]`
    ");
}

#[test]
fn the_trace_is_that_of_the_flow() {
    assert_snapshot!(mistakes(
        "One<(a: [B, 3, 8], b: [B, 8]) -> y: [B, 4]> { let u = a -> Dense(6), relu, Dense(5); \
         y = (u[.., 0, ..], b) -> concat, Dense(16), BatchNorm, LayerNorm, residual { Dense(3) }; }"
    ), @"
    1:152: `residual` adds its body to what comes in: the body gives [B, 3], but [B, 16] comes in; a `skip { .. }` after it can bring that to [B, 3]
    (.. [B,5], b [B,8]) -> concat [B,13] -> Dense(16) [B,16] -> Dense(3) [B,3]
    ");
}

#[test]
fn class_ids_flow_into_no_layer() {
    assert_snapshot!(mistakes(
        "One<(a: [u8; B, 8], b: [B, 8]) -> y: [B, 4]> { let u = a -> Dense(6); let v = argmax(b) -> relu; \
         y = (a, b) -> concat, Dense(4); }"
    ), @"
    1:52: the flow `u` is never used
    1:61: `Dense(6)` needs f32, found u8; put `normalize` before it, which makes numbers of the bytes of an image, or declare `a` without `u8;`
    1:75: the flow `v` is never used
    1:92: `relu` needs f32, found u32
    1:112: `concat` needs f32, found u8; put `normalize` before it, which makes numbers of the bytes of an image, or declare `a` without `u8;`
    ");
}

#[test]
fn scalars() {
    assert_snapshot!(mistakes(
        "One<x: [B, 8] -> y: [B, 8]> { relu } scalar w = 1.0; scalar v = 1e50; scalar u = x; scalar = 3; scalar y = 2; \
         scalar unused = 1; loss = w * v * u * mean(y);"
    ), @"
    1:65: `1e50` is beyond f32, whose largest number is 3.4e38
    1:82: unknown size `x`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    1:92: expected a name after `scalar`, found `=`
    1:104: the name `y` is already taken in this network
    1:118: the scalar `unused` is never used
    ");
}

#[test]
fn axes_may_be_calculated() {
    assert_snapshot!(mistakes(
        "
        const AXIS = 1;
        Net(far: usize = 3, near: usize = 2)<(a: [B, 4, 6], b: [B, 4, 6]) -> (y: [B, 4, 12], z: [B, 6, 3])> {
            let both = (a, b) -> concat(axis = far - 1);
            let (u, v) = both -> split(axis = near);
            y = (u, v) -> concat(axis = far);
            let (m, n, o) = a -> split(AXIS);
            let (p, q) = m -> split(axis = crate::ROWS);
            let (r, s) = n -> split(axis = 2.5);
            z = (p, q, o, r, s) -> concat(axis = -AXIS - 1);
        }
        "
    ), @"
    6:27: `concat(axis = far)` finds no axis 3 in [B, 4, 6], whose axes are 0 to 2, or -3 to -1
    7:34: `split` into 3 parts needs a size that 3 divides, found 4 along axis 1 of [B, 4, 6]
    9:44: `axis` of `split` must be an axis, such as 1 or -1, found `2.5`
    ");
}
