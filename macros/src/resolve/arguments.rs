//! Arguments: which of the declared ones a value is meant for, and whether it may be that.

use gradloom_runtime::elaborate::{LARGEST, is_size};
use gradloom_runtime::layers::{Arg, ArgDef, ArgKind, initializers};
use gradloom_runtime::network::{self, Value, fits_f32};

use super::Table;
use super::sizes::{Consts, Value as Number, found};
use crate::ast::{Argument, Expr, ExprKind, Site, text};
use crate::diagnostics::Errors;

/// The values given, in the order of the names, `None` for those left out. `None` after a mistake in the list itself,
/// because then nothing is known to be missing.
pub struct Assigned<'a> {
    pub values: Vec<Option<&'a Expr>>,
    /// How many of them, the first, were given without a name.
    pub unnamed: usize,
    pub sound: bool,
}

impl Assigned<'_> {
    /// All but the first few.
    pub fn split_off(&mut self, count: usize) -> Self {
        let unnamed = self.unnamed.saturating_sub(count);
        Assigned { values: self.values.split_off(count), unnamed, sound: self.sound }
    }
}

/// Finds the name that each value is meant for: its own, or the one at its position, if that is among the first few.
pub fn assign<'a>(
    owner: &str,
    names: &[&str],
    n_positional: usize,
    given: &'a [Argument],
    errors: &mut Errors,
) -> Assigned<'a> {
    let mut assigned = Assigned { values: vec![None; names.len()], unnamed: 0, sound: true };
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
            None => {
                assigned.unnamed = position + 1;
                position
            }
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

/// One value for each declared argument, or `None` where nothing is known of them after a mistake in the list. `site` is
/// where a missing one is reported.
pub fn values<'a>(
    owner: &str,
    args: &'static [ArgDef],
    given: &Assigned<'_>,
    site: Site,
    table: &mut Table<'a>,
    consts: &mut Consts<'_>,
    errors: &mut Errors,
) -> &'a [Value<'a>] {
    let mut values = Vec::new();
    for (index, (arg, expr)) in args.iter().zip(&given.values).enumerate() {
        values.push(match (expr, arg.default) {
            (Some(expr), _) => {
                // The sizes of other libraries are given by their place.
                let args = if index < given.unnamed { args } else { &[] };
                value((owner, args), arg, expr, table, consts, errors)
            }
            (None, Some(default)) => Value::Known(default),
            (None, None) => {
                if given.sound {
                    errors.missing_argument(site, owner, arg.name, arg.doc);
                }
                Value::Broken
            }
        });
    }
    if !given.sound {
        values.fill(Value::Broken);
    }
    table.list(values)
}

/// `args` are those of the owner, if it is by its place that the value is meant for `arg`.
fn value<'a>(
    (owner, args): (&str, &[ArgDef]),
    arg: &'static ArgDef,
    expr: &Expr,
    table: &mut Table<'a>,
    consts: &mut Consts<'_>,
    errors: &mut Errors,
) -> Value<'a> {
    let written = format!("`{expr}`");
    let (value, found) = match (&expr.kind, arg.kind) {
        (ExprKind::Broken, _) => return Value::Broken,
        (ExprKind::Text(_, content), _) => {
            errors.string_argument(expr.site, owner, arg, content);
            return Value::Broken;
        }
        (ExprKind::Flag(flag), _) => (Some(Arg::Flag(*flag)), written),
        (ExprKind::Name(name), ArgKind::Value(_)) => (Some(Arg::Path(text(name).leak())), written),
        (ExprKind::Member(path, _), ArgKind::Parameter | ArgKind::Value(_)) => {
            (Some(Arg::Path(path.clone().leak())), written)
        }
        (ExprKind::Name(name), _) if consts.is_unknown(name) => return Value::Broken,
        (_, ArgKind::Init) => return initializer(owner, arg, expr, table, consts, errors),
        (ExprKind::Name(name), ArgKind::Flag) => match consts.flag(name) {
            Some(flag) => (Some(Arg::Flag(flag)), written),
            None if consts.contains(name) => match consts.value(expr, errors) {
                // An argument of a block that others use, which may be a truth value.
                Some(Number::Deferred(later)) => return Value::Calculated(table.number(expr, later)),
                Some(_) => (None, written),
                None => return Value::Broken,
            },
            None => (None, written),
        },
        (ExprKind::Name(name), ArgKind::Word(words)) => {
            (words.iter().find(|word| **word == text(name)).map(|word| Arg::Word(word)), written)
        }
        (ExprKind::List(elements), ArgKind::Numbers { .. })
        | (ExprKind::List(elements) | ExprKind::Tuple(elements), ArgKind::NumberOrList { .. }) => {
            let numbers: Option<Vec<f64>> = elements.iter().map(|element| plain(element, consts, errors)).collect();
            let Some(numbers) = numbers else { return Value::Broken };
            // A few numbers, which live as long as the definitions that name them do.
            (Some(Arg::Numbers(Vec::leak(numbers))), written)
        }
        (ExprKind::Name(name), ArgKind::Sizes { word: Some(word), .. }) if text(name) == word => {
            (Some(Arg::Word(word)), written)
        }
        (ExprKind::Name(name), ArgKind::SizeOr { word, .. }) if text(name) == word => (Some(Arg::Word(word)), written),
        (ExprKind::Tuple(elements), ArgKind::Sizes { .. }) if elements.len() == 2 => {
            let Some(values) = pair(elements, consts, errors) else { return Value::Broken };
            match &values {
                [Number::Deferred(_), _] | [_, Number::Deferred(_)] => {
                    let numbers = [0, 1].map(|at| size(&elements[at], &values[at], table));
                    return Value::Pair(table.one(numbers));
                }
                [Number::Int(height), Number::Int(width)] => {
                    let sizes = u64::try_from(*height).ok().zip(u64::try_from(*width).ok());
                    (sizes.map(|(height, width)| Arg::Pair(height, width)), written)
                }
                _ => (None, written),
            }
        }
        (_, ArgKind::Axis | ArgKind::Axes | ArgKind::Extents) => match ints(arg, expr, consts, errors) {
            Ok(Some(list)) => match list.iter().map(|(_, value)| plain_int(value)).collect::<Option<Vec<i64>>>() {
                Some(known) => (Some(Arg::Ints(Vec::leak(known))), written),
                None => {
                    let numbers = list.iter().map(|(element, value)| size(element, value, table)).collect();
                    table.deferred.has_lists = true;
                    return Value::list(table.list(numbers));
                }
            },
            Ok(None) => (None, written),
            Err(Reported) => return Value::Broken,
        },
        (_, ArgKind::Flag | ArgKind::Word(_) | ArgKind::Numbers { .. } | ArgKind::Parameter | ArgKind::Value(_)) => {
            (None, written)
        }
        (ExprKind::Tuple(_), _) => (None, written),
        (
            _,
            ArgKind::Size
            | ArgKind::SizeOr { .. }
            | ArgKind::Sizes { .. }
            | ArgKind::Number { .. }
            | ArgKind::NumberOrList { .. },
        ) => {
            let is_size = is_size(arg.kind);
            let value = if is_size { consts.value(expr, errors) } else { consts.number(expr, errors) };
            let Some(value) = value else { return Value::Broken };
            let accepted = match &value {
                Number::Deferred(later) => return Value::Calculated(table.number(expr, later.clone())),
                Number::Int(n) if is_size && *n > LARGEST as i64 => {
                    errors.number_too_large(expr.site, &expr.to_string());
                    return Value::Broken;
                }
                Number::Int(n) if is_size => u64::try_from(*n).ok().map(Arg::Int),
                Number::Float(x) => Some(Arg::Float(*x)),
                Number::Int(n) => Some(Arg::Float(*n as f64)),
            };
            (accepted, found(expr, &value))
        }
    };
    match value.and_then(|value| arg.kind.accept(value).ok()) {
        Some(Arg::Float(x)) if !fits_f32(x) => {
            errors.beyond_f32(expr.site, &expr.to_string(), x);
            Value::Broken
        }
        Some(value) => Value::Known(value),
        None => {
            errors.wrong_argument(expr, (owner, args), arg, &found);
            Value::Broken
        }
    }
}

/// Height and width, neither of them absurd.
fn pair(elements: &[Expr], consts: &mut Consts<'_>, errors: &mut Errors) -> Option<[Number; 2]> {
    let mut read = |expr: &Expr| match consts.value(expr, errors)? {
        Number::Int(n) if n > LARGEST as i64 => {
            errors.number_too_large(expr.site, &expr.to_string());
            None
        }
        value => Some(value),
    };
    let [height, width] = [read(&elements[0]), read(&elements[1])];
    Some([height?, width?])
}

/// One of two sizes, of which the macro does not know both.
fn size<'a>(expr: &Expr, value: &Number, table: &mut Table<'a>) -> network::Number<'a> {
    match value {
        Number::Deferred(later) => table.number(expr, later.clone()),
        known => {
            network::Number { value: known.outcome(), text: table.str(&expr.to_string()), at: table.at(expr.site) }
        }
    }
}

/// An integer that is known here.
fn plain_int(value: &Number) -> Option<i64> {
    match value {
        Number::Int(n) => Some(*n),
        _ => None,
    }
}

/// The mistake is reported.
struct Reported;

/// Axes, one or a list of them, or the extents of a row; `None` where it is something else.
fn ints<'e>(
    arg: &ArgDef,
    expr: &'e Expr,
    consts: &mut Consts<'_>,
    errors: &mut Errors,
) -> Result<Option<Vec<(&'e Expr, Number)>>, Reported> {
    let list = match (&expr.kind, arg.kind) {
        (ExprKind::List(elements), ArgKind::Axes | ArgKind::Extents) => &elements[..],
        (ExprKind::List(_), _) => return Ok(None),
        (_, ArgKind::Axis | ArgKind::Axes) => std::slice::from_ref(expr),
        _ => return Ok(None),
    };
    let rest = match (arg.kind, list) {
        (ArgKind::Extents, [first, rest @ ..]) if matches!(&first.kind, ExprKind::Name(name) if name == "B") => rest,
        (ArgKind::Extents, _) => return Ok(None),
        _ => list,
    };
    let mut numbers = Vec::new();
    for element in rest {
        if matches!(element.kind, ExprKind::Broken) {
            return Err(Reported);
        }
        match consts.value(element, errors) {
            Some(Number::Int(n)) if n.unsigned_abs() > LARGEST => return Ok(None),
            Some(value @ (Number::Int(_) | Number::Deferred(_))) => numbers.push((element, value)),
            Some(Number::Float(_)) => return Ok(None),
            None => return Err(Reported),
        }
    }
    Ok(Some(numbers))
}

/// `he_normal` or `normal(0.02)`: how weights start.
fn initializer<'a>(
    owner: &str,
    arg: &'static ArgDef,
    expr: &Expr,
    table: &mut Table<'a>,
    consts: &mut Consts<'_>,
    errors: &mut Errors,
) -> Value<'a> {
    let (name, given) = match &expr.kind {
        ExprKind::Name(name) => (name, &[][..]),
        ExprKind::Call(name, given) => (name, &given[..]),
        _ => {
            errors.no_initializer(expr.site, owner, arg, &expr.to_string());
            return Value::Broken;
        }
    };
    let Some(&known) = initializers::ALL.iter().find(|known| known.name == text(name)) else {
        errors.unknown_initializer(name);
        return Value::Broken;
    };
    let declared = known.number.as_slice();
    let names: Vec<&str> = declared.iter().map(|arg| arg.name).collect();
    let given = assign(known.name, &names, names.len(), given, errors);
    let at = table.at(expr.site);
    Value::Init(known, at, values(known.name, declared, &given, expr.site, table, consts, errors))
}

/// A number that is known here.
fn plain(expr: &Expr, consts: &mut Consts<'_>, errors: &mut Errors) -> Option<f64> {
    match consts.number(expr, errors)? {
        Number::Int(n) => Some(n as f64),
        Number::Float(x) if fits_f32(x) => Some(x),
        Number::Float(x) => {
            errors.beyond_f32(expr.site, &expr.to_string(), x);
            None
        }
        Number::Deferred(_) => {
            errors.no_number(expr.site, &expr.to_string());
            None
        }
    }
}
