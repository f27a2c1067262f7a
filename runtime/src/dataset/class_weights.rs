//! How much each class counts, from how often it occurs.

use std::fmt;

use ndarray::{Array, ArrayView, Dimension};

use super::{ClassId, DatasetError};

/// A weight for every class, so that rare classes count as much as frequent ones.
///
/// Printed, it is what `cross_entropy(logits, label, class_weights = [..])` takes; [`ClassWeights::of_rows`] gives a target with
/// the weight of every row, for losses that multiply by it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassWeights {
    weights: Vec<f32>,
}

impl ClassWeights {
    /// Weights in inverse proportion to the counts of the classes: `n / (classes * count)` of `n` labels, whatever their shape.
    /// Their mean over all labels is 1; a class that occurs as often as it would if all were equally frequent has weight 1.
    /// (`class_weight="balanced"` of scikit-learn.)
    ///
    /// # Errors
    /// No labels, an id that is not below `classes`, a class without labels, whose weight would be infinite.
    pub fn balanced<K: ClassId, D: Dimension>(
        labels: ArrayView<'_, K, D>,
        classes: usize,
    ) -> Result<ClassWeights, DatasetError> {
        if labels.is_empty() {
            return Err(DatasetError::Empty);
        }
        check(&labels, classes)?;
        // Of more classes than labels one of the first has none.
        let mut counts = vec![0usize; classes.min(labels.len() + 1)];
        for label in &labels {
            if let Some(count) = counts.get_mut(label.class()) {
                *count += 1;
            }
        }
        match counts.iter().position(|&count| count == 0) {
            Some(class) => Err(DatasetError::Missing { class, classes }),
            None => {
                let all = labels.len() as f64;
                let weight = |count: usize| (all / (classes as f64 * count as f64)) as f32;
                Ok(ClassWeights { weights: counts.into_iter().map(weight).collect() })
            }
        }
    }

    /// The weights in the order of the classes.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The weight of every label: for a dataset with a target `weight: [B]`.
    ///
    /// # Errors
    /// An id of no class that has a weight.
    pub fn of_rows<K: ClassId, D: Dimension>(
        &self,
        labels: ArrayView<'_, K, D>,
    ) -> Result<Array<f32, D>, DatasetError> {
        check(&labels, self.weights.len())?;
        Ok(labels.map(|label| self.weights[label.class()]))
    }
}

/// `[0.5, 1, 3.25]`
impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights: Vec<String> = self.weights.iter().map(f32::to_string).collect();
        write!(f, "[{}]", weights.join(", "))
    }
}

/// Says which id is that of no class.
fn check<K: ClassId, D: Dimension>(labels: &ArrayView<'_, K, D>, classes: usize) -> Result<(), DatasetError> {
    let width = labels.shape().iter().skip(1).product::<usize>().max(1);
    let wrong = labels.iter().enumerate().find(|(_, label)| label.class() >= classes);
    wrong.map_or(Ok(()), |(at, label)| Err(DatasetError::Class { id: label.class(), row: at / width, classes }))
}
