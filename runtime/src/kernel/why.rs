//! The reasons of fusion as text: a clause after the line that it is about.
//!
//! `for kernel 3` says who reads what is materialized. `rematerialized` marks what an earlier kernel, or an earlier reduction stage,
//! has computed as well: to compute it once more takes as much as the clause says, instead of a write and a read.

use std::collections::{HashMap, HashSet};

use super::print::Text;
use super::{Arg, BufferId, Count, Fused, Loop, Mode, Write, grouped};
use crate::ir::{NodeId, Role};
use crate::reason::{ApartReason, Effort, GroupReason, MaterializeReason, RematerializeReason, SplitReason};

/// Which kernels have to do with a value.
pub(super) struct Uses {
    /// Those that read a buffer, in order.
    readers: HashMap<BufferId, Vec<usize>>,
    /// The first that writes a value to a buffer.
    writers: HashMap<NodeId, usize>,
    /// The first that computes a value.
    computers: HashMap<NodeId, usize>,
    /// The first result that lies in a buffer.
    results: HashMap<BufferId, usize>,
}

impl Uses {
    pub(super) fn new(fused: &Fused) -> Uses {
        let mut results = HashMap::new();
        for (index, &(_, buffer, _)) in fused.results.iter().enumerate() {
            results.entry(buffer).or_insert(index);
        }
        let mut uses = Uses { readers: HashMap::new(), writers: HashMap::new(), computers: HashMap::new(), results };
        for (index, kernel) in fused.kernels.iter().enumerate() {
            for buffer in kernel.buffers_read().collect::<HashSet<BufferId>>() {
                uses.readers.entry(buffer).or_default().push(index);
            }
            for write in kernel.writes.iter().filter(|write| fused.is_computed(write.buffer)) {
                let first = uses.writers.entry(write.origin).or_insert(index);
                // A whole comes from the kernel that writes the last of its parts.
                if !write.coordinates.is_empty() {
                    *first = index;
                    uses.writers.entry(fused.buffer(write.buffer).origin).or_insert(index);
                }
            }
            kernel.origins().for_each(|origin| _ = uses.computers.entry(origin.node).or_insert(index));
        }
        uses
    }
}

impl Text<'_> {
    /// Why the kernel begins.
    pub(super) fn split_reason(&self) -> String {
        let begin = self.kernel.split;
        let (rows, cols) = (self.kernel.row_count(), self.kernel.cols());
        let name = |value: NodeId| self.fused.value_name(value);
        match begin {
            SplitReason::Product => "a matmul".to_string(),
            SplitReason::Sum(sum) => match self.home(sum) {
                Some(home) => format!("{} is known when kernel {home} is done", name(sum)),
                None => format!("{} comes in parts", name(sum)),
            },
            SplitReason::Extents(value) => {
                let Some(home) = self.home(value) else { return format!("{} comes in parts", name(value)) };
                let (rows, cols) = (self.fused.kernels[home].row_count(), self.fused.kernels[home].cols());
                format!("{} comes from kernel {home}, over {rows} x {cols}", name(value))
            }
            SplitReason::Variance => "no variance after sums along rows".to_string(),
            SplitReason::Check => "updates wait for the check of the loss".to_string(),
            SplitReason::Readers(param) => format!("waits for the readers of {}", self.fused.slots.params[param].name),
            SplitReason::Long => "the kernel before is long".to_string(),
            SplitReason::Apart => format!("no kernel over {rows} x {cols} has its operands"),
        }
    }

    /// Why it does not run tile by tile with the kernel before it, where that passes on much.
    pub(super) fn apart_reason(&self, number: usize) -> Option<String> {
        let (_, why) = self.fused.apart.iter().find(|(kernel, _)| *kernel == number)?;
        let why = match *why {
            ApartReason::Points(node) => format!("reads {} of other points", self.fused.value_name(node)),
            ApartReason::Rows if self.kernel.dot.as_ref().is_some_and(|dot| dot.inner().is_batch()) => {
                "it adds up over all points".to_string()
            }
            ApartReason::Rows => "its rows are other points".to_string(),
            ApartReason::Large(bytes) => format!("a tile has {} bytes", grouped(bytes)),
            ApartReason::Costly { saved, reread } => {
                format!("{} bytes less to memory and back, {} more for right operands", grouped(saved), grouped(reread))
            }
            ApartReason::Long => "the group before is long".to_string(),
        };
        Some(format!("no tiles with kernel {}: {why}", number - 1))
    }

    /// Who reads what is materialized, and why it is not rematerialized.
    pub(super) fn materialized(&self, index: usize, write: &Write) -> String {
        let why = match write.materialized {
            None => String::new(),
            Some(MaterializeReason::Result) => self.role(write),
            Some(MaterializeReason::Operand) => "a matmul reads memory".to_string(),
            Some(MaterializeReason::Once) => format!("{} runs once", self.operation(write)),
            Some(MaterializeReason::Costly(effort)) => format!("to rematerialize it takes {}", effort_text(effort)),
            Some(MaterializeReason::Slope(function) | MaterializeReason::Beside(function)) => {
                format!("made with {}", self.fused.value_name(function))
            }
            Some(MaterializeReason::Column) => "used as a column".to_string(),
            Some(MaterializeReason::Reshaped) => "used in another shape".to_string(),
            Some(MaterializeReason::Long) => "made of many operations".to_string(),
            Some(MaterializeReason::Prepared) => "of parameters alone".to_string(),
            Some(MaterializeReason::Update(param)) => format!("the next {}", self.fused.slots.params[param].name),
            Some(MaterializeReason::Overwritten) => "made of what is overwritten".to_string(),
            Some(MaterializeReason::Outside) => "a loop reads it".to_string(),
            Some(MaterializeReason::Step) => "each step has one".to_string(),
            Some(MaterializeReason::Carried) => "one step leaves it to the next".to_string(),
            Some(MaterializeReason::Part) => "a part of a concatenation".to_string(),
            Some(MaterializeReason::Tiles) => "added up tile by tile".to_string(),
        };
        match self.readers(index, write) {
            None => why,
            Some(readers) => format!("{readers}: {why}"),
        }
    }

    /// `for kernels 3, 4`: who reads what is written, if anybody does.
    pub(super) fn readers(&self, index: usize, write: &Write) -> Option<String> {
        let readers = self.uses.readers.get(&write.buffer).into_iter().flatten();
        let readers: Vec<String> = readers.filter(|&&reader| reader > index).map(usize::to_string).collect();
        match readers.len() {
            0 => None,
            1 => Some(format!("for kernel {}", readers[0])),
            _ => Some(format!("for kernels {}", readers.join(", "))),
        }
    }

    /// The name of the operation that computes what is written.
    fn operation(&self, write: &Write) -> &'static str {
        match (write.value, &self.kernel.dot) {
            _ if write.mode == Mode::Add => "scatter_add",
            (Arg::Value(index), _) => self.kernel.body[index].origin.op.def().name,
            (Arg::Dot, Some(dot)) => dot.origin.op.def().name,
            _ => "this",
        }
    }

    /// The kernel that a value is read from; none if it is made of wholes, each of which comes from kernels of its own.
    fn home(&self, node: NodeId) -> Option<usize> {
        self.uses.writers.get(&node).or_else(|| self.uses.computers.get(&node)).copied()
    }

    fn role(&self, write: &Write) -> String {
        let slots = &self.fused.slots;
        let of = |role: &Role| match *role {
            Role::Loss => "the loss".to_string(),
            Role::Metric(index) => format!("metric {}", slots.metrics[index]),
            Role::Output(index) => format!("output {}", slots.outputs[index]),
            Role::Gradient(param) => format!("gradient of {}", slots.params[param].name),
            Role::Update(_) | Role::Probe(_) => "a result".to_string(),
        };
        let first = self.uses.results.get(&write.buffer);
        first.map(|&first| of(&self.fused.results[first].0)).unwrap_or_default()
    }
}

/// Why kernels run tile by tile.
pub(super) fn group_text(reason: GroupReason) -> String {
    let count = |[fixed, batch]: [u64; 2]| Count { fixed, batch };
    match reason {
        GroupReason::Passed { saved, reread: 0 } => format!("{} bytes less to memory and back", count(saved)),
        GroupReason::Passed { saved, reread } => {
            format!("{} bytes less to memory and back, {} more for each tile", count(saved), grouped(reread))
        }
        GroupReason::Shared(bytes) => format!("{} bytes are never there as a whole", count(bytes)),
    }
}

/// Who takes the steps of a loop, and who takes one less.
pub(super) fn loop_text(run: &Loop) -> String {
    let who = if run.rows.is_some() { "each sample by itself" } else { "all samples at once" };
    let idle: Vec<String> =
        run.kernels.clone().filter(|&kernel| run.is_idle(kernel)).map(|kernel| kernel.to_string()).collect();
    let kernels = if idle.len() == 1 { "kernel" } else { "kernels" };
    match idle.len() {
        0 => who.to_string(),
        _ => format!("{who}, the last step without {kernels} {}", idle.join(", ")),
    }
}

/// Why a value is rematerialized.
pub(super) fn rematerialize_text(reason: RematerializeReason) -> String {
    match reason {
        RematerializeReason::Cheap(effort) => format!("rematerialized: {}", effort_text(effort)),
        RematerializeReason::Single => "rematerialized: one number".to_string(),
        RematerializeReason::RegisterOnly => "rematerialized: register-only".to_string(),
        RematerializeReason::Grows => "rematerialized: larger than what it is made of".to_string(),
    }
}

/// `3 operations, 1 read`.
fn effort_text(effort: Effort) -> String {
    let parts = [(effort.operations, "operation"), (effort.reads, "read"), (effort.writes, "write")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts = parts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    parts.collect::<Vec<_>>().join(", ")
}
