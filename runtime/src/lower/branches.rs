//! Keeps a branch of `if` that is not taken from influencing any gradient.
//!
//! In: the nodes of one expression, in which both branches of every `if` are computed in full and a `select` takes one,
//! element by element. Out: the same nodes with gates. Backwards through a `select`, an element that is not taken has a
//! cotangent of exactly zero; but zero times an infinite slope is NaN, which must not leave the branch. So this pass derives, for
//! every node, which of its elements the taken elements depend on. An operand of an element-wise operation is needed where its
//! result is, a reduction needs a whole group for one element, and what is broadcast is needed where any of its copies is. Where
//! a value enters a branch, is broadcast in it, or is used elsewhere with other elements, it passes a gate: the same value, but
//! with a gradient only for the elements that are needed. Values never change.

use std::collections::HashMap;
use std::rc::Rc;

use crate::ir::ops::Body;
use crate::ir::rewrite::{NodeMap, carry};
use crate::ir::{Builder, Node, NodeId, Op};
use crate::scalar::Cmp;
use crate::types::{DType, Shape};

/// Adds gates to the nodes from `start` on. `choices` are those that are the `select`s of an `if`, in order. All of these nodes are
/// replaced by copies; returns where each of them is now.
pub(super) fn gate(b: &mut Builder, start: usize, choices: &[NodeId]) -> NodeMap {
    let plan = Plan::new(b, start, choices);
    let old = b.graph_mut().nodes.split_off(start);
    let (mut gates, mut masks) = (HashMap::new(), HashMap::new());
    carry(b, start, old, &mut |b, map, id, node| {
        let mut copy = Copy { b, map, gates: &mut gates, masks: &mut masks };
        let gated = plan.gated[id.index() - start].iter();
        let operands = node.operands.iter().zip(gated).map(|(&x, demand)| match demand {
            Some(demand) => copy.gated(x, demand),
            None => x,
        });
        let operands = operands.collect();
        Some(b.add_node(Node { operands, ..node }))
    })
}

/// Which elements of a node the taken elements depend on, or a superset. Masks are nodes of the original graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Demand {
    /// Possibly all of them.
    All,
    /// Those elements, out of what is needed outside the `if`, for which its condition has this value. The shape is that of the
    /// `if`. The condition may be a single truth value.
    If { outer: Rc<Demand>, mask: NodeId, shape: Shape, taken: bool },
    /// Those with any copy that is needed. The shape is that of the copies, the axes are those that are not new.
    Any { of: Rc<Demand>, kept: Vec<usize> },
    /// Those in a group whose reduction is needed. The axes are those of this shape that the reduction keeps.
    Groups { of: Rc<Demand>, shape: Shape, kept: Vec<usize> },
    /// The same elements under another shape.
    Reshape { of: Rc<Demand>, shape: Shape },
}

use Demand::{All, Any, Groups, If, Reshape};

impl Demand {
    /// A wider demand: the elements that are needed outside of its innermost `if`.
    fn outside(&self) -> Demand {
        match self {
            All => All,
            If { outer, .. } => (**outer).clone(),
            Any { of, kept } => any(of.outside(), kept.clone()),
            Groups { of, shape, kept } => groups(of.outside(), shape.clone(), kept.clone()),
            Reshape { of, shape } => reshape(of.outside(), shape.clone()),
        }
    }

    /// How many conditions it depends on.
    fn depth(&self) -> usize {
        match self {
            All => 0,
            If { outer, .. } => 1 + outer.depth(),
            Any { of, .. } | Groups { of, .. } | Reshape { of, .. } => of.depth(),
        }
    }

    /// The last node among its masks.
    fn last(&self) -> Option<NodeId> {
        match self {
            All => None,
            If { outer, mask, .. } => outer.last().max(Some(*mask)),
            Any { of, .. } | Groups { of, .. } | Reshape { of, .. } => of.last(),
        }
    }

    /// The demand as far as it is known before this node: a value that a condition is made of cannot depend on that condition.
    fn before(mut self, id: NodeId) -> Demand {
        while self.last().is_some_and(|mask| mask >= id) {
            self = self.outside();
        }
        self
    }

    /// The elements of both, or a superset.
    fn or(self, other: Demand) -> Demand {
        match (self, other) {
            (x, y) if x == y => x,
            (All, _) | (_, All) => All,
            (Any { of: x, kept }, Any { of: y, kept: same }) if kept == same => {
                any((*x).clone().or((*y).clone()), kept)
            }
            (Reshape { of: x, shape }, Reshape { of: y, .. }) => reshape((*x).clone().or((*y).clone()), shape),
            (Groups { of: x, shape, kept }, Groups { of: y, kept: same, .. }) if kept == same => {
                groups((*x).clone().or((*y).clone()), shape, kept)
            }
            // Every element is in its own group.
            (Groups { of, shape, kept }, other) | (other, Groups { of, shape, kept }) if matches!(*of, Any { .. }) => {
                groups((*of).clone().or(any(other, kept.clone())), shape, kept)
            }
            (x, y) if x.depth() >= y.depth() => x.outside().or(y),
            (x, y) => x.or(y.outside()),
        }
    }
}

fn any(of: Demand, kept: Vec<usize>) -> Demand {
    if of == All { All } else { Any { of: Rc::new(of), kept } }
}

fn groups(of: Demand, shape: Shape, kept: Vec<usize>) -> Demand {
    if of == All { All } else { Groups { of: Rc::new(of), shape, kept } }
}

fn reshape(of: Demand, shape: Shape) -> Demand {
    if of == All { All } else { Reshape { of: Rc::new(of), shape } }
}

/// Where gates go: for every node from the first on, for each of its operands.
struct Plan {
    gated: Vec<Vec<Option<Demand>>>,
}

/// What a node takes from an operand.
struct Use {
    user: NodeId,
    position: usize,
    demand: Demand,
    /// Whether elements that are not needed may get a cotangent other than zero through it.
    unclean: bool,
}

impl Plan {
    fn new(b: &Builder, start: usize, choices: &[NodeId]) -> Plan {
        let graph = b.graph();
        let own = start as u32..graph.nodes.len() as u32;
        let nodes = graph.nodes[start..].iter();
        let mut plan = Plan { gated: nodes.map(|node| vec![None; node.operands.len()]).collect() };
        let mut uses: HashMap<NodeId, Vec<Use>> = HashMap::new();
        for id in own.map(NodeId).rev() {
            let node = &graph[id];
            let found = uses.remove(&id).unwrap_or_default();
            let demand = found.iter().map(|found| found.demand.clone()).reduce(Demand::or).unwrap_or(All).before(id);
            // What is broadcast is needed where any of its copies is, a parameter may have other readers, after a reduction a
            // gate has the fewest elements, and after a transpose nothing is known of what is needed.
            let all_pass =
                matches!(node.op, Op::Broadcast(_) | Op::Transpose(_)) || node.op.is_leaf() || node.op.axes().is_some();
            let passed = if all_pass { &All } else { &demand };
            let unclean = plan.gate(start, found, passed);
            if !carries(node) {
                continue;
            }
            for (position, &x) in node.operands.iter().enumerate().filter(|(_, x)| differentiable(&graph[**x])) {
                let demand = match &node.op {
                    Op::Select if choices.binary_search(&id).is_ok() => {
                        // A single condition is broadcast after the branches, but known before them.
                        let mask = graph.behind_views(node.operands[0]);
                        let shape = node.ty.shape.clone();
                        If { outer: Rc::new(demand.clone()), mask, shape, taken: position == 1 }
                    }
                    op => demanded(op, &demand, &graph[x].ty.shape),
                };
                let steep = !(node.op.is_view() || matches!(node.op, Op::Select | Op::Sum(_)));
                let unclean = demand != All && (steep || unclean);
                uses.entry(x).or_default().push(Use { user: id, position, demand, unclean });
            }
        }
        // A node from outside of the expression has uses that are not seen here.
        uses.into_values().for_each(|found| {
            plan.gate(start, found, &All);
        });
        plan
    }

    /// Adds gates before those uses of a node that need only a part of it, where that matters. Returns whether the rest may still
    /// get a cotangent other than zero.
    fn gate(&mut self, start: usize, uses: Vec<Use>, passed: &Demand) -> bool {
        let mut unclean = false;
        for Use { user, position, demand, .. } in uses.into_iter().filter(|found| found.unclean) {
            if demand == *passed {
                unclean = true;
            } else {
                self.gated[user.index() - start][position] = Some(demand);
            }
        }
        unclean
    }
}

/// What an operation needs of an operand of this shape.
fn demanded(op: &Op, demand: &Demand, shape: &Shape) -> Demand {
    match (op, op.axes()) {
        (Op::Broadcast(axes), _) => any(demand.clone(), axes.clone()),
        (Op::Reshape, _) => reshape(demand.clone(), shape.clone()),
        (_, Some(axes)) => {
            let kept = (0..shape.rank()).filter(|axis| !axes.contains(axis)).collect();
            groups(demand.clone(), shape.clone(), kept)
        }
        _ if op.is_map() => demand.clone(),
        // Of an operand of a movement or a product, any element may be needed.
        _ => All,
    }
}

/// Whether a gradient passes through a node.
fn carries(node: &Node) -> bool {
    differentiable(node) && node.op != Op::Detach && !matches!(node.op.def().body, Body::Leaf)
}

/// Whether a gradient with respect to a node may be wanted.
fn differentiable(node: &Node) -> bool {
    node.ty.dtype == DType::F32 && !matches!(node.op, Op::Const(_) | Op::Count(_) | Op::Iota(_) | Op::Input(_))
}

/// The nodes copied so far, with gates.
struct Copy<'b> {
    b: &'b mut Builder,
    /// Where the nodes so far are now.
    map: &'b NodeMap,
    /// The gates so far: one serves all uses that need the same elements of a node.
    gates: &'b mut HashMap<(NodeId, Demand), NodeId>,
    /// The masks so far.
    masks: &'b mut HashMap<Demand, Mask>,
}

/// How a mask says which elements are needed.
#[derive(Clone, Copy)]
enum Mask {
    /// By truth values, which are this for them.
    Truth(NodeId, bool),
    /// By numbers, which are above 0 for them: unlike truth values, numbers can be stored, and broadcast from memory.
    Number(NodeId),
}

impl Copy<'_> {
    fn gated(&mut self, x: NodeId, demand: &Demand) -> NodeId {
        if let Some(&gate) = self.gates.get(&(x, demand.clone())) {
            return gate;
        }
        let (mask, taken) = match self.mask(demand) {
            Mask::Truth(mask, taken) => (mask, taken),
            Mask::Number(number) => {
                let zero = self.b.constant_like(0.0, number);
                (self.b.compare(Cmp::Gt, number, zero), true)
            }
        };
        let fixed = self.b.detach(x);
        let gate = if taken { self.b.select(mask, x, fixed) } else { self.b.select(mask, fixed, x) };
        self.gates.insert((x, demand.clone()), gate);
        gate
    }

    fn mask(&mut self, demand: &Demand) -> Mask {
        if let Some(&mask) = self.masks.get(demand) {
            return mask;
        }
        let mask = match demand {
            All => unreachable!("what may be needed everywhere passes no gate"),
            If { outer, mask, shape, taken } => {
                let mask = self.map.at(*mask);
                let mask = self.b.spread(mask, shape);
                match &**outer {
                    All => Mask::Truth(mask, *taken),
                    outer => self.both(outer, mask, *taken),
                }
            }
            Any { of, kept } => self.any(of, kept),
            Groups { of, shape, kept } => {
                let number = self.number(of);
                Mask::Number(self.b.broadcast(number, shape, kept))
            }
            Reshape { of, shape } => {
                let number = self.number(of);
                Mask::Number(self.b.reshape(number, shape.clone()))
            }
        };
        self.masks.insert(demand.clone(), mask);
        mask
    }

    /// 1 where something is needed, else 0.
    fn number(&mut self, demand: &Demand) -> NodeId {
        match self.mask(demand) {
            Mask::Number(number) => number,
            Mask::Truth(mask, taken) => {
                let shape = self.b.shape(mask);
                let [one, zero] = [1.0, 0.0].map(|value| self.b.constant(value, &shape));
                if taken { self.b.select(mask, one, zero) } else { self.b.select(mask, zero, one) }
            }
        }
    }

    /// What is needed outside, restricted to where the mask has this value.
    fn both(&mut self, outer: &Demand, mask: NodeId, taken: bool) -> Mask {
        let number = self.number(outer);
        let zero = self.b.constant_like(0.0, number);
        Mask::Number(if taken { self.b.select(mask, number, zero) } else { self.b.select(mask, zero, number) })
    }

    /// Whether anything is needed along all axes but those that are kept.
    fn any(&mut self, of: &Demand, kept: &[usize]) -> Mask {
        // A condition that is broadcast along the same axes says so itself.
        if let Mask::Truth(mask, taken) = self.mask(of) {
            let node = &self.b.graph()[mask];
            if matches!(&node.op, Op::Broadcast(axes) if axes == kept) {
                return Mask::Truth(node.operands[0], taken);
            }
        }
        let mut number = self.number(of);
        // One axis after the other, in the form that fusion recognizes.
        for axis in (0..self.b.shape(number).rank()).rev().filter(|axis| !kept.contains(axis)) {
            number = self.b.max_over(number, &[axis]);
        }
        Mask::Number(number)
    }
}
