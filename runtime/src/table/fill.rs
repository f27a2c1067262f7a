//! What stands in for what is missing.

/// What takes the place of a cell that is missing: for [`Columns::fill`](super::Columns::fill), which also takes a number or a text
/// as it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fill {
    /// The mean of the column, in the rows that are fitted to. For numbers.
    Mean,
    /// Its median. For numbers.
    Median,
    /// A number.
    Number(f32),
    /// A category, which need not be one that occurs.
    Category(String),
}

impl From<f32> for Fill {
    fn from(number: f32) -> Fill {
        Fill::Number(number)
    }
}

impl From<&str> for Fill {
    fn from(category: &str) -> Fill {
        Fill::Category(category.to_string())
    }
}

impl Fill {
    /// The number for a column that has these, in any order; none of no numbers.
    pub(super) fn number(&self, mut numbers: Vec<f32>) -> Option<f32> {
        let count = numbers.len();
        match self {
            Fill::Number(number) => Some(*number),
            _ if numbers.is_empty() => None,
            Fill::Mean => Some((numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / count as f64) as f32),
            Fill::Median => {
                numbers.sort_unstable_by(f32::total_cmp);
                let [low, high] = [numbers[(count - 1) / 2], numbers[count / 2]].map(f64::from);
                Some(((low + high) / 2.0) as f32)
            }
            Fill::Category(_) => None,
        }
    }
}
