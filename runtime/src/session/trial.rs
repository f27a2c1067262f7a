//! Steps that are taken back: what the search for a learning rate asks of a session.

use super::any::AnySession;
use super::programs::Kind;
use super::sentinel::Ran;
use super::{Network, Session, feed};
use crate::error::{BuildError, RunError};
use crate::schedule::Schedule;
use crate::tensor::Tensor;

impl<N: Network> Session<N> {
    /// What the learning rate goes by.
    pub(crate) fn schedule(&self) -> Schedule {
        self.any.rate
    }

    /// Makes the learning rate go by this from the next step on. It was checked.
    pub(crate) fn follow(&mut self, schedule: Schedule) {
        self.any.rate = schedule;
    }

    /// Says what is wrong with a learning rate.
    pub(crate) fn check_rate(&self, rate: f64) -> Result<(), BuildError> {
        self.any.config.check_rate(rate)
    }

    /// A step of which the loss alone is wanted; none where it is refused because a number is not finite. Nobody is told where that
    /// came from, which would take the time of some hundred steps.
    pub(crate) fn try_step<'a>(
        &mut self,
        inputs: N::Inputs<'a>,
        targets: N::Targets<'a>,
    ) -> Result<Option<f32>, RunError> {
        self.any.try_step(&feed::gather::<N>(inputs, Some(targets)))
    }
}

impl AnySession {
    fn try_step(&mut self, tensors: &[Tensor<'_>]) -> Result<Option<f32>, RunError> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.fill_scalars();
        self.keep();
        let Ok(loss) = self.run(Kind::Train, tensors, rows) else { return Ok(None) };
        if self.check_state(Ran::Step, tensors, rows).is_err() {
            return Ok(None);
        }
        self.steps += 1;
        self.forward_count = self.forward_count.wrapping_add(1);
        Ok(Some(loss))
    }
}
