//! The `network!` macro: from the tokens of a declaration to its static description, or to every mistake in it.
//!
//! In: the declaration. Out: the network's type, its report and its `Definition` in constants. No graph is built here and
//! nothing is computed but sizes: layers, their arguments and shape rules are read from `gradloom_runtime`.

// What every phase speaks of.
mod ast;
mod diagnostics;

// What was written, and what its names mean.
mod parse;
mod resolve;

// Whether it fits, and what becomes of it.
mod check;
mod expand;

#[cfg(test)]
mod tests;

/// Declares a network, checks it and gives it a type.
///
/// ```text
/// network! {
///     /// 784 -> 10 digit classifier.
///     pub Mlp<image: [B, 784] -> logits: [B, 10]> {
///         Dense(256, bias = false), BatchNorm(momentum = 0.9), relu,
///         Dense(10),
///     }
///     loss(label: [u8; B]) = cross_entropy(logits, label);
///     metric accuracy = mean(argmax(logits) == label);
/// }
/// ```
///
/// The angle brackets carry the signature; `B` is the batch. The body is a list of stages, each applied to the result of
/// the one before; sizes are inferred and the output type is checked. `as name` names a value for `loss` and `metric`,
/// `const NAME = 4 * 32;` names a size, `act name = |x| ..;` a function and `block Name(args) { .. }` a body. Layers, activations
/// and functions are documented in `gradloom::reference`, the language in `gradloom::guide::language`.
///
/// Parameters go by the path of their layer: `dense2.weight` is that of the second `Dense` of a body, whether or not the
/// first was named with `as`. A loss that needs no target is declared without parentheses, `loss = mse(y, x);`, and `step`
/// then takes `()` in place of targets.
///
/// `7 / 2` is 3 where a size is wanted and 3.5 where a number is. `B` and `weights` mean the same everywhere, so nothing else can be
/// called so. What another macro puts in as `$e:expr` is one operand.
///
/// A `Dense` bias right before `BatchNorm` has a gradient of exactly zero in exact arithmetic: write `bias = false` there.
#[proc_macro]
pub fn network(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(input.into()).into()
}

/// The whole way, phase by phase. What a phase could not make sense of is left out of the later ones, in silence, so that
/// all mistakes are reported at once and each of them once.
fn expand(tokens: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let mut errors = diagnostics::Errors::default();
    let program = parse::program(tokens, &mut errors);
    let bump = bumpalo::Bump::new();
    let networks = resolve::program(&program, &bump, &mut errors);
    for network in &networks {
        check::network(network, &mut errors);
    }
    expand::program(&program, &networks, &errors)
}
