//! Layers over sequences, and gradients of several flows, against values of PyTorch.

use gradloom::ndarray::{Array1, Array2, ArrayD};
use gradloom::{Session, Sgd, network};
use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg, LayerDef};

use crate::golden_file::{Case, GoldenFile};
use crate::layer_golden::{self, F32};

/// The layer of a case, and its arguments.
fn layer(name: &str) -> (&'static LayerDef, Vec<Arg>) {
    let (int, flag, auto) = (Arg::Int, Arg::Flag, Arg::Init(&AUTO, None));
    let attention = |heads, causal, kv, bias| -> (&'static LayerDef, Vec<Arg>) {
        (&layers::ATTENTION, vec![int(heads), flag(causal), kv, Arg::Float(0.0), flag(bias), flag(false), auto])
    };
    let own = Arg::Word("heads");
    match name {
        "attention_plain" => attention(2, false, own, true),
        "attention_causal" => attention(3, true, own, true),
        "attention_unbiased" => attention(1, false, own, false),
        "attention_single" => attention(4, true, own, true),
        "attention_shared" => attention(4, true, int(2), true),
        "cross_attention_plain" => (&layers::CROSS_ATTENTION, vec![int(3), own, Arg::Float(0.0), flag(true), auto]),
        "embedding_plain" => (&layers::EMBEDDING, vec![int(5), int(3), auto]),
        "positional_plain" => (&layers::POSITIONAL, vec![auto]),
        "rms_norm_plain" => (&layers::RMS_NORM, vec![Arg::Float(1e-5)]),
        other => panic!("no arguments for {other}"),
    }
}

#[test]
fn layers_over_sequences_are_those_of_pytorch_forward_and_backward() {
    let file = GoldenFile::read("sequences");
    let cases: Vec<&Case> = file.cases().iter().filter(|case| case.name != "siamese").collect();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let (layer, args) = layer(&case.name);
        layer_golden::check(case, layer, &args);
    }
}

network! {
    Siamese<(a: [B, 5], b: [B, 5]) -> d: [B]> {
        layer encoder = { Dense(3), tanh, Dense(2) };
        let u = a -> encoder;
        let v = b -> encoder;
        d = sqrt(sum(square(u - v), axis = -1) + 1e-6);
    }
    scalar margin = 2.0;
    loss(same: [B]) = mean(same * square(d) + (1.0 - same) * square(relu(margin - d)));
}

#[test]
fn gradients_of_a_layer_that_two_flows_share_are_those_of_pytorch() {
    let file = GoldenFile::read("sequences");
    let case = file.case("siamese");
    let singles = |key: &str| -> Vec<f32> { case.floats(key).iter().map(|&x| x as f32).collect() };
    let [a, b] = ["a", "b"].map(|key| Array2::from_shape_vec((4, 5), singles(key)).expect("four rows"));
    let same = Array1::from_vec(singles("same"));
    let mut net: Session<Siamese> = Siamese::trainer(Sgd::new(0.1)).max_batch(4).build().expect("it builds");
    let names: Vec<String> = net.names().map(str::to_string).collect();
    assert_eq!(names.len(), 4);
    for name in &names {
        let key = name.replace('.', "_");
        let value = ArrayD::from_shape_vec(case.get(&key).shape.clone(), singles(&key)).expect("as many as it says");
        net.set_param(name, value.view()).expect("the shapes agree");
    }
    let numbers = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
    let d = net.predict((a.view(), b.view())).expect("it runs").to_vec();
    F32.check("d", &numbers(&d), case.floats("d"));
    let gradients = net.gradients((a.view(), b.view()), same.view()).expect("it runs");
    F32.check("loss", &[f64::from(gradients.loss)], case.floats("loss"));
    for name in &names {
        let found = gradients.get(name).expect("it is trained").iter().copied().collect::<Vec<f32>>();
        F32.check(name, &numbers(&found), case.floats(&format!("d{}", name.replace('.', "_"))));
    }
}
