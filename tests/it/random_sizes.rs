//! Networks of the sizes that people train, drawn at random: operands beyond a cache, the form of Winograd, few rows with so much work
//! that threads share them. Small networks take none of these ways.

use std::cell::RefCell;
use std::collections::BTreeSet;

use gradloom::{Sgd, Stage};
use gradloom_runtime::compile::{Purpose, Target, compile};
use gradloom_runtime::layers::{self, LayerDef};
use gradloom_runtime::optim::TrainingConfig;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::budget;
use crate::optimizations;
use crate::random;
use crate::random_image::ImageLayer;
use crate::random_loss;
use crate::random_network::{Layer, Spec, linear};

/// Extents around those of vectors, tiles and pieces, of some of which operands exceed a cache.
const WIDTHS: [usize; 8] = [3, 15, 17, 31, 100, 200, 300, 513];
/// Whole registers of channels.
const WHOLE: [usize; 8] = [16, 32, 48, 64, 96, 128, 176, 256];
/// Pixels along an edge, or positions of a sequence.
const LONG: [usize; 12] = [1, 2, 4, 7, 8, 9, 14, 15, 16, 17, 28, 33];
/// Most multiplications of the forward pass, so that it is interpreted within seconds.
const MOST: usize = 12_000_000;

/// A network, which becomes smaller where it would take too long.
fn specs() -> impl Strategy<Value = Spec> {
    let long = || prop::sample::select(LONG.to_vec());
    let edge = || prop::sample::select(vec![7, 8, 9, 13, 14, 16]);
    let small =
        (prop::sample::select(vec![3, 16, 32]), edge(), edge()).prop_map(|(n, height, width)| vec![n, height, width]);
    let other = prop_oneof![
        3 => (width(), long(), long()).prop_map(|(channels, height, width)| vec![channels, height, width]),
        3 => (long(), width()).prop_map(|(positions, width)| vec![positions, width]),
        2 => width().prop_map(|width| vec![width]),
    ];
    let between =
        prop_oneof![4 => squares(), 1 => Just(ImageLayer::Norm), 1 => smooth().prop_map(ImageLayer::Activation)];
    let image = prop_oneof![
        1 => (small, vec(between, 2..=5)),
        2 => (other, vec(image_layer(), 1..=4)),
    ];
    let average = prop::option::of(Just(&layers::GLOBAL_AVG_POOL));
    let rest = (0..optimizations::all().len(), 1..=40usize, 0.0..1.0, any::<u64>(), random_loss::smooth());
    (image, average, vec(layer(), 0..=3), width(), rest).prop_map(|((input, image), average, stages, outputs, rest)| {
        let image = (image, average);
        let (optimizer, max_batch, share, seed, loss) = rest;
        let (first, bytes, flows, functions, term, metrics) = (None, None, None, Vec::new(), None, None);
        let loss = Some(loss);
        let mut spec = Spec {
            input,
            first,
            bytes,
            image,
            stages,
            flows,
            functions,
            outputs,
            loss,
            term,
            metrics,
            optimizer,
            max_batch,
            share,
            seed,
        };
        while cost(&spec) > MOST && shrink(&mut spec) {}
        spec
    })
}

/// A convolution that may have the form of Winograd.
fn squares() -> impl Strategy<Value = ImageLayer> {
    prop::sample::select(vec![16, 32, 48, 64, 176]).prop_map(|n| {
        let (kernel, stride, pad, depthwise) = ([3, 3], 1, None, false);
        ImageLayer::Conv { n, kernel, stride, pad, depthwise }
    })
}

fn width() -> impl Strategy<Value = usize> {
    prop_oneof![2 => prop::sample::select(WHOLE.to_vec()), 1 => prop::sample::select(WIDTHS.to_vec())]
}

fn image_layer() -> impl Strategy<Value = ImageLayer> {
    let n = width().prop_map(|n| n.min(256) as u64);
    let kernel = prop::sample::select(vec![[1, 1], [5, 5], [1, 3], [3, 2]]);
    let conv = (n, kernel, 1..=2u64, prop::option::weighted(0.6, 0..=1u64), prop::bool::weighted(0.2));
    let conv =
        conv.prop_map(|(n, kernel, stride, pad, depthwise)| ImageLayer::Conv { n, kernel, stride, pad, depthwise });
    let pool = (2..=3u64, prop::option::of(1..=2u64), any::<bool>());
    let pool = pool.prop_map(|(kernel, stride, padded)| ImageLayer::Pool {
        layer: &layers::AVG_POOL,
        kernel,
        stride,
        pad: if padded { kernel / 2 } else { 0 },
    });
    let attention = (1..=4u64, any::<bool>(), any::<bool>(), any::<bool>());
    let attention =
        attention.prop_map(|(heads, causal, shared, rope)| ImageLayer::Attention { heads, causal, shared, rope });
    prop_oneof![
        4 => conv,
        6 => squares(),
        4 => attention,
        2 => pool,
        4 => Just(ImageLayer::Norm),
        3 => smooth().prop_map(ImageLayer::Activation),
        2 => Just(ImageLayer::Rows(&layers::RMS_NORM)),
    ]
}

/// Activations without a kink: of so many elements one is always next to it.
fn smooth() -> impl Strategy<Value = &'static LayerDef> {
    prop::sample::select(vec![&layers::TANH, &layers::GELU, &layers::SIGMOID, &layers::SILU])
}

fn layer() -> impl Strategy<Value = Layer> {
    let dense = (width(), any::<bool>()).prop_map(|(n, bias)| linear(n, bias));
    let activation = smooth().prop_map(|layer| Layer::Activation {
        layer,
        args: layer.args.iter().map(|arg| arg.default.expect("an activation has defaults")).collect(),
    });
    prop_oneof![
        4 => dense,
        2 => Just(Layer::BatchNorm { momentum: 0.9, every: 1 }),
        2 => activation,
        1 => Just(Layer::RowNorm { eps: 1e-5 }),
    ]
}

/// About how many multiplications the forward pass has.
fn cost(spec: &Spec) -> usize {
    let rows = spec.batches()[0];
    let (mut all, mut at) = (0_usize, spec.input.clone());
    for layer in spec.image.0.iter().filter(|_| spec.input.len() > 1) {
        match *layer {
            ImageLayer::Conv { n, kernel: [height, width], stride, depthwise, .. } => {
                let positions: usize = at[1..].iter().product();
                let terms = if depthwise { height * width } else { at[0] as u64 * height * width } as usize;
                let n = if depthwise { at[0] } else { n as usize };
                all += rows * positions * terms * n;
                at[0] = n;
                at[1..].iter_mut().for_each(|extent| *extent = extent.div_ceil(stride as usize));
            }
            ImageLayer::Attention { .. } if at.len() == 2 => all += rows * at[0] * at[1] * (4 * at[1] + 2 * at[0]),
            _ => {}
        }
    }
    let mut width: usize = if spec.image.1.is_some() { at[0] } else { at.iter().product() };
    for layer in &spec.stages {
        if let Layer::Dense { n, .. } = *layer {
            all += rows * width * n;
            width = n;
        }
    }
    all + rows * width * spec.outputs
}

/// Fewer rows, or if there are few, a smaller sample.
fn shrink(spec: &mut Spec) -> bool {
    if spec.max_batch > 3 {
        spec.max_batch = spec.max_batch * 2 / 3;
        return true;
    }
    let last = spec.input.len() - 1;
    let largest = (0..=last).max_by_key(|&axis| spec.input[axis]).expect("there is one");
    spec.input[largest] = spec.input[largest] * 2 / 3;
    spec.input[largest] > 1
}

/// Words for the ways that small networks do not take.
const WAYS: [&str; 3] = ["winograd", "parallel region", "packed"];

/// Those that are in the text of a network.
fn ways(spec: &Spec) -> impl Iterator<Item = &'static str> {
    let optimizer = TrainingConfig::from(Sgd::new(0.1));
    let target = Target::printed(spec.batches()[0]).with_threads(3);
    let compiled = compile(spec.definition(), Purpose::Train(&optimizer), target);
    let [fused, plan] = [Stage::Fused, Stage::Plan].map(|stage| compiled.text(stage).expect("it compiles"));
    WAYS.into_iter().filter(move |way| fused.contains(way) || plan.contains(way))
}

#[test]
fn networks_of_all_sizes_compute_what_the_interpreter_computes() {
    let seen = RefCell::new(BTreeSet::new());
    random::run_large(budget::cases(12) as u32, specs(), |spec| seen.borrow_mut().extend(ways(spec)));
    assert!(WAYS.iter().all(|way| seen.borrow().contains(way)), "only {:?} are met", seen.borrow());
}
