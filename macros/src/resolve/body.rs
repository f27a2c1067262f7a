//! Stages: layers and functions found, blocks written out, and a path for each.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use gradloom_runtime::elaborate::MOST_STAGES;
use gradloom_runtime::functions;
use gradloom_runtime::layers::{self, Arg, ArgKind, LayerDef};
use gradloom_runtime::network::{Kind, Number, Outcome, Stage, Value};
use proc_macro2::Ident;

use super::arguments::{Assigned, assign, values};
use super::sizes::Binding;
use super::{Given, Scope};
use crate::ast::{self, ExprKind, Site, StageKind, text};

/// The names of one body: how many stages of a kind there are, and what is taken.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<String, usize>,
    taken: HashSet<String>,
}

impl<'a> Scope<'_, 'a> {
    /// The stages of a body that has some. Names of the outermost body share a space with ports, and expressions know them
    /// as they are.
    pub(super) fn body(&mut self, body: &'a ast::Body, outermost: bool) -> &'a [Stage<'a>] {
        let mut names = Names::default();
        let stages: Vec<Stage<'a>> = body.stages.iter().map(|stage| self.stage(stage, &mut names)).collect();
        let unnamed = stages.iter().filter(|stage| !stage.named).map(|stage| stage.segment.to_string());
        if outermost {
            for (stage, written) in stages.iter().zip(&body.stages) {
                if !stage.named && self.names.contains(stage.segment) {
                    self.errors.path_taken(written.site, stage.segment);
                }
            }
            self.paths.extend(unnamed);
        } else {
            names.taken.extend(unnamed);
        }
        for alias in body.stages.iter().filter_map(|stage| stage.alias.as_ref()) {
            if outermost {
                self.take(alias);
            } else if !self.errors.is_reserved(alias) && (text(alias) == "skip" || !names.taken.insert(text(alias))) {
                self.errors.duplicate_name(alias);
            }
        }
        self.table.list(stages)
    }

    /// Numbers count all stages of a kind, so that naming one of them does not rename the others.
    pub(super) fn stage(&mut self, written: &'a ast::Stage, names: &mut Names) -> Stage<'a> {
        self.n_stages += 1;
        let mut found_at = None;
        let (kind, stem) = match &written.kind {
            _ if self.n_stages > MOST_STAGES => (self.too_many(written.site), String::new()),
            StageKind::Call(name, args) => self.call_stage(name, args, written.site),
            StageKind::Elsewhere(foreign, args) => {
                let (kind, at) = self.stage_elsewhere(foreign, args, written.site);
                found_at = Some(at);
                (kind, stem(&snake_case(&text(&foreign.name))))
            }
            StageKind::Lambda(lambda) => {
                let index = self.lambda(None, lambda);
                let kind = index.map_or(Kind::Broken, |index| Kind::Act(index, self.starts(index)));
                (kind, "lambda".to_string())
            }
            StageKind::Residual(body, skip) => {
                let body = self.inner(body, "residual");
                let skip = skip.as_ref().map(|skip| self.inner(skip, "skip"));
                (Kind::Residual { body, skip }, "residual".to_string())
            }
            StageKind::Repeat(args, body) => {
                let count = self.count(args, written.site);
                (Kind::Repeat { count, body: self.inner(body, "repeat") }, "repeat".to_string())
            }
            StageKind::Concat(bodies) => {
                let bodies: Vec<&'a [Stage<'a>]> = bodies.iter().map(|body| self.inner(body, "concat")).collect();
                (Kind::Branches { bodies: self.table.list(bodies) }, "concat".to_string())
            }
            StageKind::Scan(scan) => (self.scan(scan, written), "scan".to_string()),
            StageKind::Body(body) => (Kind::Block(self.inner(body, "{ .. }")), "layer".to_string()),
            StageKind::Broken => return self.broken_stage(written.site),
        };
        let number = names.numbers.entry(stem.clone()).or_default();
        *number += 1;
        let segment = written.alias.as_ref().map_or_else(|| format!("{stem}{number}"), text);
        Stage {
            kind,
            segment: self.table.str(&segment),
            named: written.alias.is_some(),
            text: self.table.str(&written.kind.to_string()),
            at: found_at.unwrap_or_else(|| self.table.at(written.site)),
        }
    }

    pub(super) fn broken_stage(&mut self, site: Site) -> Stage<'a> {
        Stage { kind: Kind::Broken, segment: "", named: false, text: "?", at: self.table.at(site) }
    }

    /// Said once; nested blocks can grow beyond all bounds.
    fn too_many(&mut self, site: Site) -> Kind<'a> {
        if self.n_stages == MOST_STAGES + 1 {
            self.errors.too_many_stages(site);
        }
        Kind::Broken
    }

    /// The body of a structure.
    fn inner(&mut self, body: &'a ast::Body, owner: &str) -> &'a [Stage<'a>] {
        if body.stages.is_empty() {
            self.errors.empty_body(body.site, owner);
            return self.broken_body(body.site);
        }
        self.body(body, false)
    }

    /// The number in `repeat(n)`.
    fn count(&mut self, args: &'a [ast::Argument], site: Site) -> Number<'a> {
        let given = assign("repeat", &["n"], 1, args, self.errors);
        match given.values[0] {
            Some(expr) => self.size(expr),
            None => {
                if given.sound {
                    self.errors.missing_argument(site, "repeat", "n", "how often");
                }
                Number { value: Outcome::Unknown, text: "?", at: self.table.at(site) }
            }
        }
    }

    /// A layer, an activation, a function of the user's own or a block, and the stem of its path.
    fn call_stage(&mut self, name: &'a Ident, args: &'a [ast::Argument], site: Site) -> (Kind<'a>, String) {
        let known = text(name);
        if let Some(&layer) = layers::ALL.iter().find(|layer| layer.name == known) {
            return (self.layer_stage(layer, args, site), layer.stem.to_string());
        }
        if let Some(index) = self.named_layer(name) {
            let given = assign(&known, &[], 0, args, self.errors);
            return (index.filter(|_| given.sound).map_or(Kind::Broken, Kind::Shared), stem(&known));
        }
        if known == "concat" {
            let def = &functions::CONCAT;
            let names: Vec<&str> = def.args.iter().map(|arg| arg.name).collect();
            let given = assign(def.name, &names, names.len(), args, self.errors);
            let values = values(def.name, def.args, &given, site, &mut self.table, self.consts, self.errors);
            return (self.axis(values, &given, site).map_or(Kind::Broken, Kind::Concat), known);
        }
        if known == "split" {
            self.errors.split_to_one(site);
            return (Kind::Broken, known);
        }
        if let Some(&block) = self.items.blocks.get(&known) {
            return (self.block_stage(block, name, args, site), stem(&snake_case(&known)));
        }
        if self.items.acts.contains_key(&known) {
            return (self.act_stage(name, args), stem(&known));
        }
        self.unknown_stage(name);
        // What it was given may have mistakes of its own, but nobody knows what it should be.
        (Kind::Broken, known)
    }

    /// The axis among the arguments of a `concat` or a `split`; nothing after a mistake in them.
    pub(super) fn axis(&mut self, values: &[Value<'a>], given: &Assigned<'_>, site: Site) -> Option<Number<'a>> {
        match *values {
            [Value::Known(Arg::Ints(&[axis]))] => {
                let written = given.values[0];
                let text = written.map_or(axis.to_string(), ToString::to_string);
                let at = self.table.at(written.map_or(site, |expr| expr.site));
                Some(Number { value: Outcome::Int(axis), text: self.table.str(&text), at })
            }
            [Value::List(&[axis], _)] => Some(axis),
            _ => None,
        }
    }

    fn layer_stage(&mut self, layer: &'static LayerDef, args: &'a [ast::Argument], site: Site) -> Kind<'a> {
        let names: Vec<&str> = layer.args.iter().map(|arg| arg.name).collect();
        let given = assign(layer.name, &names, names.len(), args, self.errors);
        let values = values(layer.name, layer.args, &given, site, &mut self.table, self.consts, self.errors);
        for ((arg, &value), expr) in layer.args.iter().zip(values).zip(&given.values) {
            let Some(expr) = expr else { continue };
            // Made before it is used, in a body of lines, and used.
            if let (ArgKind::Value(_), ExprKind::Name(name)) = (arg.kind, &expr.kind)
                && !self.may_use(name)
            {
                return Kind::Broken;
            }
            let name = args.iter().filter_map(|given| given.name.as_ref()).find(|name| text(name) == arg.name);
            let site = name.map_or(expr.site, |name| Site::from(name).to(expr.site));
            self.arguments.push(Given { owner: layer.name, name: arg.name, value, site });
        }
        Kind::Layer(layer, values)
    }

    fn act_stage(&mut self, name: &'a Ident, args: &'a [ast::Argument]) -> Kind<'a> {
        let Some(index) = self.named_act(name) else { return Kind::Broken };
        let mut starts = self.starts(index).to_vec();
        let names: Vec<&str> = self.acts.get(index).extras.iter().map(|(name, _)| *name).collect();
        let given = assign(&text(name), &names, names.len(), args, self.errors);
        for (start, expr) in starts.iter_mut().zip(&given.values) {
            if let Some(expr) = expr {
                match self.plain_number(expr) {
                    Some(value) => *start = value,
                    None => return Kind::Broken,
                }
            }
        }
        if given.sound { Kind::Act(index, self.table.list(starts)) } else { Kind::Broken }
    }

    /// A block, written out with what its arguments stand for here.
    fn block_stage(&mut self, index: usize, name: &'a Ident, args: &'a [ast::Argument], site: Site) -> Kind<'a> {
        let block = &self.items.program.blocks[index];
        let names: Vec<String> = block.params.iter().map(|(name, _)| text(name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let given = assign(&text(name), &names, names.len(), args, self.errors);
        let bound: Vec<Option<Binding>> = given.values.iter().map(|expr| expr.map(|expr| self.binding(expr))).collect();
        let outside = std::mem::take(&mut self.consts.locals);
        let used_outside = std::mem::take(&mut self.consts.used);
        let mut key = String::new();
        for ((param, default), bound) in block.params.iter().zip(bound) {
            let binding = match (bound, default) {
                (Some(binding), _) => binding,
                // A default may use the arguments before it.
                (None, Some(default)) => self.binding(default),
                (None, None) => {
                    if given.sound {
                        self.errors.missing_argument(site, &text(name), &text(param), "");
                    }
                    Binding::Unknown
                }
            };
            if self.alone.is_some() {
                key.push_str(&format!("{binding:?};"));
            }
            self.consts.locals.insert(text(param), binding);
        }
        self.n_blocks += 1;
        let body = match self.items.sound[index] && self.is_to_be_read(index, key) {
            true => Some(self.inner(&block.body, &text(&block.name))),
            false => None,
        };
        self.n_blocks -= 1;
        self.consts.locals = outside;
        self.consts.used = used_outside;
        body.filter(|_| given.sound).map_or(Kind::Broken, Kind::Block)
    }

    /// Whether a block inside of another is written out. Where that is done for its mistakes alone, it is done once for
    /// the same arguments, and not for ever.
    fn is_to_be_read(&mut self, index: usize, arguments: String) -> bool {
        match &mut self.alone {
            Some(alone) => alone.n_stages < MOST_STAGES && alone.read.insert((index, arguments)),
            None => true,
        }
    }

    /// A block with arguments that are not known, for the mistakes that do not depend on them.
    pub(super) fn block_alone(&mut self, block: &'a ast::Block) {
        let mut names = HashSet::new();
        for (param, default) in &block.params {
            if !self.errors.is_reserved(param) && !names.insert(text(param)) {
                self.errors.duplicate_name(param);
            }
            if let Some(default) = default {
                self.binding(default);
            }
            self.consts.locals.insert(text(param), Binding::Unknown);
        }
        self.consts.used.clear();
        self.n_stages = 0;
        self.n_blocks = 1;
        self.inner(&block.body, &text(&block.name));
        self.n_blocks = 0;
        if let Some(alone) = &mut self.alone {
            alone.n_stages += self.n_stages.saturating_sub(block.body.stages.len());
        }
        let broken = block.body.stages.iter().any(|stage| matches!(stage.kind, StageKind::Broken));
        // A default that is calculated from an argument uses it, too.
        let mut used: HashSet<String> = std::mem::take(&mut self.consts.used).into_iter().collect();
        let mut unused = Vec::new();
        for (param, default) in block.params.iter().rev() {
            unused.extend((!used.contains(&text(param))).then_some(param));
            default.iter().for_each(|default| mentioned(default, &mut used));
        }
        for param in unused.into_iter().rev() {
            if !broken && !self.errors.is_reserved(param) && !self.errors.is_lost(param) {
                self.errors.unused_name(param);
            }
        }
        self.consts.locals.clear();
    }

    /// What an argument of a block stands for.
    pub(super) fn binding(&mut self, expr: &'a ast::Expr) -> Binding {
        match &expr.kind {
            ExprKind::Flag(flag) => Binding::Flag(*flag),
            ExprKind::Name(name) if self.consts.is_unknown(name) => Binding::Unknown,
            ExprKind::Name(name) => match self.consts.flag(name) {
                Some(flag) => Binding::Flag(flag),
                None => self.consts.binding(expr, self.errors),
            },
            _ => self.consts.binding(expr, self.errors),
        }
    }

    fn unknown_stage(&mut self, name: &Ident) {
        let known = text(name);
        if let Some(function) = functions::ALL.iter().find(|function| function.name == known) {
            self.errors.function_as_stage(name, function.elementwise);
        } else if !self.errors.is_lost(name) {
            let program = self.items.program;
            let own: OnceCell<Vec<String>> = OnceCell::new();
            let closest = self.errors.closest(&known, || {
                let acts = program.acts.iter().map(|act| text(&act.name));
                let all = || acts.chain(program.blocks.iter().map(|block| text(&block.name))).collect();
                let candidates =
                    layers::ALL.iter().map(|layer| layer.name).chain(["residual", "repeat", "concat", "scan"]);
                candidates.chain(own.get_or_init(all).iter().map(String::as_str))
            });
            self.errors.unknown_layer(name, closest);
        }
    }
}

/// The names in an expression of sizes.
fn mentioned(expr: &ast::Expr, names: &mut HashSet<String>) {
    match &expr.kind {
        ExprKind::Name(name) => drop(names.insert(text(name))),
        ExprKind::Paren(x) | ExprKind::Neg(x) | ExprKind::Not(x) => mentioned(x, names),
        ExprKind::Binary(_, _, x, y) => [x, y].into_iter().for_each(|x| mentioned(x, names)),
        _ => {}
    }
}

/// What a number can follow. A digit at the end would run into it, so that the eleventh `f` and the first `f1` were one.
fn stem(name: &str) -> String {
    match name.ends_with(|last: char| last.is_numeric()) {
        true => format!("{name}_"),
        false => name.to_string(),
    }
}

/// `ResNet2` as `res_net2`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
