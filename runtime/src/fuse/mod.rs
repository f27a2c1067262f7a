//! From operations to kernels: what is computed together, what is kept in memory, what is computed again.
//!
//! In: a simplified graph. Out: kernels in the order in which they run. Work is demand-driven: matrix products,
//! reductions and results are placed in topological order, each in the earliest kernel that already holds what it needs;
//! maps are computed where they are wanted. A value wanted by a second kernel is kept in memory or computed again,
//! whichever moves fewer bytes. Every decision leaves its reason behind, in the kernel that it made.

mod again;
mod choose;
mod domain;
mod index;
mod kernels;
mod legalize;
mod stages;
mod updates;

use std::collections::HashMap;

use crate::ir::ops::Body;
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::{Class, Fused, verify};
use crate::reason::{Again, Begin, Kept};
use crate::types::DType;

pub use domain::Domain;
use domain::{Way, resolve, way};
use index::{Index, Nodes};
pub use legalize::legalize;

/// Cuts a graph into kernels.
pub fn fuse(graph: &Graph) -> Fused {
    let graph = legalize(graph);
    let mut ctx = Ctx::new(&graph);
    ctx.place_all();
    let fused = ctx.finish();
    if cfg!(debug_assertions) {
        verify(&fused).expect("fusion keeps the order of the graph");
    }
    fused
}

/// A value that a kernel writes to memory.
#[derive(Clone, Copy, Debug)]
struct Store {
    node: NodeId,
    /// The parameter that it overwrites; `None` for a buffer of its own.
    param: Option<usize>,
    /// Why it is written to a buffer; `None` where it overwrites a parameter.
    kept: Option<Kept>,
}

/// A kernel while it is being filled.
struct Draft {
    domain: Domain,
    product: Option<NodeId>,
    nodes: Vec<NodeId>,
    stores: Vec<Store>,
    begin: Begin,
    /// Which of the nodes an earlier kernel has computed, and why they are here as well.
    again: Vec<(NodeId, Again)>,
    /// Whether one of the nodes is a reduction along rows.
    has_row_sums: bool,
}

impl Draft {
    fn new(domain: Domain, product: Option<NodeId>, begin: Begin) -> Draft {
        let (nodes, stores, again) = (Vec::new(), Vec::new(), Vec::new());
        Draft { domain, product, nodes, stores, begin, again, has_row_sums: false }
    }
}

struct Ctx<'a> {
    g: &'a Graph,
    drafts: Vec<Draft>,
    /// The kernel in which a node is computed first.
    home: Vec<Option<usize>>,
    /// Whether a node is kept in memory.
    stored: Vec<bool>,
    /// Where the drafts have what.
    index: Index,
    check: Option<usize>,
}

/// What a root needs beside its own operation.
#[derive(Default)]
struct Demand {
    /// Maps to compute in its kernel, operands first.
    maps: Nodes,
    /// Values computed elsewhere, or placed before.
    sources: Nodes,
    /// Which of the sources have to be kept if they are in another kernel, and why.
    kept: Vec<(NodeId, Kept)>,
    /// Which of the sources are slopes to be computed in the kernel of their function, and that.
    slopes: Vec<(NodeId, NodeId)>,
    /// Which of the maps have been computed before, and why that is not kept.
    again: HashMap<NodeId, Again>,
    /// Values that the kernel reads in any case.
    read: Nodes,
    /// How many maps have been found to be computed.
    entered: usize,
}

/// What is still to be done of a demand.
enum Open {
    /// A value to have.
    Value(NodeId),
    /// A map whose operands are at hand.
    Map(NodeId),
}

/// The first kernel in which an operation may be placed, and why not before.
#[derive(Clone, Copy, Default)]
struct Bound {
    first: usize,
    why: Option<Begin>,
}

impl Bound {
    fn raise(&mut self, first: usize, why: Begin) {
        if first > self.first {
            *self = Bound { first, why: Some(why) };
        }
    }
}

impl<'a> Ctx<'a> {
    fn new(g: &'a Graph) -> Ctx<'a> {
        let count = g.nodes.len();
        let (home, stored, index) = (vec![None; count], vec![false; count], Index::new(g));
        Ctx { g, drafts: Vec::new(), home, stored, index, check: None }
    }

    /// Begins a kernel behind all others.
    fn open(&mut self, draft: Draft) -> usize {
        let kernel = self.drafts.len();
        self.index.opened(kernel, &draft);
        self.drafts.push(draft);
        kernel
    }

    /// Computes a node in a kernel.
    fn put(&mut self, kernel: usize, id: NodeId) {
        let draft = &mut self.drafts[kernel];
        draft.nodes.push(id);
        draft.has_row_sums |= matches!(way(self.g, id), Some((_, Way::AlongRow)));
        self.index.placed(self.g, kernel, draft, id);
    }

    /// Writes a value at the end of a kernel.
    fn store(&mut self, kernel: usize, store: Store) {
        self.index.stored(self.g, kernel, store.node);
        self.drafts[kernel].stores.push(store);
    }

    fn place_all(&mut self) {
        let live = self.g.live();
        self.place_prepared(&live);
        let mut results: Vec<(NodeId, &Role)> = self.g.outputs.iter().map(|out| (out.node, &out.role)).collect();
        results.retain(|(_, role)| !matches!(role, Role::Update(_)));
        results.sort_by_key(|(id, _)| *id);
        let mut results = results.into_iter().peekable();
        // Without updates nothing has to be kept from being written, and all else is computed whatever the loss is.
        let updated = self.g.outputs.iter().any(|out| matches!(out.role, Role::Update(_)));
        for id in self.g.ids() {
            match self.g[id].op.def().body {
                Body::Reduce(_) if live[id.index()] => self.place(id),
                Body::Contract if live[id.index()] => self.place_product(id),
                _ => {}
            }
            while let Some((node, role)) = results.next_if(|(node, _)| *node == id) {
                self.keep(node, Kept::Result);
                if *role == Role::Loss && updated {
                    let loss = self.g.behind_reshapes(node);
                    let keeps = |draft: &Draft| draft.stores.iter().any(|store| store.node == loss);
                    self.check = self.drafts.iter().position(keeps).map(|kernel| kernel + 1);
                }
            }
        }
        // Their kernels come first as well.
        let homes = self.statistics().into_iter().filter_map(|id| self.home[id.index()]);
        self.check = self.check.into_iter().chain(homes.map(|home| home + 1)).max().filter(|_| self.check.is_some());
        self.place_updates();
    }

    /// What depends on parameters alone and is wanted once a column comes first, so that the products behind it can use it
    /// in their epilogues: the factor of a batch norm in inference. A mask has no place in memory.
    fn place_prepared(&mut self, live: &[bool]) {
        let mut varies = vec![false; self.g.nodes.len()];
        for id in self.g.ids() {
            let node = &self.g[id];
            let computed = !node.op.is_map() && !node.op.is_leaf() && !node.op.is_view();
            let input = matches!(node.op, Op::Input(_) | Op::Count(_));
            varies[id.index()] = input || computed || node.operands.iter().any(|x| varies[x.index()]);
        }
        for id in self.g.ids().filter(|id| live[id.index()]) {
            let base = self.g.behind_views(id);
            let column = matches!(&self.g[id].op, Op::Broadcast(axes) if !axes.is_empty());
            let float = self.g[base].ty.dtype == DType::F32;
            if column && float && self.g[base].op.is_map() && !varies[base.index()] {
                self.keep(base, Kept::Prepared);
            }
        }
    }

    /// Sees to it that a value is in memory.
    fn keep(&mut self, id: NodeId, why: Kept) {
        let id = self.g.behind_reshapes(id);
        if matches!(self.g[id].op, Op::Input(_) | Op::Param(_)) || self.stored[id.index()] {
            return;
        }
        match self.home[id.index()] {
            Some(home) => self.store_in(home, id, why),
            None => {
                let kernel = self.place_in(id, Bound::default());
                self.store_in(kernel, id, why);
            }
        }
    }

    fn store_in(&mut self, kernel: usize, id: NodeId, why: Kept) {
        if !self.stored[id.index()] {
            self.stored[id.index()] = true;
            self.store(kernel, Store { node: id, param: None, kept: Some(why) });
        }
    }

    /// A product begins a kernel of its own, behind everything placed so far.
    fn place_product(&mut self, id: NodeId) {
        for operand in self.g[id].operands.clone() {
            self.keep(operand, Kept::Operand);
        }
        let domain = Domain::of(&self.g[id].ty.shape);
        self.home[id.index()] = Some(self.open(Draft::new(domain, Some(id), Begin::Product)));
    }

    /// Writes the next value of a parameter.
    fn place_update(&mut self, id: NodeId, param: usize, bound: Bound) {
        let kernel = match self.home[id.index()] {
            Some(home) if home >= bound.first => home,
            home => {
                // What was computed before is copied, not computed again from values that may be new by then.
                if let Some(home) = home {
                    self.store_in(home, id, Kept::Update(param));
                }
                self.place_in(id, bound)
            }
        };
        self.store(kernel, Store { node: id, param: Some(param), kept: None });
    }

    fn place(&mut self, id: NodeId) {
        if self.home[id.index()].is_none() {
            self.place_in(id, Bound::default());
        }
    }

    /// Chooses a kernel for `id` and puts it there with the maps it needs.
    fn place_in(&mut self, id: NodeId, bound: Bound) -> usize {
        let node = &self.g[id];
        let copied = node.operands.is_empty() || node.op.is_view() || self.stored[id.index()];
        let shape = if way(self.g, id).is_some() { &self.g[node.operands[0]].ty.shape } else { &node.ty.shape };
        let domain = Domain::of(shape);
        let mut demand = Demand::default();
        // Twice: what is read in any case decides what is cheaper to compute again.
        for _ in 0..2 {
            demand = Demand { read: demand.sources, ..Demand::default() };
            let wanted = if copied { &[id][..] } else { &node.operands[..] };
            wanted.iter().for_each(|&operand| self.collect(operand, domain, &mut demand));
        }
        for (slope, function) in std::mem::take(&mut demand.slopes) {
            let home = self.home[function.index()].expect("the function is computed");
            // Keeping another operand may have placed it meanwhile.
            if self.home[slope.index()].is_none() {
                self.home[slope.index()] = Some(home);
                self.put(home, slope);
            }
            demand.kept.push((slope, Kept::Slope(function)));
        }
        let kernel = self.choose(id, domain, &demand, bound);
        let own = if copied { None } else { Some(id) };
        for node in demand.maps.iter().chain(own) {
            let repeated = *self.home[node.index()].get_or_insert(kernel) != kernel;
            if self.index.computes(kernel, node) {
                continue;
            }
            let known = demand.again.get(&node).copied();
            // Keeping another operand may have placed it meanwhile.
            let why = known.or_else(|| repeated.then(|| Again::Cheap(self.effort(node, &demand.read))));
            self.put(kernel, node);
            self.drafts[kernel].again.extend(why.map(|why| (node, why)));
        }
        for (source, why) in demand.kept {
            match self.home[source.index()] {
                Some(home) if home != kernel => self.store_in(home, source, why),
                Some(home) if !self.in_reach(source, home, domain) => self.store_in(home, source, why),
                _ => {}
            }
        }
        kernel
    }

    /// Gathers what a kernel over `domain` needs to have the value `id`.
    fn collect(&mut self, id: NodeId, domain: Domain, demand: &mut Demand) {
        let mut open = vec![Open::Value(id)];
        while let Some(next) = open.pop() {
            match next {
                Open::Map(map) => _ = demand.maps.insert(map),
                Open::Value(id) => {
                    if let Some(map) = self.demanded(id, domain, demand) {
                        demand.entered += 1;
                        open.push(Open::Map(map));
                        open.extend(self.g[map].operands.iter().rev().map(|&operand| Open::Value(operand)));
                    }
                }
            }
        }
    }

    /// The map to compute for the value `id`, if it is not at hand.
    fn demanded(&mut self, id: NodeId, domain: Domain, demand: &mut Demand) -> Option<NodeId> {
        let (base, class) = resolve(self.g, id, domain);
        let node = &self.g[base];
        if node.op.is_leaf() || demand.maps.contains(base) || demand.sources.contains(base) {
            return None;
        }
        let computable = node.op.is_map()
            && class != Class::Column
            && domain.class_of(&node.ty.shape).is_some()
            && (class != Class::Element || Domain::of(&node.ty.shape) == domain);
        let long = computable && self.is_long(base, class, domain, demand);
        if !computable || long {
            if node.op.is_map() {
                let why = match class {
                    _ if long => Kept::Long,
                    Class::Column => Kept::Column,
                    _ => Kept::Reshaped,
                };
                self.keep(base, why);
            } else {
                demand.kept.push((base, Kept::Once));
            }
            demand.sources.insert(base);
            return None;
        }
        if self.stored[base.index()] {
            demand.sources.insert(base);
            return None;
        }
        if let Some(function) = self.function_beside(base, domain, &demand.read) {
            demand.slopes.push((base, function));
            demand.sources.insert(base);
            return None;
        }
        if self.home[base.index()].is_some() {
            match self.again(base, class, &demand.read) {
                Ok(why) => _ = demand.again.entry(base).or_insert(why),
                Err(why) => {
                    demand.kept.push((base, why));
                    demand.sources.insert(base);
                    return None;
                }
            }
        }
        Some(base)
    }

    /// What was placed first in a later kernel, and then in an earlier one too, is computed again in the later one.
    fn order_reasons(&mut self) {
        let nodes = self.drafts.iter().enumerate().flat_map(|(at, draft)| draft.nodes.iter().map(move |&id| (id, at)));
        let before_home =
            nodes.filter_map(|(id, at)| Some((id, at, self.home[id.index()]?))).filter(|(_, at, home)| at < home);
        let mut earlier: Vec<(NodeId, usize, usize)> = before_home.collect();
        // The first of several is the one that has no reason to be there.
        earlier.sort();
        earlier.dedup_by_key(|(id, ..)| *id);
        for (id, first, home) in earlier {
            let again = &mut self.drafts[first].again;
            let at = again.iter().position(|(node, _)| *node == id);
            let moved = again.swap_remove(at.expect("every kernel but the home has a reason"));
            self.drafts[home].again.push(moved);
        }
    }

    fn finish(mut self) -> Fused {
        self.order_reasons();
        let statistics = self.statistics();
        kernels::finish(self.g, self.drafts, self.check, &statistics)
    }
}
