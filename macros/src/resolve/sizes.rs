//! Numbers that are known when the network is declared: consts, sizes and the numbers among the arguments.
//!
//! Integers are calculated exactly; what overflows, divides by zero or is absurdly large is a mistake.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use gradloom_runtime::network::BinaryOp;
use proc_macro2::Ident;

use crate::ast::{Const, Expr, ExprKind, Operator, text};
use crate::diagnostics::{Errors, closest};

/// No extent, and no product of extents, is larger than this.
pub const LARGEST: u64 = 1 << 40;

/// How many consts may stand between a const and the numbers it is made of.
const LONGEST_CHAIN: usize = 64;

/// What an expression of sizes comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Float(f64),
}

impl Value {
    pub fn to_f64(self) -> f64 {
        match self {
            Value::Int(n) => n as f64,
            Value::Float(x) => x,
        }
    }
}

/// The consts of a `network! { .. }`, in any order, as in Rust.
pub struct Consts<'a> {
    known: HashMap<String, (&'a Const, State)>,
    chain: usize,
}

#[derive(Clone, Copy)]
enum State {
    Unknown,
    /// Being calculated: whoever meets it now is part of a circle.
    Pending,
    /// `None` after a mistake.
    Known(Option<i64>),
}

impl<'a> Consts<'a> {
    /// Calculates all consts, used or not.
    pub fn new(items: &'a [Const], errors: &mut Errors) -> Consts<'a> {
        let mut known: HashMap<String, (&'a Const, State)> = HashMap::new();
        for item in items {
            match known.entry(text(&item.name)) {
                _ if item.name == "B" => errors.name_is_batch(&item.name),
                Entry::Occupied(_) => errors.duplicate_const(&item.name),
                Entry::Vacant(entry) => drop(entry.insert((item, State::Unknown))),
            }
        }
        let mut consts = Consts { known, chain: 0 };
        for item in items.iter().filter(|item| item.name != "B") {
            consts.get(&item.name, errors);
        }
        consts
    }

    /// Whether there is a const of this name, sound or not.
    pub fn contains(&self, name: &Ident) -> bool {
        self.known.contains_key(&text(name))
    }

    /// The number that `expr` comes to. `None` if a mistake is reported.
    pub fn value(&mut self, expr: &Expr, errors: &mut Errors) -> Option<Value> {
        match &expr.kind {
            ExprKind::Int(n, _) => Some(Value::Int(*n)),
            ExprKind::Float(x, _) => Some(Value::Float(*x)),
            ExprKind::Paren(inner) => self.value(inner, errors),
            ExprKind::Name(name) => self.get(name, errors).map(Value::Int),
            ExprKind::Neg(x) => match self.value(x, errors)? {
                Value::Float(x) => Some(Value::Float(-x)),
                Value::Int(n) => in_range(expr, n.checked_neg().map(Value::Int), errors),
            },
            ExprKind::Binary(op, site, x, y) => {
                let (x, y) = (self.value(x, errors), self.value(y, errors));
                match (op, x?, y?) {
                    (Operator::Of(op), ..) if op.is_comparison() => {
                        errors.no_number(expr.site, &expr.to_string());
                        None
                    }
                    (Operator::Rem, Value::Float(_), _) | (Operator::Rem, _, Value::Float(_)) => {
                        errors.remainder_of_float(*site);
                        None
                    }
                    (_, Value::Int(x), Value::Int(y)) => ints(expr, *op, x, y, errors),
                    (_, x, y) => floats(expr, *op, x.to_f64(), y.to_f64(), errors),
                }
            }
            ExprKind::Flag(_) | ExprKind::Text(..) | ExprKind::Member(_) | ExprKind::Call(..) => {
                errors.no_number(expr.site, &expr.to_string());
                None
            }
            ExprKind::Broken => None,
        }
    }

    /// The extent that `expr` comes to.
    pub fn size(&mut self, expr: &Expr, errors: &mut Errors) -> Option<u64> {
        match self.value(expr, errors)? {
            Value::Int(n) if n >= 1 && n as u64 <= LARGEST => Some(n as u64),
            Value::Int(n) if n >= 1 => {
                errors.number_too_large(expr.site, &expr.to_string());
                None
            }
            value => {
                errors.size_not_positive(expr.site, &found(expr, value));
                None
            }
        }
    }

    fn get(&mut self, name: &Ident, errors: &mut Errors) -> Option<i64> {
        let key = text(name);
        let Some((item, state)) = self.known.get_mut(&key) else {
            if key == "B" {
                errors.batch_in_size(name);
            } else if !errors.is_lost(name) {
                errors.unknown_size(name, closest(&key, self.known.keys().map(String::as_str)));
            }
            return None;
        };
        let item = *item;
        match state {
            State::Known(value) => return *value,
            State::Pending => {
                errors.recursive_const(name);
                return None;
            }
            State::Unknown if self.chain >= LONGEST_CHAIN => {
                errors.too_deep(name);
                return None;
            }
            State::Unknown => *state = State::Pending,
        }
        self.chain += 1;
        let value = match self.value(&item.value, errors) {
            Some(Value::Int(n)) => Some(n),
            Some(Value::Float(_)) => {
                errors.const_not_integer(item.value.site, &item.name, &item.value.to_string());
                None
            }
            None => None,
        };
        self.chain -= 1;
        self.known.insert(key, (item, State::Known(value)));
        value
    }
}

/// As written, and what it comes to where that is not plain to see.
pub fn found(expr: &Expr, value: Value) -> String {
    match (&expr.kind, value) {
        (ExprKind::Int(..) | ExprKind::Float(..), _) => format!("`{expr}`"),
        (ExprKind::Neg(x), _) if matches!(x.kind, ExprKind::Int(..) | ExprKind::Float(..)) => format!("`{expr}`"),
        (_, Value::Int(n)) => format!("`{expr}` = {n}"),
        (_, Value::Float(x)) => format!("`{expr}` = {x}"),
    }
}

fn ints(expr: &Expr, op: Operator, x: i64, y: i64, errors: &mut Errors) -> Option<Value> {
    let divides = matches!(op, Operator::Rem | Operator::Of(BinaryOp::Div));
    if divides && y == 0 {
        errors.division_by_zero(expr.site, &expr.to_string());
        return None;
    }
    let result = match op {
        Operator::Of(BinaryOp::Add) => x.checked_add(y),
        Operator::Of(BinaryOp::Sub) => x.checked_sub(y),
        Operator::Of(BinaryOp::Mul) => x.checked_mul(y),
        Operator::Of(BinaryOp::Div) => x.checked_div(y),
        Operator::Rem => x.checked_rem(y),
        Operator::Of(_) => unreachable!("comparisons are no numbers"),
    };
    in_range(expr, result.map(Value::Int), errors)
}

fn floats(expr: &Expr, op: Operator, x: f64, y: f64, errors: &mut Errors) -> Option<Value> {
    let result = match op {
        Operator::Of(BinaryOp::Add) => x + y,
        Operator::Of(BinaryOp::Sub) => x - y,
        Operator::Of(BinaryOp::Mul) => x * y,
        Operator::Of(BinaryOp::Div) if y == 0.0 => {
            errors.division_by_zero(expr.site, &expr.to_string());
            return None;
        }
        Operator::Of(BinaryOp::Div) => x / y,
        Operator::Rem | Operator::Of(_) => unreachable!("these take integers or give no numbers"),
    };
    in_range(expr, Some(Value::Float(result)).filter(|_| result.is_finite()), errors)
}

fn in_range(expr: &Expr, value: Option<Value>, errors: &mut Errors) -> Option<Value> {
    if value.is_none() {
        errors.size_overflows(expr.site, &expr.to_string());
    }
    value
}
