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
use crate::layers::{Arg, Frozen, LayerDef, Mode, Scope};
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
    let (values, params, layers, choices) = (HashMap::new(), HashMap::new(), Vec::new(), Vec::new());
    let mut lowering = Lowering { definition, b, mode, frozen, values, params, layers, choices };
    lowering.slots();
    let input = lowering.values[definition.inputs[0].name];
    let result = lowering.steps(&network.body, input);
    lowering.outputs(result);
    lowering.expressions();
    Ok(lowering)
}

/// The origin of what is declared under this name at this place.
fn origin(definition: &Definition<'_>, name: &Rc<str>, at: At) -> Rc<Origin> {
    Origin::of_layer(Rc::clone(name), Some(definition.place(at)))
}

struct Lowering<'f> {
    definition: &'static Definition<'static>,
    b: Builder,
    mode: Mode,
    frozen: Frozen<'f>,
    /// Ports, named values and parameters by path.
    values: HashMap<Rc<str>, NodeId>,
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

    fn steps(&mut self, steps: &[Step<'static>], x: NodeId) -> NodeId {
        steps.iter().fold(x, |x, step| self.step(step, x))
    }

    fn step(&mut self, step: &Step<'static>, x: NodeId) -> NodeId {
        let definition = self.definition;
        let y = match &step.action {
            Action::Layer(layer, args, next) => {
                let mut mode = self.mode;
                for param in (layer.params)(&self.b.shape(x), args, *next) {
                    if param.kind == SlotKind::Running && (self.frozen.named)(&format!("{}.{}", step.path, param.name))
                    {
                        mode = Mode::Infer;
                    }
                    self.slot(&step.path, param.name, param.shape, param.init, param.kind);
                }
                self.b.enter(origin(definition, &step.path, step.at));
                let mut scope = Scope::new(&mut self.b, args, mode, &step.path);
                scope.frozen_after = self.frozen.after;
                (layer.lower)(&mut scope, x)
            }
            Action::Act(index, starts) => {
                let act = &self.definition.acts[*index];
                self.b.enter(origin(definition, &step.path, step.at));
                let mut operands = vec![x];
                for (&(name, _), &start) in act.extras.iter().zip(*starts) {
                    let slot =
                        self.slot(&step.path, name, Vec::new(), Init::Constant(start as f32), SlotKind::Parameter);
                    operands.push(self.b.param(slot));
                }
                let shape = self.b.shape(x);
                let y = self.whole(|lowering| lowering.function(act, &operands));
                self.b.spread(y, &shape)
            }
            Action::Sequence(steps) => self.steps(steps, x),
            Action::Residual(body, skip) => {
                let long = self.steps(body, x);
                let short = self.steps(skip, x);
                self.b.enter(origin(definition, &step.path, step.at));
                self.b.add(long, short)
            }
        };
        let layer = match &step.action {
            Action::Layer(layer, args, _) => Some(Some((*layer, args.clone()))),
            Action::Act(..) => Some(None),
            Action::Sequence(_) | Action::Residual(..) => None,
        };
        self.layers.extend(layer.map(|layer| Probed { path: Rc::clone(&step.path), layer, x, y }));
        debug_assert_eq!(self.b.shape(y), step.shape, "`{}` keeps its shape rule", step.text);
        if step.named {
            self.values.insert(Rc::clone(&step.path), y);
        }
        y
    }

    fn slot(&mut self, path: &str, name: &str, shape: Vec<usize>, init: Init, kind: SlotKind) -> usize {
        let params = &mut self.b.graph_mut().slots.params;
        params.push(ParamSlot { name: format!("{path}.{name}"), shape, init, kind });
        params.len() - 1
    }

    fn outputs(&mut self, result: NodeId) {
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
        if self.params.is_empty() {
            let slots = self.b.graph().slots.params.iter().enumerate();
            self.params = slots.map(|(index, slot)| (slot.name.clone(), index)).collect();
        }
        let index = *self.params.get(name).expect("the macro resolved every name");
        let node = self.b.param(index);
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
