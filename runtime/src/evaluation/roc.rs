//! How well scores tell two classes apart, whatever the threshold.

use ndarray::ArrayView1;

use super::EvaluationError;
use crate::dataset::ClassId;

/// The area under the ROC curve: the probability that a row of class 1 has a larger score than one of class 0, where equal scores
/// count a half. From 0 to 1; 0.5 of scores that know nothing.
///
/// `labels` are 0 or 1, `scores` any numbers that are larger where class 1 is more likely: logits or probabilities, infinities
/// included. Exact up to one rounding, in the time of a sort. Source: Mann & Whitney 1947; Hanley & McNeil 1982.
///
/// # Errors
/// Lengths that differ, no rows, a label above 1, a score that is NaN, labels of one class alone, no memory for the order.
pub fn roc_auc<L: ClassId>(labels: ArrayView1<'_, L>, scores: ArrayView1<'_, f32>) -> Result<f64, EvaluationError> {
    if labels.len() != scores.len() {
        let (labels, predictions) = (labels.shape().to_vec(), scores.shape().to_vec());
        return Err(EvaluationError::Shapes { labels, predictions });
    }
    let mut pairs = Vec::new();
    pairs.try_reserve_exact(scores.len()).map_err(|_| EvaluationError::NoMemory("the order of the scores"))?;
    for (place, (label, &score)) in labels.iter().zip(&scores).enumerate() {
        match label.class() {
            _ if score.is_nan() => return Err(EvaluationError::NotANumber { row: place }),
            // Zeros of either sign are equal.
            class @ (0 | 1) => pairs.push((score + 0.0, class == 1)),
            id => return Err(EvaluationError::Class { what: "labels", id, place, classes: 2 }),
        }
    }
    let ones = pairs.iter().filter(|(_, is_one)| *is_one).count() as u128;
    let zeros = pairs.len() as u128 - ones;
    match (zeros, ones) {
        (0, 0) => return Err(EvaluationError::Empty),
        (0, _) => return Err(EvaluationError::OneClass { class: 1 }),
        (_, 0) => return Err(EvaluationError::OneClass { class: 0 }),
        _ => {}
    }
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // Twice the pairs in which the score of class 1 is larger: those with equal scores count once.
    let (mut twice, mut zeros_before) = (0, 0);
    for equal in pairs.chunk_by(|a, b| a.0 == b.0) {
        let ones = equal.iter().filter(|(_, is_one)| *is_one).count() as u128;
        let zeros = equal.len() as u128 - ones;
        twice += ones * (2 * zeros_before + zeros);
        zeros_before += zeros;
    }
    Ok(twice as f64 / (2 * zeros * ones) as f64)
}
