//! How good predictions are, counted over whole sets: confusion of classes, precision, recall and F1, area under the ROC curve.
//!
//! In: labels and what a network makes of the rows, as arrays. Out: numbers, exact up to one rounding, since everything before
//! the last division is counted in integers. Metrics of a declaration, which are computed with a step, are not these.

mod confusion;
mod error;
mod roc;

pub use confusion::{ClassReport, Confusion};
pub use error::EvaluationError;
pub use roc::roc_auc;
