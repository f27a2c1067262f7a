//! The state of a session at one moment, to go back to.

use super::position::Position;
use super::{Network, Session};

/// Parameters, running statistics, the optimiser's state, how many steps and epochs were made, and the count that dropout draws
/// by.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    floats: Vec<f32>,
    steps: u64,
    forward_count: u64,
    position: Position,
}

impl<N: Network> Session<N> {
    /// The state now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (steps, forward_count, position) = (self.steps, self.forward_count, self.position.clone());
        Snapshot { floats: self.params.floats().to_vec(), steps, forward_count, position }
    }

    /// Back to a state of this session.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        // Behind them there may be room for sums of gradients by now.
        self.params.floats_mut()[..snapshot.floats.len()].copy_from_slice(&snapshot.floats);
        self.steps = snapshot.steps;
        self.forward_count = snapshot.forward_count;
        self.position = snapshot.position.clone();
    }
}
