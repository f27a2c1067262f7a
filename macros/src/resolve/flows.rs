//! Bodies of named flows: every name made before it is used, once, and used.

use std::collections::{HashMap, HashSet};

use gradloom_runtime::functions;
use gradloom_runtime::functions::CONCAT;
use gradloom_runtime::layers;
use gradloom_runtime::network::{Expr, Flow, Number, Outcome, Split, Stage};
use proc_macro2::Ident;

use super::arguments::{Assigned, assign, values};
use super::body::Names;
use super::{Scope, WORDS};
use crate::ast::{self, ExprKind, Line, Site, StageKind, text};
use crate::diagnostics::Errors;

/// What is known of the lines of a body while they are read.
#[derive(Default)]
pub(super) struct Lines<'a> {
    lines: &'a [Line],
    /// The line that makes each name.
    made_by: HashMap<String, usize>,
    /// The line that is read.
    current: Option<usize>,
    /// The layers with names so far, by index.
    layers: HashMap<String, Option<usize>>,
    /// Names that were used.
    used: HashSet<String>,
    /// Whether there are blocks from elsewhere, in which anything may be a mask: then `build` says what nothing uses.
    pub is_open: bool,
}

impl<'a> Scope<'_, 'a> {
    /// The layers with names and the flows of a body.
    pub(super) fn lines(&mut self, net: &'a ast::Net) -> (&'a [Stage<'a>], &'a [Flow<'a>]) {
        self.lines = Lines { lines: &net.lines, ..Lines::default() };
        let outputs: HashSet<String> = net.outputs.iter().map(|port| port_name(port, "out")).collect();
        for (index, line) in net.lines.iter().enumerate() {
            match line {
                Line::Layer(name, _) => self.new_layer_name(name),
                Line::Flow(flow) => flow.names.iter().for_each(|name| self.new_flow_name(name, flow.is_let, &outputs)),
            }
            for name in made(line) {
                self.lines.made_by.entry(text(name)).or_insert(index);
            }
        }
        let (mut layers, mut flows) = (Vec::new(), Vec::new());
        for (index, line) in net.lines.iter().enumerate() {
            self.lines.current = Some(index);
            match line {
                Line::Layer(name, stage) => {
                    let layer = self.shared_layer(name, stage);
                    self.lines.layers.entry(text(name)).or_insert(Some(layers.len()));
                    layers.push(layer);
                }
                Line::Flow(flow) => flows.extend(self.flow(flow)),
            }
        }
        self.lines.current = None;
        (self.table.list(layers), self.table.list(flows))
    }

    /// A name that `let` makes, or that of an output.
    fn new_flow_name(&mut self, name: &Ident, is_let: bool, outputs: &HashSet<String>) {
        let known = text(name);
        if outputs.contains(&known) {
            if is_let {
                self.errors.output_with_let(name);
            } else if self.lines.made_by.contains_key(&known) {
                self.errors.made_twice(name);
            }
        } else if self.lines.made_by.contains_key(&known) {
            self.errors.made_twice(name);
        } else {
            if !is_let {
                let closest = self.errors.closest(&known, || {
                    let mut names: Vec<&str> = outputs.iter().map(String::as_str).collect();
                    names.sort_unstable();
                    names
                });
                self.errors.flow_without_let(name, closest);
                // It is known from here on, and one mistake is enough.
                self.lines.used.insert(known);
            }
            self.take(name);
        }
    }

    fn new_layer_name(&mut self, name: &Ident) {
        let known = text(name);
        let is_built_in = layers::ALL.iter().any(|layer| layer.name == known)
            || functions::ALL.iter().any(|function| function.name == known)
            || WORDS.contains(&known.as_str());
        if is_built_in {
            self.errors.name_of_the_language(name);
            self.lines.used.insert(known);
        } else if self.lines.made_by.contains_key(&known) {
            self.errors.made_twice(name);
        } else if self.items.blocks.contains_key(&known) || self.items.acts.contains_key(&known) {
            self.errors.duplicate_name(name);
        } else {
            self.take(name);
        }
    }

    /// Whether a name may be used where it stands: it is not made by this line or by a later one.
    pub(super) fn may_use(&mut self, name: &Ident) -> bool {
        if let Some(may) = self.may_use_inside(name) {
            return may;
        }
        let known = text(name);
        self.lines.used.insert(known.clone());
        let (Some(&maker), Some(current)) = (self.lines.made_by.get(&known), self.lines.current) else { return true };
        if matches!(self.lines.lines[maker], Line::Layer(..)) {
            self.errors.layer_as_function(name);
            return false;
        }
        if maker < current {
            return true;
        }
        self.made_late(name, maker, current);
        false
    }

    /// Says that a line uses what this one or a later one makes.
    fn made_late(&mut self, name: &Ident, maker: usize, current: usize) {
        made_late(name, [maker, current], self.lines.lines, &self.lines.made_by, self.errors);
    }

    /// The layer of this name, if one is declared; nothing inside after a mistake.
    pub(super) fn named_layer(&mut self, name: &Ident) -> Option<Option<usize>> {
        let known = text(name);
        let &maker = self.lines.made_by.get(&known)?;
        if !matches!(self.lines.lines[maker], Line::Layer(..)) {
            return None;
        }
        self.lines.used.insert(known.clone());
        match self.lines.layers.get(&known) {
            Some(&index) => Some(index),
            None => {
                let current = self.lines.current.unwrap_or(maker);
                self.made_late(name, maker, current);
                Some(None)
            }
        }
    }

    /// `layer name = stage;`
    fn shared_layer(&mut self, name: &'a Ident, stage: &'a ast::Stage) -> Stage<'a> {
        if let Some(alias) = &stage.alias {
            self.errors.named_layer_with_alias(alias);
        }
        let resolved = self.stage(stage, &mut Names::default());
        Stage { segment: self.table.str(&text(name)), named: false, ..resolved }
    }

    pub(super) fn flow(&mut self, flow: &'a ast::Flow) -> Option<Flow<'a>> {
        let first = flow.names.first()?;
        let mut written = (&flow.sources[..], &flow.stages[..]);
        let split = match flow.names.len() {
            1 => None,
            _ => Some(self.split(flow, &mut written)?),
        };
        let (sources, stages) = self.made_of(written.0, written.1);
        Some(Flow { name: self.table.str(&text(first)), sources, stages, split, at: self.table.at(first) })
    }

    /// What flows in, and what it goes through.
    pub(super) fn made_of(
        &mut self,
        sources: &'a [ast::Expr],
        written: &'a [ast::Stage],
    ) -> (&'a [Expr<'a>], &'a [Stage<'a>]) {
        let sources: Vec<Expr<'a>> = sources.iter().map(|source| self.expr(source, None)).collect();
        let mut names = Names::default();
        let stages: Vec<Stage<'a>> = written.iter().map(|stage| self.stage(stage, &mut names)).collect();
        for alias in written.iter().filter_map(|stage| stage.alias.as_ref()) {
            self.take(alias);
        }
        (self.table.list(sources), self.table.list(stages))
    }

    /// The names of the parts that a line takes a value into, which is then all that is left of the line.
    fn split(&mut self, flow: &'a ast::Flow, written: &mut (&'a [ast::Expr], &'a [ast::Stage])) -> Option<Split<'a>> {
        let first = flow.names.first()?;
        let (args, site, end) = match (&flow.sources[..], &flow.stages[..]) {
            (_, [before @ .., last]) => match &last.kind {
                StageKind::Call(name, args) if name == "split" => {
                    *written = (&flow.sources, before);
                    (&args[..], last.site, Site::from(name))
                }
                StageKind::Broken => return None,
                _ => {
                    self.errors.several_names(first);
                    return None;
                }
            },
            ([source], []) => match &source.kind {
                ExprKind::Call(name, args) if name == "split" => match &args[..] {
                    [ast::Argument { name: None, value }, rest @ ..] => {
                        *written = (std::slice::from_ref(value), &[]);
                        (rest, source.site, Site::from(name))
                    }
                    _ => {
                        self.errors.missing_argument(source.site, "split", "x", "what is taken apart");
                        return None;
                    }
                },
                ExprKind::Broken => return None,
                _ => {
                    self.errors.several_names(first);
                    return None;
                }
            },
            _ => {
                self.errors.several_names(first);
                return None;
            }
        };
        let names: Vec<&str> = CONCAT.args.iter().map(|arg| arg.name).collect();
        let given: Assigned<'a> = assign("split", &names, names.len(), args, self.errors);
        let values = values("split", CONCAT.args, &given, site, &mut self.table, self.consts, self.errors);
        // After a mistake in it, the value that is taken apart is used all the same.
        let unknown = Number { value: Outcome::Unknown, text: "?", at: self.table.at(site) };
        let axis = self.axis(values, &given, site).unwrap_or(unknown);
        let names: Vec<&'a str> = flow.names.iter().map(|name| self.table.str(&text(name))).collect();
        Some(Split { names: self.table.list(names), axis, at: self.table.at(end) })
    }

    /// What is left over once all expressions are read: outputs that no line makes, and what nothing uses.
    pub(super) fn leftovers(&mut self, net: &'a ast::Net) {
        for scalar in &net.scalars {
            if !self.lines.used.contains(&text(&scalar.name)) && !self.errors.is_lost(&scalar.name) {
                self.errors.never_used(&scalar.name, "scalar", &text(&scalar.name));
            }
        }
        if net.lines.is_empty() {
            return;
        }
        for port in &net.outputs {
            let name = port_name(port, "out");
            let is_lost = port.name.as_ref().is_some_and(|name| self.errors.is_lost(name));
            if !self.lines.made_by.contains_key(&name) && !is_lost {
                self.errors.output_not_made(port.name.as_ref().map_or(port.site, Site::from), &name);
            }
        }
        let outputs: HashSet<String> = net.outputs.iter().map(|port| port_name(port, "out")).collect();
        let is_used = |scope: &Self, name: &Ident| scope.lines.used.contains(&text(name)) || scope.errors.is_lost(name);
        for port in net.inputs.iter().filter(|_| !self.lines.is_open) {
            let name = port_name(port, "x");
            let used =
                self.lines.used.contains(&name) || port.name.as_ref().is_some_and(|name| self.errors.is_lost(name));
            if !used {
                self.errors.never_used(port.name.as_ref().map_or(port.site, Site::from), "input", &name);
            }
        }
        for line in &net.lines {
            let what = match line {
                Line::Layer(..) => "layer",
                Line::Flow(_) if self.lines.is_open => continue,
                Line::Flow(_) => "flow",
            };
            for name in made(line).filter(|name| !outputs.contains(&text(name))) {
                if !is_used(self, name) {
                    self.errors.never_used(name, what, &text(name));
                }
            }
        }
    }
}

/// Says that a line uses what this one or a later one makes: `[maker, current]` of these lines.
pub(super) fn made_late(
    name: &Ident,
    [maker, current]: [usize; 2],
    lines: &[Line],
    made_by: &HashMap<String, usize>,
    errors: &mut Errors,
) {
    if maker == current {
        errors.made_of_itself(name);
        return;
    }
    // Whether the later line needs, by whatever way, what this one makes.
    let mut open = vec![maker];
    let mut seen = HashSet::new();
    while let Some(line) = open.pop() {
        if seen.insert(line) {
            let needs = lines.get(line).map(mentioned).unwrap_or_default();
            open.extend(needs.iter().filter_map(|name| made_by.get(name)).copied());
        }
    }
    match lines.get(current) {
        Some(line) if seen.contains(&current) => {
            let here = made(line).map(text).next().unwrap_or_default();
            errors.circle(name, &[&here, &text(name)]);
        }
        _ => errors.used_before_made(name),
    }
}

/// The name of a port, which it may have by default.
fn port_name(port: &ast::Port, default: &str) -> String {
    port.name.as_ref().map_or(default.to_string(), text)
}

/// The names that a line makes.
pub(super) fn made(line: &Line) -> impl Iterator<Item = &Ident> {
    match line {
        Line::Layer(name, _) => std::slice::from_ref(name).iter(),
        Line::Flow(flow) => flow.names.iter(),
    }
}

/// The names that a line mentions: of values and of layers.
fn mentioned(line: &Line) -> HashSet<String> {
    let mut names = HashSet::new();
    match line {
        Line::Layer(_, stage) => of_stage(stage, &mut names),
        Line::Flow(flow) => {
            flow.sources.iter().for_each(|source| of_expr(source, &mut names));
            flow.stages.iter().for_each(|stage| of_stage(stage, &mut names));
        }
    }
    names
}

pub(super) fn of_stage(stage: &ast::Stage, names: &mut HashSet<String>) {
    let mut of_body = |body: &ast::Body| body.stages.iter().for_each(|stage| of_stage(stage, names));
    match &stage.kind {
        StageKind::Call(name, _) => drop(names.insert(text(name))),
        StageKind::Residual(body, skip) => {
            of_body(body);
            skip.iter().for_each(of_body);
        }
        StageKind::Repeat(_, body) | StageKind::Body(body) => of_body(body),
        StageKind::Concat(bodies) => bodies.iter().for_each(of_body),
        StageKind::Scan(scan) => {
            scan.args.iter().map(|arg| &arg.value).chain(scan.sources()).for_each(|expr| of_expr(expr, names));
            scan.stages().for_each(|stage| of_stage(stage, names));
        }
        StageKind::Elsewhere(..) | StageKind::Lambda(_) | StageKind::Broken => {}
    }
}

fn of_expr(expr: &ast::Expr, names: &mut HashSet<String>) {
    match &expr.kind {
        ExprKind::Name(name) => drop(names.insert(text(name))),
        ExprKind::Paren(x) | ExprKind::Neg(x) | ExprKind::Not(x) | ExprKind::Part(x, _) => of_expr(x, names),
        ExprKind::Binary(_, _, x, y) => [x, y].into_iter().for_each(|x| of_expr(x, names)),
        ExprKind::If(p, x, y) => [p, x, y].into_iter().for_each(|x| of_expr(x, names)),
        ExprKind::Call(_, args) | ExprKind::Elsewhere(_, args) => {
            args.iter().for_each(|arg| of_expr(&arg.value, names))
        }
        _ => {}
    }
}
