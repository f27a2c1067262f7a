//! Checks that a graph can be compiled: operands come earlier, every type is what its operation infers, and no stride depends on
//! the batch, whose size is not known yet. So a shape has at most one batch axis, nothing moves along it, and no reshape splits or
//! merges it with the axes before it.

use std::collections::{HashMap, HashSet};

use super::{Graph, NodeId, Op, Role};
use crate::types::{DType, Shape, TensorType};

/// Says what is wrong with a graph, if anything. Runs between stages in debug builds and in tests.
pub fn verify(graph: &Graph) -> Result<(), String> {
    for id in graph.ids() {
        node(graph, id).map_err(|fault| format!("%{} ({}): {fault}", id.0, graph[id].op.def().name))?;
    }
    let heads = loops(graph)?;
    for output in &graph.outputs {
        if heads.get(output.node.index()).is_some_and(Option::is_some) {
            return Err(format!("{:?} is %{}, which has another value at each step", output.role, output.node.0));
        }
        let ty = &graph.nodes.get(output.node.index()).ok_or("an output names no node")?.ty;
        match output.role {
            Role::Loss | Role::Metric(_) if *ty != TensorType::scalar() => {
                return Err(format!("{:?} is {ty}, not one number", output.role));
            }
            Role::Gradient(param) | Role::Update(param) => {
                let slot = &graph.slots.params[param];
                if ty.shape.at(1) != slot.shape || ty.dtype != DType::F32 {
                    return Err(format!("{:?} is {ty}, but {} is {:?}", output.role, slot.name, slot.shape));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn node(graph: &Graph, id: NodeId) -> Result<(), String> {
    let node = &graph[id];
    if let Some(late) = node.operands.iter().find(|operand| **operand >= id) {
        return Err(format!("operand %{} does not come before it", late.0));
    }
    if node.ty.shape.0.iter().filter(|dim| dim.is_batch()).count() > 1 {
        return Err(format!("{} has two batch axes, and no step along the first", node.ty));
    }
    if node.ty.shape.len().is_none() {
        return Err(format!("{} has more elements than can be counted", node.ty));
    }
    let types: Vec<&TensorType> = node.operands.iter().map(|&operand| &graph[operand].ty).collect();
    match &node.op {
        Op::Iota(axis) if *axis >= node.ty.shape.rank() || node.ty.dtype != DType::U32 => {
            Err(format!("no positions along axis {axis} are {}", node.ty))
        }
        Op::Const(_) | Op::Count(_) if node.ty.dtype != DType::F32 => Err(format!("a number cannot be {}", node.ty)),
        Op::Count(_) if node.ty.shape.rank() != 0 => Err(format!("one number cannot be {}", node.ty)),
        op if op.is_leaf() => Ok(()),
        Op::Reshape if types[0].shape.len() != node.ty.shape.len() || types[0].dtype != node.ty.dtype => {
            Err(format!("{} does not reshape to {}", types[0], node.ty))
        }
        Op::Reshape => {
            match before_batch(&types[0].shape) == before_batch(&node.ty.shape) || is_empty(&node.ty.shape) {
                true => Ok(()),
                false => Err(format!(
                    "{} does not reshape to {}: the batch would not stay outermost of its axis, and there would be no step along the axes before it",
                    types[0], node.ty
                )),
            }
        }
        Op::Broadcast(axes) => {
            let target = &node.ty.shape.0;
            let increasing = axes.windows(2).all(|pair| pair[0] < pair[1]);
            let source = &types[0].shape.0;
            let fits =
                axes.len() == source.len() && axes.iter().zip(source).all(|(&axis, dim)| target.get(axis) == Some(dim));
            match increasing && fits && types[0].dtype == node.ty.dtype {
                true => Ok(()),
                false => Err(format!("{} does not broadcast to {} along {axes:?}", types[0], node.ty)),
            }
        }
        op => {
            let ty = (op.def().ty)(op, &types)?;
            match ty == node.ty {
                true => Ok(()),
                false => Err(format!("is {}, inferred {ty}", node.ty)),
            }
        }
    }
}

/// Says what is wrong with a loop, if anything; otherwise of every node which loop it is part of, the innermost.
fn loops(graph: &Graph) -> Result<Vec<Option<NodeId>>, String> {
    let fault = |id: NodeId, fault: String| Err(format!("%{} ({}): {fault}", id.0, graph[id].op.def().name));
    for id in graph.ids() {
        if let Err(found) = part_of_loop(graph, id) {
            return fault(id, found);
        }
    }
    let mut numbers = HashSet::new();
    let heads = graph.heads();
    let mut closed: HashMap<NodeId, NodeId> = HashMap::new();
    for id in graph.ids() {
        let node = &graph[id];
        let head = |operand: usize| heads[node.operands[operand].index()];
        let own = heads[id.index()];
        match node.op {
            Op::Carry { number, .. } if !numbers.insert(number) => {
                return fault(id, format!("there is another loop of number {number}"));
            }
            Op::Carry { .. } if !graph.is_within(graph.around(id), head(0)) => {
                return fault(id, "it begins with a value of another loop".into());
            }
            Op::Carry { .. } => {}
            Op::Element => {
                if !graph.is_within(graph.around(node.operands[0]), head(1)) {
                    return fault(id, "the sequence has another value at each step".into());
                }
            }
            Op::History { .. } => {
                let carry = node.operands[0];
                if !graph.is_within(Some(carry), head(1)) || closed.insert(carry, id).is_some() {
                    return fault(id, "it does not end one loop".into());
                }
                if own.is_some_and(|head| closed.contains_key(&head)) {
                    return fault(id, "the loop around it has ended".into());
                }
            }
            // It may follow the end of a loop around, as what a gradient asks of a body is known later.
            Op::Collect { .. } => {
                if !graph.is_within(Some(graph[node.operands[0]].operands[0]), head(1)) {
                    return fault(id, "a value of another loop".into());
                }
            }
            _ => {
                if !node.operands.iter().all(|operand| graph.is_within(own, heads[operand.index()])) {
                    return fault(id, "a value of another loop".into());
                }
                // What is known when a loop ends may follow it, as what a rewrite makes of it does.
                let late = |end: NodeId| {
                    let outside = |operand: &NodeId| heads[operand.index()] != own && *operand > end;
                    node.operands.iter().any(outside)
                };
                if own.and_then(|head| closed.get(&head)).is_some_and(|&end| late(end)) {
                    return fault(id, "its loop has ended".into());
                }
            }
        }
    }
    Ok(heads)
}

/// Says what is wrong with a node that names a loop, if that is none, or one of so many other steps.
fn part_of_loop(graph: &Graph, id: NodeId) -> Result<(), String> {
    let node = &graph[id];
    let op = |at: usize| &graph[node.operands[at]].op;
    let (steps, own) = match (&node.op, &node.operands[..]) {
        (Op::Carry { .. }, [_]) => return Ok(()),
        (Op::Carry { .. }, [_, around]) if matches!(graph[*around].op, Op::Carry { .. }) => return Ok(()),
        (Op::Carry { .. } | Op::Element | Op::History { .. } | Op::Collect { .. }, _) => match (&node.op, op(0)) {
            (Op::Element, &Op::Carry { steps: own, .. }) => (graph[node.operands[1]].ty.shape.0[0].factor(), own),
            (&Op::History { steps }, &Op::Carry { steps: own, .. }) => (steps, own),
            (&Op::Collect { steps }, &Op::History { steps: own }) => (steps, own),
            _ => return Err("it is not part of a loop".to_string()),
        },
        _ => return Ok(()),
    };
    match steps == own {
        true => Ok(()),
        false => Err(format!("{steps} steps, in a loop of {own}")),
    }
}

/// How many elements there are along the axes before the batch; none if there is no batch.
fn before_batch(shape: &Shape) -> Option<usize> {
    let batch = shape.0.iter().position(|dim| dim.is_batch())?;
    Some(shape.0[..batch].iter().fold(1, |product, dim| product.saturating_mul(dim.factor())))
}

fn is_empty(shape: &Shape) -> bool {
    shape.0.iter().any(|dim| dim.factor() == 0)
}
