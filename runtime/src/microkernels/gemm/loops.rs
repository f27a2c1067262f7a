//! The loops around a tile: row blocks, pieces of `k`, panels of B, row tiles.
//!
//! In: a product, or a block of its rows. Out: calls of a microkernel. Absent: arithmetic.

use super::prefetched::Prefetched;
use super::steps::STEPS;
use super::{Copies, Kernel, Operand, Terms, Tile, pack};
use crate::kernel::{LANES, MOST_TERMS};

/// Most terms summed in one piece.
pub(super) const KC: usize = MOST_TERMS;
/// Most rows computed against a panel of B before the next one: their piece of A stays in the second cache.
pub(super) const MC: usize = 384;
/// Columns of the widest packed panel, whatever the instruction set.
pub(in crate::microkernels) const MAX_NR: usize = 32;

/// Floats of a cache line.
pub(super) const LINE: usize = 16;

/// A block of rows of the product.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub rows: usize,
    /// Columns of B.
    pub n: usize,
    /// The first of them that is computed, and the one after the last.
    pub columns: [usize; 2],
    pub k: Terms,
    pub a: Operand,
    pub c: *mut f32,
    pub ldc: usize,
    /// What its tiles prefetch meanwhile.
    pub prefetched: Prefetched<'a>,
}

impl<'a> Block<'a> {
    /// Parts of up to [`MC`] rows.
    fn parts(self) -> impl Iterator<Item = Block<'a>> {
        even_parts(self.rows, MC).map(move |(i, rows)| Block {
            rows,
            k: self.k.after_rows(i),
            a: self.a.at(i, 0),
            c: self.c.wrapping_add(i * self.ldc),
            prefetched: self.prefetched.after(i * self.n),
            ..self
        })
    }
}

/// B as a block of rows finds it.
#[derive(Clone, Copy)]
pub(super) enum Columns {
    /// Packed by [`super::pack_b`].
    Packed(*const f32),
    /// Read where it lies. Its columns are adjacent.
    InPlace(Operand),
    /// Packed panel by panel, each just before its use.
    Strided(Operand),
}

/// The whole product, in blocks of rows that suit the cache.
/// # Safety
/// That of [`super::gemm`].
pub(super) unsafe fn product<K: Kernel>(copies: Copies, whole: Block<'_>, b: Operand, workspace: *mut f32) {
    if !copies.left && !copies.right && is_row_of_tiles::<K>(&whole) {
        // SAFETY: the caller's promises.
        return unsafe { row_of_tiles::<K>(whole, b) };
    }
    let columns = if copies.right { Columns::Strided(b) } else { Columns::InPlace(b) };
    let panel = whole.n.next_multiple_of(K::LANES).min(K::NR) * whole.k.count.min(KC);
    for block in whole.parts() {
        // SAFETY: the block lies inside A and C; the workspace holds one panel of B and one block of A.
        unsafe { run::<K>(copies.left, block, columns, workspace.add(panel), workspace) }
    }
}

/// Whether a product is one row of tiles, of all its terms in one go.
fn is_row_of_tiles<K: Kernel>(whole: &Block<'_>) -> bool {
    let Block { rows, n, k, prefetched, .. } = whole;
    let plain = k.triangle.is_none() && !k.adds && prefetched.is_empty();
    plain && (1..=K::MR).contains(rows) && (1..=k.piece).contains(&k.count) && (K::EXACT || n.is_multiple_of(K::LANES))
}

/// Such a product whose operands are read where they lie: as [`run`] computes it, without the loops that few rows would wait for.
/// # Safety
/// That of [`super::gemm`]. The columns of B are adjacent, and rows or terms of A are.
unsafe fn row_of_tiles<K: Kernel>(whole: Block<'_>, b: Operand) {
    let Block { rows, n, k, a, c, ldc, .. } = whole;
    let (mut j, mut wide) = (0, K::widest(rows));
    while j < n {
        while wide > n - j && wide > K::NR {
            wide /= 2;
        }
        let (cols, own) = (wide.min(n - j), b.at(0, j).ptr);
        let ahead = ahead::<K>(Columns::InPlace(b), (n, k.count), (0, k.count), j + cols, 0, own);
        let (c, accumulate) = (c.wrapping_add(j), false);
        let tile = Tile { rows, cols, depth: k.count, a, b: own, b_row: b.row, c, ldc, accumulate, ahead };
        // SAFETY: the tile lies inside the product, and its width is one that the kernel has.
        unsafe { K::tile(&tile) };
        j += cols;
    }
}

/// The same with packed columns, of which no panel is packed.
/// # Safety
/// That of [`super::gemm_packed`].
pub(super) unsafe fn packed_product<K: Kernel>(copied: bool, whole: Block<'_>, packed: *const f32, for_a: *mut f32) {
    for block in whole.parts() {
        // SAFETY: the block lies inside A and C; the workspace holds one block of A.
        unsafe { run::<K>(copied, block, Columns::Packed(packed), for_a, core::ptr::null_mut()) }
    }
}

/// One block of rows against all of B; A is copied tile by tile if `packs_a`.
/// # Safety
/// That of [`super::gemm_packed`]; there are at most [`MC`] rows, `for_a` has `packed_a_len(rows, k.count)` floats and, unless B
/// is packed, `for_b` room for a panel.
pub(super) unsafe fn run<K: Kernel>(packs_a: bool, block: Block<'_>, b: Columns, for_a: *mut f32, for_b: *mut f32) {
    // What is left out of a left operand is 0 as far as a tile reaches beyond the row's own terms, and no further.
    const { assert!(K::MR <= LANES) };
    let Block { rows, n, columns: [first, end], k, a, c, ldc, prefetched } = block;
    if k.count == 0 && !k.adds {
        // SAFETY: C has these rows and columns.
        return unsafe { clear(c.wrapping_add(first), ldc, rows, end - first) };
    }
    let (there, terms) = (k.columns(0..rows, n).min(end), k.of_rows(0..rows));
    // The first piece leaves zeros where there is nothing.
    let clears = |start: usize| start == 0 && !k.adds;
    let wanted = |&(start, depth): &(usize, usize)| clears(start) || terms.start < start + depth && start < terms.end;
    let count = || k.pieces().count() * (end - first).div_ceil(K::NR) * tiles::<K>(rows).count();
    let mut lines = prefetched.lines(rows * n, count);
    for (start, depth) in k.pieces().filter(wanted) {
        let a = a.at(0, start);
        if packs_a {
            // Where the rows of a tile are adjacent, so are those of the next tile: a few terms of all tiles at a time
            // read whole lines in one go.
            let terms = if a.row == 1 { pack::ROWS_AT_A_TIME } else { depth };
            for p in (0..depth).step_by(terms) {
                for (i, count) in tiles::<K>(rows) {
                    let (tile, terms) = (for_a.wrapping_add(i * depth + p * count), terms.min(depth - p));
                    // SAFETY: tiles stand one after the other in `for_a`, `count * depth` floats each.
                    unsafe { K::pack(tile, count, count, terms, a.at(i, p)) };
                }
            }
        }
        let mut j = first;
        while j < there {
            // SAFETY: column `j` exists; `for_b` and packed columns are as the caller promised.
            let (panel, b_row, cols) = unsafe { columns::<K>(b, n, start, depth, j, rows, for_b) };
            for (t, (i, count)) in tiles::<K>(rows).enumerate() {
                let c = c.wrapping_add(i * ldc + j);
                // Of this piece, the terms that its rows have.
                let terms = k.of_rows(i..i + count);
                let (from, to) = (terms.start.max(start) - start, terms.end.clamp(start, start + depth) - start);
                let own = if from < to { own::<K>(k.columns(i..i + count, n).saturating_sub(j), cols) } else { 0 };
                if own < cols && clears(start) {
                    let wanted = k.written(i..i + count, n).saturating_sub(j).min(cols);
                    // SAFETY: these rows and columns are inside the block.
                    unsafe { clear(c.wrapping_add(own), ldc, count, wanted.saturating_sub(own)) };
                }
                if own == 0 {
                    continue;
                }
                let ahead = match lines.of_tile((to - from) / STEPS) {
                    Some(line) => (line, LINE),
                    None => ahead::<K>(b, (n, k.count), (start, depth), j + cols, t, panel),
                };
                let packed = Operand { ptr: for_a.wrapping_add(i * depth), row: 1, col: count };
                let a = if packs_a { packed.at(0, from) } else { a.at(i, from) };
                let (b, depth) = (panel.wrapping_add(from.wrapping_mul(b_row)), to - from);
                let accumulate = !clears(start);
                let tile = Tile { rows: count, cols: own, depth, a, b, b_row, c, ldc, accumulate, ahead };
                // SAFETY: the tile lies inside the block. It has the width that `columns` gave, or fewer whole registers of a panel,
                // which every kernel has.
                unsafe { K::tile(&tile) };
            }
            j += cols;
        }
        if there < end && clears(start) {
            // Whole panels may have gone a little further.
            let wanted = k.written(0..rows, n).min(end).saturating_sub(j);
            // SAFETY: columns from `j` on are inside the block.
            unsafe { clear(c.wrapping_add(j), ldc, rows, wanted) };
        }
    }
}

/// How many columns of a panel are computed for rows that have so many of them: whole registers, as half of a panel on the diagonal is
/// left out. More columns than those of a panel are computed all.
fn own<K: Kernel>(there: usize, cols: usize) -> usize {
    let whole = there.next_multiple_of(K::LANES);
    match there {
        0 => 0,
        _ if cols > K::NR || whole > cols => cols,
        _ => whole,
    }
}

/// Zeros in some rows and columns of C.
/// # Safety
/// C has them.
unsafe fn clear(c: *mut f32, ldc: usize, rows: usize, cols: usize) {
    for i in 0..rows {
        // SAFETY: row `i` has `cols` columns.
        unsafe { c.add(i * ldc).write_bytes(0, cols) };
    }
}

/// Where the next columns of B, from `j` on, are to be read: pointer, distance between rows, number of columns.
/// # Safety
/// `b` is valid for this piece and `n` columns; `for_b` holds a panel if one may have to be packed.
unsafe fn columns<K: Kernel>(
    b: Columns,
    n: usize,
    start: usize,
    depth: usize,
    j: usize,
    rows: usize,
    for_b: *mut f32,
) -> (*const f32, usize, usize) {
    let cols = (n - j).min(K::NR);
    let width = cols.next_multiple_of(K::LANES);
    match b {
        Columns::Packed(packed) => {
            let piece = start * n.next_multiple_of(K::LANES);
            (packed.wrapping_add(piece + j * depth), width, cols)
        }
        Columns::InPlace(b) if K::EXACT || cols == width => {
            let mut wide = K::widest(rows.min(K::MR));
            while wide > n - j && wide > K::NR {
                wide /= 2;
            }
            (b.at(start, j).ptr, b.row, wide.min(n - j))
        }
        Columns::InPlace(b) | Columns::Strided(b) => {
            // SAFETY: the panel of `cols` columns lies inside B, and `for_b` has `width * depth` floats.
            unsafe { K::pack(for_b, width, cols, depth, b.at(start, j).transposed()) };
            (for_b, width, cols)
        }
    }
}

/// What tile `t` of a panel prefetches of the panel after it, that from column `j` on, or of the first one of the next
/// piece: first line, and floats from each to the next. The machine's own prefetcher ends where a page ends, and a panel
/// has a page for every row or column. Once the whole panel is on its way the tiles that are left prefetch nothing: lines
/// that nobody wants yet drive out those that are wanted. (They name the line at `idle`, which is there.)
fn ahead<K: Kernel>(
    b: Columns,
    (n, k): (usize, usize),
    (start, depth): (usize, usize),
    j: usize,
    t: usize,
    idle: *const f32,
) -> (*const f32, usize) {
    let next = start + depth;
    let (start, depth, j) = match j < n {
        true => (start, depth, j),
        false if next < k => (next, depth.min(k - next), 0),
        false => return (idle, 0),
    };
    let lines = depth / STEPS;
    let across = (K::NR / LINE).max(1);
    let all = t >= across * STEPS;
    match b {
        Columns::Packed(packed) if !all => {
            let piece = start * n.next_multiple_of(K::LANES);
            (packed.wrapping_add(piece + j * depth + t * lines * LINE), LINE)
        }
        Columns::InPlace(b) | Columns::Strided(b) if b.col == 1 && !all => {
            (b.at(start + t / across * lines, j + t % across * LINE).ptr, b.row)
        }
        Columns::InPlace(b) | Columns::Strided(b) if b.col != 1 && LINE * t < depth => {
            (b.at(start + LINE * t, j).ptr, b.col)
        }
        _ => (idle, 0),
    }
}

/// Cuts `0..len` into as few parts of at most `most` as possible, equal to within one, as `(start, length)`.
#[inline]
pub(in crate::microkernels) fn even_parts(len: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let parts = len.div_ceil(most);
    // A product of one row would wait for the divisions.
    let (each, rest) = if parts <= 1 { (len, 0) } else { (len / parts, len % parts) };
    (0..parts).map(move |i| (i * each + i.min(rest), each + usize::from(i < rest)))
}

/// The row tiles of a block, as `(first, rows)`: whole ones, and the last two alike, since a tile of one or two rows
/// keeps the multipliers waiting.
#[inline]
pub(in crate::microkernels) fn tiles<K: Kernel>(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    core::iter::from_fn(move || {
        let count = match rows - first {
            0 => return None,
            left if left <= K::MR => left,
            left if left < 2 * K::MR => left.div_ceil(2),
            _ => K::MR,
        };
        first += count;
        Some((first - count, count))
    })
}
