//! A dataset in two: by chance alone, or by chance within each class.
//!
//! In: a dataset and the share of the second part. Out: two datasets. Which rows go where follows from the seed alone.

use std::cmp::Reverse;

use ndarray::Array1;

use super::order::Order;
use super::{ClassId, Dataset, DatasetError, Rows, exchange};

impl<X: Rows, Y: Rows> Dataset<X, Y> {
    /// Shuffles, then cuts off this share as a second dataset: `split(0.2)` keeps 80 %. The seed decides which rows those are,
    /// whatever was done with the data before: those that [`Fit::validation_split`](crate::fit::Fit::validation_split) keeps out.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, or that leaves a side without rows; a copy of the second dataset for which there is
    /// no memory.
    pub fn split(mut self, share: f64) -> Result<(Self, Self), DatasetError> {
        let first = self.rows_of_both(share)?;
        self.share_out();
        self.cut(first)
    }

    /// As [`Dataset::split`], with the same share of every class on both sides, up to one row: what is rare is not missing
    /// from one of them by chance. `class` says which class the row of a number has, of what the dataset holds:
    /// `split_stratified_by(0.2, |_, (kinds, _), row| kinds[row])`. Classes are whatever can be compared and is equal for some
    /// rows: an id, a pair of them, the decade of a number. The second part has as many rows as that of `split`.
    ///
    /// # Errors
    /// As for [`Dataset::split`].
    pub fn split_stratified_by<K: Ord>(
        mut self,
        share: f64,
        class: impl Fn(&X, &Y, usize) -> K,
    ) -> Result<(Self, Self), DatasetError> {
        let (first, rows) = (self.rows_of_both(share)?, self.len());
        self.share_out();
        let no_memory = |_| DatasetError::NoMemory { rows };
        let (mut classes, mut goes) = (Vec::new(), Vec::new());
        classes.try_reserve_exact(rows).map_err(no_memory)?;
        goes.try_reserve_exact(rows).map_err(no_memory)?;
        classes.extend((0..rows).map(|row| (class(&self.inputs, &self.targets, row), row)));
        classes.sort_unstable();
        goes.resize(rows, false);
        let groups: Vec<&[(K, usize)]> = classes.chunk_by(|a, b| a.0 == b.0).collect();
        let sizes: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        for (group, count) in groups.into_iter().zip(apportioned(&sizes, rows - first)) {
            group[group.len() - count..].iter().for_each(|&(_, row)| goes[row] = true);
        }
        let Dataset { inputs, targets, order, .. } = &mut self;
        order.divide(&goes, &mut exchange(inputs, targets));
        self.cut(first)
    }

    /// How many rows the first part has, if both have some.
    fn rows_of_both(&self, share: f64) -> Result<usize, DatasetError> {
        let sides = ["the first part", "the second part"];
        match self.rows_without(share, sides)? {
            first if first == self.len() => Err(DatasetError::Side { share, rows: first, side: sides[1] }),
            first => Ok(first),
        }
    }

    /// Brings the rows into the order in which they are shared out.
    pub(super) fn share_out(&mut self) {
        let Dataset { inputs, targets, order, seed, .. } = self;
        order.share(*seed, &mut exchange(inputs, targets));
    }

    /// The first rows, which stay where they are, and a copy of the rest.
    pub(super) fn cut(mut self, first: usize) -> Result<(Self, Self), DatasetError> {
        let rest = self.len() - first;
        let numbers = |rows| Order::new(rows).ok_or(DatasetError::NoMemory { rows });
        let no_memory = || DatasetError::NoMemory { rows: rest };
        let inputs = self.inputs.copied(first..self.rows).ok_or_else(no_memory)?;
        let targets = self.targets.copied(first..self.rows).ok_or_else(no_memory)?;
        let second = Dataset { inputs, targets, rows: rest, order: numbers(rest)?, seed: self.seed, passes: 0 };
        self.inputs.truncate(first);
        self.targets.truncate(first);
        Ok((Dataset { order: numbers(first)?, rows: first, passes: 0, ..self }, second))
    }
}

impl<X: Rows, K: ClassId> Dataset<X, Array1<K>> {
    /// As [`Dataset::split`], with the same share of every class of the targets on both sides, up to one row: what is rare is
    /// not missing from one of them by chance. [`Dataset::split_stratified_by`] takes classes from anywhere else.
    ///
    /// # Errors
    /// As for [`Dataset::split`].
    pub fn split_stratified(self, share: f64) -> Result<(Self, Self), DatasetError> {
        self.split_stratified_by(share, |_, labels, row| labels[row])
    }
}

/// So many places among groups, in proportion to their sizes: whole numbers, whose rest goes to the groups with the largest
/// remainders, the first of equals first (Hamilton's method). No group gets more than it has.
fn apportioned(sizes: &[usize], places: usize) -> Vec<usize> {
    let all = sizes.iter().sum::<usize>().max(1) as u128;
    let quotas = sizes.iter().map(|&size| size as u128 * places as u128);
    let (mut counts, remainders): (Vec<usize>, Vec<u128>) =
        quotas.map(|quota| ((quota / all) as usize, quota % all)).unzip();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by_key(|&group| Reverse(remainders[group]));
    let rest = places - counts.iter().sum::<usize>();
    by_remainder.into_iter().take(rest).for_each(|group| counts[group] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::apportioned;

    #[test]
    fn places_are_shared_out_in_proportion() {
        assert_eq!(apportioned(&[50, 30, 20], 10), [5, 3, 2]);
        assert_eq!(apportioned(&[7, 2, 1], 3), [2, 1, 0], "2.1, 0.6 and 0.3");
        assert_eq!(apportioned(&[1, 1, 1, 1], 2), [1, 1, 0, 0]);
        assert_eq!(apportioned(&[3], 2), [2]);
        for places in 0..=12 {
            let counts = apportioned(&[1, 2, 3, 6], places);
            assert_eq!(counts.iter().sum::<usize>(), places);
            assert!(counts.iter().zip([1, 2, 3, 6]).all(|(&count, size)| count <= size), "{counts:?}");
        }
    }
}
