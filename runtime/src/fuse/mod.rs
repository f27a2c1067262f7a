//! From operations to kernels: what is computed together, what is kept in memory, what is computed again.
//!
//! In: a simplified graph. Out: kernels in the order in which they run. Work is demand-driven: matrix products,
//! reductions and results are placed in topological order, each in the earliest kernel that already holds what it needs;
//! maps are computed where they are wanted. A value wanted by a second kernel is kept in memory or computed again,
//! whichever moves fewer bytes.

mod print;

use crate::ir::ops::{Body, Reduction};
use crate::ir::{Graph, NodeId, Op, Role, SlotKind};
use crate::kernel::{Class, Domain, Kernel, Step, Store, Way, resolve, way};
use crate::types::{DType, Dim};

/// Rows that a kernel works on at a time: enough to keep a product efficient, few enough to stay in the second-level
/// cache, and few enough for a sum in single precision.
const BLOCK: usize = 128;
/// Elements of a block without rows of its own.
const FLAT_BLOCK: usize = 8192;
/// Operations that may be repeated to save a transfer to memory and back.
const CHEAP: usize = 8;

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
    let graph = legalise(graph);
    let mut ctx = Ctx::new(&graph);
    ctx.place_all();
    let kernels = ctx.finish();
    let check = kernels.1;
    Fused { kernels: kernels.0, check, graph }
}

/// Rewrites what kernels cannot do in one go: a variance along rows, or over everything, takes two passes, mean first.
fn legalise(graph: &Graph) -> Graph {
    let wide = |id: NodeId| match way(graph, id) {
        Some((Reduction::Variance, way)) => way != Way::DownColumns,
        _ => false,
    };
    if !graph.ids().any(wide) {
        return graph.clone();
    }
    let empty = Graph { slots: graph.slots.clone(), ..Graph::default() };
    let mut b = crate::ir::Builder::new(empty);
    let mut map: Vec<NodeId> = Vec::new();
    for id in graph.ids() {
        let node = &graph[id];
        b.enter(node.layer.clone());
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| map[operand.index()]).collect();
        map.push(match node.op.axes().filter(|_| wide(id)) {
            None => b.push(node.op.clone(), &operands, node.ty.clone()),
            Some(axes) => {
                let shape = b.shape(operands[0]);
                let mean = b.mean(operands[0], axes);
                let mean = b.broadcast_over(mean, &shape, axes);
                let deviation = b.sub(operands[0], mean);
                let square = b.mul(deviation, deviation);
                b.mean(square, axes)
            }
        });
    }
    let moved = graph.outputs.iter().map(|output| crate::ir::Output {
        role: output.role.clone(),
        node: map[output.node.index()],
    });
    b.graph_mut().outputs = moved.collect();
    b.finish()
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
}

impl<'a> Ctx<'a> {
    fn new(g: &'a Graph) -> Ctx<'a> {
        let count = g.nodes.len();
        Ctx { g, drafts: Vec::new(), home: vec![None; count], stored: vec![false; count], check: None }
    }

    fn place_all(&mut self) {
        let live = self.g.live();
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
                    self.check = self.home[self.memory(node).index()].map(|kernel| kernel + 1);
                }
            }
        }
        self.place_updates();
    }

    /// Updates come last: each behind every reader of the value it overwrites, and all behind the check of the loss.
    fn place_updates(&mut self) {
        let updates: Vec<(NodeId, usize)> = self.g.outputs.iter().filter_map(|out| match out.role {
            Role::Update(param) => Some((out.node, param)),
            _ => None,
        }).collect();
        if updates.is_empty() {
            return;
        }
        let written: Vec<usize> = updates.iter().map(|&(_, param)| param).collect();
        for &(node, param) in &updates {
            self.keep_foreign_reads(node, param, &written);
        }
        let first = self.check.unwrap_or(0);
        for (node, param) in updates {
            let after_readers = self.after_readers(param, Domain::of(&self.g[node].ty.shape));
            self.place_update(node, param, first.max(after_readers));
        }
    }

    /// A map of this update that reads another parameter that is updated too is computed before any update is.
    fn keep_foreign_reads(&mut self, node: NodeId, own: usize, written: &[usize]) {
        let family = |param: usize| match self.g.slots.params[param].kind {
            SlotKind::Optimiser(of) => of,
            _ => param,
        };
        let mut open = vec![node];
        let mut foreign = Vec::new();
        while let Some(id) = open.pop() {
            if self.home[id.index()].is_some() {
                continue;
            }
            for &operand in &self.g[id].operands {
                let base = self.base(operand);
                match self.g[base].op {
                    Op::Param(other) if written.contains(&other) && family(other) != family(own) => foreign.push(id),
                    _ => open.push(base),
                }
            }
        }
        foreign.sort();
        foreign.dedup();
        for id in foreign.into_iter().filter(|&id| self.g[id].op.is_map()) {
            self.keep(id);
        }
    }

    /// The first kernel in which a parameter may be overwritten: behind those that read it, or the last of them if it
    /// reads exactly the element that it then writes.
    fn after_readers(&self, param: usize, domain: Domain) -> usize {
        let mut first = 0;
        for (index, draft) in self.drafts.iter().enumerate() {
            let reads = |id: &NodeId| {
                self.g[*id].operands.iter().any(|&x| self.g[self.base(x)].op == Op::Param(param))
            };
            if draft.product.as_ref().is_some_and(reads) {
                first = first.max(index + 1);
            }
            let aligned = draft.domain == domain;
            let views = draft.stores.iter().any(|store| self.g[self.base(store.node)].op == Op::Param(param));
            if views || draft.nodes.iter().any(reads) {
                first = first.max(if aligned && draft.product.is_none_or(|id| !reads(&id)) { index } else { index + 1 });
            }
        }
        first
    }

    /// The node behind all views.
    fn base(&self, mut id: NodeId) -> NodeId {
        while self.g[id].op.is_view() {
            id = self.g[id].operands[0];
        }
        id
    }

    /// The node whose elements lie in memory as those of `id` do: views that repeat nothing are passed.
    fn memory(&self, mut id: NodeId) -> NodeId {
        while self.g[id].op == Op::Reshape {
            id = self.g[id].operands[0];
        }
        id
    }

    /// Sees to it that a value is in memory.
    fn keep(&mut self, id: NodeId) {
        let id = self.memory(id);
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
            _ => self.place_in(id, first),
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
        let leaf = node.operands.is_empty() || node.op.is_view();
        let shape = if way(self.g, id).is_some() { &self.g[node.operands[0]].ty.shape } else { &node.ty.shape };
        let domain = Domain::of(shape);
        let mut demand = Demand::default();
        if leaf {
            self.collect(id, domain, &mut demand);
        } else {
            for &operand in &node.operands {
                self.collect(operand, domain, &mut demand);
            }
        }
        let kernel = self.choose(id, domain, &demand, first);
        let own = if leaf { None } else { Some(id) };
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
        if self.stored[base.index()] || (self.home[base.index()].is_some() && !self.cheaper_again(base, class)) {
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

    /// Whether to compute a map again rather than write it in one kernel and read it in another.
    fn cheaper_again(&self, id: NodeId, class: Class) -> bool {
        if self.g[id].ty.dtype != DType::F32 || class == Class::Single {
            return true;
        }
        let domain = Domain::of(&self.g[id].ty.shape);
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
                _ if self.stored[base.index()] => transfers += 1,
                Body::Map(_) if is_cheap(op) => {
                    operations += 1;
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
        let computes = |draft: &Draft| {
            demand.sources.iter().any(|source| draft.product == Some(*source) || draft.nodes.contains(source))
                || demand.maps.iter().any(|map| draft.nodes.contains(map))
        };
        let wanted = self.elements_read(id, domain, demand);
        let shares = |draft: &Draft| {
            draft.product.is_none() && wanted.iter().any(|base| self.reads_element(draft, *base))
        };
        // A variance is shifted by its first row, so that row has to be at hand without any sum along rows.
        let suits = |draft: &Draft| draft.domain == domain && !(moments && self.has_row_sums(draft));
        let candidates = || (first..self.drafts.len()).filter(|&kernel| suits(&self.drafts[kernel]));
        let found = candidates().find(|&kernel| computes(&self.drafts[kernel]));
        if let Some(kernel) = found.or_else(|| candidates().find(|&kernel| shares(&self.drafts[kernel]))) {
            return kernel;
        }
        self.drafts.push(Draft { domain, product: None, nodes: Vec::new(), stores: Vec::new() });
        self.drafts.len() - 1
    }

    /// Whether a value computed in kernel `home` can be read in the same kernel, if that is over `domain`.
    fn in_reach(&self, source: NodeId, home: usize, domain: Domain) -> bool {
        let along = way(self.g, source).is_none_or(|(_, way)| way == Way::AlongRow);
        along && self.drafts[home].domain == domain
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
            && draft.nodes.iter().flat_map(|&id| &self.g[id].operands).any(|&operand| {
                resolve(self.g, operand, draft.domain) == (base, Class::Element)
            })
    }

    fn finish(self) -> (Vec<Kernel>, Option<usize>) {
        let kernels = self.drafts.into_iter().map(|draft| finish(self.g, draft)).collect();
        (kernels, self.check)
    }
}

/// Whether a map costs about as much as an addition.
fn is_cheap(op: &Op) -> bool {
    matches!(
        op,
        Op::Neg | Op::Abs | Op::Add | Op::Sub | Op::Mul | Op::MulAdd | Op::Max | Op::Min | Op::Compare(_) | Op::Select
            | Op::Not | Op::IndexEq | Op::ToFloat | Op::Detach
    )
}

/// Orders the steps of a kernel, finds their phases and sets the block.
fn finish(g: &Graph, mut draft: Draft) -> Kernel {
    draft.nodes.sort();
    let domain = draft.domain;
    let steps = phased(g, &draft);
    let mut kernel = Kernel { domain, product: draft.product, steps, stores: draft.stores, block: BLOCK };
    if kernel.is_flat(g) {
        kernel.block = (FLAT_BLOCK / domain.cols).max(1);
    }
    if let Dim::Fixed(rows) = domain.rows {
        kernel.block = kernel.block.min(rows.max(1));
    }
    kernel
}

/// The steps of a kernel, each in the phase in which all it needs is ready.
fn phased(g: &Graph, draft: &Draft) -> Vec<Step> {
    let domain = draft.domain;
    let mut steps: Vec<Step> = Vec::new();
    for &node in &draft.nodes {
        let mut phase = 0;
        for &operand in &g[node].operands {
            let (base, _) = resolve(g, operand, domain);
            if let Some(step) = steps.iter().find(|step| step.node == base) {
                let along_row = matches!(way(g, base), Some((_, Way::AlongRow)));
                phase = phase.max(step.phase + usize::from(along_row));
            }
        }
        let shape = if g[node].op.is_map() { &g[node].ty.shape } else { &g[g[node].operands[0]].ty.shape };
        let class = domain.class_of(shape).expect("a node is placed in a kernel that can compute it");
        steps.push(Step { node, class, phase });
    }
    // Truth values and indices are not kept from phase to phase: they are computed again.
    let mut index = steps.len();
    while index > 0 {
        index -= 1;
        let Step { node, class, phase } = steps[index];
        for &operand in g[node].operands.iter().filter(|_| class == Class::Element) {
            let (base, _) = resolve(g, operand, domain);
            let fleeting = g[base].ty.dtype != DType::F32 && g[base].op.is_map();
            let known = |step: &Step| step.node == base && (step.phase == phase || step.class != Class::Element);
            if fleeting && draft.nodes.contains(&base) && !steps.iter().any(known) {
                steps.push(Step { node: base, class: Class::Element, phase });
                index = steps.len();
            }
        }
    }
    steps.sort_by_key(|step| step.node);
    steps
}

impl Kernel {
    /// Whether rows do not matter, so that a block is one run of elements.
    pub fn is_flat(&self, g: &Graph) -> bool {
        let element = |class: Class| matches!(class, Class::Element | Class::Single);
        let plain = |step: &Step| {
            let reads = g[step.node].operands.iter().all(|&operand| {
                let (base, class) = resolve(g, operand, self.domain);
                element(class) && !matches!(g[base].op, Op::Iota(_))
            });
            let reduces = way(g, step.node).is_none_or(|(_, way)| way == Way::Everything);
            step.phase == 0 && element(step.class) && reads && reduces
        };
        let stores = self.stores.iter().all(|store| {
            let (base, class) = resolve(g, store.node, self.domain);
            element(class) && !matches!(g[base].op, Op::Iota(_))
        });
        self.product.is_none() && self.steps.iter().all(plain) && stores
    }
}
