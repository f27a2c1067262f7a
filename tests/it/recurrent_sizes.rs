//! Layers with a state and loops at every number of steps and of rows: against the evaluator of declarations, whose loop goes row by
//! row and shares no code, and the same bits however the work is cut.

use std::time::Instant;

use gradloom::ndarray::{Array1, Array2, Array3};
use gradloom::{Network, Session, Sgd, SizesOf, Stage, network};

use crate::budget::share;
use crate::oracle::agreement::{Verdict, agree};

network! {
    /// Both directions side by side.
    Ways(steps: usize = 3)<x: [B, steps, 2] -> y: [B, steps, 4]> {
        let forth = x -> Lstm(2);
        let back = x -> Lstm(2, reverse = true);
        y = (forth, back) -> concat;
    }
    loss(t: [B, steps, 4]) = mse(y, t);

    /// Rows of every length, none of them among these, forwards and from the last element.
    Padded(steps: usize = 3)<(x: [B, steps, 2], n: [u8; B]) -> y: [B, 3]> {
        let all = x -> Gru(3, reverse = true, lengths = n);
        y = all -> Rnn(3, last = true, lengths = n);
    }
    loss(t: [B, 3]) = mse(y, t);

    /// A loop of one's own, and one without parameters after it.
    Own(steps: usize = 3)<(x: [B, steps, 2], n: [u8; B]) -> y: [B, 2]> {
        let all = x -> scan(reverse = true, lengths = n) |x, h| { (x, h) -> concat, Dense(2), tanh };
        y = all -> scan(last = true) |x, h| 0.5 * h + tanh(x);
    }
    loss(t: [B, 2]) = mse(y, t);
}

/// Compares one of the networks with its evaluator.
#[track_caller]
fn compare<N: Network>(sizes: &N::Sizes, steps: usize, rows: usize) {
    let definition = N::definition(sizes);
    match agree(definition, rows, 100 * steps as u64 + rows as u64) {
        Ok(Verdict::Agrees { slopes, compiled, .. }) => assert!(slopes > 0 && compiled),
        other => panic!("{} over {steps} steps of {rows} rows: {other:?}", definition.name),
    }
}

#[test]
fn layers_with_a_state_are_their_steps_for_every_length() {
    // Each with one of the networks, and the more rows the fewer steps: the evaluator takes its time.
    let steps: Vec<usize> = (1..=33).collect();
    for steps in share(&steps, 0, 3) {
        compare::<Ways>(&SizesOf::<Ways> { steps }, steps, 1 + 32 / steps);
    }
    for steps in share(&steps, 1, 3) {
        compare::<Padded>(&SizesOf::<Padded> { steps }, steps, 2 + 32 / steps);
    }
    for steps in share(&steps, 2, 3) {
        compare::<Own>(&SizesOf::<Own> { steps }, steps, 1 + 64 / steps);
    }
}

#[test]
fn layers_with_a_state_are_their_steps_for_every_batch() {
    let rows: Vec<usize> = (1..=65).collect();
    for rows in share(&rows, 0, 4) {
        compare::<Ways>(&SizesOf::<Ways> { steps: 1 }, 1, rows);
    }
    for rows in share(&rows, 2, 4) {
        compare::<Padded>(&SizesOf::<Padded> { steps: 2 }, 2, rows);
    }
    for rows in share(&rows, 3, 4) {
        compare::<Own>(&SizesOf::<Own> { steps: 2 }, 2, rows);
    }
}

network! {
    /// States that nothing reads: those before a step, all of a layer whose parameters the loss does not know, the cells of an
    /// LSTM; and bodies without parameters.
    Unread<x: [B, 5, 2] -> (y: [B, 5, 2], all: [B, 5, 3], z: [B, 5, 3], last: [B, 2])> {
        y = x -> scan |x, _h| tanh(x);
        all = x -> Gru(3);
        z = x -> Lstm(3);
        last = x -> scan(last = true) |x, h| 0.5 * h + x;
    }
    loss(t: [B, 5, 2]) = mse(y, t) + mean(square(z)) + mean(square(last));
}

#[test]
fn a_state_that_nothing_reads_changes_nothing() {
    for (rows, seed) in [(1, 1), (4, 2)] {
        let verdict = agree(Unread::declared(), rows, seed);
        assert!(matches!(verdict, Ok(Verdict::Agrees { compiled: true, .. })), "{verdict:?}");
    }
}

network! {
    /// All that may be said of a layer with a state, together: both ways, with lengths and first states of their own, all states,
    /// cells and last states of the same sequence.
    Mixed(steps: usize = 3)<(x: [B, steps, 2], n: [u16; B], m: [u16; B], first: [B, 4], other: [B, 3]) -> (y: [B, steps, 7], end: [B, 4], last: [B, 3])> {
        let forth = x -> Lstm(2, initial = first, lengths = n, cell = true);
        let back = x -> Gru(3, reverse = true, initial = other, lengths = m), Dropout(0.25);
        y = (forth, back) -> concat;
        end = x -> Lstm(2, last = true, reverse = true, initial = first, lengths = m, cell = true);
        last = back -> Rnn(3, last = true, initial = other, lengths = n);
    }
    loss(t: [B, steps, 7]) = mse(y, t) + mean(square(end)) + mean(square(last)) + mean(square(y[.., -1, ..]));

    /// The same of loops of one's own: dropout and a loop in the body, and a loop without parameters after it.
    Within(steps: usize = 3)<(x: [B, steps, 2], n: [u16; B], first: [B, 2]) -> (y: [B, 2], all: [B, steps, 2])> {
        all = x -> scan(initial = first, lengths = n, reverse = true) |x, h, keep = 0.5| {
            let seen = (x, h) -> concat, Dense(2), Dropout(0.5);
            let words = reshape(seen, [B, 2, 1]) -> scan(3, last = true, reverse = true) |w, s| {
                (w, s) -> concat, Dense(3), tanh, Dropout(0.25)
            };
            keep * h + seen * mean(words, axis = -1, keep = true)
        };
        y = all -> scan(last = true, lengths = n, initial = first) |x, h| 0.5 * h + tanh(x);
    }
    loss(t: [B, 2]) = mse(y, t) + mean(square(all[.., 0, ..]));
}

#[test]
fn lengths_first_and_last_states_directions_and_dropout_go_together() {
    let steps: Vec<usize> = (1..=8).collect();
    for steps in share(&steps, 0, 2) {
        for rows in [1, 2, 5] {
            compare::<Mixed>(&SizesOf::<Mixed> { steps }, steps, rows);
        }
    }
    for steps in share(&steps, 1, 2) {
        for rows in [1, 2, 5] {
            compare::<Within>(&SizesOf::<Within> { steps }, steps, rows);
        }
    }
}

#[test]
fn a_length_past_the_sequence_is_refused_however_long() {
    let mut net = Mixed::predictor().with(|sizes| sizes.steps = 2).max_batch(2).build().expect("it builds");
    let x = Array3::zeros((2, 2, 2));
    let (first, other) = (Array2::zeros((2, 4)), Array2::zeros((2, 3)));
    let mut predict = |lengths: [u16; 2]| {
        let (n, m) = (Array1::from_vec(vec![0u16, 2]), Array1::from_vec(lengths.to_vec()));
        net.predict((x.view(), n.view(), m.view(), first.view(), other.view()))
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(predict([2, 0]), Ok(()));
    for length in [3, 255, 256, u16::MAX] {
        let error = predict([2, length]).expect_err("there are two positions");
        assert_eq!(error, format!("`m` has class id {length} in row 1, but there are 3 classes (0 to 2)"));
    }
}

network! {
    /// Enough work for several threads.
    Tall<(x: [B, 20, 24], n: [u8; B]) -> y: [B, 8]> {
        let own = x -> scan(24) |x, h| { (x, h) -> concat, Dense(24), tanh };
        y = own -> Lstm(48), Gru(40, reverse = true, lengths = n), Rnn(32, last = true), Dense(8);
    }
    loss(t: [B, 8]) = mse(y, t);
}

/// The bits of all parameters after two steps on so many rows, and of a prediction.
fn bits(rows: usize, threads: usize, max_batch: usize) -> Vec<u32> {
    let net = Tall::trainer(Sgd::new(0.5)).seed(2).threads(threads).max_batch(max_batch);
    let mut net: Session<Tall> = net.build().expect("it builds");
    let x = Array3::from_shape_fn((rows, 20, 24), |(i, t, j)| ((7 * i + 5 * t + 3 * j) % 23) as f32 / 11.0 - 1.0);
    let lengths = Array1::from_shape_fn(rows, |i| (11 * i % 21) as u8);
    let target = Array2::from_shape_fn((rows, 8), |(i, j)| ((i + j) % 5) as f32 / 2.0);
    for _ in 0..2 {
        net.step((x.view(), lengths.view()), target.view()).expect("it is finite");
    }
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let mut all = Vec::new();
    for name in names {
        all.extend(net.param(&name).expect("it is its own").iter().map(|x| x.to_bits()));
    }
    all.extend(net.predict((x.view(), lengths.view())).expect("it runs").iter().map(|x| x.to_bits()));
    all
}

#[test]
fn layers_with_a_state_have_the_same_bits_on_any_threads_for_any_largest_batch() {
    for rows in [1, 7, 65] {
        let expected = bits(rows, 1, rows);
        for (threads, max_batch) in [(1, 65), (1, 200), (2, rows), (2, 129), (3, 65)] {
            assert!(bits(rows, threads, max_batch) == expected, "{rows} rows of {max_batch}, {threads} threads");
        }
    }
}

network! {
    /// As long a series as one likes.
    Long(steps: usize = 64)<x: [B, steps, 16] -> y: [B, steps, 16]> { Lstm(16), scan |x, h| 0.5 * h + x }
    loss = mean(square(y));
}

#[test]
fn the_code_of_a_training_step_does_not_grow_with_its_steps() {
    let lines = |stage: Stage| {
        let text = |steps: usize| Long::trainer(Sgd::new(0.1)).with(|sizes| sizes.steps = steps).max_batch(8).ir(stage);
        [64, 1_000, 10_000].map(text).map(|text| text.lines().count())
    };
    for stage in [Stage::Backward, Stage::Fused, Stage::Clif] {
        let [few, more, most] = lines(stage);
        assert!(few > 20 && [more, most] == [few, few], "{stage:?}: {few}, {more} and {most} lines");
    }
}

network! {
    /// The layer of the benchmarks.
    Wide(steps: usize = 64)<x: [B, steps, 256] -> y: [B, steps, 256]> { Lstm(256) }
    loss = mean(square(y));
}

#[test]
fn many_steps_are_built_as_quickly_as_few() {
    let [few, many] = [64, 10_000].map(|steps: usize| {
        let build = || {
            let start = Instant::now();
            let trainer = Wide::trainer(Sgd::new(0.1)).with(|sizes| sizes.steps = steps).max_batch(1);
            trainer.build().map(|_| start.elapsed()).expect("it builds")
        };
        (0..5).map(|_| build()).min().expect("it was built")
    });
    assert!(many < 4 * few, "{few:?} for 64 steps, {many:?} for 10,000");
}
