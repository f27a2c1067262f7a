//! Networks of several flows: what they compute, and how their inputs, outputs and parameters go by name.

use gradloom::ndarray::{Array, Array1, Array2, ShapeBuilder, array};
use gradloom::{Adam, Network as _, Session, Sgd, Stage, network};
use gradloom_runtime::init::Random;
use gradloom_runtime::network::Definition;
use insta::assert_snapshot;

use crate::oracle::agreement::{Verdict, agree};

network! {
    pub TwoTower<(user: [B, 6], item: [B, 4]) -> (score: [B], emb: [B, 3])> {
        let u = user -> Dense(8), relu, Dense(5);
        let v = item -> Dense(7) as hidden, relu, Dense(5);
        score = sum(u * v, axis = -1);
        emb = (u, v) -> concat, Dense(3), tanh, LayerNorm;
    }
    loss(y: [B]) = bce_with_logits(score, y) + 0.1 * mean(square(emb)) + 0.01 * mean(abs(hidden));
    metric right = mean((score > 0.0) == (y > 0.5));
}

network! {
    pub Siamese<(a: [B, 6], b: [B, 6]) -> d: [B]> {
        layer encoder = { Dense(8), tanh, |x, slope = 0.5| slope * x, Dense(3) };
        let u = a -> encoder;
        let v = b -> encoder;
        d = sqrt(sum(square(u - v), axis = -1) + 1e-6);
    }
    loss(same: [B]) = mean(same * square(d) + (1.0 - same) * square(relu(1.0 - d))) + 1e-3 * l2(weights);
}

network! {
    pub Gaussian<x: [B, 4] -> (mean: [B, 2], log_var: [B, 2])> {
        let h = x -> Dense(8), tanh, Dense(4);
        mean = h[.., 0..2];
        log_var = h[.., 2..];
    }
    loss(y: [B, 2]) = 0.5 * mean(log_var + square(y - mean) * exp(-log_var));
}

network! {
    pub Parts<x: [B, 2, 6] -> (y: [B, 3], z: [B, 6, 2])> {
        let (first, second) = x -> tanh, split(axis = 1);
        let flat = reshape(first, [B, 6]) - mean(second, axis = [1, 2], keep = true)[.., 0, ..] -> Dense(3);
        let turned = transpose(x) * where(x[.., 0..1, 0..1] > 0.0, 1.0, 0.5);
        y = flat + max(x, axis = [1, 2], keep = true)[.., 0, ..] - min(turned, axis = 1)[.., 1..];
        z = concat(turned[.., 3.., ..], turned[.., ..3, ..], axis = 1) * var(x, axis = [1, 2], keep = true);
    }
    loss = mean(square(y)) + mean(z);
}

network! {
    pub Weighted<x: [B, 3] -> (y: [B, 2], z: [B])> {
        layer first = Dense(4);
        let h = x -> first, tanh;
        y = h * slope -> Dense(2);
        z = sum(h, axis = 1) * slope;
    }
    scalar slope = 0.5;
    scalar share = 2.0;
    loss(t: [B, 2], u: [B]) = mse(y, t) + share * mse(z, u);
    metric second = mse(z, u);
}

/// Numbers of any shape, the same for the same seed.
fn drawn<S: ShapeBuilder>(shape: S, seed: u64) -> Array<f32, S::Dim> {
    let mut random = Random::new(seed, 0);
    Array::from_shape_simple_fn(shape, || random.normal() as f32)
}

fn holds(definition: &'static Definition<'static>) {
    for (rows, seed) in [(1, 1), (3, 2), (9, 3)] {
        match agree(definition, rows, seed) {
            Ok(Verdict::Agrees { slopes, compiled, .. }) => assert!(slopes > 0 && compiled, "{rows} rows show nothing"),
            Ok(other) => panic!("{rows} rows: {other:?}"),
            Err(difference) => panic!("{rows} rows: {difference}"),
        }
    }
}

#[test]
fn two_towers_compute_what_they_say() {
    holds(TwoTower::DEFINITION);
}

#[test]
fn shared_layers_compute_what_they_say() {
    holds(Siamese::DEFINITION);
}

#[test]
fn halves_of_an_output_compute_what_they_say() {
    holds(Gaussian::DEFINITION);
}

#[test]
fn movement_and_reductions_along_axes_compute_what_they_say() {
    holds(Parts::DEFINITION);
}

#[test]
fn scalars_compute_what_they_say() {
    holds(Weighted::DEFINITION);
}

fn towers(threads: usize) -> Session<TwoTower> {
    TwoTower::trainer(Adam::new(1e-2)).max_batch(32).seed(3).threads(threads).build().expect("it builds")
}

#[test]
fn inputs_come_as_a_tuple_and_outputs_go_by_name() {
    let mut net = towers(1);
    let (user, item) = (drawn((32, 6), 1), drawn((32, 4), 2));
    let bought = user.column(0).mapv(|x| if x > 0.0 { 1.0f32 } else { 0.0 });
    let first = net.step((user.view(), item.view()), bought.view()).expect("a step");
    for _ in 0..200 {
        net.step((user.view(), item.view()), bought.view()).expect("a step");
    }
    let found = net.evaluate((user.view(), item.view()), bought.view()).expect("an evaluation");
    assert!(found.loss < 0.5 * first.loss && found.right > 0.9, "{first:?}, then {found:?}");

    // More rows than a batch, in pieces, and a predictor of another size.
    let (users, items) = (drawn((70, 6), 5), drawn((70, 4), 6));
    let outputs = net.predict((users.view(), items.view())).expect("a prediction");
    let (score, emb): (Array1<f32>, Array2<f32>) = (outputs.score.to_owned(), outputs.emb.to_owned());
    assert_eq!((score.dim(), emb.dim()), (70, (70, 3)));
    let mut predictor = TwoTower::predictor().max_batch(9).build_from(&net).expect("it builds");
    let others = predictor.predict((users.view(), items.view())).expect("a prediction");
    assert_eq!((others.score.to_owned(), others.emb.to_owned()), (score, emb));
}

#[test]
fn inputs_of_different_numbers_of_rows_are_refused() {
    let mut net = towers(1);
    let (user, item) = (drawn((8, 6), 1), drawn((7, 4), 2));
    let error = net.step((user.view(), item.view()), Array1::zeros(8).view()).expect_err("they differ");
    assert_eq!(error.to_string(), "`item` has 7 rows where `user` has 8");
}

#[test]
fn networks_of_several_flows_have_the_same_bits_for_any_number_of_threads() {
    let bits = |threads: usize| {
        let mut net = towers(threads);
        let (user, item) = (drawn((32, 6), 1), drawn((32, 4), 2));
        for _ in 0..5 {
            net.step((user.view(), item.view()), Array1::ones(32).view()).expect("a step");
        }
        let names: Vec<String> = net.names().map(String::from).collect();
        let params = names.iter().map(|name| net.param(name).expect("it is there").mapv(f32::to_bits));
        params.collect::<Vec<_>>()
    };
    assert_eq!(bits(1), bits(2));
    assert_eq!(bits(1), bits(3));
}

#[test]
fn a_shared_layer_has_one_set_of_parameters() {
    let net = Siamese::trainer(Sgd::new(0.1)).build().expect("it builds");
    let names: Vec<&str> = net.names().collect();
    assert_eq!(
        names,
        [
            "encoder.dense1.weight",
            "encoder.dense1.bias",
            "encoder.lambda1.slope",
            "encoder.dense2.weight",
            "encoder.dense2.bias"
        ]
    );
    assert_snapshot!(Siamese::ir(Stage::Static), @"
    network Siamese<(a: f32[B,6], b: f32[B,6]) -> d: f32[B]>
      u.encoder1.dense1   Dense(8) of a                                              f32[B,8]  56 parameters
      u.encoder1.tanh1    tanh                                                       f32[B,8]
      u.encoder1.lambda1  |x, slope = 0.5| slope * x                                 f32[B,8]   1 parameter
      u.encoder1.dense2   Dense(3)                                                   f32[B,3]  27 parameters
      v.encoder1.dense1   Dense(8) of b, parameters of encoder.dense1                f32[B,8]
      v.encoder1.tanh1    tanh                                                       f32[B,8]
      v.encoder1.lambda1  |x, slope = 0.5| slope * x, parameters of encoder.lambda1  f32[B,8]
      v.encoder1.dense2   Dense(3), parameters of encoder.dense2                     f32[B,3]
      d                   sqrt(sum(square(u - v), axis = -1) + 1e-6)                 f32[B]
      loss(same: f32[B]) = mean(same * square(d) + (1 - same) * square(relu(1 - d))) + 0.001 * l2(weights)
      84 parameters
    ");
}

#[test]
fn the_gradients_of_a_shared_layer_add_up() {
    let (a, b) = (drawn((9, 6), 1), drawn((9, 6), 2));
    let same = Array1::from_shape_fn(9, |row| (row % 2) as f32);
    let report = Siamese::gradcheck((a.view(), b.view()), same.view()).expect("a check");
    assert!(report.passed(), "{report}");
}

#[test]
fn a_scalar_changes_from_step_to_step_and_is_saved() {
    let mut net = Weighted::trainer(Sgd::new(0.1)).max_batch(8).build().expect("it builds");
    let x = drawn((8, 3), 1);
    let targets = (drawn((8, 2), 2), drawn(8, 3));
    let targets = || (targets.0.view(), targets.1.view());
    let first = net.evaluate(x.view(), targets()).expect("an evaluation");
    net.set_scalar("share", 0.0).expect("it is declared");
    let without = net.evaluate(x.view(), targets()).expect("an evaluation");
    assert!((first.loss - without.loss - 2.0 * first.second).abs() < 1e-5, "{first:?}, then {without:?}");
    assert_eq!(first.second, without.second);

    // A scalar of a flow counts in a prediction; a predictor has the one of its session.
    net.set_scalar("slope", 0.0).expect("it is declared");
    let flat = net.predict(x.view()).expect("a prediction").z.to_owned();
    assert_eq!(flat, Array1::<f32>::zeros(8));
    let mut predictor = net.predictor().expect("it builds");
    assert_eq!(predictor.predict(x.view()).expect("a prediction").z.to_owned(), flat);

    let path = std::env::temp_dir().join(format!("gradloom-scalars-{}.safetensors", std::process::id()));
    net.save(&path).expect("it is saved");
    let mut other = Weighted::trainer(Sgd::new(0.1)).max_batch(8).build().expect("it builds");
    assert_eq!(other.scalar("slope"), Ok(0.5));
    other.load(&path).expect("it is loaded");
    assert_eq!((other.scalar("slope"), other.scalar("share")), (Ok(0.0), Ok(0.0)));
    let mut deployed = Weighted::predictor().load(&path).expect("it is loaded");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(deployed.predict(x.view()).expect("a prediction").z.to_owned(), flat);

    // With nothing of the second output in the loss, what is trained alone is what makes the first.
    net.step(x.view(), targets()).expect("a step");
    let error = net.set_scalar("shares", 1.0).expect_err("there is none");
    assert_eq!(error.to_string(), "no scalar `shares`; did you mean `share`?");
    let error = net.set_scalar("share", f64::NAN).expect_err("it is no number");
    assert_eq!(
        error.to_string(),
        "the scalar `share` must be 0, or a number between 1.2e-38 and 3.4e38 in magnitude, got NaN"
    );
}

#[test]
fn every_stage_profile_and_diagnosis_speaks_of_flows() {
    let mut net = towers(1);
    let (user, item) = (drawn((8, 6), 1), drawn((8, 4), 2));
    let profile = net.profile((user.view(), item.view()), Array1::ones(8).view()).expect("a profile");
    assert!(profile.layers.iter().any(|layer| layer.layer == "u.dense1"), "{profile}");
    let diagnostics = net.diagnose((user.view(), item.view()), Array1::ones(8).view()).expect("a diagnosis");
    let layers: Vec<&str> = diagnostics.layers.iter().map(|layer| layer.layer.as_str()).collect();
    assert_eq!(
        layers,
        [
            "u.dense1",
            "u.relu1",
            "u.dense2",
            "hidden",
            "v.relu1",
            "v.dense2",
            "emb.dense1",
            "emb.tanh1",
            "emb.layer_norm1"
        ]
    );
    assert_snapshot!(TwoTower::ir(Stage::Static), @"
    network TwoTower<(user: f32[B,6], item: f32[B,4]) -> (score: f32[B], emb: f32[B,3])>
      u.dense1         Dense(8) of user                        f32[B,8]   56 parameters
      u.relu1          relu                                    f32[B,8]
      u.dense2         Dense(5)                                f32[B,5]   45 parameters
      hidden           Dense(7) of item                        f32[B,7]   35 parameters
      v.relu1          relu                                    f32[B,7]
      v.dense2         Dense(5)                                f32[B,5]   40 parameters
      score            sum(u * v, axis = -1)                   f32[B]
      emb.concat1      concat(axis = 1) of u.dense2, v.dense2  f32[B,10]
      emb.dense1       Dense(3)                                f32[B,3]   33 parameters
      emb.tanh1        tanh                                    f32[B,3]
      emb.layer_norm1  LayerNorm                               f32[B,3]    6 parameters
      loss(y: f32[B]) = bce_with_logits(score, y) + 0.1 * mean(square(emb)) + 0.01 * mean(abs(hidden))
      metric right = mean((score > 0) == (y > 0.5))
      215 parameters
    ");
    assert_snapshot!(Gaussian::ir(Stage::Forward), @"
    %0 = input x : f32[B,4]
    %1 = param h.dense1.weight : f32[4,8]                            # h.dense1
    %2 = dot %0, %1 : f32[B,8]                                       # h.dense1
    %3 = param h.dense1.bias : f32[8]                                # h.dense1
    %4 = broadcast %3 to 1 : f32[B,8]                                # h.dense1
    %5 = add %2, %4 : f32[B,8]                                       # h.dense1
    %6 = tanh %5 : f32[B,8]                                          # h.tanh1
    %7 = param h.dense2.weight : f32[8,4]                            # h.dense2
    %8 = dot %6, %7 : f32[B,4]                                       # h.dense2
    %9 = param h.dense2.bias : f32[4]                                # h.dense2
    %10 = broadcast %9 to 1 : f32[B,4]                               # h.dense2
    %11 = add %8, %10 : f32[B,4]                                     # h.dense2
    %12 = slice %11 axis 1, 2 from 0 : f32[B,2]                      # mean
    %13 = slice %11 axis 1, 2 from 2 : f32[B,2]                      # log_var
    %14 = target y : f32[B,2]
    %15 = sub %14, %12 : f32[B,2]                                    # loss
    %16 = mul %15, %15 : f32[B,2]                                    # loss
    %17 = neg %13 : f32[B,2]                                         # loss
    %18 = exp %17 : f32[B,2]                                         # loss
    %19 = mul %16, %18 : f32[B,2]                                    # loss
    %20 = add %13, %19 : f32[B,2]                                    # loss
    %21 = sum %20 over 0,1 : f32[]                                   # loss
    %22 = count 2*B : f32[]                                          # loss
    %23 = div %21, %22 : f32[]                                       # loss
    %24 = mul 0.5, %23 : f32[]                                       # loss
    output mean = %12
    output log_var = %13
    loss = %24
    ");
    let mut shared = Siamese::trainer(Sgd::new(0.1)).build().expect("it builds");
    let diagnostics = shared.diagnose((user.view(), user.view()), Array1::ones(8).view()).expect("a diagnosis");
    let layers: Vec<(&str, bool)> =
        diagnostics.layers.iter().map(|layer| (layer.layer.as_str(), layer.gradient.is_some())).collect();
    // The gradient by its parameters is told where it is used first.
    assert_eq!(layers.iter().filter(|(layer, known)| layer.ends_with("dense1") && *known).count(), 1, "{layers:?}");
}

network! {
    Roots<(a: [B, 2], b: [B, 2]) -> y: [B, 2]> {
        let u = a -> Dense(2, init = constant(1.0));
        let v = ln(b);
        y = u + v;
    }
    loss = mean(y);
}

#[test]
fn a_loss_that_is_not_finite_is_traced_to_its_flow() {
    let mut net = Roots::trainer(Sgd::new(0.1)).build().expect("it builds");
    let (a, b) = (array![[1.0, 2.0]], array![[1.0, 0.0]]);
    let error = net.step((a.view(), b.view()), ()).expect_err("the logarithm of 0");
    assert_snapshot!(error, @"the loss of step 1 is -inf: in the forward pass of `v` (tests/it/flows.rs:314:13), element [0, 1] is ln(0) = -inf, where b[0, 1] is 0; parameters and statistics are as before the step");
}
