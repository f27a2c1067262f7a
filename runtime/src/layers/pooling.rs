//! Pooling: one number for what is under a window, or for a whole channel.

use super::windows::{KERNEL, Places, image, image_of, positions, taps, windows};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, Misfit, Scope, Takes};
use crate::ir::{NodeId, Window};
use crate::types::{Dim, Shape};

const STRIDE: ArgDef = ArgDef {
    name: "stride",
    kind: ArgKind::Sizes { least: 1, word: Some("kernel") },
    default: Some(Arg::Word("kernel")),
    doc: "positions from one window to the next",
};

const PLACES: Places = Places { kernel: 0, stride: 1, pad: 2, dilation: None };

const fn pad(doc: &'static str) -> ArgDef {
    ArgDef { name: "pad", kind: ArgKind::Sizes { least: 0, word: None }, default: Some(Arg::Int(0)), doc }
}

/// The largest number under a window, which moves over every channel.
///
/// - Value: `y[c, i, j] = max x[c, i stride + u - pad, j stride + v - pad]` over the window `u, v`; outside of the image
///   there is nothing. NaN if any is NaN
/// - Shapes: `f32[B, C, H, W] -> f32[B, C, H', W']`, with `H' = (H + 2 pad - kernel) / stride + 1`, rounded down, and `W'`
///   likewise
/// - Argument `kernel`: height and width of the window; an integer of at least 1, or two as `(height, width)`
/// - Argument `stride = kernel`: positions from one window to the next; an integer of at least 1, two as
///   `(height, width)`, or `kernel`
/// - Argument `pad = 0`: positions around the image that hold nothing, at most half of the window; an integer of at
///   least 0, or two as `(height, width)`
/// - Gradient: `dy` to the first of the largest under each window, row by row; never to the padding
pub const MAX_POOL: LayerDef = LayerDef {
    name: "max_pool",
    item: "MAX_POOL",
    stem: "max_pool",
    args: &[KERNEL, STRIDE, pad("positions around the image that hold nothing, at most half of the window")],
    shape: pooled,
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let (under, axes) = under_windows(scope, x, f64::NEG_INFINITY);
        if axes.is_empty() { under } else { scope.b.max_over(under, &axes) }
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

/// The mean of what is under a window, which moves over every channel.
///
/// - Value: the sum of `x[c, i stride + u - pad, j stride + v - pad]` over the window `u, v`, divided by the size of the
///   window; outside of the image `x` is 0, and counts
/// - Shapes: `f32[B, C, H, W] -> f32[B, C, H', W']`, with `H' = (H + 2 pad - kernel) / stride + 1`, rounded down, and `W'`
///   likewise
/// - Argument `kernel`: height and width of the window; an integer of at least 1, or two as `(height, width)`
/// - Argument `stride = kernel`: positions from one window to the next; an integer of at least 1, two as
///   `(height, width)`, or `kernel`
/// - Argument `pad = 0`: zeros around the image, at most half of the window; an integer of at least 0, or two as
///   `(height, width)`
/// - Gradient: `dy / size` to every element under the window
pub const AVG_POOL: LayerDef = LayerDef {
    name: "avg_pool",
    item: "AVG_POOL",
    stem: "avg_pool",
    args: &[KERNEL, STRIDE, pad("zeros around the image, at most half of the window")],
    shape: pooled,
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let (under, axes) = under_windows(scope, x, 0.0);
        if axes.is_empty() { under } else { scope.b.mean(under, &axes) }
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

/// The mean of every channel.
///
/// - Value: `y[c] = mean x[c, ...]` over all positions
/// - Shapes: `f32[B, C, ...] -> f32[B, C]`
/// - Gradient: `dy / n` to every one of the `n` positions
pub const GLOBAL_AVG_POOL: LayerDef = LayerDef {
    name: "global_avg_pool",
    item: "GLOBAL_AVG_POOL",
    stem: "global_avg_pool",
    args: &[],
    shape: |x, _| channels(x),
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let axes = everywhere(scope, x);
        scope.b.mean(x, &axes)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

/// The largest number of every channel.
///
/// - Value: `y[c] = max x[c, ...]` over all positions; NaN if any is NaN
/// - Shapes: `f32[B, C, ...] -> f32[B, C]`
/// - Gradient: `dy` to the first of the largest, row by row
pub const GLOBAL_MAX_POOL: LayerDef = LayerDef {
    name: "global_max_pool",
    item: "GLOBAL_MAX_POOL",
    stem: "global_max_pool",
    args: &[],
    shape: |x, _| channels(x),
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let axes = everywhere(scope, x);
        scope.b.max_over(x, &axes)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

fn pooled(x: &Shape, args: &[Arg]) -> Result<Shape, Misfit> {
    let (channels, extents) = image(x)?;
    let windows: [Window; 2] = windows(args, PLACES)?;
    if windows.iter().any(|window| window.before > window.size / 2) {
        // Other libraries refuse it as well: a window could be over nothing at all.
        let needs = "a `pad` of at most half of its `kernel`".to_string();
        return Err(Misfit { needs, hint: None });
    }
    Ok(image_of(x.0[0], channels, positions(&windows, extents)?))
}

/// What is under the windows, and the axes along which it is there.
fn under_windows(scope: &mut Scope<'_>, x: NodeId, fill: f64) -> (NodeId, Vec<usize>) {
    let windows: [Window; 2] = windows(scope.args, PLACES).expect("the windows were checked with the shape");
    let (mut x, mut axes) = (x, Vec::new());
    for (index, window) in windows.into_iter().enumerate() {
        let (under, tap) = taps(scope.b, x, 1 + index + axes.len(), window, fill);
        x = under;
        axes.extend(tap);
    }
    (x, axes)
}

/// A number for every channel.
fn channels(x: &Shape) -> Result<Shape, Misfit> {
    match x.0[..] {
        [batch, channels, _, ..] if batch.is_batch() => Ok(Shape(vec![batch, Dim::Fixed(channels.factor())])),
        _ => Err(Misfit { needs: "[B, channels, ...] with positions".to_string(), hint: None }),
    }
}

/// The axes of the positions.
fn everywhere(scope: &Scope<'_>, x: NodeId) -> Vec<usize> {
    (1..scope.b.ty(x).shape.rank() - 1).collect()
}
