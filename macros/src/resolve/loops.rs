//! Bodies of loops of the user's own: a scope each, in which names are made before they are used, once, and used.

use std::collections::{HashMap, HashSet};

use gradloom_runtime::elaborate::words;
use gradloom_runtime::network::{Expr, Flow, Kind, Scan, Stage};
use proc_macro2::Ident;

use super::Scope;
use super::arguments::{assign, values};
use super::expressions::is_broken;
use super::flows::{made, made_late, of_stage};
use crate::ast::{self, ExprKind, Line, Site, text};

/// What is known of the body of a loop while it is read.
pub(super) struct Inner<'a> {
    lines: &'a [Line],
    /// The element, the state and the numbers, and whatever has been named with `as`.
    known: HashSet<String>,
    /// The line that makes each other name.
    made_by: HashMap<String, usize>,
    /// The line that is read.
    current: usize,
    /// Names that were used.
    used: HashSet<String>,
    /// Whether it sees no names of the network: in a block.
    is_hidden: bool,
}

impl Inner<'_> {
    /// All names of the body.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().chain(self.made_by.keys()).map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.known.contains(name) || self.made_by.contains_key(name)
    }
}

impl<'a> Scope<'_, 'a> {
    /// `scan(64) |x, h| ..`
    pub(super) fn scan(&mut self, scan: &'a ast::Scan, written: &'a ast::Stage) -> Kind<'a> {
        if let Some(inner) = &mut self.inner {
            self.errors.elaborated(written.site, words::loop_in_a_loop(&written.kind.to_string()));
            of_stage(written, &mut inner.used);
            return Kind::Broken;
        }
        let names: Vec<&str> = Scan::ARGS.iter().map(|arg| arg.name).collect();
        let given = assign("scan", &names, names.len(), &scan.args, self.errors);
        let site = written.site;
        let args = values("scan", Scan::ARGS, &given, site, &mut self.table, self.consts, self.errors);
        let mut sound = given.sound;
        for (arg, value) in Scan::ARGS.iter().zip(&given.values) {
            // Made before it is used, in a body of lines, and used.
            if let (Some(ast::Expr { kind: ExprKind::Name(name), .. }), true) = (value, is_value(arg.name)) {
                sound &= self.may_use(name);
            }
        }
        let mut numbers = Vec::new();
        for (name, start) in &scan.extras {
            match self.plain_number(start) {
                Some(start) => numbers.push((self.table.str(&text(name)), start)),
                None => sound = false,
            }
        }
        let (element, state) = (self.table.str(&text(&scan.element)), self.table.str(&text(&scan.state)));
        let at = self.table.at(Site::from(&scan.element).to(&scan.state));
        let (lines, numbers) = (self.steps_of(scan), self.table.list(numbers));
        match sound {
            true => Kind::Scan(self.table.own(Scan { args, element, state, numbers, lines, at })),
            false => Kind::Broken,
        }
    }

    /// The lines of a body; the last one has no name.
    fn steps_of(&mut self, scan: &'a ast::Scan) -> &'a [Flow<'a>] {
        let mut known = HashSet::new();
        for name in scan.names() {
            if !self.errors.is_reserved(name) && !known.insert(text(name)) {
                self.errors.duplicate_name(name);
            }
        }
        let mut made_by = HashMap::new();
        for (index, line) in scan.lines.iter().enumerate() {
            for name in made(line) {
                let is_let = matches!(line, Line::Flow(flow) if flow.is_let);
                if let Line::Flow(_) = line
                    && !is_let
                {
                    self.errors.line_of_a_loop_without_let(name);
                }
                if self.errors.is_reserved(name) {
                    continue;
                }
                if known.contains(&text(name)) || made_by.contains_key(&text(name)) {
                    self.errors.made_twice(name);
                }
                made_by.entry(text(name)).or_insert(index);
            }
        }
        let (used, is_hidden) = (HashSet::new(), self.n_blocks > 0);
        self.inner = Some(Inner { lines: &scan.lines, known, made_by, current: 0, used, is_hidden });
        let mut lines = Vec::new();
        for (index, line) in scan.lines.iter().enumerate() {
            self.inner.iter_mut().for_each(|inner| inner.current = index);
            match line {
                Line::Layer(name, _) => self.errors.layer_in_a_loop(name),
                Line::Flow(flow) => lines.extend(self.flow(flow)),
            }
        }
        self.inner.iter_mut().for_each(|inner| inner.current = scan.lines.len());
        let (sources, stages) = self.made_of(&scan.next.sources, &scan.next.stages);
        lines.push(Flow { name: "", sources, stages, split: None, at: self.table.at(scan.next.site) });
        let Some(inner) = self.inner.take() else { return self.table.list(lines) };
        for (stage, written) in stages.iter().zip(&scan.next.stages) {
            if !stage.named && inner.has(stage.segment) {
                self.errors.stage_called_like_a_value(written.site, stage.segment);
            }
        }
        if lines.len() > scan.lines.len() && lines.iter().all(is_whole) {
            self.unused_inside(scan, &inner);
        }
        self.of_loops.extend(inner.names().map(str::to_string));
        self.table.list(lines)
    }

    /// Names that nothing uses, unless they begin with `_`.
    fn unused_inside(&mut self, scan: &'a ast::Scan, inner: &Inner<'_>) {
        let is_unused = |name: &&Ident| {
            let known = text(name);
            inner.has(&known) && !inner.used.contains(&known) && !known.starts_with('_')
        };
        for name in scan.names().filter(is_unused) {
            if !self.errors.is_lost(name) {
                self.errors.unused_name(name);
            }
        }
        for name in scan.lines.iter().flat_map(made).filter(is_unused) {
            if !self.errors.is_lost(name) {
                self.errors.never_used(name, "flow", &text(name));
            }
        }
    }

    /// Whether an expression does not see this name of the network: in the body of a loop of a block.
    pub(super) fn is_hidden(&self, name: &str) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_hidden && !inner.has(name))
    }

    /// Whether the body that is read has a name.
    pub(super) fn is_inside(&self, name: &str) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.has(name))
    }

    /// In the body of a loop, whether a name of its own may be used where it stands.
    pub(super) fn may_use_inside(&mut self, name: &Ident) -> Option<bool> {
        let known = text(name);
        let inner = self.inner.as_mut()?;
        if !inner.has(&known) {
            return None;
        }
        inner.used.insert(known.clone());
        match inner.made_by.get(&known) {
            Some(&maker) if maker >= inner.current => {
                made_late(name, [maker, inner.current], inner.lines, &inner.made_by, self.errors);
                Some(false)
            }
            _ => Some(true),
        }
    }

    /// Makes a name of a stage known in the body that is read.
    pub(super) fn take_inside(&mut self, name: &Ident) {
        let Some(inner) = &mut self.inner else { return };
        if self.errors.is_reserved(name) {
            return;
        }
        if inner.has(&text(name)) {
            self.errors.made_twice(name);
        }
        inner.known.insert(text(name));
    }
}

/// Whether an argument is the name of a value.
fn is_value(argument: &str) -> bool {
    argument == "initial" || argument == "lengths"
}

/// Whether no mistake is in a line.
fn is_whole(line: &Flow<'_>) -> bool {
    let is_broken_stage = |stage: &Stage<'_>| matches!(stage.kind, Kind::Broken);
    let is_broken_expr = |expr: &Expr<'_>| is_broken(expr);
    !line.sources.iter().any(is_broken_expr) && !line.stages.iter().any(is_broken_stage)
}
