//! Networks of several flows against PyTorch: values, losses and gradients.

use gradloom::ndarray::{Array1, Array2, ArrayD, Ix2, Ix3};
use gradloom::{NameMap, Network, Session, Sgd, network};

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

network! {
    Masked<tokens: [u8; B, 5] -> logits: [B, 5, 7]> {
        let keep = where(tokens != 0, 1.0, 0.0);
        let rows = tokens -> Embedding(7, 6) as embedding1;
        let h = rows -> residual { Attention(2, mask = keep) as looking };
        logits = h -> Dense(7, weight = embedding1.weight);
    }
    loss(next: [u8; B, 5]) = cross_entropy(logits, next, ignore = 0)
        + 0.5 * cross_entropy(logits, next, class_weights = [0.5, 1.0, 2.0, 0.25, 1.0, 3.0, 0.0], ignore = 0)
        + 0.25 * cross_entropy(logits, next, label_smoothing = 0.2, ignore = 0);
}

network! {
    block Transformer(d, heads) {
        residual { LayerNorm, Attention(heads, causal = true) },
        residual { LayerNorm, Dense(2 * d), gelu, Dense(d) },
    }
    Gpt<tokens: [u8; B, 5] -> logits: [B, 5, 7]> {
        Embedding(7, 8), Positional, repeat(2) { Transformer(8, heads = 2) }, LayerNorm, Dense(7, bias = false),
    }
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

#[test]
fn masks_ignored_classes_and_weights_of_another_layer_are_those_of_pytorch() {
    let file = GoldenFile::read("flows");
    let case = file.case("masked");
    let (mut net, keys) = session::<Masked>(case, &[("h.residual1.looking.", "h.")]);
    assert_eq!(keys.len(), 6, "one matrix for the first and the last layer");
    let ids = |key: &str| {
        let ids = case.floats(key).iter().map(|&id| id as u8).collect();
        Array2::<u8>::from_shape_vec((3, 5), ids).expect("three rows")
    };
    let (tokens, next) = (ids("tokens"), ids("next"));
    let logits = net.predict(tokens.view()).expect("it runs");
    check("logits", logits.iter().copied(), case.floats("logits"));
    let gradients = net.gradients(tokens.view(), next.view()).expect("it runs");
    check("loss", [gradients.loss], case.floats("loss"));
    for (name, key) in &keys {
        check(name, gradients.get(name).expect("it is trained").iter().copied(), case.floats(&format!("d{key}")));
    }
}

#[test]
fn what_is_masked_changes_nothing_and_a_row_that_is_masked_whole_finds_zeros() {
    let mut net = Masked::trainer(Sgd::new(0.1)).max_batch(4).seed(5).build().expect("it builds");
    let tokens =
        |last: u8| Array2::from_shape_vec((2, 5), vec![1, 2, 0, 0, 0, last, last, last, last, last]).expect("two rows");
    let alone = net.predict(tokens(0).view()).expect("it runs").to_owned();
    assert!(alone.iter().all(|logit| logit.is_finite()));
    // A row of padding looks at nothing: what attention adds is its bias, which is 0.
    let weight = net.param("embedding1.weight").expect("it is there").to_owned();
    let weight = weight.into_dimensionality::<Ix2>().expect("it is a matrix");
    let expected = weight.dot(&weight.row(0));
    for (found, expected) in
        alone.index_axis(gradloom::ndarray::Axis(0), 1).rows().into_iter().flatten().zip(expected.iter().cycle())
    {
        assert!((found - expected).abs() < 1e-5, "{found} and not {expected}");
    }
    let next = Array2::<u8>::zeros((2, 5));
    let step = net.step(tokens(0).view(), next.view()).expect("nothing counts, and that is no mistake");
    assert_eq!(step.loss, 0.0);
    assert!(net.gradcheck(tokens(3).view(), tokens(2).view()).expect("the shapes fit").passed());
    let path = std::env::temp_dir().join(format!("gradloom-tied-{}.safetensors", std::process::id()));
    net.save(&path).expect("there is room");
    let mut again = Masked::predictor().load(&path).expect("it was saved");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(again.predict(tokens(4).view()).expect("it runs"), net.predict(tokens(4).view()).expect("it runs"));
}

/// Which tensor of the file is which parameter.
fn names() -> NameMap {
    let mut names = NameMap::new()
        .renamed("tokens.weight", "embedding1.weight")
        .renamed("positions.weight", "positional1.weight")
        .renamed("norm.weight", "layer_norm1.gamma")
        .renamed("norm.bias", "layer_norm1.beta")
        .transposed("head.weight", "dense1.weight");
    for layer in 0..2 {
        let [there, here] = [format!("layers.{layer}"), format!("repeat1.{}.transformer1", layer + 1)];
        for (matrix, bias, own) in [
            ("self_attn.in_proj_weight", "self_attn.in_proj_bias", "residual1.attention1.qkv"),
            ("self_attn.out_proj.weight", "self_attn.out_proj.bias", "residual1.attention1.out"),
            ("linear1.weight", "linear1.bias", "residual2.dense1"),
            ("linear2.weight", "linear2.bias", "residual2.dense2"),
        ] {
            names = names.transposed(format!("{there}.{matrix}"), format!("{here}.{own}.weight"));
            names = names.renamed(format!("{there}.{bias}"), format!("{here}.{own}.bias"));
        }
        for (norm, own) in [("norm1", "residual1.layer_norm1"), ("norm2", "residual2.layer_norm1")] {
            names = names.renamed(format!("{there}.{norm}.weight"), format!("{here}.{own}.gamma"));
            names = names.renamed(format!("{there}.{norm}.bias"), format!("{here}.{own}.beta"));
        }
    }
    names
}

#[test]
fn a_state_dict_of_a_transformer_predicts_and_goes_on_as_in_pytorch() {
    let file = GoldenFile::read("flows");
    let case = file.case("gpt");
    let ids = case.floats("tokens").iter().map(|&id| id as u8).collect();
    let tokens = Array2::<u8>::from_shape_vec((3, 5), ids).expect("three rows");
    let mut predictor = Gpt::predictor().build().expect("it builds");
    let state = crate::project().join("tests/golden/gpt_state.safetensors");
    predictor.load_mapped(state, &names()).expect("the map accounts for everything");
    let logits = predictor.predict(tokens.view()).expect("it runs").iter().copied().collect::<Vec<f32>>();
    check("logits", logits, case.floats("logits"));
    for (row, expected) in tokens.rows().into_iter().zip(case.floats("logits").chunks(5 * 7)) {
        let mut generator = predictor.generator().expect("it looks back alone");
        for (&token, expected) in row.iter().zip(expected.chunks(7)) {
            generator.feed(token.into()).expect("it is a class");
            check("one position", generator.logits().expect("a token went in").iter().copied(), expected);
        }
    }
}
