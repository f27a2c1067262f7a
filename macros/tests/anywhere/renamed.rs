//! With the crate under another name, in a function, and from another macro.

use loom::{Adam, Network, network};

mod gradloom {}

macro_rules! stack {
    ($name:ident, $width:expr, $loss:expr, [$($layer:ident),*]) => {
        network! { $name<x: [B, $width] -> y: [B, $width * 2]> { $($layer,)* Dense($width * 2) } loss = $loss; }
    };
}
stack!(Stacked, 1 + 2, mean(y), [relu, BatchNorm]);

mod inner {
    loom::network! {
        pub Net<image: [B, 2, 2] -> logits: [B, 3]> { flatten, Dense(3) }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
}

fn run() -> Result<f32, loom::Error> {
    loom::network! {
        Local<x: [B, 2] -> [B, 1]> { Dense(1) }
        loss(t: [B, 1]) = mse(out, t);
    }
    let x = loom::ndarray::Array2::zeros((2, 2));
    let t = loom::ndarray::Array2::zeros((2, 1));
    let step = Local::trainer(Adam::new(1e-2)).build()?.step(x.view(), t.view())?;
    let _: <Local as Network>::Metrics = step;
    Ok(step.loss)
}

fn main() {
    let accuracy: fn(loom::MetricsOf<inner::Net>) -> f32 = |step| step.accuracy;
    let _ = (run(), accuracy, Stacked::ir(loom::Stage::Static), Stacked::gradcheck);
}
