//! The last stage of reductions: the partial results of all blocks become one, in f64, as a binary tree over their numbers: two
//! and two neighbors are merged, then two and two of what that gives, and so on; one that is left over goes on as it is.

use std::ops::Range;

use crate::ir::ops::{ALL, Total};
use crate::kernel::LANES;

/// Columns that are finished side by side, so that their arithmetic is that of vectors.
const STRIP: usize = 32;

/// The results of some parts as one: of the largest power of two of them, with those of the others; the default for no parts. `part` writes
/// its result, and `merge` adds the later one to the earlier one, where they are: most of them are larger than what is done with them.
fn merged<T: Default>(parts: Range<usize>, part: &impl Fn(usize, &mut T), merge: &impl Fn(&mut T, &T)) -> T {
    let mut result = T::default();
    if !parts.is_empty() {
        merge_into(&mut result, parts, part, merge);
    }
    result
}

fn merge_into<T: Default>(
    into: &mut T,
    parts: Range<usize>,
    part: &impl Fn(usize, &mut T),
    merge: &impl Fn(&mut T, &T),
) {
    if parts.len() == 1 {
        return part(parts.start, into);
    }
    let middle = parts.start + parts.len().next_power_of_two() / 2;
    merge_into(into, parts.start..middle, part, merge);
    let mut later = T::default();
    merge_into(&mut later, middle..parts.end, part, merge);
    merge(into, &later);
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
    if blocks == 1 {
        // SAFETY: `count <= stride`.
        let parts = unsafe { std::slice::from_raw_parts(partials, count) };
        // SAFETY: the caller's promise.
        return total_of_block(total, parts, unsafe { std::slice::from_raw_parts_mut(out, count) });
    }
    for first in (0..count).step_by(STRIP) {
        let strip = first..(first + STRIP).min(count);
        let len = strip.len();
        let part = |block: usize, totals: &mut [f64; STRIP]| {
            // SAFETY: the strip ends at `count <= stride` or before, and `block < blocks`.
            let parts = unsafe { std::slice::from_raw_parts(partials.add(block * stride + first), len) };
            totals.iter_mut().zip(parts).for_each(|(total, &part)| *total = f64::from(part));
        };
        let merge = |totals: &mut [f64; STRIP], later: &[f64; STRIP]| (total.merge)(&mut totals[..len], &later[..len]);
        let mut totals = [total.identity; STRIP];
        if blocks > 0 {
            merge(&mut totals, &merged(0..blocks, &part, &merge));
        }
        // SAFETY: the strip ends at `count` or before.
        let out = unsafe { std::slice::from_raw_parts_mut(out.add(first), strip.len()) };
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

/// Merges everything, the lanes of each block first.
///
/// # Safety
/// `partials` is valid for reads of [`LANES`] floats for each of `blocks`, `out` for writes of one. The reduction of this number makes
/// totals.
pub unsafe extern "C" fn total_of_all(reduction: usize, partials: *const f32, blocks: usize, out: *mut f32) {
    let total = total(reduction);
    // SAFETY: the caller's promise.
    let partials = unsafe { std::slice::from_raw_parts(partials, blocks * LANES) };
    let block = |block: usize, result: &mut f64| {
        let lanes = &partials[LANES * block..][..LANES];
        let mut totals: [f64; LANES] = std::array::from_fn(|lane| f64::from(lanes[lane]));
        for len in [8, 4, 2, 1] {
            let [earlier, later]: [[f64; LANES / 2]; 2] =
                [0, 1].map(|side| std::array::from_fn(|lane| totals[(2 * lane + side) % LANES]));
            totals[..len].copy_from_slice(&earlier[..len]);
            (total.merge)(&mut totals[..len], &later[..len]);
        }
        *result = totals[0];
    };
    let merge = |left: &mut f64, right: &f64| (total.merge)(std::slice::from_mut(left), std::slice::from_ref(right));
    let result = if blocks > 0 { merged(0..blocks, &block, &merge) } else { total.identity };
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
        let rows = self.rows + later.rows;
        let (share, weight) = (later.rows / rows, self.rows * later.rows / rows);
        for column in 0..STRIP {
            let delta = later.means[column] - self.means[column];
            self.means[column] += delta * share;
            self.squares[column] += later.squares[column] + delta * delta * weight;
        }
        self.rows = rows;
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
    for first in (0..columns).step_by(STRIP) {
        let len = STRIP.min(columns - first);
        let part = |number: usize, strip: &mut Strip| {
            // SAFETY: the places lie in the block's part of the partial results.
            let floats = |part: usize| unsafe {
                let at = number * stride + part * (stride / 3) + first;
                std::slice::from_raw_parts(partials.add(at), len)
            };
            let (shifts, squares, offsets) = (floats(0), floats(1), floats(2));
            strip.rows = (rows - number * block).min(block) as f64;
            for column in 0..len {
                strip.means[column] = f64::from(shifts[column]) + f64::from(offsets[column]);
                strip.squares[column] = f64::from(squares[column]);
            }
        };
        if blocks == 0 {
            return;
        }
        let Strip { rows: count, means, squares } = merged(0..blocks, &part, &Strip::add);
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
    use super::{LANES, merge_moments, merged, total_of_all, total_of_columns};
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

    #[test]
    fn parts_are_merged_as_a_binary_tree_over_their_numbers() {
        let tree = |count| {
            let pair = |left: &mut String, right: &String| *left = format!("({left}{right})");
            merged(0..count, &|index, part: &mut String| *part = index.to_string(), &pair)
        };
        assert_eq!([0, 1, 3, 4, 7].map(tree), ["", "0", "((01)2)", "((01)(23))", "(((01)(23))((45)6))"]);
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
