//! Bodies: stages with commas between them, and the structures that have bodies of their own.

use gradloom_runtime::layers;
use proc_macro2::{Ident, Span};
use syn::parse::ParseStream;
use syn::{Token, token};

use super::expr::at_path;
use super::flows::at_line;
use super::foreign::{is_library, is_module};
use super::groups::{Look, at_piece};
use super::{Parsed, Parser, Reported, next, peek_word};
use crate::ast::{Argument, Body, Foreign, Lambda, Site, Stage, StageKind, text};

impl Parser<'_> {
    /// `{ stage, stage, .. }`
    pub(super) fn body(&mut self, input: ParseStream<'_>) -> Parsed<Body> {
        let site = Site::from(input.cursor().span());
        let broken = |at: Span| Some(Stage { kind: StageKind::Broken, alias: None, site: at.into() });
        let stages = self.deeper(input, |parser, input| {
            parser.group(input, |parser, content| Ok(parser.list(content, broken, Parser::stage)))
        })?;
        Ok(Body { stages, site })
    }

    pub(super) fn stage(&mut self, input: ParseStream<'_>) -> Parsed<Stage> {
        let mut stage = self.whole(input, Parser::written_stage)?;
        if stage.alias.is_none() {
            stage.alias = self.alias(input)?;
        }
        Ok(stage)
    }

    fn written_stage(&mut self, input: ParseStream<'_>) -> Parsed<Stage> {
        if input.at(token::Brace) {
            self.errors.bare_body(input.span());
            return Err(Reported);
        }
        if at_line(input) {
            // The whole body may be of this form, so this is said once.
            self.errors.flow_among_stages(input.span());
            self.skip(input, |_| false);
            return Err(Reported);
        }
        let start = input.span();
        let (kind, site) = if input.at(Token![|]) || input.at(Token![||]) {
            let lambda = self.lambda(input)?;
            let site = Site::from(start).to(lambda.body.site);
            (StageKind::Lambda(lambda), site)
        } else {
            if let Some(foreign) = self.path_of_stage(input)? {
                let mut site = Site::from(start).to(&foreign.name);
                let mut args = Vec::new();
                if input.at(token::Paren) {
                    site.end = input.cursor().span();
                    args = self.arguments(input)?;
                }
                let alias = self.alias(input)?;
                return Ok(Stage { kind: StageKind::Elsewhere(Box::new(foreign), args), alias, site });
            }
            let mut name = self.name(input, "a layer or an activation")?;
            if is_module(&text(&name)) && (input.at(Token![.]) || input.at(Token![::])) {
                self.errors.layer_of_module(&name);
                while input.at(Token![.]) || input.at(Token![::]) {
                    // Of `::` the second half.
                    let parts = if input.at(Token![::]) { 2 } else { 1 };
                    (0..parts).for_each(|_| _ = next(input));
                    name = self.name(input, "a layer or an activation")?;
                }
            }
            self.named_stage(input, name)?
        };
        let alias = self.alias(input)?;
        Ok(Stage { kind, alias, site })
    }

    /// The path of a block or a function of another `network! { .. }`. What stands in a module of another library is none, nor is
    /// a layer of this one.
    fn path_of_stage(&mut self, input: ParseStream<'_>) -> Parsed<Option<Foreign>> {
        if !at_path(input) {
            return Ok(None);
        }
        let Ok(path) = input.fork().call(syn::Path::parse_mod_style) else { return Ok(None) };
        let ends = path.segments.first().zip(path.segments.last());
        let is_own = |name: &str| layers::ALL.iter().any(|layer| layer.name == name);
        match ends {
            Some((first, last)) if is_library(&text(&first.ident)) || is_own(&text(&last.ident)) => Ok(None),
            _ => self.foreign(input).map(Some),
        }
    }

    /// `as name`, if it is there.
    fn alias(&mut self, input: ParseStream<'_>) -> Parsed<Option<Ident>> {
        if !input.at(Token![as]) {
            return Ok(None);
        }
        self.eat::<Token![as]>(input, "`as`")?;
        self.name(input, "a name after `as`").map(Some)
    }

    /// A stage that begins with a word.
    fn named_stage(&mut self, input: ParseStream<'_>, name: Ident) -> Parsed<(StageKind, Site)> {
        let mut site = Site::from(&name);
        let mut args = Vec::new();
        let has_args = input.at(token::Paren);
        if has_args {
            site.end = input.cursor().span();
            args = self.arguments(input)?;
        }
        let kind = if name == "residual" {
            self.residual(input, has_args.then_some(site))?
        } else if name == "repeat" {
            StageKind::Repeat(args, self.needed_body(input, "repeat(n)")?)
        } else if name == "scan" {
            StageKind::Scan(Box::new(self.scan(input, args)?))
        } else if name == "skip" && input.at(token::Brace) {
            self.errors.skip_alone(&name);
            return Err(Reported);
        } else if name == "concat" && input.at(token::Brace) {
            self.concat(input, has_args.then_some(site))?
        } else if input.at(token::Brace) {
            self.errors.body_of_a_layer(&name);
            return Err(Reported);
        } else if input.at(Token![|]) {
            self.errors.names_of_a_layer(&name);
            // It is read as what it looks like.
            self.scan(input, args)?;
            return Err(Reported);
        } else {
            if has_args && input.at(token::Paren) {
                self.errors.operand_of_a_stage(Site::from(input.cursor().span()));
                next(input).into_iter().for_each(|tree| self.errors.lose(tree));
            }
            StageKind::Call(name, args)
        };
        Ok((kind, site))
    }

    /// The branches, after the word; `args` is where there are arguments.
    fn residual(&mut self, input: ParseStream<'_>, args: Option<Site>) -> Parsed<StageKind> {
        if let Some(site) = args {
            self.errors.residual_with_arguments(site);
        }
        let body = self.needed_body(input, "residual")?;
        let mut skip = None;
        if peek_word(input, "skip") {
            let _: Ident = self.ask(input.parse())?;
            skip = Some(self.needed_body(input, "skip")?);
        }
        Ok(StageKind::Residual(body, skip))
    }

    /// The bodies, after the word; `args` is where there are arguments.
    fn concat(&mut self, input: ParseStream<'_>, args: Option<Site>) -> Parsed<StageKind> {
        if let Some(site) = args {
            self.errors.concat_with_arguments(site);
        }
        let site = Site::from(input.cursor().span());
        let stage = |at: Span| Stage { kind: StageKind::Broken, alias: None, site: at.into() };
        let broken = |at: Span| Some(Body { stages: vec![stage(at)], site: at.into() });
        let read = |parser: &mut Self, input: ParseStream<'_>| parser.needed_body(input, "concat");
        let bodies = self.deeper(input, |parser, input| {
            parser.group(input, |parser, content| Ok(parser.list(content, broken, read)))
        })?;
        if bodies.is_empty() {
            self.errors.empty_body(site, "concat");
            return Err(Reported);
        }
        Ok(StageKind::Concat(bodies))
    }

    fn needed_body(&mut self, input: ParseStream<'_>, owner: &str) -> Parsed<Body> {
        if !input.at(token::Brace) {
            return self.expected(&format!("`{{` and the body of `{owner}`"), input);
        }
        self.body(input)
    }

    /// `|x, name = value, ..| expr`
    pub(super) fn lambda(&mut self, input: ParseStream<'_>) -> Parsed<Lambda> {
        if input.at(Token![||]) {
            self.errors.function_without_operand(input.span());
            return Err(Reported);
        }
        self.eat::<Token![|]>(input, "`|`")?;
        if input.at(Token![|]) {
            self.errors.function_without_operand(input.span());
            return Err(Reported);
        }
        let operand = self.name(input, "a name for what comes in")?;
        if input.at(Token![=]) {
            self.errors.operand_with_value(&operand);
            return Err(Reported);
        }
        let mut extras = Vec::new();
        while input.at(Token![,]) {
            self.eat::<Token![,]>(input, "`,`")?;
            if input.at(Token![|]) {
                break;
            }
            let Argument { name, value } = self.extra(input)?;
            extras.push((name.ok_or(Reported)?, value));
        }
        self.eat::<Token![|]>(input, "`|`")?;
        if input.at(token::Brace) {
            self.errors.function_in_braces(input.span());
            return Err(Reported);
        }
        let body = self.expr(input)?;
        Ok(Lambda { operand, extras, body })
    }

    /// `name = value`
    pub(super) fn extra(&mut self, input: ParseStream<'_>) -> Parsed<Argument> {
        if at_piece(input) {
            return self.whole(input, Parser::extra);
        }
        let name = self.name(input, "a name")?;
        if !input.at(Token![=]) {
            self.errors.extra_without_value(&name);
            return Err(Reported);
        }
        self.eat::<Token![=]>(input, "`=`")?;
        // Without comparisons and `|`, so that the next `|` ends the names.
        let value = self.sum(input)?;
        Ok(Argument { name: Some(name), value })
    }
}
