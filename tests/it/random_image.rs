//! The part of a random network that sees an image, before that is flattened.

use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::{At, Kind, Stage};
use gradloom_runtime::types::{Dim, Shape};
use proptest::prelude::*;

use crate::handmade::{self, leak};

/// A stage over images. Extents are as drawn: what does not fit is left out.
#[derive(Clone, Debug)]
pub enum ImageLayer {
    Conv {
        n: u64,
        kernel: [u64; 2],
        stride: u64,
        pad: Option<u64>,
        /// A group for every channel.
        depthwise: bool,
    },
    Pool {
        layer: &'static LayerDef,
        kernel: u64,
        stride: Option<u64>,
        pad: u64,
    },
    Transposed {
        n: u64,
        kernel: u64,
        stride: u64,
        pad: u64,
    },
    Upsample {
        factor: u64,
        mode: &'static str,
    },
    Norm,
    /// `GroupNorm` of all channels together, or of each.
    GroupNorm {
        each: bool,
    },
    /// Some channels of a convolution, and those that come in.
    Beside(u64),
    Dropout,
    /// With a list of a number for each channel, or one number for all of them.
    Normalize {
        each: bool,
    },
    Crop {
        pad: [u64; 2],
    },
    Flip,
    Activation(&'static LayerDef),
    /// Of a signal, as of a sequence of rows.
    Attention {
        heads: u64,
        causal: bool,
        shared: bool,
        rope: bool,
    },
    /// A norm of rows, and what is added to each of a sequence.
    Rows(&'static LayerDef),
    /// A state that goes through a signal.
    Recurrent {
        layer: &'static LayerDef,
        n: u64,
        reverse: bool,
    },
}

/// Any of them.
pub fn image_layer() -> impl Strategy<Value = ImageLayer> {
    let conv = (1..=5u64, [1..=3u64, 1..=3u64], 1..=2u64, prop::option::of(0..=2u64), any::<bool>());
    let conv =
        conv.prop_map(|(n, kernel, stride, pad, depthwise)| ImageLayer::Conv { n, kernel, stride, pad, depthwise });
    let pool = (any::<bool>(), 1..=2u64, prop::option::of(1..=2u64), any::<bool>());
    let pool = pool.prop_map(|(is_max, kernel, stride, padded)| {
        let layer = if is_max { &layers::MAX_POOL } else { &layers::AVG_POOL };
        ImageLayer::Pool { layer, kernel, stride, pad: if padded { kernel / 2 } else { 0 } }
    });
    let activations = vec![&layers::RELU, &layers::TANH, &layers::GELU];
    let activation = prop::sample::select(activations).prop_map(ImageLayer::Activation);
    let transposed = (1..=4u64, 1..=3u64, 1..=2u64, 0..=1u64);
    let transposed = transposed.prop_map(|(n, kernel, stride, pad)| ImageLayer::Transposed { n, kernel, stride, pad });
    let upsample = (1..=2u64, any::<bool>()).prop_map(|(factor, smooth)| ImageLayer::Upsample {
        factor,
        mode: if smooth { "bilinear" } else { "nearest" },
    });
    let attention = (1..=3u64, any::<bool>(), any::<bool>(), any::<bool>());
    let attention =
        attention.prop_map(|(heads, causal, shared, rope)| ImageLayer::Attention { heads, causal, shared, rope });
    let rows = prop::sample::select(vec![
        &layers::RMS_NORM,
        &layers::POSITIONAL,
        &layers::POSITIONS,
        &layers::STANDARDIZE,
        &layers::MIN_MAX,
    ]);
    let recurrent = prop::sample::select(vec![&layers::RNN, &layers::GRU, &layers::LSTM]);
    let recurrent = (recurrent, 1..=4u64, any::<bool>());
    let recurrent = recurrent.prop_map(|(layer, n, reverse)| ImageLayer::Recurrent { layer, n, reverse });
    prop_oneof![
        4 => conv,
        4 => recurrent,
        4 => attention,
        3 => rows.prop_map(ImageLayer::Rows),
        3 => pool,
        2 => transposed,
        2 => upsample,
        1 => Just(ImageLayer::Norm),
        1 => any::<bool>().prop_map(|each| ImageLayer::GroupNorm { each }),
        3 => (1..=3u64).prop_map(ImageLayer::Beside),
        1 => Just(ImageLayer::Dropout),
        1 => any::<bool>().prop_map(|each| ImageLayer::Normalize { each }),
        2 => [0..=2u64, 0..=2u64].prop_map(|pad| ImageLayer::Crop { pad }),
        2 => Just(ImageLayer::Flip),
        2 => activation,
    ]
}

/// One number for every channel in the end: the largest or the mean; or all numbers.
pub fn ending() -> impl Strategy<Value = Option<&'static LayerDef>> {
    prop::option::of(prop::sample::select(vec![&layers::GLOBAL_AVG_POOL, &layers::GLOBAL_MAX_POOL]))
}

/// The stages for an image, and the shape that they give.
pub fn stages(drawn: &[ImageLayer], x: &Shape) -> (Vec<Stage<'static>>, Shape) {
    let (mut body, mut shape) = (Vec::new(), x.clone());
    for (index, image) in drawn.iter().enumerate() {
        let segment: &'static str = leak(format!("image{index}"));
        if let (ImageLayer::Beside(n), 4) = (image, shape.rank()) {
            let args = [Arg::Int(*n), Arg::Int(1), Arg::Int(1), Arg::Int(0), Arg::Int(1), Arg::Int(1), Arg::Flag(true)];
            let conv = handmade::stage(&layers::CONV2D, &[&args[..], &[Arg::Init(&AUTO, None)]].concat(), "conv1");
            let same = handmade::stage(&layers::TANH, &[], "tanh1");
            let bodies = leak([leak([conv]).as_slice(), leak([same]).as_slice()]);
            body.push(Stage { kind: Kind::Branches { bodies }, segment, named: false, text: segment, at: At(0) });
            shape.0[1] = Dim::Fixed(shape.0[1].factor() + *n as usize);
            continue;
        }
        let (layer, args) = image.layer(&shape);
        if let Ok(after) = (layer.shape)(&shape, &args) {
            body.push(handmade::stage(layer, &args, segment));
            shape = after;
        }
    }
    (body, shape)
}

impl ImageLayer {
    /// The layer over an image of this shape, and its arguments.
    fn layer(&self, shape: &Shape) -> (&'static LayerDef, Vec<Arg>) {
        let int = Arg::Int;
        match *self {
            ImageLayer::Conv { n, kernel: [height, width], stride, pad, depthwise } => {
                let channels = shape.0[1].factor() as u64;
                let (n, groups) = if depthwise { (channels, channels) } else { (n, 1) };
                let stride = if pad.is_some() { stride } else { 1 };
                let pad = pad.map_or(Arg::Word("same"), int);
                if shape.rank() == 3 {
                    let window = [int(n), int(height), int(stride), pad, int(1), int(groups), Arg::Flag(true)];
                    return (&layers::CONV1D, [&window[..], &[Arg::Init(&AUTO, None)]].concat());
                }
                let window = [int(n), Arg::Pair(height, width), int(stride), pad, int(1), int(groups)];
                (&layers::CONV2D, [&window[..], &[Arg::Flag(n % 2 == 0), Arg::Init(&AUTO, None)]].concat())
            }
            ImageLayer::Pool { layer, kernel, stride, pad } => {
                (layer, vec![int(kernel), stride.map_or(Arg::Word("kernel"), int), int(pad)])
            }
            ImageLayer::Transposed { n, kernel, stride, pad } => {
                let stride = if is_small(shape) { stride } else { 1 };
                let window = [int(n), int(kernel), int(stride), int(pad), int(stride - 1), int(1), int(1)];
                (&layers::CONV_TRANSPOSE2D, [&window[..], &[Arg::Flag(true), Arg::Init(&AUTO, None)]].concat())
            }
            ImageLayer::Upsample { factor, mode } => {
                let factor = if is_small(shape) { factor } else { 1 };
                (&layers::UPSAMPLE, vec![int(factor), Arg::Word(mode)])
            }
            ImageLayer::GroupNorm { each } => {
                let groups = if each { shape.0[1].factor() as u64 } else { 1 };
                (&layers::GROUP_NORM, vec![int(groups), Arg::Float(1e-2)])
            }
            // A signal has no images beside it.
            ImageLayer::Beside(_) => (&layers::TANH, Vec::new()),
            ImageLayer::Norm => (&layers::BATCH_NORM, vec![Arg::Float(0.9), Arg::Float(1e-5), int(1)]),
            ImageLayer::Normalize { each } => (&layers::NORMALIZE, normalization(shape, each).to_vec()),
            ImageLayer::Crop { pad: [height, width] } => (&layers::RANDOM_CROP, vec![Arg::Pair(height, width)]),
            ImageLayer::Flip => (&layers::RANDOM_FLIP, vec![Arg::Float(0.5)]),
            ImageLayer::Dropout => (&layers::DROPOUT, vec![Arg::Float(0.25), Arg::Flag(true)]),
            ImageLayer::Attention { heads, causal, shared, rope } => {
                let kv = if shared { int(1) } else { Arg::Word("heads") };
                let looking = [int(heads), Arg::Flag(causal), kv, Arg::Float(if causal { 0.2 } else { 0.0 })];
                let rest = [Arg::Flag(shared), Arg::Flag(rope), Arg::Init(&AUTO, None)];
                (&layers::ATTENTION, [&looking[..], &rest].concat())
            }
            ImageLayer::Recurrent { layer, n, reverse } => {
                let given = layer.args.iter().map(|arg| match arg.name {
                    "n" => int(n),
                    "reverse" => Arg::Flag(reverse),
                    _ => arg.default.expect("what else there is may be left out"),
                });
                (layer, given.collect())
            }
            ImageLayer::Rows(layer) => {
                let args = layer.args.iter().map(|arg| arg.default.unwrap_or(Arg::Word("sinusoidal")));
                (layer, args.collect())
            }
            ImageLayer::Activation(layer) => {
                (layer, layer.args.iter().map(|arg| arg.default.expect("an activation has defaults")).collect())
            }
        }
    }
}

/// The mean and deviation of an image of this shape: of each channel its own, or the same for all of them.
pub fn normalization(shape: &Shape, each: bool) -> [Arg; 2] {
    if !each {
        return [0.4, 0.3].map(Arg::Float);
    }
    let channels = 0..shape.0[1].factor();
    [[0.5, 0.25, 0.0], [0.25, 0.5, 0.75]].map(|numbers| {
        let list: Vec<f64> = channels.clone().map(|channel| numbers[channel % 3]).collect();
        Arg::Numbers(leak(list))
    })
}

/// Whether an image may still grow: larger ones take longer and show nothing more.
fn is_small(shape: &Shape) -> bool {
    shape.0[2..].iter().map(|dim| dim.factor()).product::<usize>() <= 16
}
