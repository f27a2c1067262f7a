//! What a kernel has to do at least: floating-point operations, and bytes that pass between it and memory.
//!
//! In: a kernel. Out: counts that grow with the batch, of floating-point operations as [`flops`](mod@crate::flops)
//! counts them. A value that is read or written counts once a kernel, 4 bytes an element: what is read again while it is
//! in a cache, scratch, tiles and partial results are left out. So these are lower bounds, to hold measured times against.

use std::fmt;
use std::ops::{Add, AddAssign, Mul};

use super::{Access, Affine, Arg, BufferId, Fused, Gather, Kernel, Read};
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

    /// This, or the other if it is less. What comes with each row is more than what does not, for enough rows.
    fn at_most(self, other: Count) -> Count {
        if (self.batch, self.fixed) <= (other.batch, other.fixed) { self } else { other }
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
pub fn cost(fused: &Fused, index: usize) -> Cost {
    let mut sum = Cost::default();
    costs(fused, index).into_iter().for_each(|(_, cost)| sum += cost);
    sum
}

/// The cost of a kernel, in a loop that of all steps at which it does anything, with the operation that each part of it belongs to: a
/// value that several read to the first of them. An operation may occur more than once.
pub fn costs(fused: &Fused, index: usize) -> Vec<(NodeId, Cost)> {
    let kernel = &fused.kernels[index];
    let is_idle = fused.loop_of(index).is_some_and(|run| run.is_idle(index));
    let steps = (kernel.steps as u64 - u64::from(is_idle)).saturating_mul(kernel.outer_steps as u64);
    let mut known = Known { fused, kernel, steps, buffers: Vec::new() };
    let mut costs = Vec::new();
    if let Some(dot) = &kernel.dot {
        let axes: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
        let [a, b] = dot.positions;
        let mut bytes = known.moved(dot.a, Part { axes: axes.clone(), at: &dot.a_at, position: a, gather: None });
        bytes += known.moved(dot.b, Part { axes, at: &dot.b_at, position: b, gather: None });
        costs.push((dot.origin.node, Cost { flops: Count::from(dot.origin.flops) * steps, bytes }));
    }
    for instruction in &kernel.body {
        let mut bytes = Count::default();
        instruction.args.iter().for_each(|&arg| bytes += known.read(arg));
        costs.push((instruction.origin.node, Cost { flops: Count::from(instruction.origin.flops) * steps, bytes }));
    }
    for write in &kernel.writes {
        let mut bytes =
            Known { fused, kernel, steps, buffers: Vec::new() }.moved(write.buffer, Part::of(kernel, &write.access));
        let index = write.access.gather.as_ref().map(|gather| Arg::Read(gather.index));
        let copied = Some(write.value).filter(|_| write.copied);
        copied.into_iter().chain(index).for_each(|arg| bytes += known.read(arg));
        costs.push((write.origin, Cost { flops: Count::default(), bytes }));
    }
    costs
}

/// Which elements of a buffer a kernel reads or writes.
#[derive(PartialEq)]
struct Part<'a> {
    axes: Vec<Dim>,
    at: &'a Affine,
    position: i64,
    gather: Option<&'a Gather>,
}

impl<'a> Part<'a> {
    fn of(kernel: &'a Kernel, access: &'a Access) -> Part<'a> {
        Part { axes: kernel.axes.clone(), at: &access.at, position: access.position, gather: access.gather.as_ref() }
    }

    /// How many there are of them at most, at each step.
    fn elements(&self) -> Option<Count> {
        let moves = |axis: &usize| self.gather.is_some() || self.at.steps[*axis] != 0;
        let dims: Vec<Dim> = (0..self.axes.len()).filter(moves).map(|axis| self.axes[axis]).collect();
        Dim::product(&dims).map(|_| Count::bytes(&Shape(dims)))
    }
}

/// What a kernel has read of each buffer so far.
struct Known<'a> {
    fused: &'a Fused,
    kernel: &'a Kernel,
    /// At how many steps it does anything.
    steps: u64,
    buffers: Vec<(BufferId, Count, Vec<Part<'a>>)>,
}

impl<'a> Known<'a> {
    /// The bytes of an operand that pass between the kernel and memory, with those of the index by which it is looked up.
    fn read(&mut self, arg: Arg) -> Count {
        let mut bytes = Count::default();
        let mut next = match arg {
            Arg::Read(read) => Some(read),
            _ => None,
        };
        let kernel = self.kernel;
        while let Some(read) = next {
            let Read { buffer, access, .. } = &kernel.reads[read];
            bytes += self.moved(*buffer, Part::of(kernel, access));
            next = access.gather.as_ref().map(|gather| gather.index);
        }
        bytes
    }

    /// The bytes of a part of a buffer that is not known yet: each element once, or at each step where that has no part of its own. All
    /// parts together are at most the whole. A tile stays in a cache.
    fn moved(&mut self, buffer: BufferId, part: Part<'a>) -> Count {
        if self.fused.is_tile(buffer) {
            return Count::default();
        }
        let (steps, outer) = (self.steps, self.kernel.outer_steps as u64);
        let whole = Count::bytes(&self.fused.buffer(buffer).shape) * if part.position == 0 { steps } else { outer };
        let own = part.elements().map_or(whole, |own| (own * steps).at_most(whole));
        let index = self.buffers.iter().position(|(known, ..)| *known == buffer).unwrap_or_else(|| {
            self.buffers.push((buffer, Count::default(), Vec::new()));
            self.buffers.len() - 1
        });
        let (_, before, parts) = &mut self.buffers[index];
        if parts.contains(&part) {
            return Count::default();
        }
        parts.push(part);
        let after = (*before + own).at_most(whole);
        let more =
            Count { fixed: after.fixed.saturating_sub(before.fixed), batch: after.batch.saturating_sub(before.batch) };
        *before = after;
        more
    }
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
