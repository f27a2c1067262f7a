//! Where everything lies in memory.
//!
//! In: kernels, and the largest batch. Out: an offset for every value that is kept, for partial sums and for scratch, so
//! that values whose lives do not overlap share their place, and a value may take that of an operand which dies with it.
//! Parameters, statistics and optimizer state lie in a block of their own, inputs where the caller has them. Offsets are in
//! floats, multiples of 16: 64 bytes.

mod arena;
mod in_place;
mod print;
mod prologue;
mod schedule;
mod touched;
mod verify;

use std::collections::{BTreeMap, HashMap};

use crate::error::BuildError;
use crate::fuse::Fused;
use crate::ir::ops::Reduction;
use crate::ir::{Graph, NodeId, Op, Role, Slots};
use crate::kernel::{Class, ENOUGH_ROWS, Kernel, PRODUCT_ROWS, Store, Way, resolve, way};
use crate::microkernels::gemm::{self, Isa};
use crate::types::{DType, Dim};

use arena::Arena;
use in_place::Operands;
pub use print::text;
pub use schedule::{Last, Phase, Task, Work, nanoseconds, schedule};
pub use verify::verify;

/// Lanes of a sum over everything.
pub const LANES: usize = 16;
/// Larger steps are refused rather than attempted.
const LIMIT_GIB: usize = 64;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the arena, at this offset.
    Arena(usize),
    /// The parameter of this index.
    Param(usize),
    /// The input of this index.
    Input(usize),
}

/// The memory of a program.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where each kept value lies.
    pub places: HashMap<NodeId, Place>,
    /// The memory that each kernel uses while it runs.
    pub kernels: Vec<KernelPlan>,
    /// All that lies in the arena, in the order in which it was placed.
    pub stretches: Vec<Stretch>,
    /// Length of the arena.
    pub arena: usize,
    /// Length of the scratch that every thread has to itself, and the end of a phase too: enough for any one kernel with its
    /// prologue.
    pub scratch: usize,
    /// Sum of the lengths of all that was ever laid out: what an arena without sharing would need.
    pub unshared: usize,
    /// Offset of each parameter in the parameter block.
    pub params: Vec<usize>,
    /// Length of the parameter block.
    pub params_len: usize,
    /// The batch size that it is made for.
    pub max_batch: usize,
}

impl Plan {
    /// The prologue of a kernel.
    pub fn prologue(&self, kernel: usize) -> Option<usize> {
        self.kernels[kernel].prologue.then(|| kernel - 1)
    }

    /// Whether a kernel is the prologue of the next one, and so does not run by itself.
    pub fn is_prologue(&self, kernel: usize) -> bool {
        self.kernels.get(kernel + 1).is_some_and(|next| next.prologue)
    }

    /// What is laid out for a kernel: values that it writes, and what it uses while it runs.
    pub fn stretches_of(&self, kernel: usize) -> &[Stretch] {
        let behind = |kernel: usize| self.stretches.partition_point(|stretch| stretch.first < kernel);
        &self.stretches[behind(kernel)..behind(kernel + 1)]
    }

    /// Length of the arena with scratch behind it: for one thread, or for the ends of phases and then for each of several.
    pub fn with_scratch(&self, threads: usize) -> usize {
        self.arena + self.scratch * if threads > 1 { 1 + threads } else { 1 }
    }
}

/// A part of the arena, or of the scratch of a thread, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What lies there.
    pub content: Content,
    /// Its offset.
    pub at: usize,
    /// Its length.
    pub len: usize,
    /// The kernel that writes it.
    pub first: usize,
    /// The last kernel that reads it; `usize::MAX` for a result.
    pub last: usize,
}

/// What lies in a part of the arena or of scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value that later kernels read, or a result.
    Value(NodeId),
    /// Partial results of a reduction.
    Partial(NodeId),
    /// Lanes of a sum along a row.
    Lanes(NodeId),
    /// A row of a value that a later phase reads.
    Row(NodeId),
    /// A block of a product.
    Block(NodeId),
    /// Some rows of a product's left operand.
    Operand(NodeId),
    /// Pieces of a product's operands.
    Workspace(NodeId),
    /// The right operand of a product, rearranged.
    Packed(NodeId),
}

impl Content {
    /// Whether it lies in the scratch of the thread that computes it.
    pub fn is_scratch(self) -> bool {
        !matches!(self, Content::Value(_) | Content::Partial(_) | Content::Packed(_))
    }
}

/// The memory that a kernel uses while it runs: offsets in the arena, or in the scratch of the thread.
#[derive(Clone, Debug, Default)]
pub struct KernelPlan {
    /// Partial results of reductions, block by block: offset and floats in a block.
    pub partials: BTreeMap<NodeId, (usize, usize)>,
    /// Lanes of sums along a row, in scratch.
    pub lanes: BTreeMap<NodeId, usize>,
    /// Rows of values that a later phase reads, in scratch.
    pub spills: BTreeMap<NodeId, usize>,
    /// Some rows of the product, in scratch, if it is not kept.
    pub product: Option<usize>,
    /// Room for the product to rearrange pieces of its operands, in scratch.
    pub workspace: usize,
    /// The right operand of the product, rearranged once for all blocks, where that pays.
    pub packed: Option<usize>,
    /// Values that are written over an operand of the kernel or its prologue, element by element, and that operand, which nothing
    /// reads later.
    pub in_place: BTreeMap<NodeId, NodeId>,
    /// Whether the kernel computes its product by itself: one so small that a call would take longer.
    pub inline: bool,
    /// Whether the kernel before is its prologue: computes rows of the left operand just before they are multiplied.
    pub prologue: bool,
    /// In a prologue and in the kernel that it belongs to: the left operand and where some rows of it lie in scratch, if nobody
    /// else reads it.
    pub left: Option<(NodeId, usize)>,
}

/// Most multiplications of a product that is written out in its kernel.
const INLINE: usize = 1024;

/// Plans the memory of a program.
pub fn plan(fused: &Fused, max_batch: usize, isa: Isa) -> Result<Plan, BuildError> {
    planned(fused, max_batch, isa, prologue::prologues(fused, max_batch))
}

/// The same for kernels that run one after the other, so that each can be timed: none is a prologue.
pub fn plan_apart(fused: &Fused, max_batch: usize, isa: Isa) -> Result<Plan, BuildError> {
    planned(fused, max_batch, isa, vec![false; fused.kernels.len()])
}

fn planned(fused: &Fused, max_batch: usize, isa: Isa, prologues: Vec<bool>) -> Result<Plan, BuildError> {
    check_sizes(&fused.graph, max_batch)?;
    let mut arena = Arena::default();
    let mut places = leaves(&fused.graph);
    let last_read = last_uses(fused);
    // What a prologue reads it reads until the last row of the product.
    let lives_on = |last: usize| last + usize::from(prologues.get(last.saturating_add(1)) == Some(&true));
    let last_use: HashMap<NodeId, usize> = last_read.iter().map(|(&id, &last)| (id, lives_on(last))).collect();
    let own_operand =
        |index: usize| prologues[index].then(|| prologue::own_operand(fused, index, &last_read)).flatten();
    let passed_on: Vec<Option<NodeId>> = (0..prologues.len()).map(own_operand).collect();
    let mut kernels: Vec<KernelPlan> = Vec::new();
    for (index, kernel) in fused.kernels.iter().enumerate() {
        arena.release(index, prologues[index]);
        let left = passed_on[index].map(|node| {
            let rows = PRODUCT_ROWS * fused.kernels[index - 1].domain.cols;
            (node, arena.take(Content::Operand(node), rows, index))
        });
        if prologues[index] {
            kernels[index - 1].left = left;
        }
        let mut in_place = BTreeMap::new();
        let stores = kernel.stores.iter().any(|store| store.param.is_none());
        let own = stores.then(|| Operands::of(fused, kernel));
        let ahead = Some(index).filter(|_| stores && prologues[index]).map(|index| &fused.kernels[index - 1]);
        let ahead = ahead.map(|ahead| (ahead, Operands::of(fused, ahead)));
        let next = passed_on.get(index + 1).copied().flatten();
        let kept = |store: &&Store| store.param.is_none() && Some(store.node) != next;
        for store in kernel.stores.iter().filter(kept) {
            let len = padded(fused.graph[store.node].ty.shape.len_at(max_batch));
            let (content, last) = (Content::Value(store.node), last_use[&store.node]);
            let dying = |id: NodeId, reader: usize| {
                let at = match places.get(&id) {
                    Some(&Place::Arena(at)) if last_read.get(&id) == Some(&reader) => at,
                    _ => return None,
                };
                let overwritten = |by: &BTreeMap<NodeId, NodeId>| by.values().any(|other| *other == id);
                let free = !overwritten(&in_place) && !kernels[reader..].iter().any(|plan| overwritten(&plan.in_place));
                Some(at).filter(|_| free && padded(fused.graph[id].ty.shape.len_at(max_batch)) == len)
            };
            let graph = &fused.graph;
            let replaced = own.as_ref().and_then(|own| own.replaced(graph, store.node, |id| dying(id, index)));
            let replaced = replaced.or_else(|| {
                let (ahead, operands) = ahead.as_ref()?;
                operands.replaced_row_by_row(graph, ahead, kernel, store.node, |id| dying(id, index - 1))
            });
            let at = match replaced {
                Some((operand, at)) => {
                    in_place.insert(store.node, operand);
                    arena.take_over(content, at, len, last);
                    at
                }
                None => arena.take(content, len, last),
            };
            places.insert(store.node, Place::Arena(at));
        }
        for step in &kernel.steps {
            // What a reduction leaves after its kernel is written there by its last stage.
            if let Some(last) = last_use.get(&step.node).filter(|_| !places.contains_key(&step.node)) {
                let len = padded(fused.graph[step.node].ty.shape.len_at(max_batch));
                let out = matches!(way(&fused.graph, step.node), Some((_, Way::DownColumns | Way::Everything)));
                if out {
                    places.insert(step.node, Place::Arena(arena.take(Content::Value(step.node), len, *last)));
                }
            }
        }
        let own = kernel_plan(fused, kernel, &Setting { index, max_batch, isa }, &places, &mut arena);
        kernels.push(KernelPlan { in_place, prologue: prologues[index], left, ..own });
    }
    let (params, params_len) = parameters(&fused.graph.slots);
    let bytes = (arena.len.saturating_add(params_len).saturating_add(arena.scratch)).saturating_mul(4);
    if bytes > LIMIT_GIB << 30 {
        return Err(BuildError::TooLarge { max_batch, limit: LIMIT_GIB });
    }
    let Arena { stretches, len: arena, scratch, total: unshared, .. } = arena;
    let plan = Plan { places, kernels, stretches, arena, scratch, unshared, params, params_len, max_batch };
    if cfg!(debug_assertions) {
        verify(&plan, fused).expect("values that live at the same time lie apart");
    }
    Ok(plan)
}

/// Every value fits the address space, and so does their sum, before any length is computed.
fn check_sizes(graph: &Graph, max_batch: usize) -> Result<(), BuildError> {
    let limit = LIMIT_GIB << 30 >> 2;
    let values = graph.nodes.iter().map(|node| node.ty.shape.at(max_batch));
    let params = graph.slots.params.iter().map(|slot| slot.shape.clone());
    let inputs = graph.slots.inputs.iter().map(|slot| slot.ty.shape.at(max_batch));
    let mut total = 0usize;
    for shape in params.chain(inputs).chain(values) {
        let len = shape.iter().try_fold(1usize, |len, &extent| len.checked_mul(extent)).filter(|len| *len <= limit);
        let fits = len.is_some_and(|len| total.checked_add(len).is_some());
        total = total.saturating_add(len.unwrap_or(0));
        if !fits {
            return Err(BuildError::TooLarge { max_batch, limit: LIMIT_GIB });
        }
    }
    Ok(())
}

/// Offsets of the parameters in their block, and its length. The same for every program of a network.
pub fn parameters(slots: &Slots) -> (Vec<usize>, usize) {
    let mut offset = 0;
    let offsets = slots.params.iter().map(|slot| {
        let at = offset;
        offset += padded(slot.shape.iter().product());
        at
    });
    let offsets = offsets.collect();
    (offsets, offset)
}

/// A length rounded up to whole lanes.
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

fn leaves(graph: &Graph) -> HashMap<NodeId, Place> {
    let place = |id: NodeId| match graph[id].op {
        Op::Input(index) => Some((id, Place::Input(index))),
        Op::Param(index) => Some((id, Place::Param(index))),
        _ => None,
    };
    graph.ids().filter_map(place).collect()
}

/// For each value in the arena, the last kernel that reads it; results live to the end.
fn last_uses(fused: &Fused) -> HashMap<NodeId, usize> {
    let graph = &fused.graph;
    let mut last: HashMap<NodeId, usize> = HashMap::new();
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let computed = kernel.steps.iter().map(|step| step.node).chain(kernel.product);
        let written = kernel.stores.iter().map(|store| store.node);
        for id in computed.flat_map(|id| graph[id].operands.clone()).chain(written) {
            // A stored view keeps its own elements; what it is a view of is read as well.
            last.insert(id, index);
            let mut view = id;
            while graph[view].op.is_view() {
                view = graph[view].operands[0];
                last.insert(view, index);
            }
        }
        for step in &kernel.steps {
            last.entry(step.node).or_insert(index);
        }
    }
    for output in graph.outputs.iter().filter(|output| !matches!(output.role, Role::Update(_))) {
        let mut id = output.node;
        last.insert(id, usize::MAX);
        while graph[id].op == Op::Reshape {
            id = graph[id].operands[0];
            last.insert(id, usize::MAX);
        }
    }
    last
}

/// For which kernel, batch and machine memory is planned.
struct Setting {
    index: usize,
    max_batch: usize,
    isa: Isa,
}

fn kernel_plan(
    fused: &Fused,
    kernel: &Kernel,
    setting: &Setting,
    places: &HashMap<NodeId, Place>,
    arena: &mut Arena,
) -> KernelPlan {
    let &Setting { index, max_batch, isa } = setting;
    let graph = &fused.graph;
    let blocks = kernel.domain.rows.at(max_batch).div_ceil(kernel.block).max(1);
    let cols = padded(kernel.domain.cols);
    let mut result = KernelPlan::default();
    for step in &kernel.steps {
        match way(graph, step.node) {
            Some((Reduction::Mean | Reduction::Variance, _)) if moments(graph, kernel, step.node).is_none() => {
                result
                    .partials
                    .insert(step.node, (arena.take(Content::Partial(step.node), blocks * 3 * cols, index), 3 * cols));
            }
            Some((Reduction::Sum | Reduction::Max, Way::DownColumns)) => {
                result
                    .partials
                    .insert(step.node, (arena.take(Content::Partial(step.node), blocks * cols, index), cols));
            }
            Some((_, Way::Everything)) => {
                result
                    .partials
                    .insert(step.node, (arena.take(Content::Partial(step.node), blocks * LANES, index), LANES));
                if step.class == Class::Element {
                    result.lanes.insert(step.node, arena.take(Content::Lanes(step.node), LANES, index));
                }
            }
            Some((_, Way::AlongRow)) => {
                result.lanes.insert(step.node, arena.take(Content::Lanes(step.node), LANES, index));
            }
            _ => {}
        }
    }
    for id in spilled(graph, kernel).into_iter().filter(|id| !places.contains_key(id)) {
        result.spills.insert(id, arena.take(Content::Row(id), cols, index));
    }
    if let Some(product) = kernel.product {
        let at_once = kernel.domain.rows.at(max_batch).min(PRODUCT_ROWS);
        if !places.contains_key(&product) {
            result.product = Some(arena.take(Content::Block(product), at_once * kernel.domain.cols, index));
        }
        result.inline = is_inline(graph, kernel, max_batch);
        if result.inline {
            return result;
        }
        let inner = inner_extent(graph, product).at(max_batch);
        let rows = kernel.domain.rows.at(max_batch);
        let room = gemm::workspace_len(at_once, kernel.domain.cols, inner);
        result.workspace = arena.take(Content::Workspace(product), room, index);
        let Op::Dot { tb, .. } = graph[product].op else { unreachable!("a product") };
        let cols = kernel.domain.cols;
        let (b_row, b_col) = if tb { (1, inner) } else { (cols, 1) };
        // The bits do not depend on the choice, so it may depend on the machine.
        if gemm::packs_b(isa, rows, ENOUGH_ROWS, cols, inner, b_row, b_col) {
            result.packed = Some(arena.take(Content::Packed(product), gemm::packed_b_len(cols, inner), index));
        }
    }
    result
}

/// Whether a kernel has a product, and one so small that it is written out in the kernel.
fn is_inline(graph: &Graph, kernel: &Kernel, max_batch: usize) -> bool {
    kernel.product.is_some_and(|product| {
        let inner = inner_extent(graph, product).at(max_batch);
        kernel.domain.rows.at(max_batch).saturating_mul(kernel.domain.cols).saturating_mul(inner) <= INLINE
    })
}

/// The extent that a product sums over.
pub fn inner_extent(graph: &Graph, product: NodeId) -> Dim {
    let Op::Dot { ta, .. } = graph[product].op else { unreachable!("a product") };
    graph[graph[product].operands[0]].ty.shape.0[usize::from(!ta)]
}

/// The variance in this kernel whose moments also give the mean `id`, if there is one.
pub fn moments(graph: &Graph, kernel: &Kernel, id: NodeId) -> Option<NodeId> {
    let same = |step: &&crate::kernel::Step| {
        matches!(graph[step.node].op, Op::Variance(_))
            && graph[step.node].operands == graph[id].operands
            && graph[step.node].op.axes() == graph[id].op.axes()
    };
    let mean = matches!(graph[id].op, Op::Mean(_));
    kernel.steps.iter().filter(|_| mean).find(same).map(|step| step.node)
}

/// Element values that a later phase of the same row reads.
fn spilled(graph: &Graph, kernel: &Kernel) -> Vec<NodeId> {
    let mut result = Vec::new();
    if kernel.steps.iter().all(|step| step.phase == 0) {
        return result;
    }
    // The first phase of every map that is one number an element, until it is found to be wanted.
    let mut first: HashMap<NodeId, usize> = HashMap::new();
    for step in kernel.steps.iter().filter(|step| step.class == Class::Element && graph[step.node].op.is_map()) {
        let phase = first.entry(step.node).or_insert(step.phase);
        *phase = step.phase.min(*phase);
    }
    for step in &kernel.steps {
        for &operand in &graph[step.node].operands {
            let (base, class) = resolve(graph, operand, kernel.domain);
            let earlier = first.get(&base).is_some_and(|&phase| phase < step.phase);
            // Truth values and indices are not kept: codegen computes them again from what is.
            if earlier && class == Class::Element && graph[base].ty.dtype == DType::F32 {
                first.remove(&base);
                result.push(base);
            }
        }
    }
    result
}
