//! Rows of a table as the features of a network.

use std::fmt;

use ndarray::Array2;

use super::{Categories, Table, TableError};

/// Columns with all that was learned of them: what makes features of rows, in the program that trains and in one that predicts.
///
/// It prints as a text and is parsed from it: `net.attach("columns", &columns)?` keeps it in the checkpoints of a network, and
/// `predictor.attached::<Encoder>("columns")?` has it back. It needs the columns that it was made of, in any order; what else a table
/// has does not matter.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    pub(super) parts: Vec<Part>,
}

/// What is made of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// The number that it is, or the one that stands for what is missing.
    Number { column: String, fill: Option<f32> },
    /// A number for each category.
    OneHot(Categories),
}

impl Encoder {
    /// How many features a row has: the `n` of an input `[B, n]`.
    pub fn width(&self) -> usize {
        self.parts.iter().map(Part::width).sum()
    }

    /// What the features are called, in their order: the column, or `city=Ulm` for a category.
    pub fn names(&self) -> Vec<String> {
        let names = |part: &Part| match part {
            Part::Number { column, .. } => vec![column.clone()],
            Part::OneHot(categories) => {
                categories.names().iter().map(|name| format!("{}={name}", categories.column())).collect()
            }
        };
        self.parts.iter().flat_map(names).collect()
    }

    /// The features of these rows, `[rows, width]`.
    ///
    /// # Errors
    /// A column that is not there; a cell that is missing and has no filling, is no number, or of an unknown category: the error
    /// names the line and the column.
    pub fn encode(&self, table: &Table) -> Result<Array2<f32>, TableError> {
        let (rows, width) = (table.len(), self.width());
        let mut numbers = super::room(rows.saturating_mul(width))?;
        numbers.resize(rows * width, 0.0);
        let mut at = 0;
        for part in &self.parts {
            match part {
                Part::Number { column, fill } => {
                    let place = table.column(column)?;
                    for row in 0..rows {
                        let number = table.number_at(row, place)?.or(*fill);
                        numbers[row * width + at] = number.ok_or_else(|| table.missing(row, place, "number"))?;
                    }
                }
                Part::OneHot(categories) => {
                    for (row, id) in categories.ids(table)?.enumerate() {
                        if let Some(id) = id? {
                            numbers[row * width + at + id] = 1.0;
                        }
                    }
                }
            }
            at += part.width();
        }
        Ok(Array2::from_shape_vec((rows, width), numbers).expect("room was made for so many"))
    }
}

impl Part {
    fn width(&self) -> usize {
        match self {
            Part::Number { .. } => 1,
            Part::OneHot(categories) => categories.names().len(),
        }
    }
}

/// As it is attached to a network and parsed again.
impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::stored::encoder(self))
    }
}
