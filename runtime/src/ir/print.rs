//! A graph as text: one line per operation, values renumbered from zero, constants written where they are used.
//!
//! The text depends on structure only: dead nodes are left out, and no line says where in a file a layer is declared.

use std::fmt;

use super::{DotAxes, Graph, NodeId, Op, Role, ScalarSlot, Slots, Window};
use crate::scalar::Cmp;
use crate::types::{Dim, TensorType};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Names::new(self);
        for id in self.ids().filter(|id| names.number[id.index()].is_some()) {
            let line = format!("{} = {}", names.name(self, id), names.expression(self, id));
            line_with_layer(f, &line, &self[id].origin.label())?;
        }
        for output in &self.outputs {
            writeln!(f, "{} {}", self.role(&output.role), names.name(self, output.node))?;
        }
        Ok(())
    }
}

/// A line of text with the layer it came from, in a column of its own.
pub(crate) fn line_with_layer(f: &mut impl fmt::Write, line: &str, layer: &str) -> fmt::Result {
    match layer {
        "" => writeln!(f, "{line}"),
        layer => writeln!(f, "{line:<64} # {layer}"),
    }
}

impl Graph {
    /// What a result is for: the left side of its line.
    pub(crate) fn role(&self, role: &Role) -> String {
        match *role {
            Role::Loss => "loss =".to_string(),
            Role::Metric(index) => format!("metric {} =", self.slots.metrics[index]),
            Role::Output(index) => format!("output {} =", self.slots.outputs[index]),
            Role::Gradient(index) => format!("d {} =", self.slots.params[index].name),
            Role::Update(index) => format!("{} <-", self.slots.params[index].name),
            Role::Probe(index) => format!("probe {index} ="),
        }
    }
}

/// The numbers of the values that are printed.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) number: Vec<Option<usize>>,
}

impl Names {
    /// Numbers the live nodes, except constants.
    pub(crate) fn new(graph: &Graph) -> Names {
        let mut next = 0..;
        let live = graph.live();
        let number =
            graph.ids().map(|id| (live[id.index()] && graph.constant(id).is_none()).then(|| next.next()).flatten());
        Names { number: number.collect() }
    }

    /// `%7`, or the constant.
    pub(crate) fn name(&self, graph: &Graph, id: NodeId) -> String {
        match (graph.constant(id), self.number[id.index()]) {
            (Some(value), _) => constant(value),
            (None, Some(number)) => format!("%{number}"),
            (None, None) => "%dead".to_string(),
        }
    }

    /// The right side of a node's line, with its type.
    pub(crate) fn expression(&self, graph: &Graph, id: NodeId) -> String {
        let operands = |name: fn(usize, String) -> String| -> String {
            let names = graph[id].operands.iter().enumerate();
            let names: Vec<String> = names.map(|(position, &x)| name(position, self.name(graph, x))).collect();
            names.join(", ")
        };
        operation(&graph.slots, &graph[id].op, &graph[id].ty, &operands(|_, name| name))
    }
}

/// An operation with its operands, already named, and its type.
pub(crate) fn operation(slots: &Slots, op: &Op, ty: &TensorType, operands: &str) -> String {
    let name = op.def().name;
    let text = match op {
        Op::Input(index) => {
            let slot = &slots.inputs[*index];
            format!("{} {}", if slot.target { "target" } else { "input" }, slot.name)
        }
        Op::Param(index) => format!("param {}", slots.params[*index].name),
        Op::Scalar(index) => format!("scalar {}", scalar(&slots.scalars[*index])),
        Op::Const(value) => format!("const {}", constant(*value)),
        Op::Iota(axis) => format!("iota axis {axis}"),
        Op::Count(factor) => format!("count {}", Dim::Batch(*factor)),
        Op::Compare(cmp) => format!("{} {operands}", compare(*cmp)),
        Op::Broadcast(axes) => match axes[..] {
            [] => format!("{name} {operands}"),
            _ => format!("{name} {operands} to {}", list(axes)),
        },
        Op::Transpose(order) => format!("{name} {operands} by {}", list(order)),
        Op::Slice { axis, start, len, step } => {
            let step = if *step == 1 { String::new() } else { format!(" step {step}") };
            format!("{name} {operands} axis {axis}, {len} from {start}{step}")
        }
        Op::Pad { axis, before, inside, after, value } => {
            let counts = [("before", before), ("inside", inside), ("after", after)];
            let counts: Vec<String> =
                counts.into_iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!(", {name} {n}")).collect();
            format!("{name} {operands} axis {axis}{}, with {}", counts.concat(), constant(*value))
        }
        Op::Concat(axis) => format!("{name} {operands} axis {axis}"),
        Op::Patches { axis, window, value } => {
            format!("{name} {operands} axis {axis}, {}, with {}", self::window(window), constant(*value))
        }
        Op::Fold { axis, window, extent } => {
            format!("{name} {operands} axis {axis}, {}, to {extent}", self::window(window))
        }
        Op::Skew { axis, along, step, shift, extent } => {
            format!("{name} {operands} axis {axis} by {step} along {along}, from {shift}, to {extent}")
        }
        Op::ScatterAdd { rows } => format!("{name} {operands} to {rows} rows"),
        Op::Dot(axes) => match axes.as_matrix().filter(|_| ty.shape.rank() == 2) {
            Some((ta, tb)) => {
                let mut parts = operands.splitn(2, ", ");
                let (a, b) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let mark = |transposed: bool| if transposed { ".T" } else { "" };
                format!("{name} {a}{}, {b}{}", mark(ta), mark(tb))
            }
            None => format!("{name} {operands}{}", dot_axes(axes)),
        },
        Op::DotByColumn(axes) => format!("{name} {operands}{}", dot_axes(axes)),
        Op::Carry { steps, reverse, .. } => {
            let direction = if *reverse { " from the last" } else { "" };
            format!("{name} {operands} for {steps} steps{direction}")
        }
        op => match op.axes() {
            Some(axes) => format!("{name} {operands} over {}", list(axes)),
            None => format!("{name} {operands}"),
        },
    };
    format!("{text} : {}", TensorType::to_string(ty))
}

/// A number as compiled code has it: the shortest text that gives the same f32.
pub(crate) fn constant(value: f64) -> String {
    let value = value as f32;
    if value.is_finite() && value != 0.0 && !(1e-4..1e7f32).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// A run-time scalar by its name.
pub(crate) fn scalar(slot: &ScalarSlot) -> String {
    match slot {
        ScalarSlot::Declared(name, _) => name.to_string(),
        ScalarSlot::Optimizer(name, factor) => format!("{name}{}", at(*factor)),
        ScalarSlot::Decay { decay, factor } => format!("decay({decay}){}", at(*factor)),
        ScalarSlot::First => "first".to_string(),
        ScalarSlot::Share => "share".to_string(),
        ScalarSlot::Due { layer, .. } => format!("{layer}.due"),
        ScalarSlot::StatisticsFrozen { after } => format!("frozen_after({after})"),
        ScalarSlot::Key { layer, half, .. } => format!("{layer}.key{half}"),
    }
}

/// The multiple of the learning rate, if it is not 1.
fn at(factor: f64) -> String {
    if factor == 1.0 { String::new() } else { format!("@{factor}") }
}

fn compare(cmp: Cmp) -> &'static str {
    match cmp {
        Cmp::Eq => "eq",
        Cmp::Ne => "ne",
        Cmp::Lt => "lt",
        Cmp::Le => "le",
        Cmp::Gt => "gt",
        Cmp::Ge => "ge",
    }
}

/// `size 3, stride 2, before 1, after 1`: only what differs from the default.
fn window(window: &Window) -> String {
    let Window { size, stride, dilation, before, after } = *window;
    let parts = [("stride", stride, 1), ("dilation", dilation, 1), ("before", before, 0), ("after", after, 0)];
    let parts = parts.into_iter().filter(|(_, value, usual)| value != usual);
    let parts: Vec<String> = parts.map(|(name, value, _)| format!(", {name} {value}")).collect();
    format!("size {size}{}", parts.concat())
}

/// ` batch 0:0, over 2:1`: pairs of an axis of the left and an axis of the right operand.
fn dot_axes(axes: &DotAxes) -> String {
    let pairs = |pairs: &[(usize, usize)]| {
        let pairs: Vec<String> = pairs.iter().map(|(a, b)| format!("{a}:{b}")).collect();
        pairs.join(",")
    };
    match (&axes.batch[..], &axes.contracted[..]) {
        ([], []) => String::new(),
        (batch, []) => format!(" batch {}", pairs(batch)),
        ([], over) => format!(" over {}", pairs(over)),
        (batch, over) => format!(" batch {}, over {}", pairs(batch), pairs(over)),
    }
}

fn list(axes: &[usize]) -> String {
    let axes: Vec<String> = axes.iter().map(usize::to_string).collect();
    axes.join(",")
}
