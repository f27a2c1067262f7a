//! Which class is taken for which, and what follows for each class.

use std::fmt;

use ndarray::{Array2, ArrayView, ArrayView1, ArrayView2, Axis, Dimension};

use super::EvaluationError;
use crate::dataset::ClassId;

/// How often each class was taken for each class: a confusion matrix.
///
/// It prints as a table: a row for each class, with how often it was taken for each, and precision, recall, F1 and support.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    counts: Array2<u64>,
}

/// How well a class is recognized. Where nothing is divided by nothing, the result is 0, as in scikit-learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassReport {
    /// The class.
    pub class: usize,
    /// Of what was taken for the class, the share that belongs to it. From 0 to 1; 0 if nothing was.
    pub precision: f64,
    /// Of what belongs to the class, the share that was taken for it. From 0 to 1; 0 if nothing does.
    pub recall: f64,
    /// The harmonic mean of precision and recall: `2 tp / (2 tp + fp + fn)`. From 0 to 1.
    pub f1: f64,
    /// How many labels are of the class.
    pub support: u64,
}

impl Confusion {
    /// Counts labels against predictions, both class ids below `classes` in arrays of one shape: `[n]`, `[n, T]`, ...
    ///
    /// # Errors
    /// Shapes that differ, no elements, an id that is not below `classes`, no memory for `classes * classes` counts.
    pub fn new<L: ClassId, P: ClassId, D: Dimension>(
        labels: ArrayView<'_, L, D>,
        predictions: ArrayView<'_, P, D>,
        classes: usize,
    ) -> Result<Confusion, EvaluationError> {
        if labels.shape() != predictions.shape() {
            return Err(shapes(labels.shape(), predictions.shape()));
        }
        let mut confusion = Confusion::nothing(labels.len(), classes)?;
        for (place, (label, prediction)) in labels.iter().zip(&predictions).enumerate() {
            confusion.add(place, label.class(), prediction.class())?;
        }
        Ok(confusion)
    }

    /// Counts labels against scores: logits or probabilities, a row for every label and a column for every class. The class
    /// with the largest score is the one that a row is taken for, the first of equals.
    ///
    /// # Errors
    /// Numbers of rows that differ, no rows or no columns, a label that has no column, a score that is NaN, no memory for the
    /// counts.
    pub fn of_scores<L: ClassId>(
        labels: ArrayView1<'_, L>,
        scores: ArrayView2<'_, f32>,
    ) -> Result<Confusion, EvaluationError> {
        if labels.len() != scores.nrows() {
            return Err(shapes(labels.shape(), scores.shape()));
        }
        let mut confusion = Confusion::nothing(scores.len(), scores.ncols())?;
        for (row, (label, scores)) in labels.iter().zip(scores.rows()).enumerate() {
            if scores.iter().any(|score| score.is_nan()) {
                return Err(EvaluationError::NotANumber { row });
            }
            let largest = scores.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
            confusion.add(row, label.class(), largest.map_or(0, |(class, _)| class))?;
        }
        Ok(confusion)
    }

    /// No counts yet, where there is something to count.
    fn nothing(elements: usize, classes: usize) -> Result<Confusion, EvaluationError> {
        if elements == 0 {
            return Err(EvaluationError::Empty);
        }
        let no_memory = || EvaluationError::NoMemory("a count of every pair of classes");
        let pairs = classes.checked_mul(classes).ok_or_else(no_memory)?;
        let mut counts = Vec::new();
        counts.try_reserve_exact(pairs).map_err(|_| no_memory())?;
        counts.resize(pairs, 0);
        let counts = Array2::from_shape_vec((classes, classes), counts).map_err(|_| no_memory())?;
        Ok(Confusion { counts })
    }

    fn add(&mut self, place: usize, label: usize, prediction: usize) -> Result<(), EvaluationError> {
        let classes = self.counts.nrows();
        for (what, id) in [("labels", label), ("predictions", prediction)] {
            if id >= classes {
                return Err(EvaluationError::Class { what, id, place, classes });
            }
        }
        self.counts[[label, prediction]] += 1;
        Ok(())
    }

    /// The counts, `[class of the label, class that was predicted]`.
    pub fn counts(&self) -> ArrayView2<'_, u64> {
        self.counts.view()
    }

    /// The share of labels that were predicted. From 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.counts.diag().sum() as f64 / self.counts.sum() as f64
    }

    /// How well each class is recognized, in the order of the classes.
    pub fn classes(&self) -> Vec<ClassReport> {
        let (labels, predictions) = (self.counts.sum_axis(Axis(1)), self.counts.sum_axis(Axis(0)));
        let report = |class: usize| {
            let (right, support, taken) = (self.counts[[class, class]], labels[class], predictions[class]);
            ClassReport {
                class,
                precision: share(right, taken),
                recall: share(right, support),
                // True positives are counted in both sums.
                f1: share(2 * right, support + taken),
                support,
            }
        };
        (0..self.counts.nrows()).map(report).collect()
    }

    /// The table that it prints as, with the names of the classes in place of their ids: `Categories::names` of
    /// a table, or others. A class without a name keeps its id.
    pub fn named(&self, names: &[impl AsRef<str>]) -> String {
        self.text(|class| names.get(class).map_or_else(|| class.to_string(), |name| name.as_ref().to_string()))
    }

    fn text(&self, name: impl Fn(usize) -> String) -> String {
        let names: Vec<String> = (0..self.counts.nrows()).map(name).collect();
        let letters = |name: &String| name.chars().count();
        let first = names.iter().map(letters).max().unwrap_or(0).max("class".len());
        let largest = self.counts.iter().max().map_or(0, |count| count.to_string().len());
        let widths: Vec<usize> = names.iter().map(|name| letters(name).max(largest)).collect();
        let mut text = format!("{:first$}", "class");
        names.iter().zip(&widths).for_each(|(name, width)| text.push_str(&format!("  {name:>width$}")));
        text.push_str("  precision  recall     f1  support\n");
        for ((row, class), name) in self.counts.rows().into_iter().zip(self.classes()).zip(&names) {
            let ClassReport { precision, recall, f1, support, .. } = class;
            text.push_str(&format!("{name:>first$}"));
            row.iter().zip(&widths).for_each(|(count, width)| text.push_str(&format!("  {count:>width$}")));
            text.push_str(&format!("  {precision:>9.3}  {recall:>6.3}  {f1:.3}  {support:>7}\n"));
        }
        text + &format!("accuracy {:.3}", self.accuracy())
    }

    /// The mean of the F1 of all classes, each of which counts the same, however rare it is. From 0 to 1.
    pub fn macro_f1(&self) -> f64 {
        let classes = self.classes();
        classes.iter().map(|class| class.f1).sum::<f64>() / classes.len() as f64
    }
}

/// A share, or 0 of nothing.
fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

fn shapes(labels: &[usize], predictions: &[usize]) -> EvaluationError {
    EvaluationError::Shapes { labels: labels.to_vec(), predictions: predictions.to_vec() }
}

/// A row for each class.
impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(|class| class.to_string()))
    }
}
