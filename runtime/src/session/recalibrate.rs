//! Running statistics of a whole set of data.

use super::any::AnySession;
use super::programs::Kind;
use super::rows::enough;
use super::{Error, Network, Session, feed};
use crate::error::RunError;
use crate::ir::Role;
use crate::tensor::Tensor;

impl<N: Network> Session<N> {
    /// Computes the statistics of `Standardize` and `MinMax` over these rows, of which there may be any number, with batch norm from
    /// 2 up, and the running ones of every batch norm anew: mean and unbiased variance of all of them, as if they were one batch
    /// and the first ever seen, whatever momentum and `every` say. Each layer sees what the ones before it make of all rows;
    /// nothing is dropped, as in inference. Parameters, optimizer, counts, frozen statistics and everything else stay as they are.
    ///
    /// More than `max_batch` rows are gone through in pieces, once for each of these layers, and merged by Chan's formula, so that
    /// the result does not depend on `max_batch`, but for rounding. Of use after training with a large momentum or with large
    /// steps, when inference is worse than training (Wu & Johnson 2021, section 3), and before training where the network begins
    /// with `Standardize` or `MinMax`. Without such layers nothing happens. The first call compiles programs of its own.
    ///
    /// # Errors
    /// Wrong shapes, fewer rows than a batch norm needs, statistics that are not finite. The session is then as it was before.
    pub fn recalibrate(&mut self, inputs: N::Inputs<'_>) -> Result<(), Error> {
        self.any.recalibrate(&feed::gather::<N>(inputs, None))
    }
}

impl AnySession {
    fn recalibrate(&mut self, tensors: &[Tensor<'_>]) -> Result<(), Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, usize::MAX)?;
        enough(rows, self.needs_rows.as_deref())?;
        self.compile(Kind::Recalibrate)?;
        let pieces = self.programs.chunked(Kind::Recalibrate);
        let known = self.finish(&pieces, tensors, rows)?;
        let statistics = &self.statistics;
        let slots = &self.programs[Kind::Train].slots.params;
        let value = |index: usize, slot: usize| {
            let value = self.result(&pieces, &known, &Role::Output(index), slots[slot].len());
            value.expect("every statistic is a result").to_vec()
        };
        let values: Vec<Vec<f32>> = statistics.iter().enumerate().map(|(index, &slot)| value(index, slot)).collect();
        let wrong = values.iter().zip(statistics).find(|(value, _)| value.iter().any(|x| !x.is_finite()));
        let refusal = wrong.map(|(_, &slot)| RunError::Statistic { name: slots[slot].name.clone() });
        if refusal.is_none() {
            for (value, &slot) in values.iter().zip(statistics) {
                self.params.floats_mut()[self.programs[Kind::Train].params[slot]..][..value.len()]
                    .copy_from_slice(value);
            }
        }
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }
}
