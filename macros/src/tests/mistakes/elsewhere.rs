//! Sizes that are chosen when a program runs, and blocks and functions from elsewhere.

use insta::assert_snapshot;

use super::mistakes;

#[test]
fn sizes() {
    assert_snapshot!(mistakes(
        "
        const WIDTH = 8;
        Mlp(hidden: usize = 4, WIDTH: usize = 2, depth: u32 = 1, hidden: usize = 3, B: usize = 2, few: usize = 0,
            rust: usize = crate::N, part: usize = 2.5, unused: usize = 1)<x: [B, 4] -> y: [B, 4]> {
            repeat(depth) { Dense(hidden + few + rust + part) }, Dense(4),
        }
        Open(hidden: usize, width = 3, 4)<x: [B, 4] -> y: [B, 4]> { Dense(hidden), Dense(width) }
        Bare(n: usize = 4) { Dense(4) }
        "
    ), @"
    3:32: the name `WIDTH` is already taken in this network
    3:57: a size that is chosen when the program runs is a `usize`, found `u32`
    3:66: the name `hidden` is already taken in this network
    3:85: `B` is the batch; choose another name
    3:112: a size is an integer of at least 1, found `0`
    4:27: a size is a literal or a `const` of the network unless it is chosen, found `crate::N`
    4:51: a size is an integer of at least 1, found `2.5`
    4:56: the size `unused` is never used
    7:27: expected `=` and what it is unless it is chosen, found `,`
    7:35: expected `: usize`, as in a size like `hidden: usize = 128`, found `=`
    7:40: expected a size like `hidden: usize = 128`, found `4`
    7:75: unknown size `hidden`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    7:90: unknown size `width`; did you mean `WIDTH`?
    8:14: the size `n` is never used
    8:28: expected `<` and the signature of `Bare`, found `{`
    ");
}

#[test]
fn sizes_are_checked_as_the_declaration_has_them() {
    assert_snapshot!(mistakes(
        "
        Mlp(hidden: usize = 5, depth: usize = 2)<x: [B, 4] -> y: [B, 4]> {
            repeat(depth) { Dense(hidden) as h }, |x| x[.., hidden], residual { Dense(2 * hidden) }, Dense(hidden / 0),
            depth, Dense(3, bias = hidden), |x| swish(x, beta = hidden),
        }
        loss = mean(hidden * y) + hidden;
        act swish = |x, beta = hidden| x * beta;
        block Res(c = hidden) { Dense(c) }
        "
    ), @"
    3:55: `[..]` looks at more than one element; a function of your own works element by element
    3:70: `residual` adds its body to what comes in: the body gives [B, 10], but [B, 5] comes in; a `skip { .. }` after it can bring that to [B, 10]
    x [B,4] -> Dense(hidden) [B,5] -> Dense(2*hidden) [B,10]
    4:13: unknown activation `depth`
    7:32: unknown size `hidden`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    8:23: unknown size `hidden`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    ");
}

#[test]
fn sizes_are_no_values() {
    assert_snapshot!(mistakes(
        "
        Mlp(hidden: usize = 5)<(a: [B, 5], b: [B, 5]) -> (y: [B, 5], z: [B, hidden])> {
            let hidden = a -> Dense(5);
            y = hidden -> Dense(5) as a;
            z = (b, hidden) -> concat, Dense(hidden);
        }
        scalar hidden = 1.0;
        "
    ), @"
    3:17: the name `hidden` is already taken in this network
    4:27: `Dense(5)` needs [B, .., features], found []
    .. []
    4:39: the name `a` is already taken in this network
    5:32: `concat` joins values that agree in all axes but 1, found [B, 5] and []
    7:16: the name `hidden` is already taken in this network
    ");
}

#[test]
fn blocks_and_functions_from_elsewhere() {
    assert_snapshot!(mistakes(
        "
        pub block Mine(c) { blocks::Res(c, size = d, 3), torch::Linear(4), layers::Dense(4), layers::Res(4) }
        Net<x: [B, 4] -> y: [B, 4]> {
            blocks::Res(width = 4, 5), acts::swish(beta = 'x'), Dense(crate::size(3)), crate::Res { Dense(4) },
            nn::Linear(4), self::Mine(unknown),
        }
        loss = mean(acts::swish()) + acts::swish(unknown) + crate::CONST;
        metric m = blocks::Res;
        "
    ), @"
    2:51: unknown size `d`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    2:54: an argument without a name comes before those with one
    2:58: layers stand in no module here; leave out `torch`
    2:65: unknown layer `Linear`; write `Dense(n)`: the size of what comes in is inferred
    2:76: layers stand in no module here; leave out `layers`
    4:36: an argument without a name comes before those with one
    4:59: expected a number, found `'x'`
    4:71: `crate::size` is called, but only constants of Rust can be used here
    4:99: expected `,`, found `{`
    5:13: layers stand in no module here; leave out `nn`
    5:17: unknown layer `Linear`; write `Dense(n)`: the size of what comes in is inferred
    5:39: unknown size `unknown`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    7:21: `acts::swish` needs the argument `x` (what it is applied to)
    7:50: unknown name `unknown`; there are `x` and `y`, and a target is declared with the loss: `loss(unknown: [B, ..]) = ..`
    ");
}

#[test]
fn what_others_use_is_sound_by_itself() {
    assert_snapshot!(mistakes(
        "
        pub block Circle(c) { Dense(c), Circle(c) }
        pub block Unused(c, d = 3, d) { Dense(c), reshape(x, [B, c]) }
        pub act twice = |x| twice(x);
        pub act wrong = |x, beta = crate::N| x * gamma;
        pub const N = 3;
        "
    ), @"
    2:41: the block `Circle` contains itself
    3:29: `d` is never used
    3:36: the name `d` is already taken in this network
    3:36: `d` is never used
    3:51: `reshape` is a function for expressions, not a stage of a body
    4:29: the function `twice` is defined in terms of itself
    5:36: a trainable number starts from a literal or a `const` of the network, found `crate::N`
    5:50: unknown name `gamma`
    6:9: a `const` is known in its `network!` alone; one that others use is a `const` of Rust
    ");
}

#[test]
fn what_a_block_from_elsewhere_may_use_is_not_called_unused() {
    assert_snapshot!(mistakes(
        "
        pub block Looks(heads) { Attention(heads, mask = keep) }
        Open<(x: [B, 6, 4], keep: [B, 6], more: [B, 6]) -> y: [B, 6, 4]> {
            layer unused = Dense(4);
            let other = more + 1.0;
            y = x -> self::Looks(2);
        }
        Known<(x: [B, 6, 4], keep: [B, 6], more: [B, 6]) -> y: [B, 6, 4]> {
            layer unused = Dense(4);
            let other = more + 1.0;
            y = x -> Looks(2);
        }
        "
    ), @"
    4:19: the layer `unused` is never used
    9:19: the layer `unused` is never used
    10:17: the flow `other` is never used
    ");
}
