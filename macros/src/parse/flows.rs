//! Bodies of named flows: lines that end with `;`, each with a name, where it comes from and what it goes through.

use proc_macro2::{Delimiter, TokenTree};
use syn::parse::ParseStream;
use syn::{Token, token};

use super::groups::Look;
use super::{Parsed, Parser, Reported, next, open, peek_word};
use crate::ast::{Expr, Flow, Line, Stage, StageKind};

/// Whether the body that is next is made of lines, by how it begins.
pub(super) fn at_lines(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    open(&fork).is_ok_and(|content| at_line(&content))
}

/// Whether a line of a body of flows begins here.
pub(super) fn at_line(input: ParseStream<'_>) -> bool {
    let is_layer = peek_word(input, "layer") && input.at2(syn::Ident);
    let is_named = input.at(syn::Ident) && (input.at2(Token![=]) || input.at2(Token![->]));
    input.at(Token![let]) || input.at(token::Paren) || is_layer || is_named
}

impl Parser<'_> {
    /// The lines of a body.
    pub(super) fn lines(&mut self, input: ParseStream<'_>) -> Parsed<Vec<Line>> {
        self.deeper(input, |parser, input| {
            parser.group(input, |parser, content| {
                let mut lines = Vec::new();
                while !content.is_empty() {
                    let begin = content.fork();
                    match parser.line(content) {
                        Ok(line) => lines.push(line),
                        Err(Reported) => {
                            // What stands before the mistake is used there as well.
                            parser.skip(&begin, |content| content.at(Token![;]));
                            parser.skip(content, |content| content.at(Token![;]));
                        }
                    }
                    if !content.at(Token![;]) {
                        let _: Parsed<()> = parser.expected("`;`", content);
                        parser.skip(content, |content| content.at(Token![;]));
                    }
                    let _: Option<TokenTree> = next(content);
                }
                Ok(lines)
            })
        })
    }

    /// A line without its `;`.
    pub(super) fn line(&mut self, input: ParseStream<'_>) -> Parsed<Line> {
        if peek_word(input, "layer") && input.at2(syn::Ident) {
            self.name(input, "`layer`")?;
            let name = self.name(input, "a name after `layer`")?;
            self.eat::<Token![=]>(input, "`=`")?;
            return Ok(Line::Layer(name, self.shared(input)?));
        }
        let is_let = input.at(Token![let]);
        if is_let {
            self.eat::<Token![let]>(input, "`let`")?;
        }
        let names = match input.at(token::Paren) && is_let {
            true => self.group(input, |parser, content| {
                Ok(parser.list(content, |_| None, |parser, content| parser.name(content, "a name")))
            })?,
            false => {
                if input.at(token::Paren) || input.at(syn::Ident) && input.at2(Token![->]) {
                    self.errors.flow_without_name(input.span());
                    return Err(Reported);
                }
                vec![self.name(input, "a line like `let u = x -> Dense(8);`")?]
            }
        };
        match self.made_of(input) {
            Ok((sources, stages)) => Ok(Line::Flow(Flow { is_let, names, sources, stages })),
            Err(Reported) => {
                // They may well be used.
                names.into_iter().for_each(|name| self.errors.lose(name.into()));
                Err(Reported)
            }
        }
    }

    /// `= sources -> stages`, or `= expression`
    fn made_of(&mut self, input: ParseStream<'_>) -> Parsed<(Vec<Expr>, Vec<Stage>)> {
        self.eat::<Token![=]>(input, "`=`")?;
        self.value(input)
    }

    /// `sources -> stages`, or an expression
    pub(super) fn value(&mut self, input: ParseStream<'_>) -> Parsed<(Vec<Expr>, Vec<Stage>)> {
        let sources = self.sources(input)?;
        let mut stages = Vec::new();
        if input.at(Token![->]) {
            self.eat::<Token![->]>(input, "`->`")?;
            loop {
                stages.push(self.stage(input)?);
                if !input.at(Token![,]) {
                    break;
                }
                self.eat::<Token![,]>(input, "`,`")?;
                if input.is_empty() || input.at(Token![;]) {
                    break;
                }
            }
        }
        Ok((sources, stages))
    }

    /// What flows in: an expression, or several values in parentheses.
    fn sources(&mut self, input: ParseStream<'_>) -> Parsed<Vec<Expr>> {
        if !at_tuple(input) {
            return Ok(vec![self.expr(input)?]);
        }
        let broken = |at| Some(Expr::broken(at));
        let sources = self.group(input, |parser, content| Ok(parser.list(content, broken, Parser::expr)))?;
        match input.at(Token![->]) {
            true => Ok(sources),
            false => self.expected("`->` and what joins the values, such as `concat`", input),
        }
    }

    /// What a layer with a name stands for.
    fn shared(&mut self, input: ParseStream<'_>) -> Parsed<Stage> {
        if !input.at(token::Brace) {
            return self.stage(input);
        }
        let body = self.body(input)?;
        Ok(Stage { site: body.site, kind: StageKind::Body(body), alias: None })
    }
}

/// Whether several values in parentheses are next.
fn at_tuple(input: ParseStream<'_>) -> bool {
    let Some((inside, ..)) = input.cursor().group(Delimiter::Parenthesis) else { return false };
    if !input.at(token::Paren) {
        return false;
    }
    let mut rest = inside;
    while let Some((tree, after)) = rest.token_tree() {
        if matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ',') {
            return true;
        }
        rest = after;
    }
    false
}
