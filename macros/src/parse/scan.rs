//! Loops of the user's own: names between bars, and a body that is one expression, or lines and a last one without `;`.

use proc_macro2::{Ident, TokenTree};
use syn::parse::ParseStream;
use syn::{Token, token};

use super::groups::Look;
use super::{Parsed, Parser, Reported, next, peek_word};
use crate::ast::{Argument, Expr, Line, Next, Scan, Site};

/// The names of a loop, for messages.
const NAMES: &str = "`|x, h|`, names for the element and the state, and the body of `scan`";

/// What stands between the bars.
#[derive(Default)]
struct Names {
    /// Those without a value.
    values: Vec<Ident>,
    /// Trainable numbers and how they start.
    numbers: Vec<(Ident, Expr)>,
}

impl Parser<'_> {
    /// What stands after the word and its arguments.
    pub(super) fn scan(&mut self, input: ParseStream<'_>, args: Vec<Argument>) -> Parsed<Scan> {
        if !input.at(Token![|]) && !input.at(Token![||]) {
            return self.expected(NAMES, input);
        }
        let start = Site::from(input.span());
        let mut names = Names::default();
        if input.at(Token![||]) {
            self.eat::<Token![||]>(input, "`|`")?;
        } else {
            names = self.scan_names(input)?;
        }
        let end = input.cursor().prev_span();
        // The body is read all the same.
        let body = self.deeper(input, |parser, input| match input.at(token::Brace) {
            true => parser.group(input, Parser::steps),
            // Without braces a `,` ends it.
            false => {
                let value = parser.expr(input)?;
                let site = value.site;
                if input.at(Token![->]) {
                    parser.errors.flow_without_braces(input.span());
                    return Err(Reported);
                }
                Ok((Vec::new(), Next { sources: vec![value], stages: Vec::new(), site }))
            }
        });
        let Ok([element, state]) = <[Ident; 2]>::try_from(names.values) else {
            self.errors.names_of_a_loop(start.to(end));
            return Err(Reported);
        };
        let (lines, next) = body?;
        Ok(Scan { args, element, state, extras: names.numbers, lines, next })
    }

    /// `|x, h, name = value, ..|`
    fn scan_names(&mut self, input: ParseStream<'_>) -> Parsed<Names> {
        self.eat::<Token![|]>(input, "`|`")?;
        let mut names = Names::default();
        while !input.at(Token![|]) {
            if input.at(syn::Ident) && !input.at2(Token![=]) && names.numbers.is_empty() {
                names.values.push(self.name(input, "a name")?);
            } else {
                let Argument { name, value } = self.extra(input)?;
                names.numbers.push((name.ok_or(Reported)?, value));
            }
            if !input.at(Token![|]) {
                self.eat::<Token![,]>(input, "`,` or `|`")?;
            }
        }
        self.eat::<Token![|]>(input, "`|`")?;
        Ok(names)
    }

    /// The lines of a body, and what makes the next state.
    fn steps(&mut self, content: ParseStream<'_>) -> Parsed<(Vec<Line>, Next)> {
        let mut lines = Vec::new();
        while at_named_line(content) {
            match self.line(content) {
                Ok(line) => lines.push(line),
                Err(Reported) => self.skip(content, |content| content.at(Token![;])),
            }
            if !content.at(Token![;]) {
                let _: Parsed<()> = self.expected("`;`", content);
                self.skip(content, |content| content.at(Token![;]));
            }
            let _: Option<TokenTree> = next(content);
        }
        if content.is_empty() {
            self.errors.no_next_state(content.cursor().prev_span());
            return Err(Reported);
        }
        let last = self.next_state(content)?;
        if content.at(Token![;]) {
            self.errors.next_state_with_semicolon(content.span());
            return Err(Reported);
        }
        match content.is_empty() {
            true => Ok((lines, last)),
            false => self.expected("the end of the body, whose last expression is the next state", content),
        }
    }

    /// An expression, or a pipeline.
    fn next_state(&mut self, input: ParseStream<'_>) -> Parsed<Next> {
        let start = Site::from(input.span());
        let (sources, stages) = self.value(input)?;
        Ok(Next { sources, stages, site: start.to(input.cursor().prev_span()) })
    }
}

/// Whether a line that makes a name begins here.
fn at_named_line(input: ParseStream<'_>) -> bool {
    let is_layer = peek_word(input, "layer") && input.at2(syn::Ident);
    let is_named = input.at(syn::Ident) && input.at2(Token![=]) && !input.at2(Token![==]);
    input.at(Token![let]) || is_layer || is_named
}
