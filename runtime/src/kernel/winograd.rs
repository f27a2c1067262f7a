//! Which products of windows are computed in the form of Winograd, with fewer multiplications: a decision of extents alone, as it is one
//! of bits.
//!
//! In: a product that is read in runs. Out: its windows, if it is one of 3 x 3 taps that move by single pixels, or the gradient of
//! such taps. What it computes is rounded otherwise than a sum of products: errors are no larger as a rule, but they go by the largest
//! pixel of a window, also where its tap is zero. Hence the printed name, `fast-winograd`. Results that are not finite are computed again, as sums of products.

use super::{Affine, Bound, Dot};
use crate::types::Dim;

/// Taps of a window along either axis.
const TAPS: usize = 3;
/// Channels and columns are whole registers of every instruction set. Fewer than so many are not worth a transform.
pub const CHANNELS: usize = 16;
/// Most channels that are added up in one go.
const MOST_CHANNELS: usize = 4096;
/// Fewest squares of an image: fewer do not repay that taps are transformed, where a batch is one image.
const SQUARES: usize = 16;
/// Rows of a block, about: as many as one of other products.
const BLOCK: usize = 64;
/// Most rows of a block: a sum in single precision has no more terms.
const MOST_ROWS: usize = 512;
/// Most elements of a tap, for a gradient: its sums are read and written many times, and stay in a cache.
const GRADIENT: usize = 128 * 128;

/// Bytes of both operands, and squares, from which on a part of a gradient is worth sums of its own: the sums are read once more then,
/// which takes as long as a few squares.
const PART_BYTES: usize = 1 << 19;
const PART_SQUARES: usize = 512;

/// A product of windows in the form of Winograd.
#[derive(Clone, Debug, PartialEq)]
pub struct Winograd {
    /// What is added up.
    pub form: WinogradForm,
    /// How many images there are.
    pub images: Dim,
    /// Windows of an image: down, and across.
    pub size: [usize; 2],
    /// Pixels of an image: down, and across.
    pub extent: [usize; 2],
    /// The coordinates of the first tap of the first window.
    pub first: [i64; 2],
    /// From image to image, row to row and pixel to pixel in the left operand.
    pub a: [i64; 3],
    /// In the right operand: from row to row and column to column of taps, from channel to channel and from column to column; or
    /// from image to image, row to row, window to window and column to column.
    pub b: [i64; 4],
    /// Channels of a pixel.
    pub channels: usize,
    /// Columns of the result.
    pub cols: usize,
}

/// Which products of windows have this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WinogradUse {
    /// None.
    Never,
    /// Those that take less time so.
    WherePays,
    /// All that can be computed so: to test them.
    Everywhere,
}

/// What a product of windows adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WinogradForm {
    /// For each window, taps and channels: `F(2 x 2, 3 x 3)`.
    Windows,
    /// For each tap and channel, windows: a gradient, `F(3 x 3, 2 x 2)`.
    Gradient,
}

/// Why a product of windows that could have this form is a sum of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// An image has so few squares that they do not repay the transform of taps.
    Squares(usize),
    /// So many bytes of sums, read and written once for some squares, do not stay in a cache.
    Sums(usize),
    /// It was forbidden.
    Forbidden,
}

/// The axes of a product of windows, as indices into those of the result followed by those that are summed over.
struct Axes {
    image: usize,
    window: [usize; 2],
    tap: [usize; 2],
    channel: usize,
}

/// The last axis of the result in either form.
const COL: usize = 3;

impl Winograd {
    /// How a product that is read in runs is computed in this form, if it is.
    pub fn of(dot: &Dot, used: WinogradUse) -> Option<Winograd> {
        let (form, axes, [images, windows, taps, channels]) = match (&dot.axes[..], &dot.over[..]) {
            (&[images, y, x, _], &[i, j, k]) if images.is_batch() => {
                let axes = Axes { image: 0, window: [1, 2], tap: [4, 5], channel: 6 };
                (WinogradForm::Windows, axes, [vec![images], vec![y, x], vec![i, j], vec![k]])
            }
            (&[i, j, k, _], &[images, y, x]) if images.is_batch() => {
                let axes = Axes { image: 4, window: [5, 6], tap: [0, 1], channel: 2 };
                (WinogradForm::Gradient, axes, [vec![images], vec![y, x], vec![i, j], vec![k]])
            }
            _ => return None,
        };
        let size = [windows[0].factor(), windows[1].factor()];
        let (channels, cols) = (channels[0].factor(), dot.axes[COL].factor());
        let found = Winograd {
            form,
            images: images[0],
            size,
            extent: [0, 1].map(|axis| limits(dot, &axes, axis, size).0),
            first: [0, 1].map(|axis| limits(dot, &axes, axis, size).1),
            a: [axes.image, axes.window[0], axes.window[1]].map(|axis| dot.a_at.steps[axis]),
            b: match form {
                WinogradForm::Windows => [axes.tap[0], axes.tap[1], axes.channel, COL],
                WinogradForm::Gradient => [axes.image, axes.window[0], axes.window[1], COL],
            }
            .map(|axis| dot.b_at.steps[axis]),
            channels,
            cols,
        };
        let three = taps.iter().all(|&dim| dim == Dim::Fixed(TAPS));
        let used = match used {
            WinogradUse::Never => false,
            WinogradUse::WherePays => found.against().is_none(),
            WinogradUse::Everywhere => true,
        };
        (used && three && is_by_pixels(dot, &axes, form) && found.is_possible()).then_some(found)
    }

    /// Whether it can be computed: channels are whole registers, and sums are no longer than those in single precision may be.
    fn is_possible(&self) -> bool {
        let whole = |count: usize| count > 0 && count.is_multiple_of(CHANNELS);
        let short = match self.form {
            WinogradForm::Windows => self.channels <= MOST_CHANNELS && self.whole_rows() <= MOST_ROWS,
            WinogradForm::Gradient => true,
        };
        whole(self.channels) && whole(self.cols) && self.squares() > 0 && short
    }

    /// Why it takes more time than a sum of products, if it does.
    pub fn against(&self) -> Option<Against> {
        let sums = self.channels * self.cols;
        if self.squares() < SQUARES {
            return Some(Against::Squares(self.squares()));
        }
        (self.form == WinogradForm::Gradient && sums > GRADIENT).then_some(Against::Sums(16 * 4 * sums))
    }

    /// Squares of an image.
    fn squares(&self) -> usize {
        self.size.map(|size| size.div_ceil(2)).iter().product()
    }

    /// Multiplications that it saves on an image: a square has four windows of nine taps, or sixteen positions.
    pub fn saved(&self) -> usize {
        let direct = self.size.iter().product::<usize>() * TAPS * TAPS;
        direct.saturating_sub(16 * self.squares()).saturating_mul(self.channels * self.cols)
    }

    /// How many images have sums of their own in a gradient, which are then added up in order. One of several threads makes those of
    /// images that it has in its own caches; the sums of fewer positions over all images would make each thread read all of them.
    pub fn images_of_part(&self) -> usize {
        let [pixels, windows] = [self.extent, self.size].map(|size| size.iter().product::<usize>());
        let bytes = 4 * (pixels * self.channels + windows * self.cols);
        let images = PART_BYTES.div_ceil(bytes.max(1)).max(PART_SQUARES.div_ceil(self.squares().max(1)));
        images.next_power_of_two()
    }

    /// How many parts a gradient has, with so many rows of the batch.
    pub fn parts(&self, batch: usize) -> usize {
        match self.form {
            WinogradForm::Windows => 1,
            WinogradForm::Gradient => self.images.at(batch).div_ceil(self.images_of_part()).max(1),
        }
    }

    /// Rows that no square is cut by, as [`whole_rows`].
    pub fn whole_rows(&self) -> usize {
        whole_rows(self.size)
    }

    /// Rows of a block of its kernel.
    pub fn block(&self) -> usize {
        let whole = self.whole_rows();
        whole * (BLOCK / whole).max(1)
    }
}

/// Rows of images with so many windows down and across that no square is cut by: two of an image, or all of one whose height is odd.
pub fn whole_rows([down, across]: [usize; 2]) -> usize {
    if down.is_multiple_of(2) { 2 * across } else { down * across }
}

/// How many coordinates an axis of the image has, and the first one that is read. Where nothing bounds them, they are all that are
/// read.
fn limits(dot: &Dot, axes: &Axes, axis: usize, size: [usize; 2]) -> (usize, i64) {
    let bound = dot.bounds.iter().find(|bound| bound.coordinate.steps[axes.window[axis]] != 0);
    bound.map_or((size[axis] + TAPS - 1, 0), |bound| (bound.extent, bound.coordinate.constant))
}

/// Whether windows and taps move by pixels over the left operand, whose channels are adjacent; and the right operand has taps, or is a
/// gradient with adjacent columns.
fn is_by_pixels(dot: &Dot, axes: &Axes, form: WinogradForm) -> bool {
    let (a, b) = (&dot.a_at.steps, &dot.b_at.steps);
    let still = |affine: &[i64], axes: &[usize]| axes.iter().all(|&axis| affine[axis] == 0);
    let [y, x] = axes.window;
    let alike = (0..2).all(|axis| {
        let (window, tap) = (axes.window[axis], axes.tap[axis]);
        a[window] == a[tap] && a[window] > 0
    });
    let left = alike && a[axes.channel] == 1 && a[axes.image] >= 0 && a[COL] == 0;
    let right = match form {
        WinogradForm::Windows => still(b, &[axes.image, y, x]),
        WinogradForm::Gradient => still(b, &[axes.tap[0], axes.tap[1], axes.channel]) && b[COL] == 1,
    };
    let pixel = |coordinate: &Affine, axis: usize| {
        let mut wanted = Affine::constant(coordinate.constant, coordinate.steps.len());
        wanted.steps[axes.window[axis]] = 1;
        wanted.steps[axes.tap[axis]] = 1;
        *coordinate == wanted
    };
    let one = |bound: &Bound| pixel(&bound.coordinate, 0) || pixel(&bound.coordinate, 1);
    let each = (0..2).all(|axis| dot.bounds.iter().filter(|bound| pixel(&bound.coordinate, axis)).count() <= 1);
    left && right && each && dot.bounds.iter().all(one) && dot.b_bounds.is_empty()
}
