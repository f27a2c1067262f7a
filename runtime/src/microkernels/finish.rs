//! The last stage of reductions: the partial results of all blocks become one, in f64, as a binary tree over their numbers: two
//! and two neighbors are merged, then two and two of what that gives, and so on; one that is left over goes on as it is.
//!
//! A thread that has computed adjacent blocks may merge them ahead, while they are in its cache, as far as they are branches of the tree:
//! the thread that does the rest then reads one result of each. It lies where the first two blocks were, each number as two halves.
//! Neither what is merged nor in which order depends on that.

use std::ops::Range;

use super::prefetch;

mod moments;
mod totals;

pub use moments::{merge_moments, moments_ahead};
pub use totals::{total_of_all, total_of_columns, totals_ahead};

/// Columns that are finished side by side, so that their arithmetic is that of vectors.
const STRIP: usize = 16;

/// The strip of this number, of so many columns; none beyond.
fn strip(number: usize, columns: usize) -> Range<usize> {
    (number * STRIP).min(columns)..((number + 1) * STRIP).min(columns)
}

/// Fewest and most parts that are merged level by level: enough for a level to be a long loop, few enough to stay in the first cache.
const FEW: usize = 4;
const WHOLE: usize = 32;

/// The results of some parts as one: of the largest power of two of them, with those of the others.
trait Parts<T: Default> {
    /// Writes the result of one part.
    fn one(&self, part: usize, result: &mut T);

    /// The same of a branch of so many parts as are a power of two, if it can be done in one go.
    fn whole(&self, branch: &Range<usize>, result: &mut T) -> bool;

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
        if parts.len().is_power_of_two() && self.whole(&parts, result) {
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

/// A number in double precision as two words in the places of single ones.
fn halves(number: f64) -> [f32; 2] {
    let bits = number.to_bits();
    [(bits >> 32) as u32, bits as u32].map(f32::from_bits)
}

fn joined(halves: [f32; 2]) -> f64 {
    let [high, low] = halves.map(|half| u64::from(half.to_bits()));
    f64::from_bits(high << 32 | low)
}

/// How rows are cut into blocks, and which of those have been merged.
#[derive(Clone, Copy)]
struct Blocks {
    /// Rows of a block; the last one has what is left.
    block: usize,
    /// Rows of all.
    rows: usize,
    /// Blocks of a unit that merges its own ahead, if it has all of its rows; 1 if none does.
    ahead: usize,
}

impl Blocks {
    fn count(self) -> usize {
        self.rows.div_ceil(self.block)
    }

    /// Whether some blocks have all of their rows.
    fn are_complete(self, blocks: &Range<usize>) -> bool {
        blocks.end * self.block <= self.rows
    }

    /// Whether a branch has been merged ahead: it is in one unit, and not in a larger branch that is, which would have come first.
    fn are_merged(self, branch: &Range<usize>) -> bool {
        let unit = branch.start / self.ahead;
        let all = unit * self.ahead..(unit + 1) * self.ahead;
        self.ahead > 1 && branch.end <= all.end && self.are_complete(&all)
    }

    /// Whether blocks are to be merged level by level.
    fn are_whole(self, branch: &Range<usize>) -> bool {
        self.ahead == 1 && (FEW..=WHOLE).contains(&branch.len()) && self.are_complete(branch)
    }

    /// Asks for what is read of some columns: of every block, or of the branches that have been merged ahead. From one block to the next
    /// is further than the machine foresees, and half of it lies in the cache of another core: the moments of 16 blocks of 256 columns
    /// take 8 us rather than 12.
    fn prefetch(self, partials: &[f32], stride: usize, parts: &[usize], columns: &Range<usize>) {
        if columns.is_empty() {
            return;
        }
        let block = |number: usize| {
            for part in parts {
                let start = partials[number * stride + part..].as_ptr();
                prefetch::to_read(start.wrapping_add(columns.start).cast(), 4 * columns.len());
            }
        };
        for unit in (0..self.count()).step_by(self.ahead) {
            let all = unit..(unit + self.ahead).min(self.count());
            match self.ahead > 1 && self.are_complete(&(unit..unit + self.ahead)) {
                true => branches(all).for_each(|it| (it.start..it.end.min(it.start + 2)).for_each(block)),
                false => all.for_each(block),
            }
        }
    }
}

/// The branches that adjacent blocks have in the tree of all, each as large as can be.
fn branches(blocks: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut start = blocks.start;
    std::iter::from_fn(move || {
        let most = 1 << blocks.end.checked_sub(start)?.checked_ilog2()?;
        let len = if start == 0 { most } else { most.min(1 << start.trailing_zeros()) };
        start += len;
        Some(start - len..start)
    })
}

/// Merges the partial results of the blocks of some rows, if those are all rows of `ahead` blocks: strip by strip of every branch, of which
/// `merge` is given all blocks, `stride` floats each.
///
/// # Safety
/// `partials` is valid for reads and writes of `stride` floats for every block of these rows.
unsafe fn merge_branches(
    (partials, stride, columns): (*mut f32, usize, usize),
    block: usize,
    rows: Range<usize>,
    ahead: usize,
    merge: impl Fn(&mut [f32], Blocks, Range<usize>),
) {
    if rows.len() != ahead * block {
        return;
    }
    for branch in branches(rows.start / block..rows.end / block).filter(|branch| branch.len() > 1) {
        let blocks = Blocks { block, rows: branch.len() * block, ahead: 1 };
        let (start, len) = (branch.start * stride, branch.len() * stride);
        // SAFETY: the caller's promise.
        let partials = unsafe { std::slice::from_raw_parts_mut(partials.add(start), len) };
        for number in 0..columns.div_ceil(STRIP) {
            merge(partials, blocks, strip(number, columns));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::{
        Parts, STRIP, WHOLE, branches, merge_moments, moments_ahead, place, total_of_all, total_of_columns,
        totals_ahead,
    };
    use crate::ir::Op;
    use crate::ir::ops::Reduction;
    use crate::kernel::LANES;

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
        unsafe { total_of_columns(sum(), partials.as_ptr(), 3, 2, 1, 2, 1, out.as_mut_ptr()) };
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

        fn whole(&self, branch: &Range<usize>, result: &mut String) -> bool {
            if branch.len() != WHOLE {
                return false;
            }
            let mut parts = vec![String::new(); WHOLE];
            (0..WHOLE).for_each(|part| self.one(branch.start + part, &mut parts[place(part, WHOLE)]));
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

    /// Sums, means and variances of blocks of 64 rows, some of which have been merged ahead where they are complete.
    fn all(partials: &[f32], (columns, stride): (usize, usize), rows: usize, ahead: usize) -> [Vec<f32>; 3] {
        let block = 64;
        let mut results = [(); 3].map(|()| vec![0.0; columns]);
        let [mut of_sums, mut of_moments] = [(); 2].map(|()| partials.to_vec());
        for first in (0..rows).step_by(ahead * block).filter(|_| ahead > 1) {
            let to = rows.min(first + ahead * block);
            // SAFETY: there are so many blocks of so many floats.
            unsafe {
                totals_ahead(sum(), of_sums.as_mut_ptr(), stride, columns, block, first, to, ahead);
                moments_ahead(of_moments.as_mut_ptr(), stride, columns, block, first, to, ahead);
            }
        }
        let ([sums, means, variances], none) = (results.each_mut().map(Vec::as_mut_ptr), std::ptr::null_mut());
        // SAFETY: there are so many blocks of so many floats, and room for so many columns.
        unsafe {
            total_of_columns(sum(), of_sums.as_ptr(), stride, columns, block, rows, ahead, sums);
            merge_moments(of_moments.as_ptr(), stride, columns, block, rows, ahead, means, variances, none);
        }
        results
    }

    /// A tree over results, one after the other.
    fn tree<T: Copy>(parts: &[T], merge: &impl Fn(T, T) -> T) -> T {
        match parts {
            [one] => *one,
            _ => {
                let (earlier, later) = parts.split_at(parts.len().next_power_of_two() / 2);
                merge(tree(earlier, merge), tree(later, merge))
            }
        }
    }

    #[test]
    fn many_parts_of_many_columns_have_the_bits_of_one_tree_whatever_is_merged_ahead() {
        let (columns, rows, block) = (2 * STRIP + 3, 64 * (3 * WHOLE + 2) + 5, 64);
        let (blocks, stride) = (usize::div_ceil(rows, block), 3 * (columns + 1));
        let partials: Vec<f32> =
            (0..blocks * stride).map(|at| ((at * 7919 % 104_729) as f32 / 997.0).sin().abs()).collect();
        let expected = |column: usize| {
            let part = |block: usize, part: usize| f64::from(partials[block * stride + part * (stride / 3) + column]);
            let totals: Vec<f64> = (0..blocks).map(|block| part(block, 0)).collect();
            let rows_of = |number: usize| (rows - number * block).min(block) as f64;
            let moments: Vec<[f64; 3]> =
                (0..blocks).map(|block| [rows_of(block), part(block, 0) + part(block, 2), part(block, 1)]).collect();
            let [count, mean, squares] = tree(&moments, &|x: [f64; 3], y: [f64; 3]| {
                let (count, delta) = (x[0] + y[0], y[1] - x[1]);
                let squares = x[2] + (y[2] + delta * delta * (x[0] * y[0] / count));
                [count, x[1] + delta * (y[0] / count), squares]
            });
            assert_eq!(count, rows as f64);
            [tree(&totals, &|x, y| x + y), mean, squares / count].map(|result| (result as f32).to_bits())
        };
        for ahead in [1, 2, 3, 7, 16, 24, 64] {
            let results = all(&partials, (columns, stride), rows, ahead);
            for column in 0..columns {
                let bits = results.each_ref().map(|result| result[column].to_bits());
                assert_eq!(bits, expected(column), "column {column}, {ahead} blocks ahead");
            }
        }
    }

    #[test]
    fn a_sum_of_everything_has_the_bits_of_a_tree_of_blocks_over_trees_of_lanes() {
        for blocks in [1, 2, 3, WHOLE - 1, WHOLE, WHOLE + 1, 3 * WHOLE + 5] {
            // The second half takes the first one away, in another order: what is left is rounding, which each order does otherwise.
            let half = blocks * LANES / 2;
            let one = |at: usize| (at * 7919 % 104_729) as f32 * ((1_u64 << (at * 37 % 60)) as f32);
            let other = (0..half).map(|at| -one((at + 5) % half));
            let partials: Vec<f32> = (0..half).map(one).chain(other).collect();
            let add = |x: f64, y: f64| x + y;
            let lanes = |block: &[f32]| tree(&block.iter().map(|&lane| f64::from(lane)).collect::<Vec<_>>(), &add);
            let expected = tree(&partials.chunks(LANES).map(lanes).collect::<Vec<_>>(), &add) as f32;
            let in_order = partials.iter().map(|&part| f64::from(part)).sum::<f64>() as f32;
            assert!(blocks < 3 || expected.to_bits() != in_order.to_bits(), "{blocks} blocks: the order shows");
            let mut out = 0.0;
            // SAFETY: so many blocks of lanes and one result.
            unsafe { total_of_all(sum(), partials.as_ptr(), blocks, &mut out) };
            assert_eq!(out.to_bits(), expected.to_bits(), "{blocks} blocks");
        }
    }

    #[test]
    fn adjacent_parts_are_as_few_branches_as_can_be() {
        let of = |parts: Range<usize>| branches(parts).map(|branch| [branch.start, branch.len()]).collect::<Vec<_>>();
        assert_eq!(of(0..7), [[0, 4], [4, 2], [6, 1]]);
        assert_eq!(of(7..14), [[7, 1], [8, 4], [12, 2]]);
        assert_eq!([of(48..64), of(3..3)], [vec![[48, 16]], vec![]]);
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
        unsafe { total_of_columns(max, partials.as_ptr(), 2, 2, 1, 2, 1, out.as_mut_ptr()) };
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
            unsafe { total_of_columns(sum(), both.as_ptr(), 6, 5, 1, blocks, 1, out.as_mut_ptr()) };
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
        unsafe { merge_moments(partials.as_ptr(), 3, 1, 3, 5, 1, &mut mean, &mut variance, std::ptr::null_mut()) };
        assert_eq!(mean, 4.4);
        assert!((variance - 9.44).abs() < 1e-6, "{variance}");
    }
}
