//! `upsample`: an image with more positions.

use super::windows::{SIZE, image, image_of};
use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, Misfit, Takes, extents, word};
use crate::ir::{Builder, NodeId};
use crate::types::{Dim, Shape};

/// An image whose height and width are multiples of what they were.
///
/// - Value: `nearest` repeats every number; `bilinear` mixes the two nearest along either axis, by how near the middle of
///   the new position is to theirs, and repeats those at the edges, as PyTorch does with `align_corners=False`
/// - Shapes: `f32[B, C, H, W] -> f32[B, C, factor H, factor W]`
/// - Argument `factor`: how many times as high and wide; an integer of at least 1, or two as `(height, width)`
/// - Argument `mode = nearest`: how numbers come about in between; `nearest` or `bilinear`
/// - Gradient: every number gets the sum of `dy` times its share in it
pub const UPSAMPLE: LayerDef = LayerDef {
    name: "upsample",
    item: "UPSAMPLE",
    stem: "upsample",
    args: &[
        ArgDef { name: "factor", kind: SIZE, default: None, doc: "how many times as high and wide" },
        ArgDef {
            name: "mode",
            kind: ArgKind::Word(&["nearest", "bilinear"]),
            default: Some(Arg::Word("nearest")),
            doc: "how numbers come about in between",
        },
    ],
    shape: |x, args| {
        let (channels, positions) = image::<2>(x)?;
        let factors: [usize; 2] = extents(args, 0);
        let enlarged = [0, 1].map(|axis| positions[axis].checked_mul(factors[axis]));
        match enlarged {
            [Some(height), Some(width)] => Ok(image_of(x.0[0], channels, [height, width])),
            _ => Err(Misfit { needs: "an image whose positions can be counted".to_string(), hint: None }),
        }
    },
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let factors: [usize; 2] = extents(scope.args, 0);
        let enlarge = if word(scope.args, 1) == "nearest" { repeated } else { mixed };
        let tall = enlarge(scope.b, x, 1, factors[0]);
        enlarge(scope.b, tall, 2, factors[1])
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};

/// Every element along an axis so many times.
fn repeated(b: &mut Builder, x: NodeId, axis: usize, factor: usize) -> NodeId {
    if factor == 1 {
        return x;
    }
    let shape = b.shape(x);
    let with = |extents: &[usize]| {
        let mut dims = shape.0.clone();
        dims.splice(axis..=axis, extents.iter().map(|&extent| Dim::Fixed(extent)));
        Shape(dims)
    };
    let extent = shape.0[axis].factor();
    let repeated = b.broadcast_over(x, &with(&[extent, factor]), &[axis + 1]);
    b.reshape(repeated, with(&[extent * factor]))
}

/// Between the elements along an axis, mixtures of them: for each of the new positions in place of an old one, what it takes of
/// its neighbors.
fn mixed(b: &mut Builder, x: NodeId, axis: usize, factor: usize) -> NodeId {
    if factor == 1 {
        return x;
    }
    let shape = b.shape(x);
    let extent = shape.0[axis].factor();
    // Those at the edges are repeated outside.
    let first = b.slice(x, axis, 0, 1, 1);
    let last = b.slice(x, axis, extent - 1, 1, 1);
    let framed = b.concat(&[first, x, last], axis);
    let mut dims = shape.0.clone();
    dims.insert(axis + 1, Dim::Fixed(1));
    let beside = Shape(dims);
    let phases: Vec<NodeId> = (0..factor)
        .map(|phase| {
            // From the middle of the old position to that of the new one.
            let distance = (phase as f64 + 0.5) / factor as f64 - 0.5;
            let (start, share) = if distance < 0.0 { (0, 1.0 + distance) } else { (1, distance) };
            let [near, far] = [start, start + 1].map(|start| b.slice(framed, axis, start, extent, 1));
            let near = b.scale(near, 1.0 - share);
            let far = b.scale(far, share);
            let mixture = b.add(near, far);
            b.reshape(mixture, beside.clone())
        })
        .collect();
    let phases = b.concat(&phases, axis + 1);
    let mut dims = shape.0;
    dims[axis] = Dim::Fixed(extent * factor);
    b.reshape(phases, Shape(dims))
}
