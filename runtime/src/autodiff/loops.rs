//! The gradient of a loop: a loop in the other direction.
//!
//! In: a loop of the forward pass, and the cotangents of its history and of what it collects. Out: the cotangents of all that it
//! reads from outside. Step `p` makes state `p + 1` of state `p`, so the cotangents of the states are `g[p] = dh[p] + c[p]` with
//! `c[p] = J[p]' g[p + 1]`, where `dh` is the cotangent of the history (Werbos 1990, "Backpropagation through time"). What comes from
//! later steps, `c`, is the history of a loop: each step adds its row of `dh` when it begins. Where `dh` is zero but for the last
//! state, the loop begins with that and adds nothing. Its body is the backward pass of one step. What that needs of the step's
//! forward pass is read from the history and the sequences, or computed again; results of products and reductions are collected by
//! the forward loop. The gradient of a matrix that the steps multiply by is one product over all of them, behind the loop.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use crate::ir::ops::{At, Body};
use crate::ir::{Builder, Loop, NodeId, Op, Pass};

/// The cotangents of a loop's results, as far as they have any.
pub(super) struct Results {
    /// That of the history.
    pub history: Option<NodeId>,
    /// Nodes of the body that are collected, each with the cotangent of all its values.
    pub collected: Vec<(NodeId, NodeId)>,
}

/// The cotangents of all states, and of what the loop reads from outside: each node with a part of its cotangent. `needed` says which
/// nodes want one.
pub(super) fn backward(
    b: &mut Builder,
    run: &Loop,
    results: Results,
    needed: &dyn Fn(NodeId) -> bool,
) -> (NodeId, Vec<(NodeId, NodeId)>) {
    let initial = b[run.carry].operands[0];
    let row = |b: &mut Builder, x: NodeId, row: usize| {
        let (shape, taken) = (b.shape(x).without(&[0]), b.slice(x, 0, row, 1, 1));
        b.reshape(taken, shape)
    };
    // The rows of the history that are the states before and after the step at position 0.
    let [before, after] = run.rows(0);
    let last = run.rows(run.positions().last().expect("a loop has steps"))[1];
    let Split { row: first, rest } = match results.history {
        Some(dh) => split(b, (dh, NEAR), 0, last).unwrap_or(Split { row: None, rest: Some(dh) }),
        None => Split::default(),
    };
    let first = match first {
        Some(first) => row(b, first, 0),
        None => b.constant_like(0.0, run.carry),
    };
    let carry = b.carry(first, run.steps, !run.reverse);
    let kept = kept(b, run);
    let mut steps = Steps { run, before, carry, kept, values: BTreeMap::new(), lifted: HashMap::new() };

    let mut cotangents: HashMap<NodeId, NodeId> = HashMap::new();
    let add = |b: &mut Builder, to: NodeId, dx: NodeId, cotangents: &mut HashMap<NodeId, NodeId>| {
        let sum = cotangents.get(&to).map_or(dx, |&other| b.add(other, dx));
        cotangents.insert(to, sum);
    };
    let next = b[run.history].operands[1];
    let is_inside = |id: NodeId| id == run.carry || run.body.binary_search(&id).is_ok();
    let mut outside: Vec<(NodeId, Outside)> = Vec::new();
    let own = rest.map(|dh| b.slice(dh, 0, after, run.steps, 1));
    let mut open = vec![(next, carry, own)];
    while let Some((id, later, own)) = open.pop() {
        // The parts of a state are made apart, and so is what comes to them.
        if let Op::Concat(axis) = b[id].op
            && is_inside(id)
            && needed(id)
        {
            let mut start = 0;
            for part in b[id].operands.clone() {
                let len = b.shape(part).0[axis].factor();
                let later = b.slice(later, axis, start, len, 1);
                open.push((part, later, own.map(|own| b.slice(own, axis + 1, start, len, 1))));
                start += len;
            }
            continue;
        }
        let dy = match own {
            Some(own) => {
                let own = b.element(carry, own);
                b.add(later, own)
            }
            None => later,
        };
        match is_inside(id) {
            true => add(b, id, dy, &mut cotangents),
            false => outside.push((id, Outside::Sum(dy))),
        }
    }
    for &(value, dy) in &results.collected {
        let dy = b.element(carry, dy);
        match is_inside(value) {
            true => add(b, value, dy, &mut cotangents),
            false => outside.push((value, Outside::Sum(dy))),
        }
    }
    for &id in run.body.iter().rev() {
        let Some(dy) = cotangents.get(&id).copied().filter(|_| needed(id)) else { continue };
        let node = b[id].clone();
        b.enter(node.origin.in_pass(Pass::Backward));
        if node.op == Op::Element {
            outside.push((node.operands[1], Outside::Stack(dy)));
            continue;
        }
        let x: Vec<NodeId> = node.operands.iter().map(|&x| steps.value(b, x)).collect();
        let at = At { x, y: steps.value(b, id), op: node.op, dy };
        let parts = (at.op.def().vjp)(b, &at);
        for (number, (&x, dx)) in node.operands.iter().zip(parts).enumerate() {
            let Some(dx) = dx.filter(|_| needed(x)) else { continue };
            if is_inside(x) {
                add(b, x, dx, &mut cotangents);
                continue;
            }
            outside.push((
                x,
                match &at.op {
                    // One product, one scatter over all steps, instead of a sum of as many.
                    Op::Dot(_) | Op::Gather => Outside::Lifted { id, number, dy },
                    _ => Outside::Sum(dx),
                },
            ));
        }
    }

    b.enter(b[run.history].origin.in_pass(Pass::Backward));
    let before_step = cotangents.get(&run.carry).copied().unwrap_or_else(|| b.constant_like(0.0, carry));
    let history = b.history(carry, before_step);

    // What the loop begins with is among its states.
    let states = rest.map_or(history, |dh| b.add(history, dh));
    let mut parts = Vec::new();
    if needed(initial) {
        let start = run.rows(run.positions().next().expect("a loop has steps"))[0];
        let mut before_all = row(b, history, start);
        if let Some(dh) = rest {
            let own = row(b, dh, start);
            before_all = b.add(before_all, own);
        }
        parts.push((initial, before_all));
    }
    for (x, part) in outside {
        if !needed(x) {
            continue;
        }
        let part = match part {
            Outside::Stack(dy) => b.collect(history, dy),
            Outside::Sum(dx) => {
                let all = b.collect(history, dx);
                b.sum(all, &[0])
            }
            Outside::Lifted { id, number, dy } => {
                let origin = b[id].origin.in_pass(Pass::Backward);
                b.enter(origin);
                let all = b.collect(history, dy);
                steps.lifted_gradient(b, history, id, number, all)
            }
        };
        parts.push((x, part));
    }
    (states, parts)
}

/// How many operations are looked through to see that a cotangent is zero but for one row.
const NEAR: usize = 16;

/// What a sum is made of.
#[derive(Default)]
struct Split {
    /// All terms that are zero everywhere but at one index of an axis: what they are there, with that axis.
    row: Option<NodeId>,
    /// All others.
    rest: Option<NodeId>,
}

impl Split {
    /// The same of what is made of both.
    fn map(self, mut of: impl FnMut(NodeId) -> NodeId) -> Split {
        Split { row: self.row.map(&mut of), rest: self.rest.map(of) }
    }
}

/// Takes out of a sum what is zero everywhere but at this index of an axis, as it was padded; none if there is nothing of the kind.
fn split(b: &mut Builder, (x, near): (NodeId, usize), axis: usize, index: usize) -> Option<Split> {
    let near = near.checked_sub(1)?;
    let op = b[x].op.clone();
    match op {
        Op::Pad { axis: along, before, inside: 0, after, value } if value == 0.0 => {
            let inner = b[x].operands[0];
            if along != axis {
                let inner = split(b, (inner, near), axis, index)?;
                return Some(inner.map(|part| b.pad(part, along, [before, after], value)));
            }
            let (extent, index) = (b.shape(inner).0[axis].factor(), index.checked_sub(before)?);
            if extent == 1 && index == 0 {
                return Some(Split { row: Some(inner), rest: None });
            }
            let Split { row, rest } = split(b, (inner, near), axis, index)?;
            Some(Split { row, rest: rest.map(|rest| b.pad(rest, axis, [before, after], value)) })
        }
        Op::Transpose(order) => {
            let inner = split(b, (b[x].operands[0], near), order[axis], index)?;
            Some(inner.map(|part| b.transpose(part, &order)))
        }
        Op::Add => {
            let [l, r] = b[x].operands[..] else { unreachable!("a sum has two terms") };
            let whole = |x| Split { row: None, rest: Some(x) };
            let (own, other) = (split(b, (l, near), axis, index), split(b, (r, near), axis, index));
            if own.is_none() && other.is_none() {
                return None;
            }
            let (l, r) = (own.unwrap_or_else(|| whole(l)), other.unwrap_or_else(|| whole(r)));
            let mut both = |l: Option<NodeId>, r: Option<NodeId>| match (l, r) {
                (Some(l), Some(r)) => Some(b.add(l, r)),
                (only, None) | (None, only) => only,
            };
            Some(Split { row: both(l.row, r.row), rest: both(l.rest, r.rest) })
        }
        _ => None,
    }
}

/// What becomes of a cotangent of a step, that of a node outside.
enum Outside {
    /// It is that of one element.
    Stack(NodeId),
    /// Those of all steps are added up.
    Sum(NodeId),
    /// The node of the body, which operand of it, and the cotangent of its result: computed for all steps at once.
    Lifted { id: NodeId, number: usize, dy: NodeId },
}

/// The values of the forward loop, seen from the backward one.
struct Steps<'a> {
    run: &'a Loop,
    /// The row of the history that is the state before the step at position 0.
    before: usize,
    /// The head of the backward loop.
    carry: NodeId,
    /// The nodes of the body whose values the forward loop keeps.
    kept: HashSet<NodeId>,
    /// The value of a node of the body at this step.
    values: BTreeMap<NodeId, NodeId>,
    /// Its values at all steps.
    lifted: HashMap<NodeId, NodeId>,
}

impl Steps<'_> {
    fn is_inside(&self, id: NodeId) -> bool {
        id == self.run.carry || self.run.body.binary_search(&id).is_ok()
    }

    /// The value of a node at the step that the backward loop takes.
    fn value(&mut self, b: &mut Builder, id: NodeId) -> NodeId {
        if !self.is_inside(id) {
            return id;
        }
        // Operands first; bodies may be deep.
        let mut open = vec![id];
        while let Some(&id) = open.last() {
            if self.values.contains_key(&id) {
                open.pop();
                continue;
            }
            let node = &b[id];
            let kept = id == self.run.carry || node.op == Op::Element || self.kept.contains(&id);
            let missing = |x: &NodeId| self.is_inside(*x) && !self.values.contains_key(x);
            let missing: Vec<NodeId> = node.operands.iter().copied().filter(missing).filter(|_| !kept).collect();
            if !missing.is_empty() {
                open.extend(missing);
                continue;
            }
            open.pop();
            let value = match kept {
                true => {
                    let all = self.all(b, id);
                    b.element(self.carry, all)
                }
                false => {
                    let mut node = b[id].clone();
                    node.origin = node.origin.in_pass(Pass::Backward);
                    let own = |x: &mut NodeId| *x = self.values.get(x).copied().unwrap_or(*x);
                    node.operands.iter_mut().for_each(own);
                    b.add_node(node)
                }
            };
            self.values.insert(id, value);
        }
        self.values[&id]
    }

    /// The values at all steps of a node that the forward loop reads or keeps.
    fn all(&mut self, b: &mut Builder, id: NodeId) -> NodeId {
        if let Some(&known) = self.lifted.get(&id) {
            return known;
        }
        let origin = Rc::clone(&b[id].origin);
        b.enter(origin);
        let all = match b[id].op {
            Op::Carry { .. } => b.slice(self.run.history, 0, self.before, self.run.steps, 1),
            Op::Element => b[id].operands[1],
            _ => b.collect(self.run.history, id),
        };
        self.lifted.insert(id, all);
        all
    }

    /// The values of a node at all steps. `history` is that of the backward loop, which computes some of them again.
    fn lifted(&mut self, b: &mut Builder, history: NodeId, id: NodeId) -> NodeId {
        if let Some(&known) = self.lifted.get(&id) {
            return known;
        }
        let node = b[id].clone();
        let moved = match &node.op {
            _ if !self.is_inside(id) => {
                let shape = node.ty.shape.stacked(self.run.steps);
                let axes: Vec<usize> = (1..shape.rank()).collect();
                Some(b.broadcast(id, &shape, &axes))
            }
            &Op::Slice { axis, start, len, step } => {
                let x = self.lifted(b, history, node.operands[0]);
                Some(b.slice(x, axis + 1, start, len, step))
            }
            Op::Transpose(order) => {
                let x = self.lifted(b, history, node.operands[0]);
                let order: Vec<usize> = [0].into_iter().chain(order.iter().map(|axis| axis + 1)).collect();
                Some(b.transpose(x, &order))
            }
            Op::Reshape => {
                let x = self.lifted(b, history, node.operands[0]);
                Some(b.reshape(x, node.ty.shape.stacked(self.run.steps)))
            }
            &Op::Concat(axis) => {
                let x: Vec<NodeId> = node.operands.iter().map(|&x| self.lifted(b, history, x)).collect();
                Some(b.concat(&x, axis + 1))
            }
            _ => None,
        };
        let lifted = match moved {
            Some(moved) => moved,
            None if self.kept.contains(&id) || matches!(node.op, Op::Carry { .. } | Op::Element) => self.all(b, id),
            // The backward loop has it, if it is not closed yet; else it is collected by the forward one.
            None => match self.values.get(&id) {
                Some(&value) => b.collect(history, value),
                None => b.collect(self.run.history, id),
            },
        };
        self.lifted.insert(id, lifted);
        lifted
    }

    /// The gradient of an operand from outside, from the cotangents of a node of the body at all steps.
    fn lifted_gradient(&mut self, b: &mut Builder, history: NodeId, id: NodeId, number: usize, dy: NodeId) -> NodeId {
        let node = b[id].clone();
        match &node.op {
            Op::Gather => {
                let rows = b.shape(node.operands[0]).0[0].factor();
                let index = self.lifted(b, history, node.operands[1]);
                b.scatter_add(dy, index, rows)
            }
            Op::Dot(axes) => {
                let other = 1 - number;
                // All steps of the other operand are one operand with a further free axis, its first.
                let x = self.lifted(b, history, node.operands[other]);
                let (lifted, at) = axes.lifted(other, b.ty(node.operands[0]).shape.rank());
                let rank = b.ty(dy).shape.rank();
                let order: Vec<usize> = (1..=at).chain([0]).chain(at + 1..rank).collect();
                let dy = if at == 0 { dy } else { b.transpose(dy, &order) };
                let mut operands = node.operands.clone();
                operands[other] = x;
                let at = At { op: Op::Dot(lifted), x: operands, y: dy, dy };
                (at.op.def().vjp)(b, &at)[number].expect("both operands of a product have a gradient")
            }
            op => unreachable!("{op:?} is not lifted"),
        }
    }
}

/// Which values of the body the forward loop keeps: those that cost more to compute again than to read. A sum is kept in place of its
/// terms.
fn kept(b: &Builder, run: &Loop) -> HashSet<NodeId> {
    let mut kept = HashSet::new();
    for &id in &run.body {
        let node = &b[id];
        let is_sum = matches!(node.op, Op::Add | Op::Sub);
        if is_long(&node.op) || is_sum && node.operands.iter().any(|x| kept.contains(x)) {
            kept.insert(id);
        }
    }
    kept
}

fn is_long(op: &Op) -> bool {
    matches!(op.def().body, Body::Contract | Body::Reduce(_) | Body::Scatter | Body::Fold)
}
