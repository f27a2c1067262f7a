//! From tokens to the declaration as written.
//!
//! In: the macro's input. Out: a [`Program`], and a mistake for everything that is no part of the grammar. After one the
//! parser resumes at the next `,` or `;`; the names it passed over are remembered, so that nobody calls them unknown.

mod body;
mod expr;
mod flows;
mod foreign;
mod groups;
mod levels;
mod scan;
mod signature;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::parse::{ParseBuffer, ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{Attribute, Token, Visibility, token};

use crate::ast::{
    Act, Argument, Block, Body, Const, Expr, Lambda, Loss, Metric, Net, Program, Scalar, Site, Stage, StageKind, text,
};
use crate::diagnostics::Errors;
pub use foreign::operand;
use groups::{Look, at_named_piece, at_piece, describe, flat};

/// Parses the macro's input, whatever it is.
pub fn program(tokens: TokenStream, errors: &mut Errors) -> Program {
    let mut program = Program::default();
    let parse = |input: ParseStream<'_>| {
        Parser { errors, owner: Owner::Nobody, depth: 0 }.program(input, &mut program);
        Ok(())
    };
    let result = parse.parse2(flat(tokens));
    // Everything is read to its end, except what syn itself gave up on, which is reported already.
    if let Err(error) = result
        && errors.is_empty()
    {
        errors.syntax(&error);
    }
    program
}

/// The mistake is reported; whoever reads a list goes on after it.
struct Reported;

type Parsed<T> = Result<T, Reported>;

struct Parser<'e> {
    errors: &'e mut Errors,
    owner: Owner,
    depth: usize,
}

/// What a `loss`, `metric` or `scalar` belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    LastNet,
    /// An item that was not understood.
    Lost,
}

/// The element types that a port may name.
pub const DTYPES: [&str; 4] = ["f32", "u8", "u16", "u32"];

/// What may stand beside others in a `network! { .. }`, for messages.
const ITEM: &str = "a network, `const`, `act`, `block`, `loss`, `metric` or `scalar`";

impl Parser<'_> {
    fn program(&mut self, input: ParseStream<'_>, program: &mut Program) {
        while !input.is_empty() {
            if self.item(input, program).is_err() {
                self.owner = Owner::Lost;
                self.skip_item(input);
            }
        }
    }

    fn item(&mut self, input: ParseStream<'_>, program: &mut Program) -> Parsed<()> {
        if input.at(Token![;]) {
            return self.expected(ITEM, input);
        }
        if at_clause(input) {
            return self.clause(input, Vec::new(), program);
        }
        let attrs = self.attributes(input)?;
        if at_clause(input) {
            return self.clause(input, attrs, program);
        }
        let vis: Visibility = self.ask(input.parse())?;
        let items = [
            ("const", Parser::constant as fn(&mut Self, _, _, _, _) -> _),
            ("block", Parser::block),
            ("act", Parser::act),
        ];
        for (word, item) in items {
            let begins = if word == "const" { input.at(Token![const]) } else { peek_word(input, word) };
            if begins && !input.at2(Token![<]) {
                self.only_docs(&attrs, word);
                return item(self, input, attrs, vis, program);
            }
        }
        if !input.at(syn::Ident) {
            return self.expected(ITEM, input);
        }
        let name: Ident = self.ask(input.parse())?;
        if !input.at(Token![<]) && !input.at(token::Paren) {
            let missing = self.expected(&format!("`<` and the signature of `{name}`"), input);
            // A capital begins a network that is being written, so that its type may be used already.
            if !text(&name).starts_with(char::is_uppercase) {
                return missing;
            }
        }
        self.net(input, attrs, vis, name, program);
        Ok(())
    }

    /// `#[..]` and documentation. One that is broken is left out, and what it belongs to is read all the same.
    fn attributes(&mut self, input: ParseStream<'_>) -> Parsed<Vec<Attribute>> {
        let mut attrs = Vec::new();
        while input.at(Token![#]) && input.at2(token::Bracket) {
            let tokens: TokenStream = [next(input), next(input)].into_iter().flatten().collect();
            if let Ok(attr) = self.ask(Attribute::parse_outer.parse2(tokens)) {
                attrs.extend(attr);
            }
        }
        match input.at(Token![#]) {
            true => self.expected("an attribute like `#[allow(..)]`", input),
            false => Ok(attrs),
        }
    }

    /// Reports the first attribute that is no documentation.
    fn only_docs(&mut self, attrs: &[Attribute], word: &str) {
        if let Some(other) = attrs.iter().find(|attr| !attr.path().is_ident("doc")) {
            self.errors.attribute_beside_docs(other.pound_token.span, word);
        }
    }

    /// `const NAME = value;`
    fn constant(
        &mut self,
        input: ParseStream<'_>,
        docs: Vec<Attribute>,
        vis: Visibility,
        program: &mut Program,
    ) -> Parsed<()> {
        if !matches!(vis, Visibility::Inherited) {
            self.errors.public_const(vis.span());
        }
        let keyword: Token![const] = self.ask(input.parse())?;
        let name = self.name(input, "a name")?;
        let value = self.definition(input, keyword.span);
        program.consts.push(Const { docs, name, value });
        Ok(())
    }

    /// `act name = |x| ..;`
    fn act(
        &mut self,
        input: ParseStream<'_>,
        docs: Vec<Attribute>,
        vis: Visibility,
        program: &mut Program,
    ) -> Parsed<()> {
        let _: Ident = self.ask(input.parse())?;
        let name = self.name(input, "a name after `act`")?;
        self.eat::<Token![=]>(input, "`=`")?;
        let lambda = self.whole(input, Parser::function)?;
        if self.eat::<Token![;]>(input, "`;`").is_err() {
            self.skip_to_clause(input);
        }
        program.acts.push(Act { vis, docs, name, lambda });
        Ok(())
    }

    /// A function and nothing else.
    fn function(&mut self, input: ParseStream<'_>) -> Parsed<Lambda> {
        match input.at(Token![|]) {
            true => self.lambda(input),
            false => self.expected("a function like `|x| x * sigmoid(x)`", input),
        }
    }

    /// `block Name(params) { .. }`
    fn block(
        &mut self,
        input: ParseStream<'_>,
        docs: Vec<Attribute>,
        vis: Visibility,
        program: &mut Program,
    ) -> Parsed<()> {
        let _: Ident = self.ask(input.parse())?;
        let name = self.name(input, "a name after `block`")?;
        let mut params = Vec::new();
        if input.at(token::Paren) {
            params = self.group(input, |parser, content| Ok(parser.list(content, |_| None, Parser::block_param)))?;
        }
        if !input.at(token::Brace) {
            return self.expected(&format!("`{{` and the body of `{name}`"), input);
        }
        let body = self.body(input)?;
        program.blocks.push(Block { vis, docs, name, params, body });
        Ok(())
    }

    /// `name` or `name = default`
    fn block_param(&mut self, input: ParseStream<'_>) -> Parsed<(Ident, Option<Expr>)> {
        if at_piece(input) {
            return self.whole(input, Parser::block_param);
        }
        let name = self.name(input, "the name of an argument")?;
        // Sizes of a network, chosen when the program runs, are written with a type.
        if input.at(Token![:]) {
            let wanted = format!("`,` or `=` after `{name}`: arguments of a block have no type");
            let _: Parsed<()> = self.expected(&wanted, input);
            self.skip(input, |input| input.at(Token![,]) || input.at(Token![=]));
        }
        let mut default = None;
        if input.at(Token![=]) {
            self.eat::<Token![=]>(input, "`=`")?;
            default = Some(self.expr(input)?);
        }
        Ok((name, default))
    }

    /// `= expr ;`, or a broken expression.
    fn definition(&mut self, input: ParseStream<'_>, before: Span) -> Expr {
        let value = self.eat::<Token![=]>(input, "`=`").and_then(|()| self.expr(input));
        let complete = value.is_ok() && self.eat::<Token![;]>(input, "`;`").is_ok();
        if !complete {
            self.skip_to_clause(input);
        }
        // A forgotten `;` does not make the expression worse.
        value.unwrap_or_else(|Reported| Expr::broken(before))
    }

    /// The signature, the body and what follows it. A broken signature is passed over; the body is read all the same.
    fn net(
        &mut self,
        input: ParseStream<'_>,
        attrs: Vec<Attribute>,
        vis: Visibility,
        name: Ident,
        program: &mut Program,
    ) {
        let mut sizes = Vec::new();
        if input.at(token::Paren) {
            let read = |parser: &mut Self, content: ParseStream<'_>| Ok(parser.list(content, |_| None, Parser::size));
            sizes = self.group(input, read).unwrap_or_default();
            if !input.at(Token![<]) {
                let _: Parsed<()> = self.expected(&format!("`<` and the signature of `{name}`"), input);
            }
        }
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        let signed = input.at(Token![<]) && self.signature(input, &mut inputs, &mut outputs).is_ok();
        if !signed {
            self.skip(input, |input| input.at(token::Brace) || input.at(Token![;]) || at_clause(input));
        }
        let site = Site::from(input.cursor().span());
        let mut lines = Vec::new();
        let read = match input.at(token::Brace) {
            true if flows::at_lines(input) => {
                lines = self.lines(input).unwrap_or_default();
                // A body of which no line could be read is not empty.
                let broken = || Stage { kind: StageKind::Broken, alias: None, site };
                Some(Body { stages: lines.is_empty().then(broken).into_iter().collect(), site })
            }
            true => self.body(input).ok(),
            false => None,
        };
        let body = read.unwrap_or_else(|| {
            if signed && !input.at(token::Brace) {
                let _: Parsed<()> = self.expected(&format!("`{{` and the body of `{name}`"), input);
            }
            self.skip_to_clause(input);
            let broken = Stage { kind: StageKind::Broken, alias: None, site };
            Body { stages: vec![broken], site }
        });
        self.owner = Owner::LastNet;
        let (attrs, levels) = self.levels(attrs);
        let (losses, metrics, scalars) = (Vec::new(), Vec::new(), Vec::new());
        program.nets.push(Net {
            attrs,
            levels,
            vis,
            name,
            sizes,
            inputs,
            outputs,
            body,
            lines,
            losses,
            metrics,
            scalars,
        });
    }

    /// `(value, name = value, ..)`
    fn arguments(&mut self, input: ParseStream<'_>) -> Parsed<Vec<Argument>> {
        let broken = |at: Span| Some(Argument { name: None, value: Expr::broken(at) });
        self.group(input, |parser, content| Ok(parser.list(content, broken, Parser::argument)))
    }

    fn argument(&mut self, input: ParseStream<'_>) -> Parsed<Argument> {
        if at_named_piece(input) {
            return self.whole(input, Parser::argument);
        }
        let mut name = None;
        if input.at(syn::Ident) && input.at2(Token![=]) && !input.at2(Token![==]) {
            name = Some(self.ask(input.parse::<Ident>())?);
            self.eat::<Token![=]>(input, "`=`")?;
        }
        Ok(Argument { name, value: self.expr(input)? })
    }

    /// `loss(targets) = expr;`, `metric name = expr;` or `scalar name = number;`
    fn clause(&mut self, input: ParseStream<'_>, docs: Vec<Attribute>, program: &mut Program) -> Parsed<()> {
        let keyword: Ident = self.ask(input.parse())?;
        self.only_docs(&docs, &text(&keyword));
        if self.owner == Owner::Nobody {
            self.errors.clause_without_network(&keyword);
            self.owner = Owner::Lost;
        }
        let net = if self.owner == Owner::LastNet { program.nets.last_mut() } else { None };
        if keyword == "loss" {
            let mut targets = Vec::new();
            if input.at(token::Paren) {
                let _: Parsed<()> = self.ports(input, &mut targets);
            }
            let expr = self.definition(input, keyword.span());
            if let Some(net) = net {
                net.losses.push(Loss { docs, keyword, targets, expr });
            }
        } else {
            let Ok(name) = self.name(input, &format!("a name after `{keyword}`")) else {
                self.skip_to_clause(input);
                return Ok(());
            };
            let expr = self.definition(input, name.span());
            match net {
                Some(net) if keyword == "scalar" => net.scalars.push(Scalar { name, value: expr }),
                Some(net) => net.metrics.push(Metric { docs, name, expr }),
                None => {}
            }
        }
        Ok(())
    }

    /// Elements with commas between them, to the end of the group; `broken` in place of what had to be passed over.
    fn list<T>(
        &mut self,
        content: ParseStream<'_>,
        broken: impl Fn(Span) -> Option<T>,
        mut element: impl FnMut(&mut Self, ParseStream<'_>) -> Parsed<T>,
    ) -> Vec<T> {
        let mut elements = Vec::new();
        while !content.is_empty() {
            let start = content.span();
            let stop = |input: ParseStream<'_>| input.at(Token![,]) || input.at(Token![;]);
            match element(self, content) {
                Ok(element) => elements.push(element),
                Err(Reported) => {
                    self.skip(content, stop);
                    elements.extend(broken(start));
                }
            }
            if !content.is_empty() && !content.at(Token![,]) && !content.at(Token![;]) {
                let start = content.span();
                let _: Parsed<()> = self.expected("`,`", content);
                self.skip(content, stop);
                elements.extend(broken(start));
            } else if content.at(Token![;]) {
                let _: Parsed<()> = self.expected("`,`", content);
            }
            let _: Option<TokenTree> = next(content);
        }
        elements
    }

    /// Reads what is inside the next group, to its end.
    fn group<T>(
        &mut self,
        input: ParseStream<'_>,
        read: impl FnOnce(&mut Self, ParseStream<'_>) -> Parsed<T>,
    ) -> Parsed<T> {
        let content = self.ask(open(input))?;
        let result = read(self, &content);
        self.skip(&content, |_| false);
        result
    }

    fn name(&mut self, input: ParseStream<'_>, wanted: &str) -> Parsed<Ident> {
        if !input.at(syn::Ident) {
            return self.expected(wanted, input);
        }
        self.ask(input.parse())
    }

    fn eat<T: syn::parse::Parse>(&mut self, input: ParseStream<'_>, wanted: &str) -> Parsed<()> {
        match input.parse::<T>() {
            Ok(_) => Ok(()),
            Err(_) => self.expected(wanted, input),
        }
    }

    /// What syn says is wrong, where its grammar is Rust's.
    fn ask<T>(&mut self, result: syn::Result<T>) -> Parsed<T> {
        result.map_err(|error| {
            self.errors.syntax(&error);
            Reported
        })
    }

    fn expected<T>(&mut self, wanted: &str, input: ParseStream<'_>) -> Parsed<T> {
        // At the very end there is no token to point at but the last one.
        let site = if input.is_empty() { input.cursor().prev_span() } else { input.span() };
        self.errors.expected_at(site, wanted, &describe(input));
        Err(Reported)
    }

    /// Passes over tokens until `stop` or the end, and remembers the names among them.
    fn skip(&mut self, input: ParseStream<'_>, stop: impl Fn(ParseStream<'_>) -> bool) {
        while !input.is_empty() && !stop(input) {
            let Some(tree) = next(input) else { break };
            self.errors.lose(tree);
        }
    }

    /// To after the next `;`, or to the next clause or item that is certain to be one.
    fn skip_to_clause(&mut self, input: ParseStream<'_>) {
        self.skip(input, |input| input.at(Token![;]) || at_clause(input) || at_item(input));
        let _: syn::Result<Token![;]> = input.parse();
    }

    /// To after the next `;` or `{ .. }`.
    fn skip_item(&mut self, input: ParseStream<'_>) {
        self.skip(input, |input| input.at(Token![;]) || input.at(token::Brace));
        let _: Option<TokenTree> = next(input);
    }
}

/// Whether a `loss`, `metric` or `scalar` begins here.
fn at_clause(input: ParseStream<'_>) -> bool {
    let words = ["loss", "metric", "scalar"];
    words.into_iter().any(|word| peek_word(input, word)) && !input.at2(Token![<])
}

/// Whether an item begins here that cannot be anything else.
fn at_item(input: ParseStream<'_>) -> bool {
    input.at(Token![const]) || input.at(Token![pub]) || input.at(Token![#])
}

fn peek_word(input: ParseStream<'_>, word: &str) -> bool {
    !at_piece(input) && input.cursor().ident().is_some_and(|(ident, _)| ident == word)
}

/// Takes the next token or group.
fn next(input: ParseStream<'_>) -> Option<TokenTree> {
    input.parse().ok()
}

/// The inside of the next group, whatever its delimiters.
fn open<'a>(input: ParseStream<'a>) -> syn::Result<ParseBuffer<'a>> {
    let content;
    if input.at(token::Paren) {
        syn::parenthesized!(content in input);
    } else if input.at(token::Bracket) {
        syn::bracketed!(content in input);
    } else {
        syn::braced!(content in input);
    }
    Ok(content)
}
