//! From the declaration as written to one whose names mean something.
//!
//! In: the AST. Out: for each network its [`Definition`], with layers and functions found, blocks written out, and sizes
//! that come from Rust constants left open. Types are not looked at. What is broken is marked so, and was reported.

mod arguments;
mod blocks;
mod body;
mod elsewhere;
mod expressions;
mod flows;
mod loops;
mod parts;
mod sizes;
mod table;

use std::collections::{HashMap, HashSet};

use bumpalo::Bump;
use gradloom_runtime::network::{COLUMNS, Clause, Definition, Extent, Number, Outcome, Port, Scalar, Stage, Value};
use gradloom_runtime::types::DType;
use gradloom_runtime::{functions, layers};
use proc_macro2::Ident;

use crate::ast::{self, ExprKind, Site, text};
use crate::diagnostics::{Errors, Ports};
use crate::parse::DTYPES;
use expressions::Acts;
use sizes::{Binding, Consts};

pub use elsewhere::{Elsewhere, Fragment, Item, Param, Piece};
pub use table::Deferred;
use table::Table;

/// What the IR and profiles call the work of no layer, loss or metric.
const NOT_OF_LAYERS: [&str; 2] = ["optimizer", "accumulation"];

/// The words of structures.
const WORDS: [&str; 6] = ["residual", "repeat", "concat", "scan", "split", "skip"];

/// A network whose names are resolved.
pub struct Network<'a> {
    pub ast: &'a ast::Net,
    pub definition: Definition<'a>,
    /// What each `At` of the definition stands for.
    pub sites: Vec<Site>,
    /// What is left to rustc.
    pub deferred: Deferred,
    /// The arguments of layers that are not left out.
    pub arguments: Vec<Given<'a>>,
    /// The sizes that are chosen when the program runs, unless they are.
    pub defaults: Vec<u64>,
}

/// Everything in a `network! { .. }` that others see.
pub struct Resolved<'a> {
    pub networks: Vec<Network<'a>>,
    pub fragments: Vec<Fragment<'a>>,
}

/// An argument of a layer.
pub struct Given<'a> {
    pub owner: &'static str,
    pub name: &'static str,
    pub value: Value<'a>,
    /// From the name, if it has one, to the value.
    pub site: Site,
}

/// Resolves everything in a `network! { .. }`. The networks live in the arena.
pub fn program<'a>(program: &'a ast::Program, bump: &'a Bump, errors: &mut Errors) -> Resolved<'a> {
    let mut consts = Consts::new(&program.consts, errors);
    definitions(program, errors);
    let items = Items::new(program, errors);
    let mut names = HashSet::new();
    let mut networks = Vec::new();
    for net in &program.nets {
        if !names.insert(text(&net.name)) {
            errors.duplicate_network(&net.name);
            continue;
        }
        errors.begin_network();
        let scope = Scope::new(&items, &mut consts, Table::new(bump), errors);
        networks.push(scope.network(net));
    }
    errors.begin_network();
    Scope::new(&items, &mut consts, Table::new(bump), errors).items();
    let fragments = elsewhere::fragments(&items, &mut consts, bump, errors);
    Resolved { networks, fragments }
}

/// The blocks and functions of a `network! { .. }`, by name; of two with one name the first.
struct Items<'a> {
    program: &'a ast::Program,
    acts: HashMap<String, usize>,
    blocks: HashMap<String, usize>,
    /// Of each block, whether it can be written out.
    sound: Vec<bool>,
}

impl<'a> Items<'a> {
    fn new(program: &'a ast::Program, errors: &mut Errors) -> Items<'a> {
        let mut items = Items { program, acts: HashMap::new(), blocks: HashMap::new(), sound: Vec::new() };
        for (index, act) in program.acts.iter().enumerate() {
            items.acts.entry(text(&act.name)).or_insert(index);
        }
        for (index, block) in program.blocks.iter().enumerate() {
            items.blocks.entry(text(&block.name)).or_insert(index);
        }
        items.sound = blocks::sound(&program.blocks, &items.blocks, errors);
        items
    }
}

/// Names of blocks and functions: once each, and not those of the language.
fn definitions(program: &ast::Program, errors: &mut Errors) {
    let mut names = HashSet::new();
    let acts = program.acts.iter().map(|act| &act.name);
    for name in acts.chain(program.blocks.iter().map(|block| &block.name)) {
        let known = text(name);
        let built_in = layers::ALL.iter().any(|layer| layer.name == known)
            || functions::ALL.iter().any(|function| function.name == known);
        if errors.is_reserved(name) {
            continue;
        }
        if built_in || WORDS.contains(&known.as_str()) {
            errors.name_of_the_language(name);
        } else if !names.insert(known) {
            errors.duplicate_definition(name);
        }
    }
}

/// What is known inside one network.
struct Scope<'s, 'a> {
    items: &'s Items<'a>,
    consts: &'s mut Consts<'a>,
    table: Table<'a>,
    errors: &'s mut Errors,
    /// Ports and values named with `as`.
    names: HashSet<String>,
    /// The paths of the stages without such a name.
    paths: HashSet<String>,
    acts: Acts<'a>,
    arguments: Vec<Given<'a>>,
    ports: Ports,
    /// The lines of the body, if it has any.
    lines: flows::Lines<'a>,
    /// The bodies of loops that are read, the innermost last.
    inner: Vec<loops::Inner<'a>>,
    /// The names in bodies of loops so far.
    of_loops: HashSet<String>,
    /// How many blocks are being written out, inside one another.
    n_blocks: usize,
    /// Blocks that are read on their own, for their mistakes alone.
    alone: Option<Alone>,
    /// The sizes that are chosen when the program runs, unless they are.
    defaults: Vec<u64>,
    /// Those of them that have the name of something else.
    duplicates: HashSet<String>,
    n_stages: usize,
}

/// What was read of blocks that no network uses.
#[derive(Default)]
struct Alone {
    /// The blocks that were read inside of others, with what their arguments stand for.
    read: HashSet<(usize, String)>,
    /// How many stages those had.
    n_stages: usize,
}

impl<'s, 'a> Scope<'s, 'a> {
    fn new(
        items: &'s Items<'a>,
        consts: &'s mut Consts<'a>,
        table: Table<'a>,
        errors: &'s mut Errors,
    ) -> Scope<'s, 'a> {
        let (names, paths) = (HashSet::new(), HashSet::new());
        let (acts, ports) = (Acts::default(), Ports::default());
        let arguments = Vec::new();
        let lines = flows::Lines::default();
        let defaults = Vec::new();
        let (inner, of_loops, n_blocks) = (Vec::new(), HashSet::new(), 0);
        let (alone, n_stages, duplicates) = (None, 0, HashSet::new());
        Scope {
            items,
            consts,
            table,
            errors,
            names,
            paths,
            acts,
            arguments,
            ports,
            lines,
            inner,
            of_loops,
            n_blocks,
            alone,
            defaults,
            duplicates,
            n_stages,
        }
    }

    fn network(mut self, net: &'a ast::Net) -> Network<'a> {
        let name = self.table.str(&text(&net.name));
        self.sizes(&net.sizes);
        let inputs = self.ports(&net.inputs, "x");
        let outputs = self.ports(&net.outputs, "out");
        let scalars = self.scalars(&net.scalars);
        let (mut layers, mut flows) = (&[][..], &[][..]);
        let body = match net.body.stages[..] {
            [] if !net.lines.is_empty() => {
                (layers, flows) = self.lines(net);
                &[][..]
            }
            [] => {
                self.errors.empty_body(net.body.site, &text(&net.name));
                self.broken_body(net.body.site)
            }
            [ast::Stage { kind: ast::StageKind::Broken, .. }] => self.broken_body(net.body.site),
            _ => {
                for (ports, plural) in [(&net.inputs, "inputs"), (&net.outputs, "outputs")] {
                    if let [_, second, ..] = &ports[..] {
                        self.errors.several_ports(second.site, plural);
                    }
                }
                self.body(&net.body, true)
            }
        };
        let (first, more) = match &net.losses[..] {
            [] => (None, &[][..]),
            [first, more @ ..] => (Some(first), more),
        };
        for loss in more {
            self.errors.second_loss(&loss.keyword);
        }
        let targets = first.map(|loss| self.targets(&loss.targets)).unwrap_or_default();
        self.ports = Ports {
            has_named_output: net.outputs.first().is_none_or(|output| output.name.is_some()),
            has_targets: !targets.is_empty(),
            is_function: false,
        };
        let loss = first.map(|loss| self.clause(&loss.keyword, &loss.expr));
        let metrics = self.metrics(&net.metrics);
        self.leftovers(net);
        self.unused_sizes(&net.sizes);
        let Scope { mut table, acts, arguments, defaults, .. } = self;
        let acts = table.list(acts.finish());
        let definition = Definition {
            name,
            inputs,
            outputs,
            targets,
            acts,
            scalars,
            layers,
            body,
            flows,
            loss,
            metrics,
            places: &[],
            assembled: None,
        };
        let sites = std::mem::take(&mut table.sites);
        Network { ast: net, definition, sites, deferred: table.deferred, arguments, defaults }
    }

    /// Blocks and functions on their own, so that a mistake in one that no network uses is not missed.
    fn items(mut self) {
        let program = self.items.program;
        for act in &program.acts {
            self.named_act(&act.name);
        }
        self.alone = Some(Alone::default());
        for block in &program.blocks {
            self.block_alone(block);
        }
    }

    /// Sizes that are chosen when the program runs; here they are what the declaration says.
    fn sizes(&mut self, sizes: &'a [ast::Size]) {
        for (index, size) in sizes.iter().enumerate() {
            let known = text(&size.name);
            let is_reserved = self.errors.is_reserved(&size.name);
            if !is_reserved && self.consts.contains(&size.name) {
                self.errors.duplicate_name(&size.name);
                self.duplicates.insert(known.clone());
            }
            let value = match self.consts.size(&size.default, self.errors) {
                Some(sizes::Value::Deferred(_)) => {
                    self.errors.default_from_rust(size.default.site, &size.default.to_string());
                    Outcome::Unknown
                }
                value => value.map_or(Outcome::Unknown, |value| value.outcome()),
            };
            self.defaults.push(match value {
                Outcome::Int(n) => n as u64,
                _ => 1,
            });
            if !is_reserved {
                let tokens = quote::quote!(__gradloom::Outcome::size(sizes[#index]));
                self.consts.locals.insert(known, Binding::chosen([tokens.clone(), tokens], value));
            }
        }
        self.consts.used.clear();
    }

    fn unused_sizes(&mut self, sizes: &'a [ast::Size]) {
        let used: HashSet<String> = std::mem::take(&mut self.consts.used).into_iter().collect();
        for size in sizes.iter().filter(|size| !used.contains(&text(&size.name))) {
            let is_told = self.duplicates.contains(&text(&size.name));
            if !is_told && !self.errors.is_reserved(&size.name) && !self.errors.is_lost(&size.name) {
                self.errors.never_used(&size.name, "size", &text(&size.name));
            }
        }
        self.consts.locals.clear();
    }

    /// Inputs or outputs.
    fn ports(&mut self, ports: &'a [ast::Port], default: &str) -> &'a [Port<'a>] {
        let ports = ports.iter().map(|port| self.port(port, default)).collect();
        self.table.list(ports)
    }

    fn scalars(&mut self, scalars: &'a [ast::Scalar]) -> &'a [Scalar<'a>] {
        let mut resolved = Vec::new();
        for ast::Scalar { name, value } in scalars {
            self.take(name);
            if let (false, Some(value)) = (matches!(value.kind, ExprKind::Broken), self.plain_number(value)) {
                resolved.push(Scalar { name: self.table.str(&text(name)), value, at: self.table.at(name) });
            }
        }
        self.table.list(resolved)
    }

    fn targets(&mut self, targets: &'a [ast::Port]) -> &'a [Port<'a>] {
        let mut resolved = Vec::new();
        for target in targets {
            if target.name.is_none() {
                self.errors.target_without_name(target.site);
            }
            resolved.push(self.port(target, "target"));
        }
        self.table.list(resolved)
    }

    fn port(&mut self, port: &'a ast::Port, default: &str) -> Port<'a> {
        match &port.name {
            Some(name) => self.take(name),
            None if self.names.insert(default.to_string()) => {}
            None => self.errors.default_name_taken(port.site, default),
        }
        let name = port.name.as_ref().map_or(default.to_string(), text);
        let dtype = port.dtype.as_ref().map_or(Some(DType::F32), |name| self.dtype(name));
        let mut dims: Vec<Extent<'a>> = port.dims.iter().map(|dim| self.extent(dim)).collect();
        if dtype.is_none() {
            // An element type that is not known makes the whole port unknown.
            let at = self.table.at(port.site);
            dims.push(Extent::Size(Number { value: Outcome::Unknown, text: "", at }));
        }
        Port {
            name: self.table.str(&name),
            named: port.name.is_some(),
            dtype: dtype.unwrap_or(DType::F32),
            dims: self.table.list(dims),
            at: self.table.at(port.site),
        }
    }

    fn dtype(&mut self, name: &Ident) -> Option<DType> {
        match text(name).as_str() {
            "f32" => Some(DType::F32),
            "u8" => Some(DType::U8),
            "u16" => Some(DType::U16),
            "u32" => Some(DType::U32),
            _ => {
                self.errors.unknown_dtype(name, &DTYPES);
                None
            }
        }
    }

    fn extent(&mut self, expr: &'a ast::Expr) -> Extent<'a> {
        match &expr.kind {
            ExprKind::Name(name) if name == "B" => Extent::Batch(self.table.at(name)),
            _ => Extent::Size(self.size(expr)),
        }
    }

    /// A size, known or left to rustc.
    fn size(&mut self, expr: &'a ast::Expr) -> Number<'a> {
        match self.consts.size(expr, self.errors) {
            Some(sizes::Value::Deferred(later)) => self.table.number(expr, later),
            value => {
                let value = value.map_or(Outcome::Unknown, |value| value.outcome());
                Number { value, text: self.table.str(&expr.to_string()), at: self.table.at(expr.site) }
            }
        }
    }

    /// Makes a name known, unless it cannot be one.
    fn take(&mut self, name: &Ident) {
        if !self.inner.is_empty() {
            self.take_inside(name);
            return;
        }
        if self.errors.is_reserved(name) {
            self.names.insert(text(name));
        } else if text(name) == "loss" || NOT_OF_LAYERS.contains(&text(name).as_str()) {
            self.errors.name_of_the_language(name);
            self.names.insert(text(name));
        } else if self.paths.contains(&text(name)) || self.consts.contains(name) || !self.names.insert(text(name)) {
            self.errors.duplicate_name(name);
        }
    }

    fn metrics(&mut self, metrics: &'a [ast::Metric]) -> &'a [Clause<'a>] {
        let mut names = HashSet::new();
        let mut clauses = Vec::new();
        for metric in metrics {
            let name = text(&metric.name);
            if name == "loss" {
                self.errors.metric_named_loss(&metric.name);
            } else if COLUMNS.contains(&name.as_str()) || name.starts_with("validation_") {
                self.errors.metric_named_like_a_column(&metric.name);
            } else if NOT_OF_LAYERS.contains(&name.as_str()) {
                self.errors.name_of_the_language(&metric.name);
            } else if !names.insert(text(&metric.name)) {
                self.errors.duplicate_metric(&metric.name);
            } else {
                clauses.push(self.clause(&metric.name, &metric.expr));
            }
        }
        self.table.list(clauses)
    }

    fn clause(&mut self, name: &Ident, written: &'a ast::Expr) -> Clause<'a> {
        let expr = self.expr(written, None);
        Clause { name: self.table.str(&text(name)), expr, at: self.table.at(written.site) }
    }

    /// What stands for a body that makes no sense.
    fn broken_body(&mut self, site: Site) -> &'a [Stage<'a>] {
        let stage = self.broken_stage(site);
        self.table.list(vec![stage])
    }
}
