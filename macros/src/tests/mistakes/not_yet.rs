//! What the language promises and the macro cannot do yet.

use insta::assert_snapshot;

use super::body;

#[test]
fn layers_of_other_kinds_of_networks() {
    assert_snapshot!(body("Embedding(10, 4), Attention(4), Dense(4)"), @"
    1:31: `Embedding` is not supported yet
    1:49: `Attention` is not supported yet
    ");
}
