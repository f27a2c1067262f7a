//! `Conv2d`: every output is a weighted sum of what is under a window of the image.

use super::convolve::{CHANNELS, IN_GROUPS, INIT, WITH_BIAS, add_bias, convolve, in_groups, with_bias};
use super::initializers::Weights;
use super::windows::{DILATION, KERNEL, PAD_OR_SAME, Places, STRIDE, image, image_of, positions, windows};
use super::{Arg, ArgDef, LayerDef, Layout, ParamDef, Takes, flag, init, int};
use crate::ir::{SlotKind, Window};

/// Every channel that goes out is a weighted sum of what is under a window, which moves over the image.
///
/// - Value: `y[o, i, j] = b[o] + sum W[o, c, u, v] x[c, i stride + u dilation - pad, j stride + v dilation - pad]` over the
///   channels `c` of the group of `o` and the window `u, v`; outside of the image `x` is 0. The window is not mirrored,
///   as in other libraries
/// - Shapes: `f32[B, in, H, W] -> f32[B, channels, H', W']`, with
///   `H' = (H + 2 pad - dilation (kernel - 1) - 1) / stride + 1`, rounded down, and `W'` likewise
/// - Argument `channels`: channels that go out; an integer of at least 1
/// - Argument `kernel`: height and width of the window; an integer of at least 1, or two as `(height, width)`
/// - Argument `stride = 1`: positions from one window to the next; an integer of at least 1, or two as
///   `(height, width)`
/// - Argument `pad = 0`: zeros around the image, at either end of both axes; an integer of at least 0, two as
///   `(height, width)`, or `same`. With `same` the image keeps its size, which needs a stride of 1; of an odd number of
///   zeros the last one is at the end
/// - Argument `dilation = 1`: positions from one weight of the window to the next; an integer of at least 1, or two as
///   `(height, width)`
/// - Argument `groups = 1`: in how many groups of channels, which do not see each other; an integer of at least 1. It
///   divides both numbers of channels; as many groups as channels come in is a depthwise convolution
/// - Argument `bias = true`: whether to add a bias; `true` or `false`
/// - Argument `init = auto`: how the weights start; an initializer
/// - Parameters: `weight [channels, in / groups, height, width]`, as in PyTorch, with `fan_in` the weights of one output
///   and `fan_out` those of one input; `bias [channels]`, zero, unless `bias = false`
/// - Gradient: `dW` the sum of what is under the window times `dy`, over the batch and all positions; `db` the sum of
///   `dy`; `dx` the sum of `W dy` over all windows that an element is under. Right before `BatchNorm` that of the bias is
///   zero but for rounding: write `bias = false` there
/// - Source: LeCun et al. 1998, section 2; for groups Krizhevsky et al. 2012, for dilation Yu & Koltun 2016
pub const CONV2D: LayerDef = LayerDef {
    name: "Conv2d",
    item: "CONV2D",
    stem: "conv",
    args: &[
        CHANNELS,
        KERNEL,
        STRIDE,
        ArgDef {
            name: "pad",
            kind: PAD_OR_SAME,
            default: Some(Arg::Int(0)),
            doc: "zeros around the image, at either end of both axes",
        },
        DILATION,
        IN_GROUPS,
        WITH_BIAS,
        INIT,
    ],
    shape: |x, args| {
        let (channels, extents) = image(x)?;
        let (n, groups) = (int(args, 0), int(args, GROUPS));
        in_groups([channels, n], groups)?;
        let windows: [Window; 2] = windows(args, PLACES)?;
        Ok(image_of(x.0[0], n, positions(&windows, extents)?))
    },
    params: |x, args, next| {
        let (n, groups) = (int(args, 0), int(args, GROUPS));
        let [height, width] = super::extents(args, PLACES.kernel);
        let per_group = x.0[1].factor() / groups;
        let fan_in = height * width * per_group;
        let weights = Weights { fan_in, fan_out: height * width * (n / groups), rows: fan_in, next };
        let weight = ParamDef {
            name: "weight",
            shape: vec![height, width, per_group, n],
            order: &[3, 2, 0, 1],
            init: init(args, 7, &weights),
            kind: SlotKind::Weight,
        };
        with_bias(weight, n, flag(args, BIAS))
    },
    lower: |scope, x| {
        let windows: [Window; 2] = windows(scope.args, PLACES).expect("the windows were checked with the shape");
        let weight = scope.param("weight");
        let y = convolve(scope.b, x, weight, &windows, int(scope.args, GROUPS));
        if flag(scope.args, BIAS) { add_bias(scope, y) } else { y }
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

const PLACES: Places = Places { kernel: 1, stride: 2, pad: 3, dilation: Some(4) };
const GROUPS: usize = 5;
const BIAS: usize = 6;
