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
        // Gradients that are being accumulated are no part of it: they lie after the rest, and go on.
        let floats = self.params.floats()[..self.train.params_len].to_vec();
        let (steps, forward_count, position) = (self.steps, self.forward_count, self.position.clone());
        Snapshot { floats, steps, forward_count, position }
    }

    /// Back to a state of this session.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        self.params.floats_mut()[..snapshot.floats.len()].copy_from_slice(&snapshot.floats);
        self.steps = snapshot.steps;
        self.forward_count = snapshot.forward_count;
        self.position = snapshot.position.clone();
    }
}
