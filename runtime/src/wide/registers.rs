//! Which register holds what: given to values one after the other, as the instructions stand.
//!
//! A value keeps its register until it is read for the last time. Where there is none left, the value that is needed last of all goes to
//! the stack. Masks never go there: a body that has too many at a time has no wide form.

/// Registers of one kind, and what they hold.
#[derive(Debug)]
pub(super) struct Registers {
    held: Vec<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Free,
    Value(u32),
    /// Of the instruction that is being written.
    Taken,
    /// Not given to values.
    Reserved,
}

/// What has to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) value: u32,
    pub(super) register: u8,
}

impl Registers {
    /// So many registers, of which the last are not given to values.
    pub(super) fn new(count: usize, reserved: usize) -> Registers {
        let held = |index| if index < count - reserved { Held::Free } else { Held::Reserved };
        Registers { held: (0..count).map(held).collect() }
    }

    /// A register that nothing is in, for the present instruction.
    pub(super) fn take(&mut self) -> Option<u8> {
        let free = self.held.iter().position(|&held| held == Held::Free)?;
        self.held[free] = Held::Taken;
        Some(free as u8)
    }

    /// The value that is read last of those that the instruction does not read.
    pub(super) fn farthest(&self, next_read: impl Fn(u32) -> usize, pinned: &[u32]) -> Option<Evicted> {
        let values = self.held.iter().enumerate().filter_map(|(register, held)| match *held {
            Held::Value(value) if !pinned.contains(&value) => Some(Evicted { value, register: register as u8 }),
            _ => None,
        });
        values.max_by_key(|evicted| next_read(evicted.value))
    }

    pub(super) fn hold(&mut self, register: u8, value: u32) {
        self.held[register as usize] = Held::Value(value);
    }

    pub(super) fn free(&mut self, register: u8) {
        if self.held[register as usize] != Held::Reserved {
            self.held[register as usize] = Held::Free;
        }
    }

    /// Gives back what the instruction alone needed.
    pub(super) fn release(&mut self) {
        self.held.iter_mut().filter(|held| **held == Held::Taken).for_each(|held| *held = Held::Free);
    }

    pub(super) fn holder_of(&self, value: u32) -> Option<u8> {
        self.held.iter().position(|&held| held == Held::Value(value)).map(|register| register as u8)
    }
}
