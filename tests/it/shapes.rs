//! Values whose shape looks like another one to a kernel: one number, one row, one column, rows of one, and more axes than two.

use gradloom::ndarray::{Array1, Array2, Array3, ArrayView2, array};
use gradloom::{Network, Session, Sgd, network};

fn wave(at: usize) -> f32 {
    (at as f32 * 0.7).sin()
}

fn near(found: f32, wanted: f64) {
    assert!((f64::from(found) - wanted).abs() < 1e-5 * (1.0 + wanted.abs()), "{found} instead of {wanted}");
}

network! {
    Deep<x: [B, 3, 2] -> y: [B, 3, 2]> { |x, a = 0.5| a * x }
    loss(t: [B, 3, 2]) = 1 - r2(y, t);
    metric explained = r2(y, t);
    Deeper<x: [B, 2, 3, 2] -> y: [B, 2, 3, 2]> { |x, a = 0.5| a * x }
    loss(t: [B, 2, 3, 2]) = 1 - r2(y, t);
}

/// One less than `r2`, of columns that are whatever follows the first axis.
fn unexplained(a: f64, x: &Array2<f64>, t: &Array2<f64>) -> f64 {
    let share = |column: usize| {
        let (x, t) = (x.column(column), t.column(column));
        let mean = t.mean().unwrap();
        let square = |x: f64| x * x;
        let errors: f64 = x.iter().zip(t).map(|(x, t)| square(a * x - t)).sum();
        errors / t.iter().map(|t| square(t - mean)).sum::<f64>()
    };
    (0..x.ncols()).map(share).sum::<f64>() / x.ncols() as f64
}

#[test]
fn the_variance_explained_is_that_of_every_column_at_any_rank() {
    let x = Array3::from_shape_fn((5, 3, 2), |(i, j, k)| wave(6 * i + 2 * j + k));
    let t = x.mapv(|x| 0.8 * x + 0.1 * (5.0 * x).cos());
    let flat = |x: &Array3<f32>| x.mapv(f64::from).into_shape_with_order((5, 6)).unwrap();
    let want = |a: f64| unexplained(a, &flat(&x), &flat(&t));
    let mut net = Deep::trainer(Sgd::new(0.1)).max_batch(5).build().unwrap();
    let report = net.evaluate(x.view(), t.view()).unwrap();
    near(report.loss, want(0.5));
    near(report.explained, 1.0 - want(0.5));
    let gradients = net.gradients(x.view(), t.view()).unwrap();
    near(gradients.get("lambda1.a").unwrap().sum(), (want(0.501) - want(0.499)) / 0.002);
    // Whatever the pieces.
    let mut pieces = Deep::trainer(Sgd::new(0.1)).max_batch(2).build().unwrap();
    near(pieces.evaluate(x.view(), t.view()).unwrap().loss, want(0.5));

    let rank4 = |x: &Array2<f64>| x.mapv(|x| x as f32).into_shape_with_order((5, 2, 3, 2)).unwrap();
    let x = Array2::from_shape_fn((5, 12), |(i, j)| f64::from(wave(12 * i + j)));
    let t = Array2::from_shape_fn((5, 12), |(i, j)| f64::from(wave(13 * i + 3 * j)));
    let mut net = Deeper::trainer(Sgd::new(0.1)).max_batch(5).build().unwrap();
    let loss = net.evaluate(rank4(&x).view(), rank4(&t).view()).unwrap().loss;
    near(loss, unexplained(0.5, &x.mapv(|x| f64::from(x as f32)), &t.mapv(|t| f64::from(t as f32))));
}

network! {
    Scaled<x: [B, 2] -> y: [B, 2]> { |x, a = 2.0| a * x, Dense(1), |x, a = 3.0| a * x, Dense(2) }
    loss = mean(y);
}

#[test]
fn one_number_of_a_column_of_one_is_trained_beside_it() {
    let x = array![[1.0f32, 2.0], [3.0, 5.0]];
    let mut net = Scaled::trainer(Sgd::new(0.125)).max_batch(2).build().unwrap();
    net.set_param("dense1.weight", array![[0.5f32], [0.25]].view()).unwrap();
    net.set_param("dense1.bias", array![0.5f32].view()).unwrap();
    net.set_param("dense2.weight", array![[1.0f32, 3.0]].view()).unwrap();
    // y = 3 (2 x W + 0.5) (1, 3): the mean of both columns is twice that of 3 (2 x W + 0.5), where x W is 1 and 2.75.
    let h = 2.0 * (1.0 + 2.75) / 2.0 + 0.5;
    near(net.step(x.view(), ()).unwrap().loss, 2.0 * 3.0 * h);
    let param = |net: &Session<Scaled>, name: &str| net.param(name).unwrap().sum();
    near(param(&net, "lambda2.a"), 3.0 - 0.125 * 2.0 * h);
    near(param(&net, "lambda1.a"), 2.0 - 0.125 * 2.0 * 3.0 * 3.75 / 2.0);
    near(param(&net, "dense1.bias"), 0.5 - 0.125 * 2.0 * 3.0);
}

network! {
    Repeated<x: [B, 2] -> y: [B, 2]> { Dense(2), LayerNorm }
    loss = mean(minimum(dense1.bias, exp(dense1.bias))) + exp(mean(layer_norm1.gamma));
}

#[test]
fn a_gradient_that_repeats_a_sum_along_its_own_row_waits_for_it() {
    let mut net = Repeated::trainer(Sgd::new(0.1)).max_batch(2).build().unwrap();
    net.set_param("layer_norm1.gamma", array![0.5f32, -1.25].view()).unwrap();
    net.set_param("dense1.bias", array![0.5f32, -0.25].view()).unwrap();
    let x = array![[1.0f32, 2.0]];
    let gradients = net.gradients(x.view(), ()).unwrap();
    near(gradients.loss, (0.5 - 0.25) / 2.0 + (-0.375f64).exp());
    for &found in gradients.get("layer_norm1.gamma").unwrap() {
        near(found, (-0.375f64).exp() / 2.0);
    }
}

network! {
    Choosing<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    loss = mean(if dense1.weight > 0.25 { softmax(dense1.weight) } else { dense1.weight });
}

#[test]
fn rows_of_a_parameter_may_decide_for_themselves() {
    let weight = array![[1.0f64, 0.0], [-0.5, -1.0]];
    let loss = |weight: &Array2<f64>| {
        let sum = weight.outer_iter().flat_map(|row| {
            let sum: f64 = row.iter().map(|w| w.exp()).sum();
            row.iter().map(|&w| if w > 0.25 { w.exp() / sum } else { w }).collect::<Vec<f64>>()
        });
        sum.sum::<f64>() / 4.0
    };
    let mut net = Choosing::trainer(Sgd::new(0.1)).max_batch(2).build().unwrap();
    net.set_param("dense1.weight", weight.mapv(|w| w as f32).view()).unwrap();
    let gradients = net.gradients(array![[1.0f32, 2.0]].view(), ()).unwrap();
    near(gradients.loss, loss(&weight));
    let found = gradients.get("dense1.weight").unwrap();
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let moved = |by: f64| {
            let mut weight = weight.clone();
            weight[[i, j]] += by;
            loss(&weight)
        };
        near(found[[i, j]], (moved(1e-5) - moved(-1e-5)) / 2e-5);
    }
}

network! {
    One<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    loss = mean(if mean(y) > 100 { sqrt(0 * y) } else { y });
    Never<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    loss = mean(if 0.5 > 100 { sqrt(0 * dense1.weight) } else { dense1.weight });
}

#[test]
fn a_single_condition_keeps_a_branch_out_as_one_for_each_element_does() {
    fn gradient<N>(of: &str) -> Vec<f32>
    where
        N: for<'a> Network<Inputs<'a> = ArrayView2<'a, f32>, Targets<'a> = ()>,
    {
        let mut net: Session<N> = gradloom::Trainer::new(Sgd::new(0.1)).max_batch(2).build().unwrap();
        let gradients = net.gradients(array![[1.0f32, 2.0], [3.0, -4.0]].view(), ()).unwrap();
        gradients.get(of).unwrap().iter().copied().collect()
    }
    assert_eq!(gradient::<One>("dense1.bias"), [0.5, 0.5]);
    assert_eq!(gradient::<Never>("dense1.weight"), [0.25; 4]);
}

network! {
    Single<x: [B, 2, 1] -> y: [B, 2, 1]> { |x, a = 1.0| a * x }
    loss(t: [u8; B, 2]) = cross_entropy(y / (1 + x * x), t, label_smoothing = 1, class_weights = [0.5]);
}

#[test]
fn the_only_class_is_certain_whatever_it_weighs() {
    let x = Array3::from_shape_fn((3, 2, 1), |(i, j, _)| wave(2 * i + j));
    let mut net = Single::trainer(Sgd::new(0.1)).max_batch(4).build().unwrap();
    let gradients = net.gradients(x.view(), Array2::<u8>::zeros((3, 2)).view()).unwrap();
    assert_eq!((gradients.loss, gradients.get("lambda1.a").unwrap().sum()), (0.0, 0.0));
}

network! {
    Position<x: [B] -> y: [B, 4]> { flatten, BatchNorm, Dense(4) }
    loss = mean(x + (if argmax(dense1.bias) == argmax(batch_norm1.gamma) { mean(x) } else { 0.5 })) + l1(dense1.bias);
}

#[test]
fn the_only_position_is_the_first_in_every_block_of_rows() {
    let x = Array1::from_shape_fn(200, wave);
    let mean = x.mapv(f64::from).mean().unwrap();
    let mut net = Position::trainer(Sgd::new(0.1)).max_batch(200).build().unwrap();
    near(net.evaluate(x.view(), ()).unwrap().loss, 2.0 * mean);
}

network! {
    Certain<x: [B, 2, 2] -> y: [B, 1]> { flatten, Dense(1), Dense(1) }
    loss = mae(if mean(y) > 1000 { x } else { mean(softmax(softmax(dense2.weight))) }, x);
}

#[test]
fn the_only_number_of_a_parameter_is_one_in_all() {
    let x = Array3::from_shape_fn((3, 2, 2), |(i, j, k)| wave(4 * i + 2 * j + k));
    let mut net = Certain::trainer(Sgd::new(0.1)).max_batch(4).build().unwrap();
    let gradients = net.gradients(x.view(), ()).unwrap();
    near(gradients.loss, x.iter().map(|&x| 1.0 - f64::from(x)).sum::<f64>() / 12.0);
    assert_eq!(gradients.get("dense2.weight").unwrap().sum(), 0.0);
}

network! {
    Apart<x: [B, 2, 2] -> y: [B, 2, 2]> { |x, a = 2.0| a * x }
    loss(t: [B]) = mean(square(t - mean(y)));
}

#[test]
fn the_mean_of_something_with_more_axes_is_no_deviation() {
    let x = Array3::from_shape_fn((3, 2, 2), |(i, j, k)| wave(4 * i + 2 * j + k));
    let t = Array1::from_shape_fn(3, |i| wave(5 * i + 1));
    let mean = 2.0 * x.mapv(f64::from).mean().unwrap();
    let mut net = Apart::trainer(Sgd::new(0.1)).max_batch(4).build().unwrap();
    near(net.evaluate(x.view(), t.view()).unwrap().loss, t.mapv(|t| (f64::from(t) - mean).powi(2)).mean().unwrap());
}
