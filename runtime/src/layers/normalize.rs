//! `normalize`: what a data set has of a mean and a deviation is taken off, and bytes become numbers.

use super::{Arg, ArgDef, ArgKind, LayerDef, Misfit, Scope, Takes, float, tables};
use crate::ir::NodeId;
use crate::types::DType;

/// What the tables are called that follow from a list of means or deviations.
const TABLES: [&str; 2] = ["normalize_mean", "normalize_std"];

/// How many steps of a byte a number from 0 to 1 has.
const BYTE: f64 = 255.0;

/// The numbers of an image, with a mean and a standard deviation that are known beforehand taken off.
///
/// - Value: `y = (x - mean) / std`. Of `u8`, `x` is the byte divided by 255, from 0 to 1: so `mean` and `std` have the units of
///   `torchvision.transforms.Normalize` after `ToTensor`
/// - Shapes: `u8[B, C, ...]` or `f32[B, C, ...] -> f32[B, C, ...]`; without channels, `u8[B]` or `f32[B] -> f32[B]`
/// - Argument `mean = 0.0`: the mean of the data; a number between -1e30 and 1e30, or a list with one for each channel
/// - Argument `std = 1.0`: the standard deviation of the data; a number between 1e-30 and 1e30, or a list with one for each
///   channel
/// - Gradient: `dy / std`; none to bytes
pub const NORMALIZE: LayerDef = LayerDef {
    name: "normalize",
    item: "NORMALIZE",
    stem: "normalize",
    args: &[
        ArgDef {
            name: "mean",
            kind: ArgKind::NumberOrList { least: -1e30, most: 1e30, range: "between -1e30 and 1e30" },
            default: Some(Arg::Float(0.0)),
            doc: "the mean of the data",
        },
        ArgDef {
            name: "std",
            kind: ArgKind::NumberOrList { least: 1e-30, most: 1e30, range: "between 1e-30 and 1e30" },
            default: Some(Arg::Float(1.0)),
            doc: "the standard deviation of the data",
        },
    ],
    shape: |x, args| {
        for (name, arg) in ["mean", "std"].into_iter().zip(args) {
            let Arg::Numbers(list) = arg else { continue };
            if x.0.get(1).map(|channels| channels.factor()) != Some(list.len()) {
                let needs = format!("[B, {}, ...], a channel for each number of `{name}`", list.len());
                let hint = "a single number is that of every channel".to_string();
                return Err(Misfit { needs, hint: Some(hint) });
            }
        }
        Ok(x.clone())
    },
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let is_bytes = scope.b.ty(x).dtype == DType::U8;
        let (x, unit) = if is_bytes { (scope.b.to_float(x), BYTE) } else { (x, 1.0) };
        // In units of a byte. The mean comes first: a number near it loses nothing, whereas `x / std - mean / std` would cancel.
        let [mean, std] = [0, 1].map(|position| per_channel(scope, position, x, unit));
        let difference = scope.b.sub(x, mean);
        scope.b.div(difference, std)
    },
    takes: Takes::NumbersOrBytes,
    least_rows: |_| 1,
    by_position: |_| false,
    layout: None,
    gain: None,
    function: None,
};

/// A multiple of the number of this position, or of that which each channel has in its list, for every element of `x`.
fn per_channel(scope: &mut Scope<'_>, position: usize, x: NodeId, factor: f64) -> NodeId {
    let shape = scope.b.shape(x);
    match scope.args[position] {
        Arg::Numbers(list) => {
            let channels = scope.layout.axis(shape.rank(), 1);
            let multiples = tables::shared(list.iter().map(|number| factor * number).collect());
            let numbers = scope.b.table(TABLES[position], multiples);
            scope.b.broadcast(numbers, &shape, &[channels])
        }
        _ => scope.b.constant(factor * float(scope.args, position), &shape),
    }
}
