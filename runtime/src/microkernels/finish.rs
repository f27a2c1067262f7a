//! The last stage of reductions: the partial results of all blocks become one, in f64, as a binary tree over their numbers: two
//! and two neighbors are merged, then two and two of what that gives, and so on; one that is left over goes on as it is.

use std::ops::Range;

use crate::ir::ops::{ALL, Total};
use crate::kernel::LANES;

/// Columns that are finished side by side, so that their arithmetic is that of vectors.
const STRIP: usize = 16;

/// Parts that are merged level by level: enough for a level to be a long loop, few enough to stay in the first cache.
const WHOLE: usize = 32;

/// The results of some parts as one: of the largest power of two of them, with those of the others.
trait Parts<T: Default> {
    /// Writes the result of one part.
    fn one(&self, part: usize, result: &mut T);

    /// The same of [`WHOLE`] parts from one on, if they are all alike.
    fn whole(&self, first: usize, result: &mut T) -> bool;

    /// Adds the later of two results to the earlier one.
    fn merge(&self, earlier: &mut T, later: &T);

    /// The result of some parts; the default of none.
    fn merged(&self, parts: Range<usize>) -> T {
        let mut result = T::default();
        if !parts.is_empty() {
            self.merge_into(&mut result, parts);
        }
        result
    }

    /// The same where the result is: most are larger than what is done with them.
    fn merge_into(&self, result: &mut T, parts: Range<usize>) {
        if parts.len() == 1 {
            return self.one(parts.start, result);
        }
        if parts.len() == WHOLE && self.whole(parts.start, result) {
            return;
        }
        let middle = parts.start + parts.len().next_power_of_two() / 2;
        self.merge_into(result, parts.start..middle);
        let mut later = T::default();
        self.merge_into(&mut later, middle..parts.end);
        self.merge(result, &later);
    }
}

/// Where the first of two neighbors lies in the first half, and the second at the same place in the second half, and so on with what is
/// made of them: so a level of the tree is one loop. `count` is a power of two.
fn place(part: usize, count: usize) -> usize {
    part.reverse_bits() >> (count.leading_zeros() + 1)
}

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

    fn whole(&self, first: usize, result: &mut [f64; STRIP]) -> bool {
        let (len, mut totals) = (self.columns.len(), [0.0; WHOLE * STRIP]);
        for part in 0..WHOLE {
            let totals = &mut totals[place(part, WHOLE) * len..][..len];
            totals.iter_mut().zip(self.row(first + part)).for_each(|(total, &part)| *total = f64::from(part));
        }
        result[..len].copy_from_slice(merge_halves(self.total, &mut totals[..WHOLE * len], len));
        true
    }

    fn merge(&self, earlier: &mut [f64; STRIP], later: &[f64; STRIP]) {
        let len = self.columns.len();
        (self.total.merge)(&mut earlier[..len], &later[..len]);
    }
}

/// Merges `count` columns over `blocks` rows of partial totals, `stride` floats apart.
///
/// # Safety
/// `partials` is valid for reads of `blocks * stride` floats, `out` for writes of `count`; `count <= stride`. The reduction of this
/// number makes totals.
pub unsafe extern "C" fn total_of_columns(
    reduction: usize,
    partials: *const f32,
    blocks: usize,
    stride: usize,
    count: usize,
    out: *mut f32,
) {
    let total = total(reduction);
    // SAFETY: the caller's promise.
    let (partials, out) =
        unsafe { (std::slice::from_raw_parts(partials, blocks * stride), std::slice::from_raw_parts_mut(out, count)) };
    if blocks == 1 {
        return total_of_block(total, &partials[..count], out);
    }
    let mut columns = Columns { total, partials, stride, columns: 0..0 };
    for (number, out) in out.chunks_mut(STRIP).enumerate() {
        columns.columns = number * STRIP..number * STRIP + out.len();
        let mut totals = [total.identity; STRIP];
        if blocks > 0 {
            let merged = columns.merged(0..blocks);
            columns.merge(&mut totals, &merged);
        }
        out.iter_mut().zip(totals).for_each(|(out, total)| *out = total as f32);
    }
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

/// The total of blocks that have one of each lane.
struct Blocks<'a> {
    total: &'static Total,
    partials: &'a [f32],
}

impl Blocks<'_> {
    /// That of as many blocks as totals have room for, the lanes of each block first.
    fn merge_all(&self, first: usize, totals: &mut [f64]) -> f64 {
        let (lanes, count) = (&self.partials[LANES * first..], totals.len());
        lanes.iter().take(count).enumerate().for_each(|(lane, &part)| totals[place(lane, count)] = f64::from(part));
        merge_halves(self.total, totals, 1)[0]
    }
}

impl Parts<f64> for Blocks<'_> {
    fn one(&self, block: usize, result: &mut f64) {
        *result = self.merge_all(block, &mut [0.0; LANES]);
    }

    fn whole(&self, first: usize, result: &mut f64) -> bool {
        *result = self.merge_all(first, &mut [0.0; WHOLE * LANES]);
        true
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
    let result = if blocks > 0 { Blocks { total, partials }.merged(0..blocks) } else { total.identity };
    // SAFETY: the caller's promise.
    unsafe { *out = result as f32 };
}

/// Means and squared deviations of some rows.
#[derive(Default)]
struct Strip {
    rows: f64,
    means: [f64; STRIP],
    squares: [f64; STRIP],
}

impl Strip {
    /// Adds those of later rows.
    fn add(&mut self, later: &Strip) {
        let rows = [self.rows, later.rows];
        add_moments(rows, [&mut self.means, &mut self.squares], [&later.means, &later.squares]);
        self.rows += later.rows;
    }
}

/// Adds means and squared deviations of later rows to those of earlier ones, side by side.
fn add_moments(
    [earlier, later]: [f64; 2],
    [means, squares]: [&mut [f64]; 2],
    [later_means, later_squares]: [&[f64]; 2],
) {
    let rows = earlier + later;
    let (share, weight) = (later / rows, earlier * later / rows);
    for (((mean, squares), later_mean), later_squares) in
        means.iter_mut().zip(squares).zip(later_means).zip(later_squares)
    {
        let delta = later_mean - *mean;
        *mean += delta * share;
        *squares += later_squares + delta * delta * weight;
    }
}

/// Means and squared deviations of some columns of blocks that are `stride` floats apart, as [`merge_moments`] has them.
struct Moments<'a> {
    partials: &'a [f32],
    stride: usize,
    columns: Range<usize>,
    /// Rows of a block, and of all blocks.
    block: usize,
    rows: usize,
}

impl Moments<'_> {
    /// Those of a block.
    fn write(&self, number: usize, means: &mut [f64], squares: &mut [f64]) {
        let part =
            |part: usize| &self.partials[number * self.stride + part * (self.stride / 3)..][self.columns.clone()];
        let (shifts, deviations, offsets) = (part(0), part(1), part(2));
        for (mean, (&shift, &offset)) in means.iter_mut().zip(shifts.iter().zip(offsets)) {
            *mean = f64::from(shift) + f64::from(offset);
        }
        squares.iter_mut().zip(deviations).for_each(|(squares, &part)| *squares = f64::from(part));
    }
}

impl Parts<Strip> for Moments<'_> {
    fn one(&self, number: usize, strip: &mut Strip) {
        strip.rows = (self.rows - number * self.block).min(self.block) as f64;
        self.write(number, &mut strip.means, &mut strip.squares);
    }

    fn whole(&self, first: usize, strip: &mut Strip) -> bool {
        // The last block may have fewer rows.
        if (first + WHOLE) * self.block > self.rows {
            return false;
        }
        let len = self.columns.len();
        let ([mut all_means, mut all_squares], mut rows) = ([[0.0; WHOLE * STRIP]; 2], self.block as f64);
        for part in 0..WHOLE {
            let place = place(part, WHOLE) * len;
            self.write(first + part, &mut all_means[place..][..len], &mut all_squares[place..][..len]);
        }
        let mut count = WHOLE * len;
        while count > len {
            count /= 2;
            let (means, later_means) = all_means[..2 * count].split_at_mut(count);
            let (squares, later_squares) = all_squares[..2 * count].split_at_mut(count);
            add_moments([rows, rows], [means, squares], [later_means, later_squares]);
            rows *= 2.0;
        }
        strip.rows = rows;
        strip.means[..len].copy_from_slice(&all_means[..len]);
        strip.squares[..len].copy_from_slice(&all_squares[..len]);
        true
    }

    fn merge(&self, earlier: &mut Strip, later: &Strip) {
        earlier.add(later);
    }
}

/// Merges means and squared deviations by the formula of Chan, Golub & LeVeque (1979), and writes mean and biased variance,
/// each unless it is null. The variance is NaN where it, or the unbiased one, is beyond the largest f32: an infinite one would
/// make zeros of what is divided by its root. `overflow` becomes 1 then, unless it is null.
///
/// The moments of a block of `block` rows, the last one of the rest of `rows`, are for each column the shift; `stride / 3` floats
/// on, the sum of squared deviations; as many on, the distance of the mean from the shift. From one block to the next are
/// `stride` floats.
///
/// # Safety
/// `partials` is valid for reads of `stride` floats for every block, and `3 * columns <= stride`; where they are not null,
/// `mean` and `variance` are valid for writes of `columns` floats, `overflow` of one number.
pub unsafe extern "C" fn merge_moments(
    partials: *const f32,
    stride: usize,
    columns: usize,
    block: usize,
    rows: usize,
    mean: *mut f32,
    variance: *mut f32,
    overflow: *mut u32,
) {
    let blocks = rows.div_ceil(block);
    if blocks == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let partials = unsafe { std::slice::from_raw_parts(partials, blocks * stride) };
    let mut moments = Moments { partials, stride, columns: 0..0, block, rows };
    for first in (0..columns).step_by(STRIP) {
        let len = STRIP.min(columns - first);
        moments.columns = first..first + len;
        let Strip { rows: count, means, squares } = moments.merged(0..blocks);
        if !mean.is_null() {
            // SAFETY: the strip ends at `columns` or before.
            let out = unsafe { std::slice::from_raw_parts_mut(mean.add(first), len) };
            out.iter_mut().zip(means).for_each(|(out, mean)| *out = mean as f32);
        }
        if !variance.is_null() {
            // A little less than the largest, since the factor of the unbiased variance is rounded.
            let most = f64::from(f32::MAX) * (1.0 - 1e-6) * (1.0 - 1.0 / count.max(2.0));
            // SAFETY: the strip ends at `columns` or before.
            let out = unsafe { std::slice::from_raw_parts_mut(variance.add(first), len) };
            let mut finite = true;
            out.iter_mut().zip(squares).for_each(|(out, squares)| {
                let variance = squares / count;
                finite &= variance <= most;
                *out = if variance <= most { variance as f32 } else { f32::NAN };
            });
            if !finite && !overflow.is_null() {
                // SAFETY: the caller's promise.
                unsafe { *overflow = 1 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LANES, Parts, STRIP, WHOLE, merge_moments, place, total_of_all, total_of_columns};
    use crate::ir::Op;
    use crate::ir::ops::Reduction;

    fn number(op: &Op) -> usize {
        op.def().reduction().map(Reduction::number).expect("it is a reduction")
    }

    fn sum() -> usize {
        number(&Op::Sum(vec![0]))
    }

    #[test]
    fn columns_are_added_over_blocks_and_padding_is_left_out() {
        let partials = [1.0, 2.0, f32::NAN, 10.0, 20.0, f32::NAN];
        let mut out = [0.0; 2];
        // SAFETY: two blocks of three floats, of which two columns are wanted.
        unsafe { total_of_columns(sum(), partials.as_ptr(), 2, 3, 2, out.as_mut_ptr()) };
        assert_eq!(out, [11.0, 22.0]);
    }

    /// Parts that write down how they are merged: one by one, or some of them level by level.
    struct Tree {
        by_levels: bool,
    }

    impl Parts<String> for Tree {
        fn one(&self, part: usize, result: &mut String) {
            *result = part.to_string();
        }

        fn whole(&self, first: usize, result: &mut String) -> bool {
            let mut parts = vec![String::new(); WHOLE];
            (0..WHOLE).for_each(|part| self.one(first + part, &mut parts[place(part, WHOLE)]));
            while parts.len() > 1 {
                let later = parts.split_off(parts.len() / 2);
                parts.iter_mut().zip(&later).for_each(|(earlier, later)| self.merge(earlier, later));
            }
            *result = parts.remove(0);
            self.by_levels
        }

        fn merge(&self, earlier: &mut String, later: &String) {
            *earlier = format!("({earlier}{later})");
        }
    }

    #[test]
    fn parts_are_merged_as_a_binary_tree_over_their_numbers() {
        let tree = |count| Tree { by_levels: true }.merged(0..count);
        assert_eq!([0, 1, 3, 4, 7].map(tree), ["", "0", "((01)2)", "((01)(23))", "(((01)(23))((45)6))"]);
        for count in [WHOLE - 1, WHOLE, WHOLE + 1, 2 * WHOLE + 5, 7 * WHOLE] {
            assert_eq!(tree(count), Tree { by_levels: false }.merged(0..count), "{count}");
        }
    }

    /// The same parts of every strip of columns, merged by themselves.
    #[test]
    fn many_parts_of_many_columns_have_the_bits_of_one_column() {
        let (columns, rows, block) = (2 * STRIP + 3, 64 * (3 * WHOLE + 2) + 5, 64);
        let (blocks, stride) = (usize::div_ceil(rows, block), 3 * (columns + 1));
        let partials: Vec<f32> =
            (0..blocks * stride).map(|at| ((at * 7919 % 104_729) as f32 / 997.0).sin().abs()).collect();
        let (mut sums, mut moments) = (vec![0.0; columns], [vec![0.0; columns], vec![0.0; columns]]);
        let [means, variances] = moments.each_mut().map(|moments| moments.as_mut_ptr());
        let none = std::ptr::null_mut();
        // SAFETY: there are so many blocks of so many floats, and room for so many columns.
        unsafe {
            total_of_columns(sum(), partials.as_ptr(), blocks, stride, columns, sums.as_mut_ptr());
            merge_moments(partials.as_ptr(), stride, columns, block, rows, means, variances, none);
        }
        // A tree over the numbers in double precision, one after the other.
        fn tree<T: Copy>(parts: &[T], merge: &impl Fn(T, T) -> T) -> T {
            match parts {
                [one] => *one,
                _ => {
                    let (earlier, later) = parts.split_at(parts.len().next_power_of_two() / 2);
                    merge(tree(earlier, merge), tree(later, merge))
                }
            }
        }
        for column in 0..columns {
            let part = |block: usize, part: usize| f64::from(partials[block * stride + part * (stride / 3) + column]);
            let totals: Vec<f64> = (0..blocks).map(|block| part(block, 0)).collect();
            assert_eq!(sums[column], tree(&totals, &|x, y| x + y) as f32, "column {column}");
            let rows_of = |number: usize| (rows - number * block).min(block) as f64;
            let blocks: Vec<[f64; 3]> =
                (0..blocks).map(|block| [rows_of(block), part(block, 0) + part(block, 2), part(block, 1)]).collect();
            let [count, mean, squares] = tree(&blocks, &|x: [f64; 3], y: [f64; 3]| {
                let (count, delta) = (x[0] + y[0], y[1] - x[1]);
                let squares = x[2] + (y[2] + delta * delta * (x[0] * y[0] / count));
                [count, x[1] + delta * (y[0] / count), squares]
            });
            assert_eq!(count, rows as f64);
            assert_eq!(
                [moments[0][column], moments[1][column]],
                [mean as f32, (squares / count) as f32],
                "column {column}"
            );
        }
    }

    #[test]
    fn a_sum_of_large_and_small_parts_keeps_the_small_ones() {
        let mut partials = [0.0; 2 * LANES];
        partials[..6].copy_from_slice(&[1e8, 1.0, 1.0, 1.0, 1.0, -1e8]);
        let mut out = 0.0;
        // SAFETY: two blocks of lanes and one result.
        unsafe { total_of_all(sum(), partials.as_ptr(), 2, &mut out) };
        assert_eq!(out, 4.0);
    }

    #[test]
    fn nan_in_any_block_is_the_largest() {
        let (max, partials) = (number(&Op::MaxOver(vec![0])), [1.0, f32::NAN, 3.0, 2.0]);
        let mut out = [0.0; 2];
        // SAFETY: two blocks of two floats.
        unsafe { total_of_columns(max, partials.as_ptr(), 2, 2, 2, out.as_mut_ptr()) };
        assert_eq!(out[0], 3.0);
        assert!(out[1].is_nan());
    }

    #[test]
    fn columns_of_one_block_and_of_several_are_summed_alike() {
        let partials = [1.5, -0.0, f32::INFINITY, f32::NAN, -0.0, 7.0];
        let mut sums = [[0.0; 5]; 2];
        for (blocks, out) in [1, 2].into_iter().zip(&mut sums) {
            // Of two blocks, the second is of zeros.
            let both = [partials, [-0.0; 6]].concat();
            // SAFETY: two blocks of six floats, five columns.
            unsafe { total_of_columns(sum(), both.as_ptr(), blocks, 6, 5, out.as_mut_ptr()) };
        }
        assert_eq!(sums[0].map(f32::to_bits)[..3], [1.5, 0.0, f32::INFINITY].map(f32::to_bits));
        assert!(sums[0][3].is_nan() && sums[1][3].is_nan());
        assert_eq!(sums[0][4].to_bits(), 0);
        assert_eq!(sums[0][..3], sums[1][..3]);
    }

    #[test]
    fn moments_of_blocks_merge_to_those_of_all_rows() {
        // Rows 1, 2, 3 and 7, 9: means 2 and 8, squared deviations 2 and 2.
        let partials = [1.0, 2.0, 1.0, 9.0, 2.0, -1.0];
        let (mut mean, mut variance) = (0.0, 0.0);
        // SAFETY: two blocks of three floats, one column.
        unsafe { merge_moments(partials.as_ptr(), 3, 1, 3, 5, &mut mean, &mut variance, std::ptr::null_mut()) };
        assert_eq!(mean, 4.4);
        assert!((variance - 9.44).abs() < 1e-6, "{variance}");
    }
}
