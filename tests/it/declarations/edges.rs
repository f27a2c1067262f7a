//! What a declaration has of the names that mean something, of numbers at the ends of their ranges, of quotients and counts.

use std::collections::BTreeSet;

use gradloom_runtime::functions;
use gradloom_runtime::layers::{self, Arg, ArgDef, ArgKind, initializers};
use gradloom_runtime::network::{BinaryOp, Definition, Expr, Extent, Kind, Number, Outcome, Port, Stage, Value};

use super::names::{PLACES, POOL, SourcePlace};
use super::numbers::{LARGE, SMALL};

const COUNTS: [i64; 5] = [1, 2, 3, 10, 11];
const OTHERS: [&str; 6] = [
    "an eleventh copy",
    "a quotient as an extent",
    "a quotient as a count",
    "a quotient in an expression",
    "a number from Rust",
    "a class of weight 0",
];

/// All there are.
pub fn all() -> BTreeSet<String> {
    let mut edges: BTreeSet<String> = OTHERS.into_iter().map(str::to_string).collect();
    for place in PLACES {
        edges.extend(POOL.into_iter().filter(|name| place.takes(name)).map(|name| named(place, name)));
    }
    edges.extend(COUNTS.map(repeated));
    edges.extend(LARGE.into_iter().chain(SMALL).chain([-0.0]).map(|number| format!("{number:e}")));
    // The arguments of what this version of the language has.
    let args = layers::ALL.iter().map(|layer| (layer.name, layer.args));
    let args = args.chain(functions::ALL.iter().map(|function| (function.name, function.args)));
    let numbers = initializers::ALL.iter().map(|initializer| (initializer.name, initializer.number.as_slice()));
    for (owner, args) in args.chain(numbers) {
        args.iter().for_each(|arg| edges.extend(ends(owner, arg).into_iter().map(|(edge, _)| edge)));
    }
    edges
}

/// Those of a declaration.
pub fn of(definition: &Definition<'static>) -> BTreeSet<String> {
    let mut edges = Edges::default();
    let ports = [
        (SourcePlace::Input, definition.inputs),
        (SourcePlace::Output, definition.outputs),
        (SourcePlace::Target, definition.targets),
    ];
    for (place, ports) in ports {
        ports.iter().for_each(|port| edges.port(place, port));
    }
    for act in definition.acts {
        act.name.iter().for_each(|name| edges.name(SourcePlace::Act, name));
        edges.name(SourcePlace::Operand, act.operand);
        act.extras.iter().for_each(|(name, _)| edges.name(SourcePlace::Extra, name));
        edges.expression(&act.expr);
    }
    edges.body(definition.body, SourcePlace::Value);
    edges.body(definition.layers, SourcePlace::Inner);
    for flow in definition.flows {
        flow.sources.iter().for_each(|source| edges.expression(source));
        edges.body(flow.stages, SourcePlace::Value);
    }
    definition.metrics.iter().for_each(|metric| edges.name(SourcePlace::Metric, metric.name));
    definition.loss.iter().chain(definition.metrics).for_each(|clause| edges.expression(&clause.expr));
    edges.found
}

fn named(place: SourcePlace, name: &str) -> String {
    format!("{place:?} {name}")
}

fn repeated(count: i64) -> String {
    format!("repeat({count})")
}

/// What an argument may be at the ends of its range, and as a quotient.
fn ends(owner: &str, arg: &ArgDef) -> Vec<(String, Option<f64>)> {
    let edge = |what: &str| format!("{owner}, {}: {what}", arg.name);
    match arg.kind {
        ArgKind::Size | ArgKind::SizeOr { .. } | ArgKind::Sizes { .. } => {
            vec![(edge("a quotient"), None)]
        }
        ArgKind::NumberOrList { .. } => vec![(edge("a quotient"), None)],
        ArgKind::Number { least, most, .. } => {
            vec![(edge("a quotient"), None), (edge("least"), Some(least)), (edge("most"), Some(most))]
        }
        _ => Vec::new(),
    }
}

#[derive(Default)]
struct Edges {
    found: BTreeSet<String>,
}

impl Edges {
    fn other(&mut self, edge: &str) {
        assert!(OTHERS.contains(&edge), "{edge} is not counted");
        self.found.insert(edge.to_string());
    }

    fn name(&mut self, place: SourcePlace, name: &str) {
        self.found.insert(named(place, name));
    }

    fn port(&mut self, place: SourcePlace, port: &Port<'_>) {
        self.name(place, port.name);
        for extent in port.dims {
            if matches!(extent, Extent::Size(number) if is_quotient(number)) {
                self.other("a quotient as an extent");
            }
        }
    }

    fn body(&mut self, stages: &[Stage<'static>], place: SourcePlace) {
        for stage in stages {
            if stage.named {
                self.name(place, stage.segment);
            } else if stage.segment.ends_with("11") {
                self.other("an eleventh copy");
            }
            match &stage.kind {
                Kind::Layer(layer, values) => self.values(layer.name, layer.args, values),
                Kind::Act(..) | Kind::Shared(_) | Kind::Concat(_) | Kind::Elsewhere | Kind::Broken => {}
                Kind::Block(body) => self.body(body, SourcePlace::Inner),
                Kind::Residual { body, skip } => {
                    self.body(body, SourcePlace::Inner);
                    self.body(skip.unwrap_or_default(), SourcePlace::Inner);
                }
                Kind::Scan(scan) => scan.lines.iter().for_each(|line| self.body(line.stages, SourcePlace::Inner)),
                Kind::Branches { bodies } => bodies.iter().for_each(|body| self.body(body, SourcePlace::Inner)),
                Kind::Repeat { count, body } => {
                    let Outcome::Int(n) = count.value else { panic!("a count is an integer") };
                    self.found.insert(repeated(n));
                    if is_quotient(count) {
                        self.other("a quotient as a count");
                    }
                    self.body(body, SourcePlace::Inner);
                }
            }
        }
    }

    fn values(&mut self, owner: &str, declared: &[ArgDef], values: &[Value<'static>]) {
        for (arg, value) in declared.iter().zip(values) {
            for (edge, end) in ends(owner, arg) {
                let is_there = match (value, end) {
                    (Value::Calculated(number), None) => is_quotient(number),
                    (Value::Known(Arg::Float(x)), Some(end)) => *x == end,
                    _ => false,
                };
                self.found.extend(is_there.then_some(edge));
            }
            match value {
                Value::Known(Arg::Numbers(weights)) if weights.contains(&0.0) => self.other("a class of weight 0"),
                Value::Init(initializer, _, values) => {
                    self.values(initializer.name, initializer.number.as_slice(), values);
                }
                _ => {}
            }
        }
    }

    fn expression(&mut self, expr: &Expr<'static>) {
        match *expr {
            Expr::Number(x) => _ = self.found.insert(format!("{x:e}")),
            Expr::Constant(x, _) => {
                self.other("a number from Rust");
                self.found.insert(format!("{x:e}"));
            }
            Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Part(_, x, _) => self.expression(x),
            Expr::Binary(op, _, x, y) => {
                if op == BinaryOp::Div && matches!((x, y), (Expr::Number(_), Expr::Number(_))) {
                    self.other("a quotient in an expression");
                }
                [x, y].into_iter().for_each(|x| self.expression(x));
            }
            Expr::If(_, p, x, y) => [p, x, y].into_iter().for_each(|x| self.expression(x)),
            Expr::Call(function, _, values, operands) => {
                self.values(function.name, function.args, values);
                operands.iter().for_each(|x| self.expression(x));
            }
            Expr::Apply(layer, _, values, x) => {
                self.values(layer.name, layer.args, values);
                self.expression(x);
            }
            Expr::Inline(_, _, operands) => operands.iter().for_each(|x| self.expression(x)),
            Expr::Name(_) | Expr::Path(..) | Expr::Weights(_) | Expr::Elsewhere(..) | Expr::Broken => {}
        }
    }
}

fn is_quotient(number: &Number<'_>) -> bool {
    number.text.contains(" / ")
}
