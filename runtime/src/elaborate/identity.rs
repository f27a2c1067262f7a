//! What a network computes, as lines of text: networks with the same lines train alike.
//!
//! What no step depends on is left out: the name of the network, its metrics, and the values that parameters start with.

use super::acts::Acts;
use super::print::{expression, port, ports, with_arguments};
use super::{Action, Elaborated};
use crate::layers::Arg;

impl Elaborated<'_> {
    /// The ports, the functions of the user's own, every layer with its path, and the loss: one per line.
    pub fn identity(&self) -> Vec<String> {
        let definition = self.definition;
        let mut lines = vec![format!("{} -> {}", ports(definition.inputs), ports(definition.outputs))];
        let acts = Acts::new(definition, false);
        lines.extend(acts.declared());
        self.identify(&acts, &mut lines);
        lines.extend(definition.loss.as_ref().map(|loss| {
            let targets: Vec<String> = definition.targets.iter().map(port).collect();
            format!("loss({}) = {}", targets.join(", "), expression(&acts, &loss.expr))
        }));
        lines
    }

    fn identify(&self, acts: &Acts<'_>, lines: &mut Vec<String>) {
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
                    act.name.map_or_else(|| acts.function(act, None), |_| acts.label(*index).to_string())
                }
                Action::Expr(expr) => expression(acts, expr),
                Action::Residual => "residual".to_string(),
                Action::Branches => "concat".to_string(),
                Action::Concat(axis) => format!("concat(axis = {axis})"),
                Action::Part { axis, index, len } => format!("split(axis = {axis})[{index}] of {len}"),
                Action::Number(name, _) => format!("{name}, trained"),
                Action::State { .. } | Action::Element | Action::Scan(..) => self.of_loop(step),
            };
            let layer = match step.again {
                true => format!("{layer} of {}", step.owner),
                false => layer,
            };
            match self.definition.flows {
                [] if step.inside.is_none() => lines.push(format!("{} = {layer}", step.path)),
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
}
