//! Texts that travel with a network.

use std::fs;

use gradloom::{Adam, RunError, Sgd};
use gradloom_runtime::safetensors::File;
use insta::assert_snapshot;

use crate::checkpoint::{Larger, Small, everything, folder, small};

/// What a name gives as a text.
fn text<T>(found: Result<T, RunError>) -> String {
    found.err().expect("it is an error").to_string()
}

#[test]
fn what_is_attached_is_saved_and_loaded() {
    let path = folder("attachments").join("net.safetensors");
    let mut net = small();
    net.attach("names", "a, \"b\"\n\u{0}é\u{1f9f6}").expect("it is short");
    net.attach("rate", &0.1f32).expect("it is short");
    net.attach("rate", &0.25f32).expect("it replaces what was there");
    net.attach("", "").expect("an empty name is one");
    let before = everything(&net);
    net.save(&path).expect("the folder can be written");

    let mut other = small();
    other.attach("rate", &7).expect("it is short");
    other.attach("extra", &7).expect("it is short");
    other.load(&path).expect("it is of this network");
    assert_eq!(everything(&other), before);
    let predictors = [
        Small::predictor().load(&path).expect("it is of this network"),
        Small::predictor().build_from(&net).expect("it builds"),
        net.predictor().expect("it builds"),
    ];
    let clone = predictors[0].clone();
    for predictor in predictors.iter().chain([&clone]) {
        assert_eq!(predictor.attached::<String>("names").as_deref(), Ok("a, \"b\"\n\u{0}é\u{1f9f6}"));
        assert_eq!(predictor.attached("rate"), Ok(0.25f32));
        assert_eq!(predictor.attached::<String>("").as_deref(), Ok(""));
    }
    assert_eq!(other.attached("rate"), Ok(0.25f32));
    // What was attached before, and not there, is gone: the session is the one that was saved.
    assert!(other.attached::<u8>("extra").is_err());
    let again = path.with_file_name("again.safetensors");
    other.save(&again).expect("the folder can be written");
    assert_eq!(fs::read(again).expect("it was written"), fs::read(&path).expect("it was written"));
    let mut predictor = predictors.into_iter().nth(1).expect("there are three");
    net.attach("rate", &0.5f32).expect("it is short");
    net.save(&path).expect("the folder can be written");
    assert_eq!(predictor.attached("rate"), Ok(0.25f32));
    predictor.load(&path).expect("it is of this network");
    assert_eq!(predictor.attached("rate"), Ok(0.5f32));
}

#[test]
fn other_files_leave_what_is_attached() {
    let folder = folder("attachments_others");
    let (path, larger) = (folder.join("net.safetensors"), folder.join("larger.safetensors"));
    let mut net = small();
    net.attach("rate", &1).expect("it is short");
    net.save(&path).expect("the folder can be written");
    let mut other = Small::trainer(Sgd::new(0.1)).max_batch(8).build().expect("it builds");
    other.attach("rate", &2).expect("it is short");
    other.load_params(&path).expect("the parameters are its own");
    assert_eq!(other.attached("rate"), Ok(2));
    Larger::trainer(Adam::new(0.1)).build().expect("it builds").save(&larger).expect("the folder can be written");
    assert!(other.load(&larger).is_err() && other.attached("rate") == Ok(2));
    let mut predictor = other.predictor().expect("it builds");
    assert!(predictor.load(&larger).is_err() && predictor.attached("rate") == Ok(2));
    // Files of other programs have none.
    let foreign = folder.join("foreign.safetensors");
    let file = File::open(&path).expect("it was written");
    assert_eq!(file.header.word("attached rate"), Some("1"));
    let bytes = fs::read(&path).expect("it was written");
    let header = String::from_utf8_lossy(&bytes[8..]).find("},\"").expect("the metadata end");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight"));
    let mut plain =
        format!("{{{}", &String::from_utf8_lossy(&bytes[8..8 + length as usize])[header + 2..]).into_bytes();
    let data = &bytes[8 + length as usize..];
    let mut whole = (plain.len() as u64).to_le_bytes().to_vec();
    whole.append(&mut plain);
    whole.extend_from_slice(data);
    fs::write(&foreign, whole).expect("the folder can be written");
    let names = gradloom::NameMap::new().ignored("*.velocity");
    predictor.load_mapped(&foreign, &names).expect("the parameters are its own");
    assert_eq!(predictor.attached("rate"), Ok(2));
}

#[test]
fn errors_say_what_is_wrong_with_an_attachment() {
    let mut net = small();
    net.attach("columns", "x").expect("it is short");
    let long = "y".repeat(2 << 20);
    let all = [
        text(net.attached::<String>("colums")),
        text(net.attached::<String>("kinds")),
        text(net.attached::<f32>("columns")),
        text(net.attach("more", &long)),
        text(net.attach(&"n".repeat(1 << 16), "")),
    ];
    assert_snapshot!(all.map(|text| text.replace(&"n".repeat(200), "n..")).join("\n"), @"
    attachment `colums`: nothing was attached by this name; did you mean `columns`?
    attachment `kinds`: nothing was attached by this name
    attachment `columns`: invalid float literal
    attachment `more`: it has 2097160 bytes in a checkpoint, others 12, and all may have 2097152
    attachment `n....`: its name is longer than names in a checkpoint are
    ");
    // The longest that is taken can be read again.
    let path = folder("attachments_long").join("net.safetensors");
    net.attach("more", &long[..long.len() - 100]).expect("it is short enough");
    net.save(&path).expect("the folder can be written");
    let mut other = small();
    other.load(&path).expect("it is of this network");
    assert_eq!(other.attached::<String>("more").map(|text| text.len()), Ok(long.len() - 100));
    assert!(net.attach("another", "z").is_ok() && net.attach("another", &"z".repeat(200)).is_err());
    assert_eq!(net.attached::<String>("another").as_deref(), Ok("z"));
}
