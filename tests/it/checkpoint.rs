//! A session that is saved and one that goes on from there.

use std::fs;
use std::path::{Path, PathBuf};

use gradloom::ndarray::s;
use gradloom::{Adam, AdamW, CheckpointError, Network, Schedule, Session, Sgd, Trainer, network};
use gradloom_runtime::safetensors::{self, Tensor};
use insta::assert_snapshot;

use crate::state_dict;
use crate::train::{Classifier, classifier, samples, state};

network! {
    /// Of which a checkpoint has a page.
    pub Small<x: [B, 5] -> logits: [B, 3]> { Dense(2, bias = false), BatchNorm(every = 2), relu, Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// Every step has other masks.
    Masked<x: [B, 5] -> logits: [B, 3]> { Dense(16), relu, Dropout(0.5), Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// As `Classifier`, with a layer more and another size.
    pub Larger<x: [B, 5] -> logits: [B, 3]> {
        Dense(8, bias = false), BatchNorm, relu, Dense(4, bias = false), BatchNorm, tanh, Dense(4), relu, Dense(3),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

/// A folder of a test's own, empty.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("checkpoints").join(name);
    // It need not be there.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    folder
}

pub fn small() -> Session<Small> {
    Small::trainer(Sgd::new(0.1).momentum(0.9)).max_batch(8).seed(3).build().expect("it builds")
}

/// Everything that a session remembers.
pub fn everything<N: Network>(net: &Session<N>) -> (u64, u64, Vec<(String, Vec<u32>)>) {
    (net.steps(), net.learning_rate().to_bits(), state(net))
}

/// So many steps on the same batch.
pub fn train(net: &mut Session<Classifier>, steps: u64) {
    let (x, labels) = samples(16);
    for _ in 0..steps {
        net.step(x.view(), labels.view()).expect("the batch fits");
    }
}

/// The text of an error, without the folder of the file.
fn text(error: &CheckpointError, folder: &Path) -> String {
    error.to_string().replace(&format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR), "")
}

fn resumed(name: &str, trainer: fn() -> Trainer<Classifier>) {
    const ROWS: [usize; 9] = [40, 40, 17, 2, 40, 33, 40, 5, 40];
    let (x, labels) = samples(40);
    let step = |net: &mut Session<Classifier>, rows: usize| {
        let report = net.step(x.slice(s![..rows, ..]), labels.slice(s![..rows])).expect("the batch fits");
        (report.loss.to_bits(), report.accuracy.to_bits())
    };
    let path = folder(&format!("resumed_{name}")).join("net.safetensors");
    let mut whole = trainer().max_batch(40).seed(3).build().expect("it builds");
    // Five steps: the statistics that are due on every third step are between two of those.
    ROWS[..5].iter().for_each(|&rows| {
        step(&mut whole, rows);
    });
    whole.set_learning_rate(3e-3).expect("the rate is fine");
    whole.save(&path).expect("the folder can be written");

    let mut stopped = trainer().max_batch(64).seed(8).build().expect("it builds");
    step(&mut stopped, 40);
    assert_ne!(everything(&stopped), everything(&whole));
    stopped.load(&path).expect("the checkpoint is of this network");
    assert_eq!(everything(&stopped), everything(&whole), "{name}: right after loading");
    for rows in &ROWS[5..] {
        assert_eq!(step(&mut stopped, *rows), step(&mut whole, *rows), "{name}: reports");
    }
    assert_eq!(everything(&stopped), everything(&whole), "{name}: after more steps");
    let predictions = [&mut stopped, &mut whole].map(|net| net.predict(x.view()).expect("the rows fit").to_owned());
    assert_eq!(predictions[0], predictions[1], "{name}: predictions");

    let again = path.with_file_name("again.safetensors");
    stopped.save(&again).expect("the folder can be written");
    whole.save(&path).expect("the file can be replaced");
    assert_eq!(fs::read(again).expect("it was written"), fs::read(path).expect("it was written"), "{name}: files");
}

#[test]
fn a_resumed_session_gives_the_bits_of_one_that_never_stopped() {
    resumed("descent", || Classifier::trainer(Sgd::new(1e-2)));
    resumed("momentum", || Classifier::trainer(Sgd::new(1e-2).momentum(0.9)));
    resumed("adam", || Classifier::trainer(Adam::new(1e-2)));
    resumed("adamw", || Classifier::trainer(AdamW::new(1e-2)));
}

#[test]
fn masks_of_dropout_and_schedules_go_on_where_they_were() {
    let (x, labels) = samples(16);
    let path = folder("masks").join("net.safetensors");
    let rate = Schedule::cosine(0.1, 20);
    let build = |seed| Masked::trainer(Sgd::new(rate)).max_batch(16).seed(seed).build().expect("it builds");
    let (mut whole, mut resumed) = (build(1), build(2));
    let step = |net: &mut Session<Masked>| net.step(x.view(), labels.view()).expect("the batch fits").loss.to_bits();
    (0..3).for_each(|_| _ = step(&mut whole));
    whole.gradients(x.view(), labels.view()).expect("the batch fits");
    whole.save(&path).expect("the folder can be written");
    resumed.load(&path).expect("the checkpoint is of this network");
    for _ in 0..4 {
        assert_eq!(step(&mut resumed), step(&mut whole));
    }
    assert_eq!(everything(&resumed), everything(&whole));
    assert_eq!(whole.learning_rate(), rate.rate(7));
}

#[test]
fn sessions_that_went_apart_meet_again_at_a_checkpoint() {
    let (x, labels) = samples(16);
    let path = folder("several").join("net.safetensors");
    let mut saved = classifier(16);
    train(&mut saved, 4);
    saved.save(&path).expect("the folder can be written");
    let mut others = [1, 5, 7].map(|seed| {
        let mut net = Classifier::trainer(Adam::new(0.1)).max_batch(16).seed(seed).build().expect("it builds");
        train(&mut net, seed);
        // A program that is compiled before the checkpoint is read computes with what was read.
        net.predict(x.view()).expect("the batch fits");
        net.load(&path).expect("the checkpoint is of this network");
        net
    });
    saved.step(x.view(), labels.view()).expect("the batch fits");
    let logits = saved.predict(x.view()).expect("the batch fits").to_owned();
    for net in &mut others {
        net.step(x.view(), labels.view()).expect("the batch fits");
        assert_eq!(everything(net), everything(&saved));
        assert_eq!(net.predict(x.view()).expect("the batch fits"), logits);
    }
}

#[test]
fn a_checkpoint_keeps_every_bit_of_every_number() {
    let path = folder("bits").join("net.safetensors");
    let mut net = small();
    let odd = [f32::NAN, -f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 2.0, f32::from_bits(0x7fa0_0001), 0.1];
    let mut odd = odd.into_iter().cycle();
    let names: Vec<String> = net.names().map(str::to_string).collect();
    for name in names {
        let value = net.param(&name).expect("the name exists").mapv(|_| odd.next().expect("a cycle"));
        net.set_param(&name, value.view()).expect("the shape is the parameter's");
    }
    net.save(&path).expect("the folder can be written");
    let mut other = small();
    other.load(&path).expect("the checkpoint is of this network");
    assert_eq!(state(&other), state(&net));
}

#[test]
fn a_checkpoint_of_another_network_or_optimizer_says_what_differs() {
    let folder = folder("others");
    let path = folder.join("net.safetensors");
    let refused = |net: &mut Session<Classifier>| {
        let before = everything(net);
        let error = net.load(&path).expect_err("the checkpoint is another's");
        assert_eq!(everything(net), before);
        text(&error, &folder)
    };
    let build = || Classifier::trainer(Sgd::new(0.1)).build().expect("it builds");
    Classifier::trainer(Sgd::new(0.1).momentum(0.5)).build().expect("it builds").save(&path).expect("it is written");
    assert_snapshot!(refused(&mut build()), @"
    `net.safetensors` does not fit `Classifier`:
      `momentum = 0.5` there is `momentum = 0` here
      `load_params` takes its parameters and running statistics alone
      `dense1.weight.velocity` is unknown here
      `batch_norm1.gamma.velocity` is unknown here
      `batch_norm1.beta.velocity` is unknown here
      `dense2.weight.velocity` is unknown here
      `batch_norm2.gamma.velocity` is unknown here
      `batch_norm2.beta.velocity` is unknown here
      and 2 more
    ");
    build().save(&path).expect("it is written");
    assert_snapshot!(refused(&mut classifier(4)), @"
    `net.safetensors` does not fit `Classifier`:
      it was trained with Sgd, this session trains with Adam
      `load_params` takes its parameters and running statistics alone
      `dense1.weight.m` is missing there
      `dense1.weight.v` is missing there
      `batch_norm1.gamma.m` is missing there
      `batch_norm1.gamma.v` is missing there
      `batch_norm1.beta.m` is missing there
      `batch_norm1.beta.v` is missing there
      and 10 more
    ");
    Classifier::trainer(AdamW::new(0.1)).build().expect("it builds").save(&path).expect("it is written");
    assert_snapshot!(refused(&mut classifier(4)), @"
    `net.safetensors` does not fit `Classifier`:
      it was trained with AdamW, this session trains with Adam
      `load_params` takes its parameters and running statistics alone
    ");
    Larger::trainer(Sgd::new(0.1)).build().expect("it builds").save(&path).expect("it is written");
    assert_snapshot!(refused(&mut build()), @"
    `net.safetensors` does not fit `Classifier`:
      it is of `Larger`, this session is of `Classifier`
      `dense1 = Dense(8, bias = false)` there is `dense1 = Dense(9, bias = false)` here
      `batch_norm2 = BatchNorm` there is `batch_norm2 = BatchNorm(every = 3)` here
      `dense3 = Dense(4)` there is `dense3 = Dense(3)` here
      `relu2 = relu` is unknown here
      and 1 more
      `dense1.weight` is [5, 8] there, and [5, 9] here
      `batch_norm1.gamma` is [8] there, and [9] here
      and 8 more
    ");
}

#[test]
fn files_that_are_no_checkpoints_are_told_apart() {
    let folder = folder("foreign");
    let path = folder.join("net.safetensors");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("the folder can be written");
        let mut net = small();
        let before = everything(&net);
        let error = net.load(&path).expect_err("the file is no checkpoint");
        assert_eq!(everything(&net), before);
        text(&error, &folder)
    };
    let mut told = vec![
        refused(b""),
        refused(b"step,loss\n1,0.5\n2,0.4\n"),
        refused(&[0xff; 64]),
        refused(b"\x02\0\0\0\0\0\0\0{}"),
        refused(b"\x02\0\0\0\0\0\0\0[]"),
        refused(b"\x02\0\0\0\0\0\0\0\xc3\x28"),
        refused(&fs::read(state_dict::file()).expect("the file is there")),
    ];
    let error = small().load(&folder).expect_err("a folder is no file");
    told.push(text(&error, folder.parent().expect("it has one")));
    assert_snapshot!(told.join("\n"), @"
    `net.safetensors` is damaged or no safetensors file: it has 0 bytes, and 8 alone say how long the header is
    `net.safetensors` is damaged or no safetensors file: its header should have 8317985974896653427 bytes, and the file has 22
    `net.safetensors` is damaged or no safetensors file: its header should have 18446744073709551615 bytes, and the file has 64
    `net.safetensors` is no checkpoint: it does not begin as one; `load_params` and `load_mapped` read other files
    `net.safetensors` is damaged or no safetensors file: byte 0 of the header should be `{`
    `net.safetensors` is damaged or no safetensors file: its header is no text: invalid utf-8 sequence of 1 bytes from index 0
    `net.safetensors` is no checkpoint: it does not begin as one; `load_params` and `load_mapped` read other files
    `foreign` is damaged or no safetensors file: it is no regular file
    ");
    let error = small().load(folder.join("none")).expect_err("there is no such file");
    assert!(matches!(error, CheckpointError::Io { kind: std::io::ErrorKind::NotFound, .. }), "{error}");
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let folder = folder("words");
    let path = folder.join("net.safetensors");
    let mut net = small();
    net.save(&path).expect("the folder can be written");
    let before = everything(&net);
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let values: Vec<_> = names.iter().map(|name| net.param(name).expect("the name exists").to_owned()).collect();
    let mut refused = |changed: &str, word: Option<&str>| {
        let words = [
            ("gradloom", "1"),
            ("optimizer", "Sgd"),
            ("steps", "0"),
            ("seed", "3"),
            ("forward_count", "0"),
            ("learning_rate", "0.1"),
        ];
        let words: Vec<(&str, String)> = words
            .into_iter()
            .filter_map(|(name, right)| Some((name, if name == changed { word? } else { right }.to_string())))
            .collect();
        let tensors: Vec<Tensor<'_>> = names
            .iter()
            .zip(&values)
            .map(|(name, value)| Tensor {
                name,
                shape: value.shape(),
                floats: value.as_slice().expect("it is contiguous"),
            })
            .collect();
        safetensors::write(&path, &words, &tensors).expect("the folder can be written");
        let result = net.load(&path);
        assert_eq!(everything(&net), before);
        result.map_err(|error| text(&error, &folder)).expect_err("a word is wrong")
    };
    let told = [
        refused("gradloom", Some("2")),
        refused("steps", Some("-1")),
        refused("seed", None),
        refused("learning_rate", Some("NaN")),
    ];
    assert_snapshot!(told.join("\n"), @"
    `net.safetensors` is no checkpoint: it has version `2`, and this program reads version `1`
    `net.safetensors` is no checkpoint: `steps` is `-1`, which is no number of the kind
    `net.safetensors` is no checkpoint: it says nothing of `seed`
    `net.safetensors` is no checkpoint: `learning_rate` is no learning rate
    ");
}

#[test]
fn what_can_not_be_written_leaves_no_trace() {
    let folder = folder("unwritable");
    let net = small();
    let error = net.save(folder.join("none").join("net.safetensors")).expect_err("there is no such folder");
    assert!(matches!(error, CheckpointError::Io { kind: std::io::ErrorKind::NotFound, .. }), "{error}");
    // A folder stands where the file should.
    assert!(matches!(net.save(&folder), Err(CheckpointError::Io { action: "write", .. })));
    assert!(matches!(net.save("/"), Err(CheckpointError::Io { action: "write", .. })));
    let left = |folder: &Path| fs::read_dir(folder).expect("it is there").count();
    assert_eq!(left(&folder), 0);
    let beside = fs::read_dir(folder.parent().expect("it has one")).expect("it is there");
    let names: Vec<String> =
        beside.map(|entry| entry.expect("it is there").file_name().to_string_lossy().into()).collect();
    assert!(!names.iter().any(|name| name.starts_with(".unwritable")), "{names:?}");
}

#[cfg(unix)]
#[test]
fn a_link_to_a_checkpoint_stays_one() {
    let folder = folder("link");
    let (file, link) = (folder.join("net.safetensors"), folder.join("latest.safetensors"));
    let mut net = small();
    net.save(&file).expect("the folder can be written");
    std::os::unix::fs::symlink(&file, &link).expect("the folder can be written");
    let (x, labels) = samples(8);
    net.step(x.view(), labels.view()).expect("the batch fits");
    net.save(&link).expect("the folder can be written");
    assert!(link.is_symlink() && !file.is_symlink());
    let mut other = small();
    other.load(&file).expect("the checkpoint is of this network");
    assert_eq!(everything(&other), everything(&net));
}
