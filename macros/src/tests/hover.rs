//! What an editor shows on a name inside a declaration: the documentation of what it stands for.

use insta::assert_snapshot;
use proc_macro2::{Ident, LineColumn, TokenStream, TokenTree};

use super::{expanded, mistakes};

const DOCUMENTED: &str = "
    /// Columns inside.
    const WIDTH = 4;
    /// Ramachandran's.
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    /// Two layers, before the sum.
    ///
    /// As in the paper.
    block Pre(c) { Dense(c), swish }
    Deep<x: [B, 4] -> y: [B, 4]> {
        residual { Pre(WIDTH) } skip { Dense(4) }, repeat(2) { Pre(4) },
    }
";

#[test]
fn functions_blocks_and_constants_carry_their_documentation_where_their_uses_lead() {
    let text = expanded(DOCUMENTED);
    let names = &text[text.rfind("const _: () = {").expect("the names are mentioned")..];
    assert_snapshot!(names, @"
    const _: () = {
        /// Ramachandran's.
        fn swish() {}
        /// Two layers, before the sum.
        ///
        /// As in the paper.
        fn Pre() {}
        /// Columns inside.
        const WIDTH: () = ();
        {}
        {
            #[allow(dead_code)]
            fn x() {}
            #[allow(dead_code)]
            fn beta() {}
            let _ = x;
            let _ = beta;
            let _ = x;
        }
        {
            #[allow(dead_code)]
            fn c() {}
            let _ = c;
            let _ = swish;
        }
        {
            #[allow(dead_code)]
            fn x() {}
            #[allow(dead_code)]
            fn y() {}
            let _ = Pre;
            let _ = WIDTH;
            let _ = Pre;
        }
    };
    ");
}

/// Everything of this name in an expansion, with where an editor finds it.
fn named(tokens: TokenStream, name: &str) -> Vec<LineColumn> {
    let mut found = Vec::new();
    for tree in tokens {
        match tree {
            TokenTree::Ident(ident) if ident == name => found.push(Ident::span(&ident).start()),
            TokenTree::Group(group) => found.extend(named(group.stream(), name)),
            _ => {}
        }
    }
    found
}

#[test]
fn layers_and_structures_lead_to_what_is_documented_from_the_words_of_the_user() {
    let place = |word: &str| {
        let lines = DOCUMENTED.lines().enumerate();
        let mut found = lines.filter_map(|(line, text)| Some(LineColumn { line: line + 1, column: text.find(word)? }));
        found.next().expect("the word is there")
    };
    let tokens = super::expand(DOCUMENTED.parse().expect("the tokens of a test are tokens"));
    assert_eq!(named(tokens.clone(), "Residual"), [place("residual")]);
    assert_eq!(named(tokens.clone(), "Repeat"), [place("repeat")]);
    let layers = named(tokens, "DENSE");
    assert!(layers.contains(&place("Dense(c)")) && layers.contains(&place("Dense(4)")), "{layers:?}");
}

#[test]
fn attributes_that_are_no_documentation_are_told() {
    assert_snapshot!(mistakes("
        #[inline] act f = |x| x;
        /// Said.
        #[allow(dead_code)] block Two(c) { Dense(c) }
        #[cfg(any())] const N = 2;
        Deep<x: [B, 4] -> y: [B, 4]> { f, Two(4), Dense(N * 2) }
    "), @"
    2:9: `act` takes documentation, but no attributes
    4:9: `block` takes documentation, but no attributes
    5:9: `const` takes documentation, but no attributes
    ");
}
