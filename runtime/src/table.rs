//! Tables with a header: files of comma-separated values, and what becomes of their columns.
//!
//! In: a file, a text, or strings in memory. Out: arrays for a [`Dataset`](crate::dataset::Dataset), with an error that names line
//! and column where a cell is not what it should be. What is learned of a column, such as its categories and what fills its gaps,
//! is learned from the rows that it is fitted to, and prints as a text, so that another program codes rows in the same way. The
//! reader is the crate `csv`; scaling is the network's business (`Standardize`, `MinMax`).

mod categories;
mod columns;
mod encoder;
mod error;
mod fill;
mod read;
mod rows;
mod stored;
mod summary;

use std::sync::Arc;

use ndarray::{Array1, Array2};

use crate::elaborate::words::closest;

pub use categories::Categories;
pub use columns::Columns;
pub use encoder::Encoder;
pub use error::{CellPlace, TableError};
pub use fill::Fill;
pub use read::TableReader;

/// Rows under a header, as texts: a file of comma-separated values. What is a number and what a category is said when arrays are
/// made of columns.
///
/// ```
/// # use gradloom_runtime as gradloom;
/// use gradloom::table::{Categories, Columns, Table};
///
/// let table = Table::parse("rooms,city,price\n3,Ulm,210\n2,\"Halle, Saale\",95\n5,Ulm,320\n")?;
/// let columns = Columns::new().numbers(["rooms"]).one_hot("city").fit(&table)?;
/// assert_eq!(columns.names(), ["rooms", "city=Halle, Saale", "city=Ulm"]);
/// assert_eq!(columns.encode(&table)?.row(1).to_vec(), [2.0, 1.0, 0.0]);
/// assert_eq!(table.number("price")?.to_vec(), [210.0, 95.0, 320.0]);
/// # Ok::<(), gradloom::table::TableError>(())
/// ```
///
/// White space around a cell does not count. A cell is missing if nothing is in it, or a word that stands for that
/// ([`TableReader::missing`]). The parts of a table, and its clones, share the cells.
#[derive(Clone)]
pub struct Table {
    cells: Arc<Cells>,
    /// Which rows of the cells these are.
    rows: Vec<u32>,
    seed: u64,
}

/// What was read.
struct Cells {
    /// The file, if it was one.
    file: Option<String>,
    header: Vec<String>,
    /// All cells, row by row.
    text: String,
    /// Where each cell ends in the text.
    ends: Vec<usize>,
    /// The line of the file in which each row begins; none for rows that are from no file.
    lines: Vec<usize>,
    /// Whether numbers have a comma where others have a point.
    decimal_comma: bool,
}

impl Table {
    /// Reads a file of comma-separated values in UTF-8, whose first line is the header. Cells with commas, quotes or line breaks
    /// stand in double quotes, in which a quote is doubled (RFC 4180). Lines without anything are passed over.
    /// [`Table::reader`] has settings for other files.
    ///
    /// # Errors
    /// A file that cannot be read, is no text, has no header or no rows, a row with more or fewer cells than the header, a quote
    /// that is not closed.
    pub fn read(path: impl AsRef<std::path::Path>) -> Result<Table, TableError> {
        Table::reader().read(path)
    }

    /// The same of a text: the body of a request, or what `include_str!` gives.
    ///
    /// # Errors
    /// As for [`Table::read`].
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Table, TableError> {
        Table::reader().parse(text)
    }

    /// Settings for files that are written otherwise: another delimiter, words for what is missing, no header.
    pub fn reader() -> TableReader {
        TableReader::default()
    }

    /// A table of strings that are in memory already: from a database, a request, a file of another format.
    ///
    /// # Errors
    /// No rows; a row with more or fewer cells than the header.
    pub fn new<H: Into<String>, R: IntoIterator<Item: AsRef<str>>>(
        header: impl IntoIterator<Item = H>,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Table, TableError> {
        read::of_rows(header.into_iter().map(Into::into).collect(), rows)
    }

    /// How many rows there are.
    #[expect(clippy::len_without_is_empty, reason = "a table is never empty")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What the columns are called, in their order.
    pub fn header(&self) -> &[String] {
        &self.cells.header
    }

    /// A column as it stands there; a cell that is missing is empty.
    ///
    /// # Errors
    /// No column of this name, or two.
    pub fn text<'t>(&'t self, column: &str) -> Result<impl Iterator<Item = &'t str> + use<'t>, TableError> {
        let column = self.column(column)?;
        Ok(self.rows.iter().map(move |&row| self.cells.cell(row, column)))
    }

    /// A column of numbers: a target `[B]`.
    ///
    /// # Errors
    /// No column of this name, or two; a cell that is missing, no number, or too large for an `f32`.
    pub fn number(&self, column: &str) -> Result<Array1<f32>, TableError> {
        let place = self.column(column)?;
        let mut numbers = room(self.len())?;
        for row in 0..self.len() {
            numbers.push(self.number_at(row, place)?.ok_or_else(|| self.missing(row, place, "number"))?);
        }
        Ok(Array1::from_vec(numbers))
    }

    /// Columns of numbers, a row for each row: an input or a target `[B, n]`. [`Columns`] also takes categories, and fills gaps.
    ///
    /// # Errors
    /// As for [`Table::number`].
    pub fn numbers<C: AsRef<str>>(&self, columns: impl IntoIterator<Item = C>) -> Result<Array2<f32>, TableError> {
        let places: Vec<usize> =
            columns.into_iter().map(|name| self.column(name.as_ref())).collect::<Result<_, _>>()?;
        let mut numbers = room(self.len().saturating_mul(places.len()))?;
        for row in 0..self.len() {
            for &place in &places {
                numbers.push(self.number_at(row, place)?.ok_or_else(|| self.missing(row, place, "number"))?);
            }
        }
        Ok(Array2::from_shape_vec((self.len(), places.len()), numbers).expect("so many numbers were read"))
    }

    /// The index of a column.
    fn column(&self, name: &str) -> Result<usize, TableError> {
        let mut found = (0..).zip(&self.cells.header).filter(|(_, own)| *own == name).map(|(index, _)| index);
        let (first, second) = (found.next(), found.next());
        let table = self.cells.file.clone();
        match (first, second) {
            (Some(column), None) => Ok(column),
            (Some(first), Some(second)) => {
                Err(TableError::Twice { table, name: name.to_string(), first: first + 1, second: second + 1 })
            }
            _ => {
                let header = &self.cells.header;
                let closest = closest(name, header.iter().map(String::as_str)).map(str::to_string);
                Err(TableError::Column { table, name: name.to_string(), closest, header: header.clone() })
            }
        }
    }

    /// A cell, empty if it is missing.
    fn cell(&self, row: usize, column: usize) -> &str {
        self.cells.cell(self.rows[row], column)
    }

    /// The number of a cell, if it is not missing.
    fn number_at(&self, row: usize, column: usize) -> Result<Option<f32>, TableError> {
        let text = self.cell(row, column);
        if text.is_empty() {
            return Ok(None);
        }
        read::number(text, self.cells.decimal_comma).map(Some).map_err(|reason| TableError::Number {
            place: self.place(row, column),
            text: text.to_string(),
            reason,
        })
    }

    fn missing(&self, row: usize, column: usize, wanted: &'static str) -> TableError {
        TableError::Missing { place: self.place(row, column), wanted }
    }

    /// Where a cell stands.
    fn place(&self, row: usize, column: usize) -> Box<CellPlace> {
        let cells = &self.cells;
        let row = self.rows[row] as usize;
        Box::new(CellPlace {
            table: cells.file.clone(),
            line: cells.lines.get(row).copied(),
            row: row + 1,
            column: cells.header[column].clone(),
        })
    }
}

impl Cells {
    fn cell(&self, row: u32, column: usize) -> &str {
        let at = row as usize * self.header.len() + column;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("header", &self.cells.header).field("rows", &self.rows.len()).finish()
    }
}

/// An empty list with room for so many elements.
fn room<T>(elements: usize) -> Result<Vec<T>, TableError> {
    let mut list = Vec::new();
    list.try_reserve_exact(elements).map_err(|_| TableError::NoMemory { what: "the numbers of a table" })?;
    Ok(list)
}
