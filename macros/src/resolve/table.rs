//! Where the resolved networks live: memory of one expansion, the places that they speak of, and what rustc calculates.

use std::collections::HashMap;

use bumpalo::Bump;
use gradloom_runtime::network::{At, Number};
use proc_macro2::TokenStream;

use super::elsewhere::Elsewhere;
use super::sizes::Later;
use crate::ast::{Expr, Site};

/// The memory and the places of one network.
pub struct Table<'a> {
    bump: &'a Bump,
    /// What each `At` stands for.
    pub sites: Vec<Site>,
    pub deferred: Deferred,
}

/// What is left to rustc, by its place.
#[derive(Default)]
pub struct Deferred {
    /// Calculations.
    pub numbers: HashMap<At, TokenStream>,
    /// Blocks and functions from elsewhere.
    pub elsewhere: HashMap<At, Elsewhere>,
    /// Whether there are lists of numbers among which are calculations.
    pub has_lists: bool,
}

impl<'a> Table<'a> {
    pub fn new(bump: &'a Bump) -> Table<'a> {
        Table { bump, sites: Vec::new(), deferred: Deferred::default() }
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

    /// A value without a destructor, which the arena would not run.
    pub fn own<T>(&self, value: T) -> &'a T {
        const { assert!(!std::mem::needs_drop::<T>()) };
        self.bump.alloc(value)
    }

    pub fn list<T>(&self, values: Vec<T>) -> &'a [T] {
        const { assert!(!std::mem::needs_drop::<T>()) };
        self.bump.alloc_slice_fill_iter(values)
    }

    /// A number that the compiled program calculates.
    pub fn number(&mut self, expr: &Expr, later: Later) -> Number<'a> {
        let at = self.at(expr.site);
        self.deferred.numbers.insert(at, later.tokens);
        Number { value: later.value, text: self.str(&expr.to_string()), at }
    }
}
