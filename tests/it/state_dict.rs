//! Parameters from files of PyTorch, by a map of names.

use std::path::PathBuf;

use gradloom::ndarray::Array2;
use gradloom::{Adam, AdamW, CheckpointError, NameMap, Session, Sgd, network};
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::checkpoint::{everything, folder, train};
use crate::golden_file::GoldenFile;
use crate::train::{Classifier, classifier, samples};

network! {
    /// What the golden file holds the parameters of.
    pub Known<x: [B, 6] -> y: [B, 3]> { Dense(5), BatchNorm, relu, Dense(4), tanh, Dense(3) }
    loss(target: [B, 3]) = mse(y, target);
}

pub fn file() -> PathBuf {
    crate::project().join("tests/golden/state_dict.safetensors")
}

pub fn known() -> Session<Known> {
    Known::trainer(Sgd::new(0.1)).max_batch(4).build().expect("it builds")
}

/// Which tensor of the file is which parameter.
pub fn names() -> NameMap {
    NameMap::new()
        .transposed("0.weight", "dense1.weight")
        .renamed("0.bias", "dense1.bias")
        .renamed("1.weight", "batch_norm1.gamma")
        .renamed("1.bias", "batch_norm1.beta")
        .renamed("1.running_mean", "batch_norm1.running_mean")
        .renamed("1.running_var", "batch_norm1.running_var")
        .ignored("*.num_batches_tracked")
        .transposed("3.weight", "dense2.weight")
        .renamed("3.bias", "dense2.bias")
        .transposed("5.weight", "dense3.weight")
        .renamed("5.bias", "dense3.bias")
}

#[test]
fn a_state_dict_of_pytorch_predicts_what_it_predicts_there() {
    let golden = GoldenFile::read("state_dict");
    let case = golden.case("inference");
    let x: Vec<f32> = case.floats("x").iter().map(|&x| x as f32).collect();
    let x = Array2::from_shape_vec((4, 6), x).expect("four rows of six");
    let mut net = known();
    net.load_mapped(file(), &names()).expect("the map accounts for everything");
    let y: Vec<f64> = net.predict(x.view()).expect("the batch fits").iter().map(|&y| f64::from(y)).collect();
    Bound { relative: 1e-6, absolute: 1e-6 }.check("y", &y, case.floats("y"));
    assert_eq!(net.steps(), 0);
}

/// What is wrong with a map, while the session stays as it was.
fn mistakes(names: &NameMap) -> String {
    let mut net = known();
    let before = everything(&net);
    let error = net.load_mapped(file(), names).expect_err("the map is wrong");
    assert_eq!(everything(&net), before);
    match error {
        CheckpointError::Mismatch { network: "Known", mistakes, path, more: 0 } => {
            assert_eq!(path, file());
            mistakes.join("\n")
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_a_map_forgets_or_misspells_is_named() {
    assert_snapshot!(mistakes(&NameMap::new().ignored("*.weight").ignored("1.*").kept("*_norm1.*")), @"
    nothing in the file becomes `dense1.weight`
    nothing in the file becomes `dense1.bias`
    nothing in the file becomes `dense2.weight`
    nothing in the file becomes `dense2.bias`
    nothing in the file becomes `dense3.weight`
    nothing in the file becomes `dense3.bias`
    nothing here is made of `5.bias` in the file
    nothing here is made of `0.bias` in the file
    nothing here is made of `3.bias` in the file
    ");
    assert_snapshot!(mistakes(&names().renamed("3.wieght", "dense2.wieght").kept("dense4.*")), @"
    no parameter is `dense4.*`, which the map keeps
    no tensor `3.wieght` in the file; did you mean `3.weight`?
    no parameter `dense2.wieght`; did you mean `dense2.weight`?
    ");
}

#[test]
fn tensors_of_other_shapes_and_kinds_are_named() {
    let names = NameMap::new()
        .ignored("*")
        .kept("*")
        .renamed("0.weight", "dense1.weight")
        .transposed("0.bias", "dense1.bias")
        .transposed("3.weight", "dense3.weight")
        .renamed("1.num_batches_tracked", "batch_norm1.gamma");
    assert_snapshot!(mistakes(&names), @"
    `dense1.weight` is [6, 5] here, and `0.weight` is [5, 6] in the file; its transpose would fit
    `0.bias` is [5] in the file, which is no matrix to be transposed
    `dense3.weight` is [4, 3] here, and the transpose of `3.weight` is [4, 5] in the file
    `1.num_batches_tracked` is of I64 in the file, which is no float
    ");
}

#[test]
fn parameters_that_are_kept_stay_and_one_tensor_may_fill_several() {
    let mut net = known();
    let before = net.param("dense3.weight").expect("the name exists").to_owned();
    let names = NameMap::new()
        .renamed("0.bias", "dense1.bias")
        .renamed("0.bias", "batch_norm1.beta")
        .ignored("*")
        .kept("*.weight")
        .kept("batch_norm1.*")
        .kept("dense?.bias")
        .kept("dense*.bias");
    let error = net.load_mapped(file(), &names).expect_err("no parameter has a question mark");
    assert!(error.to_string().contains("no parameter is `dense?.bias`"), "{error}");
    let names = NameMap::new()
        .renamed("0.bias", "dense1.bias")
        .renamed("0.bias", "batch_norm1.beta")
        .ignored("*")
        .kept("*.weight")
        .kept("batch_norm1.*")
        .kept("dense*.bias");
    net.load_mapped(file(), &names).expect("the map accounts for everything");
    assert_eq!(net.param("dense1.bias").expect("it exists"), net.param("batch_norm1.beta").expect("it exists"));
    assert_ne!(net.param("dense1.bias").expect("it exists")[0], 0.0);
    assert_eq!(net.param("dense3.weight").expect("the name exists"), before);
}

#[test]
fn parameters_move_from_one_optimizer_to_another() {
    let path = folder("optimizers").join("net.safetensors");
    let (x, labels) = samples(16);
    let mut saved = classifier(16);
    train(&mut saved, 4);
    saved.save(&path).expect("the folder can be written");
    let logits = saved.predict(x.view()).expect("the batch fits").to_owned();
    let build =
        [Classifier::trainer(Sgd::new(0.1)), Classifier::trainer(AdamW::new(0.1)), Classifier::trainer(Adam::new(0.1))];
    for trainer in build {
        let mut net = trainer.build().expect("it builds");
        net.load_params(&path).expect("the names are those of the network");
        assert_eq!(net.predict(x.view()).expect("the batch fits"), logits);
        assert_eq!((net.steps(), net.learning_rate()), (0, 0.1));
        let state =
            net.names().filter(|name| name.ends_with(".m")).map(|name| net.param(name).expect("it exists").sum());
        assert_eq!(state.sum::<f32>(), 0.0, "the optimizer's state is not taken over");
        net.step(x.view(), labels.view()).expect("the session goes on");
    }
}
