//! The last stage of reductions: the partial results of all blocks become one, in the order of the blocks, in f64.

/// Columns that are finished side by side, so that their arithmetic is that of vectors.
const STRIP: usize = 32;

/// Adds up `count` columns over `blocks` rows of partial sums, `stride` floats apart.
///
/// # Safety
/// `partials` is valid for reads of `blocks * stride` floats, `out` for writes of `count`; `count <= stride`.
pub unsafe extern "C" fn sum_columns(partials: *const f32, blocks: usize, stride: usize, count: usize, out: *mut f32) {
    if blocks == 1 {
        // SAFETY: `count <= stride`.
        let parts = unsafe { std::slice::from_raw_parts(partials, count) };
        // SAFETY: the caller's promise.
        let out = unsafe { std::slice::from_raw_parts_mut(out, count) };
        // A sum is never -0.
        return out.iter_mut().zip(parts).for_each(|(out, part)| *out = 0.0 + part);
    }
    for first in (0..count).step_by(STRIP) {
        let strip = first..(first + STRIP).min(count);
        let mut totals = [0.0f64; STRIP];
        for block in 0..blocks {
            // SAFETY: the strip ends at `count <= stride` or before, and `block < blocks`.
            let parts = unsafe { std::slice::from_raw_parts(partials.add(block * stride + first), strip.len()) };
            totals.iter_mut().zip(parts).for_each(|(total, &part)| *total += f64::from(part));
        }
        // SAFETY: the strip ends at `count` or before.
        let out = unsafe { std::slice::from_raw_parts_mut(out.add(first), strip.len()) };
        out.iter_mut().zip(totals).for_each(|(out, total)| *out = total as f32);
    }
}

/// Adds up everything.
///
/// # Safety
/// `partials` is valid for reads of `count` floats, `out` for writes of one.
pub unsafe extern "C" fn sum_everything(partials: *const f32, count: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    let partials = unsafe { std::slice::from_raw_parts(partials, count) };
    let total: f64 = partials.iter().map(|&part| f64::from(part)).sum();
    // SAFETY: the caller's promise.
    unsafe { *out = total as f32 };
}

/// The largest of each column; NaN if any is NaN.
///
/// # Safety
/// As for [`sum_columns`].
pub unsafe extern "C" fn max_columns(partials: *const f32, blocks: usize, stride: usize, count: usize, out: *mut f32) {
    for column in 0..count {
        // SAFETY: `column < count <= stride` and `block < blocks`.
        let parts = (0..blocks).map(|block| unsafe { *partials.add(block * stride + column) });
        // SAFETY: `column < count`.
        unsafe { *out.add(column) = parts.fold(f32::NEG_INFINITY, larger) };
    }
}

/// The largest of all; NaN if any is NaN.
///
/// # Safety
/// As for [`sum_everything`].
pub unsafe extern "C" fn max_everything(partials: *const f32, count: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    let partials = unsafe { std::slice::from_raw_parts(partials, count) };
    // SAFETY: the caller's promise.
    unsafe { *out = partials.iter().copied().fold(f32::NEG_INFINITY, larger) };
}

fn larger(x: f32, y: f32) -> f32 {
    if x > y || x.is_nan() { x } else { y }
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
        let (mut count, mut means, mut squares) = (0.0, [0.0f64; STRIP], [0.0f64; STRIP]);
        for number in 0..blocks {
            let here = (rows - number * block).min(block) as f64;
            let (share, weight) = (here / (count + here), count * here / (count + here));
            // SAFETY: the places lie in the block's part of the partial results.
            let [shifts, block_squares, offsets] = [0, 1, 2].map(|part| unsafe {
                let at = number * stride + part * (stride / 3) + first;
                std::slice::from_raw_parts(partials.add(at), len)
            });
            for column in 0..len {
                let delta = f64::from(shifts[column]) + f64::from(offsets[column]) - means[column];
                means[column] += delta * share;
                squares[column] += f64::from(block_squares[column]) + delta * delta * weight;
            }
            count += here;
        }
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
    use super::{max_columns, merge_moments, sum_columns, sum_everything};

    #[test]
    fn columns_are_added_over_blocks_and_padding_is_left_out() {
        let partials = [1.0, 2.0, f32::NAN, 10.0, 20.0, f32::NAN];
        let mut out = [0.0; 2];
        // SAFETY: two blocks of three floats, of which two columns are wanted.
        unsafe { sum_columns(partials.as_ptr(), 2, 3, 2, out.as_mut_ptr()) };
        assert_eq!(out, [11.0, 22.0]);
    }

    #[test]
    fn a_sum_of_large_and_small_parts_keeps_the_small_ones() {
        let partials = [1e8, 1.0, 1.0, 1.0, 1.0, -1e8];
        let mut out = 0.0;
        // SAFETY: six floats and one result.
        unsafe { sum_everything(partials.as_ptr(), 6, &mut out) };
        assert_eq!(out, 4.0);
    }

    #[test]
    fn nan_in_any_block_is_the_largest() {
        let partials = [1.0, f32::NAN, 3.0, 2.0];
        let mut out = [0.0; 2];
        // SAFETY: two blocks of two floats.
        unsafe { max_columns(partials.as_ptr(), 2, 2, 2, out.as_mut_ptr()) };
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
            unsafe { sum_columns(both.as_ptr(), blocks, 6, 5, out.as_mut_ptr()) };
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
