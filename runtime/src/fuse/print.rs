//! Kernels as text: what each reads, computes and writes, with the layer that every line came from, and why.
//!
//! A kernel begins with its extents, its floating-point operations and the bytes that it reads and writes, as
//! [`cost`](mod@crate::cost) counts them. The last line has the sums, and what they would be if every operation were a
//! kernel of its own.
//!
//! `.row` marks a value that is one a row, `.col` one a column, `.one` one in all; parameters and inputs go by their
//! names. A kernel's lines run for every element of its domain; after `along the row` a sum over the row is known.

use std::fmt;

use super::Fused;
use super::why::{Uses, again_text};
use crate::cost::{Cost, cost, unfused};
use crate::ir::print::{Names, constant, line_with_layer, operation, scalar};
use crate::ir::{NodeId, Op};
use crate::kernel::{Class, Domain, Kernel, Way, resolve, way};
use crate::reason::Again;

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, uses) = (Names::new(&self.graph), Uses::new(self));
        for (index, kernel) in self.kernels.iter().enumerate() {
            if self.check == Some(index) {
                writeln!(f, "check that the loss is finite")?;
            }
            Text { fused: self, kernel, names: &names, uses: &uses }.write(f, index)?;
        }
        if self.check == Some(self.kernels.len()) {
            writeln!(f, "check that the loss is finite")?;
        }
        self.write_total(f)
    }
}

impl Fused {
    fn write_total(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sum = Cost::default();
        self.kernels.iter().for_each(|kernel| sum += cost(&self.graph, kernel));
        let apart = unfused(&self.graph);
        let kernels = if self.kernels.len() == 1 { "kernel" } else { "kernels" };
        writeln!(f, "in all: {} {kernels}, {} FLOP, {} bytes", self.kernels.len(), sum.flops, sum.bytes)?;
        writeln!(f, "unfused: {} FLOP, {} bytes", apart.flops, apart.bytes)
    }
}

/// The text of a kernel.
pub(super) struct Text<'a> {
    pub(super) fused: &'a Fused,
    pub(super) kernel: &'a Kernel,
    names: &'a Names,
    pub(super) uses: &'a Uses,
}

impl Text<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
        let graph = &self.fused.graph;
        let domain = self.kernel.domain;
        let Cost { flops, bytes } = cost(graph, self.kernel);
        let head = format!("kernel {index}: {} x {}, {flops} FLOP, {bytes} bytes", domain.rows, domain.cols);
        // The first has no earlier one to be part of.
        line_with_layer(f, &head, &if index > 0 { self.begin() } else { String::new() })?;
        if let Some(product) = self.kernel.product {
            let operands = graph[product].operands.iter().map(|&operand| self.bare_name(operand));
            self.line(f, product, &operands.collect::<Vec<_>>().join(", "), None)?;
        }
        let last = self.kernel.steps.iter().map(|step| step.phase).max().unwrap_or(0);
        for phase in 0..=last {
            if phase > 0 {
                writeln!(f, "  along the row")?;
            }
            for step in self.kernel.steps.iter().filter(|step| step.phase == phase) {
                self.line(f, step.node, &self.operands(step.node), step.again)?;
            }
        }
        for store in &self.kernel.stores {
            let ends_later = matches!(way(graph, store.node), Some((_, Way::DownColumns | Way::Everything)));
            let value = self.name(store.node);
            match store.param {
                Some(param) => writeln!(f, "  {} <- {value}", graph.slots.params[param].name)?,
                None if !ends_later => line_with_layer(f, &format!("  keep {value}"), &self.kept(index, store))?,
                None => {}
            }
        }
        Ok(())
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, id: NodeId, operands: &str, again: Option<Again>) -> fmt::Result {
        let graph = &self.fused.graph;
        let expression = operation(graph, id, operands);
        let notes = [graph[id].layer.to_string(), again.map(again_text).unwrap_or_default()];
        let notes: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        line_with_layer(f, &format!("  {} = {expression}", self.names.name(graph, id)), &notes.join(", "))
    }

    fn operands(&self, id: NodeId) -> String {
        let operands = self.fused.graph[id].operands.iter().map(|&operand| self.name(operand));
        operands.collect::<Vec<_>>().join(", ")
    }

    /// A value by its name, with its class if that is not one per element.
    fn name(&self, id: NodeId) -> String {
        let (base, class) = resolve(&self.fused.graph, id, self.kernel.domain);
        let unmarked = matches!(self.fused.graph[base].op, Op::Const(_) | Op::Scalar(_) | Op::Count(_) | Op::Iota(_));
        let mark = match class {
            _ if unmarked => "",
            Class::Element => "",
            Class::Row => ".row",
            Class::Column => ".col",
            Class::Single => ".one",
        };
        format!("{}{mark}", self.bare_name(id))
    }

    pub(super) fn bare_name(&self, id: NodeId) -> String {
        let graph = &self.fused.graph;
        let (base, _) = resolve(graph, id, Domain::of(&graph[id].ty.shape));
        match &graph[base].op {
            Op::Const(value) => constant(*value),
            Op::Input(index) => graph.slots.inputs[*index].name.to_string(),
            Op::Param(index) => graph.slots.params[*index].name.clone(),
            Op::Scalar(index) => scalar(&graph.slots.scalars[*index]),
            Op::Count(factor) => crate::types::Dim::Batch(*factor).to_string(),
            Op::Iota(0) if graph[base].ty.shape.0[0].is_batch() => "row".to_string(),
            Op::Iota(_) => "column".to_string(),
            _ => self.names.name(graph, base),
        }
    }
}
