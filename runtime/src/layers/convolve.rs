//! What convolutions have in common: their arguments, their bias, and the sum of products of weights and what is under a window.
//!
//! In: an image or signal with its channels last, and weights with the axes of the window first, then channels that come in, then
//! channels that go out. Out: products of tensors, which the compiler reads from the image where they are.

use super::initializers::AUTO;
use super::windows::taps;
use super::{Arg, ArgDef, ArgKind, Misfit, ParamDef, Scope};
use crate::init::Init;
use crate::ir::{Builder, DotAxes, NodeId, SlotKind, Window};
use crate::types::{Dim, Shape};

/// How many channels go out.
pub(super) const CHANNELS: ArgDef =
    ArgDef { name: "channels", kind: ArgKind::Size, default: None, doc: "channels that go out" };

/// In how many groups.
pub(super) const IN_GROUPS: ArgDef = ArgDef {
    name: "groups",
    kind: ArgKind::Size,
    default: Some(Arg::Int(1)),
    doc: "in how many groups of channels, which do not see each other",
};

/// Whether there is a bias.
pub(super) const WITH_BIAS: ArgDef =
    ArgDef { name: "bias", kind: ArgKind::Flag, default: Some(Arg::Flag(true)), doc: "whether to add a bias" };

/// How the weights start.
pub(super) const INIT: ArgDef =
    ArgDef { name: "init", kind: ArgKind::Init, default: Some(Arg::Init(&AUTO, None)), doc: "how the weights start" };

/// Whether channels that come in and `n` that go out can be cut into as many groups.
pub(super) fn in_groups([channels, n]: [usize; 2], groups: usize) -> Result<(), Misfit> {
    if channels % groups == 0 && n % groups == 0 {
        return Ok(());
    }
    let needs = format!("channels that `groups = {groups}` divides, both the {n} that go out and those that come in");
    Err(Misfit { needs, hint: None })
}

/// The parameters of a layer with these weights, and `n` channels that go out.
pub(super) fn with_bias(weight: ParamDef, n: usize, bias: bool) -> Vec<ParamDef> {
    let bias = bias.then(|| ParamDef::new("bias", vec![n], Init::Constant(0.0), SlotKind::Parameter));
    [weight].into_iter().chain(bias).collect()
}

/// Adds the bias of a layer, one number a channel.
pub(super) fn add_bias(scope: &mut Scope<'_>, y: NodeId) -> NodeId {
    let shape = scope.b.shape(y);
    let bias = scope.param("bias");
    let bias = scope.b.broadcast(bias, &shape, &[shape.rank() - 1]);
    scope.b.add(y, bias)
}

/// Convolves `x: [B, positions.., channels]` with `weight: [window.., channels / groups, n]`, in groups of channels that do not
/// see each other.
pub(super) fn convolve(b: &mut Builder, x: NodeId, weight: NodeId, windows: &[Window], groups: usize) -> NodeId {
    let extents = |b: &Builder, x| b.shape(x).0.iter().map(|dim| dim.factor()).collect::<Vec<usize>>();
    let (dims, sizes) = (b.shape(x).0, extents(b, weight));
    let channels = dims[dims.len() - 1].factor();
    let [per_group, n] = [sizes[sizes.len() - 2], sizes[sizes.len() - 1]];
    let is_depthwise = per_group == 1 && n == channels && groups > 1;
    let is_grouped = groups > 1 && !is_depthwise;

    let mut x = x;
    if is_grouped {
        let (_, leading) = dims.split_last().expect("an image has channels");
        let split = leading.iter().copied().chain([groups, per_group].map(Dim::Fixed));
        x = b.reshape(x, Shape(split.collect()));
    }
    // The axes of the taps, and how many there are along each.
    let (mut tap_axes, mut tap_sizes) = (Vec::new(), Vec::new());
    for (index, window) in windows.iter().enumerate() {
        let axis = 1 + index + tap_axes.len();
        let (under, tap) = taps(b, x, axis, *window, 0.0);
        x = under;
        tap_axes.extend(tap);
        tap_sizes.extend(tap.map(|_| window.size));
    }
    // Along axes of one weight there are no taps.
    let with_taps = |b: &mut Builder, rest: &[usize]| {
        let shape = Shape::fixed(&[&tap_sizes[..], rest].concat());
        if b.shape(weight) == shape { weight } else { b.reshape(weight, shape) }
    };
    let taps = tap_sizes.len();
    let last = b.ty(x).shape.rank() - 1;
    if is_depthwise {
        let weight = with_taps(b, &[n]);
        let shape = b.shape(x);
        let axes: Vec<usize> = tap_axes.iter().copied().chain([last]).collect();
        let weight = b.broadcast(weight, &shape, &axes);
        let products = b.mul(x, weight);
        return if tap_axes.is_empty() { products } else { b.sum(products, &tap_axes) };
    }
    let mut contracted: Vec<(usize, usize)> = tap_axes.iter().copied().zip(0..).collect();
    contracted.push((last, taps));
    if !is_grouped {
        let weight = with_taps(b, &[per_group, n]);
        return b.product(x, weight, DotAxes { batch: Vec::new(), contracted });
    }
    let weight = with_taps(b, &[per_group, groups, n / groups]);
    let y = b.product(x, weight, DotAxes { batch: vec![(last - 1, taps + 1)], contracted });
    // The groups come first, and belong before what each of them gives.
    let rank = b.ty(y).shape.rank();
    let order: Vec<usize> = (1..rank - 1).chain([0, rank - 1]).collect();
    let y = b.transpose(y, &order);
    let mut dims = b.shape(y).0;
    dims.truncate(rank - 2);
    dims.push(Dim::Fixed(n));
    b.reshape(y, Shape(dims))
}
