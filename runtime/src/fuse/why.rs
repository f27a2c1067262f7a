//! The reasons of fusion as text: a clause behind the line that it is about.
//!
//! `for kernel 3` says who reads what is kept. `again` marks what an earlier kernel, or an earlier phase of the row, has
//! computed as well: to compute it once more takes as much as the clause says, instead of a write and a read.

use super::print::Text;
use crate::ir::{NodeId, Role};
use crate::kernel::{Domain, Kernel, Store, resolve};
use crate::reason::{Again, Begin, Effort, Kept};

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
            Some(Kept::Slope(function)) => format!("made with {}", self.bare_name(function)),
            Some(Kept::Column) => "used as a column".to_string(),
            Some(Kept::Reshaped) => "used in another shape".to_string(),
            Some(Kept::Long) => "made of many operations".to_string(),
            Some(Kept::Prepared) => "of parameters alone".to_string(),
            Some(Kept::Update(param)) => format!("the next {}", graph.slots.params[param].name),
            Some(Kept::Overwritten) => "made of what is overwritten".to_string(),
        };
        let later = self.fused.kernels.iter().enumerate().skip(index + 1);
        let readers = later.filter(|(_, kernel)| self.reads(kernel, store.node)).map(|(index, _)| index.to_string());
        let readers: Vec<String> = readers.collect();
        match readers.len() {
            0 => why,
            1 => format!("for kernel {}: {why}", readers[0]),
            _ => format!("for kernels {}: {why}", readers.join(", ")),
        }
    }

    /// The kernel that a value is read from.
    fn home(&self, id: NodeId) -> usize {
        let kernels = &self.fused.kernels;
        let keeps = |kernel: &Kernel| kernel.stores.iter().any(|store| store.node == id && store.param.is_none());
        let home = kernels.iter().position(keeps).or_else(|| kernels.iter().position(|kernel| kernel.computes(id)));
        home.expect("what a kernel waits for is computed in an earlier one")
    }

    /// Whether a kernel reads a value from memory.
    fn reads(&self, kernel: &Kernel, id: NodeId) -> bool {
        let graph = &self.fused.graph;
        let operands = |id: NodeId| graph[id].operands.iter().copied();
        let in_steps = kernel.steps.iter().flat_map(|step| operands(step.node));
        let in_stores = kernel.stores.iter().map(|store| store.node);
        let by_product = kernel.product.into_iter().flat_map(operands).any(|operand| graph.behind_views(operand) == id);
        let elsewhere = in_steps.chain(in_stores).any(|operand| resolve(graph, operand, kernel.domain).0 == id);
        !kernel.computes(id) && (by_product || elsewhere)
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
        let found = graph.outputs.iter().find(|output| graph.behind_reshapes(output.node) == id);
        found.map(|output| of(&output.role)).unwrap_or_default()
    }
}

impl Kernel {
    fn computes(&self, id: NodeId) -> bool {
        self.product == Some(id) || self.steps.iter().any(|step| step.node == id)
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
