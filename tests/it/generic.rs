//! Code that is generic over networks: one bound trains any of them, and reads its metrics by name.

use gradloom::__private::Report;
use gradloom::{
    Adam, Dataset, DatasetOf, Error, History, Metrics, Network, Progress, Session, Sgd, Supervised, Trainer, network,
};
use ndarray::{Array, Array1, Array2, Array3, ArrayView1, ArrayView2};

network! {
    Classes<x: [B, 4] -> y: [B, 3]> { Dense(3, init = zeros) }
    loss(k: [u8; B]) = cross_entropy(y, k);
    metric accuracy = mean(argmax(y) == k);
    metric r#type = mean(k != 0);

    Values<x: [B, 2, 3] -> y: [B, 1]> { flatten, Dense(8), tanh, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    Unjudged<x: [B, 2] -> y: [B, 2]> { relu }
    metric largest = max(y);

    Two<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2], weight: [B]) = mse(y, t) + 0.1 * mean(weight);
}

fn classes() -> DatasetOf<Classes> {
    let kinds = Array1::from_shape_fn(30, |row| (row % 3) as u8);
    let x = Array2::from_shape_fn((30, 4), |(row, column)| if column == row % 3 { 1.0 } else { 0.0 });
    Dataset::new(x, kinds).expect("rows agree").seed(1)
}

fn values() -> DatasetOf<Values> {
    let x = Array3::from_shape_fn((30, 2, 3), |(row, i, j)| ((row + 2 * i + 5 * j) % 7) as f32 / 7.0);
    let t = x.outer_iter().map(|x| x.sum()).collect::<Array1<f32>>().into_shape_with_order((30, 1));
    Dataset::new(x, t.expect("as many")).expect("rows agree").seed(1)
}

/// By `fit`, and once more by a loop, which comes to the same.
fn train<N: Supervised>(data: &DatasetOf<N>) -> (Session<N>, History<N>) {
    let start = || Trainer::<N>::new(Adam::new(1e-2)).max_batch(8).seed(1).build().expect("it builds");
    let (mut net, mut other) = (start(), start());
    let history = net.fit(&mut data.clone()).epochs(3).progress(Progress::Quiet).run().expect("it trains");
    let mut again = data.clone();
    for _ in 0..3 {
        for (x, t) in again.batches(8) {
            other.step(x, t).expect("it runs");
        }
    }
    let names: Vec<String> = net.names().map(str::to_string).collect();
    for name in names {
        assert_eq!(net.param(&name).expect("it is there"), other.param(&name).expect("it is there"), "{name}");
    }
    (net, history)
}

/// Names and numbers, the loss first.
fn all<N: Network>(found: &N::Metrics) -> Vec<(&'static str, f32)> {
    std::iter::once(("loss", found.loss())).chain(found.metrics()).collect()
}

#[test]
fn one_bound_trains_any_network() {
    let data = classes();
    let (mut net, history) = train::<Classes>(&data);
    let found = net.evaluate(data.inputs(), data.targets()).expect("it runs");
    assert_eq!(all::<Classes>(&found), [("loss", found.loss), ("accuracy", found.accuracy), ("type", 20.0 / 30.0)]);
    let first = history.epochs[0].train;
    assert_eq!((first.metric("accuracy"), first.metric("type")), (Some(first.accuracy), Some(first.r#type)));
    assert_eq!((first.metric("loss"), first.metric("Accuracy"), first.metric("")), (None, None, None));

    let data = values();
    let (mut net, history) = train::<Values>(&data);
    let found = net.evaluate(data.inputs(), data.targets()).expect("it runs");
    assert_eq!(all::<Values>(&found), [("loss", found.loss)]);
    assert!(history.epochs[2].train.loss() < history.epochs[0].train.loss());
}

#[test]
fn metrics_are_found_by_name_without_a_session() {
    let found = Unjudged::metrics(&Report { loss: f32::NAN, metrics: &[2.0] });
    assert!(found.loss().is_nan(), "it declares none");
    assert_eq!((found.metric("largest"), found.metrics().count()), (Some(2.0), 1));
}

/// A bound may say what the data are.
fn scores<N>(net: &mut Session<N>, x: ArrayView2<'_, f32>, k: ArrayView1<'_, u8>) -> Result<f32, Error>
where
    N: Supervised<InputArrays = Array2<f32>, TargetArrays = Array1<u8>>,
{
    net.evaluate(x, k).map(|found| found.loss())
}

#[test]
fn a_bound_may_say_what_the_data_are() {
    let mut net = Classes::trainer(Sgd::new(0.1)).build().expect("it builds");
    let k = Array::from_vec(vec![0u8, 1, 2]);
    let loss = scores(&mut net, Array2::zeros((3, 4)).view(), k.view()).expect("it runs");
    assert!((loss - 3f32.ln()).abs() < 1e-6);
    // Several targets make a tuple, in a dataset as well.
    let mut net = Two::trainer(Sgd::new(0.1)).build().expect("it builds");
    let (x, t, w) = (Array2::zeros((3, 2)), Array2::zeros((3, 2)), Array1::from_vec(vec![1.0, 2.0, 3.0]));
    assert!((net.step(x.view(), (t.view(), w.view())).expect("it runs").loss() - 0.2).abs() < 1e-6);
    train::<Two>(&Dataset::new(x, (t, w)).expect("rows agree"));
}
