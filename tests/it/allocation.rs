//! Nothing is allocated once a session is built and each of its programs has run.

use allocation_counter::measure;
use gradloom::ndarray::{Array2, s};
use gradloom::{Adam, network};

use crate::train::{Classifier, samples};

network! {
    /// One target a row, as numbers.
    pub Regression<x: [B, 5] -> y: [B, 2]> { Dense(16), LayerNorm, gelu, Dense(2) }
    loss(target: [B, 2]) = mse(y, target);
    metric size = mean(abs(y));
}

/// How often memory is asked for in a call.
fn allocations(call: impl FnOnce()) -> u64 {
    measure(call).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0u8; 10]))), 1);
}

#[test]
fn no_call_of_a_classifier_allocates_after_its_first() {
    let (x, labels) = samples(150);
    let mut net = Classifier::trainer(Adam::new(1e-2)).max_batch(150).build().expect("it builds");
    let step = |net: &mut gradloom::Session<Classifier>, rows: usize| {
        net.step(x.slice(s![..rows, ..]), labels.slice(s![..rows])).expect("the batch fits");
    };
    for rows in [150, 2, 33, 150] {
        assert_eq!(allocations(|| step(&mut net, rows)), 0, "a step on {rows} rows, the first one too");
    }
    // The first use of a further program compiles it; what it sees then may be smaller than what comes later.
    let (few, few_labels) = (x.slice(s![..3, ..]), labels.slice(s![..3]));
    net.predict(few).expect("the batch fits");
    net.evaluate(few, few_labels).expect("the batch fits");
    net.gradients(few, few_labels).expect("the batch fits");
    for rows in [150, 1, 40] {
        let (x, labels) = (x.slice(s![..rows, ..]), labels.slice(s![..rows]));
        assert_eq!(allocations(|| _ = net.predict(x).expect("the batch fits")), 0, "predictions of {rows} rows");
        let evaluated = allocations(|| _ = net.evaluate(x, labels).expect("the batch fits"));
        assert_eq!(evaluated, 0, "an evaluation of {rows} rows");
    }
    for rows in [150, 2, 40] {
        let (x, labels) = (x.slice(s![..rows, ..]), labels.slice(s![..rows]));
        let count = allocations(|| {
            let gradients = net.gradients(x, labels).expect("the batch fits");
            assert!(gradients.get("dense1.weight").expect("the name exists").iter().any(|&g| g != 0.0));
        });
        assert_eq!(count, 0, "gradients of {rows} rows");
    }
    let mut predictor = net.predictor().expect("it builds");
    for rows in [150, 1, 40] {
        let x = x.slice(s![..rows, ..]);
        assert_eq!(allocations(|| _ = predictor.predict(x).expect("the batch fits")), 0, "of a predictor");
    }
}

#[test]
fn copying_views_that_are_not_contiguous_allocates_nothing_either() {
    let x = Array2::from_shape_fn((5, 64), |(i, j)| ((3 * i + 5 * j) % 7) as f32);
    let target = Array2::from_shape_fn((2, 64), |(i, j)| ((i + j) % 3) as f32);
    let mut net = Regression::trainer(Adam::new(1e-2)).max_batch(64).build().expect("it builds");
    net.evaluate(x.t(), target.t()).expect("the batch fits");
    net.predict(x.t()).expect("the batch fits");
    let count = allocations(|| {
        for _ in 0..3 {
            net.step(x.t(), target.t()).expect("the batch fits");
            net.evaluate(x.t(), target.t()).expect("the batch fits");
            net.predict(x.t()).expect("the batch fits");
        }
    });
    assert_eq!(count, 0);
}

network! {
    /// Large enough to be shared between threads.
    Shared<x: [B, 128] -> y: [B, 128]> { Dense(256), BatchNorm, relu, Dense(128) }
    loss(target: [B, 128]) = mse(y, target);
}

#[test]
fn a_step_under_a_sentinel_allocates_nothing() {
    let (x, labels) = samples(150);
    let mut net = Classifier::trainer(Adam::new(1e-2)).max_batch(150).sentinel(true).build().expect("it builds");
    let count = allocations(|| (0..5).for_each(|_| _ = net.step(x.view(), labels.view()).expect("the batch fits")));
    assert_eq!(count, 0);
}

#[test]
fn a_step_of_several_threads_allocates_nothing() {
    let x = Array2::from_shape_fn((256, 128), |(i, j)| ((3 * i + 5 * j) % 7) as f32);
    let mut net = Shared::trainer(Adam::new(1e-2)).max_batch(256).threads(3).build().expect("it builds");
    let count = allocations(|| (0..5).for_each(|_| _ = net.step(x.view(), x.view()).expect("the batch fits")));
    assert_eq!(count, 0);
}

network! {
    /// A state for every position.
    Series<x: [B, 4, 3] -> y: [B, 4, 2]> { Lstm(5), Dense(2) }
    loss = mean(y);
}

#[test]
fn all_streams_of_a_predictor_and_its_clones_are_one_program() {
    let predictor = Series::predictor().max_batch(1).build().expect("it builds");
    let clone = predictor.clone();
    let mut streams = Vec::with_capacity(4);
    let mut open =
        |of: &gradloom::Predictor<Series>| allocations(|| streams.push(of.stream().expect("it looks back alone")));
    // The first one is lowered and compiled; the others are memory of their own and nothing else.
    let (first, others) = (open(&predictor), [open(&predictor), open(&clone), open(&clone.clone())]);
    assert!(first > 1000 && others.iter().all(|&count| count < 40), "{first}, then {others:?}");
    let mut fed = 0;
    let elements = [[0.5, -1.0, 2.0], [1.0, 0.25, 0.0]];
    let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<u32>>();
    let expected: Vec<Vec<u32>> =
        elements.iter().map(|element| bits(streams[0].feed(element).expect("it fits"))).collect();
    for stream in &mut streams[1..] {
        for (element, expected) in elements.iter().zip(&expected) {
            fed += allocations(|| _ = stream.feed(element).expect("it fits"));
            assert_eq!(bits(stream.output(0).expect("there is an element")), *expected);
        }
    }
    assert_eq!(fed, 0, "an element is fed");
}
