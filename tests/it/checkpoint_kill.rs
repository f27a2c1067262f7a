//! A process that is killed while it saves leaves the old checkpoint or the new one, whole.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gradloom::ndarray::{Array1, Array2};
use gradloom::{Adam, Session, network};
use gradloom_runtime::init::Random;

use crate::checkpoint::{everything, folder};

network! {
    /// Of which a checkpoint takes some time to write.
    Wide<x: [B, 64] -> logits: [B, 10]> { Dense(256), relu, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

const KILLS: u64 = 50;
const CHILD: &str = "GRADLOOM_TEST_SAVES";

fn net() -> Session<Wide> {
    Wide::trainer(Adam::new(1e-3)).max_batch(4).seed(5).build().expect("it builds")
}

fn step(net: &mut Session<Wide>) {
    let x = Array2::from_shape_fn((4, 64), |(i, j)| ((i * 7 + j * 3) % 5) as f32 / 4.0);
    let labels = Array1::from_shape_fn(4, |i| i as u8);
    net.step(x.view(), labels.view()).expect("the batch fits");
}

/// Goes on from the checkpoint, if there is one, and saves after every step until it is killed.
fn save_for_ever(path: &Path) {
    let mut net = net();
    if path.exists() {
        net.load(path).expect("the checkpoint is whole");
    }
    println!("saving");
    loop {
        step(&mut net);
        net.save(path).expect("the folder can be written");
    }
}

fn child(path: &Path) -> Child {
    let name = "checkpoint_kill::fifty_kills_leave_a_whole_checkpoint";
    let this = std::env::current_exe().expect("a test knows its binary");
    let mut command = Command::new(this);
    command.args([name, "--exact", "--nocapture"]).env(CHILD, path).stdout(Stdio::piped());
    command.spawn().expect("the binary runs")
}

#[test]
fn fifty_kills_leave_a_whole_checkpoint() {
    if let Some(path) = std::env::var_os(CHILD) {
        save_for_ever(Path::new(&path));
    }
    let folder = folder("kill");
    let path = folder.join("net.safetensors");
    let mut random = Random::new(13, 0);
    // Follows the children step by step: what they save has to be what it is after as many steps.
    let (mut twin, mut begun) = (net(), 0);
    for kill in 0..KILLS {
        let mut child = child(&path);
        let output = child.stdout.take().expect("it is piped");
        let started = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("saving"));
        assert!(started, "child {kill} starts to save");
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
        // What it had begun to write; a later child removes it.
        let names = || fs::read_dir(&folder).expect("it is there").map(|entry| entry.expect("it is there").file_name());
        begun += names().filter(|name| *name != *"net.safetensors").count();
        if !path.exists() {
            assert_eq!(twin.steps(), 0, "a checkpoint that was there stays there");
            continue;
        }
        let mut saved = net();
        saved.load(&path).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        assert!(saved.steps() >= twin.steps(), "kill {kill}: a checkpoint is not older than one before");
        while twin.steps() < saved.steps() {
            step(&mut twin);
        }
        assert_eq!(everything(&saved), everything(&twin), "kill {kill}");
    }
    assert!(begun > 0 && twin.steps() > 0, "some of the kills fall into a save, and some saves are done");
    twin.save(&path).expect("the folder can be written");
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1, "the next save removes what was left behind");
}
