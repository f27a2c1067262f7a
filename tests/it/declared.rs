//! What a declaration says is what it becomes: names, numbers and comparisons, against values worked out by hand.

use std::collections::HashSet;

use gradloom::{Adam, Network, Optimizer, Predictor, RmsProp, Session, Sgd, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::error::BuildError;
use gradloom_runtime::ir::{Builder, NodeId};
use gradloom_runtime::layers::{self, Arg, Mode, initializers};
use gradloom_runtime::lower::lower;
use gradloom_runtime::network::Definition;
use gradloom_runtime::optim::{At, Settings};
use gradloom_runtime::types::Dim;
use insta::assert_snapshot;
use ndarray::array;

use crate::handmade;

network! {
    act f = |x, a = 1.0| a * x;
    act f1 = |x, a = 2.0| a * x;
    act f1_ = |x, a = 3.0| a * x;
    block F1() { f }
    block batch_norm() { f, BatchNorm }
    Collide<x: [B, 3] -> y: [B, 2]> {
        f, f, f, f, f, f, f, f, f, f, f, f1, f1_, F1, batch_norm, BatchNorm, repeat(11) { f, f1 }, f as f12,
        residual { f as g, f } skip { f }, Dense(2),
    }
    loss(t: [B, 2]) = mse(y, t);
}

/// All names of a session, each of them once.
fn names<N: Network>(net: &Session<N>) -> Vec<String> {
    let names: Vec<String> = net.names().map(str::to_string).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    names
}

#[test]
fn every_parameter_has_a_name_of_its_own_and_what_is_saved_can_be_loaded() {
    let mut net = Collide::trainer(Adam::new(0.1)).build().expect("it builds");
    let found = names(&net);
    // A number after a digit would run into it.
    for name in
        ["f11.a", "f1_1.a", "f1_2.a", "f1_3.f1.a", "batch_norm1.f1.a", "batch_norm2.beta", "f12.a", "repeat1.11.f1_1.a"]
    {
        assert!(found.iter().any(|known| known == name), "{name} in {found:?}");
    }
    let (x, t) = (array![[1.0f32, 2.0, 3.0], [0.5, 0.25, 1.0]], array![[1.0f32, 2.0], [3.0, 4.0]]);
    net.step(x.view(), t.view()).expect("it runs");
    net.accumulate(x.view(), t.view()).expect("it runs");
    let path = std::env::temp_dir().join(format!("gradloom-declared-{}.safetensors", std::process::id()));
    net.save(&path).expect("it is saved");
    let mut other = Collide::trainer(Adam::new(0.1)).build().expect("it builds");
    let loaded = other.load(&path);
    std::fs::remove_file(&path).expect("the file is there");
    loaded.expect("what is saved can be loaded");
    for name in &found {
        assert_eq!(net.param(name).expect("it is there"), other.param(name).expect("it is there"), "{name}");
    }
}

network! {
    act half = |x, a = 1 / 2, b = 7 / 2 % 2| a * x + b;
    block Slopes(n, slope = n / 4) { leaky_relu(slope), |x| slope / 2 * x, Dense(n + 1, bias = false, init = constant(1 / n)) }
    Quotients<x: [B, 7 / 4] -> y: [B, 3]> { half, half(a = 3 / 4, b = 1 / 3), Slopes(5 / 2) as slopes, leaky_relu(1 / 4) }
    loss(k: [u8; B]) = cross_entropy(y, k, label_smoothing = 1 / 2, class_weights = [1 / 2, 1, 3 / 2]);
    metric third = 1 / 3;
}

pub const FOUR: usize = 4;

network! {
    const ODD = crate::declared::FOUR + 1;
    Deferred<x: [B, 1] -> y: [B, ODD / 2]> { leaky_relu(1 / ODD), Dense(ODD / 2, bias = false, init = constant(ODD / 2)) }
}

#[test]
fn a_quotient_is_a_number_where_one_is_wanted_and_an_integer_where_a_size_is() {
    let mut net = Quotients::trainer(Sgd::new(0.1)).build().expect("it builds");
    let number = |name: &str| net.param(name).expect("it is there").sum();
    let found = [number("half1.a"), number("half1.b"), number("half2.a"), number("half2.b")];
    assert_eq!(found, [0.5, 1.0, 0.75, (1.0f64 / 3.0) as f32]);
    let weight = net.param("slopes.dense1.weight").expect("it is there");
    assert_eq!((weight.shape(), weight.sum()), (&[1, 3][..], 3.0 * (1.0f64 / 2.5) as f32));
    let third = net.evaluate(array![[1.0f32]].view(), array![0u8].view()).expect("it runs").third;
    assert_eq!(third, 1.0 / 3.0);
    // x = -9: 0.5 x + 1 = -3.5, 0.75 of it + 1/3 = -2.2917, times 0.625 and 0.3125 and 0.4, and a quarter of it.
    let y = net.predict(array![[-9.0f32]].view()).expect("it runs");
    let expected = (-3.5 * 0.75 + 1.0 / 3.0) * 0.625 * 0.3125 * 0.4 * 0.25;
    assert!(y.iter().all(|y| (f64::from(*y) - expected).abs() < 1e-6), "{y} {expected}");
    let mut net: Predictor<Deferred> = Deferred::predictor().build().expect("it builds");
    let y = net.predict(array![[-5.0f32]].view()).expect("it runs");
    assert_eq!(y, array![[-2.5f32, -2.5]]);
}

pub const HUGE: f64 = 1e50;
pub const TINY: f64 = 1e-50;

network! {
    Beyond<x: [B, 2] -> y: [B, 2]> { leaky_relu(crate::declared::TINY), Dense(2, init = uniform(crate::declared::TINY)) }
    loss = mean(y) * crate::declared::HUGE + crate::declared::TINY;
}

#[test]
fn a_number_from_rust_is_one_of_f32() {
    let error = Beyond::trainer(Sgd::new(0.1)).build().expect_err("there are none such").to_string();
    let lines: Vec<&str> = error.lines().map(|line| line.rsplit_once(": ").map_or(line, |(_, text)| text)).collect();
    assert_snapshot!(lines.join("\n"), @"
    `crate::declared::TINY` is 0 in f32, whose least number above 0 is 1.4e-45
    `1e50` is beyond f32, whose largest number is 3.4e38
    `1e-50` is 0 in f32, whose least number above 0 is 1.4e-45
    ");
}

#[test]
fn settings_are_numbers_of_f32() {
    let build = |error: BuildError| error.to_string();
    let errors = [
        Binary::trainer(Sgd::new(1e-50)).build().map(drop).map_err(build),
        Binary::trainer(Sgd::new(1e50)).build().map(drop).map_err(build),
        Binary::trainer(Sgd::new(0.1).l2(1e-50)).build().map(drop).map_err(build),
        Binary::trainer(RmsProp::new(0.1).eps(1e-60)).build().map(drop).map_err(build),
        Binary::trainer(Sgd::new(0.1)).clip_norm(1e60).build().map(drop).map_err(build),
        Binary::trainer(Sgd::new(0.0)).build().map(drop).map_err(build),
    ];
    let errors: Vec<String> = errors.into_iter().map(|error| error.err().unwrap_or("none".to_string())).collect();
    assert_snapshot!(errors.join("\n"), @"
    learning rate must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    learning rate must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e50
    l2 must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    eps must be from 1e-18 to 3.4e38, got 1e-60
    clip_norm must be from 1.2e-38 to 3.4e38, the range of an f32, got 1e60
    none
    ");
}

network! {
    Binary<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false, init = constant(1.0)) }
    loss(t: [B, 1]) = bce_with_logits(y, t);
    metric accuracy = mean((y > 0.0) == (t > 0.5));
    metric wrong = mean((y > 0.0) != (t > 0.5));
    metric like_mean = mean((mean(y) > 0.0) == (y > 0.0));
    metric chosen = mean(if (y > 0.0) == (t > 0.5) { y } else { 10.0 });

    const SECOND = 1;
    Classes<x: [B, 3] -> y: [B, 3]> { Dense(3, bias = false, init = constant(0.0)) as d, |z| z, |x| x as e }
    loss(k: [u8; B], j: [u32; B]) = cross_entropy(y, k) + 0.1 * mean(if k == 1 { square(mean(y)) } else { mean(y) });
    metric ones = mean(k == 1);
    metric others = mean(SECOND != k);
    metric low = mean(k < 2);
    metric high = mean(1 < k);
    metric at_least = mean(k >= 1);
    metric at_most = mean(k <= 1);
    metric said = mean(argmax(y) == 0);
    metric from_rust = mean(k == crate::declared::TWO);
    metric large = mean(j == 16777215);
    metric both = mean((k == 1) == (j == 16777215));
}

pub const TWO: f64 = 2.0;

#[test]
fn decisions_and_class_ids_are_compared() {
    let mut net = Binary::trainer(Sgd::new(0.0)).build().expect("it builds");
    let (x, t) = (array![[1.0f32], [-1.0], [2.0], [-3.0]], array![[1.0f32], [0.0], [0.0], [0.0]]);
    let r = net.evaluate(x.view(), t.view()).expect("it runs");
    assert_eq!(r.like_mean, 0.5, "the mean is -0.25");
    assert_eq!((r.accuracy, r.wrong, r.chosen), (0.75, 0.25, (1.0 - 1.0 + 10.0 - 3.0) / 4.0));
    let mut net = Classes::trainer(Sgd::new(0.1)).build().expect("it builds");
    let x = array![[1.0f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]];
    let (k, j) = (array![0u8, 1, 2, 1], array![16777215u32, 16777216, u32::MAX, 16777215]);
    let r = net.evaluate(x.view(), (k.view(), j.view())).expect("it runs");
    assert_eq!((r.ones, r.others, r.low, r.high, r.at_least, r.at_most), (0.5, 0.5, 0.75, 0.25, 0.75, 0.75));
    assert_eq!((r.said, r.from_rust, r.large, r.both), (1.0, 0.25, 0.5, 0.5));
    net.step(x.view(), (k.view(), j.view())).expect("it runs");
}

network! {
    Share<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    loss(k: [u8; B]) = 1.0 - mean(argmax(y) == k);
    Steps<x: [B, 2] -> y: [B, 2]> { Dense(2), step }
    loss(t: [B, 2]) = mse(y, t);
    Inputs<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    loss = mean(x);
    /// What is not trained needs no gradient.
    Fixed<x: [B, 2] -> y: [B, 2]> { relu }
    loss(k: [u8; B]) = 1.0 - mean(argmax(y) == k);
    /// A part of it is enough.
    Part<x: [B, 2] -> y: [B, 2]> { Dense(2), step, Dense(2) }
    loss(t: [B, 2]) = mse(y, t);
}

#[test]
fn a_loss_without_a_gradient_is_refused() {
    fn refused<N: Network>(trainer: gradloom::Trainer<N>) -> String {
        let error = trainer.build().map(drop).expect_err("nothing can be trained").to_string();
        let (place, message) = error.split_once(": ").expect("a place and a message");
        assert!(place.starts_with("tests/it/declared.rs:"), "{place}");
        message.to_string()
    }
    let messages = [
        refused(Share::trainer(Sgd::new(0.1))),
        refused(Steps::trainer(Adam::new(0.1))),
        refused(Inputs::trainer(Sgd::new(0.1))),
    ];
    assert_snapshot!(messages.join("\n"), @"
    the loss of `Share` has no gradient with respect to any trained parameter: comparisons, `argmax`, `sign` and `step` pass none on
    the loss of `Steps` has no gradient with respect to any trained parameter: comparisons, `argmax`, `sign` and `step` pass none on
    the loss of `Inputs` has no gradient with respect to any trained parameter: comparisons, `argmax`, `sign` and `step` pass none on
    ");
    Fixed::trainer(Sgd::new(0.1)).build().expect("there is nothing to train");
    Part::trainer(Sgd::new(0.1)).build().expect("the last layer learns");
    let frozen = Share::trainer(Sgd::new(0.1)).freeze("*").build().map(drop);
    assert_eq!(frozen, Err(BuildError::AllFrozen), "nothing is trained, which is said first");
}

network! {
    Dropped<x: [B, 2] -> y: [B, 2]> { Dropout(1 - 1e-7) }
    loss = mean(y);
    Halved<x: [B, 2] -> y: [B, 2]> { Dropout(0.5) }
    loss = mean(y);
    Third<x: [B, 2] -> y: [B, 2]> { Dropout(1 / 3) }
    loss = mean(y);
}

#[test]
fn what_dropout_keeps_is_divided_by_the_share_that_is_kept() {
    for (definition, dropped) in
        [(Dropped::declared(), 16777215u32), (Halved::declared(), 1 << 23), (Third::declared(), 5592406)]
    {
        let graph = lower(definition, Mode::Train).expect("the network is sound");
        let constants: Vec<f64> = graph.ids().filter_map(|id| graph.constant(id)).collect();
        // Of 2^24 numbers, so many are below the threshold, and the others are kept.
        let threshold = f64::from(dropped) / f64::from(1 << 24);
        let scale = f64::from(1 << 24) / f64::from((1 << 24) - dropped);
        for wanted in [threshold, scale] {
            assert!(constants.iter().any(|&c| (c - wanted).abs() <= 1e-15 * wanted), "{wanted} in {constants:?}");
        }
    }
}

/// An optimizer that calls both parts of its state the same.
#[derive(Debug)]
struct Twins(Settings);

impl Optimizer for Twins {
    fn settings(&self) -> &Settings {
        &self.0
    }

    fn check(&self) -> Result<(), BuildError> {
        Ok(())
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    fn state(&self) -> &'static [&'static str] {
        &["twin", "twin"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &[]
    }

    fn values(&self, _: f64, _: u64, _: &mut [f32]) {}

    fn update(&self, _: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        (at.param, at.state.to_vec())
    }
}

#[test]
fn what_could_not_be_loaded_is_not_built() {
    let error = Binary::trainer(Twins(Settings::new(0.1))).build().map(drop).expect_err("two have one name");
    assert_eq!(error, BuildError::Name { name: "dense1.weight.twin".to_string() });
    let one = handmade::single_layer(&layers::DENSE, &DENSE_4, handmade::port("x", &[Dim::B, Dim::Fixed(4)]));
    let body = [1, 2].map(|_| handmade::stage(&layers::DENSE, &DENSE_4, "dense1"));
    let Definition { name, inputs, outputs, targets, acts, scalars, layers, flows, metrics, places, assembled, .. } =
        *one;
    let body = handmade::leak(body);
    let definition = Definition {
        name,
        inputs,
        outputs,
        targets,
        acts,
        scalars,
        layers,
        body,
        flows,
        loss: None,
        metrics,
        places,
        assembled,
    };
    let error = simplified(handmade::leak(definition), Purpose::Predict).map(drop).expect_err("two have one name");
    assert_eq!(error, BuildError::Name { name: "dense1.weight".to_string() });
}

const DENSE_4: [Arg; 3] = [Arg::Int(4), Arg::Flag(true), Arg::Init(&initializers::AUTO, None)];
