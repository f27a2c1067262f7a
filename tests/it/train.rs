//! Sessions in use: the same bits from the same seed, views of any layout, batches of any size, parameters by name.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

use gradloom::ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, Axis, concatenate, s};
use gradloom::{Adam, Network, Session, Sgd, network};
use gradloom_runtime::init::Random;

use crate::bound::Bound;

network! {
    /// With running statistics, one of them updated on every third step only.
    pub Classifier<x: [B, 5] -> logits: [B, 3]> {
        Dense(9, bias = false), BatchNorm, relu,
        Dense(4, bias = false), BatchNorm(every = 3), tanh,
        Dense(3),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// Without.
    pub Regression<x: [B, 2, 3] -> y: [B, 2]> { flatten, Dense(8), gelu, Dense(2) }
    loss(target: [B, 2]) = mse(y, target);
}

/// Normal numbers and class ids, always the same.
pub fn samples(rows: usize) -> (Array2<f32>, Array1<u8>) {
    let mut random = Random::new(7, 0);
    let x = Array2::from_shape_simple_fn((rows, 5), || random.normal() as f32);
    (x, Array1::from_shape_simple_fn(rows, || random.below(3) as u8))
}

pub fn classifier(max_batch: usize) -> Session<Classifier> {
    Classifier::trainer(Adam::new(1e-2)).max_batch(max_batch).seed(3).build().expect("it builds")
}

/// Everything that a session remembers, by name, as bits.
pub fn state<N: Network>(net: &Session<N>) -> Vec<(String, Vec<u32>)> {
    let bits = |name: &str| net.param(name).expect("the name exists").iter().map(|x| x.to_bits()).collect();
    net.names().map(|name| (name.to_string(), bits(name))).collect()
}

fn bits<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    values.into_iter().map(|x| x.to_bits()).collect()
}

/// A number that stands for the bits of a training: losses, parameters, predictions. Two blocks of rows a step.
fn fingerprint(seed: u64) -> u64 {
    let (x, labels) = samples(150);
    let mut net = Classifier::trainer(Adam::new(1e-2)).max_batch(150).seed(seed).build().expect("it builds");
    let mut hasher = DefaultHasher::new();
    for rows in [150, 150, 33, 2, 150, 129, 150] {
        let report = net.step(x.slice(s![..rows, ..]), labels.slice(s![..rows])).expect("the batch fits");
        report.loss.to_bits().hash(&mut hasher);
    }
    state(&net).hash(&mut hasher);
    bits(net.predict(x.view()).expect("the batch fits")).hash(&mut hasher);
    hasher.finish()
}

#[test]
fn the_same_seed_gives_the_same_bits_in_one_process_and_in_two() {
    const CHILD: &str = "GRADLOOM_TEST_FINGERPRINT";
    let own = fingerprint(1);
    if std::env::var_os(CHILD).is_some() {
        println!("fingerprint {own:016x}");
        return;
    }
    assert_eq!(own, fingerprint(1), "twice in a process");
    assert_ne!(own, fingerprint(2), "another seed gives other bits");
    let name = "train::the_same_seed_gives_the_same_bits_in_one_process_and_in_two";
    let this = std::env::current_exe().expect("a test knows its binary");
    let output = Command::new(this).args([name, "--exact", "--nocapture"]).env(CHILD, "1").output();
    let text = String::from_utf8(output.expect("the binary runs").stdout).expect("the output is text");
    assert!(text.contains(&format!("fingerprint {own:016x}")), "another process says: {text}");
}

#[test]
fn the_learning_rate_counts_from_the_next_step_on() {
    let (x, labels) = samples(8);
    let build = |rate: f64| Classifier::trainer(Sgd::new(rate)).max_batch(8).seed(3).build().expect("it builds");
    let (mut changed, mut fresh) = (build(0.0), build(0.5));
    let weights = |net: &Session<Classifier>| bits(net.param("dense1.weight").expect("the name exists"));
    let before = weights(&changed);
    changed.step(x.view(), labels.view()).expect("the batch fits");
    assert_eq!(weights(&changed), before, "a rate of 0 holds everything still");
    changed.set_learning_rate(0.5).expect("the rate is fine");
    assert_eq!(changed.learning_rate(), 0.5);
    changed.step(x.view(), labels.view()).expect("the batch fits");
    fresh.step(x.view(), labels.view()).expect("the batch fits");
    assert_eq!(weights(&changed), weights(&fresh), "the same step as if built with that rate");
    assert_ne!(weights(&changed), before);
}

#[test]
fn parameters_statistics_and_state_are_written_and_read_by_name() {
    let mut net = classifier(4);
    let names: Vec<String> = net.names().map(str::to_string).collect();
    for wanted in ["dense1.weight", "batch_norm2.running_var", "dense3.bias.m"] {
        assert!(names.iter().any(|name| name == wanted), "{wanted} is one of {names:?}");
    }
    for (index, name) in names.iter().enumerate() {
        let value = net.param(name).expect("the name exists").mapv(|x| x + index as f32 + 0.5);
        let others = state(&net);
        net.set_param(name, value.view()).expect("the shape is the parameter's");
        assert_eq!(net.param(name).expect("the name exists"), value);
        for (old, new) in others.iter().zip(state(&net)).filter(|(old, _)| old.0 != *name) {
            assert_eq!(*old, new, "nothing else changes with {name}");
        }
    }
    let transposed = Array2::from_shape_fn((9, 5), |(row, column)| (row * 5 + column) as f32);
    net.set_param("dense1.weight", transposed.t()).expect("a view that is not contiguous fits as well");
    assert_eq!(net.param("dense1.weight").expect("the name exists"), transposed.t().into_dyn());
}

/// Loss, state and predictions after two steps on these views.
fn trained(x: ArrayView2<'_, f32>, labels: ArrayView1<'_, u8>) -> (Vec<u32>, Vec<(String, Vec<u32>)>) {
    let mut net = classifier(32);
    let losses = [(); 2].map(|()| net.step(x, labels).expect("the batch fits").loss);
    let gradients = net.gradients(x, labels).expect("the batch fits");
    let mut numbers = bits(&losses);
    gradients.iter().for_each(|(_, gradient)| numbers.extend(bits(&gradient)));
    numbers.extend(bits(&[net.evaluate(x, labels).expect("the batch fits").loss]));
    numbers.extend(bits(net.predict(x).expect("the batch fits")));
    (numbers, state(&net))
}

#[test]
fn views_that_are_not_contiguous_give_the_same_bits() {
    let (x, labels) = samples(20);
    let expected = trained(x.view(), labels.view());
    let transposed = x.t().as_standard_layout().into_owned();
    assert_eq!(trained(transposed.t(), labels.view()), expected, "transposed");
    let mut wide = Array2::from_elem((40, 11), f32::NAN);
    wide.slice_mut(s![1..;2, 1..;2]).assign(&x);
    let mut long = Array1::from_elem(60, 99);
    long.slice_mut(s![2..;3]).assign(&labels);
    assert_eq!(trained(wide.slice(s![1..;2, 1..;2]), long.slice(s![2..;3])), expected, "every other row and column");
    let (backwards, labels) = (x.slice(s![..;-1, ..]).to_owned(), labels.slice(s![..;-1]).to_owned());
    assert_eq!(trained(backwards.slice(s![..;-1, ..]), labels.slice(s![..;-1])), expected, "from the end");
}

#[test]
fn inputs_of_three_axes_may_lie_in_memory_in_any_order() {
    let mut random = Random::new(5, 0);
    let x = Array3::from_shape_simple_fn((6, 2, 3), || random.normal() as f32);
    let target = Array2::from_shape_simple_fn((6, 2), || random.normal() as f32);
    let build = || Regression::trainer(Sgd::new(0.1)).max_batch(6).build().expect("it builds");
    let (mut plain, mut permuted) = (build(), build());
    let turned = x.view().permuted_axes([2, 0, 1]).as_standard_layout().into_owned();
    let turned_target = target.t().as_standard_layout().into_owned();
    let loss = plain.step(x.view(), target.view()).expect("the batch fits").loss;
    let other = permuted.step(turned.view().permuted_axes([1, 2, 0]), turned_target.t()).expect("the batch fits").loss;
    assert_eq!(loss.to_bits(), other.to_bits());
    assert_eq!(state(&plain), state(&permuted));
}

#[test]
fn predictions_do_not_depend_on_how_many_rows_are_taken_at_a_time() {
    let (x, labels) = samples(70);
    let mut whole = classifier(70);
    whole.step(x.view(), labels.view()).expect("the batch fits");
    let expected = whole.predict(x.view()).expect("the batch fits").to_owned();
    for max_batch in [1, 16, 32, 69] {
        let mut pieces = classifier(max_batch);
        for (name, _) in state(&whole) {
            pieces.set_param(&name, whole.param(&name).expect("the name exists")).expect("the same network");
        }
        let predicted = pieces.predict(x.view()).expect("any number of rows").to_owned();
        assert_eq!(predicted.dim(), (70, 3));
        assert_eq!(bits(&predicted), bits(&expected), "{max_batch} rows at a time");
        assert_eq!(bits(pieces.predict(x.slice(s![3..5, ..])).expect("two rows")), bits(expected.slice(s![3..5, ..])));
    }
}

#[test]
fn evaluation_weighs_its_pieces_by_their_rows() {
    let (x, labels) = samples(70);
    let (mut whole, mut pieces) = (classifier(70), classifier(32));
    let expected = whole.evaluate(x.view(), labels.view()).expect("the batch fits");
    let actual = pieces.evaluate(x.view(), labels.view()).expect("any number of rows");
    let bound = Bound { relative: 1e-6, absolute: 0.0 };
    bound.check("loss", &[f64::from(actual.loss)], &[f64::from(expected.loss)]);
    bound.check("accuracy", &[f64::from(actual.accuracy)], &[f64::from(expected.accuracy)]);
    let logits = whole.predict(x.view()).expect("the batch fits");
    let best =
        |row: ArrayView1<'_, f32>| (0..3).fold(0, |best, index| if row[index] > row[best] { index } else { best });
    let hits = logits.rows().into_iter().zip(&labels).filter(|(row, label)| best(*row) == usize::from(**label)).count();
    bound.check("accuracy by hand", &[f64::from(actual.accuracy)], &[hits as f64 / 70.0]);
}

#[test]
fn a_step_on_repeated_rows_is_a_step_on_the_rows() {
    // The mean over a batch does not change when the batch is there twice; neither does the biased variance.
    let (x, labels) = samples(100);
    let twice = concatenate![Axis(0), x, x];
    let labels_twice = concatenate![Axis(0), labels, labels];
    let mut net = classifier(200);
    let collect = |net: &mut Session<Classifier>, x: &Array2<f32>, labels: &Array1<u8>| -> Vec<f64> {
        let gradients = net.gradients(x.view(), labels.view()).expect("the batch fits");
        gradients
            .iter()
            .flat_map(|(_, gradient)| gradient.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>())
            .collect()
    };
    let once = collect(&mut net, &x, &labels);
    let again = collect(&mut net, &twice, &labels_twice);
    Bound { relative: 1e-4, absolute: 1e-6 }.check("gradients", &again, &once);
}
