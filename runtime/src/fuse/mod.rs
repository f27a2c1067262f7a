//! From operations to kernels: what is computed together, what is kept in memory, what is computed twice.
//!
//! In: a legalized graph. Out: kernels in the order in which they run, then groups of them. Matrix products, reductions and results
//! are placed in topological order, each in the earliest kernel that already holds what it needs; maps are computed where they are
//! needed. A value that a second kernel needs is kept in memory or computed once more, whichever moves fewer bytes. Where that keeps
//! what is only compared with a limit beside the larger of both, the comparison reads the latter, and all is placed once more. Every
//! decision is recorded, with its reason, in the kernel that it made.

mod minimum_cut;
mod rematerialize;
mod blocks;
mod bounds;
mod carried;
mod choose;
mod collapse;
mod domain;
mod groups;
mod index;
mod kernels;
mod legalize;
mod long_rows;
mod loops;
mod masks;
mod prepared;
mod runs;
mod stages;
mod triangles;
mod unfused;
mod updates;
mod view;
mod wholes;

use std::collections::HashMap;

use crate::ir::ops::Body;
use crate::ir::rewrite::Readers;
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::{Class, Fused, WinogradUse, verify};
use crate::reason::{MaterializeReason, RematerializeReason, SplitReason};

use bounds::Bounds;
use choose::Bound;
pub use domain::Domain;
use domain::{ReductionAxes, is_memory, read_access, reduction_axes};
pub use groups::{Budget, group};
use index::{Index, Nodes};
use legalize::empty::is_empty;
pub use legalize::{legalize, legalize_mapped};
use loops::{Loops, Row};
pub use unfused::unfused;
use view::{indices, is_view};
use wholes::{Inside, Part};

/// Cuts a graph into kernels, after it was legalized, and counts what fusion saves.
pub fn fuse(graph: &Graph) -> Fused {
    let legalized = legalize(graph);
    Fused { unfused: Some(unfused(&legalized)), ..fuse_legalized(&legalized, WinogradUse::WherePays) }
}

/// Cuts a legalized graph into kernels, which number values as it does. Products of windows have the form of Winograd where that
/// pays, if they may.
pub fn fuse_legalized(graph: &Graph, winograd: WinogradUse) -> Fused {
    let fused = loops::in_attempts(graph, winograd);
    let fused = masks::of_results(graph, &fused).map_or(fused, |graph| loops::in_attempts(&graph, winograd));
    if cfg!(debug_assertions)
        && let Err(fault) = verify(&fused)
    {
        panic!("fusion keeps the order of the graph: {fault}, in\n{fused}");
    }
    fused
}

/// A value that a kernel writes to memory.
#[derive(Clone, Copy, Debug)]
struct Store {
    node: NodeId,
    /// The parameter that it overwrites; `None` for a buffer of its own.
    param: Option<usize>,
    /// The row of a loop's states, or of what it collects, that it is.
    row: Option<Row>,
    /// The part of a whole that it is.
    part: Option<Part>,
    /// Why it is written to a buffer; `None` where it overwrites a parameter.
    materialized: Option<MaterializeReason>,
}

/// A kernel while it is being filled.
#[derive(Clone)]
struct Draft {
    domain: Domain,
    product: Option<NodeId>,
    nodes: Vec<NodeId>,
    stores: Vec<Store>,
    split: SplitReason,
    /// Which of the nodes an earlier kernel computes as well, and why they are repeated here.
    rematerialized: Vec<(NodeId, RematerializeReason)>,
    /// Whether one of the nodes is a reduction along rows.
    has_row_sums: bool,
    /// Where its axes are split.
    bounds: Bounds,
    /// Whether it takes nothing else: it copies a view or adds rows to a table.
    closed: bool,
    /// The loop that it is in.
    run: Option<usize>,
}

impl Draft {
    fn new(domain: Domain, product: Option<NodeId>, split: SplitReason) -> Draft {
        let (nodes, stores, rematerialized) = (Vec::new(), Vec::new(), Vec::new());
        let (has_row_sums, bounds, closed, run) = (false, Bounds::default(), false, None);
        Draft { domain, product, nodes, stores, split, rematerialized, has_row_sums, bounds, closed, run }
    }
}

struct Ctx<'a> {
    g: &'a Graph,
    drafts: Vec<Draft>,
    /// The kernel in which a node is computed first.
    home: Vec<Option<usize>>,
    /// Whether a node is kept in memory.
    stored: Vec<bool>,
    /// Which drafts compute and read each node.
    index: Index,
    loops: Loops,
    /// The wholes that lie in something larger, and where.
    inside: HashMap<NodeId, Inside>,
    readers: Readers,
    check: Option<usize>,
}

/// What a root needs besides its own operation.
#[derive(Default)]
struct Demand {
    /// Maps to compute in its kernel, operands first.
    maps: Nodes,
    /// Values computed elsewhere, or placed before.
    sources: Nodes,
    /// The sources whose elements are read at another place than their own: these come from memory.
    elsewhere: Nodes,
    /// Where the axes have to be split.
    bounds: Bounds,
    /// Whether nothing but elements and single numbers is computed.
    alone: bool,
    /// Which of the sources have to be kept if they are in another kernel, and why.
    materialized: Vec<(NodeId, MaterializeReason)>,
    /// The sources that are slopes to be computed in the kernel of their function, each with that function.
    slopes: Vec<(NodeId, NodeId)>,
    /// The maps that an earlier kernel computes as well, and why their values are not kept.
    rematerialized: HashMap<NodeId, RematerializeReason>,
    /// Values that the kernel reads in any case.
    read: Nodes,
    /// Maps of earlier kernels that are better computed again than kept, all together.
    to_rematerialize: Nodes,
    /// How many maps have been found so far that have to be computed.
    entered: usize,
}

/// What remains to be done for a demand.
enum Open {
    /// A value that is needed.
    Value(NodeId),
    /// A map whose operands are available.
    Map(NodeId),
}

impl<'a> Ctx<'a> {
    fn new(g: &'a Graph, loops: Loops) -> Ctx<'a> {
        let (count, index) = (g.nodes.len(), Index::new(g));
        let (drafts, home, stored, inside) = (Vec::new(), vec![None; count], vec![false; count], HashMap::new());
        Ctx { g, drafts, home, stored, index, loops, inside, readers: Readers::new(g), check: None }
    }

    /// Begins a kernel after all others.
    fn open(&mut self, mut draft: Draft) -> usize {
        let kernel = self.drafts.len();
        draft.run = self.loops.open;
        self.index.opened(kernel, &draft);
        self.drafts.push(draft);
        kernel
    }

    /// Computes a node in a kernel.
    fn put(&mut self, kernel: usize, id: NodeId) {
        let draft = &mut self.drafts[kernel];
        draft.nodes.push(id);
        let node = &self.g[id];
        let shape =
            if reduction_axes(self.g, id).is_some() { &self.g[node.operands[0]].ty.shape } else { &node.ty.shape };
        let bounds = Bounds::of(draft.domain, shape);
        draft.bounds =
            draft.bounds.with(&bounds, draft.domain).expect("a draft was chosen that has axes as fine as that");
        draft.has_row_sums |= matches!(reduction_axes(self.g, id), Some((_, ReductionAxes::AlongRow)));
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
        self.place_counts(&live);
        let mut results: Vec<(NodeId, &Role)> = self.g.outputs.iter().map(|out| (out.node, &out.role)).collect();
        results.retain(|(_, role)| !matches!(role, Role::Update(_)));
        results.sort_by_key(|(id, _)| *id);
        let mut results = results.into_iter().peekable();
        // Without updates there is no check: everything else is computed whatever the loss is.
        let updated = self.g.outputs.iter().any(|out| matches!(out.role, Role::Update(_)));
        for id in self.g.ids() {
            match (&self.g[id].op, self.g[id].op.def().body) {
                (Op::Carry { .. }, _) if live[id.index()] => self.begin_loop(id, &live),
                (Op::History { .. }, _) if live[id.index()] => self.end_loop(id, &live),
                (_, Body::Reduce(_)) if live[id.index()] => match reduction_axes(self.g, id) {
                    Some((_, ReductionAxes::Within)) => self.place_within(id),
                    _ => self.place(id),
                },
                (_, Body::Contract) if live[id.index()] => self.place_product(id),
                (_, Body::Scatter) if live[id.index()] => self.place_scatter(id),
                (Op::Concat(_), _) if live[id.index()] => self.place_whole(id),
                _ => {}
            }
            while let Some((node, role)) = results.next_if(|(node, _)| *node == id) {
                self.materialize(node, MaterializeReason::Result);
                if *role == Role::Loss && updated {
                    let loss = self.g.behind_reshapes(node);
                    let keeps = |draft: &Draft| draft.stores.iter().any(|store| store.node == loss);
                    self.check = self.drafts.iter().position(keeps).map(|kernel| kernel + 1);
                }
            }
        }
        // The check comes after their kernels too.
        let homes = self.statistics().into_iter().filter_map(|id| self.home[id.index()]);
        self.check = self.check.into_iter().chain(homes.map(|home| home + 1)).max().filter(|_| self.check.is_some());
        self.place_updates();
    }

    /// Makes sure that a value is in memory.
    fn materialize(&mut self, id: NodeId, why: MaterializeReason) {
        let id = self.g.behind_reshapes(id);
        if is_memory(&self.g[id].op) || self.stored[id.index()] || is_empty(&self.g[id].ty.shape) {
            return;
        }
        let kernel = match self.home[id.index()] {
            Some(home) => home,
            None => {
                // It would be computed at every step.
                if self.loops.is_outside(id) {
                    self.loops.miss(id);
                }
                if let Some(kernel) = self.place_turned(id, why) {
                    self.home[id.index()] = Some(kernel);
                    self.stored[id.index()] = true;
                    return;
                }
                self.place_in(id, Bound::default())
            }
        };
        self.store_in(kernel, id, why);
    }

    fn store_in(&mut self, kernel: usize, id: NodeId, why: MaterializeReason) {
        if !self.stored[id.index()] {
            self.stored[id.index()] = true;
            self.store(kernel, Store { materialized: Some(why), ..Store::of(id) });
        }
    }

    /// A product begins a kernel of its own, after everything placed so far.
    fn place_product(&mut self, id: NodeId) {
        for side in 0..2 {
            self.materialize(runs::base(self.g, id, side), MaterializeReason::Operand);
        }
        let shape = &self.g[id].ty.shape;
        let domain = Domain::of(shape);
        let draft = Draft { bounds: Bounds::of(domain, shape), ..Draft::new(domain, Some(id), SplitReason::Product) };
        self.home[id.index()] = Some(self.open(draft));
    }

    /// Rows are added to a table in a kernel of their own, which computes them.
    fn place_scatter(&mut self, id: NodeId) {
        let [values, index] = self.g[id].operands[..] else { unreachable!("a scatter has two operands") };
        self.materialize(domain::elsewhere(self.g, index).0, MaterializeReason::Reshaped);
        let kernel = self.place_alone(values, SplitReason::Apart);
        self.home[id.index()] = Some(kernel);
        self.store_in(kernel, id, MaterializeReason::Once);
    }

    /// Opens a kernel that computes what a value is made of, and takes nothing else.
    fn place_alone(&mut self, id: NodeId, split: SplitReason) -> usize {
        let shape = &self.g[id].ty.shape;
        let domain = Domain::of(shape);
        let mut demand = Demand::default();
        for _ in 0..2 {
            let bounds = Bounds::of(domain, shape);
            let to_rematerialize = self.rematerialized(&[id], domain, &demand.sources);
            demand = Demand { read: demand.sources, to_rematerialize, bounds, alone: true, ..Demand::default() };
            self.collect(id, domain, &mut demand);
        }
        self.place_slopes(domain, &mut demand);
        let bounds = demand.bounds.clone();
        let kernel = self.open(Draft { bounds, closed: true, ..Draft::new(domain, None, split) });
        self.fill(kernel, None, domain, demand);
        kernel
    }

    /// Writes the next value of a parameter.
    fn place_update(&mut self, id: NodeId, param: usize, bound: Bound) {
        let kernel = match self.home[id.index()] {
            Some(home) if home >= bound.first && !matches!(self.g[id].op, Op::Concat(_)) => home,
            home => {
                // A value that was computed before is copied: computed here, it could be made of values already updated.
                if let Some(home) = home {
                    self.store_in(home, id, MaterializeReason::Update(param));
                }
                self.place_in(id, bound)
            }
        };
        self.store(kernel, Store { param: Some(param), ..Store::of(id) });
    }

    fn place(&mut self, id: NodeId) {
        if self.home[id.index()].is_none() {
            self.place_in(id, Bound::default());
        }
    }

    /// Chooses a kernel for `id` and puts it there with the maps it needs.
    fn place_in(&mut self, id: NodeId, bound: Bound) -> usize {
        let node = &self.g[id];
        let copied = self.is_copied(id);
        let shape =
            if reduction_axes(self.g, id).is_some() { &self.g[node.operands[0]].ty.shape } else { &node.ty.shape };
        let domain = Domain::of(shape);
        if copied && read_access(self.g, id, domain).1 == Class::Other {
            let kernel = self.place_alone(id, bound.why.unwrap_or(SplitReason::Apart));
            self.home[id.index()] = Some(kernel);
            return kernel;
        }
        let mut demand = Demand::default();
        // Twice: what is read in any case decides what is cheaper to recompute.
        for _ in 0..2 {
            let bounds = Bounds::of(domain, shape);
            let wanted = if copied { &[id][..] } else { &node.operands[..] };
            let to_rematerialize = self.rematerialized(wanted, domain, &demand.sources);
            demand = Demand { read: demand.sources, to_rematerialize, bounds, ..Demand::default() };
            wanted.iter().for_each(|&operand| self.collect(operand, domain, &mut demand));
        }
        self.place_slopes(domain, &mut demand);
        let kernel = self.choose(id, domain, &demand, bound);
        let own = if copied { None } else { Some(id) };
        self.fill(kernel, own, domain, demand);
        if is_view(self.g, id) {
            self.home[id.index()] = Some(kernel);
        }
        kernel
    }

    /// Whether a root is there already, or is seen in something else: its elements are copied.
    fn is_copied(&self, id: NodeId) -> bool {
        self.g[id].operands.is_empty() || is_view(self.g, id) || self.stored[id.index()]
    }

    /// Puts a root with what it needs in a kernel over its domain.
    fn fill(&mut self, kernel: usize, own: Option<NodeId>, domain: Domain, demand: Demand) {
        for node in demand.maps.iter().chain(own) {
            // What a loop computes of what is outside is its own affair.
            let outside = self.loops.is_outside(node);
            let repeated = outside || *self.home[node.index()].get_or_insert(kernel) != kernel;
            if self.index.computes(kernel, node) {
                continue;
            }
            let known = demand.rematerialized.get(&node).copied();
            // Keeping another operand may have placed it in the meantime.
            let why = known.or_else(|| repeated.then(|| RematerializeReason::Cheap(self.effort(node, &demand))));
            self.put(kernel, node);
            self.drafts[kernel].rematerialized.extend(why.map(|why| (node, why)));
        }
        for (source, why) in demand.materialized {
            match self.home[source.index()] {
                Some(home) if home != kernel => self.store_in(home, source, why),
                Some(home) if demand.elsewhere.contains(source) || !self.in_reach(source, home, domain) => {
                    self.store_in(home, source, why);
                }
                _ => {}
            }
        }
    }

    /// Collects what a kernel over `domain` needs for the value `id`.
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

    /// The map to compute for the value `id`, unless it is available already.
    fn demanded(&mut self, id: NodeId, domain: Domain, demand: &mut Demand) -> Option<NodeId> {
        let (base, class) = read_access(self.g, id, domain);
        if class == Class::Other {
            // The index that rows are looked up by is read from memory as well.
            for index in indices(self.g, id, base) {
                let memory = domain::elsewhere(self.g, index).0;
                self.materialize(memory, MaterializeReason::Reshaped);
                demand.sources.insert(memory);
                demand.elsewhere.insert(memory);
            }
        }
        let node = &self.g[base];
        // Even where a value is available, its elements at other places have to come from memory.
        let at_hand = match class {
            Class::Other => demand.elsewhere.contains(base),
            _ => demand.maps.contains(base) || demand.sources.contains(base),
        };
        if node.op.is_leaf() || at_hand {
            return None;
        }
        let shape = &node.ty.shape;
        let bounds = demand.bounds.with(&Bounds::of(domain, shape), domain);
        let computable = node.op.is_map()
            && !matches!(class, Class::Column | Class::Other)
            && !(demand.alone && class == Class::Row)
            && domain.class_of(shape).is_some()
            && (class != Class::Element || Domain::of(shape) == domain)
            && bounds.is_some();
        let long = computable && self.is_long(base, class, domain, demand);
        if !computable || long {
            if class == Class::Other {
                demand.elsewhere.insert(base);
            }
            if node.op.is_map() || is_view(self.g, base) {
                let why = match class {
                    _ if long => MaterializeReason::Long,
                    Class::Column => MaterializeReason::Column,
                    _ => MaterializeReason::Reshaped,
                };
                self.materialize(base, why);
            } else {
                demand.materialized.push((base, MaterializeReason::Once));
            }
            demand.sources.insert(base);
            return None;
        }
        let beside = || {
            let function = self.function_beside(base, domain, demand);
            function.or_else(|| self.exponential_beside(base, domain, demand).filter(|_| class == Class::Element))
        };
        let slope = || beside().map(|function| (base, function));
        let slope = if self.stored[base.index()] { None } else { slope() };
        if self.stored[base.index()] || slope.is_some() {
            demand.slopes.extend(slope);
            demand.sources.insert(base);
            return None;
        }
        if self.home[base.index()].is_some() {
            match self.rematerialize(base, class, demand) {
                Ok(why) => _ = demand.rematerialized.entry(base).or_insert(why),
                Err(why) => {
                    demand.materialized.push((base, why));
                    demand.sources.insert(base);
                    return None;
                }
            }
        }
        demand.bounds = bounds.unwrap_or_default();
        Some(base)
    }

    /// The kernels; or, if a loop reads what is not there when it begins, its loops for another attempt.
    fn run(mut self, winograd: WinogradUse) -> Result<Fused, Box<Loops>> {
        self.place_all();
        if !self.loops.missing.is_empty() {
            return Err(Box::new(self.loops));
        }
        self.order_reasons();
        let statistics = self.statistics();
        let Ctx { g, drafts, inside, check, .. } = self;
        kernels::finish(g, (drafts, check), (&statistics, &self.loops), (inside, winograd)).map_err(|own| {
            self.loops.own.extend(own);
            Box::new(self.loops)
        })
    }
}
