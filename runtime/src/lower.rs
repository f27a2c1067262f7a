//! From a checked network to its forward graph.
//!
//! In: a [`Definition`], which is checked first, and a mode. Out: a graph with its outputs, loss, metrics and, in training,
//! the next running statistics.

mod branches;
mod check;
mod loops;
mod next;
mod operators;
mod probes;
mod slots;

use std::collections::HashMap;
use std::rc::Rc;

use crate::elaborate::{Action, Elaborated, Step, class_id, settled};
use crate::error::BuildError;
use crate::functions::FunctionDef;
use crate::ir::{Builder, Graph, InputSlot, NodeId, Op, Origin, Output, Role, ScalarSlot, SlotKind, Slots, nest};
use crate::layers::{Arg, Frozen, Gain, LayerDef, Layout, Mode, Next, ParamDef, Scope, Takes};
use crate::network::{Act, At, Definition, Expr, Port};
use crate::types::Shape;

/// Lowers a network.
pub fn lower(definition: &'static Definition<'static>, mode: Mode) -> Result<Graph, BuildError> {
    lower_frozen(definition, mode, Frozen::NONE)
}

/// The same with some running statistics frozen: a layer that has any of them is lowered as for inference.
pub fn lower_frozen(
    definition: &'static Definition<'static>,
    mode: Mode,
    frozen: Frozen<'_>,
) -> Result<Graph, BuildError> {
    Ok(nest(lowered(definition, mode, frozen)?.b.finish()))
}

fn lowered<'f>(
    definition: &'static Definition<'static>,
    mode: Mode,
    frozen: Frozen<'f>,
) -> Result<Lowering<'f>, BuildError> {
    let network = check(definition)?;
    let mut lowering = prepared(definition, &network, mode, frozen);
    let slot = |port: &Port<'static>, target| InputSlot { name: port.name, ty: port.known(), target, classes: None };
    let inputs = definition.inputs.iter().map(|port| slot(port, false));
    let targets = definition.targets.iter().map(|port| slot(port, true));
    lowering.slots_of(inputs.chain(targets).collect());
    network.steps.iter().for_each(|step| lowering.step(step));
    lowering.outputs(&network.outputs);
    lowering.expressions();
    Ok(lowering)
}

/// Everything ready for the first step.
fn prepared<'f>(
    definition: &'static Definition<'static>,
    network: &Elaborated<'static>,
    mode: Mode,
    frozen: Frozen<'f>,
) -> Lowering<'f> {
    let ports = definition.inputs.iter().map(|port| port.known().shape);
    Lowering {
        definition,
        b: Builder::new(Graph::default()),
        mode,
        frozen,
        next: None,
        shapes: ports.chain(network.steps.iter().map(|step| step.ty.shape.clone())).collect(),
        kept: Vec::new(),
        values: Vec::new(),
        arranged: HashMap::new(),
        names: network.names.clone(),
        loops: network.loops.iter().map(Loop::new).collect(),
        inside: None,
        targets: HashMap::new(),
        params: HashMap::new(),
        layers: Vec::new(),
        choices: Vec::new(),
    }
}

/// The origin of what is declared under this name at this place.
fn origin(definition: &Definition<'_>, name: &Rc<str>, at: At) -> Rc<Origin> {
    Origin::of_layer(Rc::clone(name), Some(definition.place(at)))
}

pub use check::check;
use loops::Loop;
pub use next::{Asked, lower_next};
pub use probes::{Probed, lower_with_probes};

/// What flows from stage to stage: a value, and in which order it has its axes.
#[derive(Clone, Copy, Debug)]
struct Flow {
    node: NodeId,
    layout: Layout,
}

impl Flow {
    /// Where there are too few axes to be in another order, they are as declared.
    fn settled(self, b: &Builder) -> Flow {
        let layout = if b.ty(self.node).shape.rank() > 2 { self.layout } else { Layout::Declared };
        Flow { layout, ..self }
    }
}

struct Lowering<'f> {
    definition: &'static Definition<'static>,
    b: Builder,
    mode: Mode,
    frozen: Frozen<'f>,
    /// The position, where the graph is that of one.
    next: Option<Next>,
    /// The shapes of the inputs and of the results of the steps, as they are declared.
    shapes: Vec<Shape>,
    /// What is to be kept for the positions after this one.
    kept: Vec<NodeId>,
    /// The inputs, then the results of the steps.
    values: Vec<Flow>,
    /// Those of them with their axes as declared that were asked for so and have another order.
    arranged: HashMap<usize, NodeId>,
    /// The names and paths that expressions know them by.
    names: HashMap<Rc<str>, usize>,
    /// The loops of the user's own.
    loops: Vec<Loop>,
    /// The one whose body is lowered.
    inside: Option<usize>,
    /// Targets, scalars, and parameters that an expression has asked for, by name or path, with their axes as declared.
    targets: HashMap<Rc<str>, NodeId>,
    /// The indices of the parameters so far, once an expression has asked for one.
    params: HashMap<String, usize>,
    /// Every layer so far.
    layers: Vec<Probed>,
    /// The `select`s of `if` in the expression that is being lowered.
    choices: Vec<NodeId>,
}

/// What the names in an expression refer to: those of a user's function, or those of the network.
type Names<'n> = Option<&'n [(&'static str, NodeId)]>;

impl Lowering<'_> {
    fn slots_of(&mut self, inputs: Vec<InputSlot>) {
        let definition = self.definition;
        *self.b.graph_mut() = Graph {
            slots: Slots {
                inputs,
                outputs: definition.outputs.iter().map(|port| port.name).collect(),
                metrics: definition.metrics.iter().map(|metric| metric.name).collect(),
                scalars: definition.scalars.iter().map(|of| ScalarSlot::Declared(of.name, of.value)).collect(),
                ..Slots::default()
            },
            ..Graph::default()
        };
        for index in 0..definition.inputs.len() {
            let node = self.b.input(index);
            self.values.push(Flow { node, layout: Layout::Declared });
        }
        for (index, scalar) in definition.scalars.iter().enumerate() {
            let node = self.b.scalar(index);
            self.targets.insert(Rc::from(scalar.name), node);
        }
    }

    fn step(&mut self, step: &Step<'static>) {
        let definition = self.definition;
        self.inside = step.inside;
        let operands: Vec<Flow> = step.operands.iter().map(|&value| self.values[value]).collect();
        let y = match (&step.action, &operands[..]) {
            (Action::Layer(layer, args, next), &[x, ref others @ ..]) => {
                self.layer(step, layer, args, *next, (x, others))
            }
            (Action::Act(index, starts), &[x]) => self.act(step, &definition.acts[*index], starts, x),
            (Action::Expr(expr), _) => {
                self.b.enter(origin(definition, &step.path, step.at));
                let node = self.whole(|lowering| lowering.expr(expr, None));
                Flow { node, layout: Layout::Declared }
            }
            (Action::Residual, &[long, short]) => {
                self.b.enter(origin(definition, &step.path, step.at));
                let layout = if short.layout == Layout::Declared { long.layout } else { short.layout };
                let [long, short] = [long, short].map(|flow| self.arranged(flow, layout));
                Flow { node: self.b.add(long, short), layout }
            }
            (Action::Branches, _) => self.joined(step, 1),
            (Action::Concat(axis), _) => self.joined(step, *axis),
            (Action::Part { axis, index, len }, _) => {
                self.b.enter(origin(definition, &step.path, step.at));
                let x = self.declared(step.operands[0]);
                Flow { node: self.b.slice(x, *axis, index * len, *len, 1), layout: Layout::Declared }
            }
            (Action::Number(..) | Action::State { .. } | Action::Element | Action::Scan(..), _) => self.of_loop(step),
            (_, operands) => unreachable!("`{}` was checked, and has {} operands", step.path, operands.len()),
        };
        let found = y.layout.declared(&self.b.shape(y.node));
        debug_assert!(self.next.is_some() || found == step.ty.shape, "`{}` keeps its shape rule", step.path);
        self.values.push(y);
    }

    /// The operands one after the other along an axis, which is one of those declared.
    fn joined(&mut self, step: &Step<'static>, axis: usize) -> Flow {
        self.b.enter(origin(self.definition, &step.path, step.at));
        let is_image = step.operands.iter().any(|&value| self.values[value].layout == Layout::ChannelsLast);
        let (layout, axis) = match (is_image, axis) {
            (false, _) => (Layout::Declared, axis),
            (true, 0) => (Layout::ChannelsLast, 0),
            (true, 1) => (Layout::ChannelsLast, step.ty.shape.rank() - 1),
            (true, _) => (Layout::ChannelsLast, axis - 1),
        };
        let parts: Vec<NodeId> = step.operands.iter().map(|&value| self.arranged(self.values[value], layout)).collect();
        Flow { node: self.b.concat(&parts, axis), layout }
    }

    /// A value with its axes as they are declared.
    fn declared(&mut self, value: usize) -> NodeId {
        if let Some(&node) = self.arranged.get(&value) {
            return node;
        }
        let flow = self.values[value];
        let node = self.arranged(flow, Layout::Declared);
        if node != flow.node {
            self.arranged.insert(value, node);
        }
        node
    }

    fn layer(
        &mut self,
        step: &Step<'static>,
        layer: &'static LayerDef,
        args: &[Arg],
        next: Gain,
        (x, others): (Flow, &[Flow]),
    ) -> Flow {
        let mut mode = self.mode;
        let running = |param: &ParamDef| param.kind == SlotKind::Running;
        let mut statistics = layer.own_params(&self.shapes[step.operands[0]], args, next).into_iter().filter(running);
        if statistics.any(|param| (self.frozen.named)(&format!("{}.{}", step.owner, param.name))) {
            mode = Mode::Infer;
        }
        self.slots_of_layer(step, layer, args, next);
        self.b.enter(origin(self.definition, &step.path, step.at));
        let layout = layer.layout.unwrap_or(x.layout);
        let node = self.arranged(x, layout);
        let (memory, named) = match (layer.takes, others) {
            (Takes::Memory(_), [memory, named @ ..]) => (Some(*memory), named),
            (_, named) => (None, named),
        };
        let memory = memory.map(|memory| self.arranged(memory, layout));
        let names = layer.named(args).map(|(argument, ..)| argument);
        let named = names.zip(named).map(|(name, &flow)| (name, self.arranged(flow, Layout::Declared))).collect();
        if let Takes::Ids(classes) = layer.takes {
            self.b.limit_ids(node, classes(args));
        }
        let mut scope = Scope::new(&mut self.b, args, mode, &step.path, &step.owner);
        scope.memory = memory;
        scope.named = named;
        let borrowed = layer.args.iter().filter_map(|arg| Some((arg.name, layer.borrowed(args, arg.name)?)));
        scope.borrowed = borrowed.collect();
        scope.frozen_after = self.frozen.after;
        scope.layout = layout;
        // The body of a loop is that of one position, whatever it is made of.
        scope.next = self.next.filter(|_| step.inside.is_none());
        let first = scope.b.graph().nodes.len();
        let y = (layer.lower)(&mut scope, node);
        let own = first..scope.b.graph().nodes.len();
        let kept = std::mem::take(&mut scope.kept);
        self.kept.extend(kept);
        let states = own.map(|id| NodeId(id as u32)).find(|&id| matches!(self.b[id].op, Op::History { .. }));
        self.probe(step, Some((layer, args.to_vec())), [Some(node), Some(y), states]);
        Flow { node: y, layout }.settled(&self.b)
    }

    fn act(&mut self, step: &Step<'static>, act: &'static Act<'static>, starts: &[f64], x: Flow) -> Flow {
        self.b.enter(origin(self.definition, &step.path, step.at));
        let layout = if self.looks_along_rows(&act.expr) { Layout::Declared } else { x.layout };
        let node = self.arranged(x, layout);
        let mut operands = vec![node];
        for slot in self.slots_of_act(step, act, starts) {
            operands.push(self.b.param(slot));
        }
        let shape = self.b.shape(node);
        let y = self.whole(|lowering| lowering.function(act, &operands));
        let y = self.b.spread(y, &shape);
        self.probe(step, None, [Some(node), Some(y), None]);
        Flow { node: y, layout }.settled(&self.b)
    }

    /// A value with its axes in this order.
    fn arranged(&mut self, x: Flow, layout: Layout) -> NodeId {
        x.layout.to(layout, &mut self.b, x.node)
    }

    /// Whether an expression has a layer in it for which the order of axes matters: softmax.
    fn looks_along_rows(&self, expr: &Expr<'static>) -> bool {
        let any = |operands: &[Expr<'static>]| operands.iter().any(|operand| self.looks_along_rows(operand));
        match *expr {
            Expr::Apply(layer, _, _, x) => layer.layout.is_some() || self.looks_along_rows(x),
            Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Part(_, x, _) => self.looks_along_rows(x),
            Expr::Binary(_, _, x, y) => self.looks_along_rows(x) || self.looks_along_rows(y),
            Expr::If(_, p, x, y) => [p, x, y].into_iter().any(|part| self.looks_along_rows(part)),
            Expr::Call(_, _, _, operands) => any(operands),
            Expr::Inline(index, _, operands) => {
                self.looks_along_rows(&self.definition.acts[index].expr) || any(operands)
            }
            Expr::Number(_) | Expr::Constant(..) | Expr::Name(_) | Expr::Path(..) => false,
            Expr::Weights(_) | Expr::Elsewhere(..) | Expr::Broken => false,
        }
    }

    fn outputs(&mut self, values: &[usize]) {
        for (index, &value) in values.iter().enumerate() {
            let node = self.declared(value);
            self.b.graph_mut().outputs.push(Output { role: Role::Output(index), node });
        }
    }

    fn expressions(&mut self) {
        self.inside = None;
        let definition = self.definition;
        self.b.enter(Origin::of_layer(Rc::from(""), None));
        for (index, port) in definition.targets.iter().enumerate() {
            let node = self.b.input(definition.inputs.len() + index);
            self.targets.insert(Rc::from(port.name), node);
        }
        let metrics = definition.metrics.iter().enumerate().map(|(index, metric)| (Role::Metric(index), metric));
        for (role, clause) in definition.loss.iter().map(|loss| (Role::Loss, loss)).chain(metrics) {
            self.b.enter(origin(definition, &Rc::from(clause.name), clause.at));
            let node = self.whole(|lowering| lowering.expr(&clause.expr, None));
            self.b.graph_mut().outputs.push(Output { role, node });
        }
    }

    fn expr(&mut self, expr: &Expr<'static>, names: Names<'_>) -> NodeId {
        match *expr {
            Expr::Number(value) | Expr::Constant(value, _) => self.b.constant(value, &Shape::scalar()),
            Expr::Name(name) => match names {
                Some(names) => {
                    let (_, node) =
                        names.iter().find(|(known, _)| *known == name).expect("the macro resolved every name");
                    *node
                }
                None => self.name(name),
            },
            Expr::Path(path, _) => self.name(path),
            Expr::Neg(_, x) => {
                let x = self.expr(x, names);
                self.b.neg(x)
            }
            Expr::Not(_, x) => {
                let x = self.expr(x, names);
                self.b.not(x)
            }
            Expr::Binary(op, _, x, y) => {
                let nodes = [x, y].map(|operand| self.expr(operand, names));
                let [left, right] = nodes.map(|node| self.b.ty(node));
                let is_id = class_id((left, right), (x, y)).is_some();
                // Every id that the macro accepts is exact as a number, and no larger id rounds to one of them.
                let [x, y] = nodes.map(|node| if is_id { self.number(node) } else { node });
                self.binary(op, x, y)
            }
            Expr::If(_, condition, x, y) => self.choice(condition, x, y, names),
            Expr::Call(function, _, args, [Expr::Weights(_)]) => {
                self.over_weights(function, &settled(function.args, args))
            }
            Expr::Call(function, _, args, operands) => {
                let operands: Vec<NodeId> = operands.iter().map(|operand| self.expr(operand, names)).collect();
                (function.lower)(&mut self.b, &settled(function.args, args), &operands)
            }
            Expr::Apply(layer, _, args, x) => {
                let x = self.expr(x, names);
                let function = layer.function.expect("only pure functions are applied in expressions");
                function(&mut self.b, &settled(layer.args, args), x)
            }
            Expr::Part(_, x, spans) => {
                let x = self.expr(x, names);
                self.part(x, spans)
            }
            Expr::Inline(index, _, operands) => {
                let operands: Vec<NodeId> = operands.iter().map(|operand| self.expr(operand, names)).collect();
                self.function(&self.definition.acts[index], &operands)
            }
            Expr::Weights(_) | Expr::Elsewhere(..) | Expr::Broken => unreachable!("the network was checked"),
        }
    }

    /// A user's function, applied to a value and the values of its numbers.
    fn function(&mut self, act: &'static Act<'static>, operands: &[NodeId]) -> NodeId {
        let names = std::iter::once(act.operand).chain(act.extras.iter().map(|(name, _)| *name));
        let names: Vec<(&str, NodeId)> = names.zip(operands.iter().copied()).collect();
        self.expr(&act.expr, Some(&names))
    }

    /// The function of every weight, added up.
    fn over_weights(&mut self, function: &'static FunctionDef, args: &[Arg]) -> NodeId {
        let slots = self.b.graph().slots.params.iter().enumerate();
        let weights: Vec<usize> =
            slots.filter(|(_, slot)| slot.kind == SlotKind::Weight).map(|(index, _)| index).collect();
        let terms: Vec<NodeId> = weights
            .into_iter()
            .map(|index| {
                let weight = self.b.param(index);
                (function.lower)(&mut self.b, args, &[weight])
            })
            .collect();
        let sum = terms.into_iter().reduce(|sum, term| self.b.add(sum, term));
        sum.expect("a network without weights was refused")
    }

    /// An expression that is not part of another, so that all of its branches are known.
    fn whole(&mut self, expression: impl FnOnce(&mut Self) -> NodeId) -> NodeId {
        let start = self.b.graph().nodes.len();
        let result = expression(self);
        let choices = std::mem::take(&mut self.choices);
        if choices.is_empty() {
            return result;
        }
        let copies = branches::gate(&mut self.b, start, &choices);
        // Parameters that this expression reads first.
        self.targets.values_mut().for_each(|node| *node = copies.at(*node));
        self.arranged.values_mut().for_each(|node| *node = copies.at(*node));
        copies.at(result)
    }

    fn name(&mut self, name: &str) -> NodeId {
        if let Some(value) = self.own_name(name) {
            return self.declared(value);
        }
        // In the body of a loop, the path of a parameter may begin after that of the loop.
        let around: Vec<String> = self.around().map(|known| format!("{}{name}", known.owner)).collect();
        let own = around.into_iter().find(|own| self.param_of(own).is_some());
        if own.is_none()
            && let Some(&value) = self.names.get(name)
        {
            return self.declared(value);
        }
        let name = own.as_deref().unwrap_or(name);
        if let Some(&node) = self.targets.get(name) {
            return node;
        }
        let index = self.param_of(name).expect("the macro resolved every name");
        let node = self.b.param(index);
        let order = self.b.graph().slots.params[index].order;
        let node = if order.is_empty() { node } else { self.b.transpose(node, order) };
        self.targets.insert(Rc::from(name), node);
        node
    }

    /// The index of a parameter.
    fn param_of(&mut self, path: &str) -> Option<usize> {
        let slots = &self.b.graph().slots.params;
        if self.params.len() < slots.len() {
            self.params = slots.iter().enumerate().map(|(index, slot)| (slot.name.clone(), index)).collect();
        }
        self.params.get(path).copied()
    }
}

/// The parameters that training changes.
pub fn trainable(graph: &Graph) -> impl Iterator<Item = usize> + '_ {
    let kinds = graph.slots.params.iter().enumerate();
    kinds.filter(|(_, slot)| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter)).map(|(index, _)| index)
}
