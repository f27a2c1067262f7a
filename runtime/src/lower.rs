//! From a checked network to its forward graph.
//!
//! In: a [`Definition`], which is checked first, and a mode. Out: a graph with its outputs, loss, metrics and, in training,
//! the next running statistics.

mod branches;

use std::collections::HashMap;
use std::rc::Rc;

use crate::elaborate::{Action, Elaborated, Step, class_id, elaborate, settled};
use crate::error::BuildError;
use crate::functions::FunctionDef;
use crate::init::Init;
use crate::ir::{Builder, Graph, InputSlot, NodeId, Origin, Output, ParamSlot, Role, SlotKind, Slots};
use crate::layers::{Arg, Frozen, Gain, LayerDef, Layout, Mode, ParamDef, Scope};
use crate::network::{Act, At, BinaryOp, Definition, Expr, Port};
use crate::scalar::Cmp;
use crate::types::{DType, Shape};

/// Checks a network, with the messages of the macro: only now are the sizes known that come from Rust constants.
pub fn check(definition: &'static Definition<'static>) -> Result<Elaborated<'static>, BuildError> {
    let (network, mistakes) = elaborate(definition);
    match &mistakes[..] {
        [] => Ok(network),
        mistakes => Err(BuildError::Declaration {
            mistakes: mistakes.iter().map(|mistake| (definition.place(mistake.at), mistake.message.clone())).collect(),
        }),
    }
}

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
    Ok(lowered(definition, mode, frozen)?.b.finish())
}

/// Lowers a network for training. The inputs and outputs of every layer are among its results: for the layer of index `i`, those
/// with the roles `Probe(2 i)` and `Probe(2 i + 1)`.
pub fn lower_with_probes(
    definition: &'static Definition<'static>,
    frozen: Frozen<'_>,
) -> Result<(Graph, Vec<Probed>), BuildError> {
    let Lowering { mut b, layers, .. } = lowered(definition, Mode::Train, frozen)?;
    for (index, layer) in layers.iter().enumerate() {
        let ends = [(2 * index, layer.x), (2 * index + 1, layer.y)];
        b.graph_mut().outputs.extend(ends.map(|(end, node)| Output { role: Role::Probe(end), node }));
    }
    Ok((b.finish(), layers))
}

/// A layer or function, with the nodes of its input and output.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The path.
    pub path: Rc<str>,
    /// The layer and its arguments; none for a function of the user's own.
    pub layer: Option<(&'static LayerDef, Vec<Arg>)>,
    /// What goes in.
    pub x: NodeId,
    /// What comes out.
    pub y: NodeId,
}

fn lowered<'f>(
    definition: &'static Definition<'static>,
    mode: Mode,
    frozen: Frozen<'f>,
) -> Result<Lowering<'f>, BuildError> {
    let network = check(definition)?;
    let b = Builder::new(Graph::default());
    let (values, images, params) = (HashMap::new(), HashMap::new(), HashMap::new());
    let (layers, choices) = (Vec::new(), Vec::new());
    let mut lowering = Lowering { definition, b, mode, frozen, values, images, params, layers, choices };
    lowering.slots();
    let input = Flow { node: lowering.values[definition.inputs[0].name], layout: Layout::Declared };
    let result = lowering.steps(&network.body, input);
    lowering.outputs(result);
    lowering.expressions();
    Ok(lowering)
}

/// The origin of what is declared under this name at this place.
fn origin(definition: &Definition<'_>, name: &Rc<str>, at: At) -> Rc<Origin> {
    Origin::of_layer(Rc::clone(name), Some(definition.place(at)))
}

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
    /// Ports, named values and parameters by path, with their axes as declared.
    values: HashMap<Rc<str>, NodeId>,
    /// Named values with their axes in another order, which no expression has asked for yet.
    images: HashMap<Rc<str>, Flow>,
    /// The indices of all parameters, once an expression has asked for one.
    params: HashMap<String, usize>,
    /// Every layer so far.
    layers: Vec<Probed>,
    /// The `select`s of `if` in the expression that is being lowered.
    choices: Vec<NodeId>,
}

/// What the names in an expression refer to: those of a user's function, or those of the network.
type Names<'n> = Option<&'n [(&'static str, NodeId)]>;

impl Lowering<'_> {
    fn slots(&mut self) {
        let definition = self.definition;
        let slot =
            |port: &Port<'static>, target| InputSlot { name: port.name, ty: port.known(), target, classes: None };
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
            self.values.insert(Rc::from(port.name), node);
        }
    }

    fn steps(&mut self, steps: &[Step<'static>], x: Flow) -> Flow {
        steps.iter().fold(x, |x, step| self.step(step, x))
    }

    fn step(&mut self, step: &Step<'static>, x: Flow) -> Flow {
        let definition = self.definition;
        let y = match &step.action {
            Action::Layer(layer, args, next) => self.layer(step, layer, args, *next, x),
            Action::Act(index, starts) => self.act(step, &definition.acts[*index], starts, x),
            Action::Sequence(steps) => self.steps(steps, x),
            Action::Residual(body, skip) => {
                let long = self.steps(body, x);
                let short = self.steps(skip, x);
                self.b.enter(origin(definition, &step.path, step.at));
                let layout = if short.layout == Layout::Declared { long.layout } else { short.layout };
                let [long, short] = [long, short].map(|flow| self.arranged(flow, layout));
                Flow { node: self.b.add(long, short), layout }
            }
            Action::Branches(bodies) => {
                let parts: Vec<Flow> = bodies.iter().map(|body| self.steps(body, x)).collect();
                self.b.enter(origin(definition, &step.path, step.at));
                let is_image = parts.iter().any(|part| part.layout == Layout::ChannelsLast);
                let layout = if is_image { Layout::ChannelsLast } else { Layout::Declared };
                let parts: Vec<NodeId> = parts.into_iter().map(|part| self.arranged(part, layout)).collect();
                let axis = if is_image { step.shape.rank() - 1 } else { 1 };
                Flow { node: self.b.concat(&parts, axis), layout }
            }
        };
        debug_assert_eq!(y.layout.declared(&self.b.shape(y.node)), step.shape, "`{}` keeps its shape rule", step.text);
        if step.named {
            match y.layout {
                Layout::Declared => drop(self.values.insert(Rc::clone(&step.path), y.node)),
                Layout::ChannelsLast => drop(self.images.insert(Rc::clone(&step.path), y)),
            }
        }
        y
    }

    fn layer(&mut self, step: &Step<'static>, layer: &'static LayerDef, args: &[Arg], next: Gain, x: Flow) -> Flow {
        let mut mode = self.mode;
        let declared = x.layout.declared(&self.b.shape(x.node));
        for param in (layer.params)(&declared, args, next) {
            if param.kind == SlotKind::Running && (self.frozen.named)(&format!("{}.{}", step.path, param.name)) {
                mode = Mode::Infer;
            }
            self.slot(&step.path, param);
        }
        self.b.enter(origin(self.definition, &step.path, step.at));
        let layout = layer.layout.unwrap_or(x.layout);
        let node = self.arranged(x, layout);
        let mut scope = Scope::new(&mut self.b, args, mode, &step.path);
        scope.frozen_after = self.frozen.after;
        scope.layout = layout;
        let y = (layer.lower)(&mut scope, node);
        let known = Some((layer, args.to_vec()));
        self.layers.push(Probed { path: Rc::clone(&step.path), layer: known, x: node, y });
        Flow { node: y, layout }.settled(&self.b)
    }

    fn act(&mut self, step: &Step<'static>, act: &'static Act<'static>, starts: &[f64], x: Flow) -> Flow {
        self.b.enter(origin(self.definition, &step.path, step.at));
        let layout = if self.looks_along_rows(&act.expr) { Layout::Declared } else { x.layout };
        let node = self.arranged(x, layout);
        let mut operands = vec![node];
        for (&(name, _), &start) in act.extras.iter().zip(starts) {
            let init = Init::Constant(start as f32);
            let slot = self.slot(&step.path, ParamDef::new(name, Vec::new(), init, SlotKind::Parameter));
            operands.push(self.b.param(slot));
        }
        let shape = self.b.shape(node);
        let y = self.whole(|lowering| lowering.function(act, &operands));
        let y = self.b.spread(y, &shape);
        self.layers.push(Probed { path: Rc::clone(&step.path), layer: None, x: node, y });
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
            Expr::Neg(_, x) | Expr::Not(_, x) => self.looks_along_rows(x),
            Expr::Binary(_, _, x, y) => self.looks_along_rows(x) || self.looks_along_rows(y),
            Expr::If(_, p, x, y) => [p, x, y].into_iter().any(|part| self.looks_along_rows(part)),
            Expr::Call(_, _, _, operands) => any(operands),
            Expr::Inline(index, _, operands) => {
                self.looks_along_rows(&self.definition.acts[index].expr) || any(operands)
            }
            Expr::Number(_) | Expr::Constant(..) | Expr::Name(_) | Expr::Path(..) => false,
            Expr::Weights(_) | Expr::Broken => false,
        }
    }

    fn slot(&mut self, path: &str, param: ParamDef) -> usize {
        let ParamDef { name, shape, order, init, kind } = param;
        let params = &mut self.b.graph_mut().slots.params;
        params.push(ParamSlot { name: format!("{path}.{name}"), shape, order, init, kind });
        params.len() - 1
    }

    fn outputs(&mut self, result: Flow) {
        let result = self.arranged(result, Layout::Declared);
        self.values.insert(Rc::from(self.definition.outputs[0].name), result);
        self.b.graph_mut().outputs.push(Output { role: Role::Output(0), node: result });
    }

    fn expressions(&mut self) {
        let definition = self.definition;
        self.b.enter(Origin::of_layer(Rc::from(""), None));
        for (index, port) in definition.targets.iter().enumerate() {
            let node = self.b.input(definition.inputs.len() + index);
            self.values.insert(Rc::from(port.name), node);
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
            Expr::Inline(index, _, operands) => {
                let operands: Vec<NodeId> = operands.iter().map(|operand| self.expr(operand, names)).collect();
                self.function(&self.definition.acts[index], &operands)
            }
            Expr::Weights(_) | Expr::Broken => unreachable!("the network was checked"),
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

    /// `if p { x } else { y }`: both branches are computed, and one is taken.
    fn choice(&mut self, condition: &Expr<'static>, x: &Expr<'static>, y: &Expr<'static>, names: Names<'_>) -> NodeId {
        let [mask, x, y] = [condition, x, y].map(|expr| self.expr(expr, names));
        let b = &mut self.b;
        let shape = [mask, x, y].map(|node| b.shape(node)).into_iter().max_by_key(Shape::rank).expect("three shapes");
        let [mask, x, y] = [mask, x, y].map(|node| b.spread(node, &shape));
        let choice = b.select(mask, x, y);
        self.choices.push(choice);
        choice
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
        self.values.values_mut().for_each(|node| *node = copies.at(*node));
        copies.at(result)
    }

    fn name(&mut self, name: &str) -> NodeId {
        if let Some(&node) = self.values.get(name) {
            return node;
        }
        if let Some((name, image)) = self.images.remove_entry(name) {
            let node = self.arranged(image, Layout::Declared);
            self.values.insert(name, node);
            return node;
        }
        if self.params.is_empty() {
            let slots = self.b.graph().slots.params.iter().enumerate();
            self.params = slots.map(|(index, slot)| (slot.name.clone(), index)).collect();
        }
        let index = *self.params.get(name).expect("the macro resolved every name");
        let node = self.b.param(index);
        let order = self.b.graph().slots.params[index].order;
        let node = if order.is_empty() { node } else { self.b.transpose(node, order) };
        self.values.insert(Rc::from(name), node);
        node
    }

    fn binary(&mut self, op: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
        let b = &mut self.b;
        let ty = op.result(b.ty(x), b.ty(y)).expect("the macro checked the operands");
        let x = b.spread(x, &ty.shape);
        let y = b.spread(y, &ty.shape);
        if op.is_logical() {
            return self.logical(op, x, y);
        }
        let [x, y] = match b.ty(x).dtype {
            DType::Bool => [x, y].map(|truth| self.number(truth)),
            _ => [x, y],
        };
        let b = &mut self.b;
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
            BinaryOp::And | BinaryOp::Or => unreachable!("these take truth values"),
        }
    }

    /// `x && y` or `x || y`: where `x` does not decide, `y` does.
    fn logical(&mut self, op: BinaryOp, x: NodeId, y: NodeId) -> NodeId {
        let y = self.number(y);
        let b = &mut self.b;
        let either = match op {
            BinaryOp::And => b.keep(x, y),
            _ => {
                let one = b.constant_like(1.0, y);
                b.select(x, one, y)
            }
        };
        let zero = b.constant_like(0.0, either);
        b.compare(Cmp::Gt, either, zero)
    }

    /// A truth value as 0 or 1, a class id as its number.
    fn number(&mut self, x: NodeId) -> NodeId {
        let b = &mut self.b;
        match b.ty(x).dtype {
            DType::F32 => x,
            DType::Bool => {
                let one = b.constant_like(1.0, x);
                b.keep(x, one)
            }
            _ => b.to_float(x),
        }
    }
}

/// The parameters that training changes.
pub fn trainable(graph: &Graph) -> impl Iterator<Item = usize> + '_ {
    let kinds = graph.slots.params.iter().enumerate();
    kinds.filter(|(_, slot)| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter)).map(|(index, _)| index)
}
