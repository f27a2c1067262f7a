//! Which words of the language a declaration uses.

use std::collections::BTreeSet;

use gradloom_runtime::functions;
use gradloom_runtime::layers::{self, Arg, initializers};
use gradloom_runtime::network::{BinaryOp, Definition, Expr, Flow, Kind, Stage, Value};

/// Structures of a body and of expressions.
pub const STRUCTURES: [&str; 17] = [
    "act",
    "act in an expression",
    "block",
    "concat",
    "flow",
    "if",
    "minus",
    "not",
    "part",
    "repeat",
    "residual",
    "scan",
    "several inputs",
    "several outputs",
    "shared layer",
    "skip",
    "split",
];

const OPERATORS: [BinaryOp; 12] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Eq,
    BinaryOp::Ne,
    BinaryOp::Lt,
    BinaryOp::Le,
    BinaryOp::Gt,
    BinaryOp::Ge,
    BinaryOp::And,
    BinaryOp::Or,
];

/// All there are: layers, activations, initializers, functions, losses, metrics, structures and operators.
pub fn all() -> BTreeSet<&'static str> {
    let mut words: BTreeSet<&str> = STRUCTURES.into_iter().collect();
    words.extend(layers::ALL.iter().map(|layer| layer.name));
    words.extend(initializers::ALL.iter().map(|initializer| initializer.name));
    words.extend(functions::ALL.iter().map(|function| function.name));
    words.extend(OPERATORS.iter().map(|operator| operator.symbol()));
    words
}

/// Those in a declaration. What changes nothing does not count: a dropout of probability 0, a repetition of one copy.
pub fn of(definition: &Definition<'static>) -> BTreeSet<&'static str> {
    let mut words = BTreeSet::new();
    body(definition.body, &mut words);
    body(definition.layers, &mut words);
    words.extend((definition.inputs.len() > 1).then_some("several inputs"));
    words.extend((definition.outputs.len() > 1).then_some("several outputs"));
    words.extend((!definition.flows.is_empty()).then_some("flow"));
    lines(definition.flows, &mut words);
    definition.acts.iter().for_each(|act| expression(&act.expr, &mut words));
    let clauses = definition.loss.iter().chain(definition.metrics);
    clauses.for_each(|clause| expression(&clause.expr, &mut words));
    words
}

fn lines(lines: &[Flow<'static>], words: &mut BTreeSet<&'static str>) {
    for line in lines {
        words.extend(line.split.is_some().then_some("split"));
        line.sources.iter().for_each(|source| expression(source, words));
        body(line.stages, words);
    }
}

fn body(stages: &[Stage<'static>], words: &mut BTreeSet<&'static str>) {
    for stage in stages {
        match &stage.kind {
            Kind::Layer(layer, args) => {
                let none = match layer.name {
                    "Dropout" | "random_flip" => Arg::Float(0.0),
                    "random_crop" => Arg::Int(0),
                    _ => Arg::Ints(&[]),
                };
                let is_none = matches!(args, [Value::Known(first), ..] if *first == none);
                words.extend((!is_none).then_some(layer.name));
                values(args, words);
            }
            Kind::Act(..) => _ = words.insert("act"),
            Kind::Block(stages) => {
                words.insert("block");
                body(stages, words);
            }
            Kind::Residual { body: stages, skip } => {
                words.insert("residual");
                body(stages, words);
                if let Some(skip) = skip {
                    words.insert("skip");
                    body(skip, words);
                }
            }
            Kind::Repeat { count, body: stages } => {
                words.extend((count.value != gradloom_runtime::network::Outcome::Int(1)).then_some("repeat"));
                body(stages, words);
            }
            Kind::Branches { bodies } => {
                words.insert("concat");
                bodies.iter().for_each(|stages| body(stages, words));
            }
            Kind::Scan(scan) => {
                words.insert("scan");
                lines(scan.lines, words);
            }
            Kind::Concat(_) => _ = words.insert("concat"),
            Kind::Shared(_) => _ = words.insert("shared layer"),
            Kind::Elsewhere | Kind::Broken => {}
        }
    }
}

fn values(args: &[Value<'static>], words: &mut BTreeSet<&'static str>) {
    for arg in args {
        match arg {
            Value::Known(Arg::Init(initializer, _)) | Value::Init(initializer, ..) => {
                _ = words.insert(initializer.name)
            }
            Value::Known(_) | Value::Calculated(_) | Value::Pair(_) | Value::List(..) | Value::Broken => {}
        }
    }
}

fn expression(expr: &Expr<'static>, words: &mut BTreeSet<&'static str>) {
    match *expr {
        Expr::Neg(_, x) => {
            words.insert("minus");
            expression(x, words);
        }
        Expr::Not(_, x) => {
            words.insert("not");
            expression(x, words);
        }
        Expr::Binary(operator, _, x, y) => {
            words.insert(operator.symbol());
            [x, y].into_iter().for_each(|x| expression(x, words));
        }
        Expr::If(_, p, x, y) => {
            words.insert("if");
            [p, x, y].into_iter().for_each(|x| expression(x, words));
        }
        Expr::Call(function, _, _, operands) => {
            words.insert(function.name);
            operands.iter().for_each(|x| expression(x, words));
        }
        Expr::Apply(layer, _, _, x) => {
            words.insert(layer.name);
            expression(x, words);
        }
        Expr::Part(_, x, _) => {
            words.insert("part");
            expression(x, words);
        }
        Expr::Inline(_, _, operands) => {
            words.insert("act in an expression");
            operands.iter().for_each(|x| expression(x, words));
        }
        Expr::Number(_)
        | Expr::Constant(..)
        | Expr::Name(_)
        | Expr::Path(..)
        | Expr::Weights(_)
        | Expr::Elsewhere(..)
        | Expr::Broken => {}
    }
}
