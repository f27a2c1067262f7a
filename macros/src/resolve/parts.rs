//! Parts of values, and the choice between two: what is written with brackets, and `where`.

use gradloom_runtime::elaborate::words;
use gradloom_runtime::network::{Expr, Number, Outcome, Span};
use proc_macro2::Ident;

use super::Scope;
use super::arguments::assign;
use super::expressions::Own;
use super::sizes::Value;
use crate::ast::{self, Site};

impl<'a> Scope<'_, 'a> {
    /// `x[.., 0..8]`; no function of the user's own looks at more than one element.
    pub(super) fn part(
        &mut self,
        x: &'a ast::Expr,
        ranges: &'a [ast::Range],
        site: Site,
        in_function: bool,
    ) -> Expr<'a> {
        if in_function {
            self.errors.elaborated(site, words::not_elementwise("[..]"));
            return Expr::Broken;
        }
        let x = self.expr(x, None);
        let spans = ranges.iter().map(|range| self.span(range)).collect();
        Expr::Part(self.table.at(site), self.table.one(x), self.table.list(spans))
    }

    /// What is taken along an axis.
    fn span(&mut self, range: &'a ast::Range) -> Span<'a> {
        match range {
            ast::Range::Between(None, None) => Span::All,
            ast::Range::Between(from, to) => {
                let [from, to] = [from, to].map(|bound| bound.as_ref().map(|bound| self.bound(bound)));
                Span::Range(from, to)
            }
            ast::Range::One(at) => Span::One(self.bound(at)),
        }
    }

    /// A number along an axis, known or left to rustc.
    fn bound(&mut self, expr: &'a ast::Expr) -> Number<'a> {
        match self.consts.value(expr, self.errors) {
            Some(Value::Deferred(later)) => self.table.number(expr, later),
            value => {
                let value = value.map_or(Outcome::Unknown, |value| value.outcome());
                Number { value, text: self.table.str(&expr.to_string()), at: self.table.at(expr.site) }
            }
        }
    }

    /// `where(p, x, y)`: an `if`.
    pub(super) fn choice(
        &mut self,
        name: &Ident,
        args: &'a [ast::Argument],
        site: Site,
        own: Option<&mut Own<'_>>,
    ) -> Expr<'a> {
        let names = ["condition", "x", "y"];
        let given = assign("where", &names, names.len(), args, self.errors);
        let operands = self.operands("where", &names, &given, site, own);
        let at = self.table.at(name);
        match operands {
            Some([condition, x, y]) => Expr::If(at, condition, x, y),
            _ => Expr::Broken,
        }
    }
}
