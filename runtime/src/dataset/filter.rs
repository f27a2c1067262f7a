//! Some of the rows of a dataset, and its arrays back.
//!
//! In: a dataset, and what says which rows stay. Out: a dataset of those, or the arrays. No row changes its place among those that stay.

use super::order::Order;
use super::{Dataset, DatasetError, Rows, exchange};

impl<X: Rows, Y: Rows> Dataset<X, Y> {
    /// The rows for which `keep` holds, in their present order: `data.filter(|_, labels, row| labels[row] < 5)`. It is asked of each row
    /// once, from the first to the last, so that it may count, and keep some rows of each class.
    ///
    /// ```
    /// # use gradloom_runtime as gradloom;
    /// use gradloom::dataset::Dataset;
    /// use ndarray::{Array1, Array2};
    ///
    /// let labels = Array1::from_shape_fn(30, |row| (row % 3) as u8);
    /// let mut counts = [0; 3];
    /// let few = Dataset::new(Array2::<f32>::zeros((30, 4)), labels)?.filter(|_, labels, row| {
    ///     let count = &mut counts[labels[row] as usize];
    ///     *count += 1;
    ///     *count <= 2
    /// })?;
    /// assert_eq!(few.targets().to_vec(), [0, 1, 2, 0, 1, 2]);
    /// # Ok::<(), gradloom::dataset::DatasetError>(())
    /// ```
    ///
    /// # Errors
    /// No rows that stay; no memory for their numbers.
    pub fn filter(mut self, mut keep: impl FnMut(&X, &Y, usize) -> bool) -> Result<Self, DatasetError> {
        let rows = self.len();
        let mut goes = Vec::new();
        goes.try_reserve_exact(rows).map_err(|_| DatasetError::NoMemory { rows })?;
        goes.extend((0..rows).map(|row| !keep(&self.inputs, &self.targets, row)));
        let kept = goes.iter().filter(|goes| !**goes).count();
        if kept == 0 {
            return Err(DatasetError::Empty);
        }
        let Dataset { inputs, targets, order, .. } = &mut self;
        order.divide(&goes, &mut exchange(inputs, targets));
        inputs.truncate(kept);
        targets.truncate(kept);
        let order = Order::new(kept).ok_or(DatasetError::NoMemory { rows: kept })?;
        Ok(Dataset { order, rows: kept, passes: 0, ..self })
    }

    /// Inputs and targets, in the present order: to make a dataset of them with other targets, for example.
    pub fn into_parts(self) -> (X, Y) {
        (self.inputs, self.targets)
    }
}
