//! Bodies of loops of the user's own: a scope each, in which names are made before they are used, once, and used.

use std::collections::{HashMap, HashSet};

use gradloom_runtime::network::{Expr, Flow, Kind, Scan, Stage};
use proc_macro2::Ident;

use super::Scope;
use super::arguments::{assign, values};
use super::expressions::is_broken;
use super::flows::{made, made_late};
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
    /// In how many blocks, inside one another, it is: in a block it sees nothing of what is outside.
    depth: usize,
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

/// Of the bodies that are read, those whose names the innermost sees, from that one on.
pub(super) fn seen<'i, 'a>(bodies: &'i [Inner<'a>]) -> impl Iterator<Item = &'i Inner<'a>> {
    let depth = bodies.last().map(|inner| inner.depth);
    bodies.iter().rev().take_while(move |inner| Some(inner.depth) == depth)
}

impl<'a> Scope<'_, 'a> {
    /// `scan(64) |x, h| ..`
    pub(super) fn scan(&mut self, scan: &'a ast::Scan, written: &'a ast::Stage) -> Kind<'a> {
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
        let (used, depth) = (HashSet::new(), self.n_blocks);
        self.inner.push(Inner { lines: &scan.lines, known, made_by, current: 0, used, depth });
        let mut lines = Vec::new();
        for (index, line) in scan.lines.iter().enumerate() {
            self.inner.last_mut().into_iter().for_each(|inner| inner.current = index);
            match line {
                Line::Layer(name, _) => self.errors.layer_in_a_loop(name),
                Line::Flow(flow) => lines.extend(self.flow(flow)),
            }
        }
        self.inner.last_mut().into_iter().for_each(|inner| inner.current = scan.lines.len());
        let (sources, stages) = self.made_of(&scan.next.sources, &scan.next.stages);
        lines.push(Flow { name: "", sources, stages, split: None, at: self.table.at(scan.next.site) });
        let Some(inner) = self.inner.pop() else { return self.table.list(lines) };
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
        self.inner.last().is_some_and(|inner| inner.depth > 0) && !self.is_inside(name)
    }

    /// Whether the body that is read, or one around it, has a name.
    pub(super) fn is_inside(&self, name: &str) -> bool {
        seen(&self.inner).any(|inner| inner.has(name))
    }

    /// In the body of a loop, whether a name of its own, or of one around it, may be used where it stands.
    pub(super) fn may_use_inside(&mut self, name: &Ident) -> Option<bool> {
        let known = text(name);
        let out = seen(&self.inner).position(|inner| inner.has(&known))?;
        let inner = self.inner.iter_mut().rev().nth(out)?;
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
        let Some(inner) = self.inner.last_mut() else { return };
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
