//! Checks that kernels compute what they say: everything is ready when it is read, every access stays inside its buffer, and
//! nothing is read after it was overwritten.

use std::collections::HashMap;

use super::group::verify_groups;
use super::loops::verify_loops;
use super::parts::verify_parts;
use super::{Access, Arg, BufferId, Class, Dot, Fused, Home, Kernel, LANES, Write};

/// Says what is wrong with the kernels, if anything. Runs in debug builds and tests.
pub fn verify(fused: &Fused) -> Result<(), String> {
    // The kernel that writes each buffer of the arena, and those that read each parameter.
    let mut writers: HashMap<BufferId, usize> = HashMap::new();
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    for (index, kernel) in fused.kernels.iter().enumerate() {
        for buffer in kernel.buffers_read() {
            match fused.buffer(buffer).home {
                Home::Param(param) => readers.entry(param).or_default().push(index),
                Home::Arena | Home::Tile if !writers.contains_key(&buffer) => {
                    let name = fused.buffer_name(buffer);
                    return Err(format!("kernel {index} reads {name}, which no earlier kernel writes"));
                }
                Home::Arena | Home::Tile | Home::Input(_) => {}
            }
        }
        for write in kernel.writes.iter().filter(|write| fused.is_computed(write.buffer)) {
            // A part has been looked at by itself.
            if writers.insert(write.buffer, index).is_some() && !write.part {
                return Err(format!("kernel {index} writes {} once more", fused.buffer_name(write.buffer)));
            }
        }
        orders(kernel).map_err(|fault| format!("kernel {index}: {fault}"))?;
        values(kernel).map_err(|fault| format!("kernel {index}: {fault}"))?;
        accesses(fused, kernel).map_err(|fault| format!("kernel {index}: {fault}"))?;
    }
    verify_parts(fused)?;
    verify_groups(fused)?;
    verify_loops(fused)?;
    for (index, kernel) in fused.kernels.iter().enumerate() {
        for write in &kernel.writes {
            let Some(param) = fused.param_written(write) else { continue };
            let later = readers.get(&param).into_iter().flatten().find(|&&reader| reader > index);
            let name = &fused.slots.params[param].name;
            if let Some(reader) = later {
                return Err(format!("`{name}` is overwritten in kernel {index}, but kernel {reader} still reads it"));
            }
            overwritten(kernel, write.value, write.buffer, &write.access)
                .map_err(|fault| format!("kernel {index}: `{name}` is overwritten {fault}"))?;
        }
    }
    Ok(())
}

/// Values come from earlier instructions, and those of a reduction from an earlier stage.
fn values(kernel: &Kernel) -> Result<(), String> {
    for (index, instruction) in kernel.body.iter().enumerate() {
        for &arg in &instruction.args {
            match arg {
                Arg::Value(value) => {
                    let from = kernel
                        .body
                        .get(value)
                        .filter(|_| value < index || kernel.body[value].stage < instruction.stage);
                    let Some(from) = from else { return Err(format!("%{index} reads the later %{value}")) };
                    let stage = from.stage + usize::from(from.reduction().is_some());
                    if stage > instruction.stage || kernel.ends_later(value) {
                        return Err(format!("%{index} reads %{value}, which is not known yet"));
                    }
                }
                Arg::Dot if kernel.dot.is_none() => return Err(format!("%{index} reads a product that is not there")),
                _ => {}
            }
        }
    }
    Ok(())
}

/// A block of rows is a chunk of every sum that goes on from row to row.
fn orders(kernel: &Kernel) -> Result<(), String> {
    for (index, instruction) in kernel.body.iter().enumerate().filter(|(index, _)| kernel.ends_later(*index)) {
        let (chunk, lanes) = instruction.order().map(|order| (order.chunk, order.lanes)).unzip();
        if lanes.is_some_and(|lanes| lanes != if kernel.is_over_everything(index) { LANES } else { 1 }) {
            return Err(format!("%{index} is added up in {lanes:?} lanes"));
        }
        if chunk != Some(kernel.block) {
            return Err(format!("%{index} is added up in chunks of {chunk:?} rows, not {}", kernel.block));
        }
    }
    Ok(())
}

/// Every element that is read or written is one of its buffer. Buffers and kernels grow alike with the batch, so that it is
/// enough to look at the smallest ones.
fn accesses(fused: &Fused, kernel: &Kernel) -> Result<(), String> {
    if let Some(dot) = &kernel.dot {
        operands(fused, dot, kernel.steps)?;
        if dot.triangle.is_some() && kernel.rows_of_each().is_none() {
            return Err("a part of a product is left out whose rows are not counted".to_string());
        }
    }
    if kernel.triangle.is_some() {
        rows_in_part(kernel)?;
    }
    let last = kernel.steps as i64 - 1;
    let read = kernel.reads.iter().map(|read| (read.buffer, &read.access));
    let written = kernel.writes.iter().map(|write| (write.buffer, &write.access));
    for (buffer, access) in read.chain(written).filter(|(_, access)| access.bounds.is_empty()) {
        for batch in [1, 2] {
            let len = fused.buffer(buffer).shape.len_at(batch) as i64;
            let (mut least, mut most) = access.at.range(kernel.axes.iter().map(|axis| axis.at(batch)));
            least += (access.position * last).min(0);
            most += (access.position * last).max(0);
            if let Some(gather) = &access.gather {
                most += gather.step * (gather.extent as i64 - 1);
            }
            if least < 0 || most >= len {
                let name = fused.buffer_name(buffer);
                return Err(format!("elements {least} to {most} of {name}, which has {len}"));
            }
        }
    }
    Ok(())
}

/// Rows that end at a diagonal are runs, and it is known what is written after it.
fn rows_in_part(kernel: &Kernel) -> Result<(), String> {
    if kernel.is_plain() || kernel.axes.len() != kernel.rows + 1 {
        return Err("a part of rows is left out that are no runs, or not counted".to_string());
    }
    let whole = |write: &Write| match write.value {
        Arg::Value(index) => {
            let element = kernel.class(index) == Class::Element && kernel.body[index].reduction().is_none();
            !element || write.beyond.is_some()
        }
        value => value == Arg::Dot && !write.copied,
    };
    match kernel.writes.iter().position(|write| !whole(write)) {
        Some(write) => Err(format!("it is not known what write {write} is after the diagonal")),
        None => Ok(()),
    }
}

/// Every element that a product reads is one of its operand. Where terms are left out, each coordinate is held inside by a bound.
fn operands(fused: &Fused, dot: &Dot, steps: usize) -> Result<(), String> {
    let whole = Some((dot.a, &dot.a_at, dot.positions[0])).filter(|_| dot.bounds.is_empty());
    let right = Some((dot.b, &dot.b_at, dot.positions[1])).filter(|_| dot.b_bounds.is_empty());
    for (buffer, at, position) in whole.into_iter().chain(right) {
        let moved = position * (steps as i64 - 1);
        for batch in [1, 2] {
            let len = fused.buffer(buffer).shape.len_at(batch) as i64;
            let (least, most) = at.range(dot.axes.iter().chain(&dot.over).map(|axis| axis.at(batch)));
            let (least, most) = (least + moved.min(0), most + moved.max(0));
            if least < 0 || most >= len {
                let name = fused.buffer_name(buffer);
                return Err(format!("terms {least} to {most} of {name}, which has {len}"));
            }
        }
    }
    Ok(())
}

/// What overwrites a parameter is computed from at most the same element of it, not in a later stage, and not by a product.
fn overwritten(kernel: &Kernel, value: Arg, buffer: BufferId, access: &Access) -> Result<(), String> {
    if kernel.dot.as_ref().is_some_and(|dot| dot.a == buffer || dot.b == buffer) {
        return Err("while the product still reads it".to_string());
    }
    let written = match value {
        Arg::Value(index) => kernel.body[index].stage,
        _ => 0,
    };
    for instruction in &kernel.body {
        for &arg in &instruction.args {
            let Arg::Read(read) = arg else { continue };
            let read = &kernel.reads[read];
            if read.buffer == buffer && (read.access != *access || instruction.stage > written) {
                return Err("while other elements of it are read".to_string());
            }
        }
    }
    Ok(())
}
