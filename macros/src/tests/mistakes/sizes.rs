//! Sizes and consts.

use insta::assert_snapshot;

use super::{body, signature};
use crate::tests::mistakes;

#[test]
fn zero_size() {
    assert_snapshot!(signature("x: [B, 0] -> [B, 4]"), @"1:12: a size is an integer of at least 1, found `0`");
}

#[test]
fn size_with_a_fraction() {
    assert_snapshot!(signature("x: [B, 2.5] -> [B, 4]"), @"1:12: a size is an integer of at least 1, found `2.5`");
}

#[test]
fn overflowing_size() {
    assert_snapshot!(body("Dense(4294967296 * 4294967296), Dense(99999999999999999999), Dense(4)"), @"
    1:37: `4294967296 * 4294967296` overflows
    1:69: `99999999999999999999` is too large
    ");
}

#[test]
fn absurd_size() {
    assert_snapshot!(body("Dense(1099511627777), Dense(4)"), @"1:37: `1099511627777` is too large");
}

#[test]
fn absurd_shape() {
    assert_snapshot!(signature("x: [B, 1048576, 1048576, 2] -> [B, 4]"), @"1:8: one row of `x` has more than 2^40 elements: 8.8 TB");
}

#[test]
fn absurd_weights() {
    assert_snapshot!(body("Dense(1048576), Dense(1048577), Dense(4)"), @"1:47: `dense2.weight` [1048576, 1048577] has more than 2^40 elements: 4.4 TB");
}

#[test]
fn division_by_zero() {
    assert_snapshot!(body("Dense(4 / 0), Dense(4 % (2 - 2))"), @"
    1:37: `4 / 0` divides by zero
    1:51: `4 % (2 - 2)` divides by zero
    ");
}

#[test]
fn unknown_const() {
    assert_snapshot!(mistakes("const HIDDEN = 16; Net<[B, WIDTH] -> [B, 4]> { Dense(HIDEN), Dense(4) }"), @"
    1:28: unknown size `WIDTH`; a constant of Rust is written with its path: `self::WIDTH` or `crate::WIDTH`
    1:54: unknown size `HIDEN`; did you mean `HIDDEN`?
    ");
}

#[test]
fn duplicate_const() {
    assert_snapshot!(mistakes("const H = 16; const H = 17; Net<[B, 8] -> [B, H]> { Dense(H) }"), @"1:21: there are two consts `H`");
}

#[test]
fn recursive_const() {
    assert_snapshot!(mistakes("const H = 2 * W; const W = H - 1; Net<[B, 8] -> [B, H]> { Dense(H) }"), @"1:28: `H` is defined by itself");
}

#[test]
fn const_that_is_no_integer() {
    assert_snapshot!(mistakes("const H = 0.5; const W = 1 < 2; const V = true;"), @"
    1:11: `H` names a size, so it must be an integer, found `0.5`
    1:26: expected a number, found `1 < 2`
    1:43: expected a number, found `true`
    ");
}

#[test]
fn const_named_like_the_batch() {
    assert_snapshot!(mistakes("const B = 3;"), @"1:7: `B` is the batch; choose another name");
}

#[test]
fn size_from_the_batch() {
    assert_snapshot!(body("Dense(2 * B), Dense(4)"), @"1:41: `B` is known only at run time, so nothing can be calculated from it here");
}

#[test]
fn number_with_a_suffix() {
    assert_snapshot!(body("Dense(4usize)"), @"1:37: numbers have no suffix here: write `4` without `usize`");
}

#[test]
fn a_quotient_of_sizes_is_an_integer_and_one_of_numbers_is_not() {
    assert_snapshot!(mistakes(
        "const HALF = 7 / 2;
         block R(n, slope = 1 / 4) { Dense(n / 2), leaky_relu(slope / 2), |x| slope * x, BatchNorm(momentum = n) }
         Net<x: [B, 6 / 4] -> y: [B, HALF]> { R(7 / 2), Dense(7 / 2 * 2 - 3) } loss = mean(y) * HALF;"
    ), @"2:111: `momentum` of `BatchNorm` must be a number between 0 and 1, found `n` = 3.5");
}

#[test]
fn a_block_takes_numbers_that_are_no_sizes_and_sizes_that_are_no_numbers() {
    assert_snapshot!(mistakes(
        "block R(n, slope) { Dense(n), leaky_relu(slope) }
         Net<x: [B, 8] -> y: [B, 1]> { R(5 / 2 % 3, 3 / (1 / 2)), R(1, 1 / (1 / 2)), R(3 / (1 / 2), 0.5), R(1 / 0, 1 % 0) } loss = mean(y);"
    ), @"
    2:88: `3 / (1 / 2)` divides by zero
    2:109: `1 / 0` divides by zero
    2:116: `1 % 0` divides by zero
    ");
}

#[test]
fn numbers_beyond_f32() {
    assert_snapshot!(mistakes(
        "act f = |x, a = 1e50, b = -1e-50| a * x + b * 1e39;
         block R(a) { |x| a * x, Dense(8, init = uniform(a)) }
         Net<x: [B, 8] -> y: [B, 4]> { f(a = 1e-46), R(1e-60), R(0.0), Dense(8, init = constant(1e-50)), Dropout(1e-50), Dense(4) }
         loss(k: [u8; B]) = cross_entropy(y, k, class_weights = [1, 1e-50, 1, 1]) + 1e-50 * mean(y) + mean(y / 1e50) + 0.0;
         metric m = 3.4e38 + 1.5e-45 + 3.5e38;"
    ), @"
    1:17: `1e50` is beyond f32, whose largest number is 3.4e38
    1:27: `-1e-50` is 0 in f32, whose least number above 0 is 1.4e-45
    1:47: `1e39` is beyond f32, whose largest number is 3.4e38
    2:27: `a` is 0 in f32, whose least number above 0 is 1.4e-45
    2:58: `a` is 0 in f32, whose least number above 0 is 1.4e-45
    3:97: `1e-50` is 0 in f32, whose least number above 0 is 1.4e-45
    3:114: `1e-50` is 0 in f32, whose least number above 0 is 1.4e-45
    4:69: `1e-50` is 0 in f32, whose least number above 0 is 1.4e-45
    4:85: `1e-50` is 0 in f32, whose least number above 0 is 1.4e-45
    4:112: `1e50` is beyond f32, whose largest number is 3.4e38
    5:40: `3.5e38` is beyond f32, whose largest number is 3.4e38
    ");
}

#[test]
fn dropout_that_keeps_nothing() {
    assert_snapshot!(body("Dropout(1 - 1e-8), Dropout(1 - 1e-7), Dense(4)"), @"1:39: `p` of `Dropout` must be a number of at least 0 and at most 1 - 2^-24, found `1 - 1e-8` = 0.99999999");
}
