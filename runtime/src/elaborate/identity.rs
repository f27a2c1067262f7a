//! What a network computes, as lines of text: networks with the same lines train alike.
//!
//! What no step depends on is left out: the name of the network, its metrics, and the values that parameters start with.

use super::print::{expression, port, ports, with_arguments};
use super::{Action, Elaborated};
use crate::layers::Arg;
use crate::network::Act;

impl Elaborated<'_> {
    /// The ports, the functions of the user's own, every layer with its path, and the loss: a line each.
    pub fn identity(&self) -> Vec<String> {
        let definition = self.definition;
        let mut lines = vec![format!("{} -> {}", ports(definition.inputs), ports(definition.outputs))];
        for act in definition.acts {
            let line = act.name.map(|name| format!("act {name} = {}", self.function(act)));
            // As in the printed text.
            lines.extend(line.filter(|line| !lines.contains(line)));
        }
        self.identify(&mut lines);
        lines.extend(definition.loss.as_ref().map(|loss| {
            let targets: Vec<String> = definition.targets.iter().map(port).collect();
            format!("loss({}) = {}", targets.join(", "), expression(definition, &loss.expr))
        }));
        lines
    }

    fn identify(&self, lines: &mut Vec<String>) {
        for step in &self.steps {
            let layer = match &step.action {
                Action::Layer(layer, args, _) => {
                    let args: Vec<Arg> = args
                        .iter()
                        .zip(layer.args)
                        .map(|(&arg, known)| match arg {
                            Arg::Init(..) => known.default.unwrap_or(arg),
                            arg => arg,
                        })
                        .collect();
                    with_arguments(layer.name, layer.args, &args)
                }
                Action::Act(index, _) => {
                    let act = &self.definition.acts[*index];
                    act.name.map_or_else(|| self.function(act), str::to_string)
                }
                Action::Expr(expr) => expression(self.definition, expr),
                Action::Residual => "residual".to_string(),
                Action::Branches => "concat".to_string(),
                Action::Concat(axis) => format!("concat(axis = {axis})"),
                Action::Part { axis, index, len } => format!("split(axis = {axis})[{index}] of {len}"),
            };
            let layer = match step.again {
                true => format!("{layer} of {}", step.owner),
                false => layer,
            };
            match self.definition.flows {
                [] => lines.push(format!("{} = {layer}", step.path)),
                // Of several values, which ones a step takes belongs to what it computes.
                _ => {
                    let operands: Vec<&str> = step.operands.iter().map(|&value| self.value_name(value)).collect();
                    lines.push(format!("{} = ({}) -> {layer}", step.path, operands.join(", ")));
                }
            }
        }
    }

    /// The name of an input, or the path of a step.
    pub(super) fn value_name(&self, value: usize) -> &str {
        match self.definition.inputs.get(value) {
            Some(port) => port.name,
            None => &self.steps[value - self.definition.inputs.len()].path,
        }
    }

    /// `|x, beta| x * sigmoid(beta * x)`
    fn function(&self, act: &Act<'_>) -> String {
        let extras = act.extras.iter().map(|(name, _)| *name);
        let names: Vec<&str> = std::iter::once(act.operand).chain(extras).collect();
        format!("|{}| {}", names.join(", "), expression(self.definition, &act.expr))
    }
}
