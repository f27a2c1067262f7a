//! The loops of a product that is read in runs: axes of its rows, axes of its terms, and which terms there are for a row.
//!
//! In: what compiled code writes down, in the layout of C. Out: pieces of terms, and the range of each axis of terms for a row.

use core::ops::Range;

/// Axes of rows, and of terms. Fewer are filled up in front with axes of one element.
pub const AXES: usize = 3;

/// Of [`Nest::gathered`].
pub const TERMS: i64 = 1;
/// Of [`Nest::gathered`].
pub const ROWS: i64 = 2;
/// Of [`Nest::gathered`].
pub const ACROSS: i64 = 3;

/// An axis of the rows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowAxis {
    /// How many there are.
    pub extent: i64,
    /// From one to the next in the left operand, in elements.
    pub a: i64,
}

/// An axis that is summed over.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermAxis {
    /// How many terms there are.
    pub extent: i64,
    /// From one to the next in the left operand, in elements.
    pub a: i64,
    /// From one to the next in the right operand, in elements.
    pub b: i64,
    /// Which of them there are for a row.
    pub clip: Clip,
}

/// The terms of an axis for which a coordinate is one of the left operand's: from 0 up to but not including the extent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clip {
    /// The extent; 0 if every term is there.
    pub extent: i64,
    /// The coordinate of the first term for the first row.
    pub constant: i64,
    /// What it grows by from term to term, 1 or more.
    pub step: i64,
    /// What it grows by along each axis of the rows. Along the innermost it does not fall.
    pub rows: [i64; AXES],
}

/// A product `C[row, col] = sum over terms of A[row, term] * B[term, col]`, or of `A[row, term, col] * B[term, col]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nest {
    /// The rows, outermost first.
    pub rows: [RowAxis; AXES],
    /// The terms, outermost first, each with a place in both operands.
    pub terms: [TermAxis; AXES],
    /// How many columns there are.
    pub cols: i64,
    /// From one column to the next in the left operand: 1 if each column has one of its own, else 0.
    pub a_col: i64,
    /// From one column to the next in the right operand.
    pub b_col: i64,
    /// From one row to the next in the result.
    pub ldc: i64,
    /// Terms that are added up before they are added to the others: as many as some axes have together, times a part of the next.
    pub piece: i64,
    /// [`TERMS`] if terms are gathered for some rows at a time: rows are adjacent in the left operand, and all terms are one piece of at
    /// most [`GATHERED_TERMS`](crate::tiling::matmul::GATHERED_TERMS). [`ROWS`] if all rows, at most as many, are gathered for a piece at a time: terms
    /// are adjacent. [`ACROSS`] if rows are adjacent as for the first, and registers hold some of them: nothing is gathered, and at most
    /// one bound moves along a line, by 1 for each row. In these cases the right operand, whose columns are whole registers, goes evenly
    /// from term to term. Else 0.
    pub gathered: i64,
}

/// Where an axis has terms.
pub(super) type Span = Range<i64>;

impl Clip {
    /// No bound at all.
    pub const NONE: Clip = Clip { extent: 0, constant: 0, step: 1, rows: [0; AXES] };

    /// The terms among these for which the coordinate, `first` at term 0, is one of the operand's.
    #[inline]
    pub(super) fn span(&self, first: i64, among: &Span) -> Span {
        if self.extent == 0 {
            return among.clone();
        }
        let at = |least: i64| match self.step {
            1 => least - first,
            step => (least - first + step - 1).div_euclid(step),
        };
        let start = at(0).clamp(among.start, among.end);
        start..at(self.extent).clamp(start, among.end)
    }
}

/// How far along three axes it is to a place, by the steps of each axis.
#[inline]
pub(super) fn along(at: [i64; AXES], steps: [i64; AXES]) -> i64 {
    at[0] * steps[0] + at[1] * steps[1] + at[2] * steps[2]
}

/// As `clone`, whose loop over an array some builds call.
#[inline]
pub(super) fn copied([outer, middle, inner]: &[Span; AXES]) -> [Span; AXES] {
    [outer.clone(), middle.clone(), inner.clone()]
}

/// Where spans begin.
#[inline]
pub(super) fn starts([outer, middle, inner]: &[Span; AXES]) -> [i64; AXES] {
    [outer.start, middle.start, inner.start]
}

/// How long spans are.
#[inline]
pub(super) fn lengths([outer, middle, inner]: &[Span; AXES]) -> [usize; AXES] {
    let length = |span: &Span| (span.end - span.start) as usize;
    [length(outer), length(middle), length(inner)]
}

impl Nest {
    /// From term to term in the left operand.
    #[inline]
    pub(super) fn a_steps(&self) -> [i64; AXES] {
        [self.terms[0].a, self.terms[1].a, self.terms[2].a]
    }

    /// From term to term in the right operand.
    #[inline]
    pub(super) fn b_steps(&self) -> [i64; AXES] {
        [self.terms[0].b, self.terms[1].b, self.terms[2].b]
    }

    /// The terms, piece by piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = [Span; AXES]> {
        let [outer, middle, inner] = self.terms.map(|axis| axis.extent);
        // How many of each axis a piece has.
        let part = match self.piece {
            piece if piece < inner => [1, 1, piece],
            piece if piece < middle * inner => [1, piece / inner, inner],
            piece => [(piece / (middle * inner).max(1)).max(1), middle, inner],
        };
        let spans =
            // Without a term there is one piece of none, so that the result is written.
            |extent: i64, by: i64| (0..extent.max(1)).step_by(by.max(1) as usize).map(move |at| at..(at + by).min(extent));
        let [by_outer, by_middle, by_inner] = part;
        spans(outer, by_outer).flat_map(move |outer| {
            spans(middle, by_middle).flat_map(move |middle| {
                let outer = outer.clone();
                spans(inner, by_inner).map(move |inner| [outer.clone(), middle.clone(), inner])
            })
        })
    }
}
