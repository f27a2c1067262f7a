//! A file as cells.
//!
//! In: the bytes of a file, and how it is written. Out: every cell as a text, or what is wrong with the file and in which line.
//! Which bytes belong to a cell is the crate `csv`'s business.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::{Cells, Table, TableError};

/// How a file of separated values is written. `Table::read(path)` is `Table::reader().read(path)`.
///
/// ```
/// # use gradloom_runtime as gradloom;
/// use gradloom::table::Table;
///
/// let text = "rooms;size\n3;71,5\n-;80\n";
/// let table = Table::reader().delimiter(';').decimal_comma().missing(["-", "NA"]).parse(text)?;
/// assert_eq!(table.number("size")?.to_vec(), [71.5, 80.0]);
/// assert_eq!(table.number("rooms").unwrap_err().to_string(),
///     "line 3, column `rooms`: the cell is empty, where a number is wanted; `Columns::fill` fills it");
/// # Ok::<(), gradloom::table::TableError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TableReader {
    delimiter: Option<char>,
    missing: Vec<String>,
    header: Option<Vec<String>>,
    decimal_comma: bool,
}

/// What follows the text while it is read: a row of its own, unless the text ends within quotes.
const END: &[u8] = b"\n\x01\x02gradloom\x03\n";

impl TableReader {
    /// What stands between cells, a comma unless given: `';'`, `'\t'`.
    pub fn delimiter(self, delimiter: char) -> TableReader {
        TableReader { delimiter: Some(delimiter), ..self }
    }

    /// Words that stand for a cell without anything in it, such as `NA`. There are none unless given: a word may be a category.
    pub fn missing<W: Into<String>>(self, words: impl IntoIterator<Item = W>) -> TableReader {
        TableReader { missing: words.into_iter().map(Into::into).collect(), ..self }
    }

    /// The file has no header, and its columns are called like this.
    pub fn header<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> TableReader {
        TableReader { header: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Numbers have a comma where others have a point: `3,5`.
    pub fn decimal_comma(self) -> TableReader {
        TableReader { decimal_comma: true, ..self }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As for [`Table::read`]; a delimiter that cannot be one.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Table, TableError> {
        let path = path.as_ref();
        let bytes = fs::read(path)
            .map_err(|error| TableError::Unreadable { path: path.to_path_buf(), reason: error.to_string() })?;
        self.cells(&bytes, Some(path.display().to_string()))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// As for [`TableReader::read`].
    pub fn parse(&self, text: impl AsRef<[u8]>) -> Result<Table, TableError> {
        self.cells(text.as_ref(), None)
    }

    fn cells(&self, bytes: &[u8], table: Option<String>) -> Result<Table, TableError> {
        let delimiter = self.byte()?;
        let source = bytes.chain(END);
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(source);
        let (mut lines, mut record) = (Lines { bytes, at: 0, line: 1 }, ByteRecord::new());
        let mut cells = Builder::new(table.clone(), self.decimal_comma);
        if let Some(header) = &self.header {
            cells.header = Some(header.iter().map(|name| name.trim().to_string()).collect());
        }
        loop {
            let more = reader.read_byte_record(&mut record).map_err(|error| TableError::Unreadable {
                path: table.clone().unwrap_or_default().into(),
                reason: error.to_string(),
            })?;
            if !more || reader.position().byte() > bytes.len() as u64 + 1 {
                // What follows the text is a row of its own, unless it belongs to a cell that began before.
                return match record.len() == 1 && &record[0] == END.trim_ascii() {
                    true => cells.table(),
                    false => Err(TableError::Quote { table, line: lines.of(&record) }),
                };
            }
            let line = lines.of(&record);
            let mut row = Vec::with_capacity(record.len());
            for (column, cell) in (1..).zip(&record) {
                let cell = std::str::from_utf8(cell);
                row.push(cell.map_err(|_| TableError::Encoding { table: table.clone(), line, column })?);
            }
            match &cells.header {
                None => cells.header = Some(row.into_iter().map(|name| name.trim().to_string()).collect()),
                Some(_) => cells.row(row, Some(line), &self.missing)?,
            }
        }
    }

    /// The delimiter, if it is one.
    fn byte(&self) -> Result<u8, TableError> {
        match self.delimiter.unwrap_or(',') {
            c if c.is_ascii() && !matches!(c, '"' | '\n' | '\r' | '\0'..='\x08') => Ok(c as u8),
            c => Err(TableError::Setting {
                what: "the delimiter",
                wanted: "an ASCII character that is neither a quote nor the end of a line",
                actual: c.to_string(),
            }),
        }
    }
}

/// The line of a place in a text, for places that come one after the other.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line in which a record begins: what stands before it are ends of lines.
    fn of(&mut self, record: &ByteRecord) -> usize {
        let start = record.position().map_or(0, |position| position.byte() as usize).min(self.bytes.len());
        let ends = self.bytes[start..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let passed = &self.bytes[self.at..(start + ends).max(self.at)];
        let is_end = |at: usize| match passed[at] {
            b'\r' => passed.get(at + 1) != Some(&b'\n'),
            byte => byte == b'\n',
        };
        self.line += (0..passed.len()).filter(|&at| is_end(at)).count();
        self.at += passed.len();
        self.line
    }
}

/// Cells as they come.
struct Builder {
    header: Option<Vec<String>>,
    cells: Cells,
    rows: usize,
}

impl Builder {
    fn new(file: Option<String>, decimal_comma: bool) -> Builder {
        let (header, text, ends, lines) = (Vec::new(), String::new(), Vec::new(), Vec::new());
        Builder { header: None, cells: Cells { file, header, text, ends, lines, decimal_comma }, rows: 0 }
    }

    fn row<C: AsRef<str>>(
        &mut self,
        row: impl IntoIterator<Item = C>,
        line: Option<usize>,
        missing: &[String],
    ) -> Result<(), TableError> {
        let columns = self.header.as_ref().map_or(0, Vec::len);
        let Cells { file, text, ends, lines, .. } = &mut self.cells;
        self.rows += 1;
        let (mut cells, mut has_break) = (0, false);
        for cell in row {
            let cell = cell.as_ref().trim();
            let cell = if missing.iter().any(|word| word == cell) { "" } else { cell };
            let room = text.try_reserve(cell.len()).and_then(|()| ends.try_reserve(1));
            room.map_err(|_| TableError::NoMemory { what: "the cells of a table" })?;
            text.push_str(cell);
            ends.push(text.len());
            (cells, has_break) = (cells + 1, has_break || cell.contains('\n'));
        }
        if cells != columns {
            let (table, row) = (file.clone(), self.rows);
            return Err(TableError::Ragged { table, line, row, cells, columns, has_break });
        }
        lines.extend(line);
        Ok(())
    }

    fn table(self) -> Result<Table, TableError> {
        let Builder { header, mut cells, rows } = self;
        let table = || cells.file.clone();
        let header =
            header.filter(|header| !header.is_empty()).ok_or_else(|| TableError::NoHeader { table: table() })?;
        if rows == 0 {
            return Err(TableError::NoRows { table: table() });
        }
        let rows = u32::try_from(rows).map_err(|_| TableError::TooLong { table: table() })?;
        cells.header = header;
        Ok(Table { cells: Arc::new(cells), rows: (0..rows).collect(), seed: 0 })
    }
}

/// A table of strings.
pub(super) fn of_rows<R: IntoIterator<Item: AsRef<str>>>(
    header: Vec<String>,
    rows: impl IntoIterator<Item = R>,
) -> Result<Table, TableError> {
    let mut cells = Builder::new(None, false);
    cells.header = Some(header.iter().map(|name| name.trim().to_string()).collect());
    rows.into_iter().try_for_each(|row| cells.row(row, None, &[]))?;
    cells.table()
}

/// The number that a cell is, or why it is none.
pub(super) fn number(text: &str, decimal_comma: bool) -> Result<f32, &'static str> {
    const WORDS: [&str; 9] = ["na", "n/a", "nan", "#n/a", "null", "none", "nil", "-", "?"];
    let parsed = match decimal_comma {
        true if text.contains('.') => None,
        true => text.replace(',', ".").parse::<f32>().ok(),
        false => text.parse::<f32>().ok(),
    };
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    match parsed {
        Some(number) if number.is_finite() => Ok(number),
        Some(_) if digits => Err("is too large for an f32"),
        _ if WORDS.contains(&&*text.to_ascii_lowercase()) => {
            Err("is no number; `Table::reader().missing([..])` says which words stand for what is missing")
        }
        Some(_) => Err("is no finite number"),
        None if digits && !decimal_comma && text.contains(',') && !text.contains('.') => {
            Err("is no number; `Table::reader().decimal_comma()` reads a comma as the decimal point")
        }
        None => Err("is no number"),
    }
}
