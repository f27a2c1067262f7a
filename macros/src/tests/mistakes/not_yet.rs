//! What the language promises and the macro cannot do yet.

use insta::assert_snapshot;

use super::body;

#[test]
fn layers_of_other_kinds_of_networks() {
    assert_snapshot!(body("Lstm(10), Gru(4), Dense(4)"), @"
    1:31: `Lstm` is not supported yet
    1:41: `Gru` is not supported yet
    ");
}
