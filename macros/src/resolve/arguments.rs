//! Arguments: which of the declared ones a value is meant for, and whether it may be that.

use gradloom_runtime::layers::{Arg, ArgDef, ArgKind};

use super::sizes::{Consts, LARGEST, Value, found};
use crate::ast::{Argument, Expr, ExprKind, Site, text};
use crate::diagnostics::Errors;

/// The values given, in the order of the names, `None` for those left out. `None` after a mistake in the list itself,
/// because then nothing is known to be missing.
pub struct Assigned<'a> {
    pub values: Vec<Option<&'a Expr>>,
    pub sound: bool,
}

/// Finds the name that each value is meant for: its own, or the one at its position, if that is among the first few.
pub fn assign<'a>(
    owner: &str,
    names: &[&str],
    n_positional: usize,
    given: &'a [Argument],
    errors: &mut Errors,
) -> Assigned<'a> {
    let mut assigned = Assigned { values: vec![None; names.len()], sound: true };
    let mut named = false;
    for (position, argument) in given.iter().enumerate() {
        let value = &argument.value;
        let index = match &argument.name {
            // After a syntax error the positions are anyone's guess.
            None if matches!(value.kind, ExprKind::Broken) => {
                assigned.sound = false;
                return assigned;
            }
            None if named => {
                errors.positional_after_named(value.site);
                assigned.sound = false;
                return assigned;
            }
            None if position >= names.len() => {
                errors.too_many_arguments(value.site, owner, names);
                assigned.sound = false;
                return assigned;
            }
            None if position >= n_positional => {
                errors.option_without_name(value.site, owner, names[position], &value.to_string());
                assigned.sound = false;
                return assigned;
            }
            None => position,
            Some(name) => {
                named = true;
                let Some(index) = names.iter().position(|known| *known == text(name)) else {
                    errors.unknown_argument(name, owner, names);
                    assigned.sound = false;
                    continue;
                };
                index
            }
        };
        if assigned.values[index].is_some() {
            let site = argument.name.as_ref().map_or(value.site, Site::from);
            errors.duplicate_argument(site, owner, names[index]);
            assigned.sound = false;
        } else {
            assigned.values[index] = Some(value);
        }
    }
    assigned
}

/// One value for each declared argument, or `None` after a mistake. `site` is where a missing one is reported.
pub fn values(
    owner: &str,
    args: &'static [ArgDef],
    given: &Assigned<'_>,
    site: Site,
    consts: &mut Consts<'_>,
    errors: &mut Errors,
) -> Option<Vec<Arg>> {
    let mut values = Vec::new();
    let mut sound = given.sound;
    for (arg, expr) in args.iter().zip(&given.values) {
        let value = match (expr, arg.default) {
            (Some(expr), _) => value(owner, arg, expr, consts, errors),
            (None, None) => {
                if given.sound {
                    errors.missing_argument(site, owner, arg.name, arg.doc);
                }
                None
            }
            (None, default) => default,
        };
        sound &= value.is_some();
        values.extend(value);
    }
    sound.then_some(values)
}

fn value(owner: &str, arg: &'static ArgDef, expr: &Expr, consts: &mut Consts<'_>, errors: &mut Errors) -> Option<Arg> {
    let written = format!("`{expr}`");
    let (value, found) = match (&expr.kind, arg.kind) {
        (ExprKind::Broken, _) => return None,
        (ExprKind::Text(_, content), _) => {
            errors.string_argument(expr.site, owner, arg, content);
            return None;
        }
        (ExprKind::Flag(flag), _) => (Some(Arg::Flag(*flag)), written),
        (ExprKind::Name(name), ArgKind::Word(words)) => {
            (words.iter().find(|word| **word == text(name)).map(|word| Arg::Word(word)), written)
        }
        (_, ArgKind::Flag | ArgKind::Word(_) | ArgKind::Numbers { .. }) => (None, written),
        (_, ArgKind::Size | ArgKind::Number { .. }) => {
            let value = consts.value(expr, errors)?;
            let accepted = match value {
                Value::Int(n) if matches!(arg.kind, ArgKind::Size) && n > LARGEST as i64 => {
                    errors.number_too_large(expr.site, &expr.to_string());
                    return None;
                }
                Value::Int(n) if matches!(arg.kind, ArgKind::Size) => u64::try_from(n).ok().map(Arg::Int),
                Value::Float(x) => Some(Arg::Float(x)),
                Value::Int(n) => Some(Arg::Float(n as f64)),
            };
            (accepted, found(expr, value))
        }
    };
    let accepted = value.and_then(|value| arg.kind.accept(value).ok());
    if accepted.is_none() {
        errors.wrong_argument(expr.site, owner, arg, &found);
    }
    accepted
}
