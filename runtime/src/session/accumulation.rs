//! One update from the gradients of several batches.
//!
//! In: batches, one a call. Out: the update that one batch of all their rows would make. How their gradients merge, and
//! which losses have gradients that do, is said in `optim`.

use super::any::{AnySession, words};
use super::programs::Kind;
use super::sentinel::Ran;
use super::{Error, Network, Report, Session, buffer, feed};
use crate::error::{BuildError, RunError};
use crate::ir::ScalarSlot;
use crate::memory::{Memory, Params, Word};
use crate::optim;
use crate::tensor::Tensor;

/// The numbers that the two programs run with, and of how many rows gradients are merged.
#[derive(Debug)]
pub(super) struct Accumulation {
    pub(super) scalars: Vec<Word>,
    /// Those of the scalars that are numbers.
    numbers: Vec<f32>,
    pub(super) rows: usize,
}

impl<N: Network> Session<N> {
    /// Merges the gradients of a batch with those since the last [`Session::update`]; nothing is updated but running
    /// statistics. Loss and metrics are those of the batch.
    ///
    /// Batches of any sizes and one update give the step that one batch of all their rows would give, up to rounding. A loss
    /// that is a mean over rows has its gradients averaged, weighted by the rows of each batch; one that is a sum over rows
    /// has them added up. Terms that do not depend on the rows, as `l2(weights)`, count once either way. A loss that adds
    /// a sum to a mean, or grows otherwise with the number of rows, is refused. Nothing overflows, and nothing that is left of
    /// an earlier accumulation plays a part: the first batch after an update takes the place of all before.
    ///
    /// What is taken of a whole batch is taken of each by itself. A loss such as `sqrt(mse(..))`, or a mean that is weighted
    /// by classes, is averaged over the batches, which is not what it is of all rows. Batch norm normalizes each batch by its
    /// own statistics, and each moves the running ones, on a step on which they are due. `Dropout` draws anew for each:
    /// every batch is a forward pass of its own, whose masks are those that [`Session::gradients`] shows at its
    /// [`Session::forward_count`], and not those of rows of a large batch. Clipping and decay are part of the update. The
    /// first call compiles two programs and makes room for the gradients.
    ///
    /// [`Session::save`] keeps what has been accumulated, so that a session may stop between two batches.
    ///
    /// A whole set, however large, is one step of gradient descent so:
    /// ```text
    /// for (x, y) in data.batches(128) {
    ///     net.accumulate(x, y)?;
    /// }
    /// net.update()?;
    /// ```
    ///
    /// # Errors
    /// As for [`Session::step`], and [`BuildError::Accumulate`] for a loss that is neither averaged nor added up; what was
    /// accumulated before is then as it was.
    pub fn accumulate<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<N::Metrics, Error> {
        self.any.accumulate(&feed::gather::<N>(inputs, Some(targets))).map(|report| N::metrics(&report))
    }

    /// Makes one step from all gradients that were accumulated since the last update, as if of one batch.
    ///
    /// # Errors
    /// [`RunError::NothingAccumulated`]; with [`Trainer::sentinel`](super::Trainer::sentinel), an update that is not finite. The
    /// session is then as it was before, and so are the gradients.
    pub fn update(&mut self) -> Result<(), RunError> {
        self.any.update()
    }

    /// The rows whose gradients have been accumulated since the last update.
    pub fn accumulated_rows(&self) -> usize {
        self.any.accumulated_rows()
    }
}

impl AnySession {
    /// Merges the gradients of a batch with those since the last update.
    fn accumulate(&mut self, tensors: &[Tensor<'_>]) -> Result<Report<'_>, Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.compile_accumulation()?;
        self.fill_accumulation(Kind::Accumulate, rows);
        self.keep();
        let loss = self.run(Kind::Accumulate, tensors, rows);
        let loss = self.sound(Ran::Accumulation, loss, tensors, rows)?;
        let accumulation = self.accumulation.as_mut().expect("it was made above");
        accumulation.rows = accumulation.rows.saturating_add(rows);
        self.forward_count = self.forward_count.wrapping_add(1);
        Ok(Report { loss, metrics: &self.metrics })
    }

    /// Makes one step from all gradients that were accumulated.
    fn update(&mut self) -> Result<(), RunError> {
        if self.accumulated_rows() == 0 {
            return Err(RunError::NothingAccumulated);
        }
        self.fill_accumulation(Kind::Update, 0);
        self.keep();
        let accumulation = self.accumulation.as_mut().expect("something was accumulated");
        let (arena, params) = (self.arena.floats_mut(), Params::Own(self.params.floats_mut()));
        let scalars = &accumulation.scalars[..];
        self.programs[Kind::Update].run(self.pool.as_mut(), Memory { arena, params, scalars, inputs: &[], batch: 1 });
        self.check_state(Ran::Update, &[], 1)?;
        let accumulation = self.accumulation.as_mut().expect("something was accumulated");
        accumulation.rows = 0;
        self.steps += 1;
        Ok(())
    }

    /// The rows whose gradients have been accumulated.
    pub(super) fn accumulated_rows(&self) -> usize {
        self.accumulation.as_ref().map_or(0, |accumulation| accumulation.rows)
    }

    /// Compiles, the first time, and makes room for the gradients after all other parameters.
    pub(super) fn compile_accumulation(&mut self) -> Result<(), BuildError> {
        if self.accumulation.is_some() {
            return Ok(());
        }
        self.compile(Kind::Accumulate)?;
        self.compile(Kind::Update)?;
        let [accumulate, update] = [Kind::Accumulate, Kind::Update].map(|kind| &self.programs[kind]);
        let room = || buffer::params(accumulate);
        let (mut params, kept) = (room()?, self.kept.as_ref().map(|_| room()).transpose()?);
        params.floats_mut()[..self.params.len()].copy_from_slice(self.params.floats());
        self.params.replace(params);
        self.kept = kept;
        let len = accumulate.slots.scalars.len().max(update.slots.scalars.len());
        let (scalars, numbers) = (vec![Word::default(); len], vec![0.0; len]);
        self.accumulation = Some(Accumulation { scalars, numbers, rows: 0 });
        Ok(())
    }

    /// The scalars of the program that runs next, on a batch of so many rows.
    fn fill_accumulation(&mut self, kind: Kind, batch: usize) {
        let rate = self.learning_rate();
        let accumulation = self.accumulation.as_mut().expect("it was made before");
        let Accumulation { scalars, numbers, rows } = accumulation;
        let slots = &self.programs[kind].slots.scalars;
        optim::fill(slots, &*self.config.optimizer, rate, self.steps + 1, &mut numbers[..slots.len()]);
        numbers[..self.declared.len()].copy_from_slice(&self.declared);
        for (slot, value) in slots.iter().zip(&mut *numbers) {
            match slot {
                ScalarSlot::Share => *value = (batch as f64 / (*rows as f64 + batch as f64)) as f32,
                ScalarSlot::First => *value = if *rows == 0 { 1.0 } else { 0.0 },
                _ => {}
            }
        }
        words(slots, numbers, self.seed, self.forward_count, scalars);
    }
}
