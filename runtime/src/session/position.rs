//! How far `fit` has come: how many epochs, and where it stands in one that is not complete.
//!
//! In: what each step reports. Out: what the next `fit` begins with, also in another process: a checkpoint has it as two of its
//! words.

use std::str::FromStr;

use super::{Network, Report, Session};

/// How far `fit` has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Position {
    /// Complete epochs.
    pub(crate) epochs: usize,
    /// The epoch after them, if some steps of it were made.
    pub(crate) pass: Option<Pass>,
}

/// What decides the order of the rows in an epoch, beside its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shuffling {
    /// The seed of the data.
    pub(crate) seed: u64,
    /// All rows.
    pub(crate) rows: usize,
    /// Those of them that are kept out for validation.
    pub(crate) kept_out: usize,
}

/// An epoch under way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pass {
    /// The order of its rows.
    pub(crate) shuffling: Shuffling,
    /// Steps made.
    pub(crate) steps: usize,
    /// Rows that they were made on, the first ones.
    pub(crate) rows: usize,
    /// The learning rate of the first of them.
    pub(crate) rate: f64,
    /// The sums of loss and metrics, each step weighted by its rows.
    pub(crate) loss: f64,
    pub(crate) metrics: Vec<f64>,
}

impl Pass {
    /// Of no steps.
    pub(crate) fn new<N: Network>(shuffling: Shuffling, rate: f64) -> Pass {
        let metrics = vec![0.0; N::declared().metrics.len()];
        Pass { shuffling, steps: 0, rows: 0, rate, loss: 0.0, metrics }
    }

    /// Adds a step on so many rows.
    pub(crate) fn add(&mut self, rows: usize, report: &Report<'_>) {
        self.steps += 1;
        self.rows += rows;
        let weight = rows as f64;
        self.loss += weight * f64::from(report.loss);
        self.metrics.iter_mut().zip(report.metrics).for_each(|(sum, &x)| *sum += weight * f64::from(x));
    }

    /// As a word of a checkpoint: numbers in the order of the fields, with all their digits.
    pub(super) fn word(&self) -> String {
        let Pass { shuffling: Shuffling { seed, rows: all, kept_out }, steps, rows, rate, loss, metrics } = self;
        let sums: String = metrics.iter().map(|sum| format!(" {sum}")).collect();
        format!("{seed} {all} {kept_out} {steps} {rows} {rate} {loss}{sums}")
    }

    /// From a word, if it is one of a network with so many metrics.
    pub(super) fn of_word(word: &str, metrics: usize) -> Option<Pass> {
        fn next<'w, T: FromStr>(parts: &mut impl Iterator<Item = &'w str>) -> Option<T> {
            parts.next()?.parse().ok()
        }
        let parts = &mut word.split(' ');
        let shuffling = Shuffling { seed: next(parts)?, rows: next(parts)?, kept_out: next(parts)? };
        let (steps, rows, rate, loss) = (next(parts)?, next(parts)?, next(parts)?, next(parts)?);
        // One more would be one too many.
        let sums: Vec<f64> = parts.take(metrics + 1).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let some = steps > 0 && rows >= steps && sums.len() == metrics;
        some.then_some(Pass { shuffling, steps, rows, rate, loss, metrics: sums })
    }
}

impl<N: Network> Session<N> {
    /// How many epochs [`Session::fit`] has completed, those before a checkpoint included. The next one has the number after
    /// it, which decides the order of its rows together with the seed of the data.
    pub fn epochs(&self) -> usize {
        self.any.position.epochs
    }

    pub(crate) fn position(&self) -> &Position {
        &self.any.position
    }

    /// Says where an epoch stands, after so many. Allocates for the first step of it alone.
    pub(crate) fn stand(&mut self, epochs: usize, pass: &Pass) {
        self.any.position.epochs = epochs;
        match &mut self.any.position.pass {
            Some(known) if known.metrics.len() == pass.metrics.len() => {
                let mut metrics = std::mem::take(&mut known.metrics);
                metrics.copy_from_slice(&pass.metrics);
                let &Pass { shuffling, steps, rows, rate, loss, .. } = pass;
                *known = Pass { shuffling, steps, rows, rate, loss, metrics };
            }
            other => *other = Some(pass.clone()),
        }
    }

    /// Says that so many epochs are complete, and nothing of the next one.
    pub(crate) fn complete(&mut self, epochs: usize) {
        self.any.position = Position { epochs, pass: None };
    }
}

#[cfg(test)]
mod tests {
    use super::{Pass, Shuffling};

    #[test]
    fn an_epoch_comes_back_from_its_word_with_every_digit() {
        let shuffling = Shuffling { seed: u64::MAX, rows: 50, kept_out: 10 };
        let metrics = vec![1.0 / 3.0, f64::INFINITY, -0.0, 1e-300];
        let pass = Pass { shuffling, steps: 3, rows: 24, rate: 0.1 + 0.2, loss: 2e200 / 3.0, metrics };
        assert_eq!(Pass::of_word(&pass.word(), 4), Some(pass.clone()));
        assert_eq!(Pass::of_word(&pass.word(), 3), None, "of a network with fewer metrics");
        let undefined = Pass { metrics: vec![f64::NAN], ..pass };
        assert!(Pass::of_word(&undefined.word(), 1).is_some_and(|pass| pass.metrics[0].is_nan()));
    }

    #[test]
    fn what_is_no_epoch_is_none() {
        assert!(Pass::of_word("9 50 10 3 24 0.1 2.5", 0).is_some());
        for word in ["", "9", "9 50 10 0 0 0.1 2.5", "9 50 10 3 2 0.1 2.5", "9 50 10 3 24 0.1", "9 50 -1 3 24 0.1 2.5"]
        {
            assert_eq!(Pass::of_word(word, 0), None, "{word}");
        }
        assert_eq!(Pass::of_word("9 50 10 3 24 0.1 2.5 ", 0), None);
    }
}
