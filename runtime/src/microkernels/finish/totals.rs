//! Totals of blocks, such as sums and maxima.

use std::ops::Range;

use super::{Blocks, Parts, STRIP, WHOLE, halves, joined, merge_branches, place, strip};
use crate::ir::ops::{ALL, Total};
use crate::kernel::LANES;

/// The total that each reduction makes, by its number. To look for it among all operations takes as long as a step of a small network,
/// and a step makes no table.
static TOTALS: [Option<&Total>; ALL.len()] = {
    let (mut totals, mut number, mut at) = ([None; ALL.len()], 0, 0);
    while at < ALL.len() {
        if let Some(reduction) = ALL[at].reduction() {
            totals[number] = reduction.total();
            number += 1;
        }
        at += 1;
    }
    totals
};

/// The total that a reduction makes, by its number.
fn total(reduction: usize) -> &'static Total {
    TOTALS[reduction].expect("compiled code numbers reductions as they are")
}

/// Totals that lie in their [places](place): two and two halves, until one is left of so many columns.
fn merge_halves<'a>(total: &Total, mut totals: &'a mut [f64], columns: usize) -> &'a [f64] {
    while totals.len() > columns {
        let (earlier, later) = totals.split_at_mut(totals.len() / 2);
        (total.merge)(earlier, later);
        totals = earlier;
    }
    totals
}

/// Totals of some columns of rows that are `stride` floats apart.
struct Columns<'a> {
    total: &'static Total,
    partials: &'a [f32],
    stride: usize,
    columns: Range<usize>,
    blocks: Blocks,
}

impl Columns<'_> {
    fn row(&self, row: usize) -> &[f32] {
        &self.partials[row * self.stride..][self.columns.clone()]
    }
}

impl Parts<[f64; STRIP]> for Columns<'_> {
    fn one(&self, row: usize, result: &mut [f64; STRIP]) {
        result.iter_mut().zip(self.row(row)).for_each(|(total, &part)| *total = f64::from(part));
    }

    fn whole(&self, branch: &Range<usize>, result: &mut [f64; STRIP]) -> bool {
        if self.blocks.are_merged(branch) {
            let halves = self.row(branch.start).iter().zip(self.row(branch.start + 1));
            result.iter_mut().zip(halves).for_each(|(total, (&high, &low))| *total = joined([high, low]));
            return true;
        }
        if self.blocks.are_whole(branch) {
            let (len, mut totals) = (self.columns.len(), [0.0; WHOLE * STRIP]);
            for part in 0..branch.len() {
                let totals = &mut totals[place(part, branch.len()) * len..][..len];
                let row = self.row(branch.start + part);
                totals.iter_mut().zip(row).for_each(|(total, &part)| *total = f64::from(part));
            }
            result[..len].copy_from_slice(merge_halves(self.total, &mut totals[..branch.len() * len], len));
            return true;
        }
        false
    }

    fn merge(&self, earlier: &mut [f64; STRIP], later: &[f64; STRIP]) {
        let len = self.columns.len();
        (self.total.merge)(&mut earlier[..len], &later[..len]);
    }
}

/// Merges `count` columns of partial totals of blocks of `block` rows, the last one of the rest of `rows`, `stride` floats apart. Every
/// `ahead` of them have been merged by [`totals_ahead`] where they have all of their rows, unless that is 1.
///
/// # Safety
/// `partials` is valid for reads of `stride` floats for every block, `out` for writes of `count`; `count <= stride`. The reduction of
/// this number makes totals.
pub unsafe extern "C" fn total_of_columns(
    reduction: usize,
    partials: *const f32,
    stride: usize,
    count: usize,
    block: usize,
    rows: usize,
    ahead: usize,
    out: *mut f32,
) {
    let (total, blocks) = (total(reduction), Blocks { block, rows, ahead });
    // SAFETY: the caller's promise.
    let (partials, out) = unsafe {
        (std::slice::from_raw_parts(partials, blocks.count() * stride), std::slice::from_raw_parts_mut(out, count))
    };
    if blocks.count() == 1 {
        return total_of_block(total, &partials[..count], out);
    }
    let mut columns = Columns { total, partials, stride, columns: 0..0, blocks };
    blocks.prefetch(partials, stride, &[0], &strip(0, count));
    for (number, out) in out.chunks_mut(STRIP).enumerate() {
        blocks.prefetch(partials, stride, &[0], &strip(number + 1, count));
        columns.columns = strip(number, count);
        let mut totals = [total.identity; STRIP];
        if rows > 0 {
            let merged = columns.merged(0..blocks.count());
            columns.merge(&mut totals, &merged);
        }
        out.iter_mut().zip(totals).for_each(|(out, total)| *out = total as f32);
    }
}

/// Merges `count` columns of partial totals of the blocks of some rows, if those are all rows of `ahead` blocks: the branches that they
/// are of the tree of all.
///
/// # Safety
/// `partials` is valid for reads and writes of `stride` floats for every block of these rows; `count <= stride`. The reduction of this
/// number makes totals.
pub unsafe extern "C" fn totals_ahead(
    reduction: usize,
    partials: *mut f32,
    stride: usize,
    count: usize,
    block: usize,
    from: usize,
    to: usize,
    ahead: usize,
) {
    let total = total(reduction);
    let merge = |partials: &mut [f32], blocks: Blocks, columns: Range<usize>| {
        let of_strip = Columns { total, partials, stride, columns: columns.clone(), blocks }.merged(0..blocks.count());
        for (column, total) in columns.zip(of_strip) {
            [partials[column], partials[stride + column]] = halves(total);
        }
    };
    // SAFETY: the caller's promise.
    unsafe { merge_branches((partials, stride, count), block, from..to, ahead, merge) }
}

/// The same of one block, as small networks have: a sum is never -0, so that it is not merely copied.
fn total_of_block(total: &Total, parts: &[f32], out: &mut [f32]) {
    const FEW: usize = 8;
    for (out, parts) in out.chunks_mut(FEW).zip(parts.chunks(FEW)) {
        let (mut totals, mut later) = ([total.identity; FEW], [0.0; FEW]);
        later.iter_mut().zip(parts).for_each(|(later, &part)| *later = f64::from(part));
        (total.merge)(&mut totals[..out.len()], &later[..out.len()]);
        out.iter_mut().zip(totals).for_each(|(out, total)| *out = total as f32);
    }
}

/// Totals of blocks that have one of each lane.
struct Lanes<'a> {
    total: &'static Total,
    partials: &'a [f32],
}

impl Lanes<'_> {
    /// That of as many blocks as totals have room for, the lanes of each block first.
    fn merge_all(&self, first: usize, totals: &mut [f64]) -> f64 {
        let (lanes, count) = (&self.partials[LANES * first..], totals.len());
        lanes.iter().take(count).enumerate().for_each(|(lane, &part)| totals[place(lane, count)] = f64::from(part));
        merge_halves(self.total, totals, 1)[0]
    }
}

impl Parts<f64> for Lanes<'_> {
    fn one(&self, block: usize, result: &mut f64) {
        *result = self.merge_all(block, &mut [0.0; LANES]);
    }

    fn whole(&self, branch: &Range<usize>, result: &mut f64) -> bool {
        if branch.len() == WHOLE {
            *result = self.merge_all(branch.start, &mut [0.0; WHOLE * LANES]);
        }
        branch.len() == WHOLE
    }

    fn merge(&self, earlier: &mut f64, later: &f64) {
        (self.total.merge)(std::slice::from_mut(earlier), std::slice::from_ref(later));
    }
}

/// Merges everything, the lanes of each block first.
///
/// # Safety
/// `partials` is valid for reads of [`LANES`] floats for each of `blocks`, `out` for writes of one. The reduction of this number makes
/// totals.
pub unsafe extern "C" fn total_of_all(reduction: usize, partials: *const f32, blocks: usize, out: *mut f32) {
    let total = total(reduction);
    // SAFETY: the caller's promise.
    let partials = unsafe { std::slice::from_raw_parts(partials, blocks * LANES) };
    let result = if blocks > 0 { Lanes { total, partials }.merged(0..blocks) } else { total.identity };
    // SAFETY: the caller's promise.
    unsafe { *out = result as f32 };
}
