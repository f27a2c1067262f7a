//! The gradient of a loop: a loop in the other direction.
//!
//! In: a loop of the forward pass, and the cotangents of its history and of what it collects. Out: the cotangents of all that it
//! reads from outside. Step `p` makes state `p + 1` of state `p`, so the cotangents of the states are `g[p] = dh[p] + c[p]` with
//! `c[p] = J[p]' g[p + 1]`, where `dh` is the cotangent of the history (Werbos 1990, "Backpropagation through time"). What comes from
//! later steps, `c`, is the history of a loop: each step adds its row of `dh` when it begins. Where `dh` is zero but for the last
//! state, the loop begins with that and adds nothing. Its body is the backward pass of one step. What that needs of the step's
//! forward pass is read from the history and the sequences, or computed again; results of products and reductions are collected by
//! the forward loop. The gradient of a matrix that the steps multiply by is one product over all of them, after the loop.
//!
//! A loop in the body is a node of the body whose gradient is a loop in the body of the backward loop. What that reads of the forward
//! pass is what the loops around keep of all their steps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::rows::{NEAR, Split, split};
use crate::ir::ops::{At, Body};
use crate::ir::{Builder, DotAxes, Loop, NodeId, Op, Pass};

/// The cotangents of a loop's results, as far as they have any.
pub(super) struct Results {
    /// That of the history.
    pub history: Option<NodeId>,
    /// Nodes of the body that are collected, each with the cotangent of all its values.
    pub collected: Vec<(NodeId, NodeId)>,
}

impl Results {
    /// Those of a loop, from the cotangents of nodes; none where no result has any.
    pub(super) fn of(b: &Builder, run: &Loop, dy: impl Fn(NodeId) -> Option<NodeId>) -> Option<Results> {
        let collected = run.collects.iter().filter_map(|&id| Some((b[id].operands[1], dy(id)?)));
        let results = Results { history: dy(run.history), collected: collected.collect() };
        (results.history.is_some() || !results.collected.is_empty()).then_some(results)
    }
}

/// The cotangents of all states, and of what the loop reads from outside: each node with a part of its cotangent. `needed` says which
/// nodes want one.
pub(super) fn backward(
    b: &mut Builder,
    (loops, run): (&[Loop], &Loop),
    results: Results,
    needed: &dyn Fn(NodeId) -> bool,
) -> (NodeId, Vec<(NodeId, NodeId)>) {
    Nest { loops, needed, levels: Vec::new() }.backward(b, run, results)
}

/// Loops, one inside of the other, whose gradients are being made.
struct Nest<'a> {
    /// All loops of the forward pass.
    loops: &'a [Loop],
    needed: &'a dyn Fn(NodeId) -> bool,
    /// The outermost first.
    levels: Vec<Steps>,
}

fn add(b: &mut Builder, to: NodeId, dx: NodeId, cotangents: &mut HashMap<NodeId, NodeId>) {
    let sum = cotangents.get(&to).map_or(dx, |&other| b.add(other, dx));
    cotangents.insert(to, sum);
}

fn row(b: &mut Builder, x: NodeId, row: usize) -> NodeId {
    let (shape, taken) = (b.shape(x).without(&[0]), b.slice(x, 0, row, 1, 1));
    b.reshape(taken, shape)
}

impl Nest<'_> {
    /// The same of a loop in the body of the innermost one of these.
    fn backward(&mut self, b: &mut Builder, run: &Loop, results: Results) -> (NodeId, Vec<(NodeId, NodeId)>) {
        b.enter(b[run.history].origin.in_pass(Pass::Backward));
        let needed = self.needed;
        let initial = b[run.carry].operands[0];
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
        let around = self.levels.last().map(|around| around.carry);
        let carry = b.carry_inside(around, first, run.steps, !run.reverse);
        let level = self.levels.len();
        let (kept, late) = (kept(b, run), HashSet::new());
        let (values, lifted) = (BTreeMap::new(), HashMap::new());
        self.levels.push(Steps { run: run.clone(), before, carry, kept, late, values, lifted });

        let mut cotangents: HashMap<NodeId, NodeId> = HashMap::new();
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
            let node = b[id].clone();
            match node.op {
                Op::History { .. } => {
                    for (x, dx) in self.of_inner(b, id, &cotangents) {
                        match is_inside(x) {
                            true => add(b, x, dx, &mut cotangents),
                            false => outside.push((x, Outside::OfInner(dx))),
                        }
                    }
                    continue;
                }
                // Its part is that of the loop it is collected by.
                Op::Collect { .. } => continue,
                _ => {}
            }
            let Some(dy) = cotangents.get(&id).copied().filter(|_| needed(id)) else { continue };
            b.enter(node.origin.in_pass(Pass::Backward));
            if node.op == Op::Element {
                outside.push((node.operands[1], Outside::Stack(dy)));
                continue;
            }
            let x: Vec<NodeId> = node.operands.iter().map(|&x| self.value(b, level, x)).collect();
            let at = At { x, y: self.value(b, level, id), op: node.op, dy };
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
                Outside::OfInner(dx) => self.summed(b, history, dx),
                Outside::Lifted { id, number, dy } => {
                    let origin = b[id].origin.in_pass(Pass::Backward);
                    b.enter(origin);
                    let all = b.collect(history, dy);
                    self.lifted_gradient(b, (level, history), (id, number), all)
                }
            };
            parts.push((x, part));
        }
        self.levels.pop();
        (states, parts)
    }

    /// The cotangents of what a loop in the body reads, at a step, from those of its results.
    fn of_inner(
        &mut self,
        b: &mut Builder,
        history: NodeId,
        cotangents: &HashMap<NodeId, NodeId>,
    ) -> Vec<(NodeId, NodeId)> {
        let loops = self.loops;
        let run = loops.iter().find(|run| run.history == history).expect("a history is that of a loop");
        let results = Results::of(b, run, |id| cotangents.get(&id).copied().filter(|_| (self.needed)(id)));
        results.map_or(Vec::new(), |results| self.backward(b, run, results).1)
    }

    /// The sum of a value of a backward loop over all steps. Where that is a product, or rows added to a table, it is one over all steps.
    fn summed(&self, b: &mut Builder, history: NodeId, dx: NodeId) -> NodeId {
        let node = b[dx].clone();
        // What the forward pass has is the same at every step of the backward one.
        let is_same = |b: &Builder, x: NodeId| b.graph().behind_views(x) < self.levels[0].carry;
        match (&node.op, &node.operands[..]) {
            (Op::Add, &[x, y]) => {
                let [x, y] = [x, y].map(|x| self.summed(b, history, x));
                b.add(x, y)
            }
            (Op::Transpose(order), &[x]) => {
                let sum = self.summed(b, history, x);
                b.transpose(sum, order)
            }
            (Op::Reshape, &[x]) => {
                let sum = self.summed(b, history, x);
                b.reshape(sum, node.ty.shape.clone())
            }
            (Op::Dot(axes), &[x, y]) => match [x, y].map(|x| is_same(b, x)) {
                [false, false] => {
                    let [x, y] = [x, y].map(|x| b.collect(history, x));
                    let further = |pairs: &[(usize, usize)]| pairs.iter().map(|&(l, r)| (l + 1, r + 1)).collect();
                    let (batch, own): (Vec<_>, Vec<_>) = (further(&axes.batch), further(&axes.contracted));
                    b.product(x, y, DotAxes { batch, contracted: [vec![(0, 0)], own].concat() })
                }
                [true, _] => {
                    let y = self.summed(b, history, y);
                    b.product(x, y, axes.clone())
                }
                [false, true] => {
                    let x = self.summed(b, history, x);
                    b.product(x, y, axes.clone())
                }
            },
            (&Op::ScatterAdd { rows }, &[values, index]) if is_same(b, index) => {
                let values = self.summed(b, history, values);
                b.scatter_add(values, index, rows)
            }
            (&Op::ScatterAdd { rows }, &[values, index]) => {
                let [values, index] = [values, index].map(|x| b.collect(history, x));
                b.scatter_add(values, index, rows)
            }
            _ => {
                let all = b.collect(history, dx);
                b.sum(all, &[0])
            }
        }
    }
}

/// What becomes of a cotangent of a step, that of a node outside.
enum Outside {
    /// It is that of one element.
    Stack(NodeId),
    /// Those of all steps are added up.
    Sum(NodeId),
    /// The same of what a loop in the body gives.
    OfInner(NodeId),
    /// The node of the body, which operand of it, and the cotangent of its result: computed for all steps at once.
    Lifted { id: NodeId, number: usize, dy: NodeId },
}

/// The values of a forward loop, seen from the backward one.
struct Steps {
    run: Loop,
    /// The row of the history that is the state before the step at position 0.
    before: usize,
    /// The head of the backward loop.
    carry: NodeId,
    /// The nodes of the body whose values the forward loop keeps.
    kept: HashSet<NodeId>,
    /// What loops in the body collect for the backward pass: nodes of the body as well.
    late: HashSet<NodeId>,
    /// The value of a node of the body at this step.
    values: BTreeMap<NodeId, NodeId>,
    /// Its values at all steps.
    lifted: HashMap<NodeId, NodeId>,
}

impl Steps {
    fn is_inside(&self, id: NodeId) -> bool {
        id == self.run.carry || self.run.body.binary_search(&id).is_ok() || self.late.contains(&id)
    }
}

impl Nest<'_> {
    /// The value of a node at the step that the backward loop of a level takes.
    fn value(&mut self, b: &mut Builder, level: usize, id: NodeId) -> NodeId {
        if !self.levels[level].is_inside(id) {
            return self.value_around(b, level, id);
        }
        // Operands first; bodies may be deep.
        let mut open = vec![id];
        while let Some(&id) = open.last() {
            let own = &self.levels[level];
            if own.values.contains_key(&id) {
                open.pop();
                continue;
            }
            let node = &b[id];
            let kept = id == own.run.carry || node.op == Op::Element || own.kept.contains(&id);
            let missing = |x: &NodeId| own.is_inside(*x) && !own.values.contains_key(x);
            let missing: Vec<NodeId> = node.operands.iter().copied().filter(missing).filter(|_| !kept).collect();
            if !missing.is_empty() {
                open.extend(missing);
                continue;
            }
            open.pop();
            let value = match kept {
                true => {
                    let all = self.all(b, level, id);
                    b.element(self.levels[level].carry, all)
                }
                false => {
                    let mut node = b[id].clone();
                    node.origin = node.origin.in_pass(Pass::Backward);
                    for x in &mut node.operands {
                        *x = match self.levels[level].values.get(x) {
                            Some(&own) => own,
                            None => self.value_around(b, level, *x),
                        };
                    }
                    b.add_node(node)
                }
            };
            self.levels[level].values.insert(id, value);
        }
        self.levels[level].values[&id]
    }

    /// The value of a node outside of the loop of a level.
    fn value_around(&mut self, b: &mut Builder, level: usize, id: NodeId) -> NodeId {
        match level.checked_sub(1) {
            Some(around) => self.value(b, around, id),
            None => id,
        }
    }

    /// The values at all steps of a node that the forward loop reads or keeps.
    fn all(&mut self, b: &mut Builder, level: usize, id: NodeId) -> NodeId {
        if let Some(&known) = self.levels[level].lifted.get(&id) {
            return known;
        }
        let origin = Rc::clone(&b[id].origin);
        b.enter(Rc::clone(&origin));
        let Steps { run, before, .. } = &self.levels[level];
        let (history, before, steps) = (run.history, *before, run.steps);
        let all = match b[id].op {
            Op::Carry { .. } => {
                let history = self.value_around(b, level, history);
                b.enter(origin);
                b.slice(history, 0, before, steps, 1)
            }
            Op::Element => self.value_around(b, level, b[id].operands[1]),
            _ => self.collected(b, level, id),
        };
        self.levels[level].lifted.insert(id, all);
        all
    }

    /// What the forward loop of a level collects of a node.
    fn collected(&mut self, b: &mut Builder, level: usize, id: NodeId) -> NodeId {
        let all = b.collect(self.levels[level].run.history, id);
        let Some(around) = level.checked_sub(1) else { return all };
        let own = &mut self.levels[around];
        own.late.insert(all);
        own.kept.insert(all);
        self.value(b, around, all)
    }

    /// The values of a node at all steps. `history` is that of the backward loop, which computes some of them again.
    fn lifted(&mut self, b: &mut Builder, (level, history): (usize, NodeId), id: NodeId) -> NodeId {
        if let Some(&known) = self.levels[level].lifted.get(&id) {
            return known;
        }
        let (node, steps) = (b[id].clone(), self.levels[level].run.steps);
        let at = (level, history);
        let moved = match &node.op {
            _ if !self.levels[level].is_inside(id) => {
                let x = self.value_around(b, level, id);
                let shape = node.ty.shape.stacked(steps);
                let axes: Vec<usize> = (1..shape.rank()).collect();
                Some(b.broadcast(x, &shape, &axes))
            }
            &Op::Slice { axis, start, len, step } => {
                let x = self.lifted(b, at, node.operands[0]);
                Some(b.slice(x, axis + 1, start, len, step))
            }
            Op::Transpose(order) => {
                let x = self.lifted(b, at, node.operands[0]);
                let order: Vec<usize> = [0].into_iter().chain(order.iter().map(|axis| axis + 1)).collect();
                Some(b.transpose(x, &order))
            }
            Op::Reshape => {
                let x = self.lifted(b, at, node.operands[0]);
                Some(b.reshape(x, node.ty.shape.stacked(steps)))
            }
            &Op::Concat(axis) => {
                let x: Vec<NodeId> = node.operands.iter().map(|&x| self.lifted(b, at, x)).collect();
                Some(b.concat(&x, axis + 1))
            }
            _ => None,
        };
        let own = &self.levels[level];
        let lifted = match moved {
            Some(moved) => moved,
            None if own.kept.contains(&id) || matches!(node.op, Op::Carry { .. } | Op::Element) => {
                self.all(b, level, id)
            }
            // The backward loop has it, if it is not closed yet; else it is collected by the forward one.
            None => match own.values.get(&id) {
                Some(&value) => b.collect(history, value),
                None => self.collected(b, level, id),
            },
        };
        self.levels[level].lifted.insert(id, lifted);
        lifted
    }

    /// The gradient of an operand from outside, from the cotangents of a node of the body at all steps.
    fn lifted_gradient(
        &mut self,
        b: &mut Builder,
        at: (usize, NodeId),
        (id, number): (NodeId, usize),
        dy: NodeId,
    ) -> NodeId {
        let node = b[id].clone();
        match &node.op {
            Op::Gather => {
                let rows = b.shape(node.operands[0]).0[0].factor();
                let index = self.lifted(b, at, node.operands[1]);
                b.scatter_add(dy, index, rows)
            }
            Op::Dot(axes) => {
                let other = 1 - number;
                // All steps of the other operand are one operand with a further free axis, its first.
                let x = self.lifted(b, at, node.operands[other]);
                let (lifted, place) = axes.lifted(other, b.ty(node.operands[0]).shape.rank());
                let rank = b.ty(dy).shape.rank();
                let order: Vec<usize> = (1..=place).chain([0]).chain(place + 1..rank).collect();
                let dy = if place == 0 { dy } else { b.transpose(dy, &order) };
                let mut operands = vec![x; 2];
                operands[number] = self.value_around(b, at.0, node.operands[number]);
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
    let is_loop = matches!(op, Op::History { .. } | Op::Collect { .. });
    is_loop || matches!(op.def().body, Body::Contract | Body::Reduce(_) | Body::Scatter | Body::Fold)
}
