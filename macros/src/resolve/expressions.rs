//! Expressions of losses, metrics and functions: every name found.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::{self, ArgKind, LayerDef};
use gradloom_runtime::network::{Act, Expr, Value, fits_f32};
use proc_macro2::Ident;

use super::arguments::{Assigned, assign, values};
use super::sizes::Value as Number;
use super::{Scope, loops};
use crate::ast::{self, ExprKind, Operator, Site, text};
use crate::diagnostics::Ports;

/// A function of the user's own may stand for this many operations in all, and nest this deeply.
const MOST_OPERATIONS: usize = 10_000;
const DEEPEST: usize = 256;

/// A message lists so many names at most.
const MOST_LISTED: usize = 8;

/// The functions of the user's own that a network uses.
#[derive(Default)]
pub struct Acts<'a> {
    found: Vec<Act<'a>>,
    costs: Vec<Cost>,
    by_name: HashMap<String, State>,
    /// Those that stand for too much or are made of themselves, and those that call them.
    refused: HashSet<String>,
}

/// What a function stands for, with all that it is made of.
#[derive(Clone, Copy, Default)]
struct Cost {
    operations: usize,
    depth: usize,
}

#[derive(Clone, Copy)]
enum State {
    /// Being read: whoever meets it now is part of a circle.
    Pending,
    /// `None` after a mistake.
    Known(Option<usize>),
}

impl<'a> Acts<'a> {
    pub fn get(&self, index: usize) -> &Act<'a> {
        &self.found[index]
    }

    pub fn finish(self) -> Vec<Act<'a>> {
        self.found
    }
}

/// The names inside a function of the user's own, and those of them that were read.
pub struct Own<'o> {
    names: &'o [String],
    used: HashSet<String>,
}

impl<'a> Scope<'_, 'a> {
    /// The function of this name, which the program declares. Those that it calls are read before it, innermost first, so
    /// that a long chain of them needs no deep recursion.
    pub fn named_act(&mut self, name: &Ident) -> Option<usize> {
        let known = text(name);
        match self.acts.by_name.get(&known) {
            Some(State::Known(index)) => return *index,
            Some(State::Pending) => {
                self.errors.recursive_act(name);
                self.acts.refused.insert(known);
                return None;
            }
            None => {}
        }
        let program = self.items.program;
        let calls_of = |act: usize| {
            let mut calls = Vec::new();
            calls_in(&program.acts[act].lambda.body, &mut calls);
            calls.into_iter()
        };
        let mut left: Vec<(usize, std::vec::IntoIter<String>)> = Vec::new();
        let mut next = Some(known.clone());
        loop {
            if let Some(called) = next.take()
                && let Some(&act) = self.items.acts.get(&called)
                && !self.acts.by_name.contains_key(&called)
            {
                self.acts.by_name.insert(called, State::Pending);
                left.push((act, calls_of(act)));
            }
            let Some((act, calls)) = left.last_mut() else { break };
            next = calls.next();
            if next.is_none() {
                let act = &program.acts[*act];
                left.pop();
                // A function knows nothing of the block that happens to use it first.
                let locals = std::mem::take(&mut self.consts.locals);
                let index = self.lambda(Some(&act.name), &act.lambda);
                self.consts.locals = locals;
                self.acts.by_name.insert(text(&act.name), State::Known(index));
            }
        }
        match self.acts.by_name.get(&known) {
            Some(State::Known(index)) => *index,
            _ => None,
        }
    }

    /// A function of the user's own.
    pub fn lambda(&mut self, name: Option<&Ident>, lambda: &'a ast::Lambda) -> Option<usize> {
        let idents = || std::iter::once(&lambda.operand).chain(lambda.extras.iter().map(|(name, _)| name));
        let mut names: Vec<String> = Vec::new();
        for ident in idents() {
            if !self.errors.is_reserved(ident) && names.contains(&text(ident)) {
                self.errors.duplicate_name(ident);
            }
            names.push(text(ident));
        }
        let mut extras = Vec::new();
        let mut sound = true;
        for (extra, start) in &lambda.extras {
            match self.plain_number(start) {
                Some(start) => extras.push((self.table.str(&text(extra)), start)),
                None => sound = false,
            }
        }
        let mut own = Own { names: &names, used: HashSet::new() };
        let expr = self.expr(&lambda.body, Some(&mut own));
        let used = own.used;
        let mut calls = Vec::new();
        calls_in(&lambda.body, &mut calls);
        let calls_refused = calls.iter().any(|called| self.acts.refused.contains(called));
        let cost = self.cost(&expr);
        if calls_refused || cost.operations > MOST_OPERATIONS || cost.depth > DEEPEST {
            // The innermost is told of, and one is enough.
            if !calls_refused {
                self.errors.too_deep(lambda.body.site);
            }
            self.acts.refused.extend(name.map(text));
            return None;
        }
        let whole = !is_broken(&expr);
        for ident in idents().filter(|ident| whole && !used.contains(&text(ident))) {
            self.errors.unused_name(ident);
        }
        if !sound {
            return None;
        }
        let name = name.map(|name| self.table.str(&text(name)));
        let operand = self.table.str(&names[0]);
        self.acts.found.push(Act { name, operand, extras: self.table.list(extras), expr });
        self.acts.costs.push(cost);
        Some(self.acts.found.len() - 1)
    }

    /// How the numbers of a function start unless a stage says otherwise.
    pub fn starts(&self, index: usize) -> &'a [f64] {
        let starts = self.acts.get(index).extras.iter().map(|(_, start)| *start).collect();
        self.table.list(starts)
    }

    /// A number that is known here.
    pub fn plain_number(&mut self, expr: &ast::Expr) -> Option<f64> {
        match self.consts.number(expr, self.errors)? {
            Number::Int(n) => Some(n as f64),
            Number::Float(x) if fits_f32(x) => Some(x),
            Number::Float(x) => {
                self.errors.beyond_f32(expr.site, &expr.to_string(), x);
                None
            }
            Number::Deferred(_) => {
                self.errors.start_from_rust(expr.site, &expr.to_string());
                None
            }
        }
    }

    fn cost(&self, expr: &Expr<'_>) -> Cost {
        let below = |operands: &[&Expr<'_>]| {
            operands.iter().map(|x| self.cost(x)).fold(Cost::default(), |sum, cost| Cost {
                operations: sum.operations.saturating_add(cost.operations),
                depth: sum.depth.max(cost.depth),
            })
        };
        let mut cost = match *expr {
            Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Apply(_, _, _, x) | Expr::Part(_, x, _) => below(&[x]),
            Expr::Binary(_, _, x, y) => below(&[x, y]),
            Expr::If(_, p, x, y) => below(&[p, x, y]),
            Expr::Call(_, _, _, operands) | Expr::Elsewhere(_, operands) => below(&operands.iter().collect::<Vec<_>>()),
            Expr::Inline(index, _, operands) => {
                let own = self.acts.costs[index];
                let operands = below(&operands.iter().collect::<Vec<_>>());
                Cost {
                    operations: own.operations.saturating_add(operands.operations),
                    depth: own.depth + operands.depth,
                }
            }
            _ => Cost::default(),
        };
        cost.operations = cost.operations.saturating_add(1);
        cost.depth += 1;
        cost
    }

    /// An expression; inside a function of the user's own there are its names alone.
    pub fn expr(&mut self, expr: &'a ast::Expr, mut own: Option<&mut Own<'_>>) -> Expr<'a> {
        match &expr.kind {
            ExprKind::Int(n, _) => Expr::Number(*n as f64),
            ExprKind::Float(x, _) if fits_f32(*x) => Expr::Number(*x),
            ExprKind::Float(x, digits) => {
                self.errors.beyond_f32(expr.site, digits, *x);
                Expr::Broken
            }
            ExprKind::Paren(inner) => self.expr(inner, own),
            ExprKind::Name(name) => self.name(name, own),
            ExprKind::Member(_, names) => {
                if names.iter().any(|name| self.errors.is_lost(name)) {
                    return Expr::Broken;
                }
                if own.is_some() {
                    self.errors.parameter_in_function(expr.site, &expr.to_string());
                    return Expr::Broken;
                }
                Expr::Path(self.table.str(&expr.to_string()), self.table.at(expr.site))
            }
            ExprKind::Path(_, tokens) => {
                let at = self.table.at(expr.site);
                self.table.deferred.numbers.insert(at, tokens.clone());
                Expr::Constant(1.0, at)
            }
            ExprKind::Neg(x) => {
                let x = self.expr(x, own);
                Expr::Neg(self.table.at(expr.site), self.table.one(x))
            }
            ExprKind::Not(x) => {
                let x = self.expr(x, own);
                Expr::Not(self.table.at(expr.site), self.table.one(x))
            }
            ExprKind::Binary(op, site, x, y) => {
                let x = self.expr(x, own.as_deref_mut());
                let y = self.expr(y, own);
                let Operator::Of(op) = op else {
                    self.errors.remainder_in_expression(*site);
                    return Expr::Broken;
                };
                Expr::Binary(*op, self.table.at(*site), self.table.one(x), self.table.one(y))
            }
            ExprKind::If(p, x, y) => {
                let [p, x, y] = [p, x, y].map(|part| {
                    let part = self.expr(part, own.as_deref_mut());
                    self.table.one(part)
                });
                Expr::If(self.table.at(expr.site), p, x, y)
            }
            ExprKind::Call(name, args) => self.call(name, args, expr.site, own),
            ExprKind::Elsewhere(foreign, args) => self.call_elsewhere(foreign, args, expr.site, own),
            ExprKind::Part(x, ranges) => self.part(x, ranges, expr.site, own.is_some()),
            ExprKind::Flag(_) | ExprKind::Text(..) | ExprKind::List(_) | ExprKind::Tuple(_) => {
                self.errors.no_value(expr.site, &expr.to_string());
                Expr::Broken
            }
            ExprKind::Broken => Expr::Broken,
        }
    }

    fn name(&mut self, name: &Ident, own: Option<&mut Own<'_>>) -> Expr<'a> {
        let known = text(name);
        let hidden = own.is_none() && self.is_hidden(&known);
        if own.is_none() && !hidden && !self.may_use(name) {
            return Expr::Broken;
        }
        let own = match own {
            None if self.is_inside(&known) => return Expr::Name(self.table.str(&known)),
            Some(own) if own.names.contains(&known) => {
                own.used.insert(known.clone());
                return Expr::Name(self.table.str(&known));
            }
            // Whoever wanted to call something so was told.
            None if known == "weights" && self.names.contains(&known) => return Expr::Broken,
            None if known == "weights" => return Expr::Weights(self.table.at(name)),
            None if !hidden && self.names.contains(&known) => return Expr::Name(self.table.str(&known)),
            own => own.map(|own| own.names),
        };
        if self.consts.contains(name) {
            return self.const_as_number(name);
        }
        if known == "B" {
            self.errors.batch_in_size(name);
        } else if !hidden && self.paths.contains(&known) {
            // What is wrong with it depends on the parameters it has.
            return Expr::Path(self.table.str(&known), self.table.at(name));
        } else if !self.errors.is_lost(name) {
            if own.is_none() && self.of_loops.contains(&known) && self.inner.is_empty() {
                self.errors.value_of_a_loop(name);
                return Expr::Broken;
            }
            let names = || {
                let mut names: Vec<&str> = match own {
                    Some(own) => own.iter().map(String::as_str).collect(),
                    None if hidden => Vec::new(),
                    None => self.names.iter().map(String::as_str).collect(),
                };
                names.extend(loops::seen(&self.inner).filter(|_| own.is_none()).flat_map(loops::Inner::names));
                names.sort_unstable();
                names
            };
            let closest = self.errors.closest(&known, names);
            let listed = if self.names.len() <= MOST_LISTED { names() } else { Vec::new() };
            let ports = Ports { is_function: own.is_some() || !self.inner.is_empty(), ..self.ports };
            self.errors.unknown_name(name, closest, &listed, ports);
        }
        Expr::Broken
    }

    fn const_as_number(&mut self, name: &Ident) -> Expr<'a> {
        let size = ast::Expr { kind: ExprKind::Name(name.clone()), site: name.into(), depth: 1 };
        match self.consts.number(&size, self.errors) {
            Some(Number::Int(n)) => Expr::Number(n as f64),
            Some(Number::Float(x)) if fits_f32(x) => Expr::Number(x),
            Some(Number::Float(x)) => {
                self.errors.beyond_f32(name, &text(name), x);
                Expr::Broken
            }
            Some(Number::Deferred(later)) => {
                let at = self.table.at(name);
                let tokens = later.tokens;
                self.table.deferred.numbers.insert(at, quote::quote!(#tokens.to_f64()));
                let known = later.value.to_f64();
                Expr::Constant(if known.is_finite() { known } else { 1.0 }, at)
            }
            None => Expr::Broken,
        }
    }

    /// A function, an activation as one, or one of the user's own.
    fn call(
        &mut self,
        name: &'a Ident,
        args: &'a [ast::Argument],
        site: Site,
        mut own: Option<&mut Own<'_>>,
    ) -> Expr<'a> {
        let known = text(name);
        if known == "where" {
            return self.choice(name, args, site, own);
        }
        if let Some(&function) = functions::ALL.iter().find(|function| function.name == known) {
            return self.function(function, name, args, site, own);
        }
        if let Some(&layer) = layers::ALL.iter().find(|layer| layer.name == known) {
            return self.activation(layer, name, args, site, own);
        }
        if self.items.acts.contains_key(&known) {
            return self.inline(name, args, site, own);
        }
        // The operands may have mistakes of their own.
        for arg in args {
            self.expr(&arg.value, own.as_deref_mut());
        }
        if self.items.blocks.contains_key(&known) {
            self.errors.layer_as_function(name);
        } else if !self.errors.is_lost(name) {
            let program = self.items.program;
            let acts: OnceCell<Vec<String>> = OnceCell::new();
            let closest = self.errors.closest(&known, || {
                let pure = layers::ALL.iter().filter(|layer| layer.function.is_some()).map(|layer| layer.name);
                let candidates = functions::ALL.iter().map(|function| function.name).chain(pure);
                let acts = acts.get_or_init(|| program.acts.iter().map(|act| text(&act.name)).collect());
                candidates.chain(acts.iter().map(String::as_str))
            });
            self.errors.unknown_function(name, args, closest);
        }
        Expr::Broken
    }

    fn function(
        &mut self,
        function: &'static FunctionDef,
        name: &Ident,
        args: &'a [ast::Argument],
        site: Site,
        own: Option<&mut Own<'_>>,
    ) -> Expr<'a> {
        let (least, more) = function.least_operands();
        // Of any number of operands, those without names; options have names.
        let n_given = args.iter().take_while(|arg| arg.name.is_none()).count();
        let further: Vec<String> = (least.len()..n_given).map(|index| format!("operand {}", index + 1)).collect();
        let further: Vec<&str> = if more { further.iter().map(String::as_str).collect() } else { Vec::new() };
        let operands: Vec<&str> = least.iter().copied().chain(further).collect();
        let options = function.args.iter().map(|arg| arg.name);
        let names: Vec<&str> = operands.iter().copied().chain(options).collect();
        let count = operands.len();
        // What has to be given and is no number needs no name: `reshape(x, [B, 4])`.
        let plain = function.args.iter().take_while(|arg| matches!(arg.kind, ArgKind::Extents)).count();
        let mut given = assign(function.name, &names, count + plain, args, self.errors);
        let options = given.split_off(count);
        let operands = self.operands(function.name, &operands, &given, site, own);
        let at = self.table.at(name);
        let options = values(function.name, function.args, &options, site, &mut self.table, self.consts, self.errors);
        operands.map_or(Expr::Broken, |operands| Expr::Call(function, at, options, operands))
    }

    fn activation(
        &mut self,
        layer: &'static LayerDef,
        name: &Ident,
        args: &'a [ast::Argument],
        site: Site,
        own: Option<&mut Own<'_>>,
    ) -> Expr<'a> {
        if layer.function.is_none() {
            self.errors.layer_as_function(name);
            return Expr::Broken;
        }
        let names: Vec<&str> = std::iter::once("x").chain(layer.args.iter().map(|arg| arg.name)).collect();
        let mut given = assign(layer.name, &names, names.len(), args, self.errors);
        let options = given.split_off(1);
        let operands = self.operands(layer.name, &["x"], &given, site, own);
        let at = self.table.at(name);
        let options: &[Value<'a>] =
            values(layer.name, layer.args, &options, site, &mut self.table, self.consts, self.errors);
        operands.map_or(Expr::Broken, |operands| Expr::Apply(layer, at, options, &operands[0]))
    }

    fn inline(&mut self, name: &Ident, args: &'a [ast::Argument], site: Site, own: Option<&mut Own<'_>>) -> Expr<'a> {
        let Some(index) = self.named_act(name) else { return Expr::Broken };
        let act = self.acts.get(index);
        let names: Vec<&str> = std::iter::once(act.operand).chain(act.extras.iter().map(|(name, _)| *name)).collect();
        let given = assign(&text(name), &names, 1, args, self.errors);
        let missing = names[1..].iter().zip(&given.values[1..]).find(|(_, value)| value.is_none());
        if let (Some((extra, _)), Some(_), true) = (missing, given.values[0], given.sound) {
            self.errors.extra_without_owner(site, &text(name), extra);
            return Expr::Broken;
        }
        let operands = self.operands(&text(name), &names, &given, site, own);
        let at = self.table.at(name);
        operands.map_or(Expr::Broken, |operands| Expr::Inline(index, at, operands))
    }

    pub(super) fn operands(
        &mut self,
        owner: &str,
        names: &[&str],
        given: &Assigned<'a>,
        site: Site,
        mut own: Option<&mut Own<'_>>,
    ) -> Option<&'a [Expr<'a>]> {
        let mut operands = Vec::new();
        for (name, value) in names.iter().zip(&given.values) {
            match value {
                Some(value) => operands.push(self.expr(value, own.as_deref_mut())),
                None if given.sound => self.errors.missing_argument(site, owner, name, ""),
                None => {}
            }
        }
        (given.sound && operands.len() == names.len()).then(|| self.table.list(operands))
    }
}

/// The functions that an expression calls, in the order in which they are resolved.
fn calls_in(expr: &ast::Expr, calls: &mut Vec<String>) {
    match &expr.kind {
        ExprKind::Paren(x) | ExprKind::Neg(x) | ExprKind::Not(x) => calls_in(x, calls),
        ExprKind::Binary(_, _, x, y) => [x, y].into_iter().for_each(|x| calls_in(x, calls)),
        ExprKind::If(p, x, y) => [p, x, y].into_iter().for_each(|x| calls_in(x, calls)),
        ExprKind::Part(x, _) => calls_in(x, calls),
        ExprKind::Elsewhere(_, args) => args.iter().for_each(|arg| calls_in(&arg.value, calls)),
        ExprKind::Call(name, args) => {
            calls.push(text(name));
            args.iter().for_each(|arg| calls_in(&arg.value, calls));
        }
        _ => {}
    }
}

/// Whether anything in an expression is broken.
pub(super) fn is_broken(expr: &Expr<'_>) -> bool {
    match *expr {
        Expr::Broken => true,
        Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Apply(_, _, _, x) | Expr::Part(_, x, _) => is_broken(x),
        Expr::Binary(_, _, x, y) => is_broken(x) || is_broken(y),
        Expr::If(_, p, x, y) => is_broken(p) || is_broken(x) || is_broken(y),
        Expr::Call(_, _, _, operands) | Expr::Inline(_, _, operands) | Expr::Elsewhere(_, operands) => {
            operands.iter().any(is_broken)
        }
        Expr::Number(_) | Expr::Constant(..) | Expr::Name(_) | Expr::Path(..) | Expr::Weights(_) => false,
    }
}
