//! Kernels as text: what each reads, computes and writes, with the layer that every line came from, and why.
//!
//! A kernel begins with its extents, its floating-point operations and the bytes that it reads and writes, as
//! [`cost`] counts them. The last line has the sums, and what they would be if every operation were a
//! kernel of its own.
//!
//! `.row` marks a value that is one a row, `.col` one a column, `.one` one in all; parameters and inputs go by their
//! names. A kernel's lines run for every element of its domain; after `along the row` a sum over the row is known.

use std::fmt;

use super::why::{Uses, again_text};
use super::{Arg, BufferId, Class, Cost, Fused, Home, Kernel, Origin, cost};
use crate::ir::NodeId;
use crate::ir::print::{constant, line_with_layer, operation, scalar};
use crate::reason::Again;
use crate::types::Dim;

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uses = Uses::new(self);
        for (index, kernel) in self.kernels.iter().enumerate() {
            if self.check == Some(index) {
                writeln!(f, "check that the loss is finite")?;
            }
            Text { fused: self, kernel, uses: &uses }.write(f, index)?;
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
        self.kernels.iter().for_each(|kernel| sum += cost(self, kernel));
        let apart = self.unfused;
        let kernels = if self.kernels.len() == 1 { "kernel" } else { "kernels" };
        writeln!(f, "in all: {} {kernels}, {} FLOP, {} bytes", self.kernels.len(), sum.flops, sum.bytes)?;
        writeln!(f, "unfused: {} FLOP, {} bytes", apart.flops, apart.bytes)
    }

    /// The name of a value of the graph: its number.
    pub(crate) fn value_name(&self, node: NodeId) -> String {
        match self.names.number[node.index()] {
            Some(number) => format!("%{number}"),
            None => "%dead".to_string(),
        }
    }

    /// The name of a buffer.
    pub(crate) fn buffer_name(&self, id: BufferId) -> String {
        let buffer = self.buffer(id);
        match buffer.home {
            Home::Input(index) => self.slots.inputs[index].name.to_string(),
            Home::Param(index) => self.slots.params[index].name.clone(),
            Home::Arena => self.value_name(buffer.origin),
        }
    }
}

/// The text of a kernel.
pub(super) struct Text<'a> {
    pub(super) fused: &'a Fused,
    pub(super) kernel: &'a Kernel,
    pub(super) uses: &'a Uses,
}

impl Text<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
        let kernel = self.kernel;
        let Cost { flops, bytes } = cost(self.fused, kernel);
        let head = format!("kernel {index}: {} x {}, {flops} FLOP, {bytes} bytes", kernel.row_count(), kernel.cols());
        // The first has no earlier one to be part of.
        line_with_layer(f, &head, &if index > 0 { self.begin() } else { String::new() })?;
        if let Some(dot) = &kernel.dot {
            let operands = [dot.a, dot.b].map(|buffer| self.fused.buffer_name(buffer));
            self.line(f, &dot.origin, &operands.join(", "), None)?;
        }
        for stage in 0..=kernel.body.iter().map(|instruction| instruction.stage).max().unwrap_or(0) {
            if stage > 0 {
                writeln!(f, "  along the row")?;
            }
            for instruction in kernel.body.iter().filter(|instruction| instruction.stage == stage) {
                let args: Vec<String> = instruction.args.iter().map(|&arg| self.name(arg)).collect();
                self.line(f, &instruction.origin, &args.join(", "), instruction.again)?;
            }
        }
        for write in &kernel.writes {
            let value = self.name(write.value);
            match self.fused.param_written(write) {
                Some(param) => writeln!(f, "  {} <- {value}", self.fused.slots.params[param].name)?,
                None if kernel.is_written_later(write) => {}
                None => line_with_layer(f, &format!("  keep {value}"), &self.kept(index, write))?,
            }
        }
        Ok(())
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, origin: &Origin, operands: &str, again: Option<Again>) -> fmt::Result {
        let expression = operation(&self.fused.slots, &origin.op, &origin.ty, operands);
        let notes = [origin.layer.to_string(), again.map(again_text).unwrap_or_default()];
        let notes: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        line_with_layer(f, &format!("  {} = {expression}", self.fused.value_name(origin.node)), &notes.join(", "))
    }

    /// An operand by its name, with its class if that is not one per element.
    fn name(&self, arg: Arg) -> String {
        let mark = match self.kernel.arg_class(arg) {
            _ if !matches!(arg, Arg::Value(_) | Arg::Read(_) | Arg::Dot) => "",
            Class::Element => "",
            Class::Row => ".row",
            Class::Column => ".col",
            Class::Single => ".one",
        };
        format!("{}{mark}", self.bare_name(arg))
    }

    fn bare_name(&self, arg: Arg) -> String {
        let kernel = self.kernel;
        match arg {
            Arg::Value(index) => self.fused.value_name(kernel.body[index].origin.node),
            Arg::Dot => self.fused.value_name(kernel.dot.as_ref().expect("there is a product").origin.node),
            Arg::Read(read) => self.fused.buffer_name(kernel.reads[read].buffer),
            Arg::Const(value) => constant(value.value()),
            Arg::Scalar(index) => scalar(&self.fused.slots.scalars[index]),
            Arg::Count(factor) => Dim::Batch(factor).to_string(),
            Arg::Index(index) => {
                let rows = kernel.indices[index].axes().intersection(kernel.row_axes());
                if rows.is_empty() { "column" } else { "row" }.to_string()
            }
        }
    }
}
