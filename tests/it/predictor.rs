//! Inference apart from training: the same bits in any number of threads, of parameters that nobody else changes.

use std::fs;
use std::path::Path;
use std::thread;

use gradloom::ndarray::{Array2, ArrayView2, array, s};
use gradloom::{Predictor, Sgd, network};
use insta::assert_snapshot;

use crate::checkpoint::folder;
use crate::state_dict;
use crate::train::{Classifier, classifier, samples};

network! {
    /// Without a loss: only asked.
    pub Asked<x: [B, 2] -> y: [B, 1]> { Dense(2), relu, Dense(1) }

    /// The output is the input under another shape.
    pub Renamed<x: [B, 2, 3] -> y: [B, 6]> { flatten }
}

fn trained() -> (gradloom::Session<Classifier>, Array2<f32>) {
    let (x, labels) = samples(150);
    let mut net = classifier(150);
    for _ in 0..3 {
        net.step(x.view(), labels.view()).expect("the batch fits");
    }
    (net, x)
}

fn predicted(predictor: &mut Predictor<Classifier>, x: ArrayView2<'_, f32>) -> Vec<u32> {
    predictor.predict(x).expect("any number of rows").iter().map(|y| y.to_bits()).collect()
}

#[test]
fn predictors_in_several_threads_give_the_bits_of_the_session() {
    let (mut net, x) = trained();
    let expected: Vec<u32> = net.predict(x.view()).expect("the batch fits").iter().map(|y| y.to_bits()).collect();
    let predictor = net.predictor().expect("it builds");
    thread::scope(|scope| {
        for thread in 0..4 {
            let (mut own, x, expected) = (predictor.clone(), &x, &expected);
            scope.spawn(move || {
                for round in 0..100 {
                    let from = (7 * round + 31 * thread) % 149;
                    let to = (from + 1 + round % 60).min(150);
                    let actual = predicted(&mut own, x.slice(s![from..to, ..]));
                    assert_eq!(actual, expected[3 * from..3 * to], "rows {from}..{to} in thread {thread}");
                }
            });
        }
    });
}

#[test]
fn a_predictor_outlives_its_session_and_does_not_see_further_training() {
    let (mut net, x) = trained();
    let mut predictor = net.predictor().expect("it builds");
    let before = predicted(&mut predictor, x.view());
    net.step(x.view(), samples(150).1.view()).expect("the batch fits");
    let after = predicted(&mut net.predictor().expect("it builds"), x.view());
    drop(net);
    assert_eq!(predicted(&mut predictor, x.view()), before);
    assert_ne!(after, before, "a later one has the later parameters");
}

#[test]
fn rows_are_taken_as_many_at_a_time_as_the_builder_says() {
    let (net, x) = trained();
    let mut whole = Classifier::predictor().max_batch(150).build_from(&net).expect("it builds");
    let mut pieces = Classifier::predictor().max_batch(7).build_from(&net).expect("it builds");
    assert_eq!((whole.max_batch(), pieces.max_batch()), (150, 7));
    assert_eq!(predicted(&mut pieces, x.view()), predicted(&mut whole, x.view()));
}

#[test]
fn a_clone_keeps_its_parameters_when_another_is_given_new_ones() {
    let (mut net, x) = trained();
    let mut first = net.predictor().expect("it builds");
    let mut second = first.clone();
    let before = predicted(&mut first, x.view());
    let changed = first.param("dense3.bias").expect("the name exists").mapv(|bias| bias + 1.0);
    first.set_param("dense3.bias", changed.view()).expect("the shape is the parameter's");
    assert_eq!(first.param("dense3.bias").expect("the name exists"), changed);
    assert_ne!(predicted(&mut first, x.view()), before);
    assert_eq!(predicted(&mut second, x.view()), before);
    assert_eq!(predicted(&mut first.clone(), x.view()), predicted(&mut first, x.view()));
}

#[test]
fn a_network_without_a_loss_computes_what_its_parameters_say() {
    let mut net = Asked::predictor().max_batch(4).build().expect("it needs no loss");
    assert_eq!(net.names().collect::<Vec<_>>(), ["dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias"]);
    net.set_param("dense1.weight", array![[1.0f32, -1.0], [2.0, 0.5]].view()).expect("[in, out]");
    net.set_param("dense1.bias", array![0.25f32, -0.25].view()).expect("[out]");
    net.set_param("dense2.weight", array![[2.0f32], [-4.0]].view()).expect("[in, out]");
    net.set_param("dense2.bias", array![0.5f32].view()).expect("[out]");
    // relu([1 + 4 + 1/4, -1 + 1 - 1/4]) = [5.25, 0]; 2 * 5.25 + 0.5 = 11. relu([-1.75, 0.5]) = [0, 0.5]; 0.5 - 2 = -1.5.
    let y = net.predict(array![[1.0, 2.0], [-1.0, -0.5]].view()).expect("two rows");
    assert_eq!(y, array![[11.0], [-1.5]]);
}

#[test]
fn first_parameters_are_those_of_a_trainer_with_the_seed() {
    let net = Classifier::trainer(Sgd::new(0.1)).seed(5).build().expect("it builds");
    let predictor = Classifier::predictor().seed(5).build().expect("it builds");
    let other = Classifier::predictor().seed(6).build().expect("it builds");
    for name in predictor.names() {
        assert_eq!(predictor.param(name).expect("the name exists"), net.param(name).expect("the name exists"));
    }
    assert_ne!(other.param("dense1.weight"), predictor.param("dense1.weight"));
}

#[test]
fn an_output_may_be_the_input_itself() {
    let mut net = Renamed::predictor().max_batch(2).build().expect("it builds");
    let x = gradloom::ndarray::Array3::from_shape_fn((5, 2, 3), |(i, j, k)| (6 * i + 3 * j + k) as f32);
    let expected = Array2::from_shape_fn((5, 6), |(i, j)| (6 * i + j) as f32);
    assert_eq!(net.predict(x.view()).expect("any number of rows"), expected);
}

#[test]
fn a_refused_call_leaves_the_predictor_as_it_was() {
    let (mut net, x) = trained();
    let mut predictor = net.predictor().expect("it builds");
    let before = predicted(&mut predictor, x.view());
    let message = predictor.predict(x.slice(s![.., ..4])).expect_err("four of five columns").to_string();
    assert_eq!(message, "`x` wants [B, 5], got [150, 4]");
    let message = predictor.predict(x.slice(s![..0, ..])).expect_err("no rows").to_string();
    assert_eq!(message, "`x` has no rows");
    let message = predictor.set_param("dense1.bias", array![0.0f32].view()).expect_err("no such name").to_string();
    assert!(message.starts_with("no parameter `dense1.bias`"), "{message}");
    let message = predictor.set_param("dense3.bias", array![0.0f32].view()).expect_err("another shape").to_string();
    assert_eq!(message, "`dense3.bias` wants [3], got [1]");
    let message = Asked::predictor().max_batch(0).build().expect_err("no rows at a time").to_string();
    assert_eq!(message, "max_batch must be at least 1, got 0");
    assert_eq!(predicted(&mut predictor, x.view()), before);
}

// ---- From a file ----------------------------------------------------------------------------------------------------

network! {
    /// As `Asked`, with a loss.
    pub Taught<x: [B, 2] -> y: [B, 1]> { Dense(2), relu, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

#[test]
fn a_file_is_all_that_a_prediction_needs() {
    let path = folder("deployed").join("net.safetensors");
    let (mut net, x) = trained();
    let expected: Vec<u32> = net.predict(x.view()).expect("the batch fits").iter().map(|y| y.to_bits()).collect();
    // Adam's moments, and sums of gradients, are in the file and passed over.
    let (x16, labels) = samples(16);
    net.accumulate(x16.view(), labels.view()).expect("the batch fits");
    let mut net_again = net.predictor().expect("it builds");
    net.save(&path).expect("the folder can be written");
    drop(net);
    for max_batch in [1, 7, 150] {
        let mut deployed =
            Classifier::predictor().max_batch(max_batch).load(&path).expect("the file is of this network");
        assert_eq!(deployed.max_batch(), max_batch);
        assert_eq!(predicted(&mut deployed, x.view()), predicted(&mut net_again, x.view()), "pieces of {max_batch}");
        assert!(deployed.names().all(|name| !name.ends_with(".m")), "no state of an optimizer");
    }
    let statistics = ["batch_norm1.running_mean", "batch_norm1.running_var"];
    let deployed = Classifier::predictor().load(&path).expect("the file is of this network");
    assert!(statistics.iter().all(|name| deployed.param(name) == net_again.param(name)));
    assert_ne!(expected, predicted(&mut net_again, x.view()), "a batch that is accumulated moves the statistics");
}

#[test]
fn a_network_without_a_loss_takes_the_file_of_one_that_was_trained() {
    let path = folder("without_a_loss").join("net.safetensors");
    let x = array![[1.0, 2.0], [-1.0, -0.5]];
    let mut net = Taught::trainer(Sgd::new(0.1)).max_batch(2).seed(3).build().expect("it builds");
    net.step(x.view(), array![[1.0], [0.0]].view()).expect("the batch fits");
    net.save(&path).expect("the folder can be written");
    let mut asked = Asked::predictor().load(&path).expect("the names are the same");
    assert_eq!(asked.predict(x.view()).expect("two rows"), net.predict(x.view()).expect("two rows"));
}

#[test]
fn a_file_that_does_not_fit_leaves_a_predictor_as_it_was_and_says_what_it_says_to_a_session() {
    let folder = folder("undeployed");
    let path = folder.join("net.safetensors");
    let (mut net, x) = trained();
    net.save(&path).expect("the folder can be written");
    let mut predictor = net.predictor().expect("it builds");
    let before = predicted(&mut predictor, x.view());
    let mut refused = |what: &str, path: &Path| {
        let error = predictor.load(path).expect_err(what);
        assert_eq!(error, net.load_params(path).expect_err(what), "{what}");
        let built = Classifier::predictor().load(path).expect_err(what);
        assert_eq!(built.to_string(), error.to_string(), "{what}");
        assert_eq!(predicted(&mut predictor, x.view()), before, "{what}");
        error.to_string().replace(&format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR), "")
    };
    let bytes = fs::read(&path).expect("it was written");
    let [cut, altered, other] = ["cut", "altered", "other"].map(|name| folder.join(format!("{name}.safetensors")));
    fs::write(&cut, &bytes[..bytes.len() - 1]).expect("the folder can be written");
    // Of the first tensor, the weight of the first layer.
    let mut flipped = bytes.clone();
    flipped[8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize] ^= 1;
    fs::write(&altered, &flipped).expect("the folder can be written");
    let taught = Taught::trainer(Sgd::new(0.1)).build().expect("it builds");
    taught.save(&other).expect("the folder can be written");
    let told = [
        refused("cut off", &cut),
        refused("altered", &altered),
        refused("of another network", &other),
        refused("missing", &folder.join("none")),
    ];
    assert_snapshot!(told.join("\n"), @"
    `cut.safetensors` is damaged or no safetensors file: `dense3.bias.v` ends at byte 1568 of the data, of which there are 1567
    `altered.safetensors` is damaged: `dense1.weight` does not have its checksum
    `other.safetensors` does not fit `Classifier`:
      it is a checkpoint of `Taught`
      `dense1.weight` is [5, 9] here, and `dense1.weight` is [2, 2] in the file
      nothing in the file becomes `batch_norm1.gamma`
      nothing in the file becomes `batch_norm1.beta`
      nothing in the file becomes `batch_norm1.running_mean`
      nothing in the file becomes `batch_norm1.running_var`
      `dense2.weight` is [9, 4] here, and `dense2.weight` is [2, 1] in the file
      nothing in the file becomes `batch_norm2.gamma`
      and 7 more
    can't read `none`: No such file or directory (os error 2)
    ");
}

#[test]
fn a_clone_keeps_its_parameters_when_another_is_loaded() {
    let path = folder("clones").join("net.safetensors");
    let (mut net, x) = trained();
    net.save(&path).expect("the folder can be written");
    let expected = predicted(&mut net.predictor().expect("it builds"), x.view());
    let mut first = Classifier::predictor().max_batch(150).build().expect("it builds");
    let mut second = first.clone();
    let untrained = predicted(&mut first, x.view());
    first.load(&path).expect("the file is of this network");
    assert_eq!(predicted(&mut first, x.view()), expected);
    assert_eq!(predicted(&mut first.clone(), x.view()), expected);
    assert_eq!(predicted(&mut second, x.view()), untrained);
}

#[test]
fn a_state_dict_of_pytorch_may_be_deployed() {
    let x = Array2::from_shape_fn((4, 6), |(i, j)| ((7 * i + 5 * j) % 11) as f32 / 5.0 - 1.0);
    let mut net = state_dict::known();
    net.load_mapped(state_dict::file(), &state_dict::names()).expect("the map accounts for everything");
    let mut predictor = state_dict::Known::predictor().max_batch(4).build().expect("it builds");
    predictor.load_mapped(state_dict::file(), &state_dict::names()).expect("the map accounts for everything");
    assert_eq!(predictor.predict(x.view()).expect("four rows"), net.predict(x.view()).expect("four rows"));
}
