//! What other languages write after an operand, and this one does not: methods, indices, powers. Each is one mistake that says
//! how it is written here, and what follows it is read all the same.

use gradloom_runtime::{functions, layers};
use proc_macro2::Ident;
use syn::parse::ParseStream;
use syn::{Token, token};

use super::groups::Look;
use super::{Parsed, Parser, next};
use crate::ast::{Argument, Expr, ExprKind, Site, text};
use crate::diagnostics::hints;

/// What functions of other libraries stand in.
const MODULES: [&str; 14] =
    ["F", "K", "jax", "jnp", "keras", "layers", "math", "nn", "np", "numpy", "ops", "optax", "tf", "torch"];

/// How much of what comes before a method is written out in a message.
const LONGEST: usize = 100;

/// Those of them that a Rust program hardly has modules of the same name of.
const LIBRARIES: [&str; 11] = ["F", "K", "jax", "jnp", "keras", "nn", "np", "numpy", "optax", "tf", "torch"];

/// Whether a name is that of a library, where it may be the beginning of a path.
pub(super) fn is_library(name: &str) -> bool {
    LIBRARIES.contains(&name)
}

/// Whether a name is that of a library or a part of one.
pub(super) fn is_module(name: &str) -> bool {
    MODULES.contains(&name.split('.').next().unwrap_or(name))
}

impl Parser<'_> {
    /// An operand with whatever is no part of the language after it.
    pub(super) fn after(&mut self, input: ParseStream<'_>, mut x: Expr) -> Parsed<Expr> {
        loop {
            if input.at(Token![.]) && input.at2(syn::Ident) {
                self.eat::<Token![.]>(input, "`.`")?;
                let name = self.name(input, "a name after `.`")?;
                x = self.method(input, x, name)?;
            } else if (input.at(token::Bracket) || input.at(token::Paren)) && is_broken(&x) {
                next(input).into_iter().for_each(|tree| self.errors.lose(tree));
            } else if let (ExprKind::Call(..), true) = (&x.kind, input.at(token::Paren)) {
                // Layers of other libraries are functions of a value.
                let site = x.site.to(input.cursor().span());
                let operand = next(input);
                self.errors.call_of_a_call(site, &x.to_string(), operand.as_ref());
                operand.into_iter().for_each(|tree| self.errors.lose(tree));
                x = Expr::broken(site);
            } else if input.at(token::Bracket) {
                x = self.part(input, x)?;
            } else {
                break;
            }
        }
        if input.at(Token![@]) {
            if !is_broken(&x) {
                self.errors.matrix_product(input.span());
            }
            self.eat::<Token![@]>(input, "`@`")?;
            self.deeper(input, Parser::prefix)?;
            return Ok(Expr::broken(x.site));
        }
        let power = match () {
            () if input.at(Token![^]) => "^",
            () if input.at(Token![*]) && input.at2(Token![*]) => "**",
            () => return Ok(x),
        };
        let site = Site::from(input.span());
        let mut end = site;
        for _ in 0..power.len() {
            end = self.ask(input.parse::<proc_macro2::Punct>())?.span().into();
        }
        let y = self.deeper(input, Parser::prefix)?;
        if !is_broken(&x) && !is_broken(&y) {
            self.errors.power(site.to(end), power, &x, &y);
        }
        Ok(Expr::broken(x.site.to(y.site)))
    }

    /// `.name(args)`, after its name, and the methods after it.
    pub(super) fn method(&mut self, input: ParseStream<'_>, x: Expr, first: Ident) -> Parsed<Expr> {
        let site = x.site;
        let (mut name, mut written) = (first.clone(), operand(&x));
        loop {
            let args = match input.at(token::Paren) {
                true => self.deeper(input, Parser::arguments)?,
                false => Vec::new(),
            };
            if is_broken(&x) {
                break;
            }
            if is_module(&written) {
                self.errors.module(&first, &call(&text(&name), None, &args));
                break;
            }
            let known = text(&name);
            match hints::renamed(&known) {
                Some(function) => written = call(function, Some(&written), &args),
                None if hints::function(&known).is_some() => {
                    self.errors.method(&name, None);
                    break;
                }
                None => written = call(&known, Some(&written), &args),
            }
            if !input.at(Token![.]) || !input.at2(syn::Ident) {
                self.errors.method(&first, Some(&written));
                break;
            }
            if written.len() > LONGEST {
                written = "..".to_string();
            }
            self.eat::<Token![.]>(input, "`.`")?;
            name = self.name(input, "a name after `.`")?;
        }
        Ok(Expr::broken(site))
    }
}

/// What is wrong with it was reported, and one mistake is enough.
pub(super) fn is_broken(x: &Expr) -> bool {
    match &x.kind {
        ExprKind::Broken => true,
        ExprKind::Paren(inner) | ExprKind::Neg(inner) | ExprKind::Not(inner) | ExprKind::Part(inner, _) => {
            is_broken(inner)
        }
        _ => false,
    }
}

/// As the operand of a function: without parentheses.
pub fn operand(x: &Expr) -> String {
    match &x.kind {
        ExprKind::Paren(inner) => operand(inner),
        _ => x.to_string(),
    }
}

/// A call of a function as it is written here: its options have names.
fn call(function: &str, x: Option<&str>, args: &[Argument]) -> String {
    let known = functions::ALL.iter().find(|known| known.name == function);
    let layer = layers::ALL.iter().find(|known| known.name == function);
    let (n_operands, options) = match (known, layer) {
        (Some(known), _) => (known.operands.len(), known.args),
        (None, Some(layer)) => (1, layer.args),
        (None, None) => (usize::MAX, &[][..]),
    };
    let before = usize::from(x.is_some());
    let args = args.iter().enumerate().map(|(position, arg)| {
        let option = (position + before).checked_sub(n_operands).and_then(|option| options.get(option));
        match (&arg.name, option) {
            (None, Some(option)) => format!("{} = {}", option.name, arg.value),
            _ => arg.to_string(),
        }
    });
    let args: Vec<String> = x.map(str::to_string).into_iter().chain(args).collect();
    format!("{function}({})", args.join(", "))
}
