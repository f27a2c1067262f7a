//! Functions that go over many runs by themselves, against loops.

use super::{Loaded, lanes, load};
use crate::kernel::LANES;
use crate::scalar::{Reg, Scalar};
use crate::wide::{Axis, Element, Recorder};

/// Rows of three times two runs, that lie apart in other ways in what is read and what is written; with addresses that have registers,
/// and with some that have none.
#[test]
fn one_call_goes_over_all_runs_along_some_axes() {
    const ROWS: usize = 5;
    const PLACES: usize = 3;
    const HALVES: usize = 2;
    const RUN: usize = 2 * LANES;
    // From row to row and from half to half of what is read.
    const ROW: usize = 400;
    const HALF: usize = 200;
    let add: fn(&mut dyn Scalar, Reg, Reg) -> Reg = |s, x, total| s.add(total, x);
    for (lanes, far) in lanes().into_iter().flat_map(|lanes| [(lanes, 0), (lanes, 9)]) {
        let mut recorder = Recorder::default();
        (0..far).for_each(|_| _ = recorder.address());
        let [x, y, factors, ends, more] = [0; 5].map(|_| recorder.address());
        let at = |address| Element { address, offset: 0 };
        let (input, factor, count) = (recorder.load(at(x)), recorder.each(at(factors)), recorder.number());
        let (count, position) = (recorder.to_float(count), recorder.position());
        let position = recorder.to_float(position);
        let scaled = recorder.mul(factor, input);
        let sum = recorder.add(scaled, count);
        let result = recorder.add(sum, position);
        recorder.store(result, at(y));
        let total = recorder.total(at(ends));
        let so_far = recorder.total_so_far(total);
        let next = recorder.add(so_far, result);
        recorder.set_total(total, next);
        recorder.start_totals([0.0]);
        recorder.end_totals([add]);
        recorder.copy_total(total, vec![Element { address: more, offset: 4 }]);
        // Halves of a row are far from each other in what is read, and next to each other in what is written.
        let axis = |extent: Option<usize>, [x, y, factors, ends, more]: [usize; 5], count: i64| Axis {
            extent,
            steps: std::iter::repeat_n(0, far).chain([x, y, factors, ends, more].map(|step| 4 * step as i64)).collect(),
            counts: vec![count],
        };
        let axes = vec![
            axis(None, [ROW, PLACES * HALVES * RUN, 2, 6, 0], 100),
            axis(Some(PLACES), [RUN, HALVES * RUN, 0, 2, 1], 7),
            axis(Some(HALVES), [HALF, RUN, 0, 1, 0], -1),
        ];
        let Loaded(_pages, function) = load(&recorder.finish().along(axes), lanes);

        let read: Vec<f32> = (0..ROWS * ROW).map(|i| ((i * 37) % 101) as f32 / 8.0).collect();
        let factors: Vec<f32> = (0..2 * ROWS).map(|i| 1.0 + i as f32 / 4.0).collect();
        let mut written = vec![-7.5f32; ROWS * PLACES * HALVES * RUN + 1];
        let (mut ends, mut more) = (vec![-7.5f32; ROWS * 6 + 1], vec![-7.5f32; PLACES + 2]);
        let mut arguments = vec![1000u64];
        arguments.extend((0..far).map(|_| 0u64));
        arguments.extend([read.as_ptr() as u64, written.as_mut_ptr() as u64, factors.as_ptr() as u64]);
        arguments.extend([ends.as_mut_ptr() as u64, more.as_mut_ptr() as u64, ROWS as u64, 0, 0]);
        function(arguments.as_ptr(), 4 * RUN);

        for (row, place, half) in (0..ROWS * PLACES * HALVES).map(|i| (i / 6, i / 2 % 3, i % 2)) {
            let run = 6 * row + 2 * place + half;
            let count = (1000 + 100 * row + 7 * place - half) as f32;
            let wanted =
                |i: usize| read[ROW * row + RUN * place + HALF * half + i] * factors[2 * row] + count + i as f32;
            assert!((0..RUN).all(|i| written[RUN * run + i] == wanted(i)), "{lanes} lanes, {far} far, run {run}");
            // Eighths and quarters of small numbers are added up exactly.
            let sum: f32 = (0..RUN).map(wanted).sum();
            assert_eq!(ends[run], sum, "{lanes} lanes, {far} far, run {run}");
            let last = row + 1 == ROWS && half + 1 == HALVES;
            assert!(!last || more[place + 1] == sum, "{lanes} lanes, {far} far, place {place}: {more:?}");
        }
        assert_eq!([written.last(), ends.last(), more.first(), more.last()], [Some(&-7.5); 4]);
    }
}
