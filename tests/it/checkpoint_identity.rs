//! A checkpoint is of a network and a training, and no other goes on from it, however alike its tensors are.

use std::path::{Path, PathBuf};

use gradloom::{
    AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, NameMap, Network, Optimizer, RmsProp, Schedule, Session, Sgd, Trainer,
    network,
};
use gradloom_runtime::safetensors::{self, Tensor};
use insta::assert_snapshot;

use crate::checkpoint::{everything, folder};

network! {
    act soft = |x, a = 1.0| x * sigmoid(a * x);

    /// What the others differ from.
    Original<x: [B, 3] -> y: [B, 3]> { Dense(3), tanh, soft, BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);

    /// Another name, other first values, a metric: the steps are the same.
    Renamed<x: [B, 3] -> y: [B, 3]> { Dense(3, init = zeros), tanh, soft(a = 3.0), BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);
    metric size = mean(abs(y));

    OtherActivation<x: [B, 3] -> y: [B, 3]> { Dense(3), relu, soft, BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);

    OtherArgument<x: [B, 3] -> y: [B, 3]> { Dense(3), tanh, soft, BatchNorm(momentum = 0.5), Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);

    OtherShare<x: [B, 3] -> y: [B, 3]> { Dense(3), tanh, soft, BatchNorm, Dropout(0.25), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);

    OtherOrder<x: [B, 3] -> y: [B, 3]> { Dense(3), soft, tanh, BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);

    OneMore<x: [B, 3] -> y: [B, 3]> { Dense(3), tanh, soft, BatchNorm, Dropout(0.5), Dense(3), tanh }
    loss(t: [B, 3]) = mse(y, t);

    Around<x: [B, 3] -> y: [B, 3]> { Dense(3), residual { tanh }, soft, BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);

    OtherLoss<x: [B, 3] -> y: [B, 3]> { Dense(3), tanh, soft, BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mae(y, t);

    OtherTerm<x: [B, 3] -> y: [B, 3]> { Dense(3), tanh, soft, BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t) + 1e-3 * l2(weights);
}

network! {
    act soft = |x, a = 1.0| x * tanh(a * x);

    OtherFunction<x: [B, 3] -> y: [B, 3]> { Dense(3), tanh, soft, BatchNorm, Dropout(0.5), Dense(3) }
    loss(t: [B, 3]) = mse(y, t);
}

fn built<N: Network>(trainer: Trainer<N>) -> Session<N> {
    trainer.max_batch(4).build().expect("it builds")
}

/// A checkpoint of a network with everything as it comes.
fn saved(name: &str) -> PathBuf {
    let path = folder(name).join("net.safetensors");
    built(Original::trainer(Adam::new(0.1))).save(&path).expect("the folder can be written");
    path
}

/// Why a session does not go on from a file, which leaves it as it was, and that `load_params` does.
#[track_caller]
fn refusal<N: Network>(trainer: Trainer<N>, path: &Path) -> String {
    let mut net = built(trainer);
    let before = everything(&net);
    let error = net.load(path).expect_err("the checkpoint is another's").to_string();
    assert_eq!(everything(&net), before);
    let (_, told) = error.split_once(":\n").expect("it says what differs");
    let (told, advice) = told.rsplit_once('\n').expect("and what to do");
    assert_eq!(advice, "  `load_params` takes its parameters and running statistics alone");
    net.load_params(path).expect("it does");
    told.lines().map(str::trim_start).collect::<Vec<&str>>().join("\n")
}

#[test]
fn another_declaration_does_not_go_on_from_a_checkpoint() {
    let path = saved("declarations");
    let told = [
        refusal(OtherActivation::trainer(Adam::new(0.1)), &path),
        refusal(OtherFunction::trainer(Adam::new(0.1)), &path),
        refusal(OtherArgument::trainer(Adam::new(0.1)), &path),
        refusal(OtherShare::trainer(Adam::new(0.1)), &path),
        refusal(OtherOrder::trainer(Adam::new(0.1)), &path),
        refusal(OneMore::trainer(Adam::new(0.1)), &path),
        refusal(Around::trainer(Adam::new(0.1)), &path),
        refusal(OtherLoss::trainer(Adam::new(0.1)), &path),
        refusal(OtherTerm::trainer(Adam::new(0.1)), &path),
    ];
    assert_snapshot!(told.join("\n"), @"
    it is of `Original`, this session is of `OtherActivation`
    `tanh1 = tanh` there is `relu1 = relu` here
    it is of `Original`, this session is of `OtherFunction`
    `act soft = |x, a| x * sigmoid(a * x)` there is `act soft = |x, a| x * tanh(a * x)` here
    it is of `Original`, this session is of `OtherArgument`
    `batch_norm1 = BatchNorm` there is `batch_norm1 = BatchNorm(momentum = 0.5)` here
    it is of `Original`, this session is of `OtherShare`
    `dropout1 = Dropout(0.5)` there is `dropout1 = Dropout(0.25)` here
    it is of `Original`, this session is of `OtherOrder`
    `tanh1 = tanh` there is `soft1 = soft` here
    `soft1 = soft` there is `tanh1 = tanh` here
    it is of `Original`, this session is of `OneMore`
    `tanh2 = tanh` is missing there
    it is of `Original`, this session is of `Around`
    `tanh1 = tanh` is unknown here
    `residual1.tanh1 = tanh` is missing there
    `residual1 = residual` is missing there
    it is of `Original`, this session is of `OtherLoss`
    `loss(t: f32[B,3]) = mse(y, t)` there is `loss(t: f32[B,3]) = mae(y, t)` here
    it is of `Original`, this session is of `OtherTerm`
    `loss(t: f32[B,3]) = mse(y, t)` there is `loss(t: f32[B,3]) = mse(y, t) + 0.001 * l2(weights)` here
    ");
}

#[test]
fn other_settings_do_not_go_on_from_a_checkpoint() {
    let path = saved("settings");
    let told = [
        refusal(Original::trainer(Adam::new(0.1).betas(0.8, 0.999)), &path),
        refusal(Original::trainer(Adam::new(0.1).betas(0.9, 0.99)), &path),
        refusal(Original::trainer(Adam::new(0.1).eps(1e-7)), &path),
        refusal(Original::trainer(Adam::new(0.1).l2(1e-3)), &path),
        refusal(Original::trainer(Adam::new(0.1).weight_decay(1e-3)), &path),
        refusal(Original::trainer(Adam::new(0.1)).clip_value(1.0), &path),
        refusal(Original::trainer(Adam::new(0.1)).clip_norm(1.0), &path),
        refusal(Original::trainer(Adam::new(0.1)).group(Group::new("*.bias").rate_factor(2.0)), &path),
        refusal(Original::trainer(Adam::new(0.1)).group(Group::new("soft1.a").l2(0.5).weight_decay(0.1)), &path),
        refusal(Original::trainer(AdamW::new(0.1)), &path),
    ];
    assert_snapshot!(told.join("\n"), @"
    `beta1 = 0.9` there is `beta1 = 0.8` here
    `beta2 = 0.999` there is `beta2 = 0.99` here
    `eps = 1e-8` there is `eps = 1e-7` here
    `l2 = 0` there is `l2 = 0.001` here
    `weight_decay = 0` there is `weight_decay = 0.001` here
    `clip_value = none` there is `clip_value = 1` here
    `clip_norm = none` there is `clip_norm = 1` here
    `dense1.bias: rate_factor = 2` is missing there
    `dense2.bias: rate_factor = 2` is missing there
    `soft1.a: l2 = 0.5, weight_decay = 0.1` is missing there
    it was trained with Adam, this session trains with AdamW
    ");
}

/// A session with one setting does not go on from a checkpoint of one with another, either way.
fn apart(trainers: impl Fn() -> [Trainer<Original>; 2]) {
    let path = folder("apart").join("net.safetensors");
    for (there, here) in [(0, 1), (1, 0), (0, 0)] {
        let [there, here] = [there, here].map(|index| trainers().into_iter().nth(index).expect("there are two"));
        let what = format!("{there:?} and {here:?}");
        let same = format!("{there:?}") == format!("{here:?}");
        built(there).save(&path).expect("the folder can be written");
        assert_eq!(built(here).load(&path).is_ok(), same, "{what}");
    }
}

fn own(optimizer: impl Optimizer + 'static) -> Trainer<Original> {
    Original::trainer(optimizer)
}

#[test]
fn every_setting_of_every_optimizer_counts() {
    apart(|| [own(Sgd::new(0.1).momentum(0.9)), own(Sgd::new(0.1).momentum(0.5))]);
    apart(|| [own(Sgd::new(0.1).momentum(0.9)), own(Sgd::new(0.1).momentum(0.9).nesterov())]);
    apart(|| [own(RmsProp::new(0.1)), own(RmsProp::new(0.1).alpha(0.9))]);
    apart(|| [own(RmsProp::new(0.1)), own(RmsProp::new(0.1).eps(1e-6))]);
    apart(|| [own(RmsProp::new(0.1).momentum(0.5)), own(RmsProp::new(0.1).momentum(0.9))]);
    apart(|| [own(RmsProp::new(0.1)), own(RmsProp::new(0.1).centered())]);
    apart(|| [own(AdamW::new(0.1)), own(AdamW::new(0.1).weight_decay(0.1))]);
    apart(|| [own(AdamW::new(0.1)), own(AdamW::new(0.1).betas(0.9, 0.95))]);
    apart(|| [own(AdaGrad::new(0.1)), own(AdaGrad::new(0.1).eps(1e-8))]);
    apart(|| [own(AdaDelta::new(0.1)), own(AdaDelta::new(0.1).rho(0.95))]);
    apart(|| [own(AdaDelta::new(0.1)), own(AdaDelta::new(0.1).eps(1e-8))]);
    apart(|| [own(Lion::new(0.1)), own(Lion::new(0.1).betas(0.95, 0.99))]);
    apart(|| [own(Lion::new(0.1)), own(Lion::new(0.1).betas(0.9, 0.98))]);
    // Without a state nothing but the settings tells them apart.
    apart(|| [own(Sgd::new(0.1)), own(Sgd::new(0.1)).freeze("dense1.*")]);
}

#[test]
fn what_no_step_depends_on_may_differ() {
    let path = folder("same").join("net.safetensors");
    let net = built(Original::trainer(Adam::new(0.1)).group(Group::new("dense1.*").rate_factor(2.0)).seed(1));
    net.save(&path).expect("the folder can be written");
    let groups = || Group::new("dense1.weight").rate_factor(2.0);
    let trainer = Renamed::trainer(Adam::new(Schedule::cosine(0.3, 9)));
    let trainer = trainer.group(Group::new("dense1.bias").rate_factor(2.0)).group(groups()).threads(2).sentinel(true);
    let mut other = built(trainer);
    other.load(&path).expect("the steps are the same, but for their rate");
    assert_eq!(everything(&other).2, everything(&net).2);
    assert_eq!((net.learning_rate(), other.learning_rate()), (0.1, 0.1));
}

/// The file without these words, as an earlier version would have written it.
fn without(path: &Path, left_out: &[&str], net: &Session<Original>) {
    let file = safetensors::File::open(path).expect("it was written");
    let known = ["gradloom", "network", "optimizer", "steps", "seed", "forward_count", "learning_rate"];
    let words = known.into_iter().filter(|name| !left_out.contains(name));
    let words: Vec<(&str, String)> =
        words.map(|name| (name, file.header.word(name).expect("it was written").to_string())).collect();
    let values: Vec<_> = net.names().map(|name| (name, net.param(name).expect("the name exists").to_owned())).collect();
    let tensors: Vec<Tensor<'_>> = values
        .iter()
        .map(|(name, value)| Tensor { name, shape: value.shape(), floats: value.as_slice().expect("it is contiguous") })
        .collect();
    safetensors::write(path, &words, &tensors).expect("the folder can be written");
}

#[test]
fn a_file_of_an_earlier_version_is_known_by_the_names_in_it() {
    let path = saved("earlier");
    let net = built(Original::trainer(Adam::new(0.1)));
    without(&path, &[], &net);
    built(Original::trainer(Adam::new(0.5).eps(1e-7))).load(&path).expect("it says no more than its names");
    assert_snapshot!(refusal(OtherLoss::trainer(Adam::new(0.1)), &path), @"it is of `Original`, this session is of `OtherLoss`");
    assert_snapshot!(refusal(Original::trainer(AdamW::new(0.1)), &path), @"it was trained with Adam, this session trains with AdamW");
    without(&path, &["network"], &net);
    built(OtherLoss::trainer(Adam::new(0.1))).load(&path).expect("it says nothing of the network");
}

#[test]
fn counts_from_which_one_can_not_go_on_are_refused() {
    let path = saved("counts");
    let net = built(Original::trainer(Adam::new(0.1)));
    for name in ["steps", "rows_accumulated"] {
        let words = [("gradloom", "1"), ("optimizer", "Adam"), ("steps", "0"), ("seed", "0"), ("forward_count", "0")];
        let words = words.into_iter().filter(|(known, _)| *known != name).chain([(name, "18446744073709551615")]);
        let words: Vec<(&str, String)> = words.map(|(name, word)| (name, word.to_string())).collect();
        safetensors::write(&path, &words, &[]).expect("the folder can be written");
        let error =
            built(Original::trainer(Adam::new(0.1))).load(&path).expect_err("no step comes after it").to_string();
        assert!(error.contains("18446744073709551615") && error.contains("more than there can be"), "{error}");
    }
    assert_eq!(net.steps(), 0);
}

network! {
    Old<x: [B, 3] -> y: [B, 2]> { Dense(4), relu, Dense(2) }
    loss(k: [u8; B]) = cross_entropy(y, k);

    /// The same with other names.
    New<x: [B, 3] -> y: [B, 2]> { Dense(4) as first, relu, Dense(2) as head }
    loss(k: [u8; B]) = cross_entropy(y, k);
}

#[test]
fn a_map_of_names_need_not_account_for_the_state_of_what_it_renames() {
    let path = folder("renamed_layers").join("net.safetensors");
    let old = built(Old::trainer(Adam::new(0.1)).seed(7));
    old.save(&path).expect("the folder can be written");
    let names = NameMap::new()
        .renamed("dense1.weight", "first.weight")
        .renamed("dense1.bias", "first.bias")
        .renamed("dense2.weight", "head.weight");
    let mut net = built(New::trainer(Sgd::new(0.1)));
    let error = net.load_mapped(&path, &names.clone().kept("head.bias")).expect_err("a bias is left").to_string();
    let told =
        "does not fit `New`:\n  it is a checkpoint of `Old`\n  nothing here is made of `dense2.bias` in the file";
    assert!(error.ends_with(told), "{error}");
    net.load_mapped(&path, &names.clone().renamed("dense2.bias", "head.bias"))
        .expect("all parameters are accounted for");
    assert_eq!(net.param("head.weight").expect("it exists"), old.param("dense2.weight").expect("it exists"));
    let mut predictor = New::predictor().build().expect("it builds");
    predictor.load_mapped(&path, &names.renamed("dense2.bias", "head.bias")).expect("as for a session");
    assert_eq!(predictor.param("first.weight").expect("it exists"), old.param("dense1.weight").expect("it exists"));
}

network! {
    block Body(width) { Dense(width), relu, Dense(width) }

    /// What has learned something.
    Donor<x: [B, 3] -> y: [B, 5]> { let seen = x -> Body(4); y = seen -> Dense(5); }
    loss(k: [u8; B]) = cross_entropy(y, k);

    /// What begins where that one is, by other names and with another last layer.
    Heir<x: [B, 3] -> y: [B, 2]> { let features = x -> Body(4); y = features -> Dense(2); }
    loss(k: [u8; B]) = cross_entropy(y, k);
}

#[test]
fn a_star_renames_all_of_a_flow_and_what_is_kept_needs_no_more_words() {
    let path = folder("renamed_flow").join("net.safetensors");
    let donor = built(Donor::trainer(Adam::new(0.1)).seed(7));
    donor.save(&path).expect("the folder can be written");
    let mut heir = built(Heir::trainer(Sgd::new(0.1)).seed(8));
    let last = heir.param("y.dense1.weight").expect("it exists").to_owned();
    let all = || NameMap::new().renamed("seen.*", "features.*");
    heir.load_mapped(&path, &all().kept("y.*")).expect("all parameters are accounted for");
    for name in ["body1.dense1.weight", "body1.dense1.bias", "body1.dense2.weight", "body1.dense2.bias"] {
        let [here, there] = [heir.param(&format!("features.{name}")), donor.param(&format!("seen.{name}"))];
        assert_eq!(here.expect("it exists"), there.expect("it exists"), "{name}");
    }
    assert_eq!(heir.param("y.dense1.weight").expect("it exists"), last);
    // What is said of one tensor comes first, also that its parameter is kept.
    let twice = all().renamed("seen.body1.dense1.bias", "features.body1.dense2.bias").kept("y.*").kept("*1.bias");
    let error = heir.load_mapped(&path, &twice).expect_err("a parameter has two").to_string();
    assert!(error.ends_with("\n  the map names `features.body1.dense2.bias` twice"), "{error}");
    let none = NameMap::new().renamed("sene.*", "features.*").kept("*");
    let error = heir.load_mapped(&path, &none).expect_err("there is no such flow").to_string();
    assert!(error.contains("\n  no tensor `sene.*` in the file\n"), "{error}");
    assert!(!error.contains("no parameter `features.*`"), "{error}");
    let odd = NameMap::new().renamed("seen.body1.dense1.bias", "features.*").kept("*");
    let error = heir.load_mapped(&path, &odd).expect_err("a star of one side alone").to_string();
    assert!(error.contains("\n  no parameter `features.*`"), "{error}");
}
