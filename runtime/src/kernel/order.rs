//! The order in which sums are added up: part of what a kernel means, since it decides their bits.
//!
//! It follows from extents that do not grow with the batch, and from the kind of the sum. So the bits are the same for any batch
//! that a program is made for, any number of threads and any way to run a kernel, whatever else is computed in it.

use super::{Winograd, WinogradForm};
use crate::types::Dim;

/// Partial sums that are taken side by side along a row, as a rule.
pub const LANES: usize = 16;

/// Most terms of a product that are added up in one go: a panel of the right operand, 32 columns, then has 32 KiB and stays in
/// the first cache, or nearly.
pub const MOST_TERMS: usize = 256;

/// Most terms of a product in runs that are added up in one go, if the batch decides how many terms there are: some rows of an image.
/// Their elements then stay in the first cache while one tap of the window after another is over them.
const RUN_TERMS: usize = 128;

/// The same if it does not: a window over some hundred channels.
const MOST_RUN_TERMS: usize = 4096;

/// Fewest and most terms of a piece, if a part of the left operand shall stay in a cache, and how many elements of it do.
const TERMS_IN_CACHE: [usize; 2] = [16, 64];
const ELEMENTS_IN_CACHE: usize = 1 << 17;

/// Squares of 2 x 2 windows that a gradient of taps adds up in one go: as many as leave a row of positions of both operands room in a
/// first cache, and make the sums worth reading and writing again.
pub const SQUARES_OF_PIECE: usize = 32;

/// Bytes of some rows of a long operand that are worked on together, and fewest of such rows. More would take longer to read again from
/// beyond a third cache, fewer would read the weights more often: measured with 32,768 classes in hand-written kernels, 64 rows
/// 1,735 ms, 128 1,554, 256 1,701.
pub const LONG_ROWS: usize = 16 << 20;
const FEWEST_ROWS: usize = 32;

/// Rows whose sums are taken together: enough to keep the ends of a block cheap, few enough for a sum in single precision, and to
/// share a batch of ordinary size between threads.
pub const CHUNK: usize = 64;

/// The order of a reduction over many elements.
///
/// Element `j` of a row goes to lane `j` modulo the number of lanes, ascending, in single precision. Along a row, the lanes are
/// then added up as a binary tree. Over everything, those of each row are added to those of the chunk, row after row; if a row
/// has one element only, row `i` goes to lane `i` modulo the number of lanes. Down the columns and within rows there is one lane. The lanes of
/// the chunks are added up in double precision, as a binary tree over their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumOrder {
    /// Partial sums side by side.
    pub lanes: usize,
    /// Rows that are added up in single precision.
    pub chunk: usize,
}

impl SumOrder {
    /// Of a sum along a row: each row is a chunk.
    pub fn along_row() -> SumOrder {
        SumOrder { lanes: LANES, chunk: 1 }
    }

    /// Of a sum within a row, over some axes between the first and the last: element by element. Fusion makes sums of sums of long ones.
    pub fn within_row() -> SumOrder {
        SumOrder { lanes: 1, chunk: 1 }
    }

    /// Of a sum of so many rows, element by element.
    pub fn down_columns(rows: Dim) -> SumOrder {
        SumOrder { lanes: 1, chunk: chunk(rows) }
    }

    /// Of a sum over so many rows and all their elements.
    pub fn over_everything(rows: Dim) -> SumOrder {
        SumOrder { lanes: LANES, chunk: chunk(rows) }
    }
}

fn chunk(rows: Dim) -> usize {
    match rows {
        Dim::Fixed(rows) => CHUNK.min(rows.max(1)),
        Dim::Batch(_) => CHUNK,
    }
}

/// The order of the terms of a product: ascending, in pieces that each begin with zero and are added in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotOrder {
    /// Terms of a piece; the last has what is left.
    pub piece: usize,
}

impl DotOrder {
    /// Of so many terms: as few pieces as possible, and equal ones if the batch does not decide how many terms there are.
    pub fn of(terms: Dim) -> DotOrder {
        let piece = match terms {
            Dim::Fixed(terms) => terms.div_ceil(terms.div_ceil(MOST_TERMS).max(1)).max(1),
            Dim::Batch(_) => MOST_TERMS,
        };
        DotOrder { piece }
    }

    /// Of as many terms as the batch decides, of operands whose rows have so many elements: pieces are shorter where the rows of one would
    /// be too much to be there together.
    pub fn of_rows(elements: usize) -> DotOrder {
        let rows = LONG_ROWS / 4 / elements.max(1);
        let piece = if rows >= MOST_TERMS { MOST_TERMS } else { (rows.max(FEWEST_ROWS) + 1).next_power_of_two() / 2 };
        DotOrder { piece }
    }

    /// Of so many terms in each of several products, of a left operand whose rows are the terms and whose columns are so many. Where there
    /// are more than fit in one piece, those of a short one stay in a cache while all that is made of them is computed.
    pub fn of_columns(terms: usize, columns: usize) -> DotOrder {
        if terms <= MOST_TERMS {
            return DotOrder::of(Dim::Fixed(terms));
        }
        let [fewest, most] = TERMS_IN_CACHE;
        let piece = (ELEMENTS_IN_CACHE / columns.max(1)).clamp(fewest, most);
        DotOrder { piece: terms.div_ceil(terms.div_ceil(piece)) }
    }

    /// Of terms over several axes, or with some left out. A piece is all that some axes have, times a part of the next one. Where the
    /// batch decides how many terms there are, a piece is short; else it is all of them, as a result is then written once, but for
    /// so many that rounding errors would add up.
    pub fn of_runs(over: &[Dim]) -> DotOrder {
        let batch = over.iter().any(|dim| dim.is_batch());
        let most = if batch { RUN_TERMS } else { MOST_RUN_TERMS };
        let mut piece = 1;
        for dim in over.iter().rev() {
            let extent = dim.factor();
            if dim.is_batch() || piece * extent > most {
                // As large a part of this axis as divides it.
                let part = match dim {
                    Dim::Batch(_) => (most / piece).max(1),
                    Dim::Fixed(_) => divisor(extent, most / piece),
                };
                piece *= part;
                break;
            }
            piece *= extent;
        }
        DotOrder { piece }
    }

    /// Of windows in the form of Winograd: all channels of a position; for the gradient of taps as many windows as some squares have, and
    /// [some images](Winograd::images_of_part) by themselves.
    pub fn of_winograd(winograd: &Winograd) -> DotOrder {
        let &Winograd { form, channels, .. } = winograd;
        let piece = match form {
            WinogradForm::Windows => 9 * channels,
            WinogradForm::Gradient => 4 * SQUARES_OF_PIECE,
        };
        DotOrder { piece }
    }

    /// Whether so many terms may be more than one piece.
    pub fn cuts(self, terms: Dim) -> bool {
        terms.is_batch() || terms.factor() > self.piece
    }
}

/// The largest divisor of a number that is at most so much, and at least 1.
fn divisor(of: usize, most: usize) -> usize {
    (1..=most.min(of)).rev().find(|part| of.is_multiple_of(*part)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::{Dim, DotOrder};

    #[test]
    fn pieces_of_a_product_in_runs_are_windows_or_rows_of_an_image() {
        let fixed = |extents: &[usize]| -> Vec<Dim> { extents.iter().map(|&extent| Dim::Fixed(extent)).collect() };
        let windows = [&[3, 3, 16][..], &[3, 3, 512], &[5000]].map(|over| DotOrder::of_runs(&fixed(over)).piece);
        assert_eq!(windows, [144, 1536, 2500]);
        let of = |height, width| DotOrder::of_runs(&[Dim::B, Dim::Fixed(height), Dim::Fixed(width)]).piece;
        assert_eq!([of(32, 32), of(14, 14), of(8, 8), of(4, 4), of(5, 300)], [128, 98, 128, 128, 100]);
    }

    #[test]
    fn pieces_of_rows_are_short_where_those_are_long() {
        let pieces = [0, 10, 16_384, 16_385, 32_768, 50_257, 65_536, 1 << 20].map(|cols| DotOrder::of_rows(cols).piece);
        assert_eq!(pieces, [256, 256, 256, 128, 128, 64, 64, 32]);
    }

    #[test]
    fn pieces_of_a_product_are_few_and_equal_or_of_one_length() {
        let pieces = [0, 1, 256, 257, 784, 1001].map(|terms| DotOrder::of(Dim::Fixed(terms)).piece);
        assert_eq!(pieces, [1, 1, 256, 129, 196, 251]);
        assert_eq!([1, 3].map(|factor| DotOrder::of(Dim::Batch(factor)).piece), [256, 256]);
    }
}
