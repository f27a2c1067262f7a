//! `GroupNorm`: groups of channels of each image with mean 0 and variance 1, then scaled and shifted (Wu & He 2018).

use super::{Arg, ArgDef, ArgKind, LayerDef, Layout, Misfit, ParamDef, Takes, float, int};
use crate::init::Init;
use crate::ir::SlotKind;
use crate::types::{Dim, Shape};

/// Every group of channels of an image at mean 0 and variance 1, then every channel at a learned scale and shift; the same in
/// training and in inference, whatever else is in the batch.
///
/// - Value: `y = gamma (x - mean) / sqrt(var + eps) + beta`, with mean and biased variance over the channels of a group and
///   all positions of one image
/// - Shapes: `f32[B, n, ...] -> f32[B, n, ...]`
/// - Argument `groups`: how many groups of neighboring channels; an integer of at least 1. It divides the channels; 1 takes
///   all of them together, as many as there are channels is instance norm
/// - Argument `eps = 1e-5`: added to the variance; a number between 1e-12 and 1
/// - Parameters: `gamma [n]`, one, and `beta [n]`, zero
/// - Gradient: flows through mean and variance too
/// - Source: Wu & He 2018, section 3
pub const GROUP_NORM: LayerDef = LayerDef {
    name: "GroupNorm",
    item: "GROUP_NORM",
    stem: "group_norm",
    args: &[
        ArgDef { name: "groups", kind: ArgKind::Size, default: None, doc: "how many groups of neighboring channels" },
        ArgDef {
            name: "eps",
            kind: ArgKind::Number { least: 1e-12, most: 1.0, range: "between 1e-12 and 1" },
            default: Some(Arg::Float(1e-5)),
            doc: "added to the variance",
        },
    ],
    shape: |x, args| match x.0[..] {
        [_, channels, ..] if channels.factor() % int(args, 0) == 0 => Ok(x.clone()),
        [_, _, ..] => {
            let needs = format!("[B, channels, ...] with channels that `groups = {}` divides", int(args, 0));
            Err(Misfit { needs, hint: None })
        }
        _ => Err(Misfit { needs: "[B, channels, ...]".to_string(), hint: None }),
    },
    params: |x, _, _| {
        let param =
            |name, value| ParamDef::new(name, vec![x.0[1].factor()], Init::Constant(value), SlotKind::Parameter);
        vec![param("gamma", 1.0), param("beta", 0.0)]
    },
    lower: |scope, x| {
        let (groups, eps) = (int(scope.args, 0), float(scope.args, 1));
        let (gamma, beta) = (scope.param("gamma"), scope.param("beta"));
        let b = &mut *scope.b;
        let shape = b.shape(x);
        let (&channels, leading) = shape.0.split_last().expect("an image has channels");
        let split = [groups, channels.factor() / groups].map(Dim::Fixed);
        let grouped = Shape(leading.iter().copied().chain(split).collect());
        let grouped_x = b.reshape(x, grouped.clone());
        // All but the sample and the group.
        let group = grouped.rank() - 2;
        let axes: Vec<usize> = (1..grouped.rank()).filter(|&axis| axis != group).collect();
        let mean = b.center(grouped_x, &axes);
        let variance = b.variance(grouped_x, &axes);
        let padded = b.offset(variance, eps);
        let inverse = b.rsqrt(padded);
        let [mean, inverse] = [mean, inverse].map(|number| b.broadcast_over(number, &grouped, &axes));
        let deviation = b.sub(grouped_x, mean);
        let normalized = b.mul(deviation, inverse);
        let normalized = b.reshape(normalized, shape.clone());
        let last = shape.rank() - 1;
        let [gamma, beta] = [gamma, beta].map(|number| b.broadcast(number, &shape, &[last]));
        let scaled = b.mul(normalized, gamma);
        b.add(scaled, beta)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::ChannelsLast),
    gain: None,
    function: None,
};
