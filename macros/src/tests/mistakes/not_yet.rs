//! What the language promises and the macro cannot do yet.

use insta::assert_snapshot;

use super::body;
use crate::tests::mistakes;

#[test]
fn flows() {
    assert_snapshot!(mistakes(
        "Two<(a: [B, 6], b: [B, 3]) -> (c: [B], d: [B, 16])> { let u = a -> Dense(1), relu; c = sum(u * b); }"
    ), @"
    1:20: a network with several inputs is not supported yet
    1:43: a network with several outputs is not supported yet
    1:55: a body of named flows is not supported yet
    ");
}

#[test]
fn layers_of_other_kinds_of_networks() {
    assert_snapshot!(body("Embedding(10, 4), Attention(4), Dense(4)"), @"
    1:31: `Embedding` is not supported yet
    1:49: `Attention` is not supported yet
    ");
}
