//! `#[allow(..)]` and the like before a network: the lints of the macro are taken out of them, and rustc gets the rest.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token};

use super::Parser;
use crate::ast::{Level, Setting, text};

/// All lints of the macro. What each is about stands in the module `lint` of the facade.
pub const LINTS: [&str; 8] = [
    "softmax_before_cross_entropy",
    "softmax_before_nll",
    "sigmoid_before_bce_with_logits",
    "bias_before_batch_norm",
    "batch_norm_momentum",
    "step_before_loss",
    "constant_metric",
    "one_class",
];

impl Parser<'_> {
    /// The levels that attributes set, and the attributes without them.
    pub(super) fn levels(&mut self, attrs: Vec<Attribute>) -> (Vec<Attribute>, Vec<Setting>) {
        let mut levels = Vec::new();
        let attrs = attrs.into_iter().filter_map(|attr| self.level(attr, &mut levels)).collect();
        (attrs, levels)
    }

    fn level(&mut self, mut attr: Attribute, levels: &mut Vec<Setting>) -> Option<Attribute> {
        let words = ["allow", "warn", "deny", "forbid", "expect"];
        let word = words.into_iter().find(|word| attr.path().is_ident(word));
        let metas = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        let (Some(word), Ok(metas)) = (word, metas) else { return Some(attr) };
        let n_written = metas.len();
        let mut rest = Vec::new();
        for meta in metas {
            match self.lint(meta.path()) {
                Lint::OfRust => rest.push(meta),
                Lint::Unknown => {}
                Lint::Known(lint) if word == "expect" => self.errors.expected_lint(meta.path(), lint),
                Lint::Known(lint) => {
                    let level = match word {
                        "allow" => Level::Allow,
                        "warn" => Level::Warn,
                        _ => Level::Deny,
                    };
                    let span = meta.path().segments.last().map_or_else(Span::call_site, |name| name.ident.span());
                    levels.push(Setting { lint, level, span });
                }
            }
        }
        let is_reason = |meta: &Meta| meta.path().is_ident("reason");
        if rest.len() < n_written {
            let tokens: TokenStream = quote!(#(#rest),*);
            if let Meta::List(list) = &mut attr.meta {
                list.tokens = tokens;
            }
        }
        (n_written == 0 || !rest.iter().all(is_reason)).then_some(attr)
    }

    /// Which lint a path names; `gradloom::` may stand before one of the macro.
    fn lint(&mut self, path: &Path) -> Lint {
        let names: Vec<String> = path.segments.iter().map(|segment| text(&segment.ident)).collect();
        let (name, is_own) = match &names[..] {
            [name] => (name, false),
            [tool, name] if tool == "gradloom" => (name, true),
            _ => return Lint::OfRust,
        };
        match LINTS.iter().find(|lint| *lint == name) {
            Some(lint) => Lint::Known(lint),
            None if self.errors.unknown_lint(path, name, is_own, &LINTS) => Lint::Unknown,
            None => Lint::OfRust,
        }
    }
}

/// What stands in an attribute.
enum Lint {
    Known(&'static str),
    /// Reported.
    Unknown,
    OfRust,
}
