//! What a kernel has to do at least: floating-point operations, and bytes that pass between it and memory.
//!
//! In: a kernel. Out: counts that grow with the batch, of floating-point operations as [`flops`](mod@crate::flops)
//! counts them. A value that is read or written counts once a kernel, 4 bytes an element: what is read again while it is
//! in a cache, scratch, tiles and partial results are left out. So these are lower bounds, to hold measured times against.

use std::fmt;
use std::ops::{Add, AddAssign, Mul};

use super::{Arg, BufferId, Fused, Kernel, Read};
use crate::flops::Flops;
use crate::ir::NodeId;
use crate::types::{Dim, Shape};

/// A count that grows with the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// What does not depend on the batch.
    pub fixed: u64,
    /// What comes with each row.
    pub batch: u64,
}

impl Count {
    /// The bytes of a tensor: an element takes four, class ids as well.
    pub(crate) fn bytes(shape: &Shape) -> Count {
        match shape.len().expect("extents were checked when the network was lowered") {
            Dim::Fixed(n) => Count { fixed: 4u64.saturating_mul(n as u64), batch: 0 },
            Dim::Batch(n) => Count { fixed: 0, batch: 4u64.saturating_mul(n as u64) },
        }
    }

    /// The count for a given batch size.
    pub fn at(self, batch: usize) -> u64 {
        self.fixed.saturating_add(self.batch.saturating_mul(batch as u64))
    }
}

impl Mul<u64> for Count {
    type Output = Count;

    fn mul(self, times: u64) -> Count {
        Count { fixed: self.fixed.saturating_mul(times), batch: self.batch.saturating_mul(times) }
    }
}

impl From<Flops> for Count {
    fn from(flops: Flops) -> Count {
        Count { fixed: flops.once, batch: flops.each }
    }
}

impl Add for Count {
    type Output = Count;

    fn add(self, other: Count) -> Count {
        Count { fixed: self.fixed.saturating_add(other.fixed), batch: self.batch.saturating_add(other.batch) }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        *self = *self + other;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.batch, self.fixed) {
            (0, fixed) => f.write_str(&grouped(fixed)),
            (batch, 0) => write!(f, "{}*B", grouped(batch)),
            (batch, fixed) => write!(f, "{}*B + {}", grouped(batch), grouped(fixed)),
        }
    }
}

/// With a comma before every three digits: 1,234,567.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Operations and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: Count,
    /// Bytes read and written.
    pub bytes: Count,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}

/// What a kernel has to do.
pub fn cost(fused: &Fused, kernel: &Kernel) -> Cost {
    let mut sum = Cost::default();
    costs(fused, kernel).into_iter().for_each(|(_, cost)| sum += cost);
    sum
}

/// The cost of a kernel, in a loop that of all steps, with the operation that each part of it belongs to: a value that several read to
/// the first of them. An operation may occur more than once.
pub fn costs(fused: &Fused, kernel: &Kernel) -> Vec<(NodeId, Cost)> {
    let mut read: Vec<BufferId> = Vec::new();
    let steps = kernel.steps as u64;
    let mut bytes_of = |buffers: &mut dyn Iterator<Item = (BufferId, i64)>| {
        let mut bytes = Count::default();
        for (buffer, position) in buffers {
            if !read.contains(&buffer) {
                read.push(buffer);
                bytes += traffic(fused, kernel, buffer, position);
            }
        }
        bytes
    };
    let mut costs = Vec::new();
    if let Some(dot) = &kernel.dot {
        let bytes = bytes_of(&mut [dot.a, dot.b].into_iter().zip(dot.positions));
        costs.push((dot.origin.node, Cost { flops: Count::from(dot.origin.flops) * steps, bytes }));
    }
    for instruction in &kernel.body {
        let bytes = bytes_of(&mut instruction.args.iter().flat_map(|&arg| buffers(kernel, arg)));
        costs.push((instruction.origin.node, Cost { flops: Count::from(instruction.origin.flops) * steps, bytes }));
    }
    for write in &kernel.writes {
        let mut bytes = match write.coordinates.is_empty() {
            true => traffic(fused, kernel, write.buffer, write.access.position),
            false => part(fused, kernel, write),
        };
        let index = write.access.gather.as_ref().map(|gather| Arg::Read(gather.index));
        let copied = Some(write.value).filter(|_| write.copied);
        bytes += bytes_of(&mut copied.into_iter().chain(index).flat_map(|arg| buffers(kernel, arg)));
        costs.push((write.origin, Cost { flops: Count::default(), bytes }));
    }
    costs
}

/// The bytes of a buffer that pass between a kernel and memory: all of it once, or at each step where that has no part of its own. A
/// tile stays in a cache.
fn traffic(fused: &Fused, kernel: &Kernel, buffer: BufferId, position: i64) -> Count {
    let times = if position == 0 { kernel.steps as u64 } else { 1 };
    if fused.is_tile(buffer) { Count::default() } else { Count::bytes(&fused.buffer(buffer).shape) * times }
}

/// The bytes of a part of a concatenation.
fn part(fused: &Fused, kernel: &Kernel, write: &super::Write) -> Count {
    let dims: Vec<Dim> = write.access.at.axes().iter().map(|axis| kernel.axes[axis]).collect();
    if fused.is_tile(write.buffer) { Count::default() } else { Count::bytes(&Shape(dims)) * kernel.steps as u64 }
}

/// The buffers that an operand is read from, its own and that of the index by which it is looked up, and how far the places move from
/// step to step.
fn buffers(kernel: &Kernel, arg: Arg) -> Vec<(BufferId, i64)> {
    let mut found = Vec::new();
    let mut next = match arg {
        Arg::Read(read) => Some(read),
        _ => None,
    };
    while let Some(read) = next {
        let Read { buffer, access, .. } = &kernel.reads[read];
        found.push((*buffer, access.position));
        next = access.gather.as_ref().map(|gather| gather.index);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Count, grouped};

    #[test]
    fn counts_read_as_extents_do() {
        let texts = [(0, 0), (12, 0), (0, 3), (1200, 3000)].map(|(fixed, batch)| Count { fixed, batch }.to_string());
        assert_eq!(texts, ["0", "12", "3*B", "3,000*B + 1,200"]);
        assert_eq!(Count { fixed: 12, batch: 3 }.at(5), 27);
    }

    #[test]
    fn a_comma_stands_before_every_three_digits() {
        let texts = [0, 999, 1000, 65_536, 123_456_789, u64::MAX].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "65,536", "123,456,789", "18,446,744,073,709,551,615"]);
    }
}
