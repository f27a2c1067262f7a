//! Flows: the lines of a body, from values to a value with a name.

use std::rc::Rc;

use super::stages::Prefix;
use super::{Action, Context, Step, words};
use crate::axes::axis_of;
use crate::layers::DENSE;
use crate::network::{Expr, Flow, Port, Split};
use crate::types::{DType, Dim, TensorType};

pub(super) use crate::axes::concatenated as joined;

impl<'a> Context<'a> {
    /// A body that is one flow, from the input to the output.
    pub(super) fn pipeline(&mut self) {
        let definition = self.definition;
        let input = match definition.inputs {
            [port] => port.ty().map(|ty| (port, ty)),
            _ => None,
        };
        if let Some((port, ty)) = &input {
            self.begin(port.name, ty);
        }
        let result = self.body(definition.body, &Prefix::default(), input.map(|_| 0));
        let [output] = definition.outputs else { return };
        if let (Some(value), Some(last)) = (result, definition.body.last()) {
            self.outputs.push(value);
            self.names.insert(Rc::from(output.name), value);
            if self.not_flattened(output, value) {
                return;
            }
            let prefix = if output.named { format!("{}: ", output.name) } else { String::new() };
            self.output(output, value, |name, types| words::output_mismatch(name, &prefix, last.text, types));
        }
    }

    /// Says so where an output has too many axes, because a dense layer was given more of them than one.
    fn not_flattened(&mut self, port: &Port<'_>, value: usize) -> bool {
        let Some((declared, found)) = port.ty().zip(self.ty(value).cloned()) else { return false };
        if found.shape.rank() <= declared.shape.rank() {
            return false;
        }
        let is_dense = |step: &&Step<'a>| matches!(&step.action, Action::Layer(layer, ..) if layer.item == DENSE.item);
        let dense = self.steps.iter().filter(is_dense).find_map(|step| {
            let x = self.ty(step.operands[0])?;
            (x.shape.rank() > 2).then(|| (step.at, step.text, x.shape.clone()))
        });
        let Some((at, text, x)) = dense else { return false };
        self.types.remove(port.name);
        let message = words::not_flattened(text, &x, port.name, [&declared, &found], &self.trace.concat());
        self.report(at, message);
        true
    }

    /// The trace of a flow that begins with this value.
    fn begin(&mut self, name: &str, ty: &TensorType) {
        self.trace = vec![format!("{name} {}", words::compact(&words::declared(ty)))];
    }

    /// Checks that an output is what its port says; `message` gets the name of the network, what was declared and what was found.
    fn output(&mut self, port: &Port<'_>, value: usize, message: impl Fn(&str, [&TensorType; 2]) -> String) {
        let Some((declared, found)) = port.ty().zip(self.ty(value).cloned()) else { return };
        if declared.dtype != DType::F32 && found == declared {
            self.report(port.at, words::output_not_f32(port.name, declared.dtype));
            return;
        }
        if found != declared {
            self.types.remove(port.name);
            let message = message(self.definition.name, [&declared, &found]);
            self.report(port.at, message);
        }
    }

    /// One line of a body of flows.
    pub(super) fn flow(&mut self, flow: &'a Flow<'a>) {
        let value = self.value_of(flow);
        if value.is_none() {
            self.complete = false;
        }
        match &flow.split {
            None => self.name(flow.name, value),
            Some(split) => self.split(flow, split, value),
        }
    }

    /// Makes a value known by its name, which may be that of an output.
    fn name(&mut self, name: &str, value: Option<usize>) {
        if let Some(inside) = self.inside {
            self.loops[inside].names.insert(Rc::from(name), value);
            return;
        }
        let port = self.definition.outputs.iter().find(|port| port.name == name);
        let Some(value) = value else { return };
        self.names.insert(Rc::from(name), value);
        if let Some(port) = port {
            self.output(port, value, |network, types| words::flow_mismatch(network, name, types));
        } else if let Some(ty) = self.ty(value).cloned() {
            self.types.insert(name.to_string(), ty);
        }
        // In the order of the ports, once all are known.
        let names = &self.names;
        self.outputs = self.definition.outputs.iter().filter_map(|port| names.get(port.name).copied()).collect();
    }

    pub(super) fn value_of(&mut self, flow: &'a Flow<'a>) -> Option<usize> {
        let prefix = self.prefix(flow);
        if let ([source], []) = (flow.sources, flow.stages) {
            return self.expression(source, &self.path_of(flow.name), flow);
        }
        let mut sources = Vec::new();
        for (index, source) in flow.sources.iter().enumerate() {
            let known = match source {
                Expr::Name(name) | Expr::Path(name, _) => self.known(name).flatten(),
                _ => None,
            };
            let path = match flow.name {
                "" => self.path_without_a_name(&format!("from{}", index + 1)),
                _ => format!("{}from{}", prefix.path, index + 1),
            };
            sources.push(known.or_else(|| self.expression(source, &path, flow)));
        }
        let sources = sources.into_iter().collect::<Option<Vec<usize>>>();
        let Some(sources) = sources else {
            // What stands in the stages was resolved, and depends on what is not known.
            return None;
        };
        let texts: Vec<String> =
            flow.sources.iter().zip(&sources).map(|(source, &value)| self.begun(source, value)).collect();
        self.trace = vec![match &texts[..] {
            [one] => one.clone(),
            several => format!("({})", several.join(", ")),
        }];
        self.joined(flow.stages, &prefix, &sources)
    }

    /// `u [B,128]`
    fn begun(&self, source: &Expr<'_>, value: usize) -> String {
        let name = match source {
            Expr::Name(name) | Expr::Path(name, _) => name,
            _ => "..",
        };
        let ty = self.ty(value).map(|ty| words::compact(&words::declared(ty))).unwrap_or_default();
        format!("{name} {ty}")
    }

    /// A step that gives what an expression comes to.
    fn expression(&mut self, expr: &'a Expr<'a>, path: &str, flow: &Flow<'a>) -> Option<usize> {
        self.in_flow = true;
        let ty = self.expr(expr, None);
        self.in_flow = false;
        let ty = ty?;
        let path: Rc<str> = Rc::from(path);
        let owner = Rc::clone(&path);
        let action = Action::Expr(expr);
        let (operands, inside) = (Vec::new(), self.inside);
        Some(self.push(Step { action, operands, path, owner, again: false, text: "", ty, at: flow.at, inside }))
    }

    /// Says which inputs and flows nothing takes. Where nothing comes from elsewhere, the macro has said so.
    pub(super) fn unused(&mut self) {
        let definition = self.definition;
        let has_foreign = definition.assembled.is_some_and(|assembled| !assembled.uses.is_empty());
        if !has_foreign || !self.complete {
            return;
        }
        let inputs = definition.inputs.iter().filter(|_| !definition.flows.is_empty());
        let inputs = inputs.map(|port| ("input", port.name, port.at));
        let flows = definition.flows.iter().flat_map(|flow| {
            let names = flow.split.as_ref().map_or(std::slice::from_ref(&flow.name), |split| split.names);
            names.iter().map(|name| ("flow", *name, flow.at))
        });
        for (what, name, at) in inputs.chain(flows) {
            let is_output = definition.outputs.iter().any(|port| port.name == name);
            if !is_output && !self.used.contains(name) {
                self.report(at, words::never_used(what, name));
            }
        }
    }

    /// `let (mean, spread) = h -> split;`
    fn split(&mut self, flow: &Flow<'a>, split: &Split<'a>, value: Option<usize>) {
        let parts = value.and_then(|value| self.parts(split, value));
        self.complete &= parts.is_some();
        for (index, &name) in split.names.iter().enumerate() {
            let part = parts.as_ref().map(|(value, axis, ty)| {
                let len = ty.shape.0[*axis].factor();
                let path: Rc<str> = Rc::from(self.path_of(name));
                let action = Action::Part { axis: *axis, index, len };
                let (owner, text, ty) = (Rc::clone(&path), "split", ty.clone());
                let (operands, at, inside) = (vec![*value], flow.at, self.inside);
                Step { action, operands, path, owner, again: false, text, ty, at, inside }
            });
            let part = part.map(|step| self.push(step));
            self.name(name, part);
        }
    }

    /// The axis of a split, and the type of a part.
    fn parts(&mut self, split: &Split<'a>, value: usize) -> Option<(usize, usize, TensorType)> {
        let mut shape = self.numbers(split.at, "split", value)?;
        let n = split.names.len();
        let axis = match axis_of(&shape, self.axis(split.axis)?) {
            Ok(0) => Err(words::split_of_batch()),
            Ok(axis) if shape.0[axis].factor() % n != 0 => Err(words::uneven_split(n, &shape, axis)),
            Ok(axis) => Ok(axis),
            Err(message) => Err(format!("`split` {message}")),
        };
        match axis {
            Ok(axis) => {
                shape.0[axis] = Dim::Fixed(shape.0[axis].factor() / n);
                Some((value, axis, TensorType::f32(shape)))
            }
            Err(message) => {
                self.report(split.at, message);
                None
            }
        }
    }
}
