//! Sessions and predictors as tables.

use std::fmt;

use super::{Network, Predictor, PredictorBuilder, Session};
use crate::summary::Summary;

impl<N: Network> Session<N> {
    /// The table that a session prints, `println!("{net}")`, with its numbers.
    pub fn summary(&self) -> Summary {
        Summary::new(self.any.definition, Some(&self.any.config)).expect("a network that was built has a table")
    }
}

impl<N: Network> Predictor<N> {
    /// The table that a predictor prints, with its numbers: without what training costs.
    pub fn summary(&self) -> Summary {
        Summary::new(self.any.definition, None).expect("a network that was built has a table")
    }
}

/// A table: for each layer its path, the shape it gives, its parameters, and its floating-point operations for one row of a
/// batch, in a prediction (`forward`) and in a whole training step; loss, metrics and the optimizer's update below. A product
/// of `[m,k]` and `[k,n]` counts `2 m n k`, an element-wise operation one for each element, a multiplication with addition
/// two. They are counted on the graphs that are compiled.
impl<N: Network> fmt::Display for Session<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(f)
    }
}

/// The table that the [`Predictor`] will print; the text of the error if there is one.
impl<N: Network> fmt::Display for PredictorBuilder<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Summary::new(self.definition(), None) {
            Ok(summary) => summary.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}

/// The table that a [`Session`] prints, without what training costs.
impl<N: Network> fmt::Display for Predictor<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(f)
    }
}
