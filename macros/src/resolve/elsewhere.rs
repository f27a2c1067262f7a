//! Blocks and functions of other `network! { .. }`, which are used by their path: what the macro sees of a use, and of one that
//! others may use.

use gradloom_runtime::network::{Act, At, Expr, Kind, Outcome, Stage};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::expressions::Own;
use super::sizes::{Binding, Consts, Reading, Value};
use super::table::{Deferred, Table};
use super::{Items, Scope};
use crate::ast::{self, Foreign, Site, text};
use crate::diagnostics::Errors;

/// A use of a block or a function that the macro does not see.
pub struct Elsewhere {
    pub path: TokenStream,
    pub text: String,
    pub given: Vec<GivenElsewhere>,
}

/// An argument or operand of one.
pub struct GivenElsewhere {
    pub name: Option<String>,
    pub text: String,
    pub at: At,
    /// As a size and as a number; none of an operand.
    pub value: Option<[TokenStream; 2]>,
}

/// A block or a function that other networks may use.
pub struct Fragment<'a> {
    pub ast: Item<'a>,
    pub params: Vec<Param>,
    pub acts: &'a [Act<'a>],
    pub piece: Piece<'a>,
    pub sites: Vec<Site>,
    pub deferred: Deferred,
}

/// What declares it.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    Block(&'a ast::Block),
    Act(&'a ast::Act),
}

/// An argument, and what it is if it is left out: as a size and as a number.
pub struct Param {
    pub name: String,
    pub default: Option<[TokenStream; 2]>,
}

/// What it comes to.
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    Block(&'a [Stage<'a>]),
    /// The last of its functions.
    Act,
}

/// Those that others may use; of two with one name the first.
pub fn fragments<'a>(
    items: &Items<'a>,
    consts: &mut Consts<'a>,
    bump: &'a bumpalo::Bump,
    errors: &mut Errors,
) -> Vec<Fragment<'a>> {
    let program = items.program;
    let mut found = Vec::new();
    for (index, block) in program.blocks.iter().enumerate().filter(|(_, block)| is_shared(&block.vis)) {
        if items.blocks.get(&text(&block.name)) == Some(&index) {
            let scope = Scope::new(items, consts, Table::new(bump), errors);
            found.push(scope.shared_block(index, block));
        }
    }
    for (index, act) in program.acts.iter().enumerate().filter(|(_, act)| is_shared(&act.vis)) {
        if items.acts.get(&text(&act.name)) == Some(&index) {
            found.extend(Scope::new(items, consts, Table::new(bump), errors).shared_act(act));
        }
    }
    found
}

fn is_shared(vis: &syn::Visibility) -> bool {
    !matches!(vis, syn::Visibility::Inherited)
}

impl<'a> Scope<'_, 'a> {
    /// A block as a stage: its arguments are found when the program runs.
    pub(super) fn stage_elsewhere(
        &mut self,
        foreign: &'a Foreign,
        args: &'a [ast::Argument],
        site: Site,
    ) -> (Kind<'a>, At) {
        let at = self.table.at(site);
        self.lines.is_open = true;
        let mut given = Vec::new();
        let mut is_sound = true;
        for (position, argument) in args.iter().enumerate() {
            if argument.name.is_none() && args[..position].iter().any(|before| before.name.is_some()) {
                self.errors.positional_after_named(argument.value.site);
                is_sound = false;
            }
            match self.both_readings(&argument.value) {
                Some(value) => given.push(self.given(argument, Some(value))),
                None => is_sound = false,
            }
        }
        if !is_sound {
            return (Kind::Broken, at);
        }
        let text = match args {
            [] => foreign.text.clone(),
            _ => format!("{}({})", foreign.text, ast::list(args)),
        };
        self.table.deferred.elsewhere.insert(at, Elsewhere { path: foreign.path.clone(), text, given });
        (Kind::Elsewhere, at)
    }

    /// A function applied to operands.
    pub(super) fn call_elsewhere(
        &mut self,
        foreign: &'a Foreign,
        args: &'a [ast::Argument],
        site: Site,
        mut own: Option<&mut Own<'_>>,
    ) -> Expr<'a> {
        let at = self.table.at(site);
        let mut given = Vec::new();
        let mut operands = Vec::new();
        for argument in args {
            operands.push(self.expr(&argument.value, own.as_deref_mut()));
            given.push(self.given(argument, None));
        }
        if operands.is_empty() {
            self.errors.missing_argument(site, &foreign.text, "x", "what it is applied to");
            return Expr::Broken;
        }
        let text = format!("{}({})", foreign.text, ast::list(args));
        self.table.deferred.elsewhere.insert(at, Elsewhere { path: foreign.path.clone(), text, given });
        Expr::Elsewhere(at, self.table.list(operands))
    }

    fn given(&mut self, argument: &ast::Argument, value: Option<[TokenStream; 2]>) -> GivenElsewhere {
        let site = argument.name.as_ref().map_or(argument.value.site, |name| Site::from(name).to(argument.value.site));
        let at = self.table.at(site);
        GivenElsewhere { name: argument.name.as_ref().map(text), text: argument.value.to_string(), at, value }
    }

    /// What an argument stands for, as a size and as a number: the macro does not see which will be wanted. A Rust constant is a
    /// size.
    fn both_readings(&mut self, expr: &'a ast::Expr) -> Option<[TokenStream; 2]> {
        match self.binding(expr) {
            Binding::Flag(flag) => {
                let flag = quote!(__gradloom::Outcome::Flag(#flag));
                Some([flag.clone(), flag])
            }
            Binding::Number { size, number } => {
                let is_rust = |reading: &Reading| matches!(reading, Ok(Value::Deferred(later)) if later.is_rust);
                let both = match (size, number) {
                    (Ok(size), number) if is_rust(&number) => [size.clone(), size],
                    (Ok(size), Ok(number)) => [size, number],
                    (Ok(one), Err(_)) | (Err(_), Ok(one)) => [one.clone(), one],
                    // What is wrong both ways is reported.
                    (Err(_), Err(_)) => return None,
                };
                Some(both.map(|value| value.to_tokens()))
            }
            Binding::Unknown => None,
        }
    }

    /// A block with arguments that are known when the program runs.
    fn shared_block(mut self, index: usize, block: &'a ast::Block) -> Fragment<'a> {
        let mut params = Vec::new();
        for (index, (name, default)) in block.params.iter().enumerate() {
            // A default may use the arguments before it.
            let default = default.as_ref().and_then(|default| self.both_readings(default));
            params.push(Param { name: text(name), default });
            let tokens = ["size", "number"].map(|reading| {
                let reading = format_ident!("{reading}");
                quote!(args[#index].#reading)
            });
            self.consts.locals.insert(text(name), Binding::chosen(tokens, Outcome::Unknown));
        }
        self.n_blocks = 1;
        let stages = match self.items.sound[index] {
            true => self.body(&block.body, false),
            false => &[],
        };
        self.consts.locals.clear();
        self.consts.used.clear();
        self.fragment(Item::Block(block), params, Piece::Block(stages))
    }

    /// A function whose trainable numbers start as the stage says.
    fn shared_act(mut self, act: &'a ast::Act) -> Option<Fragment<'a>> {
        let index = self.named_act(&act.name)?;
        let params = self.acts.get(index).extras.iter().map(|&(name, start)| {
            let start = quote!(__gradloom::Outcome::Float(#start));
            Param { name: name.to_string(), default: Some([start.clone(), start]) }
        });
        let params = params.collect();
        // It is read after those that it calls.
        Some(self.fragment(Item::Act(act), params, Piece::Act))
    }

    fn fragment(self, ast: Item<'a>, params: Vec<Param>, piece: Piece<'a>) -> Fragment<'a> {
        let Scope { table, acts, .. } = self;
        let acts = table.list(acts.finish());
        Fragment { ast, params, acts, piece, sites: table.sites, deferred: table.deferred }
    }
}
