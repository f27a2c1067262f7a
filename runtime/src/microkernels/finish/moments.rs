//! Means and variances of blocks.

use std::ops::Range;

use super::{Blocks, Parts, STRIP, WHOLE, halves, joined, merge_branches, place, strip};

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
    blocks: Blocks,
}

impl Moments<'_> {
    /// One of the three parts of a block.
    fn part(&self, number: usize, part: usize) -> &[f32] {
        &self.partials[number * self.stride + part * (self.stride / 3)..][self.columns.clone()]
    }

    /// Those of a block.
    fn write(&self, number: usize, means: &mut [f64], squares: &mut [f64]) {
        let [shifts, deviations, offsets] = [0, 1, 2].map(|part| self.part(number, part));
        for (mean, (&shift, &offset)) in means.iter_mut().zip(shifts.iter().zip(offsets)) {
            *mean = f64::from(shift) + f64::from(offset);
        }
        squares.iter_mut().zip(deviations).for_each(|(squares, &part)| *squares = f64::from(part));
    }
}

impl Parts<Strip> for Moments<'_> {
    fn one(&self, number: usize, strip: &mut Strip) {
        let Blocks { block, rows, .. } = self.blocks;
        strip.rows = (rows - number * block).min(block) as f64;
        self.write(number, &mut strip.means, &mut strip.squares);
    }

    fn whole(&self, branch: &Range<usize>, strip: &mut Strip) -> bool {
        let (len, mut rows, first) = (self.columns.len(), self.blocks.block as f64, branch.start);
        if self.blocks.are_merged(branch) {
            strip.rows = rows * branch.len() as f64;
            let [mean, more_of_mean, squares] = [0, 1, 2].map(|part| self.part(first, part));
            let more_of_squares = self.part(first + 1, 0);
            for column in 0..len {
                strip.means[column] = joined([mean[column], more_of_mean[column]]);
                strip.squares[column] = joined([squares[column], more_of_squares[column]]);
            }
            return true;
        }
        if !self.blocks.are_whole(branch) {
            return false;
        }
        let [mut all_means, mut all_squares] = [[0.0; WHOLE * STRIP]; 2];
        for part in 0..branch.len() {
            let place = place(part, branch.len()) * len;
            self.write(first + part, &mut all_means[place..][..len], &mut all_squares[place..][..len]);
        }
        let mut count = branch.len() * len;
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

/// Merges moments of the blocks of some rows, if those are all rows of `ahead` blocks, as [`merge_moments`] does those of all: the
/// branches that they are of the tree of all.
///
/// # Safety
/// `partials` is valid for reads and writes of `stride` floats for every block of these rows, and `3 * columns <= stride`.
pub unsafe extern "C" fn moments_ahead(
    partials: *mut f32,
    stride: usize,
    columns: usize,
    block: usize,
    from: usize,
    to: usize,
    ahead: usize,
) {
    let merge = |partials: &mut [f32], blocks: Blocks, columns: Range<usize>| {
        let of_strip = Moments { partials, stride, columns: columns.clone(), blocks };
        let Strip { means, squares, .. } = of_strip.merged(0..blocks.count());
        for ((column, mean), squares) in columns.zip(means).zip(squares) {
            let part = |part: usize| part * (stride / 3) + column;
            [partials[part(0)], partials[part(1)]] = halves(mean);
            [partials[part(2)], partials[stride + part(0)]] = halves(squares);
        }
    };
    // SAFETY: the caller's promise.
    unsafe { merge_branches((partials, stride, columns), block, from..to, ahead, merge) }
}

/// Merges means and squared deviations by the formula of Chan, Golub & LeVeque (1979), and writes mean and biased variance,
/// each unless it is null. The variance is NaN where it, or the unbiased one, is beyond the largest f32: an infinite one would
/// make zeros of what is divided by its root. `overflow` becomes 1 then, unless it is null.
///
/// The moments of a block of `block` rows, the last one of the rest of `rows`, are for each column the shift; `stride / 3` floats
/// on, the sum of squared deviations; as many on, the distance of the mean from the shift. From one block to the next are
/// `stride` floats. Every `ahead` of them have been merged by [`moments_ahead`] where they have all of their rows, unless that is 1.
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
    ahead: usize,
    mean: *mut f32,
    variance: *mut f32,
    overflow: *mut u32,
) {
    let blocks = Blocks { block, rows, ahead };
    if rows == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let partials = unsafe { std::slice::from_raw_parts(partials, blocks.count() * stride) };
    let mut moments = Moments { partials, stride, columns: 0..0, blocks };
    let parts = [0, 1, 2].map(|part| part * (stride / 3));
    blocks.prefetch(partials, stride, &parts, &strip(0, columns));
    for number in 0..columns.div_ceil(STRIP) {
        blocks.prefetch(partials, stride, &parts, &strip(number + 1, columns));
        moments.columns = strip(number, columns);
        let (first, len) = (moments.columns.start, moments.columns.len());
        let Strip { rows: count, means, squares } = moments.merged(0..blocks.count());
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
