//! Running statistics recomputed over data, against statistics in f64.

use gradloom::ndarray::{Array1, Array2, Axis, Ix1, Ix2, s};
use gradloom::{Adam, Error, RunError, Session, Sgd, network};

use crate::bound::Bound;
use crate::checkpoint::{everything, folder};
use crate::train::{Classifier, classifier, samples};

network! {
    /// Statistics of the input itself.
    Input<x: [B, 5] -> y: [B, 5]> { BatchNorm(momentum = 0.99, every = 7) }
    loss(target: [B, 5]) = mse(y, target);

    Dropped<x: [B, 5] -> y: [B, 4]> { Dropout(0.5), Dense(4), BatchNorm }
    loss(target: [B, 4]) = mse(y, target);

    Plain<x: [B, 5] -> y: [B, 1]> { Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

fn param<D: gradloom::ndarray::Dimension>(net: &Session<Classifier>, name: &str) -> gradloom::ndarray::Array<f64, D> {
    let value = net.param(name).expect("the name exists").mapv(f64::from);
    value.into_dimensionality().expect("the rank is known")
}

fn mean_and_variance(x: &Array2<f64>) -> (Array1<f64>, Array1<f64>) {
    (x.mean_axis(Axis(0)).expect("there are rows"), x.var_axis(Axis(0), 1.0))
}

#[test]
fn statistics_are_mean_and_unbiased_variance_of_all_rows() {
    let (x, _) = samples(1_000);
    // A mean of a thousand deviations: the difference of two large sums would have no digit left.
    let x = x + 1_000.0;
    let (mean, variance) = mean_and_variance(&x.mapv(f64::from));
    for max_batch in [64, 1_000] {
        let mut net = Input::trainer(Sgd::new(0.1)).max_batch(max_batch).build().expect("it builds");
        net.recalibrate(x.view()).expect("the rows fit");
        let read = |name: &str| net.param(name).expect("it exists").iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let bound = Bound { relative: 1e-6, absolute: 0.0 };
        bound.check("mean", &read("batch_norm1.running_mean"), &mean.to_vec());
        Bound { relative: 1e-4, ..bound }.check("variance", &read("batch_norm1.running_var"), &variance.to_vec());
    }
}

#[test]
fn a_later_batch_norm_sees_what_the_earlier_ones_make_of_all_rows() {
    let (x, labels) = samples(150);
    for max_batch in [32, 150] {
        let mut net = classifier(max_batch);
        for start in [0, 20, 40] {
            let batch = start..start + 20;
            net.step(x.slice(s![batch.clone(), ..]), labels.slice(s![batch])).expect("the batch fits");
        }
        net.recalibrate(x.view()).expect("any number of rows");

        let weight: Array2<f64> = param::<Ix2>(&net, "dense1.weight");
        let hidden = x.mapv(f64::from).dot(&weight);
        let (mean, variance) = mean_and_variance(&hidden);
        let check = |name: &str, expected: &Array1<f64>| {
            let actual: Array1<f64> = param::<Ix1>(&net, name);
            Bound { relative: 1e-4, absolute: 1e-5 }.check(name, &actual.to_vec(), &expected.to_vec());
        };
        check("batch_norm1.running_mean", &mean);
        check("batch_norm1.running_var", &variance);

        let [gamma, beta] = ["gamma", "beta"].map(|name| param::<Ix1>(&net, &format!("batch_norm1.{name}")));
        let biased = variance * (149.0 / 150.0);
        let normalized = (hidden - mean) / biased.mapv(|v: f64| (v + 1e-5).sqrt()) * gamma + beta;
        let weight: Array2<f64> = param::<Ix2>(&net, "dense2.weight");
        let (mean, variance) = mean_and_variance(&normalized.mapv(|x| x.max(0.0)).dot(&weight));
        check("batch_norm2.running_mean", &mean);
        check("batch_norm2.running_var", &variance);
    }
}

#[test]
fn only_the_statistics_change() {
    let (x, labels) = samples(40);
    let mut net = classifier(40);
    net.step(x.view(), labels.view()).expect("the batch fits");
    let before = everything(&net);
    net.recalibrate(x.view()).expect("the rows fit");
    let after = everything(&net);
    assert_eq!((before.0, before.1), (after.0, after.1));
    for (old, new) in before.2.iter().zip(&after.2) {
        assert_eq!(old == new, !old.0.contains("running"), "{}", old.0);
    }
    let twice = everything(&net);
    net.recalibrate(x.view()).expect("the rows fit");
    assert_eq!(everything(&net), twice, "what they were before has no influence");
}

#[test]
fn nothing_is_dropped_and_threads_change_no_bit() {
    let (x, _) = samples(300);
    let statistics = [1, 2].map(|threads| {
        let trainer = Dropped::trainer(Sgd::new(0.1)).max_batch(128).threads(threads);
        let mut net = trainer.build().expect("it builds");
        net.recalibrate(x.view()).expect("the rows fit");
        let weight = net.param("dense1.weight").expect("it exists").mapv(f64::from);
        let hidden = x.mapv(f64::from).dot(&weight.into_dimensionality::<Ix2>().expect("it is a matrix"));
        let (mean, variance) = mean_and_variance(&hidden);
        let read = |name: &str| net.param(name).expect("it exists").iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let [means, variances] = ["batch_norm1.running_mean", "batch_norm1.running_var"].map(read);
        let bound = Bound { relative: 1e-4, absolute: 1e-6 };
        bound.check("mean", &means, &mean.to_vec());
        bound.check("variance", &variances, &variance.to_vec());
        (means, variances)
    });
    assert_eq!(statistics[0], statistics[1]);
}

#[test]
fn rows_without_statistics_are_refused_and_change_nothing() {
    let (mut x, _) = samples(40);
    let mut net = classifier(16);
    let before = everything(&net);
    let one = net.recalibrate(x.slice(s![..1, ..]));
    assert_eq!(one, Err(Error::Run(RunError::OneRow { layer: "batch_norm1".to_string() })));
    let none = net.recalibrate(x.slice(s![..0, ..]));
    assert_eq!(none, Err(Error::Run(RunError::Empty { name: "x" })));
    let wide = net.recalibrate(Array2::zeros((8, 6)).view());
    assert!(matches!(wide, Err(Error::Run(RunError::Shape { .. }))), "{wide:?}");
    x[[30, 3]] = f32::NAN;
    let name = "batch_norm1.running_mean".to_string();
    assert_eq!(net.recalibrate(x.view()), Err(Error::Run(RunError::Statistic { name })));
    assert_eq!(everything(&net), before);

    let mut plain = Plain::trainer(Adam::new(0.1)).build().expect("it builds");
    let before = everything(&plain);
    plain.recalibrate(x.view()).expect("there is nothing to do");
    assert_eq!(everything(&plain), before);
}

network! {
    Scaled<x: [B, 4] -> (y: [B, 4], z: [B, 4])> {
        y = x -> Standardize;
        z = x -> MinMax;
    }
    loss = sum(y * z);

    Scaler<x: [B, 3, 4] -> y: [B, 3, 2]> { Standardize, Dense(2) }
    loss = mean(square(y));
}

/// Columns of different sizes, the last one always the same number.
fn columns(rows: usize) -> Array2<f32> {
    let (x, _) = samples(rows);
    Array2::from_shape_fn((rows, 4), |(row, column)| match column {
        0 => 1e4 + x[(row, 0)],
        1 => 1e-3 * x[(row, 1)],
        2 => x[(row, 2)],
        _ => 7.25,
    })
}

#[test]
fn features_have_the_scale_of_the_data_that_was_shown_whatever_comes_later() {
    let x = columns(333);
    let exact = x.mapv(f64::from);
    let (mean, variance) = (exact.mean_axis(Axis(0)).expect("there are rows"), exact.var_axis(Axis(0), 0.0));
    let [least, most] = [f64::min, f64::max].map(|of: fn(f64, f64) -> f64| {
        let columns = exact.columns().into_iter().map(|column| column.iter().copied().reduce(of));
        columns.map(|found| found.expect("there are rows")).collect::<Vec<f64>>()
    });
    for max_batch in [64, 333] {
        let mut net = Scaled::trainer(Sgd::new(0.1)).max_batch(max_batch).build().expect("it builds");
        let before = net.predict(x.slice(s![..5, ..])).expect("the rows fit");
        assert_eq!((before.y, before.z), (x.slice(s![..5, ..]), x.slice(s![..5, ..])), "until data was shown");
        net.recalibrate(x.view()).expect("the rows fit");
        // Rows of another scale train, and change nothing of it.
        net.step((2.0 * &x.slice(s![..9, ..])).view(), ()).expect("the loss is finite");
        let found = net.predict(x.slice(s![..5, ..])).expect("the rows fit");
        for ((row, column), &x) in exact.slice(s![..5, ..]).indexed_iter() {
            let standard = if column == 3 { 0.0 } else { (x - mean[column]) / variance[column].sqrt() };
            let within = if column == 3 { 0.0 } else { (x - least[column]) / (most[column] - least[column]) };
            // The first column has 1e4 in front, which leaves its deviations five digits less.
            let bound = if column == 0 { 2e-3 } else { 2e-6 };
            let found = [found.y[(row, column)], found.z[(row, column)]].map(f64::from);
            assert!(
                (found[0] - standard).abs() <= bound && (found[1] - within).abs() <= bound,
                "{found:?}: {standard} {within}"
            );
        }
    }
}

#[test]
fn a_program_that_only_predicts_needs_one_file() {
    let path = folder("scaler").join("scaler.safetensors");
    let x =
        gradloom::ndarray::Array3::from_shape_fn((20, 3, 4), |(row, step, at)| (100 + 7 * row + 3 * step * at) as f32);
    let mut net = Scaler::trainer(Sgd::new(0.01)).max_batch(20).build().expect("it builds");
    net.recalibrate(x.view()).expect("the rows fit");
    net.step(x.view(), ()).expect("the loss is finite");
    net.save(&path).expect("it is written");
    let mut predictor = Scaler::predictor().max_batch(20).load(&path).expect("it is read");
    assert_eq!(predictor.predict(x.view()).expect("it runs"), net.predict(x.view()).expect("it runs"));
}
