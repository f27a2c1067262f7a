//! Samples with their targets, in batches.

mod element;
mod order;

use std::ops::Range;

use ndarray::{Array, ArrayView, Axis, Dimension, RemoveAxis, Slice};

use crate::error::text_as_debug;
use crate::session::Shuffling;
use order::Order;

pub use element::Element;

/// Inputs and targets of the same number of rows, shuffled anew for every pass: the seed and the number of a pass decide the order.
#[derive(Clone, Debug)]
pub struct Dataset<T, I: Dimension, D: Dimension> {
    inputs: Array<f32, I>,
    targets: Array<T, D>,
    order: Order,
    seed: u64,
    /// How often `batches` has gone through it.
    passes: u64,
}

/// Why a dataset could not be made.
#[derive(Clone, Copy, PartialEq, thiserror::Error)]
pub enum DatasetError {
    /// Inputs and targets disagree about the number of rows.
    #[error("{inputs} rows of inputs, but {targets} of targets")]
    Rows {
        /// Rows of the inputs.
        inputs: usize,
        /// Rows of the targets.
        targets: usize,
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
    /// There is not enough memory for a copy of the rows, or for their numbers.
    #[error("not enough memory for a dataset of {rows} rows")]
    NoMemory {
        /// All rows.
        rows: usize,
    },
}

text_as_debug!(DatasetError);

impl<T: Element, I: RemoveAxis, D: RemoveAxis> Dataset<T, I, D> {
    /// Pairs inputs with targets, row by row. Arrays in the standard layout are taken over, others copied into it.
    ///
    /// # Errors
    /// No rows, numbers of rows that differ, a copy for which there is no memory.
    pub fn new(inputs: Array<f32, I>, targets: Array<T, D>) -> Result<Dataset<T, I, D>, DatasetError> {
        // An array of a dimension known at run time alone may have no axis.
        let rows = (inputs.shape().first().map_or(0, |rows| *rows), targets.shape().first().map_or(0, |rows| *rows));
        if rows.0 != rows.1 {
            return Err(DatasetError::Rows { inputs: rows.0, targets: rows.1 });
        }
        if rows.0 == 0 {
            return Err(DatasetError::Empty);
        }
        // Batches are read in place where rows lie one after the other.
        let inputs = if inputs.is_standard_layout() { inputs } else { copy(inputs.view())? };
        let targets = if targets.is_standard_layout() { targets } else { copy(targets.view())? };
        let order = Order::new(rows.0).ok_or(DatasetError::NoMemory { rows: rows.0 })?;
        Ok(Dataset { inputs, targets, order, seed: 0, passes: 0 })
    }

    /// The seed of the shuffling. The same seed gives the same order, from the first pass on.
    pub fn seed(self, seed: u64) -> Dataset<T, I, D> {
        Dataset { seed, passes: 0, ..self }
    }

    /// Number of rows.
    #[expect(clippy::len_without_is_empty, reason = "a dataset is never empty")]
    pub fn len(&self) -> usize {
        self.inputs.len_of(Axis(0))
    }

    /// All inputs, in the present order.
    pub fn inputs(&self) -> ArrayView<'_, f32, I> {
        self.inputs.view()
    }

    /// All targets, in the present order.
    pub fn targets(&self) -> ArrayView<'_, T, D> {
        self.targets.view()
    }

    /// Shuffles, then cuts off this share as a second dataset: `split(0.2)` keeps 80 %. The seed decides which rows those are,
    /// whatever was done with the data before: those that [`Fit::validation_split`](crate::fit::Fit::validation_split) keeps out.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, or that leaves a side without rows; a copy of the second dataset for which there is
    /// no memory.
    pub fn split(mut self, share: f64) -> Result<(Self, Self), DatasetError> {
        let first = self.rows_without(share, ["the first part", "the second part"])?;
        let rest = self.len() - first;
        if rest == 0 {
            return Err(DatasetError::Side { share, rows: first, side: "the second part" });
        }
        let Dataset { inputs, targets, order, seed, .. } = &mut self;
        order.share(*seed, &mut exchange(inputs, targets));
        let numbers = |rows| Order::new(rows).ok_or(DatasetError::NoMemory { rows });
        let (inputs, targets) = self.rows(first..self.len());
        let (inputs, targets) = (copy(inputs)?, copy(targets)?);
        let second = Dataset { inputs, targets, order: numbers(rest)?, seed: self.seed, passes: 0 };
        // The first one stays where it is.
        self.inputs.slice_axis_inplace(Axis(0), (..first).into());
        self.targets.slice_axis_inplace(Axis(0), (..first).into());
        Ok((Dataset { order: numbers(first)?, passes: 0, ..self }, second))
    }

    /// Shuffles, then gives batches of `size` rows as views, the last one of what is left. A size of 0 counts as 1.
    ///
    /// The seed decides the order together with how often this was called: the first call gives the order of the first epoch of
    /// a [`fit`](crate::session::Session::fit), the second that of the second. A `fit` counts its own epochs: neither changes
    /// the order of the other.
    pub fn batches(&mut self, size: usize) -> impl Iterator<Item = (ArrayView<'_, f32, I>, ArrayView<'_, T, D>)> {
        self.passes = self.passes.wrapping_add(1);
        self.shuffle(self.passes, 0);
        let size = size.max(1);
        self.inputs.axis_chunks_iter(Axis(0), size).zip(self.targets.axis_chunks_iter(Axis(0), size))
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
    pub(crate) fn rows(&self, rows: Range<usize>) -> (ArrayView<'_, f32, I>, ArrayView<'_, T, D>) {
        let rows = Slice::from(rows);
        (self.inputs.slice_axis(Axis(0), rows), self.targets.slice_axis(Axis(0), rows))
    }

    /// Brings the rows into the order of a pass, counted from 1, in place, so that every batch lies in memory as it is read. The
    /// last `kept_out` are the same in every pass.
    pub(crate) fn shuffle(&mut self, pass: u64, kept_out: usize) {
        let Dataset { inputs, targets, order, seed, .. } = self;
        order.pass(*seed, pass, kept_out, &mut exchange(inputs, targets));
    }
}

/// Exchanges two rows and their targets. Both are in the standard layout.
fn exchange<T: Element, I: RemoveAxis, D: RemoveAxis>(
    inputs: &mut Array<f32, I>,
    targets: &mut Array<T, D>,
) -> impl FnMut(usize, usize) {
    let rows = inputs.len_of(Axis(0));
    let widths = (inputs.len() / rows, targets.len() / rows);
    let inputs = inputs.as_slice_mut().expect("a dataset keeps rows in order");
    let targets = targets.as_slice_mut().expect("a dataset keeps rows in order");
    move |x, y| {
        f32::swap_rows(inputs, widths.0, x, y);
        T::swap_rows(targets, widths.1, x, y);
    }
}

/// In the standard layout.
fn copy<T: Element, D: Dimension>(array: ArrayView<'_, T, D>) -> Result<Array<T, D>, DatasetError> {
    let (shape, rows) = (array.raw_dim(), array.shape().first().map_or(0, |rows| *rows));
    let elements = T::copied(array.into_dyn()).ok_or(DatasetError::NoMemory { rows })?;
    Ok(Array::from_shape_vec(shape, elements).expect("as many elements as before"))
}
