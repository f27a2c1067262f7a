//! The IR that the README shows is the IR that the compiler prints.

use gradloom::ndarray::{Array1, Array2, array};
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
    let (_, rest) = readme.split_once(&format!("<!-- {marker} -->\n```text\n")).expect("the README has the marker");
    let (text, _) = rest.split_once("```").expect("a text block ends");
    text.to_string()
}

#[test]
fn the_readme_shows_the_fused_kernels_as_they_are() {
    let text = Iris::trainer(Adam::new(1e-2)).ir(Stage::Fused);
    let end = text.find("check that").expect("a training step checks its loss");
    assert_eq!(shown("ir: fused"), text[..end], "copy the text on the right into the README");
}

#[test]
fn the_readme_shows_inference_as_it_is() {
    assert_eq!(
        shown("ir: inference"),
        Iris::predictor().ir(Stage::Fused),
        "copy the text on the right into the README"
    );
}

#[test]
fn the_readme_shows_the_table_as_it_is() {
    let text = Iris::trainer(Adam::new(1e-2)).to_string();
    assert_eq!(shown("ir: table"), text, "copy the text on the right into the README");
}

#[test]
fn the_readme_shows_diagnostics_as_they_are() {
    let kinds = Array1::from_shape_fn(30, |i| (i % 3) as u8);
    let flowers =
        Array2::from_shape_fn((30, 4), |(i, j)| ((i % 3 + j) % 4) as f32 + ((7 * i + 3 * j) % 5) as f32 / 10.0);
    let mut net = Iris::trainer(Adam::new(1e-2)).max_batch(32).seed(1).build().expect("it builds");
    let text = net.diagnose(flowers.view(), kinds.view()).expect("the batch fits").to_string();
    assert_eq!(shown("diagnostics"), text, "copy the text on the right into the README");
}

network! {
    Logs<x: [B, 2] -> y: [B, 1]> { Dense(3, init = constant(0.25)), |x| ln(x) as logs, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

#[test]
fn the_readme_shows_the_error_as_it_is() {
    let mut net = Logs::trainer(Adam::new(1e-2)).max_batch(32).build().expect("it builds");
    let (x, t) = (array![[1.0, 1.0], [2.0, -3.0]], Array2::zeros((2, 1)));
    let text = net.step(x.view(), t.view()).expect_err("a logarithm is not finite").to_string();
    let (before, rest) = text.split_once('(').expect("it names a place");
    let (_, after) = rest.split_once(')').expect("a place ends");
    let text = format!("{before}(src/main.rs:12:19){after}");
    assert_eq!(shown("sentinel").trim().replace('\n', " "), text, "copy the text on the right into the README");
}
