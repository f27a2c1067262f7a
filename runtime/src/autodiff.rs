//! Symbolic reverse mode: from a forward graph, one joint graph with the gradient of the loss by every parameter.
//!
//! In: a graph with a loss. Out: the same graph, the operations of the backward pass behind those of the forward pass,
//! and a gradient for each wanted parameter. The sweep runs once from the loss to the front, applying each operation's
//! own rule (Griewank & Walther 2008, section 3.2); cotangents that meet are added. Only what lies between a wanted
//! parameter and the loss is visited.

use std::rc::Rc;

use crate::ir::ops::At;
use crate::ir::{Builder, Graph, NodeId, Op, Output, Role};
use crate::types::{DType, Shape};

/// Adds the gradients of the loss by the parameters of these indices; zeros where the loss does not depend on one.
pub fn differentiate(graph: &Graph, wanted: &[usize]) -> Graph {
    let loss = graph.output(&Role::Loss).expect("only a graph with a loss is differentiated");
    let needed = depends_on(graph, wanted);
    let mut b = Builder::new(graph.clone());
    let mut cotangents: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
    b.enter(graph[loss].layer.clone());
    cotangents[loss.index()] = Some(b.constant(1.0, &Shape::scalar()));

    for id in graph.ids().rev() {
        let node = &graph[id];
        let Some(dy) = cotangents[id.index()].filter(|_| needed[id.index()]) else { continue };
        b.enter(node.layer.clone());
        let at = At { op: node.op.clone(), x: node.operands.clone(), y: id, dy };
        for (&x, dx) in node.operands.iter().zip((node.op.def().vjp)(&mut b, &at)) {
            let Some(dx) = dx.filter(|_| needed[x.index()]) else { continue };
            cotangents[x.index()] = Some(match cotangents[x.index()] {
                None => dx,
                Some(other) => b.add(other, dx),
            });
        }
    }
    gradients(&mut b, graph, wanted, &cotangents);
    b.finish()
}

/// Names the gradients as outputs. A parameter may be read by several nodes; their cotangents add up.
fn gradients(b: &mut Builder, graph: &Graph, wanted: &[usize], cotangents: &[Option<NodeId>]) {
    for &param in wanted {
        let slot = &graph.slots.params[param];
        let layer = slot.name.rsplit_once('.').map_or("", |(layer, _)| layer);
        b.enter(Rc::from(layer));
        let reads = graph.ids().filter(|&id| graph[id].op == Op::Param(param));
        let parts: Vec<NodeId> = reads.filter_map(|id| cotangents[id.index()]).collect();
        let total = parts.into_iter().reduce(|sum, part| b.add(sum, part));
        let node = total.unwrap_or_else(|| b.constant(0.0, &Shape::fixed(&slot.shape)));
        b.graph_mut().outputs.push(Output { role: Role::Gradient(param), node });
    }
}

/// For every node, whether it is a float that depends on one of these parameters.
fn depends_on(graph: &Graph, wanted: &[usize]) -> Vec<bool> {
    let mut depends = vec![false; graph.nodes.len()];
    for id in graph.ids() {
        let node = &graph[id];
        let reads = matches!(node.op, Op::Param(index) if wanted.contains(&index));
        let through = node.ty.dtype == DType::F32 && node.op != Op::Detach;
        depends[id.index()] = reads || (through && node.operands.iter().any(|x| depends[x.index()]));
    }
    depends
}
