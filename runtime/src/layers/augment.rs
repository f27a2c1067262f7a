//! Augmentation: in training, an image moved by a few positions, or mirrored, by chance.

use super::dropout::threshold;
use super::windows::image;
use super::{Arg, ArgDef, ArgKind, LayerDef, Misfit, Mode, Takes, extents, float};
use crate::ir::{Builder, NodeId, Op};
use crate::scalar::Cmp;
use crate::types::{Dim, Shape};

/// The most padding: the work of a step grows with it.
const MOST_PAD: usize = 128;

/// A part of the image as large as the image, taken at random from the image with zeros around it; in inference the image itself.
///
/// - Value: training: `y[c, i, j] = x[c, i + u - pad, j + v - pad]`, and 0 outside of the image; `u` and `v` are integers from 0 to
///   `2 pad`, each as likely as the others, the same for all channels. Inference: `x`
/// - Shapes: `f32[B, C, H, W] -> f32[B, C, H, W]`
/// - Argument `pad`: zeros around the image, fewer than it has positions, and at most 128; an integer of at least 0, or two as
///   `(height, width)`
/// - Gradient: `dy` moved back
/// - Choice: decided by the trainer's `seed`, the number of the forward pass, the layer and the row of the batch, and by nothing
///   else, as that of `Dropout`. After `normalize` a 0 is the mean of the data
/// - Source: He et al. 2016, section 4.2, with `pad = 4`
pub const RANDOM_CROP: LayerDef = LayerDef {
    name: "random_crop",
    item: "RANDOM_CROP",
    stem: "random_crop",
    args: &[ArgDef {
        name: "pad",
        kind: ArgKind::Sizes { least: 0, word: None },
        default: None,
        doc: "zeros around the image, fewer than it has positions, and at most 128",
    }],
    shape: |x, args| {
        let (_, positions) = image::<2>(x)?;
        let pad: [usize; 2] = extents(args, 0);
        match pad.iter().zip(positions).all(|(&pad, extent)| pad < extent && pad <= MOST_PAD) {
            true => Ok(x.clone()),
            false => {
                let needs = format!("a `pad` of fewer positions than the image has, and of at most {MOST_PAD}");
                Err(Misfit { needs, hint: None })
            }
        }
    },
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let pad: [usize; 2] = extents(scope.args, 0);
        if scope.mode != Mode::Train || pad == [0, 0] {
            return x;
        }
        let rank = scope.b.shape(x).rank();
        let numbers = scope.declared_uniform(&Shape(vec![Dim::B, Dim::Fixed(2)]));
        let [height, width] = [2, 3].map(|axis| scope.layout.axis(rank, axis));
        let mut choice = |index: usize| {
            // For both axes at once: where they have the same padding, this is one computation.
            let choices = choices(scope.b, numbers, 2 * pad[index] + 1);
            let choice = scope.b.slice(choices, 1, index, 1, 1);
            scope.b.reshape(choice, Shape(vec![Dim::B]))
        };
        let [down, along] = [0, 1].map(&mut choice);
        let b = &mut *scope.b;
        // Neighbors along the width may lie side by side in memory: they are read several at a time if the zeros are there, too.
        let padded = b.pad(x, width, [pad[1]; 2], 0.0);
        let padded = b.offset(padded, -0.0);
        let padded = b.pad(padded, height, [pad[0]; 2], 0.0);
        let rows = part(b, padded, height, pad[0], down);
        part(b, rows, width, pad[1], along)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: None,
    gain: None,
    function: None,
};

/// The image mirrored from left to right, with probability `p` in training; in inference the image itself.
///
/// - Value: training: `y[c, i, j] = x[c, i, W - 1 - j]` with probability `p`, rounded up to a step of 2^-24, else `x`; the same for
///   all channels. Inference: `x`
/// - Shapes: `f32[B, C, H, W] -> f32[B, C, H, W]`
/// - Argument `p = 0.5`: the probability that an image is mirrored; a number between 0 and 1
/// - Gradient: `dy`, mirrored where the image was
/// - Choice: decided by the trainer's `seed`, the number of the forward pass, the layer and the row of the batch, and by nothing
///   else, as that of `Dropout`
/// - Source: Krizhevsky et al. 2012, section 4.1
pub const RANDOM_FLIP: LayerDef = LayerDef {
    name: "random_flip",
    item: "RANDOM_FLIP",
    stem: "random_flip",
    args: &[ArgDef {
        name: "p",
        kind: ArgKind::Number { least: 0.0, most: 1.0, range: "between 0 and 1" },
        default: Some(Arg::Float(0.5)),
        doc: "the probability that an image is mirrored",
    }],
    shape: |x, _| image::<2>(x).map(|_| x.clone()),
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let p = float(scope.args, 0);
        if scope.mode != Mode::Train || p == 0.0 {
            return x;
        }
        let shape = scope.b.shape(x);
        let number = scope.declared_uniform(&Shape(vec![Dim::B]));
        let width = scope.layout.axis(shape.rank(), 3);
        let b = &mut *scope.b;
        let mirrored = mirrored(b, x, width);
        let limit = b.constant_like(threshold(p), number);
        let turns = b.compare(Cmp::Lt, number, limit);
        let turns = b.broadcast(turns, &shape, &[0]);
        b.select(turns, mirrored, x)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: None,
    gain: None,
    function: None,
};

/// Integers from 0 up to but not including `count`, made of numbers in [0, 1): how many of as many equal parts end before each. The
/// ends are rounded up to a number that may be drawn, so that the choice is the same in every precision.
fn choices(b: &mut Builder, numbers: NodeId, count: usize) -> NodeId {
    let [zero, one] = [0.0, 1.0].map(|value| b.constant_like(value, numbers));
    let ends = (1..count).map(|part| {
        let end = b.constant_like(threshold(part as f64 / count as f64), numbers);
        let is_after = b.compare(Cmp::Ge, numbers, end);
        b.select(is_after, one, zero)
    });
    let ends: Vec<NodeId> = ends.collect();
    ends.into_iter().reduce(|sum, end| b.add(sum, end)).unwrap_or(zero)
}

/// As many elements along an axis as it has without its padding, from the one on that is chosen for each row.
fn part(b: &mut Builder, padded: NodeId, axis: usize, pad: usize, choice: NodeId) -> NodeId {
    let extent = b.shape(padded).0[axis].factor() - 2 * pad;
    let mut y = b.slice(padded, axis, 0, extent, 1);
    let shape = b.shape(y);
    let choice = b.broadcast(choice, &shape, &[0]);
    for start in 1..=2 * pad {
        let part = b.slice(padded, axis, start, extent, 1);
        let number = b.constant(start as f64, &shape);
        let is_chosen = b.compare(Cmp::Eq, choice, number);
        y = b.select(is_chosen, part, y);
    }
    y
}

/// The elements along an axis in reverse order. Repeated along an axis of their own and moved by one more at each step along that,
/// the one at the beginning is the last, the one before it, and so on.
fn mirrored(b: &mut Builder, x: NodeId, axis: usize) -> NodeId {
    let shape = b.shape(x);
    let extent = shape.0[axis].factor();
    let mut repeated = shape.clone();
    repeated.0.insert(axis + 1, Dim::Fixed(extent));
    let repeated = b.broadcast_over(x, &repeated, &[axis + 1]);
    let turn = Op::Skew { axis, along: axis + 1, step: -1, shift: extent as i64 - 1, extent: 1 };
    let turned = b.apply(turn, &[repeated]);
    b.reshape(turned, shape)
}
