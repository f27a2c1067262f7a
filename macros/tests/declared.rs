//! Networks without mistakes: what they expand to is Rust that draws no warning, and says what was declared.

#![deny(warnings, missing_docs, unreachable_pub, clippy::all)]

use gradloom::__private::Report;
use gradloom::{MetricsOf, Network, Stage, network};
use insta::assert_snapshot;

network! {
    const WIDTH = 4 * HALF;
    const HALF = 2;

    /// With everything.
    #[must_use]
    pub Everything<image: [B, WIDTH, 2] -> logits: [B, 3]> {
        flatten, Dense(WIDTH * 2, bias = false), BatchNorm(momentum = 1 - 0.25, every = 3) as norm, gelu(approx = tanh),
        Dense(3, init = zeros),
    }
    loss(label: [u8; B], weight: [B]) = cross_entropy(logits, label) + 1e-3 * mean(norm * norm) - mean(-weight) / WIDTH;
    metric accuracy = mean(argmax(logits) == label);
    metric scale = sum(dense2.weight * dense2.weight);

    /// With nothing but a body.
    pub Plain<[B, 2] -> [B, 1]> { Dense(1) }
}

network! {
    /// Others may use it.
    pub block Shared(width) { Dense(width), relu }

    /// With sizes that are chosen.
    pub Sized(
        /// Of the one layer.
        hidden: usize = 3,
    )<[B, 2] -> [B, 1]> { self::Shared(hidden), Dense(1) }
}

/// Networks whose attributes matter, seen from outside.
mod inner {
    use gradloom::network;

    network! {
        /// Never compiled.
        #[cfg(any())]
        pub Gone<[B, 2] -> [B, 1]> { Dense(1) }
        loss = mean(out);

        #[allow(missing_docs)]
        #[derive(Hash, PartialEq, Debug)]
        pub Undocumented<[B, 2] -> [B, 1]> { Dense(1) }

        /// In the crate alone.
        pub(crate) Near<[B, 2] -> [B, 1]> { Dense(1) }
        /// Made small.
        loss = mean(out);
        /// How far out the output reaches.
        ///
        /// In all directions.
        metric reach = max(abs(out));

        /// Of yesterday.
        #[deprecated(note = "use `Near`")]
        #[derive(Clone)]
        pub(super) Old<[B, 2] -> [B, 1]> { Dense(1) }
        loss = mean(out);

        /// For nobody.
        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        pub in_hiding<[B, 2] -> [B, 1]> { Dense(1) }
    }
}

#[test]
fn attributes_and_visibility_hold_for_all_of_a_network() {
    let ir = |stage: fn(Stage) -> String| stage(Stage::Static).lines().next().map(str::to_string);
    assert_eq!(ir(inner::Near::ir), Some("network Near<x: f32[B,2] -> out: f32[B,1]>".to_string()));
    assert_eq!(ir(inner::in_hiding::ir), Some("network in_hiding<x: f32[B,2] -> out: f32[B,1]>".to_string()));
    assert_eq!(inner::Undocumented, inner::Undocumented);
    let sum: fn(MetricsOf<inner::Near>) -> f32 = |metrics| metrics.loss + metrics.reach;
    assert_eq!(sum(inner::Near::metrics(&Report { loss: 1.0, metrics: &[2.0] })), 3.0);
    #[allow(deprecated)]
    let old = inner::Old::ir(Stage::Static);
    assert!(old.starts_with("network Old"));
}

network! { Hidden<r#in: [B, 2] -> [B, 2]> { relu } loss(r#type: [B, 2]) = mse(out, r#type) + mean(r#in); }

macro_rules! stack {
    ($name:ident, $width:expr, [$($layer:ident),*]) => {
        network! { $name<[B, $width] -> [B, $width * 2]> { $($layer,)* Dense($width * 2) } }
    };
}
stack!(Stacked, 1 + 2, [relu, BatchNorm]);

#[test]
fn the_definition_says_what_was_declared() {
    assert_snapshot!(Everything::ir(Stage::Static), @"
    network Everything<image: f32[B,8,2] -> logits: f32[B,3]>
      flatten1  flatten                                f32[B,16]
      dense1    Dense(16, bias = false)                f32[B,16]  256 parameters
      norm      BatchNorm(momentum = 0.75, every = 3)  f32[B,16]   32 parameters
      gelu1     gelu(approx = tanh)                    f32[B,16]
      dense2    Dense(3, init = zeros)                 f32[B,3]    51 parameters
      loss(label: u8[B], weight: f32[B]) = cross_entropy(logits, label) + 0.001 * mean(norm * norm) - mean(-weight) / 8
      metric accuracy = mean(argmax(logits) == label)
      metric scale = sum(dense2.weight * dense2.weight)
      339 parameters
    ");
}

#[test]
fn what_another_macro_puts_in_counts_as_one_expression() {
    assert!(Stacked::ir(Stage::Static).starts_with("network Stacked<x: f32[B,3] -> out: f32[B,6]>"));
}

#[test]
fn keywords_may_be_names() {
    assert_eq!(Hidden::declared().inputs[0].name, "in");
    assert_eq!(Hidden::declared().targets[0].name, "type");
}

#[test]
fn a_stage_knows_its_place() {
    let line = line!() + 2;
    network! {
        Placed<[B, 2] -> [B, 2]> { relu, Dense(2) }
    }
    let place = Placed::declared().place(Placed::declared().body[1].at);
    assert!(place.file.ends_with("declared.rs"));
    assert_eq!((place.line, place.column), (line, 42));
    assert_eq!(Plain::declared().body.len(), 1);
}
