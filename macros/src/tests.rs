//! What the macro makes of declarations, good, bad and meaningless.

mod expansion;
mod growth;
mod hover;
mod mistakes;
mod names;
mod robustness;

use proc_macro2::TokenStream;

/// All mistakes in a declaration, as `line:column: message`.
fn mistakes(source: &str) -> String {
    let tokens: TokenStream = source.parse().expect("the tokens of a test are tokens");
    let mut errors = crate::diagnostics::Errors::default();
    let program = crate::parse::program(tokens, &mut errors);
    let bump = bumpalo::Bump::new();
    for network in &crate::resolve::program(&program, &bump, &mut errors) {
        crate::check::network(network, &mut errors);
    }
    errors.to_text()
}

/// What a declaration expands to, formatted, with the paths of the facade cut short.
fn expanded(source: &str) -> String {
    let tokens = crate::expand(source.parse().expect("the tokens of a test are tokens"));
    let short = tokens.to_string().replace(":: gradloom :: __private ::", "");
    let file = syn::parse_str(&short).expect("the expansion is Rust");
    prettyplease::unparse(&file)
}
