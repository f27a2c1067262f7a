//! Products of windows of 3 x 3 taps in the form of Winograd (1980; for images Lavin and Gray, 2016): 16 multiplications where a sum of
//! products has 36.
//!
//! An image is cut into squares of 4 x 4 pixels that overlap by two: all that 2 x 2 neighboring windows stand over. Squares and
//! taps are transformed, so that what is left are 16 products of matrices, one for each *position* of a square, and the result is
//! transformed back. [`product`] computes `F(2 x 2, 3 x 3)`, windows over an image: forward, and the gradient of a product's input;
//! [`gradient`] the gradient of the taps, `F(3 x 3, 2 x 2)`, in which squares are what is summed over. All three transforms add and
//! subtract, and halve; so no digit is lost to a factor, and the errors are those of the direct sum or less.
//!
//! In: [`Windows`], the places of both operands. Out: rows of the result. What does not depend on the rows is made ahead: the
//! taps in [`taps`], the sums of a gradient in [`sums`]. Absent on purpose: threads, windows of other sizes, strides and
//! dilations, and channels that are not whole registers.
//!
//! **Order of summation.** Channels ascend in one go. Squares ascend in pieces of [`SQUARES_OF_PIECE`], which start from zero and are
//! added in order. A pixel outside of the image is zero. A result that is not finite is computed again, directly, in double precision. The
//! bits depend on neither the rows of a call nor on what is computed beside them.

mod ahead;
mod direct;
mod gradient;
mod squares;
mod tiles;
mod transforms;
mod window;

use core::ops::Range;

use crate::kernel::{SQUARES_OF_PIECE, WINOGRAD_CHANNELS, winograd_rows};
use crate::microkernels::gemm::{Isa, MAX_NR, on};

/// Positions of a square, and of transformed taps.
pub const POSITIONS: usize = 16;
/// Rows of positions: those of a row are made of two rows of pixels.
pub const SIDE: usize = 4;
/// Columns whose taps are transformed in one go: whole panels of every instruction set.
pub const COLUMNS: usize = MAX_NR;

/// Channels, or columns, that lie side by side where squares are transformed.
const BLOCK: usize = WINOGRAD_CHANNELS;
/// Squares that are multiplied by taps in one go: a row of an image of 32 pixels, or all of one of 8. They and their products stay in
/// the first cache where channels are few.
const SQUARES: usize = 16;

/// From position to position, of all of them and of those of a row: a line more than their squares fill, so that positions do not
/// compete for places in a cache.
const APART: usize = SQUARES * BLOCK + 16;
const ROW_APART: usize = SQUARES_OF_PIECE * BLOCK + 16;
/// Floats of a page. What is written in the same place of a page as something that is read soon holds the reader up.
const PAGE: usize = 1024;

/// Most matrices that are prefetched, of those that what follows a product goes through.
const MATRICES: usize = 4;

/// Windows over images: `C[b, y, x, n] = sum over i, j, k of A[b, y + i, x + j, k] * B[i, j, k, n]`, or the gradient
/// `C[i, j, k, n] = sum over b, y, x of A[b, y + i, x + j, k] * B[b, y, x, n]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How many images there are.
    pub images: i64,
    /// Windows of an image: down, and across.
    pub size: [i64; 2],
    /// Pixels of an image: down, and across.
    pub extent: [i64; 2],
    /// The coordinates of the first tap of the first window: less than 0 at padding. That is where the left operand begins.
    pub first: [i64; 2],
    /// From image to image, from row to row and from pixel to pixel in the left operand, whose channels are adjacent.
    pub a: [i64; 3],
    /// In the right operand: from row to row and from column to column of the taps, from channel to channel and from column to
    /// column; or, in a gradient, from image to image, row to row, window to window and column to column, which is 1.
    pub b: [i64; 4],
    /// Channels: a multiple of [`WINOGRAD_CHANNELS`].
    pub channels: i64,
    /// Columns of the result: a multiple of the same.
    pub cols: i64,
    /// Images that have sums of their own in a gradient.
    pub part: i64,
}

impl Windows {
    /// The steps of the right operand. Without a call, which `map` is in some builds: a piece of a row of squares asks for them.
    #[inline]
    fn b_steps(&self) -> [isize; 4] {
        let [down, along, channel, col] = self.b;
        [down as isize, along as isize, channel as isize, col as isize]
    }

    /// The images of a part of a gradient.
    fn images_of(&self, part: usize) -> Range<usize> {
        let [images, size] = [self.images, self.part].map(|count| count as usize);
        part * size..images.min((part + 1) * size)
    }

    /// How many parts a gradient has. Without an image there is one, of none.
    fn parts(&self) -> usize {
        (self.images as usize).div_ceil(self.part as usize).max(1)
    }

    /// Squares of an image: down, and across.
    fn squares(&self) -> [usize; 2] {
        let [down, across] = self.size;
        [(down as usize).div_ceil(2), (across as usize).div_ceil(2)]
    }
}

/// Floats of what is made ahead: of the transformed taps, or of the sums of a part of a gradient.
pub fn ahead_len(channels: usize, cols: usize) -> usize {
    POSITIONS.saturating_mul(channels).saturating_mul(cols)
}

/// Cuts so many rows into as few tiles as possible, equal to within one, as `(first, rows)`.
#[inline(always)]
fn even(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let parts = rows.div_ceil(most);
    (0..parts).map(move |i| (i * rows / parts, (i + 1) * rows / parts - i * rows / parts))
}

/// Floats from the squares of [`product`] to what they give: those of one position lie in other places of a page than the squares of
/// the next.
fn squares_len(channels: usize) -> usize {
    (POSITIONS * APART).saturating_mul(channels / BLOCK).next_multiple_of(PAGE) + 5 * PAGE / 8
}

/// Floats of the workspace of [`product`].
pub fn workspace_len(channels: usize) -> usize {
    squares_len(channels) + POSITIONS * APART * MAX_NR / BLOCK
}

/// Floats of the workspace of [`sums`].
pub fn sums_workspace_len(channels: usize, cols: usize) -> usize {
    (SIDE * ROW_APART).saturating_mul(channels.saturating_add(cols) / BLOCK)
}

/// Transforms the taps of some columns: from a multiple of the widest panel, or 0, to another, or to the last.
///
/// # Safety
/// The machine has `isa`, `b` is valid for the taps, and `packed` has [`ahead_len`] floats, of which nobody else touches those of
/// these columns.
pub unsafe extern "C" fn taps(
    isa: Isa,
    windows: *const Windows,
    from: usize,
    to: usize,
    b: *const f32,
    packed: *mut f32,
) {
    // SAFETY: the caller's promises.
    unsafe { on!(isa, window::taps, &*windows, from..to, b, packed) }
}

/// Rows `lo..hi` of windows over images, overwriting C, which begins with row `lo` and is dense. Both are multiples of [`winograd_rows`],
/// or `hi` is all rows.
///
/// # Safety
/// The machine has `isa`, the windows name elements of A and taps in B, those of all columns are in `packed`, C is valid for these rows
/// and overlaps nothing else, and `workspace` has [`workspace_len`] floats of any content. `prefetched` has so many addresses, which may be
/// any: what follows the product goes through these rows of matrices there.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn product(
    isa: Isa,
    windows: *const Windows,
    lo: usize,
    hi: usize,
    a: *const f32,
    b: *const f32,
    packed: *const f32,
    c: *mut f32,
    prefetched: *const *const f32,
    matrices: usize,
    workspace: *mut f32,
) {
    // SAFETY: the caller's promises.
    unsafe {
        let prefetched = if matrices == 0 { &[] } else { core::slice::from_raw_parts(prefetched, matrices) };
        on!(isa, window::rows, &*windows, lo..hi, [a, b], packed, c, prefetched, workspace)
    }
}

/// Adds up some parts of a gradient, as far as there are so many, in transformed form: some rows of positions, of the four that there
/// are.
///
/// # Safety
/// The machine has `isa`, the windows name elements of both operands, `sums` has [`ahead_len`] floats for each part, of which nobody
/// else touches those of these positions and parts, and `workspace` has [`sums_workspace_len`] floats of any content.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn sums(
    isa: Isa,
    windows: *const Windows,
    first: usize,
    end: usize,
    from: usize,
    to: usize,
    a: *const f32,
    b: *const f32,
    sums: *mut f32,
    workspace: *mut f32,
) {
    // SAFETY: the caller's promises.
    unsafe { on!(isa, gradient::sums, &*windows, first..end, from..to, [a, b], sums, workspace) }
}

/// Adds the sums of all parts to those of the first one, in order: some rows of positions.
///
/// # Safety
/// The machine has `isa`, `sums` has what [`sums`] made of all parts, and nobody else touches these positions.
pub unsafe extern "C" fn fold(isa: Isa, windows: *const Windows, from: usize, to: usize, sums: *mut f32) {
    // SAFETY: the caller's promises.
    unsafe { on!(isa, gradient::fold, &*windows, from..to, sums) }
}

/// Rows `lo..hi` of a gradient, a row for each tap and channel, overwriting C, which begins with row `lo` and is dense.
///
/// # Safety
/// The machine has `isa`, `sums` has what [`sums`] and [`fold`] made of all positions of the operands, and C is valid for these rows.
pub unsafe extern "C" fn gradient(
    isa: Isa,
    windows: *const Windows,
    lo: usize,
    hi: usize,
    a: *const f32,
    b: *const f32,
    sums: *const f32,
    c: *mut f32,
) {
    // SAFETY: the caller's promises.
    unsafe { on!(isa, gradient::rows, &*windows, lo..hi, [a, b], sums, c) }
}

#[cfg(test)]
mod tests;
