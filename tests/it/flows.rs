//! Networks of several flows: what they compute, and how their inputs, outputs and parameters go by name.

use gradloom::ndarray::{Array, Array1, Array2, ShapeBuilder, array};
use gradloom::{Adam, Dataset, Network as _, Progress, Session, Sgd, Stage, network};
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

network! {
    pub Sampler<x: [B, 6] -> y: [B, 6]> {
        let (mean_of, log_var) = x -> Dense(4), split;
        let noise = mean_of -> Normal;
        y = mean_of + exp(0.5 * log_var) * noise -> Dense(6);
    }
    scalar weight = 0.5;
    loss = mse(y, x) + weight * mean(sum(square(mean_of) + exp(log_var) - log_var - 1.0, axis = -1));

    pub Kinds<(kind: [u8; B], place: [u16; B, 2], size: [B, 3, 2]) -> (logits: [B, 4], total: [B, 1])> {
        let k = one_hot(kind, classes = 5) -> Dense(3);
        let p = one_hot(place, classes = 9) -> Dense(2), tanh, flatten;
        let s = size -> Dense(3), relu, LayerNorm, flatten;
        logits = (k, p, s) -> concat, Dense(4);
        total = s -> Dense(1);
    }
    loss(label: [u8; B], sum_of: [B, 1]) = cross_entropy(logits, label) + mse(total, sum_of);
    metric accuracy = mean(argmax(logits) == label);
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
    holds(TwoTower::declared());
}

#[test]
fn shared_layers_compute_what_they_say() {
    holds(Siamese::declared());
}

#[test]
fn halves_of_an_output_compute_what_they_say() {
    holds(Gaussian::declared());
}

#[test]
fn movement_and_reductions_along_axes_compute_what_they_say() {
    holds(Parts::declared());
}

#[test]
fn scalars_compute_what_they_say() {
    holds(Weighted::declared());
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
    assert_snapshot!(error, @"the loss of step 1 is -inf: in the forward pass of `v` (tests/it/flows.rs:334:13), element [0, 1] is ln(0) = -inf, where b[0, 1] is 0; parameters and statistics are as before the step");
}

#[test]
fn a_variational_autoencoder_computes_what_it_says() {
    holds(Sampler::declared());
}

#[test]
fn class_ids_that_flow_in_compute_what_they_say() {
    holds(Kinds::declared());
}

network! {
    Noise<x: [B, 4, 8] -> y: [B, 4, 8]> {
        let noise = x -> Normal(deviation = 2.0);
        y = noise -> |x, one = 1.0| one * x;
    }
    loss = mean(y);
    metric variance = var(y);
    metric third = mean(y * y * y);
    metric fourth = mean(square(y * y));
    metric largest = max(abs(y));
}

#[test]
fn random_numbers_are_normal_and_follow_from_seed_and_pass() {
    let x = Array::zeros((500, 4, 8));
    let first = |seed: u64, pass: u64| {
        let mut net = Noise::trainer(Sgd::new(0.0)).max_batch(500).seed(seed).build().expect("it builds");
        net.set_forward_count(pass);
        net.step(x.view(), ()).expect("a step")
    };
    // 16,000 numbers of deviation 2: within four standard errors.
    let found = first(1, 0);
    assert!(found.loss.abs() < 0.064 && (found.variance - 4.0).abs() < 0.18, "{found:?}");
    assert!(found.third.abs() < 1.0 && (found.fourth - 48.0).abs() < 5.0, "{found:?}");
    assert!((6.5..10.85).contains(&found.largest), "{found:?}");
    assert_eq!(first(1, 0), found);
    assert!(first(2, 0) != found && first(1, 1) != found);
    // In inference there is none.
    let mut net = Noise::trainer(Sgd::new(0.0)).max_batch(500).build().expect("it builds");
    assert_eq!(net.evaluate(x.view(), ()).expect("an evaluation").largest, 0.0);
}

/// Of kernels their heads, products, and what goes to memory.
fn outline(text: &str) -> String {
    let tells = |line: &&str| {
        line.starts_with("kernel") || line.contains(" = dot ") || line.trim_start().starts_with("materialize")
    };
    text.lines().filter(tells).collect::<Vec<_>>().join("\n")
}

#[test]
fn noise_is_drawn_once_by_the_kernel_that_adds_it() {
    let fused = Sampler::trainer(Sgd::new(0.1)).ir(Stage::Fused);
    let forward = fused.lines().take_while(|line| !line.starts_with("kernel 3"));
    assert_snapshot!(outline(&forward.collect::<Vec<_>>().join("\n")), @"
    kernel 0: B x 4, 52*B FLOP, 40*B + 112 bytes
      %3 = dot x, mean_of.dense1.weight : f32[B,4]                   # mean_of.dense1
      materialize %6                                                 # for kernels 1, 3, 5: used in another shape
    kernel 1: b B, i 2, 158*B FLOP, 40*B bytes                       # %6 comes from kernel 0, over B x 4
      materialize %60                                                # for kernel 5: to rematerialize it takes 13 operations, 2 reads, 2 writes
      materialize %62                                                # for kernel 5: exp runs once
      materialize %63                                                # for kernels 2, 6: a matmul reads memory
    kernel 2: B x 6, 66*B + 1 FLOP, 56*B + 100 bytes                 # a matmul
      %65 = dot %63, y.dense1.weight : f32[B,6]                      # y.dense1
      materialize %94                                                # for kernels 5, 6: a matmul reads memory
    ");
    // The backward pass reads it.
    assert_eq!(fused.matches(" = uniform ").count(), 1);
    // In inference there is none, and of the variance only what is multiplied by zeros.
    assert_snapshot!(outline(&Sampler::predictor().ir(Stage::Fused)), @"
    kernel 0: B x 4, 52*B FLOP, 40*B + 112 bytes
      %2 = dot x, mean_of.dense1.weight : f32[B,4]                   # mean_of.dense1
      materialize %5                                                 # for kernel 1: used in another shape
    kernel 1: b B, i 2, 8*B FLOP, 24*B bytes                         # %5 comes from kernel 0, over B x 4
      materialize %10                                                # for kernel 2: a matmul reads memory
    kernel 2: B x 6, 30*B FLOP, 32*B + 72 bytes                      # a matmul
      %12 = dot %10, y.dense1.weight : f32[B,6]                      # y.dense1
      materialize %15                                                # output y
    ");
}

#[test]
fn towers_meet_in_the_kernel_of_their_last_product() {
    assert_snapshot!(outline(&TwoTower::predictor().ir(Stage::Fused)), @"
    kernel 0: B x 8, 112*B FLOP, 56*B + 224 bytes
      %3 = dot user, u.dense1.weight : f32[B,8]                      # u.dense1
      materialize %7                                                 # for kernel 1: a matmul reads memory
    kernel 1: B x 5, 80*B FLOP, 52*B + 160 bytes                     # a matmul
      %9 = dot %7, u.dense2.weight : f32[B,5]                        # u.dense2
      materialize %9                                                 # for kernel 3: dot runs once
    kernel 2: B x 7, 70*B FLOP, 44*B + 140 bytes                     # a matmul
      %14 = dot item, hidden.weight : f32[B,7]                       # hidden
      materialize %18                                                # for kernel 3: a matmul reads memory
    kernel 3: b B, i 5, 90*B FLOP, 92*B + 180 bytes                  # a matmul
      %20 = dot %18, v.dense2.weight : f32[B,5]                      # v.dense2
      materialize %12 as %26[b, i]                                   # for kernel 4: a part of a concatenation
      materialize %23 as %26[b, i+5]                                 # for kernel 4: a part of a concatenation
      materialize %25.row                                            # output score
    kernel 4: B x 3, 124*B FLOP, 52*B + 156 bytes                    # a matmul
      %28 = dot %26, emb.dense1.weight : f32[B,3]                    # emb.dense1
      materialize %71                                                # output emb
    ");
}

/// Kinds, places and sizes of 200 rows.
fn sizes() -> (Array1<u8>, Array2<u16>, Array<f32, gradloom::ndarray::Ix3>) {
    let kinds = Array1::from_shape_fn(200, |row| (row % 5) as u8);
    let places = Array2::from_shape_fn((200, 2), |(row, at)| ((row * (at + 2)) % 9) as u16);
    (kinds, places, drawn((200, 3, 2), 4))
}

#[test]
fn fit_takes_tuples_of_arrays_of_any_rank_and_type() {
    let (kinds, places, sizes) = sizes();
    let labels = kinds.mapv(|kind| kind % 4);
    let totals = sizes.map_axis(gradloom::ndarray::Axis(2), |pair| pair.sum()).sum_axis(gradloom::ndarray::Axis(1));
    let totals = totals.into_shape_with_order((200, 1)).expect("as many");
    let data = Dataset::new((kinds, places, sizes), (labels, totals)).expect("rows agree");
    let (mut train, test) = data.seed(1).split(0.2).expect("both sides have rows");
    let mut net = Kinds::trainer(Adam::new(1e-2)).max_batch(16).seed(1).build().expect("it builds");
    let history = net.fit(&mut train).epochs(30).validation(&test).progress(Progress::Quiet).run().expect("it trains");
    let last = history.epochs.last().expect("it was trained");
    assert!(last.train.accuracy == 1.0 && last.train.loss < 0.2 * history.epochs[0].train.loss, "{last:?}");

    // Row by row, whatever the order: the same loss from the rows as they are.
    let whole = net.evaluate(test.inputs(), test.targets()).expect("it runs");
    let (inputs, targets) = test
        .clone()
        .batches(1000)
        .next()
        .map(|(x, y)| ((x.0.to_owned(), x.1.to_owned(), x.2.to_owned()), (y.0.to_owned(), y.1.to_owned())))
        .expect("there are rows");
    let shuffled = net
        .evaluate((inputs.0.view(), inputs.1.view(), inputs.2.view()), (targets.0.view(), targets.1.view()))
        .expect("it runs");
    assert!((whole.loss - shuffled.loss).abs() < 1e-5, "{whole:?} and {shuffled:?}");

    // Outputs that belong to the caller are those that the session lends.
    let owned = net.predict_owned(test.inputs()).expect("it runs");
    let mut predictor = net.predictor().expect("it builds");
    assert_eq!(predictor.predict_owned(test.inputs()), Ok(owned.clone()));
    for _ in 0..2 {
        let lent = net.predict(test.inputs()).expect("it runs");
        assert_eq!((lent.logits, lent.total), (owned.logits.view(), owned.total.view()));
    }

    let error =
        net.predict((Array1::from_vec(vec![5u8]).view(), Array2::zeros((1, 2)).view(), Array::zeros((1, 3, 2)).view()));
    assert_eq!(
        error.map(drop).expect_err("there are five kinds").to_string(),
        "`kind` has class id 5 in row 0, but there are 5 classes (0 to 4)"
    );
}

#[test]
fn fit_takes_a_loss_without_targets() {
    let mut data = Dataset::new(drawn((64, 6), 1), ()).expect("there are rows").seed(2);
    let mut net = Sampler::trainer(Adam::new(1e-2)).max_batch(16).seed(1).build().expect("it builds");
    net.set_scalar("weight", 0.01).expect("it is declared");
    let history = net.fit(&mut data).epochs(40).progress(Progress::Quiet).run().expect("it trains");
    let losses: Vec<f32> = history.epochs.iter().map(|epoch| epoch.train.loss).collect();
    assert!(losses[39] < 0.8 * losses[0], "{losses:?}");
    assert_eq!(data.len(), 64);
}

#[test]
fn arrays_of_a_dataset_agree_about_their_rows() {
    let error = Dataset::new((Array1::<u8>::zeros(3), Array2::<f32>::zeros((4, 2))), ()).expect_err("they differ");
    assert_eq!(error.to_string(), "one input has 3 rows, and another 4");
    let error = Dataset::new(Array1::<u8>::zeros(3), (Array1::<u8>::zeros(3), Array1::<u8>::zeros(2)));
    assert_eq!(error.expect_err("they differ").to_string(), "3 rows of inputs, but 2 of targets");
    assert_eq!(Dataset::new((), ()).expect_err("there is nothing").to_string(), "a dataset needs at least one row");
}
