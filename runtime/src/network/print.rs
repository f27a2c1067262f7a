//! A declared network as text: signature, stages with their shapes and parameters, loss and metrics.
//!
//! The text is that of the stage `Static`. It depends on the declaration's meaning alone: arguments with their default
//! values are left out however they were written, and expressions are put in their shortest form.

use std::fmt;

use super::{BinaryOp, Definition, Expr, Port, Stage};
use crate::ir::SlotKind;
use crate::layers::{Arg, ArgDef, Gain};
use crate::types::{Shape, TensorType};

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network {}<{} -> {}>", self.name, ports(self.inputs), ports(self.outputs))?;
        let rows = rows(self);
        let width = |cell: fn(&Row) -> usize| rows.iter().map(cell).max().unwrap_or(0);
        let widths = [
            width(|row| row.path.len()),
            width(|row| row.layer.len()),
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
        if let Some(loss) = &self.loss {
            let targets: Vec<String> = self.targets.iter().map(port).collect();
            match &targets[..] {
                [] => writeln!(f, "  loss = {loss}")?,
                targets => writeln!(f, "  loss({}) = {loss}", targets.join(", "))?,
            }
        }
        for metric in self.metrics {
            writeln!(f, "  metric {} = {}", metric.name, metric.expr)?;
        }
        write!(f, "  {} parameters", rows.iter().map(|row| row.params).sum::<usize>())
    }
}

/// What is told of a stage.
struct Row {
    path: &'static str,
    layer: String,
    result: String,
    params: usize,
}

impl Row {
    /// The number of parameters, blank for none.
    fn count(&self) -> String {
        if self.params == 0 { String::new() } else { self.params.to_string() }
    }
}

fn rows(definition: &Definition) -> Vec<Row> {
    let mut x = match definition.inputs {
        [input] => Ok(input.ty().shape),
        _ => Err("not known".to_string()),
    };
    let mut rows = Vec::new();
    for stage in definition.body {
        let params = x.as_ref().map_or(0, |x| n_params(stage, x));
        x = x.and_then(|x| {
            (stage.layer.shape)(&x, stage.args).map_err(|misfit| format!("needs {}, found {x}", misfit.needs))
        });
        // After a misfit, which only a description written by hand can have, every further line repeats it.
        let result = x.clone().map_or_else(|misfit| misfit, |shape| TensorType::f32(shape).to_string());
        rows.push(Row { path: stage.path, layer: layer(stage), result, params });
    }
    rows
}

/// How many numbers training changes in this stage.
fn n_params(stage: &Stage, x: &Shape) -> usize {
    if (stage.layer.shape)(x, stage.args).is_err() {
        return 0;
    }
    // How they start has no influence on how many there are.
    let params = (stage.layer.params)(x, stage.args, Gain::Xavier);
    let trained = params.iter().filter(|param| !matches!(param.kind, SlotKind::Running));
    trained.map(|param| param.shape.iter().product::<usize>()).sum()
}

fn ports(ports: &[Port]) -> String {
    let all: Vec<String> = ports.iter().map(port).collect();
    match &all[..] {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

fn port(port: &Port) -> String {
    format!("{}: {}", port.name, port.ty())
}

/// The layer with the arguments that differ from their defaults.
fn layer(stage: &Stage) -> String {
    let args = options(stage.layer.args, stage.args);
    if args.is_empty() { stage.layer.name.to_string() } else { format!("{}({})", stage.layer.name, args.join(", ")) }
}

/// Those of a layer: what has to be given needs no name.
fn options(declared: &[ArgDef], values: &[Arg]) -> Vec<String> {
    let text = |(arg, value): (&ArgDef, &Arg)| match arg.default {
        None => option(*value),
        Some(_) => format!("{} = {}", arg.name, option(*value)),
    };
    differing(declared, values).map(text).collect()
}

/// Those of a function: they always have names.
fn named_options(declared: &[ArgDef], values: &[Arg]) -> Vec<String> {
    differing(declared, values).map(|(arg, value)| format!("{} = {}", arg.name, option(*value))).collect()
}

fn differing<'a>(declared: &'a [ArgDef], values: &'a [Arg]) -> impl Iterator<Item = (&'a ArgDef, &'a Arg)> {
    declared.iter().zip(values).filter(|(arg, value)| arg.default != Some(**value))
}

fn option(value: Arg) -> String {
    match value {
        Arg::Int(n) => n.to_string(),
        Arg::Float(x) => number(x),
        Arg::Flag(flag) => flag.to_string(),
        Arg::Word(word) => word.to_string(),
        Arg::Numbers(list) => format!("[{}]", list.iter().map(|&x| number(x)).collect::<Vec<_>>().join(", ")),
    }
}

/// Whole numbers without a point, small ones with an exponent.
fn number(x: f64) -> String {
    if x == x.trunc() && x.abs() < 1e15 { format!("{x}") } else { format!("{x:?}") }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(value) => f.write_str(&number(*value)),
            Expr::Name(name) => f.write_str(name),
            Expr::Neg(x) => write!(f, "-{}", Operand(x, 3)),
            Expr::Binary(op, x, y) => {
                let level = level(*op);
                // Comparisons do not chain; the others group from the left.
                let left = if op.is_comparison() { level + 1 } else { level };
                write!(f, "{} {} {}", Operand(x, left), op.symbol(), Operand(y, level + 1))
            }
            Expr::Call(function, args, operands) => {
                let operands = operands.iter().map(Expr::to_string).chain(named_options(function.args, args));
                write!(f, "{}({})", function.name, operands.collect::<Vec<_>>().join(", "))
            }
            Expr::Apply(layer, args, x) => {
                let operands = std::iter::once(x.to_string()).chain(options(layer.args, args));
                write!(f, "{}({})", layer.name, operands.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// An operand where only operators that bind at least this tightly stand without parentheses.
struct Operand<'a>(&'a Expr, u8);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operand(expr, least) = self;
        let own = match expr {
            Expr::Binary(op, ..) => level(*op),
            Expr::Neg(_) => 3,
            _ => 4,
        };
        if own < *least { write!(f, "({expr})") } else { write!(f, "{expr}") }
    }
}

/// How tightly an operator binds.
fn level(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Add | BinaryOp::Sub => 1,
        BinaryOp::Mul | BinaryOp::Div => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use crate::functions::{ARGMAX, CROSS_ENTROPY, MEAN};
    use crate::layers::{Arg, BATCH_NORM, DENSE, GELU};
    use crate::network::{BinaryOp, Definition, Expr, Metric, Place, Port, Stage};
    use crate::types::{DType, Dim};

    const PLACE: Place = Place { file: "", line: 1, column: 1 };
    const NET: Definition = Definition {
        name: "Net",
        inputs: &[Port { name: "x", dtype: DType::F32, dims: &[Dim::B, Dim::Fixed(8)] }],
        outputs: &[Port { name: "y", dtype: DType::F32, dims: &[Dim::B, Dim::Fixed(3)] }],
        targets: &[Port { name: "label", dtype: DType::U8, dims: &[Dim::B] }],
        body: &[
            Stage {
                layer: &DENSE,
                args: &[Arg::Int(16), Arg::Flag(false), Arg::Word("auto")],
                path: "dense1",
                name: None,
                text: "Dense(4 * 4, bias = false)",
                place: PLACE,
            },
            Stage {
                layer: &BATCH_NORM,
                args: &[Arg::Float(0.9), Arg::Float(1e-6), Arg::Int(2)],
                path: "h",
                name: Some("h"),
                text: "BatchNorm(eps = 1e-6, every = 2)",
                place: PLACE,
            },
            Stage { layer: &GELU, args: &[Arg::Word("none")], path: "gelu1", name: None, text: "gelu", place: PLACE },
            Stage {
                layer: &DENSE,
                args: &[Arg::Int(3), Arg::Flag(true), Arg::Word("auto")],
                path: "dense2",
                name: None,
                text: "Dense(3)",
                place: PLACE,
            },
        ],
        loss: Some(Expr::Binary(
            BinaryOp::Sub,
            &Expr::Call(&CROSS_ENTROPY, &[Arg::Float(0.1), Arg::Numbers(&[])], &[Expr::Name("y"), Expr::Name("label")]),
            &Expr::Binary(
                BinaryOp::Sub,
                &Expr::Number(2.0),
                &Expr::Binary(
                    BinaryOp::Mul,
                    &Expr::Number(1e-9),
                    &Expr::Call(&MEAN, &[], &[Expr::Apply(&GELU, &[Arg::Word("tanh")], &Expr::Neg(&Expr::Name("h")))]),
                ),
            ),
        )),
        metrics: &[Metric {
            name: "accuracy",
            expr: Expr::Call(
                &MEAN,
                &[],
                &[Expr::Binary(BinaryOp::Eq, &Expr::Call(&ARGMAX, &[], &[Expr::Name("y")]), &Expr::Name("label"))],
            ),
        }],
    };

    #[test]
    fn a_network_reads_like_its_declaration() {
        let expected = "\
network Net<x: f32[B,8] -> y: f32[B,3]>
  dense1  Dense(16, bias = false)           f32[B,16]  128 parameters
  h       BatchNorm(eps = 1e-6, every = 2)  f32[B,16]   32 parameters
  gelu1   gelu                              f32[B,16]
  dense2  Dense(3)                          f32[B,3]    51 parameters
  loss(label: u8[B]) = cross_entropy(y, label, label_smoothing = 0.1) - (2 - 1e-9 * mean(gelu(-h, approx = tanh)))
  metric accuracy = mean(argmax(y) == label)
  211 parameters";
        assert_eq!(NET.to_string(), expected);
    }
}
