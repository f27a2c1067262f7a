//! The reasons of fusion as text: a clause behind the line that it is about.
//!
//! `for kernel 3` says who reads what is kept. `again` marks what an earlier kernel, or an earlier phase of the row, has
//! computed as well: to compute it once more takes as much as the clause says, instead of a write and a read.

use std::collections::{HashMap, HashSet};

use super::Fused;
use super::print::Text;
use crate::ir::{Graph, NodeId, Role};
use crate::kernel::{Domain, Kernel, Store, resolve};
use crate::reason::{Again, Begin, Effort, Kept};

/// Which kernels have to do with a value.
pub(super) struct Uses {
    /// Those that read it from memory, in order.
    readers: HashMap<NodeId, Vec<usize>>,
    /// The first that keeps it.
    keepers: HashMap<NodeId, usize>,
    /// The first that computes it.
    computers: HashMap<NodeId, usize>,
    /// The first result that it is.
    results: HashMap<NodeId, usize>,
}

impl Uses {
    pub(super) fn new(fused: &Fused) -> Uses {
        let mut results = HashMap::new();
        for (index, output) in fused.graph.outputs.iter().enumerate() {
            results.entry(fused.graph.behind_reshapes(output.node)).or_insert(index);
        }
        let mut uses = Uses { readers: HashMap::new(), keepers: HashMap::new(), computers: HashMap::new(), results };
        for (index, kernel) in fused.kernels.iter().enumerate() {
            let computed: HashSet<NodeId> = kernel.steps.iter().map(|step| step.node).chain(kernel.product).collect();
            for id in read(&fused.graph, kernel).into_iter().filter(|id| !computed.contains(id)) {
                uses.readers.entry(id).or_default().push(index);
            }
            for store in kernel.stores.iter().filter(|store| store.param.is_none()) {
                uses.keepers.entry(store.node).or_insert(index);
            }
            computed.into_iter().for_each(|id| _ = uses.computers.entry(id).or_insert(index));
        }
        uses
    }
}

/// What a kernel reads, if it does not compute it.
fn read(graph: &Graph, kernel: &Kernel) -> HashSet<NodeId> {
    let operands = |id: NodeId| graph[id].operands.iter().copied();
    let by_product = kernel.product.into_iter().flat_map(operands).map(|operand| graph.behind_views(operand));
    let in_steps = kernel.steps.iter().flat_map(|step| operands(step.node));
    let in_stores = kernel.stores.iter().map(|store| store.node);
    let elsewhere = in_steps.chain(in_stores).map(|operand| resolve(graph, operand, kernel.domain).0);
    by_product.chain(elsewhere).collect()
}

impl Text<'_> {
    /// Why the kernel begins.
    pub(super) fn begin(&self) -> String {
        let graph = &self.fused.graph;
        let Domain { rows, cols } = self.kernel.domain;
        match self.kernel.begin {
            Begin::Product => "a product".to_string(),
            Begin::Sum(sum) => format!("{} is known when kernel {} is done", self.bare_name(sum), self.home(sum)),
            Begin::Extents(value) => {
                let Domain { rows, cols } = self.fused.kernels[self.home(value)].domain;
                format!("{} comes from kernel {}, over {rows} x {cols}", self.bare_name(value), self.home(value))
            }
            Begin::Variance => "no variance behind sums along rows".to_string(),
            Begin::Check => "updates wait for the check of the loss".to_string(),
            Begin::Readers(param) => format!("waits for the readers of {}", graph.slots.params[param].name),
            Begin::Long => "the kernel before is long".to_string(),
            Begin::Apart => format!("no kernel over {rows} x {cols} has its operands"),
        }
    }

    /// Who reads what is kept, and why it is not computed again.
    pub(super) fn kept(&self, index: usize, store: &Store) -> String {
        let graph = &self.fused.graph;
        let why = match store.kept {
            None => String::new(),
            Some(Kept::Result) => self.role(store.node),
            Some(Kept::Operand) => "a product reads memory".to_string(),
            Some(Kept::Once) => format!("{} is not done again", graph[store.node].op.def().name),
            Some(Kept::Costly(effort)) => format!("again takes {}", effort_text(effort)),
            Some(Kept::Column) => "used as a column".to_string(),
            Some(Kept::Reshaped) => "used in another shape".to_string(),
            Some(Kept::Long) => "made of many operations".to_string(),
            Some(Kept::Prepared) => "of parameters alone".to_string(),
            Some(Kept::Update(param)) => format!("the next {}", graph.slots.params[param].name),
            Some(Kept::Overwritten) => "made of what is overwritten".to_string(),
        };
        let readers = self.uses.readers.get(&store.node).into_iter().flatten();
        let readers: Vec<String> = readers.filter(|&&reader| reader > index).map(usize::to_string).collect();
        match readers.len() {
            0 => why,
            1 => format!("for kernel {}: {why}", readers[0]),
            _ => format!("for kernels {}: {why}", readers.join(", ")),
        }
    }

    /// The kernel that a value is read from.
    fn home(&self, id: NodeId) -> usize {
        let home = self.uses.keepers.get(&id).or_else(|| self.uses.computers.get(&id));
        *home.expect("what a kernel waits for is computed in an earlier one")
    }

    fn role(&self, id: NodeId) -> String {
        let graph = &self.fused.graph;
        let of = |role: &Role| match *role {
            Role::Loss => "the loss".to_string(),
            Role::Metric(index) => format!("metric {}", graph.slots.metrics[index]),
            Role::Output(index) => format!("output {}", graph.slots.outputs[index]),
            Role::Gradient(param) => format!("gradient of {}", graph.slots.params[param].name),
            Role::Update(_) | Role::Probe(_) => "a result".to_string(),
        };
        self.uses.results.get(&id).map(|&first| of(&graph.outputs[first].role)).unwrap_or_default()
    }
}

/// Why a value is computed again.
pub(super) fn again_text(again: Again) -> String {
    match again {
        Again::Cheap(effort) => format!("again: {}", effort_text(effort)),
        Again::Single => "again: one number".to_string(),
        Again::Fleeting => "again: not kept".to_string(),
    }
}

/// `3 operations, 1 read`.
fn effort_text(effort: Effort) -> String {
    let parts = [(effort.operations, "operation"), (effort.reads, "read"), (effort.writes, "write")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts = parts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    parts.collect::<Vec<_>>().join(", ")
}
