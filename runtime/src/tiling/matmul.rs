//! How products are computed: written out in their kernel or called, and which operands are rearranged for that.
//!
//! Rows of a call are known at run time alone, so the microkernels ask here as well, by the same rules.

use crate::kernel::{Against, Dot, Kernel, Runs, Winograd, WinogradForm, WinogradUse};
use crate::types::Dim;

use super::{Isa, Machine, Tiling};

/// Most multiplications of a product that is written out in its kernel.
const WRITTEN_OUT: usize = 1024;
/// Most terms of such a product that are written one after the other, rather than as a loop.
pub const UNROLLED_TERMS: usize = 16;
/// Most terms of a product in runs that are gathered first, and most rows.
pub const GATHERED_TERMS: usize = 32;

/// How a product is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Matmul {
    /// By its kernel: a call would take longer. All terms are added up in one go, where a call does so in pieces.
    WrittenOut {
        /// How many multiplications it has.
        multiplications: usize,
    },
    /// By a microkernel.
    Called {
        /// How the left operand is read.
        left: Left,
        /// How the right operand is read.
        right: Right,
        /// How many rows at most read it in whole rows, and how many bytes it has, if any do.
        skinny: Option<(usize, usize)>,
    },
    /// By the microkernels of Winograd's form: what all rows have in common is made ahead.
    Winograd {
        /// What that is.
        ahead: Ahead,
        /// How many multiplications fewer than a sum of products an image takes.
        saved: usize,
    },
    /// By the microkernel that reads the left operand in runs of terms.
    InRuns {
        /// How the left operand is read.
        left: RunsLeft,
        /// How the right operand is read.
        right: RunsRight,
        /// Why it does not have the form of Winograd, if it could.
        against: Option<Against>,
    },
}

/// What all rows of a product in the form of Winograd have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Transformed taps, shared by columns.
    Taps,
    /// Sums of the gradient of taps, shared by images and by rows of positions.
    Sums {
        /// How many images have sums of their own.
        images: usize,
    },
}

/// How the left operand of a product in runs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsLeft {
    /// Where it lies.
    InPlace,
    /// Where it lies, a register of columns at a time: each column has terms of its own.
    ByColumn {
        /// Whether all columns of a line of rows come before the next line: see [`line_by_line`].
        lines: bool,
    },
    /// Where it lies, in registers of rows: its terms are so many.
    Across(usize),
    /// From a copy of the terms of some rows, of which there are so many: runs of them are too short to be worth a loop.
    Gathered(usize),
    /// From a copy of a piece of the terms of all rows, of which there are so many: those that are adjacent are too few for a tile.
    GatheredRows(usize),
}

/// How the right operand of a product in runs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsRight {
    /// Where it lies.
    InPlace,
    /// From a copy that every call makes, as its columns are not adjacent.
    Apart,
    /// From such a copy, as so many columns are not whole registers.
    Narrow(usize),
}

/// How the left operand of a call is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Where it lies.
    InPlace,
    /// From a copy, tile by tile, as neither its rows nor its terms are adjacent.
    Scattered,
    /// From such a copy, as its lines compete for places in a cache: so many bytes from one to the next.
    Conflicting(usize),
    /// From such a copy, as a tile uses so many bytes of every line that it meets, and comes round so often that they are not kept.
    Partly(usize),
}

/// How the right operand is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Where it lies: its columns are adjacent.
    InPlace,
    /// From a copy that is made once for all rows.
    Packed(Packed),
    /// From a copy that every call makes, panel by panel.
    Panels(Panels),
    /// From a copy that is kept from run to run, where there is one, and by few rows where it lies.
    Kept,
}

/// Why one copy is made for all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// So many bytes stay in the second cache.
    Stays(usize),
    /// So many rows repay a copy that stays in the third cache.
    ManyRows(usize),
}

/// Why every call makes its own copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panels {
    /// There are only so many rows: one call, or hardly more.
    Skinny(usize),
    /// A copy of so many bytes would travel to memory and back for a few calls.
    Large(usize),
    /// Each call has an operand of its own.
    Batched,
}

/// How often the right operand of a product comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RightOperand {
    /// Its kernel runs once.
    Once,
    /// It is the same at so many steps of a loop.
    Steps(usize),
    /// It is another one at each step.
    OfStep,
    /// Its kernel runs for a tile that all threads share, part by part.
    Tile,
}

/// How the product of a kernel is computed.
pub(super) fn decide(tiling: &Tiling, kernel: &Kernel, (dot, comes): (&Dot, RightOperand)) -> Matmul {
    let (machine, max_batch, plain) = (&tiling.machine, tiling.max_batch, kernel.has_plain_dot());
    let (rows, cols, inner) = (kernel.row_count().at(max_batch), kernel.cols(), dot.inner().at(max_batch));
    if let Some(winograd) = &dot.winograd {
        let ahead = match winograd.form {
            WinogradForm::Windows => Ahead::Taps,
            WinogradForm::Gradient => Ahead::Sums { images: winograd.images_of_part() },
        };
        return Matmul::Winograd { ahead, saved: winograd.saved() };
    }
    if let Some(runs) = kernel.runs() {
        let right = runs_right(machine, cols, runs.b_col);
        let line = [dot.inner().at(tiling.max_batch).min(dot.order.piece), cols];
        // What a loop repeats has no room for what would be made ahead of it.
        let possible = Winograd::of(dot, WinogradUse::Everywhere).filter(|_| comes == RightOperand::Once);
        let against = possible.map(|winograd| winograd.against().unwrap_or(Against::Forbidden));
        return Matmul::InRuns { left: runs_left(machine, &runs, right, line), right, against };
    }
    let multiplications = rows.saturating_mul(cols).saturating_mul(inner);
    if plain && multiplications <= WRITTEN_OUT {
        return Matmul::WrittenOut { multiplications };
    }
    let [[a_row, a_col], [b_row, b_col]] = kernel.dot_steps().map(|steps| steps.map(|step| step as usize));
    let left = left(machine, cols, [a_row, a_col]);
    let bytes = inner.saturating_mul(cols).saturating_mul(4);
    // A copy that is made before a loop serves all rows of all steps.
    let all_rows = match comes {
        RightOperand::Steps(steps) => rows.saturating_mul(steps),
        RightOperand::Once | RightOperand::OfStep | RightOperand::Tile => rows,
    };
    let shared = match comes {
        RightOperand::Once => plain,
        RightOperand::Steps(_) => !dot.in_runs && kernel.dot_rows().0 == 0,
        RightOperand::OfStep | RightOperand::Tile => false,
    };
    let many = all_rows >= 4 * tiling.skinny_rows;
    let right = match reads_in_place(machine, rows, inner, [b_row, b_col]) {
        true => Right::InPlace,
        false if comes == RightOperand::Tile => Right::Panels(Panels::Large(bytes)),
        false if !shared => Right::Panels(Panels::Batched),
        false if all_rows <= tiling.skinny_rows => Right::Panels(Panels::Skinny(rows)),
        false if bytes <= machine.reread() => Right::Packed(Packed::Stays(bytes)),
        false if many && bytes <= machine.third_cache => Right::Packed(Packed::ManyRows(all_rows)),
        false => Right::Panels(Panels::Large(bytes)),
    };
    let whole = |rows: &usize| reads_whole_rows([*rows, cols, dot.inner().at(1)]);
    let skinny = (1..=AXPY_ROWS).rfind(whole).filter(|_| b_col == 1 && kernel.row_count().is_batch());
    Matmul::Called { left, right, skinny: skinny.map(|rows| (rows, bytes)) }
}

/// Most rows of a product whose sums grow along whole rows of its right operand.
pub const AXPY_ROWS: usize = 4;
/// Fewest terms of such a product.
pub const AXPY_TERMS: usize = 128;
/// Fewest columns of such a product: shorter runs are hardly read faster than those of a tile.
const AXPY_COLUMNS: usize = 512;
/// Fewest elements of its right operand: what stays in the second cache is read as fast by tiles.
const AXPY_ELEMENTS: usize = 768 * 1024;
/// The same for more than two rows, which have as many sums to read and write as products to add: that is hidden where the right
/// operand comes from far. Measured with three rows of 1024 columns and terms, 164 to 201 us; with four of 2048, 1,580 to 1,020 with
/// AVX2, 915 to 715 with AVX-512; with four of 4096, 13.8 to 8.8 ms and 9.6 to 2.9.
const SEVERAL_ROWS_ELEMENTS: usize = 4 * AXPY_ELEMENTS;

/// Whether a product of these extents, rows, columns and terms, reads its right operand, whose columns are adjacent, in whole
/// rows: with few rows all time goes into reading it.
pub const fn reads_whole_rows([rows, cols, terms]: [usize; 3]) -> bool {
    let large = terms.saturating_mul(cols) >= if rows > 2 { SEVERAL_ROWS_ELEMENTS } else { AXPY_ELEMENTS };
    0 < rows && rows <= AXPY_ROWS && terms >= AXPY_TERMS && cols >= AXPY_COLUMNS && large
}

/// How the left operand of a product in runs is read. Where rows are adjacent, as pixels of one channel are, terms come in runs of one
/// tap; there are few of them, and they are copied in runs of rows. In the gradient of such taps rows are few, and come in runs of one.
/// `line` is how many terms of a piece and columns the right operand has.
fn runs_left(machine: &Machine, runs: &Runs, right: RunsRight, line: [usize; 2]) -> RunsLeft {
    let (rows, terms): (Vec<Dim>, Vec<Dim>) =
        (runs.rows.iter().map(|row| row.0).collect(), runs.terms.iter().map(|term| term.0).collect());
    // How many there are, if they are few.
    let few = |dims: &[Dim]| {
        let count = dims.iter().map(|dim| dim.factor()).product::<usize>();
        let is_fixed = dims.iter().all(|dim| !dim.is_batch());
        Some(count).filter(|count| is_fixed && (1..=GATHERED_TERMS).contains(count))
    };
    if runs.a_col != 0 {
        return RunsLeft::ByColumn { lines: right == RunsRight::InPlace && line_by_line(line) };
    }
    if right != RunsRight::InPlace || !runs.limits.is_empty() {
        return RunsLeft::InPlace;
    }
    let is_adjacent = |last: Option<(Dim, i64)>| last.is_some_and(|(dim, step)| step == 1 && !dim.is_batch());
    let several: Vec<_> = runs.terms.iter().filter(|(dim, _)| dim.factor() > 1).collect();
    let next = |pair: &[&(Dim, [i64; 2])]| pair[0].1[1] == pair[1].1[1] * pair[1].0.factor() as i64;
    let evenly = several.windows(2).all(next) && several.last().is_none_or(|(_, [_, step])| *step > 0);
    if let Some(terms) = few(&terms).filter(|_| evenly && is_adjacent(runs.rows.last().copied())) {
        return if reads_across(machine, runs) { RunsLeft::Across(terms) } else { RunsLeft::Gathered(terms) };
    }
    let last = runs.terms.last().map(|&(dim, [step, _])| (dim, step));
    match few(&rows).filter(|_| runs.terms.len() > 1 && is_adjacent(last)) {
        Some(rows) => RunsLeft::GatheredRows(rows),
        None => RunsLeft::InPlace,
    }
}

/// Fewest lanes of a register that holds rows: there are as many sums as lanes, and fewer wait for one another. Measured alone with 3
/// channels to 16 over 32 x 32 pixels: 115 GFLOP/s with AVX-512, 43 with AVX2.
const LANES_ACROSS: usize = 12;

/// Whether rows that are adjacent in the left operand, as pixels of a plane are, are read a register at a time where they lie, rather than
/// gathered for each of the terms: if most lanes of the last register of a line have a row, and what bounds them moves along with
/// the rows.
fn reads_across(machine: &Machine, runs: &Runs) -> bool {
    let (lanes, line) = (machine.tile.lanes, runs.rows.last().map_or(0, |row| row.0.factor()));
    let along: Vec<i64> =
        runs.bounds.iter().filter_map(|bound| bound.rows.last().copied()).filter(|by| *by != 0).collect();
    lanes >= LANES_ACROSS && 4 * line >= 3 * line.next_multiple_of(lanes) && matches!(along[..], [] | [1])
}

/// How the right operand of a product in runs is read, given the step from column to column. Tiles read whole registers of it.
pub const fn runs_right(machine: &Machine, cols: usize, col: i64) -> RunsRight {
    if col != 1 {
        RunsRight::Apart
    } else if !cols.is_multiple_of(machine.tile.lanes) {
        RunsRight::Narrow(cols)
    } else {
        RunsRight::InPlace
    }
}

/// Whether a product in runs computes all columns of a line of rows before the next line: where the left operand has columns too, it is
/// then read from one end to the other rather than some columns of each row at a time, which no prefetcher foresees. Its right
/// operand, of so many terms and columns, has to stay in half the first cache.
pub const fn line_by_line([terms, cols]: [usize; 2]) -> bool {
    terms.saturating_mul(cols).saturating_mul(4) <= Machine::of(Isa::Portable).first_cache / 2
}

/// Whether `rows` should read a right operand where it lies: its steps are those from term to term and from column to column. They
/// can if its columns are adjacent. Packing costs as much as a few passes over a panel, so few rows never repay it; many do if it
/// spans much memory, or if its lines compete for places in a cache.
pub const fn reads_in_place(machine: &Machine, rows: usize, terms: usize, [row, col]: [usize; 2]) -> bool {
    let spans = terms.saturating_mul(row).saturating_mul(4);
    let cached = spans <= machine.third_cache && !row.is_multiple_of(machine.conflict / 4);
    col == 1 && (rows <= 2 * machine.tile.rows || cached)
}

/// Bytes of a cache line.
const LINE: usize = 64;
/// Fewest columns of a product whose tiles use lines of the left operand in part, for a copy of it.
const PARTLY_COLUMNS: usize = 192;

/// How a block of the left operand is read: its steps are those from row to row and from term to term. As a rule where it lies:
/// broadcasts come from anywhere. But where lines compete for places in a cache, or a tile uses a part of each, a copy is repaid
/// when tiles come round often enough, once for each panel of columns. Where rows are adjacent, a tile of six uses 24 bytes of each
/// line, so every line is met three times in a pass over the rows, and it is gone each time if the rows are many: measured with
/// AVX2, 256 rows by 256 columns, 73 to 78 GFLOP/s, 384 by 384, 69 to 82, 1000 by 1000, 62 to 74; 128 by 256, 82 to 79. Twelve rows
/// leave less to be met again: with AVX-512, 640 by 640, 138 to 132, 768 by 768, 126 to 145.
pub const fn left(machine: &Machine, cols: usize, [row, col]: [usize; 2]) -> Left {
    let apart = if row > col { row } else { col };
    let used = machine.tile.rows * size_of::<f32>();
    let most = if 2 * used <= LINE { 1 << 16 } else { 1 << 19 };
    if row != 1 && col != 1 {
        Left::Scattered
    } else if apart.is_multiple_of(machine.conflict / 2 / size_of::<f32>()) && cols > repaid_by(machine, col) {
        Left::Conflicting(apart.saturating_mul(4))
    } else if row == 1 && cols >= PARTLY_COLUMNS && apart.saturating_mul(cols) >= most {
        Left::Partly(used)
    } else {
        Left::InPlace
    }
}

/// Most columns of a product that do not repay a copy of a left operand whose lines compete for places in a cache. Where terms are
/// adjacent, each line serves sixteen steps before it is gone. Where rows are, a tile meets a line at every step, of which twelve
/// rows use most. Measured with 256 rows and terms, lines half a page and a page apart, GFLOP/s in place and copied (AMD Zen 5):
///
/// | adjacent | 64 columns | 128 | 256 | 512 | 1024 |
/// | --- | --- | --- | --- | --- | --- |
/// | terms, AVX-512 | 259, 223 | 260, 240 | 254, 249 | 255, 249; 235, 240 | 206, 220 |
/// | terms, AVX2 | 129, 119 | 129, 124 | 127, 127 | 119, 122 | |
/// | rows, AVX-512 | 256, 225 | 260, 239; 246, 230 | 244, 242; 244, 249 | 252, 249; 241, 238 | 207, 228 |
/// | rows, AVX2 | 127, 118; 89, 110 | 127, 123; 90, 120 | 114, 127; 84, 125 | 107, 121 | |
const fn repaid_by(machine: &Machine, col: usize) -> usize {
    let panels = match col {
        1 => 16,
        _ if 2 * machine.tile.rows * size_of::<f32>() > LINE => 4,
        _ => 2,
    };
    panels * machine.tile.cols
}
