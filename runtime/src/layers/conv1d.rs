//! `Conv1d`: every output is a weighted sum of what is under a window of the signal.

use super::convolve::{CHANNELS, IN_GROUPS, INIT, WITH_BIAS, add_bias, convolve, in_groups, with_bias};
use super::initializers::Weights;
use super::windows::{Places, image, image_of, positions, windows};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, ParamDef, Takes, flag, init, int};
use crate::ir::{SlotKind, Window};

/// Every channel that goes out is a weighted sum of what is under a window, which moves along the signal.
///
/// - Value: `y[o, i] = b[o] + sum W[o, c, u] x[c, i stride + u dilation - pad]` over the channels `c` of the group of `o`
///   and the window `u`; outside of the signal `x` is 0. The window is not mirrored, as in other libraries
/// - Shapes: `f32[B, in, T] -> f32[B, channels, T']`, with `T' = (T + 2 pad - dilation (kernel - 1) - 1) / stride + 1`,
///   rounded down
/// - Argument `channels`: channels that go out; an integer of at least 1
/// - Argument `kernel`: length of the window; an integer of at least 1
/// - Argument `stride = 1`: positions from one window to the next; an integer of at least 1
/// - Argument `pad = 0`: zeros at either end; an integer of at least 0, or `same`. With `same` the signal keeps its length,
///   which needs a stride of 1; of an odd number of zeros the last one is at the end
/// - Argument `dilation = 1`: positions from one weight of the window to the next; an integer of at least 1
/// - Argument `groups = 1`: in how many groups of channels, which do not see each other; an integer of at least 1
/// - Argument `bias = true`: whether to add a bias; `true` or `false`
/// - Argument `init = auto`: how the weights start; an initializer
/// - Parameters: `weight [channels, in / groups, kernel]`, as in PyTorch, with `fan_in` the weights of one output and
///   `fan_out` those of one input; `bias [channels]`, zero, unless `bias = false`
/// - Gradient: as of `Conv2d`
/// - Source: Waibel et al. 1989, section 2
pub const CONV1D: LayerDef = LayerDef {
    name: "Conv1d",
    item: "CONV1D",
    stem: "conv",
    args: &[
        CHANNELS,
        ArgDef { name: "kernel", kind: ArgKind::Size, default: None, doc: "length of the window" },
        ArgDef {
            name: "stride",
            kind: ArgKind::Size,
            default: Some(Arg::Int(1)),
            doc: "positions from one window to the next",
        },
        ArgDef {
            name: "pad",
            kind: ArgKind::SizeOr { least: 0, word: "same" },
            default: Some(Arg::Int(0)),
            doc: "zeros at either end",
        },
        ArgDef {
            name: "dilation",
            kind: ArgKind::Size,
            default: Some(Arg::Int(1)),
            doc: "positions from one weight of the window to the next",
        },
        IN_GROUPS,
        WITH_BIAS,
        INIT,
    ],
    shape: |x, args| {
        let (channels, extents) = image(x)?;
        let (n, groups) = (int(args, 0), int(args, GROUPS));
        in_groups([channels, n], groups)?;
        let windows: [Window; 1] = windows(args, PLACES)?;
        Ok(image_of(x.0[0], n, positions(&windows, extents)?))
    },
    params: |x, args, next| {
        let (n, groups, kernel) = (int(args, 0), int(args, GROUPS), int(args, PLACES.kernel));
        let per_group = x.0[1].factor() / groups;
        let fan_in = kernel * per_group;
        let weights = Weights { fan_in, fan_out: kernel * (n / groups), rows: fan_in, next };
        let weight = ParamDef {
            name: "weight",
            shape: vec![kernel, per_group, n],
            order: &[2, 1, 0],
            init: init(args, 7, &weights),
            kind: SlotKind::Weight,
        };
        with_bias(weight, n, flag(args, BIAS))
    },
    lower: |scope, x| {
        let windows: [Window; 1] = windows(scope.args, PLACES).expect("the window was checked with the shape");
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
