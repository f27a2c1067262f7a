//! Expressions: of sizes, of arguments, of losses, metrics and functions. No casts, closures or methods.
//!
//! Loosest first, as in Rust: `||`, `&&`, comparisons (at most one), `+ -`, `* / %`, `-x` and `!x`, and what stands alone.

use std::cell::Cell;

use gradloom_runtime::network::BinaryOp;
use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Lit, LitFloat, LitInt, Token, token};

use super::foreign::is_broken;
use super::groups::{Look, at_piece};
use super::{Parsed, Parser, Reported, peek_word};
use crate::ast::{self, Expr, ExprKind, Foreign, Operator, Range, Site};

/// Whether a path of Rust begins here.
pub(super) fn at_path(input: ParseStream<'_>) -> bool {
    let path_starts = input.at(Token![crate]) || input.at(Token![super]) || input.at(Token![self]);
    path_starts || input.at(Token![::]) || input.at(syn::Ident) && input.at2(Token![::])
}

/// Deeper than anyone writes, and shallow enough that the phases may recurse.
const DEEPEST: usize = 64;

impl Parser<'_> {
    pub(super) fn expr(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        let x = self.chain(input, or, Parser::conjunction)?;
        match other_logical(input) {
            Some((found, meant)) => {
                self.errors.other_logical(input.span(), found, meant);
                Err(Reported)
            }
            None => Ok(x),
        }
    }

    fn conjunction(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        self.chain(input, and, Parser::compared)
    }

    fn compared(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        let x = self.sum(input)?;
        let Some((op, site)) = self.operator(input, comparison)? else { return Ok(x) };
        let y = self.sum(input)?;
        if comparison(input).is_some() {
            self.errors.comparison_chain(input.span());
            return Err(Reported);
        }
        self.binary(op, site, x, y)
    }

    pub(super) fn sum(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        self.chain(input, sign, Parser::product)
    }

    fn product(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        self.chain(input, factor, Parser::prefix)
    }

    /// Operands of the tighter level, grouped from the left.
    fn chain(
        &mut self,
        input: ParseStream<'_>,
        peek: fn(ParseStream<'_>) -> Option<Operator>,
        tighter: impl Fn(&mut Self, ParseStream<'_>) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let mut x = tighter(self, input)?;
        while let Some((op, site)) = self.operator(input, peek)? {
            let y = tighter(self, input)?;
            x = self.binary(op, site, x, y)?;
        }
        Ok(x)
    }

    /// `-x` or `!x`
    pub(super) fn prefix(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        let kind = if input.at(Token![-]) && !input.at(Token![->]) {
            ExprKind::Neg
        } else if input.at(Token![!]) && !input.at(Token![!=]) {
            ExprKind::Not
        } else if input.at(Token![~]) {
            self.errors.other_logical(input.span(), "~", "!");
            return Err(Reported);
        } else {
            let begin = input.fork();
            let x = self.operand(input)?;
            let x = self.after(input, x)?;
            if is_broken(&x) {
                // What stands in it is used all the same.
                self.skip(&begin, |at| at.cursor() == input.cursor());
            }
            return Ok(x);
        };
        let sign: proc_macro2::Punct = self.ask(input.parse())?;
        let x = self.deeper(input, Parser::prefix)?;
        let site = Site::from(sign.span()).to(x.site);
        self.node(kind(Box::new(x)), site)
    }

    /// A literal, a name, a call, or an expression in parentheses.
    fn operand(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        if at_piece(input) {
            let inner = self.whole(input, Parser::expr)?;
            return match inner.kind {
                ExprKind::Name(name) => self.member(input, ast::text(&name), vec![name], inner.site),
                ExprKind::Member(path, names) => self.member(input, path, names, inner.site),
                _ => Ok(inner),
            };
        }
        if input.at(Lit) {
            return self.literal(input);
        }
        if input.at(token::Paren) {
            let site = Site::from(input.cursor().span());
            let mut elements = self.deeper(input, |parser, input| parser.group(input, Parser::elements))?;
            let kind = match elements.len() {
                1 => ExprKind::Paren(Box::new(elements.remove(0))),
                _ => ExprKind::Tuple(elements),
            };
            return self.node(kind, site);
        }
        if input.at(Token![if]) {
            return self.deeper(input, Parser::choice);
        }
        if input.at(token::Bracket) {
            let site = Site::from(input.cursor().span());
            let broken = |at: Span| Some(Expr::broken(at));
            let read = |parser: &mut Self, input: ParseStream<'_>| {
                parser.group(input, |parser, content| Ok(parser.list(content, broken, Parser::expr)))
            };
            let elements = self.deeper(input, read)?;
            return self.node(ExprKind::List(elements), site);
        }
        if at_path(input) {
            return self.path(input);
        }
        // A keyword of Rust, and a function of most libraries.
        if input.at(Token![where]) && input.at2(token::Paren) {
            let name = self.ask(input.call(Ident::parse_any))?;
            return self.named(input, name);
        }
        let name = self.name(input, "an expression")?;
        self.named(input, name)
    }

    /// What is in parentheses: an expression, or several with commas between them.
    fn elements(&mut self, content: ParseStream<'_>) -> Parsed<Vec<Expr>> {
        let mut elements = vec![self.expr(content)?];
        while content.at(Token![,]) {
            self.eat::<Token![,]>(content, "`,`")?;
            elements.push(self.expr(content)?);
        }
        if content.is_empty() { Ok(elements) } else { self.expected("an operator or `)`", content) }
    }

    /// What begins with a name: a call, a parameter, or the name itself.
    fn named(&mut self, input: ParseStream<'_>, name: Ident) -> Parsed<Expr> {
        let site = Site::from(&name);
        if input.at(token::Paren) {
            let site = site.to(input.cursor().span());
            let args = self.deeper(input, Parser::arguments)?;
            return self.node(ExprKind::Call(name, args), site);
        }
        if name == "not" && (input.at(syn::Ident) || input.at(Lit)) {
            self.errors.other_logical(&name, "not x", "!x");
            return Err(Reported);
        }
        self.member(input, ast::text(&name), vec![name], site)
    }

    /// A name or path that was read, and what follows it after points.
    fn member(&mut self, input: ParseStream<'_>, mut path: String, mut names: Vec<Ident>, site: Site) -> Parsed<Expr> {
        let (mut end, mut is_path) = (site, path.contains('.'));
        while input.at(Token![.]) {
            self.eat::<Token![.]>(input, "`.`")?;
            is_path = true;
            // The number of a copy: `repeat1.2.dense1`.
            if input.at(LitInt) {
                let copy: LitInt = self.ask(input.parse())?;
                end = copy.span().into();
                path.push_str(&format!(".{copy}"));
                continue;
            }
            let name = self.name(input, "a name after `.`")?;
            if input.at(token::Paren) {
                let x = self.node(ExprKind::Member(path, names), site.to(end))?;
                return self.method(input, x, name);
            }
            end = Site::from(&name);
            path.push_str(&format!(".{}", ast::text(&name)));
            names.push(name);
        }
        let site = site.to(end);
        match names.pop() {
            Some(name) if !is_path => self.node(ExprKind::Name(name), site),
            last => {
                names.extend(last);
                self.node(ExprKind::Member(path, names), site)
            }
        }
    }

    /// `if p { x } else { y }`
    fn choice(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        let keyword: Token![if] = self.ask(input.parse())?;
        let condition = self.expr(input)?;
        let x = self.branch(input)?;
        if !input.at(Token![else]) {
            return self.expected("`else { .. }`", input);
        }
        self.eat::<Token![else]>(input, "`else`")?;
        let y = if input.at(Token![if]) { self.deeper(input, Parser::choice)? } else { self.branch(input)? };
        let site = Site::from(keyword.span).to(y.site);
        self.node(ExprKind::If(Box::new(condition), Box::new(x), Box::new(y)), site)
    }

    /// `{ x }`
    fn branch(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        if !input.at(token::Brace) {
            return self.expected("`{`", input);
        }
        let site = Site::from(input.cursor().span());
        let inner = self.deeper(input, |parser, input| {
            parser.group(input, |parser, content| {
                let inner = parser.expr(content)?;
                if content.is_empty() { Ok(inner) } else { parser.expected("an operator or `}`", content) }
            })
        })?;
        Ok(Expr { site, ..inner })
    }

    /// `[.., 0..8]` after what a part is taken of.
    pub(super) fn part(&mut self, input: ParseStream<'_>, x: Expr) -> Parsed<Expr> {
        let site = x.site.to(input.cursor().span());
        let sound = Cell::new(true);
        let broken = |_| {
            sound.set(false);
            None
        };
        let ranges = self.deeper(input, |parser, input| {
            parser.group(input, |parser, content| Ok(parser.list(content, broken, Parser::range)))
        })?;
        match sound.get() {
            true => self.node(ExprKind::Part(Box::new(x), ranges), site),
            // Nobody knows of which axes the others are.
            false => Ok(Expr::broken(site)),
        }
    }

    /// `..`, `2..8`, `2..`, `..8` or `3`
    fn range(&mut self, input: ParseStream<'_>) -> Parsed<Range> {
        let begins = !input.at(Token![..]) && !input.at(Token![:]);
        let from = if begins { Some(self.sum(input)?) } else { None };
        if input.at(Token![:]) {
            return self.slice(input, from);
        }
        if input.at(Token![...]) {
            self.errors.ellipsis(input.span());
            return Err(Reported);
        }
        if !input.at(Token![..]) {
            return match from {
                Some(at) => Ok(Range::One(at)),
                None => self.expected("`..`", input),
            };
        }
        if input.at(Token![..=]) {
            self.errors.inclusive_range(input.span());
            return Err(Reported);
        }
        self.eat::<Token![..]>(input, "`..`")?;
        let ends = input.is_empty() || input.at(Token![,]);
        let to = if ends { None } else { Some(self.sum(input)?) };
        Ok(Range::Between(from, to))
    }

    /// `:`, `0:8` or `::2`, as ranges are written in Python.
    fn slice(&mut self, input: ParseStream<'_>, from: Option<Expr>) -> Parsed<Range> {
        let site = from.as_ref().map_or(Site::from(input.span()), |from| from.site);
        self.eat::<Token![:]>(input, "`:`")?;
        let ends = input.is_empty() || input.at(Token![,]) || input.at(Token![:]);
        let to = if ends { None } else { Some(self.sum(input)?) };
        let end = to.as_ref().map_or(site, |to| to.site);
        let range = Range::Between(from, to);
        let has_step = input.at(Token![:]);
        self.skip(input, |input| input.at(Token![,]));
        self.errors.range_with_a_colon(site.to(end), &range, has_step);
        Ok(range)
    }

    /// `crate::HIDDEN`: a constant of Rust's.
    fn path(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        let start = input.span();
        let foreign = self.foreign(input)?;
        let mut site = Site::from(start).to(&foreign.name);
        if input.at(token::Paren) {
            site.end = input.cursor().span();
            let args = self.deeper(input, Parser::arguments)?;
            return self.node(ExprKind::Elsewhere(Box::new(foreign), args), site);
        }
        self.node(ExprKind::Path(foreign.text, foreign.path), site)
    }

    /// A path to something of Rust's.
    pub(super) fn foreign(&mut self, input: ParseStream<'_>) -> Parsed<Foreign> {
        let path: syn::Path = self.ask(input.call(syn::Path::parse_mod_style))?;
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        let text = names.collect::<Vec<_>>().join("::");
        let text = if path.leading_colon.is_some() { format!("::{text}") } else { text };
        let Some(last) = path.segments.last() else { return Err(Reported) };
        Ok(Foreign { text, path: quote::quote!(#path), name: last.ident.clone() })
    }

    fn literal(&mut self, input: ParseStream<'_>) -> Parsed<Expr> {
        let lit: Lit = self.ask(input.parse())?;
        let site = Site::from(lit.span());
        let kind = match lit {
            Lit::Int(digits) => self.int(&digits)?,
            Lit::Float(digits) => self.float(&digits)?,
            Lit::Bool(flag) => ExprKind::Flag(flag.value),
            Lit::Str(text) => ExprKind::Text(text.token().to_string(), text.value()),
            other => {
                let literal = quote::quote!(#other).to_string();
                ExprKind::Text(literal.clone(), literal)
            }
        };
        self.node(kind, site)
    }

    fn int(&mut self, digits: &LitInt) -> Parsed<ExprKind> {
        if !digits.suffix().is_empty() {
            self.errors.number_suffix(digits.span(), digits.suffix(), digits.base10_digits());
            return Err(Reported);
        }
        match digits.base10_parse() {
            Ok(value) => Ok(ExprKind::Int(value, digits.to_string())),
            Err(_) => {
                self.errors.number_too_large(digits.span(), &digits.to_string());
                Err(Reported)
            }
        }
    }

    fn float(&mut self, digits: &LitFloat) -> Parsed<ExprKind> {
        if !digits.suffix().is_empty() {
            self.errors.number_suffix(digits.span(), digits.suffix(), digits.base10_digits());
            return Err(Reported);
        }
        match digits.base10_parse() {
            Ok(value) if f64::is_finite(value) => Ok(ExprKind::Float(value, digits.to_string())),
            _ => {
                self.errors.number_too_large(digits.span(), &digits.to_string());
                Err(Reported)
            }
        }
    }

    fn operator(
        &mut self,
        input: ParseStream<'_>,
        peek: fn(ParseStream<'_>) -> Option<Operator>,
    ) -> Parsed<Option<(Operator, Site)>> {
        let Some(op) = peek(input) else { return Ok(None) };
        let start = input.span();
        for _ in 1..op.symbol().len() {
            self.ask(input.parse::<proc_macro2::Punct>())?;
        }
        let end: proc_macro2::Punct = self.ask(input.parse())?;
        Ok(Some((op, Site::from(start).to(end.span()))))
    }

    fn binary(&mut self, op: Operator, site: Site, x: Expr, y: Expr) -> Parsed<Expr> {
        let whole = x.site.to(y.site);
        self.node(ExprKind::Binary(op, site, Box::new(x), Box::new(y)), whole)
    }

    /// An expression, unless it nests too deeply.
    fn node(&mut self, kind: ExprKind, site: Site) -> Parsed<Expr> {
        let below = match &kind {
            ExprKind::Paren(x) | ExprKind::Neg(x) | ExprKind::Not(x) => x.depth,
            ExprKind::Binary(_, _, x, y) => x.depth.max(y.depth),
            ExprKind::If(p, x, y) => p.depth.max(x.depth).max(y.depth),
            ExprKind::List(elements) | ExprKind::Tuple(elements) => {
                elements.iter().map(|element| element.depth).max().unwrap_or(0)
            }
            ExprKind::Part(x, ranges) => {
                ranges.iter().flat_map(Range::bounds).map(|bound| bound.depth).max().unwrap_or(0).max(x.depth)
            }
            ExprKind::Call(_, args) => args.iter().map(|arg| arg.value.depth).max().unwrap_or(0),
            _ => 0,
        };
        if below >= DEEPEST {
            self.errors.too_deep(site);
            return Err(Reported);
        }
        Ok(Expr { kind, site, depth: below + 1 })
    }

    /// Reads with one more level of recursion, unless there are too many.
    pub(super) fn deeper<T>(
        &mut self,
        input: ParseStream<'_>,
        read: impl FnOnce(&mut Self, ParseStream<'_>) -> Parsed<T>,
    ) -> Parsed<T> {
        if self.depth >= DEEPEST {
            self.errors.too_deep(input.span());
            return Err(Reported);
        }
        self.depth += 1;
        let result = read(self, input);
        self.depth -= 1;
        result
    }
}

fn or(input: ParseStream<'_>) -> Option<Operator> {
    input.at(Token![||]).then_some(Operator::Of(BinaryOp::Or))
}

fn and(input: ParseStream<'_>) -> Option<Operator> {
    input.at(Token![&&]).then_some(Operator::Of(BinaryOp::And))
}

/// What other languages, and Rust for integers, join truth values with, after an operand; and what it is called here.
fn other_logical(input: ParseStream<'_>) -> Option<(&'static str, &'static str)> {
    match () {
        () if input.at(Token![&]) => Some(("&", "&&")),
        () if input.at(Token![|]) => Some(("|", "||")),
        () if peek_word(input, "and") => Some(("and", "&&")),
        () if peek_word(input, "or") => Some(("or", "||")),
        () => None,
    }
}

fn comparison(input: ParseStream<'_>) -> Option<Operator> {
    Some(Operator::Of(match () {
        () if input.at(Token![==]) => BinaryOp::Eq,
        () if input.at(Token![!=]) => BinaryOp::Ne,
        () if input.at(Token![<=]) => BinaryOp::Le,
        () if input.at(Token![>=]) => BinaryOp::Ge,
        () if input.at(Token![<]) => BinaryOp::Lt,
        () if input.at(Token![>]) => BinaryOp::Gt,
        () => return None,
    }))
}

fn sign(input: ParseStream<'_>) -> Option<Operator> {
    match () {
        () if input.at(Token![+]) => Some(Operator::Of(BinaryOp::Add)),
        () if input.at(Token![->]) => None,
        () if input.at(Token![-]) => Some(Operator::Of(BinaryOp::Sub)),
        () => None,
    }
}

fn factor(input: ParseStream<'_>) -> Option<Operator> {
    match () {
        () if input.at(Token![*]) => Some(Operator::Of(BinaryOp::Mul)),
        () if input.at(Token![/]) => Some(Operator::Of(BinaryOp::Div)),
        () if input.at(Token![%]) => Some(Operator::Rem),
        () => None,
    }
}
