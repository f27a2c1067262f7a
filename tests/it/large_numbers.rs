//! Means, variances and deviations of numbers that are large beside their distances, or too large to be squared, against f64.

use gradloom::ndarray::{Array1, Array2, Axis, Ix1};
use gradloom::{Error, RunError, Session, Sgd, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Tensor, Values};
use gradloom_runtime::ir::{Graph, Role};
use gradloom_runtime::layers::{self, Arg, LayerDef, Mode};
use gradloom_runtime::lower::lower;
use gradloom_runtime::types::Dim;

use crate::bound::Bound;
use crate::checkpoint::everything;
use crate::compiled::Compiled;
use crate::handmade;

/// Numbers of every size, most of them rounded, of both signs.
fn magnitudes() -> Vec<f32> {
    let sizes = (-30..=30).map(|power| 10f64.powi(power));
    sizes.flat_map(|size| [size as f32, (-0.7 * size) as f32, (1.000_000_1 * size) as f32]).collect()
}

/// What a layer with its default arguments gives for rows of `columns` numbers. Parameters start as they do.
struct Layer {
    graph: Graph,
    columns: usize,
    compiled: Compiled,
}

impl Layer {
    fn new(layer: &'static LayerDef, mode: Mode, columns: usize, max_batch: usize) -> Layer {
        let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.expect("it has defaults")).collect();
        let port = handmade::port("x", &[Dim::B, Dim::Fixed(columns)]);
        let graph = lower(handmade::single_layer(layer, &args, port), mode).expect("it lowers");
        Layer { compiled: Compiled::new(&graph, max_batch), graph, columns }
    }

    /// Element after element, row by row. `statistics` are running mean and variance, if the layer has them.
    fn run(&mut self, x: &[f32], statistics: [&[f64]; 2]) -> Vec<f64> {
        let rows = x.len() / self.columns;
        let numbers: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let full = |value: f64| vec![value; self.columns];
        let starts = [full(1.0), full(0.0), statistics[0].to_vec(), statistics[1].to_vec()];
        let params = starts.iter().take(self.graph.slots.params.len());
        let shape = [rows, self.columns];
        let values = Values {
            inputs: vec![Tensor::floats(&shape, numbers), Tensor::floats(&shape, vec![1.0; x.len()])],
            params: params.map(|value| Tensor::floats(&[self.columns], value.clone())).collect(),
            scalars: Vec::new(),
        };
        self.compiled.run(rows, &values).get(&Role::Output(0)).to_vec()
    }
}

/// A mean and a biased variance, in f64.
fn moments(x: impl Iterator<Item = f32> + Clone) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0.0);
    x.clone().for_each(|x| (sum, count) = (sum + f64::from(x), count + 1.0));
    let mean = sum / count;
    (mean, x.map(|x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count)
}

/// Of numbers, what normalization with `eps = 1e-5` makes of them.
fn normalized(x: &[f32], (mean, variance): (f64, f64)) -> Vec<f64> {
    x.iter().map(|&x| (f64::from(x) - mean) / (variance + 1e-5).sqrt()).collect()
}

/// Numbers around others: `offset`, with deviations of about `spread`.
fn around(offset: f64, spread: f64, count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| (offset + spread * random.normal()) as f32).collect()
}

#[test]
fn layer_norm_makes_beta_of_every_row_of_equal_numbers() {
    let magnitudes = magnitudes();
    for columns in [1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 64, 100, 255, 256, 300] {
        let mut norm = Layer::new(&layers::LAYER_NORM, Mode::Infer, columns, magnitudes.len());
        let x: Vec<f32> = magnitudes.iter().flat_map(|&x| vec![x; columns]).collect();
        let y = norm.run(&x, [&[], &[]]);
        let wrong = y.iter().position(|&y| y != 0.0);
        assert_eq!(wrong.map(|at| (columns, x[at], y[at])), None);
    }
}

#[test]
fn layer_norm_takes_rows_of_which_no_sum_is_finite() {
    for (columns, size) in [(64, 1e38f32), (784, 1e37), (784, 3e38)] {
        let mut norm = Layer::new(&layers::LAYER_NORM, Mode::Train, columns, 1);
        let x: Vec<f32> = (0..columns).map(|at| if at % 2 == 0 { size } else { -size }).collect();
        let y = norm.run(&x, [&[], &[]]);
        assert!(y.iter().zip(&x).all(|(y, x)| (y - f64::from(x.signum())).abs() < 1e-6), "{y:?}");
    }
}

#[test]
fn layer_norm_loses_no_digit_to_a_large_mean() {
    let mut random = Random::new(1, 1);
    let columns = 200;
    let sizes = [(0.0, 1.0), (1e7, 2.0), (2024.0, 3.0), (-1e6, 0.1), (1.0, 1e-6), (1e-3, 1e3), (-3e15, 1e14)];
    // Beyond what can be squared.
    let sizes = [&sizes[..], &[(1e18, 1e17), (1e30, 1e25), (0.0, 1e30), (-3e37, 5e37)]].concat();
    let mut norm = Layer::new(&layers::LAYER_NORM, Mode::Train, columns, sizes.len());
    let rows: Vec<Vec<f32>> =
        sizes.iter().map(|&(offset, spread)| around(offset, spread, columns, &mut random)).collect();
    let y = norm.run(&rows.concat(), [&[], &[]]);
    for ((row, y), size) in rows.iter().zip(y.chunks(columns)).zip(sizes) {
        let expected = normalized(row, moments(row.iter().copied()));
        Bound { relative: 2e-6, absolute: 2e-6 }.check(&format!("{size:?}"), y, &expected);
    }
}

#[test]
fn the_gradient_of_a_layer_norm_is_right_for_rows_of_any_size() {
    let mut random = Random::new(6, 1);
    let sizes =
        [(0.0, 1.0), (1e6, 3.0), (4e12, 1e8), (5e12, 1e8), (1e16, 1e10), (0.0, 1e18), (2e24, 3e19), (1e30, 1e24)];
    let sizes = [&sizes[..], &[(3e35, 1e30), (0.0, 5e37), (1e38, 0.0), (1e14, 0.0)]].concat();
    let (rows, columns) = (sizes.len(), 40);
    let port = handmade::port("x", &[Dim::B, Dim::Fixed(columns)]);
    let definition = handmade::single_layer(&layers::LAYER_NORM, &[Arg::Float(1e-5)], port);
    let mut graph = lower(definition, Mode::Train).expect("it lowers");
    let param = handmade::input_as_parameter(&mut graph, 0, rows);
    let graph = differentiate(&handmade::with_batch(&graph, rows), &[param]);
    let x: Vec<Vec<f32>> = sizes.iter().map(|&(offset, spread)| around(offset, spread, columns, &mut random)).collect();
    let weights = around(0.0, 1.0, rows * columns, &mut random);
    let tensor =
        |numbers: &[f32]| Tensor::floats(&[rows, columns], numbers.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
    let vector = |value: f64| Tensor::floats(&[columns], vec![value; columns]);
    let values = Values {
        inputs: vec![tensor(&x.concat()), tensor(&weights)],
        params: vec![vector(1.0), vector(0.0), tensor(&x.concat())],
        scalars: Vec::new(),
    };
    let gradient = Compiled::new(&graph, rows).run(rows, &values).get(&Role::Gradient(param)).to_vec();
    for (((x, weights), actual), size) in x.iter().zip(weights.chunks(columns)).zip(gradient.chunks(columns)).zip(sizes)
    {
        let (mean, variance) = moments(x.iter().copied());
        if variance == 0.0 {
            assert!(actual.iter().all(|x| x.is_finite()), "{size:?}");
            continue;
        }
        let (inverse, y) = (1.0 / (variance + 1e-5).sqrt(), normalized(x, (mean, variance)));
        let average = |of: &dyn Fn(usize) -> f64| (0..columns).map(of).sum::<f64>() / columns as f64;
        let weight = |at: usize| f64::from(weights[at]);
        let (first, second) = (average(&weight), average(&|at| weight(at) * y[at]));
        let expected: Vec<f64> = (0..columns).map(|at| inverse * (weight(at) - first - y[at] * second)).collect();
        // A gradient of less than the smallest normal number has fewer digits.
        let bound = Bound { relative: 1e-5, absolute: 1e-5 * inverse + 1e-44 };
        bound.check(&format!("{size:?}"), actual, &expected);
    }
}

#[test]
fn batch_norm_in_training_makes_beta_of_every_column_of_equal_numbers() {
    let magnitudes = magnitudes();
    let columns = magnitudes.len();
    let mut norm = Layer::new(&layers::BATCH_NORM, Mode::Train, columns, 300);
    for rows in [2, 3, 5, 7, 8, 9, 13, 31, 32, 33, 47, 64, 100, 129, 255, 300] {
        let x = magnitudes.repeat(rows);
        let y = norm.run(&x, [&vec![0.0; columns], &vec![1.0; columns]]);
        let wrong = y.iter().position(|&y| y != 0.0);
        assert_eq!(wrong.map(|at| (rows, x[at], y[at])), None);
    }
}

/// Columns of a size each, as rows.
fn columns(sizes: &[(f64, f64)], rows: usize, random: &mut Random) -> Vec<f32> {
    (0..rows)
        .flat_map(|_| {
            sizes.iter().map(|&(offset, spread)| (offset + spread * random.normal()) as f32).collect::<Vec<_>>()
        })
        .collect()
}

fn column(x: &[f32], columns: usize, at: usize) -> Vec<f32> {
    x.iter().skip(at).step_by(columns).copied().collect()
}

const SIZES: [(f64, f64); 6] = [(0.0, 1.0), (1e7, 2.0), (2024.0, 3.0), (-1e6, 0.1), (1.0, 1e-6), (1e18, 1e17)];

#[test]
fn batch_norm_in_training_is_off_by_no_more_than_the_rounding_of_its_input() {
    let mut random = Random::new(2, 1);
    let mut norm = Layer::new(&layers::BATCH_NORM, Mode::Train, SIZES.len(), 300);
    for rows in [2, 9, 300] {
        let x = columns(&SIZES, rows, &mut random);
        let y = norm.run(&x, [&[0.0; 6], &[1.0; 6]]);
        for (at, size) in SIZES.into_iter().enumerate() {
            let x = column(&x, SIZES.len(), at);
            let y: Vec<f64> = y.iter().skip(at).step_by(SIZES.len()).copied().collect();
            let (mean, variance) = moments(x.iter().copied());
            // Half a unit in the last place of the mean, in deviations.
            let rounding = mean.abs() * 2f64.powi(-24) / (variance + 1e-5).sqrt();
            let bound = Bound { relative: 1e-5, absolute: 1e-5 + rounding };
            bound.check(&format!("{size:?} in {rows} rows"), &y, &normalized(&x, (mean, variance)));
        }
    }
}

#[test]
fn batch_norm_in_inference_loses_no_digit_to_a_large_mean() {
    let mut random = Random::new(3, 1);
    let mut norm = Layer::new(&layers::BATCH_NORM, Mode::Infer, SIZES.len(), 50);
    let x = columns(&SIZES, 50, &mut random);
    let statistics: Vec<(f64, f64)> =
        SIZES.map(|(mean, spread)| (f64::from(mean as f32), f64::from((spread * spread) as f32))).to_vec();
    let [means, variances] =
        [0, 1].map(|of| statistics.iter().map(|x| if of == 0 { x.0 } else { x.1 }).collect::<Vec<_>>());
    let y = norm.run(&x, [&means, &variances]);
    for (at, size) in SIZES.into_iter().enumerate() {
        let y: Vec<f64> = y.iter().skip(at).step_by(SIZES.len()).copied().collect();
        let expected = normalized(&column(&x, SIZES.len(), at), statistics[at]);
        Bound { relative: 1e-6, absolute: 1e-6 }.check(&format!("{size:?}"), &y, &expected);
    }
}

network! {
    Norm<x: [B, 3] -> y: [B, 3]> { BatchNorm }
    loss(t: [B, 3]) = mse(y, t);

    /// A running variance that the loss does not see, and a gradient by one number that has nothing to do with it.
    Stepped<x: [B, 3] -> y: [B, 3]> { BatchNorm, step, |x, a = 0.0| x + a }
    loss(t: [B, 3]) = mse(y, t);

    Wide<x: [B, 200] -> y: [B, 200]> { BatchNorm, step, |x, a = 0.0| x + a }
    loss(t: [B, 200]) = mse(y, t);
}

#[test]
fn batch_norm_makes_beta_of_a_constant_column_in_inference() {
    let x = Array2::from_shape_fn((8, 3), |(_, j)| [1e6f32, 1e4, 2024.1][j]);
    let mut net = Norm::trainer(Sgd::new(0.0)).build().unwrap();
    net.recalibrate(x.view()).unwrap();
    assert_eq!(net.param("batch_norm1.running_mean").unwrap(), x.row(0).into_dyn());
    assert_eq!(net.param("batch_norm1.running_var").unwrap(), Array1::zeros(3).into_dyn());
    assert_eq!(net.predict(x.view()).unwrap(), Array2::<f32>::zeros((8, 3)));
}

network! {
    Anew<x: [B, 3] -> y: [B, 3]> { BatchNorm(momentum = 0) }
    loss(t: [B, 3]) = mse(y, t);
    Still<x: [B, 3] -> y: [B, 3]> { BatchNorm(momentum = 1) }
    loss(t: [B, 3]) = mse(y, t);
}

#[test]
fn what_no_momentum_keeps_plays_no_part() {
    let x = Array2::from_shape_fn((4, 3), |(i, j)| (i + j) as f32);
    for wrong in [f32::INFINITY, f32::NAN] {
        let mut net = Anew::trainer(Sgd::new(0.1)).build().unwrap();
        for name in ["batch_norm1.running_mean", "batch_norm1.running_var"] {
            net.set_param(name, Array1::from_elem(3, wrong).view()).unwrap();
        }
        net.step(x.view(), x.view()).unwrap();
        assert_eq!(net.param("batch_norm1.running_mean").unwrap(), Array1::from(vec![1.5f32, 2.5, 3.5]).into_dyn());
        assert!(net.param("batch_norm1.running_var").unwrap().iter().all(|var| (var - 5.0 / 3.0).abs() < 1e-6));
    }
    let mut net = Still::trainer(Sgd::new(0.1)).build().unwrap();
    net.step(x.view(), x.view()).unwrap();
    assert_eq!(net.param("batch_norm1.running_mean").unwrap(), Array1::zeros(3).into_dyn());
}

fn refused(net: &mut Session<Stepped>, x: &Array2<f32>) -> RunError {
    let before = everything(net);
    let t = Array2::zeros(x.dim());
    let error = net.step(x.view(), t.view()).expect_err("a variance is beyond f32");
    let Err(Error::Run(other)) = net.accumulate(x.view(), t.view()) else { panic!("it is accumulated") };
    assert_eq!(other.to_string(), error.to_string());
    assert_eq!(everything(net), before);
    error
}

/// What is refused, and where it came from; the line lies in between.
#[track_caller]
fn says(error: &RunError, what: &str) {
    let (what, error) = (format!("{what}: in the forward pass of `batch_norm1` ("), error.to_string());
    let origin = "element [1] is NaN, the variance of 8 numbers, the largest 1e20, where x[3, 1] is 1e20;";
    assert!(error.starts_with(&what) && error.contains(origin), "{error}");
}

#[test]
fn a_variance_beyond_the_largest_number_is_refused_and_named() {
    let mut x = Array2::from_shape_fn((8, 3), |(i, j)| (i * (j + 1)) as f32);
    x[[3, 1]] = 1e20;
    let mut net = Norm::trainer(Sgd::new(0.1)).build().unwrap();
    let before = everything(&net);
    let error = net.step(x.view(), Array2::zeros((8, 3)).view()).expect_err("a variance is beyond f32");
    says(&error, "the loss of step 1 is NaN");
    assert_eq!(everything(&net), before);
    let name = "batch_norm1.running_var".to_string();
    assert_eq!(net.recalibrate(x.view()), Err(Error::Run(RunError::Statistic { name })));
    assert_eq!(everything(&net), before);
    for threads in [1, 2] {
        let mut net = Stepped::trainer(Sgd::new(0.1)).threads(threads).build().unwrap();
        says(&refused(&mut net, &x), "step 1 would make `batch_norm1.running_var` NaN");
    }
    // So many rows that threads share them.
    let (mut x, t) =
        (Array2::from_shape_fn((1000, 200), |(i, j)| ((7 * i + j) % 11) as f32), Array2::zeros((1000, 200)));
    x[[700, 150]] = 3e19;
    for threads in [1, 3] {
        let mut net = Wide::trainer(Sgd::new(0.1)).max_batch(1000).threads(threads).build().unwrap();
        let before = everything(&net);
        let error = net.step(x.view(), t.view()).expect_err("a variance is beyond f32").to_string();
        assert!(error.contains("element [150] is NaN, the variance of 1000 numbers"), "{error}");
        assert_eq!(everything(&net), before);
        x[[700, 150]] = 2e18;
        net.step(x.view(), t.view()).expect("the next step begins anew");
        x[[700, 150]] = 3e19;
    }
    // Just in reach.
    let (mut x, t) = (Array2::from_shape_fn((8, 3), |(i, j)| (i * (j + 1)) as f32), Array2::zeros((8, 3)));
    x[[3, 1]] = 1e18;
    net.step(x.view(), t.view()).unwrap();
    assert!(net.param("batch_norm1.running_var").unwrap().iter().all(|x| x.is_finite()));
}

network! {
    Fit<x: [B, 2] -> y: [B, 2]> { |x, shift = 0.0| x + shift }
    loss(t: [B, 2]) = mse(y, t);
    metric determination = r2(y, t);
    metric variance = mean((t - mean(t)) * (t - mean(t)));

    Line<x: [B] -> y: [B]> { |x, shift = 0.0| x + shift }
    loss(t: [B]) = mse(y, t);
    metric determination = r2(y, t);
    metric variance = mean((t - mean(t)) * (t - mean(t)));
}

#[test]
fn deviations_of_large_targets_are_the_same_in_pieces_of_any_size() {
    for (offset, spread) in [(1e7, 2.0), (2024.0, 0.01), (0.0, 1.0), (1e30, 1e25)] {
        let mut random = Random::new(4, 1);
        let t = Array2::from_shape_vec((203, 2), around(offset, spread, 406, &mut random)).unwrap();
        let x = &t + &Array2::from_shape_vec((203, 2), around(0.0, 0.5 * spread, 406, &mut random)).unwrap();
        let share = |x: &[f32], t: &[f32]| {
            let error: f64 = x.iter().zip(t).map(|(&x, &t)| (f64::from(x) - f64::from(t)).powi(2)).sum();
            1.0 - error / t.len() as f64 / moments(t.iter().copied()).1
        };
        let of = |axis: usize| (x.column(axis).to_vec(), t.column(axis).to_vec());
        let [first, second] = [of(0), of(1)].map(|(x, t)| share(&x, &t));
        let squarable = spread < 1e18;
        let bound = Bound { relative: 1e-5, absolute: 1e-6 };
        for max_batch in [1, 7, 32, 100, 128, 203] {
            let what = format!("{offset} and {spread} in pieces of {max_batch}");
            let check = |what: &str, actual: f32, expected: f64| {
                bound.check(what, &[actual.into()], &[if squarable { expected } else { f64::NAN }]);
            };
            let mut net = Fit::trainer(Sgd::new(0.0)).max_batch(max_batch).build().unwrap();
            let report = net.evaluate(x.view(), t.view()).unwrap();
            check(&format!("r2 of {what}"), report.determination, 0.5 * (first + second));
            if squarable {
                check(&format!("variance of {what}"), report.variance, moments(t.iter().copied()).1);
            }
            let mut line = Line::trainer(Sgd::new(0.0)).max_batch(max_batch).build().unwrap();
            let report = line.evaluate(x.column(0), t.column(0)).unwrap();
            check(&format!("r2 of a line of {what}"), report.determination, first);
        }
    }
}

#[test]
fn statistics_are_recalibrated_to_the_nearest_number_in_pieces_of_any_size() {
    let mut random = Random::new(5, 1);
    let x = columns(&[(1e7, 2.0), (2024.0, 0.01), (-1e30, 0.0)], 203, &mut random);
    let x = Array2::from_shape_vec((203, 3), x).unwrap();
    let exact: Vec<(f64, f64)> = x.axis_iter(Axis(1)).map(|x| moments(x.to_vec().into_iter())).collect();
    for max_batch in [2, 7, 100, 203] {
        let mut net = Norm::trainer(Sgd::new(0.0)).max_batch(max_batch).build().unwrap();
        net.recalibrate(x.view()).unwrap();
        let read = |name: &str| net.param(name).unwrap().to_owned().into_dimensionality::<Ix1>().unwrap();
        let (means, variances) = (read("batch_norm1.running_mean"), read("batch_norm1.running_var"));
        for (at, &(mean, variance)) in exact.iter().enumerate() {
            let off = (f64::from(means[at]) - mean).abs() / (mean.abs() * 2f64.powi(-24));
            assert!(off <= 1.01, "mean {at} is off by {off} roundings in pieces of {max_batch}");
            let unbiased = variance * 203.0 / 202.0;
            let bound = Bound { relative: 1e-5, absolute: 1e-30 };
            bound.check(&format!("variance {at} in pieces of {max_batch}"), &[variances[at].into()], &[unbiased]);
        }
        assert_eq!(net.param("batch_norm1.running_var").unwrap().as_slice().unwrap()[2], 0.0);
    }
}

#[test]
fn metrics_beside_a_loss_that_is_not_finite_are_computed_nevertheless() {
    let (x, t) = (Array2::from_elem((40, 2), 1e20f32), Array2::from_shape_fn((40, 2), |(i, j)| (i + j) as f32));
    for max_batch in [7, 40] {
        let mut net = Fit::trainer(Sgd::new(0.0)).max_batch(max_batch).build().unwrap();
        let report = net.evaluate(x.view(), t.view()).unwrap();
        assert_eq!((report.loss, report.determination), (f32::INFINITY, f32::NEG_INFINITY));
        assert!((report.variance - 133.5).abs() < 1e-3, "{}", report.variance);
    }
}
