//! All memory that kernels share, and where in it each value lies.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::fuse::domain::is_memory;
use crate::fuse::legalize::empty::is_empty;
use crate::fuse::view::{Source, strides};
use crate::fuse::wholes::{Inside, layout};
use crate::fuse::{Draft, Store};
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::{Affine, Buffer, BufferId, Home};
use crate::types::{DType, Shape};

/// All memory that kernels share: inputs, parameters, then what they write for one another.
pub(super) struct Buffers {
    pub(super) all: Vec<Buffer>,
    pub(super) of: HashMap<NodeId, BufferId>,
    pub(super) inputs: usize,
    /// What lies in something larger.
    pub(super) inside: HashMap<NodeId, Inside>,
    /// What of that cannot be read there.
    pub(super) refused: RefCell<Vec<NodeId>>,
}

impl Buffers {
    pub(super) fn new(g: &Graph, drafts: &[Draft], inside: HashMap<NodeId, Inside>) -> Buffers {
        let mut all = Vec::new();
        let slots = &g.slots;
        let mut push = |home, dtype, shape, origin, layer| {
            all.push(Buffer { home, dtype, shape, origin, layer });
            BufferId(all.len() as u32 - 1)
        };
        for (index, slot) in slots.inputs.iter().enumerate() {
            push(Home::Input(index), slot.ty.dtype, slot.ty.shape.clone(), NodeId(0), "".into());
        }
        for (index, slot) in slots.params.iter().enumerate() {
            push(Home::Param(index), DType::F32, Shape::fixed(&slot.shape), NodeId(0), "".into());
        }
        let mut of = HashMap::new();
        for draft in drafts {
            let stored = draft.stores.iter().filter(|store| store.param.is_none());
            let whole = |id: NodeId| layout(g, &inside, id).map_or(id, |layout| layout.of);
            let written = |store: &Store| {
                let row = store.row.map_or(store.node, |row| row.of);
                store.part.map_or(row, |part| whole(part.of))
            };
            let mut stored: Vec<NodeId> = stored.map(written).collect();
            stored.sort();
            for node in stored {
                // All states are in one, the first one too.
                if of.contains_key(&node) {
                    continue;
                }
                let (ty, layer) = (&g[node].ty, g[node].origin.label());
                of.insert(node, push(Home::Arena, ty.dtype, ty.shape.clone(), node, layer));
            }
        }
        // No kernel writes a tensor without elements.
        for output in g.outputs.iter().filter(|output| !matches!(output.role, Role::Update(_))) {
            let node = g.behind_reshapes(output.node);
            let ty = &g[node].ty;
            if is_empty(&ty.shape) && !is_memory(&g[node].op) && !of.contains_key(&node) {
                of.insert(node, push(Home::Arena, ty.dtype, ty.shape.clone(), node, g[node].origin.label()));
            }
        }
        Buffers { all, of, inputs: slots.inputs.len(), inside, refused: RefCell::default() }
    }

    /// Where a node is in memory, if it is.
    pub(super) fn of(&self, g: &Graph, node: NodeId) -> Option<BufferId> {
        match g[node].op {
            Op::Input(index) => Some(BufferId(index as u32)),
            Op::Param(index) => Some(self.param(index)),
            _ => self.of.get(&node).copied(),
        }
    }

    /// The buffer that a source lies in, its place there along so many axes, how far that moves from position to position, and the
    /// step along its first axis. The head is that of the innermost loop that it is read in: what lies in rows of another one is not
    /// read there.
    pub(super) fn place(
        &self,
        g: &Graph,
        source: &Source,
        (axes, head): (usize, Option<NodeId>),
    ) -> (BufferId, Affine, i64, i64) {
        let (of, steps, start, position) = match self.inside.contains_key(&source.base) {
            false => (source.base, strides(&source.shape), 0, 0),
            true => {
                let whole = layout(g, &self.inside, source.base).expect("it is known to have a place");
                let loop_of = |rows: NodeId| match g[rows].op {
                    Op::Collect { .. } => g[g[rows].operands[0]].operands[0],
                    _ => g[rows].operands[0],
                };
                let here = whole.rows.is_none_or(|rows| Some(loop_of(rows)) == head);
                let steps = whole.steps_under(&g[source.base].ty.shape, &source.shape).filter(|_| here);
                let Some(steps) = steps else {
                    self.refused.borrow_mut().push(source.base);
                    return (BufferId(0), Affine::constant(0, axes), 0, 0);
                };
                (whole.of, steps, whole.start, whole.position)
            }
        };
        let mut at = Affine::constant(start, axes);
        source.coordinates.iter().zip(&steps).for_each(|(coordinate, &step)| at.add(coordinate, step));
        let moved: i64 = source.positions.iter().zip(&steps).map(|(position, step)| position * step).sum();
        let buffer = self.of(g, of).expect("what is read from memory has been kept");
        (buffer, at, position + moved, steps.first().copied().unwrap_or(1))
    }

    pub(super) fn param(&self, index: usize) -> BufferId {
        BufferId((self.inputs + index) as u32)
    }
}
