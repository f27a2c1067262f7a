//! Why predictions could not be judged.

use crate::error::text_as_debug;

/// Why predictions could not be judged.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// Labels and predictions that do not belong together.
    #[error("labels {labels:?}, but predictions {predictions:?}")]
    Shapes {
        /// The extents of the labels.
        labels: Vec<usize>,
        /// The extents of the predictions.
        predictions: Vec<usize>,
    },
    /// Nothing to judge.
    #[error("there are no predictions to judge")]
    Empty,
    /// A class id that is no class.
    #[error("element {place} of the {what} is class {id}, but there are {classes} classes")]
    Class {
        /// Labels or predictions.
        what: &'static str,
        /// The id.
        id: usize,
        /// The element in which it is, the first of those with such an id, counted from 0 along the rows.
        place: usize,
        /// The number of classes.
        classes: usize,
    },
    /// A score that is not a number, and therefore neither larger nor smaller than others.
    #[error("the scores of row {row} are not all numbers")]
    NotANumber {
        /// The row, the first of those.
        row: usize,
    },
    /// Labels of one class alone, between which and no other nothing can be told apart.
    #[error("all labels are {class}: telling two classes apart takes labels of both")]
    OneClass {
        /// The class.
        class: usize,
    },
    /// There is not enough memory for a count of every pair of classes, or for the order of the scores.
    #[error("not enough memory for {0}")]
    NoMemory(&'static str),
}

text_as_debug!(EvaluationError);
