//! A checked network as text: signature, stages with their shapes and parameters, loss and metrics.
//!
//! The text is that of the stage `Static`. It depends on the declaration's meaning alone: arguments with their default
//! values are left out however they were written, repeated bodies are written out, and expressions are put in their
//! shortest form.

use std::collections::HashMap;
use std::fmt;

use super::acts::Acts;
use super::{Action, Elaborated, Step, settled};
use crate::ir::SlotKind;
use crate::ir::origin::owner;
use crate::layers::{Arg, ArgDef, ArgKind, Takes};
use crate::network::{Act, Definition, Expr, Number, Port, Scan, Span, UNARY_LEVEL};

impl fmt::Display for Elaborated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let definition = self.definition;
        writeln!(f, "{}", self.signature())?;
        let acts = Acts::new(definition, true);
        for act in acts.declared() {
            writeln!(f, "  {act}")?;
        }
        let rows = self.rows();
        let width = |cell: fn(&Row) -> usize| rows.iter().map(cell).max().unwrap_or(0);
        let widths = [
            width(|row| row.path.len()),
            width(|row| row.layer.chars().count()),
            width(|row| row.result.len()),
            width(|row| row.count().len()),
        ];
        for row in &rows {
            let [path, layer, result, count] = widths;
            let line = format!("  {:path$}  {:layer$}  {:result$}", row.path, row.layer, row.result);
            match row.params {
                0 => writeln!(f, "{}", line.trim_end())?,
                1 => writeln!(f, "{line}  {:>count$} parameter", row.count())?,
                _ => writeln!(f, "{line}  {:>count$} parameters", row.count())?,
            }
        }
        for scalar in definition.scalars {
            writeln!(f, "  scalar {} = {}", scalar.name, number(scalar.value))?;
        }
        if let Some(loss) = &definition.loss {
            let loss = expression(&acts, &loss.expr);
            let targets: Vec<String> = definition.targets.iter().map(port).collect();
            match &targets[..] {
                [] => writeln!(f, "  loss = {loss}")?,
                targets => writeln!(f, "  loss({}) = {loss}", targets.join(", "))?,
            }
        }
        for metric in definition.metrics {
            writeln!(f, "  metric {} = {}", metric.name, expression(&acts, &metric.expr))?;
        }
        write!(f, "  {}", count_of(rows.iter().map(|row| row.params).sum::<usize>()))
    }
}

/// "1 parameter", "210 parameters".
fn count_of(n: usize) -> String {
    if n == 1 { "1 parameter".to_string() } else { format!("{n} parameters") }
}

/// What is told of a stage.
pub struct Row {
    /// The path.
    pub path: String,
    /// The layer with its arguments.
    pub layer: String,
    /// The type of the result.
    pub result: String,
    /// How many numbers training changes in it.
    pub params: usize,
}

impl Row {
    /// The number of parameters, blank for none.
    fn count(&self) -> String {
        if self.params == 0 { String::new() } else { self.params.to_string() }
    }
}

impl Elaborated<'_> {
    /// `network Mlp<image: f32[B,784] -> logits: f32[B,10]>`, with the sizes that were chosen: `network Mlp(hidden = 64)<..>`
    pub fn signature(&self) -> String {
        let Definition { name, inputs, outputs, .. } = self.definition;
        let sizes = self.definition.sizes().iter().map(|size| format!("{} = {}", size.name, size.value));
        let sizes = sizes.collect::<Vec<String>>().join(", ");
        let sizes = if sizes.is_empty() { sizes } else { format!("({sizes})") };
        format!("network {name}{sizes}<{} -> {}>", ports(inputs), ports(outputs))
    }

    /// One row a layer, in order; a `residual` has one for its sum, after its branches.
    pub fn rows(&self) -> Vec<Row> {
        let acts = Acts::new(self.definition, true);
        let own = self.steps.iter().filter(|step| matches!(step.action, Action::Layer(..) | Action::Act(..)));
        let mut trained: HashMap<&str, usize> = own.map(|step| (&*step.owner, 0)).collect();
        for (name, shape, _) in self.params.iter().filter(|(.., kind)| *kind != SlotKind::Running) {
            if let Some(count) = owner(name, |path| trained.contains_key(path)).and_then(|path| trained.get_mut(path)) {
                *count += shape.len_at(1);
            }
        }
        let n_inputs = self.definition.inputs.len();
        let rows = self.steps.iter().enumerate().map(|(index, step)| {
            let mut layer = match &step.action {
                Action::Layer(layer, args, _) => with_arguments(layer.name, layer.args, args),
                Action::Act(index, starts) => {
                    let act = &self.definition.acts[*index];
                    match act.name {
                        Some(_) => with_starts(acts.label(*index), act, starts),
                        None => acts.function(act, Some(starts)),
                    }
                }
                Action::Expr(expr) => expression(&acts, expr),
                Action::Residual => "residual".to_string(),
                Action::Branches => "concat".to_string(),
                Action::Concat(axis) => format!("concat(axis = {axis}) of {}", self.operands(&step.operands)),
                Action::Part { .. } => format!("a part of {}", self.operands(&step.operands)),
                Action::Number(name, start) => format!("{name} = {}, trained", number(*start)),
                Action::State { .. } | Action::Element | Action::Scan(..) => self.of_loop(step),
            };
            // What comes from elsewhere than the line above.
            let flowing = flowing(step);
            if flowing.len() > 1
                || flowing.iter().any(|x| x + 1 != n_inputs + index)
                    && (!self.definition.flows.is_empty() || step.inside.is_some())
            {
                layer.push_str(&format!(" of {}", self.operands(flowing)));
            }
            let own = match step.action {
                Action::Layer(..) | Action::Act(..) => trained.get(&*step.owner).copied().unwrap_or(0),
                Action::Number(..) => 1,
                _ => 0,
            };
            if step.again && own > 0 {
                layer.push_str(&format!(", parameters of {}", step.owner));
            }
            let params = if step.again { 0 } else { own };
            Row { path: step.path.to_string(), layer, result: step.ty.to_string(), params }
        });
        rows.collect()
    }

    /// What the state, the element and the end of a loop are: in it, whatever changes the result.
    pub(super) fn of_loop(&self, step: &Step<'_>) -> String {
        match (&step.action, &step.operands[..]) {
            (Action::State { steps, reverse }, initial) => {
                let from = initial.first().map_or("zero", |&initial| self.value_name(initial));
                let order = if *reverse { " from the last" } else { "" };
                format!("state, {from} before {steps} steps{order}")
            }
            (Action::Scan(_, args), [_, next, ..]) => {
                // Of what may be left out, the size goes without its name.
                let name = with_arguments("scan", Scan::ARGS, args).replacen("n = ", "", 1);
                format!("{name} of {}", self.value_name(*next))
            }
            (_, operands) => {
                let sequence = operands.get(1).map_or("", |&sequence| self.value_name(sequence));
                format!("element of {sequence}")
            }
        }
    }

    fn operands(&self, operands: &[usize]) -> String {
        operands.iter().map(|&value| self.value_name(value)).collect::<Vec<&str>>().join(", ")
    }
}

/// What flows into a layer or a function: not what masks it, which is among its arguments.
fn flowing<'s>(step: &'s Step<'_>) -> &'s [usize] {
    match &step.action {
        Action::Layer(layer, ..) if matches!(layer.takes, Takes::Memory(_)) => &step.operands[..2],
        Action::Layer(..) | Action::Act(..) => &step.operands[..1],
        _ => &[],
    }
}

pub(super) fn ports(ports: &[Port<'_>]) -> String {
    let all: Vec<String> = ports.iter().map(port).collect();
    match &all[..] {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

pub(super) fn port(port: &Port<'_>) -> String {
    format!("{}: {}", port.name, port.known())
}

/// A layer with the arguments that differ from their defaults.
pub(super) fn with_arguments(name: &str, declared: &[ArgDef], values: &[Arg]) -> String {
    let args = options(declared, values);
    if args.is_empty() { name.to_string() } else { format!("{name}({})", args.join(", ")) }
}

/// A function of the user's own as a stage, with the numbers that do not start as it says.
fn with_starts(name: &str, act: &Act<'_>, starts: &[f64]) -> String {
    let differing = act.extras.iter().zip(starts).filter(|((_, default), start)| default != *start);
    let args: Vec<String> = differing.map(|((extra, _), start)| format!("{extra} = {}", number(*start))).collect();
    if args.is_empty() { name.to_string() } else { format!("{name}({})", args.join(", ")) }
}

/// Those of a layer: what has to be given needs no name.
fn options(declared: &[ArgDef], values: &[Arg]) -> Vec<String> {
    let text = |(arg, value): (&ArgDef, &Arg)| match arg.default {
        None => option(arg, *value),
        Some(_) => format!("{} = {}", arg.name, option(arg, *value)),
    };
    differing(declared, values).map(text).collect()
}

/// Those of a function: they always have names.
fn named_options(declared: &[ArgDef], values: &[Arg]) -> Vec<String> {
    differing(declared, values).map(|(arg, value)| format!("{} = {}", arg.name, option(arg, *value))).collect()
}

fn differing<'a>(declared: &'a [ArgDef], values: &'a [Arg]) -> impl Iterator<Item = (&'a ArgDef, &'a Arg)> {
    declared.iter().zip(values).filter(|(arg, value)| arg.default != Some(**value))
}

fn option(arg: &ArgDef, value: Arg) -> String {
    match value {
        Arg::Int(n) => n.to_string(),
        Arg::Pair(height, width) => format!("({height}, {width})"),
        Arg::Float(x) => number(x),
        Arg::Flag(flag) => flag.to_string(),
        Arg::Word(word) => word.to_string(),
        Arg::Init(initializer, value) => {
            let value =
                value.filter(|&x| initializer.number.as_ref().is_none_or(|arg| arg.default != Some(Arg::Float(x))));
            value.map_or(initializer.name.to_string(), |x| format!("{}({})", initializer.name, number(x)))
        }
        Arg::Ints([one]) if !matches!(arg.kind, ArgKind::Extents) => one.to_string(),
        Arg::Ints(list) => {
            let batch = matches!(arg.kind, ArgKind::Extents).then(|| "B".to_string());
            let all: Vec<String> = batch.into_iter().chain(list.iter().map(i64::to_string)).collect();
            format!("[{}]", all.join(", "))
        }
        Arg::Path(path) => path.to_string(),
        Arg::Numbers(list) => format!("[{}]", list.iter().map(|&x| number(x)).collect::<Vec<_>>().join(", ")),
    }
}

/// Whole numbers without a point, small ones with an exponent.
pub(super) fn number(x: f64) -> String {
    if x == x.trunc() && x.abs() < 1e15 { format!("{x}") } else { format!("{x:?}") }
}

pub(super) fn expression<'e>(acts: &'e Acts<'e>, expr: &'e Expr<'e>) -> String {
    Text { acts, expr, least: 0 }.to_string()
}

/// An expression where only operators that bind at least this tightly stand without parentheses.
struct Text<'e> {
    acts: &'e Acts<'e>,
    expr: &'e Expr<'e>,
    least: u8,
}

impl<'e> Text<'e> {
    fn inner(&self, expr: &'e Expr<'e>, least: u8) -> Text<'e> {
        Text { acts: self.acts, expr, least }
    }

    fn bare(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |operands: &'e [Expr<'e>]| operands.iter().map(|operand| self.inner(operand, 0).to_string());
        match *self.expr {
            Expr::Number(value) | Expr::Constant(value, _) => f.write_str(&number(value)),
            Expr::Name(name) | Expr::Path(name, _) => f.write_str(name),
            Expr::Weights(_) => f.write_str("weights"),
            Expr::Neg(_, x) => write!(f, "-{}", self.inner(x, UNARY_LEVEL)),
            Expr::Not(_, x) => write!(f, "!{}", self.inner(x, UNARY_LEVEL)),
            Expr::Binary(op, _, x, y) => {
                let (left, right) = op.operand_levels();
                write!(f, "{} {} {}", self.inner(x, left), op.symbol(), self.inner(y, right))
            }
            Expr::If(_, condition, x, y) => {
                let [condition, x, y] = [condition, x, y].map(|part| self.inner(part, 0));
                write!(f, "if {condition} {{ {x} }} else {{ {y} }}")
            }
            Expr::Call(function, _, args, operands) => {
                let operands: Vec<String> =
                    list(operands).chain(named_options(function.args, &settled(function.args, args))).collect();
                write!(f, "{}({})", function.name, operands.join(", "))
            }
            Expr::Apply(layer, _, args, x) => {
                let x = self.inner(x, 0).to_string();
                let operands: Vec<String> =
                    std::iter::once(x).chain(options(layer.args, &settled(layer.args, args))).collect();
                write!(f, "{}({})", layer.name, operands.join(", "))
            }
            Expr::Part(_, x, spans) => {
                let bound =
                    |bound: &Option<Number<'_>>| bound.map(|n| n.value.to_f64().to_string()).unwrap_or_default();
                let spans = spans.iter().map(|span| match span {
                    Span::All => "..".to_string(),
                    Span::Range(from, to) => format!("{}..{}", bound(from), bound(to)),
                    Span::One(at) => bound(&Some(*at)),
                });
                let x = self.inner(x, UNARY_LEVEL + 1);
                write!(f, "{x}[{}]", spans.collect::<Vec<String>>().join(", "))
            }
            Expr::Inline(index, _, operands) => {
                let act = &self.acts.definition.acts[index];
                let names = std::iter::once(None).chain(act.extras.iter().map(|(name, _)| Some(*name)));
                let operands: Vec<String> = names
                    .zip(list(operands))
                    .map(|(name, operand)| name.map_or(operand.clone(), |name| format!("{name} = {operand}")))
                    .collect();
                write!(f, "{}({})", self.acts.label(index), operands.join(", "))
            }
            Expr::Elsewhere(..) | Expr::Broken => f.write_str("?"),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = match self.expr {
            Expr::Binary(op, ..) => op.level(),
            Expr::Neg(..) | Expr::Not(..) => UNARY_LEVEL,
            Expr::If(..) => 0,
            _ => UNARY_LEVEL + 1,
        };
        if own < self.least {
            f.write_str("(")?;
            self.bare(f)?;
            f.write_str(")")
        } else {
            self.bare(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::elaborate::elaborate;
    use crate::functions::{ARGMAX, CROSS_ENTROPY, MEAN};
    use crate::layers::initializers::AUTO;
    use crate::layers::{Arg, BATCH_NORM, DENSE, GELU, LayerDef};
    use crate::network::{
        Act, At, BinaryOp, Clause, Definition, Expr, Extent, Kind, Number, Outcome, Port, Stage, Value,
    };
    use crate::types::DType;

    const AT: At = At(0);
    const BATCH: Extent<'static> = Extent::Batch(AT);

    const fn extent(n: i64) -> Extent<'static> {
        Extent::Size(Number { value: Outcome::Int(n), text: "", at: AT })
    }

    const fn stage(
        layer: &'static LayerDef,
        args: &'static [Value<'static>],
        segment: &'static str,
        named: bool,
    ) -> Stage<'static> {
        Stage { kind: Kind::Layer(layer, args), segment, named, text: "", at: AT }
    }

    const fn port(name: &'static str, dtype: DType, dims: &'static [Extent<'static>]) -> Port<'static> {
        Port { name, named: true, dtype, dims, at: AT }
    }

    const WORD: Value<'static> = Value::Known(Arg::Init(&AUTO, None));
    const OWN: Value<'static> = Value::Known(Arg::Path(""));
    const OVER_ALL: [Value<'static>; 2] = [Value::Known(Arg::Ints(&[])), Value::Known(Arg::Flag(false))];
    const NET: Definition<'static> = Definition {
        name: "Net",
        inputs: &[port("x", DType::F32, &[BATCH, extent(8)])],
        outputs: &[port("y", DType::F32, &[BATCH, extent(3)])],
        targets: &[port("label", DType::U8, &[BATCH])],
        scalars: &[],
        layers: &[],
        flows: &[],
        acts: &[Act { name: Some("double"), operand: "x", extras: &[("by", 2.0)], expr: Expr::Name("x") }],
        body: &[
            stage(&DENSE, &[Value::Known(Arg::Int(16)), Value::Known(Arg::Flag(false)), WORD, OWN], "dense1", false),
            stage(
                &BATCH_NORM,
                &[Value::Known(Arg::Float(0.9)), Value::Known(Arg::Float(1e-6)), Value::Known(Arg::Int(2))],
                "h",
                true,
            ),
            Stage {
                kind: Kind::Repeat {
                    count: Number { value: Outcome::Int(2), text: "2", at: AT },
                    body: &[Stage {
                        kind: Kind::Residual {
                            body: &[
                                stage(&GELU, &[Value::Known(Arg::Word("none"))], "gelu1", false),
                                stage(
                                    &DENSE,
                                    &[Value::Known(Arg::Int(16)), Value::Known(Arg::Flag(true)), WORD, OWN],
                                    "dense1",
                                    false,
                                ),
                            ],
                            skip: None,
                        },
                        segment: "residual1",
                        named: false,
                        text: "residual",
                        at: AT,
                    }],
                },
                segment: "repeat1",
                named: false,
                text: "repeat(2)",
                at: AT,
            },
            Stage { kind: Kind::Act(0, &[3.0]), segment: "double1", named: false, text: "double(by = 3)", at: AT },
            stage(&DENSE, &[Value::Known(Arg::Int(3)), Value::Known(Arg::Flag(true)), WORD, OWN], "dense2", false),
        ],
        loss: Some(Clause {
            name: "loss",
            at: AT,
            expr: Expr::Binary(
                BinaryOp::Sub,
                AT,
                &Expr::Call(
                    &CROSS_ENTROPY,
                    AT,
                    &[Value::Known(Arg::Float(0.1)), Value::Known(Arg::Numbers(&[])), Value::Known(Arg::Word("none"))],
                    &[Expr::Name("y"), Expr::Name("label")],
                ),
                &Expr::Binary(
                    BinaryOp::Sub,
                    AT,
                    &Expr::Number(2.0),
                    &Expr::Binary(
                        BinaryOp::Mul,
                        AT,
                        &Expr::Number(1e-9),
                        &Expr::Call(
                            &MEAN,
                            AT,
                            &OVER_ALL,
                            &[Expr::Apply(
                                &GELU,
                                AT,
                                &[Value::Known(Arg::Word("tanh"))],
                                &Expr::Neg(AT, &Expr::Name("h")),
                            )],
                        ),
                    ),
                ),
            ),
        }),
        metrics: &[Clause {
            name: "accuracy",
            at: AT,
            expr: Expr::Call(
                &MEAN,
                AT,
                &OVER_ALL,
                &[Expr::Binary(
                    BinaryOp::Eq,
                    AT,
                    &Expr::Call(&ARGMAX, AT, &[Value::Known(Arg::Ints(&[-1]))], &[Expr::Name("y")]),
                    &Expr::Name("label"),
                )],
            ),
        }],
        places: &[],
        assembled: None,
    };

    #[test]
    fn a_network_reads_like_its_declaration() {
        let expected = "\
network Net<x: f32[B,8] -> y: f32[B,3]>
  act double = |x, by = 2| x
  dense1                      Dense(16, bias = false)           f32[B,16]  128 parameters
  h                           BatchNorm(eps = 1e-6, every = 2)  f32[B,16]   32 parameters
  repeat1.1.residual1.gelu1   gelu                              f32[B,16]
  repeat1.1.residual1.dense1  Dense(16)                         f32[B,16]  272 parameters
  repeat1.1.residual1         residual                          f32[B,16]
  repeat1.2.residual1.gelu1   gelu                              f32[B,16]
  repeat1.2.residual1.dense1  Dense(16)                         f32[B,16]  272 parameters
  repeat1.2.residual1         residual                          f32[B,16]
  double1                     double(by = 3)                    f32[B,16]    1 parameter
  dense2                      Dense(3)                          f32[B,3]    51 parameters
  loss(label: u8[B]) = cross_entropy(y, label, label_smoothing = 0.1) - (2 - 1e-9 * mean(gelu(-h, approx = tanh)))
  metric accuracy = mean(argmax(y) == label)
  756 parameters";
        let (network, mistakes) = elaborate(&NET);
        assert_eq!((network.to_string().as_str(), &mistakes[..]), (expected, &[][..]));
    }
}
