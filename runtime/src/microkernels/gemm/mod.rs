//! The matrix product in single precision: `C = A B`, one core, no allocation.
//!
//! In: strided operands, so that a transpose costs nothing but its strides. Out: a row-major `C`. The product is cut
//! the way of Goto and van de Geijn (2008): `k` into pieces whose panel of B stays in the first cache while all row
//! tiles pass over it, and inside a piece a tile of C that lives in registers. Rows are computed block by block, so
//! that the caller can run an epilogue on a block while it is hot: by [`gemm`], or where [`packs_b`] says so by
//! [`gemm_packed`] after one [`pack_b`]. Absent on purpose: threads, `alpha` and `beta`, and choices that could change
//! a bit of the result.
//!
//! **Order of summation.** An element of C is the sum over `k` in ascending order, in pieces fixed by `k` alone
//! (`loops::depths`): each piece starts from zero, and the pieces are added in order. Its bits therefore depend on
//! its row of A, its column of B and the instruction set; not on the block it is computed in, the entry point, `m`, `n`
//! or alignment.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod called;
mod loops;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod portable;
mod steps;

use core::ops::Range;

pub use called::{pack_right, packed_product, product};
use loops::{Block, Columns, MAX_DEPTH, MAX_PANEL, MAX_ROWS};

/// Which microkernel a product runs on. All that [fuse](Isa::fuses) give the same bits. Compiled code passes it on as a number.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 12 rows x 32 columns in 24 registers of 16 lanes.
    Avx512,
    /// 6 rows x 16 columns in 12 registers of 8 lanes, with FMA.
    Avx2,
    /// 6 rows x 16 columns in 24 registers of 4 lanes. Every aarch64 has it.
    Neon,
    /// 4 rows x 8 columns in plain Rust.
    Portable,
}

impl Isa {
    /// The fastest one this machine has.
    pub fn detect() -> Isa {
        [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().find(|isa| isa.is_present()).unwrap_or(Isa::Portable)
    }

    /// All that this machine has, fastest first.
    pub fn available() -> Vec<Isa> {
        [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable].into_iter().filter(|isa| isa.is_present()).collect()
    }

    /// Whether its multiply-adds round once. Those in plain Rust do where the target has such an instruction for
    /// certain; elsewhere `mul_add` would be a call into the C library.
    pub const fn fuses(self) -> bool {
        match self {
            Isa::Avx512 | Isa::Avx2 | Isa::Neon => true,
            Isa::Portable => cfg!(any(target_arch = "aarch64", target_feature = "fma")),
        }
    }

    fn is_present(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Isa::Portable => true,
            _ => false,
        }
    }
}

/// Calls `$function::<K>` with the kernel `K` of an [`Isa`].
macro_rules! on {
    ($isa:expr, $function:path, $($argument:expr),*) => {{
        use $function as function;
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => function::<avx512::Avx512>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => function::<avx2::Avx2>($($argument),*),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => function::<neon::Neon>($($argument),*),
            _ => function::<portable::Portable>($($argument),*),
        }
    }};
}

/// A strided matrix: element `(i, j)` at `ptr + i * row + j * col`, in elements.
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
    fn at(self, i: usize, j: usize) -> Operand {
        Operand { ptr: self.ptr.wrapping_add(i * self.row + j * self.col), ..self }
    }

    fn transposed(self) -> Operand {
        Operand { ptr: self.ptr, row: self.col, col: self.row }
    }
}

/// Length of the buffer that [`pack_b`] fills, in floats.
pub fn packed_b_len(n: usize, k: usize) -> usize {
    n.next_multiple_of(16) * k
}

/// Length of the workspace of [`gemm_packed`], in floats.
pub fn packed_a_len(rows: usize, k: usize) -> usize {
    rows * k.min(MAX_DEPTH)
}

/// Length of the workspace of [`gemm`], in floats, for products up to these extents.
pub fn workspace_len(m: usize, n: usize, k: usize) -> usize {
    n.next_multiple_of(16).min(MAX_PANEL) * k.min(MAX_DEPTH) + packed_a_len(m.min(MAX_ROWS), k)
}

/// Whether a product of `m` rows, of which `block` or more are computed in one go, gains from [`pack_b`] and
/// [`gemm_packed`]. If not, [`gemm`] is the faster call for each part: B is read where it lies, or the first part is the
/// only one, or B is so large that a packed copy would travel to memory and back for a few parts.
pub fn packs_b(isa: Isa, m: usize, block: usize, n: usize, k: usize, b_row: usize, b_col: usize) -> bool {
    let cached = n * k <= pack::SECOND_CACHE || (m >= 4 * block && n * k <= pack::CACHED);
    m > block && cached && !on!(isa, pack::reads_b_in_place, m, k, b_row, b_col)
}

/// `C[m, n] = A[m, k] * B[k, n]`, overwriting C: row-major, `ldc` from one row to the next. `k = 0` gives zeros.
///
/// # Safety
/// The machine has `isa`. A and B are valid for reads, C for writes, and C overlaps nothing else. `workspace` has
/// `workspace_len(m, n, k)` floats, of any content, aligned to 64 bytes for speed alone.
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm(
    isa: Isa,
    m: usize,
    n: usize,
    k: usize,
    a: Operand,
    b: Operand,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    let block = Block { rows: m, n, k, a, c, ldc };
    // SAFETY: the caller's promises are those of `product`.
    unsafe { on!(isa, loops::product, block, b, workspace) }
}

/// Packs `B[k, n]` for [`gemm_packed`] on the same `isa`.
///
/// # Safety
/// The machine has `isa`. B is valid for reads, `packed` for writes of `packed_b_len(n, k)` floats; it should be
/// aligned to 64 bytes for speed.
pub unsafe fn pack_b(isa: Isa, n: usize, k: usize, b: Operand, packed: *mut f32) {
    // SAFETY: the caller's promises are those of `pack_columns`.
    unsafe { pack_columns(isa, n, k, 0..n, b, packed) }
}

/// As [`pack_b`], only some of the columns: from a multiple of 32, the widest panel, to another, or to `n`. Several threads may
/// pack different columns at once.
///
/// # Safety
/// That of [`pack_b`]; nobody else writes these columns or reads them meanwhile.
pub unsafe fn pack_columns(isa: Isa, n: usize, k: usize, columns: Range<usize>, b: Operand, packed: *mut f32) {
    debug_assert!(
        columns.start.is_multiple_of(MAX_PANEL) && (columns.end.is_multiple_of(MAX_PANEL) || columns.end == n)
    );
    // SAFETY: the caller's promises are those of `panels`.
    unsafe { on!(isa, pack::panels, n, k, columns, b, packed) }
}

/// `C[rows, n] = A[rows, k] * B[k, n]` with B from [`pack_b`], for one block of rows. Overwrites C as [`gemm`] does.
///
/// # Safety
/// As for [`gemm`]; `packed` was filled by `pack_b` with the same `isa`, `n` and `k`, and `workspace` has
/// `packed_a_len(rows, k)` floats.
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm_packed(
    isa: Isa,
    rows: usize,
    n: usize,
    k: usize,
    a: Operand,
    packed: *const f32,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    let block = Block { rows, n, k, a, c, ldc };
    // SAFETY: the caller's promises are those of `run`, which packs no panel of packed columns.
    unsafe { on!(isa, loops::run, block, Columns::Packed(packed), workspace, core::ptr::null_mut()) }
}

/// One call of a microkernel: `C[rows, cols] (+)= A[rows, depth] * B[depth, cols]`.
struct Tile {
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
    /// What to fetch into the second cache meanwhile: a line every [`steps::STEPS`] terms, so many floats apart.
    ahead: (*const f32, usize),
}

/// What an instruction set brings: a tile in registers and a way to pack.
trait Kernel {
    /// Floats of a register. Columns of a packed panel are padded with zeros to a multiple of it.
    const LANES: usize;
    /// Most rows of a tile.
    const ROWS: usize;
    /// Columns of a packed panel.
    const PANEL: usize;
    /// Whether a tile reads exactly `cols` columns of B, rather than `cols` rounded up to `LANES`.
    const EXACT: bool;

    /// Most columns of a tile of so many rows: `PANEL` times a power of two. Few rows leave registers for more columns.
    fn widest(rows: usize) -> usize;

    /// Computes one tile.
    /// # Safety
    /// `rows` is in `1..=ROWS`; `cols` is at most `PANEL`, or `PANEL` times a power of two up to `widest(rows)`. A and
    /// C are valid for the tile, B too (see `EXACT`), and the machine has the instructions.
    unsafe fn tile(tile: &Tile);

    /// Writes `panel[p * width + i] = src(i, p)` for `i < count`, `p < depth`, and zeros for `count <= i < width`.
    /// # Safety
    /// `src` is valid for `count x depth` reads, `panel` for `width * depth` writes, and the machine has the
    /// instructions.
    unsafe fn pack(panel: *mut f32, width: usize, count: usize, depth: usize, src: Operand);
}

#[cfg(test)]
mod tests;
