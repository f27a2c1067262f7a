//! Settings, and the sessions they make.

use std::fmt;
use std::marker::PhantomData;

use super::{Network, Session};
use crate::compile::{Purpose, Stage, text};
use crate::error::BuildError;
use crate::optim::Optimiser;
use crate::summary::Summary;

/// The settings of a training session.
#[derive(Debug)]
pub struct Trainer<N> {
    optimiser: Box<dyn Optimiser>,
    max_batch: usize,
    seed: u64,
    network: PhantomData<fn() -> N>,
}

/// The largest batch unless the user says otherwise.
pub(super) const MAX_BATCH: usize = 128;

impl<N: Network> Trainer<N> {
    /// With this optimiser, `max_batch` 128 and seed 0.
    pub fn new(optimiser: impl Optimiser + 'static) -> Trainer<N> {
        Trainer { optimiser: Box::new(optimiser), max_batch: MAX_BATCH, seed: 0, network: PhantomData }
    }

    /// The largest batch of a step, and how many rows `predict` and `evaluate` take at a time. From 1 up.
    pub fn max_batch(self, max_batch: usize) -> Trainer<N> {
        Trainer { max_batch, ..self }
    }

    /// What the first values of the parameters are drawn from. The same seed gives the same bits.
    pub fn seed(self, seed: u64) -> Trainer<N> {
        Trainer { seed, ..self }
    }

    /// Compiles the training step.
    ///
    /// # Errors
    /// Settings out of range, a network without a loss, buffers that are too large.
    pub fn build(self) -> Result<Session<N>, BuildError> {
        check_batch(self.max_batch)?;
        Session::new(self.optimiser, self.max_batch, self.seed)
    }

    /// The text of a stage of the training step; of the error if there is one.
    pub fn ir(&self, stage: Stage) -> String {
        let checked = check_batch(self.max_batch).and_then(|()| self.optimiser.check());
        let text = checked.and_then(|()| text(N::DEFINITION, stage, Purpose::Train(&*self.optimiser), self.max_batch));
        text.unwrap_or_else(|error| error.to_string())
    }
}

/// The table that the [`Session`] will print; the text of the error if there is one.
impl<N: Network> fmt::Display for Trainer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Summary::new(N::DEFINITION, Some(&*self.optimiser)) {
            Ok(summary) => summary.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}

/// The text of a stage that knows of no optimiser and no machine.
pub fn ir<N: Network>(stage: Stage) -> String {
    let purpose = match (stage, N::DEFINITION.loss.is_some()) {
        (Stage::Static | Stage::Forward, _) | (Stage::Backward, true) => Purpose::Gradients,
        (Stage::Backward, false) => return BuildError::NoLoss { network: N::DEFINITION.name }.to_string(),
        _ => {
            let name = N::DEFINITION.name;
            return format!(
                "{stage:?} depends on what is compiled: ask `{name}::trainer(optimiser).ir(Stage::{stage:?})` or \
                 `{name}::predictor().ir(Stage::{stage:?})`"
            );
        }
    };
    text(N::DEFINITION, stage, purpose, MAX_BATCH).unwrap_or_else(|error| error.to_string())
}

pub(super) fn check_batch(max_batch: usize) -> Result<(), BuildError> {
    match max_batch {
        1.. => Ok(()),
        0 => Err(BuildError::Setting { name: "max_batch", wanted: "at least 1", actual: "0".to_string() }),
    }
}
