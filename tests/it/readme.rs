//! The IR that the README shows is the IR that the compiler prints.

use gradloom::{Adam, Stage, network};

network! {
    /// The network of the README.
    pub Iris<x: [B, 4] -> logits: [B, 3]> {
        Dense(8, bias = false), BatchNorm, relu,
        Dense(3),
    }
    loss(kind: [u8; B]) = cross_entropy(logits, kind);
    metric accuracy = mean(argmax(logits) == kind);
}

/// The text block behind a marker.
fn shown(marker: &str) -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once(&format!("<!-- ir: {marker} -->\n```text\n")).expect("the README has the marker");
    let (text, _) = rest.split_once("```").expect("a text block ends");
    text.to_string()
}

#[test]
fn the_readme_shows_the_fused_kernels_as_they_are() {
    let text = Iris::trainer(Adam::new(1e-2)).ir(Stage::Fused);
    let end = text.find("check that").expect("a training step checks its loss");
    assert_eq!(shown("fused"), text[..end], "copy the text on the right into the README");
}

#[test]
fn the_readme_shows_inference_as_it_is() {
    assert_eq!(shown("inference"), Iris::predictor().ir(Stage::Fused), "copy the text on the right into the README");
}

#[test]
fn the_readme_shows_the_table_as_it_is() {
    let text = Iris::trainer(Adam::new(1e-2)).to_string();
    assert_eq!(shown("table"), text, "copy the text on the right into the README");
}
