//! What the macro makes of declarations, good, bad and meaningless.

mod expansion;
mod expansion_of_assemblies;
mod expansion_of_mistakes;
mod growth;
mod hover;
mod lints;
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
    for network in &crate::resolve::program(&program, &bump, &mut errors).networks {
        crate::check::network(network, &mut errors);
    }
    errors.to_text()
}

/// What a declaration expands to.
fn expand(tokens: TokenStream) -> TokenStream {
    let facade = proc_macro2::Ident::new("facade", proc_macro2::Span::call_site());
    crate::expand(&facade.into(), tokens)
}

/// What a declaration expands to, formatted, with the paths of the facade cut short.
fn expanded(source: &str) -> String {
    let short =
        expand(source.parse().expect("the tokens of a test are tokens")).to_string().replace("__gradloom ::", "");
    let file = syn::parse_str(&short).expect("the expansion is Rust");
    prettyplease::unparse(&file)
}
