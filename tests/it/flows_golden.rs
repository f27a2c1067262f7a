//! Networks of several flows against PyTorch: values, losses and gradients.

use gradloom::ndarray::{Array1, Array2, ArrayD, Ix2, Ix3};
use gradloom::{Network, Session, Sgd, network};

use crate::golden_file::{Case, GoldenFile};
use crate::layer_golden::F32;

network! {
    Gaussian<(a: [B, 3], b: [B, 2]) -> (mean: [B, 2], spread: [B, 2])> {
        let h = (a, b) -> concat, Dense(6), tanh;
        let (m, s) = h -> Dense(4), split;
        mean = m -> |x| x;
        spread = s -> |x| x;
    }
    scalar weight = 0.3;
    loss(t: [B, 2]) = mean(0.5 * (exp(-spread) * square(t - mean) + spread)) + weight * mean(h * h);

    Tasks<(x: [B, 3, 5], kind: [u8; B]) -> (logits: [B, 4], energy: [B])> {
        let u = x -> Dense(6);
        let k = one_hot(kind, classes = 3) -> Dense(6, bias = false);
        let centred = u - mean(u, axis = -1, keep = true);
        let gated = where(centred > 0.1, centred * reshape(k, [B, 1, 6]), 0.5 * centred);
        let peak = concat(gated[.., 0, 1..4], gated[.., .., -1], axis = 1);
        energy = sum(square(reshape(transpose(gated, axes = [0, 2, 1]), [B, 18])[.., ..9]), axis = 1);
        logits = (peak, max(u, axis = 1)) -> concat, Dense(4);
    }
    loss(label: [u8; B]) = cross_entropy(logits, label) + 0.1 * mean(energy * sqrt(var(u, axis = [1, 2]) + 1e-3))
        + 0.05 * mean(min(u, axis = 2));
}

fn singles(case: &Case, key: &str) -> ArrayD<f32> {
    let numbers = case.floats(key).iter().map(|&x| x as f32).collect();
    ArrayD::from_shape_vec(case.get(key).shape.clone(), numbers).expect("as many as it says")
}

fn matrix(case: &Case, key: &str) -> Array2<f32> {
    singles(case, key).into_dimensionality::<Ix2>().expect("it is a matrix")
}

fn check(what: &str, found: impl IntoIterator<Item = f32>, expected: &[f64]) {
    F32.check(what, &found.into_iter().map(f64::from).collect::<Vec<f64>>(), expected);
}

/// A session with the parameters of a case, which are all that it has; `renamed` are those that the case calls otherwise.
fn session<N: Network>(case: &Case, renamed: &[(&str, &str)]) -> (Session<N>, Vec<(String, String)>) {
    let mut net = gradloom::Trainer::<N>::new(Sgd::new(0.1)).max_batch(4).build().expect("it builds");
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let keys = names.into_iter().map(|name| {
        let key = renamed.iter().find(|(own, _)| name.starts_with(own));
        let key = key.map_or(name.clone(), |(own, other)| name.replacen(own, other, 1)).replace('.', "_");
        (name, key)
    });
    let keys: Vec<(String, String)> = keys.collect();
    for (name, key) in &keys {
        net.set_param(name, singles(case, key).view()).expect("the shapes agree");
    }
    (net, keys)
}

#[test]
fn halves_of_a_value_and_a_scalar_are_those_of_pytorch() {
    let file = GoldenFile::read("flows");
    let case = file.case("gaussian");
    let (mut net, keys) = session::<Gaussian>(case, &[("m.", "mean.")]);
    assert_eq!(keys.len(), 4);
    let [a, b, t] = ["a", "b", "t"].map(|key| matrix(case, key));
    let outputs = net.predict((a.view(), b.view())).expect("it runs");
    check("mean", outputs.mean.iter().copied(), case.floats("mean"));
    check("spread", outputs.spread.iter().copied(), case.floats("spread"));
    let gradients = net.gradients((a.view(), b.view()), t.view()).expect("it runs");
    check("loss", [gradients.loss], case.floats("loss"));
    for (name, key) in &keys {
        check(name, gradients.get(name).expect("it is trained").iter().copied(), case.floats(&format!("d{key}")));
    }
}

#[test]
fn axes_parts_choices_and_class_ids_are_those_of_pytorch() {
    let file = GoldenFile::read("flows");
    let case = file.case("tasks");
    let (mut net, keys) = session::<Tasks>(case, &[]);
    assert_eq!(keys.len(), 5);
    let x = singles(case, "x").into_dimensionality::<Ix3>().expect("it has three axes");
    let ids = |key: &str| -> Array1<u8> { case.floats(key).iter().map(|&id| id as u8).collect() };
    let (kind, label) = (ids("kind"), ids("label"));
    let outputs = net.predict((x.view(), kind.view())).expect("it runs");
    check("logits", outputs.logits.iter().copied(), case.floats("logits"));
    check("energy", outputs.energy.iter().copied(), case.floats("energy"));
    let gradients = net.gradients((x.view(), kind.view()), label.view()).expect("it runs");
    check("loss", [gradients.loss], case.floats("loss"));
    for (name, key) in &keys {
        check(name, gradients.get(name).expect("it is trained").iter().copied(), case.floats(&format!("d{key}")));
    }
}
