//! Products whose left operand is read in runs of terms: convolutions and their gradients, without a matrix of patches in memory.
//!
//! In: a [`Nest`] of up to three axes of rows and three of terms, with the places of both operands along them, and for each
//! axis of terms which of them a row has: a tap of a window that stands over an edge has no element there, and is left out.
//! Out: a row-major result. One driver cuts the terms into pieces, the columns into panels and the rows into tiles; a tile
//! stays in registers for all terms of a piece. Forward products and gradients of inputs have all terms in one piece; the
//! gradient of a weight has many, some rows of an image each. Absent on purpose: threads, and choices that could change a bit.
//!
//! **Order of summation.** Terms ascend in the order of their axes, the first axis outermost, in pieces that each start from zero and
//! are added in order. A term that is left out adds nothing. The bits depend on neither tiles nor the rows of a call.

mod across;
mod driver;
mod gathered;
mod nest;
mod registers;
mod tile;

use crate::microkernels::gemm::{self, Isa, on};
use crate::tiling::matmul::GATHERED_TERMS;
pub use nest::{ACROSS, AXES, Clip, Nest, ROWS, RowAxis, TERMS, TermAxis};
pub(super) use registers::Floats;

/// A register of an instruction set: some floats.
pub(in crate::microkernels) trait Register: Copy {
    /// How many.
    const LANES: usize;
    /// Rows of the left operand that one pointer reaches.
    const REACH: usize;
    /// A factor of all lanes.
    type Splat: Copy;

    /// # Safety
    /// Of all methods: the machine has the instructions, and what is pointed at is as long as the register, or one float for a splat.
    unsafe fn zero() -> Self;
    unsafe fn splat_zero() -> Self::Splat;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn splat(from: *const f32) -> Self::Splat;
    /// `self + x y`, rounded once where the instruction set can.
    unsafe fn mul_add(self, x: Self::Splat, y: Self) -> Self;
    /// The same for a factor of each lane.
    unsafe fn mul_add_each(self, x: Self, y: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// So many of the floats, of which there may be more than the register has, and zeros for those that are missing.
    /// # Safety
    /// Only those floats have to be there; so below.
    #[inline(always)]
    unsafe fn load_some(from: *const f32, some: usize) -> Self {
        let mut floats = [0.0; WIDEST];
        // SAFETY: no register is wider than the widest.
        unsafe {
            from.copy_to_nonoverlapping(floats.as_mut_ptr(), some.min(Self::LANES));
            Self::load(floats.as_ptr())
        }
    }
    /// The floats whose bits are set, and zeros for the others. Only those have to be there.
    #[inline(always)]
    unsafe fn load_lanes(from: *const f32, bits: u64) -> Self {
        let all = first_bits(Self::LANES);
        if bits & all == all {
            // SAFETY: all of them are there.
            return unsafe { Self::load(from) };
        }
        let mut floats = [0.0; WIDEST];
        for (at, float) in floats.iter_mut().enumerate().take(Self::LANES) {
            if bits >> at & 1 != 0 {
                // SAFETY: the caller's promise.
                *float = unsafe { *from.wrapping_add(at) };
            }
        }
        // SAFETY: no register is wider than the widest.
        unsafe { Self::load(floats.as_ptr()) }
    }
    /// Writes rows of as many floats as there are registers, from one row to the next so far: the first float of every register, then
    /// the second one, up to so many.
    #[inline(always)]
    unsafe fn store_across<const COLS: usize>(columns: &[Self; COLS], to: *mut f32, apart: usize, rows: usize) {
        let mut floats = [[0.0; WIDEST]; COLS];
        for (column, floats) in columns.iter().zip(&mut floats) {
            // SAFETY: no register is wider than the widest.
            unsafe { column.store(floats.as_mut_ptr()) };
        }
        for row in 0..rows {
            for (col, floats) in floats.iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { *to.add(row * apart + col) = floats[row] };
            }
        }
    }
    /// Writes so many of the floats, or all of them.
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, some: usize) {
        let mut floats = [0.0; WIDEST];
        // SAFETY: as above.
        unsafe {
            self.store(floats.as_mut_ptr());
            to.copy_from_nonoverlapping(floats.as_ptr(), some.min(Self::LANES));
        }
    }
}

/// Floats of the widest register.
const WIDEST: usize = 16;

/// Bits of a word, each for a float: some registers of them.
const WORD: usize = u64::BITS as usize;

/// The first bits, so many of them, or all if there are more.
#[inline(always)]
fn first_bits(some: usize) -> u64 {
    if some >= WORD { !0 } else { (1 << some) - 1 }
}

/// What an instruction set brings beside that of plain products.
trait RunsKernel: gemm::Kernel {
    /// Most rows of a tall tile; 0 if there is none.
    const TALLEST: usize;

    /// Computes one tile.
    /// # Safety
    /// That of [`tile::tile`], for a shape that [`gemm::Kernel::tile`] has; or that of [`tile::tall`], for up to `TALLEST` rows.
    unsafe fn runs_tile(t: &tile::Tile);
    /// Computes a tile of rows that registers hold.
    /// # Safety
    /// That of [`across::tile`].
    unsafe fn across(t: &across::Rows);
    /// Gathers the pixels of a line for all taps but the outer ones.
    /// # Safety
    /// That of [`gathered::gather`].
    unsafe fn gather(line: &gathered::Line<'_>);
}

/// Length of the workspace, in floats, for a product of so many columns in pieces of so many terms.
pub fn workspace_len(cols: usize, piece: usize) -> usize {
    cols.next_multiple_of(16).min(gemm::MAX_NR) * piece
}

/// Rows that terms are gathered for at a time.
const GATHERED_ROWS: usize = 256;

/// Length of the workspace, in floats, for a product of so many terms that are gathered, in whole registers.
pub fn gathered_len(terms: usize) -> usize {
    GATHERED_ROWS * terms + WIDEST
}

/// Length of the workspace, in floats, for a product of so many rows that are gathered, in pieces of so many terms: lines may lie up to
/// twice their length apart, and the last one is written in whole registers.
pub fn gathered_rows_len(rows: usize, piece: usize) -> usize {
    2 * rows * piece + WIDEST
}

/// Rows `lo..hi` of a product, overwriting C, which begins with row `lo`.
///
/// # Safety
/// The machine has `isa`. The nest names elements of A and B only, C is valid for these rows and overlaps nothing else.
/// `workspace` has [`workspace_len`] floats of any content, or [`gathered_len`] if terms are gathered, or
/// [`gathered_rows_len`] if rows are.
#[allow(clippy::too_many_arguments)]
pub unsafe fn product(
    isa: Isa,
    nest: &Nest,
    rows: [usize; 2],
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    workspace: *mut f32,
) {
    // SAFETY: the caller's promises.
    unsafe { on!(isa, driver::rows, nest, rows, a, b, c, workspace) }
}

/// As [`product`], for compiled code: in the convention of C.
///
/// # Safety
/// That of [`product`]: operands, result and workspace are as the plan laid them out, and the instruction set was detected when the
/// program was compiled.
pub unsafe extern "C" fn runs_product(
    isa: Isa,
    nest: *const Nest,
    lo: usize,
    hi: usize,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    workspace: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { product(isa, &*nest, [lo, hi], a, b, c, workspace) }
}

#[cfg(test)]
mod tests;
