//! Networks over images: where their axes are, their gradients, their machine code over random shapes, what pooling does with ties
//! and NaN, batch norm of one image, threads, checkpoints.

use gradloom::ndarray::{Array1, Array3, Array4, Axis, array, s};
use gradloom::{Adam, Network, Predictor, Session, Sgd, Stage, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::Role;
use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg, LayerDef, Mode};
use gradloom_runtime::lower::{lower, trainable};
use gradloom_runtime::types::Dim;
use insta::assert_snapshot;

use crate::budget;
use crate::checkpoint::folder;
use crate::compiled::{Compiled, Reference};
use crate::finite_difference::{self, STEP};
use crate::{draw, handmade};

network! {
    Small<image: [B, 2, 4, 4] -> logits: [B, 3]> { Conv2d(4, 3, pad = 1), relu, max_pool(2), flatten, Dense(3) }
}

#[test]
fn the_axes_of_an_image_move_at_the_ports_and_before_flatten() {
    assert_snapshot!(Small::ir(Stage::Forward), @"
    %0 = input image : f32[B,2,4,4]
    %1 = transpose %0 by 0,2,3,1 : f32[B,4,4,2]                      # conv1
    %2 = param conv1.weight : f32[3,3,2,4]                           # conv1
    %3 = patches %1 axis 1, size 3, before 1, after 1, with 0 : f32[B,4,3,4,2] # conv1
    %4 = patches %3 axis 3, size 3, before 1, after 1, with 0 : f32[B,4,3,4,3,2] # conv1
    %5 = dot %4, %2 over 2:0,4:1,5:2 : f32[B,4,4,4]                  # conv1
    %6 = param conv1.bias : f32[4]                                   # conv1
    %7 = broadcast %6 to 3 : f32[B,4,4,4]                            # conv1
    %8 = add %5, %7 : f32[B,4,4,4]                                   # conv1
    %9 = max 0, %8 : f32[B,4,4,4]                                    # relu1
    %10 = reshape %9 : f32[B,2,2,4,4]                                # max_pool1
    %11 = reshape %10 : f32[B,2,2,2,2,4]                             # max_pool1
    %12 = max %11 over 2,4 : f32[B,2,2,4]                            # max_pool1
    %13 = transpose %12 by 0,3,1,2 : f32[B,4,2,2]                    # flatten1
    %14 = reshape %13 : f32[B,16]                                    # flatten1
    %15 = param dense1.weight : f32[16,3]                            # dense1
    %16 = dot %14, %15 : f32[B,3]                                    # dense1
    %17 = param dense1.bias : f32[3]                                 # dense1
    %18 = broadcast %17 to 1 : f32[B,3]                              # dense1
    %19 = add %16, %18 : f32[B,3]                                    # dense1
    output logits = %19
    ");
}

network! {
    /// Values in one order of axes and in the other: named, in branches, in expressions.
    Mixed<x: [B, 2, 4, 3] -> y: [B, 2, 4, 3]> {
        residual { Conv2d(2, 3, pad = same), BatchNorm, tanh } as inside,
        residual { softmax } skip { |x| x * softmax(x) },
        residual { prelu } skip { avg_pool(3, stride = 1, pad = 1), Dropout(0.3), Dropout(0.2, channels = true) },
    }
    loss(t: [B, 2, 4, 3]) = mse(y, t) + mean(if inside > t { inside * t } else { t })
        + 1e-3 * mean(if inside.conv1.weight > 0.1 { exp(inside.conv1.weight) } else { 0.0 }) + 1e-3 * l2(weights);
}

fn images(shape: [usize; 4], seed: u64) -> Array4<f32> {
    let mut random = Random::new(seed, 1);
    Array4::from_shape_simple_fn(shape, || random.normal() as f32)
}

#[test]
fn gradients_do_not_depend_on_where_the_axes_are() {
    let mut net = Mixed::trainer(Sgd::new(0.1)).max_batch(3).seed(5).build().expect("it builds");
    let report = net.gradcheck(images([3, 2, 4, 3], 1).view(), images([3, 2, 4, 3], 2).view()).expect("it runs");
    assert!(report.passed(), "{report}");
    assert_eq!(report.get("inside.conv1.weight").expect("it is trained").shape, [2, 2, 3, 3]);
}

/// A convolution with these arguments: kernel, stride, pad, dilation.
fn conv(n: u64, [kernel, stride, pad, dilation]: [Arg; 4], groups: u64) -> Vec<Arg> {
    vec![Arg::Int(n), kernel, stride, pad, dilation, Arg::Int(groups), Arg::Flag(true), Arg::Init(&AUTO, None)]
}

#[test]
fn layers_over_images_have_the_gradients_that_central_differences_show() {
    let int = Arg::Int;
    let same = Arg::Word("same");
    let norm = vec![Arg::Float(0.9), Arg::Float(1e-5), int(1)];
    let transposed = |n, window: [Arg; 5], groups| {
        [&[int(n)], &window[..], &[int(groups), Arg::Flag(true), Arg::Init(&AUTO, None)]].concat()
    };
    let cases: [(&'static LayerDef, Vec<Arg>); 17] = [
        (&layers::CONV_TRANSPOSE2D, transposed(3, [int(3), int(2), int(1), int(1), int(1)], 1)),
        (
            &layers::CONV_TRANSPOSE2D,
            transposed(4, [Arg::Pair(2, 1), Arg::Pair(1, 2), int(0), Arg::Pair(0, 1), int(2)], 2),
        ),
        (&layers::UPSAMPLE, vec![int(2), Arg::Word("bilinear")]),
        (&layers::UPSAMPLE, vec![Arg::Pair(1, 3), Arg::Word("nearest")]),
        (&layers::GROUP_NORM, vec![int(2), Arg::Float(1e-2)]),
        (&layers::CONV2D, conv(2, [int(3), int(2), int(1), int(1)], 1)),
        (&layers::CONV2D, conv(3, [Arg::Pair(1, 3), Arg::Pair(1, 2), Arg::Pair(0, 2), Arg::Pair(1, 2)], 1)),
        (&layers::CONV2D, conv(2, [int(2), int(1), same, int(2)], 1)),
        (&layers::CONV2D, conv(4, [int(3), int(1), same, int(1)], 2)),
        (&layers::CONV2D, conv(4, [int(3), int(2), int(1), int(1)], 4)),
        (&layers::CONV2D, conv(8, [int(2), int(2), int(0), int(1)], 4)),
        (&layers::CONV2D, conv(5, [int(1), int(3), int(0), int(1)], 1)),
        (&layers::MAX_POOL, vec![int(3), int(2), int(1)]),
        (&layers::AVG_POOL, vec![Arg::Pair(3, 2), int(1), Arg::Pair(1, 1)]),
        (&layers::BATCH_NORM, norm),
        (&layers::DROPOUT, vec![Arg::Float(0.5), Arg::Flag(true)]),
        (&layers::DROPOUT, vec![Arg::Float(0.5), Arg::Flag(false)]),
    ];
    for (layer, args) in cases {
        let input = handmade::port("x", &[Dim::B, Dim::Fixed(4), Dim::Fixed(5), Dim::Fixed(4)]);
        let mut graph = lower(handmade::single_layer(layer, &args, input), Mode::Train).expect("the layer fits");
        let mut wanted: Vec<usize> = trainable(&graph).collect();
        wanted.push(handmade::input_as_parameter(&mut graph, 0, 2));
        let values = draw::values(&graph, 2, 11);
        finite_difference::check(&format!("{} {args:?}", layer.name), &graph, 2, &values, &wanted, STEP);
    }
}

/// A layer over images with everything drawn, and how large they are.
fn drawn(seed: u64) -> (&'static LayerDef, Vec<Arg>, [usize; 4]) {
    let mut random = Random::new(seed, 3);
    let mut below = |n: u64| random.below(n);
    let shape = [1 + below(9), 1 + below(19), 1 + below(17), 1 + below(17)].map(|n| n as usize);
    let mut pair = |least: u64, most: u64| {
        let mut one = || least + below(most - least + 1);
        let (height, width) = (one(), one());
        if one() % 2 == 0 { Arg::Pair(height, width) } else { Arg::Int(height) }
    };
    let (kernel, stride, pad, dilation) = (pair(1, 5), pair(1, 3), pair(0, 2), pair(1, 2));
    let [stretch, more] = [stride, dilation].map(|drawn| if drawn == Arg::Int(3) { Arg::Int(2) } else { drawn });
    match random.below(11) {
        8 => {
            let shape = [shape[0], shape[1], shape[2].min(7), shape[3].min(7)];
            let n = 1 + random.below(8);
            let args = [Arg::Int(n), kernel, stride, pad, Arg::Int(0), more, Arg::Int(1), Arg::Flag(true)];
            (&layers::CONV_TRANSPOSE2D, [&args[..], &[Arg::Init(&AUTO, None)]].concat(), shape)
        }
        9 => {
            let mode = ["nearest", "bilinear"][random.below(2) as usize];
            (&layers::UPSAMPLE, vec![stretch, Arg::Word(mode)], [shape[0], shape[1], shape[2].min(7), shape[3].min(7)])
        }
        10 => (&layers::GROUP_NORM, vec![Arg::Int(1 + random.below(2)), Arg::Float(1e-3)], shape),
        0 => (&layers::MAX_POOL, vec![kernel, stride, pad], shape),
        1 => (&layers::AVG_POOL, vec![kernel, stride, pad], shape),
        2 => (&layers::GLOBAL_AVG_POOL, Vec::new(), shape),
        3 => (&layers::GLOBAL_MAX_POOL, Vec::new(), shape),
        kind => {
            let groups = if kind > 5 { 1 + random.below(3) } else { 1 };
            let n = groups * (1 + random.below(19 / groups));
            let per_group = (shape[1] as u64).div_ceil(groups) as usize;
            let shape = [shape[0], per_group * groups as usize, shape[2], shape[3]];
            let depthwise = kind == 7 && random.below(2) == 0;
            let channels = shape[1] as u64;
            let (n, groups) = if depthwise { (channels, channels) } else { (n, groups) };
            (&layers::CONV2D, conv(n, [kernel, stride, pad, dilation], groups), shape)
        }
    }
}

#[test]
fn machine_code_over_images_of_any_size_gives_what_the_interpreter_gives() {
    let (mut tried, mut refused) = (0, 0);
    for seed in 0..budget::cases(60) {
        let (layer, args, shape) = drawn(seed);
        let dims = [Dim::B, Dim::Fixed(shape[1]), Dim::Fixed(shape[2]), Dim::Fixed(shape[3])];
        let input = handmade::port("x", &dims);
        if (layer.shape)(&input.known().shape, &args).is_err() {
            refused += 1;
            continue;
        }
        let mut graph = lower(handmade::single_layer(layer, &args, input), Mode::Train).expect("the layer fits");
        let mut wanted: Vec<usize> = trainable(&graph).collect();
        // Half of them with the gradient of the image.
        if seed % 2 == 0 {
            wanted.push(handmade::input_as_parameter(&mut graph, 0, shape[0]));
        }
        let graph = handmade::with_batch(&differentiate(&graph, &wanted), shape[0]);
        let values = draw::singles(&draw::values(&graph, shape[0], seed));
        let reference = Reference::new(&graph, shape[0], &values);
        let results = Compiled::new(&graph, shape[0]).run(shape[0], &values);
        reference.check(&format!("{} {args:?} of {shape:?}, seed {seed}", layer.name), &results);
        tried += 1;
    }
    assert!(tried > refused, "{tried} were tried, {refused} do not fit");
}

network! {
    /// The window goes over the edge at the top, at the bottom and on the left; the padding on the right is left over.
    Edges<x: [B, 1, 2, 4] -> y: [B, 1, 1, 2]> { max_pool(3, stride = 2, pad = 1) }
}

#[test]
fn pooling_knows_nothing_outside_of_the_image_and_passes_nan_on() {
    let mut net: Predictor<Edges> = Edges::predictor().build().expect("it builds");
    let x = array![[[[1.0f32, 5.0, -3.0, 7.0], [2.0, 3.0, 4.0, f32::NAN]]]];
    let y = net.predict(x.view()).expect("it runs").to_owned();
    assert!(y[[0, 0, 0, 0]] == 5.0 && y[[0, 0, 0, 1]].is_nan(), "{y}");
    let x = array![[[[-1.0f32, -5.0, -3.0, -7.0], [-2.0, -6.0, -4.0, -9.0]]]];
    assert_eq!(net.predict(x.view()).expect("it runs"), array![[[[-1.0f32, -3.0]]]]);
}

#[test]
fn the_padding_of_a_pool_has_no_gradient_whatever_is_in_the_image() {
    let input = handmade::port("x", &[Dim::B, Dim::Fixed(1), Dim::Fixed(3), Dim::Fixed(4)]);
    let args = [Arg::Int(3), Arg::Int(2), Arg::Int(1)];
    let mut graph = lower(handmade::single_layer(&layers::MAX_POOL, &args, input), Mode::Train).expect("it fits");
    let param = handmade::input_as_parameter(&mut graph, 0, 2);
    let graph = handmade::with_batch(&differentiate(&graph, &[param]), 2);
    // Nothing but what the padding holds, too; then one number more.
    let mut x = [f64::NEG_INFINITY; 24];
    x[23] = 5.0;
    let x = Tensor::floats(&[2, 1, 3, 4], x.as_slice());
    let dy = Tensor::floats(&[2, 1, 2, 2], [1.0, 2.0, 3.0, 4.0].repeat(2));
    let values = Values { inputs: vec![x.clone(), dy], params: vec![x], scalars: Vec::new() };
    // The windows begin at the elements 0, 1, 4 and 5.
    let first = [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let second = [1.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0];
    let wanted = [first, second].concat();
    let gradient = Role::Gradient(param);
    assert_eq!(evaluate(&graph, Precision::F64, 2, &values).output(&gradient).as_floats(), wanted);
    assert_eq!(Compiled::new(&graph, 2).run(2, &values).get(&gradient), wanted);
}

#[test]
fn in_inference_batch_norm_is_a_scale_and_a_shift_of_what_a_convolution_gives() {
    assert_snapshot!(Bare::predictor().ir(Stage::Fused), @"
    kernel 0: 1 x 4, 12 FLOP, 48 bytes
      %7 = add batch_norm1.running_var, 1e-5 : f32[4]                # batch_norm1
      %8 = rsqrt %7 : f32[4]                                         # batch_norm1
      %12 = mul batch_norm1.gamma, %8 : f32[4]                       # batch_norm1
      materialize %12                                                # for kernel 1: of parameters alone
    group by b: kernels 1, 2                                         # 2,048*B bytes less to memory and back
    kernel 1: 64*B x 4, 14,848*B FLOP, 768*B + 480 bytes             # a matmul
      %5 = dot x[b, n, i+l-1, j+m-1], conv1.weight[l, m, n, k] over l 3, m 3, n 3 : f32[B,8,8,4] # conv1
      %16 = sub %5, batch_norm1.running_mean.col : f32[B,8,8,4]      # batch_norm1
      %17 = mul_add %16, %12.col, batch_norm1.beta.col : f32[B,8,8,4] # batch_norm1
      %18 = max 0, %17 : f32[B,8,8,4]                                # relu1
      tile %18                                                       # for kernel 2
    kernel 2: b B, i 4, j 8, k 8, 0 FLOP, 1,024*B bytes              # no kernel over 32*B x 8 has its operands
      materialize %18[b, j, k, i]                                    # output y
    in all: 3 kernels, 14,848*B + 12 FLOP, 1,792*B + 528 bytes
    unfused: 14,848*B + 12 FLOP, 29,952*B + 592 bytes
    ");
}

network! {
    Bare<x: [B, 3, 8, 8] -> y: [B, 4, 8, 8]> { Conv2d(4, 3, pad = 1, bias = false), BatchNorm, relu }
}

network! {
    Normed<x: [B, 3, 2, 2] -> y: [B, 3]> { BatchNorm, global_max_pool }
    loss(t: [B, 3]) = mse(y, t);
    OfOne<x: [B, 3, 1, 1] -> y: [B, 3, 1, 1]> { BatchNorm }
    loss(t: [B, 3, 1, 1]) = mse(y, t);
}

#[test]
fn one_image_has_a_variance_where_it_has_several_positions() {
    let mut net = Normed::trainer(Sgd::new(0.1)).build().expect("it builds");
    let x = images([1, 3, 2, 2], 4);
    net.step(x.view(), array![[0.0f32, 1.0, 2.0]].view()).expect("four numbers have a variance");
    let values: Vec<f64> = x.index_axis(Axis(1), 1).iter().map(|&x| f64::from(x)).collect();
    let mean = values.iter().sum::<f64>() / 4.0;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 3.0;
    let found = ["running_mean", "running_var"].map(|name| {
        let running = net.param(&format!("batch_norm1.{name}")).expect("it is there");
        f64::from(running[[1]])
    });
    let expected = [0.1 * mean, 0.9 + 0.1 * variance];
    assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");

    let mut net = OfOne::trainer(Sgd::new(0.1)).build().expect("it builds");
    let (x, t) = (images([1, 3, 1, 1], 4), images([1, 3, 1, 1], 5));
    let error = net.step(x.view(), t.view()).expect_err("one number has no variance");
    assert_snapshot!(error, @"`batch_norm1` normalizes by the variance of the batch, and one row has none; train with at least 2 rows");
}

network! {
    pub block Res(c) {
        residual { Conv2d(c, 3, pad = 1, bias = false), BatchNorm, relu, Conv2d(c, 3, pad = 1, bias = false), BatchNorm },
        relu,
    }
    pub block Down(c) {
        residual { Conv2d(c, 3, stride = 2, pad = 1, bias = false), BatchNorm, relu, Conv2d(c, 3, pad = 1, bias = false), BatchNorm }
        skip     { Conv2d(c, 1, stride = 2, bias = false), BatchNorm },
        relu,
    }
    /// Everything that networks of residual blocks have, small.
    Blocks<x: [B, 3, 8, 8] -> logits: [B, 4]> {
        Conv2d(4, 3, pad = 1, bias = false), BatchNorm, relu, repeat(2) { Res(4) }, Down(6),
        Conv2d(6, 3, pad = same, groups = 6, bias = false), BatchNorm, relu, Conv2d(8, 1), relu,
        Dropout(0.1, channels = true), global_avg_pool, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    pub ResNet20<[B, 3, 32, 32] -> logits: [B, 10]> {
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu,
        repeat(3) { Res(16) }, Down(32), repeat(2) { Res(32) }, Down(64), repeat(2) { Res(64) },
        global_avg_pool, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// LeNet-5 of 1998, with all connections of its second convolution and logits in the end.
    LeNet5<image: [B, 1, 28, 28] -> logits: [B, 10]> {
        Conv2d(6, 5, pad = 2), tanh, avg_pool(2), Conv2d(16, 5), tanh, avg_pool(2),
        flatten, Dense(120), tanh, Dense(84), tanh, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

/// Images of four kinds, which differ in where they are bright.
fn kinds(rows: usize) -> (Array4<f32>, Array1<u8>) {
    let labels = Array1::from_shape_fn(rows, |row| (row % 4) as u8);
    let mut x = images([rows, 3, 8, 8], 9);
    for (mut image, &label) in x.outer_iter_mut().zip(&labels) {
        let (top, left) = (4 * (label / 2) as usize, 4 * (label % 2) as usize);
        image.slice_mut(s![.., top..top + 4, left..left + 4]).mapv_inplace(|x| x + 1.5);
    }
    (x, labels)
}

fn blocks(threads: usize) -> Session<Blocks> {
    Blocks::trainer(Adam::new(3e-3)).max_batch(40).seed(2).threads(threads).build().expect("it builds")
}

fn bits<N: Network>(net: &Session<N>) -> Vec<u32> {
    let names: Vec<String> = net.names().map(str::to_string).collect();
    names
        .iter()
        .flat_map(|name| net.param(name).expect("it is there").iter().copied().collect::<Vec<f32>>())
        .map(f32::to_bits)
        .collect()
}

#[test]
fn a_network_of_residual_blocks_trains_to_the_same_bits_for_any_number_of_threads() {
    let (x, labels) = kinds(40);
    let trained = [1, 2, 3].map(|threads| {
        let mut net = blocks(threads);
        for _ in 0..30 {
            net.step(x.view(), labels.view()).expect("the step is taken");
        }
        net.step(x.slice(s![..7, .., .., ..]), labels.slice(s![..7])).expect("a smaller batch runs as well");
        net
    });
    let [one, two, three] = trained;
    assert_eq!(bits(&one), bits(&two));
    assert_eq!(bits(&one), bits(&three));
    let mut net = one;
    let accuracy = net.evaluate(x.view(), labels.view()).expect("it runs").accuracy;
    assert!(accuracy >= 0.9, "{accuracy}");
}

#[test]
fn a_session_over_images_goes_on_from_a_file_with_the_same_bits() {
    let path = folder("images").join("net.safetensors");
    let (x, labels) = kinds(12);
    let mut net = blocks(1);
    net.step(x.view(), labels.view()).expect("the step is taken");
    net.accumulate(x.view(), labels.view()).expect("it is added up");
    net.save(&path).expect("the folder can be written");
    let mut other = blocks(1);
    other.load(&path).expect("it is of the same training");
    assert_eq!(bits(&other), bits(&net));
    for net in [&mut net, &mut other] {
        net.update().expect("there are gradients");
        net.step(x.view(), labels.view()).expect("the step is taken");
    }
    assert_eq!(bits(&other), bits(&net));
    // The file has the order of PyTorch.
    let mut predictor: Predictor<Blocks> = Blocks::predictor().build().expect("it builds");
    net.save(&path).expect("the folder can be written");
    predictor.load(&path).expect("the names are those of the network");
    assert_eq!(predictor.param("down1.residual1.conv1.weight").expect("it is there").shape(), [6, 4, 3, 3]);
    assert_eq!(predictor.predict(x.view()).expect("it runs"), net.predict(x.view()).expect("it runs"));
}

#[test]
fn networks_of_the_literature_train_as_they_are_written() {
    let mut net = ResNet20::trainer(Sgd::new(0.05)).max_batch(4).build().expect("it builds");
    assert_eq!(net.param_count(), 272_474);
    let (x, labels) = (images([4, 3, 32, 32], 1), array![0u8, 3, 9, 3]);
    let losses: Vec<f32> = (0..6).map(|_| net.step(x.view(), labels.view()).expect("it runs").loss).collect();
    assert!(losses[5] < 0.7 * losses[0], "{losses:?}");
    let mut net = LeNet5::trainer(Adam::new(2e-3)).max_batch(4).build().expect("it builds");
    assert_eq!(net.param_count(), 61_706);
    let x = images([4, 1, 28, 28], 1);
    let losses: Vec<f32> = (0..10).map(|_| net.step(x.view(), labels.view()).expect("it runs").loss).collect();
    assert!(losses[9] < 0.3 * losses[0], "{losses:?}");
}

network! {
    /// Four ways to look at an image, side by side, as in GoogLeNet.
    block Inception(n) {
        concat {
            { Conv2d(n, 1), relu },
            { Conv2d(n, 1), relu, Conv2d(n, 3, pad = same), relu },
            { Conv2d(n, 1), relu, Conv2d(n, 5, pad = same), relu },
            { max_pool(3, stride = 1, pad = 1), Conv2d(n, 1), relu },
        },
    }
    /// A depthwise convolution and one of single positions, as in MobileNet.
    block Separable(c, n, stride = 1) {
        Conv2d(c, 3, stride = stride, pad = 1, groups = c, bias = false), BatchNorm, relu,
        Conv2d(n, 1, bias = false), BatchNorm, relu,
    }
    Inceptions<x: [B, 3, 8, 8] -> logits: [B, 4]> { Inception(3), max_pool(2), Inception(2), global_avg_pool, Dense(4) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    Mobile<x: [B, 3, 8, 8] -> logits: [B, 4]> {
        Conv2d(8, 3, pad = 1, bias = false), BatchNorm, relu, Separable(8, 12, stride = 2), Separable(12, 12), global_avg_pool, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    /// What comes in is found again at the end of the way down and up.
    UNet<x: [B, 3, 8, 8] -> y: [B, 3, 8, 8]> {
        Conv2d(6, 3, pad = 1), GroupNorm(2), relu,
        concat {
            { |x| x },
            {
                max_pool(2), Conv2d(8, 3, pad = 1), GroupNorm(2), relu,
                concat { { |x| x }, { max_pool(2), Conv2d(8, 3, pad = 1), relu, ConvTranspose2d(8, 2, stride = 2) } },
                Conv2d(8, 3, pad = 1), relu, upsample(2, mode = bilinear),
            },
        },
        Conv2d(3, 3, pad = 1),
    }
    loss(t: [B, 3, 8, 8]) = mse(y, t);
    Autoencoder<x: [B, 3, 8, 8] -> y: [B, 3, 8, 8]> {
        Conv2d(12, 3, stride = 2, pad = 1), relu, Conv2d(6, 3, stride = 2, pad = 1) as code,
        ConvTranspose2d(12, 3, stride = 2, pad = 1, more = 1), relu, upsample(2), Conv2d(3, 3, pad = 1),
    }
    loss = mse(y, x) + 1e-3 * mean(abs(code));
    Signal<x: [B, 2, 16] -> logits: [B, 4]> {
        Conv1d(8, 3, pad = same, bias = false), BatchNorm, relu, Conv1d(8, 4, stride = 2, dilation = 2), relu, global_max_pool, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

/// Steps until a loss is well below the first one.
fn falls(what: &str, mut step: impl FnMut() -> f32) {
    let first = step();
    let last = (0..60).map(|_| step()).fold(first, |_, loss| loss);
    assert!(last < 0.6 * first, "{what}: {first} and then {last}");
}

#[test]
fn branches_and_ways_back_up_train_as_they_are_written() {
    let (x, labels) = kinds(16);
    let mut net = Inceptions::trainer(Adam::new(1e-2)).max_batch(16).build().expect("it builds");
    assert_eq!(net.param("inception1.concat1.3.conv2.weight").expect("it is there").shape(), [3, 3, 5, 5]);
    falls("inception", || net.step(x.view(), labels.view()).expect("it runs").loss);
    let mut net = Mobile::trainer(Adam::new(1e-2)).max_batch(16).build().expect("it builds");
    falls("separable", || net.step(x.view(), labels.view()).expect("it runs").loss);
    let mut net = UNet::trainer(Adam::new(1e-2)).max_batch(16).build().expect("it builds");
    let t = x.mapv(|x| x.max(0.0));
    falls("u-net", || net.step(x.view(), t.view()).expect("it runs").loss);
    let report = net.gradcheck(x.slice(s![..2, .., .., ..]), t.slice(s![..2, .., .., ..])).expect("it runs");
    assert!(report.passed(), "{report}");
    let mut net = Autoencoder::trainer(Adam::new(1e-2)).max_batch(16).build().expect("it builds");
    falls("autoencoder", || net.step(x.view(), ()).expect("it runs").loss);
    let mut net = Signal::trainer(Adam::new(1e-2)).max_batch(16).build().expect("it builds");
    let signal = Array3::from_shape_fn((16, 2, 16), |(row, channel, at)| {
        ((row % 4 + 1) as f32 * (at + channel) as f32 * 0.7).sin()
    });
    falls("signal", || net.step(signal.view(), labels.view()).expect("it runs").loss);
}

network! {
    /// Windows of three taps over channels that are worth a transform, forward and backward.
    Squares<image: [B, 16, 8, 8] -> logits: [B, 3]> {
        Conv2d(16, 3, pad = 1), relu, Conv2d(32, 3, pad = 1), tanh, global_avg_pool, Dense(3),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

#[test]
fn the_form_of_winograd_can_be_forbidden() {
    let trainer = |winograd| Squares::trainer(Sgd::new(0.05)).max_batch(4).seed(2).winograd(winograd);
    for stage in [Stage::Fused, Stage::Plan] {
        let texts = [true, false].map(|winograd| trainer(winograd).ir(stage));
        assert!(texts[0].contains("winograd") || stage == Stage::Plan, "{}", texts[0]);
        assert!(texts[0] != texts[1] && !texts[1].contains("winograd"), "{}", texts[1]);
        let texts = [true, false].map(|winograd| Squares::predictor().max_batch(4).winograd(winograd).ir(stage));
        assert!(texts[0] != texts[1] && !texts[1].contains("winograd"), "{}", texts[1]);
    }

    let images = Array4::from_shape_fn((6, 16, 8, 8), |(row, c, i, j)| {
        ((row * 7 + c * 5 + i * 3 + j * 11) % 23) as f32 / 9.0 - 1.0
    });
    let labels = Array1::from_shape_fn(6, |row| (row % 3) as u8);
    let [mut fast, mut plain] = [true, false].map(|winograd| trainer(winograd).build().expect("it builds"));
    let rows = s![..4, .., .., ..];
    for _ in 0..5 {
        let losses = [&mut fast, &mut plain]
            .map(|net| net.step(images.slice(rows), labels.slice(s![..4])).expect("it runs").loss);
        assert!((losses[0] - losses[1]).abs() < 1e-5 * losses[1].abs(), "{losses:?}");
    }
    let [one, other] = [&mut fast, &mut plain].map(|net| net.param("conv2.weight").expect("it is there").to_owned());
    assert!(one != other && (&one - &other).iter().all(|lag| lag.abs() < 1e-5), "they are rounded otherwise");
    // More rows than fit one run, and every way to a predictor.
    let [one, other] =
        [&mut fast, &mut plain].map(|net| net.evaluate(images.view(), labels.view()).expect("it runs").loss);
    assert!((one - other).abs() < 1e-5 * other.abs(), "{one} and {other}");
    let expected = plain.predict(images.view()).expect("it runs").to_owned();
    let same = Squares::predictor().max_batch(4).winograd(false).build_from(&plain).expect("it builds");
    for mut predictor in [plain.predictor().expect("it builds"), same] {
        assert_eq!(predictor.predict(images.view()).expect("it runs"), expected);
    }
    let mut predictor = Squares::predictor().max_batch(4).build_from(&plain).expect("it builds");
    let found = predictor.predict(images.view()).expect("it runs").to_owned();
    assert!(found != expected && (&found - &expected).iter().all(|lag| lag.abs() < 1e-5), "they are rounded otherwise");
}

#[test]
fn a_checkpoint_says_whether_the_form_of_winograd_was_forbidden() {
    let path = folder("winograd").join("net.safetensors");
    let build = |winograd| Squares::trainer(Sgd::new(0.05)).winograd(winograd).build().expect("it builds");
    let refused = |saved, loaded| {
        build(saved).save(&path).expect("the folder can be written");
        build(saved).load(&path).expect("it was trained so");
        let mut other = build(loaded);
        let error = other.load(&path).expect_err("it was trained otherwise").to_string();
        other.load_params(&path).expect("the parameters are the same");
        error.replace(&path.display().to_string(), "FILE")
    };
    assert_snapshot!([refused(false, true), refused(true, false)].join("\n"), @"
    `FILE` does not fit `Squares`:
      `winograd = false` is unknown here
      `load_params` takes its parameters and running statistics alone
    `FILE` does not fit `Squares`:
      `winograd = false` is missing there
      `load_params` takes its parameters and running statistics alone
    ");
}
