//! Layers over images against values of PyTorch, and a network whose state dict is loaded.

use std::path::PathBuf;

use gradloom::ndarray::{Array4, ArrayD, IxDyn};
use gradloom::{NameMap, Predictor, Session, Sgd, network};
use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg, LayerDef};

use crate::golden_file::{Case, GoldenFile};
use crate::handmade::leak;
use crate::layer_golden::{self, F32};

/// The layer of a case, and its arguments.
fn layer(case: &Case) -> (&'static LayerDef, Vec<Arg>) {
    let name = &*case.name;
    let int = Arg::Int;
    let conv = |n, kernel, stride, pad, dilation, groups, bias| {
        let args = [int(n), kernel, stride, pad, dilation, int(groups), Arg::Flag(bias), Arg::Init(&AUTO, None)];
        (&layers::CONV2D, args.to_vec())
    };
    let (one, none) = (int(1), int(0));
    let ends = |groups| [int(groups), Arg::Flag(true), Arg::Init(&AUTO, None)];
    let transposed = |n, window: [Arg; 5], groups| -> (&'static LayerDef, Vec<Arg>) {
        (&layers::CONV_TRANSPOSE2D, [&[int(n)], &window[..], &ends(groups)].concat())
    };
    let signal = |n, window: [Arg; 4], groups| -> (&'static LayerDef, Vec<Arg>) {
        (&layers::CONV1D, [&[int(n)], &window[..], &ends(groups)].concat())
    };
    let pool = |layer: &'static LayerDef| {
        let args = match name.rsplit_once('_').expect("a case is of a layer and a variant").1 {
            "plain" => [int(2), Arg::Word("kernel"), none],
            "overlap" => [int(3), int(2), one],
            _ => [Arg::Pair(2, 3), Arg::Pair(3, 1), Arg::Pair(1, 0)],
        };
        (layer, args.to_vec())
    };
    match name {
        "conv2d_plain" => conv(4, int(3), one, none, one, 1, true),
        "conv2d_one_by_one" => conv(5, one, one, none, one, 1, false),
        "conv2d_one_by_one_stride" => conv(2, one, int(2), none, one, 1, true),
        "conv2d_stride" => conv(3, int(3), int(2), one, one, 1, true),
        "conv2d_pairs" => conv(3, Arg::Pair(2, 4), Arg::Pair(1, 3), Arg::Pair(1, 2), Arg::Pair(2, 1), 1, true),
        "conv2d_same" => conv(3, Arg::Pair(4, 3), one, Arg::Word("same"), Arg::Pair(1, 2), 1, true),
        "conv2d_groups" => conv(6, int(3), one, one, one, 2, true),
        "conv2d_depthwise" => conv(5, int(3), one, one, one, 5, false),
        "conv2d_multiplier" => conv(6, int(2), int(2), none, one, 3, true),
        "conv2d_patches" => conv(4, Arg::Pair(2, 3), Arg::Pair(2, 3), none, one, 1, true),
        "conv_transpose2d_plain" => transposed(2, [int(3), one, none, none, one], 1),
        "conv_transpose2d_stride" => transposed(2, [int(2), int(2), none, none, one], 1),
        "conv_transpose2d_pairs" => {
            let pair = Arg::Pair;
            transposed(3, [pair(3, 2), pair(2, 3), pair(1, 0), pair(1, 2), pair(1, 2)], 1)
        }
        "conv_transpose2d_groups" => transposed(6, [int(3), int(2), one, one, one], 2),
        "conv1d_plain" => signal(4, [int(3), one, none, one], 1),
        "conv1d_stride" => signal(6, [int(4), int(2), one, one], 2),
        "conv1d_same" => signal(2, [int(4), one, Arg::Word("same"), int(2)], 1),
        "upsample_nearest" => (&layers::UPSAMPLE, vec![Arg::Pair(2, 3), Arg::Word("nearest")]),
        "upsample_bilinear" => (&layers::UPSAMPLE, vec![Arg::Pair(2, 3), Arg::Word("bilinear")]),
        "group_norm_image" => (&layers::GROUP_NORM, vec![int(3), Arg::Float(1e-5)]),
        "group_norm_signal" => (&layers::GROUP_NORM, vec![int(1), Arg::Float(1e-5)]),
        "group_norm_matrix" => (&layers::GROUP_NORM, vec![int(2), Arg::Float(1e-5)]),
        "normalize" => {
            let list = |key| Arg::Numbers(leak(case.floats(key).to_vec()));
            (&layers::NORMALIZE, vec![list("normalize_mean"), list("normalize_std")])
        }
        "global_avg_pool" => (&layers::GLOBAL_AVG_POOL, Vec::new()),
        "global_max_pool" => (&layers::GLOBAL_MAX_POOL, Vec::new()),
        "flatten" => (&layers::FLATTEN, Vec::new()),
        name if name.starts_with("max_pool") => pool(&layers::MAX_POOL),
        name if name.starts_with("avg_pool") => pool(&layers::AVG_POOL),
        name if name.starts_with("batch_norm") => (&layers::BATCH_NORM, vec![Arg::Float(0.9), Arg::Float(1e-5), one]),
        other => panic!("no arguments for {other}"),
    }
}

#[test]
fn layers_over_images_are_those_of_pytorch_forward_and_backward() {
    let file = GoldenFile::read("images");
    let cases: Vec<&Case> = file.cases().iter().filter(|case| case.name != "network").collect();
    assert_eq!(cases.len(), 35);
    for case in cases {
        let (layer, args) = layer(case);
        layer_golden::check(case, layer, &args);
    }
}

network! {
    /// What the golden file holds the parameters of.
    pub Images<x: [B, 1, 9, 8] -> y: [B, 5]> {
        Conv2d(6, 3, pad = 1), BatchNorm, relu, max_pool(2),
        Conv2d(8, (3, 2), pad = (1, 0), groups = 2), relu, flatten, Dense(5),
    }
    loss(target: [B, 5]) = mse(y, target);
}

pub fn file() -> PathBuf {
    crate::project().join("tests/golden/image_state.safetensors")
}

/// Which tensor of the file is which parameter. Those of convolutions need not be transposed, and the rows of the dense layer are
/// those of PyTorch: channel by channel.
pub fn names() -> NameMap {
    NameMap::new()
        .renamed("0.weight", "conv1.weight")
        .renamed("0.bias", "conv1.bias")
        .renamed("1.weight", "batch_norm1.gamma")
        .renamed("1.bias", "batch_norm1.beta")
        .renamed("1.running_mean", "batch_norm1.running_mean")
        .renamed("1.running_var", "batch_norm1.running_var")
        .ignored("*.num_batches_tracked")
        .renamed("4.weight", "conv2.weight")
        .renamed("4.bias", "conv2.bias")
        .transposed("7.weight", "dense1.weight")
        .renamed("7.bias", "dense1.bias")
}

#[test]
fn a_state_dict_of_a_convolutional_network_predicts_what_it_predicts_in_pytorch() {
    let golden = GoldenFile::read("images");
    let case = golden.case("network");
    let x: Vec<f32> = case.floats("x").iter().map(|&x| x as f32).collect();
    let x = Array4::from_shape_vec((3, 1, 9, 8), x).expect("three images");
    let mut predictor: Predictor<Images> = Images::predictor().max_batch(2).build().expect("it builds");
    predictor.load_mapped(file(), &names()).expect("the map accounts for everything");
    let y: Vec<f64> = predictor.predict(x.view()).expect("it runs").iter().map(|&y| f64::from(y)).collect();
    F32.check("y", &y, case.floats("y"));

    let mut net: Session<Images> = Images::trainer(Sgd::new(0.1)).max_batch(4).build().expect("it builds");
    net.load_mapped(file(), &names()).expect("the map accounts for everything");
    let y: Vec<f64> = net.predict(x.view()).expect("it runs").iter().map(|&y| f64::from(y)).collect();
    F32.check("y", &y, case.floats("y"));

    // What is read is what is written, axis by axis.
    let weight = net.param("conv2.weight").expect("it is there").to_owned();
    assert_eq!(weight.shape(), [8, 3, 3, 2]);
    let mut other: Session<Images> = Images::trainer(Sgd::new(0.1)).build().expect("it builds");
    for name in net.names().map(str::to_string).collect::<Vec<_>>() {
        other.set_param(&name, net.param(&name).expect("it is there")).expect("the shapes agree");
        assert_eq!(other.param(&name), net.param(&name), "{name}");
    }
    assert_eq!(other.predict(x.view()).expect("it runs"), net.predict(x.view()).expect("it runs"));
    let transposed = ArrayD::<f32>::zeros(IxDyn(&[3, 2, 3, 8]));
    let error = other.set_param("conv2.weight", transposed.view()).expect_err("that is the order in memory");
    insta::assert_snapshot!(error, @"`conv2.weight` wants [8, 3, 3, 2], got [3, 2, 3, 8]");
}
