//! What is refused, and that whoever is refused finds everything as it was.

use gradloom::ndarray::{Array1, Array2, Array3, s};
use gradloom::{Adam, AdamW, BuildError, Error, Fault, Given, RunError, Session, Sgd, network};

use crate::train::{Classifier, classifier, samples, state};

network! {
    /// Losses that overflow where the target does.
    Line<x: [B, 5] -> y: [B, 1]> { BatchNorm, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);

    /// A class for each of three columns.
    Columns<x: [B, 3, 4] -> y: [B, 3, 4]> { tanh }
    loss(label: [u8; B, 3]) = cross_entropy(y, label);

    /// No loss.
    Lossless<x: [B, 5] -> y: [B, 1]> { Dense(1) }
}

const MAX: usize = 16;

/// After a refusal the session holds the same numbers and goes on as one that was never asked.
#[track_caller]
fn refused(what: &str, expected: &RunError, attempt: impl FnOnce(&mut Session<Classifier>) -> Result<(), Error>) {
    let (x, labels) = samples(MAX);
    let (mut net, mut twin) = (classifier(MAX), classifier(MAX));
    for net in [&mut net, &mut twin] {
        net.step(x.view(), labels.view()).expect("the batch fits");
    }
    let before = state(&net);
    match attempt(&mut net) {
        Err(Error::Run(error)) => assert_eq!(error.to_string(), expected.to_string(), "{what}"),
        other => panic!("{what}: {other:?}"),
    }
    assert_eq!(state(&net), before, "{what} leaves the state as it was");
    assert_eq!(net.learning_rate(), twin.learning_rate());
    // Step 4 is the next on which every statistic is due: a step counted wrongly would show.
    for _ in 0..3 {
        let losses = [&mut net, &mut twin].map(|net| net.step(x.view(), labels.view()).expect("the batch fits").loss);
        assert_eq!(losses[0].to_bits(), losses[1].to_bits(), "{what} leaves no trace in later steps");
    }
    assert_eq!(state(&net), state(&twin), "{what} leaves no trace in later states");
}

/// Every call that takes a batch refuses this one.
#[track_caller]
fn refused_by_all(what: &str, expected: &RunError, x: &Array2<f32>, labels: &Array1<u8>) {
    refused(what, expected, |net| Ok(net.step(x.view(), labels.view()).map(drop)?));
    refused(what, expected, |net| net.gradients(x.view(), labels.view()).map(drop));
}

#[test]
fn batches_of_the_wrong_size_are_refused() {
    let (x, labels) = samples(MAX + 1);
    let batch = |actual| RunError::Batch { actual, max: MAX };
    refused_by_all("a batch above the maximum", &batch(MAX + 1), &x, &labels);
    let (none, no_labels) = samples(0);
    let empty = RunError::Empty { name: "x" };
    refused_by_all("a batch of 0", &empty, &none, &no_labels);
    refused("an evaluation of 0 rows", &empty, |net| net.evaluate(none.view(), no_labels.view()).map(drop));
    refused("a prediction of 0 rows", &empty, |net| net.predict(none.view()).map(drop));
}

#[test]
fn one_row_through_batch_norm_is_refused_in_training_and_taken_in_inference() {
    let (x, labels) = samples(1);
    refused_by_all("one row", &RunError::OneRow { layer: "batch_norm1".to_string() }, &x, &labels);
    let mut net = classifier(MAX);
    assert_eq!(net.predict(x.view()).expect("inference takes one row").dim(), (1, 3));
    assert!(net.evaluate(x.view(), labels.view()).expect("inference takes one row").loss.is_finite());
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let (_, labels) = samples(4);
    let wide = Array2::zeros((4, 6));
    let shape = RunError::Shape { name: "x".to_string(), expected: "[B, 5]".to_string(), actual: vec![4, 6] };
    refused_by_all("too many columns", &shape, &wide, &labels);
    refused("too many columns", &shape, |net| net.evaluate(wide.view(), labels.view()).map(drop));
    refused("too many columns", &shape, |net| net.predict(wide.view()).map(drop));
    let (x, _) = samples(3);
    let rows = RunError::Rows { first: "x", expected: 3, name: "label", actual: 4 };
    refused_by_all("rows that disagree", &rows, &x, &labels);
    refused("rows that disagree", &rows, |net| net.evaluate(x.view(), labels.view()).map(drop));
}

#[test]
fn class_ids_out_of_range_are_refused() {
    let (x, mut labels) = samples(MAX);
    labels[5] = 3;
    labels[9] = 200;
    let class = RunError::Class { name: "label", id: 3, row: 5, classes: 3 };
    refused_by_all("a class that is none", &class, &x, &labels);
    refused("a class that is none", &class, |net| net.evaluate(x.view(), labels.view()).map(drop));
}

#[test]
fn a_class_id_that_is_none_is_in_a_row_whatever_the_rank() {
    let mut net = Columns::trainer(Sgd::new(0.1)).max_batch(4).build().expect("it builds");
    let x = Array3::<f32>::zeros((6, 3, 4));
    for (row, column) in [(0, 2), (1, 0), (5, 1)] {
        let mut labels = Array2::<u8>::zeros((6, 3));
        labels[[row, column]] = 9;
        let class = RunError::Class { name: "label", id: 9, row, classes: 4 };
        assert_eq!(net.evaluate(x.view(), labels.view()).map(drop), Err(Error::Run(class.clone())));
        // However the ids lie in memory.
        let mut columns = Array2::<u8>::zeros((3, 6));
        columns[[column, row]] = 9;
        assert_eq!(net.evaluate(x.view(), columns.t()).map(drop), Err(Error::Run(class)));
    }
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    let (x, labels) = samples(MAX);
    for wrong in [f32::NAN, f32::INFINITY] {
        let mut spoilt = x.clone();
        spoilt[[7, 2]] = wrong;
        let origin = Fault::Given { with: Given::Input, name: "x".to_string(), element: vec![7, 2], value: wrong };
        let finite = RunError::NotFinite { step: 2, loss: f32::NAN, fault: Some(Box::new(origin)) };
        refused_by_all(&format!("{wrong} in the input"), &finite, &spoilt, &labels);
    }
}

#[test]
fn a_loss_that_overflows_changes_neither_statistics_nor_moments() {
    let (x, _) = samples(MAX);
    let target = Array2::from_elem((MAX, 1), 1.0);
    let built =
        [Line::trainer(Sgd::new(1e-2).momentum(0.9)), Line::trainer(Adam::new(1e-2)), Line::trainer(AdamW::new(1e-2))];
    for mut net in built.map(|trainer| trainer.max_batch(MAX).build().expect("it builds")) {
        net.step(x.view(), target.view()).expect("the batch fits");
        let before = state(&net);
        let error = net.step(x.view(), target.mapv(|_| 1e30).view()).map(drop);
        let Err(RunError::NotFinite { step: 2, loss: f32::INFINITY, fault: Some(fault) }) = error else {
            panic!("{error:?}")
        };
        assert!(fault.to_string().starts_with("in the forward pass of `loss` (tests/it/refusal.rs:11:28)"), "{fault}");
        assert_eq!(state(&net), before);
        net.step(x.view(), target.view()).expect("the session goes on");
        assert_ne!(state(&net), before);
    }
}

#[test]
fn names_and_shapes_of_parameters_are_checked() {
    let name = |name: &str, closest: Option<&str>| RunError::Name {
        name: name.to_string(),
        closest: closest.map(str::to_string),
    };
    let typo = name("dense1.wieght", Some("dense1.weight"));
    refused("a name with a typo", &typo, |net| Ok(net.param("dense1.wieght").map(drop)?));
    refused("a name with a typo", &typo, |net| Ok(net.set_param("dense1.wieght", Array1::zeros(1).view())?));
    refused("a name like no other", &name("encoder", None), |net| Ok(net.param("encoder").map(drop)?));
    let shape =
        RunError::Shape { name: "dense1.weight".to_string(), expected: "[5, 9]".to_string(), actual: vec![9, 5] };
    refused("a shape that does not fit", &shape, |net| {
        Ok(net.set_param("dense1.weight", Array2::zeros((9, 5)).view())?)
    });
    let statistic = name("batch_norm1.running_mean", None);
    refused("the gradient of a statistic", &statistic, |net| {
        let (x, labels) = samples(MAX);
        Ok(net.gradients(x.view(), labels.view())?.get("batch_norm1.running_mean").map(drop)?)
    });
}

#[test]
fn a_learning_rate_that_is_none_is_refused() {
    let mut net = classifier(MAX);
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(
            matches!(net.set_learning_rate(rate), Err(BuildError::Setting { name: "learning rate", .. })),
            "{rate}"
        );
        assert_eq!(net.learning_rate(), 1e-2);
    }
}

#[test]
fn settings_out_of_range_are_refused_before_anything_is_compiled() {
    let setting = |optimizer: Box<dyn FnOnce() -> Result<Session<Classifier>, BuildError>>| match optimizer() {
        Err(BuildError::Setting { name, .. }) => name,
        other => panic!("{:?}", other.map(drop)),
    };
    assert_eq!(setting(Box::new(|| Classifier::trainer(Sgd::new(-0.1)).build())), "learning rate");
    assert_eq!(setting(Box::new(|| Classifier::trainer(Sgd::new(0.1).momentum(1.0)).build())), "momentum");
    assert_eq!(setting(Box::new(|| Classifier::trainer(Adam::new(0.1).betas(1.0, 0.9)).build())), "beta1");
    assert_eq!(setting(Box::new(|| Classifier::trainer(Adam::new(0.1).betas(0.9, -0.1)).build())), "beta2");
    assert_eq!(setting(Box::new(|| Classifier::trainer(Adam::new(0.1).eps(f64::NAN)).build())), "eps");
    assert_eq!(setting(Box::new(|| Classifier::trainer(AdamW::new(0.1).weight_decay(-1.0)).build())), "weight_decay");
    assert_eq!(setting(Box::new(|| Classifier::trainer(Sgd::new(0.1)).max_batch(0).build())), "max_batch");
}

#[test]
fn buffers_beyond_all_memory_are_refused() {
    for max_batch in [1 << 40, usize::MAX / 8, usize::MAX] {
        let built = Classifier::trainer(Sgd::new(0.1)).max_batch(max_batch).build();
        assert!(matches!(built, Err(BuildError::TooLarge { .. })), "{max_batch}: {:?}", built.map(drop));
    }
}

#[test]
fn a_network_without_a_loss_is_not_trained() {
    let built = Lossless::trainer(Sgd::new(0.1)).build();
    assert_eq!(built.map(drop), Err(BuildError::NoLoss { network: "Lossless" }));
}

#[test]
fn what_lies_between_the_rows_of_a_refused_view_does_not_matter() {
    let (x, labels) = samples(MAX);
    let mut wide = Array2::from_elem((MAX, 10), f32::NAN);
    wide.slice_mut(s![.., ..;2]).assign(&x);
    let mut net = classifier(MAX);
    assert!(net.step(wide.slice(s![.., ..;2]), labels.view()).is_ok());
}
