//! The state of a session at one moment, to go back to.

use super::any::AnySession;
use super::position::Position;
use super::programs::Kind;
use super::{Network, Session};
use crate::error::RunError;

/// Parameters, running statistics, the optimizer's state, how many steps and epochs were made, and the count that dropout draws
/// by.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    floats: Vec<f32>,
    steps: u64,
    forward_count: u64,
    position: Position,
}

impl<N: Network> Session<N> {
    /// The state now, in the place of an earlier one. None is left, and nothing else is lost, if there is no memory for it.
    pub(crate) fn snapshot(&self, earlier: Option<Snapshot>) -> Result<Snapshot, RunError> {
        self.any.snapshot(earlier)
    }

    /// Back to a state of this session.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        self.any.restore(snapshot);
    }
}

impl AnySession {
    fn snapshot(&self, earlier: Option<Snapshot>) -> Result<Snapshot, RunError> {
        // Gradients that are being accumulated are no part of it: they lie after the rest, and go on.
        let own = &self.params.floats()[..self.programs[Kind::Train].params_len];
        let mut floats = earlier.map_or(Vec::new(), |earlier| earlier.floats);
        floats.clear();
        let room = floats.try_reserve_exact(own.len());
        room.map_err(|_| RunError::NoMemory { what: "a copy of the state of a training" })?;
        floats.extend_from_slice(own);
        let (steps, forward_count, position) = (self.steps, self.forward_count, self.position.clone());
        Ok(Snapshot { floats, steps, forward_count, position })
    }

    fn restore(&mut self, snapshot: &Snapshot) {
        self.params.floats_mut()[..snapshot.floats.len()].copy_from_slice(&snapshot.floats);
        self.steps = snapshot.steps;
        self.forward_count = snapshot.forward_count;
        self.position = snapshot.position.clone();
    }
}
