//! A dataset in several parts, each of which is held against the network that all others have trained: cross-validation.
//!
//! In: a dataset and the number of parts. Out: for each part, the rows of all others and its own. Which rows go where follows from
//! the seed alone.

use ndarray::Array1;

use super::order::Order;
use super::{ClassId, Dataset, DatasetError, Rows, exchange};

/// Rows to train with, and rows to validate with.
type Pair<X, Y> = (Dataset<X, Y>, Dataset<X, Y>);

/// The pairs that [`Dataset::folds`] gives, one after the other: the rows of all other parts, and those of one. Each pair is copied
/// when it is asked for.
#[derive(Clone, Debug)]
pub struct Folds<X, Y> {
    data: Dataset<X, Y>,
    /// Which part a row belongs to.
    part: Vec<usize>,
    parts: usize,
    next: usize,
}

impl<X: Rows, Y: Rows> Dataset<X, Y> {
    /// Shuffles, then shares the rows out to `k` parts of equal size, up to one row. The iterator gives each part once as the second
    /// of two datasets, to validate with, and all others as the first, to train with. The seed decides which rows are in a part.
    ///
    /// ```
    /// # use gradloom_runtime as gradloom;
    /// use gradloom::dataset::Dataset;
    /// use ndarray::Array2;
    ///
    /// let data = Dataset::new(Array2::<f32>::zeros((10, 3)), Array2::<f32>::zeros((10, 1)))?.seed(1);
    /// for pair in data.folds(5)? {
    ///     let (training, validation) = pair?;
    ///     assert_eq!((training.len(), validation.len()), (8, 2));
    /// }
    /// # Ok::<(), gradloom::dataset::DatasetError>(())
    /// ```
    ///
    /// # Errors
    /// Fewer parts than 2, or more than there are rows; for each pair, no memory for a copy.
    pub fn folds(self, k: usize) -> Result<Folds<X, Y>, DatasetError> {
        let rows = self.len();
        self.shared_out(k, |data| Ok(data.numbers(rows)?.into_iter().map(|row| row * k / rows).collect()))
    }

    /// As [`Dataset::folds`], with the same share of every class in each part, up to one row. `class` says which class the row of a
    /// number has, as for [`Dataset::split_stratified_by`].
    ///
    /// # Errors
    /// As for [`Dataset::folds`].
    pub fn folds_stratified_by<K: Ord>(
        self,
        k: usize,
        class: impl Fn(&X, &Y, usize) -> K,
    ) -> Result<Folds<X, Y>, DatasetError> {
        let rows = self.len();
        self.shared_out(k, |data| {
            let mut sorted = data.numbers(rows)?;
            sorted.sort_by_key(|&row| class(&data.inputs, &data.targets, row));
            // Class after class, the parts take turns.
            let mut part = data.numbers(rows)?;
            sorted.into_iter().enumerate().for_each(|(turn, row)| part[row] = turn % k);
            Ok(part)
        })
    }

    fn shared_out(
        mut self,
        k: usize,
        part: impl FnOnce(&Self) -> Result<Vec<usize>, DatasetError>,
    ) -> Result<Folds<X, Y>, DatasetError> {
        if !(2..=self.len()).contains(&k) {
            return Err(DatasetError::Folds { k, rows: self.len() });
        }
        self.share_out();
        let part = part(&self)?;
        Ok(Folds { data: self, part, parts: k, next: 0 })
    }

    fn numbers(&self, rows: usize) -> Result<Vec<usize>, DatasetError> {
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(rows).map_err(|_| DatasetError::NoMemory { rows })?;
        numbers.extend(0..rows);
        Ok(numbers)
    }
}

impl<X: Rows, K: ClassId> Dataset<X, Array1<K>> {
    /// As [`Dataset::folds`], with the same share of every class of the targets in each part, up to one row.
    ///
    /// # Errors
    /// As for [`Dataset::folds`].
    pub fn folds_stratified(self, k: usize) -> Result<Folds<X, Array1<K>>, DatasetError> {
        self.folds_stratified_by(k, |_, labels, row| labels[row])
    }
}

impl<X: Rows, Y: Rows> Folds<X, Y> {
    fn pair(&self, part: usize) -> Result<Pair<X, Y>, DatasetError> {
        let rows = self.data.len();
        let no_memory = || DatasetError::NoMemory { rows };
        let mut inputs = self.data.inputs.copied(0..rows).ok_or_else(no_memory)?;
        let mut targets = self.data.targets.copied(0..rows).ok_or_else(no_memory)?;
        let mut order = Order::new(rows).ok_or_else(no_memory)?;
        let mut goes = Vec::new();
        goes.try_reserve_exact(rows).map_err(|_| no_memory())?;
        goes.extend(self.part.iter().map(|&own| own == part));
        order.divide(&goes, &mut exchange(&mut inputs, &mut targets));
        let first = rows - goes.into_iter().filter(|goes| *goes).count();
        Dataset { inputs, targets, rows, order, seed: self.data.seed, passes: 0 }.cut(first)
    }
}

impl<X: Rows, Y: Rows> Iterator for Folds<X, Y> {
    type Item = Result<Pair<X, Y>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let part = self.next;
        self.next += usize::from(part < self.parts);
        (part < self.parts).then(|| self.pair(part))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.parts - self.next;
        (left, Some(left))
    }
}

impl<X: Rows, Y: Rows> ExactSizeIterator for Folds<X, Y> {}
