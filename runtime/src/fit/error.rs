//! A training that failed, with what it was until then.

use std::error::Error;
use std::fmt;

use super::history::{Ending, History};
use crate::dataset::{DatasetError, StreamError};
use crate::error::{BuildError, RunError, text_as_debug};
use crate::safetensors::CheckpointError;
use crate::session::{self, Network};

/// Why a training failed, and what it was until then. The session is usable, and as it was before the call that failed, or
/// put back to the best epoch if that was asked for.
#[derive(Clone)]
#[non_exhaustive]
pub struct FitError<N: Network> {
    /// Why.
    pub cause: FitCause,
    /// The epochs before.
    pub history: History<N>,
}

/// Why a training failed.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitCause {
    /// A setting out of range, a refused step or evaluation, or a program for the evaluation that could not be compiled.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// A validation split that leaves a side without rows.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A stream that gave an error instead of a batch, or no batch.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// There is no best epoch to go back to; the session is as the last one left it.
    #[error(
        "no epoch is the best, so `restore_best` has none to go back to: what is monitored was NaN after each of \
         {epochs}; the session is as the last one left it"
    )]
    NoBest {
        /// How many epochs were completed.
        epochs: usize,
    },
}

text_as_debug!(FitCause);

impl From<BuildError> for FitCause {
    fn from(error: BuildError) -> FitCause {
        session::Error::from(error).into()
    }
}

impl From<RunError> for FitCause {
    fn from(error: RunError) -> FitCause {
        session::Error::from(error).into()
    }
}

/// What goes wrong before a training, so that `?` serves for building and training alike. There is no history.
macro_rules! from_before {
    ($($error:ty),+) => {$(
        impl<N: Network> From<$error> for FitError<N> {
            fn from(error: $error) -> FitError<N> {
                let mut history = History::after(0);
                history.end = Ending::Failed;
                FitError { cause: error.into(), history }
            }
        }
    )+};
}

from_before!(BuildError, RunError, session::Error, DatasetError, StreamError);

impl<N: Network> From<CheckpointError> for FitError<N> {
    fn from(error: CheckpointError) -> FitError<N> {
        session::Error::from(error).into()
    }
}

impl<N: Network> fmt::Display for FitError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FitError { cause, history } = self;
        match (cause, &history.epochs[..]) {
            (FitCause::NoBest { .. }, _) | (_, []) => write!(f, "{cause}")?,
            _ => write!(f, "in epoch {}: {cause}", history.failed_in())?,
        }
        match history.best {
            Some(best) if history.restored => write!(f, "; then the session was put back to the best epoch, {best}"),
            _ => Ok(()),
        }
    }
}

/// The text, as of every error.
impl<N: Network> fmt::Debug for FitError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<N: Network> Error for FitError<N> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}
