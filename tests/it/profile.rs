//! Where the time of a step goes: every layer with what it has to do, and a session that is none the worse for it.

use gradloom::ndarray::{Array1, Array2, array, s};
use gradloom::{Profile, Sgd, Stage, network};

use crate::train::{Classifier, classifier, samples, state};

network! {
    /// Products and little else.
    pub Plain<x: [B, 6] -> y: [B, 2]> { Dense(8, bias = false), relu, Dense(2, bias = false) }
    loss(target: [B, 2]) = mse(y, target);
}

fn profile() -> Profile {
    let (x, labels) = samples(150);
    let mut net = classifier(150);
    net.profile(x.view(), labels.view()).expect("the batch fits")
}

#[test]
fn layers_stand_in_the_order_of_the_declaration() {
    let profile = profile();
    let names: Vec<&str> = profile.layers.iter().map(|layer| layer.layer.as_str()).collect();
    // What all updates have in common, such as the corrections of Adam, comes last.
    let declared =
        ["dense1", "batch_norm1", "relu1", "dense2", "batch_norm2", "tanh1", "dense3", "loss", "accuracy", "optimizer"];
    assert_eq!(names, declared);
    for layer in profile.layers.iter().filter(|layer| layer.layer != "optimizer") {
        assert!(layer.forward.seconds > 0.0, "{} computes something", layer.layer);
        // Its gradient is that of the values it names, which the layers before it compute; a metric has none.
        assert_eq!(layer.backward.seconds > 0.0, layer.layer != "accuracy", "{layer:?}");
        let trained = layer.layer.starts_with("dense") || layer.layer.starts_with("batch_norm");
        assert_eq!(layer.update.seconds > 0.0, trained, "{layer:?}");
    }
}

#[test]
fn times_of_layers_and_of_kernels_are_the_same_time() {
    let profile = profile();
    let layers: f64 = profile.layers.iter().map(|layer| layer.sum().seconds).sum();
    let kernels: f64 = profile.kernels.iter().map(|kernel| kernel.work.seconds).sum();
    assert!((layers - kernels).abs() < 1e-9 * kernels, "{layers} and {kernels}");
    assert!(profile.step > 0.0 && kernels > 0.0);
    let operations = |work: &dyn Fn(&Profile) -> f64| work(&profile);
    let of_layers = operations(&|profile| profile.layers.iter().map(|layer| layer.sum().flops).sum());
    let of_kernels = operations(&|profile| profile.kernels.iter().map(|kernel| kernel.work.flops).sum());
    assert_eq!(of_layers, of_kernels);
}

#[test]
fn work_is_counted_by_hand() {
    let mut net = Plain::trainer(Sgd::new(0.1)).max_batch(64).build().expect("it builds");
    let (x, _) = samples(40);
    let x = gradloom::ndarray::concatenate![gradloom::ndarray::Axis(1), x, x.slice(s![.., ..1])];
    let target = gradloom::ndarray::Array2::zeros((40, 2));
    let profile = net.profile(x.view(), target.view()).expect("the batch fits");
    let layer = |name: &str| profile.layers.iter().find(|layer| layer.layer == name).expect("the layer is there");
    // Forward a product of [40, 6] and [6, 8]; backward one of [6, 40] and [40, 8], and none by the input of the network.
    let (first, second) = (layer("dense1"), layer("dense2"));
    assert_eq!((first.forward.flops, first.backward.flops), (2.0 * 40.0 * 6.0 * 8.0, 2.0 * 40.0 * 6.0 * 8.0));
    assert_eq!((second.forward.flops, second.backward.flops), (2.0 * 40.0 * 8.0 * 2.0, 2.0 * 2.0 * 40.0 * 8.0 * 2.0));
    // A parameter less rate times gradient is a multiply-add each.
    assert_eq!((first.update.flops, second.update.flops), (2.0 * 48.0, 2.0 * 16.0));
    // Reads [40, 6] and [6, 8], and keeps [40, 8] for the gradient of relu.
    assert_eq!(first.forward.bytes, 4.0 * (240.0 + 48.0 + 320.0));
}

#[test]
fn profiling_leaves_the_session_as_it_was() {
    let (x, labels) = samples(150);
    let (mut profiled, mut other) = (classifier(150), classifier(150));
    for _ in 0..3 {
        profiled.profile(x.view(), labels.view()).expect("the batch fits");
        assert_eq!(state(&profiled), state(&other));
        assert_eq!(profiled.steps(), other.steps());
        let losses = [&mut profiled, &mut other].map(|net| net.step(x.view(), labels.view()).expect("it fits").loss);
        assert_eq!(losses[0].to_bits(), losses[1].to_bits());
    }
}

#[test]
fn a_profile_is_printed_as_a_table() {
    let profile = profile();
    let text = profile.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("a step on 150 rows: "), "{text}");
    let columns = "layer        forward, us  backward, us  update, us  GFLOP/s     GB/s  of the roofline";
    assert_eq!(lines[1], columns);
    assert_eq!(lines.len(), 2 + profile.layers.len(), "{text}");
    for (line, layer) in lines[2..].iter().zip(&profile.layers) {
        assert!(line.starts_with(&layer.layer) && line.ends_with(" %") && line.len() == columns.len(), "{line}");
    }
    let kernels = format!("{profile:#}");
    assert_eq!(kernels.lines().count(), lines.len() + 2 + profile.kernels.len(), "{kernels}");
}

#[test]
fn what_a_step_refuses_a_profile_refuses() {
    let (x, labels) = samples(20);
    let mut net = Classifier::trainer(Sgd::new(0.1)).max_batch(16).build().expect("it builds");
    let refused = |result: Result<Profile, gradloom::Error>| result.expect_err("it is refused").to_string();
    let many = refused(net.profile(x.view(), labels.view()));
    assert_eq!(many, "a batch has 1 to 16 rows here, got 20; `max_batch` sets the limit");
    let one = refused(net.profile(x.slice(s![..1, ..]), labels.slice(s![..1])));
    assert!(one.starts_with("`batch_norm1` normalizes"), "{one}");
    let class = refused(net.profile(x.slice(s![..2, ..]), Array1::from(vec![0u8, 3]).view()));
    assert!(class.starts_with("`label` has class id 3 in row 1"), "{class}");
    let lost = array![[f32::NAN; 5], [0.0; 5]];
    let lost = refused(net.profile(lost.view(), labels.slice(s![..2])));
    assert!(lost.starts_with("the loss of step 1 is NaN: element [0, 0] of the input `x` is NaN; "), "{lost}");
}

network! {
    /// With a layer in the middle whose input nobody reads twice, if its weight does not learn.
    Frozen<x: [B, 20] -> y: [B, 37]> { Dense(40), BatchNorm, tanh, Dense(40), BatchNorm, tanh, Dense(37) }
    loss(target: [B, 37]) = mse(y, target);
}

#[test]
fn kernels_that_a_step_runs_row_by_row_with_a_product_are_timed_for_themselves() {
    let trainer = Frozen::trainer(Sgd::new(0.1)).max_batch(600).freeze("dense2.*");
    let plan = trainer.ir(Stage::Plan);
    assert!(plan.contains("group by b: kernels") && plan.contains("  tile %"), "{plan}");
    let mut net = trainer.build().expect("it builds");
    let (x, y) = (Array2::from_elem((600, 20), 0.5), Array2::from_elem((600, 37), 0.25));
    let profile = net.profile(x.view(), y.view()).expect("the batch fits");
    for kernel in &profile.kernels {
        // Nothing is a hundred times as fast as the machine is.
        assert!(kernel.work.of_roofline(&profile.peak) < 100.0, "{kernel:?}");
    }
}
