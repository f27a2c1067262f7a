//! What can be wrong with a table, in words.

use std::fmt;
use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::elaborate::words::did_you_mean;
use crate::error::text_as_debug;

/// Where a cell stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CellPlace {
    /// The file, if it was one.
    pub table: Option<String>,
    /// The line of the file or text in which the row begins, from 1; none for rows from memory.
    pub line: Option<usize>,
    /// The row, from 1, without the header.
    pub row: usize,
    /// What the column is called.
    pub column: String,
}

/// `houses.csv, line 7, column `age``
impl fmt::Display for CellPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CellPlace { table, line, row, column } = self;
        write!(f, "{}, column `{}`", place(table, *line, *row), shown(column))
    }
}

/// Why a table could not be read, or its columns not be made into arrays.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A file could not be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A table without a header.
    #[error("{} is empty: there is no header", of(table))]
    NoHeader {
        /// The file, if it was one.
        table: Option<String>,
    },
    /// A table without rows.
    #[error("{} has no rows", of(table))]
    NoRows {
        /// The file, if it was one.
        table: Option<String>,
    },
    /// More rows than are read.
    #[error("{} has more than 4,294,967,295 rows", of(table))]
    TooLong {
        /// The file, if it was one.
        table: Option<String>,
    },
    /// A row that does not have the cells of the header.
    #[error(
        "{}: {cells} cell{}, and the header has {columns}{}",
        place(table, *line, *row),
        if *cells == 1 { "" } else { "s" },
        if *has_break { "; one of them has a line break: is a quote not closed?" } else { "" }
    )]
    Ragged {
        /// The file, if it was one.
        table: Option<String>,
        /// The line in which the row begins, from 1; none for rows from memory.
        line: Option<usize>,
        /// The row, from 1.
        row: usize,
        /// Its cells.
        cells: usize,
        /// Those of the header.
        columns: usize,
        /// Whether one of its cells goes over several lines.
        has_break: bool,
    },
    /// A quote that is not closed before the end.
    #[error("{}: a quote is opened and not closed before the end", place(table, Some(*line), 0))]
    Quote {
        /// The file, if it was one.
        table: Option<String>,
        /// The line in which the row begins, from 1.
        line: usize,
    },
    /// A cell that is no text.
    #[error("{}, column {column}: it is not UTF-8, in which tables are read", place(table, Some(*line), 0))]
    Encoding {
        /// The file, if it was one.
        table: Option<String>,
        /// The line in which the row begins, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A character that can't stand between cells, or in place of them.
    #[error("{what} must be {wanted}, got {actual:?}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The range, in words.
        wanted: &'static str,
        /// What was given.
        actual: String,
    },
    /// A column that is not there.
    #[error("{} has no column `{}`{}", of(table), shown(name), hint(closest, header))]
    Column {
        /// The file, if it was one.
        table: Option<String>,
        /// The name asked for.
        name: String,
        /// The nearest that there is.
        closest: Option<String>,
        /// What there is.
        header: Vec<String>,
    },
    /// A name of two columns.
    #[error("{} has the name `{}` twice, in columns {first} and {second}", of(table), shown(name))]
    Twice {
        /// The file, if it was one.
        table: Option<String>,
        /// The name.
        name: String,
        /// The first column of this name, from 1.
        first: usize,
        /// The second.
        second: usize,
    },
    /// A cell without anything in it.
    #[error("{place}: the cell is empty, where a {wanted} is wanted{}", filled(wanted))]
    Missing {
        /// Where.
        place: Box<CellPlace>,
        /// What there should be.
        wanted: &'static str,
    },
    /// A cell that is no number.
    #[error("{place}: {:?} {reason}", shown(text))]
    Number {
        /// Where.
        place: Box<CellPlace>,
        /// What there is.
        text: String,
        /// Why it is none, in words.
        reason: &'static str,
    },
    /// A category that is unknown.
    #[error(
        "{place}: {:?} is none of the {known} categories{}; `other()` takes what is unknown",
        shown(text),
        closest.as_ref().map(|name| format!("; did you mean {:?}?", shown(name))).unwrap_or_default()
    )]
    Category {
        /// Where.
        place: Box<CellPlace>,
        /// What there is.
        text: String,
        /// The nearest that is known.
        closest: Option<String>,
        /// How many are known.
        known: usize,
    },
    /// More categories than ids of a type.
    #[error("column `{}` has {categories} ids, which {id} does not hold", shown(column))]
    Ids {
        /// The column.
        column: String,
        /// Its ids.
        categories: usize,
        /// The type.
        id: &'static str,
    },
    /// Columns that cannot be fitted as was said.
    #[error("column `{}` {reason}", shown(column))]
    Fit {
        /// The column.
        column: String,
        /// Why not, in words.
        reason: String,
    },
    /// Columns of which none is named.
    #[error("no columns are named before {what}")]
    NoColumns {
        /// What comes too early.
        what: &'static str,
    },
    /// A text that is not what columns or categories print as.
    #[error("{reason}")]
    Stored {
        /// What is wrong, in words.
        reason: String,
    },
    /// Rows that cannot be divided like this.
    #[error(transparent)]
    Rows(#[from] DatasetError),
    /// There is not enough memory.
    #[error("not enough memory for {what}")]
    NoMemory {
        /// What it was wanted for.
        what: &'static str,
    },
}

text_as_debug!(TableError);

/// The table, in words.
fn of(table: &Option<String>) -> &str {
    table.as_deref().unwrap_or("the table")
}

/// A line of a file, or a row of no file.
fn place(table: &Option<String>, line: Option<usize>, row: usize) -> String {
    let table = table.as_ref().map(|table| format!("{table}, ")).unwrap_or_default();
    match line {
        Some(line) => format!("{table}line {line}"),
        None => format!("{table}row {row}"),
    }
}

/// A cell or name as it stands in a message: the beginning of a long one.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

/// How to have it filled.
fn filled(wanted: &str) -> &'static str {
    match wanted {
        "category" => "; `fill` and `other` are for that",
        _ => "; `Columns::fill` fills it",
    }
}

/// What may be meant by a column that is not there.
fn hint(closest: &Option<String>, header: &[String]) -> String {
    const MOST: usize = 12;
    let delimiter = match header {
        [all] => [';', '\t', '|'].into_iter().find(|&c| all.contains(c)),
        _ => None,
    };
    match (closest, delimiter) {
        (Some(_), _) => did_you_mean(closest.as_deref()),
        (None, Some(c)) => format!("; `Table::reader().delimiter({c:?})` reads what has {c:?} between its cells"),
        (None, None) => {
            let names: Vec<String> = header.iter().take(MOST).map(|name| format!("`{}`", shown(name))).collect();
            let more = if header.len() > MOST { ", .." } else { "" };
            format!("; there are {}{more}", names.join(", "))
        }
    }
}
