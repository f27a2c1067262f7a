//! Kernels as text: what each reads, computes and writes, with the layer that every line came from, and why.
//!
//! A kernel begins with its extents, its floating-point operations and the bytes that it reads and writes, as
//! [`cost`] counts them. The last line has the sums, and what they would be if every operation were a
//! kernel of its own.
//!
//! `.row` marks a value per row, `.col` one per column, `.one` a single one; parameters and inputs go by their
//! names. `tile` marks a value that is passed on some points at a time, and takes no memory of its own. A kernel's lines run for every element of its domain; after `along the row` a sum over the row is known.

use std::fmt;
use std::ops::Range;

use super::why::{Uses, group_text, loop_text, rematerialize_text};
use super::{
    Affine, Arg, BufferId, Class, Cost, Dot, Fused, Group, Home, Kernel, Mode, Origin, Read, WinogradForm, Write, cost,
};
use crate::ir::NodeId;
use crate::ir::print::{constant, line_with_layer, operation, scalar};
use crate::reason::RematerializeReason;
use crate::types::Dim;

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uses = Uses::new(self);
        for (index, kernel) in self.kernels.iter().enumerate() {
            if self.check == Some(index) {
                writeln!(f, "check that the loss is finite")?;
            }
            if let Some(group) = self.groups.iter().find(|group| group.kernels.start == index) {
                line_with_layer(f, &self.group_name(group), &group_text(group.reason))?;
            }
            for number in self.loops_from(index) {
                line_with_layer(f, &self.loop_name(number), &loop_text(&self.loops[number]))?;
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
        (0..self.kernels.len()).for_each(|index| sum += cost(self, index));
        let kernels = if self.kernels.len() == 1 { "kernel" } else { "kernels" };
        writeln!(f, "in all: {} {kernels}, {} FLOP, {} bytes", self.kernels.len(), sum.flops, sum.bytes)?;
        match self.unfused {
            Some(apart) => writeln!(f, "unfused: {} FLOP, {} bytes", apart.flops, apart.bytes),
            None => Ok(()),
        }
    }

    /// `group by b: kernels 2, 3`.
    pub(crate) fn group_name(&self, group: &Group) -> String {
        let first = &self.kernels[group.kernels.start];
        let loops: Vec<String> = (0..group.loops.len()).map(|axis| axis_name(&first.axes, axis).to_string()).collect();
        format!("group by {}: {}", loops.join(", "), kernels_text(&group.kernels))
    }

    /// The loops that begin with a kernel, the outermost first.
    pub(crate) fn loops_from(&self, kernel: usize) -> Vec<usize> {
        let begins = |number: &usize| self.loops[*number].kernels.start == kernel;
        let mut loops: Vec<usize> = self.loops_around(kernel).filter(begins).collect();
        loops.reverse();
        loops
    }

    /// `loop of 64 steps: kernels 2, 3`; one inside of another says so.
    pub(crate) fn loop_name(&self, number: usize) -> String {
        let run = &self.loops[number];
        let steps = if run.steps == 1 { "step" } else { "steps" };
        let last = if run.reverse { " from the last" } else { "" };
        let inside = if self.loop_around(number).is_some() { " at each step" } else { "" };
        format!("loop of {} {steps}{last}{inside}: {}", run.steps, kernels_text(&run.kernels))
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
            Home::Arena | Home::Tile => self.value_name(buffer.origin),
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
    fn write(&self, f: &mut fmt::Formatter<'_>, number: usize) -> fmt::Result {
        let kernel = self.kernel;
        let Cost { flops, bytes } = cost(self.fused, number);
        let part = kernel.triangle.map(|triangle| format!(", {triangle}")).unwrap_or_default();
        let head = format!("kernel {number}: {}{part}, {flops} FLOP, {bytes} bytes", kernel.extents());
        // The first has no earlier one to be part of.
        let split = Some(self.split_reason()).filter(|_| number > 0);
        let reasons: Vec<String> = split.into_iter().chain(self.apart_reason(number)).collect();
        line_with_layer(f, &head, &reasons.join("; "))?;
        if let Some(dot) = &kernel.dot {
            match dot.in_runs {
                true => self.dot_in_runs(f, dot)?,
                false => {
                    let operands = [dot.a, dot.b].map(|buffer| self.fused.buffer_name(buffer)).into_iter();
                    let part = dot.triangle.map(|triangle| triangle.to_string());
                    let operands: Vec<String> = operands.chain(part).collect();
                    self.line(f, &dot.origin, &operands.join(", "), dot.rematerialized)?;
                }
            }
        }
        for stage in 0..=kernel.body.iter().map(|instruction| instruction.stage).max().unwrap_or(0) {
            if stage > 0 {
                writeln!(f, "  along the row")?;
            }
            for instruction in kernel.body.iter().filter(|instruction| instruction.stage == stage) {
                let args: Vec<String> = instruction.args.iter().map(|&arg| self.name(arg)).collect();
                self.line(f, &instruction.origin, &args.join(", "), instruction.rematerialized)?;
            }
        }
        for write in &kernel.writes {
            let value = self.name(write.value);
            match self.fused.param_written(write) {
                Some(param) => writeln!(f, "  {} <- {value}", self.fused.slots.params[param].name)?,
                None if kernel.is_written_later(write) => {}
                None if write.mode == Mode::Add => {
                    let gather = write.access.gather.as_ref().expect("rows are added where an index says");
                    let (table, index) = (self.fused.buffer_name(write.buffer), self.name(Arg::Read(gather.index)));
                    let line = format!("  add {value} to rows {index} of {table}");
                    line_with_layer(f, &line, &self.materialized(number, write))?;
                }
                None if self.fused.is_tile(write.buffer) => {
                    let part = if kernel.is_strided(write) { self.part_of(write) } else { String::new() };
                    line_with_layer(
                        f,
                        &format!("  tile {value}{part}"),
                        &self.readers(number, write).unwrap_or_default(),
                    )?;
                }
                None => {
                    let part = if kernel.is_strided(write) { self.part_of(write) } else { String::new() };
                    line_with_layer(f, &format!("  materialize {value}{part}"), &self.materialized(number, write))?;
                }
            }
        }
        Ok(())
    }

    /// ` as %8[p+1]`: of what has a row for each step, the one that is written; or ` as %8[b, i+256]`: a part of a concatenation.
    fn part_of(&self, write: &Write) -> String {
        if !write.coordinates.is_empty() {
            let places: Vec<String> = write.coordinates.iter().map(|coordinate| self.affine(coordinate)).collect();
            return format!(" as {}[{}]", self.fused.buffer_name(write.buffer), places.join(", "));
        }
        let shape = &self.fused.buffer(write.buffer).shape;
        if shape.len() == Dim::product(&self.kernel.axes) {
            return format!(" as {}", self.fused.buffer_name(write.buffer));
        }
        let dims = &shape.0[1..];
        let row: usize = dims.iter().filter(|dim| !dim.is_batch()).map(|dim| dim.factor()).product();
        let first = write.access.at.constant / row.max(1) as i64;
        let steps = vec![i64::from(write.access.position != 0)];
        format!(" as {}[{}]", self.fused.buffer_name(write.buffer), affine(&Affine { constant: first, steps }, &[]))
    }

    /// A product by the coordinates of its operands: along the axes of its result in their order, then along those that are summed over.
    fn dot_in_runs(&self, f: &mut fmt::Formatter<'_>, dot: &Dot) -> fmt::Result {
        let axes: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
        let over = (dot.axes.len()..axes.len()).filter(|&axis| axes[axis] != Dim::Fixed(1));
        let operand = |number: usize, buffer: BufferId| {
            let places: Vec<String> = dot.coordinates[number].iter().map(|place| affine(place, &axes)).collect();
            format!("{}[{}]", self.fused.buffer_name(buffer), places.join(", "))
        };
        let over: Vec<String> = over.map(|axis| format!("{} {}", axis_name(&axes, axis), axes[axis])).collect();
        let (a, b) = (operand(0, dot.a), operand(1, dot.b));
        let name = self.fused.value_name(dot.origin.node);
        let form = dot.winograd.as_ref().map_or("", |winograd| match winograd.form {
            WinogradForm::Windows => " by fast-winograd F(2x2, 3x3)",
            WinogradForm::Gradient => " by fast-winograd F(3x3, 2x2)",
        });
        let text = format!("  {name} = dot {a}, {b} over {}{form} : {}", over.join(", "), dot.origin.ty);
        line_with_layer(f, &text, &dot.origin.layer)
    }

    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        origin: &Origin,
        operands: &str,
        rematerialized: Option<RematerializeReason>,
    ) -> fmt::Result {
        let expression = operation(&self.fused.slots, &origin.op, &origin.ty, operands);
        let notes = [origin.layer.to_string(), rematerialized.map(rematerialize_text).unwrap_or_default()];
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
            Class::Other => "",
        };
        match arg {
            Arg::Read(read) if !self.kernel.reads[read].coordinates.is_empty() => self.element(read),
            _ => format!("{}{mark}", self.bare_name(arg)),
        }
    }

    /// An element that is read in another order than that of the kernel, by its coordinates.
    fn element(&self, read: usize) -> String {
        let Read { buffer, access, fill, coordinates } = &self.kernel.reads[read];
        let mut places: Vec<String> = coordinates.iter().map(|coordinate| self.affine(coordinate)).collect();
        if let Some(gather) = &access.gather {
            places[0] = self.name(Arg::Read(gather.index));
        }
        let fill = match access.bounds.is_empty() {
            true => String::new(),
            false => format!(" : {}", constant(fill.value())),
        };
        format!("{}[{}{fill}]", self.fused.buffer_name(*buffer), places.join(", "))
    }

    fn affine(&self, place: &Affine) -> String {
        affine(place, &self.kernel.axes)
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
            Arg::Index(index) if !kernel.is_plain() => self.affine(&kernel.indices[index]),
            Arg::Index(index) => {
                let rows = kernel.indices[index].axes().intersection(kernel.row_axes());
                if rows.is_empty() { "column" } else { "row" }.to_string()
            }
        }
    }
}

impl Kernel {
    /// Its axes: `B x 8`, or each with a name if elements are read in another order than theirs.
    pub(crate) fn extents(&self) -> String {
        if self.is_plain() {
            return format!("{} x {}", self.row_count(), self.cols());
        }
        let axes = self.axes.iter().enumerate().map(|(axis, dim)| format!("{} {dim}", axis_name(&self.axes, axis)));
        axes.collect::<Vec<String>>().join(", ")
    }
}

/// `kernels 2, 3` or `kernels 2 to 4`.
fn kernels_text(kernels: &Range<usize>) -> String {
    match kernels.len() {
        1 => format!("kernel {}", kernels.start),
        2 => format!("kernels {}, {}", kernels.start, kernels.end - 1),
        _ => format!("kernels {} to {}", kernels.start, kernels.end - 1),
    }
}

/// The name of an axis: `b` if it grows with the batch, else a letter from `i` on. After the axes comes the position of the loop.
fn axis_name(axes: &[Dim], axis: usize) -> char {
    if axis == axes.len() {
        return 'p';
    }
    if axes[axis].is_batch() {
        return 'b';
    }
    let before = axes[..axis].iter().filter(|dim| !dim.is_batch()).count();
    ('i'..='z').nth(before).unwrap_or('z')
}

/// `2*i+k-1`.
fn affine(affine: &Affine, axes: &[Dim]) -> String {
    let mut text = String::new();
    for (axis, &step) in affine.steps.iter().enumerate().filter(|(_, step)| **step != 0) {
        let sign = if step < 0 {
            "-"
        } else if text.is_empty() {
            ""
        } else {
            "+"
        };
        let factor = if step.abs() == 1 { String::new() } else { format!("{}*", step.abs()) };
        text.push_str(&format!("{sign}{factor}{}", axis_name(axes, axis)));
    }
    match affine.constant {
        0 if !text.is_empty() => text,
        constant if text.is_empty() => constant.to_string(),
        constant => format!("{text}{constant:+}"),
    }
}
