//! Products of which a part is left out: what lies above a diagonal.
//!
//! In attention that looks at nothing later, a row of scores ends with its own position: those after it are not read, and what is
//! made of them is 0. So elements need not be computed there, and terms need not be added. A microkernel leaves out whole tiles and
//! the terms that no row of a tile has: what it adds beyond that is 0. Of a kernel's own rows, too, the elements after the diagonal are
//! not computed where it is known what becomes of them: they add nothing to a sum, and are constants where they are written.

use std::fmt;
use std::ops::Range;

use super::{Kernel, LANES};
use crate::types::Dim;

/// What there is of a product, by the number of a row: rows are counted anew for each position along the leading axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triangle {
    /// What ends or begins at the diagonal.
    pub part: TrianglePart,
    /// How far beyond the number of a row the diagonal is.
    pub offset: i64,
}

/// What ends or begins at a diagonal. Compiled code passes it on as a number.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrianglePart {
    /// Columns end there: nobody reads the elements after that, which are 0.
    Columns,
    /// Columns end there, and nobody so much as looks at the elements after the next whole lanes, which may be anything.
    ColumnsAlone,
    /// Terms end there: the left operand is 0 for [`LANES`] elements after that, and no further one may be used.
    TermsTo,
    /// Terms begin there: the left operand is 0 for [`LANES`] elements before that, and no further one may be used.
    TermsFrom,
    /// Nothing does.
    Neither,
}

impl Triangle {
    /// The same for the rows after so many.
    pub fn after_rows(self, rows: usize) -> Triangle {
        Triangle { offset: self.offset + rows as i64, ..self }
    }

    /// The terms that any of these rows has, of so many.
    pub fn terms(self, rows: Range<usize>, all: usize) -> Range<usize> {
        match self.part {
            TrianglePart::Columns | TrianglePart::ColumnsAlone | TrianglePart::Neither => 0..all,
            TrianglePart::TermsTo => 0..self.within(rows.end, all),
            TrianglePart::TermsFrom => self.within(rows.start, all)..all,
        }
    }

    /// How many columns any of these rows has, of so many.
    pub fn columns(self, rows: Range<usize>, all: usize) -> usize {
        match self.part {
            TrianglePart::Columns | TrianglePart::ColumnsAlone => self.within(rows.end, all),
            TrianglePart::TermsTo | TrianglePart::TermsFrom | TrianglePart::Neither => all,
        }
    }

    /// How many columns of a row are worked on, of so many: those that it has, to the end of the last lanes of a sum.
    pub fn worked_on(self, row: usize, all: usize) -> usize {
        self.columns(row..row + 1, all).next_multiple_of(LANES).min(all)
    }

    /// How many columns of rows that have some of them are written, of so many.
    pub fn written(self, rows: Range<usize>, all: usize) -> usize {
        match self.part {
            TrianglePart::ColumnsAlone => self.worked_on(rows.end.saturating_sub(1), all),
            TrianglePart::Columns | TrianglePart::TermsTo | TrianglePart::TermsFrom | TrianglePart::Neither => all,
        }
    }

    fn within(self, row: usize, all: usize) -> usize {
        (row as i64 + self.offset).clamp(0, all as i64) as usize
    }

    /// Of so many operations with all that there could be, those that are left.
    pub(crate) fn operations(self, operations: u64, rows: usize, all: usize) -> u64 {
        let of_row = |row: usize| match self.part {
            TrianglePart::Columns | TrianglePart::ColumnsAlone => self.columns(row..row + 1, all),
            TrianglePart::TermsTo | TrianglePart::TermsFrom | TrianglePart::Neither => {
                self.terms(row..row + 1, all).len()
            }
        };
        let left: usize = (0..rows).map(of_row).sum();
        operations / (rows * all).max(1) as u64 * left as u64
    }
}

/// `term <= row+1`.
impl fmt::Display for Triangle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            TrianglePart::Columns | TrianglePart::ColumnsAlone => "column <= row",
            TrianglePart::TermsTo => "term <= row",
            TrianglePart::TermsFrom => "term >= row",
            TrianglePart::Neither => return Ok(()),
        })?;
        if self.offset == 0 { Ok(()) } else { write!(f, "{:+}", self.offset) }
    }
}

impl Kernel {
    /// The rows of each of its products, if these have a fixed number of them and the right operand is another one for each.
    pub(crate) fn rows_of_each(&self) -> Option<usize> {
        let dot = self.dot.as_ref().filter(|dot| !dot.in_runs && dot.winograd.is_none())?;
        match self.dot_rows() {
            (0, _) | (_, Dim::Batch(_)) => None,
            (_, Dim::Fixed(rows)) => Some(rows).filter(|_| dot.axes == self.axes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_what_is_on_their_side_of_the_diagonal() {
        let triangle = |part, offset| Triangle { part, offset };
        let columns = triangle(TrianglePart::Columns, 0);
        assert_eq!([0..1, 2..5, 6..9].map(|rows| columns.columns(rows, 8)), [1, 5, 8]);
        assert_eq!(columns.terms(0..1, 8), 0..8);
        let alone = triangle(TrianglePart::ColumnsAlone, -3);
        assert_eq!([0..1, 3..4, 18..19, 30..40].map(|rows| alone.written(rows, 40)), [0, 16, 16, 40]);
        assert_eq!(columns.written(0..1, 40), 40);
        let to = triangle(TrianglePart::TermsTo, -1);
        assert_eq!([0..1, 2..5].map(|rows| to.terms(rows, 8)), [0..0, 0..4]);
        assert_eq!(to.after_rows(2).terms(0..1, 8), 0..2);
        let from = triangle(TrianglePart::TermsFrom, 0);
        assert_eq!([0..1, 2..5, 8..9].map(|rows| from.terms(rows, 8)), [0..8, 2..8, 8..8]);
        let operations = |triangle: Triangle| triangle.operations(2 * 4 * 4 * 3, 4, 4);
        assert_eq!([columns, to, from].map(operations), [60, 36, 60]);
        assert_eq!([columns, to].map(|triangle| triangle.to_string()), ["column <= row", "term <= row-1"]);
    }
}
