//! Where the batches of an epoch come from: rows of a dataset, in an order of their own, or a stream.

use std::ops::Range;

use super::batches::batches;
use super::supervised::{DatasetOf, StreamOf};
use super::{FitCause, Supervised, Validation};
use crate::error::BuildError;
use crate::session::{Pass, Session, Shuffling};

/// What a training goes through, as the user gives it.
pub(super) enum Source<'f, N: Supervised> {
    Set(&'f mut DatasetOf<N>),
    Stream(&'f mut StreamOf<N>),
}

/// How a training goes through it, once everything is checked.
pub(super) enum Batches<'f, N: Supervised> {
    Set(Cut<'f, N>),
    Stream(&'f mut StreamOf<N>),
}

/// A dataset in batches.
pub(super) struct Cut<'f, N: Supervised> {
    pub(super) data: &'f mut DatasetOf<N>,
    pub(super) batches: Vec<Range<usize>>,
    /// The epoch that an earlier training did not complete, and the batches that it lacks.
    begun: Option<(Pass, Vec<Range<usize>>)>,
    pub(super) shuffling: Shuffling,
    /// How many rows, the first ones, are for training.
    pub(super) train: usize,
}

impl<'f, N: Supervised> Source<'f, N> {
    /// Looks at the data, and at the settings that are about them. Nothing is changed.
    pub(super) fn checked(
        self,
        session: &Session<N>,
        batch: Option<usize>,
        validation: &Validation<'f, N>,
    ) -> Result<Batches<'f, N>, FitCause> {
        let setting = |name, wanted, actual| Err(BuildError::Setting { name, wanted, actual }.into());
        match (self, batch, validation) {
            (Source::Set(data), batch, _) => {
                let size = batch.unwrap_or(session.max_batch());
                if size == 0 || size > session.max_batch() {
                    return setting("batch_size", "from 1 to `max_batch`", size.to_string());
                }
                Cut::new(session, data, size, validation).map(Batches::Set)
            }
            (Source::Stream(_), Some(size), _) => {
                setting("batch_size", "left to the iterator of a stream", size.to_string())
            }
            (Source::Stream(_), _, Validation::Split(share)) => {
                setting("validation_split", "left out for a stream, which takes `validation`", share.to_string())
            }
            (Source::Stream(stream), None, _) => Ok(Batches::Stream(stream)),
        }
    }
}

impl<'f, N: Supervised> Cut<'f, N> {
    fn new(
        session: &Session<N>,
        data: &'f mut DatasetOf<N>,
        size: usize,
        validation: &Validation<'f, N>,
    ) -> Result<Cut<'f, N>, FitCause> {
        session.check(data.inputs(), data.targets())?;
        let train = match validation {
            Validation::Split(share) => data.rows_without(*share, ["the training", "the validation"])?,
            _ => data.len(),
        };
        let shuffling = data.shuffling(data.len() - train);
        let begun = session.position().pass.clone().filter(|pass| pass.shuffling == shuffling && pass.rows <= train);
        let (least, most) = (session.least_rows(), session.max_batch());
        let whole = batches(0..train, size, least, most);
        let rest = begun.as_ref().map(|pass| batches(pass.rows..train, size, least, most));
        for rows in whole.iter().chain(rest.iter().flatten()) {
            session.check_rows(rows.len())?;
        }
        Ok(Cut { data, batches: whole, begun: begun.zip(rest), shuffling, train })
    }
}

impl<N: Supervised> Batches<'_, N> {
    /// An epoch that an earlier training did not complete, and the batches that it lacks: of a dataset, and once. What a stream
    /// gives next time need not be what is lacking, so that its epochs begin anew.
    pub(super) fn take_begun(&mut self) -> Option<(Pass, Vec<Range<usize>>)> {
        match self {
            Batches::Set(cut) => cut.begun.take(),
            Batches::Stream(_) => None,
        }
    }

    /// What decides the order of an epoch beside its number.
    pub(super) fn shuffling(&self) -> Shuffling {
        match self {
            Batches::Set(cut) => cut.shuffling,
            Batches::Stream(_) => Shuffling { seed: 0, rows: 0, kept_out: 0 },
        }
    }

    /// Whether rows are kept out of the training.
    pub(super) fn keeps_out(&self) -> bool {
        self.shuffling().kept_out > 0
    }

    /// How many rows an epoch has, if that is known.
    pub(super) fn rows(&self) -> Option<usize> {
        match self {
            Batches::Set(cut) => Some(cut.train),
            Batches::Stream(_) => None,
        }
    }
}
