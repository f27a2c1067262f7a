//! From operations to kernels: what is computed together, what is kept in memory, what is computed again.
//!
//! In: a simplified graph. Out: kernels in the order in which they run. Work is demand-driven: matrix products,
//! reductions and results are placed in topological order, each in the earliest kernel that already holds what it needs;
//! maps are computed where they are wanted. A value wanted by a second kernel is kept in memory or computed again,
//! whichever moves fewer bytes.

mod legalise;
mod phases;
mod print;
mod updates;
mod verify;

use crate::ir::ops::{Body, Reduction};
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::{Class, Domain, Kernel, Store, Way, resolve, way};
use crate::types::{DType, Dim};

pub use verify::verify;

/// Operations that may be repeated to save a transfer to memory and back.
const CHEAP: usize = 8;

/// As how many of them a random number counts: to compute it takes about as long as to write and read it, and no memory.
const HASH: usize = 5;

/// Operations from which on a kernel takes no further work that it shares nothing with: register allocation takes more
/// than its share of time for longer ones.
const LONG: usize = 64;

/// A graph cut into kernels.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The operations.
    pub graph: Graph,
    /// In the order in which they run.
    pub kernels: Vec<Kernel>,
    /// In a training step: this many kernels run before the loss is known and the first update may be written.
    pub check: Option<usize>,
}

/// Cuts a graph into kernels.
pub fn fuse(graph: &Graph) -> Fused {
    let graph = legalise::legalise(graph);
    let mut ctx = Ctx::new(&graph);
    ctx.place_all();
    let (kernels, check) = ctx.finish();
    let fused = Fused { graph, kernels, check };
    if cfg!(debug_assertions) {
        verify(&fused).expect("fusion keeps the order of the graph");
    }
    fused
}

/// A kernel while it is being filled.
struct Draft {
    domain: Domain,
    product: Option<NodeId>,
    nodes: Vec<NodeId>,
    stores: Vec<Store>,
}

struct Ctx<'a> {
    g: &'a Graph,
    drafts: Vec<Draft>,
    /// The kernel in which a node is computed first.
    home: Vec<Option<usize>>,
    /// Whether a node is kept in memory.
    stored: Vec<bool>,
    check: Option<usize>,
}

/// What a root needs beside its own operation.
#[derive(Default)]
struct Demand {
    /// Maps to compute in its kernel.
    maps: Vec<NodeId>,
    /// Values computed elsewhere, or placed before.
    sources: Vec<NodeId>,
    /// Values that the kernel reads in any case.
    read: Vec<NodeId>,
}

impl<'a> Ctx<'a> {
    fn new(g: &'a Graph) -> Ctx<'a> {
        let count = g.nodes.len();
        Ctx { g, drafts: Vec::new(), home: vec![None; count], stored: vec![false; count], check: None }
    }

    fn place_all(&mut self) {
        let live = self.g.live();
        self.place_prepared(&live);
        let mut results: Vec<(NodeId, &Role)> = self.g.outputs.iter().map(|out| (out.node, &out.role)).collect();
        results.retain(|(_, role)| !matches!(role, Role::Update(_)));
        results.sort_by_key(|(id, _)| *id);
        let mut results = results.into_iter().peekable();
        for id in self.g.ids() {
            match self.g[id].op.def().body {
                Body::Reduce(_) if live[id.index()] => self.place(id, 0),
                Body::Contract if live[id.index()] => self.place_product(id),
                _ => {}
            }
            while let Some((node, role)) = results.next_if(|(node, _)| *node == id) {
                self.keep(node);
                if *role == Role::Loss {
                    let loss = self.g.behind_reshapes(node);
                    let keeps = |draft: &Draft| draft.stores.iter().any(|store| store.node == loss);
                    self.check = self.drafts.iter().position(keeps).map(|kernel| kernel + 1);
                }
            }
        }
        self.place_updates();
    }

    /// What depends on parameters alone and is wanted once a column comes first, so that the products behind it can use it
    /// in their epilogues: scale and shift of a batch norm in inference.
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
            if column && self.g[base].op.is_map() && !varies[base.index()] {
                self.keep(base);
            }
        }
    }

    /// Sees to it that a value is in memory.
    fn keep(&mut self, id: NodeId) {
        let id = self.g.behind_reshapes(id);
        if matches!(self.g[id].op, Op::Input(_) | Op::Param(_)) || self.stored[id.index()] {
            return;
        }
        match self.home[id.index()] {
            Some(home) => self.store_in(home, id),
            None => {
                let kernel = self.place_in(id, 0);
                self.store_in(kernel, id);
            }
        }
    }

    fn store_in(&mut self, kernel: usize, id: NodeId) {
        if !self.stored[id.index()] {
            self.stored[id.index()] = true;
            self.drafts[kernel].stores.push(Store { node: id, param: None });
        }
    }

    /// A product begins a kernel of its own, behind everything placed so far.
    fn place_product(&mut self, id: NodeId) {
        for operand in self.g[id].operands.clone() {
            self.keep(operand);
        }
        self.home[id.index()] = Some(self.drafts.len());
        let domain = Domain::of(&self.g[id].ty.shape);
        self.drafts.push(Draft { domain, product: Some(id), nodes: Vec::new(), stores: Vec::new() });
    }

    /// Writes the next value of a parameter, in kernel `first` or later.
    fn place_update(&mut self, id: NodeId, param: usize, first: usize) {
        let kernel = match self.home[id.index()] {
            Some(home) if home >= first => home,
            home => {
                // What was computed before is copied, not computed again from values that may be new by then.
                if let Some(home) = home {
                    self.store_in(home, id);
                }
                self.place_in(id, first)
            }
        };
        self.drafts[kernel].stores.push(Store { node: id, param: Some(param) });
    }

    fn place(&mut self, id: NodeId, first: usize) {
        if self.home[id.index()].is_none() {
            self.place_in(id, first);
        }
    }

    /// Chooses a kernel for `id`, from number `first` on, and puts it there with the maps it needs.
    fn place_in(&mut self, id: NodeId, first: usize) -> usize {
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
        let kernel = self.choose(id, domain, &demand, first);
        let own = if copied { None } else { Some(id) };
        for node in demand.maps.into_iter().chain(own) {
            self.home[node.index()].get_or_insert(kernel);
            let nodes = &mut self.drafts[kernel].nodes;
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        for source in demand.sources {
            match self.home[source.index()] {
                Some(home) if home != kernel => self.store_in(home, source),
                Some(home) if !self.in_reach(source, home, domain) => self.store_in(home, source),
                _ => {}
            }
        }
        kernel
    }

    /// Gathers what a kernel over `domain` needs to have the value `id`.
    fn collect(&mut self, id: NodeId, domain: Domain, demand: &mut Demand) {
        let (base, class) = resolve(self.g, id, domain);
        let node = &self.g[base];
        if node.op.is_leaf() || demand.maps.contains(&base) || demand.sources.contains(&base) {
            return;
        }
        let computable = node.op.is_map()
            && class != Class::Column
            && domain.class_of(&node.ty.shape).is_some()
            && (class != Class::Element || Domain::of(&node.ty.shape) == domain);
        if !computable {
            if node.op.is_map() {
                self.keep(base);
            }
            demand.sources.push(base);
            return;
        }
        if self.stored[base.index()]
            || (self.home[base.index()].is_some() && !self.cheaper_again(base, class, &demand.read))
        {
            demand.sources.push(base);
            return;
        }
        for operand in node.operands.clone() {
            self.collect(operand, domain, demand);
        }
        if !demand.maps.contains(&base) {
            demand.maps.push(base);
        }
    }

    /// Whether to compute a map again rather than write it in one kernel and read it in another, which reads some values
    /// anyway.
    fn cheaper_again(&self, id: NodeId, class: Class, read: &[NodeId]) -> bool {
        if self.g[id].ty.dtype != DType::F32 || class == Class::Single {
            return true;
        }
        let domain = Domain::of(&self.g[id].ty.shape);
        let start = id;
        let mut operations = 0;
        let mut transfers = 0;
        let mut open = vec![id];
        let mut seen = Vec::new();
        while let Some(id) = open.pop() {
            let (base, class) = resolve(self.g, id, domain);
            if seen.contains(&base) || class != Class::Element {
                continue;
            }
            seen.push(base);
            let op = &self.g[base].op;
            match op.def().body {
                Body::Leaf => transfers += usize::from(matches!(op, Op::Input(_) | Op::Param(_))),
                _ if base != start && read.contains(&base) => {}
                _ if self.stored[base.index()] => transfers += 1,
                Body::Map(_) if is_cheap(op) || *op == Op::Uniform => {
                    operations += if *op == Op::Uniform { HASH } else { 1 };
                    open.extend(&self.g[base].operands);
                }
                // It would have to be written first.
                _ => transfers += 2,
            }
        }
        operations <= CHEAP && transfers < 2
    }

    /// The kernel for a root: the first that computes one of its sources, else one that reads the same elements, else new.
    fn choose(&mut self, id: NodeId, domain: Domain, demand: &Demand, first: usize) -> usize {
        let mut first = first;
        for &source in &demand.sources {
            let Some(home) = self.home[source.index()] else { continue };
            first = first.max(if self.in_reach(source, home, domain) { home } else { home + 1 });
        }
        let moments = matches!(way(self.g, id), Some((Reduction::Variance, _)));
        // A number that is one in all is computed again at no cost.
        let substantial = |map: &NodeId| Domain::of(&self.g[*map].ty.shape) != Domain::SCALAR;
        let computes = |draft: &Draft| {
            demand.sources.iter().any(|source| draft.product == Some(*source) || draft.nodes.contains(source))
                || demand.maps.iter().any(|map| substantial(map) && draft.nodes.contains(map))
        };
        let wanted = self.elements_read(id, domain, demand);
        let shares =
            |draft: &Draft| draft.product.is_none() && wanted.iter().any(|base| self.reads_element(draft, *base));
        // A variance is shifted by the mean of its first rows, so those have to be at hand without any sum along rows.
        let ready = |draft: &Draft| !(moments && self.has_row_sums(draft));
        let suits = |draft: &Draft| draft.domain == domain && ready(draft);
        let candidates = || (first..self.drafts.len()).filter(|&kernel| suits(&self.drafts[kernel]));
        let found = candidates().find(|&kernel| computes(&self.drafts[kernel]));
        let found = found.or_else(|| candidates().find(|&kernel| shares(&self.drafts[kernel])));
        // Numbers that are one a row are computed beside the elements of that row.
        let along_row = matches!(way(self.g, id), Some((_, Way::AlongRow)));
        // What is written over a parameter is not: there its elements are read one by one.
        let updates = self.g.outputs.iter().any(|out| out.node == id && matches!(out.role, Role::Update(_)));
        let beside = || {
            let wider = |draft: &Draft| {
                !along_row && !updates && ready(draft) && joins(draft.domain, domain) && computes(draft)
            };
            (first..self.drafts.len()).find(|&kernel| wider(&self.drafts[kernel]))
        };
        // A kernel of one row costs its call more than its work: those of one width share it.
        let short = || {
            let single_row = domain.rows == Dim::Fixed(1);
            let open = |draft: &Draft| draft.product.is_none() && draft.nodes.len() < LONG;
            candidates().find(|&kernel| single_row && open(&self.drafts[kernel]))
        };
        if let Some(kernel) = found.or_else(beside).or_else(short) {
            return kernel;
        }
        self.drafts.push(Draft { domain, product: None, nodes: Vec::new(), stores: Vec::new() });
        self.drafts.len() - 1
    }

    /// Whether a value computed in kernel `home` can be read in the same kernel, if that is over `domain`.
    fn in_reach(&self, source: NodeId, home: usize, domain: Domain) -> bool {
        let along = way(self.g, source).is_none_or(|(_, way)| way == Way::AlongRow);
        along && joins(self.drafts[home].domain, domain)
    }

    fn has_row_sums(&self, draft: &Draft) -> bool {
        draft.nodes.iter().any(|&id| matches!(way(self.g, id), Some((_, Way::AlongRow))))
    }

    /// What a root reads from memory, one number per element.
    fn elements_read(&self, id: NodeId, domain: Domain, demand: &Demand) -> Vec<NodeId> {
        let computed = demand.maps.iter().chain([&id]);
        let operands = computed.flat_map(|&id| &self.g[id].operands);
        let read = operands.map(|&operand| resolve(self.g, operand, domain));
        let elements = read.filter(|&(base, class)| class == Class::Element && !demand.maps.contains(&base));
        elements.map(|(base, _)| base).filter(|&base| !matches!(self.g[base].op, Op::Const(_) | Op::Iota(_))).collect()
    }

    fn reads_element(&self, draft: &Draft, base: NodeId) -> bool {
        draft.domain != Domain::SCALAR
            && draft
                .nodes
                .iter()
                .flat_map(|&id| &self.g[id].operands)
                .any(|&operand| resolve(self.g, operand, draft.domain) == (base, Class::Element))
    }

    fn finish(self) -> (Vec<Kernel>, Option<usize>) {
        let kernels = self.drafts.into_iter().map(|draft| phases::finish(self.g, draft)).collect();
        (kernels, self.check)
    }
}

/// Whether what is computed over `inner` can be computed in a kernel over `outer`: the same, or one number a row of it.
fn joins(outer: Domain, inner: Domain) -> bool {
    outer == inner || (inner.cols == 1 && outer.rows == inner.rows && inner != Domain::SCALAR)
}

/// Whether a map costs about as much as an addition.
fn is_cheap(op: &Op) -> bool {
    matches!(
        op,
        Op::Neg
            | Op::Abs
            | Op::Add
            | Op::Sub
            | Op::Mul
            | Op::MulAdd
            | Op::Max
            | Op::Min
            | Op::Compare(_)
            | Op::Select
            | Op::Not
            | Op::IndexEq
            | Op::ToFloat
            | Op::Detach
    )
}
