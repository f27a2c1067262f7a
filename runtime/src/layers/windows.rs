//! Windows over the positions of an image or signal: what arguments say of them, whether they fit, and what is under them.

use super::{Arg, ArgDef, ArgKind, Misfit, extents, word_of};
use crate::ir::{Builder, NodeId, Window};
use crate::types::{Dim, Shape};

/// The argument `kernel` of this layer.
pub(super) const KERNEL: ArgDef =
    ArgDef { name: "kernel", kind: SIZE, default: None, doc: "height and width of the window" };

/// The argument `dilation` of this layer.
pub(super) const DILATION: ArgDef = ArgDef {
    name: "dilation",
    kind: SIZE,
    default: Some(Arg::Int(1)),
    doc: "positions from one weight of the window to the next",
};

/// Extents of at least 1.
pub(super) const SIZE: ArgKind = ArgKind::Sizes { least: 1, word: None };

/// The argument `stride` of this layer.
pub(super) const STRIDE: ArgDef =
    ArgDef { name: "stride", kind: SIZE, default: Some(Arg::Int(1)), doc: "positions from one window to the next" };

/// The padding of a convolution.
pub(super) const PAD_OR_SAME: ArgKind = ArgKind::Sizes { least: 0, word: Some("same") };

/// How the four arguments of a window stand among those of a layer; dilation is 1 where there is no argument for it.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub dilation: Option<usize>,
}

/// Channels and positions of `[B, C, H, W]`, or of `[B, C, T]` where there is one axis of positions.
pub(super) fn image<const N: usize>(x: &Shape) -> Result<(usize, [usize; N]), Misfit> {
    match x.0[..] {
        [batch, Dim::Fixed(channels), ref positions @ ..] if batch.is_batch() && positions.len() == N => {
            Ok((channels, std::array::from_fn(|axis| positions[axis].factor())))
        }
        _ => {
            let needs = if N == 2 { "[B, channels, height, width]" } else { "[B, channels, time]" };
            Err(Misfit { needs: needs.to_string(), hint: one_channel(x, N) })
        }
    }
}

/// What comes in without an axis of channels.
fn one_channel(x: &Shape, positions: usize) -> Option<String> {
    let (batch, rest) = x.0.split_first()?;
    let lacks = rest.len() == positions && positions > 1;
    lacks.then(|| {
        let whole = Shape([*batch, Dim::Fixed(1)].into_iter().chain(rest.iter().copied()).collect());
        format!("with one channel that is {}", whole.declared())
    })
}

/// The windows that the arguments of a layer ask for, over this many axes of positions.
pub(super) fn windows<const N: usize>(args: &[Arg], places: Places) -> Result<[Window; N], Misfit> {
    let kernel: [usize; N] = extents(args, places.kernel);
    let dilation: [usize; N] = places.dilation.map_or([1; N], |at| extents(args, at));
    let stride: [usize; N] = match word_of(args, places.stride) {
        Some(_) => kernel,
        None => extents(args, places.stride),
    };
    let same = word_of(args, places.pad).is_some();
    if same && stride != [1; N] {
        let needs = "`stride = 1` where `pad = same`".to_string();
        let hint = "write the padding as a number".to_string();
        return Err(Misfit { needs, hint: Some(hint) });
    }
    let pad: [usize; N] = if same { [0; N] } else { extents(args, places.pad) };
    Ok(std::array::from_fn(|axis| {
        let (size, dilation) = (kernel[axis], dilation[axis]);
        // As many positions as before; of an odd number of elements the last one is at the end.
        let around = dilation.saturating_mul(size - 1);
        let [before, after] = if same { [around / 2, around - around / 2] } else { [pad[axis]; 2] };
        Window { size, stride: stride[axis], dilation, before, after }
    }))
}

/// How many positions the windows have along each axis.
pub(super) fn positions<const N: usize>(windows: &[Window; N], extents: [usize; N]) -> Result<[usize; N], Misfit> {
    let mut positions = [0; N];
    for ((found, window), extent) in positions.iter_mut().zip(windows).zip(extents) {
        *found = window.positions(extent).map_err(|_| too_small(windows, extents))?;
    }
    Ok(positions)
}

/// The window is larger than the image with its padding.
fn too_small<const N: usize>(windows: &[Window; N], extents: [usize; N]) -> Misfit {
    let covered = windows.map(|window| (window.size - 1).saturating_mul(window.dilation).saturating_add(1));
    let padding = windows.map(|window| window.before.saturating_add(window.after));
    let least: Vec<usize> =
        covered.iter().zip(padding).map(|(covered, pad)| covered.saturating_sub(pad).max(1)).collect();
    let lacking = covered.iter().zip(extents).map(|(covered, extent)| covered.saturating_sub(extent).div_ceil(2));
    let pad = lacking.max().unwrap_or(0);
    let (needs, covers) = match (&least[..], &covered[..]) {
        ([h, w], [kh, kw]) => (format!("at least {h} x {w} positions"), format!("{kh} x {kw}")),
        ([t], [k]) => (format!("at least {t} positions"), k.to_string()),
        _ => unreachable!("windows are over one or two axes"),
    };
    let hint = format!("the window covers {covers}, which `pad = {pad}` makes room for");
    Misfit { needs, hint: Some(hint) }
}

/// A shape with these channels and positions.
pub(super) fn image_of<const N: usize>(batch: Dim, channels: usize, positions: [usize; N]) -> Shape {
    Shape([batch, Dim::Fixed(channels)].into_iter().chain(positions.map(Dim::Fixed)).collect())
}

/// What is under a window: an axis of a tensor as positions of the window and, after it, the elements under it. Returns the axis
/// of those, or none where there is one alone at every position.
pub(super) fn taps(b: &mut Builder, x: NodeId, axis: usize, window: Window, fill: f64) -> (NodeId, Option<usize>) {
    let shape = b.shape(x);
    let extent = shape.0[axis].factor();
    let positions = window.positions(extent).expect("the window was checked when the network was declared");
    let Window { size, stride, dilation, before, after } = window;
    let is_padded = before > 0 || after > 0;
    if size == 1 && !is_padded {
        let taken = if stride == 1 { x } else { b.slice(x, axis, 0, positions, stride) };
        return (taken, None);
    }
    if size == stride && dilation == 1 && !is_padded {
        // Windows side by side: the elements are in the right order already.
        let taken = if positions * size == extent { x } else { b.slice(x, axis, 0, positions * size, 1) };
        let mut dims = shape.0;
        dims.splice(axis..=axis, [positions, size].map(Dim::Fixed));
        return (b.reshape(taken, Shape(dims)), Some(axis + 1));
    }
    (b.patches(x, axis, window, fill), Some(axis + 1))
}
