//! Samples with their targets, in batches.

mod class_weights;
mod element;
mod filter;
mod folds;
mod order;
mod rows;
mod split;
mod stream;

use std::ops::Range;

use crate::error::text_as_debug;
use crate::session::Shuffling;
use order::Order;

pub use class_weights::ClassWeights;
pub use element::{ClassId, Element};
pub use folds::Folds;
pub use rows::Rows;
pub use stream::{Batches, Stream, StreamError};

/// Inputs and targets of the same number of rows, shuffled anew for every pass: the seed and the number of a pass decide the order.
///
/// Inputs are an array, or a tuple of arrays for a network with several inputs, and so are targets; `()` for a loss without
/// targets. Arrays have any rank, and elements of `f32`, `u8`, `u16` or `u32`, which stay as small as they are.
#[derive(Clone, Debug)]
pub struct Dataset<X, Y> {
    inputs: X,
    targets: Y,
    rows: usize,
    order: Order,
    seed: u64,
    /// How often `batches` has gone through it.
    passes: u64,
}

/// Why a dataset, or weights of its classes, could not be made.
#[derive(Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// Inputs and targets disagree about the number of rows.
    #[error("{inputs} rows of inputs, but {targets} of targets")]
    Rows {
        /// Rows of the inputs.
        inputs: usize,
        /// Rows of the targets.
        targets: usize,
    },
    /// Inputs that disagree about the number of rows.
    #[error("one input has {first} rows, and another {other}")]
    Inputs {
        /// Rows of the first.
        first: usize,
        /// Rows of the one that differs.
        other: usize,
    },
    /// No rows at all.
    #[error("a dataset needs at least one row")]
    Empty,
    /// A share that is none.
    #[error("a share must lie between 0 and 1, got {0}")]
    Share(f64),
    /// A share that leaves a side without rows.
    #[error("a share of {share} of {rows} rows leaves none for {side}")]
    Side {
        /// The share.
        share: f64,
        /// All rows.
        rows: usize,
        /// What has none, in words.
        side: &'static str,
    },
    /// Parts for a cross-validation, of which there are too few or too many.
    #[error("{k} parts of {rows} rows: a cross-validation has 2 parts or more, each of at least one row")]
    Folds {
        /// How many parts were asked for.
        k: usize,
        /// All rows.
        rows: usize,
    },
    /// A class id that is no class.
    #[error("class id {id} in row {row}, but there are {classes} classes{}", below(*classes))]
    Class {
        /// The id.
        id: usize,
        /// The row in which it is, the first of those with such an id.
        row: usize,
        /// The number of classes.
        classes: usize,
    },
    /// A class that has no rows and therefore no weight.
    #[error("class {class} of {classes} has no rows, so its weight would be infinite")]
    Missing {
        /// The class.
        class: usize,
        /// The number of classes.
        classes: usize,
    },
    /// There is not enough memory for a copy of the rows, or for their numbers.
    #[error("not enough memory for a dataset of {rows} rows")]
    NoMemory {
        /// All rows.
        rows: usize,
    },
}

text_as_debug!(DatasetError);

/// Which ids there are, in parentheses.
fn below(classes: usize) -> String {
    classes.checked_sub(1).map_or(String::new(), |last| format!(" (0 to {last})"))
}

impl<X: Rows, Y: Rows> Dataset<X, Y> {
    /// Pairs inputs with targets, row by row. Arrays in the standard layout are taken over, others copied into it.
    ///
    /// # Errors
    /// No rows, numbers of rows that differ, a copy for which there is no memory.
    pub fn new(inputs: X, targets: Y) -> Result<Dataset<X, Y>, DatasetError> {
        let counts = [inputs.counts(), targets.counts()];
        let [first_input, first_target] = counts.each_ref().map(|side| side.first().copied());
        let rows = first_input.or(first_target).unwrap_or(0);
        let differing = |side: &Vec<usize>| side.iter().copied().find(|count| *count != rows);
        if let Some(other) = differing(&counts[0]) {
            return Err(DatasetError::Inputs { first: rows, other });
        }
        if let Some(targets) = differing(&counts[1]) {
            return Err(DatasetError::Rows { inputs: rows, targets });
        }
        if rows == 0 {
            return Err(DatasetError::Empty);
        }
        // Batches are read in place where rows lie one after the other.
        let no_memory = || DatasetError::NoMemory { rows };
        let (inputs, targets) = (inputs.standard().ok_or_else(no_memory)?, targets.standard().ok_or_else(no_memory)?);
        let order = Order::new(rows).ok_or_else(no_memory)?;
        Ok(Dataset { inputs, targets, rows, order, seed: 0, passes: 0 })
    }

    /// The seed of the shuffling, 0 unless given. The same seed gives the same order, from the first pass on.
    pub fn seed(self, seed: u64) -> Dataset<X, Y> {
        Dataset { seed, passes: 0, ..self }
    }

    /// Number of rows.
    #[expect(clippy::len_without_is_empty, reason = "a dataset is never empty")]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// All inputs, in the present order.
    pub fn inputs(&self) -> X::Views<'_> {
        self.inputs.views()
    }

    /// All targets, in the present order.
    pub fn targets(&self) -> Y::Views<'_> {
        self.targets.views()
    }

    /// Shuffles, then gives batches of `size` rows as views, the last one of what is left. A size of 0 counts as 1.
    ///
    /// The seed decides the order together with how often this was called: the first call gives the order of the first epoch of
    /// a [`fit`](crate::session::Session::fit), the second that of the second. A `fit` counts its own epochs: neither changes
    /// the order of the other.
    pub fn batches(&mut self, size: usize) -> impl Iterator<Item = (X::Views<'_>, Y::Views<'_>)> {
        self.passes = self.passes.wrapping_add(1);
        self.shuffle(self.passes, 0);
        let (size, data) = (size.max(1), &*self);
        (0..data.rows).step_by(size).map(move |from| data.rows(from..(from + size).min(data.rows)))
    }

    /// How many rows are left without this share of them. The first side has some, and so has the second unless the share is 0.
    pub(crate) fn rows_without(&self, share: f64, sides: [&'static str; 2]) -> Result<usize, DatasetError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(DatasetError::Share(share));
        }
        let rows = self.len();
        let second = (rows as f64 * share).round() as usize;
        match (rows - second, second) {
            (0, _) => Err(DatasetError::Side { share, rows, side: sides[0] }),
            (_, 0) if share > 0.0 => Err(DatasetError::Side { share, rows, side: sides[1] }),
            (first, _) => Ok(first),
        }
    }

    /// What decides the order of an epoch beside its number, if so many rows are kept out.
    pub(crate) fn shuffling(&self, kept_out: usize) -> Shuffling {
        Shuffling { seed: self.seed, rows: self.len(), kept_out }
    }

    /// These rows, in the present order.
    pub(crate) fn rows(&self, rows: Range<usize>) -> (X::Views<'_>, Y::Views<'_>) {
        (self.inputs.part(rows.clone()), self.targets.part(rows))
    }

    /// Brings the rows into the order of a pass, counted from 1, in place, so that every batch lies in memory as it is read. The
    /// last `kept_out` are the same in every pass.
    pub(crate) fn shuffle(&mut self, pass: u64, kept_out: usize) {
        let Dataset { inputs, targets, order, seed, .. } = self;
        order.pass(*seed, pass, kept_out, &mut exchange(inputs, targets));
    }

    /// The present order, to go back to; `None` if there is no memory for it.
    pub(crate) fn order(&self) -> Option<Vec<usize>> {
        self.order.copy()
    }

    /// Back to an order of this dataset.
    pub(crate) fn restore(&mut self, rows: &[usize]) {
        let Dataset { inputs, targets, order, .. } = self;
        order.restore(rows, &mut exchange(inputs, targets));
    }
}

/// Exchanges two rows and their targets.
fn exchange<X: Rows, Y: Rows>(inputs: &mut X, targets: &mut Y) -> impl FnMut(usize, usize) {
    move |x, y| {
        inputs.exchange(x, y);
        targets.exchange(x, y);
    }
}
