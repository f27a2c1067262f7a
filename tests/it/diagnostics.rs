//! What diagnostics say, against sums done by hand and against the interpreter, and that asking changes nothing.

use gradloom::ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView3, ArrayViewD, Axis, Ix1, Ix2, array, s};
use gradloom::{Adam, AdamW, Diagnostics, LayerDiagnostics, Network, Session, Sgd, Stage, Trainer, network};
use gradloom_runtime::compile::{Purpose, Target, compile};
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::compiled::{Compiled, Reference};
use crate::draw;
use crate::train::{Classifier, classifier, samples, state};

network! {
    act clipped = |x, slope = 1.0| if x > 0.0 { slope * x } else { 0.0 };

    /// One input, weights that a test sets, and every kind of activation that is measured.
    Units<x: [B, 1] -> y: [B, 4]> {
        Dense(4) as units, relu as relus, Dense(4, init = zeros) as others, clipped as clips, step as steps,
    }
    loss(target: [B, 4]) = mse(y, target) + mean(clips);

    Bounded<x: [B, 4] -> y: [B, 4]> { sigmoid, hard_sigmoid, tanh, softsign, hard_tanh }
    loss(target: [B, 4]) = mse(y, target);

    Images<x: [B, 2, 3] -> y: [B, 1]> { relu, flatten, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);

    OfTanh<x: [B, 4] -> y: [B, 4]> { tanh, Dense(4) }
    loss(target: [B, 4]) = mse(y, target);

    /// Small enough to be differentiated by hand.
    Hand<x: [B, 3] -> y: [B, 2]> { Dense(4), tanh, Dense(2) }
    loss(target: [B, 2]) = mse(y, target);

    /// A network in which some layers have nothing to measure.
    Deep<x: [B, 5] -> y: [B, 3]> {
        repeat(2) { Dense(6, bias = false), BatchNorm, tanh },
        residual { Dense(6), relu }, LayerNorm, gelu, Dense(3), softmax,
    }
    loss(target: [B, 3]) = mse(y, target);

    /// A loss whose gradient is the same everywhere.
    Even<x: [B, 2] -> y: [B, 1]> { Dense(1), |x, a = 2.0| a * x as scaled }
    loss = sum(y);

    /// A loss that is a parameter, on which nothing else has an influence.
    Itself<x: [B, 2] -> y: [B, 1]> { Dense(1), |x, a = 2.0| a * x as scaled }
    loss = scaled.a;

    /// Small enough to be differentiated by hand, step by step.
    Steps<x: [B, 6, 2] -> y: [B, 6, 3]> { Rnn(3) } loss(t: [B, 6, 3]) = mse(y, t);

    /// The same backwards.
    Back<x: [B, 6, 2] -> y: [B, 6, 3]> { Rnn(3, reverse = true) } loss(t: [B, 6, 3]) = mse(y, t);

    /// States whose gradient shrinks by one factor at each step, and those on which nothing trained has an influence.
    Fades<x: [B, 64, 1] -> y: [B, 1]> {
        let plain = x -> scan(last = true) |x, h| 0.5 * h + x;
        let kept = x -> scan(last = true) |x, h, keep = 0.25| keep * h + x;
        let later = x -> scan(last = true, reverse = true) |x, h, keep = 0.25| keep * h + x as back;
        y = plain + kept + later;
    }
    loss = sum(y);

    /// All kinds of activations, batch norm, and dropout before some of it.
    pub Wide<x: [B, 5] -> y: [B, 3]> {
        Dense(7), sigmoid, Dense(7), BatchNorm, relu, Dropout(0.3),
        Dense(6), leaky_relu, prelu, elu, celu, selu, Dense(6), BatchNorm(every = 2), gelu, silu, softplus, mish,
        Dense(6), hard_sigmoid, hard_swish, hard_tanh, softsign, |x| x * tanh(ln(1.0 + exp(x))), clipped, Dense(3),
    }
    loss(label: [u8; B]) = cross_entropy(y, label) + 1e-3 * l2(weights);
}

fn of<'d>(diagnostics: &'d Diagnostics, path: &str) -> &'d LayerDiagnostics {
    diagnostics.layer(path).unwrap_or_else(|| panic!("`{path}` is measured in\n{diagnostics}"))
}

#[track_caller]
fn close(what: &str, actual: Option<f32>, expected: f64) {
    let actual = f64::from(actual.unwrap_or_else(|| panic!("{what} is measured")));
    Bound { relative: 1e-5, absolute: 1e-7 }.check(what, &[actual], &[expected]);
}

fn norm(x: ArrayViewD<'_, f32>) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()
}

fn mean<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().map(|x| x.abs()).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn gradients_of_parameters_and_outputs_are_those_of_the_textbook() {
    let x = array![[0.5_f32, -1.0, 2.0], [1.5, 0.25, -0.75]];
    let target = array![[1.0_f32, 0.0], [-1.0, 2.0]];
    let rate = 0.125;
    let mut net = Hand::trainer(Sgd::new(rate)).max_batch(2).seed(5).build().expect("it builds");
    net.set_param("dense1.bias", array![0.1, -0.2, 0.3, -0.4].view()).expect("it fits");
    let said = net.diagnose(x.view(), target.view()).expect("the batch fits");

    let matrix = |name: &str| {
        let value = net.param(name).expect("it exists").mapv(f64::from);
        value.into_dimensionality::<Ix2>().expect("it is a matrix")
    };
    let vector = |name: &str| {
        let value = net.param(name).expect("it exists").mapv(f64::from);
        value.into_dimensionality::<Ix1>().expect("it is a vector")
    };
    let (x, target) = (x.mapv(f64::from), target.mapv(f64::from));
    let [w1, w2] = ["dense1.weight", "dense2.weight"].map(matrix);
    let [b1, b2] = ["dense1.bias", "dense2.bias"].map(vector);
    let h = (x.dot(&w1) + &b1).mapv(f64::tanh);
    let dy = (h.dot(&w2) + &b2 - &target) * (2.0 / 4.0);
    let dh = dy.dot(&w2.t());
    let da = &dh * &h.mapv(|h| 1.0 - h * h);
    close("output of dense2", of(&said, "dense2").output_gradient, mean(&dy));
    close("output of tanh1", of(&said, "tanh1").output_gradient, mean(&dh));
    close("output of dense1", of(&said, "dense1").output_gradient, mean(&da));

    let (dw1, db1) = (x.t().dot(&da), da.sum_axis(Axis(0)));
    close("dense1", of(&said, "dense1").gradient, mean(dw1.iter().chain(&db1)));
    let squares = |values: &mut dyn Iterator<Item = &f64>| values.map(|x| x * x).sum::<f64>();
    let ratio = rate * (squares(&mut dw1.iter().chain(&db1)) / squares(&mut w1.iter().chain(&b1))).sqrt();
    let actual = f64::from(of(&said, "dense1").update_ratio.expect("it is trained"));
    // What is added to a parameter is rounded with the parameter.
    Bound { relative: 1e-5, absolute: 0.0 }.check("update of dense1", &[actual], &[ratio]);
    assert_eq!(of(&said, "tanh1").gradient, None, "it owns nothing");
}

/// The norms of the gradient of `mse(h, t)` by the states of an `Rnn` with these parameters: by those after each step, in their order.
fn norms_by_hand(x: &Array3<f64>, t: &Array3<f64>, params: &[Array2<f64>; 3]) -> Vec<f64> {
    let [w, u, bias] = params;
    let steps = x.dim().1;
    let mut states = vec![Array2::zeros((x.dim().0, u.dim().0))];
    for step in 0..steps {
        let sum = x.index_axis(Axis(1), step).dot(w) + states[step].dot(u) + bias;
        states.push(sum.mapv(f64::tanh));
    }
    let mut g = Array2::zeros(states[0].dim());
    let mut norms = vec![0.0; steps];
    for step in (0..steps).rev() {
        let h = &states[step + 1];
        g = g + (h - &t.index_axis(Axis(1), step)) * (2.0 / t.len() as f64);
        norms[step] = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        g = (g * h.mapv(|h| 1.0 - h * h)).dot(&u.t());
    }
    norms
}

#[test]
fn gradients_by_states_are_those_of_the_textbook_at_each_position() {
    let x = Array3::from_shape_fn((4, 6, 2), |(row, step, at)| ((3 * row + 5 * step + at) % 7) as f32 / 3.0 - 1.0);
    let t = Array3::from_shape_fn((4, 6, 3), |(row, step, at)| ((row + 2 * step + 3 * at) % 5) as f32 / 2.0 - 1.0);
    fn check<N>(x: &Array3<f32>, t: &Array3<f32>, is_reverse: bool)
    where
        N: for<'a> Network<Inputs<'a> = ArrayView3<'a, f32>, Targets<'a> = ArrayView3<'a, f32>>,
    {
        for threads in [1, 2] {
            let mut net =
                Trainer::<N>::new(Sgd::new(0.1)).max_batch(4).seed(7).threads(threads).build().expect("it builds");
            net.set_param("rnn1.input.bias", array![0.5, -0.25, 0.125].view()).expect("it fits");
            let param = |path: &str| {
                let value = net.param(path).expect("it exists").mapv(f64::from);
                let rows = if value.ndim() == 1 { 1 } else { value.shape()[0] };
                value.to_shape((rows, 3)).expect("it has three columns").to_owned()
            };
            let bias = param("rnn1.input.bias") + param("rnn1.recurrent.bias");
            let params = [param("rnn1.input.weight"), param("rnn1.recurrent.weight"), bias];
            let turned = |x: &Array3<f32>| {
                let mut x = x.mapv(f64::from);
                if is_reverse {
                    x.invert_axis(Axis(1));
                }
                x
            };
            for rows in [4, 1] {
                let [x, t] = [x, t].map(|all| all.slice(s![..rows, .., ..]));
                let said = net.diagnose(x, t).expect("the batch fits");
                let mut wanted = norms_by_hand(&turned(&x.to_owned()), &turned(&t.to_owned()), &params);
                if is_reverse {
                    wanted.reverse();
                }
                let norms = of(&said, "rnn1").state_gradients.as_ref().expect("it has states");
                let norms: Vec<f64> = norms.iter().map(|&norm| f64::from(norm)).collect();
                Bound { relative: 1e-5, absolute: 1e-8 }.check(&format!("{rows} rows"), &norms, &wanted);
            }
        }
    }
    check::<Steps>(&x, &t, false);
    check::<Back>(&x, &t, true);
}

#[test]
fn a_gradient_that_vanishes_is_measured_to_its_end() {
    let mut net = Fades::trainer(Sgd::new(0.1)).max_batch(3).build().expect("it builds");
    let said = net.diagnose(Array3::ones((3, 64, 1)).view(), ()).expect("the batch fits");
    let norms = |path: &str| of(&said, path).state_gradients.clone().expect("it has states");
    // Powers of two: their squares are far below the smallest number, they themselves are exact.
    let wanted: Vec<f32> = (0..64).map(|step| (3.0_f64.sqrt() * 0.25_f64.powi(63 - step)) as f32).collect();
    assert!(wanted[0] > 0.0 && wanted[0] * wanted[0] == 0.0);
    assert_eq!(norms("kept.scan1"), wanted);
    assert_eq!(norms("back"), wanted.into_iter().rev().collect::<Vec<f32>>());
    assert!(said.layer("plain.scan1").is_none(), "nothing of it is trained");
    assert_snapshot!(said, @"
    loss 14
    layer       |gradient|  of outputs      update    dead  saturated  mean drift   var drift
    kept.scan1      5.33e0      1.00e0      2.13e0
    back            5.33e0      1.00e0      2.13e0

    |gradient| by the state at some positions
    kept.scan1  0: 2.04e-38  10: 2.13e-32  21: 8.95e-26  31: 9.39e-20  42: 3.94e-13  52: 4.13e-7  63: 1.73e0
    back        0: 1.73e0  10: 1.65e-6  21: 3.94e-13  31: 3.76e-19  42: 8.95e-26  52: 8.54e-32  63: 2.04e-38
    ");
}

#[test]
fn gradients_and_updates_are_those_of_the_next_step() {
    let (x, labels) = samples(20);
    let mut net = classifier(20);
    for step in 0..3 {
        let diagnostics = net.diagnose(x.view(), labels.view()).expect("the batch fits");
        let gradients = net.gradients(x.view(), labels.view()).expect("the batch fits");
        assert_eq!(diagnostics.loss, gradients.loss, "step {step}");
        let mean_of = |names: &[&str]| {
            let gradients = names.iter().flat_map(|name| gradients.get(name).expect("it has one").to_owned());
            mean(&gradients.map(f64::from).collect::<Vec<_>>())
        };
        close("dense1", of(&diagnostics, "dense1").gradient, mean_of(&["dense1.weight"]));
        close("dense3", of(&diagnostics, "dense3").gradient, mean_of(&["dense3.weight", "dense3.bias"]));
        let norms = ["batch_norm1.gamma", "batch_norm1.beta"];
        close("batch_norm1", of(&diagnostics, "batch_norm1").gradient, mean_of(&norms));

        let before: Vec<_> = norms.iter().map(|name| net.param(name).expect("it exists").to_owned()).collect();
        net.step(x.view(), labels.view()).expect("the batch fits");
        let (mut moved, mut size) = (0.0, 0.0);
        for (name, before) in norms.iter().zip(before) {
            moved += norm((&net.param(name).expect("it exists") - &before).view());
            size += norm(before.view());
        }
        close("update", of(&diagnostics, "batch_norm1").update_ratio, (moved / size).sqrt());
    }
}

#[test]
fn every_sum_is_that_of_the_interpreter() {
    let how = Adam::new(1e-2).into();
    let compilation = compile(Wide::declared(), Purpose::Diagnose(&how), Target::new(20));
    let (graph, measures) =
        (compilation.simplified().expect("it compiles"), compilation.measures().expect("it compiles"));
    assert!(measures.len() > 60, "{} sums", measures.len());
    let mut compiled = Compiled::new(graph, 20);
    for (seed, batch) in [(1, 20), (2, 7), (3, 2)] {
        let values = draw::values(graph, batch, seed);
        Reference::new(graph, batch, &values).check(&format!("{batch} rows"), &compiled.run(batch, &values));
    }
}

/// Everything that a training says of itself: state, counts, losses.
fn bits(net: &Session<Wide>) -> (u64, u64, usize, Vec<(String, Vec<u32>)>) {
    (net.steps(), net.forward_count(), net.accumulated_rows(), state(net))
}

#[test]
fn asking_changes_no_bit_of_the_training() {
    let (x, labels) = samples(20);
    for threads in [1, 2] {
        let build = || {
            let trainer = Wide::trainer(AdamW::new(1e-2).weight_decay(0.1)).max_batch(20).seed(9).threads(threads);
            trainer.freeze("dense3.*").clip_norm(0.5).build().expect("it builds")
        };
        let (mut asked, mut silent) = (build(), build());
        for rows in [20, 7, 20, 2, 20] {
            let (x, labels): (_, ArrayView1<'_, u8>) = (x.slice(s![..rows, ..]), labels.slice(s![..rows]));
            let before = bits(&asked);
            let first = asked.diagnose(x, labels).expect("the batch fits");
            assert_eq!(bits(&asked), before);
            assert_eq!(asked.diagnose(x, labels).expect("the batch fits"), first, "the same answer");
            let reports = [&mut asked, &mut silent].map(|net| net.step(x, labels).expect("the batch fits"));
            assert_eq!(reports[0].loss.to_bits(), reports[1].loss.to_bits());
            assert_eq!(first.loss.to_bits(), reports[0].loss.to_bits(), "with the masks of the step");
            assert_eq!(bits(&asked), bits(&silent));

            // Between batches that are added up.
            asked.accumulate(x, labels).expect("the batch fits");
            asked.diagnose(x, labels).expect("the batch fits");
            asked.update().expect("there are gradients");
            silent.accumulate(x, labels).expect("the batch fits");
            silent.update().expect("there are gradients");
            assert_eq!(bits(&asked), bits(&silent));
        }
        let said = asked.diagnose(x.view(), labels.view()).expect("the batch fits");
        assert_eq!(of(&said, "dense3").gradient, None, "nothing of it is trained");
        assert!(of(&said, "dense3").output_gradient.is_some(), "what lies before it is");
    }
}

#[test]
fn no_thread_changes_a_bit_of_what_is_said() {
    let (x, labels) = samples(20);
    let said = [1, 2, 3].map(|threads| {
        let trainer = Wide::trainer(Adam::new(1e-2)).max_batch(20).seed(9).threads(threads);
        trainer.build().expect("it builds").diagnose(x.view(), labels.view()).expect("the batch fits")
    });
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0], said[2]);
}

#[test]
fn nothing_is_compiled_for_a_session_that_never_asks() {
    let (x, labels) = samples(20);
    let mut net = classifier(20);
    net.step(x.view(), labels.view()).expect("the batch fits");
    let text = format!("{net:?}");
    assert!(text.contains("programs: {Train}"), "{text}");
    let stages = [Stage::Simplified, Stage::Fused, Stage::Plan].map(|stage| Wide::trainer(Adam::new(1e-2)).ir(stage));
    assert!(stages.iter().all(|text| !text.contains("probe")), "{stages:?}");
}

/// Four units with these weights and biases, and two rows, -1 and 1.
fn units(weights: [f32; 4], biases: [f32; 4]) -> Diagnostics {
    let mut net = Units::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    net.set_param("units.weight", array![weights].view()).expect("it fits");
    net.set_param("units.bias", Array1::from_iter(biases).view()).expect("it fits");
    net.set_param("others.bias", array![1.0, -1.0, 0.0, 1.0].view()).expect("it fits");
    net.diagnose(array![[-1.0], [1.0]].view(), Array2::zeros((2, 4)).view()).expect("the batch fits")
}

#[test]
fn a_unit_is_dead_whose_slope_is_zero_in_every_row() {
    // Below zero in no row, in one, in both, and never above it.
    let diagnostics = units([1.0, 1.0, 1.0, 1.0], [2.0, 0.0, -2.0, -1.0]);
    assert_eq!(of(&diagnostics, "relus").dead, Some(0.5));
    assert_eq!(of(&diagnostics, "relus").saturated, Some(5.0 / 8.0), "of the values, not the units");
    assert_eq!(of(&diagnostics, "clips").dead, Some(0.5), "functions of one's own have slopes too");
    assert_eq!(of(&diagnostics, "steps").dead, Some(1.0), "a step has no slope anywhere");
    assert_eq!(of(&diagnostics, "units").dead, None);
    // A large negative bias, as after a step that was too large.
    assert_eq!(of(&units([1.0; 4], [-100.0; 4]), "relus").dead, Some(1.0));
}

#[test]
fn units_may_lie_along_several_axes() {
    let mut net = Images::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let x = array![[[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]], [[-2.0, 1.0, 1.0], [-1.0, -1.0, 1.0]]];
    let said = net.diagnose(x.view(), Array2::zeros((2, 1)).view()).expect("the batch fits");
    assert_eq!(of(&said, "relu1").dead, Some(2.0 / 6.0));
    assert_eq!(of(&said, "relu1").saturated, Some(5.0 / 12.0));
}

#[test]
fn a_value_is_saturated_where_the_slope_is_a_hundredth_of_the_greatest() {
    // tanh'(x) is 0.01 at x = 2.99322.
    let mut net = OfTanh::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let x = array![[2.993, -2.994, 0.0, 1.0], [2.994, f32::NEG_INFINITY, 0.0, f32::NAN]];
    let diagnostics = net.diagnose(x.view(), Array2::zeros((2, 4)).view()).expect("the batch fits");
    assert!(diagnostics.loss.is_nan());
    let tanh = of(&diagnostics, "tanh1");
    assert_eq!((tanh.saturated, tanh.dead), (Some(3.0 / 8.0), Some(0.0)));
    assert_eq!(tanh.output_gradient, None, "nothing that is trained lies before it");

    network! {
        Each<x: [B, 4] -> y: [B, 4]> { Dense(4, init = zeros), sigmoid, Dense(4, init = zeros) as second, hard_sigmoid }
        loss(target: [B, 4]) = mse(y, target);
    }
    let mut net = Each::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    // sigmoid'(x) is 0.0025 at x = 5.98650; hard_sigmoid is constant from 3 on.
    net.set_param("dense1.bias", array![5.98, -5.99, 0.0, 110.0].view()).expect("it fits");
    net.set_param("second.bias", array![2.99, -3.01, 0.0, 3.01].view()).expect("it fits");
    let diagnostics = net.diagnose(Array2::zeros((2, 4)).view(), Array2::zeros((2, 4)).view()).expect("it fits");
    assert_eq!(of(&diagnostics, "sigmoid1").saturated, Some(0.5));
    assert_eq!(of(&diagnostics, "sigmoid1").dead, Some(0.25), "rounded, the slope at 110 is 0");
    assert_eq!(of(&diagnostics, "hard_sigmoid1").saturated, Some(0.5));
    assert_eq!(of(&diagnostics, "hard_sigmoid1").dead, Some(0.5));
}

#[test]
fn drift_is_zero_where_the_running_statistics_are_those_of_the_batch() {
    let (x, labels) = samples(20);
    let mut net = classifier(20);
    net.recalibrate(x.view()).expect("the rows fit");
    let still = net.diagnose(x.view(), labels.view()).expect("the batch fits");
    for path in ["batch_norm1", "batch_norm2"] {
        let drift = of(&still, path).drift.expect("it has statistics");
        assert!(drift.mean < 1e-5 && drift.variance < 1e-5, "{path}: {drift:?}");
    }
    // A mean that is 3 deviations off, a variance four times as large.
    let mean = net.param("batch_norm1.running_mean").expect("it exists").to_owned();
    let variance = net.param("batch_norm1.running_var").expect("it exists").to_owned();
    let wide = variance.mapv(|v| 4.0 * (v + 1e-5) - 1e-5);
    net.set_param("batch_norm1.running_mean", (&mean + &wide.mapv(|v| 3.0 * (v + 1e-5).sqrt())).view())
        .expect("it fits");
    net.set_param("batch_norm1.running_var", wide.view()).expect("it fits");
    let moved = net.diagnose(x.view(), labels.view()).expect("the batch fits");
    let drift = of(&moved, "batch_norm1").drift.expect("it has statistics");
    close("mean", Some(drift.mean), 3.0);
    close("variance", Some(drift.variance), 4.0_f64.ln());
}

#[test]
fn layers_come_in_the_order_of_the_declaration_as_a_table() {
    let (x, _) = samples(8);
    let mut net = Deep::trainer(Adam::new(1e-3)).max_batch(8).seed(1).build().expect("it builds");
    let target = Array2::from_shape_fn((8, 3), |(row, column)| f32::from(u8::from(row % 3 == column)));
    let diagnostics = net.diagnose(x.view(), target.view()).expect("the batch fits");
    assert_snapshot!(diagnostics, @"
    loss 0.22260363
    layer                  |gradient|  of outputs      update    dead  saturated  mean drift   var drift
    repeat1.1.dense1          4.54e-2     2.44e-2     2.62e-3
    repeat1.1.batch_norm1     1.52e-2     9.61e-3     1.41e-3                        3.32e-1      1.51e0
    repeat1.1.tanh1                       1.66e-2               0.0 %      0.0 %
    repeat1.2.dense1          4.09e-2     2.03e-2     2.60e-3
    repeat1.2.batch_norm1     2.16e-2     6.78e-3     1.41e-3                        8.53e-2      1.66e0
    repeat1.2.tanh1                       9.97e-3               0.0 %      0.0 %
    residual1.dense1          8.87e-3     3.30e-3     1.96e-3
    residual1.relu1                       6.30e-3               0.0 %     50.0 %
    layer_norm1               9.92e-3     3.78e-3     1.41e-3
    gelu1                                 7.57e-3               0.0 %      2.1 %
    dense1                    1.43e-2     1.04e-2     2.33e-3
    softmax1                              3.41e-2
    ");
}

#[test]
fn activations_alone_are_measured_as_well() {
    let (x, target) = (array![[-4.0, -1.0, 0.0, 9.0]], Array2::zeros((1, 4)));
    let mut net = Bounded::trainer(Sgd::new(0.1)).max_batch(1).build().expect("it builds");
    let said = net.diagnose(x.view(), target.view()).expect("the batch fits");
    let shares: Vec<_> = said.layers.iter().map(|layer| (layer.layer.as_str(), layer.saturated)).collect();
    let none = |name| (name, Some(0.0));
    let expected =
        [("sigmoid1", Some(0.25)), none("hard_sigmoid1"), none("tanh1"), none("softsign1"), none("hard_tanh1")];
    assert_eq!(shares, expected);
}

#[test]
fn gradients_that_are_constants_are_measured_as_well() {
    let x = array![[1.0, 2.0], [3.0, -4.0]];
    let mut net = Even::trainer(Sgd::new(0.5)).max_batch(2).build().expect("it builds");
    net.set_param("dense1.weight", array![[1.0], [1.0]].view()).expect("it fits");
    let said = net.diagnose(x.view(), ()).expect("the batch fits");
    assert_eq!((said.loss, of(&said, "scaled").output_gradient), (4.0, Some(1.0)));
    assert_eq!(of(&said, "dense1").output_gradient, Some(2.0), "a times 1");
    assert_eq!(of(&said, "dense1").gradient, Some((8.0 + 4.0 + 4.0) / 3.0), "4 a, -2 a, and 2 a for the bias");
    assert_eq!(of(&said, "scaled").update_ratio, Some(0.5 * 2.0 / 2.0), "the sum of what comes in is 3 - 1");

    let mut net = Itself::trainer(Sgd::new(0.5)).max_batch(2).build().expect("it builds");
    let said = net.diagnose(x.view(), ()).expect("the batch fits");
    assert_eq!(said.loss, 2.0);
    assert_eq!(of(&said, "scaled").gradient, Some(1.0));
    assert_eq!(of(&said, "dense1").gradient, Some(0.0));
    assert_eq!(of(&said, "dense1").update_ratio, Some(0.0));
    assert_eq!(of(&said, "dense1").output_gradient, None, "no gradient flows there");
}

#[test]
fn what_a_step_refuses_diagnostics_refuse() {
    let (x, labels) = samples(20);
    let mut net: Session<Classifier> = classifier(10);
    assert!(net.diagnose(x.view(), labels.view()).is_err(), "too many rows");
    assert!(net.diagnose(x.slice(s![..1, ..]), labels.slice(s![..1])).is_err(), "one row with batch norm");
}
