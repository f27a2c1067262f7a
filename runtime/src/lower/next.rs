//! A network over a sequence, one position at a time: what a causal network needs to go on with a text.
//!
//! In: a definition whose layers look at their own position, and at earlier ones through causal attention alone. Out: the graph of
//! one position. Its inputs are the token `[B, 1]`, the position `[B]`, and for every attention the keys and values so far; its
//! outputs those of the network at this position, and the keys and values with this one among them.

use super::check::{check, placed};
use super::{Lowering, prepared};
use crate::elaborate::{Action, Elaborated, Mistake, Step, settled};
use crate::error::BuildError;
use crate::ir::{Graph, InputSlot, Output, Role, nest};
use crate::layers::{Arg, Frozen, LayerDef, Mode, Next, Takes};
use crate::network::{Act, At, Definition, Expr, Scan};
use crate::types::{DType, Dim, Shape, TensorType};

/// What is given one position at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Class ids, for numbers of the class that comes next.
    Tokens,
    /// Elements of any sequence of numbers, for whatever the network makes of them.
    Elements,
}

/// Lowers a network for one position of its sequence, in inference mode.
///
/// # Errors
/// A network that does not compile, or one that cannot be asked so: the message says which layer looks elsewhere.
pub fn lower_next(definition: &'static Definition<'static>, asked: Asked) -> Result<Graph, BuildError> {
    let network = check(definition)?;
    let length = suits(&network, asked).map_err(|(at, reason)| {
        let mistake = Mistake { at, message: reason };
        BuildError::Declaration { mistakes: vec![placed(definition, &mistake)] }
    })?;
    let mut lowering = prepared(definition, &network, Mode::Infer, Frozen::NONE);
    let mut ty = definition.inputs[0].known();
    ty.shape.0[1] = Dim::Fixed(1);
    let token = InputSlot { name: definition.inputs[0].name, ty, target: false, classes: None };
    let position = InputSlot {
        name: "position",
        ty: TensorType { dtype: DType::U32, shape: Shape(vec![Dim::B]) },
        target: false,
        classes: None,
    };
    lowering.slots_of(vec![token, position]);
    let position = lowering.b.input(1);
    lowering.next = Some(Next { position, length });
    let needed = needed(&network);
    for (step, is_needed) in network.steps.iter().zip(&needed[definition.inputs.len()..]) {
        match is_needed {
            true => lowering.step(step),
            false => lowering.passed(step),
        }
    }
    lowering.outputs(&network.outputs);
    for (index, node) in std::mem::take(&mut lowering.kept).into_iter().enumerate() {
        let graph = lowering.b.graph_mut();
        graph.slots.outputs.push("cache");
        graph.outputs.push(Output { role: Role::Output(definition.outputs.len() + index), node });
    }
    Ok(nest(lowering.b.finish()))
}

/// The length of the sequence, if nothing looks elsewhere but causal attention; else what does.
fn suits(network: &Elaborated<'_>, asked: Asked) -> Result<usize, (At, String)> {
    let definition = network.definition;
    let length = match (definition.inputs, definition.outputs) {
        ([input], _) if asked == Asked::Elements => match input.known() {
            TensorType { dtype: DType::F32, shape } if shape.rank() >= 2 => shape.0[1].factor(),
            _ => return Err((input.at, elements())),
        },
        (inputs, _) if asked == Asked::Elements => return Err((inputs[0].at, elements())),
        ([input], [output]) => match (&input.known(), &output.known().shape.0[..]) {
            (TensorType { dtype, shape }, [_, out, _])
                if dtype.is_index() && shape.rank() == 2 && *out == shape.0[1] =>
            {
                shape.0[1].factor()
            }
            _ => return Err((output.at, ports())),
        },
        (inputs, _) => return Err((inputs[0].at, ports())),
    };
    let (needed, along, made) = (needed(network), along(network), made(network));
    let first = definition.inputs.len();
    let steps = network.steps.iter().enumerate().filter(|(index, step)| {
        // What a loop goes over counts even if its body does not look at it.
        needed[first + index] || matches!(step.action, Action::Element) && needed[step.operands[0]]
    });
    for (_, step) in steps {
        let from = values_of(network, step);
        let [some, all] = [from.iter().any(|&value| along[value]), from.iter().all(|&value| along[value])];
        let is_asked = match step.inside {
            // The body of a loop is that of one position, whatever loops are inside of it.
            Some(inside) => goes_on(network, step, inside, (&along, &made)),
            // What is made of last states alone has no positions: no layer over positions may keep anything of it.
            None if !some => !matches!(step.action, Action::Layer(..)) || rank_of(network, step.operands[0]) < 3,
            None => all && stays(network, step),
        };
        if !is_asked {
            return Err((
                step.at,
                format!("{} cannot be asked one position at a time: it looks at others", written(step)),
            ));
        }
    }
    Ok(length)
}

/// For every value, whether it has an element for each position. What a layer gives after its last step has none, and what is made
/// of that alone has none either.
fn along(network: &Elaborated<'_>) -> Vec<bool> {
    let mut along = vec![true; network.definition.inputs.len()];
    for step in &network.steps {
        let some = values_of(network, step).iter().any(|&value| along[value]);
        along.push(match &step.action {
            Action::State { .. } => true,
            Action::Scan(_, args) => !Scan::is_last(args),
            Action::Layer(..) => some && step.ty.shape.rank() >= rank_of(network, step.operands[0]),
            _ => some,
        });
    }
    along
}

/// For every value, whether it is made of the input at all.
fn made(network: &Elaborated<'_>) -> Vec<bool> {
    let mut made = vec![true; network.definition.inputs.len()];
    for step in &network.steps {
        let of_input = values_of(network, step).iter().any(|&value| made[value]);
        made.push(of_input || matches!(step.action, Action::State { .. }));
    }
    made
}

/// The values that a step is made of.
fn values_of(network: &Elaborated<'_>, step: &Step<'_>) -> Vec<usize> {
    let mut values = step.operands.clone();
    if let Action::Expr(expr) = &step.action {
        named(expr, &mut |name| values.extend(network.named(step, name)));
    }
    values
}

fn elements() -> String {
    "a stream is one of numbers [B, T, ..], the only input of its network".to_string()
}

fn ports() -> String {
    "a sequence is continued by a network from class ids [B, T] to numbers [B, T, classes]".to_string()
}

fn written(step: &Step<'_>) -> String {
    if step.text.is_empty() { format!("`{}`", step.path) } else { format!("`{}`", step.text) }
}

/// Which values the output is made of.
fn needed(network: &Elaborated<'_>) -> Vec<bool> {
    let n_inputs = network.definition.inputs.len();
    let mut needed = vec![false; n_inputs + network.steps.len()];
    network.outputs.iter().for_each(|&value| needed[value] = true);
    for (index, step) in network.steps.iter().enumerate().rev() {
        if !needed[n_inputs + index] {
            continue;
        }
        step.operands.iter().for_each(|&value| needed[value] = true);
        if let Action::Expr(expr) = &step.action {
            named(expr, &mut |name| network.named(step, name).into_iter().for_each(|value| needed[value] = true));
        }
    }
    needed
}

/// The names and paths in an expression.
fn named(expr: &Expr<'_>, name: &mut dyn FnMut(&str)) {
    let mut all = |operands: &[Expr<'_>]| operands.iter().for_each(|operand| named(operand, name));
    match *expr {
        Expr::Name(known) | Expr::Path(known, _) => name(known),
        Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Apply(_, _, _, x) | Expr::Part(_, x, _) => named(x, name),
        Expr::Binary(_, _, x, y) => all(&[*x, *y]),
        Expr::If(_, p, x, y) => all(&[*p, *x, *y]),
        Expr::Call(_, _, _, operands) | Expr::Inline(_, _, operands) | Expr::Elsewhere(_, operands) => all(operands),
        Expr::Number(_) | Expr::Constant(..) | Expr::Weights(_) | Expr::Broken => {}
    }
}

/// Whether a step makes of each position what it would make of it alone, or looks back through a cache.
fn stays(network: &Elaborated<'_>, step: &Step<'_>) -> bool {
    let rank = |value: usize| rank_of(network, value);
    match &step.action {
        Action::Layer(layer, args, _) => stays_layer(layer, args, rank(step.operands[0])),
        Action::Act(index, _) => {
            let act = &network.definition.acts[*index];
            let names: Vec<(&str, usize)> = names_of(act, std::iter::once(rank(step.operands[0]))).collect();
            by_position(network, &act.expr, Some(&names)).is_some()
        }
        Action::Residual => true,
        Action::Expr(expr) => by_position(network, expr, None).is_some(),
        Action::Concat(axis) | Action::Part { axis, .. } => *axis + 1 == step.ty.shape.rank() && *axis > 1,
        Action::Branches => false,
        // Of rows with lengths of their own it is not known which have ended.
        Action::Scan(..) => step.operands.len() == 2,
        Action::Number(..) | Action::State { .. } | Action::Element => false,
    }
}

/// Whether a step of the body of a loop, or of one inside of it, needs nothing but this position and the state before it.
fn goes_on(network: &Elaborated<'_>, step: &Step<'_>, inside: usize, (along, made): (&[bool], &[bool])) -> bool {
    let outermost = |inside: usize| network.around(inside).last();
    let is_inner = network.loops[inside].outer.is_some();
    match (&step.action, &step.operands[..]) {
        (Action::State { reverse, .. }, initial) if !is_inner => !reverse && initial.is_empty(),
        (Action::Element, &[_, sequence]) if !is_inner => along[sequence],
        _ => values_of(network, step).into_iter().all(|value| {
            let maker = value.checked_sub(network.definition.inputs.len()).map(|index| &network.steps[index]);
            !made[value] || maker.and_then(|maker| outermost(maker.inside?)) == outermost(inside)
        }),
    }
}

/// The same of a layer that is given a value of this rank. Class ids `[B, T]`, and numbers of which each is taken by itself, have no
/// axis after that of the positions; for other layers that is their last.
fn stays_layer(layer: &LayerDef, args: &[Arg], rank: usize) -> bool {
    let is_apart = rank >= 3 || layer.layout.is_none() || matches!(layer.takes, Takes::Ids(_));
    is_apart && (layer.by_position)(args)
}

/// The rank of an input, or of the result of a step.
fn rank_of(network: &Elaborated<'_>, value: usize) -> usize {
    match network.definition.inputs.get(value) {
        Some(port) => port.dims.len(),
        None => network.steps[value - network.definition.inputs.len()].ty.shape.rank(),
    }
}

/// The names of a function of the user's own, with the ranks of what they stand for; its numbers have none.
fn names_of<'n>(act: &'n Act<'_>, ranks: impl Iterator<Item = usize>) -> impl Iterator<Item = (&'n str, usize)> {
    let names = std::iter::once(act.operand).chain(act.extras.iter().map(|(name, _)| *name));
    names.zip(ranks.chain(std::iter::repeat(0)))
}

/// The rank of what an expression gives, if it makes of every position what it would make of it alone.
fn by_position(network: &Elaborated<'_>, expr: &Expr<'_>, names: Option<&[(&str, usize)]>) -> Option<usize> {
    let rank = |expr: &Expr<'_>| by_position(network, expr, names);
    let most = |operands: &[Expr<'_>]| operands.iter().try_fold(0, |most, operand| Some(rank(operand)?.max(most)));
    match *expr {
        Expr::Number(_) | Expr::Constant(..) => Some(0),
        Expr::Name(name) => Some(match names {
            Some(names) => names.iter().find(|(known, _)| *known == name).map_or(0, |(_, rank)| *rank),
            // What is no value is a scalar.
            None => network.names.get(name).map_or(0, |&value| rank_of(network, value)),
        }),
        Expr::Neg(_, x) | Expr::Not(_, x) => rank(x),
        Expr::Binary(_, _, x, y) => most(&[*x, *y]),
        Expr::If(_, p, x, y) => most(&[*p, *x, *y]),
        Expr::Apply(layer, _, args, x) => rank(x).filter(|&rank| stays_layer(layer, &settled(layer.args, args), rank)),
        Expr::Call(function, _, _, operands) if function.elementwise => most(operands),
        Expr::Inline(index, _, operands) => {
            let act = &network.definition.acts[index];
            let ranks = operands.iter().map(rank).collect::<Option<Vec<usize>>>()?;
            by_position(network, &act.expr, Some(&names_of(act, ranks.into_iter()).collect::<Vec<(&str, usize)>>()))
        }
        Expr::Call(..) | Expr::Path(..) | Expr::Part(..) | Expr::Weights(_) | Expr::Elsewhere(..) | Expr::Broken => {
            None
        }
    }
}

impl Lowering<'_> {
    /// A step that nothing is made of: only its parameters are declared, as the other programs have them.
    fn passed(&mut self, step: &Step<'static>) {
        match &step.action {
            Action::Layer(layer, args, next) => self.slots_of_layer(step, layer, args, *next),
            Action::Act(index, starts) => drop(self.slots_of_act(step, &self.definition.acts[*index], starts)),
            Action::Number(name, start) => _ = self.slot_of_number(step, name, *start),
            _ => {}
        }
        self.values.push(self.values[0]);
    }
}
