//! Loops of the user's own one position at a time: the bits of the whole sequence, or a refusal where they look elsewhere.

use gradloom::ndarray::{Array3, Array4, Axis};
use gradloom::{Network, PredictorBuilder, network};
use insta::assert_snapshot;

network! {
    /// Loops that look back alone, and what nothing needs that is put out.
    Watch<x: [B, 6, 3] -> (y: [B, 6, 2], z: [B, 3], same: [B, 6, 3], kept: [B, 6, 3])> {
        let h = x -> scan |x, h, decay = 0.9| decay * h + (1.0 - decay) * x, Dense(4), scan(4) |x, h| {
            let f = (x, h) -> concat, LayerNorm, Dense(4) as gate, sigmoid;
            f * h + gate * mean(x, axis = -1, keep = true)
        };
        let _unused = x -> scan(5, reverse = true) |x, h, a = 0.5| { (a * x, h) -> concat, Dense(5) };
        y = h -> Dense(2);
        z = h -> scan(3, last = true) |x, h| { let a = x -> Dense(3); tanh(a) + 0.5 * h };
        same = x -> scan |x, _h| x;
        kept = x -> scan |_x, h| h;
    }
    loss = mean(y) + mean(z) + mean(_unused);

    /// Loops inside of a loop look at its own position alone.
    Within<x: [B, 4, 5, 3] -> y: [B, 4, 6]> {
        scan(6) |words, h| {
            let start = 0.5 * h[.., ..3];
            let read = words -> Lstm(4, reverse = true), scan(3, last = true, initial = start) |x, s| { (x, s, h) -> concat, Dense(3), tanh };
            (read, h) -> concat, Dense(6), tanh
        },
    }
    loss = mean(y);

    /// Each looks at other positions.
    Back<x: [B, 6, 3] -> y: [B, 6, 3]> { scan(reverse = true) |x, h| 0.5 * h + x }
    Whole<x: [B, 6, 3] -> y: [B, 6, 3]> { y = x -> scan |e, h| 0.5 * h + e * mean(x, axis = 1); }
    First<x: [B, 6, 3] -> y: [B, 6, 3]> { let s = x[.., 0, ..]; y = x -> scan(initial = s) |x, h| 0.5 * h + x; }
    Short<x: [B, 6, 3] -> y: [B, 6, 3]> { let n = sum(x, axis = [1, 2]); y = x -> scan(lengths = n) |x, h| 0.5 * h + x; }
    /// A last state is another one at each position of a stream.
    Last<x: [B, 6, 3] -> y: [B, 3]> { let s = x -> Gru(3, last = true); y = x -> scan(last = true) |x, h| 0.5 * h + x * s; }
    Again<x: [B, 6, 3] -> y: [B, 3]> {
        let s = x -> Gru(4, last = true);
        let r = reshape(s, [B, 2, 2]);
        y = r -> Gru(3, last = true);
    }
    Over<x: [B, 6, 3] -> y: [B, 4]> {
        let s = x -> Gru(4, last = true);
        let r = reshape(s, [B, 2, 2]);
        y = r -> scan(4, last = true) |_x, h| 0.5 * h + 1.0;
    }
}

#[test]
fn a_stream_of_a_loop_gives_the_bits_of_the_whole_sequence() {
    let mut predictor = Watch::predictor().max_batch(1).seed(8).build().expect("it builds");
    let x = Array3::from_shape_fn((1, 6, 3), |(_, t, at)| ((5 * t + 3 * at) % 7) as f32 / 3.0 - 1.0);
    let found = predictor.predict(x.view()).expect("it runs");
    let all = [found.y.to_owned().into_dyn(), found.same.to_owned().into_dyn(), found.kept.to_owned().into_dyn()];
    let z = found.z.to_owned();
    let mut stream = predictor.stream().expect("it looks back alone");
    for t in 0..6 {
        stream.feed(&x.as_slice().expect("it is in order")[3 * t..][..3]).expect("it fits");
        for (index, all) in [(0, &all[0]), (2, &all[1]), (3, &all[2])] {
            let own = all.index_axis(Axis(1), t);
            let found = stream.output(index).expect("there is a port").to_vec();
            assert_eq!(found, own.iter().copied().collect::<Vec<f32>>(), "output {index} at {t}");
        }
    }
    assert_eq!(stream.output(1).expect("there is a port").to_vec(), z.iter().copied().collect::<Vec<f32>>());
}

#[test]
fn a_stream_of_loops_inside_of_a_loop_gives_the_bits_of_the_whole_sequence() {
    let mut predictor = Within::predictor().max_batch(1).seed(8).build().expect("it builds");
    let x =
        Array4::from_shape_fn((1, 4, 5, 3), |(_, t, word, at)| ((5 * t + 3 * at + 2 * word) % 7) as f32 / 3.0 - 1.0);
    let all = predictor.predict(x.view()).expect("it runs").to_owned();
    let mut stream = predictor.stream().expect("it looks back alone");
    for t in 0..4 {
        let found = stream.feed(&x.as_slice().expect("it is in order")[15 * t..][..15]).expect("it fits").to_vec();
        assert_eq!(found, all.index_axis(Axis(1), t).iter().copied().collect::<Vec<f32>>(), "at {t}");
    }
}

#[test]
fn a_loop_that_looks_elsewhere_has_no_stream() {
    fn refusal<N: Network>(predictor: PredictorBuilder<N>) -> String {
        let predictor = predictor.build().expect("it builds");
        let refused = predictor.stream().map(|_| ()).expect_err("it looks elsewhere").to_string();
        // Without the place, which moves with every line above.
        refused.splitn(4, ':').nth(3).expect("a place").trim().to_string()
    }
    let all = [
        refusal(Back::predictor()),
        refusal(Whole::predictor()),
        refusal(First::predictor()),
        refusal(Short::predictor()),
        refusal(Last::predictor()),
        refusal(Again::predictor()),
        refusal(Over::predictor()),
    ];
    assert_snapshot!(all.join("\n"), @"
    `scan(reverse = true)` cannot be asked one position at a time: it looks at others
    `y.scan1.next` cannot be asked one position at a time: it looks at others
    `s` cannot be asked one position at a time: it looks at others
    `n` cannot be asked one position at a time: it looks at others
    `y.scan1.next` cannot be asked one position at a time: it looks at others
    `Gru(3, last = true)` cannot be asked one position at a time: it looks at others
    `scan(4, last = true)` cannot be asked one position at a time: it looks at others
    ");
}
