//! The state of a session at one moment, to go back to.

use super::{Network, Session};
use crate::error::RunError;

/// Parameters, running statistics, the optimiser's state, how many steps were made, and the count that dropout draws by.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    floats: Vec<f32>,
    steps: u64,
    forward_count: u64,
}

impl<N: Network> Session<N> {
    /// The state now, in the place of an earlier one. None is left, and nothing else is lost, if there is no memory for it.
    pub(crate) fn snapshot(&self, earlier: Option<Snapshot>) -> Result<Snapshot, RunError> {
        let mut floats = earlier.map_or(Vec::new(), |earlier| earlier.floats);
        floats.clear();
        let room = floats.try_reserve_exact(self.params.len());
        room.map_err(|_| RunError::NoMemory { what: "a copy of the best epoch" })?;
        floats.extend_from_slice(self.params.floats());
        Ok(Snapshot { floats, steps: self.steps, forward_count: self.forward_count })
    }

    /// Back to a state of this session.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        // Behind them there may be room for sums of gradients by now.
        self.params.floats_mut()[..snapshot.floats.len()].copy_from_slice(&snapshot.floats);
        self.steps = snapshot.steps;
        self.forward_count = snapshot.forward_count;
    }
}
