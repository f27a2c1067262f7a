//! What [`network!`](crate::network) warns of: declarations that mean something, though hardly what was meant.
//!
//! A macro can only warn by a use of something deprecated, so rustc calls the lints that. `#[allow(..)]` with the name of a
//! lint, before the network, silences it there, and `#[deny(..)]` makes it an error:
//!
//! ```
//! # gradloom::network! {
//! #[allow(bias_before_batch_norm)]
//! pub Net<x: [B, 4] -> y: [B, 3]> { Dense(3), BatchNorm }
//! # loss(label: [u8; B]) = cross_entropy(y, label);
//! # }
//! ```

#![allow(non_upper_case_globals)]

/// `softmax` or `log_softmax` before `cross_entropy`, which takes logits and applies softmax itself. With `softmax` twice the
/// loss has a floor far above 0 and small gradients; `log_softmax` changes nothing.
#[deprecated(
    note = "`cross_entropy` takes logits and applies softmax itself: leave it out of the network, and apply it to \
                     what `predict` gives (`#[allow(softmax_before_cross_entropy)]` silences this)"
)]
pub const softmax_before_cross_entropy: () = ();

/// `softmax` before `nll`, which takes logarithms of probabilities.
#[deprecated(note = "`nll` takes logarithms of probabilities: write `log_softmax`, or `cross_entropy` without either \
                     (`#[allow(softmax_before_nll)]` silences this)")]
pub const softmax_before_nll: () = ();

/// A sigmoid before `bce_with_logits`, which takes logits and applies it itself.
#[deprecated(
    note = "`bce_with_logits` takes logits and applies the sigmoid itself: leave it out of the network, and apply it \
                     to what `predict` gives (`#[allow(sigmoid_before_bce_with_logits)]` silences this)"
)]
pub const sigmoid_before_bce_with_logits: () = ();

/// A `Dense` with a bias right before `BatchNorm`, which subtracts it again.
#[deprecated(
    note = "the batch norm that follows subtracts this bias again, so it is never trained: write `bias = false` \
                     (`#[allow(bias_before_batch_norm)]` silences this)"
)]
pub const bias_before_batch_norm: () = ();

/// A `momentum` of `BatchNorm` below 0.5, as it is usual where it is the share of the new batch.
#[deprecated(
    note = "`momentum` is how much of the running statistics is kept, not the share of the new batch as in PyTorch: \
                     its 0.1 is 0.9 here (`#[allow(batch_norm_momentum)]` silences this)"
)]
pub const batch_norm_momentum: () = ();

/// `step` or `sign` after something that is to be trained, which no gradient reaches through it.
#[deprecated(
    note = "this has gradient 0 everywhere, so nothing before it is trained: `sigmoid` and `tanh` are smooth \
                     (`#[allow(step_before_loss)]` silences this)"
)]
pub const step_before_loss: () = ();

/// A metric that nothing can change: of numbers alone, or `top_k` of all classes there are.
#[deprecated(note = "this is the same number whatever the network gives (`#[allow(constant_metric)]` silences this)")]
pub const constant_metric: () = ();

/// Classes that are told apart by one column: `argmax` of it is always 0, and its softmax always 1.
#[deprecated(
    note = "of one column `argmax` is always 0 and softmax always 1: give each class a column, or take one logit for \
                     two classes, with `bce_with_logits(logits, target)` and `mean((logits > 0.0) == (target > 0.5))` \
                     (`#[allow(one_class)]` silences this)"
)]
pub const one_class: () = ();
