//! The code for aarch64, on whatever machine the tests run: it needs the feature `arm64`, Cranelift's back end for it.

use gradloom::{Adam, Network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::jit::{Text, isa_by_name, text_for};
use insta::assert_snapshot;

use crate::stages::{Everything, Line, Mlp, Norm, Rows, Sparse};

#[test]
fn line_asm_of_inference() {
    let graph = simplified(Line::declared(), Purpose::Predict).expect("the network is sound");
    let isa = isa_by_name("aarch64-unknown-linux-gnu").expect("Cranelift has its back end");
    assert_snapshot!(text_for(&fuse(&graph), 32, Text::Asm, isa).expect("it compiles"));
}

#[test]
fn every_network_compiles() {
    for definition in [
        Line::declared(),
        Mlp::declared(),
        Norm::declared(),
        Sparse::declared(),
        Rows::declared(),
        Everything::declared(),
    ] {
        for purpose in [Purpose::Train(&Adam::new(0.1).into()), Purpose::Evaluate, Purpose::Predict] {
            let graph = simplified(definition, purpose).expect("the network is sound");
            let isa = isa_by_name("aarch64-unknown-linux-gnu").expect("Cranelift has its back end");
            let text = text_for(&fuse(&graph), 32, Text::Asm, isa);
            assert!(text.is_ok_and(|text| text.contains("ret")), "{} for {purpose:?}", definition.name);
        }
    }
}
