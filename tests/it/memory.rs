//! What is left of compiling in the memory of a process.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;
use std::process::Command;

use gradloom::{Session, Sgd, network};

/// Declares the network with the layers given four times.
macro_rules! deep {
    ($($layers:tt)*) => {
        network! {
            /// Much to compile, few parameters.
            Deep<x: [B, 8] -> y: [B, 8]> { $($layers)* $($layers)* $($layers)* $($layers)* }
            loss(target: [B, 8]) = mse(y, target);
        }
    };
}

deep! {
    Dense(8, bias = false), BatchNorm, tanh, Dense(8, bias = false), BatchNorm, tanh,
    Dense(8, bias = false), BatchNorm, tanh, Dense(8, bias = false), BatchNorm, tanh,
    Dense(8, bias = false), BatchNorm, tanh,
}

const CHILD: &str = "GRADLOOM_TEST_MEMORY";

/// Kibibytes of memory that the process has to itself.
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells about processes");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it tells about memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A process of its own: what other tests hold would hide what is measured.
#[test]
fn what_compiling_takes_for_a_while_goes_back_to_the_system() {
    if std::env::var_os(CHILD).is_some() {
        let before = resident();
        let net: Session<Deep> = Deep::trainer(Sgd::new(0.1).momentum(0.9)).max_batch(2).build().expect("it builds");
        println!("grown by {} KiB, for {} rows", resident() - before, net.max_batch());
        return;
    }
    let name = "memory::what_compiling_takes_for_a_while_goes_back_to_the_system";
    let this = std::env::current_exe().expect("a test knows its binary");
    let output = Command::new(this).args([name, "--exact", "--nocapture"]).env(CHILD, "1").output();
    let text = String::from_utf8(output.expect("the binary runs").stdout).expect("it says what it found");
    let grown = text.split("grown by ").nth(1).and_then(|rest| rest.split(' ').next());
    let grown: i64 = grown.expect("the child says by how much").parse().expect("a number");
    assert!(grown < 1536, "{grown} KiB");
}
