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
    assert_snapshot!(signature("x: [B, 1048576, 1048576, 2] -> [B, 4]"), @"1:8: one row of `x` has more than 2^40 elements");
}

#[test]
fn absurd_weights() {
    assert_snapshot!(body("Dense(1048576), Dense(1048577), Dense(4)"), @"1:47: `dense2.weight` [1048576, 1048577] has more than 2^40 elements");
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
    1:28: unknown size `WIDTH`
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
