//! What helps to find a mistake, for networks over images: the origin of a number that is not finite, profiles, diagnostics.

use gradloom::ndarray::{Array4, array};
use gradloom::{Fault, RunError, Session, Sgd, network};
use insta::assert_snapshot;

network! {
    /// A logarithm of what two channels come to.
    Logs<x: [B, 2, 3, 4] -> y: [B, 1]> {
        Conv2d(2, 1, bias = false) as mixed, |x| ln(x) as logs, global_avg_pool, Dense(1),
    }
    loss = sum(y);

    /// One of every kind.
    Kinds<image: [u8; B, 2, 8, 6] -> y: [B, 3]> {
        normalize(0.5, 0.25), random_crop(1), random_flip,
        Conv2d(4, 3, pad = 1), BatchNorm, relu, max_pool(2), Conv2d(4, 3, pad = 1, groups = 4, bias = false), relu,
        ConvTranspose2d(3, 2, stride = 2), GroupNorm(1), avg_pool(2), upsample(2), Dropout(0.1, channels = true),
        global_max_pool, Dense(3),
    }
    loss(label: [u8; B]) = cross_entropy(y, label);
}

fn kinds() -> Session<Kinds> {
    Kinds::trainer(Sgd::new(0.1)).max_batch(6).seed(3).build().expect("it builds")
}

fn bytes() -> Array4<u8> {
    Array4::from_shape_fn((6, 2, 8, 6), |(row, channel, i, j)| {
        ((row * 53 + channel * 101 + i * 37 + j * 11) % 256) as u8
    })
}

#[test]
fn an_element_of_an_image_that_is_not_finite_is_named_channels_last() {
    let mut net = Logs::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    // The second channel of what comes out is the second one of what comes in, minus its first.
    net.set_param("mixed.weight", array![[[[1.0f32]], [[0.5]]], [[[-1.0]], [[1.0]]]].view().into_dyn())
        .expect("it fits");
    let mut x = Array4::from_shape_fn((2, 2, 3, 4), |(_, channel, ..)| 1.0 + channel as f32);
    x[[1, 1, 2, 3]] = 0.25;
    let error = net.step(x.view(), ()).expect_err("it is the logarithm of less than nothing");
    assert_snapshot!(error, @"the loss of step 1 is NaN: in the forward pass of `logs` (tests/it/image_tools.rs:10:46), element [1, 2, 3, 1] is ln(-0.75) = NaN; parameters and statistics are as before the step");
    let RunError::NotFinite { fault: Some(fault), .. } = &error else { panic!("{error:?}") };
    let Fault::Made { element, operands, .. } = &**fault else { panic!("{fault:?}") };
    // As the printed graph has its axes: row, height, width, channel.
    assert_eq!((&element[..], operands[0].value), (&[1, 2, 3, 1][..], -0.75));
}

#[test]
fn every_layer_over_images_has_its_share_of_a_profile() {
    let images = bytes();
    let profile = kinds().profile(images.view(), array![0u8, 1, 2, 0, 1, 2].view()).expect("the batch fits");
    let names: Vec<&str> = profile.layers.iter().map(|layer| layer.layer.as_str()).collect();
    let declared = [
        "normalize1",
        "random_crop1",
        "random_flip1",
        "conv1",
        "batch_norm1",
        "relu1",
        "max_pool1",
        "conv2",
        "relu2",
        "conv_transpose1",
        "group_norm1",
        "avg_pool1",
        "upsample1",
        "dropout1",
        "global_max_pool1",
        "dense1",
        "loss",
        "optimizer",
    ];
    assert_eq!(names, declared);
    // Of each of 6 images, 48 positions, 4 channels and 9 taps of 2 channels: a product and a sum; then the bias.
    let conv = profile.layers.iter().find(|layer| layer.layer == "conv1").expect("it is there");
    assert_eq!(conv.forward.flops, 6.0 * 48.0 * 4.0 * (2.0 * 9.0 * 2.0 + 1.0));
    assert!(profile.layers.iter().all(|layer| layer.sum().seconds > 0.0), "{profile}");
}

#[test]
fn channels_are_the_units_of_what_is_measured() {
    let (images, labels) = (bytes(), array![0u8, 1, 2, 0, 1, 2]);
    let mut net = kinds();
    // Two of four channels are below zero everywhere.
    net.set_param("batch_norm1.gamma", array![0.0f32, 0.0, 1.0, 1.0].view().into_dyn()).expect("it fits");
    net.set_param("batch_norm1.beta", array![-1.0f32, -1.0, 5.0, 5.0].view().into_dyn()).expect("it fits");
    let said = net.diagnose(images.view(), labels.view()).expect("it runs");
    let layer = |name: &str| said.layer(name).unwrap_or_else(|| panic!("`{name}` is measured in\n{said}"));
    assert_eq!((layer("relu1").dead, layer("relu1").saturated), (Some(0.5), Some(0.5)));
    let gradients = net.gradients(images.view(), labels.view()).expect("it runs");
    let weight = gradients.get("conv2.weight").expect("it is trained");
    let mean = weight.iter().map(|x| f64::from(x.abs())).sum::<f64>() / weight.len() as f64;
    let found = f64::from(layer("conv2").gradient.expect("it is trained"));
    assert!((found - mean).abs() <= 1e-5 * mean, "{found} instead of {mean}");
    assert!(layer("batch_norm1").drift.is_some() && layer("group_norm1").drift.is_none());
}
