//! Some rows of a table: parts of it to train and to test with, and those that have what is wanted.

use ndarray::Array1;

use super::{Table, TableError};
use crate::dataset::{Dataset, Folds};

/// The numbers of rows, as a dataset shares them out.
type Numbers = Dataset<Array1<u32>, ()>;

impl Table {
    /// The seed of `split` and `folds`, 0 unless given.
    pub fn seed(self, seed: u64) -> Table {
        Table { seed, ..self }
    }

    /// Shuffles, then cuts off this share as a second table: the rows that [`Dataset::split`] would give with the same seed. What is
    /// fitted to the first part alone knows nothing of the second.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, or that leaves a side without rows.
    pub fn split(&self, share: f64) -> Result<(Table, Table), TableError> {
        Ok(self.pair(self.numbered()?.split(share)?))
    }

    /// As [`Table::split`], with the same share of every text of this column on both sides, up to one row.
    ///
    /// # Errors
    /// As for [`Table::split`]; no column of this name.
    pub fn split_stratified(&self, share: f64, column: &str) -> Result<(Table, Table), TableError> {
        let column = self.column(column)?;
        let split = self.numbered()?.split_stratified_by(share, |rows, (), at| self.cells.cell(rows[at], column));
        Ok(self.pair(split?))
    }

    /// Shares the rows out to `k` parts. The iterator gives each part once as the second of two tables, to validate with, and all
    /// others as the first, to train with, as [`Dataset::folds`] does.
    ///
    /// # Errors
    /// Fewer parts than 2, or more than there are rows.
    pub fn folds(
        &self,
        k: usize,
    ) -> Result<impl Iterator<Item = Result<(Table, Table), TableError>> + use<>, TableError> {
        Ok(self.pairs(self.numbered()?.folds(k)?))
    }

    /// As [`Table::folds`], with the same share of every text of this column in each part, up to one row.
    ///
    /// # Errors
    /// As for [`Table::folds`]; no column of this name.
    pub fn folds_stratified(
        &self,
        k: usize,
        column: &str,
    ) -> Result<impl Iterator<Item = Result<(Table, Table), TableError>> + use<>, TableError> {
        let column = self.column(column)?;
        let folds = self.numbered()?.folds_stratified_by(k, |rows, (), at| self.cells.cell(rows[at], column));
        Ok(self.pairs(folds?))
    }

    /// The rows that have something in all of these columns.
    ///
    /// # Errors
    /// No column of a name; no such row.
    pub fn without_missing<C: AsRef<str>>(&self, columns: impl IntoIterator<Item = C>) -> Result<Table, TableError> {
        let columns: Vec<usize> =
            columns.into_iter().map(|name| self.column(name.as_ref())).collect::<Result<_, _>>()?;
        let has_all = |row: &u32| columns.iter().all(|&column| !self.cells.cell(*row, column).is_empty());
        let rows: Vec<u32> = self.rows.iter().copied().filter(has_all).collect();
        match rows.is_empty() {
            true => Err(TableError::NoRows { table: self.cells.file.clone() }),
            false => Ok(self.with(rows)),
        }
    }

    fn numbered(&self) -> Result<Numbers, TableError> {
        Ok(Dataset::new(Array1::from_vec(self.rows.clone()), ())?.seed(self.seed))
    }

    fn with(&self, rows: Vec<u32>) -> Table {
        Table { rows, ..self.clone() }
    }

    fn pair(&self, (first, second): (Numbers, Numbers)) -> (Table, Table) {
        let part = |numbers: Numbers| self.with(numbers.inputs().to_vec());
        (part(first), part(second))
    }

    fn pairs(&self, folds: Folds<Array1<u32>, ()>) -> impl Iterator<Item = Result<(Table, Table), TableError>> + use<> {
        let table = self.clone();
        folds.map(move |pair| Ok(table.pair(pair?)))
    }
}
