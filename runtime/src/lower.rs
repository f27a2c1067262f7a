//! From the static description of a network to its forward graph.
//!
//! In: a [`Definition`] and a mode. Out: a graph with its outputs, loss, metrics and, in training, the next running
//! statistics. Sizes are checked again, with the words of the macro, because a description may be written by hand.

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::BuildError;
use crate::ir::{Builder, Graph, InputSlot, NodeId, Output, ParamSlot, Role, SlotKind, Slots};
use crate::layers::{Gain, Mode, Scope};
use crate::network::{BinaryOp, Definition, Expr, Port, Stage};
use crate::scalar::Cmp;
use crate::types::{DType, Shape};

/// Lowers a network.
pub fn lower(definition: &'static Definition, mode: Mode) -> Result<Graph, BuildError> {
    let mut lowering = Lowering { b: Builder::new(Graph::default()), mode, values: HashMap::new() };
    lowering.slots(definition);
    let result = lowering.body(definition)?;
    lowering.outputs(definition, result);
    lowering.expressions(definition);
    Ok(lowering.b.finish())
}

struct Lowering {
    b: Builder,
    mode: Mode,
    values: HashMap<&'static str, NodeId>,
}

impl Lowering {
    fn slots(&mut self, definition: &'static Definition) {
        let slot = |port: &Port, target| InputSlot { name: port.name, ty: port.ty(), target, classes: None };
        let inputs = definition.inputs.iter().map(|port| slot(port, false));
        let targets = definition.targets.iter().map(|port| slot(port, true));
        *self.b.graph_mut() = Graph {
            slots: Slots {
                inputs: inputs.chain(targets).collect(),
                outputs: definition.outputs.iter().map(|port| port.name).collect(),
                metrics: definition.metrics.iter().map(|metric| metric.name).collect(),
                ..Slots::default()
            },
            ..Graph::default()
        };
        for (index, port) in definition.inputs.iter().enumerate() {
            let node = self.b.input(index);
            self.values.insert(port.name, node);
        }
    }

    fn body(&mut self, definition: &'static Definition) -> Result<NodeId, BuildError> {
        let mut x = self.values[definition.inputs[0].name];
        for (index, stage) in definition.body.iter().enumerate() {
            x = self.stage(stage, gain_of_next(&definition.body[index + 1..]), x)?;
            if let Some(name) = stage.name {
                self.values.insert(name, x);
            }
        }
        Ok(x)
    }

    fn stage(&mut self, stage: &'static Stage, next: Gain, x: NodeId) -> Result<NodeId, BuildError> {
        let shape = self.b.shape(x);
        let expected = (stage.layer.shape)(&shape, stage.args).map_err(|misfit| BuildError::Misfit {
            layer: stage.text,
            needs: misfit.needs,
            found: shape.declared(),
            place: stage.place,
        })?;
        for param in (stage.layer.params)(&shape, stage.args, next) {
            let name = format!("{}.{}", stage.path, param.name);
            let slot = ParamSlot { name, shape: param.shape, init: param.init, kind: param.kind };
            self.b.graph_mut().slots.params.push(slot);
        }
        self.b.enter(Rc::from(stage.path));
        let mut scope = Scope::new(&mut self.b, stage.args, self.mode, stage.path);
        let y = (stage.layer.lower)(&mut scope, x);
        debug_assert_eq!(self.b.shape(y), expected, "{} keeps its shape rule", stage.layer.name);
        Ok(y)
    }

    fn outputs(&mut self, definition: &'static Definition, result: NodeId) {
        self.values.insert(definition.outputs[0].name, result);
        self.b.graph_mut().outputs.push(Output { role: Role::Output(0), node: result });
    }

    fn expressions(&mut self, definition: &'static Definition) {
        self.b.enter(Rc::from(""));
        for (index, port) in definition.targets.iter().enumerate() {
            let node = self.b.input(definition.inputs.len() + index);
            self.values.insert(port.name, node);
        }
        if let Some(loss) = &definition.loss {
            self.b.enter(Rc::from("loss"));
            let node = self.expr(loss);
            self.b.graph_mut().outputs.push(Output { role: Role::Loss, node });
        }
        for (index, metric) in definition.metrics.iter().enumerate() {
            self.b.enter(Rc::from(metric.name));
            let node = self.expr(&metric.expr);
            self.b.graph_mut().outputs.push(Output { role: Role::Metric(index), node });
        }
    }

    fn expr(&mut self, expr: &'static Expr) -> NodeId {
        match expr {
            Expr::Number(value) => self.b.constant(*value, &Shape::scalar()),
            Expr::Name(name) => self.name(name),
            Expr::Neg(x) => {
                let x = self.expr(x);
                self.b.neg(x)
            }
            Expr::Binary(op, x, y) => {
                let (x, y) = (self.expr(x), self.expr(y));
                self.binary(*op, x, y)
            }
            Expr::Call(function, args, operands) => {
                let operands: Vec<NodeId> = operands.iter().map(|operand| self.expr(operand)).collect();
                (function.lower)(&mut self.b, args, &operands)
            }
            Expr::Apply(layer, args, x) => {
                let x = self.expr(x);
                let function = layer.function.expect("only pure functions are applied in expressions");
                function(&mut self.b, args, x)
            }
        }
    }

    fn name(&mut self, name: &'static str) -> NodeId {
        if let Some(&node) = self.values.get(name) {
            return node;
        }
        let params = &self.b.graph().slots.params;
        let index = params.iter().position(|slot| slot.name == name).expect("the macro resolved every name");
        let node = self.b.param(index);
        self.values.insert(name, node);
        node
    }

    fn binary(&mut self, op: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
        let b = &mut self.b;
        let ty = op.result(b.ty(x), b.ty(y)).expect("the macro checked the operands");
        let x = b.spread(x, &ty.shape);
        let y = b.spread(y, &ty.shape);
        let index = b.ty(x).dtype != DType::F32;
        match op {
            BinaryOp::Add => b.add(x, y),
            BinaryOp::Sub => b.sub(x, y),
            BinaryOp::Mul => b.mul(x, y),
            BinaryOp::Div => b.div(x, y),
            BinaryOp::Eq if index => b.index_eq(x, y),
            BinaryOp::Ne if index => {
                let equal = b.index_eq(x, y);
                b.not(equal)
            }
            BinaryOp::Eq => b.compare(Cmp::Eq, x, y),
            BinaryOp::Ne => b.compare(Cmp::Ne, x, y),
            BinaryOp::Lt => b.compare(Cmp::Lt, x, y),
            BinaryOp::Le => b.compare(Cmp::Le, x, y),
            BinaryOp::Gt => b.compare(Cmp::Gt, x, y),
            BinaryOp::Ge => b.compare(Cmp::Ge, x, y),
        }
    }
}

/// What the next activation asks of the weights before it; layers in between that keep the scale are passed over.
fn gain_of_next(rest: &[Stage]) -> Gain {
    for stage in rest {
        if let Some(gain) = stage.layer.gain {
            return gain;
        }
        let owns_weights = stage.layer.args.iter().any(|arg| arg.name == "init");
        if owns_weights {
            break;
        }
    }
    Gain::Xavier
}

/// The parameters that training changes.
pub fn trainable(graph: &Graph) -> impl Iterator<Item = usize> + '_ {
    let kinds = graph.slots.params.iter().enumerate();
    kinds.filter(|(_, slot)| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter)).map(|(index, _)| index)
}
