//! A network over a sequence, one position at a time: what a causal network needs to go on with a text.
//!
//! In: a definition whose layers look at their own position, and at earlier ones through causal attention alone. Out: the graph of
//! one position. Its inputs are the token `[B, 1]`, the position `[B]`, and for every attention the keys and values so far; its
//! outputs those of the network at this position, and the keys and values with this one among them.

use super::check::{check, placed};
use super::{Lowering, prepared};
use crate::elaborate::{Action, Elaborated, Mistake, Step, settled};
use crate::error::BuildError;
use crate::ir::{Graph, InputSlot, Output, Role};
use crate::layers::{Frozen, Layout, Mode, Next};
use crate::network::{At, Definition, Expr};
use crate::types::{DType, Dim, Shape, TensorType};

/// Lowers a network for one position of its sequence, in inference mode.
///
/// # Errors
/// A network that does not compile, or one that cannot be asked so: the message says which layer looks elsewhere.
pub fn lower_next(definition: &'static Definition<'static>) -> Result<Graph, BuildError> {
    let network = check(definition)?;
    let length = suits(&network).map_err(|(at, reason)| {
        let mistake = Mistake { at, message: reason };
        BuildError::Declaration { mistakes: vec![placed(definition, &mistake)] }
    })?;
    let mut lowering = prepared(definition, &network, Mode::Infer, Frozen::NONE);
    let token = InputSlot {
        name: definition.inputs[0].name,
        ty: TensorType { dtype: definition.inputs[0].dtype, shape: Shape(vec![Dim::B, Dim::Fixed(1)]) },
        target: false,
        classes: None,
    };
    let position = InputSlot {
        name: "position",
        ty: TensorType { dtype: DType::U32, shape: Shape(vec![Dim::B]) },
        target: false,
        classes: None,
    };
    lowering.slots_of(vec![token, position]);
    let position = lowering.b.input(1);
    lowering.next = Some(Next { position, length });
    network.steps.iter().for_each(|step| lowering.step(step));
    lowering.outputs(&network.outputs);
    for (index, node) in std::mem::take(&mut lowering.kept).into_iter().enumerate() {
        let graph = lowering.b.graph_mut();
        graph.slots.outputs.push("cache");
        graph.outputs.push(Output { role: Role::Output(1 + index), node });
    }
    Ok(lowering.b.finish())
}

/// The length of the sequence, if nothing looks elsewhere but causal attention; else what does.
fn suits(network: &Elaborated<'_>) -> Result<usize, (At, String)> {
    let definition = network.definition;
    let length = match (definition.inputs, definition.outputs) {
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
    match network.steps.iter().find(|step| !stays(step)) {
        Some(step) => {
            Err((step.at, format!("{} cannot be asked one position at a time: it looks at others", written(step))))
        }
        None => Ok(length),
    }
}

fn ports() -> String {
    "a sequence is continued by a network from class ids [B, T] to numbers [B, T, classes]".to_string()
}

fn written(step: &Step<'_>) -> String {
    if step.text.is_empty() { format!("`{}`", step.path) } else { format!("`{}`", step.text) }
}

/// Whether a step makes of each position what it would make of it alone, or looks back through a cache.
fn stays(step: &Step<'_>) -> bool {
    match &step.action {
        Action::Layer(layer, args, _) => (layer.by_position)(args),
        Action::Act(..) | Action::Residual => true,
        Action::Expr(expr) => is_by_position(expr),
        Action::Concat(axis) | Action::Part { axis, .. } => *axis + 1 == step.ty.shape.rank() && *axis > 1,
        Action::Branches => false,
    }
}

/// Whether an expression makes of every position what it would make of it alone.
fn is_by_position(expr: &Expr<'_>) -> bool {
    match *expr {
        Expr::Number(_) | Expr::Constant(..) | Expr::Name(_) => true,
        Expr::Neg(_, x) | Expr::Not(_, x) => is_by_position(x),
        Expr::Binary(_, _, x, y) => is_by_position(x) && is_by_position(y),
        Expr::If(_, p, x, y) => [p, x, y].into_iter().all(is_by_position),
        Expr::Apply(layer, _, args, x) => (layer.by_position)(&settled(layer.args, args)) && is_by_position(x),
        Expr::Call(function, _, _, operands) => function.elementwise && operands.iter().all(is_by_position),
        Expr::Inline(_, _, operands) => operands.iter().all(is_by_position),
        Expr::Path(..) | Expr::Part(..) | Expr::Weights(_) | Expr::Elsewhere(..) | Expr::Broken => false,
    }
}

impl Lowering<'_> {
    /// The shape of a value as it is declared, whatever part of it the graph computes.
    pub(super) fn declared_shape(&self, value: usize, node_layout: Layout) -> Shape {
        match self.next {
            Some(_) => self.shapes[value].clone(),
            None => node_layout.declared(&self.b.shape(self.values[value].node)),
        }
    }
}
