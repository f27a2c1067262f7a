//! Where the resolved networks live: memory of one expansion, the places that they speak of, and what rustc calculates.

use std::collections::HashMap;

use bumpalo::Bump;
use gradloom_runtime::network::{At, Number, Outcome};
use proc_macro2::TokenStream;

use crate::ast::{Expr, Site};

/// The memory and the places of one network.
pub struct Table<'a> {
    bump: &'a Bump,
    /// What each `At` stands for.
    pub sites: Vec<Site>,
    /// The calculations that are left to rustc, by their place.
    pub deferred: HashMap<At, TokenStream>,
}

impl<'a> Table<'a> {
    pub fn new(bump: &'a Bump) -> Table<'a> {
        Table { bump, sites: Vec::new(), deferred: HashMap::new() }
    }

    pub fn at(&mut self, site: impl Into<Site>) -> At {
        self.sites.push(site.into());
        At(u32::try_from(self.sites.len() - 1).expect("a declaration has fewer places than bytes"))
    }

    pub fn str(&self, text: &str) -> &'a str {
        self.bump.alloc_str(text)
    }

    /// Values without destructors, which the arena would not run.
    pub fn one<T: Copy>(&self, value: T) -> &'a T {
        self.bump.alloc(value)
    }

    pub fn list<T>(&self, values: Vec<T>) -> &'a [T] {
        const { assert!(!std::mem::needs_drop::<T>()) };
        self.bump.alloc_slice_fill_iter(values)
    }

    /// A number that rustc calculates.
    pub fn number(&mut self, expr: &Expr, tokens: TokenStream) -> Number<'a> {
        let at = self.at(expr.site);
        self.deferred.insert(at, tokens);
        Number { value: Outcome::Unknown, text: self.str(&expr.to_string()), at }
    }
}
