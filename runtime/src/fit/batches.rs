//! Which rows make a batch.
//!
//! In: how many rows there are, and how many a batch may and should have. Out: ranges that cover every row once, in order,
//! none of them with fewer rows than training needs where that can be.

use std::ops::Range;

/// Batches of `size` of these rows, the last one of what is left. If that is fewer than `least`, it joins the batch before; where
/// that would be more than `most`, the batch before gives it the rows that it lacks. What begins with a later batch is cut as it
/// is with those before.
pub(super) fn batches(rows: Range<usize>, size: usize, least: usize, most: usize) -> Vec<Range<usize>> {
    let (size, end) = (size.max(1), rows.end);
    let mut starts: Vec<usize> = rows.step_by(size).collect();
    let rest = starts.last().map_or(0, |start| end - start);
    if rest < least && starts.len() > 1 {
        let last = starts.len() - 1;
        if size + rest <= most {
            starts.pop();
        } else if size + rest >= 2 * least {
            starts[last] = end - least;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([end]).collect::<Vec<usize>>();
    starts.into_iter().zip(ends).map(|(start, end)| start..end).collect()
}

#[cfg(test)]
mod tests {
    use super::batches;

    fn sizes(rows: usize, size: usize, least: usize, most: usize) -> Vec<usize> {
        batches(0..rows, size, least, most).into_iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_last_batch_of_one_row_joins_the_one_before_or_gets_a_row_of_it() {
        assert_eq!(sizes(9, 4, 1, 4), [4, 4, 1]);
        assert_eq!(sizes(9, 4, 2, 5), [4, 5]);
        assert_eq!(sizes(9, 4, 2, 4), [4, 3, 2]);
        assert_eq!(sizes(10, 4, 2, 4), [4, 4, 2]);
        assert_eq!(sizes(5, 2, 2, 3), [2, 3]);
        assert_eq!(sizes(3, 8, 2, 8), [3]);
    }

    #[test]
    fn what_cannot_be_cut_into_batches_of_two_rows_is_left_as_it_is() {
        assert_eq!(sizes(5, 2, 2, 2), [2, 2, 1]);
        assert_eq!(sizes(1, 4, 2, 4), [1]);
        assert_eq!(sizes(3, 1, 2, 1), [1, 1, 1]);
    }

    #[test]
    fn batches_cover_every_row_once() {
        for rows in 0..40 {
            for (size, most) in [(1, 1), (2, 2), (2, 3), (3, 3), (7, 7), (7, 16), (50, 50)] {
                for least in [1, 2] {
                    let cut = batches(0..rows, size, least, most);
                    let covered: Vec<usize> = cut.iter().cloned().flatten().collect();
                    assert_eq!(covered, (0..rows).collect::<Vec<usize>>(), "{rows} rows in batches of {size}");
                    for (index, batch) in cut.iter().enumerate() {
                        assert_eq!(batches(batch.start..rows, size, least, most), cut[index..], "from {batch:?} on");
                    }
                }
            }
        }
    }
}
