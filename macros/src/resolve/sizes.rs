//! Numbers of a declaration: consts, sizes, the arguments of blocks, and the numbers among the arguments of layers.
//!
//! Integers are calculated exactly; what overflows, divides by zero or is absurdly large is a mistake. Where a size is
//! wanted, `7 / 2` is 3, as in Rust; where a number is wanted it is 3.5. An argument of a block has both readings. What
//! depends on a Rust constant, or on what is chosen when the program runs, is left to rustc: its value is the tokens that
//! calculate it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use gradloom_runtime::elaborate::LARGEST;
use gradloom_runtime::network::{BinaryOp, Outcome};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use crate::ast::{Const, Expr, ExprKind, Operator, text};
use crate::diagnostics::{Errors, Mistake};

/// How many consts may stand between a const and the numbers it is made of.
const LONGEST_CHAIN: usize = 64;

/// What an expression of sizes comes to.
#[derive(Clone, Debug)]
pub enum Value {
    Int(i64),
    Float(f64),
    Deferred(Later),
}

/// What the compiled program calculates.
#[derive(Clone, Debug)]
pub struct Later {
    /// An `Outcome`.
    pub tokens: TokenStream,
    /// What it comes to with the sizes that the declaration names, if that is known here.
    pub value: Outcome,
    /// Whether a Rust constant is part of it.
    pub is_rust: bool,
}

impl Value {
    /// The tokens of an `Outcome`.
    pub fn to_tokens(&self) -> TokenStream {
        match self {
            Value::Int(n) => quote!(__gradloom::Outcome::Int(#n)),
            Value::Float(x) => quote!(__gradloom::Outcome::Float(#x)),
            Value::Deferred(later) => later.tokens.clone(),
        }
    }

    /// What is known of it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Value::Int(n) => Outcome::Int(*n),
            Value::Float(x) => Outcome::Float(*x),
            Value::Deferred(later) => later.value,
        }
    }
}

/// An `Outcome` of a Rust constant, which is to have this type: `rustc` says so at the user's own token.
fn typed(outcome: &str, ty: &str, path: &TokenStream) -> Value {
    let span = path.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span());
    let (outcome, ty) = (Ident::new(outcome, span), Ident::new(ty, span));
    let ty = quote_spanned!(span=> ::core::primitive::#ty);
    let tokens = quote!(__gradloom::Outcome::#outcome({ let number: #ty = #path; number }));
    Value::Deferred(Later { tokens, value: Outcome::Unknown, is_rust: true })
}

/// What a name inside a block stands for.
#[derive(Clone, Debug)]
pub enum Binding {
    Number {
        size: Reading,
        number: Reading,
    },
    Flag(bool),
    /// Reported, or not known because the block is read on its own.
    Unknown,
}

/// A value, or the mistakes that are reported where somebody wants to read it so.
pub type Reading = Result<Value, Vec<Mistake>>;

/// The consts of a `network! { .. }`, in any order, as in Rust, and the arguments of the block that is being read.
pub struct Consts<'a> {
    known: HashMap<String, (&'a Const, State)>,
    pub locals: HashMap<String, Binding>,
    /// The locals that were looked up.
    pub used: Vec<String>,
    chain: usize,
}

#[derive(Clone)]
enum State {
    Unknown,
    /// Being calculated: whoever meets it now is part of a circle.
    Pending,
    /// `None` after a mistake.
    Known(Option<Value>),
}

impl Binding {
    /// What is chosen when the program runs: as a size and as a number.
    pub fn chosen(tokens: [TokenStream; 2], value: Outcome) -> Binding {
        let [size, number] = tokens.map(|tokens| Ok(Value::Deferred(Later { tokens, value, is_rust: false })));
        Binding::Number { size, number }
    }
}

impl<'a> Consts<'a> {
    /// Calculates all consts, used or not.
    pub fn new(items: &'a [Const], errors: &mut Errors) -> Consts<'a> {
        let mut known: HashMap<String, (&'a Const, State)> = HashMap::new();
        for item in items {
            match known.entry(text(&item.name)) {
                _ if errors.is_reserved(&item.name) => {}
                Entry::Occupied(_) => errors.duplicate_const(&item.name),
                Entry::Vacant(entry) => drop(entry.insert((item, State::Unknown))),
            }
        }
        let mut consts = Consts { known, locals: HashMap::new(), used: Vec::new(), chain: 0 };
        for item in items.iter().filter(|item| consts.known.contains_key(&text(&item.name))).collect::<Vec<_>>() {
            consts.get(&item.name, false, errors);
        }
        consts
    }

    /// Whether there is a const or argument of this name, sound or not.
    pub fn contains(&self, name: &Ident) -> bool {
        let name = text(name);
        self.locals.contains_key(&name) || self.known.contains_key(&name)
    }

    /// The truth value that a name stands for, if it stands for one.
    pub fn flag(&mut self, name: &Ident) -> Option<bool> {
        let Some(Binding::Flag(flag)) = self.locals.get(&text(name)) else { return None };
        let flag = *flag;
        self.used.push(text(name));
        Some(flag)
    }

    /// Whether a name stands for something that is not known.
    pub fn is_unknown(&mut self, name: &Ident) -> bool {
        let unknown = matches!(self.locals.get(&text(name)), Some(Binding::Unknown));
        if unknown {
            self.used.push(text(name));
        }
        unknown
    }

    /// The number that `expr` comes to; a Rust constant in it is a size. `None` if a mistake is reported.
    pub fn value(&mut self, expr: &Expr, errors: &mut Errors) -> Option<Value> {
        self.calculate(expr, false, errors)
    }

    /// The same where numbers with fractions are wanted: a Rust constant is an `f64`.
    pub fn number(&mut self, expr: &Expr, errors: &mut Errors) -> Option<Value> {
        self.calculate(expr, true, errors)
    }

    /// Both at once, for whoever does not know yet what will be wanted. What is wrong with both is reported.
    pub fn binding(&mut self, expr: &Expr, errors: &mut Errors) -> Binding {
        let [size, number] = [false, true].map(|fractions| {
            let (value, mistakes) = errors.attempt(|errors| self.calculate(expr, fractions, errors));
            value.ok_or(mistakes)
        });
        match (size, number) {
            (Err(size), Err(number)) => {
                size.into_iter().chain(number).for_each(|mistake| errors.add(mistake));
                Binding::Unknown
            }
            (size, number) => Binding::Number { size, number },
        }
    }

    fn calculate(&mut self, expr: &Expr, fractions: bool, errors: &mut Errors) -> Option<Value> {
        match &expr.kind {
            ExprKind::Int(n, _) => Some(Value::Int(*n)),
            ExprKind::Float(x, _) => Some(Value::Float(*x)),
            ExprKind::Paren(inner) => self.calculate(inner, fractions, errors),
            ExprKind::Name(name) => self.get(name, fractions, errors),
            ExprKind::Path(_, path) if fractions => Some(typed("Float", "f64", path)),
            ExprKind::Path(_, path) => Some(typed("size", "usize", path)),
            ExprKind::Neg(x) => match self.calculate(x, fractions, errors)? {
                Value::Float(x) => Some(Value::Float(-x)),
                Value::Int(n) => in_range(expr, n.checked_neg().map(Value::Int), errors),
                Value::Deferred(Later { tokens, value, is_rust }) => {
                    Some(Value::Deferred(Later { tokens: quote!(#tokens.neg()), value: value.neg(), is_rust }))
                }
            },
            ExprKind::Binary(op, site, x, y) => {
                // A remainder is one of sizes, whatever is made of it.
                let fractions = fractions && *op != Operator::Rem;
                let (x, y) = (self.calculate(x, fractions, errors), self.calculate(y, fractions, errors));
                match (op, x?, y?) {
                    (Operator::Of(op), ..) if op.is_comparison() || op.is_logical() => {
                        errors.no_number(expr.site, &expr.to_string());
                        None
                    }
                    (Operator::Rem, Value::Float(_), _) | (Operator::Rem, _, Value::Float(_)) => {
                        errors.remainder_of_float(*site);
                        None
                    }
                    (op, x @ Value::Deferred(_), y) | (op, x, y @ Value::Deferred(_)) => {
                        Some(deferred(*op, fractions, &x, &y))
                    }
                    (Operator::Of(BinaryOp::Div), Value::Int(x), Value::Int(y))
                        if fractions && x.checked_rem(y).is_some_and(|rest| rest != 0) =>
                    {
                        floats(expr, *op, x as f64, y as f64, errors)
                    }
                    (_, Value::Int(x), Value::Int(y)) => ints(expr, *op, x, y, errors),
                    (_, Value::Int(x), Value::Float(y)) => floats(expr, *op, x as f64, y, errors),
                    (_, Value::Float(x), Value::Int(y)) => floats(expr, *op, x, y as f64, errors),
                    (_, Value::Float(x), Value::Float(y)) => floats(expr, *op, x, y, errors),
                }
            }
            ExprKind::Flag(_)
            | ExprKind::Text(..)
            | ExprKind::Member(..)
            | ExprKind::Call(..)
            | ExprKind::List(_)
            | ExprKind::Tuple(_)
            | ExprKind::Not(_)
            | ExprKind::Part(..)
            | ExprKind::If(..) => {
                errors.no_number(expr.site, &expr.to_string());
                None
            }
            ExprKind::Elsewhere(foreign, _) => {
                errors.rust_function(expr.site, &foreign.text);
                None
            }
            ExprKind::Broken => None,
        }
    }

    /// The extent that `expr` comes to.
    pub fn size(&mut self, expr: &Expr, errors: &mut Errors) -> Option<Value> {
        match self.value(expr, errors)? {
            Value::Int(n) if n >= 1 && n as u64 > LARGEST => {
                errors.number_too_large(expr.site, &expr.to_string());
                None
            }
            value @ (Value::Int(1..) | Value::Deferred(_)) => Some(value),
            value => {
                errors.size_not_positive(expr.site, &found(expr, &value));
                None
            }
        }
    }

    fn get(&mut self, name: &Ident, fractions: bool, errors: &mut Errors) -> Option<Value> {
        let key = text(name);
        if let Some(binding) = self.locals.get(&key) {
            let binding = binding.clone();
            self.used.push(key);
            return match binding {
                Binding::Number { size, number } => match if fractions { number } else { size } {
                    Ok(value) => Some(value),
                    Err(mistakes) => {
                        mistakes.into_iter().for_each(|mistake| errors.add(mistake));
                        None
                    }
                },
                Binding::Flag(flag) => {
                    errors.no_number(name.into(), &format!("{name} = {flag}"));
                    None
                }
                Binding::Unknown => None,
            };
        }
        let Some((item, state)) = self.known.get_mut(&key) else {
            if key == "B" {
                errors.batch_in_size(name);
            } else if !errors.is_lost(name) {
                let closest = errors.closest(&key, || {
                    let mut known: Vec<&str> =
                        self.known.keys().chain(self.locals.keys()).map(String::as_str).collect();
                    known.sort_unstable();
                    known
                });
                errors.unknown_size(name, closest);
            }
            return None;
        };
        let item = *item;
        match state {
            State::Known(value) => return value.clone(),
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
        // A const knows nothing of the block that happens to ask for it first.
        let locals = std::mem::take(&mut self.locals);
        let value = match self.value(&item.value, errors) {
            Some(Value::Float(_)) => {
                errors.const_not_integer(item.value.site, &item.name, &item.value.to_string());
                None
            }
            value => value,
        };
        self.locals = locals;
        self.chain -= 1;
        self.known.insert(key, (item, State::Known(value.clone())));
        value
    }
}

/// As written, and what it comes to where that is not plain to see.
pub fn found(expr: &Expr, value: &Value) -> String {
    match &expr.kind {
        ExprKind::Int(..) | ExprKind::Float(..) => format!("`{expr}`"),
        ExprKind::Neg(x) if matches!(x.kind, ExprKind::Int(..) | ExprKind::Float(..)) => format!("`{expr}`"),
        _ => gradloom_runtime::elaborate::words::found(&expr.to_string(), value.outcome()),
    }
}

fn deferred(op: Operator, fractions: bool, x: &Value, y: &Value) -> Value {
    let is_rust = [x, y].into_iter().any(|value| matches!(value, Value::Deferred(later) if later.is_rust));
    let (known_x, known_y) = (x.outcome(), y.outcome());
    let (method, value) = match op {
        Operator::Of(BinaryOp::Add) => (quote!(add), known_x.add(known_y)),
        Operator::Of(BinaryOp::Sub) => (quote!(sub), known_x.sub(known_y)),
        Operator::Of(BinaryOp::Mul) => (quote!(mul), known_x.mul(known_y)),
        Operator::Of(BinaryOp::Div) if fractions => (quote!(ratio), known_x.ratio(known_y)),
        Operator::Of(BinaryOp::Div) => (quote!(div), known_x.div(known_y)),
        Operator::Rem => (quote!(rem), known_x.rem(known_y)),
        Operator::Of(_) => unreachable!("truth values are no numbers"),
    };
    let (x, y) = (x.to_tokens(), y.to_tokens());
    Value::Deferred(Later { tokens: quote!(#x.#method(#y)), value, is_rust })
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
        Operator::Of(_) => unreachable!("truth values are no numbers"),
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
