//! From drafts to kernels: every operand becomes a value, a number or a read, every view an access, and the graph is left behind.

use std::collections::HashMap;

use super::domain::{Domain, resolve, way};
use super::stages::{Step, staged};
use super::{Draft, Store};
use crate::flops;
use crate::ir::print::Names;
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::{
    Affine, Arg, AxisSet, Buffer, BufferId, Class, Dot, Fused, Home, Instruction, Kernel, Number, Origin, Read, What,
    Write, unfused,
};
use crate::types::{DType, Dim};

/// Rows that a kernel works on at a time: enough to keep the ends of a block cheap, few enough to stay in the cache, for a
/// sum in single precision, and to share a batch of ordinary size between threads.
const BLOCK: usize = 64;
/// Elements of a block without rows of its own.
const FLAT_BLOCK: usize = 8192;

/// Makes kernels of drafts.
pub(super) fn finish(g: &Graph, drafts: Vec<Draft>, check: Option<usize>, statistics: &[NodeId]) -> Fused {
    let buffers = Buffers::new(g, &drafts);
    let kernels = drafts.into_iter().map(|draft| Maker::new(g, &buffers, draft).kernel()).collect();
    let results = g.outputs.iter().filter(|output| !matches!(output.role, Role::Update(_))).map(|output| {
        let node = g.behind_reshapes(output.node);
        (output.role.clone(), buffers.of(g, node).expect("a result is in memory"), g[output.node].ty.shape.clone())
    });
    let statistics = statistics.iter().filter_map(|&id| buffers.of(g, id));
    Fused {
        slots: g.slots.clone(),
        kernels,
        check,
        statistics: statistics.collect(),
        results: results.collect(),
        unfused: unfused(g),
        names: Names::new(g),
        buffers: buffers.all,
    }
}

/// All memory that kernels share: inputs, parameters, then what they write for one another.
struct Buffers {
    all: Vec<Buffer>,
    of: HashMap<NodeId, BufferId>,
    inputs: usize,
}

impl Buffers {
    fn new(g: &Graph, drafts: &[Draft]) -> Buffers {
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
            push(Home::Param(index), DType::F32, crate::types::Shape::fixed(&slot.shape), NodeId(0), "".into());
        }
        let mut of = HashMap::new();
        for draft in drafts {
            let mut stored: Vec<NodeId> =
                draft.stores.iter().filter(|store| store.param.is_none()).map(|store| store.node).collect();
            stored.sort();
            for node in stored {
                let (ty, layer) = (&g[node].ty, g[node].layer.clone());
                of.insert(node, push(Home::Arena, ty.dtype, ty.shape.clone(), node, layer));
            }
        }
        Buffers { all, of, inputs: slots.inputs.len() }
    }

    /// Where a node is in memory, if it is.
    fn of(&self, g: &Graph, node: NodeId) -> Option<BufferId> {
        match g[node].op {
            Op::Input(index) => Some(BufferId(index as u32)),
            Op::Param(index) => Some(self.param(index)),
            _ => self.of.get(&node).copied(),
        }
    }

    fn param(&self, index: usize) -> BufferId {
        BufferId((self.inputs + index) as u32)
    }
}

/// A kernel while it is being made of its draft.
struct Maker<'a> {
    g: &'a Graph,
    buffers: &'a Buffers,
    draft: Draft,
    /// For every node that is computed here, its instructions: the stage and index of each.
    known: HashMap<NodeId, Vec<(usize, usize)>>,
    reads: Vec<Read>,
    indices: Vec<Affine>,
}

impl<'a> Maker<'a> {
    fn new(g: &'a Graph, buffers: &'a Buffers, mut draft: Draft) -> Maker<'a> {
        draft.nodes.sort();
        draft.stores.sort_by_key(|store| (store.param, store.node));
        Maker { g, buffers, draft, known: HashMap::new(), reads: Vec::new(), indices: Vec::new() }
    }

    fn kernel(mut self) -> Kernel {
        let steps = staged(self.g, &self.draft);
        for (index, step) in steps.iter().enumerate() {
            self.known.entry(step.node).or_default().push((step.stage, index));
        }
        let domain = self.draft.domain;
        let dot = self.draft.product.map(|product| self.dot(product));
        let body = steps.iter().map(|step| self.instruction(step)).collect();
        let stores = std::mem::take(&mut self.draft.stores);
        let writes = stores.iter().map(|store| self.write(store)).collect();
        let Maker { draft, reads, indices, .. } = self;
        let mut kernel = Kernel {
            axes: domain.axes(),
            rows: 1,
            flat: false,
            block: BLOCK,
            dot,
            body,
            reads,
            indices,
            writes,
            begin: draft.begin,
        };
        kernel.flat = is_flat(&kernel);
        if kernel.flat {
            kernel.block = (FLAT_BLOCK / domain.cols).max(1);
        }
        if let Dim::Fixed(rows) = domain.rows {
            kernel.block = kernel.block.min(rows.max(1));
        }
        kernel
    }

    fn origin(&self, node: NodeId) -> Origin {
        let crate::ir::Node { op, ty, layer, .. } = self.g[node].clone();
        Origin { node, op, ty, flops: flops::of_node(self.g, node), layer }
    }

    fn dot(&self, product: NodeId) -> Dot {
        let (ta, tb) = self.g.matrix_product(product).expect("a product of matrices");
        let [a, b] = self.g[product].operands[..] else { unreachable!("a product has two operands") };
        let row = |operand: NodeId| self.g[operand].ty.shape.0[1].factor() as i64;
        let buffer = |operand: NodeId| {
            self.buffers.of(self.g, self.g.behind_reshapes(operand)).expect("operands of products are kept")
        };
        Dot {
            a: buffer(a),
            a_steps: if ta { [1, row(a)] } else { [row(a), 1] },
            b: buffer(b),
            b_steps: if tb { [1, row(b)] } else { [row(b), 1] },
            inner: self.g[a].ty.shape.0[usize::from(!ta)],
            origin: self.origin(product),
        }
    }

    fn instruction(&mut self, step: &Step) -> Instruction {
        let what = match way(self.g, step.node) {
            None => What::Map,
            Some((kind, way)) => What::Reduce { kind, over: way.axes() },
        };
        let operands = self.g[step.node].operands.clone();
        let args = operands.into_iter().map(|operand| self.arg(operand, step.stage)).collect();
        let axes = Domain::axes_of(step.class);
        Instruction { what, args, axes, stage: step.stage, again: step.again, origin: self.origin(step.node) }
    }

    /// An operand as an instruction of a stage has it.
    fn arg(&mut self, operand: NodeId, stage: usize) -> Arg {
        let domain = self.draft.domain;
        let (base, class) = resolve(self.g, operand, domain);
        match self.g[base].op {
            Op::Const(value) => return Arg::Const(Number::new(value)),
            Op::Scalar(index) => return Arg::Scalar(index),
            Op::Count(factor) => return Arg::Count(factor),
            Op::Iota(axis) => {
                let shape = &self.g[base].ty.shape;
                let column = axis + 1 == shape.rank() && !shape.0[axis].is_batch();
                let steps = if column { vec![0, 1] } else { vec![1, 0] };
                return Arg::Index(place(&mut self.indices, Affine { constant: 0, steps }));
            }
            _ if self.draft.product == Some(base) => return Arg::Dot,
            _ => {}
        }
        if let Some(known) = self.known.get(&base) {
            let here = known.iter().find(|(other, _)| *other == stage).unwrap_or(&known[0]);
            return Arg::Value(here.1);
        }
        let buffer = self.buffers.of(self.g, base).or_else(|| self.buffers.of(self.g, operand));
        let buffer = buffer.expect("what is not computed here is in memory");
        Arg::Read(place(&mut self.reads, Read { buffer, access: domain.access(class) }))
    }

    fn write(&mut self, store: &Store) -> Write {
        let domain = self.draft.domain;
        let here = self.draft.product == Some(store.node) || self.known.contains_key(&store.node);
        let (value, class) = match self.known.get(&store.node) {
            Some(known) => (Arg::Value(known[0].1), None),
            None => (self.arg(store.node, 0), Some(Class::Element)),
        };
        let class = class.unwrap_or_else(|| match way(self.g, store.node) {
            Some((_, way)) => class_without(way.axes()),
            None => domain.class_of(&self.g[store.node].ty.shape).expect("a node is placed where it can be computed"),
        });
        let buffer = match store.param {
            Some(param) => self.buffers.param(param),
            None => self.buffers.of(self.g, store.node).expect("what is stored has a buffer"),
        };
        Write { value, buffer, access: domain.access(class), copied: !here, kept: store.kept, origin: store.node }
    }
}

/// How often the result of a reduction over these axes occurs.
fn class_without(over: AxisSet) -> Class {
    match (over.contains(0), over.contains(1)) {
        (true, true) => Class::Single,
        (true, false) => Class::Column,
        (false, true) => Class::Row,
        (false, false) => Class::Element,
    }
}

/// The index of an item of a list, to which it is added if it is not there.
fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|other| *other == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// Whether rows do not matter, so that a block is one run of elements.
fn is_flat(kernel: &Kernel) -> bool {
    let element = |class: Class| matches!(class, Class::Element | Class::Single);
    let plain_arg = |&arg: &Arg| element(kernel.arg_class(arg)) && !matches!(arg, Arg::Index(_));
    let plain = |(index, instruction): (usize, &Instruction)| {
        let reduces = instruction.reduction().is_none() || kernel.is_over_everything(index);
        instruction.stage == 0 && element(kernel.class(index)) && instruction.args.iter().all(plain_arg) && reduces
    };
    let writes = kernel.writes.iter().all(|write| {
        let written = if write.copied { plain_arg(&write.value) } else { true };
        written && element(kernel.class_of(write.access.at.axes()))
    });
    kernel.dot.is_none() && kernel.body.iter().enumerate().all(plain) && writes
}
