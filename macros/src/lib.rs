//! What `network!` does: from the tokens of a declaration to its static description, or to every mistake in it.
//!
//! In: the declaration. Out: the network's type, its metrics and its `Definition` in constants. No graph is built here and
//! nothing is computed but sizes: layers, their arguments and shape rules are read from `gradloom_runtime`.

// What every phase speaks of.
mod ast;
mod diagnostics;

// What was written, and what its names mean.
mod parse;
mod resolve;

// Whether it fits, and what becomes of it.
mod check;
mod lint;
mod expand;

#[cfg(test)]
mod tests;

/// `network!` of the facade, which passes `$crate` on, so that the expansion finds the facade by whatever name it has, and
/// then the declaration.
#[proc_macro]
pub fn declare(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let mut tokens = proc_macro2::TokenStream::from(input).into_iter();
    match tokens.next() {
        Some(facade) => expand(&facade, tokens.collect()).into(),
        None => proc_macro::TokenStream::new(),
    }
}

/// The whole way, phase by phase. What a phase could not make sense of is left out of the later ones, in silence, so that
/// all mistakes are reported at once and each of them once.
fn expand(facade: &proc_macro2::TokenTree, tokens: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let mut errors = diagnostics::Errors::default();
    let program = parse::program(tokens, &mut errors);
    let bump = bumpalo::Bump::new();
    let resolved = resolve::program(&program, &bump, &mut errors);
    let networks = &resolved.networks;
    for network in networks {
        check::network(network, &mut errors);
    }
    let lints = if errors.is_empty() { networks.iter().map(lint::network).collect() } else { Vec::new() };
    expand::program(facade, &program, &resolved, &lints, &errors)
}
