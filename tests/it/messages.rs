//! Errors as a user meets them: as text wherever they are printed, with what is at fault by its name.

use gradloom::ndarray::Array2;
use gradloom::{BuildError, CheckpointError, Dataset, DatasetError, Error, FitCause, Progress, RunError, Sgd, network};
use insta::assert_snapshot;

use crate::checkpoint::{folder, small};
use crate::train::{classifier, samples};

const WIDE: usize = 5;

network! {
    /// More than any machine has, though each number of it can be written.
    Vast<x: [B, 2] -> y: [B, 2]> { Dense(4000000000), relu, Dense(2) }
    loss(t: [B, 2]) = mse(y, t);

    /// Class ids from 0 to 4 for three classes.
    Beyond<x: [B, crate::messages::WIDE] -> y: [B, 3]> { Dense(3) }
    loss = cross_entropy(y, argmax(x));
    metric best = top_k(y, argmax(x), k = 2);

    /// As many as there are classes, and fewer.
    Within<x: [B, 3] -> y: [B, crate::messages::WIDE]> { Dense(crate::messages::WIDE) }
    loss = cross_entropy(y, argmax(x)) + cross_entropy(y, argmax(y));
}

/// What `main` would print, which is the message.
#[track_caller]
fn printed(error: impl std::error::Error) -> String {
    let text = format!("{error:?}");
    assert_eq!(text, error.to_string());
    text
}

#[test]
fn errors_that_main_returns_read_as_text() {
    let path = folder("messages").join("none");
    let load: Result<(), CheckpointError> = small().load(&path);
    let load = load.expect_err("there is no such file");
    let run = RunError::Empty { name: "x" };
    let build = BuildError::AllFrozen;
    let mut net = classifier(8);
    let (mut x, labels) = samples(8);
    x[[3, 1]] = f32::NAN;
    let mut data = Dataset::new(x, labels).expect("as many labels as rows");
    let fit = net.fit(&mut data).epochs(2).batch_size(4).progress(Progress::Quiet).run().expect_err("a number is NaN");
    let told = [
        printed(Error::from(load.clone())),
        printed(load),
        printed(Error::from(run.clone())),
        printed(FitCause::from(run.clone())),
        printed(run),
        printed(Error::from(build.clone())),
        printed(build),
        printed(DatasetError::Empty),
        printed(fit),
    ];
    assert_snapshot!(told.join("\n").replace(&path.display().to_string(), "none"), @"
    can't read `none`: No such file or directory (os error 2)
    can't read `none`: No such file or directory (os error 2)
    `x` has no rows
    `x` has no rows
    `x` has no rows
    every parameter is frozen, so there is nothing to train
    every parameter is frozen, so there is nothing to train
    a dataset needs at least one row
    in epoch 1: the loss of step 2 is NaN: element [0, 1] of the input `x` is NaN; parameters and statistics are as before the step
    ");
}

#[test]
fn a_layer_that_is_too_large_is_named_with_its_bytes() {
    let refusal = |max_batch| Vast::trainer(Sgd::new(0.1)).max_batch(max_batch).build().expect_err("no machine has it");
    assert_snapshot!([1, 128, usize::MAX].map(|rows| refusal(rows).to_string()).join("\n"), @"
    the buffers of a step with 1 row exceed 64 GiB; the largest is `dense1.weight` [2, 4000000000], 32 GB
    the buffers of a step with 128 rows exceed 64 GiB; the largest is a value of `relu1` [128, 4000000000], 2.0 TB
    the buffers of a step with 18446744073709551615 rows exceed 64 GiB; the largest is a value of `relu1` [18446744073709551615, 4000000000], 3e29 bytes
    ");
    let error = Vast::predictor().max_batch(2).build().expect_err("no machine has it");
    assert!(matches!(error, BuildError::TooLarge { max_batch: 2, limit: 64, .. }), "{error}");
}

#[test]
fn class_ids_of_a_longer_axis_than_that_of_the_classes_are_refused() {
    let error = Beyond::trainer(Sgd::new(0.1)).build().expect_err("ids from 0 to 4 for three classes");
    assert_snapshot!(error, @"
    tests/it/messages.rs:19:12: `cross_entropy` has 3 classes, and its target is `argmax` of 5, which may be any class from 0 to 4
    tests/it/messages.rs:20:19: `top_k` has 3 classes, and its target is `argmax` of 5, which may be any class from 0 to 4
    ");
    let mut net = Within::trainer(Sgd::new(0.1)).build().expect("every id is a class");
    net.step(Array2::ones((2, 3)).view(), ()).expect("the batch fits");
}
