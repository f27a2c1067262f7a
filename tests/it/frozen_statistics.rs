//! Running statistics that are frozen: held, and what training normalizes by.

use gradloom::ndarray::{Array1, Array2, Axis, Ix2, s};
use gradloom::{Adam, Group, RunError, Session, Sgd, Trainer, network};

use crate::bound::Bound;
use crate::checkpoint::folder;
use crate::train::{Classifier, samples, state};

network! {
    Body<x: [B, 5] -> h: [B, 4]> { Dense(4), BatchNorm, relu }
    loss(t: [B, 4]) = mse(h, t);

    Head<h: [B, 4] -> logits: [B, 3]> { Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    Both<x: [B, 5] -> logits: [B, 3]> { Dense(4), BatchNorm, relu, Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

const STATISTICS: [&str; 2] = ["batch_norm1.running_mean", "batch_norm1.running_var"];

/// A body with statistics and parameters of its own, from some steps of training.
fn body() -> Session<Body> {
    let (x, _) = samples(40);
    let t = Array2::from_shape_fn((40, 4), |(i, j)| ((i * 3 + j) % 7) as f32 / 5.0);
    let mut net = Body::trainer(Adam::new(0.05)).max_batch(40).seed(2).build().expect("it builds");
    for _ in 0..20 {
        net.step(x.view(), t.view()).expect("the batch fits");
    }
    net
}

/// A network on that body.
fn on_body(body: &Session<Body>, trainer: Trainer<Both>) -> Session<Both> {
    let mut net = trainer.max_batch(40).seed(4).build().expect("it builds");
    for name in ["dense1.weight", "dense1.bias", "batch_norm1.gamma", "batch_norm1.beta"].iter().chain(&STATISTICS) {
        net.set_param(name, body.param(name).expect("it is there")).expect("it fits");
    }
    net
}

fn read(net: &Session<Both>, name: &str) -> Vec<f64> {
    net.param(name).expect("it is there").iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn a_head_on_a_frozen_body_is_trained_on_what_inference_of_the_body_gives() {
    let (x, labels) = samples(40);
    let mut body = body();
    let mut net = on_body(&body, Both::trainer(Adam::new(0.05)).freeze("dense1.*").freeze("batch_norm1.*"));
    let mut head = Head::trainer(Adam::new(0.05)).max_batch(40).build().expect("it builds");
    for part in ["weight", "bias"] {
        let own = net.param(&format!("dense2.{part}")).expect("it is there").to_owned();
        head.set_param(&format!("dense1.{part}"), own.view()).expect("it fits");
    }
    let before = state(&net);
    for rows in [40, 7, 1, 2, 40, 1, 33] {
        let (x, labels) = (x.slice(s![..rows, ..]), labels.slice(s![..rows]));
        let hidden = body.predict(x).expect("the rows fit").to_owned();
        let expected = net.evaluate(x, labels).expect("the rows fit").loss;
        let step = net.step(x, labels).expect("one row is enough");
        assert!((step.loss - expected).abs() < 1e-6, "{} where inference has {expected}", step.loss);
        let alone = head.step(hidden.view(), labels).expect("the batch fits");
        assert!((step.loss - alone.loss).abs() < 1e-6, "{} where the head alone has {}", step.loss, alone.loss);
    }
    for part in ["weight", "bias"] {
        let of_head = head.param(&format!("dense1.{part}")).expect("it is there");
        let expected: Vec<f64> = of_head.iter().map(|&x| f64::from(x)).collect();
        let bound = Bound { relative: 1e-5, absolute: 1e-5 };
        bound.check(part, &read(&net, &format!("dense2.{part}")), &expected);
    }
    for ((name, old), (_, new)) in before.iter().zip(state(&net)) {
        assert_eq!(*old == new, !name.starts_with("dense2"), "{name}");
    }
}

#[test]
fn nothing_but_the_user_moves_frozen_statistics() {
    let (x, labels) = samples(40);
    let mut net = on_body(&body(), Both::trainer(Sgd::new(0.1)).freeze("batch_norm1.*"));
    let before = STATISTICS.map(|name| read(&net, name));
    net.step(x.view(), labels.view()).expect("the batch fits");
    net.accumulate(x.view(), labels.view()).expect("the batch fits");
    net.update().expect("there are gradients");
    net.recalibrate(x.view()).expect("the rows fit");
    net.diagnose(x.slice(s![..1, ..]), labels.slice(s![..1])).expect("one row is enough");
    assert_eq!(STATISTICS.map(|name| read(&net, name)), before);
    net.set_param(STATISTICS[0], Array1::from(vec![0.5f32; 4]).view()).expect("it fits");
    assert_eq!(read(&net, STATISTICS[0]), [0.5; 4]);
}

#[test]
fn gamma_and_beta_are_trained_around_frozen_statistics() {
    let (x, labels) = samples(40);
    let mut net = on_body(&body(), Both::trainer(Sgd::new(0.1)).freeze("*.running_*"));
    // In f64, from the definition of a batch norm in inference.
    let matrix = |name: &str| {
        let value = net.param(name).expect("it is there").mapv(f64::from);
        value.into_dimensionality::<Ix2>().expect("it is a matrix")
    };
    let vector = |name: &str| Array1::from(read(&net, name));
    let hidden = x.mapv(f64::from).dot(&matrix("dense1.weight")) + vector("dense1.bias");
    let deviation = (hidden - vector(STATISTICS[0])) / vector(STATISTICS[1]).mapv(|v| (v + 1e-5).sqrt());
    let normed = &deviation * &vector("batch_norm1.gamma") + vector("batch_norm1.beta");
    let logits = normed.mapv(|x| x.max(0.0)).dot(&matrix("dense2.weight")) + vector("dense2.bias");
    let mut slope = logits.mapv(f64::exp);
    for (mut row, &label) in slope.axis_iter_mut(Axis(0)).zip(&labels) {
        let sum = row.sum();
        row.mapv_inplace(|x| x / sum);
        row[usize::from(label)] -= 1.0;
    }
    let slope = (slope / 40.0).dot(&matrix("dense2.weight").t()) * normed.mapv(|x| if x > 0.0 { 1.0 } else { 0.0 });
    let expected =
        [("batch_norm1.gamma", (&slope * &deviation).sum_axis(Axis(0))), ("batch_norm1.beta", slope.sum_axis(Axis(0)))];
    let gradients = net.gradients(x.view(), labels.view()).expect("the batch fits");
    for (name, expected) in expected {
        let actual: Vec<f64> = gradients.get(name).expect("it is trained").iter().map(|&x| f64::from(x)).collect();
        Bound { relative: 1e-4, absolute: 1e-6 }.check(name, &actual, &expected.to_vec());
    }
    assert!(gradients.get("dense1.weight").is_ok());
    assert!(gradients.get(STATISTICS[0]).is_err());
}

#[test]
fn parameters_can_be_frozen_while_the_statistics_go_on() {
    let (x, labels) = samples(40);
    let body = body();
    let frozen = |group: Group| on_body(&body, Both::trainer(Sgd::new(0.1)).group(group));
    let mut net = frozen(Group::new("batch_norm1.gamma").frozen());
    let before = read(&net, STATISTICS[0]);
    net.step(x.view(), labels.view()).expect("the batch fits");
    assert_ne!(read(&net, STATISTICS[0]), before);
    let one = net.step(x.slice(s![..1, ..]), labels.slice(s![..1]));
    assert_eq!(one.map(drop), Err(RunError::OneRow { layer: "batch_norm1".to_string() }));
    // One of both holds both.
    let mut net = frozen(Group::new("*.running_mean").frozen());
    let before = STATISTICS.map(|name| read(&net, name));
    net.step(x.slice(s![..1, ..]), labels.slice(s![..1])).expect("one row is enough");
    assert_eq!(STATISTICS.map(|name| read(&net, name)), before);
}

#[test]
fn a_network_needs_several_rows_as_long_as_one_batch_norm_moves() {
    let (x, labels) = samples(40);
    let mut net = Classifier::trainer(Sgd::new(0.1)).freeze("batch_norm1.*").build().expect("it builds");
    let one = net.step(x.slice(s![..1, ..]), labels.slice(s![..1]));
    assert_eq!(one.map(drop), Err(RunError::OneRow { layer: "batch_norm2".to_string() }));
    let before = state(&net);
    net.step(x.view(), labels.view()).expect("the batch fits");
    for ((name, old), (_, new)) in before.iter().zip(state(&net)) {
        assert_eq!(*old == new, name.starts_with("batch_norm1"), "{name}");
    }
}

#[test]
fn statistics_are_frozen_after_some_steps() {
    let (x, labels) = samples(40);
    let moving = || Classifier::trainer(Adam::new(0.01)).max_batch(40).seed(6);
    let [mut plain, mut net] = [moving(), moving().freeze_statistics_after(4)].map(|trainer| trainer.build().unwrap());
    for _ in 0..4 {
        let one = net.step(x.slice(s![..1, ..]), labels.slice(s![..1]));
        assert_eq!(one.map(drop), Err(RunError::OneRow { layer: "batch_norm1".to_string() }));
        plain.step(x.view(), labels.view()).expect("the batch fits");
        net.step(x.view(), labels.view()).expect("the batch fits");
        let bound = Bound { relative: 1e-4, absolute: 1e-6 };
        for name in plain.names().map(str::to_string).collect::<Vec<_>>() {
            let [net, plain] = [&net, &plain].map(|net| {
                let value = net.param(&name).expect("it is there").to_owned();
                value.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>()
            });
            bound.check(&name, &net, &plain);
        }
    }
    // From here on it is as if they had been frozen from the beginning; a checkpoint knows where it stands.
    let path = folder("frozen_after").join("net.safetensors");
    net.save(&path).expect("it is written");
    let mut resumed = moving().freeze_statistics_after(4).build().unwrap();
    resumed.load(&path).expect("the checkpoint is of this network");
    let mut frozen = moving().freeze("*.running_*").build().unwrap();
    for name in net.names().map(str::to_string).collect::<Vec<_>>() {
        frozen.set_param(&name, net.param(&name).expect("it is there")).expect("it fits");
    }
    let before = state(&net);
    for rows in [40, 1, 17] {
        let (x, labels) = (x.slice(s![..rows, ..]), labels.slice(s![..rows]));
        let expected = net.evaluate(x, labels).expect("the rows fit").loss;
        let own = net.gradients(x, labels).expect("one row is enough").get("dense1.weight").unwrap().to_owned();
        let other = frozen.gradients(x, labels).expect("one row is enough");
        let other = other.get("dense1.weight").unwrap().to_owned();
        let [own, other] = [own, other].map(|x| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
        if rows == 40 {
            Bound { relative: 1e-4, absolute: 1e-6 }.check("gradient", &own, &other);
        }
        let step = net.step(x, labels).expect("one row is enough");
        assert!((step.loss - expected).abs() < 1e-6, "{} where inference has {expected}", step.loss);
        assert_eq!(resumed.step(x, labels).expect("one row is enough").loss, step.loss);
    }
    for ((name, old), (_, new)) in before.iter().zip(state(&net)) {
        assert_eq!(*old == new, name.contains("running"), "{name}");
    }
    assert_eq!(state(&net), state(&resumed));
}
