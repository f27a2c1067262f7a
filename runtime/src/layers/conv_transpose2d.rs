//! `ConvTranspose2d`: the adjoint of a convolution, by which an image grows.

use super::convolve::{CHANNELS, IN_GROUPS, INIT, WITH_BIAS, add_bias, in_groups, with_bias};
use super::initializers::Weights;
use super::windows::{DILATION, KERNEL, STRIDE, image, image_of};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, Misfit, ParamDef, Takes, extents, flag, init, int};
use crate::ir::{Builder, DotAxes, NodeId, SlotKind, Window};
use crate::types::{Dim, Shape};

/// Every position that comes in adds its channels, each times a window of weights, to the image that goes out. It is what
/// `Conv2d` does to gradients, and where its stride is larger than 1 the image grows.
///
/// - Value: `y[o, i, j] = b[o] + sum W[c, o, u, v] x[c, p, q]` over the channels `c` of the group of `o` and all `p, u` with
///   `p stride + u dilation - pad = i`, all `q, v` likewise for `j`
/// - Shapes: `f32[B, in, H, W] -> f32[B, channels, H', W']`, with
///   `H' = (H - 1) stride - 2 pad + dilation (kernel - 1) + more + 1`, and `W'` likewise
/// - Argument `channels`: channels that go out; an integer of at least 1
/// - Argument `kernel`: height and width of the window; an integer of at least 1, or two as `(height, width)`
/// - Argument `stride = 1`: positions from one window to the next; an integer of at least 1, or two as
///   `(height, width)`
/// - Argument `pad = 0`: positions that are left out around the result; an integer of at least 0, or two as
///   `(height, width)`
/// - Argument `more = 0`: positions that are added after the last, fewer than `stride`; an integer of at least 0, or two as
///   `(height, width)`
/// - Argument `dilation = 1`: positions from one weight of the window to the next; an integer of at least 1, or two as
///   `(height, width)`
/// - Argument `groups = 1`: in how many groups of channels, which do not see each other; an integer of at least 1
/// - Argument `bias = true`: whether to add a bias; `true` or `false`
/// - Argument `init = auto`: how the weights start; an initializer
/// - Parameters: `weight [in, channels / groups, height, width]`, as in PyTorch, where `more` is `output_padding`;
///   `bias [channels]`, zero, unless `bias = false`
/// - Gradient: `dx` is a convolution of `dy` with the same weights; `dW` the sum of `x` times what of `dy` is under the
///   window; `db` the sum of `dy`
/// - Source: Zeiler et al. 2010, section 3; Dumoulin & Visin 2016, chapter 4
pub const CONV_TRANSPOSE2D: LayerDef = LayerDef {
    name: "ConvTranspose2d",
    item: "CONV_TRANSPOSE2D",
    stem: "conv_transpose",
    args: &[
        CHANNELS,
        KERNEL,
        STRIDE,
        ArgDef {
            name: "pad",
            kind: NUMBER,
            default: Some(Arg::Int(0)),
            doc: "positions that are left out around the result",
        },
        ArgDef {
            name: "more",
            kind: NUMBER,
            default: Some(Arg::Int(0)),
            doc: "positions that are added after the last, fewer than `stride`",
        },
        DILATION,
        IN_GROUPS,
        WITH_BIAS,
        INIT,
    ],
    shape: |x, args| {
        let (channels, positions) = image::<2>(x)?;
        let (n, groups) = (int(args, 0), int(args, GROUPS));
        in_groups([channels, n], groups)?;
        Ok(image_of(x.0[0], n, grown(args, positions)?))
    },
    params: |x, args, next| {
        let (n, groups) = (int(args, 0), int(args, GROUPS));
        let [height, width]: [usize; 2] = extents(args, 1);
        let (channels, per_group) = (x.0[1].factor(), n / groups);
        // One output sums over the windows that reach it, of each channel of its group; without strides that is all of a window.
        let (fan_in, fan_out) = (height * width * (channels / groups), height * width * per_group);
        let weights = Weights { fan_in, fan_out, rows: channels, next };
        let weight = ParamDef {
            name: "weight",
            shape: vec![channels, height, width, per_group],
            order: &[0, 3, 1, 2],
            init: init(args, 8, &weights),
            kind: SlotKind::Weight,
        };
        with_bias(weight, n, flag(args, BIAS))
    },
    lower: |scope, x| {
        let declared = scope.layout.declared(&scope.b.shape(x));
        let positions = [declared.0[2].factor(), declared.0[3].factor()];
        let grown = grown(scope.args, positions).expect("it was checked with the shape");
        let weight = scope.param("weight");
        let y = spread(scope.b, x, weight, windows(scope.args), grown, int(scope.args, GROUPS));
        if flag(scope.args, BIAS) { add_bias(scope, y) } else { y }
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

const NUMBER: ArgKind = ArgKind::Sizes { least: 0, word: None };
const GROUPS: usize = 6;
const BIAS: usize = 7;

/// The windows of the convolution that this is the adjoint of, over the image that goes out.
fn windows(args: &[Arg]) -> [Window; 2] {
    let [kernel, stride, pad, dilation]: [[usize; 2]; 4] = [1, 2, 3, 5].map(|at| extents(args, at));
    std::array::from_fn(|axis| Window {
        size: kernel[axis],
        stride: stride[axis],
        dilation: dilation[axis],
        before: pad[axis],
        after: pad[axis],
    })
}

/// How large an image gets.
fn grown(args: &[Arg], positions: [usize; 2]) -> Result<[usize; 2], Misfit> {
    let more: [usize; 2] = extents(args, 4);
    let windows = windows(args);
    let mut grown = [0; 2];
    for axis in 0..2 {
        let window = windows[axis];
        if more[axis] >= window.stride {
            return Err(Misfit { needs: "a `more` that is less than its `stride`".to_string(), hint: None });
        }
        let covered = window.dilation.checked_mul(window.size - 1).and_then(|taps| {
            (positions[axis] - 1).checked_mul(window.stride)?.checked_add(taps)?.checked_add(more[axis])?.checked_add(1)
        });
        let left = covered.and_then(|covered| covered.checked_sub(window.before.checked_mul(2)?));
        grown[axis] = left
            .filter(|&left| left > 0)
            .ok_or_else(|| Misfit { needs: "a `pad` that leaves some of the result".to_string(), hint: None })?;
    }
    Ok(grown)
}

/// Products of every position with the weights, added up where windows overlap.
fn spread(
    b: &mut Builder,
    x: NodeId,
    weight: NodeId,
    windows: [Window; 2],
    grown: [usize; 2],
    groups: usize,
) -> NodeId {
    let sizes: Vec<usize> = b.shape(weight).0.iter().map(|dim| dim.factor()).collect();
    let &[channels, height, width, per_group] = &sizes[..] else { unreachable!("the weights have four axes") };
    // [B, H, W, height, width, channels that go out]; of several groups with an axis for the groups before the channels
    let products = if groups == 1 {
        b.product(x, weight, DotAxes { batch: Vec::new(), contracted: vec![(3, 0)] })
    } else {
        let mut dims = b.shape(x).0;
        dims.splice(3..4, [groups, channels / groups].map(Dim::Fixed));
        let x = b.reshape(x, Shape(dims));
        let weight = b.reshape(weight, Shape::fixed(&[groups, channels / groups, height, width, per_group]));
        let products = b.product(x, weight, DotAxes { batch: vec![(3, 0)], contracted: vec![(4, 1)] });
        // The groups come first, and belong before what each of them gives.
        b.transpose(products, &[1, 2, 3, 4, 5, 0, 6])
    };
    let order: Vec<usize> = [0, 1, 3, 2].into_iter().chain(4..b.ty(products).shape.rank()).collect();
    let beside = b.transpose(products, &order);
    let columns = b.fold(beside, 3, windows[1], grown[1]);
    let image = b.fold(columns, 1, windows[0], grown[0]);
    if groups == 1 {
        return image;
    }
    let mut dims = b.shape(image).0;
    dims.splice(3..5, [Dim::Fixed(groups * per_group)]);
    b.reshape(image, Shape(dims))
}
