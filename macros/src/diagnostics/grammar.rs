//! Messages about grammar: what is missing or not expected, and what other languages write otherwise.

use gradloom_runtime::elaborate::words;
use proc_macro2::{Ident, TokenTree};

use super::{Errors, hints};
use crate::ast::{Expr, ExprKind, Range, Site, text};
use crate::parse::operand;

impl Errors {
    pub fn expected_at(&mut self, site: impl Into<Site>, wanted: &str, found: &str) {
        self.report(site, format!("expected {wanted}, found {found}"));
    }

    /// What syn says of the parts of the grammar that are Rust's own.
    pub fn syntax(&mut self, error: &syn::Error) {
        self.report(error.span(), error.to_string());
    }

    pub fn port_without_shape(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` needs a shape: `{name}: [B, ...]`"));
    }

    pub fn clause_without_network(&mut self, keyword: &Ident) {
        self.report(keyword, format!("`{keyword}` comes after the network that it belongs to"));
    }

    pub fn attribute_beside_docs(&mut self, site: impl Into<Site>, word: &str) {
        self.report(site, format!("`{word}` takes documentation, but no attributes"));
    }

    pub fn comparison_chain(&mut self, site: impl Into<Site>) {
        self.report(site, "comparisons cannot be chained; join two of them: `0 < x && x < 1`".to_string());
    }

    pub fn other_logical(&mut self, site: impl Into<Site>, found: &str, meant: &str) {
        self.report(site, format!("truth values have `!`, `&&` and `||`: write `{meant}` for `{found}`"));
    }

    /// `call` is the function in its place, if there is one.
    pub fn method(&mut self, name: &Ident, call: Option<&str>) {
        let hint = match call {
            Some(call) => format!("; write `{call}`"),
            None => hints::function(&text(name)).unwrap_or_default(),
        };
        self.report(name, format!("expressions have no methods{hint}"));
    }

    pub fn module(&mut self, name: &Ident, call: &str) {
        self.report(name, format!("functions stand in no module here; write `{call}`"));
    }

    pub fn layer_of_module(&mut self, name: &Ident) {
        self.report(name, format!("layers stand in no module here; leave out `{name}`"));
    }

    pub fn power(&mut self, site: Site, operator: &str, x: &Expr, y: &Expr) {
        let call = match (&x.kind, &y.kind) {
            (ExprKind::Int(x, _), ExprKind::Int(y, _)) => {
                u32::try_from(*y).ok().and_then(|y| x.checked_pow(y)).map(|value| value.to_string())
            }
            (_, ExprKind::Int(1.., n)) => Some(format!("pow({}, n = {n})", operand(x))),
            (_, ExprKind::Float(half, _)) if *half == 0.5 => Some(format!("sqrt({})", operand(x))),
            _ => Some(format!("exp({y} * ln({}))", operand(x))),
        };
        let hint = call.map(|call| format!("; write `{call}`")).unwrap_or_default();
        self.report(site, format!("`{operator}` is no operator here{hint}"));
    }

    pub fn matrix_product(&mut self, site: impl Into<Site>) {
        self.report(site, "`@` is no operator here; products with trained weights are layers: `Dense(n)`".to_string());
    }

    pub fn inclusive_range(&mut self, site: impl Into<Site>) {
        self.report(site, "a range ends before its second number: write `0..8` for `0..=7`".to_string());
    }

    /// As Python has it.
    pub fn range_with_a_colon(&mut self, site: Site, range: &Range, has_step: bool) {
        let step = if has_step { ", and has no step" } else { "" };
        self.report(site, format!("a range has two dots{step}: write `{range}`"));
    }

    /// As NumPy has it.
    pub fn ellipsis(&mut self, site: impl Into<Site>) {
        self.report(site, "there is no `...`; write `..` for each axis that stays as it is".to_string());
    }

    pub fn number_suffix(&mut self, site: impl Into<Site>, suffix: &str, digits: &str) {
        self.report(site, format!("numbers have no suffix here: write `{digits}` without `{suffix}`"));
    }

    pub fn number_too_large(&mut self, site: impl Into<Site>, digits: &str) {
        self.report(site, words::number_too_large(digits));
    }

    pub fn beyond_f32(&mut self, site: impl Into<Site>, found: &str, value: f64) {
        self.report(site, words::beyond_f32(found, value));
    }

    pub fn too_deep(&mut self, site: impl Into<Site>) {
        self.report(site, "this expression nests too deeply".to_string());
    }

    /// `Dense(8)(x)` in an expression.
    pub fn call_of_a_call(&mut self, site: Site, call: &str, operand: Option<&TokenTree>) {
        let operand = match operand {
            Some(TokenTree::Group(group)) => match &group.stream().into_iter().collect::<Vec<_>>()[..] {
                [TokenTree::Ident(name)] => text(name),
                _ => "..".to_string(),
            },
            _ => "..".to_string(),
        };
        self.report(site, format!("`{call}` is no function; a value flows into a layer: `{operand} -> {call}`"));
    }

    /// `Dense(8)(x)` among stages.
    pub fn operand_of_a_stage(&mut self, site: Site) {
        self.report(site, "a stage takes what the one before it gives; leave this out".to_string());
    }
}
