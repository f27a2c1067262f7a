//! One test per mistake, with what the user reads. Columns count from 1, as rustc's do.

mod arguments;
mod elsewhere;
mod expressions;
mod flows;
mod grammar;
mod hints;
mod images;
mod layers;
mod loops;
mod names;
mod ports;
mod sequences;
mod sizes;
mod structure;

use insta::assert_snapshot;

use super::mistakes;

/// A network with this body, on `x: [B, 8]`.
fn body(stages: &str) -> String {
    mistakes(&format!("Net<x: [B, 8] -> y: [B, 4]> {{ {stages} }}"))
}

/// A network with these clauses, giving `y: [B, 4]` from `x: [B, 8]`.
fn clauses(clauses: &str) -> String {
    mistakes(&format!("Net<x: [B, 8] -> y: [B, 4]> {{ Dense(16) as h, relu, Dense(4) }}\n{clauses}"))
}

/// A network with this signature and one layer.
fn signature(ports: &str) -> String {
    mistakes(&format!("Net<{ports}> {{ Dense(4) }}"))
}

#[test]
fn no_mistake() {
    assert_snapshot!(clauses("loss(t: [u8; B]) = cross_entropy(y, t) + 1e-4 * mean(h * h) / 2;"), @"");
}
