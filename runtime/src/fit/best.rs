//! What is monitored: the best epoch so far, what the session was after it, and how long ago that is.

use std::fmt;

use super::history::Epoch;
use crate::error::RunError;
use crate::session::{Network, Session, Snapshot};

/// A number to make small, of loss and metrics.
type Value<'f, N> = Box<dyn Fn(&<N as Network>::Metrics) -> f64 + 'f>;

/// The best epoch so far.
pub(super) struct Best<'f, N: Network> {
    /// The loss unless it is said.
    value: Option<Value<'f, N>>,
    /// How many epochs without progress end the training.
    pub(super) patience: Option<usize>,
    /// By how much the number has to fall, from where it last did so, to count as progress.
    pub(super) min_delta: f64,
    /// Whether to remember the session as it was after the best epoch.
    pub(super) keep: bool,
    /// The epoch and its number.
    best: Option<(usize, f64)>,
    snapshot: Option<Snapshot>,
    reference: f64,
    waited: usize,
}

impl<N: Network> fmt::Debug for Best<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Best { patience, min_delta, keep, best, waited, .. } = self;
        write!(f, "Best {{ {patience:?}, {min_delta}, {keep}, {best:?}, {waited} }}")
    }
}

impl<'f, N: Network> Best<'f, N> {
    /// By the loss.
    pub(super) fn by_loss() -> Best<'f, N> {
        Best {
            value: None,
            patience: None,
            min_delta: 0.0,
            keep: false,
            best: None,
            snapshot: None,
            reference: f64::INFINITY,
            waited: 0,
        }
    }

    /// The same settings, by another number that is to be small.
    pub(super) fn by(self, value: impl Fn(&N::Metrics) -> f64 + 'f) -> Best<'f, N> {
        Best { value: Some(Box::new(value)), ..self }
    }

    /// Which epoch is the best.
    pub(super) fn epoch(&self) -> Option<usize> {
        self.best.map(|(epoch, _)| epoch)
    }

    /// What is monitored of an epoch, to be small.
    pub(super) fn value(&self, epoch: &Epoch<N>) -> f64 {
        match &self.value {
            Some(value) => value(epoch.validation.as_ref().unwrap_or(&epoch.train)),
            None => epoch.validation_numbers.as_ref().unwrap_or(&epoch.train_numbers).loss(),
        }
    }

    /// Takes an epoch into account; whether to stop. NaN is never better.
    ///
    /// # Errors
    /// No memory to remember the session.
    pub(super) fn consider(&mut self, epoch: &Epoch<N>, session: &Session<N>) -> Result<bool, RunError> {
        let value = epoch.monitored;
        if self.best.is_none_or(|(_, best)| value < best) && !value.is_nan() {
            if self.keep {
                self.snapshot = Some(session.snapshot(self.snapshot.take())?);
            }
            self.best = Some((epoch.epoch, value));
        }
        if value < self.reference - self.min_delta {
            self.reference = value;
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        Ok(self.patience.is_some_and(|patience| self.waited >= patience.max(1)))
    }

    /// Puts the session back to the best epoch, if one was remembered; whether it did.
    pub(super) fn restore(&mut self, session: &mut Session<N>) -> bool {
        let snapshot = self.snapshot.take();
        snapshot.is_some_and(|snapshot| {
            session.restore(&snapshot);
            true
        })
    }
}
