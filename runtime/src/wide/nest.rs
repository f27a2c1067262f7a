//! Loops around a run: one function for many runs whose places lie evenly apart.
//!
//! A call for each of them costs as much as some vectors: addresses to compute, to pass on and to read again, and constants. Here an
//! address is moved by a constant from one run to the next, in its register.

use super::function::{ADDRESSES, Writer};

/// An axis around a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Axis {
    /// How many positions it has, at least one. Of the outermost, the caller may say so instead.
    pub extent: Option<usize>,
    /// How far each address is moved from a position to the next, in bytes.
    pub steps: Vec<i64>,
    /// How much each number grows, as an integer.
    pub counts: Vec<i64>,
}

impl Axis {
    /// How far an address or a number is moved when an axis is done and the next one around it goes on.
    fn after(&self, inner: Option<&Axis>, of: impl Fn(&Axis) -> i64) -> Option<i32> {
        let gone = inner.map_or(0, |inner| inner.extent.unwrap_or(1) as i64 * of(inner));
        i32::try_from(of(self) - gone).ok()
    }
}

impl Writer<'_> {
    /// Where the number of positions is counted down that an axis still has.
    fn counter(&self, axis: usize) -> i32 {
        self.argument_of(self.body.addresses + axis)
    }

    /// The beginnings of the loops.
    pub(super) fn enter_axes(&mut self) -> Vec<usize> {
        let mut starts = Vec::new();
        for (number, axis) in self.body.axes.iter().enumerate() {
            if let Some(extent) = axis.extent {
                self.code.set_count(self.counter(number), extent as i32);
            }
            starts.push(self.code.bytes.len());
        }
        starts
    }

    /// Their ends.
    pub(super) fn leave_axes(&mut self, starts: &[usize]) -> Option<()> {
        let axes = &self.body.axes;
        for (number, axis) in axes.iter().enumerate().rev() {
            let inner = axes.get(number + 1);
            for address in 0..self.body.addresses {
                let by = axis.after(inner, |axis| axis.steps[address])?;
                match ADDRESSES.get(address) {
                    _ if by == 0 => {}
                    Some(&register) => self.code.add(register, by),
                    None => self.code.add_to_argument(self.argument_of(address), by, true),
                }
            }
            for of in 0..self.body.numbers {
                let by = axis.after(inner, |axis| axis.counts[of])?;
                if by != 0 {
                    self.code.add_to_argument(8 * of as i32, by, false);
                }
            }
            self.code.count_down(self.counter(number), starts[number]);
        }
        Some(())
    }
}
