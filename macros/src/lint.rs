//! What a network says that is hardly what was meant.
//!
//! In: a network without mistakes. Out: lints and where they belong. Each has its wording in the facade, in the module
//! `lint`, as the note of a deprecated constant.

use std::collections::{HashMap, HashSet};

use gradloom_runtime::layers::{Arg, Gain, LayerDef};
use gradloom_runtime::network::{At, Clause, Expr, Extent, Kind, Number, Outcome, Stage, Value};
use gradloom_runtime::types::{Dim, Shape};

use crate::ast::{Site, text};
use crate::resolve::Network;

/// A lint and the token that it is about.
pub struct Found {
    pub lint: &'static str,
    pub site: Site,
}

/// Looks through one network.
pub fn network(network: &Network<'_>) -> Vec<Found> {
    let mut linter = Linter { network, values: HashMap::new(), mentioned: HashSet::new(), found: Vec::new() };
    let clauses = || network.definition.loss.iter().chain(network.definition.metrics);
    let sources = network.definition.flows.iter().flat_map(|flow| flow.sources);
    clauses().map(|clause| &clause.expr).chain(sources).for_each(|expr| names(expr, &mut linter.mentioned));
    linter.values();
    linter.steps();
    clauses().for_each(|clause| linter.expr(&clause.expr));
    linter.one_class();
    let mut known = HashSet::new();
    let found = linter.found.into_iter().map(|(lint, at)| Found { lint, site: network.sites[at.0 as usize] });
    // A block may be used many times, and is told of once.
    found.chain(momenta(network)).chain(constants(network)).filter(|found| known.insert(found.key())).collect()
}

impl Found {
    /// What two that are one have in common.
    pub fn key(&self) -> (&'static str, usize, usize) {
        let place = self.site.start.start();
        (self.lint, place.line, place.column)
    }
}

struct Linter<'n> {
    network: &'n Network<'n>,
    /// The stages that give the outputs and the values named with `as`.
    values: HashMap<&'n str, &'n Stage<'n>>,
    /// The names and paths in the loss and the metrics.
    mentioned: HashSet<&'n str>,
    found: Vec<(&'static str, At)>,
}

impl<'n> Linter<'n> {
    /// Which stage each value comes from.
    fn values(&mut self) {
        let mut last = None;
        for stage in self.network.definition.body {
            last = self.after(std::slice::from_ref(stage), last);
            self.values.extend(last.filter(|_| stage.named).map(|last| (stage.segment, last)));
        }
        let outputs = self.network.definition.outputs.iter();
        self.values.extend(outputs.filter_map(|output| Some((output.name, last?))));
        for flow in self.network.definition.flows {
            let last = self.after(flow.stages, None);
            self.values.extend(last.filter(|_| flow.split.is_none()).map(|last| (flow.name, last)));
        }
    }

    /// The stage that gives the result of these, after one that gives what comes in. A bias that is subtracted again is
    /// found on the way.
    fn after(&mut self, stages: &'n [Stage<'n>], mut last: Option<&'n Stage<'n>>) -> Option<&'n Stage<'n>> {
        for stage in stages {
            self.bias(last, stage);
            match &stage.kind {
                Kind::Layer(layer, _) if layer.name == "flatten" => {}
                Kind::Block(body) => last = self.after(body, last),
                Kind::Repeat { body, .. } => {
                    last = self.after(body, last);
                    // The next copy follows the last stage of this one.
                    if let Some(first) = first(body) {
                        self.bias(last, first);
                    }
                }
                Kind::Residual { body, skip } => {
                    self.after(body, None);
                    skip.iter().for_each(|skip| _ = self.after(skip, None));
                    last = Some(stage);
                }
                Kind::Branches { bodies } => {
                    bodies.iter().for_each(|body| _ = self.after(body, None));
                    last = Some(stage);
                }
                Kind::Scan(scan) => {
                    scan.lines.iter().for_each(|line| _ = self.after(line.stages, None));
                    last = Some(stage);
                }
                Kind::Layer(..)
                | Kind::Act(..)
                | Kind::Shared(_)
                | Kind::Concat(_)
                | Kind::Elsewhere
                | Kind::Broken => last = Some(stage),
            }
        }
        last
    }

    fn bias(&mut self, before: Option<&Stage<'_>>, stage: &Stage<'_>) {
        let Some(Stage { kind: Kind::Layer(dense, args), at, named, segment, .. }) = before else { return };
        let is_norm = matches!(&stage.kind, Kind::Layer(layer, _) if layer.name == "BatchNorm");
        let bias = dense.args.iter().position(|arg| arg.name == "bias");
        let has_bias = bias.is_some_and(|bias| matches!(args.get(bias), Some(Value::Known(Arg::Flag(true)))));
        let is_used = *named && self.mentioned.iter().any(|path| path.rsplit('.').next() == Some(*segment));
        if is_norm && has_bias && !is_used {
            self.found.push(("bias_before_batch_norm", *at));
        }
    }

    /// Stages without a gradient, before which something is to be trained that the loss knows by no other way.
    fn steps(&mut self) {
        let definition = &self.network.definition;
        let Some(loss) = &definition.loss else { return };
        let mut mentioned = HashSet::new();
        names(&loss.expr, &mut mentioned);
        let is_used = |stage: &Stage<'_>| stage.named && mentioned.contains(stage.segment);
        let of_output = definition.outputs.iter().any(|output| mentioned.contains(output.name));
        let (mut trained, mut around) = (false, false);
        for (index, stage) in definition.body.iter().enumerate() {
            let mut found = Vec::new();
            trained = self.blocked(std::slice::from_ref(stage), trained, &mut found);
            if !around && (of_output || definition.body[index..].iter().any(is_used)) {
                self.found.extend(found.into_iter().map(|at| ("step_before_loss", at)));
            }
            around |= trained && is_used(stage);
        }
    }

    /// Whether anything in these or before them is trained, and the stages among them that let no gradient through to it.
    fn blocked(&self, stages: &[Stage<'_>], mut trained: bool, found: &mut Vec<At>) -> bool {
        for stage in stages {
            match &stage.kind {
                Kind::Block(body) => trained = self.blocked(body, trained, found),
                Kind::Repeat { count, body } => {
                    let again = count.value != Outcome::Int(1) && trains(body);
                    trained = self.blocked(body, trained || again, found);
                }
                Kind::Residual { body, skip } => {
                    let body = self.blocked(body, false, found);
                    let skip = skip.is_some_and(|skip| self.blocked(skip, false, found));
                    trained |= body || skip;
                }
                Kind::Branches { bodies } => {
                    let mut any = false;
                    bodies.iter().for_each(|body| any |= self.blocked(body, false, found));
                    trained |= any;
                }
                Kind::Scan(scan) => {
                    let mut any = !scan.numbers.is_empty();
                    scan.lines.iter().for_each(|line| any |= self.blocked(line.stages, false, found));
                    trained |= any;
                }
                Kind::Layer(layer, _) => {
                    found.extend((trained && layer.name == "step").then_some(stage.at));
                    trained |= is_trained(layer);
                }
                Kind::Act(index, starts) => {
                    let made = self.made_by_act(*index);
                    found.extend((trained && matches!(made, Some("step" | "sign"))).then_some(stage.at));
                    trained |= !starts.is_empty();
                }
                Kind::Shared(_) | Kind::Concat(_) | Kind::Elsewhere | Kind::Broken => {}
            }
        }
        trained
    }

    /// What a loss or a metric is given, and should not be.
    fn expr(&mut self, expr: &Expr<'n>) {
        match *expr {
            Expr::Call(function, at, options, operands) => {
                if let Some(first) = operands.first() {
                    let made = self.made_by(first);
                    let lint = match (function.name, made) {
                        ("cross_entropy", Some(("softmax" | "log_softmax", at))) => {
                            Some(("softmax_before_cross_entropy", at))
                        }
                        ("nll", Some(("softmax", at))) => Some(("softmax_before_nll", at)),
                        ("bce_with_logits", Some(("sigmoid" | "hard_sigmoid", at))) => {
                            Some(("sigmoid_before_bce_with_logits", at))
                        }
                        ("cross_entropy" | "nll" | "argmax" | "top_k", _) if self.is_one_column(first) => {
                            Some(("one_class", at))
                        }
                        ("top_k", _) if self.is_all(first, options) => Some(("constant_metric", at)),
                        _ => None,
                    };
                    self.found.extend(lint);
                }
                operands.iter().for_each(|x| self.expr(x));
            }
            Expr::Apply(layer, at, _, x) => {
                let is_softmax = ["softmax", "log_softmax"].contains(&layer.name);
                self.found.extend((is_softmax && self.is_one_column(x)).then_some(("one_class", at)));
                self.expr(x);
            }
            Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Part(_, x, _) => self.expr(x),
            Expr::Binary(_, _, x, y) => [x, y].into_iter().for_each(|x| self.expr(x)),
            Expr::If(_, p, x, y) => [p, x, y].into_iter().for_each(|x| self.expr(x)),
            Expr::Inline(_, _, operands) | Expr::Elsewhere(_, operands) => operands.iter().for_each(|x| self.expr(x)),
            Expr::Number(_) | Expr::Constant(..) | Expr::Name(_) => {}
            Expr::Path(..) | Expr::Weights(_) | Expr::Broken => {}
        }
    }

    /// A softmax that ends the network with one column.
    fn one_class(&mut self) {
        for output in self.network.definition.outputs {
            if let Some(Stage { kind: Kind::Layer(layer, _), at, .. }) = self.values.get(output.name)
                && ["softmax", "log_softmax"].contains(&layer.name)
                && self.is_one_column(&Expr::Name(output.name))
            {
                self.found.push(("one_class", *at));
            }
        }
    }

    /// The layer or function that a value comes out of, and where it stands.
    fn made_by(&self, expr: &Expr<'n>) -> Option<(&'static str, At)> {
        match *expr {
            Expr::Apply(layer, at, ..) => Some((layer.name, at)),
            Expr::Inline(index, at, _) => Some((self.made_by_act(index)?, at)),
            Expr::Name(name) => {
                let stage = self.values.get(name)?;
                match stage.kind {
                    Kind::Layer(layer, _) => Some((layer.name, stage.at)),
                    Kind::Act(index, _) => Some((self.made_by_act(index)?, stage.at)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The same of a function of the user's own.
    fn made_by_act(&self, index: usize) -> Option<&'static str> {
        match self.network.definition.acts[index].expr {
            Expr::Apply(layer, ..) => Some(layer.name),
            Expr::Call(function, ..) => Some(function.name),
            _ => None,
        }
    }

    fn is_one_column(&self, expr: &Expr<'_>) -> bool {
        self.columns(expr) == Some(1)
    }

    /// Whether a number of classes is that of all of them.
    fn is_all(&self, logits: &Expr<'_>, options: &[Value<'_>]) -> bool {
        let columns = self.columns(logits).and_then(|n| u64::try_from(n).ok());
        matches!(options, [Value::Known(Arg::Int(k))] if columns == Some(*k))
    }

    /// The last extent of a value that is a port.
    fn columns(&self, expr: &Expr<'_>) -> Option<i64> {
        let definition = &self.network.definition;
        let Expr::Name(name) = *expr else { return None };
        let port = definition.inputs.iter().chain(definition.outputs).find(|port| port.name == name)?;
        match port.dims {
            [_, .., Extent::Size(Number { value: Outcome::Int(n), .. })] => Some(*n),
            _ => None,
        }
    }
}

/// Every `momentum` that is below a half, and not 0, which keeps nothing on purpose.
fn momenta<'n>(network: &'n Network<'_>) -> impl Iterator<Item = Found> + 'n {
    let given = network.arguments.iter().filter(|given| (given.owner, given.name) == ("BatchNorm", "momentum"));
    let small = given.filter(|given| matches!(given.value, Value::Known(Arg::Float(m)) if m > 0.0 && m < 0.5));
    small.map(|given| Found { lint: "batch_norm_momentum", site: given.site })
}

/// Every metric without a name in it.
fn constants<'n>(network: &'n Network<'_>) -> impl Iterator<Item = Found> + 'n {
    let is_constant = |clause: &&Clause<'_>| {
        let mut mentioned = HashSet::new();
        names(&clause.expr, &mut mentioned);
        mentioned.is_empty()
    };
    let constant: HashSet<&str> =
        network.definition.metrics.iter().filter(is_constant).map(|clause| clause.name).collect();
    let metrics = network.ast.metrics.iter().filter(move |metric| constant.contains(text(&metric.name).as_str()));
    metrics.map(|metric| Found { lint: "constant_metric", site: Site::from(&metric.name) })
}

/// The first stage of a body, inside of blocks and repetitions.
fn first<'n>(stages: &'n [Stage<'n>]) -> Option<&'n Stage<'n>> {
    match &stages.first()?.kind {
        Kind::Block(body) | Kind::Repeat { body, .. } => first(body),
        _ => stages.first(),
    }
}

/// Whether anything in these is trained.
fn trains(stages: &[Stage<'_>]) -> bool {
    stages.iter().any(|stage| match &stage.kind {
        Kind::Layer(layer, _) => is_trained(layer),
        Kind::Act(_, starts) => !starts.is_empty(),
        Kind::Block(body) | Kind::Repeat { body, .. } => trains(body),
        Kind::Residual { body, skip } => trains(body) || skip.is_some_and(trains),
        Kind::Branches { bodies } => bodies.iter().any(|body| trains(body)),
        Kind::Scan(scan) => !scan.numbers.is_empty() || scan.lines.iter().any(|line| trains(line.stages)),
        Kind::Shared(_) | Kind::Concat(_) | Kind::Elsewhere | Kind::Broken => false,
    })
}

/// Whether a layer has parameters of its own.
fn is_trained(layer: &LayerDef) -> bool {
    let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.unwrap_or(Arg::Int(1))).collect();
    !(layer.params)(&Shape(vec![Dim::B, Dim::Fixed(1)]), &args, Gain::Xavier).is_empty()
}

/// The names and paths in an expression.
fn names<'n>(expr: &Expr<'n>, found: &mut HashSet<&'n str>) {
    match *expr {
        Expr::Name(name) | Expr::Path(name, _) => drop(found.insert(name)),
        Expr::Weights(_) => drop(found.insert("weights")),
        Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Apply(_, _, _, x) | Expr::Part(_, x, _) => names(x, found),
        Expr::Binary(_, _, x, y) => [x, y].into_iter().for_each(|x| names(x, found)),
        Expr::If(_, p, x, y) => [p, x, y].into_iter().for_each(|x| names(x, found)),
        Expr::Call(_, _, _, operands) | Expr::Inline(_, _, operands) | Expr::Elsewhere(_, operands) => {
            operands.iter().for_each(|x| names(x, found));
        }
        Expr::Number(_) | Expr::Constant(..) | Expr::Broken => {}
    }
}
