//! The part of a random network that sees an image, before that is flattened.

use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::Stage;
use gradloom_runtime::types::Shape;
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
    Norm,
    Dropout,
    Activation(&'static LayerDef),
}

/// Any of them.
pub fn image_layer() -> impl Strategy<Value = ImageLayer> {
    let conv = (1..=5u64, [1..=3u64, 1..=3u64], 1..=2u64, prop::option::of(0..=2u64), any::<bool>());
    let conv =
        conv.prop_map(|(n, kernel, stride, pad, depthwise)| ImageLayer::Conv { n, kernel, stride, pad, depthwise });
    let pool =
        (any::<bool>(), 1..=3u64, prop::option::of(1..=2u64), 0..=1u64).prop_map(|(is_max, kernel, stride, pad)| {
            let layer = if is_max { &layers::MAX_POOL } else { &layers::AVG_POOL };
            ImageLayer::Pool { layer, kernel, stride, pad }
        });
    let activations = vec![&layers::RELU, &layers::TANH, &layers::GELU];
    let activation = prop::sample::select(activations).prop_map(ImageLayer::Activation);
    prop_oneof![4 => conv, 3 => pool, 1 => Just(ImageLayer::Norm), 1 => Just(ImageLayer::Dropout), 2 => activation]
}

/// One number for every channel in the end: the largest or the mean; or all numbers.
pub fn ending() -> impl Strategy<Value = Option<&'static LayerDef>> {
    prop::option::of(prop::sample::select(vec![&layers::GLOBAL_AVG_POOL, &layers::GLOBAL_MAX_POOL]))
}

/// The stages for an image, and the shape that they give.
pub fn stages(drawn: &[ImageLayer], x: &Shape) -> (Vec<Stage<'static>>, Shape) {
    let (mut body, mut shape) = (Vec::new(), x.clone());
    for (index, image) in drawn.iter().enumerate() {
        let (layer, args) = image.layer(&shape);
        if let Ok(after) = (layer.shape)(&shape, &args) {
            body.push(handmade::stage(layer, &args, leak(format!("image{index}"))));
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
                let window = [int(n), Arg::Pair(height, width), int(stride), pad, int(1), int(groups)];
                (&layers::CONV2D, [&window[..], &[Arg::Flag(n % 2 == 0), Arg::Init(&AUTO, None)]].concat())
            }
            ImageLayer::Pool { layer, kernel, stride, pad } => {
                (layer, vec![int(kernel), stride.map_or(Arg::Word("kernel"), int), int(pad)])
            }
            ImageLayer::Norm => (&layers::BATCH_NORM, vec![Arg::Float(0.9), Arg::Float(1e-5), int(1)]),
            ImageLayer::Dropout => (&layers::DROPOUT, vec![Arg::Float(0.25), Arg::Flag(true)]),
            ImageLayer::Activation(layer) => {
                (layer, layer.args.iter().map(|arg| arg.default.expect("an activation has defaults")).collect())
            }
        }
    }
}
