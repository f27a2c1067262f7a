//! Files that are cut off, altered or made up: each is refused, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use allocation_counter::measure;
use gradloom::{CheckpointError, NameMap, Network, Session};
use gradloom_runtime::init::Random;
use gradloom_runtime::safetensors::{self, Tensor};
use insta::assert_snapshot;

use crate::checkpoint::{Small, everything, folder, small};
use crate::on_core::on_core;
use crate::state_dict;
use crate::train::samples;

/// More than what is read once takes, and much less than what is gone through again for each of its parts.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A session after some steps, and the bytes of its checkpoint.
fn trained(test: &str) -> (Session<Small>, Vec<u8>, PathBuf) {
    let mut net = small();
    let (x, labels) = samples(8);
    for _ in 0..3 {
        net.step(x.view(), labels.view()).expect("the batch fits");
    }
    let path = folder(test).join("net.safetensors");
    net.save(&path).expect("the folder can be written");
    let bytes = fs::read(&path).expect("it was written");
    (net, bytes, path)
}

/// A file of these bytes. A new one, as file systems bring one that is overwritten to the disk at once, which takes its time.
fn put(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("it was there");
    fs::write(path, bytes).expect("the folder can be written");
}

/// Why a session does not go on from these bytes. It stays as it was.
#[track_caller]
fn refused(net: &mut Session<Small>, bytes: &[u8], path: &Path, what: &str) -> CheckpointError {
    put(path, bytes);
    let before = everything(net);
    let error = net.load(path).expect_err(what);
    assert_eq!(everything(net), before, "{what} changes nothing");
    assert!(error.to_string().contains(&path.display().to_string()), "{what}: {error}");
    error
}

#[test]
fn a_checkpoint_that_is_cut_off_anywhere_is_refused() {
    let (_, bytes, path) = trained("cut_off");
    let mut net = small();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    for len in 0..bytes.len() {
        let error = refused(&mut net, &bytes[..len], &path, &format!("{len} bytes of {}", bytes.len())).to_string();
        if len >= data {
            assert!(net.names().any(|name| error.contains(&format!("`{name}` ends at byte"))), "{len}: {error}");
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    refused(&mut net, &longer, &path, "a byte more");
    put(&path, &bytes);
    net.load(&path).expect("the whole of it is a checkpoint");
}

#[test]
fn a_checkpoint_with_any_bit_flipped_is_refused() {
    let (trained, bytes, path) = trained("altered");
    let mut net = small();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    // The tensors lie in the order of their names, element after element.
    let mut owners = trained.names().flat_map(|name| {
        let len = trained.param(name).expect("the name exists").len();
        std::iter::repeat_n(name, 4 * len)
    });
    for at in 0..bytes.len() {
        let owner = if at < data { None } else { owners.next() };
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            let error = refused(&mut net, &altered, &path, &format!("bit {bit} of byte {at}"));
            if let Some(owner) = owner {
                let part = format!("`{owner}`");
                assert_eq!(
                    error,
                    CheckpointError::Altered { path: path.to_path_buf(), part },
                    "bit {bit} of byte {at}"
                );
            }
        }
    }
    assert_eq!(owners.next(), None, "every element was altered");
}

/// A file of another program, without checksums: `text` as the header, then so many bytes.
fn foreign(text: &str, data: usize) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn headers_that_promise_too_much_are_refused_before_anything_is_taken() {
    let (_, bytes, path) = trained("promises");
    let mut net = small();
    for len in [bytes.len() as u64 - 7, 100_000_001, 1 << 40, 1 << 63, u64::MAX] {
        let mut altered = bytes.clone();
        altered[..8].copy_from_slice(&len.to_le_bytes());
        refused(&mut net, &altered, &path, &format!("a header of {len} bytes"));
    }
    let end = u64::MAX;
    let vast = [
        format!(r#"{{"x":{{"dtype":"F32","shape":[4611686018427387903],"data_offsets":[0,{}]}}}}"#, end - 3),
        format!(r#"{{"x":{{"dtype":"U8","shape":[{end}],"data_offsets":[0,{end}]}}}}"#),
        format!(r#"{{"x":{{"dtype":"F64","shape":[{end},{end},{end}],"data_offsets":[0,8]}}}}"#),
        r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#
            .to_string(),
        format!("{}1", "[".repeat(100_000)),
        format!("{}1", r#"{"a":"#.repeat(100_000)),
        format!(r#"{{"x":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}}}"#, "1,".repeat(100_000)),
    ];
    for text in vast {
        let bytes = foreign(&text, 12);
        fs::write(&path, bytes).expect("the folder can be written");
        let before = everything(&net);
        net.load_params(&path).expect_err("the header promises too much");
        assert_eq!(everything(&net), before);
    }
}

/// So many bytes of these pieces, between a beginning and an end.
fn repeated(begin: &str, piece: impl Fn(usize) -> String, end: &str, len: usize) -> String {
    let mut text = begin.to_string();
    for index in 0.. {
        let piece = piece(index);
        if text.len() + piece.len() + end.len() > len {
            break;
        }
        text.push_str(&piece);
    }
    text + end
}

#[test]
fn headers_of_many_megabytes_are_refused_at_once_in_no_more_memory_than_the_file() {
    let path = folder("hostile").join("net.safetensors");
    let mut net = small();
    let before = everything(&net);
    let mut refused = |text: &str| {
        fs::write(&path, foreign(text, 0)).expect("the folder can be written");
        let mut error = String::new();
        let load = || error = net.load_params(&path).expect_err("nobody wrote this in good faith").to_string();
        let (used, took) = on_core(|| measure(load));
        assert!(used.bytes_max < text.len() as u64 + 100_000, "{} bytes for {}: {error}", used.bytes_max, text.len());
        assert!(took < AT_ONCE, "{took:?}: {error}");
        let (_, reason) = error.split_once("file: ").expect("it says what is wrong");
        reason.to_string()
    };
    const LEN: usize = 16_000_000;
    let tensor = |name: &str| format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},"#);
    let told = [
        refused(&repeated(
            r#"{"x":{"dtype":"F32","shape":["#,
            |_| "1,".to_string(),
            r#"1],"data_offsets":[0,4]}}"#,
            LEN,
        )),
        refused(&repeated(r#"{"__metadata__":{"#, |i| format!(r#""{i}":"","#), r#""":""}}"#, LEN)),
        refused(&repeated("{", |i| tensor(&format!("{i}")), r#""__metadata__":{}}"#, LEN)),
        refused(&repeated("{\"", |_| "n".repeat(99), r#"":{}}"#, LEN)),
        refused(&repeated(r#"{"x":{"dtype":""#, |_| r"\u0041".to_string(), r#""}}"#, LEN)),
        refused(&repeated(r#"{"x":{"shape":["#, |_| "1".to_string(), "]}}", LEN)),
        refused(&repeated("{", |_| " ".to_string(), "]", LEN)),
        refused(&repeated(r#"{"x":{"#, |i| format!(r#""{i}":[],"#), r#""y":[]}}"#, LEN)),
    ];
    assert_snapshot!(told.join("\n"), @"
    byte 156 of the header should be the end of a list: there are 64 numbers
    it has more than 524288 words
    it has more than 262144 tensors
    byte 4194307 of the header should be the end of a string, which has 4 MiB
    byte 4194321 of the header should be the end of a string, which has 4 MiB
    byte 15 of the header should be a whole number below 2^64
    byte 15999999 of the header should be a string
    `x` has the unknown field `0`
    ");
    assert_eq!(everything(&net), before);
}

#[test]
fn headers_longer_than_any_that_is_written_are_not_read() {
    let path = folder("long_header").join("net.safetensors");
    const LEN: u64 = 99_000_000;
    fs::write(&path, LEN.to_le_bytes()).expect("the folder can be written");
    // Zeros that take no room.
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(LEN + 8)).expect("it was written");
    let mut error = String::new();
    let used = measure(|| error = small().load_params(&path).expect_err("it is too long").to_string());
    assert!(error.ends_with("its header has 99000000 bytes, and no more than 67108864 are read"), "{error}");
    assert!(used.bytes_max < 10_000_000, "{} bytes", used.bytes_max);
}

/// Why these are no tensors of a file; told at once, and with no more memory than twice the header.
fn flawed(path: &Path, net: &mut Session<Small>, text: &str, data: usize) -> String {
    fs::write(path, foreign(text, data)).expect("the folder can be written");
    let mut error = String::new();
    let (used, took) = on_core(|| measure(|| error = net.load_params(path).expect_err("it is flawed").to_string()));
    assert!(used.bytes_max < 2 * text.len() as u64 + 100_000, "{} bytes for {}: {error}", used.bytes_max, text.len());
    assert!(took < AT_ONCE, "{took:?}: {error}");
    error.split_once("file: ").expect("it says what is wrong").1.to_string()
}

#[test]
fn names_that_occur_twice_and_data_with_gaps_are_found_before_anything_is_made_of_a_header() {
    let path = folder("flawed").join("net.safetensors");
    let mut net = small();
    let before = everything(&net);
    let tensor = |name: &str, shape: usize, start: usize| {
        format!(r#""{name}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[{start},{}]}}"#, start + shape)
    };
    const LEN: usize = 4_000_000;
    // One byte each, the last one another's, elsewhere or missing.
    let many = |last: &dyn Fn(usize) -> String| {
        let text = repeated("{", |index| format!("{},", tensor(&format!("{index}"), 1, index)), "", LEN);
        let made = text.matches('}').count();
        format!("{text}{}}}", last(made))
    };
    let made = many(&|_| tensor("last", 0, 0)).matches('}').count() - 2;
    let words = repeated(r#"{"__metadata__":{"#, |i| format!(r#""{i}":"","#), r#""77":""}}"#, 2_000_000);
    let told = [
        flawed(&path, &mut net, &many(&|made| tensor("77", 1, made)), made + 1),
        flawed(&path, &mut net, &many(&|made| tensor(r"\u0037\u0037", 1, made)), made + 1),
        flawed(&path, &mut net, &many(&|made| tensor("last", 1, made - 1)), made + 1),
        flawed(&path, &mut net, &many(&|made| tensor("last", 1, made + 1)), made + 2),
        flawed(&path, &mut net, &many(&|made| tensor("last", 1, made)), made + 3),
        flawed(&path, &mut net, &many(&|made| tensor("last", 9, made)), made + 1),
        flawed(&path, &mut net, &words, 0),
    ];
    let told = told.join("\n").replace(&made.to_string(), "N").replace(&(made + 1).to_string(), "N+1");
    assert_snapshot!(told.replace(&(made + 3).to_string(), "N+3").replace(&(made + 9).to_string(), "N+9"), @"
    it names `77` twice
    it names `77` twice
    `last` overlaps with the tensor before it
    `last` begins after a gap
    its last tensor ends at byte N+1 of the data, of which there are N+3
    `last` ends at byte N+9 of the data, of which there are N+1
    its metadata name `77` twice
    ");
    assert_eq!(everything(&net), before);
}

/// Words and tensors that nobody writes, in a file that is one of this version's in all else.
fn sealed(path: &Path, words: &[(&str, String)], tensors: &[Tensor<'_>]) {
    let known = [("gradloom", "1"), ("network", "Small"), ("optimizer", "Sgd"), ("steps", "0"), ("seed", "0")];
    let known = known
        .into_iter()
        .chain([("forward_count", "0")])
        .filter(|(name, _)| words.iter().all(|(other, _)| other != name));
    let known = known.map(|(name, word)| (name, word.to_string())).chain(words.iter().cloned());
    safetensors::write(path, &known.collect::<Vec<_>>(), tensors).expect("the folder can be written");
}

#[test]
fn hostile_words_and_tensors_of_a_sealed_file_are_refused_at_once() {
    let path = folder("sealed").join("net.safetensors");
    let mut net = small();
    let before = everything(&net);
    let mut refused = |words: &[(&str, String)], tensors: &[Tensor<'_>]| {
        sealed(&path, words, tensors);
        let len = fs::metadata(&path).expect("it was written").len();
        let mut error = String::new();
        let load = || error = net.load(&path).expect_err("nobody wrote this in good faith").to_string();
        let (used, took) = on_core(|| measure(load));
        assert!(took < AT_ONCE, "{took:?}: {error}");
        // What is well-formed has been read by then.
        assert!(used.bytes_max < 4 * len + 100_000, "{} bytes for {len}: {error}", used.bytes_max);
        error.replace(&path.display().to_string(), "FILE")
    };
    const MANY: usize = 60_000;
    let lines = |line: &dyn Fn(usize) -> String| (0..MANY).map(line).collect::<Vec<String>>().join("\n");
    let names: Vec<String> = (0..MANY).map(|index| format!("dense{index}.weight")).collect();
    let tensors: Vec<Tensor<'_>> = names.iter().map(|name| Tensor { name, shape: &[0], floats: &[] }).collect();
    let told = [
        refused(&[("declaration", "\n".repeat(690_000))], &[]),
        refused(&[("declaration", lines(&|_| "dense1 = Dense(7)".to_string()))], &[]),
        refused(&[("training", lines(&|index| format!("setting{index} = 1")))], &[]),
        refused(&[("epoch", "1 ".repeat(2_000_000))], &[]),
        refused(&[("steps", "1".repeat(4_000_000))], &[]),
        refused(&[], &tensors),
    ];
    assert_snapshot!(told.join("\n"), @"
    `FILE` does not fit `Small`:
      `` is unknown here
      `` is unknown here
      `` is unknown here
      `` is unknown here
      and 690002 more
      `dense1.weight` is missing there
      `batch_norm1.gamma` is missing there
      `batch_norm1.beta` is missing there
      and 9 more
    `FILE` does not fit `Small`:
      `dense1 = Dense(7)` there is `dense1 = Dense(2, bias = false)` here
      `dense1 = Dense(7)` is unknown here
      `dense1 = Dense(7)` is unknown here
      `dense1 = Dense(7)` is unknown here
      and 60001 more
      `dense1.weight` is missing there
      `batch_norm1.gamma` is missing there
      `batch_norm1.beta` is missing there
      and 9 more
    `FILE` does not fit `Small`:
      `setting0 = 1` is unknown here
      `setting1 = 1` is unknown here
      `setting2 = 1` is unknown here
      `setting3 = 1` is unknown here
      and 60002 more
      `dense1.weight` is missing there
      `batch_norm1.gamma` is missing there
      `batch_norm1.beta` is missing there
      and 9 more
    `FILE` is no checkpoint: `epoch` says nothing of an epoch of this network
    `FILE` is no checkpoint: `steps` is `11111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111..`, which is no number of the kind
    `FILE` does not fit `Small`:
      `dense1.weight` is [0] there, and [5, 2] here
      `batch_norm1.gamma` is missing there
      `batch_norm1.beta` is missing there
      `batch_norm1.running_mean` is missing there
      `batch_norm1.running_var` is missing there
      `dense2.weight` is [0] there, and [2, 3] here
      `dense2.bias` is missing there
      `dense1.weight.velocity` is missing there
      and 60002 more
    ");
    assert_eq!(everything(&net), before);
}

#[test]
fn no_file_is_written_that_nobody_would_read() {
    let folder = folder("too_much");
    let path = folder.join("net.safetensors");
    let written = |words: &[(&str, String)], tensors: &[Tensor<'_>]| {
        let error = safetensors::write(&path, words, tensors).expect_err("it is too much").to_string();
        error.split_once("no one could read it: ").expect("it says why").1.to_string()
    };
    let tensor = |name| Tensor { name, shape: &[1], floats: &[0.5] };
    let (long, deep) = ("n".repeat(70_000), [1; 65]);
    let long_words: Vec<String> = (0..17).map(|index| index.to_string()).collect();
    let told = [
        written(&[], &[tensor("a"), tensor("b"), tensor("a")]),
        written(&[("a", String::new()), ("a", String::new())], &[]),
        written(&[], &[tensor(&long)]),
        written(&[], &[Tensor { shape: &deep, ..tensor("a") }]),
        written(&[], &[Tensor { shape: &[2], ..tensor("a") }]),
        written(&[("a", "n".repeat(5_000_000))], &[]),
        written(&long_words.iter().map(|name| (&**name, "n".repeat(4_000_000))).collect::<Vec<_>>(), &[]),
    ];
    assert_snapshot!(told.join("\n"), @"
    its metadata name `crc64 a` twice
    its metadata name `a` twice
    it has more than 65536 bytes in a name
    byte 292 of the header should be the end of a list: there are 64 numbers
    `a` has 4 bytes, but [2] of F32 are 8
    byte 4194354 of the header should be the end of a string, which has 4 MiB
    its header has 68000176 bytes, and no more than 67108864 are read
    ");
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
}

#[test]
fn the_largest_network_that_is_built_is_saved_and_loaded() {
    let path = folder("many").join("net.safetensors");
    // As many stages as a declaration may have, each with the most that any layer and any optimizer remember.
    let params = ["gamma", "beta"].map(|param| {
        ["", ".mean_square", ".mean", ".momentum", ".accumulated"].map(|state| format!("{param}{state}")).to_vec()
    });
    let of_layer = [params.concat(), vec!["running_mean".to_string(), "running_var".to_string()]].concat();
    let names = (0..10_000).flat_map(|stage| {
        of_layer.iter().map(move |name| format!("residual1.inner1.repeat1.{stage}.residual1.inner1.batch_norm1.{name}"))
    });
    let names: Vec<String> = names.collect();
    let tensors: Vec<Tensor<'_>> = names.iter().map(|name| Tensor { name, shape: &[1], floats: &[0.5] }).collect();
    assert_eq!(tensors.len(), 120_000);
    assert_eq!(safetensors::check_size(names.iter().map(|name| (&**name, 1))), Ok(()));
    safetensors::write(&path, &[], &tensors).expect("the folder can be written");
    assert_eq!(safetensors::File::open(&path).expect("it is whole").header.tensors.len(), 120_000);
}

#[test]
fn what_could_not_be_written_is_known_before() {
    let check = |count: usize, name: &str| safetensors::check_size(std::iter::repeat_n((name, 2), count));
    assert_eq!(check(1 << 18, "n"), Ok(()));
    let told = [check((1 << 18) + 1, "n"), check(200_000, &"n".repeat(100)), check(1, &"n".repeat(65_530))];
    assert_snapshot!(told.map(|told| told.expect_err("it is too much")).join("\n"), @"
    it would have 262145 tensors, and no more than 262144 are read
    the names of its 200000 tensors would take 86182912 bytes, and no more than 67108864 are read
    `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn..` is a name of 65532 bytes, and no more than 65520 are read
    ");
    // What is said to be possible is: names of any letters, shapes of any rank.
    let path = folder("possible").join("net.safetensors");
    let (mut random, mut possible) = (Random::new(5, 0), 0);
    for _ in 0..40 {
        let letters = ["n", "\"", "\n", "\u{1f9f6}"];
        let len = random.below(40_000) as usize;
        let name = (0..len).map(|_| letters[random.below(4) as usize]).collect::<String>();
        let shape = vec![1; random.below(65) as usize];
        if safetensors::check_size([(&*name, shape.len())]).is_ok() {
            let tensor = Tensor { name: &name, shape: &shape, floats: &[0.5] };
            safetensors::write(&path, &[], &[tensor]).expect("it was said to be possible");
            possible += 1;
        }
    }
    assert!((5..40).contains(&possible), "{possible}");
}

#[test]
fn random_damage_never_does_harm() {
    let (_, sealed, path) = trained("random");
    let torch = fs::read(state_dict::file()).expect("the file is there");
    let own = damaged(&unsealed(&sealed), &path, &mut small(), &NameMap::new().ignored("*.velocity"));
    let foreign = damaged(&torch, &path, &mut state_dict::known(), &state_dict::names());
    // Other numbers are read: without checksums nothing tells them from the right ones.
    assert!([own, foreign].iter().all(|read| (20..980).contains(read)), "{own} and {foreign} of 1,000 were read");
}

/// Damages a file in a thousand ways; gives how many were read all the same. The others have to change nothing.
fn damaged<N: Network>(file: &[u8], path: &Path, net: &mut Session<N>, names: &NameMap) -> usize {
    let mut random = Random::new(11, 0);
    let mut attempt = |round: usize| {
        let mut bytes = file.to_vec();
        for _ in 0..1 + random.below(3) {
            damage(&mut bytes, &mut random);
        }
        put(path, &bytes);
        let before = everything(net);
        let read = net.load_mapped(path, names).is_ok();
        assert!(read || everything(net) == before, "round {round}");
        read
    };
    (0..1_000).filter(|&round| attempt(round)).count()
}

/// The same tensors without checksums, as another program would write them.
fn unsealed(sealed: &[u8]) -> Vec<u8> {
    let (length, rest) = sealed.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize);
    let header = String::from_utf8_lossy(header);
    let (_, tensors) = header.split_once("},").expect("the words end before the tensors");
    let header = format!("{{{tensors}");
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// One change: a byte, a digit, a piece taken out, doubled or moved.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let len = bytes.len() as u64;
    if len < 2 {
        return;
    }
    let at = random.below(len) as usize;
    let to = at + random.below((len - at as u64).min(16)) as usize;
    match random.below(6) {
        0 => bytes[at] = random.bits() as u8,
        1 => bytes[at] ^= 1 << random.below(8),
        2 => {
            // A digit of the header becomes another one.
            let digits: Vec<usize> = (8..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()).collect();
            if let Some(&at) = digits.get(random.below(digits.len().max(1) as u64) as usize) {
                bytes[at] = b'0' + random.below(10) as u8;
            }
        }
        3 => drop(bytes.drain(at..to)),
        4 => {
            let piece = bytes[at..to].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => bytes.truncate(at),
    }
}

#[test]
fn the_checkpoint_of_another_network_is_told_from_a_damaged_one() {
    let (_, _, path) = trained("other");
    crate::train::classifier(4).save(&path).expect("the folder can be written");
    let error = small().load(&path).expect_err("another network");
    assert!(matches!(error, CheckpointError::Mismatch { network, .. } if network == Small::declared().name));
}
