//! What happens at every element of a phase: loads, bodies, stores, and the beginnings of reductions.

use std::collections::{HashMap, HashSet};

use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};

use super::ahead::AHEAD;
use super::lanes::{Lanes, Width};
use super::row::combine;
use super::{Emit, Slot, View};
use crate::ir::ops::{Body, Reduction, function, sloped};
use crate::ir::{Graph, NodeId, Op};
use crate::kernel::{Class, Step, Way, resolve, way};
use crate::scalar::{Reg, Scalar};

impl Emit<'_, '_> {
    /// The columns of a phase.
    pub(super) fn elements(&mut self, phase: usize) {
        let steps: Vec<Step> = self
            .kernel
            .steps
            .iter()
            .copied()
            .filter(|step| step.phase == phase && step.class == Class::Element)
            .filter(|step| !self.comes_with_moments(step.node))
            .collect();
        let copies = self.copies(phase);
        if steps.is_empty() && copies.is_empty() {
            return;
        }
        let trip = self.trip();
        if let Some(strips) = self.strips(&steps, trip) {
            return self.in_strips(&strips, &copies, phase, trip);
        }
        let unroll = if steps.iter().any(|step| is_long(&self.graph[step.node].op)) { 2 } else { 4 };
        if !self.fetches(phase) {
            return self.columns(trip, unroll, |emit, width, at| emit.element(&steps, &copies, width, phase, at));
        }
        self.chunks(trip, AHEAD, |emit, start, part| {
            emit.fetch_ahead(start, part, AHEAD);
            emit.columns(part, unroll, |emit, width, at| {
                let at = emit.fb.ins().iadd(start, at);
                emit.element(&steps, &copies, width, phase, at);
            });
        });
    }

    /// All steps of a phase for some columns.
    fn element(&mut self, steps: &[Step], copies: &[(NodeId, Slot)], width: Width, phase: usize, at: Value) {
        let mut body = ElementBody::new(self, steps, width, phase, at);
        for step in steps {
            body.step(step);
        }
        for &(id, slot) in copies {
            body.copy(id, slot);
        }
        body.overwrite();
    }

    /// Values that are stored without being computed here: views, constants, inputs.
    fn copies(&self, phase: usize) -> Vec<(NodeId, Slot)> {
        let computed = |id: NodeId| self.kernel.product == Some(id) || self.first.contains_key(&id);
        let copied = self.kernel.stores.iter().filter(|store| !computed(store.node));
        let now = copied.filter(|store| self.copy_phase(store.node) == phase);
        now.filter_map(|store| self.slot_written(store).map(|slot| (store.node, slot))).collect()
    }

    /// The first phase in which what a view repeats is known.
    pub(super) fn copy_phase(&self, view: NodeId) -> usize {
        let (base, _) = resolve(self.graph, view, self.kernel.domain);
        let along_row = matches!(way(self.graph, base), Some((_, Way::AlongRow)));
        self.first.get(&base).map_or(0, |step| step.phase + usize::from(along_row))
    }

    /// Computes one value of the elements at `at`, with all it needs and nothing else.
    pub(super) fn element_alone(
        &mut self,
        id: NodeId,
        width: Width,
        at: Value,
        then: impl FnOnce(&mut Lanes<'_, '_>, Reg),
    ) {
        let mut needed = HashSet::new();
        let mut open = vec![resolve(self.graph, id, self.kernel.domain).0];
        // What is not computed here is read, whatever it is made of.
        while let Some(id) = open.pop() {
            if self.first.contains_key(&id) && needed.insert(id) {
                let operands = self.graph[id].operands.iter();
                let read = operands.map(|&operand| resolve(self.graph, operand, self.kernel.domain));
                open.extend(read.filter(|(_, class)| *class == Class::Element).map(|(base, _)| base));
            }
        }
        let steps: Vec<Step> =
            self.kernel.steps.iter().copied().filter(|step| step.phase == 0 && needed.contains(&step.node)).collect();
        let mut body = ElementBody::new(self, &steps, width, 0, at);
        for step in &steps {
            body.compute(step.node);
        }
        let value = body.operand(id, false);
        then(&mut body.lanes, value);
    }
}

/// Whether the body of an operation is a polynomial or a hash, which leaves registers for two vectors at a time.
pub(super) fn is_long(op: &Op) -> bool {
    function(op).is_some() || *op == Op::Uniform
}

/// Whether the body of an operation reads each operand once, so that a load can fold into it.
fn reads_once(op: &Op) -> bool {
    matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::MulAdd)
}

/// The functions among these steps whose slopes are among them as well, and those.
fn pairs(graph: &Graph, steps: &[Step]) -> Vec<[NodeId; 2]> {
    let slopes = steps.iter().filter_map(|step| Some((step.node, sloped(&graph[step.node].op)?)));
    let pair = |(slope, function): (NodeId, Op)| {
        let same = |step: &&Step| graph[step.node].op == function && graph[step.node].operands == graph[slope].operands;
        steps.iter().find(same).map(|step| [step.node, slope])
    };
    slopes.filter_map(pair).collect()
}

/// The code for one position.
pub(super) struct ElementBody<'a, 'f> {
    lanes: Lanes<'a, 'f>,
    view: View<'a>,
    row: Value,
    rows: &'a HashMap<NodeId, Value>,
    singles: &'a HashMap<NodeId, Value>,
    bases: &'a HashMap<Slot, Value>,
    row_bases: &'a HashMap<Slot, Value>,
    /// What has been computed or loaded for this position.
    known: HashMap<NodeId, Reg>,
    /// Where values lie that were computed for these columns before.
    pub(super) held: HashMap<NodeId, Slot>,
    /// How often each value is read in this body.
    uses: HashMap<NodeId, usize>,
    /// Functions whose slopes are computed here too, and the slopes.
    pairs: Vec<[NodeId; 2]>,
    addresses: HashMap<Slot, Value>,
    /// What overwrites parameters or operands, to be written last.
    updates: Vec<(Slot, Reg)>,
    width: Width,
    phase: usize,
    at: Value,
}

impl<'a, 'f> ElementBody<'a, 'f> {
    pub(super) fn new(emit: &'a mut Emit<'_, 'f>, steps: &[Step], width: Width, phase: usize, at: Value) -> Self {
        let view = emit.view();
        let mut uses = HashMap::new();
        for &operand in steps.iter().flat_map(|step| &view.graph[step.node].operands) {
            *uses.entry(resolve(view.graph, operand, view.kernel.domain).0).or_insert(0) += 1;
        }
        let lanes = Lanes::new(&mut emit.fb, emit.constants, emit.table, emit.target.fma, width);
        ElementBody {
            lanes,
            view,
            row: emit.row,
            rows: &emit.rows,
            singles: &emit.singles,
            bases: &emit.bases,
            row_bases: &emit.row_bases,
            known: HashMap::new(),
            held: HashMap::new(),
            uses,
            pairs: pairs(view.graph, steps),
            addresses: HashMap::new(),
            updates: Vec::new(),
            width,
            phase,
            at,
        }
    }

    /// A map or the beginning of a reduction.
    pub(super) fn step(&mut self, step: &Step) {
        match way(self.view.graph, step.node) {
            None => {
                let value = self.compute(step.node);
                self.keep(step.node, value, None);
            }
            Some((reduction, way)) => {
                let value = self.operand(self.view.graph[step.node].operands[0], false);
                self.reduce(step.node, reduction, way, value);
            }
        }
    }

    fn compute(&mut self, id: NodeId) -> Reg {
        let node = &self.view.graph[id];
        if let Some(&pair) = self.pairs.iter().find(|pair| pair.contains(&id)) {
            return self.compute_pair(pair, id);
        }
        let Body::Map(body) = node.op.def().body else { unreachable!("only maps are computed element by element") };
        let lazy = reads_once(&node.op);
        let operands: Vec<Reg> = node.operands.iter().map(|&operand| self.operand(operand, lazy)).collect();
        let value = body(&mut self.lanes, &node.op, &operands);
        self.known.insert(id, value);
        value
    }

    /// A function or its slope, whichever is asked for, and the other one for later.
    fn compute_pair(&mut self, pair: [NodeId; 2], id: NodeId) -> Reg {
        if let Some(&reg) = self.known.get(&id) {
            return reg;
        }
        let node = &self.view.graph[pair[0]];
        let x = self.operand(node.operands[0], false);
        let values = match node.op {
            Op::Sigmoid => self.lanes.sigmoid_and_slope(x),
            Op::Tanh => self.lanes.tanh_and_slope(x),
            _ => unreachable!("only these have slopes that are operations"),
        };
        self.known.extend(pair.into_iter().zip(values));
        self.known[&id]
    }

    /// Writes a value to its places but one, and to scratch if a later phase reads it.
    pub(super) fn keep(&mut self, id: NodeId, value: Reg, but: Option<Slot>) {
        let view = self.view;
        for (slot, overwrites) in view.targets(id).into_iter().filter(|(slot, _)| Some(*slot) != but) {
            match overwrites {
                true => self.updates.push((slot, value)),
                false => self.write(slot, value),
            }
        }
    }

    pub(super) fn copy(&mut self, id: NodeId, slot: Slot) {
        let value = self.operand(id, false);
        self.updates.push((slot, value));
    }

    /// Writes over parameters and operands, when all that reads them has been computed.
    pub(super) fn overwrite(&mut self) {
        for (slot, value) in std::mem::take(&mut self.updates) {
            self.write(slot, value);
        }
    }

    pub(super) fn write(&mut self, slot: Slot, value: Reg) {
        let address = self.address(slot);
        self.lanes.store(value, address, 0);
    }

    fn address(&mut self, slot: Slot) -> Value {
        if let Some(&address) = self.addresses.get(&slot) {
            return address;
        }
        let start = self.row_bases.get(&slot).or_else(|| self.bases.get(&slot)).expect("every slot was opened");
        let address = self.lanes.fb.ins().iadd(*start, self.at);
        self.addresses.insert(slot, address);
        address
    }

    /// The value of an operand here. A load is left to the operation that reads it if nobody else does.
    pub(super) fn operand(&mut self, id: NodeId, lazy: bool) -> Reg {
        let (base, class) = resolve(self.view.graph, id, self.view.kernel.domain);
        let node = &self.view.graph[base];
        match (&node.op, class) {
            (Op::Const(value), _) => return self.lanes.float(*value),
            (Op::Iota(axis), _) => {
                return self.iota(*axis + 1 == node.ty.shape.rank() && !node.ty.shape.0[*axis].is_batch());
            }
            (_, Class::Row | Class::Single) => return self.repeated(base),
            _ => {}
        }
        if let Some(&reg) = self.known.get(&base) {
            return reg;
        }
        if let Some(&value) = self.singles.get(&base) {
            return self.lanes.splat(value);
        }
        let held = self.held.get(&base).copied();
        let slot =
            held.or_else(|| self.view.slot_read(id, self.phase)).expect("what is not computed here is in memory");
        let address = match class {
            Class::Column => self.lanes.fb.ins().iadd(self.bases[&slot], self.at),
            _ => self.address(slot),
        };
        let lazy = lazy && self.uses.get(&base) == Some(&1);
        let reg = self.lanes.load(address, 0, node.ty.dtype.is_index(), lazy);
        if !lazy {
            self.known.insert(base, reg);
        }
        reg
    }

    /// A number of the row, or one in all, in every lane.
    fn repeated(&mut self, base: NodeId) -> Reg {
        if let Some(&reg) = self.known.get(&base) {
            return reg;
        }
        let mut value = *self.rows.get(&base).or_else(|| self.singles.get(&base)).expect("the row's values come first");
        if self.width != Width::One && self.lanes.fb.func.dfg.value_type(value) == types::I8 {
            value = self.lanes.fb.ins().bmask(types::I32, value);
        }
        let reg = self.lanes.splat(value);
        self.known.insert(base, reg);
        reg
    }

    /// The number of the column, or of the row.
    fn iota(&mut self, column: bool) -> Reg {
        if !column {
            let row = self.lanes.fb.ins().ireduce(types::I32, self.row);
            return self.lanes.splat(row);
        }
        let position = self.lanes.fb.ins().ushr_imm_u(self.at, 2);
        let first = self.lanes.fb.ins().ireduce(types::I32, position);
        if self.width == Width::One {
            return self.lanes.spread(first);
        }
        let first = self.lanes.fb.ins().splat(types::I32X4, first);
        self.lanes.parts(|fb, part| {
            let lanes = (0..4).flat_map(|lane| (4 * part as u32 + lane).to_le_bytes());
            let constant = fb.func.dfg.constants.insert(ConstantData::from(lanes.collect::<Vec<u8>>().as_slice()));
            let steps = fb.ins().vconst(types::I32X4, constant);
            fb.ins().iadd(first, steps)
        })
    }

    /// Adds the elements here to what a reduction has so far.
    fn reduce(&mut self, id: NodeId, reduction: Reduction, way: Way, value: Reg) {
        let address = match way {
            Way::AlongRow | Way::Everything => self.bases[&Slot::Scratch(self.view.memory.lanes[&id])],
            Way::DownColumns => {
                let (at, len) = self.view.memory.partials[&id];
                if matches!(reduction, Reduction::Mean | Reduction::Variance) {
                    return self.moments(Slot::Partial(at, len), (4 * len / 3) as i32, value);
                }
                self.address(Slot::Partial(at, len))
            }
        };
        let total = self.lanes.load(address, 0, false, reduction != Reduction::Max);
        let total = combine(&mut self.lanes, reduction, value, total);
        self.lanes.store(total, address, 0);
    }

    /// Adds the deviations from the shift, and their squares.
    fn moments(&mut self, slot: Slot, stride: i32, value: Reg) {
        let address = self.address(slot);
        let shift = self.lanes.load(address, 0, false, true);
        let deviation = self.lanes.sub(value, shift);
        let sum = self.lanes.load(address, stride, false, true);
        let sum = self.lanes.add(sum, deviation);
        self.lanes.store(sum, address, stride);
        let squares = self.lanes.load(address, 2 * stride, false, true);
        let squares = self.lanes.mul_add(deviation, deviation, squares);
        self.lanes.store(squares, address, 2 * stride);
    }
}
