//! Wholes and their parts: a concatenation is one buffer with several writers, and what is a row of a loop need not lie elsewhere too.
//!
//! In: a concatenation, or a value that is written at each step of a loop. Out: where each part is written, by the kernel that
//! computes it if every row of that kernel is one run of elements of the whole, else by one that copies it; and where all who
//! read a part find it, so that it has no memory of its own. A whole may be a part of another one, or a row itself. What is read in
//! another order than that in which it is computed is a whole of one part.

use std::collections::HashMap;

use super::bounds::Bounds;
use super::choose::Bound;
use super::domain::{Domain, ReductionAxes, coordinates, reduction_axes};
use super::view::{memory_order, reshaped, restrided, strides};
use super::{Ctx, Row, Store};
use crate::ir::ops::Body;
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::Affine;
use crate::reason::{MaterializeReason, SplitReason};
use crate::types::{Dim, Shape};

/// Which part of a concatenation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The concatenation.
    pub(super) of: NodeId,
    /// Its operand: what is written, or a view of that.
    pub(super) view: NodeId,
    /// The axis along which it has its place.
    pub(super) axis: usize,
    /// The place.
    pub(super) start: usize,
}

/// Where something lies in something larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// In a concatenation.
    Whole(Part),
    /// In what has a row for each step of a loop.
    Steps(Row),
}

/// What has a buffer of its own, and where the elements of a node lie in it.
pub(super) struct Layout {
    pub(super) of: NodeId,
    /// The first of them.
    pub(super) start: i64,
    /// From element to element along each axis of the node.
    pub(super) steps: Vec<i64>,
    /// From position to position of the loop.
    pub(super) position: i64,
    /// What has a row for each of these positions, if it moves.
    pub(super) rows: Option<NodeId>,
}

/// Where the elements of a node lie, if they are evenly apart along each of its axes.
pub(super) fn layout(g: &Graph, inside: &HashMap<NodeId, Inside>, node: NodeId) -> Option<Layout> {
    match inside.get(&node) {
        None => Some(Layout { of: node, start: 0, steps: strides(&g[node].ty.shape), position: 0, rows: None }),
        Some(Inside::Whole(part)) => {
            let mut whole = layout(g, inside, part.of)?;
            whole.start += part.start as i64 * whole.steps[part.axis];
            whole.steps = lowered(g, part.view, node, whole.steps)?;
            Some(whole)
        }
        Some(Inside::Steps(row)) => {
            let mut whole = layout(g, inside, row.of)?;
            let step = whole.steps.remove(0);
            whole.start += row.first as i64 * step;
            if row.moves {
                (whole.position, whole.rows) = (whole.position + step, Some(row.of));
            }
            Some(whole)
        }
    }
}

impl Store {
    /// A value with a buffer of its own.
    pub(super) fn of(node: NodeId) -> Store {
        Store { node, param: None, row: None, part: None, materialized: None }
    }

    /// Whether it has one.
    pub(super) fn is_whole(&self) -> bool {
        self.param.is_none() && self.row.is_none() && self.part.is_none()
    }
}

impl Layout {
    /// The steps along the axes of a shape under which the elements of a node are read, as they lie in memory.
    pub(super) fn steps_under(&self, own: &Shape, other: &Shape) -> Option<Vec<i64>> {
        if own == other {
            return Some(self.steps.clone());
        }
        match memory_order(own) {
            None => restrided(&self.steps, own, other),
            Some(order) => {
                let steps: Vec<i64> = order.iter().map(|&axis| self.steps[axis]).collect();
                restrided(&steps, &Shape(order.iter().map(|&axis| own.0[axis]).collect()), other)
            }
        }
    }

    /// The place of an element.
    pub(super) fn place(&self, coordinates: &[Affine], axes: usize) -> Affine {
        let mut at = Affine::constant(self.start, axes);
        coordinates.iter().zip(&self.steps).for_each(|(coordinate, &step)| at.add(coordinate, step));
        at
    }
}

/// The node that has the same elements once, in another order: before reshapes and transposes.
fn behind_moves(g: &Graph, mut id: NodeId) -> NodeId {
    while matches!(g[id].op, Op::Reshape | Op::Transpose(_)) {
        id = g[id].operands[0];
    }
    id
}

/// The coordinates in a view of the elements of what it is made of, which it has once each.
pub(super) fn lifted(g: &Graph, view: NodeId, base: NodeId, own: &[Affine], axes: &[Dim]) -> Option<Vec<Affine>> {
    if view == base {
        return Some(own.to_vec());
    }
    let operand = g[view].operands[0];
    let below = lifted(g, operand, base, own, axes)?;
    match &g[view].op {
        Op::Transpose(order) => Some(order.iter().map(|&axis| below[axis].clone()).collect()),
        _ => reshaped(&below, &g[operand].ty.shape, &g[view].ty.shape, axes),
    }
}

/// The steps along the axes of what a view is made of, from those along its own.
fn lowered(g: &Graph, mut view: NodeId, base: NodeId, mut steps: Vec<i64>) -> Option<Vec<i64>> {
    while view != base {
        let operand = g[view].operands[0];
        steps = match &g[view].op {
            Op::Transpose(order) => {
                let mut below = vec![0; steps.len()];
                order.iter().zip(&steps).for_each(|(&axis, &step)| below[axis] = step);
                below
            }
            _ => restrided(&steps, &g[view].ty.shape, &g[operand].ty.shape)?,
        };
        view = operand;
    }
    Some(steps)
}

impl Ctx<'_> {
    /// Writes every part of a concatenation.
    pub(super) fn place_whole(&mut self, id: NodeId) {
        let Op::Concat(axis) = self.g[id].op else { unreachable!("only a concatenation has parts") };
        let mut start = 0;
        for &view in &self.g[id].operands {
            let kernel = self.place_part(Part { of: id, view, axis, start });
            self.home[id.index()] = self.home[id.index()].max(Some(kernel));
            start += self.g[view].ty.shape.0[axis].factor();
        }
        self.stored[id.index()] = true;
    }

    /// Writes a part where it is computed, if it can be, else by a kernel of its own. Out: which one.
    fn place_part(&mut self, part: Part) -> usize {
        let id = behind_moves(self.g, part.view);
        let node = &self.g[id];
        let here = self.loops.of(id) == self.loops.open;
        if let Some(home) = self.home[id.index()].filter(|_| here && matches!(node.op, Op::Concat(_)))
            && id == part.view
            && self.lies_inside(id, Inside::Whole(part))
        {
            return home;
        }
        if let Some(home) = self.place_where_computed(part, MaterializeReason::Part) {
            return home;
        }
        let kernel = self.place_alone(part.view, SplitReason::Apart);
        self.store_part(kernel, part.view, part, MaterializeReason::Part);
        kernel
    }

    /// Writes what others want in another order where it is computed, if that can be and nobody wants it as it is. Out: which kernel.
    pub(super) fn place_turned(&mut self, id: NodeId, why: MaterializeReason) -> Option<usize> {
        let Op::Transpose(_) = self.g[id].op else { return None };
        let base = behind_moves(self.g, id);
        let mut seen = id;
        while seen != base {
            if !self.readers.of(seen.index())[0] {
                return None;
            }
            seen = self.g[seen].operands[0];
        }
        self.place_where_computed(Part { of: id, view: id, axis: 0, start: 0 }, why)
    }

    /// Writes a part in the kernel that computes it, if it can be there. Out: which one.
    fn place_where_computed(&mut self, part: Part, why: MaterializeReason) -> Option<usize> {
        let id = behind_moves(self.g, part.view);
        let node = &self.g[id];
        let here = self.loops.of(id) == self.loops.open;
        if !here || !node.op.is_map() && !matches!(node.op.def().body, Body::Contract) {
            return None;
        }
        let home = match self.home[id.index()] {
            Some(home) => home,
            None => self.place_in(id, Bound::default()),
        };
        let draft = &self.drafts[home];
        let inside = draft.run == self.loops.open && draft.domain == Domain::of(&node.ty.shape);
        let computes = inside && self.index.computes(home, id);
        let bounds = if computes { self.fits(home, id, part)? } else { return None };
        self.drafts[home].bounds = bounds;
        self.store_part(home, id, part, why);
        self.stored[id.index()] |= self.lies_inside(id, Inside::Whole(part));
        Some(home)
    }

    fn store_part(&mut self, kernel: usize, node: NodeId, part: Part, why: MaterializeReason) {
        let materialized = Some(why);
        self.store(kernel, Store { part: Some(part), materialized, ..Store::of(node) });
    }

    /// Lets something lie in something larger and nowhere else, if all who read and write it can do so there.
    pub(super) fn lies_inside(&mut self, id: NodeId, place: Inside) -> bool {
        let result = self.g.outputs.iter().any(|output| self.g.behind_reshapes(output.node) == id);
        if result || self.loops.own.contains(&id) || self.inside.contains_key(&id) {
            return false;
        }
        self.inside.insert(id, place);
        // What lies in it moves with it.
        let reaches = |mut of: NodeId| {
            while let Some(Inside::Whole(part)) = self.inside.get(&of).filter(|_| of != id) {
                of = part.of;
            }
            of == id
        };
        let parts = self.drafts.iter().enumerate().flat_map(|(kernel, draft)| {
            draft.stores.iter().filter_map(move |store| Some((kernel, store.node, store.part?)))
        });
        let mut parts = parts.filter(|(.., part)| reaches(part.of));
        let fits = parts.all(|(kernel, node, part)| {
            self.fits(kernel, node, part).is_some() && layout(self.g, &self.inside, node).is_some()
        });
        let fits = fits && layout(self.g, &self.inside, id).is_some();
        if !fits {
            self.inside.remove(&id);
        }
        fits
    }

    /// Where the axes of a kernel have to be split so that it writes a part of a whole; none if a row of it would not be one run.
    fn fits(&self, kernel: usize, node: NodeId, part: Part) -> Option<Bounds> {
        let draft = &self.drafts[kernel];
        // Where something is reduced within rows, a row is more than the last axis.
        let within = |&id: &NodeId| matches!(reduction_axes(self.g, id), Some((_, ReductionAxes::Within)));
        if draft.nodes.iter().any(within) {
            return None;
        }
        let mut bounds = draft.bounds.clone();
        let mut view = part.view;
        loop {
            let shape = &self.g[view].ty.shape;
            if Domain::of(shape) == draft.domain {
                bounds = bounds.with(&Bounds::of(draft.domain, shape), draft.domain)?;
            }
            if view == node {
                break;
            }
            view = self.g[view].operands[0];
        }
        let (axes, rows) = bounds.axes(draft.domain);
        let own = coordinates((draft.domain, &axes, rows), &self.g[node].ty.shape)?;
        let mut seen = lifted(self.g, part.view, node, &own, &axes)?;
        seen[part.axis].constant += part.start as i64;
        let at = layout(self.g, &self.inside, part.of)?.place(&seen, axes.len());
        at.is_run(&axes, rows).then_some(bounds)
    }
}
