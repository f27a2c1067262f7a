//! What a network computes, as lines of text: networks with the same lines train alike.
//!
//! What no step depends on is left out: the name of the network, its metrics, and the values that parameters start with.

use super::print::{expression, port, ports, with_arguments};
use super::{Action, Elaborated, Step};
use crate::layers::Arg;
use crate::network::Act;

impl Elaborated<'_> {
    /// The ports, the functions of the user's own, every layer with its path, and the loss: a line each.
    pub fn identity(&self) -> Vec<String> {
        let definition = self.definition;
        let mut lines = vec![format!("{} -> {}", ports(definition.inputs), ports(definition.outputs))];
        let named = definition.acts.iter().filter_map(|act| Some((act.name?, act)));
        lines.extend(named.map(|(name, act)| format!("act {name} = {}", self.function(act))));
        self.identify(&self.body, &mut lines);
        lines.extend(definition.loss.as_ref().map(|loss| {
            let targets: Vec<String> = definition.targets.iter().map(port).collect();
            format!("loss({}) = {}", targets.join(", "), expression(definition, &loss.expr))
        }));
        lines
    }

    fn identify(&self, steps: &[Step<'_>], lines: &mut Vec<String>) {
        for step in steps {
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
                Action::Sequence(steps) => {
                    self.identify(steps, lines);
                    continue;
                }
                Action::Residual(body, skip) => {
                    self.identify(body, lines);
                    self.identify(skip, lines);
                    "residual".to_string()
                }
                Action::Branches(bodies) => {
                    bodies.iter().for_each(|body| self.identify(body, lines));
                    "concat".to_string()
                }
            };
            lines.push(format!("{} = {layer}", step.path));
        }
    }

    /// `|x, beta| x * sigmoid(beta * x)`
    fn function(&self, act: &Act<'_>) -> String {
        let extras = act.extras.iter().map(|(name, _)| *name);
        let names: Vec<&str> = std::iter::once(act.operand).chain(extras).collect();
        format!("|{}| {}", names.join(", "), expression(self.definition, &act.expr))
    }
}
