//! Networks that were once computed wrongly, refused or lost, each with what it needs of the compiler.

use gradloom::ndarray::{Array1, Array2, Array3, Array4, s};
use gradloom::{Adam, AdamW, RunError, Sgd, network};

fn values(rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((i * 7 + j * 5) % 11) as f32 / 8.0 - 0.5)
}

network! {
    Reused<x: [B, 4] -> y: [B, 4]> { tanh }
    loss(t: [B, 4]) = mean(tanh(y * mean(t))) * mean(t);
    metric product = sum(exp(mean(t)) * y);
    metric shifted = exp(mean(t)) + 1.0;
}

#[test]
fn a_number_computed_beside_elements_is_kept_for_later_kernels() {
    let (x, t) = (values(4, 4), values(4, 4).mapv(|t| t + 0.75));
    let mut net = Reused::trainer(Sgd::new(0.1)).max_batch(8).build().unwrap();
    let y = x.mapv(f32::tanh);
    let mean = t.mean().unwrap();
    let loss = y.mapv(|y| (y * mean).tanh()).mean().unwrap() * mean;
    for report in [net.evaluate(x.view(), t.view()).unwrap(), net.step(x.view(), t.view()).unwrap()] {
        assert!((report.loss - loss).abs() < 1e-5, "{} instead of {loss}", report.loss);
        assert!((report.product - mean.exp() * y.sum()).abs() < 1e-4, "{}", report.product);
        assert!((report.shifted - mean.exp() - 1.0).abs() < 1e-5, "{}", report.shifted);
    }
}

network! {
    Tied<x: [B, 4] -> y: [B, 4]> { Dense(4, bias = false), Dense(4, bias = false) }
    loss = sum(dense1.weight * dense2.weight);
}

#[test]
fn the_gradient_of_one_parameter_may_be_another() {
    let x = values(2, 4);
    let mut net = Tied::trainer(Sgd::new(0.5)).max_batch(2).seed(3).build().unwrap();
    let old = ["dense1.weight", "dense2.weight"].map(|name| net.param(name).unwrap().to_owned());
    let gradients = net.gradients(x.view(), ()).unwrap();
    assert_eq!(gradients.get("dense1.weight").unwrap(), old[1]);
    assert_eq!(gradients.iter().count(), 2);
    net.step(x.view(), ()).unwrap();
    assert_eq!(net.param("dense1.weight").unwrap(), &old[0] - &(&old[1] * 0.5));
    assert_eq!(net.param("dense2.weight").unwrap(), &old[1] - &(&old[0] * 0.5));
}

network! {
    Statistic<x: [B, 4] -> y: [B, 3]> { Dense(3), BatchNorm as n, relu }
    loss(t: [B, 3]) = mse(y, t) + mean(abs(n.running_var) * n.gamma);
}

#[test]
fn an_update_reads_the_running_statistics_of_before_the_step() {
    let (x, t) = (values(8, 4), values(8, 3));
    let mut net = Statistic::trainer(Sgd::new(0.1)).max_batch(8).seed(1).build().unwrap();
    let old = net.param("n.gamma").unwrap().to_owned();
    let gradient = net.gradients(x.view(), t.view()).unwrap().get("n.gamma").unwrap().to_owned();
    net.step(x.view(), t.view()).unwrap();
    let new = net.param("n.gamma").unwrap();
    for ((new, old), gradient) in new.iter().zip(&old).zip(&gradient) {
        assert!((new - (old - 0.1 * gradient)).abs() < 1e-6, "{new} from {old} by {gradient}");
    }
}

network! {
    Flat<x: [B, 2, 3] -> y: [B, 6]> { flatten }
    loss(t: [B, 6]) = mse(y, t);
}

#[test]
fn a_body_that_only_renames_predicts_its_input() {
    let x = Array3::from_shape_fn((5, 2, 3), |(i, j, k)| (i * 6 + j * 3 + k) as f32);
    let mut net = Flat::trainer(Sgd::new(0.1)).max_batch(2).build().unwrap();
    let expected = x.to_shape((5, 6)).unwrap().to_owned();
    assert_eq!(net.predict(x.view()).unwrap(), expected);
}

network! {
    Hopeless<x: [B, 4] -> y: [B, 4]> { Dense(4, bias = false), BatchNorm }
    loss = mean(y) + 1.0 / 0.0;
}

#[test]
fn a_loss_that_is_never_finite_changes_nothing() {
    let x = values(4, 4);
    let mut net = Hopeless::trainer(AdamW::new(0.1)).max_batch(4).seed(2).build().unwrap();
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let before: Vec<_> = names.iter().map(|name| net.param(name).unwrap().to_owned()).collect();
    assert!(matches!(net.step(x.view(), ()), Err(RunError::NotFinite { step: 1, .. })));
    for (name, before) in names.iter().zip(before) {
        assert_eq!(net.param(name).unwrap(), before, "{name}");
    }
}

network! {
    Idle<x: [B, 4] -> y: [B, 4]> { Dense(4) }
    loss(t: [B, 4]) = sum(dense1.weight * dense1.weight);
}

#[test]
fn a_batch_beyond_all_memory_is_refused_even_if_nothing_depends_on_it() {
    assert!(Idle::trainer(Sgd::new(0.1)).max_batch(1 << 40).build().is_err());
    assert!(Idle::trainer(Sgd::new(0.1)).max_batch(usize::MAX).build().is_err());
}

network! {
    Labeled<x: [B, 4] -> y: [B, 3]> { Dense(3) }
    loss(t: [u8; B]) = cross_entropy(y, t);
}

#[test]
fn tensors_without_rows_are_refused_by_every_call() {
    let (x, t) = (values(0, 4), Array1::<u8>::zeros(0));
    let mut net = Labeled::trainer(Sgd::new(0.1)).max_batch(4).build().unwrap();
    let empty = RunError::Empty { name: "x" };
    assert_eq!(net.step(x.view(), t.view()).map(|_| ()), Err(empty.clone()));
    assert_eq!(net.predict(x.view()).map(|_| ()), Err(empty.clone().into()));
    assert_eq!(net.evaluate(x.view(), t.view()).map(|_| ()), Err(empty.into()));
}

network! {
    /// Metrics that are parameters, one of them the mean of its only element, and one that is a constant.
    pub Bare<x: [B, 2] -> y: [B, 1]> { Dense(1), prelu }
    loss(t: [B, 1]) = mse(y, t);
    metric slope = prelu1.slope;
    metric bias = mean(dense1.bias);
    metric half = 0.5;
}

#[test]
fn a_metric_may_be_a_parameter_or_a_constant() {
    let (x, t) = (Array2::from_elem((5, 2), 1.0), Array2::from_elem((5, 1), 0.5));
    for max_batch in [2, 5] {
        let mut net = Bare::trainer(Adam::new(1e-2)).max_batch(max_batch).build().expect("the network compiles");
        net.set_param("dense1.bias", Array1::from_elem(1, -2.0).view()).expect("it has one bias");
        let report = net.evaluate(x.view(), t.view()).expect("any number of rows");
        assert_eq!((report.slope, report.bias, report.half), (0.25, -2.0, 0.5), "pieces of {max_batch}");
        // A step reports what was before its update.
        let rows = s![..2, ..];
        let report = net.step((-x.clone()).slice(rows), t.slice(rows)).expect("the batch fits");
        assert_eq!((report.slope, report.bias, report.half), (0.25, -2.0, 0.5), "before the update");
        assert_ne!(net.param("prelu1.slope").expect("it has a slope").sum(), 0.25, "the slope is trained");
    }
}

network! {
    /// Matrices of two rows, one of them a column; the norm of all gradients holds their updates back together.
    Outer<x: [B, 1] -> y: [B, 1]> {
        residual { Dense(2) } skip { Dense(2) }, Dense(2, bias = false), prelu, Dense(1),
    }
    loss(target: [u8; B]) = cross_entropy(y, target);
}

#[test]
fn a_clipped_update_of_a_column_stays_apart_from_that_of_a_matrix_of_as_many_rows() {
    let trainer = Outer::trainer(Adam::new(1e-2).l2(0.1)).clip_norm(0.5).clip_value(0.1).max_batch(4);
    let mut net = trainer.build().expect("it builds");
    let x = Array2::from_shape_fn((4, 1), |(i, _)| i as f32 - 1.5);
    net.step(x.view(), Array1::zeros(4).view()).expect("the loss is finite");
}

network! {
    act gate = |x, a = 0.5| x + 0.8 * relu(a);
    /// A branch that a parameter decides, and the norm of all gradients.
    Gated<x: [B, 1] -> y: [B, 1]> { gate, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

#[test]
fn what_a_parameter_decides_is_known_behind_the_norm_of_all_gradients() {
    let (x, t) = (values(4, 1), values(4, 1).mapv(|t| t + 0.75));
    let mut net = Gated::trainer(Sgd::new(0.5)).clip_norm(0.1).build().expect("it builds");
    let names = ["gate1.a", "dense1.weight", "dense1.bias"];
    let read = |net: &gradloom::Session<Gated>| names.map(|name| net.param(name).expect("it is there").sum());
    let before = read(&net);
    let gradients = net.gradients(x.view(), t.view()).expect("the batch fits");
    let gradients = names.map(|name| gradients.get(name).expect("it is there").sum());
    let norm = gradients.iter().map(|g| g * g).sum::<f32>().sqrt();
    assert!(norm > 0.1 && gradients[0] != 0.0, "the branch is taken, and the gradient clipped: {gradients:?}");
    net.step(x.view(), t.view()).expect("the loss is finite");
    for ((after, before), gradient) in read(&net).into_iter().zip(before).zip(gradients) {
        assert!((after - (before - 0.05 * gradient / norm)).abs() < 1e-6, "{before} becomes {after}");
    }
}

network! {
    act twice = |x| tanh(x) * tanh(x) + 0.5 * x * x - abs(x);
    act often = |x| twice(twice(twice(twice(x))));
    /// Whose update reads its parameter in more ways than can be gone through.
    Twisted<x: [B, 2] -> y: [B, 2]> { Dense(2, bias = false) }
    loss = mean(often(often(often(dense1.weight))));
}

#[test]
fn an_update_that_reads_one_value_in_many_ways_is_placed_at_once() {
    let mut net = Twisted::trainer(Sgd::new(0.125)).max_batch(2).build().unwrap();
    let weight = net.param("dense1.weight").unwrap().mapv(f64::from);
    let twice = |x: f64| x.tanh() * x.tanh() + 0.5 * x * x - x.abs();
    let at = |x: f64| (0..12).fold(x, |x, _| twice(x)) / 4.0;
    net.step(values(2, 2).view(), ()).unwrap();
    for (&found, &start) in net.param("dense1.weight").unwrap().iter().zip(&weight) {
        let wanted = start - 0.125 * (at(start + 1e-6) - at(start - 1e-6)) / 2e-6;
        assert!((f64::from(found) - wanted).abs() < 1e-5, "{found} instead of {wanted}");
    }
}

network! {
    /// Images of one pixel, which the window of a single channel sees through its taps from the last to the first.
    Pixel<x: [B, 2, 1, 1] -> y: [B, 1, 4, 1]> {
        Conv2d(5, 1, bias = false), Conv2d(1, (4, 1), pad = (3, 0), bias = false),
    }
    loss(t: [B, 1, 4, 1]) = sum(y * t);
}

#[test]
fn the_gradient_of_one_pixel_goes_backward_through_the_taps_of_one_channel() {
    let x = Array4::from_shape_fn((9, 2, 1, 1), |(i, j, ..)| ((i * 7 + j * 5) % 11) as f32 / 8.0 - 0.5);
    let t = Array4::from_shape_fn((9, 1, 4, 1), |(i, _, j, _)| ((i * 5 + j * 3) % 13) as f32 / 8.0 - 0.75);
    let mut net = Pixel::trainer(Sgd::new(0.1)).max_batch(40).seed(1).build().expect("it builds");
    let taps = net.param("conv2.weight").expect("it is there").to_owned();
    let gradients = net.gradients(x.view(), t.view()).expect("the batch fits");
    let found = gradients.get("conv1.weight").expect("it is trained");
    for (channel, input) in (0..5).flat_map(|channel| [0, 1].map(|input| (channel, input))) {
        // y[b, i] is the sum of taps[c, 3 - i] h[b, c] over c.
        let terms = (0..9).flat_map(|row| (0..4).map(move |at| (row, at))).map(|(row, at)| {
            f64::from(t[[row, 0, at, 0]]) * f64::from(taps[[0, channel, 3 - at, 0]]) * f64::from(x[[row, input, 0, 0]])
        });
        let (wanted, found) = (terms.sum::<f64>(), f64::from(found[[channel, input, 0, 0]]));
        assert!((found - wanted).abs() < 1e-5, "{found} instead of {wanted} for {channel}, {input}");
    }
}
