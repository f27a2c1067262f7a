//! Compiled code against values of PyTorch: optimizers, batch norm, and a network in training.

use gradloom::ndarray::{Array1, Array2, ArrayD, IxDyn};
use gradloom::{AdaDelta, AdaGrad, Adam, AdamW, Lion, RmsProp, Schedule, Session, Sgd, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::interp::{Tensor, Values};
use gradloom_runtime::ir::{Builder, Graph, Role};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::lower;
use gradloom_runtime::optim::{TrainingConfig, attach, fill};

use crate::bound::Bound;
use crate::compiled::{Compiled, Results};
use crate::golden::{batch_norm, due, layer_bound, layer_graph, params, slot};
use crate::golden_file::{Case, GoldenFile};
use crate::handmade;

/// What rounding of a few operations leaves, on numbers near 1.
const ROUNDED: Bound = Bound { relative: 1e-6, absolute: 5e-7 };

/// The next value of every parameter that has one.
fn updated(graph: &Graph, results: &Results, params: &[Tensor]) -> Vec<Tensor> {
    let next = |(index, old): (usize, &Tensor)| match graph.output(&Role::Update(index)) {
        Some(_) => Tensor::floats(&old.shape, results.get(&Role::Update(index))),
        None => old.clone(),
    };
    params.iter().enumerate().map(next).collect()
}

/// The optimizer of a block, whose name may end in `_l2` or `_decay`: then it has that weight decay.
fn optimizer(case: &Case) -> TrainingConfig {
    let number = |key: &str| case.get(key).number();
    let setting = |key: &str| case.find(key).map_or(0.0, Tensor::number);
    let (rate, l2, decay) = (number("lr"), setting("l2"), setting("decay"));
    let stem = case.name.trim_end_matches("_l2").trim_end_matches("_decay");
    match stem {
        "sgd" => Sgd::new(rate).l2(l2).weight_decay(decay).into(),
        "momentum" => Sgd::new(rate).momentum(number("momentum")).l2(l2).weight_decay(decay).into(),
        "nesterov" => Sgd::new(rate).momentum(number("momentum")).nesterov().l2(l2).weight_decay(decay).into(),
        "adagrad" => AdaGrad::new(rate).eps(number("eps")).l2(l2).weight_decay(decay).into(),
        "rmsprop" => RmsProp::new(rate).alpha(number("alpha")).eps(number("eps")).l2(l2).weight_decay(decay).into(),
        "rmsprop_centered" => RmsProp::new(rate).centered().l2(l2).weight_decay(decay).into(),
        "rmsprop_momentum" => RmsProp::new(rate).centered().momentum(number("momentum")).eps(number("eps")).into(),
        "adadelta" => AdaDelta::new(rate).rho(number("rho")).eps(number("eps")).l2(l2).weight_decay(decay).into(),
        "adam" | "adamw" => {
            let (beta1, beta2, eps) = (number("beta1"), number("beta2"), number("eps"));
            match stem {
                "adam" => Adam::new(rate).betas(beta1, beta2).eps(eps).l2(l2).weight_decay(decay).into(),
                _ => AdamW::new(rate).betas(beta1, beta2).eps(eps).weight_decay(decay).into(),
            }
        }
        "lion" => Lion::new(rate).betas(number("beta1"), number("beta2")).l2(l2).weight_decay(decay).into(),
        other => panic!("no optimizer `{other}`"),
    }
}

#[test]
fn optimizers_make_the_steps_of_pytorch() {
    for case in GoldenFile::read("optimizers").cases() {
        let how = optimizer(case);
        // The loss is sum(p * g), so the gradient is g.
        let mut b = Builder::new(Graph::default());
        let p = handmade::parameter(&mut b, "p", &case.get("p0").shape);
        handmade::weighted_loss(&mut b, p);
        let graph = attach(&differentiate(&b.finish(), &[0]), &how);
        let mut compiled = Compiled::new(&graph, 1);
        let mut params = vec![case.get("p0").clone()];
        let zero = Tensor::floats(&params[0].shape, vec![0.0; params[0].as_floats().len()]);
        params.resize(graph.slots.params.len(), zero);
        for step in 1..=5 {
            let mut scalars = vec![0.0; graph.slots.scalars.len()];
            let rate = how.optimizer.settings().rate.rate(step - 1);
            fill(&graph.slots.scalars, &*how.optimizer, rate, step, &mut scalars);
            let scalars = scalars.into_iter().map(f64::from).collect();
            let values = Values { inputs: vec![case.get(&format!("g{step}")).clone()], params, scalars };
            let results = compiled.run(1, &values);
            assert!(results.finite, "{}: the loss is finite", case.name);
            params = updated(&graph, &results, &values.params);
            let key = format!("p{step}");
            ROUNDED.check(&format!("{} {key}", case.name), params[0].as_floats(), case.floats(&key));
        }
        for (slot, value) in graph.slots.params.iter().zip(&params).skip(1) {
            let key = slot.name.rsplit('.').next().expect("a split has a last part");
            ROUNDED.check(&format!("{} {key}", case.name), value.as_floats(), case.floats(key));
        }
    }
}

#[test]
fn schedules_have_the_rates_of_pytorch() {
    let file = GoldenFile::read("schedules");
    let schedules = [
        ("constant", Schedule::constant(0.1)),
        ("step", Schedule::step(0.1, 4, 0.5)),
        ("exponential", Schedule::exponential(0.1, 0.9)),
        ("polynomial", Schedule::polynomial(0.1, 10, 2.0)),
        ("line", Schedule::polynomial(0.1, 10, 1.0)),
        ("cosine", Schedule::cosine(0.1, 10)),
        ("cosine_to", Schedule::cosine(0.1, 10).to(0.02)),
        ("one_cycle", Schedule::one_cycle(0.1, 20)),
    ];
    for (name, schedule) in schedules {
        let case = file.case(name);
        for (key, schedule) in [("rates", schedule), ("warm", schedule.warm_up(5))] {
            let expected = case.floats(key);
            let rates: Vec<f64> = (0..expected.len() as u64).map(|t| schedule.rate(t)).collect();
            Bound { relative: 1e-12, absolute: 1e-17 }.check(&format!("{name}: {key}"), &rates, expected);
        }
    }
}

#[test]
fn compiled_batch_norm_is_that_of_pytorch_forward_and_backward() {
    let file = GoldenFile::read("batch_norm");
    let case = file.case("train");
    let rows = case.get("x").shape[0];
    let mut graph = lower(batch_norm(1), Mode::Train).expect("the layer fits");
    let x = handmade::input_as_parameter(&mut graph, 0, rows);
    let (gamma, beta) = (slot(&graph, "gamma"), slot(&graph, "beta"));
    // As a parameter the input has a fixed number of rows: so has all that follows.
    let graph = handmade::with_batch(&differentiate(&graph, &[x, gamma, beta]), rows);
    let inputs = vec![case.get("x").clone(), case.get("dy").clone()];
    let results =
        Compiled::new(&graph, rows).run(rows, &Values { inputs, params: params(&graph, case), scalars: vec![1.0] });
    let roles = [Role::Output(0), Role::Gradient(x), Role::Gradient(gamma), Role::Gradient(beta)];
    for (role, key) in roles.iter().zip(["y", "dx", "dgamma", "dbeta"]) {
        ROUNDED.check(key, results.get(role), case.floats(key));
    }
}

#[test]
fn compiled_running_statistics_follow_the_batches_on_the_steps_that_are_due() {
    let file = GoldenFile::read("batch_norm");
    let case = file.case("running");
    for every in [1, 3] {
        let graph = lower(batch_norm(every), Mode::Train).expect("the layer fits");
        let mut compiled = Compiled::new(&graph, 8);
        let mut params = params(&graph, case);
        for step in 1..=5 {
            let x = case.get(&format!("x{step}"));
            let values = Values { inputs: vec![x.clone(), x.clone()], params, scalars: due(&graph, step) };
            let results = compiled.run(x.shape[0], &values);
            params = updated(&graph, &results, &values.params);
            for (name, key) in [("running_mean", "mean"), ("running_var", "var")] {
                let key = format!("every{every}_{key}{step}");
                ROUNDED.check(&key, params[slot(&graph, name)].as_floats(), case.floats(&key));
            }
        }
    }
}

#[test]
fn compiled_batch_norm_in_inference_uses_the_running_statistics() {
    let file = GoldenFile::read("batch_norm");
    let case = file.case("inference");
    let graph = lower(batch_norm(1), Mode::Infer).expect("the layer fits");
    let x = case.get("x");
    let values = Values { inputs: vec![x.clone(), x.clone()], params: params(&graph, case), scalars: vec![] };
    let results = Compiled::new(&graph, 8).run(x.shape[0], &values);
    ROUNDED.check("y", results.get(&Role::Output(0)), case.floats("y"));
}

#[test]
fn compiled_batch_norm_does_not_cancel_where_the_mean_is_10_000_deviations() {
    let file = GoldenFile::read("batch_norm");
    let case = file.case("large_mean");
    let x = case.get("x");
    let graph = lower(batch_norm(1), Mode::Train).expect("the layer fits");
    let values = Values { inputs: vec![x.clone(), x.clone()], params: params(&graph, case), scalars: vec![1.0] };
    let results = Compiled::new(&graph, 64).run(x.shape[0], &values);
    // A mean of 10,000 is off by up to 5e-4 as an f32; so is y, in deviations. The variance does not depend on it.
    let y = Bound { relative: 1e-5, absolute: 1e-3 };
    y.check("y", results.get(&Role::Output(0)), case.floats("y"));
    let update = results.get(&Role::Update(slot(&graph, "running_var")));
    let unbiased: Vec<f64> = update.iter().map(|next| (next - 0.9) / 0.1).collect();
    Bound { relative: 1e-5, absolute: 0.0 }.check("variance", &unbiased, case.floats("var_unbiased"));
}

#[test]
fn compiled_layers_with_parameters_are_those_of_pytorch_forward_and_backward() {
    for case in GoldenFile::read("layers").cases() {
        let rows = case.get("x").shape[0];
        let (graph, wanted) = layer_graph(case, Mode::Train);
        // As a parameter the input has a fixed number of rows: so has all that follows.
        let graph = handmade::with_batch(&graph, rows);
        let inputs = vec![case.get("x").clone(), case.get("dy").clone()];
        let values = Values { inputs, params: params(&graph, case), scalars: vec![] };
        let results = Compiled::new(&graph, rows).run(rows, &values);
        for (role, key) in &wanted {
            layer_bound(case).check(&format!("{}: {key}", case.name), results.get(role), case.floats(key));
        }
    }
}

network! {
    /// The network of `network.txt`.
    Golden<x: [B, 5] -> logits: [B, 3]> { Dense(7), BatchNorm, relu, Dense(4), tanh, Dense(3) }
    loss(labels: [u8; B]) = cross_entropy(logits, labels);
}

fn array(tensor: &Tensor) -> ArrayD<f32> {
    let values = tensor.as_floats().iter().map(|&x| x as f32).collect();
    ArrayD::from_shape_vec(IxDyn(&tensor.shape), values).expect("a tensor has the elements of its shape")
}

fn numbers<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<f64> {
    values.into_iter().map(|&x| f64::from(x)).collect()
}

/// The data of the file, and a session with its first parameters.
fn golden(file: &GoldenFile) -> (Array2<f32>, Array1<u8>, Session<Golden>) {
    let initial = file.case("initial");
    let x = array(initial.get("x")).into_dimensionality().expect("x has two axes");
    let labels = initial.indices("labels").as_indices().iter().map(|&id| id as u8).collect();
    let mut net = Golden::trainer(Adam::new(initial.get("lr").number())).max_batch(6).build().expect("it builds");
    let own: Vec<String> = net.names().filter(|name| initial.find(name).is_some()).map(str::to_string).collect();
    assert_eq!(own.len(), 10, "every parameter and statistic of the file is one of the session's");
    for name in own {
        net.set_param(&name, array(initial.get(&name)).view()).expect("the parameter fits");
    }
    (x, labels, net)
}

#[test]
fn the_gradients_of_a_session_are_those_of_pytorch() {
    let file = GoldenFile::read("network");
    let expected = file.case("gradients");
    let (x, labels, mut net) = golden(&file);
    let gradients = net.gradients(x.view(), labels.view()).expect("the batch fits");
    let bound = Bound { relative: 3e-6, absolute: 3e-7 };
    bound.check("loss", &[f64::from(gradients.loss)], expected.floats("loss"));
    let mut count = 0;
    for (name, gradient) in gradients.iter() {
        bound.check(&format!("d {name}"), &numbers(&gradient), expected.floats(name));
        count += 1;
    }
    assert_eq!(count, 8, "every trained parameter has a gradient");
}

#[test]
fn a_session_trains_as_pytorch_does() {
    let file = GoldenFile::read("network");
    let expected = file.case("after_adam");
    let (x, labels, mut net) = golden(&file);
    let bound = Bound { relative: 1e-5, absolute: 2e-6 };
    for step in 1..=3 {
        let report = net.step(x.view(), labels.view()).expect("the batch fits");
        let key = format!("loss{step}");
        bound.check(&key, &[f64::from(report.loss)], expected.floats(&key));
        // Right before a batch norm the gradient of a bias is zero but for rounding, which Adam would make a full step of.
        // The file leaves this bias alone, and so must the running mean and what is predicted.
        net.set_param("dense1.bias", array(file.case("initial").get("dense1.bias")).view()).expect("the bias fits");
        for moment in ["dense1.bias.m", "dense1.bias.v"] {
            net.set_param(moment, Array1::zeros(7).view()).expect("the moment fits");
        }
    }
    let own: Vec<String> = net.names().filter(|name| expected.find(name).is_some()).map(str::to_string).collect();
    for name in &own {
        bound.check(name, &numbers(net.param(name).expect("the name exists")), expected.floats(name));
    }
    let predicted = net.predict(x.view()).expect("the batch fits");
    bound.check("predict", &numbers(predicted), expected.floats("predict"));
}
