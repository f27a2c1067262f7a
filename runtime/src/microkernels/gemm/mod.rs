//! The matrix product in single precision: `C = A B`, one core, no allocation.
//!
//! In: strided operands, so that a transpose costs nothing but its strides. Out: a row-major `C`. The product is cut
//! the way of Goto and van de Geijn (2008): `k` into pieces whose panel of B stays in the first cache while all row
//! tiles pass over it, and inside a piece a tile of C that lives in registers. Rows are computed block by block, so
//! that the caller can run an epilogue on a block while it is hot: by [`gemm`], or where the
//! [tiling](crate::tiling::Matmul) says so by [`gemm_packed`] after one [`pack_b`]. Absent on purpose: threads, factors of the product, and choices that could
//! change a bit of the result.
//!
//! **Order of summation.** An element of C is the sum over `k` in ascending order, in pieces as long as the caller
//! says, of which the last has what is left: each piece starts from zero, and the pieces are added in order, also where some
//! pieces come in a later call that [adds](Terms::adds). Its bits
//! therefore depend on its row of A, its column of B, the length of a piece and the instruction set; not on the block it
//! is computed in, the entry point, `m`, `n` or alignment. Where a [part](Triangle) of a product is left out, terms that are 0
//! may be added or not: that changes no sum of finite numbers.

#[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
pub(super) mod avx2;
#[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
pub(super) mod avx512;
mod axpy;
mod called;
pub mod checked;
mod prefetched;
mod loops;
#[cfg(all(any(feature = "jit", test), target_arch = "aarch64"))]
pub(super) mod neon;
mod pack;
pub(super) mod portable;
pub(super) mod steps;

use core::ops::Range;

use crate::kernel::Triangle;
pub use crate::tiling::Isa;
use crate::tiling::Machine;
use crate::tiling::matmul::{self, Left};
use axpy::Axpy;
pub use called::{kept_product, pack_right, packed_product, product, product_and_prefetch, product_in_part};
use loops::{Block, KC, MC};
pub(super) use loops::{MAX_NR, even_parts, tiles};
use prefetched::Prefetched;

/// Calls `$function::<K>` with the kernel `K` of an [`Isa`]. Where no program is compiled, as in the macro, nothing is fast: plain Rust
/// has the same numbers up to rounding, and the others take seconds to build.
macro_rules! on {
    ($isa:expr, $function:path, $($argument:expr),*) => {{
        use $function as function;
        match $isa {
            #[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
            Isa::Avx512 => function::<$crate::microkernels::gemm::avx512::Avx512>($($argument),*),
            #[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
            Isa::Avx2 => function::<$crate::microkernels::gemm::avx2::Avx2>($($argument),*),
            #[cfg(all(any(feature = "jit", test), target_arch = "aarch64"))]
            Isa::Neon => function::<$crate::microkernels::gemm::neon::Neon>($($argument),*),
            _ => function::<$crate::microkernels::gemm::portable::Portable>($($argument),*),
        }
    }};
}
pub(super) use on;

/// Whether the machine's tile is that of a kernel.
const fn has_tile<K: Kernel>(isa: Isa) -> bool {
    let tile = Machine::of(isa).tile;
    tile.rows == K::MR && tile.cols == K::NR && tile.lanes == K::LANES
}

const _: () = {
    #[cfg(all(any(feature = "jit", test), target_arch = "x86_64"))]
    assert!(has_tile::<avx512::Avx512>(Isa::Avx512) && has_tile::<avx2::Avx2>(Isa::Avx2));
    #[cfg(all(any(feature = "jit", test), target_arch = "aarch64"))]
    assert!(has_tile::<neon::Neon>(Isa::Neon));
    assert!(has_tile::<portable::Portable>(Isa::Portable));
};

/// A strided matrix: element `(i, j)` at `ptr + i * row + j * col`, in elements. A step may be one backward, as through the taps of
/// a convolution in its gradient: a number below 0, as the `usize` of its bits, so that every product with it wraps.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Element `(0, 0)`.
    pub ptr: *const f32,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
}

impl Operand {
    /// The same matrix without its first `i` rows and `j` columns. The pointer may be formed past the end, not read.
    #[inline]
    fn at(self, i: usize, j: usize) -> Operand {
        Operand { ptr: self.ptr.wrapping_add(i.wrapping_mul(self.row).wrapping_add(j.wrapping_mul(self.col))), ..self }
    }

    #[inline]
    fn transposed(self) -> Operand {
        Operand { ptr: self.ptr, row: self.col, col: self.row }
    }
}

/// Length of the buffer that [`pack_b`] fills, in floats.
pub fn packed_b_len(n: usize, k: usize) -> usize {
    n.next_multiple_of(16) * k
}

/// Length of the workspace of [`gemm_packed`], in floats, for blocks of up to so many rows.
pub fn packed_a_len(rows: usize, k: usize) -> usize {
    rows.min(MC) * k.min(KC)
}

/// Length of the workspace of [`gemm`], in floats, for products up to these extents.
pub fn workspace_len(m: usize, n: usize, k: usize) -> usize {
    n.next_multiple_of(16).min(MAX_NR) * k.min(KC) + packed_a_len(m, k)
}

/// The terms of a product, and how they are added up.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How many there are.
    pub count: usize,
    /// How many are added up before they are added to the others: 1 to 256.
    pub piece: usize,
    /// What there is of the product, if a part is left out.
    pub triangle: Option<Triangle>,
    /// Whether they are added to what is there, rather than taking its place.
    pub adds: bool,
}

impl Terms {
    /// So many terms in pieces of so many, none of them left out.
    pub const fn all(count: usize, piece: usize) -> Terms {
        Terms { count, piece, triangle: None, adds: false }
    }

    /// The same for the rows after so many.
    fn after_rows(self, rows: usize) -> Terms {
        Terms { triangle: self.triangle.map(|triangle| triangle.after_rows(rows)), ..self }
    }

    /// The terms that any of these rows has.
    #[inline]
    fn of_rows(self, rows: Range<usize>) -> Range<usize> {
        self.triangle.map_or(0..self.count, |triangle| triangle.terms(rows, self.count))
    }

    /// How many columns any of these rows has, of so many.
    #[inline]
    fn columns(self, rows: Range<usize>, all: usize) -> usize {
        self.triangle.map_or(all, |triangle| triangle.columns(rows, all))
    }

    /// How many columns of these rows are written, of so many.
    #[inline]
    fn written(self, rows: Range<usize>, all: usize) -> usize {
        self.triangle.map_or(all, |triangle| triangle.written(rows, all))
    }

    /// The pieces, as `(start, depth)`.
    fn pieces(self) -> impl Iterator<Item = (usize, usize)> {
        debug_assert!((1..=KC).contains(&self.piece));
        // Without counting them first: a product of one row would wait for the division.
        let mut start = 0;
        core::iter::from_fn(move || {
            let depth = self.piece.min(self.count - start);
            start += depth;
            (depth > 0).then(|| (start - depth, depth))
        })
    }
}

/// `C[m, n] = A[m, k] * B[k, n]`, overwriting C unless the terms say otherwise: row-major, `ldc` from one row to the next. `k = 0` gives
/// zeros.
///
/// # Safety
/// The machine has `isa`. A and B are valid for reads, C for writes, and C overlaps nothing else. Where terms are left out, A may hold
/// anything more than [`LANES`](crate::kernel::LANES) elements past the diagonal. `workspace` has
/// `workspace_len(m, n, k.count)` floats, of any content, aligned to 64 bytes for speed alone.
#[allow(clippy::too_many_arguments)]
#[inline]
pub unsafe fn gemm(
    isa: Isa,
    m: usize,
    n: usize,
    k: Terms,
    a: Operand,
    b: Operand,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    let copies = Copies::of(&Machine::of(isa), [m, n, k.count], a, b);
    // SAFETY: the caller's promises are those of `gemm_with`.
    unsafe { gemm_with(isa, copies, m, n, k, a, b, c, ldc, workspace) }
}

/// Which operands are copied on the way, tile by tile or panel by panel. The bits do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The left one. It has to be where neither its rows nor its terms are adjacent.
    pub left: bool,
    /// The right one. It has to be where its columns are not adjacent.
    pub right: bool,
}

impl Copies {
    /// Those that the tiling wants for a product of extents `m`, `n` and `k`.
    pub const fn of(machine: &Machine, [m, n, k]: [usize; 3], a: Operand, b: Operand) -> Copies {
        let left = !matches!(matmul::left(machine, n, [a.row, a.col]), Left::InPlace);
        Copies { left, right: !matmul::reads_in_place(machine, m, k, [b.row, b.col]) }
    }
}

/// As [`gemm`], with these copies rather than those that the tiling wants: to compare them.
///
/// # Safety
/// That of [`gemm`]. `copies.right` holds unless the columns of B are adjacent, `copies.left` unless rows or terms of A are.
#[allow(clippy::too_many_arguments)]
#[inline]
pub unsafe fn gemm_with(
    isa: Isa,
    copies: Copies,
    m: usize,
    n: usize,
    k: Terms,
    a: Operand,
    b: Operand,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    debug_assert!(copies.right || b.col == 1, "only adjacent columns are read in place");
    debug_assert!(copies.left || a.row == 1 || a.col == 1, "only adjacent rows or terms are read in place");
    let block = Block { rows: m, n, columns: [0, n], k, a, c, ldc, prefetched: Prefetched::of(&[]) };
    // Sums along whole rows know neither what was there before nor what is left out.
    let whole = !k.adds && k.triangle.is_none();
    if !copies.right && whole && matmul::reads_whole_rows([m, n, k.count]) {
        // SAFETY: the caller's promises are those of `product`; a workspace for so many terms has room for the sums.
        return unsafe { on!(isa, axpy::product, block, b, workspace) };
    }
    // SAFETY: the caller's promises are those of `product`.
    unsafe { on!(isa, loops::product, copies, block, b, workspace) }
}

/// Packs `B[k, n]` for [`gemm_packed`] on the same `isa`.
///
/// # Safety
/// The machine has `isa`. B is valid for reads, `packed` for writes of `packed_b_len(n, k.count)` floats; it should be
/// aligned to 64 bytes for speed.
pub unsafe fn pack_b(isa: Isa, n: usize, k: Terms, b: Operand, packed: *mut f32) {
    // SAFETY: the caller's promises are those of `pack_columns`.
    unsafe { pack_columns(isa, n, k, 0..n, b, packed) }
}

/// As [`pack_b`], only some of the columns: from a multiple of 32, the widest panel, to another, or to `n`. Several threads may
/// pack different columns at once.
///
/// # Safety
/// That of [`pack_b`]; nobody else writes these columns or reads them meanwhile.
pub unsafe fn pack_columns(isa: Isa, n: usize, k: Terms, columns: Range<usize>, b: Operand, packed: *mut f32) {
    debug_assert!(columns.start.is_multiple_of(MAX_NR) && (columns.end.is_multiple_of(MAX_NR) || columns.end == n));
    // SAFETY: the caller's promises are those of `panels`.
    unsafe { on!(isa, pack::panels, n, k, columns, b, packed) }
}

/// `C[rows, n] = A[rows, k] * B[k, n]` with B from [`pack_b`], for one block of rows. Overwrites C as [`gemm`] does.
///
/// # Safety
/// As for [`gemm`]; `packed` was filled by `pack_b` with the same `isa`, `n` and `k`, and `workspace` has
/// `packed_a_len(rows, k.count)` floats.
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm_packed(
    isa: Isa,
    rows: usize,
    n: usize,
    k: Terms,
    a: Operand,
    packed: *const f32,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    // SAFETY: the caller's promises are those of `gemm_packed_columns`.
    unsafe { gemm_packed_columns(isa, rows, n, 0..n, k, a, packed, c, ldc, workspace) }
}

/// As [`gemm_packed`], only some of the columns, of which C has the first at its beginning: from a multiple of 32, the widest panel,
/// to another, or to `n`.
///
/// # Safety
/// That of [`gemm_packed`].
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm_packed_columns(
    isa: Isa,
    rows: usize,
    n: usize,
    columns: Range<usize>,
    k: Terms,
    a: Operand,
    packed: *const f32,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    debug_assert!(columns.start.is_multiple_of(MAX_NR) && (columns.end.is_multiple_of(MAX_NR) || columns.end == n));
    let c = c.wrapping_sub(columns.start);
    let block = Block { rows, n, columns: [columns.start, columns.end], k, a, c, ldc, prefetched: Prefetched::of(&[]) };
    let copied = !matches!(matmul::left(&Machine::of(isa), n, [a.row, a.col]), Left::InPlace);
    // SAFETY: the caller's promises are those of `packed_product`.
    unsafe { on!(isa, loops::packed_product, copied, block, packed, workspace) }
}

/// As [`gemm`], or as [`gemm_packed`] if `packed` is not null, with tiles that prefetch the rows of other matrices meanwhile.
///
/// # Safety
/// That of [`gemm`], and that of [`gemm_packed`] unless `packed` is null. Of the other matrices nothing is read.
#[allow(clippy::too_many_arguments)]
unsafe fn gemm_prefetching(
    isa: Isa,
    [rows, n]: [usize; 2],
    k: Terms,
    a: Operand,
    b: Operand,
    packed: *const f32,
    c: *mut f32,
    ldc: usize,
    prefetched: Prefetched<'_>,
    workspace: *mut f32,
) {
    let copies = Copies::of(&Machine::of(isa), [rows, n, k.count], a, b);
    let block = Block { rows, n, columns: [0, n], k, a, c, ldc, prefetched };
    // SAFETY: the caller's promises are those of `product` and of `packed_product`.
    unsafe {
        match packed.is_null() {
            true => on!(isa, loops::product, copies, block, b, workspace),
            false => on!(isa, loops::packed_product, copies.left, block, packed, workspace),
        }
    }
}

/// One call of a microkernel: `C[rows, cols] (+)= A[rows, depth] * B[depth, cols]`.
pub(super) struct Tile {
    rows: usize,
    cols: usize,
    depth: usize,
    a: Operand,
    b: *const f32,
    /// From one row of B to the next. Its columns are adjacent.
    b_row: usize,
    c: *mut f32,
    ldc: usize,
    /// Add to C instead of overwriting it.
    accumulate: bool,
    /// What to prefetch into the second cache meanwhile: a line every [`steps::STEPS`] terms, so many floats apart.
    ahead: (*const f32, usize),
}

impl Tile {
    /// A tile with nothing to prefetch meanwhile: `C[rows, cols] (+)= A[rows, depth] * B[depth, cols]`.
    #[inline]
    pub(super) fn new(
        [rows, cols, depth]: [usize; 3],
        a: Operand,
        (b, b_row): (*const f32, usize),
        (c, ldc): (*mut f32, usize),
        accumulate: bool,
    ) -> Tile {
        Tile { rows, cols, depth, a, b, b_row, c, ldc, accumulate, ahead: (b, 0) }
    }
}

/// What an instruction set brings: a tile in registers and a way to pack.
pub(super) trait Kernel {
    /// Floats of a register. Columns of a packed panel are padded with zeros to a multiple of it.
    const LANES: usize;
    /// Most rows of a tile.
    const MR: usize;
    /// Columns of a packed panel.
    const NR: usize;
    /// Whether a tile reads exactly `cols` columns of B, rather than `cols` rounded up to `LANES`.
    const EXACT: bool;

    /// Most columns of a tile of so many rows: `NR` times a power of two. Few rows leave registers for more columns.
    fn widest(rows: usize) -> usize;

    /// Computes one tile.
    /// # Safety
    /// `rows` is in `1..=MR`; `cols` is at most `NR`, or `NR` times a power of two up to `widest(rows)`. A and
    /// C are valid for the tile, B too (see `EXACT`), and the machine has the instructions.
    unsafe fn tile(tile: &Tile);

    /// Terms that are added to the sums of so many rows in one go: as many as leave registers for B.
    fn axpy_terms(_rows: usize) -> usize {
        axpy::TERMS
    }

    /// Adds some terms to some sums.
    /// # Safety
    /// `rows` is in `1..=AXPY_ROWS`, `terms` in `1..=axpy_terms(rows)`. A, B and the sums are valid for these extents, the sums for
    /// writes, and the machine has the instructions.
    unsafe fn axpy(rows: usize, terms: usize, some: &Axpy);

    /// Writes `panel[p * width + i] = src(i, p)` for `i < count`, `p < depth`, and zeros for `count <= i < width`.
    /// # Safety
    /// `src` is valid for `count x depth` reads, `panel` for `width * depth` writes, and the machine has the
    /// instructions.
    unsafe fn pack(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand);
}

// A workspace for a product that reads whole rows has room for its sums.
const _: () = assert!(MAX_NR * matmul::AXPY_TERMS >= axpy::SUMS);

#[cfg(test)]
mod tests;
