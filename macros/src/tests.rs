//! What the macro makes of declarations, good, bad and meaningless.

mod expansion;
mod mistakes;
mod robustness;

use proc_macro2::TokenStream;

/// All mistakes in a declaration, as `line:column: message`.
fn mistakes(source: &str) -> String {
    let tokens: TokenStream = source.parse().expect("the tokens of a test are tokens");
    let mut errors = crate::diagnostics::Errors::default();
    let program = crate::parse::program(tokens, &mut errors);
    for network in &crate::resolve::program(&program, &mut errors) {
        crate::check::network(network, &mut errors);
    }
    errors.to_text()
}

/// What a declaration expands to, formatted, with the paths of the facade cut short.
fn expanded(source: &str) -> String {
    let tokens = crate::expand(source.parse().expect("the tokens of a test are tokens"));
    let file = syn::parse2(tokens).expect("the expansion is Rust");
    prettyplease::unparse(&file)
}
