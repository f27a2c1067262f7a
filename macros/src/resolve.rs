//! From the declaration as written to one whose names mean something.
//!
//! In: the AST. Out: for each network its ports with extents, its stages with their definitions and arguments, its
//! expressions with functions and names found. Types are not looked at. What is broken is `None`, and was reported.

mod arguments;
mod sizes;

use std::collections::{HashMap, HashSet};

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::BinaryOp;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};
use proc_macro2::Ident;

use crate::ast::{self, ExprKind, Operator, Site, text};
use crate::diagnostics::{Errors, closest};
use crate::parse::DTYPES;
use arguments::{assign, values};
use sizes::Consts;

pub use sizes::LARGEST;

/// As many axes as `ndarray` has types for.
pub const MOST_AXES: usize = 6;

/// A network whose names are resolved.
pub struct Network<'a> {
    pub ast: &'a ast::Net,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub targets: Vec<Port>,
    /// `None` where a stage is broken.
    pub body: Vec<Option<Stage>>,
    pub loss: Option<Clause<'a>>,
    pub metrics: Vec<Clause<'a>>,
}

/// A tensor at the edge of the network.
pub struct Port {
    pub name: String,
    /// `name: `, or nothing if the declaration gives none.
    pub prefix: String,
    pub dtype: Option<DType>,
    pub dims: Vec<Option<Dim>>,
    /// The brackets.
    pub site: Site,
    /// Whether a mistake in its shape is reported already.
    pub sound: bool,
}

impl Port {
    /// The type, if the whole of it makes sense.
    pub fn ty(&self) -> Option<TensorType> {
        let dims: Option<Vec<Dim>> = self.dims.iter().copied().collect();
        Some(TensorType { dtype: self.dtype?, shape: Shape(dims.filter(|_| self.sound)?) })
    }
}

/// One stage of a body.
pub struct Stage {
    pub layer: &'static LayerDef,
    /// `None` after a mistake.
    pub args: Option<Vec<Arg>>,
    /// `dense1`, or the name given with `as`.
    pub path: String,
    /// The name given with `as`.
    pub alias: Option<String>,
    /// As written.
    pub text: String,
    pub site: Site,
}

/// A loss or a metric.
pub struct Clause<'a> {
    /// The name of the metric, or the keyword of the loss.
    pub name: &'a Ident,
    pub written: &'a ast::Expr,
    pub expr: Option<Expr<'a>>,
}

/// An expression whose names are resolved.
pub enum Expr<'a> {
    Number(f64),
    /// A port or a value named with `as`.
    Name(String),
    /// `dense1.weight`; only the shapes tell whether there is one.
    Param(String, Site),
    Neg(Site, Box<Expr<'a>>),
    Binary(BinaryOp, Site, Box<Expr<'a>>, Box<Expr<'a>>),
    /// A function, its options and its operands.
    Call(&'static FunctionDef, &'a Ident, Vec<Arg>, Vec<Expr<'a>>),
    /// An activation as a function.
    Apply(&'static LayerDef, &'a Ident, Vec<Arg>, Box<Expr<'a>>),
}

/// Resolves everything in a `network! { .. }`.
pub fn program<'a>(program: &'a ast::Program, errors: &mut Errors) -> Vec<Network<'a>> {
    let mut consts = Consts::new(&program.consts, errors);
    let mut names = HashSet::new();
    let mut networks = Vec::new();
    for net in &program.nets {
        if names.insert(text(&net.name)) {
            let scope = Scope { consts: &mut consts, errors, names: HashSet::new(), paths: HashSet::new() };
            networks.push(scope.network(net));
        } else {
            errors.duplicate_network(&net.name);
        }
    }
    networks
}

/// What is known inside one network.
struct Scope<'s, 'a> {
    consts: &'s mut Consts<'a>,
    errors: &'s mut Errors,
    /// Ports and values named with `as`.
    names: HashSet<String>,
    /// The paths of the stages without such a name.
    paths: HashSet<String>,
}

impl Scope<'_, '_> {
    fn network<'a>(mut self, net: &'a ast::Net) -> Network<'a> {
        let inputs = self.ports(&net.inputs, "x", "inputs");
        let outputs = self.ports(&net.outputs, "out", "outputs");
        let body = self.body(net);
        let (first, more) = match &net.losses[..] {
            [] => (None, &[][..]),
            [first, more @ ..] => (Some(first), more),
        };
        for loss in more {
            self.errors.second_loss(&loss.keyword);
        }
        let targets = first.map(|loss| self.targets(&loss.targets)).unwrap_or_default();
        let loss = first.map(|loss| self.clause(&loss.keyword, &loss.expr));
        let metrics = self.metrics(&net.metrics);
        Network { ast: net, inputs, outputs, targets, body, loss, metrics }
    }

    /// Inputs or outputs.
    fn ports(&mut self, ports: &[ast::Port], default: &str, plural: &str) -> Vec<Port> {
        if let [_, second, ..] = ports {
            self.errors.not_yet(second.site, &format!("a network with several {plural}"));
        }
        ports.iter().map(|port| self.port(port, default)).collect()
    }

    fn targets(&mut self, targets: &[ast::Port]) -> Vec<Port> {
        let mut resolved = Vec::new();
        for target in targets {
            if target.name.is_none() {
                self.errors.target_without_name(target.site);
            }
            resolved.push(self.port(target, "target"));
        }
        resolved
    }

    fn port(&mut self, port: &ast::Port, default: &str) -> Port {
        match &port.name {
            Some(name) => self.take(name),
            None => drop(self.names.insert(default.to_string())),
        }
        let name = port.name.as_ref().map_or(default.to_string(), text);
        let prefix = port.name.as_ref().map_or(String::new(), |name| format!("{}: ", text(name)));
        let dtype = port.dtype.as_ref().map_or(Some(DType::F32), |name| self.dtype(name));
        let dims: Vec<Option<Dim>> = port.dims.iter().map(|dim| self.dim(dim)).collect();
        let sound = self.axes(&name, port, &dims);
        Port { name, prefix, dtype, dims, site: port.site, sound }
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

    fn dim(&mut self, expr: &ast::Expr) -> Option<Dim> {
        match &expr.kind {
            ExprKind::Name(name) if name == "B" => Some(Dim::B),
            _ => {
                let size = self.consts.size(expr, self.errors)?;
                Some(Dim::Fixed(usize::try_from(size).expect("sizes are at most 2^40, on a 64-bit host")))
            }
        }
    }

    /// `B` first and nowhere else, not too many axes, not too many elements.
    fn axes(&mut self, name: &str, port: &ast::Port, dims: &[Option<Dim>]) -> bool {
        let later = dims.iter().skip(1).position(|dim| *dim == Some(Dim::B));
        let known: Option<Shape> = dims.iter().copied().collect::<Option<Vec<Dim>>>().map(Shape);
        if let Some(later) = later {
            self.errors.batch_not_first(port.dims[later + 1].site, name);
        } else if dims.len() > MOST_AXES {
            self.errors.too_many_axes(port.site, name, dims.len(), MOST_AXES);
        } else if let Some(shape) = known.as_ref().filter(|shape| shape.0.first() != Some(&Dim::B)) {
            self.errors.batch_missing(port.site, name, shape);
        } else if known.is_some_and(|shape| is_absurd(&shape)) {
            self.errors.too_large(port.site, &format!("one row of `{name}`"));
        } else {
            return true;
        }
        false
    }

    /// Makes a name known, unless it cannot be one.
    fn take(&mut self, name: &Ident) {
        if name == "B" {
            self.errors.name_is_batch(name);
        } else if self.paths.contains(&text(name)) || !self.names.insert(text(name)) {
            self.errors.duplicate_name(name);
        }
    }

    fn body(&mut self, net: &ast::Net) -> Vec<Option<Stage>> {
        if net.body.is_empty() {
            self.errors.empty_body(net.body_site, &net.name);
            return vec![None];
        }
        let mut numbers: HashMap<&'static str, usize> = HashMap::new();
        let stages: Vec<Option<Stage>> = net.body.iter().map(|stage| self.stage(stage, &mut numbers)).collect();
        for stage in stages.iter().flatten().filter(|stage| stage.alias.is_none()) {
            self.paths.insert(stage.path.clone());
        }
        for stage in &net.body {
            if let ast::Stage::Layer(ast::Layer { alias: Some(alias), .. }) = stage {
                self.take(alias);
            }
        }
        stages
    }

    /// Numbers count all stages of a kind, so that naming one of them does not rename the others.
    fn stage(&mut self, stage: &ast::Stage, numbers: &mut HashMap<&'static str, usize>) -> Option<Stage> {
        let ast::Stage::Layer(written) = stage else { return None };
        let Some(&layer) = layers::ALL.iter().find(|layer| layer.name == text(&written.name)) else {
            self.unknown_layer(&written.name);
            return None;
        };
        let number = numbers.entry(layer.stem).or_default();
        *number += 1;
        let alias = written.alias.as_ref().map(text);
        let path = alias.clone().unwrap_or_else(|| format!("{}{number}", layer.stem));
        let names: Vec<&str> = layer.args.iter().map(|arg| arg.name).collect();
        let given = assign(layer.name, &names, names.len(), &written.args, self.errors);
        let args = values(layer.name, layer.args, &given, written.site, self.consts, self.errors);
        Some(Stage { layer, args, path, alias, text: written.to_string(), site: written.site })
    }

    fn unknown_layer(&mut self, name: &Ident) {
        let known = text(name);
        if functions::ALL.iter().any(|function| function.name == known) {
            self.errors.function_as_stage(name);
        } else {
            self.errors.unknown_layer(name, closest(&known, layers::ALL.iter().map(|layer| layer.name)));
        }
    }

    fn metrics<'a>(&mut self, metrics: &'a [ast::Metric]) -> Vec<Clause<'a>> {
        let mut names = HashSet::new();
        let mut clauses = Vec::new();
        for metric in metrics {
            if metric.name == "loss" {
                self.errors.metric_named_loss(&metric.name);
            } else if !names.insert(text(&metric.name)) {
                self.errors.duplicate_metric(&metric.name);
            } else {
                clauses.push(self.clause(&metric.name, &metric.expr));
            }
        }
        clauses
    }

    fn clause<'a>(&mut self, name: &'a Ident, written: &'a ast::Expr) -> Clause<'a> {
        Clause { name, written, expr: self.expr(written) }
    }

    fn expr<'a>(&mut self, expr: &'a ast::Expr) -> Option<Expr<'a>> {
        match &expr.kind {
            ExprKind::Int(n, _) => Some(Expr::Number(*n as f64)),
            ExprKind::Float(x, _) => Some(Expr::Number(*x)),
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Member(names) => {
                let lost = names.iter().any(|name| self.errors.is_lost(name));
                (!lost).then(|| Expr::Param(expr.to_string(), expr.site))
            }
            ExprKind::Neg(x) => Some(Expr::Neg(expr.site, Box::new(self.expr(x)?))),
            ExprKind::Binary(op, site, x, y) => {
                let (x, y) = (self.expr(x), self.expr(y));
                let Operator::Of(op) = op else {
                    self.errors.remainder_in_expression(*site);
                    return None;
                };
                Some(Expr::Binary(*op, *site, Box::new(x?), Box::new(y?)))
            }
            ExprKind::Call(name, args) => self.call(name, args, expr.site),
            ExprKind::Flag(_) | ExprKind::Text(..) => {
                self.errors.no_value(expr.site, &expr.to_string());
                None
            }
            ExprKind::Broken => None,
        }
    }

    fn name<'a>(&mut self, name: &Ident) -> Option<Expr<'a>> {
        let known = text(name);
        if self.names.contains(&known) {
            return Some(Expr::Name(known));
        }
        if self.consts.contains(name) {
            let size = ast::Expr { kind: ExprKind::Name(name.clone()), site: name.into(), depth: 1 };
            return self.consts.value(&size, self.errors).map(|value| Expr::Number(value.to_f64()));
        }
        if known == "B" {
            self.errors.batch_in_size(name);
        } else if known == "weights" {
            self.errors.not_yet(name, "`weights`");
        } else if !self.errors.is_lost(name) {
            let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
            names.sort_unstable();
            self.errors.unknown_name(name, closest(&known, names));
        }
        None
    }

    /// A function, or an activation as one.
    fn call<'a>(&mut self, name: &'a Ident, args: &'a [ast::Argument], site: Site) -> Option<Expr<'a>> {
        let known = text(name);
        if let Some(&function) = functions::ALL.iter().find(|function| function.name == known) {
            let options = function.args.iter().map(|arg| arg.name);
            let names: Vec<&str> = function.operands.iter().copied().chain(options).collect();
            let count = function.operands.len();
            let mut given = assign(&known, &names, count, args, self.errors);
            let options = arguments::Assigned { values: given.values.split_off(count), sound: given.sound };
            let operands = self.operands(&known, function.operands, &given, site);
            let options = values(&known, function.args, &options, site, self.consts, self.errors);
            return Some(Expr::Call(function, name, options?, operands?));
        }
        let Some(&layer) = layers::ALL.iter().find(|layer| layer.name == known) else {
            // The operands may have mistakes of their own.
            for arg in args {
                self.expr(&arg.value);
            }
            let pure = layers::ALL.iter().filter(|layer| layer.function.is_some()).map(|layer| layer.name);
            let candidates = functions::ALL.iter().map(|function| function.name).chain(pure);
            self.errors.unknown_function(name, closest(&known, candidates));
            return None;
        };
        if layer.function.is_none() {
            self.errors.layer_as_function(name);
            return None;
        }
        let names: Vec<&str> = std::iter::once("x").chain(layer.args.iter().map(|arg| arg.name)).collect();
        let mut given = assign(&known, &names, names.len(), args, self.errors);
        let options = arguments::Assigned { values: given.values.split_off(1), sound: given.sound };
        let operand = self.operands(&known, &["x"], &given, site);
        let options = values(&known, layer.args, &options, site, self.consts, self.errors);
        let operand = operand?.pop().expect("one name, one operand");
        Some(Expr::Apply(layer, name, options?, Box::new(operand)))
    }

    fn operands<'a>(
        &mut self,
        owner: &str,
        names: &[&str],
        given: &arguments::Assigned<'a>,
        site: Site,
    ) -> Option<Vec<Expr<'a>>> {
        let mut operands = Vec::new();
        for (name, value) in names.iter().zip(&given.values) {
            match value {
                Some(value) => operands.push(self.expr(value)),
                None if given.sound => self.errors.missing_argument(site, owner, name, ""),
                None => {}
            }
        }
        let complete = given.sound && operands.len() == names.len();
        operands.into_iter().collect::<Option<Vec<_>>>().filter(|_| complete)
    }
}

/// Whether a shape has more elements than any machine, per row if it has the batch.
pub fn is_absurd(shape: &Shape) -> bool {
    shape.len().is_none_or(|len| len.factor() as u64 > LARGEST)
}
