//! Files that are cut off, altered or made up: each is refused, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use gradloom::{CheckpointError, NameMap, Network, Session};
use gradloom_runtime::init::Random;
use gradloom_runtime::safetensors::{self, Tensor};
use insta::assert_snapshot;

use crate::checkpoint::{Small, everything, folder, small};
use crate::state_dict;
use crate::train::samples;

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
        let (mut error, start) = (String::new(), Instant::now());
        let used = measure(|| error = net.load_params(&path).expect_err("nobody wrote this in good faith").to_string());
        assert!(used.bytes_max < text.len() as u64 + 100_000, "{} bytes for {}: {error}", used.bytes_max, text.len());
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}: {error}", start.elapsed());
        let (_, reason) = error.split_once("file: ").expect("it says what is wrong");
        reason.to_string()
    };
    const LEN: usize = 12_000_000;
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
        // Longer than any header that is written.
        refused(&repeated(
            r#"{"x":{"dtype":"F32","shape":["#,
            |_| "1,".to_string(),
            r#"1],"data_offsets":[0,4]}}"#,
            20_000_000,
        )),
    ];
    assert_snapshot!(told.join("\n"), @"
    byte 156 of the header should be the end of a list: there are 64 numbers
    it has more than 131072 words
    it has more than 65536 tensors
    byte 4194307 of the header should be the end of a string, which has 4 MiB
    byte 4194321 of the header should be the end of a string, which has 4 MiB
    byte 15 of the header should be a whole number below 2^64
    byte 11999999 of the header should be a string
    `x` has the unknown field `0`
    its header has 20000000 bytes, and no more than 16777216 are read
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
    let told = [
        written(&[], &[tensor("a"), tensor("b"), tensor("a")]),
        written(&[("a", String::new()), ("a", String::new())], &[]),
        written(&[], &[tensor(&long)]),
        written(&[], &[Tensor { shape: &deep, ..tensor("a") }]),
        written(&[], &[Tensor { shape: &[2], ..tensor("a") }]),
        written(&[("a", "n".repeat(5_000_000))], &[]),
        written(
            &[
                ("a", "n".repeat(4_000_000)),
                ("b", "n".repeat(4_000_000)),
                ("c", "n".repeat(4_000_000)),
                ("d", "n".repeat(4_000_000)),
                ("e", "n".repeat(4_000_000)),
            ],
            &[],
        ),
    ];
    assert_snapshot!(told.join("\n"), @"
    its metadata name `crc64 a` twice
    its metadata name `a` twice
    it has more than 65536 bytes in a name
    byte 292 of the header should be the end of a list: there are 64 numbers
    `a` has 4 bytes, but [2] of F32 are 8
    byte 4194354 of the header should be the end of a string, which has 4 MiB
    its header has 20000080 bytes, and no more than 16777216 are read
    ");
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
    // Many layers are fine.
    let names: Vec<String> = (0..20_000).map(|index| format!("repeat1.{index}.dense1.weight")).collect();
    let tensors: Vec<Tensor<'_>> = names.iter().map(|name| tensor(name)).collect();
    safetensors::write(&path, &[], &tensors).expect("the folder can be written");
    assert_eq!(safetensors::File::open(&path).expect("it is whole").header.tensors.len(), 20_000);
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
    assert!(matches!(error, CheckpointError::Mismatch { network, .. } if network == Small::DEFINITION.name));
}
