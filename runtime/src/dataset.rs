//! Samples with their targets, in batches.

use std::ops::Range;

use ndarray::{Array, ArrayView, Axis, Dimension, RemoveAxis, Slice};

use crate::init::Random;

/// Inputs and targets of the same number of rows, shuffled anew for every pass.
#[derive(Clone, Debug)]
pub struct Dataset<T, I: Dimension, D: Dimension> {
    inputs: Array<f32, I>,
    targets: Array<T, D>,
    random: Random,
    /// How many rows, the last ones, a training keeps out for validation.
    kept_out: usize,
}

/// Why a dataset could not be made.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum DatasetError {
    /// Inputs and targets disagree about the number of rows.
    #[error("{inputs} rows of inputs, but {targets} of targets")]
    Rows {
        /// Rows of the inputs.
        inputs: usize,
        /// Rows of the targets.
        targets: usize,
    },
    /// No rows at all, or a side of a split without rows.
    #[error("a dataset needs at least one row")]
    Empty,
    /// A share that is none.
    #[error("a share must lie between 0 and 1, got {0}")]
    Share(f64),
    /// There is not enough memory for a copy of the rows.
    #[error("not enough memory for a copy of the rows")]
    NoMemory,
}

impl<T: Clone, I: RemoveAxis, D: RemoveAxis> Dataset<T, I, D> {
    /// Pairs inputs with targets, row by row. Arrays in the standard layout are taken over, others copied into it.
    ///
    /// # Errors
    /// No rows, numbers of rows that differ, a copy for which there is no memory.
    pub fn new(inputs: Array<f32, I>, targets: Array<T, D>) -> Result<Dataset<T, I, D>, DatasetError> {
        let rows = (inputs.len_of(Axis(0)), targets.len_of(Axis(0)));
        if rows.0 != rows.1 {
            return Err(DatasetError::Rows { inputs: rows.0, targets: rows.1 });
        }
        if rows.0 == 0 {
            return Err(DatasetError::Empty);
        }
        // Batches are read in place where rows lie one after the other.
        let inputs = if inputs.is_standard_layout() { inputs } else { copy(inputs.view())? };
        let targets = if targets.is_standard_layout() { targets } else { copy(targets.view())? };
        Ok(Dataset { inputs, targets, random: Random::new(0, 0), kept_out: 0 })
    }

    /// The seed of the shuffling. The same seed gives the same order.
    pub fn seed(mut self, seed: u64) -> Dataset<T, I, D> {
        self.random = Random::new(seed, 0);
        self
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

    /// Shuffles, then cuts off this share as a second dataset: `split(0.2)` keeps 80 %.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, or that leaves a side without rows; a copy of the second dataset for which there is
    /// no memory.
    pub fn split(mut self, share: f64) -> Result<(Self, Self), DatasetError> {
        let first = self.rows_without(share)?;
        self.shuffle_first(self.len());
        let (inputs, targets) = self.rows(first..self.len());
        let second =
            Dataset { inputs: copy(inputs)?, targets: copy(targets)?, random: self.random.clone(), kept_out: 0 };
        // The first one stays where it is.
        self.inputs.slice_axis_inplace(Axis(0), (..first).into());
        self.targets.slice_axis_inplace(Axis(0), (..first).into());
        self.kept_out = 0;
        Ok((self, second))
    }

    /// Shuffles, then gives batches of `size` rows as views, the last one of what is left. A size of 0 counts as 1.
    pub fn batches(&mut self, size: usize) -> impl Iterator<Item = (ArrayView<'_, f32, I>, ArrayView<'_, T, D>)> {
        self.keep_out(0);
        self.shuffle_first(self.len());
        let size = size.max(1);
        self.inputs.axis_chunks_iter(Axis(0), size).zip(self.targets.axis_chunks_iter(Axis(0), size))
    }

    /// How many rows are left without this share of them; both sides have some.
    pub(crate) fn rows_without(&self, share: f64) -> Result<usize, DatasetError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(DatasetError::Share(share));
        }
        let second = (self.len() as f64 * share).round() as usize;
        match self.len() - second {
            0 => Err(DatasetError::Empty),
            _ if second == 0 => Err(DatasetError::Empty),
            first => Ok(first),
        }
    }

    /// Says that the last `rows` rows are kept out of the training. They are drawn anew, unless as many are kept out already.
    pub(crate) fn keep_out(&mut self, rows: usize) {
        if rows != self.kept_out && rows > 0 {
            self.shuffle_first(self.len());
        }
        self.kept_out = rows;
    }

    /// These rows, in the present order.
    pub(crate) fn rows(&self, rows: Range<usize>) -> (ArrayView<'_, f32, I>, ArrayView<'_, T, D>) {
        let rows = Slice::from(rows);
        (self.inputs.slice_axis(Axis(0), rows), self.targets.slice_axis(Axis(0), rows))
    }

    /// Exchanges the first rows in place (Fisher & Yates), so that every batch lies in memory as it is read.
    pub(crate) fn shuffle_first(&mut self, rows: usize) {
        for last in (1..rows).rev() {
            let other = self.random.below(last as u64 + 1) as usize;
            swap_rows(&mut self.inputs, last, other);
            swap_rows(&mut self.targets, last, other);
        }
    }
}

/// In the standard layout.
fn copy<T: Clone, D: Dimension>(array: ArrayView<'_, T, D>) -> Result<Array<T, D>, DatasetError> {
    let mut elements = Vec::new();
    elements.try_reserve_exact(array.len()).map_err(|_| DatasetError::NoMemory)?;
    elements.extend(array.iter().cloned());
    Ok(Array::from_shape_vec(array.raw_dim(), elements).expect("as many elements as before"))
}

fn swap_rows<T, D: RemoveAxis>(array: &mut Array<T, D>, x: usize, y: usize) {
    let (low, high) = (x.min(y), x.max(y));
    if low == high {
        return;
    }
    let (mut head, mut tail) = array.view_mut().split_at(Axis(0), high);
    let (mut low, mut high) = (head.index_axis_mut(Axis(0), low), tail.index_axis_mut(Axis(0), 0));
    low.iter_mut().zip(high.iter_mut()).for_each(|(a, b)| std::mem::swap(a, b));
}
