//! The kernels of a loop: they follow one another, and hold the nodes of its body and nothing else.
//!
//! What the body reads from outside is in memory before the loop begins, or computed again in it where that is a number made of
//! nothing, a truth value or a position. When the body is placed, its states and what is collected are written row by row. A loop in
//! the body is a part of it: its kernels stand among those of the loop around, and so does what it leaves, which has the memory of one
//! step of that.

use std::collections::HashSet;

use super::carried::settle;
use super::choose::Bound;
use super::domain::{Domain, elsewhere, is_memory};
use super::legalize::empty::is_empty;
use super::view::indices;
use super::{Ctx, Inside, Nodes, Store};
use crate::ir::ops::Body;
use crate::ir::{Graph, Loop, NodeId, Op};
use crate::kernel::{self, Fused, WinogradUse};
use crate::reason::{MaterializeReason, SplitReason};
use crate::types::DType;

/// Cuts a graph into kernels, as often as loops read what is not there when they begin.
pub(super) fn in_attempts(graph: &Graph, winograd: WinogradUse) -> Fused {
    let mut loops = Loops::new(graph);
    loop {
        match Ctx::new(graph, loops).run(winograd) {
            Ok(fused) => return fused,
            Err(found) => loops = found.once_more(),
        }
    }
}

/// Which row of something with a row for each step is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What has the rows.
    pub(super) of: NodeId,
    /// The row, at position 0 of a loop.
    pub(super) first: usize,
    /// Whether it is the next one at the next position.
    pub(super) moves: bool,
}

/// The loops of a graph while it is cut into kernels.
pub(super) struct Loops {
    /// In the order of their histories: one inside of another comes before that.
    pub(super) all: Vec<Loop>,
    /// For every loop the one around it.
    pub(super) around: Vec<Option<usize>>,
    /// For every node the loop that it is part of.
    of: Vec<Option<usize>>,
    /// The loop whose body is being placed, the innermost.
    pub(super) open: Option<usize>,
    /// Where its kernels begin, and those of the loops around it.
    starts: Vec<usize>,
    /// For every loop, what else has to be in memory before it begins, as another attempt has found.
    ahead: Vec<Vec<NodeId>>,
    /// What this attempt has found.
    pub(super) missing: Vec<(usize, NodeId)>,
    /// What needs a buffer of its own, as it cannot be read where it lies in something larger.
    pub(super) own: HashSet<NodeId>,
    /// The kernels of those that are placed, by number.
    pub(super) placed: Vec<(usize, std::ops::Range<usize>)>,
}

impl Loops {
    pub(super) fn new(g: &Graph) -> Loops {
        let all = g.loops();
        let mut of = vec![None; if all.is_empty() { 0 } else { g.nodes.len() }];
        for (number, run) in all.iter().enumerate() {
            run.body.iter().chain([&run.carry]).for_each(|id| of[id.index()] = Some(number));
        }
        let number = |head: NodeId| all.iter().position(|run| run.carry == head);
        let around = all.iter().map(|run| g.around(run.carry).and_then(number)).collect();
        let ahead = vec![Vec::new(); all.len()];
        let (open, starts, missing, own, placed) = Default::default();
        Loops { all, around, of, open, starts, ahead, missing, own, placed }
    }

    /// The same for another attempt, which knows more.
    pub(super) fn once_more(mut self) -> Loops {
        for (number, id) in self.missing.drain(..) {
            self.ahead[number].push(id);
        }
        Loops { open: None, starts: Vec::new(), placed: Vec::new(), ..self }
    }

    /// The loop that a node is part of.
    pub(super) fn of(&self, id: NodeId) -> Option<usize> {
        self.of.get(id.index()).copied().flatten()
    }

    /// Whether a loop is being placed that a node is not part of.
    pub(super) fn is_outside(&self, id: NodeId) -> bool {
        self.open.is_some() && self.of(id) != self.open
    }

    /// A loop and those around it, the innermost first.
    pub(super) fn outward(&self, number: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(number, |&number| self.around[number])
    }

    /// Whether a node is part of a loop, or of one inside of it.
    fn is_within(&self, id: NodeId, number: usize) -> bool {
        self.outward(self.of(id)).any(|other| other == number)
    }

    /// Has a node be in memory before the outermost loop begins that is being placed and that it is not part of.
    pub(super) fn miss(&mut self, id: NodeId) {
        let outermost = self.outward(self.open).take_while(|&number| !self.is_within(id, number)).last();
        self.missing.extend(outermost.map(|number| (number, id)));
    }

    /// Notes in kernels that are done which of them are loops.
    pub(super) fn close(&self, g: &Graph, fused: &mut Fused) {
        for (number, kernels) in self.placed.clone() {
            let Loop { steps, reverse, .. } = self.all[number];
            fused.loops.push(kernel::Loop { kernels, steps, reverse, rows: None, idle: Vec::new() });
        }
        for number in 0..fused.loops.len() {
            // Inside of another loop, what a state begins with is written at each step of that; and a loop inside reads its rows.
            let run = fused.loops[number].clone();
            if run.kernels.clone().all(|index| fused.loops_around(index).eq([number])) {
                settle(fused, &run, |id| matches!(g[id].op, Op::History { .. }));
            }
        }
        for number in (0..fused.loops.len()).rev() {
            // Where a loop is cut by samples, so is what is inside of it.
            let kernels = fused.loops[number].kernels.clone();
            fused.loops[number].rows = match fused.loop_around(number).map(|around| &fused.loops[around]) {
                Some(around) => {
                    let start = around.kernels.start;
                    around.rows.as_ref().map(|rows| rows[kernels.start - start..kernels.end - start].to_vec())
                }
                None => fused.rows_of_samples(kernels),
            };
            fused.loops[number].idle = fused.idle_at_the_end(number);
        }
    }

    /// How often a loop runs: once for each step of those around it.
    pub(super) fn outer_steps(&self, number: usize) -> usize {
        self.outward(Some(number)).skip(1).map(|number| self.all[number].steps).fold(1, usize::saturating_mul)
    }
}

impl Ctx<'_> {
    /// Before the body of a loop: all that it reads, and its first state.
    pub(super) fn begin_loop(&mut self, carry: NodeId, live: &[bool]) {
        let number = self.loops.of(carry).expect("a head is part of its loop");
        let mut run = self.loops.all[number].clone();
        run.body.retain(|id| live[id.index()]);
        run.collects.retain(|id| live[id.index()]);
        let ahead = std::mem::take(&mut self.loops.ahead[number]);
        for &id in ahead.iter().chain(&self.read_from_outside(number, &run)) {
            self.materialize(id, MaterializeReason::Outside);
        }
        self.loops.ahead[number] = ahead;
        let initial = self.g[carry].operands[0];
        if !is_empty(&self.g[initial].ty.shape) {
            let kernel = self.place_alone(initial, SplitReason::Apart);
            let [first, _] = run.rows(run.positions().next().expect("a loop has steps"));
            self.store_row(kernel, initial, Row { of: run.history, first, moves: false });
        }
        self.loops.open = Some(number);
        self.loops.starts.push(self.drafts.len());
        self.stored[run.history.index()] = true;
    }

    /// After the body of a loop: the states after each step, and what is collected.
    pub(super) fn end_loop(&mut self, history: NodeId, live: &[bool]) {
        let number = self.loops.open.expect("a loop is closed that was opened");
        let run = self.loops.all[number].clone();
        let [_, after] = run.rows(0);
        let state = (self.g[history].operands[1], Row { of: history, first: after, moves: true });
        let collects = run.collects.iter().filter(|id| live[id.index()]);
        let collected = collects.map(|&id| (self.g[id].operands[1], Row { of: id, first: 0, moves: true }));
        let rows: Vec<(NodeId, Row)> = collected.chain([state]).collect();
        for &(value, row) in rows.iter().filter(|(value, _)| !is_empty(&self.g[*value].ty.shape)) {
            self.write_row(value, row);
        }
        let end = self.drafts.len();
        for (_, row) in rows {
            self.stored[row.of.index()] = true;
            self.home[row.of.index()] = end.checked_sub(1);
        }
        let start = self.loops.starts.pop().expect("a loop is closed that was opened");
        if end > start {
            self.loops.placed.push((number, start..end));
        }
        self.loops.open = self.loops.around[number];
    }

    /// Writes a value at each step: where it is computed if its elements are there as they are, else by a kernel of its own.
    fn write_row(&mut self, value: NodeId, row: Row) {
        let place = Inside::Steps(row);
        let here = self.loops.of(value) == self.loops.open;
        if here && matches!(self.g[value].op, Op::Concat(_)) && self.lies_inside(value, place) {
            return;
        }
        let node = &self.g[value];
        let elements = node.op.is_map() || matches!(node.op.def().body, Body::Contract);
        if elements && here {
            let home = match self.home[value.index()] {
                Some(home) => home,
                None => self.place_in(value, Bound::default()),
            };
            let draft = &self.drafts[home];
            let inside = draft.run == self.loops.open && draft.domain == Domain::of(&node.ty.shape);
            if inside && self.index.computes(home, value) {
                // It is read there as well, at the same step.
                self.lies_inside(value, place);
                return self.store_row(home, value, row);
            }
        }
        let kernel = self.place_alone(value, SplitReason::Apart);
        self.store_row(kernel, value, row);
    }

    fn store_row(&mut self, kernel: usize, node: NodeId, row: Row) {
        let materialized = Some(MaterializeReason::Step);
        self.store(kernel, Store { row: Some(row), materialized, ..Store::of(node) });
    }

    /// What the body of a loop reads and does not compute, with those of the loops inside of it.
    fn read_from_outside(&self, number: usize, run: &Loop) -> Vec<NodeId> {
        let inner = (0..self.loops.all.len())
            .filter(|&inner| inner != number && self.loops.outward(Some(inner)).any(|around| around == number));
        let inner = inner.map(|inner| &self.loops.all[inner]);
        let bodies = || inner.clone().chain([run]);
        let mut open: Vec<NodeId> = Vec::new();
        for run in bodies() {
            let exits = run.collects.iter().chain([&run.history, &run.carry]);
            for &id in run.body.iter().chain(exits) {
                // What the loop itself begins with is placed ahead of it.
                let values = if id == self.loops.all[number].carry { &[] } else { self.g[id].values() };
                open.extend(values.iter().filter(|value| !self.loops.is_within(**value, number)));
            }
        }
        let (mut found, mut seen) = (Vec::new(), Nodes::default());
        open.reverse();
        let sequences = bodies().flat_map(|run| &run.body).filter(|id| self.g[**id].op == Op::Element);
        let sequences: Vec<NodeId> = sequences.map(|&id| self.g[id].operands[1]).collect();
        while let Some(id) = open.pop() {
            if !seen.insert(id) || self.is_made_of_nothing(id) && !sequences.contains(&id) {
                continue;
            }
            let base = elsewhere(self.g, id).0;
            open.extend(indices(self.g, id, base));
            let node = &self.g[base];
            // Positions that are copied are those of a step around.
            let copied = matches!(node.op, Op::ToIndex | Op::Detach) && self.loops.of(base).is_some();
            match node.op.is_map() && node.ty.dtype != DType::F32 && !copied {
                true => open.extend(&node.operands),
                false if node.op.is_leaf() => {}
                false => found.push(base),
            }
        }
        found
    }

    /// Whether a value takes a few operations on constants and positions.
    fn is_made_of_nothing(&self, id: NodeId) -> bool {
        const MOST: usize = 8;
        let (mut open, mut seen) = (vec![id], Nodes::default());
        while let Some(id) = open.pop() {
            let node = &self.g[id];
            let known = node.op.is_map() || node.op.is_view() || node.op.is_leaf() && !is_memory(&node.op);
            if !known || seen.len() > MOST {
                return false;
            }
            if seen.insert(id) {
                open.extend(&node.operands);
            }
        }
        true
    }
}
