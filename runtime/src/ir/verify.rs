//! Checks that a graph is one: operands come earlier, and every type is what its operation infers.

use super::{Graph, NodeId, Op, Role};
use crate::types::{DType, TensorType};

/// Says what is wrong with a graph, if anything. Runs between the stages in debug builds and tests.
pub fn verify(graph: &Graph) -> Result<(), String> {
    for id in graph.ids() {
        node(graph, id).map_err(|fault| format!("%{} ({}): {fault}", id.0, graph[id].op.def().name))?;
    }
    for output in &graph.outputs {
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
    let types: Vec<&TensorType> = node.operands.iter().map(|&operand| &graph[operand].ty).collect();
    match &node.op {
        op if op.is_leaf() => Ok(()),
        Op::Reshape => match types[0].shape.len() == node.ty.shape.len() && types[0].dtype == node.ty.dtype {
            true => Ok(()),
            false => Err(format!("{} does not reshape to {}", types[0], node.ty)),
        },
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
